//! `client_secret`, `private_key` and files beside them: where secrets are, never the secrets themselves.

use std::{ops::RangeInclusive, path::Path, time::Duration};

use crate::{
    config::reader::{Keys, Node},
    secret::{Credential, SecretCommand, SecretFile, SecretSource},
};

/// Reads where a client secret is, or where both are while one takes the place of the other.
pub(super) fn several(node: &Node<'_>) -> Option<Box<[SecretSource]>> {
    if !node.is_list() {
        return one(node).map(|source| [source].into());
    }
    let items = node.items();
    if !(1..=MOST).contains(&items.len()) {
        node.problem("is not one secret or two", "keep the new one and the old one, in this order");
    }
    items.iter().map(one).collect()
}

/// Reads where a secret or a key is. It is not looked at: it may be put there later, and is read at each use.
pub(super) fn one(node: &Node<'_>) -> Option<SecretSource> {
    if node.is_set() && !node.is_table() {
        node.problem("holds the secret itself", &format!("put it elsewhere and write {FORMS}"));
        return None;
    }
    let table = node.table(&KEYS);
    let [file, env, credential, command] = ["file", "env", "credential", "command"].map(|name| table.key(name));
    let places = [&file, &env, &credential, &command];
    if places.iter().filter(|place| place.is_set()).count() > 1 {
        table.problem("says in more than one way where the secret is", "keep one of them");
    }
    if node.is_set() && table.is_empty() {
        table.problem("does not say where the secret is", &format!("write {FORMS}"));
    }
    let (exposed, timeout) = (table.key("allow_world_readable"), table.key("timeout"));
    if exposed.is_set() && !file.is_set() {
        exposed.problem("says something of a file, and none is named", "remove it");
    }
    if timeout.is_set() && !command.is_set() {
        timeout.problem("says something of a command, and none is named", "remove it");
    }
    let limit = timeout.duration(&TIMEOUT).unwrap_or(DEFAULT_TIMEOUT);
    let exposed = exposed.flag().unwrap_or(false);
    let secret = |path: &Path| if exposed { SecretFile::readable_by_all(path) } else { SecretFile::at(path) };
    let from_file = file.absolute_path().map(|path| SecretSource::File(secret(&path)));
    let from_credential = || named(&credential).map(|name| SecretSource::Credential(Credential::named(name)));
    let from_command = || program(&command, limit).map(SecretSource::Command);
    from_file.or_else(|| variable(&env).map(SecretSource::Env)).or_else(from_credential).or_else(from_command)
}

/// A file that others keep fresh: an assertion or a certificate. Kubernetes makes them readable by every user of the
/// container, so their mode is not looked at.
pub(super) fn kept_by_others(node: &Node<'_>) -> Option<SecretSource> {
    node.absolute_path().map(|path| SecretSource::File(SecretFile::readable_by_all(&path)))
}

/// A file with a key.
pub(super) fn file(node: &Node<'_>) -> Option<SecretSource> {
    node.absolute_path().map(|path| SecretSource::File(SecretFile::at(&path)))
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

/// systemd.exec(5): the name of a file, of at most 255 bytes.
fn named<'a>(node: &Node<'a>) -> Option<&'a str> {
    let name = node.text()?;
    let inside = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    if name.len() > 255 || name.starts_with('.') || !name.bytes().all(inside) {
        node.problem("is not the name of a credential", "write what comes after LoadCredential= and before the colon");
        return None;
    }
    Some(name)
}

fn program(node: &Node<'_>, limit: Duration) -> Option<SecretCommand> {
    if node.is_set() && !node.is_list() {
        node.problem(
            "is not a list",
            r#"write the program and each argument apart, like ["/usr/bin/pass", "show", "x"]"#,
        );
        return None;
    }
    let words: Option<Vec<Box<str>>> = node.items().iter().map(|item| item.string().map(Box::from)).collect();
    let words = words?;
    let Some((program, arguments)) = words.split_first() else {
        if node.is_set() {
            node.problem("is empty", "write the program and each of its arguments");
        }
        return None;
    };
    if !program.starts_with('/') || words.iter().any(|word| word.contains('\0')) {
        node.problem("does not begin with the absolute path of a program", "write one; no shell looks for it");
        return None;
    }
    Some(SecretCommand::new(program, arguments.into(), limit))
}

pub(super) const KEYS: Keys =
    Keys { known: &["allow_world_readable", "command", "credential", "env", "file", "timeout"], planned: &[] };

pub(super) const FORMS: &str = r#"{ file = "/path/to/secret" } or { env = "VARIABLE" }"#;
/// A new secret and an old one.
const MOST: usize = 2;
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(4);
