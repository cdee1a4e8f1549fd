//! The view over HTTP/1.1: what it answers is what gRPC answers, to the same callers, within the same limits.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::io::Write as _;

use bearerd::{daemon::Order, json, lifecycle::Lifecycle, pb::v1};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
};

use crate::{
    authorize::Stranger,
    support::{
        daemon::{ADMINS, ANYBODY, Refusal, Running, client, until_in_use, within},
        idp::{Answer, Gate, Idp},
    },
};

/// A connection that speaks HTTP/1.1.
struct Line(BufReader<UnixStream>);

/// What came back.
#[derive(Debug)]
struct Said {
    status: u16,
    headers: Vec<(String, String)>,
    body: Value,
}

impl Said {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Status, code and reason of an error.
    fn refused(&self) -> (u16, &str, &str) {
        let error = &self.body["error"];
        (self.status, error["code"].as_str().unwrap(), error["reason"].as_str().unwrap())
    }
}

impl Line {
    async fn to(daemon: &Running) -> Self {
        Self(BufReader::new(UnixStream::connect(daemon.socket()).await.unwrap()))
    }

    async fn of(stranger: &Stranger) -> Self {
        Self(BufReader::new(stranger.connect_raw().await))
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next answer; `None` when there will be none.
    async fn hear(&mut self) -> Option<Said> {
        let mut line = String::new();
        if within(self.0.read_line(&mut line)).await.unwrap_or(0) == 0 {
            return None;
        }
        let status = line.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let mut headers = Vec::new();
        loop {
            line.clear();
            within(self.0.read_line(&mut line)).await.unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut said = Said { status, headers, body: Value::Null };
        let length = said.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        within(self.0.read_exact(&mut body)).await.unwrap();
        said.body = serde_json::from_slice(&body).unwrap_or_default();
        Some(said)
    }

    async fn ask(&mut self, request: &str) -> Said {
        self.send(&format!("{request} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        self.hear().await.unwrap_or_else(|| panic!("no answer to {request}"))
    }
}

/// One request on a connection of its own.
async fn ask(daemon: &Running, request: &str) -> Said {
    Line::to(daemon).await.ask(request).await
}

#[tokio::test]
async fn a_token_is_the_one_that_grpc_gives() {
    let idp = Idp::start();
    let headers =
        "request_headers = { Requestor-ID = { per_call = true, pattern = \"[0-9]+\" }, X-A = { value = \"b\" } }";
    let daemon = Running::start(&client("demo", &idp, &format!("{ANYBODY}\n{headers}")));
    let token = daemon.get("demo").await.unwrap();
    let mut line = Line::to(&daemon).await;
    for request in ["GET /v1/clients/demo/token", "GET /v1/clients/demo/token?min_validity=30s&timeout=3"] {
        let said = line.ask(request).await;
        assert_eq!((said.status, said.header("cache-control")), (200, Some("no-store")));
        assert_eq!(said.header("content-type"), Some("application/json"));
        assert_eq!(said.body, serde_json::to_value(json::Token::from(&token)).unwrap());
    }
    assert_eq!(token.headers.len(), 2);
    // Too young to be replaced: the report is answered all the same.
    let said = line.ask(&format!("POST /v1/clients/demo/token?rejected={}", token.id)).await;
    assert_eq!((said.status, &said.body["rejection"], &said.body["id"]), (200, &json!("TOO_YOUNG"), &json!(token.id)));
    assert_eq!(idp.request_count(), 1);
}

#[tokio::test]
async fn status_and_health_are_those_of_grpc() {
    let idp = Idp::start();
    let bad = client("bad", &idp, "prefetch = false").replace("@DIR@/secret", "@DIR@/nothing");
    let daemon = Running::start(&format!("{ADMINS}{}{bad}", client("demo", &idp, ANYBODY)));
    daemon.get("demo").await.unwrap();
    let mut line = Line::to(&daemon).await;
    let said = line.ask("GET /v1/clients").await;
    let names: Vec<_> = said.body["clients"].as_array().unwrap().iter().map(|client| &client["name"]).collect();
    assert_eq!((said.status, names), (200, vec![&json!("bad"), &json!("demo")]));
    let said = line.ask("GET /v1/clients/demo").await;
    assert_eq!((said.status, &said.body["state"], &said.body["requests_today"]), (200, &json!("FRESH"), &json!(1)));
    for (path, status, service, word) in [
        ("/v1/health/live", 200, "", "SERVING"),
        ("/v1/health", 200, "bearerd.v1.TokenBroker", "SERVING"),
        ("/v1/health/clients/demo", 200, "clients/demo", "SERVING"),
        ("/v1/health/clients/bad", 503, "clients/bad", "NOT_SERVING"),
    ] {
        let said = line.ask(&format!("GET {path}")).await;
        assert_eq!((said.status, &said.body), (status, &json!({ "service": service, "status": word })), "{path}");
    }
    assert_eq!(line.ask("GET /v1/health/clients/nobody").await.refused(), (404, "NOT_FOUND", "CLIENT_UNKNOWN"));
    line.send("HEAD /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        within(line.0.read_line(&mut head)).await.unwrap();
    }
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(line.ask("GET /v1/health").await.status, 200, "a head has no body that is in the way");
}

#[tokio::test]
async fn errors_are_those_of_grpc() {
    let idp = Idp::start();
    idp.issue_for(600);
    let unreadable = client("unreadable", &idp, ANYBODY).replace("@DIR@/secret", "@DIR@/nothing");
    let daemon = Running::start(&format!("{}{unreadable}", client("demo", &idp, ANYBODY)));
    daemon.get("demo").await.unwrap();
    daemon.until_client("unreadable", |snapshot| snapshot.failure.is_some()).await;
    let mut line = Line::to(&daemon).await;
    for (request, expected) in [
        ("GET /v1/clients/dem/token", (404, "NOT_FOUND", "CLIENT_UNKNOWN")),
        ("GET /v1/clients/dem", (404, "NOT_FOUND", "CLIENT_UNKNOWN")),
        ("GET /v1/clients/demo/token?min_validity=1h", (422, "OUT_OF_RANGE", "VALIDITY_UNATTAINABLE")),
        ("GET /v1/clients/demo/token?min_validity=-1s", (400, "INVALID_ARGUMENT", "REQUEST_INVALID")),
        ("POST /v1/clients/demo/token?rejected=x", (400, "INVALID_ARGUMENT", "REQUEST_INVALID")),
        ("POST /v1/clients/demo/proof?method=GET&url=http://a/", (409, "FAILED_PRECONDITION", "PROOF_NOT_NEEDED")),
        ("GET /v1/clients/unreadable/token", (503, "FAILED_PRECONDITION", "SECRET_UNREADABLE")),
        ("PUT /v1/clients/demo/token", (405, "UNIMPLEMENTED", "METHOD_UNKNOWN")),
        ("GET /v1/nothing", (404, "UNIMPLEMENTED", "PATH_UNKNOWN")),
    ] {
        let said = line.ask(request).await;
        assert_eq!(said.refused(), expected, "{request}");
        let wait = &said.body["error"]["retry_after_s"];
        assert_eq!(wait.is_number(), said.header("retry-after").is_some(), "{request}: {said:?}");
    }
    let said = line.ask("GET /v1/clients/unreadable/token").await;
    let seconds: f64 = said.header("retry-after").unwrap().parse().unwrap();
    let exact = said.body["error"]["retry_after_s"].as_f64().unwrap();
    assert!(exact > 0.0 && (exact..exact + 1.0).contains(&seconds), "{said:?}");
    let status = daemon.get("unreadable").await.unwrap_err();
    let same = said.body["error"]["message"].as_str().unwrap().rsplit_once("; next try in").unwrap().0.to_owned();
    assert_eq!(Refusal::of(&status).told_without_time().2, same);
}

#[tokio::test]
async fn another_user_is_refused_as_in_grpc() {
    let idp = Idp::start();
    let daemon = Running::start(&client("demo", &idp, ""));
    let stranger = Stranger::of(&daemon).await;
    let mut line = Line::of(&stranger).await;
    for request in ["GET /v1/clients/demo/token", "GET /v1/clients/demo"] {
        let said = line.ask(request).await;
        assert_eq!(said.refused(), (403, "PERMISSION_DENIED", "CALLER_NOT_ALLOWED"));
        let text = said.body["error"]["message"].as_str().unwrap();
        assert!(text.contains(&format!("uid {}", Stranger::ids().0)), "{text}");
    }
    assert_eq!(line.ask("GET /v1/clients").await.body, json!({ "clients": [] }));
}

#[tokio::test]
async fn the_first_token_is_waited_for() {
    let idp = Idp::start();
    let gate = Gate::closed();
    idp.next(Answer::token("first", 600).behind(&gate));
    let daemon = Running::with_demo(&idp);
    let said = ask(&daemon, "GET /v1/clients/demo/token?timeout=10ms").await;
    assert_eq!(said.refused(), (503, "UNAVAILABLE", "TOKEN_PENDING"));
    let mut line = Line::to(&daemon).await;
    line.send("GET /v1/clients/demo/token HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    idp.wait_for_requests(1).await;
    gate.open();
    assert_eq!(line.hear().await.unwrap().body["access_token"], "first");
}

#[tokio::test]
async fn what_somebody_passed_on_is_refused() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    daemon.get("demo").await.unwrap();
    for header in ["Via: 1.1 proxy", "X-Forwarded-For: 10.0.0.1", "Forwarded: for=a", "Origin: https://evil.example"] {
        let mut line = Line::to(&daemon).await;
        line.send(&format!("GET /v1/clients/demo/token HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n")).await;
        let said = line.hear().await.unwrap();
        assert_eq!(said.refused(), (403, "PERMISSION_DENIED", "REQUEST_PASSED_ON"), "{header}");
    }
    let mut line = Line::to(&daemon).await;
    line.send("GET http://localhost/v1/clients/demo/token HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(line.hear().await.unwrap().refused(), (403, "PERMISSION_DENIED", "REQUEST_PASSED_ON"));
    line.send("POST /v1/clients/demo/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nrejected=").await;
    assert_eq!(line.hear().await.unwrap().refused(), (400, "INVALID_ARGUMENT", "REQUEST_INVALID"));
}

#[tokio::test]
async fn an_administrator_can_switch_it_off() {
    let idp = Idp::start();
    let daemon = Running::start(&format!("[server]\nhttp = false\n{}", client("demo", &idp, ANYBODY)));
    assert!(daemon.get("demo").await.is_ok());
    for path in ["/v1/clients/demo/token", "/v1/clients?x=1", "/v1/health/live", "/nothing"] {
        let said = ask(&daemon, &format!("GET {path}")).await;
        assert_eq!(said.refused(), (403, "PERMISSION_DENIED", "HTTP_OFF"), "{path}");
    }
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_their_order() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    daemon.get("demo").await.unwrap();
    let mut line = Line::to(&daemon).await;
    let (good, bad) = ("GET /v1/clients/demo/token HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    line.send(&[good, bad].concat().repeat(100)).await;
    for number in 0..200 {
        let expected = if number % 2 == 0 { 200 } else { 404 };
        assert_eq!(line.hear().await.unwrap().status, expected, "{number}");
    }
}

#[tokio::test]
async fn nonsense_harms_only_who_says_it() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    daemon.get("demo").await.unwrap();
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(10_000));
    for nonsense in ["HELLO\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET\r\n\r\n", &long, &many, "\u{16}\u{3}\u{1}"] {
        let mut line = Line::to(&daemon).await;
        // It may be closed before all of it is taken.
        let _ = line.0.write_all(nonsense.as_bytes()).await;
        line.0.get_mut().shutdown().await.unwrap_or_default();
        let mut rest = Vec::new();
        let _ = within(line.0.read_to_end(&mut rest)).await;
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{:?}", nonsense.get(..40));
    }
    assert_eq!(ask(&daemon, "GET /v1/health/live").await.status, 200);
}

#[tokio::test]
async fn it_has_its_share_of_the_limits() {
    let idp = Idp::start();
    let limits = "[server]\nadmins = [{ any = true }]\nlimits = { connections_per_uid = 2 }\n";
    let daemon = Running::start(&format!("{limits}{}", client("demo", &idp, ANYBODY)));
    daemon.get("demo").await.unwrap();
    let stranger = Stranger::of(&daemon).await;
    until_in_use(&stranger.channel(), 1, 1).await;
    let mut second = Line::of(&stranger).await;
    assert_eq!(second.ask("GET /v1/clients/demo/token").await.status, 200);
    let mut third = Line::of(&stranger).await;
    let said = third.ask("GET /v1/clients/demo/token").await;
    assert_eq!(said.refused(), (429, "RESOURCE_EXHAUSTED", "CALLER_LIMIT"));
    assert_eq!(said.header("retry-after"), Some("1"));
    let mut fourth = Line::of(&stranger).await;
    assert_eq!(fourth.ask("GET /v1/health/live").await.status, 200, "nothing keeps a health check out");
    drop((second, third, fourth));
    until_in_use(&stranger.channel(), 1, 1).await;
}

#[tokio::test]
async fn a_daemon_that_goes_answers_what_was_asked_and_closes() {
    let idp = Idp::start();
    let gate = Gate::closed();
    idp.next(Answer::token("late", 600).behind(&gate));
    let daemon = Running::with_demo(&idp);
    let (mut idle, mut waiting) = (Line::to(&daemon).await, Line::to(&daemon).await);
    assert_eq!(idle.ask("GET /v1/health/live").await.status, 200);
    waiting.send("GET /v1/clients/demo/token HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    idp.wait_for_requests(1).await;
    // Answered on the same thread, after it has been read.
    assert_eq!(idle.ask("GET /v1/health").await.status, 503);
    daemon.order(Order::Stop).await;
    daemon.until(Lifecycle::Draining).await;
    let said = waiting.hear().await.unwrap();
    assert_eq!(said.refused(), (503, "UNAVAILABLE", "DRAINING"));
    assert_eq!(said.header("connection"), Some("close"), "so that nobody sends the next request after it");
    assert!(waiting.hear().await.is_none() && idle.hear().await.is_none(), "both are closed");
    daemon.until(Lifecycle::Stopped).await;
}

#[tokio::test]
async fn an_answer_that_is_not_taken_still_counts() {
    let idp = Idp::start();
    let many: String = (0..2_000).map(|number| client(&format!("client-{number}"), &idp, "prefetch = false")).collect();
    let daemon = Running::start(&format!("{ADMINS}{many}"));
    let mut line = Line::to(&daemon).await;
    line.send("GET /v1/clients HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let mut begun = String::new();
    within(line.0.read_line(&mut begun)).await.unwrap();
    assert_eq!(begun, "HTTP/1.1 200 OK\r\n");
    let channel = daemon.connect().await;
    until_in_use(&channel, 2, 2).await;
    let mut rest = Vec::new();
    while !rest.ends_with(b"]}\n") {
        within(line.0.read_until(b'\n', &mut rest)).await.unwrap();
    }
    until_in_use(&channel, 2, 1).await;
}

#[tokio::test]
async fn a_reload_ends_the_waiting_of_who_may_not_any_more() {
    let idp = Idp::start();
    idp.next(Answer::never());
    let daemon = Running::start(&format!("{ADMINS}{}", client("demo", &idp, ANYBODY)));
    let stranger = Stranger::of(&daemon).await;
    let mut line = Line::of(&stranger).await;
    line.send("GET /v1/clients/demo/token?timeout=60s HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    idp.wait_for_requests(1).await;
    assert_eq!(ask(&daemon, "GET /v1/clients").await.status, 200, "it is waiting by now");
    daemon.reload(&format!("{ADMINS}{}", client("demo", &idp, ""))).await;
    assert_eq!(line.hear().await.unwrap().refused(), (403, "PERMISSION_DENIED", "CALLER_NOT_ALLOWED"));
}

#[tokio::test]
async fn all_who_have_connected_are_answered_before_the_daemon_goes() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    daemon.get("demo").await.unwrap();
    // More than the runtime lets one task accept in one turn; the daemon has none before all of them are there.
    let mut lines = Vec::new();
    for _ in 0..200 {
        let mut stream = std::os::unix::net::UnixStream::connect(daemon.socket()).unwrap();
        stream.write_all(b"GET /v1/clients/demo/token HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream.set_nonblocking(true).unwrap();
        lines.push(Line(BufReader::new(UnixStream::from_std(stream).unwrap())));
    }
    daemon.order(Order::Stop).await;
    for (number, line) in lines.iter_mut().enumerate() {
        assert_eq!(line.hear().await.map(|said| said.status), Some(200), "connection {number}");
    }
}

#[tokio::test]
async fn who_connected_before_the_end_and_speaks_after_it_began_is_answered() {
    let idp = Idp::start();
    let daemon = Running::start(&format!("{ADMINS}{}", client("demo", &idp, ANYBODY)));
    daemon.get("demo").await.unwrap();
    let mut silent = Line::to(&daemon).await;
    until_in_use(&daemon.connect().await, 2, 1).await;
    daemon.order(Order::Stop).await;
    daemon.until(Lifecycle::Draining).await;
    let said = silent.ask("GET /v1/clients/demo/token").await;
    assert_eq!((said.status, said.header("connection")), (200, Some("close")));
    assert!(silent.hear().await.is_none());
}

#[test]
fn a_status_has_the_fields_that_the_command_line_prints() {
    let status = json::client_status(&v1::ClientStatus::default());
    let mut fields: Vec<_> = status.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    let expected = "budget_per_day consecutive_failures expires_at issued_at last_failure name next_attempt_at \
                    requests_today required runway_seconds secret_in_use state token_id warnings";
    assert_eq!(fields.join(" "), expected);
}
