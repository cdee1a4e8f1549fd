//! How long to wait after a failure.

use std::time::Duration;

use super::{Failure, FailureKind, RefreshPolicy, policy::FLOOR};

/// What the wait depends on beside the failure itself.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Failures of this sort (passing, or refusals) since the last success, this one included; from 1.
    ///
    /// Counted apart, so that a stray refusal after a long outage is looked at again soon; both start anew only with
    /// a success, so that an issuer which alternates between them is not hammered.
    pub failures: u32,
    /// How long the present token can still be handed out; `None`: there is none.
    pub usable_for: Option<Duration>,
    /// The credentials have worked since the client was started.
    pub worked_before: bool,
    /// Uniform in [0, 1): the one random draw of this wait.
    pub sample: f64,
}

impl RefreshPolicy {
    /// The wait before the next attempt.
    ///
    /// Passing failures: full jitter (uniform between nothing and the bound), the bound 1 s doubled with each
    /// failure up to the cap; a wait that outlasts the token ends as soon after it as one that began without.
    /// Refusals: one confirming try after 5 s if the credentials worked before, then 30 s doubled, plus up to a
    /// tenth, up to the cap. In both cases the issuer's `Retry-After` is respected (capped) if it is later, and 429
    /// without one means at least a minute.
    #[must_use]
    pub fn wait_after(&self, failure: &Failure, situation: &Situation) -> Duration {
        let own = if failure.kind.needs_a_person() {
            self.wait_after_refusal(failure.kind, situation)
        } else {
            self.wait_after_passing(situation)
        };
        own.max(self.wait_asked_for(failure))
    }

    fn wait_after_passing(&self, situation: &Situation) -> Duration {
        let bound = doubled(FIRST_RETRY, situation.failures);
        let without = bound.min(self.retry_cap_without_token).mul_f64(situation.sample);
        let wait = match situation.usable_for {
            None => without,
            Some(left) => bound.min(self.retry_cap).mul_f64(situation.sample).min(left.saturating_add(without)),
        };
        wait.max(LEAST_RETRY)
    }

    fn wait_after_refusal(&self, kind: FailureKind, situation: &Situation) -> Duration {
        // A stray `invalid_client` after days of success happens: look again soon before believing it. A
        // secret that cannot be read on this machine is no such thing.
        let confirm = situation.worked_before && kind == FailureKind::Refused;
        if confirm && situation.failures == 1 {
            return CONFIRM;
        }
        let step = situation.failures.saturating_sub(u32::from(confirm));
        let bound = doubled(FIRST_AFTER_REFUSAL, step).min(self.refused_cap);
        (bound + bound.mul_f64(0.1 * situation.sample)).min(self.refused_cap)
    }

    fn wait_asked_for(&self, failure: &Failure) -> Duration {
        match failure.retry_after {
            Some(wait) => wait.min(self.retry_after_cap),
            None if failure.throttled => THROTTLED.min(self.retry_after_cap),
            None => Duration::ZERO,
        }
    }
}

/// `first` doubled `step - 1` times, saturating long before it could overflow.
fn doubled(first: Duration, step: u32) -> Duration {
    first.saturating_mul(1 << step.saturating_sub(1).min(16))
}

/// The first bound after a passing failure.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Full jitter may draw next to nothing; two tries in a row within the same packet help nobody.
const LEAST_RETRY: Duration = Duration::from_millis(100);
/// The confirming try after the first refusal of credentials that worked.
const CONFIRM: Duration = FLOOR;
/// The first wait after a refusal.
const FIRST_AFTER_REFUSAL: Duration = Duration::from_secs(30);
/// The least wait after 429 without `Retry-After`.
const THROTTLED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(failure: &Failure, failures: u32, usable_token: bool, worked_before: bool, sample: f64) -> f64 {
        let usable_for = usable_token.then_some(Duration::from_secs(3_600));
        RefreshPolicy::default()
            .wait_after(failure, &Situation { failures, usable_for, worked_before, sample })
            .as_secs_f64()
    }

    fn failure(kind: FailureKind) -> Failure {
        Failure::new(kind, "test")
    }

    #[test]
    fn passing_failures_double_up_to_a_cap_that_depends_on_the_token() {
        let busy = failure(FailureKind::Busy);
        let bounds = |usable| (1..9).map(|n| after(&busy, n, usable, true, 1.0)).collect::<Vec<_>>();
        assert_eq!(bounds(true), [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
        assert_eq!(bounds(false), [1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0, 15.0]);
        assert_eq!(after(&busy, 4, true, true, 0.25), 2.0);
        assert_eq!(after(&busy, 1, true, true, 0.0), 0.1);
    }

    #[test]
    fn a_refusal_is_confirmed_once_if_it_worked_before() {
        let refused = failure(FailureKind::Refused);
        let waits = |worked| (1..9).map(|n| after(&refused, n, true, worked, 0.0)).collect::<Vec<_>>();
        assert_eq!(waits(true), [5.0, 30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 900.0]);
        assert_eq!(waits(false), [30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0]);
        assert_eq!(after(&failure(FailureKind::Misconfigured), 1, true, true, 0.0), 30.0);
        assert_eq!(after(&refused, 3, false, true, 1.0), 66.0);
        assert_eq!(after(&refused, 8, false, true, 1.0), 900.0, "the cap holds with its jitter");
    }

    #[test]
    fn a_wait_does_not_outlast_the_token_by_more_than_one_without_it() {
        let wait = |left, sample| {
            let situation =
                Situation { failures: 9, usable_for: Some(Duration::from_secs(left)), worked_before: true, sample };
            RefreshPolicy::default().wait_after(&failure(FailureKind::Busy), &situation).as_secs_f64()
        };
        assert_eq!(wait(100, 1.0), 60.0);
        assert_eq!(wait(1, 1.0), 16.0);
        assert_eq!(wait(1, 0.5), 8.5);
        assert_eq!(wait(50, 0.5), 30.0);
    }

    #[test]
    fn retry_after_counts_when_later_and_is_capped() {
        let asked = |secs| failure(FailureKind::Busy).retry_after(Some(Duration::from_secs(secs)));
        assert_eq!(after(&asked(7), 1, true, true, 1.0), 7.0);
        assert_eq!(after(&asked(7), 9, true, true, 1.0), 60.0);
        assert_eq!(after(&asked(86_400), 1, false, true, 1.0), 900.0);
        assert_eq!(after(&failure(FailureKind::Busy).throttled(true), 1, true, true, 1.0), 60.0);
        assert_eq!(after(&asked(7).throttled(true), 1, true, true, 0.0), 7.0);
    }

    proptest! {
        #[test]
        fn every_wait_is_within_the_policys_bounds(
            kind in 0_usize..5, failures in 1_u32..u32::MAX, usable: bool, worked: bool, sample in 0.0..1.0_f64,
            asked in proptest::option::of(0_u64..u64::MAX),
        ) {
            let kinds = [
                FailureKind::Busy, FailureKind::Malformed, FailureKind::Misconfigured, FailureKind::Refused,
                FailureKind::Unreachable,
            ];
            let failure = failure(kinds[kind]).retry_after(asked.map(Duration::from_secs));
            let wait = after(&failure, failures, usable, worked, sample);
            prop_assert!((0.1..=900.0).contains(&wait));
        }
    }
}
