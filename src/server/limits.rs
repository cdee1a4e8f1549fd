//! How much one user may take, and how much all of them together.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

/// Limits on callers. Root is bound by them like everybody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections of all users together.
    pub connections: usize,
    /// Open connections of one user id.
    pub connections_per_uid: usize,
    /// Calls and streams in progress of one user id.
    pub calls_per_uid: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1_024, connections_per_uid: 256, calls_per_uid: 1_024 }
    }
}

/// Counts what is in use.
#[derive(Debug)]
pub struct Usage {
    limits: Limits,
    users: Mutex<HashMap<u32, Arc<User>>>,
    connections: AtomicU32,
    calls: AtomicU32,
}

/// What one user id has in use.
#[derive(Debug, Default)]
struct User {
    connections: AtomicU32,
    calls: AtomicU32,
}

/// A counted connection; gives its place back when dropped.
#[derive(Debug)]
pub struct Seat {
    usage: Arc<Usage>,
    user: Arc<User>,
    uid: u32,
    within_limits: bool,
}

/// A counted call or stream; gives its place back when dropped.
#[derive(Debug)]
pub struct Turn {
    usage: Arc<Usage>,
    user: Arc<User>,
}

impl Usage {
    /// Nothing in use.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, users: Mutex::default(), connections: AtomicU32::new(0), calls: AtomicU32::new(0) })
    }

    /// Counts a connection of `uid`. Beyond a limit the seat says so: the connection may be told, not served.
    ///
    /// `None` when there are so many that not even an answer is affordable.
    #[must_use]
    pub fn seat(self: &Arc<Self>, uid: u32) -> Option<Seat> {
        let all = self.connections.fetch_add(1, Ordering::Relaxed) as usize;
        let user = {
            let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(users.entry(uid).or_default())
        };
        let own = user.connections.fetch_add(1, Ordering::Relaxed) as usize;
        let within_limits = all < self.limits.connections && own < self.limits.connections_per_uid;
        let seat = Seat { usage: Arc::clone(self), user, uid, within_limits };
        let affordable = all < self.limits.connections + SPARE && own < self.limits.connections_per_uid + SPARE_PER_UID;
        affordable.then_some(seat)
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Calls and streams in progress.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Seat {
    /// Whether the connection is within the limits.
    #[must_use]
    pub fn within_limits(&self) -> bool {
        self.within_limits
    }

    /// Counts a call; `None` beyond the limit.
    #[must_use]
    pub fn turn(&self) -> Option<Turn> {
        let own = self.user.calls.fetch_add(1, Ordering::Relaxed) as usize;
        self.usage.calls.fetch_add(1, Ordering::Relaxed);
        let turn = Turn { usage: Arc::clone(&self.usage), user: Arc::clone(&self.user) };
        (own < self.usage.limits.calls_per_uid).then_some(turn)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.usage.connections.fetch_sub(1, Ordering::Relaxed);
        let mut users = self.usage.users.lock().unwrap_or_else(PoisonError::into_inner);
        if self.user.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            // A turn may outlive its connection for a moment; it keeps the count it was taken from.
            users.remove(&self.uid);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.user.calls.fetch_sub(1, Ordering::Relaxed);
        self.usage.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Connections beyond the limit that are kept just long enough to be told.
const SPARE: usize = 64;
/// The same for one user id.
const SPARE_PER_UID: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn usage() -> Arc<Usage> {
        Usage::new(Limits { connections: 3, connections_per_uid: 2, calls_per_uid: 2 })
    }

    #[test]
    fn seats_are_counted_per_user_and_in_all() {
        let usage = usage();
        let seats: Vec<_> = [1, 1, 1, 2, 3].map(|uid| usage.seat(uid).unwrap()).into();
        let within: Vec<_> = seats.iter().map(Seat::within_limits).collect();
        assert_eq!(within, [true, true, false, false, false]);
        assert_eq!(usage.connections(), 5);
        drop(seats);
        assert_eq!(usage.connections(), 0);
        assert!(usage.users.lock().unwrap().is_empty(), "nothing is kept of users who left");
        assert!(usage.seat(1).unwrap().within_limits());
    }

    #[test]
    fn far_beyond_the_limit_there_is_no_answer() {
        let usage = usage();
        let seats: Vec<_> = (0..2 + SPARE_PER_UID).map(|_| usage.seat(1)).collect();
        assert!(seats.iter().all(Option::is_some));
        assert!(usage.seat(1).is_none());
        assert_eq!(usage.connections() as usize, seats.len());
    }

    #[test]
    fn turns_are_shared_by_all_connections_of_a_user() {
        let usage = usage();
        let (one, two) = (usage.seat(1).unwrap(), usage.seat(1).unwrap());
        let turns = (one.turn().unwrap(), two.turn().unwrap());
        assert!(one.turn().is_none());
        assert_eq!(usage.calls(), 2);
        drop(turns.0);
        assert!(two.turn().is_some());
    }
}
