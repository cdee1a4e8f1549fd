//! What came of an attempt: a token with its plan, or a failure with its wait.

use std::sync::Arc;

use super::Refresher;
use crate::{
    moment::{BootTime, Moment},
    token::{
        AccessToken, Cause, Failure, FailureRecord, Issued, TokenId,
        backoff::Situation,
        lifetime::{self, Known, Lifetime, Progress},
        policy,
    },
};

impl Refresher {
    /// How long a token lives that has just come.
    ///
    /// # Errors
    /// It has expired.
    pub(super) fn lifetime_of(&self, issued: &Issued, sent: BootTime) -> Result<Lifetime, Failure> {
        match self.known.as_ref().filter(|known| known.value == issued.value) {
            Some(known) => self.terms.policy.lifetime_of_repeat(issued, known, sent),
            None => self.terms.policy.lifetime_of(issued),
        }
    }

    /// Publishes a token.
    pub(super) fn accept(&mut self, issued: Issued, life: Lifetime, sent: Moment, cause: Cause) {
        let now = self.terms.clock.now();
        self.settled = Some(now.boot);
        let cause = std::mem::take(&mut self.run).cause.unwrap_or(cause);
        let told = issued.expires_in.or(issued.jwt_lifetime).is_some();
        let serial = self.serial_of(&issued);
        self.hint = issued.refresh_in;
        let token = AccessToken {
            id: TokenId { epoch: self.epoch, serial },
            generation: self.board.look().generation + 1,
            value: issued.value,
            token_type: issued.token_type,
            scope: issued.scope.unwrap_or_default(),
            sent,
            lifetime: life.length,
            ends: sent.boot.plus(life.length),
            binding: issued.binding,
        };
        let progress = self.known.as_ref().map_or(Progress::New, |known| self.terms.policy.progress(known, &token));
        let before = std::mem::replace(&mut self.progress, progress);
        let stuck = progress == Progress::Same || (progress, before) == (Progress::SameEnd, Progress::SameEnd);
        let late = stuck || self.board.look().reissues_late;
        let known_end = self.remember(&token, told);
        let mut warnings = issued.oddities;
        warnings.extend(life.warning);
        if late {
            warnings.push(REISSUES_LATE.into());
        }
        let planned = self.plan(&token, late, now);
        // Wishes that came during the attempt: whoever made one is woken by what follows and judges anew.
        self.board.wishes.clear_demand();
        self.board.publish(|snapshot| {
            snapshot.generation = token.generation;
            snapshot.told = known_end;
            snapshot.failure = None;
            snapshot.consecutive_failures = 0;
            snapshot.refusals = 0;
            snapshot.next_attempt_at = Some(planned.max(now.boot.plus(policy::FLOOR)));
            if progress == Progress::New || snapshot.lifetime.is_none() {
                // Otherwise the token has only the rest of an older one's life.
                snapshot.lifetime = Some(token.remaining(now));
            }
            snapshot.margin = self.terms.policy.margin(token.lifetime);
            snapshot.reissues_late = late;
            snapshot.secret_in_use = issued.secret_in_use;
            snapshot.warnings = warnings.into();
            match cause {
                Cause::Forced => {}
                Cause::Scheduled => snapshot.forced.cured(),
                _ => snapshot.forced.cured_by_rest(now.boot),
            }
            snapshot.token = Some(Arc::new(token));
        });
        self.remains_changed();
    }

    fn plan(&mut self, token: &AccessToken, late: bool, now: Moment) -> BootTime {
        let sample = self.jitter.f64();
        if late {
            lifetime::late_refresh_at(token, now, sample)
        } else {
            self.terms.policy.refresh_at(token, self.hint, sample)
        }
    }

    /// A value that is known keeps its serial: ids tell values apart.
    fn serial_of(&self, issued: &Issued) -> u64 {
        match &self.known {
            Some(known) if known.value == issued.value => known.serial,
            Some(known) => known.serial + 1,
            None => 1,
        }
    }

    /// Returns whether the issuer has ever said when this token ends.
    fn remember(&mut self, token: &AccessToken, told: bool) -> bool {
        let first = self.known.take().filter(|known| known.value == token.value);
        let (sent, lifetime, before) = match &first {
            Some(known) => (known.sent, known.lifetime, known.told),
            None => (token.sent.boot, token.lifetime, false),
        };
        self.known = Some(Known {
            value: token.value.clone(),
            serial: token.id.serial,
            sent,
            lifetime,
            ends: token.ends,
            told: told || before,
        });
        told || before
    }

    /// Publishes a failure.
    pub(super) fn fail(&mut self, failure: Failure, cause: Cause) {
        let now = self.terms.clock.now();
        let spoiled = self.board.wishes.spoiled();
        let sample = self.jitter.f64();
        self.run.cause.get_or_insert(cause);
        let counter = if failure.kind.needs_a_person() { &mut self.run.refusals } else { &mut self.run.passing };
        *counter = counter.saturating_add(1);
        let failures = *counter;
        let refusals = self.run.refusals;
        let policy = &self.terms.policy;
        self.board.publish(|snapshot| {
            snapshot.consecutive_failures = snapshot.consecutive_failures.saturating_add(1);
            snapshot.refusals = refusals;
            let usable = snapshot.usable_token(spoiled, now);
            let situation = Situation {
                failures,
                usable_for: usable.map(|token| token.remaining(now).saturating_sub(snapshot.margin_now())),
                worked_before: snapshot.generation > 0,
                sample,
            };
            snapshot.next_attempt_at = Some(now.boot.plus(policy.wait_after(&failure, &situation)));
            snapshot.failure = Some(Arc::new(FailureRecord { failure, at: now }));
        });
        self.remains_changed();
    }
}

/// A warning in the status.
const REISSUES_LATE: &str =
    "the issuer returns the same token until it expires; it is asked shortly before and after that (reissue=late)";
