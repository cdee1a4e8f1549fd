//! An answer with a token in it (RFC 6749 section 5.1).

use std::{borrow::Cow, collections::BTreeSet, time::Duration};

use super::{
    Answer, Expectations, IssuerTime, error,
    fields::{Fields, Value},
    jwt, lifetime,
};
use crate::{
    oauth::redact::Redactor,
    sensitive::Sensitive,
    token::{Failure, Issued},
};

/// What the issuer gave. Everything but a usable `access_token` may be missing or odd.
///
/// `refresh_token` (not meant for this grant, RFC 6749 section 4.4.3), `ext_expires_in` (validity during outages,
/// given up by those who invented it) and whatever else the issuer sends are ignored.
///
/// # Errors
/// There is no `access_token`, or it cannot be sent in a header.
pub(super) fn issued(
    answer: &Answer<'_>,
    fields: &Fields,
    expectations: &Expectations<'_>,
    clock: &IssuerTime,
) -> Result<Issued, Failure> {
    let value = access_token(fields, expectations.redactor).map_err(|problem| error::unusable(answer, &problem))?;
    let mut oddities = Oddities::new(expectations.redactor);
    if expectations.bound && !fields.text("token_type").is_some_and(|told| told.eq_ignore_ascii_case(DPOP)) {
        // RFC 9449 section 5: whoever steals such a token can use it.
        return Err(error::unusable(
            answer,
            "a token that is not bound to the key (its token_type is not DPoP); remove dpop",
        ));
    }
    let token_type = token_type(fields, expectations, &mut oddities);
    let expires_in = lifetime::told(fields, expectations, clock, &mut oddities);
    let jwt_lifetime = jwt::expiry(value.expose()).map(|exp| clock.until(exp));
    note_early_exp(expires_in, jwt_lifetime, &mut oddities);
    let refresh_in = lifetime::refresh_hint(fields, &mut oddities);
    let scope = scope(fields, expectations, &mut oddities);
    oddities.notes.extend(clock.oddity().map(String::into_boxed_str));
    Ok(Issued {
        value,
        token_type,
        scope,
        expires_in,
        jwt_lifetime,
        refresh_in,
        secret_in_use: 0,
        oddities: oddities.notes,
        binding: None,
    })
}

/// Collects what is odd about an answer, for a person.
pub(super) struct Oddities<'a> {
    notes: Vec<Box<str>>,
    redactor: &'a Redactor,
}

impl<'a> Oddities<'a> {
    fn new(redactor: &'a Redactor) -> Self {
        Self { notes: Vec::new(), redactor }
    }

    /// Adds a sentence.
    pub(super) fn note(&mut self, text: String) {
        self.notes.push(text.into());
    }

    /// The issuer's words, fit for a sentence.
    pub(super) fn excerpt(&self, text: &str) -> String {
        self.redactor.excerpt(text, QUOTED)
    }
}

/// The token, if it can be used: in a header there is room for visible ASCII only (RFC 6749 appendix A.12 allows a
/// space as well, but no credentials with one could be told apart, RFC 9110 section 11.4).
fn access_token(fields: &Fields, redactor: &Redactor) -> Result<Sensitive, String> {
    let token = match fields.get("access_token") {
        Some(Value::Text(token)) => token,
        Some(Value::Null) => return Err("a null access_token".to_owned()),
        Some(_) => return Err("an access_token that is not a text".to_owned()),
        None => return Err(no_token(fields, redactor)),
    };
    if token.trim().is_empty() {
        return Err("an empty access_token".to_owned());
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "an access_token with blanks, control or non-ASCII characters, which no header can carry".to_owned()
        );
    }
    Ok(Sensitive::new(token.as_str()))
}

fn no_token(fields: &Fields, redactor: &Redactor) -> String {
    if fields.names().is_empty() {
        return "no access_token in it; check token_url".to_owned();
    }
    // The names only: one of the values may well be a token.
    let names = redactor.excerpt(&fields.names().join(", "), QUOTED);
    format!("no access_token among its fields ({names}); check token_url")
}

/// The authentication scheme (RFC 6749 section 7.1): as configured, else as answered, else `Bearer`.
fn token_type(fields: &Fields, expectations: &Expectations<'_>, oddities: &mut Oddities<'_>) -> Cow<'static, str> {
    if expectations.bound {
        return Cow::Borrowed(DPOP);
    }
    if let Some(forced) = expectations.token_type {
        return Cow::Owned(forced.to_owned());
    }
    match fields.text("token_type") {
        None => {
            oddities.note("token_type is missing; Bearer is used (set token_type if it is wrong)".to_owned());
            BEARER
        }
        Some(told) if told.eq_ignore_ascii_case("bearer") || told.eq_ignore_ascii_case("bearertoken") => BEARER,
        Some(told) if is_scheme(told) => {
            let shown = oddities.excerpt(told);
            oddities.note(format!("token_type is {shown} instead of Bearer (set token_type if it is wrong)"));
            Cow::Owned(told.to_owned())
        }
        Some(told) => {
            let shown = oddities.excerpt(told);
            oddities
                .note(format!("token_type \"{shown}\" is no scheme; Bearer is used (set token_type if it is wrong)"));
            BEARER
        }
    }
}

/// Whether a text can be an authentication scheme: a token in the sense of RFC 9110 section 5.6.2, of sane length.
fn is_scheme(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    text.len() <= LONGEST_SCHEME && text.bytes().all(allowed)
}

/// The granted scope, if the issuer said it.
fn scope(fields: &Fields, expectations: &Expectations<'_>, oddities: &mut Oddities<'_>) -> Option<Box<str>> {
    let granted = fields.text("scope")?;
    if granted.len() > LONGEST_SCOPE || granted.chars().any(char::is_control) {
        oddities.note("the granted scope is unreadable; it is ignored".to_owned());
        return None;
    }
    if let Some(asked) = expectations.scope {
        // Some issuers separate with commas; the order never matters (RFC 6749 section 3.3).
        let words = |text: &'_ str| -> BTreeSet<String> {
            text.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        if words(asked) != words(granted) {
            let shown = oddities.excerpt(granted);
            oddities.note(format!("the granted scope is \"{shown}\", not what was asked for (see scope)"));
        }
    }
    Some(granted.into())
}

fn note_early_exp(told: Option<Duration>, claimed: Option<Duration>, oddities: &mut Oddities<'_>) {
    if let (Some(told), Some(claimed)) = (told, claimed)
        && claimed.saturating_add(CLOSE) < told
    {
        let (told, claimed) = (told.as_secs(), claimed.as_secs());
        oddities.note(format!(
            "the token's own expiry (JWT exp) comes after {claimed} s, expires_in says {told} s; the earlier counts"
        ));
    }
}

const DPOP: &str = "DPoP";
const BEARER: Cow<'static, str> = Cow::Borrowed("Bearer");
/// How much of the issuer's words is quoted in an oddity, in bytes.
const QUOTED: usize = 100;
/// No registered scheme is nearly as long.
const LONGEST_SCHEME: usize = 40;
/// More is not remembered with each token.
const LONGEST_SCOPE: usize = 8 * 1024;
/// Two lifetimes that differ by less are the same, rounded and delayed.
const CLOSE: Duration = Duration::from_secs(5);
