//! What the one writer of a client publishes, and what it says to readers.

use std::{sync::Arc, time::Duration};

use super::{AccessToken, Failure, policy};
use crate::moment::{BootTime, Moment};

/// Everything about one client at one point: written by its refresher, read by everybody.
///
/// Cheap to clone. Says nothing about now: readers bring the time along.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The newest token. Dropped when it has expired.
    pub token: Option<Arc<AccessToken>>,
    /// Successful requests since the client was started; the newest token's generation.
    pub generation: u64,
    /// An administrator's orders to refresh that have been carried out, whatever came of them.
    pub orders_done: u64,
    /// The newest failure since the last success.
    pub failure: Option<Arc<FailureRecord>>,
    /// Failed attempts since the last success.
    pub consecutive_failures: u32,
    /// How many of them need a person.
    pub refusals: u32,
    /// When the issuer is asked next; `None` when nothing is planned.
    pub next_attempt_at: Option<BootTime>,
    /// Whether the issuer said how long the newest token lives; otherwise that was assumed.
    pub told: bool,
    /// For how long a new token of this issuer is valid when it arrives, learned from the newest one.
    pub lifetime: Option<Duration>,
    /// How much validity a token must have left for a caller that asks for nothing.
    pub margin: Duration,
    /// Why nothing is planned, if nothing is.
    pub quiet: Option<Quiet>,
    /// The issuer returns the same token until it dies.
    pub reissues_late: bool,
    /// Renewals forced by reports.
    pub forced: Forced,
    /// Requests sent on the day of the newest one.
    pub sent: DayCount,
    /// Which of several secrets worked last, from 1.
    pub secret_in_use: u8,
    /// What is odd about the newest token.
    pub warnings: Arc<[Box<str>]>,
}

/// Why a client makes no requests of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// Nobody asks.
    Idle,
    /// The day's budget is used up: what is left is for those who ask.
    Saving,
}

/// A failed attempt and when it ended.
#[derive(Clone, Debug)]
pub struct FailureRecord {
    /// What happened.
    pub failure: Failure,
    /// When.
    pub at: Moment,
}

/// How a client is doing (product contract, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientState {
    /// A usable token, but the last refresh failed.
    Degraded,
    /// A usable token, the last refresh succeeded.
    Fresh,
    /// No usable token and no attempt planned; the next caller starts one.
    Idle,
    /// No usable token; the issuer refuses the credentials or the secret cannot be read.
    Rejected,
    /// A token is on its way.
    Starting,
    /// No usable token; being retried.
    Unavailable,
}

impl ClientState {
    /// The word for it, as the log and the command line print it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Degraded => "DEGRADED",
            Self::Fresh => "FRESH",
            Self::Idle => "IDLE",
            Self::Rejected => "REJECTED",
            Self::Starting => "STARTING",
            Self::Unavailable => "UNAVAILABLE",
        }
    }

    /// Whether callers get a token.
    #[must_use]
    pub fn usable(self) -> bool {
        matches!(self, Self::Degraded | Self::Fresh)
    }
}

impl Snapshot {
    /// The token if it may be handed out to a caller that asks for nothing. `spoiled` is the newest generation
    /// that was reported as rejected.
    #[must_use]
    pub fn usable_token(&self, spoiled: u64, now: Moment) -> Option<&Arc<AccessToken>> {
        self.token_for(self.margin_now(), spoiled, now)
    }

    /// The token if it is not reported as rejected and is still valid for longer than `at_least`.
    #[must_use]
    pub fn token_for(&self, at_least: Duration, spoiled: u64, now: Moment) -> Option<&Arc<AccessToken>> {
        self.token.as_ref().filter(|token| {
            let remaining = token.remaining(now);
            token.generation > spoiled && remaining >= at_least && !remaining.is_zero()
        })
    }

    /// The margin in force. An issuer that renews only at the very end leaves nothing better than the token
    /// that is about to end, so there it shrinks.
    #[must_use]
    pub fn margin_now(&self) -> Duration {
        if self.reissues_late { self.margin.min(LATE_MARGIN) } else { self.margin }
    }

    /// How the client is doing.
    #[must_use]
    pub fn state(&self, spoiled: u64, now: Moment) -> ClientState {
        let usable = self.usable_token(spoiled, now).is_some();
        match (&self.failure, usable) {
            (None, true) => ClientState::Fresh,
            (Some(_), true) => ClientState::Degraded,
            (_, false) if self.quiet.is_some() => ClientState::Idle,
            (None, false) => ClientState::Starting,
            (Some(record), false) if record.failure.kind.needs_a_person() => ClientState::Rejected,
            (Some(_), false) => ClientState::Unavailable,
        }
    }
}

/// Renewals that were forced by reports of a 401.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forced {
    /// The newest one.
    last: Option<BootTime>,
    /// The first one of the present window.
    first: BootTime,
    /// How many in the present window.
    count: u8,
}

impl Forced {
    /// Whether another renewal may be forced now: not within 30 s of the last, and not after three within ten
    /// minutes until [`Forced::cured`].
    #[must_use]
    pub fn permits(&self, now: BootTime) -> bool {
        let rested = self.last.is_none_or(|last| now.since(last) >= policy::FORCED_EVERY);
        rested && self.count < policy::FORCED_MOST
    }

    /// Takes note of a forced renewal.
    pub fn record(&mut self, now: BootTime) {
        if self.count == 0 || now.since(self.first) >= policy::FORCED_WINDOW {
            self.first = now;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.last = Some(now);
    }

    /// A regular refresh happened: reports count from the beginning.
    pub fn cured(&mut self) {
        self.count = 0;
    }

    /// A token came for another reason. Where callers' wishes always come before the regular refresh, there is never
    /// one of those: after a whole window without a forced renewal this counts as one.
    pub fn cured_by_rest(&mut self, now: BootTime) {
        if self.last.is_none_or(|last| now.since(last) >= policy::FORCED_WINDOW) {
            self.cured();
        }
    }
}

/// Requests sent on one UTC day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayCount {
    day: u32,
    count: u32,
}

impl DayCount {
    /// So many on one day, counted from 1970-01-01 UTC.
    #[must_use]
    pub fn of(day: u32, count: u32) -> Self {
        Self { day, count }
    }

    /// The day, and how many.
    #[must_use]
    pub fn parts(self) -> (u32, u32) {
        (self.day, self.count)
    }

    /// Counts one request sent now.
    pub fn add(&mut self, now: Moment) {
        let day = day_of(now);
        if day != self.day {
            *self = Self { day, count: 0 };
        }
        self.count = self.count.saturating_add(1);
    }

    /// Requests sent on the day of `now`.
    #[must_use]
    pub fn today(&self, now: Moment) -> u32 {
        if self.day == day_of(now) { self.count } else { 0 }
    }
}

/// Days since 1970-01-01 UTC.
fn day_of(now: Moment) -> u32 {
    let secs = now.wall.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    u32::try_from(secs / SECONDS_A_DAY).unwrap_or(u32::MAX)
}

/// Time until the next UTC midnight.
#[must_use]
pub fn until_tomorrow(now: Moment) -> Duration {
    let secs = now.wall.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    Duration::from_secs(SECONDS_A_DAY - secs % SECONDS_A_DAY)
}

const SECONDS_A_DAY: u64 = 24 * 3_600;
/// The margin for an issuer that renews only at the very end.
const LATE_MARGIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::{super::lifetime::tests::moment, *};
    use crate::token::{FailureKind, lifetime::tests::token};

    fn with_token() -> Snapshot {
        Snapshot {
            token: Some(Arc::new(token(1_000, 600))),
            generation: 1,
            margin: Duration::from_secs(30),
            ..Snapshot::default()
        }
    }

    fn failed(kind: FailureKind, token: bool) -> Snapshot {
        let record = FailureRecord { failure: Failure::new(kind, "x"), at: moment(1_000) };
        let base = if token { with_token() } else { Snapshot::default() };
        Snapshot { failure: Some(Arc::new(record)), ..base }
    }

    #[test]
    fn a_token_is_usable_until_its_margin() {
        let snapshot = with_token();
        assert!(snapshot.usable_token(0, moment(1_570)).is_some());
        assert!(snapshot.usable_token(0, moment(1_571)).is_none());
        assert!(snapshot.token_for(Duration::ZERO, 0, moment(1_599)).is_some());
        assert!(snapshot.token_for(Duration::ZERO, 0, moment(1_600)).is_none(), "never an expired one");
        assert!(snapshot.usable_token(1, moment(1_001)).is_none(), "nor one that was reported");
        let late = Snapshot { reissues_late: true, ..snapshot };
        assert!(late.usable_token(0, moment(1_599)).is_some());
    }

    #[test]
    fn states_tell_the_story() {
        let state = |snapshot: &Snapshot, at| snapshot.state(0, moment(at));
        assert_eq!(state(&Snapshot::default(), 1_000), ClientState::Starting);
        assert_eq!(state(&with_token(), 1_001), ClientState::Fresh);
        assert_eq!(state(&failed(FailureKind::Busy, true), 1_001), ClientState::Degraded);
        assert_eq!(state(&failed(FailureKind::Busy, true), 1_590), ClientState::Unavailable);
        assert_eq!(state(&failed(FailureKind::Refused, false), 1_001), ClientState::Rejected);
        assert_eq!(state(&failed(FailureKind::Misconfigured, false), 1_001), ClientState::Rejected);
        assert_eq!(state(&Snapshot { quiet: Some(Quiet::Idle), ..Snapshot::default() }, 1), ClientState::Idle);
        assert_eq!(state(&Snapshot { quiet: Some(Quiet::Saving), ..with_token() }, 1_001), ClientState::Fresh);
    }

    #[test]
    fn forced_renewals_are_limited_until_cured() {
        let at = |secs| moment(secs).boot;
        let mut forced = Forced::default();
        assert!(forced.permits(at(0)));
        forced.record(at(0));
        assert!(!forced.permits(at(29)));
        assert!(forced.permits(at(30)));
        forced.record(at(30));
        forced.record(at(60));
        assert!(!forced.permits(at(100)), "three within ten minutes");
        assert!(!forced.permits(at(9_000)), "until the next regular refresh");
        forced.cured_by_rest(at(659));
        assert!(!forced.permits(at(9_000)), "a token that came for another reason is no cure yet");
        forced.cured();
        assert!(forced.permits(at(9_000)));
        for n in 0..3 {
            forced.record(at(10_000 + 30 * n));
        }
        forced.cured_by_rest(at(10_660));
        assert!(forced.permits(at(10_660)));
    }

    #[test]
    fn forced_renewals_far_apart_do_not_add_up() {
        let at = |secs| moment(secs).boot;
        let mut forced = Forced::default();
        for n in 0..10 {
            assert!(forced.permits(at(n * 601)));
            forced.record(at(n * 601));
        }
    }

    #[test]
    fn requests_are_counted_by_utc_day() {
        let mut sent = DayCount::default();
        sent.add(moment(0));
        sent.add(moment(1));
        assert_eq!(sent.today(moment(2)), 2);
        let tomorrow = moment(until_tomorrow(moment(0)).as_secs());
        assert_eq!(sent.today(tomorrow), 0);
        sent.add(tomorrow);
        assert_eq!(sent.today(tomorrow), 1);
    }
}
