//! A private key as an administrator may put it there: never a panic, no text about it that could hold a part of it.
#![no_main]

use bearerd::{oauth::jws::SigningKey, sensitive::Sensitive};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(problem) = SigningKey::read(&Sensitive::new(text)) {
        assert!(problem.to_string().len() < 200, "{problem}");
    }
});
