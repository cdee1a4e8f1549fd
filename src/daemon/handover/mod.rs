//! Tokens outlive the process: they are kept by the service manager, in sealed memory, for the process that comes next.
//!
//! Written a moment after each change and at the end, so that they are there after a crash as well; never on disk, as the
//! unit forbids that memory to be swapped out (where systemd can: with the memory controller of cgroup v2). Tokens that are
//! bound to a key, and those that are revoked when the daemon stops, are left out.

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
    sync::watch,
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

/// What earlier processes left.
pub(super) struct Estate {
    /// Of which clients.
    pub(super) survivors: Survivors,
    /// What the store holds of it.
    pub(super) stored: Stored,
}

/// The numbers of what is in the store, which are parts of the names there. They rise over all processes of the service.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stored {
    /// Of the newest.
    newest: u64,
    /// Of the oldest that has not been removed.
    oldest: u64,
}

/// Takes over what earlier processes left. Nothing here keeps a daemon from starting.
///
/// All of it is removed from the store before it is looked at: whatever is wrong with it must not be met again at the next
/// start. What is sound goes back at once, in case this start comes to nothing.
pub(super) fn take(manager: &Manager, left: Vec<(String, OwnedFd)>) -> Estate {
    let mut found: Option<(OwnedFd, Survivors)> = None;
    let mut newest = 0;
    let number = |name: &str| name.strip_prefix(PREFIX).and_then(|number| number.parse().ok()).unwrap_or_default();
    let mut left: Vec<(u64, String, OwnedFd)> =
        left.into_iter().map(|(name, memory)| (number(&name), name, memory)).collect();
    left.sort_by_key(|(number, ..)| *number);
    for (number, name, memory) in left {
        // Where there is no room for it, it is met again at the next start, which is no worse.
        let _ = manager.forget(&name);
        newest = number.min(u64::MAX - 1);
        let read = sealed::read(&memory, LARGEST)
            .map_err(|error| error.to_string())
            .and_then(|bytes| format::decode(&bytes).map_err(|error| error.to_string()));
        match read {
            Ok(survivors) => found = Some((memory, survivors)),
            Err(error) => {
                tracing::warn!(name: "tokens-not-kept", stored = name, error, "tokens of the last process are not used");
            }
        }
    }
    let mut stored = Stored { newest, oldest: newest + 1 };
    let Some((memory, survivors)) = found else { return Estate { survivors: Survivors::new(), stored } };
    if manager.store(&stored_as(newest + 1), memory) {
        stored.newest += 1;
    }
    Estate { survivors, stored }
}

/// Keeps what the service manager holds up to date.
pub(super) struct Keeper {
    manager: Manager,
    registry: Arc<Registry>,
    remains: Mutex<watch::Receiver<u64>>,
    stored: Mutex<Stored>,
}

impl Keeper {
    /// A keeper of clients that have not been started yet, so that it misses nothing; `stored` is from before them.
    pub(super) fn new(manager: Manager, registry: Arc<Registry>, stored: Stored) -> Self {
        let mut remains = registry.remains();
        if stored.newest >= stored.oldest {
            // What was left has tokens of clients in it that are gone.
            remains.mark_changed();
        }
        Self { manager, registry, remains: Mutex::new(remains), stored: Mutex::new(stored) }
    }

    /// Writes after changes, for ever.
    pub(super) async fn keep(&self) -> Infallible {
        if !self.manager.listens() {
            return std::future::pending().await;
        }
        let mut remains = self.remains.lock().unwrap_or_else(PoisonError::into_inner).clone();
        loop {
            if remains.changed().await.is_err() {
                // Nothing changes any more.
                return std::future::pending().await;
            }
            let begun = Instant::now();
            let entries = self.registry.entries();
            // Of many clients it is much to write; callers are served meanwhile.
            let written =
                spawn_blocking(move || written(&entries)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
            if !self.store(written) {
                remains.mark_changed();
            }
            // What comes soon after goes with the next; and it is never done for more than a small part of the time.
            sleep(SOON.max(begun.elapsed() * REST)).await;
        }
    }

    /// Writes what is there now, for who comes after us, and waits a moment for the manager to take it.
    pub(super) fn keep_last(&self) {
        if self.manager.listens() {
            self.store(written(&self.registry.entries()));
            self.manager.flush(LAST_WORD);
        }
    }

    /// Returns whether the manager is told. What it has beside the newest is removed only when that is on its way.
    fn store(&self, memory: io::Result<OwnedFd>) -> bool {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = memory.and_then(|memory| {
            let room = self.manager.store(&stored_as(stored.newest + 1), memory);
            if room { Ok(()) } else { Err(io::Error::other("the service manager does not take what it is told")) }
        });
        if let Err(error) = sent {
            tracing::warn!(name: "tokens-not-kept", %error, "tokens cannot be kept for the next start");
            return false;
        }
        stored.newest += 1;
        while stored.oldest < stored.newest && self.manager.forget(&stored_as(stored.oldest)) {
            stored.oldest += 1;
        }
        true
    }
}

fn stored_as(number: u64) -> String {
    format!("{PREFIX}{number}")
}

fn written(entries: &Entries) -> io::Result<OwnedFd> {
    let survivors = entries.values().filter_map(|entry| {
        let (asks, survivor) = entry.survivor()?;
        Some((&entry.name, asks, survivor))
    });
    let bytes = format::encode(survivors);
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LARGEST) {
        return Err(io::Error::other("they take more than a gibibyte"));
    }
    sealed::create("bearerd-tokens", &bytes)
}

/// What the names in the store begin with.
pub const PREFIX: &str = "bearerd-tokens-";
/// How long after one writing the next comes at the earliest.
const SOON: Duration = Duration::from_secs(1);
/// So many times as long as the writing took it is left alone.
const REST: u32 = 50;
/// How long the manager may take for the last of it.
const LAST_WORD: Duration = Duration::from_secs(2);
/// The tokens of a hundred thousand clients, at ten kilobytes each.
const LARGEST: u64 = 1 << 30;
