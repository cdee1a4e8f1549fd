//! One token request over HTTP, one answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use reqwest::{Request, Response};
use zeroize::Zeroizing;

use super::{
    Settings,
    redact::Redactor,
    request::TokenRequest,
    response::{self, Answer, Expectations},
    transport::HttpClient,
    unreachable,
};
use crate::{
    clock::Clock,
    secret::Read,
    sensitive::Sensitive,
    token::{
        Failure, FailureKind, Issued, TokenSource,
        source::{Fetching, Looking},
    },
};

/// The token endpoint of one client.
///
/// Holds nothing but references: what an attempt needs lives only as long as the attempt.
pub struct Endpoint {
    settings: Arc<Settings>,
    http: HttpClient,
    clock: Arc<dyn Clock>,
    /// The revision of the secret that was used last.
    used: AtomicU64,
}

impl Endpoint {
    /// An endpoint that is asked with these settings over this HTTP client, which should be made by
    /// [`Transports::client`](super::Transports::client) for `settings.transport`.
    #[must_use]
    pub fn new(settings: Arc<Settings>, http: HttpClient, clock: Arc<dyn Clock>) -> Self {
        Self { settings, http, clock, used: AtomicU64::new(0) }
    }

    async fn attempt(&self) -> Result<Issued, Failure> {
        let limit = self.settings.attempt_timeout;
        let mut stage = Stage::ReadingSecret;
        let outcome = tokio::time::timeout(limit, self.exchange(&mut stage)).await;
        outcome.unwrap_or_else(|_| Err(self.too_slow(&stage)))
    }

    async fn exchange(&self, stage: &mut Stage) -> Result<Issued, Failure> {
        let secret = self.settings.client_secret.read().await;
        let (secret, revision) = match secret {
            Ok(Read { secret, revision }) => (secret, revision),
            Err(error) => {
                self.used.store(error.revision(), Ordering::Relaxed);
                return Err(Failure::new(FailureKind::Misconfigured, error.to_string()));
            }
        };
        self.used.store(revision, Ordering::Relaxed);
        *stage = Stage::Asking;
        let sent = self.clock.now().wall;
        let http = self.http.current();
        let response = http.execute(self.request(&secret)).await.map_err(|error| self.unreachable(error))?;
        let reply = self.receive(response).await?;
        let mut issued = self.judge(&reply, sent, &secret)?;
        issued.secret_in_use = 1;
        Ok(issued)
    }

    /// The request of RFC 6749 section 4.4.2. Made by hand, as the builder would turn user information in the
    /// URL into a second `Authorization` header.
    fn request(&self, secret: &Sensitive) -> Request {
        let TokenRequest { form, authorization } = TokenRequest::build(&self.settings, secret);
        let mut request = Request::new(Method::POST, self.settings.token_url.clone());
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value);
        }
        *request.body_mut() = Some(form.into_bytes().into());
        request
    }

    /// Takes in the answer, at most 1 MiB of it.
    async fn receive(&self, mut response: Response) -> Result<Reply, Failure> {
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        let mut body = Zeroizing::new(Vec::with_capacity(FIRST_ROOM));
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if body.len().saturating_add(chunk.len()) > MOST_BODY {
                if (200..300).contains(&status) {
                    return Err(Failure::new(FailureKind::Malformed, format!("HTTP {status} with a body over 1 MiB")));
                }
                // What is there of an error page will do to name it.
                break;
            }
            append(&mut body, &chunk);
        }
        Ok(Reply { status, headers, body })
    }

    fn judge(&self, reply: &Reply, sent: SystemTime, secret: &Sensitive) -> Result<Issued, Failure> {
        let redactor = Redactor::new(&self.settings.client_id, &[secret]);
        let answer = Answer {
            status: reply.status,
            content_type: reply.header(&header::CONTENT_TYPE),
            content_encoding: reply.header(&header::CONTENT_ENCODING),
            date: reply.header(&header::DATE),
            retry_after: reply.header(&header::RETRY_AFTER),
            location: reply.header(&header::LOCATION),
            body: &reply.body,
            sent,
            received: self.clock.now().wall,
        };
        response::parse(&answer, &Expectations::new(&self.settings, &redactor))
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        unreachable::explain(error, &self.settings)
    }

    fn too_slow(&self, stage: &Stage) -> Failure {
        let limit = unreachable::seconds(self.settings.attempt_timeout);
        match stage {
            Stage::ReadingSecret => {
                Failure::new(FailureKind::Misconfigured, format!("the client secret could not be read within {limit}"))
            }
            Stage::Asking => {
                let host = unreachable::host(&self.settings.token_url);
                Failure::new(FailureKind::Unreachable, format!("no complete answer from {host} within {limit}"))
            }
        }
    }
}

impl TokenSource for Endpoint {
    fn fetch(&self) -> Fetching<'_> {
        Box::pin(self.attempt())
    }

    fn credentials_changed(&self) -> Looking<'_> {
        Box::pin(async {
            let now = self.settings.client_secret.revision().await;
            now.is_some_and(|now| now != self.used.load(Ordering::Relaxed))
        })
    }
}

/// How far an attempt has come.
enum Stage {
    ReadingSecret,
    Asking,
}

/// An answer that has been received as a whole.
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

impl Reply {
    fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Grows by moving into a larger buffer and wiping the old one, which `Vec` would not do.
fn append(body: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    let length = body.len() + chunk.len();
    if length > body.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(2 * length));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(chunk);
}

/// Room for all but the largest answers.
const FIRST_ROOM: usize = 8 * 1024;
/// Largest body that is taken in, in bytes.
const MOST_BODY: usize = 1024 * 1024;
