#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tapline_capture::fuzz_pcap(data));
