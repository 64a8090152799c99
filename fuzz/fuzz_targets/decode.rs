#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| plugbay_dialects::fuzz_decode(bytes));
