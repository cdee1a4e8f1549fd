//! How connections to token endpoints are made, shared by all clients that make them alike.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use reqwest::{Certificate, Client, Identity, Proxy, redirect};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use url::Url;

use super::discovery::Found;
use crate::{moment::BootTime, sensitive::Sensitive};

/// Settings of a connection. Clients with equal settings share one HTTP client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transport {
    /// Limit for connecting, TLS included.
    pub connect_timeout: Duration,
    /// Certificate authorities to trust instead of the system's.
    pub ca: Option<CaBundle>,
    /// Nothing on the way is encrypted: no certificate authorities are needed, and none are looked for.
    pub plain: bool,
    /// Which proxy to use.
    pub proxy: ProxyChoice,
}

impl Default for Transport {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(3), ca: None, plain: false, proxy: ProxyChoice::None }
    }
}

/// Certificates in PEM, as read from `tls.ca_file`. A changed file is a changed setting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CaBundle(Arc<[u8]>);

impl CaBundle {
    /// Checks that the text holds certificates, and that each of them can be an authority.
    ///
    /// # Errors
    /// What is wrong with it, and with which certificate.
    pub fn parse(pem: &[u8]) -> Result<Self, String> {
        let mut authorities = RootCertStore::empty();
        for (number, certificate) in (1_u32..).zip(CertificateDer::pem_reader_iter(pem)) {
            // The library's own words are about peers and encodings; the number helps more.
            let added = certificate.ok().and_then(|certificate| authorities.add(certificate).ok());
            added.ok_or_else(|| format!("is damaged: certificate number {number} in it cannot be read"))?;
        }
        if authorities.is_empty() {
            return Err("holds no certificate in PEM form".to_owned());
        }
        Ok(Self(Arc::from(pem)))
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
    made: Mutex<HashMap<Transport, HttpClient>>,
}

impl Transports {
    /// The HTTP client for these settings.
    ///
    /// # Errors
    /// [`TransportError`] if the TLS stack cannot be set up, for example because the system has no certificate
    /// authorities.
    pub fn client(&self, transport: &Transport) -> Result<HttpClient, TransportError> {
        // Held while building, so that a hundred thousand clients starting at once build one.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(transport) {
            return Ok(client.clone());
        }
        let client = HttpClient::new(transport).map_err(TransportError)?;
        made.insert(transport.clone(), client.clone());
        Ok(client)
    }

    /// Forgets what was read of the system, and the clients that nobody uses any more.
    ///
    /// Called at each reload, before clients are asked for, so that newly installed system authorities are read: also
    /// by those who keep their client, before its next request.
    pub fn forget(&self) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|_, client| Arc::strong_count(&client.0) > 1);
        for client in made.values() {
            client.0.outdated.store(true, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Transports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transports").finish_non_exhaustive()
    }
}

/// An HTTP client, shared by all whose [`Transport`] is the same.
#[derive(Clone)]
pub struct HttpClient(Arc<Made>);

struct Made {
    transport: Transport,
    client: ArcSwap<Client>,
    outdated: AtomicBool,
    /// What issuers said of themselves, by identifier, and when.
    found: Mutex<HashMap<Box<str>, Description>>,
}

/// What an issuer said of itself, and until when it is believed; `None`: it may have changed since.
type Description = (Arc<Found>, Option<BootTime>);

impl HttpClient {
    fn new(transport: &Transport) -> reqwest::Result<Self> {
        let client = ArcSwap::from_pointee(build(transport, None)?);
        Ok(Self(Arc::new(Made {
            transport: transport.clone(),
            client,
            outdated: AtomicBool::new(false),
            found: Mutex::default(),
        })))
    }

    /// One of its own for a client with a certificate, in PEM with its key, which are read anew for each request.
    pub(super) fn with_identity(&self, pem: &Sensitive) -> Result<Client, IdentityError> {
        let identity = Identity::from_pem(pem.expose().as_bytes()).map_err(IdentityError)?;
        build(&self.0.transport, Some(identity)).map_err(IdentityError)
    }

    /// What is known of an issuer's endpoints, and until when it is believed. Shared by all clients of the issuer.
    pub(super) fn found(&self, issuer: &str) -> Option<Description> {
        self.0.found.lock().unwrap_or_else(PoisonError::into_inner).get(issuer).cloned()
    }

    /// Keeps what an issuer said of itself.
    pub(super) fn remember(&self, issuer: &str, found: Arc<Found>, until: BootTime) {
        self.0.found.lock().unwrap_or_else(PoisonError::into_inner).insert(issuer.into(), (found, Some(until)));
    }

    /// Has the issuer asked again before the next request; if it does not answer, what it said still counts.
    pub(super) fn doubt(&self, issuer: &str) {
        if let Some((_, until)) = self.0.found.lock().unwrap_or_else(PoisonError::into_inner).get_mut(issuer) {
            *until = None;
        }
    }

    /// What to send the next request with; made anew if it rests on what has been forgotten.
    pub(super) fn current(&self) -> Arc<Client> {
        let Made { transport, client, outdated, .. } = &*self.0;
        if outdated.swap(false, Ordering::Relaxed) {
            match build(transport, None).map_err(TransportError) {
                Ok(fresh) => client.store(Arc::new(fresh)),
                // The authorities that were there before are better than none.
                Err(error) => tracing::warn!(%error, "certificate authorities not read again; the old ones count"),
            }
        }
        client.load_full()
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

/// A client certificate cannot be used.
#[derive(Debug)]
pub struct IdentityError(reqwest::Error);

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the client certificate cannot be used: {}; tls.certificate_file must hold it in PEM and tls.key_file its \
             unencrypted private key",
            Chain(&self.0)
        )
    }
}

impl std::error::Error for IdentityError {}

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

fn build(transport: &Transport, identity: Option<Identity>) -> reqwest::Result<Client> {
    // Chosen explicitly: the library would panic without a process-wide choice.
    let provider = rustls::crypto::ring::default_provider();
    drop(provider.install_default());
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(transport.connect_timeout)
        // A connection for each request. A pooled HTTP/2 connection that hangs would be handed to every retry of every
        // client of its issuer, each of which makes it look fresh; and token requests are many minutes apart.
        .pool_max_idle_per_host(0)
        .http1_max_headers(MAX_HEADERS)
        .referer(false)
        .user_agent(concat!("bearerd/", env!("CARGO_PKG_VERSION")));
    match &transport.ca {
        Some(CaBundle(pem)) => builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem)?),
        // Otherwise the system's are read, and there must be some.
        None if transport.plain => builder = builder.tls_certs_only([]),
        None => {}
    }
    match &transport.proxy {
        ProxyChoice::None => builder = builder.no_proxy(),
        ProxyChoice::Environment => {}
        ProxyChoice::Url(url) => builder = builder.proxy(Proxy::all(url.as_str())?),
    }
    if let Some(identity) = identity {
        builder = builder.identity(identity);
    }
    builder.build()
}

/// More headers than this are refused by the HTTP parser.
const MAX_HEADERS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Transport {
        Transport { plain: true, ..Transport::default() }
    }

    #[test]
    fn what_is_forgotten_is_made_anew_for_those_who_have_it_too() {
        let transports = Transports::default();
        let client = transports.client(&plain()).unwrap();
        let first = client.current();
        assert!(Arc::ptr_eq(&first, &client.current()));
        assert!(Arc::ptr_eq(&first, &transports.client(&plain()).unwrap().current()), "shared");
        transports.forget();
        let second = client.current();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &transports.client(&plain()).unwrap().current()), "still shared");
    }

    #[test]
    fn what_nobody_uses_is_forgotten_altogether() {
        let transports = Transports::default();
        let used = transports.client(&plain()).unwrap();
        let other = Transport { connect_timeout: Duration::from_secs(1), ..plain() };
        drop(transports.client(&other).unwrap());
        transports.forget();
        let left: Vec<_> = transports.made.lock().unwrap().keys().cloned().collect();
        assert_eq!(left, [plain()]);
        drop(used);
    }
}
