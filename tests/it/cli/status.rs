//! `status` and `health`.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;

use super::{DAY, calm_client, client, fails, prints};
use crate::support::{
    binary::{Daemon, Ended, Process, bearerd},
    idp::{Answer, Idp},
};

/// Replaces the waits that are drawn at random, keeping their width.
fn steady(ended: Ended, daemon: &Daemon) -> Ended {
    ended
        .plain(daemon.dir())
        .replace("in (30|31|32|33|29|28|27)s", "in 3?s")
        .replace("in 9m 5[0-9]s", "in 9m 5?s")
        .replace(r"TIME \((now|[0-9]+s ago)\)", "TIME (now)")
}

#[test]
fn the_table_shows_every_state_at_a_glance() {
    let idp = Idp::start();
    let names = ["fresh", "idle", "long-name-of-a-client", "refused", "starting", "unavailable"];
    let daemon = Daemon::start(&names.map(|name| calm_client(name, &idp)).concat(), &[]);
    for (name, answer, patience, code) in [
        ("fresh", Answer::token("t-1", DAY), "10s", 0),
        ("refused", Answer::error(400, "unauthorized_client"), "10s", 69),
        ("unavailable", Answer::error(503, "temporarily_unavailable").header("retry-after", "600"), "10s", 75),
        ("starting", Answer::never(), "50ms", 75),
    ] {
        idp.next(answer);
        assert_eq!(daemon.run(&["token", name, "--timeout", patience]).code, Some(code), "{name}");
    }
    assert_eq!(
        steady(daemon.run(&["status"]), &daemon),
        prints(
            "\
CLIENT                 STATE        VALID FOR  NEXT TRY    TODAY  NOTE
refused                REJECTED     -          in 3?s      1      CREDENTIALS_REFUSED: HTTP 400, unauthorized_client \
             (the issuer must allow this client the grant that it asks with; see grant) (failures: 1)
unavailable            UNAVAILABLE  -          in 9m 5?s   1      ISSUER_BUSY: HTTP 503, temporarily_unavailable \
             (failures: 1)
fresh                  FRESH        23h 59m    in 11h 59m  1
idle                   IDLE         -          -           0
long-name-of-a-client  IDLE         -          -           0
starting               STARTING     -          -           1
"
        )
    );
}

#[test]
fn one_client_is_shown_with_everything_that_is_known() {
    let idp = Idp::start();
    let daemon = Daemon::start(&[calm_client("good", &idp), client("bad", &idp, "budget.per_day = 5\n")].concat(), &[]);
    idp.next(Answer::json(200, &serde_json::json!({ "access_token": "t-1", "expires_in": DAY })));
    idp.next(Answer::error(401, "invalid_client"));
    assert_eq!(daemon.run(&["token", "good"]).code, Some(0));
    assert_eq!(daemon.run(&["token", "bad"]).code, Some(69));
    assert_eq!(
        steady(daemon.run(&["status", "good"]), &daemon),
        prints(
            "\
client:            good
state:             FRESH: all is well
token id:          ID-1
issued:            TIME (now)
expires:           TIME (in 23h 59m)
runway:            23h 59m
next try:          TIME (in 11h 59m)
failures in a row: 0
requests today:    1
required:          yes
secret in use:     1
warning:           token_type is missing; Bearer is used (set token_type if it is wrong)
"
        )
    );
    assert_eq!(
        steady(daemon.run(&["status", "bad"]), &daemon),
        prints(
            "\
client:            bad
state:             REJECTED: no usable token; the credentials need a person
token id:          -
issued:            -
expires:           -
runway:            none
next try:          TIME (in 3?s)
failures in a row: 1
requests today:    1 of 5
required:          yes
last failure:      CREDENTIALS_REFUSED: HTTP 401, invalid_client (check client_id, client_secret and auth_method)
failed:            TIME (now)
"
        )
    );
    assert_eq!(
        daemon.run(&["status", "ugly"]),
        fails(78, "bearerd: no client `ugly` is configured, or this user may not use it; see `bearerd status`\n")
    );
}

#[test]
fn programs_get_json() {
    let idp = Idp::start();
    let daemon = Daemon::start(&[client("bad", &idp, "required = false"), calm_client("good", &idp)].concat(), &[]);
    idp.next(Answer::token("t-1", DAY));
    idp.next(Answer::error(401, "invalid_client"));
    assert_eq!(daemon.run(&["token", "good"]).code, Some(0));
    assert_eq!(daemon.run(&["token", "bad"]).code, Some(69));
    let bad = concat!(
        r#"{"budget_per_day":null,"consecutive_failures":1,"expires_at":null,"issued_at":null,"#,
        r#""last_failure":{"at":"TIME","reason":"CREDENTIALS_REFUSED","#,
        r#""text":"HTTP 401, invalid_client (check client_id, client_secret and auth_method)"},"#,
        r#""name":"bad","next_attempt_at":"TIME","requests_today":1,"required":false,"runway_seconds":null,"#,
        r#""secret_in_use":0,"state":"REJECTED","token_id":null,"warnings":[]}"#
    );
    let good = concat!(
        r#"{"budget_per_day":null,"consecutive_failures":0,"expires_at":"TIME","issued_at":"TIME","last_failure":null,"#,
        r#""name":"good","next_attempt_at":"TIME","requests_today":1,"required":true,"runway_seconds":863??,"#,
        r#""secret_in_use":1,"state":"FRESH","token_id":"ID-1","warnings":[]}"#
    );
    let json = |words: &[&str]| daemon.run(words).plain(daemon.dir()).replace("863[0-9]{2}", "863??");
    assert_eq!(json(&["status", "--json"]), prints(&format!("{{\"clients\":[{bad},{good}]}}\n")));
    assert_eq!(json(&["status", "bad", "--json"]), prints(&format!("{{\"clients\":[{bad}]}}\n")));
}

#[test]
fn watching_prints_a_line_for_each_change() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    let mut watching = Process::spawn(bearerd().args(["status", "--watch", "--socket"]).arg(daemon.socket()));
    watching.wait_for_stdout(" demo IDLE\n");
    assert_eq!(daemon.run(&["token", "demo"]), prints("tok-1\n"));
    watching.wait_for_stdout(" demo FRESH\n");
    watching.signal(Signal::SIGKILL);
    let ended = watching.ended().plain(daemon.dir());
    assert_eq!(ended, Ended { code: None, ..prints("TIME demo IDLE\nTIME demo FRESH\n") });
}

#[test]
fn watching_ends_when_nobody_reads_any_more() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    // Bounded, as a watch that goes on would go on for ever.
    let mut command = Command::new("timeout");
    command.arg("20").arg(bearerd().get_program()).args(["status", "--watch", "--socket"]).arg(daemon.socket());
    let mut watching = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    // As `head -1` does; nothing changes after that.
    BufReader::new(watching.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.ends_with(" demo IDLE\n"), "{first}");
    assert_eq!(Ended::of(watching.wait_with_output().unwrap()), prints(""));
}

#[test]
fn watching_ends_with_the_daemon() {
    let idp = Idp::start();
    let mut daemon = Daemon::start(&[client("a", &idp, ""), client("b", &idp, "")].concat(), &[]);
    let mut watching =
        Process::spawn(bearerd().args(["status", "--watch", "--json", "b", "--socket"]).arg(daemon.socket()));
    watching.wait_for_stdout("\n");
    // Held between two looks, so that it meets a connection that is gone, not one that is going.
    watching.signal(Signal::SIGSTOP);
    daemon.signal(Signal::SIGKILL);
    daemon.ended();
    watching.signal(Signal::SIGCONT);
    let ended = watching.ended();
    assert_eq!(ended.code, Some(69), "{ended:?}");
    assert_eq!(ended.stderr, "bearerd: the daemon has closed the connection\n");
    let line: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((line["name"].as_str(), line["state"].as_str()), (Some("b"), Some("IDLE")));
}

#[test]
fn health_is_one_line_and_an_exit_code() {
    let idp = Idp::start();
    let config =
        [client("bad", &idp, "required = false"), client("demo", &idp, ""), client("extra", &idp, "required = false")];
    let daemon = Daemon::start(&config.concat(), &[]);
    assert_eq!(
        daemon.run(&["health", "demo"]),
        Ended::new(69, "not ok: client `demo` has no usable token; see `bearerd status`\n", "")
    );
    assert_eq!(
        daemon.run(&["health"]),
        prints("ok: every required client has a usable token or is idle\n"),
        "idle is no fault"
    );
    assert_eq!(daemon.run(&["token", "demo"]), prints("tok-1\n"));
    assert_eq!(daemon.run(&["health"]), prints("ok: every required client has a usable token or is idle\n"));
    assert_eq!(daemon.run(&["health", "demo"]), prints("ok: client `demo` has a usable token\n"));
    assert_eq!(daemon.run(&["health", "demo", "--json"]), prints("{\"healthy\":true,\"service\":\"clients/demo\"}\n"));
    idp.next(Answer::error(401, "invalid_client"));
    assert_eq!(daemon.run(&["token", "bad"]).code, Some(69));
    assert_eq!(daemon.run(&["health"]), prints("ok: every required client has a usable token or is idle\n"));
    assert_eq!(
        daemon.run(&["health", "bad", "--json"]),
        Ended::new(69, "{\"healthy\":false,\"service\":\"clients/bad\"}\n", "")
    );
    for words in [&["health", "nobody"][..], &["health", "nobody", "--json"]] {
        assert_eq!(daemon.run(words), fails(78, "bearerd: no client `nobody` is configured\n"));
    }
}

#[test]
fn a_required_client_without_a_token_is_69() {
    let idp = Idp::start();
    idp.next(Answer::error(401, "invalid_client"));
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    assert_eq!(daemon.run(&["token", "demo"]).code, Some(69));
    assert_eq!(
        daemon.run(&["health"]),
        Ended::new(69, "not ok: client `demo` has no usable token; see `bearerd status`\n", "")
    );
    assert_eq!(
        daemon.run(&["health", "--json"]),
        Ended::new(69, "{\"healthy\":false,\"service\":\"bearerd.v1.TokenBroker\"}\n", "")
    );
}
