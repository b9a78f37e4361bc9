#!/usr/bin/env bash
# The two reference runs, whose reports are in loadtest/reports: an ordinary mixture, and the same while the nodes are
# restarted one after the other. Exits 1 when one of them fails. Let nothing else run meanwhile.
# Usage: loadtest/reference.sh [TIME]    how long each of them is, 5m if not given
set -euo pipefail
cd "$(dirname "$0")/.."
TIME=${1:-5m}

SQLX_OFFLINE=true cargo build --release --locked -p loadtest

# run NAME [OPTION…]
run() {
    local name=$1
    shift
    "${CARGO_TARGET_DIR:-target}/release/loadtest" --users 120 --increase-rate 20 --run-time "$TIME" --pace-ms 250 \
        --no-granular-report --quiet --no-print-metrics \
        --report-file "loadtest/reports/$name.html" --summary "loadtest/reports/$name.md" "$@"
}

mkdir -p loadtest/reports
failed=0
run steady || failed=1
# Who is sent away from a node comes back when it says, some seconds later.
run rolling-restart --rolling-restart --p99-ms 5000 --errors-percent 1 || failed=1
exit "$failed"
