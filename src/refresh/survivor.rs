//! What is left of a client when its process ends, for the process that comes after it.

use std::{sync::Arc, time::Duration};

use super::{Handle, Refresher, Terms};
use crate::{
    moment::{BootTime, Moment},
    token::{
        AccessToken, FailureRecord, RefreshPolicy, Wish,
        lifetime::Known,
        policy,
        snapshot::{DayCount, Snapshot},
    },
};

/// How the client is doing, and what was learned of its issuer.
#[derive(Clone, Debug)]
pub struct Survivor {
    /// See [`Snapshot::sent`].
    pub sent: DayCount,
    /// The token, and what goes with it.
    pub kept: Option<Kept>,
}

/// A token that outlives its process.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The token.
    pub token: Arc<AccessToken>,
    /// The newest generation that was reported as rejected.
    pub spoiled: u64,
    /// See [`Snapshot::told`].
    pub told: bool,
    /// See [`Snapshot::lifetime`].
    pub lifetime: Option<Duration>,
    /// See [`Snapshot::next_attempt_at`].
    pub next_attempt_at: Option<BootTime>,
    /// See [`Snapshot::reissues_late`].
    pub reissues_late: bool,
    /// See [`Snapshot::secret_in_use`].
    pub secret_in_use: u8,
    /// See [`Snapshot::warnings`].
    pub warnings: Arc<[Box<str>]>,
    /// Why the token could not be renewed, if that was tried.
    pub failing: Option<Failing>,
}

/// A run of failures that a restart does not end. Without a token it does: somebody may have mended what was wrong.
#[derive(Clone, Debug)]
pub struct Failing {
    /// The newest.
    pub record: Arc<FailureRecord>,
    /// See [`Snapshot::consecutive_failures`].
    pub consecutive: u32,
    /// See [`Snapshot::refusals`].
    pub refusals: u32,
}

impl Survivor {
    /// What is to outlive the process; `None` if there is nothing. A token that is bound to a key stays behind with it.
    pub(super) fn of(snapshot: &Snapshot, spoiled: u64) -> Option<Self> {
        let token = snapshot.token.clone().filter(|token| token.binding.is_none());
        let (consecutive, refusals) = (snapshot.consecutive_failures, snapshot.refusals);
        let failing = snapshot.failure.clone().map(|record| Failing { record, consecutive, refusals });
        let kept = token.map(|token| Kept {
            // A report that came after this snapshot is about a later token.
            spoiled: spoiled.min(token.generation),
            token,
            told: snapshot.told,
            lifetime: snapshot.lifetime,
            next_attempt_at: snapshot.next_attempt_at,
            reissues_late: snapshot.reissues_late,
            secret_in_use: snapshot.secret_in_use,
            warnings: Arc::clone(&snapshot.warnings),
            failing,
        });
        (kept.is_some() || snapshot.sent != DayCount::default()).then_some(Self { sent: snapshot.sent, kept })
    }
}

impl Kept {
    /// When the token is renewed: as was planned, no later than the schedule of now allows, and with the spread of a start
    /// if that is due, or passed while no process ran.
    fn planned(&self, policy: &RefreshPolicy, now: Moment, sample: f64) -> BootTime {
        let latest = self.token.sent.boot.plus(self.token.lifetime.mul_f64(policy.latest));
        let planned = match self.next_attempt_at {
            Some(planned) if self.reissues_late || self.failing.is_some() => planned,
            planned => planned.map_or(latest, |planned| planned.min(latest)),
        };
        if planned > now.boot { planned } else { now.boot.plus(policy::START_SPREAD.mul_f64(sample)) }
    }
}

impl Refresher {
    /// As [`Refresher::new`], for a client of which something has survived its process. A token that has not lived to see
    /// this is let go.
    #[must_use]
    pub fn resume(terms: Terms, survivor: Survivor) -> (Self, Handle) {
        let (mut refresher, handle) = Self::new(terms);
        refresher.board.note(|snapshot| snapshot.sent = survivor.sent);
        if let Some(kept) = survivor.kept {
            refresher.adopt(kept);
        }
        (refresher, handle)
    }

    fn adopt(&mut self, kept: Kept) {
        let now = self.terms.clock.now();
        let token = &kept.token;
        // The boot-time clock only goes on; a token from its future is from another boot.
        if token.remaining(now).is_zero() || token.sent.boot > now.boot {
            return;
        }
        // Its id stays what callers know it as. The next ones are of another series: the last process may have gone on with
        // this one after it was written for the last time.
        self.settled = Some(token.sent.boot);
        self.known = Some(Known {
            value: token.value.clone(),
            serial: token.id.serial,
            sent: token.sent.boot,
            lifetime: token.lifetime,
            ends: token.ends,
            told: kept.told,
        });
        let planned = kept.planned(&self.terms.policy, now, self.jitter.f64());
        let margin = self.terms.policy.margin(token.lifetime);
        self.board.wishes.post(Wish { valid_until: BootTime::default(), spoil: kept.spoiled });
        if let Some(Failing { consecutive, refusals, .. }) = kept.failing {
            self.run.passing = consecutive.saturating_sub(refusals);
            self.run.refusals = refusals;
        }
        self.spoiled = kept.spoiled;
        self.board.note(|snapshot| {
            snapshot.generation = kept.token.generation;
            snapshot.told = kept.told;
            snapshot.next_attempt_at = Some(planned);
            snapshot.lifetime = kept.lifetime;
            snapshot.margin = margin;
            snapshot.quiet = None;
            snapshot.reissues_late = kept.reissues_late;
            snapshot.secret_in_use = kept.secret_in_use;
            snapshot.warnings = kept.warnings;
            snapshot.token = Some(kept.token);
            if let Some(Failing { record, consecutive, refusals }) = kept.failing {
                snapshot.failure = Some(record);
                snapshot.consecutive_failures = consecutive;
                snapshot.refusals = refusals;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Answer, World, busy};
    use super::*;
    use crate::{
        clock::Clock as _,
        sensitive::Sensitive,
        token::{Ask, Binding, ClientState, ProvenCall, Prover, Rejection},
    };

    fn by_default() -> RefreshPolicy {
        RefreshPolicy::default()
    }

    /// A world with a token of an hour, of which so many seconds have passed.
    async fn an_hour_of_which(passed: u64) -> World {
        let world = World::by_default();
        assert_eq!(world.get().await.unwrap(), "token-1");
        world.pass(passed).await;
        world
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_served_at_once_and_renewed_when_that_was_planned() {
        let world = an_hour_of_which(600).await;
        let planned = world.handle.look().0.next_attempt_at;
        let world = world.restarted(by_default());
        assert_eq!(world.get().await.unwrap(), "token-1");
        assert_eq!(world.handle.look().0.next_attempt_at, planned);
        world.pass(1_800).await;
        assert_eq!(world.issuer.count(), 1, "two thirds of its life");
        world.pass(600).await;
        assert_eq!((world.get().await.unwrap().as_str(), world.issuer.count()), ("token-2", 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_due_is_served_and_renewed_within_the_spread_of_a_start() {
        let world = an_hour_of_which(600).await;
        // The machine sleeps while no process runs.
        world.clock.suspend(Duration::from_secs(2_500));
        let world = world.restarted(by_default());
        assert_eq!((world.get().await.unwrap().as_str(), world.issuer.count()), ("token-1", 1));
        world.pass(2).await;
        assert_eq!((world.get().await.unwrap().as_str(), world.issuer.count()), ("token-2", 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_of_failures_goes_on_as_long_as_there_is_a_token() {
        let world = World::by_default();
        world.get().await.unwrap();
        world.issuer.says_from_now_on(busy());
        world.pass(3_200).await;
        let before = world.handle.look().0;
        assert!(before.consecutive_failures > 2);
        let world = world.restarted(by_default());
        let after = world.handle.look().0;
        assert_eq!(world.handle.state(), ClientState::Degraded);
        assert_eq!(after.consecutive_failures, before.consecutive_failures);
        assert_eq!(after.next_attempt_at, before.next_attempt_at, "the issuer keeps its rest");
        world.pass(500).await;
        let world = world.restarted(by_default());
        assert_eq!(world.handle.state(), ClientState::Starting, "without a token it is tried at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_schedule_counts_for_a_token_that_has_survived() {
        let world = an_hour_of_which(600).await;
        let world = world.restarted(RefreshPolicy { earliest: 0.1, latest: 0.2, ..by_default() });
        world.pass(119).await;
        assert_eq!(world.issuer.count(), 1);
        world.pass(2).await;
        assert_eq!(world.issuer.count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_token_does_not_survive_whichever_clock_says_so() {
        let world = an_hour_of_which(600).await;
        world.issuer.says_from_now_on(busy());
        world.clock.suspend(Duration::from_secs(3_000));
        let world = world.restarted(by_default());
        assert_eq!(world.handle.state(), ClientState::Starting);
        let world = an_hour_of_which(600).await;
        world.clock.step_wall_forward(Duration::from_secs(3_000));
        let world = world.restarted(by_default());
        world.clock.step_wall_back(Duration::from_secs(3_000));
        assert_eq!(world.handle.state(), ClientState::Starting, "not even when the clock is set back");
    }

    #[tokio::test(start_paused = true)]
    async fn ids_go_on_and_reports_from_before_are_understood() {
        let world = an_hour_of_which(600).await;
        let (_, first, _) = world.ask(Ask::default()).await.unwrap();
        let world = world.restarted(by_default());
        let (_, same, _) = world.ask(Ask::default()).await.unwrap();
        assert_eq!(same, first);
        let (value, second, rejection) = world.report(first).await.unwrap();
        assert_eq!((value.as_str(), rejection), ("token-2", Some(Rejection::Replaced)));
        assert_ne!(second.epoch, first.epoch, "the last process may have given out the next of its series");
        let world = world.restarted(by_default());
        let (_, _, rejection) = world.report(first).await.unwrap();
        assert_eq!(rejection, Some(Rejection::AlreadyReplaced));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_was_reported_survives_as_reported() {
        let world = an_hour_of_which(600).await;
        let (_, id, _) = world.ask(Ask::default()).await.unwrap();
        world.issuer.says_from_now_on(busy());
        assert!(world.report(id).await.is_err());
        let world = world.restarted(by_default());
        assert!(world.get().await.is_err());
    }

    struct Key;

    impl Prover for Key {
        fn prove(&self, _: &ProvenCall<'_>, _: &Sensitive) -> Option<String> {
            None
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_bound_to_a_key_stays_behind_with_it() {
        let world = an_hour_of_which(600).await;
        let (mut snapshot, spoiled) = (Snapshot::clone(&world.handle.look().0), world.handle.look().1);
        assert!(Survivor::of(&snapshot, spoiled).unwrap().kept.is_some());
        let token = AccessToken::clone(snapshot.token.as_ref().unwrap());
        snapshot.token = Some(Arc::new(AccessToken { binding: Some(Binding::to(Arc::new(Key))), ..token }));
        assert!(Survivor::of(&snapshot, spoiled).unwrap().kept.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn requests_of_the_day_are_counted_on() {
        let world = an_hour_of_which(600).await;
        let now = world.clock.now();
        let world = world.restarted(by_default());
        assert_eq!(world.handle.look().0.sent.today(now), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_learned_of_a_late_issuer_is_kept() {
        let world = World::by_default();
        world.issuer.says_from_now_on(Answer::Named("same", 3_600));
        world.get().await.unwrap();
        world.pass(3_000).await;
        assert!(world.handle.look().0.reissues_late);
        let before = world.issuer.count();
        let world = world.restarted(by_default());
        world.pass(500).await;
        assert_eq!((world.get().await.unwrap().as_str(), world.issuer.count()), ("same", before));
    }
}
