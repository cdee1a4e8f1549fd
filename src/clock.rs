//! The only place that reads clocks.
//!
//! Timers of the runtime run on `CLOCK_MONOTONIC`, which stands still while the machine sleeps. So the engine
//! never concludes anything from a timer having fired: it asks a [`Clock`] what time it is.

use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

use crate::moment::{BootTime, Moment};

/// Tells the time on both clocks.
pub trait Clock: Send + Sync + 'static {
    /// Now. Never goes back on `boot`; may step on `wall`.
    fn now(&self) -> Moment;

    /// How long the machine has been up without counting suspend (`CLOCK_MONOTONIC`).
    ///
    /// The difference to [`Moment::boot`] grows when the machine sleeps.
    fn awake(&self) -> Duration;
}

/// The clocks of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    fn read(clock: ClockId) -> Duration {
        // The two clocks read here exist on every Linux that can run us (2.6.39), and reading cannot fail
        // otherwise; a zero would only make every token look expired.
        clock_gettime(clock).map(Duration::from).unwrap_or_default()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the wall clock")]
    fn now(&self) -> Moment {
        Moment { boot: BootTime::after_boot(Self::read(ClockId::CLOCK_BOOTTIME)), wall: SystemTime::now() }
    }

    fn awake(&self) -> Duration {
        Self::read(ClockId::CLOCK_MONOTONIC)
    }
}

/// A clock for tests, tied to tokio's paused time.
///
/// Both clocks follow the runtime's timers; [`TestClock::suspend`] and [`TestClock::step_wall_forward`] bend them as a
/// sleeping machine and an administrator do.
#[derive(Clone, Debug)]
pub struct TestClock {
    start: tokio::time::Instant,
    bent: std::sync::Arc<std::sync::Mutex<Bent>>,
}

/// How far the clocks have been bent.
#[derive(Clone, Copy, Debug, Default)]
struct Bent {
    slept: Duration,
    wall_ahead: Duration,
    wall_behind: Duration,
}

impl TestClock {
    /// A clock that starts an hour after boot, at 2026-01-01T00:00:00Z.
    ///
    /// Must be made inside a runtime.
    #[must_use]
    pub fn new() -> Self {
        Self { start: tokio::time::Instant::now(), bent: std::sync::Arc::default() }
    }

    /// The machine sleeps: boot time and wall time go on, timers do not.
    pub fn suspend(&self, by: Duration) {
        self.bend(|bent| bent.slept += by);
    }

    /// Somebody sets the wall clock forward.
    pub fn step_wall_forward(&self, by: Duration) {
        self.bend(|bent| bent.wall_ahead += by);
    }

    /// Somebody sets the wall clock back.
    pub fn step_wall_back(&self, by: Duration) {
        self.bend(|bent| bent.wall_behind += by);
    }

    fn bend(&self, change: impl FnOnce(&mut Bent)) {
        change(&mut self.bent.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    fn bent(&self) -> Bent {
        *self.bent.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Moment {
        let bent = self.bent();
        let elapsed = self.start.elapsed() + bent.slept;
        Moment {
            boot: BootTime::after_boot(UP_AT_START + elapsed),
            wall: SystemTime::UNIX_EPOCH + WALL_AT_START + elapsed + bent.wall_ahead - bent.wall_behind,
        }
    }

    fn awake(&self) -> Duration {
        UP_AT_START + self.start.elapsed()
    }
}

/// How long the test machine has been up when a [`TestClock`] is made.
const UP_AT_START: Duration = Duration::from_secs(3_600);
/// 2026-01-01T00:00:00Z.
const WALL_AT_START: Duration = Duration::from_secs(1_767_225_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_is_not_behind_the_monotonic_one() {
        let awake = SystemClock.awake();
        assert!(SystemClock.now().boot >= BootTime::after_boot(awake));
    }

    #[tokio::test(start_paused = true)]
    async fn the_test_clock_bends() {
        let clock = TestClock::new();
        let before = (clock.now(), clock.awake());
        tokio::time::advance(Duration::from_secs(10)).await;
        clock.suspend(Duration::from_secs(100));
        clock.step_wall_forward(Duration::from_secs(1_000));
        let after = (clock.now(), clock.awake());
        assert_eq!(after.0.boot.since(before.0.boot), Duration::from_secs(110));
        assert_eq!(after.0.wall.duration_since(before.0.wall).ok(), Some(Duration::from_secs(1_110)));
        assert_eq!(after.1.abs_diff(before.1), Duration::from_secs(10));
    }
}
