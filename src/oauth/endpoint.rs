//! One token request over HTTP, one answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use reqwest::{Client, Request, Response};
use url::Url;
use zeroize::Zeroizing;

use super::{
    Place, Settings,
    assertion::{self, Facts},
    client_auth::Proof,
    credentials::{self, Credentials},
    discovery::Found,
    dpop::ProofKey,
    redact::Redactor,
    request::TokenRequest,
    response::{self, Answer, Expectations},
    transport::HttpClient,
    unreachable,
};
use crate::{
    clock::Clock,
    sensitive::Sensitive,
    token::{
        Binding, Failure, FailureKind, Issued, Prover, TokenSource,
        source::{Fetching, Looking, Revoking},
    },
};

/// The token endpoint of one client.
///
/// Holds nothing but references and what was learnt of the issuer: what an attempt needs lives only as long as the
/// attempt.
pub struct Endpoint {
    pub(super) settings: Arc<Settings>,
    pub(super) http: HttpClient,
    pub(super) clock: Arc<dyn Clock>,
    /// The revision of the credentials that were used last.
    used: AtomicU64,
    /// The key that tokens are bound to, if they are.
    bound: Option<Arc<ProofKey>>,
    /// By how many seconds the issuer's clock was ahead of the local one when it answered last.
    skew: AtomicI64,
}

impl Endpoint {
    /// An endpoint that is asked with these settings over this HTTP client, which should be made by
    /// [`Transports::client`](super::Transports::client) for `settings.transport`.
    #[must_use]
    pub fn new(settings: Arc<Settings>, http: HttpClient, clock: Arc<dyn Clock>) -> Self {
        // Without one, because the system gives no random numbers, each attempt says so.
        let bound = settings.dpop.then(|| ProofKey::draw(Arc::clone(&clock)).ok().map(Arc::new)).flatten();
        Self { settings, http, clock, used: AtomicU64::new(0), bound, skew: AtomicI64::new(0) }
    }

    async fn attempt(&self) -> Result<Issued, Failure> {
        let limit = self.settings.attempt_timeout;
        let mut stage = Stage::ReadingSecret;
        let outcome = tokio::time::timeout(limit, self.exchange(&mut stage)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(self.too_slow(&stage)));
        if let (Place::Discovered(issuer), Err(failure)) = (&self.settings.place, &outcome)
            && !matches!(failure.kind, FailureKind::Busy | FailureKind::Misconfigured)
            && !failure.invalid_client
        {
            // It may have moved.
            self.http.doubt(&issuer.text);
        }
        outcome
    }

    async fn exchange(&self, stage: &mut Stage) -> Result<Issued, Failure> {
        if let Some(revision) = credentials::revision(&self.settings).await {
            // Should reading never end, this is what it was that was read.
            self.used.store(revision, Ordering::Relaxed);
        }
        let (revision, read) = Credentials::read(&self.settings, self.issuers_time(self.clock.now().wall)).await;
        self.used.store(revision, Ordering::Relaxed);
        let credentials = read.map_err(|problem| misconfigured(&problem))?;
        *stage = Stage::Asking;
        let client = self.client(&credentials)?;
        let found = self.find(&client).await?;
        self.try_each(Way { client: &client, found: &found, credentials: &credentials }).await
    }

    /// What to send requests with: with a certificate, one made for it.
    pub(super) fn client(&self, credentials: &Credentials) -> Result<Arc<Client>, Failure> {
        match &credentials.identity {
            Some(pem) => self.http.with_identity(pem).map(Arc::new).map_err(|problem| misconfigured(&problem)),
            None => Ok(self.http.current()),
        }
    }

    /// Asks with each of the credentials until one is accepted.
    async fn try_each(&self, way: Way<'_>) -> Result<Issued, Failure> {
        let Way { found, credentials, .. } = way;
        let mut refused = None;
        for (number, proof) in &credentials.proofs {
            match self.ask(way, proof, true).await {
                Ok(mut issued) => {
                    issued.secret_in_use = *number;
                    issued.oddities.extend(credentials.unread.iter().cloned());
                    return Ok(issued);
                }
                Err(failure) if failure.invalid_client => refused = Some(failure),
                // Nothing is known of the others, which may be good: the whole attempt counts as this failure.
                Err(failure) => return Err(with_unread(failure, credentials)),
            }
        }
        let mut failure = refused.unwrap_or_else(|| misconfigured(&"there is nothing to authenticate with"));
        let tried = credentials.proofs.len();
        if tried > 1 {
            failure.text = format!("{}; none of {tried} secrets is accepted", failure.text).into();
        }
        if let Some(methods) = found.methods_in_words() {
            failure.text = format!("{}; the issuer says that it takes {methods}", failure.text).into();
        }
        Err(with_unread(failure, credentials))
    }

    async fn ask(&self, way: Way<'_>, proof: &Proof, again: bool) -> Result<Issued, Failure> {
        let Way { client, found, credentials } = way;
        let url = match (&credentials.identity, &found.alias) {
            (Some(_), Some(alias)) => alias,
            _ => &found.token_url,
        };
        let sent = self.clock.now().wall;
        // The canonical endpoint, also when it is reached under another name.
        let facts = Facts { token_url: found.token_url.as_str(), now: self.issuers_time(sent) };
        let mut request = TokenRequest::build(&self.settings, proof, &credentials.grant, &facts)
            .map_err(|problem| misconfigured(&format!("the key {problem}")))?;
        let nonce = self.bound.as_ref().and_then(|key| key.nonce());
        if self.settings.dpop {
            request.proof = Some(self.prove(url, nonce.as_deref(), facts.now)?);
        }
        let secrets: Vec<_> = credentials.secrets().chain(&request.signed).cloned().collect();
        let response =
            client.execute(http_request(url, request)).await.map_err(|error| self.unreachable(error, url))?;
        // Before the body, which may take its time.
        self.learn_time(&response);
        let reply = self.receive(response, url).await?;
        let other_nonce = self.keep_nonce(&reply, nonce.as_deref());
        let redactor = Redactor::new(&self.settings.client_id, &secrets.iter().collect::<Vec<_>>());
        let outcome = self.judge(&reply, url, sent, &redactor);
        if again && other_nonce && outcome.as_ref().is_err_and(|failure| failure.text.contains(WANTS_NONCE)) {
            // With a fresh assertion: the issuer has seen this one.
            return Box::pin(self.ask(way, proof, false)).await;
        }
        let mut issued = outcome?;
        issued.binding = self.bound.as_ref().map(|key| Binding::to(Arc::clone(key) as Arc<dyn Prover>));
        Ok(issued)
    }

    /// What an answer means.
    pub(super) fn judge(
        &self,
        reply: &Reply,
        url: &Url,
        sent: SystemTime,
        redactor: &Redactor,
    ) -> Result<Issued, Failure> {
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
        response::parse(&answer, &Expectations::new(&self.settings, url, redactor))
    }

    fn prove(&self, url: &Url, nonce: Option<&str>, now: SystemTime) -> Result<HeaderValue, Failure> {
        let proof = match &self.bound {
            Some(key) => key.for_request(url, nonce, assertion::seconds(now)).ok(),
            None => None,
        };
        proof
            .and_then(|proof| HeaderValue::try_from(proof).ok())
            .ok_or_else(|| misconfigured(&"no key to bind tokens to: the system gives no random numbers"))
    }

    /// Keeps the nonce of an answer (RFC 9449 section 8). Whether it is another one than was sent.
    fn keep_nonce(&self, reply: &Reply, sent: Option<&str>) -> bool {
        let (Some(key), Some(nonce)) = (&self.bound, reply.header(&DPOP_NONCE)) else { return false };
        key.keep_nonce(nonce);
        sent != Some(nonce)
    }

    /// Takes in the answer, at most 1 MiB of it.
    pub(super) async fn receive(&self, mut response: Response, url: &Url) -> Result<Reply, Failure> {
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        let mut body = Zeroizing::new(Vec::with_capacity(FIRST_ROOM));
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error, url))? {
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

    /// What time it is for the issuer, as far as its last answer told: its clock decides whether an assertion counts.
    pub(super) fn issuers_time(&self, local: SystemTime) -> SystemTime {
        let skew = self.skew.load(Ordering::Relaxed);
        let by = Duration::from_secs(skew.unsigned_abs());
        let moved = if skew < 0 { local.checked_sub(by) } else { local.checked_add(by) };
        moved.unwrap_or(local)
    }

    fn learn_time(&self, response: &Response) {
        let date = response.headers().get(header::DATE).and_then(|value| value.to_str().ok());
        let Some(date) = date.and_then(|text| httpdate::parse_http_date(text).ok()) else { return };
        let since_epoch = |time| i64::try_from(assertion::seconds(time)).unwrap_or(0);
        let skew = since_epoch(date) - since_epoch(self.clock.now().wall);
        let believed = (AGREEING..=BELIEVABLE).contains(&skew.unsigned_abs());
        self.skew.store(if believed { skew } else { 0 }, Ordering::Relaxed);
    }

    pub(super) fn unreachable(&self, error: reqwest::Error, url: &Url) -> Failure {
        unreachable::explain(error, url, &self.settings)
    }

    fn too_slow(&self, stage: &Stage) -> Failure {
        let limit = unreachable::seconds(self.settings.attempt_timeout);
        match stage {
            Stage::ReadingSecret => {
                Failure::new(FailureKind::Misconfigured, format!("the client secret could not be read within {limit}"))
            }
            Stage::Asking => {
                let host = unreachable::host(self.settings.place.url());
                Failure::new(FailureKind::Unreachable, format!("no complete answer from {host} within {limit}"))
            }
        }
    }
}

/// Made by hand, as the builder would turn user information in the URL into a second `Authorization` header.
pub(super) fn http_request(url: &Url, TokenRequest { form, authorization, proof, .. }: TokenRequest) -> Request {
    let mut request = Request::new(Method::POST, url.clone());
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    if let Some(value) = authorization {
        headers.insert(header::AUTHORIZATION, value);
    }
    if let Some(proof) = proof {
        headers.insert(DPOP, proof);
    }
    *request.body_mut() = Some(form.into_bytes().into());
    request
}

/// The failure, with the secrets that could not be tried.
fn with_unread(mut failure: Failure, credentials: &Credentials) -> Failure {
    for unread in &credentials.unread {
        failure.text = format!("{}; {unread}", failure.text).into();
    }
    failure
}

pub(super) fn misconfigured(problem: &dyn std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Misconfigured, problem.to_string())
}

impl TokenSource for Endpoint {
    fn revoke<'a>(&'a self, token: &'a Sensitive) -> Revoking<'a> {
        Box::pin(self.give_up(token))
    }

    fn fetch(&self) -> Fetching<'_> {
        Box::pin(self.attempt())
    }

    fn credentials_changed(&self) -> Looking<'_> {
        Box::pin(async {
            let now = credentials::revision(&self.settings).await;
            now.is_some_and(|now| now != self.used.load(Ordering::Relaxed))
        })
    }
}

/// What all requests of one attempt have in common.
#[derive(Clone, Copy)]
struct Way<'a> {
    client: &'a Client,
    found: &'a Found,
    credentials: &'a Credentials,
}

/// How far an attempt has come.
enum Stage {
    ReadingSecret,
    Asking,
}

/// An answer that has been received as a whole.
pub(super) struct Reply {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
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
/// The error of a request whose proof lacks the nonce.
const WANTS_NONCE: &str = "use_dpop_nonce";
const DPOP: HeaderName = HeaderName::from_static("dpop");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// Clocks that differ by less count as one, in seconds: a date has no fractions, and an answer travels.
const AGREEING: u64 = 6;
/// A server that is further off is not believed, in seconds: what is signed for a time to come could be used then.
const BELIEVABLE: u64 = 3_600;
