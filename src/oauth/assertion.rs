//! Assertions: signed statements that stand for a client or a subject (RFC 7521, RFC 7523, RFC 10070).

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value};

use super::{
    jws::{self, Algorithm, KeyError, SigningKey},
    response::jwt,
};
use crate::sensitive::Sensitive;

/// How assertions are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The name of the key for the issuer (`kid`); without one, what the key itself says.
    pub key_id: Option<Box<str>>,
    /// What to sign with; without one, what fits the key.
    pub algorithm: Option<Algorithm>,
    /// Whom the assertion is for.
    pub audience: Audience,
    /// The `typ` of the header.
    pub typ: Box<str>,
}

/// Whom an assertion is for: the only value of its `aud`, never a list (RFC 10070).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The issuer's identifier, as RFC 10070 wants it: a hostile server cannot use the assertion elsewhere.
    Issuer(Box<str>),
    /// Something that the issuer's documentation asks for.
    Other(Box<str>),
    /// The URL of the token endpoint, for servers from before RFC 10070.
    TokenEndpoint,
}

/// The facts of one request that an assertion states.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// URL of the token endpoint.
    pub token_url: &'a str,
    /// What time it is for the issuer.
    pub now: SystemTime,
}

impl Terms {
    /// Makes an assertion that lives for a minute, of `iss` about `sub`, with a `jti` that no other has.
    ///
    /// There is no `nbf`, and `iat` lies five seconds back: some servers refuse an assertion from a moment that their
    /// clock has not reached.
    ///
    /// # Errors
    /// The key cannot sign with the algorithm that is asked for, or the system gives no random numbers.
    pub fn sign(
        &self,
        key: &SigningKey,
        (iss, sub): (&str, &str),
        further: &[(Box<str>, Box<str>)],
        facts: &Facts<'_>,
    ) -> Result<Sensitive, KeyError> {
        let algorithm = key.algorithm(self.algorithm)?;
        let mut header = Map::from_iter([("typ".to_owned(), Value::from(&*self.typ))]);
        if let Some(id) = self.key_id.as_deref().or(key.id()) {
            header.insert("kid".to_owned(), id.into());
        }
        let audience = match &self.audience {
            Audience::Issuer(audience) | Audience::Other(audience) => audience,
            Audience::TokenEndpoint => facts.token_url,
        };
        let now = seconds(facts.now);
        let mut claims: Map<String, Value> =
            further.iter().map(|(name, value)| (name.to_string(), Value::from(&**value))).collect();
        let own: [(&str, Value); 6] = [
            ("iss", iss.into()),
            ("sub", sub.into()),
            ("aud", audience.into()),
            ("iat", now.saturating_sub(BACK_DATED).into()),
            ("exp", (now + LIFE).into()),
            ("jti", unique()?.into()),
        ];
        claims.extend(own.map(|(name, value)| (name.to_owned(), value)));
        let signed = jws::sign(key, algorithm, header, &claims)?;
        Ok(Sensitive::new(signed.as_str()))
    }
}

/// An assertion that somebody else made is over: what is sent must still count.
///
/// # Errors
/// How long it has been over, if it is a JWT that says when it ends and that is past.
pub(super) fn check_life(assertion: &str, now: SystemTime) -> Result<(), Expired> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    match jwt::expiry(assertion) {
        Some(end) if end <= now => Err(Expired(now.saturating_sub(end))),
        _ => Ok(()),
    }
}

/// It ended this long ago.
pub(super) struct Expired(Duration);

impl fmt::Display for Expired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "holds an assertion that expired {} s ago; whoever writes it there must renew it", self.0.as_secs())
    }
}

/// A text that no other request has (`jti`): 128 random bits.
pub(super) fn unique() -> Result<String, KeyError> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|_| KeyError::from("cannot be used: the system gives no random numbers"))?;
    Ok(jws::encoded(&bits))
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The `client_assertion_type` and the `typ` that are used unless others are asked for.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// See RFC 10070.
pub const TYP: &str = "client-authentication+jwt";
/// Seconds that an assertion lives. Auth0 allows 300, Keycloak 60.
const LIFE: u64 = 60;
const BACK_DATED: u64 = 5;
