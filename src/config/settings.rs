//! What a configuration means, once it is known to be right.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use super::Problem;
use crate::{
    access, oauth,
    server::Limits,
    token::{ClientName, RefreshPolicy, RequestHeader},
};

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// The daemon's own socket and limits.
    pub server: ServerSettings,
    /// Every configured client; none only if the files say so in so many words.
    pub clients: BTreeMap<ClientName, Arc<ClientSettings>>,
    /// The files that were read, in the order in which they were merged.
    pub files: Vec<PathBuf>,
    /// What is worth knowing but keeps nothing from working.
    pub warnings: Vec<Problem>,
}

/// Settings of the daemon itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where the socket is, unless the command line says; `None`: the default place.
    pub socket: Option<PathBuf>,
    /// Mode of the socket: who may connect; [`ServerSettings::MODE`] if nobody says.
    pub mode: u32,
    /// Who may administer the daemon.
    pub admins: access::Policy,
    /// How much callers may use.
    pub limits: Limits,
    /// How long calls under way may take to end when the daemon stops.
    pub drain: Duration,
    /// Whether the view over HTTP/1.1 is served beside gRPC.
    pub http: bool,
}

impl ServerSettings {
    /// Everybody may connect: who may have which token is decided for each client.
    pub const MODE: u32 = 0o666;
}

/// Settings of one client. A client whose settings are equal after a reload is left alone.
#[derive(Debug, PartialEq)]
pub struct ClientSettings {
    /// Whether the daemon is only ready when this client has a token.
    pub required: bool,
    /// Who may have the token.
    pub policy: access::Policy,
    /// When the token is renewed; shared by clients with the same numbers.
    pub refresh: Arc<RefreshPolicy>,
    /// Headers that calls need beside `Authorization`, sorted by name.
    pub request_headers: Arc<[RequestHeader]>,
    /// How tokens are requested.
    pub endpoint: Arc<oauth::Settings>,
}
