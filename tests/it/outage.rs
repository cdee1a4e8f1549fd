//! An issuer that is down or silent: its own clients are served as long as there is something to serve, and nobody
//! else notices.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests of real time")]

use std::time::{Duration, SystemTime};

use bearerd_client::pb::{
    health::{HealthCheckRequest, health_check_response::ServingStatus},
    v1::{self, ClientState, watch_token_response::State},
};
use tokio::{task::JoinSet, time::timeout};
use tonic::{Code, Streaming};

use crate::support::{
    daemon::{ADMINS, ANYBODY, Refusal, Running, client, until_in_use, within},
    idp::{Answer, Idp},
};

async fn health(daemon: &Running, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.to_owned() };
    daemon.connect().await.health().check(request).await.unwrap().into_inner().status()
}

async fn next(stream: &mut Streaming<v1::WatchTokenResponse>) -> State {
    within(stream.message()).await.unwrap().unwrap().state.unwrap()
}

fn wall(time: Option<prost_types::Timestamp>) -> SystemTime {
    time.unwrap().try_into().unwrap()
}

/// Takes about 8 s: 5 s must pass between two successful requests, so no refresh can fail earlier.
#[tokio::test]
async fn an_outage_longer_than_a_lifetime() {
    let idp = Idp::start();
    idp.issue_for(8);
    let daemon = Running::start(&client("demo", &idp, &format!("{ANYBODY}\nrefresh = {{ {FAST} }}")));
    let token = daemon.get("demo").await.unwrap();
    let expires_at = wall(token.expires_at);
    let mut stream = daemon.watch("demo").await;
    assert_eq!(next(&mut stream).await, State::Token(token.clone()));

    // Silent at first: the refresh hangs, and nobody waits for it.
    idp.next(Answer::never());
    idp.wait_for_requests(2).await;
    assert_eq!(timeout(Duration::from_secs(1), daemon.get("demo")).await.unwrap().unwrap(), token);
    assert_eq!(daemon.status("demo").await.state(), ClientState::Fresh);

    idp.go_down();
    daemon.until_client("demo", |snapshot| snapshot.failure.is_some()).await;
    let status = daemon.status("demo").await;
    assert_eq!(status.state(), ClientState::Degraded);
    assert_eq!(status.last_failure.unwrap().reason, "ISSUER_UNREACHABLE");
    assert!(status.consecutive_failures >= 1);
    let runway = Duration::try_from(status.runway.unwrap()).unwrap();
    assert!(!runway.is_zero() && runway < Duration::from_secs(3), "{runway:?}");
    assert_eq!(daemon.get("demo").await.unwrap(), token, "served while it is valid");
    for service in ["clients/demo", "bearerd.v1.TokenBroker", ""] {
        assert_eq!(health(&daemon, service).await, ServingStatus::Serving, "{service:?}");
    }

    let State::Unavailable(unavailable) = next(&mut stream).await else { panic!("a token from nowhere") };
    let margin = Duration::from_millis(800);
    let now = SystemTime::now();
    assert!(now + margin >= expires_at, "served until a tenth of its life was left");
    assert!(now < expires_at, "and not to its very end");
    assert_eq!(unavailable.reason, "ISSUER_UNREACHABLE");
    let refused = timeout(Duration::from_secs(1), daemon.get("demo")).await.unwrap().unwrap_err();
    let refusal = Refusal::of(&refused);
    assert_eq!((refusal.code, &*refusal.reason), (Code::Unavailable, "ISSUER_UNREACHABLE"));
    assert!(refusal.retry_in.unwrap() <= Duration::from_secs(1));
    assert_eq!(daemon.status("demo").await.state(), ClientState::Unavailable);
    assert_eq!(health(&daemon, "clients/demo").await, ServingStatus::NotServing);
    assert_eq!(health(&daemon, "bearerd.v1.TokenBroker").await, ServingStatus::NotServing);
    assert_eq!(health(&daemon, "").await, ServingStatus::Serving);

    idp.come_back();
    let token = loop {
        if let State::Token(token) = next(&mut stream).await {
            break token;
        }
    };
    assert_eq!(token.access_token, "tok-2");
    let status = daemon.status("demo").await;
    assert_eq!((status.state(), status.consecutive_failures, status.last_failure), (ClientState::Fresh, 0, None));
    assert_eq!(health(&daemon, "bearerd.v1.TokenBroker").await, ServingStatus::Serving);
}

#[tokio::test]
async fn a_dead_issuer_does_not_delay_the_clients_of_another() {
    let (dead, healthy) = (Idp::start(), Idp::start());
    dead.otherwise(|_| Answer::never());
    let hanging: String = (0..50).map(|number| client(&format!("dead-{number}"), &dead, ANYBODY)).collect();
    let lazy = client("healthy", &healthy, "allow = [{ any = true }]\nprefetch = false");
    let daemon = Running::start(&format!("{ADMINS}{hanging}{lazy}"));
    let channel = daemon.connect().await;
    let mut callers = JoinSet::new();
    for number in 0..50 {
        let mut broker = channel.clone().broker();
        let request = v1::GetTokenRequest { client: format!("dead-{number}"), ..v1::GetTokenRequest::default() };
        callers.spawn(async move { broker.get_token(request).await });
    }
    until_in_use(&channel, 1, 51).await;
    dead.wait_for_requests(4).await;
    let token = timeout(Duration::from_secs(2), daemon.get("healthy")).await.unwrap().unwrap();
    assert_eq!(token.access_token, "tok-1");
    assert_eq!(dead.most_at_once(), 4, "an issuer gets few requests at a time");
    assert!(callers.try_join_next().is_none(), "the others still hang");
}

/// One try a second, so that the end of the outage is noticed soon.
const FAST: &str = "retry_cap = \"1s\", retry_cap_without_token = \"1s\"";
