//! How much one user may take, and how much all of them together.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// Limits on callers.
///
/// Root and the daemon's own user have some places beyond them, so that whoever has to look after the daemon gets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections of all users together.
    pub connections: u32,
    /// Open connections of one user id.
    pub connections_per_uid: u32,
    /// Calls and streams in progress of one user id.
    pub calls_per_uid: u32,
    /// How long a connection may be without a call before it is closed.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1_024, connections_per_uid: 256, calls_per_uid: 1_024, idle: Duration::from_secs(30 * 60) }
    }
}

impl Limits {
    /// How many connections a process with so many file descriptors can keep, some being needed for the daemon's own
    /// work: at most that many, so that callers cannot use up what token requests and secret files need.
    #[must_use]
    pub fn affordable(descriptors: u64) -> u32 {
        let spare = u64::from(RESERVE + TOLD) + OWN_DESCRIPTORS;
        u32::try_from(descriptors.saturating_sub(spare)).unwrap_or(u32::MAX).max(1)
    }
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Calls and streams of the user.
    Calls,
    /// Connections of all users.
    Connections,
    /// Connections of the user.
    OwnConnections,
}

/// Counts what is in use.
#[derive(Debug)]
pub struct Usage {
    limits: Limits,
    own_uid: u32,
    users: Mutex<HashMap<u32, Arc<User>>>,
    served: AtomicU32,
    told: AtomicU32,
    calls: AtomicU32,
    /// There were very many connections or calls since it was told last that they are gone.
    crowded: AtomicBool,
    gone: Notify,
}

/// What one user id has in use.
#[derive(Debug, Default)]
struct User {
    served: AtomicU32,
    told: AtomicU32,
    calls: AtomicU32,
}

/// A counted connection; gives its place back when dropped.
#[derive(Debug)]
pub struct Seat {
    usage: Arc<Usage>,
    user: Arc<User>,
    uid: u32,
    /// It has a place within the limits. Otherwise it is there only to be told that there is none.
    served: AtomicBool,
}

impl Usage {
    /// Nothing in use, of a daemon that runs as `own_uid`.
    #[must_use]
    pub fn new(limits: Limits, own_uid: u32) -> Arc<Self> {
        let none = || AtomicU32::new(0);
        Arc::new(Self {
            limits,
            own_uid,
            users: Mutex::default(),
            served: none(),
            told: none(),
            calls: none(),
            crowded: AtomicBool::new(false),
            gone: Notify::new(),
        })
    }

    /// Counts a connection of `uid`. Beyond a limit it may be told so, not served ([`Seat::settle`]).
    ///
    /// `None` when there are so many that not even an answer is affordable.
    #[must_use]
    pub fn seat(self: &Arc<Self>, uid: u32) -> Option<Seat> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let user = Arc::clone(users.entry(uid).or_default());
        drop(users);
        let seat = Seat { usage: Arc::clone(self), user, uid, served: AtomicBool::new(false) };
        // Counted as told first, so that dropping it on any path below gives back what it has.
        let (all, own) = (add(&self.told), add(&seat.user.told));
        let settled = seat.settle().is_ok();
        (settled || (all < TOLD && own < TOLD_PER_UID)).then_some(seat)
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.served.load(Ordering::Relaxed) + self.told.load(Ordering::Relaxed)
    }

    /// Calls and streams in progress.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Ends when there were very many connections or calls, and most of them are gone.
    pub async fn crowd_gone(&self) {
        self.gone.notified().await;
    }

    /// Notes that there was one more of something, of which there were so many before.
    fn came(&self, before: u32, crowd: u32) {
        if before == crowd {
            self.crowded.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that there is one less of something, of which there were so many before.
    fn went(&self, before: u32, crowd: u32) {
        if before == crowd / 4 && self.crowded.swap(false, Ordering::Relaxed) {
            self.gone.notify_one();
        }
    }

    /// How long a connection may be without a call.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.limits.idle
    }
}

impl Seat {
    /// Takes a place within the limits, if it has none yet and there is one by now.
    ///
    /// # Errors
    /// Which limit is in the way.
    pub fn settle(&self) -> Result<(), Full> {
        if self.is_served() {
            return Ok(());
        }
        let Limits { connections, connections_per_uid, .. } = self.usage.limits;
        take(&self.user.served, self.raised(connections_per_uid)).map_err(|()| Full::OwnConnections)?;
        if take(&self.usage.served, self.raised(connections)).is_err() {
            self.user.served.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::Connections);
        }
        self.usage.came(self.usage.served.load(Ordering::Relaxed), CROWD_OF_CONNECTIONS);
        self.served.store(true, Ordering::Relaxed);
        self.usage.told.fetch_sub(1, Ordering::Relaxed);
        self.user.told.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    /// Whether it has a place within the limits.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }

    /// Counts a call, unless there are too many.
    ///
    /// # Errors
    /// [`Full::Calls`].
    pub(super) fn begin_call(&self) -> Result<(), Full> {
        take(&self.user.calls, self.raised(self.usage.limits.calls_per_uid)).map_err(|()| Full::Calls)?;
        self.usage.came(add(&self.usage.calls), CROWD_OF_CALLS);
        Ok(())
    }

    /// Counts a call that is answered whatever the limits.
    pub(super) fn begin_probe(&self) {
        add(&self.user.calls);
        add(&self.usage.calls);
    }

    /// The call is over.
    pub(super) fn end_call(&self) {
        self.user.calls.fetch_sub(1, Ordering::Relaxed);
        self.usage.went(self.usage.calls.fetch_sub(1, Ordering::Relaxed), CROWD_OF_CALLS);
    }

    /// The limit for this user: those who look after the daemon have some places of their own.
    fn raised(&self, limit: u32) -> u32 {
        let caretaker = self.uid == 0 || self.uid == self.usage.own_uid;
        if caretaker { limit.saturating_add(RESERVE) } else { limit }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (all, own) = if self.is_served() {
            (&self.usage.served, &self.user.served)
        } else {
            (&self.usage.told, &self.user.told)
        };
        let before = all.fetch_sub(1, Ordering::Relaxed);
        if self.is_served() {
            self.usage.went(before, CROWD_OF_CONNECTIONS);
        }
        let mut users = self.usage.users.lock().unwrap_or_else(PoisonError::into_inner);
        own.fetch_sub(1, Ordering::Relaxed);
        // A seat is taken under the same lock, so nobody comes between.
        let left = [&self.user.served, &self.user.told].map(|count| count.load(Ordering::Relaxed));
        if left == [0, 0] && Arc::strong_count(&self.user) == 2 {
            users.remove(&self.uid);
        }
    }
}

/// Counts one more; how many there were before.
fn add(count: &AtomicU32) -> u32 {
    count.fetch_add(1, Ordering::Relaxed)
}

/// Counts one more unless there are `most`.
fn take(count: &AtomicU32, most: u32) -> Result<(), ()> {
    if add(count) < most {
        return Ok(());
    }
    count.fetch_sub(1, Ordering::Relaxed);
    Err(())
}

/// Places of root and of the daemon's own user beyond each limit.
const RESERVE: u32 = 16;
/// Connections beyond the limit that are kept just long enough to be told.
const TOLD: u32 = 256;
/// The same for one user id.
const TOLD_PER_UID: u32 = 64;
/// So many leave behind memory that is worth giving back when they go. Far more calls than connections, which cost more.
const CROWD_OF_CALLS: u32 = 1_024;
const CROWD_OF_CONNECTIONS: u32 = 256;
/// For token requests, secret and configuration files, and whatever a library opens.
const OWN_DESCRIPTORS: u64 = 256;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn usage() -> Arc<Usage> {
        let limits = Limits { connections: 3, connections_per_uid: 2, calls_per_uid: 2, ..Limits::default() };
        Usage::new(limits, 990)
    }

    #[test]
    fn seats_are_counted_per_user_and_in_all() {
        let usage = usage();
        let seats: Vec<_> = [1, 1, 1, 2, 3].map(|uid| usage.seat(uid).unwrap()).into();
        let served: Vec<_> = seats.iter().map(Seat::is_served).collect();
        assert_eq!(served, [true, true, false, true, false]);
        assert_eq!((seats[2].settle(), seats[4].settle()), (Err(Full::OwnConnections), Err(Full::Connections)));
        assert_eq!(usage.connections(), 5);
        drop(seats);
        assert_eq!(usage.connections(), 0);
        assert!(usage.users.lock().unwrap().is_empty(), "nothing is kept of users who left");
        assert!(usage.seat(1).unwrap().is_served());
    }

    #[test]
    fn who_was_told_gets_a_place_when_there_is_one() {
        let usage = usage();
        let (one, _two, three) = (usage.seat(1).unwrap(), usage.seat(1).unwrap(), usage.seat(1).unwrap());
        assert!(three.settle().is_err());
        drop(one);
        assert_eq!(three.settle(), Ok(()));
        assert!(three.is_served());
        assert_eq!(usage.connections(), 2);
    }

    #[test]
    fn far_beyond_the_limit_there_is_no_answer() {
        let usage = usage();
        let seats: Vec<_> = (0..2 + TOLD_PER_UID).map(|_| usage.seat(1)).collect();
        assert!(seats.iter().all(Option::is_some));
        assert!(usage.seat(1).is_none());
        assert_eq!(usage.connections() as usize, seats.len());
        assert!(usage.seat(2).unwrap().is_served(), "the told take nobody's place");
    }

    #[test]
    fn caretakers_get_in_when_everything_is_taken() {
        let usage = usage();
        let _all: Vec<_> = [1, 1, 2, 3].map(|uid| usage.seat(uid).unwrap()).into();
        assert!(!usage.seat(4).unwrap().is_served());
        for uid in [0, 990] {
            let seat = usage.seat(uid).unwrap();
            assert!(seat.is_served());
            let calls = (0..2 + RESERVE).map(|_| seat.begin_call()).collect::<Vec<_>>();
            assert!(calls.iter().all(Result::is_ok));
            assert_eq!(seat.begin_call(), Err(Full::Calls), "within reason");
        }
    }

    #[test]
    fn calls_are_shared_by_all_connections_of_a_user() {
        let usage = usage();
        let (one, two) = (usage.seat(1).unwrap(), usage.seat(1).unwrap());
        assert_eq!((one.begin_call(), two.begin_call(), one.begin_call()), (Ok(()), Ok(()), Err(Full::Calls)));
        assert_eq!(usage.calls(), 2);
        one.begin_probe();
        one.end_call();
        one.end_call();
        assert_eq!((two.begin_call(), usage.calls()), (Ok(()), 2));
    }

    #[test]
    fn it_is_told_once_when_a_crowd_is_gone() {
        let limits = Limits { connections_per_uid: 1_000, calls_per_uid: 10_000, ..Limits::default() };
        let usage = Usage::new(limits, 990);
        let told = || usage.crowd_gone().now_or_never().is_some();
        let come_and_go = |many: u32| drop((0..many).map(|_| usage.seat(1).unwrap()).collect::<Vec<_>>());
        come_and_go(200);
        assert!(!told(), "there was no crowd");
        for _ in 0..2 {
            come_and_go(300);
            assert!(told());
            assert!(!told());
        }
        let seat = usage.seat(1).unwrap();
        for _ in 0..1_100 {
            seat.begin_call().unwrap();
        }
        (0..500).for_each(|_| seat.end_call());
        assert!(!told(), "most are there still");
        (0..500).for_each(|_| seat.end_call());
        assert!(told());
    }

    #[test]
    fn descriptors_are_left_for_the_daemon_itself() {
        assert_eq!(Limits::affordable(1_048_576), 1_048_576 - 528);
        assert_eq!(Limits::affordable(1_024), 496);
        assert_eq!(Limits::affordable(10), 1);
    }
}
