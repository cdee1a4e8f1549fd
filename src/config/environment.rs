//! The variables that may override keys of the files: `BEARERD_` and the path, with `__` between its parts.

use std::{collections::BTreeMap, ffi::OsString, fmt};

use config::{Map, Value, ValueKind};

use super::problem::Report;

/// Environment variables.
///
/// Handed in, so that tests need not change their process. Only variables whose name begins with `BEARERD_` and
/// has `__` after that are kept: `BEARERD_CONFIG`, `BEARERD_LOG` or `BEARERD_SOCKET` are not configuration keys.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The variables of this process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where configuration reads the environment")]
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// The variables as one tree, like the ones that files hold.
    pub(super) fn tree(&self, report: &Report) -> Map<String, Value> {
        let mut root = Map::new();
        for (name, value) in &self.0 {
            let parts = path(name);
            let parts: Vec<&str> = parts.split(SEPARATOR).collect();
            match value.to_str() {
                _ if parts.len() > DEEPEST => report.add(ORIGIN, name, "names no key", "unset it"),
                None => report.add(ORIGIN, name, "is not UTF-8 text", "write UTF-8 text or unset it"),
                Some(text) if !insert(&mut root, &parts, text) => report.add(
                    ORIGIN,
                    name,
                    "contradicts another variable, which sets the same key or a table around it",
                    "unset one of them",
                ),
                Some(_) => {}
            }
        }
        root
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(variables: T) -> Self {
        let named = variables.into_iter().filter_map(|(name, value)| Some((name.into().into_string().ok()?, value)));
        let ours = named.filter(|(name, _)| path(name).contains(SEPARATOR));
        Self(ours.map(|(name, value)| (name, value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    /// Names only: a value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The path of the key that a variable sets; empty if it is not one of ours.
fn path(name: &str) -> String {
    name.strip_prefix(PREFIX).unwrap_or_default().to_ascii_lowercase()
}

/// Answers false if the place is taken. Variables come in the order of their names, so that `A__B` is there
/// before `A__B__C` asks for it to be a table.
fn insert(table: &mut Map<String, Value>, parts: &[&str], text: &str) -> bool {
    let origin = ORIGIN.to_owned();
    match parts {
        [] => false,
        [key] => {
            let free = !table.contains_key(*key);
            if free {
                table.insert((*key).to_owned(), Value::new(Some(&origin), text));
            }
            free
        }
        [key, rest @ ..] => {
            let empty = || Value::new(Some(&origin), Map::<String, Value>::new());
            match &mut table.entry((*key).to_owned()).or_insert_with(empty).kind {
                ValueKind::Table(inner) => insert(inner, rest, text),
                _ => false,
            }
        }
    }
}

/// What messages call the environment where they would name a file.
pub(super) const ORIGIN: &str = "the environment";

const PREFIX: &str = "BEARERD_";
const SEPARATOR: &str = "__";
/// More parts than any key has.
const DEEPEST: usize = 8;

#[cfg(test)]
mod tests {
    use std::{os::unix::ffi::OsStringExt, path::Path};

    use super::*;

    fn problems(environment: &Environment) -> String {
        let report = Report::new(Path::new("main.toml"));
        environment.tree(&report);
        report.finish().map_or_else(|problems| problems.to_string(), |_| String::new())
    }

    #[test]
    fn keeps_only_what_is_configuration() {
        let environment: Environment =
            ["HOME", "BEARERD_LOG", "BEARERD_SOCKET", "XBEARERD_A__B", "BEARERD_SERVER__SOCKET", "BEARERD__X"]
                .into_iter()
                .map(|name| (name, "hunter2"))
                .collect();
        assert_eq!(format!("{environment:?}"), r#"{"BEARERD_SERVER__SOCKET"}"#);
    }

    #[test]
    fn contradictions_are_problems() {
        let pairs = [("BEARERD_A__B", "x"), ("BEARERD_A__B__C", "x"), ("BEARERD_D__E", "x"), ("BEARERD_d__e", "x")];
        assert_eq!(
            problems(&pairs.into_iter().collect()),
            "the environment: BEARERD_A__B__C: contradicts another variable, which sets the same key or a table \
             around it; unset one of them\n\
             the environment: BEARERD_d__e: contradicts another variable, which sets the same key or a table \
             around it; unset one of them"
        );
    }

    #[test]
    fn bytes_and_depth_are_problems() {
        let deep = format!("BEARERD_A{}", "__A".repeat(9));
        let binary = OsString::from_vec(vec![0xff]);
        let environment: Environment =
            [(deep.clone(), OsString::from("x")), ("BEARERD_A__B".to_owned(), binary)].into_iter().collect();
        assert_eq!(
            problems(&environment),
            format!(
                "the environment: {deep}: names no key; unset it\n\
                 the environment: BEARERD_A__B: is not UTF-8 text; write UTF-8 text or unset it"
            )
        );
    }
}
