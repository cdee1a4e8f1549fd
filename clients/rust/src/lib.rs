//! Client of [bearerd](https://github.com/bearerd/bearerd), the daemon that keeps OAuth 2.0 access tokens fresh and hands
//! them to the processes that may have them.
//!
//! A [`Broker`] is the connection to the daemon; a [`Client`] is one client of its configuration, and its token is read
//! from memory:
//!
//! ```no_run
//! use bearerd_client::Broker;
//!
//! # async fn example() -> Result<(), bearerd_client::Error> {
//! let broker = Broker::new();
//! let wawex = broker.client("wawex");
//!
//! // For each API call: all the headers it must carry, or an error if one is missing.
//! let headers = wawex.headers([("Requestor-ID", "4711")]).await?;
//!
//! // When the API answers 401, and only then:
//! let token = wawex.token().await?;
//! let report = wawex.report(&token).await?;
//! println!("{}: now it is {}", report.rejection, report.token.id());
//!
//! broker.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `reqwest`, [`reqwest::Http`](https://docs.rs/bearerd-client/latest/bearerd_client/reqwest) does all of
//! that for each request.
//!
//! # How it works
//!
//! The first read of a client's token connects to the daemon and begins a stream on which the daemon tells every change.
//! From then on a read is a look into memory: no call, no lock. A token is handed out only while it is good for the
//! smaller of 30 s and a tenth of its life, and for as long as [`ReadOptions::min_validity`] asks; one that is refused by
//! an API is handed out to nobody while the daemon is being told.
//!
//! When the stream breaks, the token in memory goes on being served as long as it is good, and the stream is begun anew,
//! after a pause of at most 2 s. When the daemon says that the client is not for this process any more, the token is
//! forgotten at once. While there is nothing to serve, a read is an error within a moment; only a token that is on its way
//! is waited for. No daemon is needed to start: one that appears later is found by the next read.
//!
//! # Runtimes
//!
//! The streams are tasks of the tokio runtime in which a client's token was read first; it needs its I/O and time drivers
//! (`enable_all`). When that runtime ends, as after each `#[tokio::test]`, the token stays in memory, and the next read in
//! another runtime begins anew. While a runtime stands still (one of a single thread, outside of `block_on`), its streams
//! stand still too; the token in memory is still never served after its time.
//!
//! A process that forks takes a copy of the memory along, but no task and no connection that it could use: make a new
//! [`Broker`] after `fork`.
//!
//! # What is logged
//!
//! Through [`tracing`]: that a stream began (debug) or was lost and why (warn), and that the token changed, with its
//! [`id`](Token::id) (debug). Never a token.

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
#[cfg(test)]
mod tests;
mod token;
mod watcher;

/// Has the programs of the readme compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

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
