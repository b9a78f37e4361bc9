#!/usr/bin/env bash
# Puts schemathesis where its test looks for it: a virtual environment in target/.
set -euo pipefail
cd "$(dirname "$0")/.."
version=4.32.5

folder=${CARGO_TARGET_DIR:-target}/schemathesis
if [ "$("$folder/bin/st" --version 2>/dev/null)" != "st, version $version" ]; then
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi
