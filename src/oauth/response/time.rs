//! What time it is for the issuer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Answer, lifetime};

/// The issuer's now, as time since the Unix epoch, and how far it is from the local one.
pub(super) struct IssuerTime {
    now: Duration,
    sent: Duration,
    received: Duration,
}

impl IssuerTime {
    /// The `Date` header if there is a believable one, else the local wall time at receipt.
    ///
    /// Points in time in an answer are made by the issuer's clock and are to be compared with it. `Date` has no
    /// fractions and is written before the answer travels, so what is left until a point may come out a second
    /// too long, less the time of flight; lifetimes count from the moment the request was sent, which takes back
    /// as much or more.
    pub(super) fn of(answer: &Answer<'_>) -> Self {
        let received = since_epoch(answer.received);
        let believable = |date: &Duration| (EARLIEST..LATEST).contains(date);
        let date = answer.date.and_then(http_date).filter(believable);
        Self { now: date.unwrap_or(received), sent: since_epoch(answer.sent), received }
    }

    /// How long it is until a point (time since the epoch); zero when it is past.
    pub(super) fn until(&self, point: Duration) -> Duration {
        point.saturating_sub(self.now)
    }

    /// The wait that `Retry-After` asks for (RFC 9110 section 10.2.3): seconds, with or without a fraction, or a
    /// date. `None` if there is none, or one that makes no sense or is over.
    pub(super) fn wait(&self, retry_after: Option<&str>) -> Option<Duration> {
        let text = retry_after?.trim();
        match text.parse::<f64>() {
            Ok(seconds) => lifetime::seconds(seconds).or((seconds == 0.0).then_some(Duration::ZERO)),
            Err(_) => http_date(text).map(|date| self.until(date)).filter(|wait| !wait.is_zero()),
        }
    }

    /// What is odd about the issuer's clock, if it is more than 30 s off.
    pub(super) fn oddity(&self) -> Option<String> {
        let ahead = self.now.saturating_sub(self.received);
        let behind = self.sent.saturating_sub(self.now);
        let (off, way) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
        (off > TOLERATED).then(|| {
            format!("the issuer's clock is {} s {way} this machine's; check which of them is wrong", off.as_secs())
        })
    }
}

fn http_date(text: &str) -> Option<Duration> {
    httpdate::parse_http_date(text.trim()).ok().map(since_epoch)
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A `Date` before 2020 or after 2100 is that of a machine without a clock.
const EARLIEST: Duration = Duration::from_secs(1_577_836_800);
const LATEST: Duration = Duration::from_secs(4_102_444_800);
/// Clocks that agree this well are not odd.
const TOLERATED: Duration = Duration::from_secs(30);
