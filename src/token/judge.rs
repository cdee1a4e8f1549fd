//! What a reader makes of a snapshot: serve, refuse or wait. Pure; the handle only carries it out.

use std::{sync::Arc, time::Duration};

use super::{AccessToken, FailureRecord, Snapshot, TokenId, policy};
use crate::moment::{BootTime, Moment};

/// What a caller asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    /// How long the token must at least be valid; `None`: the client's margin.
    pub min_validity: Option<Duration>,
    /// A token that an API answered with 401.
    pub rejected: Option<TokenId>,
}

/// What became of a caller's report that a token was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// A newer token was there.
    AlreadyReplaced,
    /// Too many renewals were forced.
    RateLimited,
    /// The token was retired and replaced.
    Replaced,
    /// The issuer returned the very same token.
    SameToken,
    /// The token is too young to be wrong.
    TooYoung,
}

/// What to do with an ask.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Hand out this token.
    Serve(Arc<AccessToken>, Option<Rejection>),
    /// Refuse.
    Refuse(Refused),
    /// Tell the refresher that the current token was rejected, judge again, and wait for the next snapshot.
    Report(Wish),
    /// Tell the refresher what is wanted and wait for the next snapshot.
    Wait(Wish),
}

/// Why there is no token to hand out.
#[derive(Clone, Debug)]
pub enum Refused {
    /// The last attempt failed and the next is still to come.
    Failing {
        /// What happened.
        record: Arc<FailureRecord>,
        /// When the issuer is asked next.
        next_attempt_at: Option<BootTime>,
    },
    /// The client was removed or replaced while the caller waited.
    Gone,
    /// The caller's deadline passed before a token came.
    Pending,
    /// No token of this issuer is valid for as long as the caller wants.
    Unattainable {
        /// What the caller wants.
        wanted: Duration,
        /// How long a new token lives.
        lifetime: Duration,
        /// When a token that lives longer can be had, if waiting helps.
        retry_in: Option<Duration>,
    },
}

/// What a waiting reader wants of the refresher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// A token that is valid at least until then.
    pub valid_until: BootTime,
    /// This generation and all before it are to be replaced; 0: none.
    pub spoil: u64,
}

/// What a waiting reader remembers between two snapshots.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waiting {
    /// Successful requests when it began to wait; `None` before it has waited.
    pub since_generation: Option<u64>,
    /// It reported the current token, or joined a report of it.
    pub reported: bool,
}

impl Snapshot {
    /// Judges an ask. `spoiled` is the newest generation that was reported as rejected.
    #[must_use]
    pub fn judge(&self, ask: &Ask, waiting: &Waiting, spoiled: u64, now: Moment) -> Verdict {
        let rejection = match self.judge_report(ask, waiting, spoiled, now) {
            Report::Retire(generation) => {
                return Verdict::Report(Wish { valid_until: now.boot.plus(self.margin_now()), spoil: generation });
            }
            Report::Says(rejection) => rejection,
        };
        let wanted = ask.min_validity.unwrap_or_else(|| self.margin_now());
        if let Some(token) = self.token_for(wanted, spoiled, now) {
            return Verdict::Serve(Arc::clone(token), rejection);
        }
        if let Some(wanted) = ask.min_validity
            && let Some(refused) = self.unattainable(wanted, waiting, spoiled, now)
        {
            return Verdict::Refuse(refused);
        }
        if let Some(record) = self.failure.as_ref().filter(|_| !self.starts_again(now)) {
            let refused = Refused::Failing { record: Arc::clone(record), next_attempt_at: self.next_attempt_at };
            return Verdict::Refuse(refused);
        }
        Verdict::Wait(Wish { valid_until: now.boot.plus(wanted), spoil: 0 })
    }

    fn judge_report(&self, ask: &Ask, waiting: &Waiting, spoiled: u64, now: Moment) -> Report {
        let Some(id) = ask.rejected else { return Report::Says(None) };
        let Some(token) = self.token.as_ref() else {
            // Nothing to retire: it has expired or was retired before. What comes next is something else.
            return Report::Says(Some(replaced_by_whom(waiting)));
        };
        if token.id != id {
            return Report::Says(Some(replaced_by_whom(waiting)));
        }
        if token.generation <= spoiled {
            // Retired already; wait with those who reported it, unless the issuer fails.
            return match self.failure {
                Some(_) => Report::Says(Some(Rejection::Replaced)),
                None => Report::Retire(token.generation),
            };
        }
        if waiting.reported {
            return Report::Says(Some(Rejection::SameToken));
        }
        if token.age(now) < policy::TOO_YOUNG {
            return Report::Says(Some(Rejection::TooYoung));
        }
        if !self.forced.permits(now.boot) {
            return Report::Says(Some(Rejection::RateLimited));
        }
        Report::Retire(token.generation)
    }

    /// Whether an attempt follows from somebody's asking: nobody asked for so long that the last failure says nothing
    /// about now, and its rest is over.
    fn starts_again(&self, now: Moment) -> bool {
        self.quiet.is_some() && self.next_attempt_at.is_none_or(|at| at <= now.boot)
    }

    /// Whether waiting for a new token cannot give what is wanted.
    fn unattainable(&self, wanted: Duration, waiting: &Waiting, spoiled: u64, now: Moment) -> Option<Refused> {
        let lifetime = self.lifetime?;
        // Asked and got a new one meanwhile, which is not good enough either.
        let tried = waiting.since_generation.is_some_and(|before| self.generation > before);
        let alive = self.token_for(Duration::ZERO, spoiled, now);
        let refuse = |retry_in| Some(Refused::Unattainable { wanted, lifetime, retry_in });
        match alive {
            _ if wanted > lifetime => refuse(None),
            Some(token) if self.reissues_late => refuse(Some(token.remaining(now))),
            Some(_) if tried => refuse(None),
            _ => None,
        }
    }
}

/// What [`Snapshot::judge_report`] found.
enum Report {
    /// This generation is to be replaced.
    Retire(u64),
    /// Nothing is to be done; this is what to tell the caller.
    Says(Option<Rejection>),
}

fn replaced_by_whom(waiting: &Waiting) -> Rejection {
    if waiting.reported { Rejection::Replaced } else { Rejection::AlreadyReplaced }
}
