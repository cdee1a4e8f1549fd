//! The one connection of a broker, made when it is needed and again when it has ended.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{sync::Mutex, time::timeout};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{
    Channel, Error,
    daemon::{Daemon, States},
    pb::v1::{self, token_broker_client::TokenBrokerClient, watch_token_response::State},
    socket,
};

/// The connection.
pub(crate) struct Link {
    /// The socket that was named; without one it is looked for anew each time.
    socket: Option<PathBuf>,
    /// Held while connecting, so that all who need the connection at the time wait for the same one.
    held: Mutex<Held>,
}

enum Held {
    Nothing,
    Connected(PathBuf, Channel),
    Closed,
}

impl Link {
    pub(crate) fn new(socket: Option<PathBuf>) -> Self {
        Self { socket, held: Mutex::new(Held::Nothing) }
    }

    fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(socket::named_or_found)
    }

    /// The connection, and the socket that it leads to.
    async fn connect(&self) -> Result<(PathBuf, TokenBrokerClient<Channel>), Error> {
        let mut held = self.held.lock().await;
        match &*held {
            Held::Closed => return Err(Error::closed()),
            Held::Connected(socket, channel) if channel.is_open() => {
                return Ok((socket.clone(), channel.clone().broker()));
            }
            Held::Connected(..) | Held::Nothing => {}
        }
        let socket = self.socket();
        let channel = Channel::connect(&socket).await?.renewed(&socket);
        *held = Held::Connected(socket.clone(), channel.clone());
        Ok((socket, channel.broker()))
    }
}

#[tonic::async_trait]
impl Daemon for Link {
    async fn watch(&self, client: &str) -> Result<Box<dyn States>, Error> {
        let (socket, mut broker) = self.connect().await?;
        let request = v1::WatchTokenRequest { client: client.to_owned() };
        let stream = broker.watch_token(request).await.map_err(|status| Error::of_call(&status, &socket))?;
        Ok(Box::new(Stream { socket, messages: stream.into_inner() }))
    }

    async fn get_token(&self, request: v1::GetTokenRequest, patience: Duration) -> Result<v1::GetTokenResponse, Error> {
        let (socket, mut broker) = self.connect().await?;
        let mut request = Request::new(request);
        request.set_timeout(patience);
        answered(broker.get_token(request), patience, socket).await
    }

    async fn sign_proof(
        &self,
        request: v1::SignProofRequest,
        patience: Duration,
    ) -> Result<v1::SignProofResponse, Error> {
        let (socket, mut broker) = self.connect().await?;
        let mut request = Request::new(request);
        request.set_timeout(patience);
        answered(broker.sign_proof(request), patience, socket).await
    }

    fn silent(&self) -> Error {
        silent(&self.socket())
    }

    async fn close(&self) {
        *self.held.lock().await = Held::Closed;
    }
}

/// The answer to a call. It is for the daemon to say that time is up, so it is waited for a little longer.
async fn answered<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
    patience: Duration,
    socket: PathBuf,
) -> Result<T, Error> {
    match timeout(patience.saturating_add(GRACE), call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Error::of_call(&status, &socket)),
        Err(_) => Err(silent(&socket)),
    }
}

fn silent(socket: &Path) -> Error {
    Error::unreachable(socket, "does not answer; is it stopped?")
}

struct Stream {
    socket: PathBuf,
    messages: Streaming<v1::WatchTokenResponse>,
}

#[tonic::async_trait]
impl States for Stream {
    async fn next(&mut self) -> Result<State, Error> {
        match self.messages.message().await {
            Ok(Some(message)) => message.state.ok_or_else(|| Error::nonsense("neither a token nor why there is none")),
            Ok(None) => Err(Error::unreachable(&self.socket, "ended the stream")),
            Err(status) if status.code() == Code::Cancelled => {
                Err(Error::unreachable(&self.socket, "ended the stream"))
            }
            Err(status) => Err(Error::of_call(&status, &self.socket)),
        }
    }
}

/// How much longer than the daemon was told its answer is waited for.
const GRACE: Duration = Duration::from_millis(500);
