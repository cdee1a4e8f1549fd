//! What readers want of a client's refresher: merged, lossless, constant in memory.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::sync::{Notify, futures::Notified};

use crate::{
    moment::BootTime,
    token::{Asked, Wish},
};

/// The readers' side of one client. A thousand equal wishes are one.
///
/// Readers judge by [`Wishes::spoiled`] together with the snapshot: a token that was reported a moment ago is
/// not served, even before the refresher has run.
#[derive(Debug, Default)]
pub struct Wishes {
    valid_until: AtomicU64,
    spoiled: AtomicU64,
    orders: AtomicU64,
    asked_at: AtomicU64,
    watchers: AtomicU32,
    bell: Notify,
}

impl Wishes {
    /// The newest generation that was reported as rejected.
    #[must_use]
    pub fn spoiled(&self) -> u64 {
        self.spoiled.load(Ordering::Acquire)
    }

    /// Adds a wish and wakes the refresher.
    pub fn post(&self, wish: Wish) {
        self.valid_until.fetch_max(wish.valid_until.as_nanos(), Ordering::AcqRel);
        self.spoiled.fetch_max(wish.spoil, Ordering::AcqRel);
        self.bell.notify_one();
    }

    /// Orders a refresh; the ticket is carried out when the snapshot's `orders_done` has reached it.
    pub fn order(&self) -> u64 {
        let ticket = self.orders.fetch_add(1, Ordering::AcqRel) + 1;
        self.bell.notify_one();
        ticket
    }

    /// Takes note that somebody asked.
    pub fn touch(&self, now: BootTime) {
        self.asked_at.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// Makes the refresher look at the time and at its wishes again: the clocks have moved, or somebody is back.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// Somebody begins to watch, which counts as asking until [`Wishes::unwatch`].
    pub fn watch(&self) {
        self.watchers.fetch_add(1, Ordering::AcqRel);
        self.bell.notify_one();
    }

    /// The watching ends at `now`.
    pub fn unwatch(&self, now: BootTime) {
        self.touch(now);
        self.watchers.fetch_sub(1, Ordering::AcqRel);
    }

    /// Everything that is wanted. `orders_done` tells which orders are old.
    pub(super) fn read(&self, orders_done: u64) -> Asked {
        Asked {
            valid_until: BootTime::from_nanos(self.valid_until.load(Ordering::Acquire)),
            spoiled: self.spoiled(),
            ordered: self.orders() > orders_done,
            last: BootTime::from_nanos(self.asked_at.load(Ordering::Relaxed)),
            watched: self.watchers.load(Ordering::Acquire) > 0,
        }
    }

    /// Orders given so far.
    pub(super) fn orders(&self) -> u64 {
        self.orders.load(Ordering::Acquire)
    }

    /// Forgets who waits: called before an attempt. Whoever waits judges its outcome and asks again if need be.
    pub(super) fn clear_demand(&self) {
        self.valid_until.store(0, Ordering::Release);
    }

    /// Ends at the next wish.
    pub(super) fn rung(&self) -> Notified<'_> {
        self.bell.notified()
    }
}
