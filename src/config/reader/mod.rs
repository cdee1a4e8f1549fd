//! Typed access to the merged tree, which reports what is wrong and notices keys that nobody knows.
//!
//! A [`Node`] is a key, written or not. Asked for a type that its value does not have, it reports that and answers
//! `None`, as it does for a key that is not there; the caller goes on with the default, so that one reading finds
//! every problem. Values from the environment are text, and are read as the type that is asked for.

mod scalar;

use config::{Map, Value, ValueKind};

use super::{environment, problem::Report};

/// The keys of one kind of table.
pub(super) struct Keys {
    /// Those that mean something.
    pub(super) known: &'static [&'static str],
    /// Those that a later version will understand, and what to write until then.
    pub(super) planned: &'static [(&'static str, &'static str)],
}

/// A key of the configuration, written or not.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    report: &'a Report,
    parent: Option<&'a Node<'a>>,
    step: Step<'a>,
    value: Option<&'a Value>,
}

/// A table whose keys are fixed; an empty one if it was not written.
pub(super) struct Table<'a> {
    node: Node<'a>,
    entries: Option<&'a Map<String, Value>>,
    keys: &'static Keys,
}

/// How a node is reached from its parent.
#[derive(Clone, Copy)]
enum Step<'a> {
    Item(usize),
    Key(&'a str),
}

impl<'a> Node<'a> {
    /// The whole tree.
    pub(super) fn root(report: &'a Report, value: &'a Value) -> Self {
        Self { report, parent: None, step: Step::Key(""), value: Some(value) }
    }

    /// Whether the key was written.
    pub(super) fn is_set(&self) -> bool {
        self.value.is_some()
    }

    pub(super) fn is_list(&self) -> bool {
        self.value.is_some_and(|value| matches!(value.kind, ValueKind::Array(_)))
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.is_some_and(|value| matches!(value.kind, ValueKind::Table(_)))
    }

    /// Reports the key if it was not written.
    pub(super) fn required(self, remedy: &str) -> Self {
        if !self.is_set() {
            self.problem("is missing", remedy);
        }
        self
    }

    /// Reports this key.
    pub(super) fn problem(&self, message: &str, remedy: &str) {
        self.report.add(self.file(), &self.path(), message, remedy);
    }

    /// Says of this key what is worth knowing but keeps nothing from working.
    pub(super) fn warning(&self, message: &str, remedy: &str) {
        self.report.warn(self.file(), &self.path(), message, remedy);
    }

    /// A table with fixed keys. Reports the ones it does not know.
    pub(super) fn table(&self, keys: &'static Keys) -> Table<'a> {
        let table = Table { node: *self, entries: self.entries_of_table(), keys };
        table.report_unknown();
        table
    }

    /// The entries of a table whose keys are names, sorted by name.
    pub(super) fn named(&'a self) -> Vec<(&'a str, Node<'a>)> {
        let entries = self.entries_of_table().into_iter().flatten();
        let mut named: Vec<_> =
            entries.map(|(name, value)| (name.as_str(), self.child(Step::Key(name), Some(value)))).collect();
        named.sort_unstable_by_key(|(name, _)| *name);
        named
    }

    /// The entries of a list.
    pub(super) fn items(&'a self) -> Vec<Node<'a>> {
        match self.value.map(|value| &value.kind) {
            None => Vec::new(),
            Some(ValueKind::Array(items)) => {
                items.iter().enumerate().map(|(index, item)| self.child(Step::Item(index), Some(item))).collect()
            }
            Some(_) => {
                self.wrong("a list", "write [ … ]");
                Vec::new()
            }
        }
    }

    fn entries_of_table(&self) -> Option<&'a Map<String, Value>> {
        let value = self.value?;
        if let ValueKind::Table(entries) = &value.kind {
            return Some(entries);
        }
        self.wrong("a table", "write { key = value } or a [table] of its own");
        None
    }

    fn child(&'a self, step: Step<'a>, value: Option<&'a Value>) -> Self {
        // The library has a value for nothing, which TOML cannot write.
        let value = value.filter(|value| value.kind != ValueKind::Nil);
        Self { report: self.report, parent: Some(self), step, value }
    }

    fn wrong(&self, wanted: &str, remedy: &str) {
        let found = match self.value.map(|value| &value.kind) {
            None | Some(ValueKind::Nil) => "missing",
            Some(ValueKind::Array(_)) => "a list",
            Some(ValueKind::Boolean(_)) => "a boolean",
            Some(ValueKind::String(_)) => "a string",
            Some(ValueKind::Table(_)) => "a table",
            Some(_) => "a number",
        };
        self.problem(&format!("is {found}, not {wanted}"), remedy);
    }

    fn is_from_environment(&self) -> bool {
        self.value.and_then(Value::origin) == Some(environment::ORIGIN)
    }

    /// Where the key was written; for one that was not, where the table was that misses it.
    fn file(&self) -> &'a str {
        let above = || self.parent.map_or(self.report.main_file(), Node::file);
        self.value.and_then(Value::origin).unwrap_or_else(above)
    }

    fn path(&self) -> String {
        let above = self.parent.map(Node::path).unwrap_or_default();
        match self.step {
            Step::Item(index) => format!("{above}[{index}]"),
            Step::Key(_) if self.parent.is_none() => above,
            Step::Key(key) if above.is_empty() => quoted(key),
            Step::Key(key) => format!("{above}.{}", quoted(key)),
        }
    }
}

impl Table<'_> {
    /// One of the table's known keys.
    pub(super) fn key(&self, name: &'static str) -> Node<'_> {
        debug_assert!(self.keys.known.contains(&name), "{name} is not in the list of known keys");
        self.node.child(Step::Key(name), self.entries.and_then(|entries| entries.get(name)))
    }

    /// Whether there is a key in it that was reported as unknown.
    pub(super) fn has_unknown(&self) -> bool {
        let known = |name: &String| self.keys.known.contains(&name.as_str());
        self.entries.into_iter().flatten().any(|(name, _)| !known(name))
    }

    /// Whether nothing at all is written in it.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_none_or(Map::is_empty)
    }

    /// Reports the table itself.
    pub(super) fn problem(&self, message: &str, remedy: &str) {
        self.node.problem(message, remedy);
    }

    fn report_unknown(&self) {
        let Keys { known, planned } = self.keys;
        for (name, value) in self.entries.into_iter().flatten() {
            let node = self.node.child(Step::Key(name), Some(value));
            if let Some((_, instead)) = planned.iter().find(|(planned, _)| planned == name) {
                node.problem("is not supported by this version", instead);
            } else if !known.contains(&name.as_str()) {
                let instead = nearest(name, known).unwrap_or_else(|| format!("known here: {}", known.join(", ")));
                node.problem("is not a known key", &instead);
            }
        }
    }
}

/// A question for the word that was probably meant.
fn nearest(word: &str, known: &[&str]) -> Option<String> {
    let (distance, nearest) = known.iter().map(|known| (strsim::osa_distance(word, known), known)).min()?;
    (distance <= 1.max(nearest.len() / 3)).then(|| format!("did you mean {nearest:?}?"))
}

/// A key as TOML writes it.
fn quoted(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !key.is_empty() && key.bytes().all(bare) { key.to_owned() } else { format!("{key:?}") }
}
