//! `token`, `headers` and `exec`.

use super::{client, fails, prints};
use crate::support::{
    binary::{Daemon, Ended},
    idp::{Answer, Idp},
};

#[test]
fn the_token_is_alone_on_standard_output() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    assert_eq!(daemon.run(&["token", "demo"]), prints("tok-1\n"));
    assert_eq!(daemon.run(&["token", "demo"]), prints("tok-1\n"));
    assert_eq!(idp.request_count(), 1);
}

#[test]
fn everything_that_belongs_to_a_token_is_in_its_json() {
    let idp = Idp::start();
    idp.next(Answer::json(
        200,
        &serde_json::json!({ "access_token": "t-1", "token_type": "bearer", "expires_in": 3600, "scope": "a b" }),
    ));
    let headers = r#"request_headers = { "X-P" = { value = "acme" }, Who = { per_call = true, pattern = "[0-9]+" } }"#;
    let daemon = Daemon::start(&client("demo", &idp, &format!("scope = \"a b\"\n{headers}")), &[]);
    assert_eq!(
        daemon.run(&["token", "demo", "--json"]).plain(daemon.dir()),
        prints(concat!(
            r#"{"access_token":"t-1","authorization":"Bearer t-1","client":"demo","expires_at":"TIME","#,
            r#""headers":[{"name":"Who","pattern":"[0-9]+","per_call":true,"value":null},"#,
            r#"{"name":"X-P","pattern":null,"per_call":false,"value":"acme"}],"#,
            r#""id":"ID-1","issued_at":"TIME","proof_required":false,"rejection":null,"scope":"a b","token_type":"Bearer"}"#,
            "\n"
        ))
    );
}

#[test]
fn more_validity_than_the_tokens_have_is_wrong_usage() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    assert_eq!(daemon.run(&["token", "demo", "--min-validity", "59m"]), prints("tok-1\n"));
    assert_eq!(
        daemon.run(&["token", "demo", "--min-validity", "61m"]),
        fails(
            2,
            "bearerd: no token for `demo` is ever valid for 1h 1m: its issuer's tokens live 1h; ask for less \
             [VALIDITY_UNATTAINABLE]\n"
        )
    );
    assert_eq!(idp.request_count(), 1, "the issuer is not asked for what it cannot give");
}

#[test]
fn a_report_is_answered_in_the_json() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    let first = daemon.run(&["token", "demo", "--json"]).stdout;
    let first: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!(first["rejection"], serde_json::Value::Null);
    // What becomes of one that is old enough to be replaced is not for the command line's tests: it takes 5 s.
    let id = first["id"].as_str().unwrap();
    let of_another_run = "00000000000000aa-1";
    for (rejected, rejection, code, said) in [(id, "TOO_YOUNG", 75, KEPT), (of_another_run, "ALREADY_REPLACED", 0, "")]
    {
        let answer = daemon.run(&["token", "demo", "--json", "--rejected", rejected]);
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(code), said));
        let answer: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!((answer["rejection"].as_str(), answer["id"].as_str()), (Some(rejection), Some(id)));
    }
    assert_eq!(daemon.run(&["token", "demo", "--rejected", of_another_run]), prints("tok-1\n"));
    assert_eq!(
        daemon.run(&["token", "demo", "--rejected", "tok-1"]),
        fails(
            2,
            "bearerd: `rejected_token_id`: not a token id; pass the `id` of a token as it came [REQUEST_INVALID]\n"
        )
    );
    assert_eq!(idp.request_count(), 1);
}

/// What is said of a reported token that is too young to be replaced.
const KEPT: &str = "bearerd: the reported token of `demo` was not replaced: it is less than 5s old, and the API's \
                    clock may be behind; call the API with it again, and report it again if it is still refused \
                    [TOO_YOUNG]\n";

#[test]
fn a_reported_token_that_is_kept_is_printed_with_a_warning_and_runs_no_command() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    let first: serde_json::Value = serde_json::from_str(&daemon.run(&["token", "demo", "--json"]).stdout).unwrap();
    let id = first["id"].as_str().unwrap();
    assert_eq!(daemon.run(&["token", "demo", "--rejected", id]), Ended::new(75, "tok-1\n", KEPT));
    let headers = daemon.run(&["headers", "demo", "--rejected", id]);
    assert_eq!(headers, Ended::new(75, "Authorization: Bearer tok-1\n", KEPT));
    assert_eq!(daemon.run(&["exec", "demo", "--rejected", id, "--", "echo", "not run"]), fails(75, KEPT));
    assert_eq!(idp.request_count(), 1);
}

#[test]
fn a_caller_waits_for_a_first_token_as_long_as_it_says() {
    let idp = Idp::start();
    idp.next(Answer::never());
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    assert_eq!(
        daemon.run(&["token", "demo", "--timeout", "100ms"]),
        fails(
            75,
            "bearerd: a token for `demo` is on its way but did not come before the deadline; ask again \
             [TOKEN_PENDING]\n"
        )
    );
    assert_eq!(idp.request_count(), 1);
}

/// A client whose API wants a header with each call, and a fixed one.
fn demanding(idp: &Idp) -> String {
    let headers = r#""Requestor-ID" = { per_call = true, pattern = "[0-9]{1,20}" }, "X-Partner" = { value = "acme" }"#;
    client("wawex", idp, &format!("request_headers = {{ {headers} }}"))
}

#[test]
fn headers_are_complete_lines() {
    let idp = Idp::start();
    let daemon = Daemon::start(&demanding(&idp), &[]);
    assert_eq!(
        daemon.run(&["headers", "wawex", "--set", "requestor-id=4711"]),
        prints("Authorization: Bearer tok-1\nRequestor-ID: 4711\nX-Partner: acme\n")
    );
    assert_eq!(
        daemon.run(&["headers", "wawex", "--set", "Requestor-ID=4711", "--json"]),
        prints("{\"Authorization\":\"Bearer tok-1\",\"Requestor-ID\":\"4711\",\"X-Partner\":\"acme\"}\n")
    );
}

#[test]
fn headers_that_the_api_would_refuse_are_refused_here() {
    let idp = Idp::start();
    let daemon = Daemon::start(&demanding(&idp), &[]);
    for (set, expected) in [
        (&[][..], "no headers for `wawex`: Requestor-ID is missing; add --set Requestor-ID=VALUE"),
        (&["Requestor-ID=x1"], "no headers for `wawex`: Requestor-ID does not match [0-9]{1,20}"),
        (&["Requestor-ID="], "no headers for `wawex`: Requestor-ID is empty; give it a value"),
        (
            &["X-Partner=other", "Other=1"],
            "no headers for `wawex`: Requestor-ID is missing; add --set Requestor-ID=VALUE; X-Partner is fixed by the \
             configuration; leave it out; Other is not declared in the client's request_headers; leave it out",
        ),
        (&["Requestor-ID"], "--set Requestor-ID: write NAME=VALUE, as in --set Requestor-ID=4711"),
        (&["Requestor-ID=1", "REQUESTOR-ID=2"], "--set REQUESTOR-ID=…: given twice; give it once"),
        (&["Requestor-ID=1\r\nX: 1"], "--set Requestor-ID=…: not a header name and value as HTTP knows them"),
    ] {
        let mut words = vec!["headers", "wawex"];
        words.extend(set.iter().flat_map(|pair| ["--set", pair]));
        assert_eq!(daemon.run(&words), fails(2, &format!("bearerd: {expected}\n")), "{set:?}");
    }
}

#[test]
fn the_command_gets_the_token_in_its_environment() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    let shell = |words: &[&str], script: &str| {
        daemon.run(&[&["exec", "demo"], words, &["--", "sh", "-c", script, "sh", "--flag"]].concat())
    };
    assert_eq!(shell(&[], r#"echo "$BEARERD_TOKEN" "$@""#), prints("tok-1 --flag\n"));
    assert_eq!(shell(&["--env", "MY_TOKEN"], r#"echo "$MY_TOKEN" "${BEARERD_TOKEN-none}""#), prints("tok-1 none\n"));
    assert_eq!(shell(&["--min-validity", "2h"], "echo not run").code, Some(2));
}

#[test]
fn the_exit_code_of_exec_is_the_commands() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    for code in [0, 1, 7, 75, 255] {
        let script = format!("echo out; echo err >&2; exit {code}");
        assert_eq!(daemon.run(&["exec", "demo", "--", "sh", "-c", &script]), Ended::new(code, "out\n", "err\n"));
    }
    let killed = daemon.run(&["exec", "demo", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(killed, Ended { code: None, stdout: String::new(), stderr: String::new() });
}

#[test]
fn a_command_that_cannot_be_run_is_named() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    assert_eq!(
        daemon.run(&["exec", "demo", "--", "no-such-command-at-all", "arg"]),
        fails(
            2,
            "bearerd: cannot run no-such-command-at-all: No such file or directory (os error 2); is it installed and \
             on the PATH?\n"
        )
    );
    assert_eq!(
        daemon.run(&["exec", "demo", "--", "/dev/null"]),
        fails(2, "bearerd: cannot run /dev/null: Permission denied (os error 13); is it executable?\n")
    );
    for bad in ["", "A=B"] {
        assert_eq!(
            daemon.run(&["exec", "demo", "--env", bad, "--", "true"]),
            fails(2, &format!("bearerd: --env {bad}: not a name for a variable\n"))
        );
    }
}

#[test]
fn no_command_runs_without_a_token() {
    let idp = Idp::start();
    idp.next(Answer::error(401, "invalid_client"));
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    let ended = daemon.run(&["exec", "demo", "--", "echo", "not run"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(69), ""));
}
