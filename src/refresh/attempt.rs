//! One attempt: a turn at the issuer, the request, and what readers are told meanwhile.
//!
//! An attempt can take long, above all the wait for a turn. Time does not stand still for readers: a token that ends
//! meanwhile is let go, and followers are told.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{sync::OwnedSemaphorePermit, time::sleep};

use super::Refresher;
use crate::token::{Cause, Failure, FailureKind, FailureRecord, schedule::change_at};

impl Refresher {
    /// Makes an attempt and publishes what came of it.
    pub(super) async fn attempt(&mut self, cause: Cause) {
        let permit = self.turn().await;
        let orders = self.board.wishes.orders();
        let sent = self.terms.clock.now();
        self.board.wishes.clear_demand();
        let spoiled = self.asked().spoiled;
        // Nothing that a follower waits for: they are woken by the outcome.
        self.board.note(|snapshot| {
            snapshot.sent.add(sent);
            snapshot.quiet = None;
            let reported = snapshot.token.as_ref().is_some_and(|token| token.generation <= spoiled);
            if cause == Cause::Forced || (cause == Cause::Ordered && reported) {
                snapshot.forced.record(sent.boot);
            }
        });
        self.look_at_time();
        let source = Arc::clone(&self.terms.source);
        let mut fetching = source.fetch();
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut fetching => break outcome,
                () = self.something_to_tell(None) => self.look_at_time(),
            }
        };
        drop(permit);
        let accepted = outcome.and_then(|issued| {
            let life = self.lifetime_of(&issued, sent.boot)?;
            Ok((issued, life))
        });
        match accepted {
            Ok((issued, life)) => self.accept(issued, life, sent, cause),
            Err(failure) => self.fail(failure, cause),
        }
        self.board.publish(|snapshot| snapshot.orders_done = orders);
        self.look_at_time();
    }

    /// Waits until the issuer has few enough requests under way.
    ///
    /// Were the gate ever closed, an unlimited request would still be better than none.
    async fn turn(&mut self) -> Option<OwnedSemaphorePermit> {
        let since = self.terms.clock.now().boot;
        let mut acquiring = pin!(Arc::clone(&self.terms.gate).acquire_owned());
        self.look_at_time();
        loop {
            let waited = self.terms.clock.now().boot.since(since);
            let patience = QUEUE_PATIENCE.saturating_sub(waited);
            tokio::select! {
                biased;
                permit = &mut acquiring => return permit.ok(),
                () = self.something_to_tell((!patience.is_zero()).then_some(patience)) => self.look_at_time(),
            }
            if self.terms.clock.now().boot.since(since) >= QUEUE_PATIENCE {
                self.held_up();
            }
        }
    }

    /// Ends when time changes what readers are to be told, when somebody wishes something, or after so long.
    async fn something_to_tell(&self, at_most: Option<Duration>) {
        let now = self.terms.clock.now();
        let change = change_at(&self.board.look(), &self.asked(), now).map(|at| at.since(now.boot));
        match change.into_iter().chain(at_most).min() {
            Some(nap) => tokio::select! {
                () = sleep(nap) => {}
                () = self.board.wishes.rung() => {}
            },
            None => self.board.wishes.rung().await,
        }
    }

    /// Tells those who wait for a token that it is not their turn for a long time: they need not hang.
    fn held_up(&mut self) {
        let now = self.terms.clock.now();
        let snapshot = self.board.keep();
        if snapshot.failure.is_some() || snapshot.usable_token(self.board.wishes.spoiled(), now).is_some() {
            return;
        }
        let record = FailureRecord { failure: Failure::new(FailureKind::Busy, HELD_UP), at: now };
        self.board.publish(|snapshot| snapshot.failure = Some(Arc::new(record)));
        self.look_at_time();
    }
}

/// Who has waited this long for a turn at the issuer is told so.
const QUEUE_PATIENCE: Duration = Duration::from_secs(10);
/// What is told.
const HELD_UP: &str = "other clients' requests to the same issuer are not answered, and this one waits for its turn";
