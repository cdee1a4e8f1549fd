//! What a client's refresher does next. Pure; the refresher only sleeps and calls.

use std::time::Duration;

use super::{
    AccessToken, FailureRecord, RefreshPolicy, Snapshot,
    policy::FLOOR,
    snapshot::{Quiet, until_tomorrow},
};
use crate::moment::{BootTime, Moment};

/// What the readers of a client want, as the refresher sees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// Somebody waits for a token that is valid at least until then; zero: nobody waits.
    pub valid_until: BootTime,
    /// This generation and all before it were reported as rejected.
    pub spoiled: u64,
    /// An administrator ordered a refresh that has not been carried out.
    pub ordered: bool,
    /// When somebody asked last; zero: nobody ever did.
    pub last: BootTime,
    /// Somebody watches, which is asking all the time.
    pub watched: bool,
}

/// Why an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody waits for a token.
    Demanded,
    /// The current token was reported as rejected.
    Forced,
    /// An administrator wants it.
    Ordered,
    /// The last attempt failed.
    Retry,
    /// The first token, or the regular refresh.
    Scheduled,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make an attempt now.
    Attempt(Cause),
    /// Sleep until then, or until somebody wants something; `None`: only the latter.
    Sleep {
        /// When to look again.
        until: Option<BootTime>,
        /// Why nothing is planned, if nothing is.
        quiet: Option<Quiet>,
    },
}

impl RefreshPolicy {
    /// Decides what to do next. `settled` is when the last successful request ended, if there was one.
    #[must_use]
    pub fn next_step(&self, snapshot: &Snapshot, asked: &Asked, settled: Option<BootTime>, now: Moment) -> Step {
        let planned = match self.wanted(snapshot, asked, settled, now) {
            Ok((cause, at)) if at <= now.boot => return Step::Attempt(cause),
            planned => planned,
        };
        let at = planned.ok().map(|(_, at)| at);
        let until = [at, change_at(snapshot, asked, now), self.budget_returns(snapshot, now)];
        Step::Sleep { until: until.into_iter().flatten().min(), quiet: planned.err() }
    }

    /// The next attempt and when it may be made.
    fn wanted(
        &self,
        snapshot: &Snapshot,
        asked: &Asked,
        settled: Option<BootTime>,
        now: Moment,
    ) -> Result<(Cause, BootTime), Quiet> {
        let floor = settled.map_or(BootTime::default(), |at| at.plus(FLOOR));
        if asked.ordered {
            return Ok((Cause::Ordered, floor));
        }
        let asleep = self.asleep(snapshot, asked, now);
        let spent = self.budget_used_up(snapshot, now);
        if let Some(record) = &snapshot.failure {
            // Whatever readers want, the issuer gets its rest.
            let wished = demanded_at(snapshot, asked, floor, now).is_some();
            return match () {
                () if asleep => Err(Quiet::Idle),
                () if spent && !wished && !in_need(snapshot, asked, record, now) => Err(Quiet::Saving),
                () => Ok((Cause::Retry, snapshot.next_attempt_at.unwrap_or(now.boot))),
            };
        }
        let live = snapshot.token_for(Duration::ZERO, 0, now);
        if let Some(token) = live.filter(|token| token.generation <= asked.spoiled) {
            debug_assert!(token.generation > 0, "generations count from one");
            return Ok((Cause::Forced, floor));
        }
        if let Some(at) = demanded_at(snapshot, asked, floor, now) {
            return Ok((Cause::Demanded, at));
        }
        if asleep {
            return Err(Quiet::Idle);
        }
        if spent {
            return Err(Quiet::Saving);
        }
        let planned = match (snapshot.next_attempt_at, snapshot.usable_token(asked.spoiled, now)) {
            // Overslept: the plan was made for a token that is no more.
            (Some(_), None) if snapshot.generation > 0 && plan_is_void(snapshot) => now.boot,
            (Some(at), _) => at,
            (None, _) => now.boot,
        };
        Ok((Cause::Scheduled, planned.max(floor)))
    }

    /// Whether nobody has asked for so long that nothing is to be done.
    fn asleep(&self, snapshot: &Snapshot, asked: &Asked, now: Moment) -> bool {
        if asked.watched {
            return false;
        }
        let never_asked = asked.last == BootTime::default();
        let not_started = !self.prefetch && never_asked && snapshot.generation == 0;
        not_started || self.idle_after.is_some_and(|limit| now.boot.since(asked.last) > limit)
    }

    fn budget_used_up(&self, snapshot: &Snapshot, now: Moment) -> bool {
        self.budget_per_day.is_some_and(|most| snapshot.sent.today(now) >= most)
    }

    fn budget_returns(&self, snapshot: &Snapshot, now: Moment) -> Option<BootTime> {
        self.budget_used_up(snapshot, now).then(|| now.boot.plus(until_tomorrow(now)))
    }
}

/// Whether callers have asked since the failure, or watch, and get nothing.
fn in_need(snapshot: &Snapshot, asked: &Asked, record: &FailureRecord, now: Moment) -> bool {
    let somebody = asked.watched || asked.last > record.at.boot;
    somebody && snapshot.usable_token(asked.spoiled, now).is_none()
}

/// Whether the plan does not hold without a usable token. An issuer that reissues late is asked at the end of its
/// token, which is then no longer handed out by design; it is another matter when the token is gone.
fn plan_is_void(snapshot: &Snapshot) -> bool {
    !snapshot.reissues_late || snapshot.token.is_none()
}

/// When to make an attempt for the sake of those who wait, if anybody does.
fn demanded_at(snapshot: &Snapshot, asked: &Asked, floor: BootTime, now: Moment) -> Option<BootTime> {
    if asked.valid_until <= now.boot {
        return None;
    }
    match snapshot.token_for(Duration::ZERO, asked.spoiled, now) {
        None => Some(floor),
        Some(token) if token.remaining(now) >= asked.valid_until.since(now.boot) => None,
        // This issuer has nothing better until the token has ended.
        Some(token) if snapshot.reissues_late => Some(token.ends),
        Some(token) => Some(floor.max(token.sent.boot.plus(demand_rest(token)))),
    }
}

/// Rest between two renewals of a living token for callers who want a longer validity.
fn demand_rest(token: &AccessToken) -> Duration {
    (token.lifetime / 20).clamp(FLOOR, DEMAND_REST)
}

/// When the present token stops being handed out, and then when it ends: readers are told at both points.
#[must_use]
pub fn change_at(snapshot: &Snapshot, asked: &Asked, now: Moment) -> Option<BootTime> {
    let token = snapshot.token.as_ref()?;
    let left = token.remaining(now);
    let margin = if token.generation > asked.spoiled { snapshot.margin_now() } else { left };
    let wait = if left > margin { left.saturating_sub(margin) + TICK } else { left };
    Some(now.boot.plus(wait))
}

/// A caller that wants more validity than a living token has cannot have it renewed more often than this.
const DEMAND_REST: Duration = Duration::from_secs(30);
/// A token is handed out up to its margin inclusive; the change is just after.
const TICK: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::lifetime::tests::moment, *};
    use crate::token::{Failure, FailureKind, FailureRecord, lifetime::tests::token};

    fn at(secs: u64) -> BootTime {
        moment(secs).boot
    }

    /// A token of 600 s sent at 1000, refresh planned at 1450.
    fn fresh() -> Snapshot {
        Snapshot {
            token: Some(Arc::new(token(1_000, 600))),
            generation: 1,
            margin: Duration::from_secs(30),
            next_attempt_at: Some(at(1_450)),
            ..Snapshot::default()
        }
    }

    fn failing(snapshot: Snapshot, next: u64) -> Snapshot {
        let failure = Failure::new(FailureKind::Busy, "x");
        let record = FailureRecord { failure, at: moment(1_000) };
        Snapshot { failure: Some(Arc::new(record)), next_attempt_at: Some(at(next)), ..snapshot }
    }

    fn step(policy: &RefreshPolicy, snapshot: &Snapshot, asked: &Asked, now: u64) -> Step {
        policy.next_step(snapshot, asked, (snapshot.generation > 0).then(|| at(1_000)), moment(now))
    }

    fn step_by_default(snapshot: &Snapshot, asked: &Asked, now: u64) -> Step {
        step(&RefreshPolicy::default(), snapshot, asked, now)
    }

    fn sleep(until: u64) -> Step {
        Step::Sleep { until: Some(at(until)), quiet: None }
    }

    #[test]
    fn sleeps_until_the_refresh_is_due() {
        let nothing = Asked::default();
        assert_eq!(step_by_default(&fresh(), &nothing, 1_001), sleep(1_450));
        assert_eq!(step_by_default(&fresh(), &nothing, 1_450), Step::Attempt(Cause::Scheduled));
        assert_eq!(step_by_default(&fresh(), &nothing, 9_000), Step::Attempt(Cause::Scheduled), "overslept");
    }

    #[test]
    fn wakes_when_the_token_stops_being_handed_out() {
        let late = failing(fresh(), 1_590);
        let until = at(1_570).plus(TICK);
        assert_eq!(step_by_default(&late, &Asked::default(), 1_460), Step::Sleep { until: Some(until), quiet: None });
        assert_eq!(step_by_default(&late, &Asked::default(), 1_575), sleep(1_590));
    }

    #[test]
    fn the_first_token_is_fetched_when_planned_or_asked_for() {
        let cold = Snapshot { next_attempt_at: Some(at(1_002)), ..Snapshot::default() };
        assert_eq!(step_by_default(&cold, &Asked::default(), 1_001), sleep(1_002));
        let asked = Asked { valid_until: at(1_031), last: at(1_001), ..Asked::default() };
        assert_eq!(step_by_default(&cold, &asked, 1_001), Step::Attempt(Cause::Demanded));
    }

    #[test]
    fn a_report_forces_a_renewal() {
        let asked = Asked { spoiled: 1, ..Asked::default() };
        assert_eq!(step_by_default(&fresh(), &asked, 1_100), Step::Attempt(Cause::Forced));
        assert_eq!(step_by_default(&fresh(), &asked, 1_002), sleep(1_005), "the floor between two successes");
    }

    #[test]
    fn failing_clients_are_left_alone_whatever_readers_want() {
        let asked = Asked { spoiled: 1, valid_until: at(2_000), last: at(1_500), ..Asked::default() };
        assert_eq!(step_by_default(&failing(fresh(), 1_520), &asked, 1_500), sleep(1_520));
        let ordered = Asked { ordered: true, ..asked };
        assert_eq!(step_by_default(&failing(fresh(), 1_520), &ordered, 1_500), Step::Attempt(Cause::Ordered));
    }

    #[test]
    fn a_longer_validity_is_fetched_at_measured_intervals() {
        let wish = |until| Asked { valid_until: at(until), last: at(1_010), ..Asked::default() };
        assert_eq!(step_by_default(&fresh(), &wish(1_600), 1_010), sleep(1_450), "good enough");
        assert_eq!(step_by_default(&fresh(), &wish(1_605), 1_010), sleep(1_030), "a twentieth of its life");
        assert_eq!(step_by_default(&fresh(), &wish(1_640), 1_040), Step::Attempt(Cause::Demanded));
    }

    #[test]
    fn late_issuers_are_not_asked_for_more_than_they_have() {
        let late = Snapshot { reissues_late: true, next_attempt_at: Some(at(1_590)), ..fresh() };
        let wish = Asked { valid_until: at(1_700), last: at(1_500), ..Asked::default() };
        assert_eq!(
            step_by_default(&late, &wish, 1_500),
            Step::Sleep { until: Some(at(1_599).plus(TICK)), quiet: None }
        );
        assert_eq!(step_by_default(&late, &wish, 1_600), Step::Attempt(Cause::Demanded));
    }

    #[test]
    fn without_prefetch_nothing_happens_until_somebody_asks() {
        let policy = RefreshPolicy { prefetch: false, ..RefreshPolicy::default() };
        let cold = Snapshot::default();
        assert_eq!(step(&policy, &cold, &Asked::default(), 5), Step::Sleep { until: None, quiet: Some(Quiet::Idle) });
        let asked = Asked { valid_until: at(40), last: at(10), ..Asked::default() };
        assert_eq!(step(&policy, &cold, &asked, 10), Step::Attempt(Cause::Demanded));
        let served = Asked { last: at(10), ..Asked::default() };
        assert_eq!(step(&policy, &fresh(), &served, 1_450), Step::Attempt(Cause::Scheduled));
    }

    #[test]
    fn an_idle_client_is_not_renewed_until_somebody_asks() {
        let policy = RefreshPolicy { idle_after: Some(Duration::from_secs(100)), ..RefreshPolicy::default() };
        let quiet = Asked { last: at(1_100), ..Asked::default() };
        let rest = Step::Sleep { until: Some(at(1_570).plus(TICK)), quiet: Some(Quiet::Idle) };
        assert_eq!(step(&policy, &fresh(), &quiet, 1_450), rest);
        let busy = Asked { last: at(1_400), ..quiet };
        assert_eq!(step(&policy, &fresh(), &busy, 1_450), Step::Attempt(Cause::Scheduled));
        let watched = Asked { watched: true, ..quiet };
        assert_eq!(step(&policy, &fresh(), &watched, 1_450), Step::Attempt(Cause::Scheduled));
    }

    #[test]
    fn a_used_up_budget_leaves_requests_to_those_who_ask() {
        let policy = RefreshPolicy { budget_per_day: Some(1), ..RefreshPolicy::default() };
        let mut spent = fresh();
        spent.sent.add(moment(1_000));
        let idle = step(&policy, &spent, &Asked::default(), 1_460);
        assert_eq!(idle, Step::Sleep { until: Some(at(1_570).plus(TICK)), quiet: Some(Quiet::Saving) });
        let asked = Asked { valid_until: at(1_610), last: at(1_580), ..Asked::default() };
        assert_eq!(step(&policy, &spent, &asked, 1_580), Step::Attempt(Cause::Demanded));
    }

    #[test]
    fn a_used_up_budget_leaves_retries_to_those_who_get_nothing() {
        let policy = RefreshPolicy { budget_per_day: Some(1), ..RefreshPolicy::default() };
        let mut spent = failing(fresh(), 1_500);
        spent.sent.add(moment(1_000));
        let asked = Asked { last: at(1_490), ..Asked::default() };
        let saving = |asked: &Asked, now| {
            matches!(step(&policy, &spent, asked, now), Step::Sleep { quiet: Some(Quiet::Saving), .. })
        };
        assert!(saving(&asked, 1_500), "there is a token");
        assert!(saving(&Asked { last: at(900), ..asked }, 1_590), "nobody has asked since the failure");
        assert_eq!(step(&policy, &spent, &asked, 1_590), Step::Attempt(Cause::Retry));
    }

    #[test]
    fn a_late_issuers_token_that_is_gone_is_replaced_at_once() {
        let gone = Snapshot { reissues_late: true, token: None, next_attempt_at: Some(at(1_590)), ..fresh() };
        assert_eq!(step_by_default(&gone, &Asked::default(), 1_100), Step::Attempt(Cause::Scheduled), "a clock jumped");
    }
}
