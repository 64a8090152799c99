#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| plugbay::domain::fuzz_config(bytes));
