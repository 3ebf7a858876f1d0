#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tapline_packet::fuzz_decode(data));
