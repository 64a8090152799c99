#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| plugbay::package::fuzzing::fuzz_zip(bytes));
