//! Client of bearerd, the token broker daemon.

mod backoff;
mod broker;
mod channel;
mod client;
mod clock;
mod connect_error;
mod daemon;
mod error;
mod follower;
mod headers;
mod judgement;
mod link;
mod memory;
pub mod pb;
mod proof;
mod report;
#[cfg(feature = "reqwest")]
pub mod reqwest;
pub mod socket;
mod tasks;
mod token;
mod watcher;

pub use broker::{Broker, BrokerBuilder};
pub use channel::Channel;
pub use client::{Client, ReadOptions};
pub use connect_error::ConnectError;
pub use error::{Error, reason};
pub use headers::RequestHeader;
pub use proof::Proof;
pub use report::{Rejection, Report};
pub use token::Token;
pub use tonic::Code;
