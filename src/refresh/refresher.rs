//! The task that keeps one client's token fresh: the only writer of its snapshot.
//!
//! It sleeps, asks [`RefreshPolicy::next_step`] what to do, makes the attempt and publishes what came of it.
//! Nobody is called by name; whoever is interested follows the snapshot.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, watch},
    time::sleep,
};

use super::{Handle, board::Board, transition::Transition};
use crate::{
    clock::Clock,
    moment::{BootTime, Moment},
    token::{
        AccessToken, Asked, Cause, ClientName, Failure, FailureRecord, Issued, RefreshPolicy, Snapshot, Step, TokenId,
        TokenSource,
        backoff::Situation,
        lifetime::{self, Progress},
        policy,
    },
};

/// What a refresher is made of.
pub struct Terms {
    /// Whose token it keeps.
    pub name: ClientName,
    /// When it renews.
    pub policy: Arc<RefreshPolicy>,
    /// Whom it asks.
    pub source: Arc<dyn TokenSource>,
    /// Limits how many requests are under way at one issuer; shared by the clients of that issuer.
    pub gate: Arc<Semaphore>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Counts changes of state of all clients, for those who follow all of them.
    pub pulse: watch::Sender<u64>,
    /// Seeds the jitter and the token ids.
    pub seed: u64,
}

/// Keeps one client's token fresh. See the module.
pub struct Refresher {
    terms: Terms,
    board: Arc<Board>,
    jitter: fastrand::Rng,
    epoch: u64,
    serial: u64,
    /// When the last successful request ended.
    settled: Option<BootTime>,
    /// What the last successful request brought.
    progress: Progress,
    /// The credentials' revision at the last attempt.
    revision: u64,
    told: Transition,
}

impl Refresher {
    /// Makes a refresher and the handle of its readers. Nothing happens until [`Refresher::run`].
    #[must_use]
    pub fn new(terms: Terms) -> (Self, Handle) {
        let mut jitter = fastrand::Rng::with_seed(terms.seed);
        let epoch = jitter.u64(..);
        let start = terms.clock.now().boot;
        let first = terms.policy.prefetch.then(|| start.plus(policy::START_SPREAD.mul_f64(jitter.f64())));
        let snapshot = Snapshot {
            next_attempt_at: first,
            margin: terms.policy.min_validity,
            idle: !terms.policy.prefetch,
            ..Snapshot::default()
        };
        let told = Transition::new(snapshot.idle);
        let board = Arc::new(Board::new(snapshot));
        if terms.policy.prefetch {
            // `idle_after` counts from the start.
            board.wishes.touch(start);
        }
        let handle = Handle::new(Arc::clone(&board), Arc::clone(&terms.clock));
        let refresher =
            Self { terms, board, jitter, epoch, serial: 0, settled: None, progress: Progress::New, revision: 0, told };
        (refresher, handle)
    }

    /// Works until dropped.
    pub fn run(self) -> impl Future<Output = ()> + Send {
        // What an idle client keeps is small: the future holds a pointer to the refresher, and an attempt, which is
        // rare and large, is boxed.
        let mut refresher = Box::new(self);
        async move { refresher.work().await }
    }

    async fn work(&mut self) {
        loop {
            match self.decide() {
                Next::Attempt(cause) => Box::pin(self.attempt(cause)).await,
                Next::Nap(Some(nap)) => {
                    tokio::select! {
                        () = sleep(nap) => {}
                        () = self.board.wishes.rung() => {}
                    }
                }
                Next::Nap(None) => self.board.wishes.rung().await,
            }
        }
    }

    /// What to do next; publishes and logs what time alone has changed.
    fn decide(&mut self) -> Next {
        let now = self.terms.clock.now();
        let asked = self.asked();
        self.tidy(&asked, now);
        let step = self.terms.policy.next_step(&self.board.look(), &asked, self.settled, now);
        let (until, idle) = match step {
            Step::Attempt(cause) => return Next::Attempt(cause),
            Step::Sleep { until, idle } => (until, idle),
        };
        self.set_idle(idle);
        self.tell(&asked, now);
        let nap = until.map(|at| at.since(now.boot));
        if !self.needs_a_person() {
            return Next::Nap(nap);
        }
        if self.terms.source.revision() != self.revision {
            return Next::Attempt(Cause::Retry);
        }
        Next::Nap(Some(nap.unwrap_or(LOOK_AT_SECRET).min(LOOK_AT_SECRET)))
    }

    fn asked(&self) -> Asked {
        self.board.wishes.read(self.board.look().orders_done)
    }

    /// Lets go of a token that has expired.
    fn tidy(&mut self, asked: &Asked, now: Moment) {
        let expired = |snapshot: &Snapshot| snapshot.token.as_ref().is_some_and(|token| token.remaining(now).is_zero());
        if expired(&self.board.look()) {
            self.board.publish(|snapshot| snapshot.token = None);
            self.tell(asked, now);
        }
    }

    fn set_idle(&self, idle: bool) {
        if self.board.look().idle != idle {
            self.board.publish(|snapshot| snapshot.idle = idle);
        }
    }

    fn needs_a_person(&self) -> bool {
        let snapshot = self.board.look();
        snapshot.failure.as_ref().is_some_and(|record| record.failure.kind.needs_a_person())
    }

    async fn attempt(&mut self, cause: Cause) {
        // Never closed; were it, an unlimited request would still be better than none.
        let permit = Arc::clone(&self.terms.gate).acquire_owned().await;
        let orders = self.board.wishes.orders();
        let sent = self.terms.clock.now();
        self.board.wishes.clear_demand();
        self.revision = self.terms.source.revision();
        // Nothing that a follower waits for: they are woken by the outcome.
        self.board.note(|snapshot| {
            snapshot.sent.add(sent);
            snapshot.idle = false;
            if cause == Cause::Forced {
                snapshot.forced.record(sent.boot);
            }
        });
        let outcome = self.terms.source.fetch().await;
        drop(permit);
        let outcome = outcome.and_then(|issued| {
            let life = self.terms.policy.lifetime_of(&issued)?;
            Ok((issued, life))
        });
        match outcome {
            Ok((issued, life)) => self.accept(issued, life, sent, cause),
            Err(failure) => self.fail(failure),
        }
        self.board.publish(|snapshot| snapshot.orders_done = orders);
        let now = self.terms.clock.now();
        self.tell(&self.asked(), now);
    }

    fn accept(&mut self, issued: Issued, life: lifetime::Lifetime, sent: Moment, cause: Cause) {
        let now = self.terms.clock.now();
        self.settled = Some(now.boot);
        let old = self.board.look().token.clone();
        let same = old.as_ref().is_some_and(|old| old.value == issued.value);
        if !same {
            self.serial += 1;
        }
        let mut warnings = issued.oddities;
        warnings.extend(life.warning);
        let token = AccessToken {
            id: TokenId { epoch: self.epoch, serial: self.serial },
            generation: self.board.look().generation + 1,
            value: issued.value,
            token_type: issued.token_type,
            scope: issued.scope.unwrap_or_default(),
            sent,
            lifetime: life.length,
        };
        let progress = old.as_ref().map_or(Progress::New, |old| lifetime::progress(old, &token));
        let before = std::mem::replace(&mut self.progress, progress);
        let stuck = progress == Progress::Same || (progress, before) == (Progress::SameEnd, Progress::SameEnd);
        let late = stuck || self.board.look().reissues_late;
        if late {
            warnings.push(REISSUES_LATE.into());
        }
        let sample = self.jitter.f64();
        let planned = if late {
            lifetime::late_refresh_at(&token, now, sample)
        } else {
            self.terms.policy.refresh_at(&token, issued.refresh_in, sample)
        };
        let margin = self.terms.policy.margin(token.lifetime);
        // Wishes that came during the attempt: whoever made one is woken by what follows and judges anew.
        self.board.wishes.clear_demand();
        self.board.publish(|snapshot| {
            snapshot.generation = token.generation;
            snapshot.failure = None;
            snapshot.consecutive_failures = 0;
            snapshot.next_attempt_at = Some(planned.max(now.boot.plus(policy::FLOOR)));
            // The same token again has only the rest of its life: that is not what a new one would have.
            snapshot.lifetime = if same { snapshot.lifetime } else { Some(token.lifetime) };
            snapshot.margin = margin;
            snapshot.reissues_late = late;
            snapshot.secret_in_use = issued.secret_in_use;
            snapshot.warnings = warnings.into();
            if cause == Cause::Scheduled {
                snapshot.forced.cured();
            }
            snapshot.token = Some(Arc::new(token));
        });
    }

    fn fail(&mut self, failure: Failure) {
        let now = self.terms.clock.now();
        let spoiled = self.board.wishes.spoiled();
        let sample = self.jitter.f64();
        let policy = &self.terms.policy;
        self.board.publish(|snapshot| {
            snapshot.consecutive_failures = snapshot.consecutive_failures.saturating_add(1);
            let situation = Situation {
                failures: snapshot.consecutive_failures,
                usable_token: snapshot.usable_token(spoiled, now).is_some(),
                worked_before: snapshot.generation > 0,
                sample,
            };
            snapshot.next_attempt_at = Some(now.boot.plus(policy.wait_after(&failure, &situation)));
            snapshot.failure = Some(Arc::new(FailureRecord { failure, at: now }));
        });
    }

    /// Logs a change of state, and lets followers know of one that time alone brought about.
    fn tell(&mut self, asked: &Asked, now: Moment) {
        let changed = self.told.tell(&self.terms.name, &self.board.look(), asked.spoiled, now);
        if changed {
            self.board.publish(|_| {});
            self.terms.pulse.send_modify(|count| *count = count.wrapping_add(1));
        }
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.board.close();
    }
}

/// What a refresher does next.
enum Next {
    Attempt(Cause),
    /// Sleep this long, or until somebody wishes something; `None`: only the latter.
    Nap(Option<Duration>),
}

/// A warning in the status.
const REISSUES_LATE: &str =
    "the issuer returns the same token until it expires; it is asked shortly before and after that (reissue=late)";
/// How often the secret of a refused client is looked at, so that a new one ends the wait.
const LOOK_AT_SECRET: Duration = Duration::from_secs(5);
