//! The gRPC API on a Unix socket.
//!
//! The generated services run on hyper's HTTP/2 connection over a stream of ours ([`stream`]), so that peer
//! facts, limits, time limits and the way bytes leave are in one place. It has never heard of OAuth, secrets or
//! configuration.

pub mod admin;
pub mod authority;
mod body;
mod connection;
mod convert;
mod driven;
mod get_token;
pub mod health;
pub mod limits;
pub mod listen;
pub mod reply;
pub mod scan;
pub mod service;
pub mod session;
pub mod stream;
mod token_message;
mod tokens;
mod watch;

use std::{io, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::{net::UnixStream, task::JoinSet, time::sleep};

pub use admin::{Loaded, Reloaded, Wrong};
pub use limits::{Full, Limits, Usage};
pub use listen::{ListenError, Listener};
pub use service::Reflection;
pub use session::Shared;

use crate::{
    lifecycle::{Lifecycle, Phase},
    peer,
};
use session::Session;

/// Serves connections until the phase is [`Lifecycle::Draining`], then lets them finish for at most `drain`.
///
/// Returns how many connections had to be cut off. The socket is closed, and its file removed, before that.
pub async fn serve(listener: Listener, shared: Arc<Shared>, reflection: Reflection, drain: Duration) -> usize {
    let reflection = Arc::new(reflection);
    let mut connections = JoinSet::new();
    let mut phase = shared.phase.clone();
    let serve = |connections: &mut JoinSet<()>, stream| {
        if let Some(session) = welcome(&stream, &shared) {
            let phase = shared.phase.clone();
            connections.spawn(connection::serve(stream, session, Arc::clone(&reflection), phase));
        }
    };
    loop {
        tokio::select! {
            biased;
            () = drained(&mut phase) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok(stream) => serve(&mut connections, stream),
                Err(error) => not_accepted(&error).await,
            }
        }
    }
    // Who has connected already is told that the daemon drains, rather than cut off.
    while let Some(Ok(stream)) = listener.accept().now_or_never() {
        serve(&mut connections, stream);
    }
    drop(listener);
    connection::settle(&mut connections, drain).await
}

/// Finds out who connected and gives them a place. `None`: the connection is dropped.
fn welcome(stream: &UnixStream, shared: &Arc<Shared>) -> Option<Arc<Session>> {
    let caller = match peer::identify(stream) {
        Ok(caller) => caller,
        Err(error) => {
            tracing::debug!(%error, "caller cannot be identified; connection refused");
            return None;
        }
    };
    let seat = shared.usage.seat(caller.uid)?;
    Some(Arc::new(Session::new(Arc::clone(shared), caller, seat)))
}

/// A failed accept is passing (out of descriptors, a peer that left): wait a little rather than spin.
async fn not_accepted(error: &io::Error) {
    tracing::warn!(%error, "connection not accepted");
    sleep(AFTER_FAILED_ACCEPT).await;
}

/// Ends when the daemon begins to drain, or is gone.
async fn drained(phase: &mut Phase) {
    // An error means that nobody can change the phase any more, which is the end as well.
    let _ = phase.wait_for(|phase| *phase >= Lifecycle::Draining).await;
}

const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);
