//! What one user may have in use, and what happens beyond.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::Duration;

use bearerd_client::{
    Channel,
    pb::{
        health::{HealthCheckRequest, health_check_response::ServingStatus},
        v1,
    },
};
use nix::unistd::geteuid;
use tokio::{io::AsyncReadExt as _, task::JoinSet};
use tonic::{Code, Status, Streaming};

use crate::{
    authorize::Stranger,
    support::{
        daemon::{ANYBODY, Refusal, Running, client, until_in_use, within},
        idp::{Answer, Gate, Idp},
    },
};

fn start(idp: &Idp, limits: &str) -> Running {
    let clients = client("demo", idp, ANYBODY);
    Running::start(&format!("[server]\nadmins = [{{ any = true }}]\nlimits = {{ {limits} }}\n{clients}"))
}

async fn token(channel: &Channel) -> Result<v1::Token, Status> {
    let request = v1::GetTokenRequest { client: "demo".to_owned(), ..v1::GetTokenRequest::default() };
    Ok(channel.clone().broker().get_token(request).await?.into_inner().token.unwrap())
}

/// A stream that has begun.
async fn watch(channel: &Channel) -> Result<Streaming<v1::WatchTokenResponse>, Status> {
    let request = v1::WatchTokenRequest { client: "demo".to_owned() };
    let mut stream = channel.clone().broker().watch_token(request).await?.into_inner();
    within(stream.message()).await?.unwrap();
    Ok(stream)
}

fn assert_limited(status: &Status, what: &str) {
    let refusal = Refusal::of(status);
    let text =
        format!("too many {what} at a time; close what is not used, share one connection, or raise [server] limits");
    assert_eq!(refusal.told(), (Code::ResourceExhausted, "CALLER_LIMIT", &*text));
    assert_eq!(refusal.retry_in, Some(Duration::from_secs(1)));
}

fn own(what: &str) -> String {
    format!("{what} by uid {}", Stranger::ids().0)
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_and_places_are_given_back() {
    let all = "connections by all users together".to_owned();
    for (limits, what) in [("connections_per_uid = 2", own("connections")), ("connections = 2", all)] {
        let idp = Idp::start();
        let daemon = start(&idp, limits);
        let stranger = Stranger::of(&daemon).await;
        let (one, two) = (stranger.channel(), stranger.connect().await);
        token(&one).await.unwrap();
        token(&two).await.unwrap();
        let three = stranger.connect().await;
        assert_limited(&token(&three).await.unwrap_err(), &what);
        assert_limited(&watch(&three).await.unwrap_err(), &what);
        token(&two).await.unwrap();
        drop(two);
        until_in_use(&one, 2, 1).await;
        token(&three).await.expect("who was told gets the place that is free now, as it was told");
    }
}

#[tokio::test]
async fn connections_far_beyond_the_limit_are_closed() {
    let idp = Idp::start();
    let daemon = start(&idp, "connections_per_uid = 1");
    let stranger = Stranger::of(&daemon).await;
    let first = stranger.channel();
    token(&first).await.unwrap();
    let mut crowd = Vec::new();
    for _ in 0..64 {
        crowd.push(stranger.connect_raw().await);
    }
    until_in_use(&first, 65, 1).await;
    let mut last = stranger.connect_raw().await;
    assert_eq!(within(last.read(&mut [0; 64])).await.unwrap(), 0, "closed without a word");
    token(&first).await.unwrap();
    drop(crowd);
    until_in_use(&first, 1, 1).await;
}

#[tokio::test]
async fn a_connection_that_was_told_is_not_kept() {
    let idp = Idp::start();
    let daemon = start(&idp, "connections_per_uid = 1");
    let stranger = Stranger::of(&daemon).await;
    let first = stranger.channel();
    token(&first).await.unwrap();
    let second = stranger.connect().await;
    assert_limited(&token(&second).await.unwrap_err(), &own("connections"));
    // `second` is still held here, and does not count any more.
    until_in_use(&first, 1, 1).await;
    drop(second);
}

#[tokio::test]
async fn root_and_health_checks_get_in_when_everything_is_taken() {
    let idp = Idp::start();
    let daemon = start(&idp, "connections = 1, connections_per_uid = 1, calls_per_uid = 1");
    let stranger = Stranger::of(&daemon).await;
    let _stream = watch(&stranger.channel()).await.unwrap();
    let second = stranger.connect().await;
    assert_limited(&token(&second).await.unwrap_err(), &own("connections"));
    for probe in [stranger.channel(), second] {
        let checked = probe.health().check(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert_eq!(checked.status(), ServingStatus::Serving);
    }
    if geteuid().is_root() {
        let root = daemon.connect().await;
        token(&root).await.unwrap();
        let _more = (watch(&root).await.unwrap(), watch(&daemon.connect().await).await.unwrap());
        assert!(root.admin().get_info(v1::GetInfoRequest {}).await.is_ok());
    }
}

#[tokio::test]
async fn calls_of_all_connections_of_a_user_count_together() {
    let (idp, gate) = (Idp::start(), Gate::closed());
    idp.next(Answer::token("tok-a", 3_600).behind(&gate));
    let daemon = start(&idp, "calls_per_uid = 3");
    let stranger = Stranger::of(&daemon).await;
    let (one, two) = (stranger.channel(), stranger.connect().await);
    let mut waiting = JoinSet::new();
    for channel in [&one, &one, &two] {
        let channel = channel.clone();
        waiting.spawn(async move {
            loop {
                match token(&channel).await {
                    // The question below may have had the last place.
                    Err(status) if status.code() == Code::ResourceExhausted => {}
                    outcome => return outcome,
                }
            }
        });
    }
    // Administrators are bound by the limits as well, so the refusal is what tells that all three have arrived.
    let refused = within(async {
        loop {
            if let Err(status) = two.clone().admin().get_info(v1::GetInfoRequest {}).await {
                return status;
            }
        }
    })
    .await;
    assert_limited(&refused, &own("calls and streams"));
    assert_limited(&token(&one).await.unwrap_err(), &own("calls and streams"));
    gate.open();
    let answered = within(waiting.join_all()).await;
    assert!(answered.iter().all(Result::is_ok), "those who were let in get their token: {answered:?}");
    until_in_use(&one, 2, 1).await;
}

#[tokio::test]
async fn a_stream_takes_one_place_for_as_long_as_it_lasts() {
    let idp = Idp::start();
    let daemon = start(&idp, "calls_per_uid = 2");
    let stranger = Stranger::of(&daemon).await;
    let channel = stranger.channel();
    let first = watch(&channel).await.unwrap();
    until_in_use(&channel, 1, 2).await;
    let second = watch(&channel).await.unwrap();
    assert_limited(&watch(&channel).await.unwrap_err(), &own("calls and streams"));
    assert_limited(&token(&channel).await.unwrap_err(), &own("calls and streams"));
    drop((first, second));
    within(async { while token(&channel).await.is_err() {} }).await;
}
