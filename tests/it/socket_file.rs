//! The socket's file: who may have put it there, and what happens when somebody takes it away.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _, chown},
        net::UnixListener,
    },
    path::Path,
};

use nix::unistd::geteuid;

use crate::support::{
    binary::{Daemon, NOBODY, Process, bearerd, bearerd_as_nobody, run},
    daemon::{ANYBODY, client},
    idp::Idp,
};

fn daemon(idp: &Idp) -> Daemon {
    Daemon::start(&client("demo", idp, ANYBODY), &[])
}

fn token(socket: &Path) -> (Option<i32>, String) {
    let ended = run(socket, &["token", "demo"]);
    (ended.code, ended.stdout)
}

#[test]
fn a_socket_that_is_removed_is_bound_again() {
    let idp = Idp::start();
    let daemon = daemon(&idp);
    fs::remove_file(daemon.socket()).unwrap();
    let log = daemon.wait_for_log("listening again");
    assert!(log.contains("the socket's file was removed or replaced"), "{log}");
    assert_eq!(token(&daemon.socket()), (Some(0), "tok-1\n".to_owned()));
    assert_eq!(fs::metadata(daemon.socket()).unwrap().permissions().mode() & 0o777, 0o666);
}

#[test]
fn a_socket_that_is_replaced_by_something_else_is_not_taken_away() {
    let idp = Idp::start();
    let daemon = daemon(&idp);
    let aside = daemon.dir().join("aside");
    fs::write(&aside, "mine").unwrap();
    fs::rename(&aside, daemon.socket()).unwrap();
    daemon.wait_for_log("callers cannot connect");
    assert_eq!(fs::read_to_string(daemon.socket()).unwrap(), "mine");
    fs::remove_file(daemon.socket()).unwrap();
    daemon.wait_for_log("listening again");
    assert!(fs::metadata(daemon.socket()).unwrap().file_type().is_socket());
    assert_eq!(token(&daemon.socket()).0, Some(0));
}

#[test]
fn a_directory_above_that_others_can_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = dir.path().join("open");
    let inner = open.join("inner");
    fs::create_dir_all(&inner).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let socket = inner.join("b.sock");
    let dev = || bearerd().arg("--socket").arg(&socket).args(["dev", "--port", "0"]).output().unwrap();
    let ended = dev();
    let text = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(69), "{text}");
    assert!(text.contains(&format!("the directory {} (owner uid", open.display())), "{text}");
    assert!(!socket.exists());
    // Sticky, nobody can rename what belongs to others: that is how /tmp is safe to have directories in.
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    let mut process = Process::spawn(bearerd().arg("--socket").arg(&socket).args(["dev", "--port", "0"]));
    process.wait_for_stderr("serving");
    process.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(process.ended().code, Some(0));
}

#[test]
fn a_client_asks_nobody_who_could_not_be_the_daemon() {
    if !geteuid().is_root() {
        // Only root can make somebody else listen.
        return;
    }
    let home = tempfile::tempdir().unwrap();
    // The daemon's own code as another user, in a directory of that user's, is believed there ...
    let mut command = bearerd_as_nobody(home.path()).unwrap();
    let own = home.path().join("b.sock");
    let mut process = Process::spawn(command.arg("--socket").arg(&own).args(["dev", "--port", "0"]));
    process.wait_for_stderr("serving");
    assert_eq!(run(&own, &["token", "demo"]).code, Some(0), "the directory is that user's");
    // ... and not where anybody could have put its socket.
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let ended = run(&own, &["token", "demo"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(69), ""));
    assert!(ended.stderr.contains(&format!("whoever listens there is uid {NOBODY}")), "{}", ended.stderr);
    process.signal(nix::sys::signal::Signal::SIGTERM);
    process.ended();
}

#[test]
fn a_start_does_not_hang_at_a_daemon_that_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("b.sock");
    let deaf = UnixListener::bind(&socket).unwrap();
    // Nobody accepts, so the backlog fills up; one more would wait for ever.
    let mut waiting = Vec::new();
    loop {
        let one = nix::sys::socket::socket(
            nix::sys::socket::AddressFamily::Unix,
            nix::sys::socket::SockType::Stream,
            nix::sys::socket::SockFlag::SOCK_NONBLOCK,
            None,
        )
        .unwrap();
        let address = nix::sys::socket::UnixAddr::new(&socket).unwrap();
        if nix::sys::socket::connect(std::os::fd::AsRawFd::as_raw_fd(&one), &address).is_err() {
            break;
        }
        waiting.push(one);
    }
    let ended = bearerd().arg("--socket").arg(&socket).args(["dev", "--port", "0"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(69));
    let text = String::from_utf8(ended.stderr).unwrap();
    assert!(text.contains("a living process listens here"), "{text}");
    drop((deaf, waiting));
}

#[test]
fn inherited_descriptors_are_dropped() {
    let idp = Idp::start();
    let dir = tempfile::tempdir().unwrap();
    let left_open = dir.path().join("left-open");
    fs::write(&left_open, "not for the daemon").unwrap();
    let program = env!("CARGO_BIN_EXE_bearerd");
    let daemon = Daemon::start_with(&client("demo", &idp, ANYBODY), &[], |command| {
        // A shell opens a file as descriptor 9 and leaves it open for what it executes.
        let words: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
        let mut shell = std::process::Command::new("/bin/sh");
        shell.arg("-c").arg(format!("exec 9<'{}'; exec {program} \"$@\"", left_open.display())).arg("sh").args(words);
        *command = shell;
    });
    let targets: Vec<_> = fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .collect();
    assert!(targets.len() > 3, "{targets:?}");
    assert!(!targets.contains(&left_open), "{targets:?}");
}

#[test]
fn a_process_with_secrets_leaves_no_core_and_cannot_be_looked_into() {
    let idp = Idp::start();
    let daemon = daemon(&idp);
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    if geteuid().is_root() {
        // The kernel gives the files below /proc of a process that may not be dumped to root.
        let home = tempfile::tempdir().unwrap();
        chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let mut command = bearerd_as_nobody(home.path()).unwrap();
        let mut process =
            Process::spawn(command.arg("--socket").arg(home.path().join("b.sock")).args(["dev", "--port", "0"]));
        process.wait_for_stderr("serving");
        let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(format!("/proc/{}/mem", process.pid())).unwrap());
        assert_eq!(owner, 0);
        process.signal(nix::sys::signal::Signal::SIGTERM);
        process.ended();
    }
}
