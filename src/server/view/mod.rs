//! The view over HTTP/1.1 and JSON, for languages in which gRPC is a burden: the same callers, rules, limits and errors.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/clients/NAME/token` | GetToken; `min_validity` and `timeout` in the query, like `5m` |
//! | `POST /v1/clients/NAME/token?rejected=ID` | GetToken with a report that an API answered 401 to that token |
//! | `POST /v1/clients/NAME/proof?method=GET&url=…` | SignProof; `nonce` and `timeout` in the query |
//! | `GET /v1/clients`, `GET /v1/clients/NAME` | ListClients, whole or one |
//! | `GET /v1/health`, `/v1/health/live`, `/v1/health/clients/NAME` | Health.Check of readiness, process, client |
//!
//! What changes something wants a POST. A request that somebody passed on (a proxy, a web page) is refused: the
//! kernel tells who connected, and whoever can be talked into connecting here for others must not hand out what is its
//! own.

mod answer;
mod line;
mod route;

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::Service,
};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, time::Instant};

use self::{
    answer::{Answer, Reply},
    line::{Line, Progress},
    route::{Ask, Route},
};
use super::{
    convert, health,
    reply::Refusal,
    session::Session,
    tokens::{NO_RANDOM_NUMBERS, PATIENCE},
};
use crate::{
    json,
    lifecycle::Lifecycle,
    pb::{health::health_check_response::ServingStatus, v1},
    refresh::Entry,
};

/// A connection that speaks HTTP/1.1; ends with it.
pub(super) struct Viewed {
    http: Pin<Box<http1::Connection<TokioIo<Line>, View>>>,
    progress: Arc<Progress>,
    session: Arc<Session>,
}

impl Viewed {
    pub(super) fn new(stream: UnixStream, session: Arc<Session>) -> Self {
        let (line, progress) = Line::new(stream);
        let http = http1::Builder::new()
            .auto_date_header(false)
            // How long a connection may be silent is watched for both protocols in one place.
            .header_read_timeout(None)
            .max_buf_size(LARGEST_HEAD)
            // Bodies hold tokens: they are written from where they are, and wiped there.
            .writev(true)
            .serve_connection(TokioIo::new(line), View(Arc::clone(&session)));
        Self { http: Box::pin(http), progress, session }
    }

    /// See [`super::driven::Driven::hurry`].
    pub(super) fn hurry(&mut self) {
        self.progress.hurry();
    }

    /// No further request is read; ends when the last answer is written.
    pub(super) fn shut_down(&mut self) {
        self.http.as_mut().graceful_shutdown();
    }

    pub(super) fn written(&self) -> u64 {
        self.progress.written()
    }

    /// Whether a whole request has been heard.
    pub(super) fn greeted(&self) -> bool {
        self.session.open() > 0 || self.session.ended() > 0
    }
}

impl Future for Viewed {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.http.as_mut().poll(cx).map_err(io::Error::other)
    }
}

/// The view as one connection sees it.
struct View(Arc<Session>);

impl Service<Request<Incoming>> for View {
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Reply>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let session = Arc::clone(&self.0);
        Box::pin(async move {
            let route = Route::of(request.method(), request.uri());
            // Nothing keeps a health check out.
            let turn = if matches!(route, Ok(Route::Health(_))) { Ok(session.admit_probe()) } else { session.admit() };
            let (answer, turn) = match turn {
                Err(refusal) => (refusal.into(), None),
                Ok(turn) => match (unacceptable(&session, &request), route) {
                    (Some(refused), _) => (refused, Some(turn)),
                    (None, Err(stray)) => (stray.into(), Some(turn)),
                    (None, Ok(route)) => (answer(&session, route).await, Some(turn)),
                },
            };
            let last = *session.shared.phase.borrow() >= Lifecycle::Draining;
            Ok(answer.into_response(turn, last))
        })
    }
}

/// Why it is not a request as this view takes them, if so.
fn unacceptable(session: &Session, request: &Request<Incoming>) -> Option<Answer> {
    if !session.shared.http {
        let text = "the view over HTTP/1.1 is switched off here ([server] http); use gRPC";
        return Some(Answer::forbidden("HTTP_OFF", text));
    }
    let passed_on = |name: &&&str| request.headers().contains_key(**name);
    let sign = PASSED_ON.iter().find(passed_on).map(|name| format!("its header {name}"));
    // What is asked of a proxy has the whole URL (RFC 9112 section 3.2.2).
    if let Some(sign) = sign.or_else(|| request.uri().authority().map(|_| "its target".to_owned())) {
        let text = format!("the request was passed on by somebody, as {sign} says; connect to the socket");
        return Some(Answer::forbidden("REQUEST_PASSED_ON", &text));
    }
    let bodiless = || Refusal::Invalid("requests have no body here; parameters go into the query".into()).into();
    (!request.body().is_end_stream()).then(bodiless)
}

async fn answer(session: &Session, route: Route) -> Answer {
    match route {
        Route::Client(name) => client(session, &name).unwrap_or_else(Answer::from),
        Route::Clients => {
            let clients = session.statuses().await;
            Answer::list(&clients).await
        }
        Route::Health(service) => healthy(session, &service),
        Route::Proof(wanted, ask) => proof(session, wanted, &ask).await.unwrap_or_else(Answer::from),
        Route::Token(wanted, ask) => token(session, &wanted, &ask).await.unwrap_or_else(Answer::from),
    }
}

async fn token(session: &Session, wanted: &v1::GetTokenRequest, ask: &Ask) -> Result<Answer, Refusal> {
    let (client, given) = session.token(wanted, || until(ask)).await?;
    let id = given.token.id.text();
    let token = convert::json(client.entry(), &given, id.as_str(), session.shared.clock.now());
    Ok(Answer::secret(&token))
}

async fn proof(session: &Session, wanted: v1::SignProofRequest, ask: &Ask) -> Result<Answer, Refusal> {
    let (client, given, proof) = session.proven(&wanted, || until(ask)).await?;
    let Some(proof) = proof else { return Ok(Answer::failed(NO_RANDOM_NUMBERS)) };
    let id = given.token.id.text();
    let token = convert::json(client.entry(), &given, id.as_str(), session.shared.clock.now());
    Ok(Answer::secret(&answer::Proven { token, proof: &proof }))
}

/// The state of one client, for whoever may have its token and for administrators.
fn client(session: &Session, name: &str) -> Result<Answer, Refusal> {
    let entries = session.shared.registry.entries();
    let entry = entries.get(name).filter(|_| session.is_administrator());
    let status = |entry: &Entry| convert::status(&entry.status(), session.shared.clock.now());
    let status = match entry {
        Some(entry) => status(entry),
        None => status(session.grant(name)?.entry()),
    };
    Ok(Answer::good(&json::client_status(&status)))
}

fn healthy(session: &Session, service: &str) -> Answer {
    match health::serving(&session.shared, service) {
        Some(status) => Answer::health(service, status == ServingStatus::Serving),
        None => Refusal::Unknown { client: service.trim_start_matches("clients/").into(), nearest: None }.into(),
    }
}

/// When the caller stops waiting.
fn until(ask: &Ask) -> Instant {
    Instant::now() + ask.timeout.unwrap_or(PATIENCE)
}

/// What a proxy, a gateway or a browser puts into what it sends for others.
const PASSED_ON: [&str; 16] = [
    "client-ip",
    "forwarded",
    "max-forwards",
    "origin",
    "proxy-authorization",
    "proxy-connection",
    "sec-fetch-site",
    "via",
    "x-client-ip",
    "x-forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
];
/// A request has a few short headers.
const LARGEST_HEAD: usize = 16 * 1024;
