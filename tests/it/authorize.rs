//! Who may have what, as the kernel says who they are.
//!
//! Root may have everything, and tests often run as root. So the caller here is another process with another user: a
//! [`Stranger`] connects to the daemon and passes on what the test says.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "what fails here fails the test")]

use std::{
    fs,
    io::{self, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{
            fs::PermissionsExt as _,
            net::{UnixListener, UnixStream},
            process::CommandExt as _,
        },
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use bearerd_client::{Channel, pb::v1};
use nix::unistd::{getegid, geteuid};
use tonic::{Code, Status};

use crate::support::{
    daemon::{ADMINS, Refusal, Running, client, within},
    idp::Idp,
};

/// A process of a user who is neither root nor the daemon's own, through which a test connects.
pub(crate) struct Stranger {
    relay: Child,
    uid: u32,
    gid: u32,
    near: PathBuf,
    channel: Channel,
}

impl Stranger {
    /// User and group of every stranger.
    pub(crate) fn ids() -> (u32, u32) {
        // A test that does not run as root is a stranger itself: the daemon's own user is somebody else.
        if geteuid().is_root() { (65_534, 65_534) } else { (geteuid().as_raw(), getegid().as_raw()) }
    }

    /// Connects to this daemon.
    pub(crate) async fn of(daemon: &Running) -> Self {
        fs::set_permissions(daemon.dir(), fs::Permissions::from_mode(0o755)).unwrap();
        let (uid, gid) = Self::ids();
        let near = daemon.dir().join("near.sock");
        let listener = UnixListener::bind(&near).unwrap();
        // Run by this link, the program need not lie where the other user may look.
        let mut command = Command::new("/proc/self/exe");
        let (_, module) = module_path!().split_once("::").unwrap();
        command.args([&format!("{module}::relay"), "--exact", "--ignored"]).env(RELAY_TO, daemon.socket());
        command.stdin(OwnedFd::from(listener)).stdout(Stdio::null()).stderr(Stdio::null());
        if geteuid().is_root() {
            command.uid(uid).gid(gid);
        }
        let relay = command.spawn().unwrap();
        let channel = Channel::connect(&near).await.unwrap();
        Self { relay, uid, gid, near, channel }
    }

    /// Its connection to the daemon.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Another connection of its to the daemon.
    pub(crate) async fn connect(&self) -> Channel {
        Channel::connect(&self.near).await.unwrap()
    }

    /// The same without a client on it.
    pub(crate) async fn connect_raw(&self) -> tokio::net::UnixStream {
        tokio::net::UnixStream::connect(&self.near).await.unwrap()
    }

    /// What it is told when it may not have `what`.
    pub(crate) fn denial(&self, what: &str) -> String {
        format!(
            "{what} is not allowed for this process (uid {}, gid {}, pid {}); an administrator can add a rule for it \
             to `allow` (or `admins`) in the configuration",
            self.uid,
            self.gid,
            self.relay.id()
        )
    }

    async fn token(&self, client: &str) -> Result<v1::Token, Status> {
        let request = v1::GetTokenRequest { client: client.to_owned(), ..v1::GetTokenRequest::default() };
        Ok(self.channel().broker().get_token(request).await?.into_inner().token.unwrap())
    }

    async fn listed(&self) -> Vec<String> {
        let listed = self.channel().broker().list_clients(v1::ListClientsRequest {}).await.unwrap();
        listed.into_inner().clients.into_iter().map(|client| client.name).collect()
    }

    async fn refresh(&self, client: &str) -> Result<v1::RefreshClientResponse, Status> {
        let order = v1::RefreshClientRequest { client: client.to_owned() };
        Ok(self.channel().admin().refresh_client(order).await?.into_inner())
    }

    fn assert_denied(&self, status: &Status, what: &str) {
        let refusal = Refusal::of(status);
        assert_eq!(refusal.told(), (Code::PermissionDenied, "CALLER_NOT_ALLOWED", &*self.denial(what)));
        assert_eq!(refusal.retry_in, None);
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.relay.kill();
        let _ = self.relay.wait();
    }
}

/// The other process: accepts what the test connects, and connects each to the daemon.
#[test]
#[ignore = "not a test: what a stranger runs"]
fn relay() {
    let Some(daemon) = std::env::var_os(RELAY_TO) else { return };
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
    for near in listener.incoming() {
        let (near, far) = (near.unwrap(), UnixStream::connect(&daemon).unwrap());
        let (near_again, far_again) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        thread::spawn(|| pass_on(near, far));
        thread::spawn(|| pass_on(far_again, near_again));
    }
}

fn pass_on(mut from: UnixStream, mut to: UnixStream) {
    let mut buffer = [0; 4_096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The other side may be gone already.
    let _ = to.shutdown(Shutdown::Write);
}

#[tokio::test]
async fn every_condition_of_one_rule_must_hold_and_any_rule_suffices() {
    let (uid, gid) = Stranger::ids();
    let (their_uid, their_gid) = (uid + 1, gid + 1);
    let rows = [
        ("no-rule", String::new(), false),
        ("empty", "allow = []".to_owned(), false),
        ("any", "allow = [{ any = true }]".to_owned(), true),
        ("uid", format!("allow = [{{ uid = {uid} }}]"), true),
        ("gid", format!("allow = [{{ gid = {gid} }}]"), true),
        ("other-uid", format!("allow = [{{ uid = {their_uid} }}]"), false),
        ("other-gid", format!("allow = [{{ gid = {their_gid} }}]"), false),
        ("root", "allow = [{ user = \"root\" }, { group = \"root\", uid = 0 }]".to_owned(), false),
        ("uid-and-gid", format!("allow = [{{ uid = {uid}, gid = {gid} }}]"), true),
        ("uid-and-other-gid", format!("allow = [{{ uid = {uid}, gid = {their_gid} }}]"), false),
        ("other-uid-and-gid", format!("allow = [{{ uid = {their_uid}, gid = {gid} }}]"), false),
        ("second-rule", format!("allow = [{{ uid = {their_uid} }}, {{ gid = {gid} }}]"), true),
    ];
    let idp = Idp::start();
    let daemon = Running::start(&rows.iter().map(|(name, allow, _)| client(name, &idp, allow)).collect::<String>());
    let stranger = Stranger::of(&daemon).await;
    for (name, _, allowed) in &rows {
        match stranger.token(name).await {
            Ok(token) => assert!(allowed, "{} was given to a stranger", token.client),
            Err(status) => {
                assert!(!allowed, "{name}: {status:?}");
                stranger.assert_denied(&status, &format!("client `{name}`"));
            }
        }
    }
    let mut allowed: Vec<_> = rows.iter().filter(|row| row.2).map(|row| row.0).collect();
    allowed.sort_unstable();
    assert_eq!(stranger.listed().await, allowed, "others are not even listed");
}

#[tokio::test]
async fn a_program_and_a_unit_are_asked_of_the_kernel() {
    let (uid, _) = Stranger::ids();
    let own = std::env::current_exe().unwrap();
    let shell = fs::canonicalize("/bin/sh").unwrap();
    let rows = [
        ("own-program", format!("allow = [{{ uid = {uid}, exe = {own:?} }}]"), true),
        ("other-program", format!("allow = [{{ uid = {uid}, exe = {shell:?} }}]"), false),
        ("other-uid", format!("allow = [{{ uid = {}, exe = {own:?} }}]", uid + 1), false),
        ("other-unit", format!("allow = [{{ uid = {uid}, unit = \"no-such@.service\" }}]"), false),
        ("other-slice", "allow = [{ slice = \"no-such.slice\" }]".to_owned(), false),
        ("optional", "allow = [{ user = \"no-such-user\", optional = true }]".to_owned(), false),
    ];
    let idp = Idp::start();
    let daemon = Running::start(&rows.iter().map(|(name, allow, _)| client(name, &idp, allow)).collect::<String>());
    let stranger = Stranger::of(&daemon).await;
    for (name, _, allowed) in &rows {
        match stranger.token(name).await {
            Ok(_) => assert!(allowed, "{name} was given to a stranger"),
            Err(status) => {
                let told = Refusal::of(&status);
                assert_eq!((told.code, told.reason.as_str()), (Code::PermissionDenied, "CALLER_NOT_ALLOWED"), "{name}");
                assert!(!allowed && told.text.contains("unit"), "{name}: {} says where the process is", told.text);
            }
        }
    }
}

#[tokio::test]
async fn a_connection_from_before_its_process_was_asked_about_is_renewed() {
    let (uid, _) = Stranger::ids();
    let own = std::env::current_exe().unwrap();
    let idp = Idp::start();
    let daemon = Running::start(&format!("{ADMINS}{}", client("demo", &idp, &format!("allow = [{{ uid = {uid} }}]"))));
    let stranger = Stranger::of(&daemon).await;
    stranger.token("demo").await.unwrap();
    let narrower = client("demo", &idp, &format!("allow = [{{ uid = {uid}, exe = {own:?} }}]"));
    assert!(daemon.reload(&format!("{ADMINS}{narrower}")).await.applied);
    // The old connection is told to go; until it has gone, it is refused rather than believed.
    within(async { while stranger.token("demo").await.is_ok_and(|_| panic!("nobody knows what program this is")) {} })
        .await;
    let again = stranger.connect().await;
    let request = v1::GetTokenRequest { client: "demo".to_owned(), ..v1::GetTokenRequest::default() };
    again.broker().get_token(request).await.unwrap();
}

#[tokio::test]
async fn a_denial_and_an_unknown_name_are_told_apart() {
    let idp = Idp::start();
    let daemon = Running::start(&client("demo", &idp, ""));
    let stranger = Stranger::of(&daemon).await;
    let status = stranger.token("demos").await.unwrap_err();
    let text = "no client `demos` is configured; did you mean `demo`?";
    assert_eq!(Refusal::of(&status).told(), (Code::NotFound, "CLIENT_UNKNOWN", text));
    stranger.assert_denied(&stranger.token("demo").await.unwrap_err(), "client `demo`");
    let request = v1::WatchTokenRequest { client: "demo".to_owned() };
    let status = stranger.channel().broker().watch_token(request).await.unwrap_err();
    stranger.assert_denied(&status, "client `demo`");
}

#[tokio::test]
async fn only_administrators_administer() {
    let idp = Idp::start();
    let daemon = Running::start(&client("demo", &idp, "allow = [{ any = true }]"));
    let stranger = Stranger::of(&daemon).await;
    assert!(stranger.token("demo").await.is_ok());
    stranger.assert_denied(&stranger.refresh("demo").await.unwrap_err(), "`Admin.RefreshClient`");
    stranger.assert_denied(&stranger.refresh("unknown").await.unwrap_err(), "`Admin.RefreshClient`");
    let mut admin = stranger.channel().admin();
    stranger.assert_denied(&admin.reload(v1::ReloadRequest {}).await.unwrap_err(), "`Admin.Reload`");
    stranger.assert_denied(&admin.get_info(v1::GetInfoRequest {}).await.unwrap_err(), "`Admin.GetInfo`");
    assert_eq!(idp.request_count(), 1);
}

#[tokio::test]
async fn an_administrator_sees_all_clients_and_gets_no_token_by_that() {
    let (uid, _) = Stranger::ids();
    let idp = Idp::start();
    let clients = client("demo", &idp, "prefetch = false") + &client("other", &idp, "prefetch = false");
    let daemon = Running::start(&format!("[server]\nadmins = [{{ uid = {uid} }}]\n{clients}"));
    let stranger = Stranger::of(&daemon).await;
    assert_eq!(stranger.listed().await, ["demo", "other"]);
    let refreshed = stranger.refresh("demo").await.unwrap();
    assert!(refreshed.renewed);
    assert_eq!(refreshed.status.unwrap().state(), v1::ClientState::Fresh);
    let status = stranger.refresh("demi").await.unwrap_err();
    let text = "no client `demi` is configured; did you mean `demo`?";
    assert_eq!(Refusal::of(&status).told(), (Code::NotFound, "CLIENT_UNKNOWN", text));
    let info = stranger.channel().admin().get_info(v1::GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.version.as_str(), info.pid), (env!("CARGO_PKG_VERSION"), std::process::id()));
    assert_eq!((info.clients, info.clients_usable, info.connections, info.calls), (2, 1, 1, 1));
    assert_eq!(info.config_files, [daemon.dir().join("bearerd.toml").display().to_string()]);
    stranger.assert_denied(&stranger.token("demo").await.unwrap_err(), "client `demo`");
}

/// Tells [`relay`] where the daemon listens.
const RELAY_TO: &str = "BEARERD_TEST_RELAY_TO";
