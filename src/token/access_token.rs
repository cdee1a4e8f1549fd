//! A token: as the issuer gave it, and as the broker serves it.

use std::{
    borrow::Cow,
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use super::Binding;
use crate::{
    moment::{BootTime, Moment},
    sensitive::Sensitive,
};

/// What the issuer answered, before the broker judges it.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The access token.
    pub value: Sensitive,
    /// The authentication scheme, normally `Bearer`.
    pub token_type: Cow<'static, str>,
    /// The granted scope (RFC 6749 section 3.3), if the issuer said it.
    pub scope: Option<Box<str>>,
    /// `expires_in` as answered; `None` when missing, null, zero, negative or unreadable. Zero when the answer told a
    /// point in time instead, and that is past.
    pub expires_in: Option<Duration>,
    /// Time from the issuer's now until the JWT's `exp`, if the token is a readable JWT. Zero when it is past.
    pub jwt_lifetime: Option<Duration>,
    /// The issuer's hint when to refresh (`refresh_in`).
    pub refresh_in: Option<Duration>,
    /// Which of several secrets worked, from 1; 0 when no secret was used.
    pub secret_in_use: u8,
    /// What was odd about the answer and which key to set, for a person.
    pub oddities: Vec<Box<str>>,
    /// The key that it is bound to, if it is.
    pub binding: Option<Binding>,
}

/// Tells two tokens of a client apart; opaque to callers and safe to log.
///
/// The epoch is drawn at random for each start of a client's refresher, so that an id from before a restart
/// never meets a new token by accident; the serial rises with each new token. Neither says anything about the
/// token's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenId {
    /// Random for each start.
    pub epoch: u64,
    /// Rises with each new token value.
    pub serial: u64,
}

impl TokenId {
    /// The id as callers see it: `{epoch:016x}-{serial}`. Written by hand, as it is part of every answer.
    #[must_use]
    pub fn text(self) -> IdText {
        let mut text = IdText { bytes: [0; LONGEST_ID], start: LONGEST_ID };
        let mut serial = self.serial;
        loop {
            text.put(b'0' + u8::try_from(serial % 10).unwrap_or_default());
            serial /= 10;
            if serial == 0 {
                break;
            }
        }
        text.put(b'-');
        for shift in 0..16 {
            let nibble = u8::try_from(self.epoch >> (4 * shift) & 0xf).unwrap_or_default();
            text.put(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
        }
        text
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

/// The text of a [`TokenId`], without an allocation. Written from its end.
#[derive(Clone, Copy, Debug)]
pub struct IdText {
    bytes: [u8; LONGEST_ID],
    start: usize,
}

impl IdText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes.get(self.start..).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    fn put(&mut self, byte: u8) {
        self.start = self.start.saturating_sub(1);
        if let Some(place) = self.bytes.get_mut(self.start) {
            *place = byte;
        }
    }
}

/// Sixteen hexadecimal digits, a hyphen, and the decimal digits of any number of 64 bits.
const LONGEST_ID: usize = 16 + 1 + 20;

impl FromStr for TokenId {
    type Err = BadTokenId;

    fn from_str(text: &str) -> Result<Self, BadTokenId> {
        let (epoch, serial) = text.split_once('-').ok_or(BadTokenId)?;
        let digits = |part: &str, known: fn(&u8) -> bool| !part.is_empty() && part.as_bytes().iter().all(known);
        if epoch.len() != 16 || !digits(epoch, u8::is_ascii_hexdigit) || !digits(serial, u8::is_ascii_digit) {
            return Err(BadTokenId);
        }
        Ok(Self {
            epoch: u64::from_str_radix(epoch, 16).map_err(|_| BadTokenId)?,
            serial: serial.parse().map_err(|_| BadTokenId)?,
        })
    }
}

/// The text was never a token id of this broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTokenId;

impl fmt::Display for BadTokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a token id; pass the `id` of a token as it came")
    }
}

impl std::error::Error for BadTokenId {}

/// A token as the broker serves it: stamped by the refresher, immutable, shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// Tells it from other tokens.
    pub id: TokenId,
    /// Which successful request of its client brought or confirmed it. Unlike the id's serial it also rises
    /// when the issuer returns the same token again.
    pub generation: u64,
    /// The access token.
    pub value: Sensitive,
    /// The authentication scheme.
    pub token_type: Cow<'static, str>,
    /// The granted scope; empty when the issuer did not say.
    pub scope: Box<str>,
    /// When the request that brought it was sent. Life counts from here, which errs on the safe side.
    pub sent: Moment,
    /// How long it lives from `sent`.
    pub lifetime: Duration,
    /// The end of its life on the boot-time clock: `lifetime` after `sent`, or earlier ([`AccessToken::aged`]).
    pub ends: BootTime,
    /// The key that it is bound to, if it is.
    pub binding: Option<Binding>,
}

impl AccessToken {
    /// How long it is still valid: the shorter of what the two clocks say, zero when it has expired.
    ///
    /// The boot-time clock alone would miss a pause that it does not count; the wall clock alone would be
    /// fooled by being set back.
    #[must_use]
    pub fn remaining(&self, now: Moment) -> Duration {
        let by_boot = self.ends.since(now.boot);
        let by_wall = (self.sent.wall + self.lifetime).duration_since(now.wall).unwrap_or_default();
        by_boot.min(by_wall)
    }

    /// The end of its life as the wall clock will show it, for people and for programs that look at nothing else.
    ///
    /// Earlier than what the issuer said when the wall clock was set back since: by that clock, as it is now, the token
    /// ends earlier.
    #[must_use]
    pub fn expires_at_wall(&self, now: Moment) -> SystemTime {
        let said = self.sent.wall + self.lifetime;
        let by_boot = now.wall_at(self.ends);
        // The clocks drift apart by less than this in the life of any token; a time that trembles would look like news.
        if by_boot + DRIFT < said { by_boot } else { said }
    }

    /// The same token, older by what the wall clock has gained on the boot-time clock; `None` if it has not.
    ///
    /// A machine that was paused without counting it shows that in its wall clock alone, until somebody sets that
    /// back. What has been seen once is kept, so that the token does not come back to life then.
    #[must_use]
    pub fn aged(&self, now: Moment) -> Option<Self> {
        let left = self.remaining(now);
        let gained = self.ends.since(now.boot).saturating_sub(left);
        (gained >= DRIFT).then(|| Self { ends: now.boot.plus(left), ..self.clone() })
    }

    /// How old it is.
    #[must_use]
    pub fn age(&self, now: Moment) -> Duration {
        now.boot.since(self.sent.boot)
    }
}

/// A clock was set if the two have moved against each other by more than this.
const DRIFT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_text() {
        let id = TokenId { epoch: 0xfeed, serial: 12 };
        assert_eq!(id.to_string(), "000000000000feed-12");
        assert_eq!(TokenId { epoch: u64::MAX, serial: 0 }.to_string(), "ffffffffffffffff-0");
        let longest = TokenId { epoch: 0x0123_4567_89ab_cdef, serial: u64::MAX };
        assert_eq!(longest.to_string(), format!("{:016x}-{}", longest.epoch, longest.serial));
        assert_eq!("000000000000feed-12".parse(), Ok(id));
        for bad in ["", "x", "feed-12", "000000000000feed-", "000000000000feed-+2", "00000000000+feed-2", "-"] {
            assert_eq!(bad.parse::<TokenId>(), Err(BadTokenId), "{bad}");
        }
    }

    #[test]
    fn remaining_believes_the_more_pessimistic_clock() {
        let at = |boot, wall| Moment {
            boot: BootTime::after_boot(Duration::from_secs(boot)),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(wall),
        };
        let token = AccessToken {
            id: TokenId { epoch: 1, serial: 1 },
            generation: 1,
            value: Sensitive::new("t"),
            token_type: Cow::Borrowed("Bearer"),
            scope: "".into(),
            sent: at(100, 1_000),
            lifetime: Duration::from_secs(60),
            ends: BootTime::after_boot(Duration::from_secs(160)),
            binding: None,
        };
        assert_eq!(token.remaining(at(110, 1_010)), Duration::from_secs(50));
        assert_eq!(token.remaining(at(110, 1_055)), Duration::from_secs(5), "paused without boot time");
        assert_eq!(token.remaining(at(110, 500)), Duration::from_secs(50), "wall clock set back");
        assert_eq!(token.remaining(at(160, 1_010)), Duration::ZERO, "expired by boot time");
        assert_eq!(token.remaining(at(110, 9_999)), Duration::ZERO, "expired by wall time");
        assert!(token.aged(at(110, 1_011)).is_none(), "drift");
        let aged = token.aged(at(110, 1_040)).unwrap();
        assert_eq!(aged.remaining(at(110, 1_040)), Duration::from_secs(20));
        assert_eq!(aged.remaining(at(110, 500)), Duration::from_secs(20), "wall clock set back after a pause");
        assert!(aged.aged(at(110, 1_040)).is_none(), "once");
        let ends = |boot, wall| token.expires_at_wall(at(boot, wall)).duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(ends(110, 1_010).as_secs(), 1_060);
        assert_eq!(ends(110, 1_011).as_secs(), 1_060, "drift");
        assert_eq!(ends(110, 500).as_secs(), 550, "wall clock set back");
        assert_eq!(ends(110, 1_055).as_secs(), 1_060, "wall clock set forward");
    }
}
