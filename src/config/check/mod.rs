//! Turns the merged tree into settings: one file for each section, every default, every rule.

mod access;
mod auth;
mod client;
mod connection;
mod endpoint;
mod headers;
mod refresh;
mod request;
mod secret;
mod server;
mod shared;

use std::{collections::BTreeMap, sync::Arc};

use self::shared::Shared;
use super::{
    ClientSettings, ServerSettings,
    reader::{Keys, Node},
};
use crate::token::ClientName;

/// Every configured client; `None` if the files say nothing of clients at all.
type Clients = Option<BTreeMap<ClientName, Arc<ClientSettings>>>;

/// Reads the whole tree. What is returned can be used only if nothing was reported.
pub(super) fn check(root: &Node<'_>, own_uid: u32) -> (ServerSettings, Clients) {
    let mut shared = Shared::new(own_uid);
    let root = root.table(&ROOT);
    let server = server::check(&root.key("server"), &mut shared);
    let mut clients = BTreeMap::new();
    let section = root.key("clients");
    let named = section.named();
    for (name, node) in &named {
        let settings = client::check(node, &mut shared);
        match (ClientName::parse(name), settings) {
            (Err(why), _) => node.problem("is not the name of a client", &why.to_string()),
            (Ok(name), Some(settings)) => drop(clients.insert(name, Arc::new(settings))),
            (Ok(_), None) => {}
        }
    }
    if !named.is_empty() {
        return (server, Some(clients));
    }
    // Said in so many words, it is meant: a service that is installed and not set up yet.
    let meant = section.is_table();
    if meant {
        section.warning("names no client yet", ADD_ONE);
    }
    (server, meant.then_some(clients))
}

/// Every key that a configuration may hold, sorted.
///
/// `NAME` stands for the name of a client, `HEADER`, `PARAMETER` and `CLAIM` for names that the operator chooses; `[]` for
/// any entry of a list. What is said of `clients.NAME.allow` holds for `server.admins`, and of `client_secret` for `private_key`.
#[must_use]
pub fn known_keys() -> Vec<String> {
    let tables: [(&str, &Keys); 13] = [
        ("server", &server::KEYS),
        ("server.limits", &server::LIMITS),
        ("clients.NAME", &client::KEYS),
        ("clients.NAME.client_secret", &secret::KEYS),
        ("clients.NAME.assertion_claims", &Keys { known: &["CLAIM"], planned: &[] }),
        ("clients.NAME.allow[]", &access::KEYS),
        ("clients.NAME.request_headers.HEADER", &headers::KEYS),
        ("clients.NAME.refresh", &refresh::KEYS),
        ("clients.NAME.budget", &refresh::BUDGET),
        ("clients.NAME.timeouts", &connection::TIMEOUTS),
        ("clients.NAME.tls", &connection::TLS),
        ("clients.NAME.parameters", &Keys { known: &["PARAMETER"], planned: &[] }),
        ("clients.NAME.request_headers", &Keys { known: &["HEADER"], planned: &[] }),
    ];
    let mut keys: Vec<String> =
        tables.iter().flat_map(|(table, keys)| keys.known.iter().map(move |key| format!("{table}.{key}"))).collect();
    keys.sort_unstable();
    keys
}

/// What to do about no clients.
pub(super) const ADD_ONE: &str = "add a [clients.NAME] table with token_url, client_id and client_secret";
/// The keys at the top.
const ROOT: Keys = Keys { known: &["clients", "server"], planned: &[] };
