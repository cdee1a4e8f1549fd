//! Every reason for not getting a token, with the exit code that scripts go by.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use nix::sys::signal::Signal;

use super::{ClosedPort, client, fails, prints};
use crate::support::{
    binary::{Daemon, Ended, NOBODY, Process, bearerd, bearerd_as_nobody, run},
    idp::{Answer, Idp},
};

/// Runs the binary as [`NOBODY`]; `None` where the tests may not do that.
fn run_as_nobody(socket: &Path, words: &[&str]) -> Option<Ended> {
    let home = tempfile::tempdir().unwrap();
    let mut command = bearerd_as_nobody(home.path())?;
    Some(Ended::of(command.env("BEARERD_SOCKET", socket).args(words).output().unwrap()))
}

/// Lets other users reach the socket in the daemon's directory.
fn open_to_others(daemon: &Daemon) {
    fs::set_permissions(daemon.dir(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn without_a_daemon_every_verb_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("b.sock");
    let verbs: [&[&str]; 7] = [
        &["token", "demo"],
        &["headers", "demo"],
        &["exec", "demo", "--", "echo", "not run"],
        &["status"],
        &["health"],
        &["refresh", "demo"],
        &["reload"],
    ];
    for words in verbs {
        assert_eq!(
            run(&socket, words).plain(dir.path()),
            fails(
                69,
                "bearerd: no daemon: there is no socket at DIR/b.sock; start it (`systemctl start bearerd`, or \
                 `bearerd dev` to try it out), or set BEARERD_SOCKET to the path of its socket\n"
            ),
            "{words:?}"
        );
    }
}

#[test]
fn a_socket_that_was_left_behind_is_told_from_a_missing_one() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("b.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert_eq!(
        run(&socket, &["token", "demo"]).plain(dir.path()),
        fails(
            69,
            "bearerd: no daemon: nobody listens on DIR/b.sock, it was left behind; start the daemon (`systemctl start \
             bearerd`)\n"
        )
    );
}

#[test]
fn a_daemon_that_does_not_answer_is_not_waited_for() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    // As one that is overloaded, or in a debugger.
    daemon.signal(Signal::SIGSTOP);
    let asking = ["token", "refresh"].map(|verb| {
        let words = [verb, "demo", "--timeout", "100ms", "--socket"];
        Process::spawn(bearerd().args(words).arg(daemon.socket()))
    });
    for mut asking in asking {
        asking.wait_for_stderr("\n");
        let text = "bearerd: the daemon does not answer within 2s 100ms; is it stopped?\n";
        assert_eq!(asking.ended(), fails(75, text));
    }
}

#[test]
fn refused_credentials_are_69() {
    let idp = Idp::start();
    idp.next(Answer::error(401, "invalid_client"));
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    assert_eq!(
        daemon.run(&["token", "demo"]).replace("next try in 3[0-3]s", "next try in A WHILE"),
        fails(
            69,
            "bearerd: no usable token for `demo`: HTTP 401, invalid_client (check client_id, client_secret and \
             auth_method); a new secret or key is noticed by itself; next try in A WHILE [CREDENTIALS_REFUSED]\n"
        )
    );
}

#[test]
fn an_unreadable_secret_is_69() {
    let idp = Idp::start();
    let config = client("demo", &idp, "").replace("@DIR@/secret", "@DIR@/gone");
    let daemon = Daemon::start(&config, &[]);
    assert_eq!(
        daemon.run(&["token", "demo"]).plain(daemon.dir()).replace("next try in 3[0-3]s", "next try in A WHILE"),
        fails(
            69,
            "bearerd: no usable token for `demo`: secret file DIR/gone: does not exist; write the secret to \
             it; it is read again when it has changed; next try in A WHILE [SECRET_UNREADABLE]\n"
        )
    );
    assert_eq!(idp.request_count(), 0);
}

#[test]
fn a_busy_issuer_is_75() {
    let idp = Idp::start();
    idp.next(Answer::error(503, "temporarily_unavailable").header("retry-after", "600"));
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    assert_eq!(
        daemon.run(&["token", "demo"]).replace("next try in (10m|9m 5[0-9]s)", "next try in TEN MINUTES"),
        fails(
            75,
            "bearerd: no usable token for `demo`: HTTP 503, temporarily_unavailable; the issuer cannot serve now; \
             next try in TEN MINUTES [ISSUER_BUSY]\n"
        )
    );
}

#[test]
fn an_issuer_that_makes_no_sense_or_cannot_be_reached_is_75() {
    let idp = Idp::start();
    idp.next(Answer::new(200, "<html>Sign in</html>").header("retry-after", "600"));
    let nobody = ClosedPort::hold();
    let cut = client("cut", &idp, "").replace(&idp.token_url(), &nobody.url());
    let daemon = Daemon::start(&[client("lost", &idp, ""), cut].concat(), &[]);
    let lost = daemon.run(&["token", "lost"]).replace("next try in .* \\[", "next try in A WHILE [");
    assert_eq!(
        lost,
        fails(
            75,
            "bearerd: no usable token for `lost`: HTTP 200 with an HTML page instead of a token; check token_url; \
             check token_url, or ask whoever runs the issuer; next try in A WHILE [ISSUER_ANSWER_INVALID]\n"
        )
    );
    let cut = daemon.run(&["token", "cut"]).plain(daemon.dir()).replace("next try in .* \\[", "next try in A WHILE [");
    assert_eq!(
        cut,
        fails(
            75,
            "bearerd: no usable token for `cut`: cannot connect to ISSUER: Connection refused (os error 111); check \
             network, name resolution and token_url; next try in A WHILE [ISSUER_UNREACHABLE]\n"
        )
    );
}

#[test]
fn an_unknown_client_is_78() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("paysway", &idp, ""), &[]);
    for verb in ["token", "headers", "refresh"] {
        assert_eq!(
            daemon.run(&[verb, "paisway"]),
            fails(78, "bearerd: no client `paisway` is configured; did you mean `paysway`? [CLIENT_UNKNOWN]\n")
        );
        assert_eq!(
            daemon.run(&[verb, "something-else"]),
            fails(
                78,
                "bearerd: no client `something-else` is configured; `bearerd status` lists those you may use \
                 [CLIENT_UNKNOWN]\n"
            )
        );
    }
    assert_eq!(
        daemon.run(&["token", ""]),
        fails(2, "bearerd: `client` is empty; name the client, as in `[clients.NAME]` [REQUEST_INVALID]\n")
    );
}

#[test]
fn a_socket_that_may_not_be_opened_is_77() {
    let idp = Idp::start();
    let config = format!("[server]\nmode = \"0600\"\n{}", client("demo", &idp, ""));
    let daemon = Daemon::start(&config, &[]);
    open_to_others(&daemon);
    let ended = run_as_nobody(&daemon.socket(), &["token", "demo"]).unwrap_or_else(|| {
        // Without root there is nobody else to be; but one can lock oneself out.
        fs::set_permissions(daemon.socket(), fs::Permissions::from_mode(0o000)).unwrap();
        daemon.run(&["token", "demo"])
    });
    assert_eq!(
        ended.plain(daemon.dir()),
        fails(
            77,
            "bearerd: DIR/b.sock: this user may not connect; an administrator can change [server] mode or the \
             directory's mode\n"
        )
    );
    assert_eq!(idp.request_count(), 0);
}

#[test]
fn a_caller_that_is_not_allowed_is_77_and_told_who_it_is() {
    let idp = Idp::start();
    let closed = client("closed", &idp, "").replace("allow = [{ any = true }]", "");
    let daemon = Daemon::start(&[closed, client("open", &idp, "")].concat(), &[]);
    open_to_others(&daemon);
    let Some(ended) = run_as_nobody(&daemon.socket(), &["token", "closed"]) else { return };
    let refused = |what: &str| {
        let who = format!("(uid {NOBODY}, gid {NOBODY}, pid PID)");
        let remedy = "an administrator can add a rule for it to `allow` (or `admins`) in the configuration";
        let text = format!("bearerd: {what} is not allowed for this process {who}; {remedy} [CALLER_NOT_ALLOWED]\n");
        fails(77, &text)
    };
    assert_eq!(ended.plain(daemon.dir()), refused("client `closed`"));
    assert_eq!(idp.request_count(), 0);
    let run = |words| run_as_nobody(&daemon.socket(), words).unwrap().plain(daemon.dir());
    assert_eq!(run(&["token", "open"]), prints("tok-1\n"));
    assert_eq!(run(&["refresh", "open"]), refused("`Admin.RefreshClient`"));
    assert_eq!(run(&["reload"]), refused("`Admin.Reload`"));
    let status = run(&["status"]);
    assert!(status.stdout.contains("open") && !status.stdout.contains("closed"), "{status:?}");
    assert_eq!(
        run(&["status", "closed"]),
        fails(78, "bearerd: no client `closed` is configured, or this user may not use it; see `bearerd status`\n")
    );
}
