//! Proofs that whoever presents a token holds its key (RFC 9449).

use std::sync::{Arc, Mutex, PoisonError};

use ring::digest;
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    assertion,
    jws::{self, Algorithm, KeyError, SigningKey},
};
use crate::{
    clock::Clock,
    sensitive::Sensitive,
    token::{ProvenCall, Prover},
};

/// A key that tokens are bound to, drawn at start and gone with the process.
pub(super) struct ProofKey {
    key: SigningKey,
    /// Its public half.
    jwk: Value,
    clock: Arc<dyn Clock>,
    /// What the issuer wants to see in the next proof (RFC 9449 section 8).
    nonce: Mutex<Option<Box<str>>>,
}

impl ProofKey {
    /// Draws one.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(super) fn draw(clock: Arc<dyn Clock>) -> Result<Self, KeyError> {
        let key = SigningKey::draw()?;
        // An uncompressed point: a tag byte, then the two coordinates.
        let point = key.p256_point().and_then(|point| point.get(1..)?.split_at_checked(32));
        let (x, y) = point.ok_or(KeyError::from("is not on P-256"))?;
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": jws::encoded(x), "y": jws::encoded(y) });
        Ok(Self { key, jwk, clock, nonce: Mutex::default() })
    }

    /// The nonce that the issuer gave last.
    pub(super) fn nonce(&self) -> Option<Box<str>> {
        self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the nonce that an answer brought (RFC 9449 section 8.2).
    pub(super) fn keep_nonce(&self, nonce: &str) {
        if nonce.len() <= LONGEST_NONCE {
            *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = Some(nonce.into());
        }
    }

    /// A proof for a token request, by the issuer's clock.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(super) fn for_request(&self, url: &Url, nonce: Option<&str>, now: u64) -> Result<String, KeyError> {
        let url = bare(url);
        self.sign(&ProvenCall { method: "POST", url: &url, nonce }, None, now)
    }

    /// RFC 9449 section 4.2.
    fn sign(&self, call: &ProvenCall<'_>, token: Option<&Sensitive>, now: u64) -> Result<String, KeyError> {
        let header = [("typ", Value::from("dpop+jwt")), ("jwk", self.jwk.clone())];
        let mut claims = vec![
            ("jti", Value::from(assertion::unique()?)),
            ("htm", call.method.into()),
            ("htu", call.url.into()),
            ("iat", now.into()),
        ];
        claims.extend(call.nonce.map(|nonce| ("nonce", nonce.into())));
        claims.extend(token.map(|token| {
            let hash = digest::digest(&digest::SHA256, token.expose().as_bytes());
            ("ath", jws::encoded(hash.as_ref()).into())
        }));
        let named = |(name, value): (&str, Value)| (name.to_owned(), value);
        let claims: Map<_, _> = claims.into_iter().map(named).collect();
        jws::sign(&self.key, Algorithm::Es256, header.map(named).into_iter().collect(), &claims)
            .map(|proof| proof.to_string())
    }
}

impl Prover for ProofKey {
    fn prove(&self, call: &ProvenCall<'_>, token: &Sensitive) -> Option<String> {
        self.sign(call, Some(token), assertion::seconds(self.clock.now().wall)).ok()
    }
}

/// Without query and fragment.
fn bare(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// Longer ones make requests that nobody takes.
const LONGEST_NONCE: usize = 1024;
