//! The daemon under a service manager: a stand-in for it passes a socket, listens to notifications, and keeps what it is
//! given. A real one is in `tests/systemd`.

use std::{
    collections::BTreeMap,
    fs,
    io::{IoSliceMut, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::net::{UnixDatagram, UnixListener},
    },
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use bearerd::systemd::sealed;
use bearerd_client::{Channel, pb::v1};
use nix::sys::{
    signal::Signal,
    socket::{ControlMessageOwned, MsgFlags, recvmsg},
};
use regex_lite::Regex;
use tempfile::TempDir;

use crate::support::{
    binary::{Ended, Process, bearerd, run},
    daemon::{client, write_secret},
    idp::{Answer, Idp},
};

/// Stands in for the service manager of one service.
struct Manager {
    dir: TempDir,
    listener: UnixListener,
    notifications: UnixDatagram,
    store: BTreeMap<String, OwnedFd>,
}

impl Manager {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_secret(&dir.path().join("secret"), "hunter2\n");
        let listener = UnixListener::bind(dir.path().join("b.sock")).unwrap();
        let notifications = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        notifications.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let manager = Self { dir, listener, notifications, store: BTreeMap::new() };
        manager.configure(config);
        manager
    }

    fn configure(&self, config: &str) {
        let config = config.replace("@DIR@", self.dir.path().to_str().unwrap());
        fs::write(self.dir.path().join("bearerd.toml"), config).unwrap();
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("b.sock")
    }

    fn run(&self, words: &[&str]) -> Ended {
        run(&self.socket(), words)
    }

    /// Starts the service with the socket and with what is in the store.
    fn start(&self) -> Process {
        self.start_with(|_| {})
    }

    fn start_with(&self, change: impl FnOnce(&mut Command)) -> Process {
        let own = std::process::id();
        let (mut names, mut opened) = ("bearerd".to_owned(), String::new());
        for (number, (name, memory)) in self.store.iter().enumerate() {
            opened.push_str(&format!(" {}</proc/{own}/fd/{}", number + 4, memory.as_raw_fd()));
            names.push_str(&format!(":{name}"));
        }
        // A shell gives the descriptors their numbers, and is the process that they are for.
        let script = format!("exec 3<&0 0</dev/null{opened}; LISTEN_PID=$$ exec \"$0\" \"$@\"");
        let mut command = Command::new("/bin/sh");
        command.env_clear().arg("-c").arg(script).arg(bearerd().get_program());
        command.arg("run").arg("--config").arg(self.dir.path().join("bearerd.toml"));
        command.env("LISTEN_FDS", (self.store.len() + 1).to_string()).env("LISTEN_FDNAMES", names);
        command.env("NOTIFY_SOCKET", self.dir.path().join("notify"));
        command.stdin(Stdio::from(OwnedFd::from(self.listener.try_clone().unwrap())));
        change(&mut command);
        Process::spawn(&mut command)
    }

    /// The next notification, carried out.
    fn next(&mut self) -> String {
        let mut bytes = [0; 4_096];
        let mut room = nix::cmsg_space!([std::os::fd::RawFd; 4]);
        let number = self.notifications.as_raw_fd();
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let got = recvmsg::<()>(number, &mut slices, Some(&mut room), MsgFlags::empty()).expect("a notification");
        let mut received = Vec::new();
        for message in got.cmsgs().unwrap() {
            if let ControlMessageOwned::ScmRights(numbers) = message {
                // SAFETY: the kernel has just made them for this process.
                #[allow(unsafe_code, reason = "numbers are how the kernel passes descriptors")]
                received.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
            }
        }
        let length = got.bytes;
        let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
        let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or_default();
        if text.contains("FDSTORE=1") {
            assert_eq!(received.len(), 1, "{text}");
            self.store.insert(name.to_owned(), received.pop().unwrap());
        } else if text.contains("FDSTOREREMOVE=1") {
            self.store.remove(name);
        }
        text
    }

    /// Everything up to the first notification with this in it, which is the last.
    fn until(&mut self, wanted: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            all.push(self.next());
            if all.last().unwrap().contains(wanted) {
                return all;
            }
        }
    }

    /// The notification with this in it, with times replaced.
    fn told(&mut self, wanted: &str) -> String {
        let time = Regex::new("[0-9-]{10} [0-9:]{5} UTC").unwrap();
        time.replace_all(&self.until(wanted).pop().unwrap(), "TIME").into_owned()
    }

    /// Waits until tokens are in the store, and what was stored before them is not.
    fn until_tokens_are_stored(&mut self, tokens: usize) {
        while self.store.len() != 1 || self.stored().matches("tok-").count() != tokens {
            self.next();
        }
    }

    /// Waits until what is stored has this in it.
    fn until_stored(&mut self, text: &str) {
        while self.store.len() != 1 || !self.stored().contains(text) {
            self.next();
        }
    }

    /// What is in the store, as text.
    fn stored(&self) -> String {
        let memory = self.store.values().next().unwrap();
        String::from_utf8_lossy(&sealed::read(memory, 1 << 20).unwrap()).into_owned()
    }

    /// Stops the service, and takes what it says meanwhile.
    fn stop(&mut self, mut process: Process) -> Ended {
        process.signal(Signal::SIGTERM);
        self.until("STOPPING=1");
        let ended = process.ended();
        self.take_waiting();
        ended
    }

    /// Takes what has been sent by a process that has ended.
    fn take_waiting(&mut self) {
        let end = UnixDatagram::unbound().unwrap();
        end.send_to(b"LAST", self.dir.path().join("notify")).unwrap();
        self.until("LAST");
    }
}

/// A client that everybody may use.
fn open(name: &str, idp: &Idp, more: &str) -> String {
    client(name, idp, &format!("allow = [{{ any = true }}]\n{more}"))
}

/// The id of the token that callers get now.
fn token_id(manager: &Manager) -> String {
    let ended = manager.run(&["token", "demo", "--json"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    let token: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    token["id"].as_str().unwrap().to_owned()
}

#[test]
fn ready_is_told_after_the_first_round_and_an_outage_does_not_hold_it_up() {
    let (idp, down) = (Idp::start(), Idp::start());
    down.next(Answer::error(503, "temporarily_unavailable").header("retry-after", "600"));
    let mut manager = Manager::new(&[open("demo", &idp, ""), open("wawex", &down, "")].concat());
    let _process = manager.start();
    assert_eq!(manager.told("STATUS="), "STATUS=1 of 2 clients ready; wawex without a token since TIME\n");
    assert_eq!(manager.next(), "READY=1\n");
}

#[test]
fn a_reload_is_told_from_its_beginning_to_its_end() {
    let idp = Idp::start();
    let mut manager = Manager::new(&open("demo", &idp, "prefetch = false"));
    let process = manager.start();
    assert_eq!(manager.told("STATUS="), "STATUS=1 client ready\n");
    manager.until("READY=1");
    process.signal(Signal::SIGHUP);
    // Nothing has changed, so the line stays as it is.
    let told = manager.until("READY=1");
    assert!(told.iter().any(|told| told.contains("RELOADING=1")) && !told.concat().contains("STATUS="), "{told:?}");
    manager.configure(&[open("demo", &idp, "prefetch = false"), open("more", &idp, "prefetch = false")].concat());
    process.signal(Signal::SIGHUP);
    assert!(manager.told("RELOADING=1").contains("\nMONOTONIC_USEC="));
    manager.until("READY=1");
    assert_eq!(manager.told("STATUS="), "STATUS=2 clients ready\n");
    manager.configure("[clients]\n[server]\nnonsense = 1");
    assert_eq!(manager.run(&["reload"]).code, Some(78));
    manager.until("RELOADING=1");
    manager.until("READY=1");
    let told = "STATUS=2 clients ready; new configuration not applied: 1 problem, see the log\n";
    assert_eq!(manager.told("STATUS="), told);
}

#[test]
fn the_watchdog_is_fed() {
    let mut manager = Manager::new("[clients]");
    let _process = manager.start_with(|command| {
        command.env("WATCHDOG_USEC", "20000");
    });
    for _ in 0..3 {
        manager.until("WATCHDOG=1\n");
    }
}

#[test]
fn a_restart_keeps_tokens_connections_and_the_socket() {
    let idp = Idp::start();
    let mut manager = Manager::new(&open("demo", &idp, ""));
    let first = manager.start();
    let id = token_id(&manager);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut broker = runtime.block_on(Channel::connect(&manager.socket())).unwrap().renewed(&manager.socket()).broker();
    let watched = v1::WatchTokenRequest { client: "demo".to_owned() };
    let mut stream = runtime.block_on(broker.watch_token(watched)).unwrap().into_inner();
    runtime.block_on(stream.message()).unwrap().unwrap();
    let ended = manager.stop(first);
    assert!(runtime.block_on(stream.message()).is_err(), "the daemon goes");
    assert_eq!(ended.code, Some(0));
    assert!(manager.socket().exists(), "it is not the daemon's to remove");
    // Connects to a service that is not there, and waits.
    let mut waiting = Process::spawn(bearerd().args(["token", "demo", "--json", "--socket"]).arg(manager.socket()));
    let second = manager.start();
    second.wait_for_stderr("tokens taken over tokens=1");
    let asked = v1::GetTokenRequest { client: "demo".to_owned(), ..Default::default() };
    let answer = runtime.block_on(broker.get_token(asked)).unwrap().into_inner();
    assert_eq!(answer.token.unwrap().id, id, "a channel of before goes on with the next daemon");
    assert!(waiting.ended().stdout.contains(&id));
    assert_eq!(idp.request_count(), 1);
}

#[test]
fn a_killed_daemon_loses_no_token() {
    let idp = Idp::start();
    let mut manager = Manager::new(&open("demo", &idp, ""));
    let mut first = manager.start();
    let id = token_id(&manager);
    manager.until_tokens_are_stored(1);
    first.signal(Signal::SIGKILL);
    first.ended();
    let _second = manager.start();
    assert_eq!(token_id(&manager), id);
    assert_eq!(idp.request_count(), 1);
}

#[test]
fn a_token_that_was_reported_is_not_served_again_by_the_next_daemon() {
    let idp = Idp::start();
    for how in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut manager = Manager::new(&open("demo", &idp, ""));
        idp.otherwise(|number| Answer::token(&format!("tok-{number}"), 3_600));
        let mut first = manager.start();
        let id = token_id(&manager);
        // Too young to be replaced, and then the issuer is gone: the report is all there is.
        idp.otherwise(|_| Answer::error(503, "temporarily_unavailable").header("retry-after", "600"));
        std::iter::repeat_with(|| manager.run(&["token", "demo", "--rejected", &id]))
            .find(|ended| ended.stderr.contains("ISSUER_BUSY"))
            .unwrap();
        if how == Signal::SIGKILL {
            manager.until_stored("temporarily_unavailable");
        }
        first.signal(how);
        first.ended();
        manager.take_waiting();
        let before = idp.request_count();
        let _second = manager.start();
        assert!(manager.run(&["token", "demo"]).stderr.contains("ISSUER_BUSY"), "{how}");
        let status = manager.run(&["status"]).stdout;
        assert!(status.contains("failures: 1"), "the run of failures goes on: {status}");
        assert_eq!(idp.request_count(), before, "the issuer has asked for rest");
    }
}

#[test]
fn tokens_of_clients_that_are_gone_or_ask_for_something_else_are_dropped() {
    let idp = Idp::start();
    let named = |names: &[&str], more: &str| names.iter().map(|name| open(name, &idp, more)).collect::<String>();
    let mut manager = Manager::new(&named(&["demo", "gone", "other"], ""));
    let first = manager.start();
    manager.until_tokens_are_stored(3);
    manager.stop(first);
    let more = "prefetch = false\nrefresh = { earliest = 0.5, latest = 0.6 }";
    manager.configure(&[named(&["demo"], more), named(&["other"], "prefetch = false\nscope = [\"b\"]")].concat());
    let second = manager.start();
    second.wait_for_stderr("tokens taken over tokens=1 dropped=2");
    manager.until_tokens_are_stored(1);
    let status: serde_json::Value = serde_json::from_str(&manager.run(&["status", "--json"]).stdout).unwrap();
    let states: Vec<_> = status["clients"].as_array().unwrap().iter().map(|client| &client["state"]).collect();
    assert_eq!(states, ["FRESH", "IDLE"]);
    assert_eq!(idp.request_count(), 3);
}

#[test]
fn what_is_revoked_or_bound_to_a_key_is_not_handed_over() {
    let idp = Idp::start();
    let revoked = format!("revoke_on_stop = true\nrevocation_url = \"{}\"", idp.token_url());
    let mut manager = Manager::new(&[open("demo", &idp, ""), open("revoked", &idp, &revoked)].concat());
    let first = manager.start();
    assert_eq!(manager.run(&["token", "revoked"]).code, Some(0));
    assert_eq!(manager.run(&["token", "demo"]).code, Some(0));
    manager.stop(first);
    assert_eq!(manager.stored().matches("tok-").count(), 1);
}

#[test]
fn what_makes_no_sense_is_let_go_and_keeps_nobody_from_starting() {
    let idp = Idp::start();
    let mut manager = Manager::new(&open("demo", &idp, ""));
    manager.store.insert("bearerd-tokens-7".to_owned(), sealed::create("test", b"nonsense").unwrap());
    let process = manager.start();
    process.wait_for_stderr(
        "tokens of the last process are not used stored=\"bearerd-tokens-7\" error=\"it holds no tokens\"",
    );
    assert_eq!(manager.next(), "FDSTOREREMOVE=1\nFDNAME=bearerd-tokens-7\n");
    token_id(&manager);
}

#[test]
fn what_is_configured_of_a_passed_socket_and_does_not_count_is_told() {
    let idp = Idp::start();
    let server = "[server]\nsocket = \"/run/elsewhere.sock\"\nmode = \"0600\"\n";
    let manager = Manager::new(&format!("{server}{}", open("demo", &idp, "")));
    let process = manager.start();
    process.wait_for_stderr("where to listen does not count: the socket unit says it (ListenStream=)");
    process.wait_for_stderr("server.mode does not count: the socket unit says who may connect (SocketMode=)");
    token_id(&manager);
}

#[test]
fn a_socket_can_be_passed_without_a_manager_that_listens() {
    let idp = Idp::start();
    let manager = Manager::new(&open("demo", &idp, ""));
    let mut process = manager.start_with(|command| {
        command.env_remove("NOTIFY_SOCKET");
    });
    token_id(&manager);
    process.signal(Signal::SIGTERM);
    assert_eq!(process.ended().code, Some(0));
    assert!(manager.socket().exists());
}

#[test]
fn a_manager_that_does_not_read_holds_up_nobody() {
    let idp = Idp::start();
    let manager = Manager::new(&open("demo", &idp, ""));
    let full = UnixDatagram::unbound().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.send_to(b"X", manager.dir.path().join("notify")).is_ok() {}
    let mut process = manager.start_with(|command| {
        command.env("WATCHDOG_USEC", "2000");
    });
    for _ in 0..20 {
        token_id(&manager);
    }
    process.signal(Signal::SIGTERM);
    assert_eq!(process.ended().code, Some(0));
}

#[test]
fn variables_that_are_meant_for_somebody_else_are_let_alone_and_wrong_ones_are_named() {
    let idp = Idp::start();
    let manager = Manager::new(&open("demo", &idp, ""));
    fs::remove_file(manager.socket()).unwrap();
    let run = |variables: &[(&str, &str)]| {
        let mut command = bearerd();
        command.arg("run").arg("--config").arg(manager.dir.path().join("bearerd.toml"));
        command.arg("--socket").arg(manager.socket()).envs(variables.iter().copied());
        Process::spawn(&mut command)
    };
    let others = [("LISTEN_PID", "1"), ("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "a:b")];
    let process = run(&others);
    process.wait_for_stderr(" serving ");
    drop(process);
    // For this very process, there is none of that number.
    let script = "exec 3<&-; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a exec \"$0\" run";
    let ended = Ended::of(Command::new("/bin/sh").arg("-c").arg(script).arg(bearerd().get_program()).output().unwrap());
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains("LISTEN_FDS and LISTEN_FDNAMES: "), "{}", ended.stderr);
}

#[test]
fn a_socket_that_cannot_be_served_is_refused() {
    let manager = Manager::new("[clients]");
    let process = manager.start_with(|command| {
        command.stdin(Stdio::from(OwnedFd::from(UnixDatagram::unbound().unwrap())));
    });
    let mut process = process;
    let ended = process.ended();
    assert_eq!(ended.code, Some(78));
    let text = "the socket `bearerd` is not a listening Unix stream socket (ListenStream=/path, Accept=no)";
    assert!(ended.stderr.contains(text), "{}", ended.stderr);
}

#[test]
fn who_does_not_end_a_call_does_not_hold_up_a_restart() {
    let idp = Idp::start();
    // For as long as a test may take: if the daemon waited for that, this one would fail.
    let config = format!("[server]\ndrain = \"10m\"\n{}", open("demo", &idp, ""));
    let manager = Manager::new(&config);
    let process = manager.start();
    token_id(&manager);
    let mut begun = std::os::unix::net::UnixStream::connect(manager.socket()).unwrap();
    // The preface, SETTINGS, and the HEADERS of a call to GetToken whose message never comes.
    let path = b"/bearerd.v1.TokenBroker/GetToken";
    let mut block = vec![0x83, 0x86, 0x44, u8::try_from(path.len()).unwrap()];
    block.extend_from_slice(path);
    block.extend_from_slice(b"\x41\x09localhost\x5f\x10application/grpc");
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    sent.extend_from_slice(&[0, 0, u8::try_from(block.len()).unwrap(), 1, 4, 0, 0, 0, 1]);
    sent.extend_from_slice(&block);
    begun.write_all(&sent).unwrap();
    // It is under way when the daemon says so.
    let info = std::iter::repeat_with(|| manager.run(&["status", "--json"]));
    assert!(info.take(3).all(|ended| ended.code == Some(0)));
    let mut process = process;
    process.signal(Signal::SIGTERM);
    // Waited for twenty seconds, and less than the thirty that a caller has for its request otherwise.
    let log = process.wait_for_stderr("drained cut_off=0");
    assert!(log.contains("draining deadline_s=600 calls=1"), "{log}");
    assert_eq!(process.ended().code, Some(0));
}
