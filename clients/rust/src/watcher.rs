//! The task that follows one client, for as long as somebody may want its token.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    Error, Token, backoff::Backoff, daemon::Daemon, judgement::BETWEEN_ATTEMPTS, memory::Memory,
    pb::v1::watch_token_response::State,
};

/// Follows one client. Whoever drops it before its end (a runtime that shuts down) leaves the place to another one.
pub(crate) struct Watcher {
    pub(crate) client: String,
    pub(crate) memory: Arc<Memory>,
    pub(crate) daemon: Arc<dyn Daemon>,
}

/// How a stream ended, or why there was none.
struct Ended {
    error: Error,
    /// When the attempt was over: it failed, or the stream stood.
    attempted: Instant,
}

impl Watcher {
    /// Runs until the memory is closed.
    pub(crate) async fn run(self) {
        tokio::select! {
            biased;
            () = self.memory.closed() => {}
            never = self.keep_following() => match never {},
        }
    }

    async fn keep_following(&self) -> Infallible {
        let mut backoff = Backoff::default();
        let mut told = String::new();
        loop {
            let Ended { error, attempted } = self.follow().await;
            let longest = if error.fails_closed() { LONGEST_REFUSED } else { LONGEST };
            if attempted.elapsed() > LONGEST {
                backoff.reset();
                told.clear();
            }
            // An outage is worth one warning, not one for each attempt.
            if told == error.reason() {
                tracing::debug!(client = self.client, reason = error.reason(), "watch not begun");
            } else {
                tracing::warn!(client = self.client, reason = error.reason(), "watch lost: {}", error.message());
                error.reason().clone_into(&mut told);
            }
            self.memory.lost(error, attempted);
            self.pause(backoff.next(longest, fastrand::f64()), attempted).await;
            self.memory.begin();
        }
    }

    /// Follows the client until the stream ends.
    async fn follow(&self) -> Ended {
        let beginning = async {
            let mut states = self.daemon.watch(&self.client).await?;
            let first = states.next().await?;
            Ok((states, first))
        };
        let begun = timeout(ATTEMPT, beginning).await.unwrap_or_else(|_| Err(self.daemon.silent()));
        let attempted = Instant::now();
        let (mut states, mut state) = match begun {
            Ok(begun) => begun,
            Err(error) => return Ended { error, attempted },
        };
        tracing::debug!(client = self.client, "watch began");
        loop {
            let next = match self.note(state) {
                Ok(()) => states.next().await,
                Err(error) => Err(error),
            };
            state = match next {
                Ok(next) => next,
                Err(error) => return Ended { error, attempted },
            };
        }
    }

    fn note(&self, state: State) -> Result<(), Error> {
        match state {
            State::Token(message) => {
                let token = Token::read(message)?;
                let id = token.id().to_owned();
                if self.memory.arrived(token) {
                    tracing::debug!(client = self.client, token_id = id, "token changed");
                }
            }
            State::Unavailable(message) => {
                let error = Error::of_state(message);
                tracing::debug!(client = self.client, reason = error.reason(), "no token");
                self.memory.unavailable(error);
            }
        }
        Ok(())
    }

    /// Waits, but not longer than until a reader wants the next attempt, which may be some time after the last one.
    async fn pause(&self, pause: Duration, attempted: Instant) {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                () = sleep_until(until) => return,
                () = self.memory.hurry.notified() => {}
            }
            if attempted.elapsed() > BETWEEN_ATTEMPTS {
                return;
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.memory.forsake();
    }
}

/// Limit for an attempt, from connecting to the first message.
const ATTEMPT: Duration = Duration::from_secs(10);
/// The longest pause between attempts.
const LONGEST: Duration = Duration::from_secs(2);
/// The same while the daemon is there and refuses.
const LONGEST_REFUSED: Duration = Duration::from_secs(30);
