//! What `bearerd dev` embeds: a small but honest OAuth 2.0 authorization server on the loopback interface.
//!
//! It speaks the wire formats of the real ones, so that the daemon in front of it is the unchanged daemon, and
//! it can be told to misbehave ([`Mode`]), so that people can watch what the daemon makes of an outage. Never
//! used by `bearerd run`.

pub mod issuer;
pub mod mode;

mod api;
mod jwt;
mod mint;
mod reply;
mod site;
mod token_request;

pub use issuer::{Issuer, IssuerSettings};
pub use mode::{Mode, UnknownMode};
