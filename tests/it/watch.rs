//! WatchToken over the wire: the state now, every change, and how it ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::time::SystemTime;

use bearerd::daemon::Order;
use bearerd_client::pb::v1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{Code, Status, Streaming, transport::Endpoint};
use tower::service_fn;
use v1::watch_token_response::State;

use crate::{
    authorize::Stranger,
    support::{
        daemon::{ADMINS, ANYBODY, Refusal, Running, client, within},
        idp::{Answer, Gate, Idp},
    },
};

type Stream = Streaming<v1::WatchTokenResponse>;

async fn next(stream: &mut Stream) -> State {
    within(stream.message()).await.unwrap().expect("the stream goes on").state.unwrap()
}

/// The next token, while nothing worse is told than that it is on its way.
async fn next_token(stream: &mut Stream) -> v1::Token {
    loop {
        match next(stream).await {
            State::Token(token) => return token,
            State::Unavailable(now) => assert_eq!(now.reason, "TOKEN_PENDING"),
        }
    }
}

/// How the stream ends.
async fn end(stream: &mut Stream) -> Refusal {
    let status = within(stream.message()).await.unwrap_err();
    Refusal::of(&status)
}

fn unavailable(state: State) -> v1::Unavailable {
    match state {
        State::Unavailable(unavailable) => unavailable,
        State::Token(token) => panic!("a token: {}", token.id),
    }
}

/// One client and whoever runs the tests may administer.
fn config(idp: &Idp, more: &str) -> String {
    format!("{ADMINS}{}", client("demo", idp, more))
}

#[tokio::test]
async fn the_current_token_comes_at_once() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    let token = daemon.get("demo").await.unwrap();
    assert_eq!(next(&mut daemon.watch("demo").await).await, State::Token(token));
    assert_eq!(idp.request_count(), 1);
}

#[tokio::test]
async fn every_change_from_nothing_over_a_failure_to_a_token_is_told() {
    let idp = Idp::start();
    let (first, second) = (Gate::closed(), Gate::closed());
    idp.next(Answer::error(503, "temporarily_unavailable").behind(&first));
    idp.next(Answer::token("tok-late", 3_600).behind(&second));
    let daemon = Running::start(&config(&idp, "allow = [{ any = true }]\nprefetch = false"));
    let mut stream = daemon.watch("demo").await;
    let pending = v1::Unavailable {
        code: Code::Unavailable.into(),
        reason: "TOKEN_PENDING".to_owned(),
        message: "a token for `demo` is on its way".to_owned(),
        next_attempt_at: None,
    };
    assert_eq!(next(&mut stream).await, State::Unavailable(pending));

    first.open();
    let told = unavailable(next(&mut stream).await);
    let asked = Refusal::of(&daemon.get("demo").await.unwrap_err());
    assert_eq!((told.code, &*told.reason, &*told.message), (asked.code.into(), &*asked.reason, &*asked.text));
    assert_eq!(told.reason, "ISSUER_BUSY");
    let next_attempt_at = SystemTime::try_from(told.next_attempt_at.unwrap()).unwrap();
    assert!(next_attempt_at.elapsed().map_or(true, |late| late.as_secs() < 5), "about now");

    second.open();
    assert_eq!(next(&mut stream).await, State::Token(daemon.get("demo").await.unwrap()));
    assert_eq!(idp.request_count(), 2);
}

#[tokio::test]
async fn a_follower_counts_as_somebody_who_asks() {
    let idp = Idp::start();
    let daemon = Running::start(&config(&idp, "allow = [{ any = true }]\nprefetch = false"));
    assert_eq!(daemon.status("demo").await.state(), v1::ClientState::Idle);
    assert_eq!(next_token(&mut daemon.watch("demo").await).await.access_token, "tok-1");
}

#[tokio::test]
async fn the_stream_goes_on_with_the_successor_of_a_replaced_client() {
    let idp = Idp::start();
    let daemon = Running::start(&config(&idp, ANYBODY));
    let mut stream = daemon.watch("demo").await;
    assert_eq!(next_token(&mut stream).await.access_token, "tok-1");
    for number in 2..6 {
        let more = format!("{ANYBODY}\nscope = [\"s{number}\"]");
        assert_eq!(daemon.reload(&config(&idp, &more)).await.changed, ["demo"]);
        assert_eq!(next_token(&mut stream).await.access_token, format!("tok-{number}"));
    }
    // Another policy is no other client: nothing to tell.
    let more = "allow = [{ any = true }, { uid = 12345 }]\nscope = [\"s5\"]";
    assert_eq!(daemon.reload(&config(&idp, more)).await.changed, ["demo"]);
    assert_eq!(daemon.get("demo").await.unwrap().access_token, "tok-5");
    assert_eq!(daemon.reload(&config(&idp, &format!("{ANYBODY}\nscope = [\"s6\"]"))).await.changed, ["demo"]);
    assert_eq!(next_token(&mut stream).await.access_token, "tok-6");
}

#[tokio::test]
async fn other_headers_for_the_same_token_are_a_change() {
    let idp = Idp::start();
    let daemon = Running::start(&config(&idp, ANYBODY));
    let mut stream = daemon.watch("demo").await;
    assert_eq!(next_token(&mut stream).await.headers, []);
    let more = format!("{ANYBODY}\nrequest_headers = {{ X-Partner = {{ value = \"acme\" }} }}");
    assert_eq!(daemon.reload(&config(&idp, &more)).await.changed, ["demo"]);
    let token = next_token(&mut stream).await;
    assert_eq!((&*token.access_token, &*token.headers[0].value), ("tok-1", "acme"));
}

#[tokio::test]
async fn a_slow_reader_sees_only_the_newest() {
    let idp = Idp::start();
    // Longer than the window that the reader opens, so that the daemon can send the first and has to wait with more.
    let long = |number: u64| format!("{number}-{}", "x".repeat(40_000));
    idp.otherwise(move |number| Answer::token(&long(number), 3_600));
    let daemon = Running::start(&config(&idp, ANYBODY));
    assert_eq!(daemon.get("demo").await.unwrap().access_token, long(1));
    let mut stream = watch_with_a_small_window(&daemon).await.unwrap();
    for number in 2..7 {
        daemon.reload(&config(&idp, &format!("{ANYBODY}\nscope = [\"s{number}\"]"))).await;
        assert_eq!(daemon.get("demo").await.unwrap().access_token, long(number));
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&long(6)) {
        seen.push(match next(&mut stream).await {
            State::Token(token) => token.access_token,
            State::Unavailable(now) => now.reason,
        });
    }
    assert_eq!(seen[0], long(1));
    // Ten changes came after it: five times none, then another token. The HTTP library takes what there is at first out
    // of the stream before it knows that there is no room for it; the others are never told.
    let shown: Vec<_> = seen.iter().map(|state| &state[..2]).collect();
    assert!(seen.len() <= 4, "{shown:?}");
}

/// A reader that takes 16 KiB and then no more before it is read from.
pub(crate) async fn watch_with_a_small_window(daemon: &Running) -> Result<Stream, Status> {
    let socket = daemon.socket();
    let connector = service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost").initial_stream_window_size(16 * 1_024);
    let channel = endpoint.connect_with_connector(connector).await.unwrap();
    let request = v1::WatchTokenRequest { client: "demo".to_owned() };
    let mut broker = v1::token_broker_client::TokenBrokerClient::new(channel);
    Ok(broker.watch_token(request).await?.into_inner())
}

#[tokio::test]
async fn it_ends_when_the_client_is_removed() {
    let idp = Idp::start();
    let daemon = Running::start(&config(&idp, ANYBODY));
    let mut stream = daemon.watch("demo").await;
    next_token(&mut stream).await;
    let reloaded = daemon.reload(&format!("{ADMINS}{}", client("other", &idp, ANYBODY))).await;
    assert_eq!(reloaded.removed, ["demo"]);
    let text = "no client `demo` is configured; `bearerd status` lists those you may use";
    assert_eq!(end(&mut stream).await.told(), (Code::NotFound, "CLIENT_UNKNOWN", text));
}

#[tokio::test]
async fn it_ends_when_the_reader_is_no_longer_allowed() {
    let (uid, _) = Stranger::ids();
    let idp = Idp::start();
    let daemon = Running::start(&config(&idp, &format!("allow = [{{ uid = {uid} }}]")));
    let stranger = Stranger::of(&daemon).await;
    let request = v1::WatchTokenRequest { client: "demo".to_owned() };
    let mut stream = stranger.channel().broker().watch_token(request).await.unwrap().into_inner();
    next_token(&mut stream).await;
    let reloaded = daemon.reload(&config(&idp, &format!("allow = [{{ uid = {} }}]", uid + 1))).await;
    assert_eq!(reloaded.changed, ["demo"]);
    let text = stranger.denial("client `demo`");
    assert_eq!(end(&mut stream).await.told(), (Code::PermissionDenied, "CALLER_NOT_ALLOWED", &*text));
    assert_eq!(idp.request_count(), 1, "the client itself ran on");
}

#[tokio::test]
async fn it_ends_when_the_daemon_shuts_down() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    let mut stream = daemon.watch("demo").await;
    next_token(&mut stream).await;
    daemon.order(Order::Stop).await;
    let text = "the daemon is shutting down; connect again when it is back";
    assert_eq!(end(&mut stream).await.told(), (Code::Unavailable, "DRAINING", text));
}
