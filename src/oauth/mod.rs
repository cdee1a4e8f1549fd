//! The token endpoint client: one request, one answer (RFC 6749 section 4.4), tolerant of what real endpoints do.

pub mod assertion;
pub mod client_auth;
mod credentials;
pub mod discovery;
mod dpop;
mod echo;
pub mod endpoint;
pub mod form;
pub mod grant;
pub mod jws;
mod lookup;
pub mod redact;
pub mod request;
pub mod response;
mod revoke;
pub mod settings;
pub mod transport;
mod unreachable;

pub use client_auth::{BasicEncoding, ClientAuth};
pub use discovery::Place;
pub use endpoint::Endpoint;
pub use grant::Grant;
pub use settings::{Identity, LifetimeUnit, Revocation, Settings};
pub use transport::{CaBundle, ProxyChoice, Transport, Transports};
