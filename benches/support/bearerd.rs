//! The daemon under test: the real binary with a real configuration, policy in force.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use bearerd_client::{
    Channel,
    pb::v1::{GetInfoRequest, GetTokenResponse},
};
use prost::Message as _;
use tempfile::TempDir;
use tokio::{runtime, time::sleep};

use super::{
    Bench, Outcome,
    caller::Caller,
    client_name,
    issuer::{Issuer, TOKEN_LENGTH},
    process::Process,
    wire::Expected,
};

/// A server to call.
pub(crate) struct Served {
    pub(crate) process: Process,
    pub(crate) socket: PathBuf,
    pub(crate) expected: Expected,
    pub(crate) dir: TempDir,
}

/// Starts a daemon with so many clients and waits until all have a token. `under` is put before the command.
pub(crate) fn start(bench: &Bench, clients: u32, under: &[&str]) -> Outcome<Served> {
    started(bench, clients, Prepared::new(&bench.issuer, clients)?, under)
}

/// Starts one that is configured otherwise.
pub(crate) fn start_with(bench: &Bench, clients: u32, settings: Settings) -> Outcome<Served> {
    started(bench, clients, Prepared::with(&bench.issuer, clients, settings)?, &[])
}

fn started(bench: &Bench, clients: u32, prepared: Prepared, under: &[&str]) -> Outcome<Served> {
    let mut process = prepared.spawn(bench, under)?;
    let Prepared { dir, socket } = prepared;
    wait_until_usable(&mut process, &socket, clients)?;
    let length = checked(&Caller::fetch(&socket, &bench.script)?)?;
    let expected = Expected { length, give_or_take: if clients == 1 { 0 } else { 8 } };
    Ok(Served { process, socket, expected, dir })
}

/// What can be different from one configuration to the next.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// Keys of `server.limits`, as TOML.
    pub(crate) limits: &'static str,
    /// The rules of each client, as TOML.
    pub(crate) allow: &'static str,
}

impl Default for Settings {
    /// Rules that do not fit come first: the last one is the one that admits.
    fn default() -> Self {
        let allow = "{ uid = 4000000001 }, { uid = 4000000002, gid = 7 }, { gid = 4000000003 }, { any = true }";
        Self { limits: "", allow }
    }
}

/// A configuration in a directory of its own, for a daemon that is yet to be started.
pub(crate) struct Prepared {
    pub(crate) dir: TempDir,
    pub(crate) socket: PathBuf,
}

impl Prepared {
    pub(crate) fn new(issuer: &Issuer, clients: u32) -> Outcome<Self> {
        Self::with(issuer, clients, Settings::default())
    }

    fn with(issuer: &Issuer, clients: u32, settings: Settings) -> Outcome<Self> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("secret"), "hunter2\n")?;
        fs::set_permissions(dir.path().join("secret"), fs::Permissions::from_mode(0o600))?;
        fs::write(dir.path().join("bearerd.toml"), configuration(dir.path(), issuer, clients, settings)?)?;
        let socket = dir.path().join("b.sock");
        Ok(Self { dir, socket })
    }

    pub(crate) fn spawn(&self, bench: &Bench, under: &[&str]) -> Outcome<Process> {
        let binary = bench.bearerd.to_str().ok_or("a path that is no text")?;
        let (program, words) =
            [under, &[binary]].concat().split_first().map(|(first, rest)| (*first, rest.to_vec())).ok_or("")?;
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").args(words).arg("run").arg("--config");
        command.arg(self.dir.path().join("bearerd.toml")).arg("--socket").arg(&self.socket);
        Process::spawn(&mut command, self.dir.path().join("log"))
    }
}

fn configuration(dir: &Path, issuer: &Issuer, clients: u32, settings: Settings) -> Outcome<String> {
    let Settings { limits, allow } = settings;
    let mut text = format!("[server.limits]\n{limits}\n");
    for client in 0..clients {
        writeln!(
            text,
            "[clients.{name}]\ntoken_url = \"{url}\"\nclient_id = \"id-of-{name}\"\n\
             client_secret = {{ file = \"{dir}/secret\" }}\nscope = [\"bench\"]\n\
             allow = [{allow}]\n",
            name = client_name(client),
            url = issuer.token_url(client),
            dir = dir.display()
        )?;
    }
    Ok(text)
}

fn wait_until_usable(process: &mut Process, socket: &Path, clients: u32) -> Outcome<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let started = Instant::now();
    runtime.block_on(async {
        let mut usable = None;
        while usable != Some(clients) {
            process.alive()?;
            if started.elapsed() > PATIENCE {
                return Err(format!("{usable:?} of {clients} clients have a token after {PATIENCE:?}").into());
            }
            sleep(if clients > 1_000 { Duration::from_millis(500) } else { Duration::from_millis(20) }).await;
            // Nobody listens yet, at first.
            let Ok(channel) = Channel::connect(socket).await else { continue };
            usable = Some(channel.admin().get_info(GetInfoRequest {}).await?.into_inner().clients_usable);
        }
        Ok(())
    })
}

/// The length of a reply that is what it should be.
fn checked(message: &[u8]) -> Outcome<usize> {
    let token = GetTokenResponse::decode(message)?.token.ok_or("a reply without a token")?;
    let whole = token.client == client_name(0)
        && token.access_token.len() == TOKEN_LENGTH
        && token.authorization == format!("Bearer {}", token.access_token);
    if whole { Ok(message.len()) } else { Err("a reply with another token than the issuer gave".into()) }
}

/// A hundred thousand clients take a while.
const PATIENCE: Duration = Duration::from_secs(300);
