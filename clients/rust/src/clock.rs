//! The wall clock, which decides whether a token is still good.

use std::time::SystemTime;

/// The time now.
#[cfg(not(test))]
#[expect(clippy::disallowed_methods, reason = "the one place where it is read")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// A time that stands still and moves on with tokio's.
#[cfg(test)]
pub(crate) fn now() -> SystemTime {
    use std::{sync::OnceLock, time::Duration};
    use tokio::time::Instant;

    static BEGAN: OnceLock<std::time::Instant> = OnceLock::new();
    let began = Instant::from_std(*BEGAN.get_or_init(|| Instant::now().into_std()));
    // Later than any clock that a test has paused before.
    SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000) + (Instant::now() + LEEWAY).duration_since(began)
}

/// How much earlier than another test's clock one may have been paused.
#[cfg(test)]
const LEEWAY: std::time::Duration = std::time::Duration::from_secs(1_000_000);
