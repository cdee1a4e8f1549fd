//! `[server]`: the daemon's own socket and limits.

use std::{ops::RangeInclusive, os::unix::ffi::OsStrExt, path::PathBuf, time::Duration};

use super::{access, shared::Shared};
use crate::{
    config::{
        ServerSettings,
        reader::{Keys, Node},
        units,
    },
    server::Limits,
};

pub(super) fn check(node: &Node<'_>, shared: &mut Shared) -> ServerSettings {
    let table = node.table(&KEYS);
    ServerSettings {
        socket: socket(&table.key("socket")),
        mode: mode(&table.key("mode")).unwrap_or(ServerSettings::MODE),
        admins: access::check(&table.key("admins"), shared),
        limits: limits(&table.key("limits")),
        drain: table.key("drain").duration(&DRAIN).unwrap_or(DEFAULT_DRAIN),
        http: table.key("http").flag().unwrap_or(true),
    }
}

fn socket(node: &Node<'_>) -> Option<PathBuf> {
    let path = node.absolute_path()?;
    if path.as_os_str().as_bytes().len() > LONGEST_SOCKET {
        node.problem(&format!("is longer than {LONGEST_SOCKET} bytes"), "choose a shorter path");
    }
    Some(path)
}

fn mode(node: &Node<'_>) -> Option<u32> {
    let mode = node.peek().and_then(units::mode);
    if node.is_set() && mode.is_none() {
        node.problem("is not a file mode", r#"write three octal digits in quotes, like "0660""#);
    }
    if mode.is_some_and(|mode| mode & 0o600 != 0o600) {
        node.problem("keeps out the socket's owner", r#"let the owner read and write, like "0600""#);
    }
    mode
}

fn limits(node: &Node<'_>) -> Limits {
    let table = node.table(&LIMITS);
    let limit = |name, default| table.key(name).whole(1..=MOST_CONNECTIONS).unwrap_or(default);
    let default = Limits::default();
    Limits {
        connections: limit("connections", default.connections),
        connections_per_uid: limit("connections_per_uid", default.connections_per_uid),
        calls_per_uid: limit("calls_per_uid", default.calls_per_uid),
        idle: table.key("idle").duration(&IDLE).unwrap_or(default.idle),
    }
}

pub(super) const KEYS: Keys = Keys { known: &["admins", "drain", "http", "limits", "mode", "socket"], planned: &[] };

pub(super) const LIMITS: Keys =
    Keys { known: &["calls_per_uid", "connections", "connections_per_uid", "idle"], planned: &[] };

const DEFAULT_DRAIN: Duration = Duration::from_secs(10);
const DRAIN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(600);
const IDLE: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(7 * 86_400);
/// More than any process can have open.
const MOST_CONNECTIONS: u32 = 1_000_000;
/// What fits into `sockaddr_un` (unix(7)) with the zero at its end.
const LONGEST_SOCKET: usize = 107;
