//! Notices when the machine slept or a clock was set, on behalf of all refreshers.
//!
//! Timers stand still while the machine sleeps. One task looks at the clocks twice a minute; only when they have
//! moved against each other does it wake the refreshers, so that idle clients cost nothing.

use std::{sync::Arc, time::Duration};

use crate::{clock::Clock, moment::BootTime};

/// Watches the clocks.
pub struct ClockWatch {
    clock: Arc<dyn Clock>,
}

impl ClockWatch {
    /// Makes the watch.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }

    /// Watches until dropped. Calls `wake` each time the clocks have moved against each other.
    pub async fn run(self, wake: impl Fn() + Send) {
        let mut before = self.look();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let after = self.look();
            let (slept, stepped) = (after.0.abs_diff(before.0), after.1.abs_diff(before.1));
            if slept > TOLERANCE || stepped > TOLERANCE {
                tracing::info!(
                    slept_s = slept.as_secs(),
                    wall_clock_moved_s = stepped.as_secs(),
                    "clocks moved; schedules are looked at again"
                );
                wake();
            }
            before = after;
        }
    }

    /// How far boot time is ahead of timers, and how far the wall clock is ahead of boot time.
    fn look(&self) -> (Duration, Duration) {
        let now = self.clock.now();
        let wall = now.wall.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let boot = now.boot.since(BootTime::default());
        (boot.saturating_sub(self.clock.awake()), wall.saturating_sub(boot))
    }
}

/// How long a change can go unnoticed by a refresher. Readers notice at once.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Slewing by NTP moves the wall clock by at most 15 ms in this time.
const TOLERANCE: Duration = Duration::from_secs(1);
