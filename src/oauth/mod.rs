//! The token endpoint client: one request, one answer (RFC 6749 section 4.4), tolerant of what real endpoints do.

pub mod client_auth;
mod echo;
pub mod endpoint;
pub mod form;
pub mod redact;
pub mod request;
pub mod response;
pub mod settings;
pub mod transport;
mod unreachable;

pub use client_auth::{BasicEncoding, ClientAuth};
pub use endpoint::Endpoint;
pub use settings::{LifetimeUnit, Settings};
pub use transport::{CaBundle, ProxyChoice, Transport, Transports};
