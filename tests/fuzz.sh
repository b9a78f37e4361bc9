#!/usr/bin/env bash
# Called by ./test: libFuzzer, SECONDS on each target of fuzz/, from the committed corpus. What it finds is left in
# fuzz/artifacts/; what it learned, until the next time, in target/fuzz/.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
seconds=$1
targets=(frames commands tokens)
export SQLX_OFFLINE=true

# Selected as ./test selects its tests, so that every dependency is the one it has built. Only our own crates are
# compiled once more, instrumented.
fuzz() {
    RUSTC_WORKSPACE_WRAPPER=$root/fuzz/rustc.sh \
        cargo test --quiet --locked --workspace --features failpoints,seeded-bugs "$@"
}

explain_and_stop() {
    printf '\n%s\n' "$1" >&2
    exit 1
}

fuzz --no-run "${targets[@]/#/--bin=}"
for target in "${targets[@]}"; do
    learned=$root/target/fuzz/$target
    log=$learned.log
    found=$root/fuzz/artifacts/$target
    rm -rf "$learned"
    mkdir -p "$learned" "$found"
    printf '\n-- %s, %s s\n' "$target" "$seconds"
    # Shown without each new input and the words it learned; the log has it all.
    fuzz --bin "$target" -- "$learned" "$root/fuzz/corpus/$target" -artifact_prefix="$found/" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 -print_final_stats=1 2>&1 | tee "$log" |
        sed --unbuffered -E '/^#[0-9]+\s+(NEW|REDUCE|RELOAD)|NEW_FUNC|Failed to find function/d
            /^###### Recommended/,/^###### End/d' ||
        explain_and_stop "The input is in fuzz/artifacts/$target/. Move it to fuzz/corpus/$target/: every run begins there, so
./test --fuzz 1 fails again until this is mended, and ./test keeps watch afterwards."
    grep -q 'inline 8-bit counters' "$log" ||
        explain_and_stop "libFuzzer saw none of our code: cargo did not use fuzz/rustc.sh."
done
