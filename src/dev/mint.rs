//! Issues the tokens of the embedded issuer and knows them again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::{
    jwt::{Claims, SigningKey},
    token_request::{Refusal, TokenRequest},
};
use crate::clock::Clock;

/// Issues tokens for one client.
pub(super) struct Mint {
    issuer: String,
    client_id: String,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
    key: SigningKey,
    /// How many tokens were issued, which is also the serial number of the newest.
    issued: AtomicU64,
    /// Tokens up to this serial number are revoked.
    revoked: AtomicU64,
}

impl Mint {
    /// A mint that has issued nothing yet.
    pub(super) fn new(
        issuer: String,
        client_id: String,
        lifetime: Duration,
        clock: Arc<dyn Clock>,
        key: SigningKey,
    ) -> Self {
        Self { issuer, client_id, lifetime, clock, key, issued: AtomicU64::new(0), revoked: AtomicU64::new(0) }
    }

    /// Issues a token: the answer of RFC 6749 section 5.1.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(super) fn issue(&self, request: TokenRequest) -> Result<Value, Refusal> {
        let serial = self.issued.fetch_add(1, Ordering::Relaxed) + 1;
        let claims = self.claims(serial, request);
        let token = self.key.sign(&claims).map_err(|_| Refusal::SERVER_ERROR)?;
        tracing::debug!(jti = claims.jti, "dev issuer issued a token");
        let lifetime = claims.exp.saturating_sub(claims.iat);
        Ok(match claims.scope {
            Some(scope) => {
                json!({ "access_token": token, "token_type": "Bearer", "expires_in": lifetime, "scope": scope })
            }
            None => json!({ "access_token": token, "token_type": "Bearer", "expires_in": lifetime }),
        })
    }

    /// Whether a token is good, as an API sees it.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub(super) fn admit(&self, token: &str) -> Result<Claims, &'static str> {
        let claims = self.key.open(token).ok_or("this issuer did not issue the token")?;
        if claims.exp <= self.now() {
            return Err("the token has expired");
        }
        let serial = claims.jti.split_once('-').and_then(|(serial, _)| serial.parse::<u64>().ok());
        let revoked = serial.is_none_or(|serial| serial <= self.revoked.load(Ordering::Relaxed));
        if revoked { Err("the token was revoked") } else { Ok(claims) }
    }

    /// Revokes every token issued so far.
    pub(super) fn revoke_all(&self) {
        let newest = self.issued();
        self.revoked.fetch_max(newest, Ordering::Relaxed);
        tracing::info!(tokens = newest, "dev issuer revoked its tokens");
    }

    /// How many tokens were issued.
    pub(super) fn issued(&self) -> u64 {
        self.issued.load(Ordering::Relaxed)
    }

    /// Who issues: the base URL.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The public key as a key set (RFC 7517 section 5).
    pub(super) fn key_set(&self) -> Value {
        self.key.key_set()
    }

    fn claims(&self, serial: u64, request: TokenRequest) -> Claims {
        let now = self.now();
        let own_api = || vec![format!("{}/api", self.issuer)];
        Claims {
            iss: self.issuer.clone(),
            sub: self.client_id.clone(),
            client_id: self.client_id.clone(),
            aud: if request.audience.is_empty() { own_api() } else { request.audience },
            iat: now,
            exp: now.saturating_add(self.lifetime.as_secs().max(1)),
            // The serial number is what revocation goes by; the rest tells tokens of different runs apart.
            jti: format!("{serial}-{:016x}", fastrand::u64(..)),
            scope: request.scope,
        }
    }

    /// Seconds since 1970.
    fn now(&self) -> u64 {
        self.clock.now().wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;

    fn mint(clock: &TestClock) -> Mint {
        let key = SigningKey::generate().unwrap();
        let lifetime = Duration::from_secs(60);
        Mint::new("http://127.0.0.1:1".to_owned(), "demo".to_owned(), lifetime, Arc::new(clock.clone()), key)
    }

    fn request(scope: Option<&str>, audience: &[&str]) -> TokenRequest {
        TokenRequest { scope: scope.map(str::to_owned), audience: audience.iter().map(|&api| api.to_owned()).collect() }
    }

    fn token(mint: &Mint) -> String {
        mint.issue(request(None, &[])).unwrap()["access_token"].as_str().unwrap().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_says_what_was_asked_for() {
        let mint = mint(&TestClock::new());
        let plain = mint.issue(request(None, &[])).unwrap();
        assert_eq!((&plain["token_type"], &plain["expires_in"]), (&json!("Bearer"), &json!(60)));
        assert!(plain.get("scope").is_none());
        let claims = mint.admit(plain["access_token"].as_str().unwrap()).unwrap();
        assert_eq!((claims.exp - claims.iat, claims.scope), (60, None));
        assert_eq!(claims.aud, ["http://127.0.0.1:1/api"]);
        let scoped = mint.issue(request(Some("a b"), &["x", "y"])).unwrap();
        assert_eq!(scoped["scope"], "a b");
        let claims = mint.admit(scoped["access_token"].as_str().unwrap()).unwrap();
        assert_eq!(claims.scope.as_deref(), Some("a b"));
        assert_eq!(claims.aud, ["x", "y"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_good_until_it_expires() {
        let clock = TestClock::new();
        let mint = mint(&clock);
        let token = token(&mint);
        clock.step_wall_forward(Duration::from_secs(59));
        assert!(mint.admit(&token).is_ok());
        clock.step_wall_forward(Duration::from_secs(1));
        assert_eq!(mint.admit(&token), Err("the token has expired"));
    }

    #[tokio::test(start_paused = true)]
    async fn revocation_spares_later_tokens() {
        let mint = mint(&TestClock::new());
        let (first, second) = (token(&mint), token(&mint));
        mint.revoke_all();
        let third = token(&mint);
        assert_eq!(mint.admit(&first), Err("the token was revoked"));
        assert_eq!(mint.admit(&second), Err("the token was revoked"));
        assert!(mint.admit(&third).is_ok());
        assert_eq!(mint.issued(), 3);
    }
}
