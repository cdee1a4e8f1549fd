//! Proof that the caller's side holds the key that a token is bound to (DPoP, RFC 9449).

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use crate::{Error, Token, headers};

/// A proof for one call of an API, with the token that it goes with.
#[derive(Clone)]
pub struct Proof {
    token: Token,
    value: Zeroizing<String>,
}

impl Proof {
    pub(crate) fn new(token: Token, value: String) -> Result<Self, Error> {
        let proof = Self { token, value: Zeroizing::new(value) };
        proof.header().map(|_| proof)
    }

    /// The token, which may be a newer one than was read before.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// The value of the `DPoP` header. Good for one use, within seconds.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// All headers of the call: those that [`Token::header_map`] gives, and the proof.
    ///
    /// # Errors
    /// `HEADER_MISSING` or `HEADER_INVALID` if a per-call header is not given, or not as configured.
    pub fn header_map<N, V>(&self, per_call: impl IntoIterator<Item = (N, V)>) -> Result<HeaderMap, Error>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut headers = headers::collect(per_call, self.token.client())?;
        self.authorize(&mut headers)?;
        Ok(headers)
    }

    /// Completes the headers of the call.
    pub(crate) fn authorize(&self, headers: &mut HeaderMap) -> Result<(), Error> {
        self.token.authorize(headers)?;
        headers.insert(DPOP, self.header()?);
        Ok(())
    }

    fn header(&self) -> Result<HeaderValue, Error> {
        let mut value =
            HeaderValue::from_str(&self.value).map_err(|_| Error::nonsense("a proof that no header can carry"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Proof {
    /// Without the proof itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").field("token", &self.token).finish_non_exhaustive()
    }
}

/// RFC 9449 section 4.
pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");
