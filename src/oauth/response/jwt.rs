//! Reads the expiry of a token that happens to be a JWT (RFC 7519). Never verifies it: that is the business of
//! the API which the token is for; here it can only shorten what the issuer says.

use std::time::Duration;

use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use super::fields::{Fields, Value};

/// The `exp` claim (RFC 7519 section 4.1.4) as time since the Unix epoch.
///
/// `None` if the token is not three parts of which the second is a readable JSON object with a positive number as
/// its `exp`.
pub(in crate::oauth) fn expiry(token: &str) -> Option<Duration> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = Zeroizing::new(LENIENT.decode(payload).ok()?);
    let claims = Fields::of_json(std::str::from_utf8(&payload).ok()?, &["exp"]).ok()?;
    match claims.get("exp")? {
        Value::Number(exp) => super::lifetime::seconds(exp.as_f64()?),
        _ => None,
    }
}

/// Padding does not belong into a JWT; some libraries put it there.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

    use super::*;

    fn of(claims: &str) -> Option<u64> {
        expiry(&format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))).map(|point| point.as_secs())
    }

    #[test]
    fn reads_a_number_and_nothing_else() {
        assert_eq!(of(r#"{"exp":1767323045}"#), Some(1_767_323_045));
        assert_eq!(of(r#"{"iss":{"a":[1]},"exp":1767323045.5}"#), Some(1_767_323_045));
        for claims in
            ["{}", r#"{"exp":null}"#, r#"{"exp":"1767323045"}"#, r#"{"exp":0}"#, r#"{"exp":-1}"#, "[]", "x", ""]
        {
            assert_eq!(of(claims), None, "{claims}");
        }
    }

    #[test]
    fn padding_is_tolerated() {
        let token = format!("e30=.{}.c2ln", URL_SAFE.encode(r#"{"exp":1767323045 }"#));
        assert!(token.contains("=.c2ln"));
        assert!(expiry(&token).is_some());
    }

    #[test]
    fn other_tokens_are_opaque() {
        for token in ["", "opaque", "a.b", "a.b.c", "..", "e30.eyJleHAiOjF9", "a.eyJleHAiOjF9.c.d.e", "a.\u{e4}.c"] {
            assert_eq!(expiry(token), None, "{token}");
        }
    }
}
