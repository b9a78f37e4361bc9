#!/usr/bin/env bash
# Called by ./test --fuzz SECONDS: libFuzzer on each target of fuzz/, from the committed corpus. What it finds is left in
# fuzz/artifacts/; what it learns is kept in target/fuzz-corpus/, beside the corpus that is committed.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1

if ! command -v cargo-fuzz >/dev/null; then
    echo "cargo-fuzz is missing: cargo install cargo-fuzz" >&2
    exit 2
fi
# The address sanitizer needs a nightly compiler; coverage, which finds most, does not.
toolchain=() sanitizer=none
if rustup toolchain list 2>/dev/null | grep -q '^nightly'; then
    toolchain=(+nightly) sanitizer=address
fi

export SQLX_OFFLINE=true
for target in frames commands tokens; do
    learned=target/fuzz-corpus/$target
    mkdir -p "$learned"
    printf '\n== %s, %s s\n' "$target" "$seconds"
    cargo "${toolchain[@]}" fuzz run --sanitizer "$sanitizer" "$target" "$learned" "fuzz/corpus/$target" \
        -- -max_total_time="$seconds" -max_len=4096 -timeout=10 -print_final_stats=1
done
