#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::retry_after::check(bytes));
