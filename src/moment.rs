//! Points in time as values.
//!
//! Nothing here reads a clock; [`crate::clock`] does. Whatever decides about time takes a [`Moment`] as an
//! argument, which makes the decision a pure function and its test a table.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

/// A point on the boot-time clock (`CLOCK_BOOTTIME`), which counts suspend and never steps.
///
/// Nanoseconds since boot. Schedules and expiry are kept on this clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BootTime(u64);

impl BootTime {
    /// The given time after boot; saturates after 584 years.
    #[must_use]
    pub fn after_boot(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since boot, for keeping a point in an atomic integer.
    #[must_use]
    pub fn as_nanos(self) -> u64 {
        self.0
    }

    /// The inverse of [`BootTime::as_nanos`].
    #[must_use]
    pub fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// This point moved into the future; saturates.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(Self::after_boot(by).0))
    }

    /// This point moved into the past; saturates at boot.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(Self::after_boot(by).0))
    }

    /// How long after `earlier` this point is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for BootTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "boot+{:?}", Duration::from_nanos(self.0))
    }
}

/// One instant as both clocks tell it.
///
/// `boot` is for deciding; `wall` is for telling people and for noticing that the machine was paused in a way
/// that even the boot-time clock does not count (a virtual machine restored from a snapshot).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The boot-time clock.
    pub boot: BootTime,
    /// The wall clock (UTC).
    pub wall: SystemTime,
}

impl Moment {
    /// What the wall clock is expected to show at a point of the boot-time clock, if it does not step.
    #[must_use]
    pub fn wall_at(self, boot: BootTime) -> SystemTime {
        if boot >= self.boot { self.wall + boot.since(self.boot) } else { self.wall - self.boot.since(boot) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let start = BootTime::after_boot(Duration::from_secs(5));
        assert_eq!(start.minus(Duration::from_secs(9)), BootTime::default());
        assert_eq!(start.plus(Duration::MAX).as_nanos(), u64::MAX);
        assert_eq!(BootTime::default().since(start), Duration::ZERO);
        assert_eq!(start.plus(Duration::from_secs(2)).since(start), Duration::from_secs(2));
    }

    #[test]
    fn wall_at_goes_both_ways() {
        let now = Moment {
            boot: BootTime::after_boot(Duration::from_secs(100)),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000),
        };
        let at = |secs| now.wall_at(BootTime::after_boot(Duration::from_secs(secs)));
        assert_eq!(at(160), SystemTime::UNIX_EPOCH + Duration::from_secs(1_060));
        assert_eq!(at(40), SystemTime::UNIX_EPOCH + Duration::from_secs(940));
    }
}
