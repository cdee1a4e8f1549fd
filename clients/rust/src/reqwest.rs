//! HTTP calls of an API with [reqwest](https://docs.rs/reqwest): each carries the token and what else the API wants, and one that is
//! answered 401 is sent once more with a new token.
//!
//! ```no_run
//! use bearerd_client::{Broker, reqwest::Http};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Broker::new();
//! let partner = Http::new(broker.client("partner"))?;
//! let request = partner.get("https://api.example.com/accounts").header("Requestor-ID", "4711");
//! let accounts = partner.send(request).await?.text().await?;
//! # Ok(())
//! # }
//! ```

mod error;
mod redirect;
mod secure;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ::reqwest::{ClientBuilder, IntoUrl, Method, Request, RequestBuilder, Response, Url, redirect::Policy};
use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, WWW_AUTHENTICATE},
};
use tonic::Code;

use redirect::Hop;

use crate::{Client, Error as BrokerError, Proof, Token, proof::DPOP, reason};
pub use error::Error;

/// Calls an API as one client of the broker. Clones share connections.
///
/// Each request
/// - goes to an `https` URL, or to this machine ([`allow_http`](HttpBuilder::allow_http) lifts that);
/// - gets `Authorization`, in place of what is there, and the fixed headers of the configuration. Headers that the
///   configuration marks `per_call` are given like any other header of a request; one that is missing or does not match
///   is an error, and nothing is sent;
/// - gets a proof of its own if the token is bound to a key (DPoP, RFC 9449).
///
/// When the API answers 401, the token is reported, and if there is another one, the request is sent once more, unless its
/// body is a stream, which cannot be. What comes back then is the answer, whatever it is. A request that lacked the API's
/// DPoP nonce is sent once more with it, without a report.
///
/// Redirects are followed here, not by reqwest: it takes other headers than `Authorization` along to other hosts. On the
/// origin (scheme, host and port) of the request each hop is authorized anew; from the first hop on that leaves it,
/// `Authorization`, `DPoP`, cookies, and all headers that the configuration declares are left out.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

struct Inner {
    client: Client,
    http: ::reqwest::Client,
    allow_http: bool,
    max_redirects: usize,
    /// The newest nonce of each origin. Held for a look-up only, never while waiting.
    nonces: Mutex<HashMap<String, String>>,
}

/// Settings of an [`Http`].
#[derive(Debug)]
pub struct HttpBuilder {
    client: Client,
    http: ClientBuilder,
    allow_http: bool,
    max_redirects: usize,
}

impl HttpBuilder {
    /// What to make the HTTP client of: timeouts, TLS, proxies. Its redirect policy is replaced.
    #[must_use]
    pub fn with(self, http: ClientBuilder) -> Self {
        Self { http, ..self }
    }

    /// Lets the token be sent to `http` URLs of other machines. Whoever is on the way reads it there.
    #[must_use]
    pub fn allow_http(self, allow: bool) -> Self {
        Self { allow_http: allow, ..self }
    }

    /// How many redirects are followed: 10 unless set. With 0 the redirect itself is the answer.
    #[must_use]
    pub fn max_redirects(self, max: usize) -> Self {
        Self { max_redirects: max, ..self }
    }

    /// The caller of the API.
    ///
    /// # Errors
    /// reqwest cannot make a client of its settings.
    pub fn build(self) -> Result<Http, Error> {
        let Self { client, http, allow_http, max_redirects } = self;
        let http = http.redirect(Policy::none()).build()?;
        Ok(Http(Arc::new(Inner { client, http, allow_http, max_redirects, nonces: Mutex::default() })))
    }
}

/// What a request is sent with.
enum Grant {
    Bearer(Token),
    Bound(Proof),
}

/// What a call may still do once.
struct Once {
    token: bool,
    nonce: bool,
}

impl Http {
    /// Calls the API as this client, with reqwest's own defaults.
    ///
    /// # Errors
    /// reqwest cannot make a client.
    pub fn new(client: Client) -> Result<Self, Error> {
        Self::builder(client).build()
    }

    /// Calls the API as this client, with other settings.
    #[must_use]
    pub fn builder(client: Client) -> HttpBuilder {
        HttpBuilder { client, http: ::reqwest::Client::builder(), allow_http: false, max_redirects: MAX_REDIRECTS }
    }

    /// The client of the broker.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// Begins a request, which [`send`](Self::send) sends. (Its own `send` would send it without a token.)
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        self.0.http.request(method, url)
    }

    /// Begins a GET request.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// Begins a POST request.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// Completes a request and sends it.
    ///
    /// # Errors
    /// As [`execute`](Self::execute), and if the request cannot be built.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        self.execute(request.build()?).await
    }

    /// Completes a request, sends it, and if need be sends it once more.
    ///
    /// # Errors
    /// [`Error::Broker`] if there is no token (nothing was sent then), a header is missing or invalid, or the URL is not
    /// secure; [`Error::Http`] if reqwest fails. A status like 401 is no error.
    pub async fn execute(&self, request: Request) -> Result<Response, Error> {
        let url = request.url();
        if !self.0.allow_http && !secure::is_secure(url) {
            let message = format!("a token is not sent to {}, which is neither https nor on this machine", origin(url));
            return Err(BrokerError::new(reason::URL_INSECURE, Code::InvalidArgument, message).into());
        }
        let (home, mut away, mut once) = (origin(url), false, Once { token: true, nonce: true });
        let mut request = request;
        for left in (0..=self.0.max_redirects).rev() {
            let (without_body, with_body) = (without_body(&request), request.try_clone());
            let (response, declared) = if away {
                (self.0.http.execute(request).await?, None)
            } else {
                let (response, token) = self.authorized(request, &mut once).await?;
                (response, Some(token))
            };
            let hop = Hop::of(response.status(), response.headers(), without_body.method(), without_body.url());
            let Some(hop) = hop.filter(|_| self.0.max_redirects > 0) else { return Ok(response) };
            let next = if hop.with_body { with_body } else { Some(without_body) };
            // A stream has been used up.
            let Some(mut next) = next else { return Ok(response) };
            if left == 0 {
                return Err(Error::TooManyRedirects);
            }
            hop.trim(next.headers_mut());
            if let Some(token) = declared.filter(|_| origin(&hop.url) != home) {
                away = true;
                strip(next.headers_mut(), &token);
            }
            *next.method_mut() = hop.method;
            *next.url_mut() = hop.url;
            request = next;
        }
        Err(Error::TooManyRedirects)
    }

    /// Sends a request with the token, and if need be once more; also gives the token.
    async fn authorized(&self, mut request: Request, once: &mut Once) -> Result<(Response, Token), Error> {
        let mut grant = self.grant(self.client().token().await?, &request).await?;
        loop {
            let again = request.try_clone();
            grant.authorize(request.headers_mut())?;
            let place = origin(request.url());
            let response = self.0.http.execute(request).await?;
            let new_nonce = self.remember_nonce(place, response.headers());
            let token = grant.token().clone();
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok((response, token));
            }
            let nonce_missing = matches!(grant, Grant::Bound(_)) && new_nonce && wants_nonce(response.headers());
            let newer = if nonce_missing {
                std::mem::take(&mut once.nonce).then(|| token.clone())
            } else if std::mem::take(&mut once.token) {
                self.replacement(&token).await
            } else {
                None
            };
            let Some((newer, again)) = newer.zip(again) else { return Ok((response, token)) };
            drop(response);
            grant = self.grant(newer, &again).await?;
            request = again;
        }
    }

    /// Reports a token that was answered 401, and gives the one to try instead.
    async fn replacement(&self, refused: &Token) -> Option<Token> {
        let client = refused.client();
        match self.client().report(refused).await {
            Ok(report) => {
                tracing::debug!(client, token_id = refused.id(), outcome = report.rejection.as_str(), "401 reported");
                Some(report.token).filter(|token| token.id() != refused.id())
            }
            Err(error) => {
                tracing::warn!(client, token_id = refused.id(), reason = error.reason(), "401 not reported: {error}");
                None
            }
        }
    }

    /// What to send a request with, given a token.
    async fn grant(&self, token: Token, request: &Request) -> Result<Grant, Error> {
        if !token.proof_required() {
            return Ok(Grant::Bearer(token));
        }
        let url = request.url();
        let nonce = self.nonces().get(&origin(url)).cloned();
        let proof = self.client().sign_proof(request.method().as_str(), url.as_str(), nonce.as_deref()).await?;
        Ok(Grant::Bound(proof))
    }

    /// Keeps the nonce of an answer (RFC 9449 section 8.2). Says whether there was one.
    fn remember_nonce(&self, place: String, headers: &HeaderMap) -> bool {
        let nonce = headers.get(DPOP_NONCE).and_then(|nonce| nonce.to_str().ok());
        nonce.is_some_and(|nonce| {
            self.nonces().insert(place, nonce.to_owned());
            true
        })
    }

    fn nonces(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("client", self.client()).finish_non_exhaustive()
    }
}

impl Grant {
    fn token(&self) -> &Token {
        match self {
            Self::Bearer(token) => token,
            Self::Bound(proof) => proof.token(),
        }
    }

    fn authorize(&self, headers: &mut HeaderMap) -> Result<(), BrokerError> {
        match self {
            Self::Bearer(token) => token.authorize(headers),
            Self::Bound(proof) => proof.authorize(headers),
        }
    }
}

/// Scheme, host and port.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The same request with nothing to send.
fn without_body(request: &Request) -> Request {
    let mut bare = Request::new(request.method().clone(), request.url().clone());
    bare.headers_mut().clone_from(request.headers());
    *bare.version_mut() = request.version();
    *bare.timeout_mut() = request.timeout().copied();
    bare
}

/// Takes out what is for nobody but the API of the token.
fn strip(headers: &mut HeaderMap, token: &Token) {
    for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, DPOP] {
        headers.remove(name);
    }
    for header in token.headers() {
        headers.remove(header.name());
    }
}

/// Whether an answer says that the proof lacked the API's nonce (RFC 9449 section 9).
fn wants_nonce(headers: &HeaderMap) -> bool {
    headers.get_all(WWW_AUTHENTICATE).iter().any(|challenge| {
        let challenge = challenge.to_str().unwrap_or_default().to_ascii_lowercase();
        challenge.contains("dpop") && challenge.contains("use_dpop_nonce")
    })
}

const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// As many as reqwest follows.
const MAX_REDIRECTS: usize = 10;
