//! What a new configuration changes. Pure.

use std::{collections::BTreeMap, sync::Arc};

use crate::{config::ClientSettings, token::ClientName};

/// The configured clients.
pub type Clients = BTreeMap<ClientName, Arc<ClientSettings>>;

/// What happens to one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Keep,
    /// Another policy or header: the client runs on with its token.
    Retouch,
    /// Another schedule, or another way to the same endpoint: the client runs on with its token.
    Amend,
    /// Its tokens would be other ones: it starts anew.
    Replace,
    /// It is new.
    Start,
    /// It is gone.
    Stop,
}

/// Every client of either configuration with what happens to it, by name.
#[must_use]
pub fn diff(old: &Clients, new: &Clients) -> BTreeMap<ClientName, Change> {
    let gone = old.keys().filter(|name| !new.contains_key(*name)).map(|name| (name.clone(), Change::Stop));
    let present = new.iter().map(|(name, settings)| {
        let change = old.get(name).map_or(Change::Start, |before| change(before, settings));
        (name.clone(), change)
    });
    present.chain(gone).collect()
}

fn change(before: &ClientSettings, after: &ClientSettings) -> Change {
    if before == after {
        Change::Keep
    } else if before.endpoint == after.endpoint && before.refresh == after.refresh {
        Change::Retouch
    } else if before.endpoint.same_tokens(&after.endpoint) {
        Change::Amend
    } else {
        Change::Replace
    }
}
