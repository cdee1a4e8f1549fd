//! A gRPC channel on the Unix socket: HTTP/2 on one connection, and nothing else.

use std::{
    io,
    os::{
        fd::AsRawFd as _,
        unix::{fs::MetadataExt as _, net::UnixStream as StdStream},
    },
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, Uri};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::{
    socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt::SendTimeout},
    time::TimeVal,
};
use tokio::{net::UnixStream, task::spawn_blocking};
use tonic::body::Body;
use tower_service::Service;

use crate::{
    ConnectError,
    pb::{
        health::health_client::HealthClient,
        v1::{admin_client::AdminClient, token_broker_client::TokenBrokerClient},
    },
};

/// A connection to a daemon.
#[derive(Clone)]
pub struct Channel {
    send: http2::SendRequest<Body>,
    /// Where to connect again.
    renewed: Option<Arc<Path>>,
}

impl Channel {
    /// Connects to the daemon that listens on `socket`. The connection is served by a task of the present runtime.
    ///
    /// # Errors
    /// [`ConnectError`] with what to do.
    pub async fn connect(socket: &Path) -> Result<Self, ConnectError> {
        let fail = |error| ConnectError::new(socket, error);
        let stream = match UnixStream::connect(socket).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stand_in_line(socket).await,
            outcome => outcome,
        };
        let stream = stream.map_err(fail)?;
        let server = stream.peer_cred().map_err(fail)?.uid();
        if !is_trusted(server, socket) {
            return Err(ConnectError::impostor(socket, server));
        }
        let (send, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| fail(io::Error::other(error)))?;
        #[expect(clippy::disallowed_methods, reason = "ends with the process or with the last sender")]
        tokio::spawn(connection);
        Ok(Self { send, renewed: None })
    }

    /// The same, and when the daemon takes no more on this connection, another one to whoever listens on `socket` then: a
    /// daemon that is restarted, and its successor.
    #[must_use]
    pub fn renewed(self, socket: &Path) -> Self {
        Self { renewed: Some(socket.into()), ..self }
    }

    /// Whether the connection still stands, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        !self.send.is_closed()
    }

    /// Makes a call; one that was never sent is made on another connection.
    async fn make(mut self, mut request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        for _ in 0..OTHERS {
            let mut error = match self.send.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let Some(unsent) = error.take_message() else { return Err(error.into_error()) };
            let Some(socket) = &self.renewed else { return Err(error.into_error()) };
            let Ok(another) = Self::connect(socket).await else { return Err(error.into_error()) };
            (self, request) = (another.renewed(socket), unsent);
        }
        self.send.send_request(request).await
    }

    /// `TokenBroker`.
    #[must_use]
    pub fn broker(self) -> TokenBrokerClient<Self> {
        TokenBrokerClient::with_origin(self, origin()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// `Admin`.
    #[must_use]
    pub fn admin(self) -> AdminClient<Self> {
        AdminClient::with_origin(self, origin()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// `grpc.health.v1.Health`.
    #[must_use]
    pub fn health(self) -> HealthClient<Self> {
        HealthClient::with_origin(self, origin())
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    /// Always ready: whether the connection still stands is told by the call, with the reason.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().make(request))
    }
}

/// Connects where the queue of those who connect is full, as soon as there is a place in it, for a while.
///
/// A Unix socket does not tell when that is (`connect(2)` on a non-blocking one ends with EAGAIN, and there is nothing to
/// poll); the kernel lets those who block in one after another.
async fn stand_in_line(path: &Path) -> io::Result<UnixStream> {
    let address = UnixAddr::new(path)?;
    let waiting = spawn_blocking(move || -> io::Result<StdStream> {
        let waits = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&waits, SendTimeout, &TimeVal::new(QUEUE_PATIENCE.as_secs().cast_signed(), 0))?;
        connect(waits.as_raw_fd(), &address)?;
        let connected = StdStream::from(waits);
        connected.set_nonblocking(true)?;
        Ok(connected)
    });
    UnixStream::from_std(waiting.await.map_err(io::Error::other)??)
}

/// Whether a daemon of this user is believed: root, the caller's own user, and the owner of the socket's directory if
/// nobody else can write there, because then it was that user who put the socket there.
fn is_trusted(server: u32, socket: &Path) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    let parent = socket.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let owner = || std::fs::metadata(parent).is_ok_and(|meta| meta.uid() == server && meta.mode() & 0o022 == 0);
    server == 0 || server == own || owner()
}

/// A Unix socket has no host; the protocol wants one.
fn origin() -> Uri {
    Uri::from_static("http://localhost")
}

/// How many connections are tried after the first for a call that has not been sent.
const OTHERS: usize = 3;
/// How long a caller waits for a place in the queue of those who connect.
pub(crate) const QUEUE_PATIENCE: Duration = Duration::from_secs(10);
/// The status of a hundred thousand clients.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use nix::sys::socket::{Backlog, bind, listen};
    use tokio::{io::AsyncReadExt as _, net::UnixListener};

    use super::*;

    #[tokio::test]
    async fn a_full_queue_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.sock");
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let unbound = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        bind(unbound.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&unbound, Backlog::new(1).unwrap()).unwrap();
        let listener = UnixListener::from_std(std::os::unix::net::UnixListener::from(unbound)).unwrap();
        let mut before = Vec::new();
        let full = loop {
            match UnixStream::connect(&path).await {
                Ok(stream) => before.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        drop(before);
        let accepted = async {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut preface = [0; 3];
                if stream.read_exact(&mut preface).await.is_ok() {
                    break (stream, preface);
                }
            }
        };
        let (connected, (_stream, preface)) = tokio::join!(Channel::connect(&path), accepted);
        connected.unwrap();
        assert_eq!(preface, *b"PRI", "the beginning of HTTP/2 (RFC 9113 section 3.4)");
    }
}
