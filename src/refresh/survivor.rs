//! What is left of a client when its process ends, for the process that comes after it.

use std::sync::Arc;

use super::{Handle, Refresher, Terms};
use crate::{
    moment::{BootTime, Moment},
    token::{
        AccessToken, RefreshPolicy, Wish,
        lifetime::Known,
        policy,
        snapshot::{DayCount, Snapshot},
    },
};

/// A token, and what was learned of its issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// The token.
    pub token: Arc<AccessToken>,
    /// The newest generation that was reported as rejected.
    pub spoiled: u64,
    /// See [`Snapshot::told`].
    pub told: bool,
    /// See [`Snapshot::lifetime`].
    pub lifetime: Option<std::time::Duration>,
    /// See [`Snapshot::next_attempt_at`].
    pub next_attempt_at: Option<BootTime>,
    /// See [`Snapshot::reissues_late`].
    pub reissues_late: bool,
    /// See [`Snapshot::sent`].
    pub sent: DayCount,
    /// See [`Snapshot::secret_in_use`].
    pub secret_in_use: u8,
    /// See [`Snapshot::warnings`].
    pub warnings: Arc<[Box<str>]>,
}

impl Survivor {
    /// What is to outlive the process; `None` if there is no token, or one that is bound to a key which does not.
    pub(super) fn of(snapshot: &Snapshot, spoiled: u64) -> Option<Self> {
        let token = snapshot.token.clone().filter(|token| token.binding.is_none())?;
        Some(Self {
            token,
            spoiled,
            told: snapshot.told,
            lifetime: snapshot.lifetime,
            next_attempt_at: snapshot.next_attempt_at,
            reissues_late: snapshot.reissues_late,
            sent: snapshot.sent,
            secret_in_use: snapshot.secret_in_use,
            warnings: Arc::clone(&snapshot.warnings),
        })
    }

    /// When the token is renewed: as was planned, no later than the schedule of now allows, and with the spread of a start
    /// if that is due, or passed while no process ran.
    fn planned(&self, policy: &RefreshPolicy, now: Moment, sample: f64) -> BootTime {
        let latest = self.token.sent.boot.plus(self.token.lifetime.mul_f64(policy.latest));
        let planned = match self.next_attempt_at {
            Some(planned) if self.reissues_late => planned,
            planned => planned.map_or(latest, |planned| planned.min(latest)),
        };
        if planned > now.boot { planned } else { now.boot.plus(policy::START_SPREAD.mul_f64(sample)) }
    }
}

impl Refresher {
    /// As [`Refresher::new`], for a client whose token has survived its process. A token that has not lived to see this
    /// is let go.
    #[must_use]
    pub fn resume(terms: Terms, survivor: Survivor) -> (Self, Handle) {
        let (mut refresher, handle) = Self::new(terms);
        refresher.adopt(survivor);
        (refresher, handle)
    }

    fn adopt(&mut self, survivor: Survivor) {
        let now = self.terms.clock.now();
        let token = &survivor.token;
        // The boot-time clock only goes on; a token from its future is from another boot.
        if token.remaining(now).is_zero() || token.sent.boot > now.boot {
            return self.board.note(|snapshot| snapshot.sent = survivor.sent);
        }
        // The id stays what callers know it as, and the next one continues the series.
        self.epoch = token.id.epoch;
        self.settled = Some(token.sent.boot);
        self.known = Some(Known {
            value: token.value.clone(),
            serial: token.id.serial,
            sent: token.sent.boot,
            lifetime: token.lifetime,
            ends: token.ends,
            told: survivor.told,
        });
        let planned = survivor.planned(&self.terms.policy, now, self.jitter.f64());
        let margin = self.terms.policy.margin(token.lifetime);
        self.board.wishes.post(Wish { valid_until: BootTime::default(), spoil: survivor.spoiled });
        self.board.note(|snapshot| {
            snapshot.generation = survivor.token.generation;
            snapshot.told = survivor.told;
            snapshot.next_attempt_at = Some(planned);
            snapshot.lifetime = survivor.lifetime;
            snapshot.margin = margin;
            snapshot.quiet = None;
            snapshot.reissues_late = survivor.reissues_late;
            snapshot.sent = survivor.sent;
            snapshot.secret_in_use = survivor.secret_in_use;
            snapshot.warnings = survivor.warnings;
            snapshot.token = Some(survivor.token);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{Answer, World, busy};
    use super::*;
    use crate::{
        clock::Clock as _,
        token::{Ask, ClientState, Rejection},
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
        let world = World::by_default();
        world.get().await.unwrap();
        world.issuer.says_from_now_on(busy());
        world.pass(3_200).await;
        let world = world.restarted(by_default());
        world.issuer.says_from_now_on(Answer::Token(3_600));
        let before = world.issuer.count();
        assert_eq!(world.get().await.unwrap(), "token-1");
        world.pass(16).await;
        assert_eq!(world.issuer.count(), before + 1, "a retry that was planned is made when it was planned");
        assert_ne!(world.get().await.unwrap(), "token-1");
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
        assert_eq!((second.epoch, second.serial), (first.epoch, first.serial + 1));
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
