//! How the token endpoint of the embedded issuer behaves.

use std::{fmt, str::FromStr};

/// A behaviour of the token endpoint. All other endpoints always behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Answers 503 with `Retry-After: 5`.
    Busy,
    /// Accepts connections and closes them without an answer.
    Down,
    /// Answers 200 with nothing in it.
    Empty,
    /// Answers 200 with a web page.
    Garbage,
    /// Answers as it should.
    #[default]
    Ok,
    /// Answers 401 `invalid_client`, whatever the credentials.
    Refuse,
    /// Answers as it should, but after 30 seconds.
    Slow,
    /// Answers 429 with `Retry-After: 60`.
    Throttle,
}

impl Mode {
    /// All modes, in the order in which they are told to people.
    pub const ALL: [Self; 8] =
        [Self::Ok, Self::Down, Self::Busy, Self::Throttle, Self::Refuse, Self::Garbage, Self::Slow, Self::Empty];

    /// Its name in `/dev/mode`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Down => "down",
            Self::Empty => "empty",
            Self::Garbage => "garbage",
            Self::Ok => "ok",
            Self::Refuse => "refuse",
            Self::Slow => "slow",
            Self::Throttle => "throttle",
        }
    }

    /// What it does, in one line for a person.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Busy => "answers 503 with Retry-After: 5, as an overloaded issuer does",
            Self::Down => "closes every connection without an answer, as a crashed issuer does",
            Self::Empty => "answers 200 with an empty body",
            Self::Garbage => "answers 200 with a web page, as a captive portal or a wrong token_url does",
            Self::Ok => "issues tokens",
            Self::Refuse => "answers 401 invalid_client, as after a revoked or rotated secret",
            Self::Slow => "issues tokens, but only after 30 seconds",
            Self::Throttle => "answers 429 with Retry-After: 60, as a used-up quota does",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Self::ALL.into_iter().find(|mode| mode.name() == text).ok_or(UnknownMode)
    }
}

/// All modes for a person to read, the current one alone on the first line for a script.
pub(super) struct Table(pub(super) Mode);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.0)?;
        for mode in Mode::ALL {
            writeln!(f, "{mode:<9} {}", mode.explanation())?;
        }
        Ok(())
    }
}

/// The text does not name a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownMode;

impl fmt::Display for UnknownMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a mode; use one of")?;
        for (nth, mode) in Mode::ALL.into_iter().enumerate() {
            write!(f, "{} {mode}", if nth == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownMode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_survives_text_and_is_listed_once() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
            assert_eq!(Mode::ALL.into_iter().filter(|other| *other == mode).count(), 1, "{mode}");
            assert!(!mode.explanation().contains('\n'), "{mode}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_choice() {
        for bad in ["", "OK", "ok ", "okay", "mode=ok"] {
            assert_eq!(bad.parse::<Mode>(), Err(UnknownMode), "{bad:?}");
        }
        assert_eq!(
            UnknownMode.to_string(),
            "not a mode; use one of ok, down, busy, throttle, refuse, garbage, slow, empty"
        );
    }

    #[test]
    fn the_table_begins_with_the_current_mode_and_lines_up() {
        let table = Table(Mode::Down).to_string();
        assert!(table.starts_with("down\n\nok        issues tokens\ndown      closes"), "{table}");
        assert_eq!(table.lines().count(), 2 + Mode::ALL.len());
    }
}
