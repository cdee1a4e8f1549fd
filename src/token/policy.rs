//! The numbers of the refresh policy, with their defaults.

use std::time::Duration;

/// When a client's token is renewed, and how failures are paced.
///
/// One value is shared by all clients with the same numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct RefreshPolicy {
    /// Earliest proactive refresh, as a fraction of the lifetime.
    pub earliest: f64,
    /// Latest proactive refresh, as a fraction of the lifetime.
    pub latest: f64,
    /// The least validity of a token that is handed out when the caller asks for nothing; never more than a
    /// tenth of the lifetime.
    pub min_validity: Duration,
    /// Lifetime of a token whose issuer does not say.
    pub assumed_lifetime: Duration,
    /// Longest wait between two tries after passing failures while a token is usable.
    pub retry_cap: Duration,
    /// The same while there is none.
    pub retry_cap_without_token: Duration,
    /// Longest wait between two tries after a refusal.
    pub refused_cap: Duration,
    /// Longest wait that the issuer's `Retry-After` can ask for.
    pub retry_after_cap: Duration,
    /// Fetch the first token at start (true) or when the first caller asks (false).
    pub prefetch: bool,
    /// Stop renewing when nobody asked for this long.
    pub idle_after: Option<Duration>,
    /// Token requests per UTC day after which only callers start new ones.
    pub budget_per_day: Option<u32>,
}

impl Default for RefreshPolicy {
    fn default() -> Self {
        Self {
            earliest: 0.70,
            latest: 0.80,
            min_validity: Duration::from_secs(30),
            assumed_lifetime: Duration::from_secs(300),
            retry_cap: Duration::from_secs(60),
            retry_cap_without_token: Duration::from_secs(15),
            refused_cap: Duration::from_secs(15 * 60),
            retry_after_cap: Duration::from_secs(15 * 60),
            prefetch: true,
            idle_after: None,
            budget_per_day: None,
        }
    }
}

/// Least time between two successful requests of one client, forced ones included. Keeps a broken caller or an
/// issuer whose tokens are dead on arrival from making a loop.
pub const FLOOR: Duration = Duration::from_secs(5);

/// A token younger than this is not retired on a 401: a resource server whose clock is behind refuses a fresh
/// token for a moment.
pub const TOO_YOUNG: Duration = Duration::from_secs(5);

/// Least time between two renewals forced by reports of a 401.
pub const FORCED_EVERY: Duration = Duration::from_secs(30);

/// After [`FORCED_MOST`] forced renewals within this time the next ones wait for the regular refresh.
pub const FORCED_WINDOW: Duration = Duration::from_secs(10 * 60);

/// See [`FORCED_WINDOW`].
pub const FORCED_MOST: u8 = 3;

/// First requests are spread over this time, so that a fleet's start is not felt by its issuer.
pub const START_SPREAD: Duration = Duration::from_secs(2);

/// Token requests under way at one issuer host at a time.
pub const PER_ISSUER: usize = 4;
