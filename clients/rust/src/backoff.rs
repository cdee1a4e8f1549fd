//! How long to wait between attempts.

use std::time::Duration;

/// Full jitter: each pause is drawn between nothing and a bound that doubles.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next pause, from a sample in [0, 1).
    pub(crate) fn next(&mut self, longest: Duration, sample: f64) -> Duration {
        let bound = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(longest);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(sample)
    }

    /// All is well again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The first bound.
const FIRST: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..8).map(|_| backoff.next(Duration::from_secs(2), 0.5).as_millis()).collect();
        assert_eq!(pauses, [25, 50, 100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.next(Duration::from_secs(30), 0.5).as_millis(), 25);
    }

    #[test]
    fn a_week_of_failures_does_not_overflow() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert!(backoff.next(Duration::from_secs(30), 0.999) < Duration::from_secs(30));
    }
}
