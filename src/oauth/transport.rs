//! How connections to token endpoints are made, shared by all clients that make them alike.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Certificate, Client, Proxy, redirect};
use url::Url;

/// Settings of a connection. Clients with equal settings share one connection pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transport {
    /// Limit for connecting, TLS included.
    pub connect_timeout: Duration,
    /// Certificate authorities to trust instead of the system's.
    pub ca: Option<CaBundle>,
    /// Which proxy to use.
    pub proxy: ProxyChoice,
}

impl Default for Transport {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(3), ca: None, proxy: ProxyChoice::None }
    }
}

/// Certificates in PEM, as read from `tls.ca_file`. A changed file is a changed setting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CaBundle(Arc<[u8]>);

impl CaBundle {
    /// Checks that the text holds certificates.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(pem: &[u8]) -> Result<Self, String> {
        match Certificate::from_pem_bundle(pem) {
            Ok(found) if found.is_empty() => Err("holds no certificate in PEM form".to_owned()),
            Ok(_) => Ok(Self(Arc::from(pem))),
            Err(error) => Err(format!("is not readable as PEM certificates: {error}")),
        }
    }
}

/// Which proxy to use.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum ProxyChoice {
    /// Connect directly.
    #[default]
    None,
    /// What `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` of the daemon's environment say.
    Environment,
    /// This one (`http`, `https`, `socks5` or `socks5h`); may carry a user and password.
    Url(Box<Url>),
}

impl fmt::Debug for ProxyChoice {
    /// Without the URL, which may carry a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Environment => "Environment",
            Self::Url(_) => "Url([redacted])",
        })
    }
}

/// Makes HTTP clients, one for each distinct [`Transport`].
#[derive(Default)]
pub struct Transports {
    made: Mutex<HashMap<Transport, Client>>,
}

impl Transports {
    /// The HTTP client for these settings.
    ///
    /// # Errors
    /// [`TransportError`] if the TLS stack cannot be set up, for example because the system has no certificate
    /// authorities.
    pub fn client(&self, transport: &Transport) -> Result<Client, TransportError> {
        // Held while building, so that a hundred thousand clients starting at once build one.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(transport) {
            return Ok(client.clone());
        }
        let client = build(transport).map_err(TransportError)?;
        made.insert(transport.clone(), client.clone());
        Ok(client)
    }
}

impl fmt::Debug for Transports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transports").finish_non_exhaustive()
    }
}

/// The HTTP client cannot be made.
#[derive(Debug)]
pub struct TransportError(reqwest::Error);

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot set up TLS: {}; install ca-certificates or set tls.ca_file", Chain(&self.0))
    }
}

impl std::error::Error for TransportError {}

/// Prints an error with its causes, without the URL, which the reader knows.
pub(super) struct Chain<'a>(pub(super) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

fn build(transport: &Transport) -> reqwest::Result<Client> {
    // Chosen explicitly: the library would panic without a process-wide choice.
    let provider = rustls::crypto::ring::default_provider();
    drop(provider.install_default());
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(transport.connect_timeout)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(1)
        .http1_max_headers(MAX_HEADERS)
        .referer(false)
        .user_agent(concat!("bearerd/", env!("CARGO_PKG_VERSION")));
    if let Some(CaBundle(pem)) = &transport.ca {
        builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem)?);
    }
    match &transport.proxy {
        ProxyChoice::None => builder = builder.no_proxy(),
        ProxyChoice::Environment => {}
        ProxyChoice::Url(url) => builder = builder.proxy(Proxy::all(url.as_str())?),
    }
    builder.build()
}

/// Token requests of one client are many minutes apart: a connection is kept for a retry, not for the next
/// refresh, because half-dead idle connections are a common cause of a failed one.
const POOL_IDLE: Duration = Duration::from_secs(20);
/// More headers than this are refused by the HTTP parser.
const MAX_HEADERS: usize = 128;
