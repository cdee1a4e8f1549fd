//! A reader's hold on one client: ask for a token, report one, watch, look at the state.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::{
    Amendment, Wishes,
    board::{Board, Changes},
};
use crate::{
    clock::Clock,
    token::{AccessToken, Ask, ClientState, Quiet, Refused, Rejection, Snapshot, Verdict, Waiting},
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
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
}

impl Handle {
    /// Connects the two sides that the refresher was made with.
    pub(super) fn new(board: Arc<Board>, clock: Arc<dyn Clock>) -> Self {
        Self { board, clock }
    }

    fn wishes(&self) -> &Wishes {
        &self.board.wishes
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

    /// The same if it can be answered from memory, which is nearly always.
    #[must_use]
    pub fn at_once(&self, ask: Ask) -> Option<Given> {
        match self.judge(&ask, &Waiting::default()) {
            Verdict::Serve(token, rejection) => Some(Given { token, rejection }),
            _ => None,
        }
    }

    async fn wait(&self, ask: &Ask) -> Result<Given, Refused> {
        let mut changes = self.changes();
        let mut waiting = Waiting { since_generation: Some(changes.current().generation), reported: false };
        loop {
            changes.mark_unchanged();
            match self.judge(ask, &waiting) {
                Verdict::Serve(token, rejection) => return Ok(Given { token, rejection }),
                Verdict::Refuse(refused) => return Err(refused),
                Verdict::Wait(wish) => self.wishes().post(wish),
                Verdict::Report(wish) => {
                    self.wishes().post(wish);
                    // Judged again before sleeping: while the issuer fails, the report is all that changes.
                    if !std::mem::replace(&mut waiting.reported, true) {
                        continue;
                    }
                }
            }
            if !changes.changed().await {
                return Err(Refused::Gone);
            }
        }
    }

    fn judge(&self, ask: &Ask, waiting: &Waiting) -> Verdict {
        let now = self.clock.now();
        self.wishes().touch(now.boot);
        let snapshot = self.board.look();
        let verdict = snapshot.judge(ask, waiting, self.wishes().spoiled(), now);
        let overdue = snapshot.next_attempt_at.is_some_and(|at| at <= now.boot);
        if snapshot.quiet == Some(Quiet::Idle) || overdue {
            // Somebody is interested again, or the machine slept past the plan.
            self.wishes().ring();
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
        let mut changes = self.changes();
        let ticket = self.wishes().order();
        let done = async {
            let after = changes.wait_for(|snapshot| snapshot.orders_done >= ticket).await;
            after.map(|snapshot| snapshot.failure.is_none()).ok_or(Refused::Gone)
        };
        timeout_at(deadline, done).await.unwrap_or(Err(Refused::Pending))
    }

    /// Changes the terms of the running client, which keeps its token.
    pub(crate) fn amend(&self, amendment: Amendment) {
        self.board.amend(amendment);
    }

    /// Has the refresher look at the time again.
    pub(super) fn ring(&self) {
        self.wishes().ring();
    }

    /// Whether both hold the same running client, not one and its successor.
    #[must_use]
    pub fn same_client(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.board, &other.board)
    }

    /// What the client's readers see now, and the newest generation that was reported.
    #[must_use]
    pub fn look(&self) -> (Arc<Snapshot>, u64) {
        (self.board.keep(), self.wishes().spoiled())
    }

    /// How the client is doing.
    #[must_use]
    pub fn state(&self) -> ClientState {
        self.board.look().state(self.wishes().spoiled(), self.clock.now())
    }

    /// Follows the client: every change wakes the receiver, and somebody counts as asking until it is dropped.
    #[must_use]
    pub fn follow(&self) -> Follower {
        self.wishes().watch();
        Follower { handle: self.clone(), changes: self.changes() }
    }

    /// Follows every change, without counting as interest in tokens.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes::new(Arc::clone(&self.board))
    }
}

/// A watcher of one client. See [`Handle::follow`].
pub struct Follower {
    handle: Handle,
    changes: Changes,
}

impl Follower {
    /// What GetToken would say now, without waiting.
    #[must_use]
    pub fn current(&mut self) -> Verdict {
        // Before judging, so that a change in between is seen as one.
        self.changes.mark_unchanged();
        let verdict = self.handle.judge(&Ask::default(), &Waiting::default());
        if let Verdict::Wait(wish) = &verdict {
            self.handle.wishes().post(*wish);
        }
        verdict
    }

    /// Ends at the next change; false when the client is gone.
    pub async fn changed(&mut self) -> bool {
        self.changes.changed().await
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.handle.wishes().unwatch(self.handle.clock.now().boot);
    }
}
