//! From the settings of one client to its running parts.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Semaphore, watch};
use url::Url;

use crate::{
    clock::Clock,
    config::ClientSettings,
    oauth::{Endpoint, Transports, transport::TransportError},
    refresh::{Entry, Fingerprint, Handle, Refresher, Registry, Survivor, Terms},
    token::{ClientName, TokenSource, policy::PER_ISSUER},
};

/// Makes clients; keeps what they share.
pub struct Assembler {
    clock: Arc<dyn Clock>,
    pulse: watch::Sender<u64>,
    remains: watch::Sender<u64>,
    transports: Transports,
    gates: Mutex<HashMap<Box<str>, Arc<Semaphore>>>,
}

impl Assembler {
    /// Makes an assembler that has made nothing. Its refreshers beat what the registry counts.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, registry: &Registry) -> Self {
        let (pulse, remains) = registry.beats();
        Self { clock, pulse, remains, transports: Transports::default(), gates: Mutex::default() }
    }

    /// The source of a client's tokens.
    ///
    /// # Errors
    /// The TLS stack cannot be set up.
    pub fn source(&self, name: &ClientName, settings: &ClientSettings) -> Result<Arc<dyn TokenSource>, AssembleError> {
        let http = self
            .transports
            .client(&settings.endpoint.transport)
            .map_err(|error| AssembleError { client: name.clone(), error })?;
        Ok(Arc::new(Endpoint::new(Arc::clone(&settings.endpoint), http, Arc::clone(&self.clock))))
    }

    /// The refresher of a client, and the handle of its readers; with what has survived of that client, if something has.
    pub fn refresher(
        &self,
        name: &ClientName,
        settings: &ClientSettings,
        source: Arc<dyn TokenSource>,
        survivor: Option<Survivor>,
    ) -> (Refresher, Handle) {
        let terms = Terms {
            name: name.clone(),
            policy: Arc::clone(&settings.refresh),
            source,
            gate: self.gate(settings.endpoint.place.url()),
            clock: Arc::clone(&self.clock),
            pulse: self.pulse.clone(),
            remains: self.remains.clone(),
            seed: seed(),
        };
        match survivor {
            Some(survivor) => Refresher::resume(terms, survivor),
            None => Refresher::new(terms),
        }
    }

    /// One gate for each issuer host and port.
    fn gate(&self, url: &Url) -> Arc<Semaphore> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = gates.entry(format!("{host}:{port}").into()).or_insert_with(|| Arc::new(Semaphore::new(PER_ISSUER)));
        Arc::clone(gate)
    }

    /// Has what is read from the system for connections read again.
    pub fn renew(&self) {
        self.transports.forget();
    }

    /// Forgets the gates of issuers that no client uses any more.
    pub fn tidy(&self) {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|_, gate| Arc::strong_count(gate) > 1);
    }
}

/// What the server sees of a running client.
#[must_use]
pub fn entry(name: &ClientName, settings: &ClientSettings, handle: Handle) -> Entry {
    let mut entry = Entry::new(name.clone(), settings.policy.clone(), handle);
    entry.required = settings.required;
    entry.request_headers = Arc::clone(&settings.request_headers);
    entry.budget_per_day = settings.refresh.budget_per_day;
    entry.asks = asks(settings);
    entry
}

/// What a client asks its issuer for; `None` if its tokens are revoked when the daemon stops, and so are of no use to the
/// next one.
#[must_use]
pub fn asks(settings: &ClientSettings) -> Option<Fingerprint> {
    settings.endpoint.revocation.is_none().then(|| settings.endpoint.fingerprint())
}

/// A client cannot be put together.
#[derive(Debug)]
pub struct AssembleError {
    /// Which.
    pub client: ClientName,
    error: TransportError,
}

impl fmt::Display for AssembleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client `{}`: {}", self.client, self.error)
    }
}

impl std::error::Error for AssembleError {}

/// From the system's random numbers: token ids must not repeat over restarts.
fn seed() -> u64 {
    getrandom::u64().unwrap_or_else(|error| {
        // Only a kernel without a random device; ids then rest on the library's own seed.
        tracing::warn!(%error, "no random numbers from the system");
        fastrand::u64(..)
    })
}
