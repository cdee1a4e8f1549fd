//! Where a client's one writer publishes and all its readers look.
//!
//! What `tokio::sync::watch` does, at a third of its size: a hundred thousand clients have one each. A reader never
//! waits for the writer; a follower sees the newest snapshot, not every one.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;

use super::{Wishes, refresher::Amendment};
use crate::token::Snapshot;

/// The two sides of one client: what its writer publishes, and what its readers wish.
pub(super) struct Board {
    current: ArcSwap<Snapshot>,
    /// Rises with each publication; [`CLOSED`] when there will be no more.
    version: AtomicU64,
    changed: Notify,
    pub(super) wishes: Wishes,
    amendment: Mutex<Option<Box<Amendment>>>,
}

impl Board {
    pub(super) fn new(first: Snapshot) -> Self {
        Self {
            current: ArcSwap::from_pointee(first),
            version: AtomicU64::new(0),
            changed: Notify::new(),
            wishes: Wishes::default(),
            amendment: Mutex::default(),
        }
    }

    /// The newest snapshot.
    pub(super) fn look(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The newest snapshot, to keep.
    pub(super) fn keep(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Changes the snapshot without waking anybody. For the writer alone.
    pub(super) fn note(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = Snapshot::clone(&self.look());
        change(&mut snapshot);
        self.current.store(Arc::new(snapshot));
    }

    /// Changes the snapshot and wakes its followers. For the writer alone.
    pub(super) fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        self.note(change);
        self.version.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// Leaves new terms for the writer; only the newest count.
    pub(super) fn amend(&self, amendment: Amendment) {
        *self.amendment.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(amendment));
        self.wishes.ring();
    }

    /// Takes the new terms, if there are any. For the writer alone.
    pub(super) fn take_amendment(&self) -> Option<Box<Amendment>> {
        self.amendment.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Tells the followers that there is no writer any more.
    pub(super) fn close(&self) {
        self.version.store(CLOSED, Ordering::Release);
        self.changed.notify_waiters();
    }
}

/// Follows one client.
#[derive(Clone)]
pub struct Changes {
    board: Arc<Board>,
    seen: u64,
}

impl Changes {
    pub(super) fn new(board: Arc<Board>) -> Self {
        let seen = board.version.load(Ordering::Acquire);
        Self { board, seen }
    }

    /// The newest snapshot.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.board.keep()
    }

    /// From now on only what comes later counts as a change.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.board.version.load(Ordering::Acquire);
    }

    /// Ends when there is something newer than was last seen; false when there will never be.
    pub async fn changed(&mut self) -> bool {
        loop {
            let notified = self.board.changed.notified();
            tokio::pin!(notified);
            // Registered before looking, so that nothing is missed between looking and waiting.
            notified.as_mut().enable();
            let version = self.board.version.load(Ordering::Acquire);
            if version == CLOSED {
                return false;
            }
            if version != self.seen {
                self.seen = version;
                return true;
            }
            notified.await;
        }
    }

    /// Ends at a snapshot with this property, the present one included; `None` when there will never be one.
    pub async fn wait_for(&mut self, property: impl Fn(&Snapshot) -> bool) -> Option<Arc<Snapshot>> {
        loop {
            self.mark_unchanged();
            let snapshot = self.current();
            if property(&snapshot) {
                return Some(snapshot);
            }
            if !self.changed().await {
                return None;
            }
        }
    }
}

/// No version: the writer is gone.
const CLOSED: u64 = u64::MAX;
