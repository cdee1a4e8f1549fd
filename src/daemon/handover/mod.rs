//! Tokens outlive the process: they are kept by the service manager, in sealed memory, for the process that comes next.
//!
//! Written a moment after each change and at the end, so that they are there after a crash as well; never on disk, as the
//! unit forbids that memory to be swapped out. Tokens that are bound to a key, and those that are revoked when the daemon
//! stops, are left out.

mod format;

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::supervisor::Survivors;
use crate::{
    refresh::{Entry, Registry},
    systemd::{Manager, sealed},
    token::ClientName,
};

type Entries = HashMap<ClientName, Arc<Entry>>;

/// Takes over what earlier processes left, and has it removed from the store: whatever is wrong with it must not be met
/// again at the next start. Nothing here keeps a daemon from starting.
pub(super) fn take(manager: Manager, left: Vec<(String, OwnedFd)>) -> Survivors {
    let mut newest: Option<(u64, Survivors)> = None;
    for (name, memory) in left {
        manager.forget(&name);
        let number = name.strip_prefix(PREFIX).and_then(|number| number.parse().ok()).unwrap_or_default();
        let read = sealed::read(memory, LARGEST)
            .map_err(|error| error.to_string())
            .and_then(|bytes| format::decode(&bytes).map_err(|error| error.to_string()));
        match read {
            Ok(survivors) if newest.as_ref().is_none_or(|(other, _)| *other < number) => {
                newest = Some((number, survivors));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(name: "tokens-not-kept", stored = name, error, "tokens of the last process are not used");
            }
        }
    }
    newest.map(|(_, survivors)| survivors).unwrap_or_default()
}

/// Keeps what the service manager holds up to date.
pub(super) struct Keeper {
    manager: Manager,
    registry: Arc<Registry>,
    /// How often it was written. The newest is told by it from the one before, which is removed only when the newer is
    /// there.
    written: Mutex<u64>,
}

impl Keeper {
    pub(super) fn new(manager: Manager, registry: Arc<Registry>) -> Self {
        Self { manager, registry, written: Mutex::default() }
    }

    /// Writes after changes, for ever.
    pub(super) async fn keep(&self) -> Infallible {
        if !self.manager.listens() {
            return std::future::pending().await;
        }
        let mut arrivals = self.registry.arrivals();
        arrivals.mark_changed();
        loop {
            if arrivals.changed().await.is_err() {
                // Nothing changes any more.
                return std::future::pending().await;
            }
            let begun = Instant::now();
            let entries = self.registry.entries();
            // Of many clients it is much to write; callers are served meanwhile.
            match spawn_blocking(move || written(&entries)).await {
                Ok(outcome) => self.store(outcome),
                Err(error) => self.store(Err(io::Error::other(error))),
            }
            // What comes soon after goes with the next; and it is never done for more than a small part of the time.
            sleep(SOON.max(begun.elapsed() * REST)).await;
        }
    }

    /// Writes what is there now, for who comes after us.
    pub(super) fn keep_last(&self) {
        if self.manager.listens() {
            self.store(written(&self.registry.entries()));
        }
    }

    fn store(&self, memory: io::Result<OwnedFd>) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let name = |number: u64| format!("{PREFIX}{number}");
        match memory.and_then(|memory| self.manager.store(&name(*written + 1), &memory)) {
            Ok(()) => {
                if *written > 0 {
                    self.manager.forget(&name(*written));
                }
                *written += 1;
            }
            Err(error) => {
                tracing::warn!(name: "tokens-not-kept", %error, "tokens cannot be kept for the next start");
            }
        }
    }
}

fn written(entries: &Entries) -> io::Result<OwnedFd> {
    let survivors = entries.values().filter_map(|entry| {
        let (asks, survivor) = entry.survivor()?;
        Some((&entry.name, asks, survivor))
    });
    sealed::create("bearerd-tokens", &format::encode(survivors))
}

/// What the names in the store begin with.
pub const PREFIX: &str = "bearerd-tokens-";
/// How long after one writing the next comes at the earliest.
const SOON: Duration = Duration::from_secs(1);
/// So many times as long as the writing took it is left alone.
const REST: u32 = 50;
/// The tokens of a hundred thousand clients, at ten kilobytes each.
const LARGEST: u64 = 1 << 30;
