//! An access token in memory.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, header::InvalidHeaderValue};
use zeroize::Zeroizing;

use crate::{Error, RequestHeader, pb::v1};

/// An access token and all that is needed to use it. Clones share it; the memory of the last one is wiped.
#[derive(Clone)]
pub struct Token(pub(crate) Arc<Facts>);

pub(crate) struct Facts {
    client: String,
    access_token: Zeroizing<String>,
    token_type: String,
    authorization: Zeroizing<String>,
    id: String,
    issued_at: SystemTime,
    expires_at: SystemTime,
    scope: String,
    headers: Vec<RequestHeader>,
    proof_required: bool,
}

impl Token {
    /// Reads the daemon's message.
    pub(crate) fn read(message: v1::Token) -> Result<Self, Error> {
        let time = |stamp: Option<prost_types::Timestamp>| stamp.and_then(|stamp| SystemTime::try_from(stamp).ok());
        let (issued_at, expires_at) = time(message.issued_at)
            .zip(time(message.expires_at))
            .ok_or_else(|| Error::nonsense("a token without its times"))?;
        let facts = Facts {
            client: message.client,
            access_token: Zeroizing::new(message.access_token),
            token_type: message.token_type,
            authorization: Zeroizing::new(message.authorization),
            id: message.id,
            issued_at,
            expires_at,
            scope: message.scope,
            headers: message.headers.into_iter().map(RequestHeader::read).collect::<Result<_, _>>()?,
            proof_required: message.proof_required,
        };
        if HeaderValue::from_str(&facts.authorization).is_err() {
            return Err(Error::nonsense("a token that no header can carry"));
        }
        Ok(Self(Arc::new(facts)))
    }

    /// Name of the client it belongs to.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.0.client
    }

    /// The access token. Secret.
    #[must_use]
    pub fn access_token(&self) -> &str {
        &self.0.access_token
    }

    /// Normally `Bearer` (RFC 6750), or `DPoP` (RFC 9449).
    #[must_use]
    pub fn token_type(&self) -> &str {
        &self.0.token_type
    }

    /// The complete value of the `Authorization` header. Secret.
    #[must_use]
    pub fn authorization(&self) -> &str {
        &self.0.authorization
    }

    /// Tells two tokens apart. Opaque, safe to log.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// When the request that brought it was sent, wall clock.
    #[must_use]
    pub fn issued_at(&self) -> SystemTime {
        self.0.issued_at
    }

    /// When it stops being valid, wall clock.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.0.expires_at
    }

    /// The granted scope, space separated (RFC 6749 section 3.3). Empty when the issuer did not say.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.0.scope
    }

    /// What each API call must carry beside `Authorization`.
    #[must_use]
    pub fn headers(&self) -> &[RequestHeader] {
        &self.0.headers
    }

    /// Whether it is bound to a key (RFC 9449), so that each API call needs a proof of its own:
    /// [`Client::sign_proof`](crate::Client::sign_proof).
    #[must_use]
    pub fn proof_required(&self) -> bool {
        self.0.proof_required
    }

    /// The `Authorization` header, marked so that HTTP libraries neither log nor index it.
    pub(crate) fn credentials(&self) -> Result<HeaderValue, InvalidHeaderValue> {
        let mut value = HeaderValue::from_str(&self.0.authorization)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// See [`Facts::are_good_for`].
    pub(crate) fn is_good_for(&self, min_validity: Duration, now: SystemTime) -> bool {
        self.0.are_good_for(min_validity, now)
    }

    /// Whether it was issued after this one.
    pub(crate) fn is_newer_than(&self, other: &Self) -> bool {
        self.0.id != other.0.id && self.0.issued_at >= other.0.issued_at
    }
}

impl Facts {
    /// Whether the token lives long enough for this minimum validity, and for the margin that every use gets: the smaller
    /// of 30 s and a tenth of its life.
    pub(crate) fn are_good_for(&self, min_validity: Duration, now: SystemTime) -> bool {
        let life = self.expires_at.duration_since(self.issued_at).unwrap_or_default();
        let margin = (life / 10).min(MAX_MARGIN).max(min_validity);
        self.expires_at.checked_sub(margin).is_some_and(|last| now < last)
    }
}

impl fmt::Debug for Token {
    /// Without the token itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Facts { client, id, token_type, issued_at, expires_at, scope, proof_required, .. } = &*self.0;
        f.debug_struct("Token")
            .field("client", client)
            .field("id", id)
            .field("token_type", token_type)
            .field("issued_at", issued_at)
            .field("expires_at", expires_at)
            .field("scope", scope)
            .field("proof_required", proof_required)
            .finish_non_exhaustive()
    }
}

/// A tenth of a longer life would be wasted.
const MAX_MARGIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Proof, tests::token};

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[tokio::test(start_paused = true)]
    async fn the_margin_is_a_tenth_of_the_life_and_at_most_half_a_minute() {
        for (life, margin) in [(10, 1), (100, 10), (300, 30), (3600, 30)] {
            let token = Token::read(token("a", life)).unwrap();
            let last = token.issued_at() + seconds(life - margin);
            assert!(token.is_good_for(Duration::ZERO, last - Duration::from_nanos(1)), "{life}");
            assert!(!token.is_good_for(Duration::ZERO, last), "{life}");
            assert!(
                token.is_good_for(seconds(margin), last - Duration::from_nanos(1)),
                "a shorter wish changes nothing"
            );
            assert!(!token.is_good_for(seconds(margin + 1), last - seconds(1)), "a longer one does");
            assert!(!token.is_good_for(Duration::MAX, token.issued_at()));
        }
    }

    #[test]
    fn no_text_form_shows_it() {
        let message = token("a", 100);
        let read = Token::read(message.clone()).unwrap();
        let proof = Proof::new(read.clone(), "secret-proof".to_owned()).unwrap();
        let signed = v1::SignProofResponse { token: Some(message.clone()), proof: "secret-proof".to_owned() };
        let state = v1::watch_token_response::State::Token(message.clone());
        let text = format!("{message:?} {read:?} {read:#?} {proof:?} {signed:?} {state:?}");
        assert!(!text.contains("secret"), "{text}");
        assert!(text.contains("\"a\""), "the id is there: {text}");
    }
}
