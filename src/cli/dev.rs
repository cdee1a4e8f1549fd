//! `bearerd dev`

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use url::Url;

use super::{Exit, Outcome, Trouble, args, in_runtime, orders::Orders, run, socket};
use crate::{
    access::Policy,
    clock::SystemClock,
    config::{ClientSettings, Config, ServerSettings},
    daemon::Handed,
    dev::{Issuer, IssuerSettings, Mode},
    oauth::{ClientAuth, Grant, LifetimeUnit, Place, Settings, Transport, client_auth::SecretMethod},
    secret::SecretSource,
    sensitive::Sensitive,
    server::Limits,
    token::{ClientName, HeaderValueRule, RefreshPolicy, RequestHeader},
};

/// Runs a daemon with an embedded authorization server until interrupted.
pub(super) fn dev(named: Option<PathBuf>, args: args::DevArgs) -> Outcome {
    // Descriptors that were passed are for a service, which this is not.
    drop(run::harden(args.log)?);
    if args.lifetime < SHORTEST {
        return Err(Trouble::new(Exit::Usage, "--lifetime: tokens must live at least 10s"));
    }
    let socket = match named {
        Some(socket) => socket,
        None => socket::place()?,
    };
    let unavailable = |error: String| Trouble::new(Exit::Unavailable, error);
    let secret = draw_secret().map_err(|error| unavailable(format!("no random numbers from the system: {error}")))?;
    // The issuer has a thread of its own: it plays another machine.
    let other_machine = run::engine()?;
    let issuer = other_machine
        .handle()
        .block_on(Issuer::start(IssuerSettings {
            port: args.port,
            client_id: CLIENT_ID.to_owned(),
            client_secret: secret.clone(),
            lifetime: args.lifetime,
            clock: Arc::new(SystemClock),
        }))
        .map_err(|error| unavailable(format!("the embedded authorization server: {error}")))?;
    let config = config(&issuer, &secret)?;
    let (url, place) = (issuer.url(), socket.clone());
    let greet = move || {
        // Standard output may be closed; the daemon runs all the same.
        let _ = io::stdout().write_all(greeting(&url, &place, args.lifetime).as_bytes());
    };
    let engine = run::engine()?;
    let service = run::Service { config, socket, load: None, greet: Some(Box::new(greet)), handed: Handed::default() };
    in_runtime(async { run::serve(service, &engine, Orders::of_signals()?).await })
}

fn draw_secret() -> Result<Sensitive, getrandom::Error> {
    Ok(Sensitive::new(format!("dev-{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?)))
}

/// The configuration that a file would hold for the demo clients.
fn config(issuer: &Issuer, secret: &Sensitive) -> Result<Config, Trouble> {
    let internal = |error: String| Trouble::new(Exit::Unavailable, error);
    let token_url = Url::parse(&issuer.token_url()).map_err(|error| internal(error.to_string()))?;
    let names = [CLIENT, PARTNER].map(ClientName::parse);
    let [demo, partner] = names.map(|name| name.map_err(|error| internal(error.to_string())));
    let requestor = RequestHeader {
        name: "Requestor-ID".into(),
        value: HeaderValueRule::PerCall { pattern: Some("[0-9]{1,20}".into()) },
    };
    let client = |headers: &[RequestHeader]| settings(token_url.clone(), secret.clone(), headers);
    // Whoever asks for `demo` finds a daemon that is ready, whether or not the other one's turn has come.
    let partner_settings = ClientSettings { required: false, ..client(&[requestor]) };
    let clients = [(demo?, Arc::new(client(&[]))), (partner?, Arc::new(partner_settings))];
    let own_uid = nix::unistd::geteuid().as_raw();
    Ok(Config {
        server: ServerSettings {
            socket: None,
            mode: 0o600,
            admins: Policy::new(own_uid, []),
            limits: Limits::default(),
            drain: Duration::from_secs(2),
            http: true,
        },
        clients: BTreeMap::from(clients),
        files: Vec::new(),
        warnings: Vec::new(),
    })
}

fn settings(token_url: Url, secret: Sensitive, headers: &[RequestHeader]) -> ClientSettings {
    ClientSettings {
        required: true,
        policy: Policy::new(nix::unistd::geteuid().as_raw(), []),
        refresh: Arc::new(RefreshPolicy::default()),
        request_headers: headers.into(),
        endpoint: Arc::new(Settings {
            place: Place::TokenUrl(token_url),
            grant: Grant::ClientCredentials,
            client_id: CLIENT_ID.into(),
            auth: ClientAuth::Secret { method: SecretMethod::Post, sources: [SecretSource::Drawn(secret)].into() },
            dpop: false,
            revocation: None,
            identity: None,
            scope: Some("demo".into()),
            audience: None,
            resource: Box::default(),
            parameters: Box::default(),
            token_type: None,
            expires_in_unit: LifetimeUnit::Seconds,
            expires_at_field: None,
            transport: Transport { plain: true, ..Transport::default() },
            attempt_timeout: Duration::from_secs(10),
        }),
    }
}

fn greeting(url: &str, socket: &Path, lifetime: Duration) -> String {
    // Other programs know where the system service listens; only the command line finds a user's socket by itself.
    let known = socket == Path::new(socket::SYSTEM);
    let export = if known { String::new() } else { format!("  export BEARERD_SOCKET={}\n", socket.display()) };
    let modes: String = Mode::ALL
        .iter()
        .map(|mode| format!("  curl -X POST {url}/dev/mode/{:<9} # {}\n", mode.name(), mode.explanation()))
        .collect();
    format!(
        "bearerd serves the clients `{CLIENT}` and `{PARTNER}` on {socket}\n\
         with tokens that live {life} from its own authorization server at {url}\n\
         \n\
         Try in another terminal:\n\
         {export}\
         \x20 export PARTNER_URL={url}\n\
         \x20 bearerd token {CLIENT}\n\
         \x20 bearerd status --watch\n\
         \x20 bearerd headers {CLIENT} | curl -H @- $PARTNER_URL/api/hello\n\
         \x20 bearerd headers {PARTNER} --set Requestor-ID=4711 | curl -H @- $PARTNER_URL/api/accounts\n\
         \n\
         Watch what happens when the authorization server misbehaves:\n\
         {modes}\
         \n\
         Ctrl-C ends it.\n\n",
        socket = socket.display(),
        life = humantime::format_duration(lifetime),
    )
}

/// The demo client.
const CLIENT: &str = "demo";
/// Another one, whose API wants a header with each call.
const PARTNER: &str = "partner";
/// The OAuth `client_id` of both.
const CLIENT_ID: &str = "demo-client";
/// Shorter tokens would meet the floor between two requests.
const SHORTEST: Duration = Duration::from_secs(10);
