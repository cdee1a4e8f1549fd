//! What is wrong with a configuration, in the one form in which people see it.

use std::{
    cell::RefCell,
    fmt::{self, Write as _},
    path::Path,
};

/// One thing that is wrong, and what to write instead.
///
/// Printed as `file: path.to.key: what is wrong; what to write instead`, on one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file that says so, or "the environment".
    pub file: Box<str>,
    /// The key, as TOML writes it; empty when the file as a whole is meant.
    pub path: Box<str>,
    /// What is wrong. Never contains a configured value.
    pub message: Box<str>,
    /// What to write instead.
    pub remedy: Box<str>,
}

impl Problem {
    fn new(file: &str, path: &str, message: &str, remedy: &str) -> Self {
        Self { file: file.into(), path: path.into(), message: message.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, path, message, remedy } = self;
        // A line break in a file name must not make two lines of one problem.
        for char in file.chars() {
            if char.is_control() {
                write!(f, "{}", char.escape_debug())?;
            } else {
                f.write_char(char)?;
            }
        }
        if !path.is_empty() {
            write!(f, ": {path}")?;
        }
        write!(f, ": {message}; {remedy}")
    }
}

/// Everything that is wrong with a configuration, sorted by file and key; at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems, in the order in which they are printed.
    #[must_use]
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    /// One problem on each line, without a line ending after the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects problems while a configuration is read.
pub(super) struct Report {
    main_file: Box<str>,
    found: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl Report {
    pub(super) fn new(main_file: &Path) -> Self {
        Self {
            main_file: Box::from(main_file.to_string_lossy()),
            found: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    /// The file that is named when no better one is known.
    pub(super) fn main_file(&self) -> &str {
        &self.main_file
    }

    pub(super) fn add(&self, file: &str, path: &str, message: &str, remedy: &str) {
        self.found.borrow_mut().push(Problem::new(file, path, message, remedy));
    }

    pub(super) fn warn(&self, file: &str, path: &str, message: &str, remedy: &str) {
        self.warnings.borrow_mut().push(Problem::new(file, path, message, remedy));
    }

    pub(super) fn at_main_file(&self, path: &str, message: &str, remedy: &str) {
        self.add(&self.main_file, path, message, remedy);
    }

    /// Succeeds with the warnings if nothing was reported.
    pub(super) fn finish(self) -> Result<Vec<Problem>, Problems> {
        let found = in_order(self.found);
        if found.is_empty() { Ok(in_order(self.warnings)) } else { Err(Problems(found)) }
    }
}

fn in_order(found: RefCell<Vec<Problem>>) -> Vec<Problem> {
    let mut found = found.into_inner();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_sorted_lines_without_repetition() {
        let report = Report::new(Path::new("/etc/a\nb.toml"));
        report.add("z.toml", "", "is empty", "write something");
        report.at_main_file("clients.x", "is wrong", "write it right");
        report.at_main_file("clients.x", "is wrong", "write it right");
        let problems = report.finish().unwrap_err();
        assert_eq!(
            problems.to_string(),
            "/etc/a\\nb.toml: clients.x: is wrong; write it right\nz.toml: is empty; write something"
        );
        assert_eq!(problems.as_slice().len(), 2);
    }

    #[test]
    fn nothing_reported_is_success() {
        let report = Report::new(Path::new("a"));
        report.warn("a", "clients.x", "is weak", "mend it");
        assert_eq!(report.finish().map(|warnings| warnings.len()), Ok(1));
    }
}
