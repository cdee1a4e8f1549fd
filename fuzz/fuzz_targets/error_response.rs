//! What a token endpoint answers with a failure: never a panic, never the secret in the text about it.
#![no_main]

mod answers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (status, body) = data.split_first().map_or((500, data), |(first, rest)| (400 + u16::from(*first), rest));
    if let Err(failure) = answers::parse(status, body) {
        assert!(!failure.text.contains(answers::SECRET));
        assert!(failure.text.len() < 2_048 && !failure.text.chars().any(char::is_control));
    }
});
