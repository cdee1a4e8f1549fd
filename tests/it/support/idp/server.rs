//! The serving half of the fake issuer: connections, the script, what goes over the wire.

use std::{
    collections::VecDeque,
    future::pending,
    io,
    net::SocketAddrV4,
    os::fd::{AsRawFd as _, OwnedFd},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket,
    sockopt::{ReuseAddr, ReusePort},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, rustls};

use super::{Answer, Gate, Recorded};

#[derive(Clone, Debug)]
pub(super) enum Conduct {
    Answer,
    BreakOff,
    Close,
    Never,
    Wait(Gate),
}

pub(super) struct Command {
    pub(super) up: bool,
    pub(super) done: std::sync::mpsc::Sender<()>,
}

pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) count: watch::Sender<usize>,
}

/// Decides on an answer by the request and by how many were answered like this, this one included.
type Judge = dyn Fn(&Recorded, u64) -> Answer + Send;

pub(super) struct State {
    pub(super) script: VecDeque<Answer>,
    pub(super) otherwise: Box<Judge>,
    given: u64,
    pub(super) requests: Vec<Recorded>,
    at_once: usize,
    pub(super) most_at_once: usize,
    connections: usize,
}

impl Shared {
    pub(super) fn new() -> Self {
        let state = State {
            script: VecDeque::new(),
            otherwise: Box::new(|_, number| Answer::token(&format!("tok-{number}"), 3_600)),
            given: 0,
            requests: Vec::new(),
            at_once: 0,
            most_at_once: 0,
            connections: 0,
        };
        Self { state: Mutex::new(state), count: watch::Sender::new(0) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_connection(&self) -> usize {
        let mut state = self.state();
        state.connections += 1;
        state.connections - 1
    }

    /// Takes down a request and decides on its answer, in one step, so that both are in the same order.
    fn record(&self, mut request: Recorded) -> Answer {
        let mut state = self.state();
        request.index = state.requests.len();
        state.requests.push(request.clone());
        state.at_once += 1;
        state.most_at_once = state.most_at_once.max(state.at_once);
        self.count.send_replace(state.requests.len());
        state.script.pop_front().unwrap_or_else(|| {
            state.given += 1;
            (state.otherwise)(&request, state.given)
        })
    }
}

/// Counts a request as under way until it is answered or its connection is gone.
struct UnderWay(Arc<Shared>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.state().at_once -= 1;
    }
}

pub(super) struct Server {
    pub(super) address: SocketAddrV4,
    pub(super) acceptor: Option<TlsAcceptor>,
    pub(super) shared: Arc<Shared>,
    pub(super) connections: JoinSet<()>,
}

impl Server {
    pub(super) async fn run(mut self, listener: TcpListener, mut orders: mpsc::Receiver<Command>) {
        let mut listener = Some(listener);
        // While the issuer is down this keeps others off its port. Bound but not listening: connections are refused.
        let mut placeholder: Option<OwnedFd> = None;
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    None => return,
                    Some(Command { up: true, done }) => {
                        if let Some(socket) = placeholder.take() {
                            listener = Some(TcpListener::from_std(listening(socket)).unwrap());
                        }
                        done.send(()).unwrap();
                    }
                    Some(Command { up: false, done }) => {
                        self.connections.shutdown().await;
                        if listener.is_some() {
                            // Before the listener goes: the port is never free for another test to take.
                            placeholder = Some(bound(self.address));
                            listener = None;
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
                None => serve(stream, shared, false).await,
                Some(acceptor) => {
                    // A client that does not trust the certificate hangs up here.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let agreed_on_http2 = stream.get_ref().1.alpn_protocol().is_some_and(|name| name == b"h2");
                        serve(stream, shared, agreed_on_http2).await;
                    }
                }
            }
        });
    }
}

/// A socket at this address, which others of ours may be bound to as well.
pub(super) fn bound(address: SocketAddrV4) -> OwnedFd {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
    setsockopt(&socket, ReuseAddr, &true).unwrap();
    setsockopt(&socket, ReusePort, &true).unwrap();
    bind(socket.as_raw_fd(), &SockaddrIn::from(address)).unwrap();
    socket
}

pub(super) fn listening(socket: OwnedFd) -> std::net::TcpListener {
    listen(&socket, Backlog::new(1_024).unwrap()).unwrap();
    std::net::TcpListener::from(socket)
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => listener.accept().await.unwrap().0,
        None => pending().await,
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, shared: Arc<Shared>, over_http2: bool) {
    let connection = shared.next_connection();
    let service = service_fn(move |request| answer(Arc::clone(&shared), connection, request));
    let stream = TokioIo::new(stream);
    // Fails whenever the script wants it to, or the client goes away.
    if over_http2 {
        drop(http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await);
    } else {
        drop(http1::Builder::new().serve_connection(stream, service).await);
    }
}

async fn answer(shared: Arc<Shared>, connection: usize, request: Request<Incoming>) -> io::Result<Response<Script>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let form = url::form_urlencoded::parse(&body).into_owned().collect();
    let (method, target, headers) = (head.method, head.uri, head.headers);
    let answer = shared.record(Recorded { index: 0, connection, method, target, headers, body, form });
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
        let name = HeaderName::try_from(name).unwrap();
        response.headers_mut().append(name, HeaderValue::try_from(value).unwrap());
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
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
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

pub(super) struct Tls {
    pub(super) ca_pem: String,
    pub(super) acceptor: TlsAcceptor,
}

impl Tls {
    /// With a certificate by an authority of its own, for clients that speak one of these protocols; none: any.
    pub(super) fn new(protocols: &[&[u8]]) -> Self {
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        // Each has a name of its own: one authority that is known must not pass for another.
        let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
        authority.distinguished_name.push(rcgen::DnType::CommonName, format!("authority {number}"));
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let ca_pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Self { ca_pem, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }
}

/// How many authorities have been made.
static AUTHORITIES: AtomicU32 = AtomicU32::new(0);
