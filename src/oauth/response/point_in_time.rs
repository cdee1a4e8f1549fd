//! Points in time as issuers write them: epoch seconds or milliseconds, ISO 8601, `MM/dd/yyyy HH:mm:ss`.

use std::time::{Duration, UNIX_EPOCH};

use super::{fields::Value, lifetime};

/// Reads a point in time, as time since the Unix epoch. Without a zone it is UTC; fractions of a second are
/// dropped from texts, which errs on the safe side.
///
/// `None` for what is in no known notation, and for points before 1973: those are lifetimes in the wrong field, or
/// the zero of somebody's clock.
pub(super) fn read(value: &Value) -> Option<Duration> {
    let point = match (lifetime::number(value), value) {
        (Some(number), _) => of_number(number),
        (None, Value::Text(text)) => of_text(text.trim()),
        _ => None,
    };
    point.filter(|point| *point >= EARLIEST)
}

fn of_number(number: f64) -> Option<Duration> {
    // As seconds, the smallest of these would be in the year 33 658; as milliseconds it is in 2001.
    lifetime::seconds(if number < MILLISECONDS_FROM { number } else { number / 1_000.0 })
}

fn of_text(text: &str) -> Option<Duration> {
    if let Ok(time) = httpdate::parse_http_date(text) {
        return time.duration_since(UNIX_EPOCH).ok();
    }
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let (time, zone) = split_zone(rest.trim());
    let seconds = days_since_epoch(date)? * 86_400 + seconds_of_day(time)? - offset(zone.trim())?;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// Splits off `Z`, `UTC`, `GMT`, `+hh:mm`, `-hhmm` and the like.
fn split_zone(text: &str) -> (&str, &str) {
    let start = text.find(['+', '-', 'Z', 'z', 'U', 'G']).unwrap_or(text.len());
    text.split_at_checked(start).unwrap_or((text, ""))
}

/// Seconds east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    if ["", "Z", "z", "UTC", "GMT"].contains(&zone) {
        return Some(0);
    }
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None => digits.split_at_checked(2)?,
    };
    let minutes = if minutes.is_empty() { 0 } else { number(minutes, 0..60)? };
    Some(sign * (number(hours, 0..24)? * 3_600 + minutes * 60))
}

/// `HH:mm:ss`, with a fraction or a noon mark after it.
fn seconds_of_day(time: &str) -> Option<i64> {
    let time = time.trim();
    let (clock, noon) = time.split_once(' ').unwrap_or((time, ""));
    let mut parts = clock.splitn(3, ':');
    let hours = number(parts.next()?, 0..24)?;
    let minutes = number(parts.next()?, 0..60)?;
    let seconds = parts.next().map_or("0", |text| text.split(['.', ',']).next().unwrap_or_default());
    // 60 is a leap second.
    let seconds = number(seconds, 0..61)?;
    let hours = match noon.trim().to_ascii_uppercase().as_str() {
        "AM" => hours % 12,
        "PM" if hours < 12 => hours + 12,
        "" | "PM" => hours,
        _ => return None,
    };
    Some(hours * 3_600 + minutes * 60 + seconds)
}

/// `yyyy-MM-dd` or `MM/dd/yyyy`.
fn days_since_epoch(date: &str) -> Option<i64> {
    let american = date.contains('/');
    let mut parts = date.splitn(3, if american { '/' } else { '-' });
    let (first, second, third) = (parts.next()?, parts.next()?, parts.next()?);
    let (year, month, day) = if american { (third, first, second) } else { (first, second, third) };
    civil_day(number(year, 1970..10_000)?, number(month, 1..13)?, number(day, 1..32)?)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. The year begins in March, so that the leap day is
/// its last and each month's first day is a linear function of the month.
fn civil_day(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day > longest {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - DAYS_BEFORE_1970)
}

/// Nothing but digits, and in range.
fn number(text: &str, range: std::ops::Range<i64>) -> Option<i64> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && range.contains(number))
}

/// Days from the first of March of the year 0 to 1970-01-01.
const DAYS_BEFORE_1970: i64 = 719_468;
/// Points before this, in 1973, are not meant as such.
const EARLIEST: Duration = Duration::from_secs(100_000_000);
/// Larger numbers are milliseconds.
const MILLISECONDS_FROM: f64 = 1e12;

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Option<u64> {
        read(&Value::Text(text.to_owned().into())).map(|point| point.as_secs())
    }

    #[test]
    fn all_notations_of_one_instant_agree() {
        for notation in [
            "1767323045",
            " 1767323045.9 ",
            "1767323045123",
            "2026-01-02T03:04:05Z",
            "2026-01-02t03:04:05.678z",
            "2026-01-02T03:04:05",
            "2026-01-02 03:04:05 UTC",
            "2026-01-02T05:04:05+02:00",
            "2026-01-01T21:34:05-0530",
            "2026-01-02T05:04:05+02",
            "01/02/2026 03:04:05",
            "1/2/2026 3:04:05 AM +00:00",
            "01/02/2026 03:04:05 +00:00",
            "Fri, 02 Jan 2026 03:04:05 GMT",
        ] {
            assert_eq!(text(notation), Some(1_767_323_045), "{notation}");
        }
        assert_eq!(text("1/2/2026 3:04:05 PM"), Some(1_767_323_045 + 12 * 3_600));
        assert_eq!(text("1/2/2026 12:04:05 AM"), Some(1_767_323_045 - 3 * 3_600));
        assert_eq!(text("9999-12-31T23:59:59Z"), Some(253_402_300_799));
        assert_eq!(text("253402300799"), Some(253_402_300_799));
    }

    #[test]
    fn what_is_no_point_in_time_is_not_guessed() {
        for notation in [
            "",
            "soon",
            "0",
            "-5",
            "3600",
            "nan",
            "inf",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-02",
            "13/13/2026 00:00:00",
            "2026-01-02T24:00:00Z",
            "2026-01-02T03:04:05+99:00",
            "2026-01-02T03:04:05 XM",
            "+2026-01-02T03:04:05Z",
            "2026-01-02T\u{e4}:04:05Z",
            "0001-01-01T00:00:00Z",
            "1970-01-01T00:00:00Z",
            "1970-01-01T00:00:00+01:00",
        ] {
            assert_eq!(text(notation), None, "{notation}");
        }
        assert_eq!(read(&Value::Flag(true)), None);
    }

    proptest! {
        #[test]
        fn agrees_with_a_library(seconds in 100_000_000_u64..253_402_300_799) {
            let written = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            prop_assert_eq!(text(&written.to_string()), Some(seconds));
        }

        #[test]
        fn never_panics(any in ".*", digits in "[0-9TZ:/+. -]{0,30}") {
            text(&any);
            text(&digits);
        }
    }
}
