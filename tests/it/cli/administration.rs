//! `refresh` and `reload`.

use std::fs;

use super::{DAY, calm_client, client, fails, prints};
use crate::support::{
    binary::{Daemon, Ended},
    idp::{Answer, Idp},
};

#[test]
fn an_ordered_refresh_names_the_new_token() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    let ended = daemon.run(&["refresh", "demo"]).plain(daemon.dir());
    assert_eq!(ended, prints("demo: renewed, token ID-1\n"));
    assert_eq!((daemon.run(&["token", "demo"]), idp.request_count()), (prints("tok-1\n"), 1));
}

#[test]
fn an_ordered_refresh_as_json() {
    let idp = Idp::start();
    idp.issue_for(DAY);
    let daemon = Daemon::start(&calm_client("demo", &idp), &[]);
    let ended = daemon.run(&["refresh", "demo", "--json"]).plain(daemon.dir());
    assert_eq!(
        ended.replace("863[0-9]{2}", "863??"),
        prints(concat!(
            r#"{"renewed":true,"status":{"budget_per_day":null,"consecutive_failures":0,"expires_at":"TIME","#,
            r#""issued_at":"TIME","last_failure":null,"name":"demo","next_attempt_at":"TIME","requests_today":1,"#,
            r#""required":true,"runway_seconds":863??,"secret_in_use":1,"state":"FRESH","token_id":"ID-1","#,
            r#""warnings":[]}}"#,
            "\n"
        ))
    );
}

#[test]
fn a_refresh_that_brings_nothing_says_why() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    idp.next(Answer::error(401, "invalid_client"));
    assert_eq!(
        daemon.run(&["refresh", "demo"]),
        fails(
            69,
            "bearerd: demo: not renewed: HTTP 401, invalid_client (check client_id, client_secret and auth_method) \
             [CREDENTIALS_REFUSED]\n"
        )
    );
    idp.next(Answer::error(503, "temporarily_unavailable"));
    assert_eq!(
        daemon.run(&["refresh", "demo"]),
        fails(75, "bearerd: demo: not renewed: HTTP 503, temporarily_unavailable [ISSUER_BUSY]\n")
    );
    idp.next(Answer::never());
    assert_eq!(
        daemon.run(&["refresh", "demo", "--timeout", "100ms"]),
        fails(
            75,
            "bearerd: a token for `demo` is on its way but did not come before the deadline; ask again \
             [TOKEN_PENDING]\n"
        )
    );
}

#[test]
fn a_refresh_that_brings_nothing_is_in_the_json_and_the_exit_code() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    idp.next(Answer::error(401, "invalid_client"));
    let ended = daemon.run(&["refresh", "demo", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.code, &json["renewed"]), (Some(69), &serde_json::Value::Bool(false)));
    assert_eq!(json["status"]["last_failure"]["reason"], "CREDENTIALS_REFUSED");
}

#[test]
fn a_reload_says_what_changed() {
    let idp = Idp::start();
    let (kept, gone) = (client("kept", &idp, ""), client("gone", &idp, ""));
    let daemon = Daemon::start(&[kept.clone(), gone, client("touched", &idp, "")].concat(), &[]);
    assert_eq!(daemon.run(&["reload"]), prints("reloaded: 3 unchanged\n"));
    let touched = client("touched", &idp, "scope = [\"more\"]");
    let new = ["new-1", "new-2"].map(|name| client(name, &idp, "")).concat();
    daemon.write_config(&format!("[server]\nmode = \"0660\"\n{kept}{touched}{new}"));
    assert_eq!(
        daemon.run(&["reload"]),
        prints(
            "reloaded: added new-1, new-2; changed touched; removed gone; 1 unchanged\n\
             note: server.mode changed; it takes effect at the next restart\n"
        )
    );
    daemon.write_config(&kept);
    assert_eq!(
        daemon.run(&["reload", "--json"]),
        prints(concat!(
            r#"{"added":[],"applied":true,"changed":[],"notes":[],"#,
            r#""problems":[],"removed":["new-1","new-2","touched"],"unchanged":1}"#,
            "\n"
        ))
    );
}

#[test]
fn a_reload_reads_newly_installed_certificate_authorities() {
    let [idp, other] = [Idp::start_tls(), Idp::start_tls()];
    let system = tempfile::NamedTempFile::new().unwrap();
    fs::write(system.path(), other.ca_pem()).unwrap();
    let daemon = Daemon::start_with(&client("demo", &idp, ""), &[], |command| {
        command.env("SSL_CERT_FILE", system.path());
    });
    assert_eq!(
        daemon.run(&["refresh", "demo"]).plain(daemon.dir()),
        fails(
            75,
            "bearerd: demo: not renewed: TLS with ISSUER failed: its certificate is not trusted (unknown authority); \
             set tls.ca_file to the authority's certificate, or install it on the system and reload \
             [ISSUER_UNREACHABLE]\n"
        )
    );
    fs::write(system.path(), idp.ca_pem()).unwrap();
    assert_eq!(daemon.run(&["reload"]), prints("reloaded: 1 unchanged\n"));
    assert_eq!(daemon.run(&["refresh", "demo"]).code, Some(0));
}

#[test]
fn a_reload_with_problems_names_them_and_changes_nothing() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    assert_eq!(daemon.run(&["token", "demo"]), prints("tok-1\n"));
    daemon.write_config("colour = 1\n[clients.other]\nclient_id = 7\n");
    let text = "\
DIR/bearerd.toml: clients.other.client_id: is a number, not a string; write one string in quotes
DIR/bearerd.toml: clients.other.client_secret: is missing; add client_secret = { file = \"/path/to/secret\" } or \
                { env = \"VARIABLE\" }
DIR/bearerd.toml: clients.other.token_url: is missing; add token_url = \"https://…\"
DIR/bearerd.toml: colour: is not a known key; known here: clients, server
";
    assert_eq!(
        daemon.run(&["reload"]).plain(daemon.dir()),
        fails(78, &format!("bearerd: nothing was changed; the configuration has 4 problems:\n{text}"))
    );
    daemon.write_config("clients = 1");
    assert_eq!(
        daemon.run(&["reload", "--json"]).plain(daemon.dir()),
        Ended::new(
            78,
            concat!(
                r#"{"added":[],"applied":false,"changed":[],"notes":[],"problems":[{"file":"DIR/bearerd.toml","#,
                r#""message":"is a number, not a table","path":"clients","#,
                r#""remedy":"write { key = value } or a [table] of its own"},"#,
                r#"{"file":"DIR/bearerd.toml","message":"no client is configured","path":"clients","#,
                r#""remedy":"add a [clients.NAME] table with token_url, client_id and client_secret"}],"#,
                r#""removed":[],"unchanged":0}"#,
                "\n"
            ),
            ""
        )
    );
    assert_eq!(daemon.run(&["token", "demo"]), prints("tok-1\n"));
    assert_eq!(idp.request_count(), 1);
}
