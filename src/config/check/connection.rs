//! How the token endpoint is reached: `timeouts`, `tls` and `proxy`.

use std::{ops::RangeInclusive, time::Duration};

use url::Url;

use super::{auth, shared::Shared};
use crate::{
    config::{
        file::Unreadable,
        reader::{Keys, Node, Table},
    },
    oauth::{CaBundle, Identity, ProxyChoice, Transport},
};

/// How the token endpoint is reached.
pub(super) struct Connection {
    /// But for what follows from the token endpoint's URL.
    pub(super) transport: Transport,
    /// The limit of one whole attempt.
    pub(super) attempt_timeout: Duration,
    /// The client's certificate.
    pub(super) identity: Option<Box<Identity>>,
}

pub(super) fn check(client: &Table<'_>, shared: &mut Shared) -> Connection {
    let table = client.key("timeouts").table(&TIMEOUTS);
    let (connect, attempt) = (table.key("connect"), table.key("attempt"));
    let connect_timeout = connect.duration(&TIMEOUT).unwrap_or(DEFAULT_CONNECT);
    let attempt_timeout = attempt.duration(&TIMEOUT).unwrap_or(DEFAULT_ATTEMPT);
    if connect_timeout > attempt_timeout {
        let blamed = if connect.is_set() { connect } else { attempt };
        blamed.problem(
            "makes connect longer than attempt, which includes it",
            r#"write connect <= attempt (defaults "3s" and "10s")"#,
        );
    }
    let tls = client.key("tls").table(&TLS);
    let ca = ca_bundle(&tls.key("ca_file"), shared);
    let proxy = proxy(&client.key("proxy")).unwrap_or_default();
    let identity = auth::identity(client, &tls);
    Connection {
        transport: Transport { connect_timeout, ca, proxy, ..Transport::default() },
        attempt_timeout,
        identity,
    }
}

fn ca_bundle(node: &Node<'_>, shared: &mut Shared) -> Option<CaBundle> {
    match shared.ca_bundle(node.absolute_path()?) {
        Ok(bundle) => Some(bundle),
        Err(Unreadable { message, remedy }) => {
            node.problem(&format!("names a file that {message}"), remedy);
            None
        }
    }
}

fn proxy(node: &Node<'_>) -> Option<ProxyChoice> {
    match node.text()? {
        "environment" => Some(ProxyChoice::Environment),
        "none" => Some(ProxyChoice::None),
        text => {
            let usable = |url: &Url| {
                let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
                PROXY_SCHEMES.contains(&url.scheme()) && url.has_host() && bare
            };
            let url = Url::parse(text).ok().filter(usable);
            if url.is_none() {
                node.problem(
                    "is not an http, https, socks5 or socks5h URL",
                    r#"write "none", "environment" or a URL like "http://proxy.example:3128""#,
                );
            }
            url.map(|url| ProxyChoice::Url(Box::new(url)))
        }
    }
}

pub(super) const TIMEOUTS: Keys = Keys { known: &["attempt", "connect"], planned: &[] };

pub(super) const TLS: Keys = Keys { known: &["ca_file", "certificate_file", "key_file"], planned: &[] };

const DEFAULT_CONNECT: Duration = Duration::from_secs(3);
const DEFAULT_ATTEMPT: Duration = Duration::from_secs(10);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(120);
const PROXY_SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];
