//! Values that are written as text with a unit.

use std::time::Duration;

/// Parses a duration like `30s`, `5m` or `1h 30m`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// Writes a duration as [`duration`] reads it.
pub(super) fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Parses the permission bits of a file mode: three octal digits, perhaps after a `0` or `0o`.
pub(super) fn mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").or_else(|| text.strip_prefix('0').filter(|rest| rest.len() == 3));
    let digits = digits.unwrap_or(text);
    let octal = digits.len() == 3 && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    if octal { u32::from_str_radix(digits, 8).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("1h 30m", 5400), ("1h30m", 5400), ("0s", 0)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
            assert_eq!(duration(&show_duration(Duration::from_secs(seconds))), Some(Duration::from_secs(seconds)));
        }
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        for text in ["", "30", "-1s", "s", "5 parsecs", "99999999999999999999s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn modes() {
        for (text, bits) in [("0666", 0o666), ("660", 0o660), ("0o600", 0o600), ("066", 0o066), ("000", 0)] {
            assert_eq!(mode(text), Some(bits), "{text}");
        }
        for text in ["", "0", "66", "0668", "06666", "rw-rw-rw-", "+66", "0x1b6", "0066 "] {
            assert_eq!(mode(text), None, "{text}");
        }
    }
}
