//! A reader's hold on one client: ask for a token, report one, watch, look at the state.

use std::sync::Arc;

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::Wishes;
use crate::{
    clock::Clock,
    token::{AccessToken, Ask, ClientState, Refused, Rejection, Snapshot, Verdict, Waiting},
};

/// A token that is handed out.
#[derive(Clone, Debug)]
pub struct Given {
    /// The token.
    pub token: Arc<AccessToken>,
    /// What became of the caller's report, if it made one.
    pub rejection: Option<Rejection>,
}

/// One client as its readers hold it.
///
/// Reached only through [`super::Registry::grant`], that is, after the policy has let the caller in.
#[derive(Clone)]
pub struct Handle {
    snapshots: watch::Receiver<Snapshot>,
    wishes: Arc<Wishes>,
    clock: Arc<dyn Clock>,
}

impl Handle {
    /// Connects the two sides that the refresher was made with.
    pub(super) fn new(snapshots: watch::Receiver<Snapshot>, wishes: Arc<Wishes>, clock: Arc<dyn Clock>) -> Self {
        Self { snapshots, wishes, clock }
    }

    /// A token that is valid for at least as long as asked.
    ///
    /// Answers from memory when it can. Otherwise tells the refresher and waits until `deadline`; giving up
    /// (dropping the future) never cancels the shared request.
    ///
    /// # Errors
    /// [`Refused`], at once while the client is backing off without a token.
    pub async fn token(&self, ask: Ask, deadline: Instant) -> Result<Given, Refused> {
        match self.judge(&ask, &Waiting::default()) {
            Verdict::Serve(token, rejection) => Ok(Given { token, rejection }),
            Verdict::Refuse(refused) => Err(refused),
            Verdict::Report(_) | Verdict::Wait(_) => {
                timeout_at(deadline, self.wait(&ask)).await.unwrap_or(Err(Refused::Pending))
            }
        }
    }

    async fn wait(&self, ask: &Ask) -> Result<Given, Refused> {
        let mut snapshots = self.snapshots.clone();
        let mut waiting = Waiting { since_generation: Some(snapshots.borrow_and_update().generation), reported: false };
        loop {
            snapshots.mark_unchanged();
            match self.judge(ask, &waiting) {
                Verdict::Serve(token, rejection) => return Ok(Given { token, rejection }),
                Verdict::Refuse(refused) => return Err(refused),
                Verdict::Wait(wish) => self.wishes.post(wish),
                Verdict::Report(wish) => {
                    self.wishes.post(wish);
                    // Judged again before sleeping: while the issuer fails, the report is all that changes.
                    if !std::mem::replace(&mut waiting.reported, true) {
                        continue;
                    }
                }
            }
            snapshots.changed().await.map_err(|_| Refused::Gone)?;
        }
    }

    fn judge(&self, ask: &Ask, waiting: &Waiting) -> Verdict {
        let now = self.clock.now();
        self.wishes.touch(now.boot);
        let snapshot = self.snapshots.borrow();
        let verdict = snapshot.judge(ask, waiting, self.wishes.spoiled(), now);
        let overdue = snapshot.next_attempt_at.is_some_and(|at| at <= now.boot);
        if snapshot.idle || overdue {
            // Somebody is interested again, or the machine slept past the plan.
            self.wishes.ring();
        }
        verdict
    }

    /// Orders a refresh whatever the schedule says, and waits until an attempt made after the order has ended.
    ///
    /// Returns whether it brought a token.
    ///
    /// # Errors
    /// [`Refused::Pending`] when `deadline` passes first, [`Refused::Gone`] when the client is removed.
    pub async fn refresh(&self, deadline: Instant) -> Result<bool, Refused> {
        let mut snapshots = self.snapshots.clone();
        let ticket = self.wishes.order();
        let done = async {
            let after = snapshots.wait_for(|snapshot| snapshot.orders_done >= ticket).await;
            after.map(|snapshot| snapshot.failure.is_none()).map_err(|_| Refused::Gone)
        };
        timeout_at(deadline, done).await.unwrap_or(Err(Refused::Pending))
    }

    /// Whether both hold the same running client, not one and its successor.
    #[must_use]
    pub fn same_client(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.wishes, &other.wishes)
    }

    /// What the client's readers see now, and the newest generation that was reported.
    #[must_use]
    pub fn look(&self) -> (Snapshot, u64) {
        (self.snapshots.borrow().clone(), self.wishes.spoiled())
    }

    /// How the client is doing.
    #[must_use]
    pub fn state(&self) -> ClientState {
        self.snapshots.borrow().state(self.wishes.spoiled(), self.clock.now())
    }

    /// Follows the client: every change wakes the receiver, and somebody counts as asking until it is dropped.
    #[must_use]
    pub fn follow(&self) -> Follower {
        self.wishes.watch();
        Follower { handle: self.clone() }
    }

    /// A receiver of every change, without counting as interest in tokens.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.clone()
    }
}

/// A watcher of one client. See [`Handle::follow`].
pub struct Follower {
    handle: Handle,
}

impl Follower {
    /// What GetToken would say now, without waiting.
    #[must_use]
    pub fn current(&mut self) -> Verdict {
        // Before judging, so that a change in between is seen as one.
        self.handle.snapshots.mark_unchanged();
        let verdict = self.handle.judge(&Ask::default(), &Waiting::default());
        if let Verdict::Wait(wish) = &verdict {
            self.handle.wishes.post(*wish);
        }
        verdict
    }

    /// Ends at the next change; false when the client is gone.
    pub async fn changed(&mut self) -> bool {
        self.handle.snapshots.changed().await.is_ok()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.handle.wishes.unwatch(self.handle.clock.now().boot);
    }
}
