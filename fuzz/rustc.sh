#!/bin/sh
# Cargo calls this instead of rustc for our own crates, and for no dependency: tests/fuzz.sh says so by
# RUSTC_WORKSPACE_WRAPPER. It adds what shows libFuzzer which code an input reaches and what is compared there.
case " $* " in
    # build.rs is no part of what is fuzzed, and is linked without libFuzzer.
    *" --crate-name build_script_build "*) exec "$@" ;;
esac
exec "$@" -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
