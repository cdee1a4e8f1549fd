//! GetToken over the wire: the token, and every way in which there is none.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "what fails here fails the test; time is real")]

use std::time::Duration;

use bearerd::daemon::Order;
use bearerd_client::pb::v1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{net::UnixStream, task::JoinSet};
use tonic::{Code, Request, Status, transport::Endpoint};
use tower::service_fn;

use crate::support::{
    daemon::{ADMINS, ANYBODY, Refusal, Running, client, until_in_use, within, write_secret},
    idp::{Answer, Gate, Idp},
};

/// A client that makes no request before it is asked.
const LAZY: &str = "allow = [{ any = true }]\nprefetch = false";

fn request(client: &str) -> v1::GetTokenRequest {
    v1::GetTokenRequest { client: client.to_owned(), ..v1::GetTokenRequest::default() }
}

fn valid_for(span: Duration) -> v1::GetTokenRequest {
    v1::GetTokenRequest { min_validity: Some(span.try_into().unwrap()), ..request("demo") }
}

async fn ask(daemon: &Running, request: impl tonic::IntoRequest<v1::GetTokenRequest>) -> Result<v1::Token, Status> {
    let response = daemon.connect().await.broker().get_token(request).await?.into_inner();
    assert_eq!(response.rejection(), v1::Rejection::Unspecified);
    Ok(response.token.unwrap())
}

async fn refusal(daemon: &Running, request: impl tonic::IntoRequest<v1::GetTokenRequest>) -> Refusal {
    Refusal::of(&ask(daemon, request).await.unwrap_err())
}

/// What callers are told when this is all that the issuer answers.
async fn refusal_after(answer: Answer) -> Refusal {
    let idp = Idp::start();
    idp.otherwise(move |_| answer.clone());
    refusal(&Running::with_demo(&idp), request("demo")).await
}

#[tokio::test]
async fn a_token_comes_with_all_that_is_needed_to_use_it() {
    let idp = Idp::start();
    let answer = json!({ "access_token": "tok-a", "token_type": "bearer", "expires_in": 3600, "scope": "read write" });
    idp.next(Answer::json(200, &answer));
    let more = r#"allow = [{ any = true }]
        scope = ["read", "write"]
        [clients.demo.request_headers]
        "Requestor-ID" = { per_call = true, pattern = "[0-9]{1,20}" }
        "X-Partner" = { value = "acme" }"#;
    let daemon = Running::start(&client("demo", &idp, more));
    let before = std::time::SystemTime::now();
    let token = daemon.get("demo").await.unwrap();
    let after = std::time::SystemTime::now();

    let headers = [("Requestor-ID", "", true, "[0-9]{1,20}"), ("X-Partner", "acme", false, "")];
    let headers = headers.map(|(name, value, per_call, pattern)| v1::RequestHeader {
        name: name.to_owned(),
        value: value.to_owned(),
        per_call,
        pattern: pattern.to_owned(),
    });
    let (issued_at, expires_at) = (token.issued_at.unwrap(), token.expires_at.unwrap());
    let expected = v1::Token {
        client: "demo".to_owned(),
        access_token: "tok-a".to_owned(),
        token_type: "Bearer".to_owned(),
        authorization: "Bearer tok-a".to_owned(),
        id: token.id.clone(),
        issued_at: Some(issued_at),
        expires_at: Some(expires_at),
        scope: "read write".to_owned(),
        headers: headers.into(),
        proof_required: false,
    };
    assert_eq!(token, expected);
    let (epoch, serial) = token.id.split_once('-').unwrap();
    assert!(epoch.len() == 16 && epoch.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", token.id);
    assert_eq!(serial, "1");
    assert_eq!((expires_at.seconds - issued_at.seconds, expires_at.nanos), (3_600, issued_at.nanos));
    // The first request may have been sent before anybody asked, never after the answer came.
    let issued_at = std::time::SystemTime::try_from(issued_at).unwrap();
    assert!(issued_at <= after && issued_at + Duration::from_secs(5) > before);

    assert_eq!(daemon.get("demo").await.unwrap(), token, "from memory");
    assert_eq!(idp.request_count(), 1);
}

#[tokio::test]
async fn a_stock_client_gets_tokens_and_details_of_errors() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    let socket = daemon.socket();
    let connector = service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost").timeout(Duration::from_secs(5));
    let channel = endpoint.connect_with_connector(connector).await.unwrap();
    let mut broker = v1::token_broker_client::TokenBrokerClient::new(channel);
    let response = broker.get_token(request("demo")).await.unwrap().into_inner();
    assert_eq!(response.token.unwrap().authorization, "Bearer tok-1");
    let status = broker.get_token(request("")).await.unwrap_err();
    assert_eq!(Refusal::of(&status).reason, "REQUEST_INVALID");
}

#[tokio::test]
async fn an_unknown_client_is_answered_with_the_nearest_name() {
    let idp = Idp::start();
    let daemon = Running::start(&(client("paysway", &idp, ANYBODY) + &client("wawex", &idp, ANYBODY)));
    let misspelt = refusal(&daemon, request("payswey")).await;
    let text = "no client `payswey` is configured; did you mean `paysway`?";
    assert_eq!(misspelt.told(), (Code::NotFound, "CLIENT_UNKNOWN", text));
    assert_eq!(misspelt.retry_in, None);
    let other = refusal(&daemon, request("zzz")).await;
    let text = "no client `zzz` is configured; `bearerd status` lists those you may use";
    assert_eq!(other.told(), (Code::NotFound, "CLIENT_UNKNOWN", text));
    let long = refusal(&daemon, request(&"x".repeat(10_000))).await;
    let text = format!("no client `{}` is configured; `bearerd status` lists those you may use", "x".repeat(64));
    assert_eq!(long.text, text, "a text that is no name is not sent back as a whole");
}

#[tokio::test]
async fn a_malformed_request_says_which_field_and_what_to_write() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    let negative = prost_types::Duration { seconds: -1, nanos: 0 };
    let rows = [
        (request(""), "`client` is empty; name the client, as in `[clients.NAME]`"),
        (
            v1::GetTokenRequest { min_validity: Some(negative), ..request("demo") },
            "`min_validity` is negative or no duration; leave it out or set it to 0s or more",
        ),
        (
            v1::GetTokenRequest { rejected_token_id: "tok-1".to_owned(), ..request("demo") },
            "`rejected_token_id`: not a token id; pass the `id` of a token as it came",
        ),
    ];
    for (request, text) in rows {
        let refusal = refusal(&daemon, request).await;
        assert_eq!(refusal.told(), (Code::InvalidArgument, "REQUEST_INVALID", text));
        assert_eq!(refusal.retry_in, None);
    }
}

#[tokio::test]
async fn a_validity_that_no_token_has_is_refused_without_asking_the_issuer() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    assert_eq!(ask(&daemon, valid_for(Duration::from_secs(3_000))).await.unwrap().access_token, "tok-1");
    for _ in 0..20 {
        let refusal = refusal(&daemon, valid_for(Duration::from_secs(7_200))).await;
        let text = "no token for `demo` is ever valid for 2h: its issuer's tokens live 1h; ask for less";
        assert_eq!(refusal.told(), (Code::OutOfRange, "VALIDITY_UNATTAINABLE", text));
        assert_eq!(refusal.retry_in, None);
    }
    assert_eq!(idp.request_count(), 1);
}

#[tokio::test]
async fn what_the_issuer_answers_decides_what_callers_are_told() {
    let html = Answer::new(200, "<html>login</html>").header("content-type", "text/html");
    let rows = [
        (
            Answer::error(503, "temporarily_unavailable"),
            (
                Code::Unavailable,
                "ISSUER_BUSY",
                "no usable token for `demo`: HTTP 503, temporarily_unavailable; the issuer cannot serve now",
            ),
            0..=1,
        ),
        (
            Answer::error(429, "slow_down"),
            (
                Code::Unavailable,
                "ISSUER_BUSY",
                "no usable token for `demo`: HTTP 429, slow_down; the issuer cannot serve now",
            ),
            50..=60,
        ),
        (
            html,
            (
                Code::Unavailable,
                "ISSUER_ANSWER_INVALID",
                "no usable token for `demo`: HTTP 200 with an HTML page instead of a token; check token_url; check token_url, or ask whoever runs the issuer",
            ),
            0..=1,
        ),
        (
            Answer::error(401, "invalid_client"),
            (
                Code::FailedPrecondition,
                "CREDENTIALS_REFUSED",
                "no usable token for `demo`: HTTP 401, invalid_client (check client_id, client_secret and auth_method); a new secret or key is noticed by itself",
            ),
            20..=33,
        ),
    ];
    for (answer, told, waits) in rows {
        let refusal = refusal_after(answer).await;
        assert_eq!(refusal.told_without_time(), told);
        let wait = refusal.retry_in.unwrap().as_secs();
        assert!(waits.contains(&wait), "{told:?}: {wait} s");
    }
}

#[tokio::test]
async fn while_a_client_backs_off_callers_are_told_at_once_when_to_come_back() {
    let idp = Idp::start();
    idp.next(Answer::error(503, "temporarily_unavailable").header("retry-after", "600"));
    let daemon = Running::with_demo(&idp);
    let first = refusal(&daemon, request("demo")).await;
    assert!(
        matches!(
            &*first.text,
            "no usable token for `demo`: HTTP 503, temporarily_unavailable; the issuer cannot serve now; next try in 9m 59s"
                | "no usable token for `demo`: HTTP 503, temporarily_unavailable; the issuer cannot serve now; next try in 9m 58s"
        ),
        "{}",
        first.text
    );
    for _ in 0..20 {
        let again = refusal(&daemon, request("demo")).await;
        assert!(again.retry_in.unwrap() <= first.retry_in.unwrap());
    }
    assert_eq!(idp.request_count(), 1, "callers do not make it ask earlier");
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached() {
    let idp = Idp::start();
    idp.go_down();
    let refusal = refusal(&Running::with_demo(&idp), request("demo")).await;
    let text = format!(
        "no usable token for `demo`: cannot connect to {}: Connection refused (os error 111); check network, name \
         resolution and token_url",
        idp.address()
    );
    assert_eq!(refusal.told_without_time(), (Code::Unavailable, "ISSUER_UNREACHABLE", &*text));
    assert!(refusal.retry_in.unwrap() <= Duration::from_secs(1));
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_read_again_when_it_is_there() {
    let idp = Idp::start();
    let more = client("demo", &idp, ANYBODY).replace("@DIR@/secret", "@DIR@/later");
    let daemon = Running::start(&format!("{ADMINS}{more}"));
    let refusal = refusal(&daemon, request("demo")).await;
    let file = daemon.dir().join("later");
    let text = format!(
        "no usable token for `demo`: secret file {}: does not exist; write the secret to it; it is read again when \
         it has changed",
        file.display()
    );
    assert_eq!(refusal.told_without_time(), (Code::FailedPrecondition, "SECRET_UNREADABLE", &*text));
    assert_eq!(idp.request_count(), 0, "nothing to ask with");

    write_secret(&file, "hunter3\n");
    let order = v1::RefreshClientRequest { client: "demo".to_owned() };
    let refreshed = daemon.connect().await.admin().refresh_client(order).await.unwrap().into_inner();
    assert!(refreshed.renewed);
    // Usually one request; two if the daemon noticed the file by itself just before the order came.
    let token = daemon.get("demo").await.unwrap().access_token;
    assert_eq!(token, format!("tok-{}", idp.request_count()));
    assert!(idp.requests().iter().all(|request| request.field("client_secret") == Some("hunter3")));
}

#[tokio::test]
async fn a_caller_waits_for_the_first_token_no_longer_than_its_deadline() {
    let idp = Idp::start();
    idp.otherwise(|_| Answer::never());
    let daemon = Running::with_demo(&idp);
    // The header is all there is: this client does not watch the deadline itself, so the daemon must.
    let mut request = Request::new(request("demo"));
    request.set_timeout(Duration::from_millis(200));
    let refusal = tokio::time::timeout(Duration::from_secs(5), refusal(&daemon, request)).await.unwrap();
    let text = "a token for `demo` is on its way but did not come before the deadline; ask again";
    assert_eq!(refusal.told(), (Code::Unavailable, "TOKEN_PENDING", text));
    assert_eq!(refusal.retry_in, Some(Duration::from_millis(500)));
}

#[tokio::test]
async fn a_waiting_call_is_told_that_the_daemon_shuts_down() {
    let idp = Idp::start();
    idp.otherwise(|_| Answer::never());
    let daemon = Running::start(&client("demo", &idp, LAZY));
    let mut broker = daemon.connect().await.broker();
    let stop = async {
        // Nobody else asks: when the request is there, the call waits.
        idp.wait_for_requests(1).await;
        daemon.order(Order::Stop).await;
    };
    let (outcome, ()) = within(async { tokio::join!(broker.get_token(request("demo")), stop) }).await;
    let refusal = Refusal::of(&outcome.unwrap_err());
    let text = "the daemon is shutting down; connect again when it is back";
    assert_eq!(refusal.told(), (Code::Unavailable, "DRAINING", text));
    assert_eq!(refusal.retry_in, Some(Duration::from_secs(1)));
}

#[tokio::test]
async fn a_thousand_callers_cost_one_request() {
    let idp = Idp::start();
    let gate = Gate::closed();
    idp.next(Answer::token("tok-shared", 3_600).behind(&gate));
    let daemon = Running::start(&format!("{ADMINS}{}", client("demo", &idp, LAZY)));
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        let channel = daemon.connect().await;
        for _ in 0..100 {
            let mut broker = channel.clone().broker();
            callers.spawn(async move { broker.get_token(request("demo")).await.unwrap().into_inner().token.unwrap() });
        }
    }
    until_in_use(&daemon.connect().await, 11, 1_001).await;
    gate.open();
    let tokens = within(callers.join_all()).await;
    assert_eq!(tokens.len(), 1_000);
    assert!(tokens.iter().all(|token| token.access_token == "tok-shared"));
    assert_eq!(idp.request_count(), 1);
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_cancel_the_shared_request() {
    let idp = Idp::start();
    let gate = Gate::closed();
    idp.next(Answer::token("tok-shared", 3_600).behind(&gate));
    let daemon = Running::start(&format!("{ADMINS}{}", client("demo", &idp, LAZY)));
    let channel = daemon.connect().await;
    let mut broker = channel.clone().broker();
    let mut callers = JoinSet::new();
    callers.spawn(async move { broker.get_token(request("demo")).await });
    idp.wait_for_requests(1).await;
    callers.shutdown().await;
    until_in_use(&channel, 1, 1).await;
    gate.open();
    assert_eq!(daemon.get("demo").await.unwrap().access_token, "tok-shared");
    assert_eq!(idp.request_count(), 1);
}
