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

mod server;

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};

use self::server::{Command, Conduct, Server, Shared, Tls};

/// The fake issuer.
pub(crate) struct Idp {
    address: SocketAddrV4,
    ca_pem: Option<String>,
    shared: Arc<Shared>,
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Idp {
    /// Starts one that speaks plain HTTP on a free port of 127.0.0.1.
    #[must_use]
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts one that speaks HTTPS, with a certificate for 127.0.0.1 and localhost by an authority of its own.
    #[must_use]
    pub(crate) fn start_tls() -> Self {
        Self::start_with(Some(Tls::new(&[])))
    }

    /// Starts one that speaks HTTP/2 over TLS, and nothing else.
    #[must_use]
    pub(crate) fn start_http2() -> Self {
        Self::start_with(Some(Tls::new(&[b"h2"])))
    }

    /// Where tokens are to be had.
    #[must_use]
    pub(crate) fn token_url(&self) -> String {
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/token", self.address)
    }

    /// Where it listens, also while it is down.
    #[must_use]
    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// The certificate of its authority, in PEM.
    #[must_use]
    pub(crate) fn ca_pem(&self) -> &str {
        self.ca_pem.as_deref().expect("started with start_tls")
    }

    /// Scripts an answer. Scripted answers are given in order, one for each request, before the default.
    pub(crate) fn next(&self, answer: Answer) {
        self.shared.state().script.push_back(answer);
    }

    /// Replaces the default answer, which is given when nothing is scripted. The argument counts the default
    /// answers, from 1. Without this it is a Bearer token `tok-1`, `tok-2`, ... that lives an hour.
    pub(crate) fn otherwise(&self, make: impl Fn(u64) -> Answer + Send + 'static) {
        self.judge(move |_, number| make(number));
    }

    /// The same, with an answer that depends on the request.
    pub(crate) fn judge(&self, make: impl Fn(&Recorded, u64) -> Answer + Send + 'static) {
        self.shared.state().otherwise = Box::new(make);
    }

    /// From now on the default answers are tokens `tok-N` with this `expires_in` (seconds).
    pub(crate) fn issue_for(&self, expires_in: u64) {
        self.otherwise(move |number| Answer::token(&format!("tok-{number}"), expires_in));
    }

    /// All requests so far, in the order of their arrival.
    #[must_use]
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.shared.state().requests.clone()
    }

    /// How many requests have arrived.
    #[must_use]
    pub(crate) fn request_count(&self) -> usize {
        *self.shared.count.borrow()
    }

    /// Waits until so many requests have arrived and returns all of them. Fails the test after 20 s.
    pub(crate) async fn wait_for_requests(&self, least: usize) -> Vec<Recorded> {
        let mut count = self.shared.count.subscribe();
        let arrived = count.wait_for(|count| *count >= least);
        let arrived = tokio::time::timeout(Duration::from_secs(20), arrived).await.map(|seen| seen.map(|count| *count));
        let so_far = self.request_count();
        arrived.unwrap_or_else(|_| panic!("waited for {least} requests, got {so_far}")).expect("the sender is here");
        self.requests()
    }

    /// The most requests that were waiting for their answers at the same time.
    #[must_use]
    pub(crate) fn most_at_once(&self) -> usize {
        self.shared.state().most_at_once
    }

    /// Stops listening and cuts all connections; further ones are refused. Returns when it is so.
    ///
    /// A client that keeps an idle connection may notice only when it next writes to it.
    pub(crate) fn go_down(&self) {
        self.command(false);
    }

    /// Listens again on the same port, which was kept for it.
    pub(crate) fn come_back(&self) {
        self.command(true);
    }

    fn start_with(tls: Option<Tls>) -> Self {
        let listener = server::listening(server::bound(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)));
        let port = listener.local_addr().unwrap().port();
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
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
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    conduct: Conduct,
}

impl Answer {
    /// Status and body, with no `Content-Type`.
    #[must_use]
    pub(crate) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), conduct: Conduct::Answer }
    }

    /// Status and JSON.
    #[must_use]
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, body.to_string()).header("content-type", "application/json")
    }

    /// A Bearer token that lives so many seconds.
    #[must_use]
    pub(crate) fn token(value: &str, expires_in: u64) -> Self {
        Self::json(200, &json!({ "access_token": value, "token_type": "Bearer", "expires_in": expires_in }))
    }

    /// An error of RFC 6749 section 5.2.
    #[must_use]
    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::json(status, &json!({ "error": code }))
    }

    /// Takes the request and never says anything.
    #[must_use]
    pub(crate) fn never() -> Self {
        Self { conduct: Conduct::Never, ..Self::new(200, "") }
    }

    /// Takes the request and closes the connection.
    #[must_use]
    pub(crate) fn close() -> Self {
        Self { conduct: Conduct::Close, ..Self::new(200, "") }
    }

    /// The same with a further header.
    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, but the connection is closed when the body has been sent and more of it was promised.
    #[must_use]
    pub(crate) fn broken_off(self) -> Self {
        Self { conduct: Conduct::BreakOff, ..self }
    }

    /// The same, but not before the gate is open.
    #[must_use]
    pub(crate) fn behind(self, gate: &Gate) -> Self {
        Self { conduct: Conduct::Wait(gate.clone()), ..self }
    }
}

/// Holds answers back until it is opened.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed one.
    #[must_use]
    pub(crate) fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets all answers through, now and from now on.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    async fn pass(&self) {
        drop(self.0.subscribe().wait_for(|open| *open).await);
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// Its place in the order of arrival, from 0.
    pub(crate) index: usize,
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
    /// The HTTP method.
    pub(crate) method: Method,
    /// The target: a path, or a whole URL if the fake was used as a proxy.
    pub(crate) target: Uri,
    /// All headers.
    pub(crate) headers: HeaderMap,
    /// The body as it came.
    pub(crate) body: Bytes,
    /// The body's form fields, decoded, in their order.
    pub(crate) form: Vec<(String, String)>,
}

impl Recorded {
    /// The value of a header.
    #[must_use]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The value of a form field, the first if there are several.
    #[must_use]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}
