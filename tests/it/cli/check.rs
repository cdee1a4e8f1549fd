//! `check`, with and without `--online`.

use std::{fs, path::Path};

use serde_json::json;
use tempfile::TempDir;

use super::{ClosedPort, client, fails, prints};
use crate::support::{
    binary::{Ended, Process, bearerd},
    daemon::write_secret,
    idp::{Answer, Gate, Idp},
};

/// A directory with a configuration in it, and the secret that it names.
fn directory(config: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write_secret(&dir.path().join("secret"), "hunter2\n");
    fs::write(dir.path().join("bearerd.toml"), config.replace("@DIR@", dir.path().to_str().unwrap())).unwrap();
    dir
}

fn check(dir: &Path, words: &[&str]) -> Ended {
    let mut command = bearerd();
    command.arg("check").arg("--config").arg(dir.join("bearerd.toml")).args(words);
    Ended::of(command.output().unwrap()).plain(dir)
}

const ONE: &str = r#"
[clients.one]
token_url = "https://issuer.example/token"
client_id = "id"
client_secret = { env = "SECRET" }
"#;

#[test]
fn a_good_configuration_is_said_to_be_good() {
    let dir = directory(ONE);
    assert_eq!(check(dir.path(), &[]), prints("DIR/bearerd.toml: good, 1 client\n"));
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    fs::write(dir.path().join("conf.d/b.toml"), ONE.replace("one", "two")).unwrap();
    assert_eq!(check(dir.path(), &[]), prints("DIR/bearerd.toml, DIR/conf.d/b.toml: good, 2 clients\n"));
    assert_eq!(
        check(dir.path(), &["--json"]),
        prints(concat!(
            r#"{"clients":[{"name":"one"},{"name":"two"}],"#,
            r#""files":["DIR/bearerd.toml","DIR/conf.d/b.toml"],"problems":[],"warnings":[]}"#,
            "\n"
        ))
    );
}

#[test]
fn the_reference_configuration_is_good() {
    let dir = directory(&fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/config.toml")).unwrap());
    assert_eq!(check(dir.path(), &[]), prints("DIR/bearerd.toml: good, 2 clients\n"));
}

#[test]
fn every_problem_is_named_at_once() {
    let dir = directory("[clients.A]\ntoken_url = \"http://issuer.example/\"\nclient_secret = \"hunter2\"\n");
    assert_eq!(
        check(dir.path(), &[]),
        fails(
            78,
            "bearerd: the configuration has 4 problems:\n\
             DIR/bearerd.toml: clients.A: is not the name of a client; a client name starts with a \
             lower-case letter or digit and has at most 63 of a-z, 0-9, '.', '_' and '-'\n\
             DIR/bearerd.toml: clients.A.client_id: is missing; add client_id = \"…\"\n\
             DIR/bearerd.toml: clients.A.client_secret: holds the secret itself; put it elsewhere and write { file = \
             \"/path/to/secret\" } or { env = \"VARIABLE\" }\n\
             DIR/bearerd.toml: clients.A.token_url: sends the secret unencrypted; write https://, or allow_http = true \
             if nobody can listen on the way\n"
        )
    );
    fs::write(dir.path().join("bearerd.toml"), ONE.replace("client_id", "client-id")).unwrap();
    assert_eq!(
        check(dir.path(), &["--json"]),
        Ended::new(
            78,
            concat!(
                r#"{"clients":[],"#,
                r#""problems":[{"file":"DIR/bearerd.toml","message":"is not a known key","path":"clients.one.client-id","#,
                r#""remedy":"did you mean \"client_id\"?"},"#,
                r#"{"file":"DIR/bearerd.toml","message":"is missing","path":"clients.one.client_id","#,
                r#""remedy":"add client_id = \"…\""}]}"#,
                "\n"
            ),
            ""
        )
    );
}

#[test]
fn variables_of_the_environment_are_checked_too() {
    let dir = directory(ONE);
    let mut command = bearerd();
    command.env("BEARERD_CONFIG", dir.path().join("bearerd.toml")).env("BEARERD_CLIENTS__ONE__TOKEN_URL", "nonsense");
    assert_eq!(
        Ended::of(command.arg("check").output().unwrap()),
        fails(
            78,
            "bearerd: the configuration has 1 problem:\nthe environment: clients.one.token_url: is not an https:// \
             URL; write one like \"https://issuer.example/oauth2/token\"\n"
        )
    );
}

#[test]
fn online_a_good_client_gets_a_token_that_is_not_shown() {
    let idp = Idp::start();
    let dir = directory(&client("demo", &idp, ""));
    assert_eq!(check(dir.path(), &["--online"]), prints("demo: ok, Bearer token, valid for 1h\n"));
    assert_eq!(
        check(dir.path(), &["--online", "--json"]),
        prints(concat!(
            r#"{"clients":[{"name":"demo","odd":[],"ok":true,"token_type":"Bearer","valid_for_seconds":3600}],"#,
            r#""files":["DIR/bearerd.toml"],"problems":[],"warnings":[]}"#,
            "\n"
        ))
    );
    assert_eq!(idp.request_count(), 2);
    assert_eq!(idp.requests()[0].field("client_secret"), Some("hunter2"));
}

#[test]
fn online_everything_odd_is_said_with_the_key_to_set() {
    let idp = Idp::start();
    let odd = Answer::json(
        200,
        &json!({ "access_token": "tok-odd", "token_type": "MAC", "expires_in": 3_600_000, "scope": "less" }),
    );
    let dir = directory(&client("demo", &idp, "scope = \"less more\""));
    let lines = [
        "token_type is MAC instead of Bearer (set token_type if it is wrong)",
        "the granted scope is \"less\", not what was asked for (see scope)",
        "a lifetime of 1month 11days 5h 26m 24s is implausible; 1 day is used (does the issuer mean milliseconds? \
         set expires_in_unit)",
    ];
    idp.next(odd.clone());
    let text = lines.map(|line| format!("demo: odd: {line}\n")).concat();
    assert_eq!(check(dir.path(), &["--online"]), prints(&format!("demo: ok, MAC token, valid for 1d\n{text}")));
    idp.next(odd);
    let ended = check(dir.path(), &["--online", "--json"]);
    let client = json!({
        "name": "demo", "ok": true, "token_type": "MAC", "valid_for_seconds": 86_400, "odd": lines,
    });
    let document = json!({ "clients": [client], "files": ["DIR/bearerd.toml"], "problems": [], "warnings": [] });
    assert_eq!(ended, prints(&format!("{document}\n")));
}

#[test]
fn online_the_other_ways_to_use_a_secret_are_tried_if_that_is_asked_for() {
    let [basic, none] = [Idp::start(), Idp::start()];
    basic.judge(|request, _| match request.header("authorization") {
        Some(_) => Answer::token("tok", 3_600),
        None => Answer::error(401, "invalid_client"),
    });
    none.otherwise(|_| Answer::error(401, "invalid_client"));
    let dir = directory(&[client("a-basic", &basic, ""), client("b-none", &none, "")].concat());
    let refused = "FAILED: HTTP 401, invalid_client (check client_id, client_secret and auth_method)";
    assert_eq!(
        check(dir.path(), &["--online", "--try-methods"]),
        Ended::new(
            69,
            &format!(
                "a-basic: {refused}; it takes auth_method = \"client_secret_basic\" [CREDENTIALS_REFUSED]\n\
                 b-none: {refused}; it takes none of the other ways to use what the client has; check that itself \
                 [CREDENTIALS_REFUSED]\n"
            ),
            "bearerd: 2 of 2 clients got no token\n"
        )
    );
    assert_eq!((basic.request_count(), none.request_count()), (2, 3), "each way once, and none after the right one");
}

#[test]
fn online_every_client_is_tried_and_failures_are_counted() {
    // Each has an issuer of its own, as they are asked at the same time.
    let [good, refusing, dead] = [Idp::start(), Idp::start(), Idp::start()];
    let nobody = ClosedPort::hold();
    let config = [
        client("a-down", &good, "").replace(&good.token_url(), &nobody.url()),
        client("b-good", &good, ""),
        client("c-refused", &refusing, ""),
        client("d-secret", &good, "").replace("@DIR@/secret", "@DIR@/gone"),
        client("e-dead", &dead, ""),
    ];
    let dir = directory(&config.concat());
    good.issue_for(600);
    refusing.otherwise(|_| Answer::error(401, "invalid_client"));
    dead.otherwise(|_| Answer::json(200, &json!({ "access_token": EXPIRED_JWT, "token_type": "Bearer" })));
    assert_eq!(
        check(dir.path(), &["--online"]),
        Ended::new(
            69,
            "a-down: FAILED: cannot connect to ISSUER: Connection refused (os error 111) [ISSUER_UNREACHABLE]\n\
             b-good: ok, Bearer token, valid for 10m\n\
             c-refused: FAILED: HTTP 401, invalid_client (check client_id, client_secret and auth_method) \
             [CREDENTIALS_REFUSED]\n\
             d-secret: FAILED: secret file DIR/gone: does not exist; write the secret to it \
             [SECRET_UNREADABLE]\n\
             e-dead: FAILED: the issuer returned a token that has already expired; compare its clock with this \
             machine's [ISSUER_ANSWER_INVALID]\n",
            "bearerd: 4 of 5 clients got no token\n"
        )
    );
    let ended = check(dir.path(), &["--online", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(69), ""));
    assert_eq!(
        json["clients"][2],
        json!({
            "name": "c-refused", "ok": false, "reason": "CREDENTIALS_REFUSED",
            "text": "HTTP 401, invalid_client (check client_id, client_secret and auth_method)",
        })
    );
}

#[test]
fn online_four_are_tried_at_a_time_and_told_in_the_order_of_their_names() {
    let [slow, fast] = [Idp::start(), Idp::start()];
    let gate = Gate::closed();
    slow.next(Answer::token("tok-slow", 600).behind(&gate));
    let others: String = ["b", "c", "d", "e", "f"].map(|name| client(name, &fast, "")).concat();
    let dir = directory(&(client("a", &slow, "") + &others));
    let mut command = bearerd();
    let mut checking =
        Process::spawn(command.args(["check", "--online", "--config"]).arg(dir.path().join("bearerd.toml")));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::join!(slow.wait_for_requests(1), fast.wait_for_requests(3)) });
    assert_eq!(fast.request_count(), 3, "the others wait for the first");
    gate.open();
    let others: String =
        ["b", "c", "d", "e", "f"].map(|name| format!("{name}: ok, Bearer token, valid for 1h\n")).concat();
    assert_eq!(checking.ended(), prints(&format!("a: ok, Bearer token, valid for 10m\n{others}")));
    assert_eq!((slow.request_count(), fast.request_count()), (1, 5));
}

#[test]
fn online_an_issuer_whose_certificate_cannot_be_judged_is_unreachable() {
    let dir = directory(ONE);
    let mut command = bearerd();
    command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent").env("SECRET", "hunter2");
    command.args(["check", "--online", "--json", "--config"]).arg(dir.path().join("bearerd.toml"));
    let ended = Ended::of(command.output().unwrap());
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let one = &json["clients"][0];
    assert_eq!((ended.code, &one["name"], &one["reason"]), (Some(69), &json!("one"), &json!("ISSUER_UNREACHABLE")));
    let text = one["text"].as_str().unwrap();
    assert!(text.ends_with("install ca-certificates or set tls.ca_file"), "{text}");
}

/// `{"alg":"none"}.{"exp":1}.`
const EXPIRED_JWT: &str = "eyJhbGciOiJub25lIn0.eyJleHAiOjF9.c2ln";

#[test]
fn who_would_get_what_is_said_with_the_reason() {
    let rules = |name: &str, allow: &str| {
        format!(
            "[clients.{name}]\ntoken_url = \"https://a.example/\"\nclient_id = \"a\"\n\
             client_secret = {{ env = \"A\" }}\nallow = [{allow}]\n"
        )
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bearerd.toml");
    let text = rules("any", "{ any = true }")
        + &rules("none", "")
        + &rules("number", "{ uid = 4000000001 }")
        + &rules("unit", "{ uid = 4000000002 }, { uid = 4000000001, unit = \"report@.service\" }");
    fs::write(&file, text).unwrap();
    let check =
        |words: &[&str]| Ended::of(bearerd().arg("check").arg("--config").arg(&file).args(words).output().unwrap());
    let ended = check(&["--as", "4000000001"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (
            Some(0),
            "as 4000000001 (uid 4000000001, gid 4000000001, in no unit):\n\
             yes any: rule 0: any local process\n\
             no  none: no rule, so only root and the daemon's own user\n\
             yes number: rule 0: user 4000000001\n\
             no  unit: rule 0 wants user 4000000002; rule 1 wants unit report@.service\n\
             no  administration: no rule, so only root and the daemon's own user\n"
        )
    );
    let ended = check(&["--as", "4000000001", "--unit", "report@3.service", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(told["clients"][3]["why"], "rule 1: user 4000000001 and unit report@.service");
    assert_eq!(told["clients"][3]["allowed"], true);
    assert!(check(&["--as", "root"]).stdout.contains("yes none: root and the daemon's own user always may"));
    let ended = check(&["--as", "no-such-user"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(ended.stderr.contains("no such user"), "{}", ended.stderr);
    let ended = check(&["--as", "root", "--unit", "report"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    fs::write(&file, rules("program", "{ uid = 4000000001, exe = \"/bin/sh\" }")).unwrap();
    let text = check(&["--as", "4000000001"]).stdout;
    assert!(text.contains("?   program: rule 0: which program it runs is not known\n"), "{text}");
    assert!(check(&["--as", "4000000002"]).stdout.contains("no  program: rule 0 wants user 4000000001\n"));
}

#[test]
fn what_is_weak_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bearerd.toml");
    let text = "[clients.a]\ntoken_url = \"https://a.example/\"\nclient_id = \"a\"\nclient_secret = { env = \"A\" }\n\
                allow = [{ exe = \"/bin/sh\" }, { user = \"no-such-user\", optional = true }]\n";
    fs::write(&file, text).unwrap();
    let ended = Ended::of(bearerd().arg("check").arg("--config").arg(&file).output().unwrap()).plain(dir.path());
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (
            Some(0),
            "warning: DIR/bearerd.toml: clients.a.allow[0].exe: lets in every user: anybody can start this program with \
             LD_PRELOAD, or under a debugger; name a user or a unit beside it\n\
             warning: DIR/bearerd.toml: clients.a.allow[1].user: names a user \"no-such-user\" that this system does not \
             have; the entry admits nobody; create it and reload\n\
             DIR/bearerd.toml: good, 1 client\n"
        )
    );
}
