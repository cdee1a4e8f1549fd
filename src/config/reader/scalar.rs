//! What a single value can be asked for.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use config::ValueKind;

use super::{Node, nearest};
use crate::config::units;

impl<'a> Node<'a> {
    /// Text, which may be empty.
    pub(in crate::config) fn string(&self) -> Option<&'a str> {
        let text = self.peek();
        if self.is_set() && text.is_none() {
            self.wrong("a string", "write one string in quotes");
        }
        text
    }

    /// Text that is not empty.
    pub(in crate::config) fn text(&self) -> Option<&'a str> {
        let text = self.string()?;
        if text.is_empty() {
            self.problem("is empty", "write a value or remove the key");
            return None;
        }
        Some(text)
    }

    /// One text or a list of them, each with the node it stands in.
    pub(in crate::config) fn texts(&'a self) -> Vec<(Node<'a>, &'a str)> {
        let items = if self.is_list() { self.items() } else { vec![*self] };
        if items.is_empty() {
            self.problem("is empty", "write a value or remove the key");
        }
        items.into_iter().filter_map(|item| Some((item, item.text()?))).collect()
    }

    /// The value if it is text; reports nothing.
    pub(in crate::config) fn peek(&self) -> Option<&'a str> {
        match &self.value?.kind {
            ValueKind::String(text) => Some(text),
            _ => None,
        }
    }

    /// One of a few words.
    pub(in crate::config) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let instead = nearest(text, &words).unwrap_or_else(|| "write one of these".to_owned());
            self.problem(&format!("is none of {}", words.join(", ")), &instead);
        }
        found
    }

    /// The same; reports nothing.
    pub(in crate::config) fn quiet_choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.peek()?;
        choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice)
    }

    pub(in crate::config) fn flag(&self) -> Option<bool> {
        let found = match &self.value?.kind {
            ValueKind::Boolean(flag) => Some(*flag),
            ValueKind::String(text) if self.is_from_environment() => text.parse().ok(),
            _ => None,
        };
        if found.is_none() {
            self.problem("is not a boolean", "write true or false, without quotes");
        }
        found
    }

    /// A whole number within a range.
    pub(in crate::config) fn whole(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let number = match &self.value?.kind {
            ValueKind::I64(number) => u32::try_from(*number).ok(),
            ValueKind::String(text) if self.is_from_environment() => text.parse().ok(),
            _ => None,
        };
        let found = number.filter(|number| range.contains(number));
        if found.is_none() {
            let (least, most) = range.into_inner();
            self.problem(&format!("is not a whole number from {least} to {most}"), "write one, without quotes");
        }
        found
    }

    /// A number within a range.
    pub(in crate::config) fn fraction(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let number = match &self.value?.kind {
            ValueKind::Float(number) => Some(*number),
            ValueKind::String(text) if self.is_from_environment() => text.parse().ok(),
            _ => None,
        };
        let found = number.filter(|number| range.contains(number));
        if found.is_none() {
            let (least, most) = range.into_inner();
            self.problem(&format!("is not a number from {least} to {most}"), "write one, without quotes");
        }
        found
    }

    /// A duration within a range: text with a unit, or a whole number of seconds.
    pub(in crate::config) fn duration(&self, range: &RangeInclusive<Duration>) -> Option<Duration> {
        let duration = match &self.value?.kind {
            ValueKind::I64(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
            ValueKind::String(text) => {
                let seconds = if self.is_from_environment() { text.parse().ok() } else { None };
                seconds.map(Duration::from_secs).or_else(|| units::duration(text))
            }
            _ => None,
        };
        let found = duration.filter(|duration| range.contains(duration));
        if found.is_none() {
            let (least, most) = (units::show_duration(*range.start()), units::show_duration(*range.end()));
            self.problem(
                &format!("is not a duration from {least} to {most}"),
                r#"write one like "30s", "5m" or "1h 30m""#,
            );
        }
        found
    }

    /// The path of a file, from the root: the daemon's working directory means nothing to an operator.
    pub(in crate::config) fn absolute_path(&self) -> Option<PathBuf> {
        let text = self.text()?;
        if !text.starts_with('/') || text.contains('\0') {
            self.problem("is not an absolute path", "write a path that begins with /");
            return None;
        }
        Some(PathBuf::from(text))
    }
}
