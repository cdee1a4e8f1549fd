//! A fake issuer on a real socket: answers token requests as scripted and remembers what it was asked.
//!
//! ```ignore
//! let idp = Idp::start();
//! idp.next(Answer::error(503, "temporarily_unavailable"));   // once, then the default again
//! // ... point a client at idp.token_url() ...
//! let asked = idp.wait_for_requests(2).await;
//! assert_eq!(asked[0].field("grant_type"), Some("client_credentials"));
//! ```
//!
//! It lives on a thread with a runtime of its own, so that tests that block (those of the command line) and tests
//! that await can both use it. It knows real time only: never use it in a test with paused time. Dropping it closes
//! the port and all connections.

#![allow(dead_code, reason = "not every part is used by every build of the tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fake that breaks must fail its test")]

use std::{
    collections::VecDeque,
    future::pending,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, rustls};

/// The fake issuer.
pub struct Idp {
    address: SocketAddr,
    ca_pem: Option<String>,
    shared: Arc<Shared>,
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Idp {
    /// Starts one that speaks plain HTTP on a free port of 127.0.0.1.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts one that speaks HTTPS, with a certificate for 127.0.0.1 and localhost by an authority of its own.
    #[must_use]
    pub fn start_tls() -> Self {
        Self::start_with(Some(Tls::new()))
    }

    /// Where tokens are to be had.
    #[must_use]
    pub fn token_url(&self) -> String {
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/token", self.address)
    }

    /// Where it listens, also while it is down.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate of its authority, in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.ca_pem.as_deref().expect("started with start_tls")
    }

    /// Scripts an answer. Scripted answers are given in order, one for each request, before the default.
    pub fn next(&self, answer: Answer) {
        self.shared.state().script.push_back(answer);
    }

    /// Replaces the default answer, which is given when nothing is scripted. The argument counts the default
    /// answers, from 1. Without this it is a Bearer token `tok-1`, `tok-2`, ... that lives an hour.
    pub fn otherwise(&self, make: impl Fn(u64) -> Answer + Send + 'static) {
        self.shared.state().otherwise = Box::new(make);
    }

    /// From now on the default answers are tokens `tok-N` with this `expires_in` (seconds).
    pub fn issue_for(&self, expires_in: u64) {
        self.otherwise(move |number| Answer::token(&format!("tok-{number}"), expires_in));
    }

    /// All requests so far, in the order of their arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.state().requests.clone()
    }

    /// How many requests have arrived.
    #[must_use]
    pub fn request_count(&self) -> usize {
        *self.shared.count.borrow()
    }

    /// Waits until so many requests have arrived and returns all of them. Fails the test after 20 s.
    pub async fn wait_for_requests(&self, least: usize) -> Vec<Recorded> {
        let mut count = self.shared.count.subscribe();
        let arrived = count.wait_for(|count| *count >= least);
        let arrived = tokio::time::timeout(Duration::from_secs(20), arrived).await.map(|seen| seen.map(|count| *count));
        let so_far = self.request_count();
        arrived.unwrap_or_else(|_| panic!("waited for {least} requests, got {so_far}")).expect("the sender is here");
        self.requests()
    }

    /// The most requests that were waiting for their answers at the same time.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.shared.state().most_at_once
    }

    /// Stops listening and cuts all connections; further ones are refused. Returns when it is so.
    pub fn go_down(&self) {
        self.command(false);
    }

    /// Listens again on the same port, which was kept for it.
    pub fn come_back(&self) {
        self.command(true);
    }

    fn start_with(tls: Option<Tls>) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (ca_pem, acceptor) = tls.map_or((None, None), |tls| (Some(tls.ca_pem), Some(tls.acceptor)));
        let shared = Arc::new(Shared::new());
        let (commands, orders) = mpsc::channel(1);
        let server = Server { address, acceptor, shared: Arc::clone(&shared), connections: JoinSet::new() };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { server.run(TcpListener::from_std(listener).unwrap(), orders).await });
        });
        Self { address, ca_pem, shared, commands: Some(commands), thread: Some(thread) }
    }

    fn command(&self, up: bool) {
        let (done, finished) = std::sync::mpsc::channel();
        let commands = self.commands.as_ref().expect("taken by drop only");
        commands.try_send(Command { up, done }).expect("one command at a time");
        finished.recv().expect("the fake issuer has failed");
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed; a second one while unwinding would hide the test's own.
            drop(thread.join());
        }
    }
}

/// How to answer one request.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    conduct: Conduct,
}

impl Answer {
    /// Status and body, with no `Content-Type`.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), conduct: Conduct::Answer }
    }

    /// Status and JSON.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, body.to_string()).header("content-type", "application/json")
    }

    /// A Bearer token that lives so many seconds.
    #[must_use]
    pub fn token(value: &str, expires_in: u64) -> Self {
        Self::json(200, &json!({ "access_token": value, "token_type": "Bearer", "expires_in": expires_in }))
    }

    /// An error of RFC 6749 section 5.2.
    #[must_use]
    pub fn error(status: u16, code: &str) -> Self {
        Self::json(status, &json!({ "error": code }))
    }

    /// Takes the request and never says anything.
    #[must_use]
    pub fn never() -> Self {
        Self { conduct: Conduct::Never, ..Self::new(200, "") }
    }

    /// Takes the request and closes the connection.
    #[must_use]
    pub fn close() -> Self {
        Self { conduct: Conduct::Close, ..Self::new(200, "") }
    }

    /// The same with a further header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, but the connection is closed when the body has been sent and more of it was promised.
    #[must_use]
    pub fn broken_off(self) -> Self {
        Self { conduct: Conduct::BreakOff, ..self }
    }

    /// The same, but not before the gate is open.
    #[must_use]
    pub fn behind(self, gate: &Gate) -> Self {
        Self { conduct: Conduct::Wait(gate.clone()), ..self }
    }
}

/// Holds answers back until it is opened.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed one.
    #[must_use]
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets all answers through, now and from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn pass(&self) {
        drop(self.0.subscribe().wait_for(|open| *open).await);
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its place in the order of arrival, from 0.
    pub index: usize,
    /// The HTTP method.
    pub method: Method,
    /// The target: a path, or a whole URL if the fake was used as a proxy.
    pub target: Uri,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Bytes,
    /// The body's form fields, decoded, in their order.
    pub form: Vec<(String, String)>,
}

impl Recorded {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The value of a form field, the first if there are several.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Clone, Debug)]
enum Conduct {
    Answer,
    BreakOff,
    Close,
    Never,
    Wait(Gate),
}

struct Command {
    up: bool,
    done: std::sync::mpsc::Sender<()>,
}

struct Shared {
    state: Mutex<State>,
    count: watch::Sender<usize>,
}

struct State {
    script: VecDeque<Answer>,
    otherwise: Box<dyn Fn(u64) -> Answer + Send>,
    given: u64,
    requests: Vec<Recorded>,
    at_once: usize,
    most_at_once: usize,
}

impl Shared {
    fn new() -> Self {
        let state = State {
            script: VecDeque::new(),
            otherwise: Box::new(|number| Answer::token(&format!("tok-{number}"), 3_600)),
            given: 0,
            requests: Vec::new(),
            at_once: 0,
            most_at_once: 0,
        };
        Self { state: Mutex::new(state), count: watch::Sender::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes down a request and decides on its answer, in one step, so that both are in the same order.
    fn record(&self, mut request: Recorded) -> Answer {
        let mut state = self.state();
        request.index = state.requests.len();
        state.requests.push(request);
        state.at_once += 1;
        state.most_at_once = state.most_at_once.max(state.at_once);
        self.count.send_replace(state.requests.len());
        state.script.pop_front().unwrap_or_else(|| {
            state.given += 1;
            (state.otherwise)(state.given)
        })
    }
}

/// Counts a request as under way until it is answered or its connection is gone.
struct UnderWay<'a>(&'a Shared);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.state().at_once -= 1;
    }
}

struct Server {
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    connections: JoinSet<()>,
}

impl Server {
    async fn run(mut self, listener: TcpListener, mut orders: mpsc::Receiver<Command>) {
        let mut listener = Some(listener);
        // While the issuer is down this keeps others off its port. Bound but not listening: connections are refused.
        let mut placeholder = None;
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    None => return,
                    Some(Command { up: true, done }) => {
                        listener = placeholder.take().map(|socket: TcpSocket| socket.listen(1_024).unwrap()).or(listener);
                        done.send(()).unwrap();
                    }
                    Some(Command { up: false, done }) => {
                        self.connections.shutdown().await;
                        if listener.take().is_some() {
                            placeholder = Some(bound(self.address));
                        }
                        done.send(()).unwrap();
                    }
                },
                stream = accept(listener.as_ref()) => self.welcome(stream),
                Some(_) = self.connections.join_next() => {}
            }
        }
    }

    fn welcome(&mut self, stream: TcpStream) {
        let (shared, acceptor) = (Arc::clone(&self.shared), self.acceptor.clone());
        self.connections.spawn(async move {
            match acceptor {
                None => serve(stream, shared).await,
                // A client that does not trust the certificate hangs up here.
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => serve(stream, shared).await,
                    Err(_) => {}
                },
            }
        });
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => listener.accept().await.unwrap().0,
        None => pending().await,
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let service = service_fn(|request| answer(&shared, request));
    // Fails whenever the script wants it to, or the client goes away.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> io::Result<Response<Script>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let form = url::form_urlencoded::parse(&body).into_owned().collect();
    let recorded =
        Recorded { index: 0, method: head.method, target: head.uri, headers: head.headers, body, form };
    let answer = shared.record(recorded);
    let _under_way = UnderWay(shared);
    match &answer.conduct {
        Conduct::Answer | Conduct::BreakOff => {}
        Conduct::Close => return Err(io::Error::other("closed as scripted")),
        Conduct::Never => pending().await,
        Conduct::Wait(gate) => gate.pass().await,
    }
    let breaks_off = matches!(answer.conduct, Conduct::BreakOff);
    let mut response = Response::new(Script { data: Some(answer.body), breaks_off, flushed: false });
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
    for (name, value) in answer.headers {
        let name = http::HeaderName::try_from(name).unwrap();
        response.headers_mut().append(name, http::HeaderValue::try_from(value).unwrap());
    }
    Ok(response)
}

/// A response body that may promise more than it has.
struct Script {
    data: Option<Bytes>,
    breaks_off: bool,
    flushed: bool,
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>, context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if !self.breaks_off {
            return Poll::Ready(None);
        }
        // Once around, so that what there is goes out before the connection breaks.
        if !std::mem::replace(&mut self.flushed, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::other("broken off as scripted"))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.as_ref().is_none_or(Bytes::is_empty) && !self.breaks_off
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.data.as_ref().map_or(0, Bytes::len) + usize::from(self.breaks_off) * 100;
        SizeHint::with_exact(u64::try_from(length).unwrap())
    }
}

struct Tls {
    ca_pem: String,
    acceptor: TlsAcceptor,
}

impl Tls {
    fn new() -> Self {
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let ca_pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Self { ca_pem, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }
}
