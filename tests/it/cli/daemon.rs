//! `run`: signals, log formats, and where the socket is.

use std::{fs, os::unix::net::UnixStream, path::Path};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{client, prints};
use crate::support::{
    binary::{Daemon, Ended, Process, bearerd},
    idp::{Answer, Idp},
};

#[test]
fn both_signals_to_stop_end_it_well_and_remove_the_socket() {
    let idp = Idp::start();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = Daemon::start(&client("demo", &idp, ""), &[]);
        assert!(daemon.socket().exists());
        daemon.signal(signal);
        let ended = daemon.ended().plain(daemon.dir());
        assert_eq!(
            ended,
            Ended::new(
                0,
                "",
                "TIME  INFO serving socket=DIR/b.sock clients=1 version=\"0.1.0\"\n\
                 TIME  INFO draining deadline_s=10 calls=0\n\
                 TIME  INFO drained cut_off=0\n"
            ),
            "{signal}"
        );
        assert!(!daemon.socket().exists());
    }
}

#[test]
fn a_second_signal_ends_the_wait_for_those_who_do_not_leave() {
    let idp = Idp::start();
    let mut daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    let silent = UnixStream::connect(daemon.socket()).unwrap();
    // Served in turn: when this call has been answered, the silent connection has been taken in.
    assert_eq!(daemon.run(&["token", "demo"]), prints("tok-1\n"));
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_log("draining");
    daemon.signal(Signal::SIGTERM);
    let ended = daemon.ended();
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.ends_with("  WARN stopped without draining\n"), "{}", ended.stderr);
    assert!(!daemon.socket().exists());
    drop(silent);
}

#[test]
fn a_caller_who_waits_is_told_that_the_daemon_goes() {
    let idp = Idp::start();
    idp.next(Answer::never());
    let mut daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    let mut waiting = Process::spawn(bearerd().args(["token", "demo", "--socket"]).arg(daemon.socket()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(idp.wait_for_requests(1));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(
        waiting.ended(),
        super::fails(75, "bearerd: the daemon is shutting down; connect again when it is back [DRAINING]\n")
    );
    assert_eq!(daemon.ended().code, Some(0));
}

#[test]
fn the_hangup_signal_reloads() {
    let idp = Idp::start();
    let mut daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    daemon.write_config(&format!("{}{}", client("demo", &idp, ""), client("more", &idp, "")));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("configuration applied");
    assert_eq!(daemon.run(&["token", "more"]), prints("tok-1\n"));
    daemon.write_config("[clients.demo]\n");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("configuration not applied");
    assert_eq!(daemon.run(&["token", "more"]), prints("tok-1\n"));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(
        daemon.ended().plain(daemon.dir()).replace("valid_for_s=35[0-9]{2}", "valid_for_s=35??"),
        Ended::new(
            0,
            "",
            "\
TIME  INFO serving socket=DIR/b.sock clients=1 version=\"0.1.0\"
TIME  INFO configuration applied added=1 changed=0 removed=0 unchanged=1
TIME  INFO token is fresh client=\"more\" was=\"IDLE\" state=\"FRESH\" token_id=ID-1 valid_for_s=35??
TIME ERROR configuration problem file=\"DIR/bearerd.toml\" path=\"clients.demo.client_id\" problem=\"is missing\" \
             remedy=\"add client_id = \\\"…\\\"\"
TIME ERROR configuration problem file=\"DIR/bearerd.toml\" path=\"clients.demo.client_secret\" problem=\"is missing\" \
             remedy=\"add client_secret = { file = \\\"/path/to/secret\\\" } or { env = \\\"VARIABLE\\\" }\"
TIME ERROR configuration problem file=\"DIR/bearerd.toml\" path=\"clients.demo.token_url\" problem=\"is missing\" \
             remedy=\"add token_url = \\\"https://…\\\"\"
TIME ERROR configuration not applied; the old one stays in force problems=3
TIME  INFO draining deadline_s=10 calls=0
TIME  INFO drained cut_off=0
"
        )
    );
}

#[test]
fn signals_are_orders_before_there_is_a_configuration() {
    let idp = Idp::start();
    let dir = configured(&idp);
    for signal in [Signal::SIGHUP, Signal::SIGTERM] {
        let mut command = bearerd();
        command.args(["run", "--log", "debug"]).env("BEARERD_CONFIG", dir.path().join("bearerd.toml"));
        let mut daemon = Process::spawn(&mut command);
        daemon.wait_for_stderr("reading the configuration");
        daemon.signal(signal);
        if signal == Signal::SIGHUP {
            daemon.wait_for_stderr("configuration applied");
            daemon.signal(Signal::SIGTERM);
        }
        assert_eq!(daemon.ended().code, Some(0), "{signal}");
    }
}

#[test]
fn variables_that_are_set_to_nothing_are_not_set() {
    let idp = Idp::start();
    let dir = configured(&idp);
    let empty = ["BEARERD_CONFIG", "BEARERD_LOG", "BEARERD_LOG_FORMAT", "BEARERD_SOCKET"].map(|name| (name, ""));
    let mut command = bearerd();
    command.envs(empty).arg("run").arg("--config").arg(dir.path().join("bearerd.toml"));
    let daemon = Process::spawn(&mut command);
    daemon.wait_for_stderr(&format!(" INFO serving socket={} ", dir.path().join("own.sock").display()));
    // Whether it is there or not, it is named.
    let check = Ended::of(bearerd().envs(empty).arg("check").output().unwrap());
    assert!(format!("{check:?}").contains("/etc/bearerd/bearerd.toml"), "{check:?}");
    if !Path::new("/run/bearerd/bearerd.sock").exists() {
        let status = Ended::of(bearerd().envs(empty).arg("status").output().unwrap());
        assert!(status.stderr.contains("there is no socket at /run/bearerd/bearerd.sock"), "{status:?}");
    }
}

#[test]
fn what_is_not_encrypted_needs_no_certificate_authorities() {
    let idp = Idp::start();
    let daemon = Daemon::start_with(&client("demo", &idp, ""), &[], |command| {
        command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
    });
    assert_eq!(daemon.run(&["token", "demo"]), prints("tok-1\n"));
}

/// The log of a daemon with these words that met a refusal and was stopped.
fn log(words: &[&str]) -> String {
    let idp = Idp::start();
    idp.next(Answer::error(401, "invalid_client"));
    let mut daemon = Daemon::start(&client("demo", &idp, ""), words);
    assert_eq!(daemon.run(&["token", "demo"]).code, Some(69));
    // The caller has its answer a moment before the log has the line.
    daemon.wait_for_log("no usable token");
    daemon.signal(Signal::SIGTERM);
    let ended = daemon.ended().plain(daemon.dir()).replace("(retry_in_s\"?[=:])(29|3[0-3])", "${1}3?");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    ended.stderr
}

#[test]
fn the_log_is_readable_text() {
    for words in [&[][..], &["--log-format", "text"], &["--log-format=auto"]] {
        assert_eq!(
            log(words),
            "\
TIME  INFO serving socket=DIR/b.sock clients=1 version=\"0.1.0\"
TIME ERROR no usable token client=\"demo\" was=\"IDLE\" state=\"REJECTED\" failure=\"CREDENTIALS_REFUSED\" \
             error=\"HTTP 401, invalid_client (check client_id, client_secret and auth_method)\" retry_in_s=3?
TIME  INFO draining deadline_s=10 calls=0
TIME  INFO drained cut_off=0
"
        );
    }
}

#[test]
fn the_log_for_the_journal_has_priorities_and_no_times() {
    assert_eq!(
        log(&["--log-format", "journal"]),
        "\
<6>serving socket=DIR/b.sock clients=1 version=\"0.1.0\"
<3>no usable token client=\"demo\" was=\"IDLE\" state=\"REJECTED\" failure=\"CREDENTIALS_REFUSED\" \
         error=\"HTTP 401, invalid_client (check client_id, client_secret and auth_method)\" retry_in_s=3?
<6>draining deadline_s=10 calls=0
<6>drained cut_off=0
"
    );
}

#[test]
fn the_log_as_json_is_one_object_a_line() {
    let log = log(&["--log-format", "json"]);
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(&line.replace("3?", "30")).unwrap()).collect();
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["serving", "no usable token", "draining", "drained"]);
    assert_eq!(
        lines[1],
        serde_json::json!({
            "timestamp": "TIME", "level": "ERROR", "target": "bearerd::refresh::transition",
            "message": "no usable token", "client": "demo", "was": "IDLE", "state": "REJECTED",
            "failure": "CREDENTIALS_REFUSED", "retry_in_s": 30,
            "error": "HTTP 401, invalid_client (check client_id, client_secret and auth_method)",
        })
    );
}

#[test]
fn the_level_and_the_format_can_come_from_the_environment() {
    let idp = Idp::start();
    let daemon = Daemon::start_with(&client("demo", &idp, ""), &[], |command| {
        command.env("BEARERD_LOG_FORMAT", "journal").env("BEARERD_LOG", "bearerd::daemon=info");
    });
    assert_eq!(daemon.run(&["token", "demo"]), prints("tok-1\n"));
    let dir = daemon.dir().to_owned();
    assert_eq!(
        daemon.stop().plain(&dir).stderr,
        "<6>serving socket=DIR/b.sock clients=1 version=\"0.1.0\"\n\
         <6>draining deadline_s=10 calls=0\n\
         <6>drained cut_off=0\n"
    );
}

/// A directory with a configuration that names a socket in it.
fn configured(idp: &Idp) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = format!("[server]\nsocket = \"@DIR@/own.sock\"\n{}", client("demo", idp, ""));
    fs::write(dir.path().join("bearerd.toml"), config.replace("@DIR@", dir.path().to_str().unwrap())).unwrap();
    dir
}

#[test]
fn the_socket_can_come_from_the_configuration_the_environment_and_the_command_line() {
    let idp = Idp::start();
    let dir = configured(&idp);
    let path = |name: &str| dir.path().join(name);
    for (variable, words, expected) in [
        (None, None, "own.sock"),
        (Some("env.sock"), None, "env.sock"),
        (Some("env.sock"), Some("cli.sock"), "cli.sock"),
    ] {
        let mut command = bearerd();
        command.arg("run").env("BEARERD_CONFIG", path("bearerd.toml"));
        command.envs(variable.map(|name| ("BEARERD_SOCKET", path(name))));
        if let Some(name) = words {
            command.arg("--socket").arg(path(name));
        }
        let daemon = Process::spawn(&mut command);
        daemon.wait_for_stderr(&format!("serving socket={} ", path(expected).display()));
        let health = bearerd().arg("health").arg("--socket").arg(path(expected)).output().unwrap();
        assert_eq!(Ended::of(health), prints("ok: every required client has a usable token or is idle\n"));
    }
}
