//! A client of the broker: where its token is read.

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderMap;

use crate::{Error, Proof, Report, Token, follower::Follower, pb::v1};

/// One configured client, whose token is kept fresh in memory. Clones are the same client.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Follower>);

impl Client {
    /// Its name in the daemon's configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.client
    }

    /// The token to use now. While the daemon keeps it fresh, that is a look into memory.
    ///
    /// The first read connects to the daemon and begins to follow the client, in a task of the runtime that it runs in.
    /// It waits while the first token is on its way, up to the broker's timeout.
    ///
    /// # Errors
    /// Why there is none: see [`Error::reason`].
    pub async fn token(&self) -> Result<Token, Error> {
        self.token_with(ReadOptions::new()).await
    }

    /// The token, if need be a newer one, with what this read asks for.
    ///
    /// # Errors
    /// Why there is none: see [`Error::reason`]. `VALIDITY_UNATTAINABLE` if the tokens do not live as long as asked for.
    pub async fn token_with(&self, options: ReadOptions) -> Result<Token, Error> {
        if let Some(token) = self.0.memory.at_hand(options.min_validity) {
            return Ok(token);
        }
        Box::pin(self.0.read(options.min_validity, options.timeout.unwrap_or(self.0.patience))).await
    }

    /// The token if it is in memory and good for a use now. Neither waits nor connects: until a first read has been made,
    /// and while there is no token, that is `None`.
    #[must_use]
    pub fn current(&self) -> Option<Token> {
        self.0.memory.at_hand(Duration::ZERO).or_else(|| self.0.memory.usable())
    }

    /// All headers of one API call: `Authorization`, the fixed ones, and those of the call that are given.
    ///
    /// # Errors
    /// As [`token`](Self::token) and [`Token::header_map`].
    pub async fn headers<N, V>(&self, per_call: impl IntoIterator<Item = (N, V)>) -> Result<HeaderMap, Error>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        self.token().await?.header_map(per_call)
    }

    /// Says that an API answered 401 to a token, and returns the one to use instead.
    ///
    /// If there is a newer token already, nobody is asked. Else the daemon retires this one, and until it has answered no
    /// reader gets it. Those who report the same token at the same time share one call. When the outcome has the same
    /// [`id`](Token::id), another try is of no use. Not for 400 and 403, which are not the token's fault.
    ///
    /// # Errors
    /// The daemon cannot be reached, or has no token any more.
    pub async fn report(&self, refused: &Token) -> Result<Report, Error> {
        self.report_id(refused.id()).await
    }

    /// The same where only the [`id`](Token::id) is known.
    ///
    /// # Errors
    /// As [`report`](Self::report).
    pub async fn report_id(&self, refused: &str) -> Result<Report, Error> {
        Box::pin(self.0.report(refused)).await
    }

    /// A proof for one HTTP call with a token that is [bound to a key](Token::proof_required) (DPoP, RFC 9449).
    ///
    /// `nonce` is what the API gave last in its `DPoP-Nonce` header, if it did. Each proof is a call to the daemon, which
    /// alone has the key.
    ///
    /// # Errors
    /// As [`token`](Self::token); `PROOF_NOT_NEEDED` if the client's tokens are not bound to a key.
    pub async fn sign_proof(&self, method: &str, url: &str, nonce: Option<&str>) -> Result<Proof, Error> {
        let request = v1::SignProofRequest {
            client: self.0.client.clone(),
            method: method.to_owned(),
            url: url.to_owned(),
            nonce: nonce.unwrap_or_default().to_owned(),
        };
        Box::pin(self.0.sign_proof(request)).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// What one read asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    min_validity: Duration,
    timeout: Option<Duration>,
}

impl ReadOptions {
    /// A token that is good for a use now, within the broker's timeout.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the token must at least be valid from now. In any case it is for the smaller of 30 s and a tenth of its
    /// life.
    #[must_use]
    pub fn min_validity(self, min_validity: Duration) -> Self {
        Self { min_validity, ..self }
    }

    /// How long to wait for a token that is on its way, instead of the broker's timeout.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }
}
