//! A secret in an environment variable of the daemon. For containers; a file is safer and can be rotated.

use std::env::{self, VarError};

use zeroize::Zeroizing;

use super::{SecretError, Shape};
use crate::sensitive::Sensitive;

/// Reads the secret that the variable holds.
///
/// # Errors
/// [`SecretError`] naming the variable and the remedy: not set, empty, not UTF-8, or with control characters.
#[expect(clippy::disallowed_methods, reason = "the variable's name comes from the configuration, its value must not")]
pub(super) fn read(name: &str, shape: Shape) -> Result<Sensitive, SecretError> {
    let value = env::var(name).map(Zeroizing::new).map_err(|error| match error {
        VarError::NotPresent => wrong(name, "is not set; set it for the daemon and restart it"),
        VarError::NotUnicode(_) => wrong(name, "is not UTF-8 text; set it to the secret"),
    })?;
    shape.of(&value).map_err(|problem| wrong(name, problem))
}

fn wrong(name: &str, problem: &str) -> SecretError {
    SecretError::new(format!("environment variable {name}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Setting variables is unsafe in a program with threads, so these use what every test process has.

    #[test]
    fn a_variable_that_is_set_is_read() {
        assert!(read("CARGO_PKG_NAME", Shape::Line).is_ok_and(|secret| secret.expose() == env!("CARGO_PKG_NAME")));
    }

    #[test]
    fn a_missing_variable_says_what_to_do() {
        for name in ["BEARERD_TEST_NO_SUCH_VARIABLE", "", "A=B", "A\0B"] {
            let text = read(name, Shape::Line).unwrap_err().to_string();
            assert!(text.contains("is not set; set it for the daemon") && text.contains(name), "{text}");
        }
    }
}
