//! The embedded issuer as a running server.
//!
//! One task accepts connections and owns the tasks that serve them; dropping the [`Issuer`] ends all of them.
//! It listens on 127.0.0.1 only. A connection serves one request: so no idle connection holds one of the few
//! places, and a change of mode never meets a connection that was opened before.

use std::{io, net::Ipv4Addr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{AbortHandle, JoinSet},
};

use super::{
    Mode,
    jwt::SigningKey,
    mint::Mint,
    site::{Site, TOKEN_PATH},
    token_request::Registration,
};
use crate::{clock::Clock, sensitive::Sensitive};

/// What the issuer needs to know.
#[derive(Clone)]
pub struct IssuerSettings {
    /// The port on 127.0.0.1; 0 lets the system choose one.
    pub port: u16,
    /// The `client_id` of the one client.
    pub client_id: String,
    /// Its `client_secret`.
    pub client_secret: Sensitive,
    /// How long a token lives; whole seconds, at least one.
    pub lifetime: Duration,
    /// Tells when tokens are issued and whether they have expired.
    pub clock: Arc<dyn Clock>,
}

/// A running issuer. It stops serving when it is dropped.
pub struct Issuer {
    site: Arc<Site>,
    accepting: AbortHandle,
}

impl Issuer {
    /// Starts an issuer with a new signing key.
    ///
    /// Once it has returned, requests are answered.
    ///
    /// # Errors
    /// The port is taken or not permitted, or the system gives no random numbers for the key.
    pub async fn start(settings: IssuerSettings) -> io::Result<Self> {
        let listener = listen(settings.port).await?;
        let port = listener.local_addr()?.port();
        let key = SigningKey::generate().map_err(|_| io::Error::other("cannot make a signing key"))?;
        let url = format!("http://127.0.0.1:{port}");
        let IssuerSettings { client_id, client_secret, lifetime, clock, .. } = settings;
        let site = Arc::new(Site {
            port,
            mint: Mint::new(url, client_id.clone(), lifetime, clock, key),
            client: Registration { id: client_id, secret: client_secret },
            mode: watch::Sender::new(Mode::Ok),
        });
        Ok(Self { accepting: spawn_accepting(listener, &site), site })
    }

    /// The base URL, which is also the issuer identifier: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.site.mint.issuer().to_owned()
    }

    /// The URL of the token endpoint.
    #[must_use]
    pub fn token_url(&self) -> String {
        format!("{}{TOKEN_PATH}", self.site.mint.issuer())
    }

    /// How the token endpoint behaves now.
    #[must_use]
    pub fn mode(&self) -> Mode {
        *self.site.mode.borrow()
    }

    /// Changes how the token endpoint behaves, from the next request on.
    pub fn set_mode(&self, mode: Mode) {
        self.site.set_mode(mode);
    }

    /// How many tokens were issued since the start.
    #[must_use]
    pub fn tokens_issued(&self) -> u64 {
        self.site.mint.issued()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    listener.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on 127.0.0.1:{port}: {error}")))
}

#[expect(clippy::disallowed_methods, reason = "owned by the handle, which aborts it; it owns all other tasks")]
fn spawn_accepting(listener: TcpListener, site: &Arc<Site>) -> AbortHandle {
    tokio::spawn(accept(listener, Arc::clone(site))).abort_handle()
}

async fn accept(listener: TcpListener, site: Arc<Site>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    // The semaphore is never closed: this loop ends only with its task, and the connections with it.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve(stream, Arc::clone(&site), place));
            }
            Err(error) => {
                // Out of file descriptors, most likely. Without a pause it would fail again at once.
                tracing::warn!(%error, "dev issuer cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection, which holds its place until it is closed.
async fn serve(stream: TcpStream, site: Arc<Site>, _place: OwnedSemaphorePermit) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service_fn(|request| site.answer(request)));
    // Bounds what the header limit does not: a body that trickles in, an answer that nobody reads.
    match tokio::time::timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "dev issuer closed a connection"),
        Err(_) => tracing::debug!("dev issuer closed a connection that took too long"),
    }
}

/// More connections than this wait in the listen queue.
const MAX_CONNECTIONS: usize = 64;
/// Limit for reading the head of a request.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// Limit for a whole connection; longer than the slow mode takes.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
/// Wait after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
