//! See `fanlight_fuzz::tokens`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fanlight_fuzz::tokens(data));
