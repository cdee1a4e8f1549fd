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
