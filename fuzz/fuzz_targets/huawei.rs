//! Anything at all as an answer of `huawei`: see `docs/fuzzing.md` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus { drydock_fuzz::hold("huawei", bytes) });
