//! See `fanlight_fuzz::frames`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fanlight_fuzz::frames(data));
