//! The APIs beside the embedded issuer, which play a partner's: what tokens are for.
//!
//! They check each token's signature, issuer, expiry and revocation as a resource server does (RFC 6750), and one of
//! them wants to know on whose behalf it is called.

use http::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};

use super::{
    jwt::Claims,
    mint::Mint,
    reply::{self, Reply},
};

/// Greets whoever has a good token.
pub(super) fn hello(mint: &Mint, headers: &HeaderMap) -> Reply {
    admitted(mint, headers, |claims| Ok(json!({ "hello": claims.sub, "jti": claims.jti })))
}

/// Checks a payment, as it were. Wants nothing but a good token.
pub(super) fn validations(mint: &Mint, headers: &HeaderMap) -> Reply {
    admitted(mint, headers, |claims| Ok(json!({ "valid": true, "checked_for": claims.sub })))
}

/// The accounts that a natural person may see: each call names that person in `Requestor-ID`.
pub(super) fn accounts(mint: &Mint, headers: &HeaderMap) -> Reply {
    admitted(mint, headers, |_| {
        let requestor = requestor(headers).ok_or("name the natural person in Requestor-ID: 1 to 20 digits")?;
        Ok(json!({ "requestor": requestor, "accounts": [{ "name": "Main account", "balance": "1204.50" }] }))
    })
}

/// The answer for whoever has a good token; without one, the refusal that RFC 6750 section 3 wants.
fn admitted(mint: &Mint, headers: &HeaderMap, answer: impl FnOnce(Claims) -> Result<Value, &'static str>) -> Reply {
    let refused = |challenge, why| {
        let refused = reply::json(StatusCode::UNAUTHORIZED, &json!({ "error": why }));
        reply::with(refused, WWW_AUTHENTICATE, challenge)
    };
    match bearer(headers).map(|token| mint.admit(token)) {
        Some(Ok(claims)) => match answer(claims) {
            Ok(answer) => reply::json(StatusCode::OK, &answer),
            Err(why) => reply::json(StatusCode::BAD_REQUEST, &json!({ "error": why })),
        },
        Some(Err(why)) => refused(r#"Bearer error="invalid_token""#, why),
        // Where there is no token, nothing is wrong with it (RFC 6750 section 3.1).
        None => refused("Bearer", "send a token, as Authorization: Bearer TOKEN"),
    }
}

/// The token of the `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// The one `Requestor-ID`, if it can be one.
fn requestor(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("requestor-id").iter();
    let value = values.next()?.to_str().ok()?;
    let well_formed = (1..=20).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    (well_formed && values.next().is_none()).then_some(value)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_requestor_is_one_number() {
        let named = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("Requestor-ID", HeaderValue::from_static(value));
            }
            requestor(&headers).map(str::to_owned)
        };
        assert_eq!(named(&["4711"]).as_deref(), Some("4711"));
        assert_eq!(named(&["01234567890123456789"]).as_deref(), Some("01234567890123456789"));
        for bad in [&[][..], &[""], &["47x"], &["-1"], &["012345678901234567890"], &["1", "2"]] {
            assert_eq!(named(bad), None, "{bad:?}");
        }
    }
}
