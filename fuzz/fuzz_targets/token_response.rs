//! What a token endpoint answers with success: never a panic, never a token that no header can carry.
#![no_main]

mod answers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(issued) = answers::parse(200, data) {
        let value = issued.value.expose();
        assert!(!value.is_empty() && !value.chars().any(char::is_control));
        assert!(issued.expires_in.is_none_or(|life| !life.is_zero()));
    }
});
