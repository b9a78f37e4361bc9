//! See `fanlight_fuzz::commands`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fanlight_fuzz::commands(data));
