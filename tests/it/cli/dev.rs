//! `dev`: the daemon that anybody can try.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use nix::sys::signal::Signal;

use super::{fails, prints};
use crate::support::binary::{Daemon, Ended, Process, bearerd, bearerd_as_nobody, run};

/// What it prints, but for the first paragraph and how to name the socket.
const GREETING: &str = "  export PARTNER_URL=http://ISSUER
  bearerd token demo
  bearerd status --watch
  bearerd headers demo | curl -H @- $PARTNER_URL/api/hello
  bearerd headers partner --set Requestor-ID=4711 | curl -H @- $PARTNER_URL/api/accounts

Watch what happens when the authorization server misbehaves:
  curl -X POST http://ISSUER/dev/mode/ok        # issues tokens
  curl -X POST http://ISSUER/dev/mode/down      # closes every connection without an answer, as a crashed issuer does
  curl -X POST http://ISSUER/dev/mode/busy      # answers 503 with Retry-After: 5, as an overloaded issuer does
  curl -X POST http://ISSUER/dev/mode/throttle  # answers 429 with Retry-After: 60, as a used-up quota does
  curl -X POST http://ISSUER/dev/mode/refuse    # answers 401 invalid_client, as after a revoked or rotated secret
  curl -X POST http://ISSUER/dev/mode/garbage   # answers 200 with a web page, as a captive portal or a wrong \
token_url does
  curl -X POST http://ISSUER/dev/mode/slow      # issues tokens, but only after 30 seconds
  curl -X POST http://ISSUER/dev/mode/empty     # answers 200 with an empty body

Ctrl-C ends it.

";

/// Host and port of the embedded authorization server, from the greeting.
fn issuer(greeting: &str) -> String {
    let (_, url) = greeting.split_once("http://").unwrap();
    url.lines().next().unwrap().to_owned()
}

/// One HTTP request without a body; the status line and the body of the answer.
fn http(host: &str, request: &str, headers: &str) -> (String, String) {
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn it_says_where_it_is_and_what_to_try() {
    let daemon = Daemon::dev(&["--lifetime", "90s"]);
    daemon.wait_for_stdout("Ctrl-C ends it.\n\n");
    let dir = daemon.dir().to_owned();
    let ended = daemon.stop().plain(&dir);
    let first = "bearerd serves the clients `demo` and `partner` on DIR/b.sock
with tokens that live 1m 30s from its own authorization server at http://ISSUER

Try in another terminal:
  export BEARERD_SOCKET=DIR/b.sock
";
    assert_eq!((ended.code, ended.stdout), (Some(0), format!("{first}{GREETING}")));
}

#[test]
fn what_it_tells_people_to_try_works() {
    let daemon = Daemon::dev(&[]);
    let issuer = issuer(&daemon.wait_for_stdout("Ctrl-C ends it."));
    let token = daemon.run(&["token", "demo"]);
    assert_eq!((token.code, token.stdout.matches('.').count()), (Some(0), 2), "a JWT: {token:?}");
    let status = daemon.run(&["status"]);
    assert!(status.stdout.starts_with("CLIENT   STATE"), "{status:?}");
    assert!(status.stdout.contains("\ndemo     FRESH") && status.stdout.contains("\npartner  "), "{status:?}");
    let lines = daemon.run(&["headers", "demo"]).stdout;
    assert_eq!(lines, format!("Authorization: Bearer {}", token.stdout));
    let (status, body) = http(&issuer, "GET /api/hello", &lines.replace('\n', "\r\n"));
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status.as_str(), answer["hello"].as_str()), ("HTTP/1.1 200 OK", Some("demo-client")));
    let (status, _) = http(&issuer, "GET /api/hello", "");
    assert_eq!(status, "HTTP/1.1 401 Unauthorized");
    let (status, _) = http(&issuer, "POST /payments/validations", &lines.replace('\n', "\r\n"));
    assert_eq!(status, "HTTP/1.1 200 OK");
    let lines = daemon.run(&["headers", "partner", "--set", "Requestor-ID=4711"]).stdout;
    let (status, body) = http(&issuer, "GET /api/accounts", &lines.replace('\n', "\r\n"));
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status.as_str(), answer["requestor"].as_str()), ("HTTP/1.1 200 OK", Some("4711")));
    let token = lines.lines().next().unwrap();
    let (status, body) = http(&issuer, "GET /api/accounts", &format!("{token}\r\n"));
    assert!(status == "HTTP/1.1 400 Bad Request" && body.contains("Requestor-ID"), "{status} {body}");
}

/// The first token may be there before the mode is changed; then the next attempt waits for the 5 s that are between
/// two successful requests. This is the one test here that can take so long.
#[test]
fn a_busy_issuer_can_be_watched() {
    let daemon = Daemon::dev(&[]);
    let issuer = issuer(&daemon.wait_for_stdout("Ctrl-C ends it."));
    let changed = http(&issuer, "POST /dev/mode/busy", "");
    let text = "busy: answers 503 with Retry-After: 5, as an overloaded issuer does\n";
    assert_eq!(changed, ("HTTP/1.1 200 OK".to_owned(), text.to_owned()));
    assert_eq!(
        daemon.run(&["refresh", "demo"]),
        fails(75, "bearerd: demo: not renewed: HTTP 503: come back later, says /dev/mode [ISSUER_BUSY]\n")
    );
}

#[test]
fn it_needs_no_certificate_authorities() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("b.sock");
    let mut command = bearerd();
    command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
    let daemon = Process::spawn(command.args(["dev", "--socket"]).arg(&socket));
    daemon.wait_for_stderr(" serving ");
    assert_eq!(run(&socket, &["token", "demo"]).code, Some(0));
}

#[test]
fn there_is_no_configuration_to_reload() {
    let daemon = Daemon::dev(&[]);
    assert_eq!(
        daemon.run(&["reload"]),
        fails(
            78,
            "bearerd: nothing was changed; the configuration has 1 problem:\n\
             the configuration: this daemon has no configuration to read; start it with `bearerd run`\n"
        )
    );
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("configuration not applied");
    assert_eq!(daemon.run(&["token", "demo"]).code, Some(0));
}

#[test]
fn tokens_must_live_long_enough_to_be_renewed() {
    let ended = Ended::of(bearerd().args(["dev", "--lifetime", "9s"]).output().unwrap());
    assert_eq!(ended, fails(2, "bearerd: --lifetime: tokens must live at least 10s\n"));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let dir = tempfile::tempdir().unwrap();
    let ended = bearerd().args(["dev", "--port", &port, "--socket"]).arg(dir.path().join("b.sock")).output().unwrap();
    assert_eq!(
        Ended::of(ended).plain(dir.path()),
        fails(
            69,
            "bearerd: the embedded authorization server: cannot listen on ISSUER: Address already in use (os error \
             98)\n"
        )
    );
}

/// Runs what a user without any rights runs: no configuration, no `--socket`. Client and daemon meet at `place` below
/// the directory that `variable` names.
fn as_a_user(variable: &str, place: &str) {
    if Path::new("/run/bearerd/bearerd.sock").exists() {
        // Installed and running here: its socket comes first, as it should.
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let command = |words: &[&str]| {
        // As somebody else if that is possible; where it is not, the tests' own user has no rights anyhow.
        let mut command = bearerd_as_nobody(home.path()).unwrap_or_else(bearerd);
        command.env_remove("HOME").env(variable, home.path()).args(words);
        command
    };
    let daemon = Process::spawn(&mut command(&["dev"]));
    let greeting = Ended::new(0, &daemon.wait_for_stdout("Ctrl-C ends it.\n\n"), "").plain(home.path()).stdout;
    let first = format!(
        "bearerd serves the clients `demo` and `partner` on DIR/{place}
with tokens that live 30s from its own authorization server at http://ISSUER

Try in another terminal:
  export BEARERD_SOCKET=DIR/{place}
"
    );
    assert_eq!(greeting, format!("{first}{GREETING}"), "other languages have to be told of the socket");
    let run = |words| Ended::of(command(words).output().unwrap());
    assert_eq!(run(&["token", "demo"]).code, Some(0));
    assert_eq!(run(&["health"]), prints("ok: every required client has a usable token or is idle\n"));
    let socket = home.path().join(place);
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700), "for this user alone");
}

#[test]
fn a_user_needs_no_rights_and_no_socket() {
    as_a_user("XDG_RUNTIME_DIR", "bearerd/bearerd.sock");
}

#[test]
fn a_user_without_a_session_needs_only_a_home() {
    as_a_user("HOME", ".bearerd/bearerd/bearerd.sock");
}
