//! What a token endpoint answers with success: never a panic, never a token that no header can carry or that has no life.
#![no_main]

mod answers;

use bearerd::token::RefreshPolicy;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(issued) = answers::parse(200, data) {
        let value = issued.value.expose();
        assert!(!value.is_empty() && !value.chars().any(char::is_control));
        if let Ok(life) = RefreshPolicy::default().lifetime_of(&issued) {
            assert!(!life.length.is_zero() && life.length <= std::time::Duration::from_secs(30 * 86_400));
        }
    }
});
