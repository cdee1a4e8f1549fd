//! The gRPC API on a Unix socket.
//!
//! The generated services run on hyper's HTTP/2 connection over a stream of ours ([`stream`]), so that peer
//! facts, limits, time limits and the way bytes leave are in one place. It has never heard of OAuth, secrets or
//! configuration.

pub mod admin;
pub mod authority;
mod body;
mod connection;
mod conversation;
mod convert;
mod driven;
mod get_token;
pub mod health;
pub mod limits;
pub mod listen;
mod presence;
pub mod reply;
pub mod scan;
pub mod service;
pub mod session;
pub mod stream;
mod token_message;
mod tokens;
mod turn;
mod view;
mod watch;

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::UnixStream,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

pub use admin::{Loaded, Reloaded, Wrong};
pub use limits::{Full, Limits, Usage};
pub use listen::{ListenError, Listener};
pub use session::Shared;

use crate::{
    lifecycle::{Lifecycle, Phase},
    peer::{self, Peer},
};
use limits::Seat;
use presence::Presence;
use service::Reflection;
use turn::next_turn;

/// Serves connections until the phase is [`Lifecycle::Draining`], then lets them finish for at most `drain`.
///
/// Returns how many connections had to be cut off. The socket is closed, and its file removed, before that.
pub async fn serve(mut listener: Listener, shared: Arc<Shared>, drain: Duration) -> usize {
    let reflection = Arc::new(Reflection::default());
    let mut connections = JoinSet::new();
    let mut phase = shared.phase.clone();
    let mut presence = Presence::of(listener.path());
    // Only what happens from here on is told; what happened before is looked at.
    let mut look_again = (!listener.is_in_place()).then(Instant::now);
    let serve = |connections: &mut JoinSet<()>, stream| {
        if let Some(guest) = welcome(&stream, &shared) {
            connections.spawn(connection::serve(stream, guest, Arc::clone(&shared), Arc::clone(&reflection)));
        }
    };
    loop {
        tokio::select! {
            biased;
            () = drained(&mut phase) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok(stream) => {
                    serve(&mut connections, stream);
                    next_turn().await;
                }
                Err(error) => not_accepted(&error).await,
            },
            () = to_look_again(&presence, look_again) => {
                if let Some(new) = in_place(&listener) {
                    // Nobody can connect to the old one any more; who did so before is served.
                    while let Some(stream) = listener.accept_at_once() {
                        serve(&mut connections, stream);
                    }
                    listener = new;
                    presence = Presence::of(listener.path());
                }
                // What was passed is not ours to bind again; it is said once.
                let again = !listener.is_in_place() && !listener.outlives_us();
                look_again = again.then(|| Instant::now() + LOOK_AGAIN);
            }
        }
    }
    // Who has connected already is served, rather than cut off; by who comes after us, if the socket goes on listening.
    while !listener.outlives_us()
        && let Some(stream) = listener.accept_at_once()
    {
        serve(&mut connections, stream);
    }
    drop(listener);
    connection::settle(&mut connections, drain).await
}

/// Somebody who has connected, with a place.
struct Guest {
    peer: Peer,
    seat: Seat,
}

/// Finds out who connected and gives them a place. `None`: the connection is dropped.
fn welcome(stream: &UnixStream, shared: &Arc<Shared>) -> Option<Guest> {
    match peer::identify(stream, shared.needs()) {
        Ok(peer) => Some(Guest { seat: shared.usage.seat(peer.uid())?, peer }),
        Err(error) => {
            tracing::debug!(%error, "connection refused");
            None
        }
    }
}

/// Ends when the socket's file may have been removed or replaced, or when a failed repair is to be tried again.
async fn to_look_again(presence: &Presence, at: Option<Instant>) {
    match at {
        Some(at) => tokio::select! {
            () = presence.changed() => {}
            () = sleep_until(at) => {}
        },
        None => presence.changed().await,
    }
}

/// A new listener at the same place, if the socket's file is not there any more.
fn in_place(listener: &Listener) -> Option<Listener> {
    if listener.is_in_place() {
        return None;
    }
    let socket = listener.path().display();
    tracing::error!(name: "socket-lost", %socket, "the socket's file was removed or replaced");
    match listener.again() {
        Ok(new) => {
            tracing::info!(%socket, "listening again");
            Some(new)
        }
        Err(error) => {
            tracing::error!(%error, "callers cannot connect");
            None
        }
    }
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
/// How long after a failed repair of the socket's file the next is tried.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
