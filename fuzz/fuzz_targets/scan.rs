#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| plugbay::analyze::fuzz_scan(bytes));
