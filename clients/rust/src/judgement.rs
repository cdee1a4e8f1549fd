//! What a reader is to do, given what is known: the rule, without a clock or a task.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::{Error, Token};

/// All that is known of one client.
#[derive(Default)]
pub(crate) struct State {
    /// The newest token, whether or not it is still good.
    pub(crate) token: Option<Token>,
    /// The id of a token that an API refused, while the daemon is being told.
    pub(crate) reported: Option<String>,
    /// How the stream is doing.
    pub(crate) watch: Watch,
}

/// How the stream that brings the tokens is doing.
#[derive(Default)]
pub(crate) enum Watch {
    /// Nobody has asked yet, or the runtime that followed the client is gone.
    #[default]
    Idle,
    /// An attempt is under way.
    Beginning,
    /// It stands. Without a token, this is what GetToken would answer.
    Stands { unavailable: Option<Error> },
    /// It has ended, or did not come about; the last attempt was over at that time.
    Lost { error: Error, attempted: Instant },
    /// The broker was closed. Nothing comes after this.
    Closed,
}

/// What a reader is to do.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Take this one.
    Serve(Token),
    /// Ask the daemon for one that is good for so long.
    Ask,
    /// Wait for a change.
    Wait,
    /// Have the next attempt made now, and wait for its outcome.
    Hurry,
    /// Give up.
    Refuse(Error),
}

impl State {
    /// What a reader is to do who wants a token that is good for this long.
    pub(crate) fn judge(&self, min_validity: Duration, now: SystemTime, instant: Instant) -> Verdict {
        if matches!(self.watch, Watch::Closed) {
            return Verdict::Refuse(Error::closed());
        }
        if let Some(token) = self.usable(min_validity, now) {
            return Verdict::Serve(token);
        }
        if self.reported.is_some() {
            return Verdict::Wait;
        }
        match &self.watch {
            Watch::Stands { unavailable: Some(error) } if error.is_pending() => Verdict::Wait,
            Watch::Stands { unavailable: Some(error) } => Verdict::Refuse(error.clone()),
            _ => self.reach(instant),
        }
    }

    /// Whether the daemon can be asked now, and if not, what to do.
    pub(crate) fn reach(&self, instant: Instant) -> Verdict {
        match &self.watch {
            Watch::Idle | Watch::Beginning => Verdict::Wait,
            Watch::Stands { .. } => Verdict::Ask,
            Watch::Lost { attempted, .. } if instant.duration_since(*attempted) > BETWEEN_ATTEMPTS => Verdict::Hurry,
            Watch::Lost { error, .. } => Verdict::Refuse(error.clone()),
            Watch::Closed => Verdict::Refuse(Error::closed()),
        }
    }

    /// The token, if it is good for this long and nobody has refused it.
    pub(crate) fn usable(&self, min_validity: Duration, now: SystemTime) -> Option<Token> {
        let token = self.unreported()?;
        token.is_good_for(min_validity, now).then(|| token.clone())
    }

    /// The token while readers need not look further than at its times. That is so as long as somebody follows the client.
    pub(crate) fn at_hand(&self) -> Option<Token> {
        let followed = !matches!(self.watch, Watch::Idle | Watch::Closed);
        self.unreported().filter(|_| followed).cloned()
    }

    /// Moves on, unless the broker is closed. Says whether it did.
    pub(crate) fn put(&mut self, watch: Watch) -> bool {
        let open = !matches!(self.watch, Watch::Closed);
        if open {
            self.watch = watch;
        }
        open
    }

    fn unreported(&self) -> Option<&Token> {
        self.token.as_ref().filter(|token| self.reported.as_deref() != Some(token.id()))
    }
}

/// Readers that come while nothing is known cause no more than one attempt in this time.
pub(crate) const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);
