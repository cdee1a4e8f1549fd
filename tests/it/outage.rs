//! An issuer that is down for longer than a token lives, and what its neighbours notice of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use bearerd::pb::{
    health::{HealthCheckRequest, health_check_response::ServingStatus},
    v1::{self, watch_token_response::State},
};
use tokio::task::JoinSet;

use crate::support::{
    daemon::{ADMINS, ANYBODY, Refusal, Running, client, within},
    idp::{Answer, Idp},
};

async fn health(daemon: &Running, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.to_owned() };
    daemon.connect().await.health().check(request).await.unwrap().into_inner().status()
}

/// Reads the stream until it tells what is looked for.
async fn until(stream: &mut tonic::Streaming<v1::WatchTokenResponse>, wanted: impl Fn(&State) -> bool) -> State {
    loop {
        let state = within(stream.message()).await.unwrap().unwrap().state.unwrap();
        if wanted(&state) {
            return state;
        }
    }
}

#[tokio::test]
async fn the_story_of_an_outage_is_told_truthfully() {
    let idp = Idp::start();
    idp.next(Answer::token("first", 6));
    let config = format!("{ADMINS}{}", client("demo", &idp, ANYBODY));
    let daemon = Running::start(&config);
    assert_eq!(daemon.get("demo").await.unwrap().access_token, "first");
    let mut stream = daemon.watch("demo").await;
    until(&mut stream, |state| matches!(state, State::Token(_))).await;
    idp.go_down();

    // The refresh fails; the token is still good.
    daemon.until_client("demo", |snapshot| snapshot.failure.is_some()).await;
    assert_eq!(daemon.get("demo").await.unwrap().access_token, "first");
    let status = daemon.status("demo").await;
    assert_eq!(status.state(), v1::ClientState::Degraded);
    assert_eq!(status.last_failure.unwrap().reason, "ISSUER_UNREACHABLE");
    assert!(status.runway.is_some() && status.next_attempt_at.is_some());
    assert_eq!(health(&daemon, "clients/demo").await, ServingStatus::Serving);

    // It has run out.
    let State::Unavailable(told) = until(&mut stream, |state| matches!(state, State::Unavailable(_))).await else {
        unreachable!("that is what was waited for")
    };
    let refusal = Refusal::of(&daemon.get("demo").await.unwrap_err());
    assert_eq!((told.code, told.reason.as_str()), (14, "ISSUER_UNREACHABLE"));
    assert_eq!((refusal.code, refusal.reason.as_str()), (tonic::Code::Unavailable, "ISSUER_UNREACHABLE"));
    assert!(refusal.retry_in.is_some());
    assert_eq!(daemon.status("demo").await.state(), v1::ClientState::Unavailable);
    for (service, expected) in [
        ("", ServingStatus::Serving),
        ("bearerd.v1.TokenBroker", ServingStatus::NotServing),
        ("clients/demo", ServingStatus::NotServing),
    ] {
        assert_eq!(health(&daemon, service).await, expected, "{service}");
    }

    // It is back within one backoff, by itself.
    idp.come_back();
    let State::Token(token) = until(&mut stream, |state| matches!(state, State::Token(_))).await else {
        unreachable!("that is what was waited for")
    };
    assert_eq!(token.access_token, "tok-1");
    let status = daemon.status("demo").await;
    assert_eq!((status.state(), status.consecutive_failures), (v1::ClientState::Fresh, 0));
    assert_eq!(health(&daemon, "bearerd.v1.TokenBroker").await, ServingStatus::Serving);
}

#[tokio::test]
async fn clients_of_a_dead_issuer_delay_nobody_else() {
    let (dead, alive) = (Idp::start(), Idp::start());
    dead.otherwise(|_| Answer::never());
    let mut config = client("healthy", &alive, ANYBODY);
    for number in 0..50 {
        config.push_str(&client(&format!("dead-{number}"), &dead, ANYBODY));
    }
    let daemon = std::sync::Arc::new(Running::start(&config));
    dead.wait_for_requests(4).await;
    let mut waiting = JoinSet::new();
    for number in 0..50 {
        let daemon = std::sync::Arc::clone(&daemon);
        waiting.spawn(async move { daemon.get(&format!("dead-{number}")).await.map(|token| token.client) });
    }
    for _ in 0..20 {
        assert_eq!(within(daemon.get("healthy")).await.unwrap().client, "healthy");
    }
    assert!(waiting.try_join_next().is_none(), "the others still wait for their first token");
    assert_eq!(dead.most_at_once(), 4, "no more requests at a time at one issuer");
}
