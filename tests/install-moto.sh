#!/usr/bin/env bash
# Puts moto where its test looks for it, a store that speaks S3: a virtual environment in target/.
set -euo pipefail
cd "$(dirname "$0")/.."
version=5.2.5

folder=${CARGO_TARGET_DIR:-target}/moto
if [ "$("$folder/bin/python" -c 'import moto; print(moto.__version__)' 2>/dev/null)" != "$version" ]; then
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check "moto[s3,server]==$version"
fi
