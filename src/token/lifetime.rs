//! How long a token lives and when it is renewed.

use std::time::Duration;

use super::{AccessToken, Failure, FailureKind, Issued, RefreshPolicy};
use crate::{
    moment::{BootTime, Moment},
    sensitive::Sensitive,
};

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

    /// The lifetime of a token that was issued before and is now returned again.
    ///
    /// Its first answer said when it ends, and a repetition does not move that end: an issuer that counts whole
    /// seconds down to nothing, or one that repeats an old answer, would otherwise make a dead token look alive. Once
    /// that end has passed, an issuer that explicitly tells a further lifetime is believed.
    ///
    /// # Errors
    /// The token has expired.
    pub fn lifetime_of_repeat(&self, issued: &Issued, known: &Known, sent: BootTime) -> Result<Lifetime, Failure> {
        let told = issued.expires_in.or(issued.jwt_lifetime).is_some();
        let left = known.ends.since(sent);
        match (known.told, told) {
            (true, false) if left.is_zero() => Err(Failure::new(
                FailureKind::Malformed,
                "the issuer returned the token that has just expired; it is asked again",
            )),
            (true, false) => Ok(Lifetime { length: left, warning: None }),
            (true, true) if !left.is_zero() => {
                let life = self.lifetime_of(issued)?;
                Ok(Lifetime { length: life.length.min(left), ..life })
            }
            _ => self.lifetime_of(issued),
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
    let end = token.ends;
    let before_end = end.minus(BEFORE_END);
    if now.boot < before_end { before_end } else { end.plus(AFTER_END.mul_f64(sample)) }
}

/// What is remembered of a client's newest token, even when it has expired and been let go.
#[derive(Clone, Debug)]
pub struct Known {
    /// The token.
    pub value: Sensitive,
    /// The serial in its id.
    pub serial: u64,
    /// When the request was sent that first brought it.
    pub sent: BootTime,
    /// How long it lived from then on.
    pub lifetime: Duration,
    /// When it ends.
    pub ends: BootTime,
    /// Whether the issuer said so. Otherwise its life was assumed, and is assumed anew with each answer.
    pub told: bool,
}

/// What a successful request brought, compared with the token before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A new token with a new end.
    New,
    /// The same token again.
    Same,
    /// The same token again, so early in its life that this says nothing about later.
    SameEarly,
    /// Another token, asked for well after the first, that dies at the same time. Once, that may be chance.
    SameEnd,
}

impl RefreshPolicy {
    /// Compares a token with the one before it.
    #[must_use]
    pub fn progress(&self, old: &Known, new: &AccessToken) -> Progress {
        let (before, after) = (old.ends, new.ends);
        let moved = after.since(before).max(before.since(after));
        let apart = new.sent.boot.since(old.sent);
        match () {
            () if old.value == new.value && apart < old.lifetime.mul_f64(self.earliest) => Progress::SameEarly,
            () if old.value == new.value => Progress::Same,
            () if moved < PROGRESS && apart >= 2 * PROGRESS => Progress::SameEnd,
            () => Progress::New,
        }
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
    use crate::token::TokenId;

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
            binding: None,
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
            ends: moment(sent + lifetime).boot,
            binding: None,
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

    /// A token `a` of 600 s, first brought by a request sent at 1000.
    fn known(told: bool) -> Known {
        let (sent, lifetime) = (moment(1_000).boot, Duration::from_secs(600));
        Known { value: Sensitive::new("a"), serial: 1, sent, lifetime, ends: sent.plus(lifetime), told }
    }

    #[test]
    fn progress_is_a_new_token_with_a_new_end() {
        let after = |name: &str, sent, lifetime| {
            let new = AccessToken { value: Sensitive::new(name), ..token(sent, lifetime) };
            RefreshPolicy::default().progress(&known(true), &new)
        };
        assert_eq!(after("a", 1_450, 150), Progress::Same, "with what is left of its life");
        assert_eq!(after("a", 1_060, 540), Progress::SameEarly, "a cache in front of the issuer may do that");
        assert_eq!(after("b", 1_450, 152), Progress::SameEnd);
        assert_eq!(after("b", 1_450, 600), Progress::New);
        assert_eq!(after("b", 1_450, 60), Progress::New, "the issuer shortened its lifetimes");
        assert_eq!(after("b", 1_004, 600), Progress::New, "two requests in a row say nothing");
    }

    #[test]
    fn a_repeated_token_ends_when_it_was_first_said_to_end() {
        let policy = RefreshPolicy::default();
        let life = |told: bool, expires_in, sent| {
            let life = policy.lifetime_of_repeat(&issued("a", expires_in), &known(told), moment(sent).boot);
            life.map(|life| life.length.as_secs()).map_err(|failure| failure.kind)
        };
        assert_eq!(life(true, Some(150), 1_450), Ok(150));
        assert_eq!(life(true, Some(140), 1_450), Ok(140), "earlier is believed");
        assert_eq!(life(true, Some(600), 1_450), Ok(150), "an old answer repeated");
        assert_eq!(life(true, None, 1_590), Ok(10), "`expires_in: 0` is no lifetime to assume");
        assert_eq!(life(true, None, 1_600), Err(FailureKind::Malformed));
        assert_eq!(life(true, Some(600), 1_600), Ok(600), "the issuer says that it lives on");
        assert_eq!(life(false, None, 1_450), Ok(300), "never told, assumed again");
    }

    proptest! {
        #[test]
        fn a_refresh_comes_before_expiry(lifetime in 1_u64..2_600_000, hint in proptest::option::of(0_u64..3_000_000),
                sample in 0.0..1.0_f64) {
            let token = token(50, lifetime);
            let at = RefreshPolicy::default().refresh_at(&token, hint.map(Duration::from_secs), sample);
            prop_assert!(at < token.ends);
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
