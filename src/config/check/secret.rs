//! `client_secret`: where the secret is, never the secret itself.

use std::path::Path;

use crate::{
    config::reader::{Keys, Node},
    secret::{SecretFile, SecretSource},
};

/// Reads where the secret is. It is not looked at: it may be put there later, and is read at each use.
pub(super) fn check(node: &Node<'_>) -> Option<SecretSource> {
    let node = node.required(&format!("add client_secret = {FORMS}"));
    if node.is_set() && !node.is_table() {
        node.problem("holds the secret itself", &format!("put it elsewhere and write {FORMS}"));
        return None;
    }
    let table = node.table(&KEYS);
    let (file, env, exposed) = (table.key("file"), table.key("env"), table.key("allow_world_readable"));
    if file.is_set() && env.is_set() {
        table.problem("has both file and env", "keep one of them");
    }
    if node.is_set() && table.is_empty() {
        table.problem("does not say where the secret is", &format!("write {FORMS}"));
    }
    if exposed.is_set() && !file.is_set() {
        exposed.problem("says something of a file, and none is named", "remove it");
    }
    let exposed = exposed.flag().unwrap_or(false);
    let secret = |path: &Path| if exposed { SecretFile::readable_by_all(path) } else { SecretFile::at(path) };
    let from_file = file.absolute_path().map(|path| SecretSource::File(secret(&path)));
    from_file.or(variable(&env).map(SecretSource::Env))
}

fn variable(node: &Node<'_>) -> Option<Box<str>> {
    let name = node.text()?;
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.starts_with(|first: char| first.is_ascii_digit()) || !name.bytes().all(inside) {
        node.problem("is not the name of a variable", "write a name of letters, digits and underscores");
        return None;
    }
    Some(name.into())
}

pub(super) const KEYS: Keys = Keys {
    known: &["allow_world_readable", "env", "file"],
    planned: &[
        ("command", r#"write its output into a file and { file = "/path/to/secret" }"#),
        ("credential", r#"write { file = "/run/credentials/bearerd.service/NAME" }"#),
    ],
};

const FORMS: &str = r#"{ file = "/path/to/secret" } or { env = "VARIABLE" }"#;
