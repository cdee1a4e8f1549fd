//! `credential`: what git and kubectl ask and are answered.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use super::{client, fails, prints};
use crate::support::{
    binary::{Daemon, Ended, bearerd},
    idp::Idp,
};

/// Runs it with a question on standard input.
fn ask(daemon: &Daemon, words: &[&str], question: &str, change: impl FnOnce(&mut Command)) -> Ended {
    let mut command = bearerd();
    command.arg("credential").args(words).env("BEARERD_SOCKET", daemon.socket());
    change(&mut command);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // Who does not read its question has closed the pipe.
    let _ = child.stdin.take().unwrap().write_all(question.as_bytes());
    Ended::of(child.wait_with_output().unwrap())
}

fn git(daemon: &Daemon, words: &[&str], question: &str) -> Ended {
    ask(daemon, &[&["git", "demo"], words].concat(), question, |_| {}).replace("utc=[0-9]+", "utc=TIME")
}

#[test]
fn git_gets_a_name_and_a_password() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    let question = "protocol=https\nhost=git.example\n\n";
    let answer = "username=oauth2\npassword=tok-1\npassword_expiry_utc=TIME\n";
    assert_eq!(git(&daemon, &["get"], question), prints(answer));
    let answer = "username=bot\npassword=tok-1\npassword_expiry_utc=TIME\n";
    assert_eq!(git(&daemon, &["--username", "bot", "get"], question), prints(answer));
    let odd = "protocol=https\nhost=git.example\nusername=a\npath=x\n\nnot read\n";
    assert_eq!(git(&daemon, &["get"], odd).code, Some(0));
    assert_eq!(
        git(&daemon, &["--username", "a\nhost=evil", "get"], question),
        fails(2, "bearerd: --username: a name has no control characters\n")
    );
    for operation in ["store", "capability", "anything"] {
        assert_eq!(git(&daemon, &[operation], question), prints(""), "{operation}");
    }
    assert_eq!(
        git(&daemon, &["get"], "protocol=http\nhost=git.example\n"),
        fails(2, "bearerd: no token for http to `git.example`: only https keeps it from others\n")
    );
}

#[test]
fn git_gets_a_bearer_token_if_it_can_send_one() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    let question = "capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=git.example\n";
    let answer = "capability[]=authtype\nauthtype=Bearer\ncredential=tok-1\nephemeral=1\npassword_expiry_utc=TIME\n";
    assert_eq!(git(&daemon, &["--bearer", "get"], question), prints(answer));
    assert_eq!(
        git(&daemon, &["--bearer", "get"], "protocol=https\nhost=git.example\n"),
        fails(2, "bearerd: this git cannot send a Bearer token; leave --bearer out, or use git 2.46 or newer\n")
    );
}

#[test]
fn what_a_server_refused_is_reported_if_it_came_from_here() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    let question = |password: &str| format!("protocol=https\nhost=git.example\nusername=x\npassword={password}\n");
    assert_eq!(git(&daemon, &["erase"], &question("of somebody else")), prints(""));
    assert_eq!(git(&daemon, &["erase"], "protocol=https\nhost=git.example\n"), prints(""));
    // It is only just there, which the daemon says of no other token.
    let young = git(&daemon, &["erase"], &question("tok-1"));
    assert_eq!((young.code, young.stdout.as_str()), (Some(75), ""));
    assert!(young.stderr.ends_with("[TOO_YOUNG]\n"), "{young:?}");
}

#[test]
fn kubectl_gets_what_it_asks_for() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, ""), &[]);
    let kubernetes = |info: Option<&str>| {
        let set = |command: &mut Command| match info {
            Some(info) => drop(command.env("KUBERNETES_EXEC_INFO", info)),
            None => drop(command.env_remove("KUBERNETES_EXEC_INFO")),
        };
        ask(&daemon, &["kubernetes", "demo"], "", set).plain(daemon.dir())
    };
    let answer = |version: &str| {
        prints(&format!(
            "{{\"apiVersion\":\"client.authentication.k8s.io/{version}\",\"kind\":\"ExecCredential\",\
             \"status\":{{\"expirationTimestamp\":\"TIME\",\"token\":\"tok-1\"}}}}\n"
        ))
    };
    assert_eq!(kubernetes(None), answer("v1"));
    for version in ["v1", "v1beta1"] {
        let info =
            format!(r#"{{"apiVersion":"client.authentication.k8s.io/{version}","kind":"ExecCredential","spec":{{}}}}"#);
        assert_eq!(kubernetes(Some(&info)), answer(version));
    }
    assert_eq!(
        kubernetes(Some(r#"{"apiVersion":"client.authentication.k8s.io/v1alpha1"}"#)),
        fails(
            2,
            "bearerd: KUBERNETES_EXEC_INFO asks in `client.authentication.k8s.io/v1alpha1`; in the kubeconfig write \
             apiVersion: client.authentication.k8s.io/v1\n"
        )
    );
}

#[test]
fn a_client_whose_calls_need_more_is_refused() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("demo", &idp, "request_headers = { Requestor-ID = { per_call = true } }"), &[]);
    let text = |program: &str| {
        format!(
            "bearerd: calls with a token of `demo` need the header Requestor-ID as well, which {program} cannot send\n"
        )
    };
    assert_eq!(ask(&daemon, &["kubernetes", "demo"], "", |_| {}), fails(2, &text("kubectl")));
    assert_eq!(git(&daemon, &["get"], "protocol=https\nhost=a\n"), fails(2, &text("git")));
}
