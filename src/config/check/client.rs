//! `[clients.NAME]`: one client, from the parts that its sections give.

use std::sync::Arc;

use super::{access, endpoint, headers, refresh, shared::Shared};
use crate::config::{
    ClientSettings,
    reader::{Keys, Node},
};

/// Reads a client. `None` only if something was reported.
pub(super) fn check(node: &Node<'_>, shared: &mut Shared) -> Option<ClientSettings> {
    let table = node.table(&KEYS);
    if !node.is_table() {
        // Reported; that keys are missing from it would be noise.
        return None;
    }
    let required = table.key("required").flag().unwrap_or(true);
    let policy = access::check(&table.key("allow"), shared);
    let refresh = refresh::check(&table, shared);
    let request_headers = headers::check(&table.key("request_headers"), shared);
    let endpoint = Arc::new(endpoint::check(&table, shared)?);
    Some(ClientSettings { required, policy, refresh, request_headers, endpoint })
}

pub(super) const KEYS: Keys = Keys {
    known: &[
        "allow",
        "allow_http",
        "assertion_audience",
        "assertion_claims",
        "assertion_file",
        "assertion_typ",
        "assumed_lifetime",
        "audience",
        "auth_method",
        "basic_encoding",
        "budget",
        "client_assertion_file",
        "client_assertion_type",
        "client_id",
        "client_secret",
        "concurrency",
        "dpop",
        "expires_at_field",
        "expires_in_unit",
        "grant",
        "idle_after",
        "issuer",
        "key_id",
        "parameters",
        "prefetch",
        "private_key",
        "proxy",
        "refresh",
        "request_headers",
        "required",
        "resource",
        "revocation_url",
        "revoke_on_stop",
        "scope",
        "signing_algorithm",
        "subject",
        "subject_token_file",
        "subject_token_type",
        "timeouts",
        "tls",
        "token_type",
        "token_url",
    ],
    planned: &[],
};
