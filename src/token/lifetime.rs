//! How long a token lives and when it is renewed.

use std::time::Duration;

use super::{AccessToken, Failure, FailureKind, Issued, RefreshPolicy};
use crate::moment::{BootTime, Moment};

/// How long a token is taken to live, and what is odd about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// From the moment the request was sent.
    pub length: Duration,
    /// For a person: what had to be guessed, and which key to set.
    pub warning: Option<Box<str>>,
}

impl RefreshPolicy {
    /// Judges the lifetime of what the issuer gave: the smaller of `expires_in` and the JWT's `exp`, or the
    /// assumed lifetime if there is neither; cut to a day if it is implausibly long.
    ///
    /// # Errors
    /// The token had expired when it was issued.
    pub fn lifetime_of(&self, issued: &Issued) -> Result<Lifetime, Failure> {
        let told = match (issued.expires_in, issued.jwt_lifetime) {
            (Some(answer), Some(claim)) => Some(answer.min(claim)),
            (answer, claim) => answer.or(claim),
        };
        match told {
            Some(length) if length.is_zero() => Err(Failure::new(
                FailureKind::Malformed,
                "the issuer returned a token that has already expired; compare its clock with this machine's",
            )),
            Some(length) if length > IMPLAUSIBLE => Ok(Lifetime { length: CUT_TO, warning: Some(implausible(length)) }),
            Some(length) if length < SHORT => Ok(Lifetime { length, warning: Some(short(length)) }),
            Some(length) => Ok(Lifetime { length, warning: None }),
            None => Ok(Lifetime { length: self.assumed_lifetime, warning: Some(self.assumed()) }),
        }
    }

    /// How much validity a token must have left to be handed out to a caller that asks for nothing.
    #[must_use]
    pub fn margin(&self, lifetime: Duration) -> Duration {
        self.min_validity.min(lifetime / 10)
    }

    /// The one draw of a new token's proactive refresh. `sample` is uniform in [0, 1).
    ///
    /// The issuer's hint if it makes sense, less up to a tenth (5 min at most); half the life of a very short
    /// token; else between the earliest and the latest fraction.
    #[must_use]
    pub fn refresh_at(&self, token: &AccessToken, hint: Option<Duration>, sample: f64) -> BootTime {
        let lifetime = token.lifetime;
        let after = match hint {
            Some(hint) if !hint.is_zero() && hint < lifetime => {
                hint.saturating_sub((hint / 10).min(HINT_SPREAD).mul_f64(sample))
            }
            _ if lifetime < SHORT => lifetime / 2,
            _ => lifetime.mul_f64(self.earliest + (self.latest - self.earliest) * sample),
        };
        token.sent.boot.plus(after)
    }

    fn assumed(&self) -> Box<str> {
        format!(
            "the issuer does not say how long its tokens live; {} assumed (set assumed_lifetime)",
            humantime::format_duration(self.assumed_lifetime)
        )
        .into()
    }
}

/// When to ask an issuer that returns the same token until it dies: shortly before its end, and when that
/// brought the same one again, just after. `sample` is uniform in [0, 1).
#[must_use]
pub fn late_refresh_at(token: &AccessToken, now: Moment, sample: f64) -> BootTime {
    let end = token.expires_at();
    let before_end = end.minus(BEFORE_END);
    if now.boot < before_end { before_end } else { end.plus(AFTER_END.mul_f64(sample)) }
}

/// What a successful request brought, compared with the token before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A new token with a new end.
    New,
    /// The same token again.
    Same,
    /// Another token, asked for well after the first, that dies at the same time. Once, that may be chance.
    SameEnd,
}

/// Compares two tokens of one client.
#[must_use]
pub fn progress(old: &AccessToken, new: &AccessToken) -> Progress {
    let (before, after) = (old.expires_at(), new.expires_at());
    let moved = after.since(before).max(before.since(after));
    let apart = new.sent.boot.since(old.sent.boot);
    match () {
        () if old.value == new.value => Progress::Same,
        () if moved < PROGRESS && apart >= 2 * PROGRESS => Progress::SameEnd,
        () => Progress::New,
    }
}

fn implausible(length: Duration) -> Box<str> {
    format!(
        "a lifetime of {} is implausible; 1 day is used (does the issuer mean milliseconds? set expires_in_unit)",
        humantime::format_duration(Duration::from_secs(length.as_secs()))
    )
    .into()
}

fn short(length: Duration) -> Box<str> {
    format!("tokens live only {}; renewed at half of it", humantime::format_duration(length)).into()
}

/// A longer life than this is not believed.
const IMPLAUSIBLE: Duration = Duration::from_secs(30 * 24 * 3_600);
/// What an implausible life is cut to.
const CUT_TO: Duration = Duration::from_secs(24 * 3_600);
/// A shorter life than this is renewed at half.
const SHORT: Duration = Duration::from_secs(10);
/// The most that jitter takes off an issuer's hint.
const HINT_SPREAD: Duration = Duration::from_secs(300);
/// First late try, before the end of life.
const BEFORE_END: Duration = Duration::from_secs(10);
/// Second late try, spread over this after the end of life.
const AFTER_END: Duration = Duration::from_secs(1);
/// An expiry that moves by less than this did not move.
const PROGRESS: Duration = Duration::from_secs(5);

#[cfg(test)]
pub(crate) mod tests {
    use std::{borrow::Cow, time::SystemTime};

    use proptest::prelude::*;

    use super::*;
    use crate::{sensitive::Sensitive, token::TokenId};

    pub(crate) fn moment(boot: u64) -> Moment {
        Moment {
            boot: BootTime::after_boot(Duration::from_secs(boot)),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + boot),
        }
    }

    pub(crate) fn issued(value: &str, expires_in: Option<u64>) -> Issued {
        Issued {
            value: Sensitive::new(value),
            token_type: Cow::Borrowed("Bearer"),
            scope: None,
            expires_in: expires_in.map(Duration::from_secs),
            jwt_lifetime: None,
            refresh_in: None,
            secret_in_use: 1,
            oddities: Vec::new(),
        }
    }

    pub(crate) fn token(sent: u64, lifetime: u64) -> AccessToken {
        AccessToken {
            id: TokenId { epoch: 1, serial: 1 },
            generation: 1,
            value: Sensitive::new("token"),
            token_type: Cow::Borrowed("Bearer"),
            scope: "".into(),
            sent: moment(sent),
            lifetime: Duration::from_secs(lifetime),
        }
    }

    fn length_of(expires_in: Option<u64>, jwt: Option<u64>) -> Result<(u64, bool), FailureKind> {
        let issued = Issued { jwt_lifetime: jwt.map(Duration::from_secs), ..issued("t", expires_in) };
        RefreshPolicy::default()
            .lifetime_of(&issued)
            .map(|life| (life.length.as_secs(), life.warning.is_some()))
            .map_err(|failure| failure.kind)
    }

    #[test]
    fn the_smaller_lifetime_counts() {
        assert_eq!(length_of(Some(3_600), None), Ok((3_600, false)));
        assert_eq!(length_of(Some(3_600), Some(900)), Ok((900, false)));
        assert_eq!(length_of(Some(600), Some(900)), Ok((600, false)));
        assert_eq!(length_of(None, Some(900)), Ok((900, false)));
    }

    #[test]
    fn an_unknown_lifetime_is_assumed_with_a_warning() {
        assert_eq!(length_of(None, None), Ok((300, true)));
    }

    #[test]
    fn implausible_lifetimes_are_cut_and_short_ones_noted() {
        assert_eq!(length_of(Some(3_600_000), None), Ok((86_400, true)));
        assert_eq!(length_of(Some(30 * 86_400), None), Ok((30 * 86_400, false)));
        assert_eq!(length_of(Some(3_600_000), Some(3_600)), Ok((3_600, false)));
        assert_eq!(length_of(Some(9), None), Ok((9, true)));
    }

    #[test]
    fn a_token_that_is_dead_on_arrival_is_a_failure() {
        assert_eq!(length_of(Some(3_600), Some(0)), Err(FailureKind::Malformed));
    }

    #[test]
    fn the_refresh_point_is_a_fraction_of_life() {
        let policy = RefreshPolicy::default();
        let after = |lifetime, hint: Option<u64>, sample| {
            let at = policy.refresh_at(&token(1_000, lifetime), hint.map(Duration::from_secs), sample);
            at.since(moment(1_000).boot).as_secs_f64()
        };
        assert!((after(3_600, None, 0.0) - 2_520.0).abs() < 1e-6);
        assert!((after(3_600, None, 0.5) - 2_700.0).abs() < 1e-6);
        assert!((after(8, None, 0.9) - 4.0).abs() < 1e-6);
        assert!((after(3_600, Some(1_000), 0.5) - 950.0).abs() < 1e-6);
        assert!((after(86_400, Some(43_200), 0.5) - 43_050.0).abs() < 1e-6, "at most 5 min off");
        assert!((after(3_600, Some(3_600), 0.0) - 2_520.0).abs() < 1e-6, "a hint beyond life is ignored");
        assert!((after(3_600, Some(0), 0.0) - 2_520.0).abs() < 1e-6);
    }

    #[test]
    fn late_issuers_are_asked_before_and_after_the_end() {
        let token = token(1_000, 600);
        assert_eq!(late_refresh_at(&token, moment(1_001), 0.5), moment(1_590).boot);
        assert_eq!(late_refresh_at(&token, moment(1_590), 0.0), moment(1_600).boot);
        assert_eq!(late_refresh_at(&tests::token(1_000, 8), moment(1_001), 0.0), moment(1_008).boot);
        let after = late_refresh_at(&token, moment(1_595), 0.5);
        assert_eq!(after.since(moment(1_600).boot), Duration::from_millis(500));
    }

    #[test]
    fn progress_is_a_new_token_with_a_new_end() {
        let named = |name: &str, sent, lifetime| AccessToken { value: Sensitive::new(name), ..token(sent, lifetime) };
        let old = named("a", 1_000, 600);
        let after = |name, sent, lifetime| progress(&old, &named(name, sent, lifetime));
        assert_eq!(after("a", 1_450, 150), Progress::Same, "with what is left of its life");
        assert_eq!(after("b", 1_450, 152), Progress::SameEnd);
        assert_eq!(after("b", 1_450, 600), Progress::New);
        assert_eq!(after("b", 1_450, 60), Progress::New, "the issuer shortened its lifetimes");
        assert_eq!(after("b", 1_004, 600), Progress::New, "two requests in a row say nothing");
    }

    proptest! {
        #[test]
        fn a_refresh_comes_before_expiry(lifetime in 1_u64..2_600_000, hint in proptest::option::of(0_u64..3_000_000),
                sample in 0.0..1.0_f64) {
            let token = token(50, lifetime);
            let at = RefreshPolicy::default().refresh_at(&token, hint.map(Duration::from_secs), sample);
            prop_assert!(at < token.expires_at());
            prop_assert!(at >= token.sent.boot);
        }

        #[test]
        fn the_margin_is_never_more_than_a_tenth(lifetime in 1_u64..2_600_000) {
            let lifetime = Duration::from_secs(lifetime);
            let margin = RefreshPolicy::default().margin(lifetime);
            prop_assert!(margin <= lifetime / 10 && margin <= Duration::from_secs(30));
        }
    }
}
