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
        Asked, Cause, ClientName, Quiet, RefreshPolicy, Snapshot, Step, TokenSource,
        lifetime::{Known, Progress},
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
    /// Counts changes of what is to outlive the process, of all clients.
    pub remains: watch::Sender<u64>,
    /// Seeds the jitter and the token ids.
    pub seed: u64,
}

/// New terms for a running client that keeps its token: another schedule, or another way to the same issuer.
pub struct Amendment {
    /// When it renews.
    pub policy: Arc<RefreshPolicy>,
    /// Whom it asks, if that changes.
    pub source: Option<Arc<dyn TokenSource>>,
}

/// Keeps one client's token fresh. See the module.
pub struct Refresher {
    pub(super) terms: Terms,
    pub(super) board: Arc<Board>,
    pub(super) jitter: fastrand::Rng,
    pub(super) epoch: u64,
    /// The newest token, even if it has expired.
    pub(super) known: Option<Known>,
    /// The issuer's hint when to renew that one.
    pub(super) hint: Option<Duration>,
    /// When the last successful request ended.
    pub(super) settled: Option<BootTime>,
    /// What the last successful request brought.
    pub(super) progress: Progress,
    /// Failures since the last success.
    pub(super) run: Run,
    pub(super) told: Transition,
    /// The newest report that is known to those who keep what outlives the process.
    pub(super) spoiled: u64,
}

/// A run of failures.
#[derive(Clone, Copy, Default)]
pub(super) struct Run {
    /// Why the first of these attempts was made.
    pub(super) cause: Option<Cause>,
    /// Failures that pass by themselves.
    pub(super) passing: u32,
    /// Failures that need a person.
    pub(super) refusals: u32,
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
            quiet: (!terms.policy.prefetch).then_some(Quiet::Idle),
            ..Snapshot::default()
        };
        let told = Transition::new(snapshot.quiet.is_some());
        let board = Arc::new(Board::new(snapshot));
        if terms.policy.prefetch {
            // `idle_after` counts from the start.
            board.wishes.touch(start);
        }
        let handle = Handle::new(Arc::clone(&board), Arc::clone(&terms.clock));
        let refresher = Self {
            terms,
            board,
            jitter,
            epoch,
            known: None,
            hint: None,
            settled: None,
            progress: Progress::New,
            run: Run::default(),
            told,
            spoiled: 0,
        };
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
            let nap = match self.decide() {
                Next::Attempt(cause) => {
                    Box::pin(self.attempt(cause)).await;
                    continue;
                }
                Next::Nap(nap) => nap,
                Next::Look(nap) => {
                    if Box::pin(self.credentials_changed()).await {
                        Box::pin(self.attempt(Cause::Retry)).await;
                        continue;
                    }
                    Some(nap)
                }
            };
            match nap {
                Some(nap) => tokio::select! {
                    () = sleep(nap) => {}
                    () = self.board.wishes.rung() => {}
                },
                None => self.board.wishes.rung().await,
            }
        }
    }

    /// What to do next; publishes and logs what time alone has changed.
    fn decide(&mut self) -> Next {
        if let Some(amendment) = self.board.take_amendment() {
            self.amend(*amendment);
        }
        let now = self.terms.clock.now();
        let asked = self.asked();
        self.tidy(&asked, now);
        let step = self.terms.policy.next_step(&self.board.look(), &asked, self.settled, now);
        let (until, quiet) = match step {
            Step::Attempt(cause) => return Next::Attempt(cause),
            Step::Sleep { until, quiet } => (until, quiet),
        };
        self.set_quiet(quiet);
        self.tell(&asked, now);
        let nap = until.map(|at| at.since(now.boot));
        if self.needs_a_person() {
            Next::Look(nap.unwrap_or(LOOK_AT_SECRET).min(LOOK_AT_SECRET))
        } else {
            Next::Nap(nap)
        }
    }

    /// Adopts new terms. The present token stays; what was planned for it is planned anew.
    fn amend(&mut self, Amendment { policy, source }: Amendment) {
        let now = self.terms.clock.now();
        let snapshot = self.board.keep();
        let mut next = snapshot.next_attempt_at;
        if self.terms.policy != policy
            && let (Some(token), None, false) = (&snapshot.token, &snapshot.failure, snapshot.reissues_late)
        {
            let planned = policy.refresh_at(token, self.hint, self.jitter.f64());
            next = Some(planned.max(self.settled.map_or(now.boot, |at| at.plus(policy::FLOOR))));
        }
        if let Some(source) = source {
            self.terms.source = source;
            // What failed may have been mended, but an issuer that asked for rest gets it.
            if let Some(record) = &snapshot.failure
                && record.failure.retry_after.is_none()
                && !record.failure.throttled
            {
                next = Some(now.boot.max(record.at.boot.plus(policy::FLOOR)));
            }
        }
        self.terms.policy = policy;
        let margin = snapshot
            .token
            .as_ref()
            .map_or(self.terms.policy.min_validity, |token| self.terms.policy.margin(token.lifetime));
        self.board.publish(|snapshot| {
            snapshot.next_attempt_at = next;
            snapshot.margin = margin;
        });
    }

    pub(super) fn asked(&self) -> Asked {
        self.board.wishes.read(self.board.look().orders_done)
    }

    /// Lets go of a token that has expired, and ages one whose time has passed faster than the boot-time clock says.
    fn tidy(&mut self, asked: &Asked, now: Moment) {
        let Some(token) = self.board.look().token.clone() else { return };
        if token.remaining(now).is_zero() {
            self.board.publish(|snapshot| snapshot.token = None);
            self.remains_changed();
            self.tell(asked, now);
        } else if let Some(aged) = token.aged(now) {
            self.board.publish(|snapshot| snapshot.token = Some(Arc::new(aged)));
            self.remains_changed();
        }
    }

    fn set_quiet(&self, quiet: Option<Quiet>) {
        if self.board.look().quiet != quiet {
            self.board.publish(|snapshot| snapshot.quiet = quiet);
        }
    }

    fn needs_a_person(&self) -> bool {
        let snapshot = self.board.look();
        snapshot.failure.as_ref().is_some_and(|record| record.failure.kind.needs_a_person())
    }

    /// Whether there are other credentials than those that were refused. However often they change, the issuer is not
    /// asked more often than after successes.
    async fn credentials_changed(&self) -> bool {
        let failed_at = self.board.look().failure.as_ref().map(|record| record.at.boot);
        let rested = failed_at.is_none_or(|at| self.terms.clock.now().boot.since(at) >= policy::FLOOR);
        rested && self.terms.source.credentials_changed().await
    }

    /// Lets go of what has expired, and tells what has changed.
    pub(super) fn look_at_time(&mut self) {
        let now = self.terms.clock.now();
        let asked = self.asked();
        self.tidy(&asked, now);
        self.tell(&asked, now);
    }

    /// Logs a change of state, and lets followers know of one that time alone brought about.
    fn tell(&mut self, asked: &Asked, now: Moment) {
        if std::mem::replace(&mut self.spoiled, asked.spoiled) != asked.spoiled {
            self.remains_changed();
        }
        let changed = self.told.tell(&self.terms.name, &self.board.look(), asked.spoiled, now);
        if changed {
            self.board.publish(|_| {});
            self.terms.pulse.send_modify(|count| *count = count.wrapping_add(1));
        }
    }
}

impl Refresher {
    /// What is to outlive the process is another than before.
    pub(super) fn remains_changed(&self) {
        self.terms.remains.send_modify(|count| *count = count.wrapping_add(1));
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
    /// Look whether the credentials are other ones than those that were refused; if not, sleep this long.
    Look(Duration),
    /// Sleep this long, or until somebody wishes something; `None`: only the latter.
    Nap(Option<Duration>),
}

/// How often the secret of a refused client is looked at, so that a new one ends the wait.
const LOOK_AT_SECRET: Duration = Duration::from_secs(5);
