//! Reports of a 401.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::Code;

use super::{Fake, token};
use crate::{Client, Error, Rejection, pb::v1, pb::v1::watch_token_response::State, reason};

const SECOND: Duration = Duration::from_secs(1);

/// Has read token `a`, and calls wait at the gate.
async fn prepared() -> (std::sync::Arc<Fake>, Client) {
    let fake = Fake::with("a", 1000);
    let client = fake.broker().client("demo");
    client.token().await.unwrap();
    fake.open(false);
    (fake, client)
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_reports_is_one_call_and_nobody_gets_the_token_meanwhile() {
    let (fake, client) = prepared().await;
    let mut reports = JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        reports.spawn(async move { client.report_id("a").await.unwrap() });
    }
    sleep(SECOND).await;
    assert!(client.current().is_none(), "it is being reported");
    let began = Instant::now();
    let reader = client.clone();
    let mut reading = JoinSet::new();
    reading.spawn(async move { reader.token().await.unwrap().id().to_owned() });
    sleep(3 * SECOND).await;
    assert!(reading.try_join_next().is_none(), "readers wait");
    fake.answer(token("b", 1000), v1::Rejection::Replaced);
    fake.open(true);
    for report in reports.join_all().await {
        assert_eq!((report.token.id(), report.rejection), ("b", Rejection::Replaced));
    }
    assert_eq!(reading.join_all().await, ["b"]);
    assert_eq!(began.elapsed(), 3 * SECOND);
    let asked = fake.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].0.rejected_token_id, "a");
}

#[tokio::test(start_paused = true)]
async fn readers_get_a_newer_token_that_the_stream_brings_during_a_report() {
    let (fake, client) = prepared().await;
    let reporter = client.clone();
    let mut reporting = JoinSet::new();
    reporting.spawn(async move { reporter.report_id("a").await });
    sleep(SECOND).await;
    fake.say(State::Token(token("b", 1000)));
    sleep(SECOND).await;
    assert_eq!(client.token().await.unwrap().id(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_stays_is_served_again() {
    for (message, expected) in [
        (v1::Rejection::TooYoung, Rejection::TooYoung),
        (v1::Rejection::RateLimited, Rejection::RateLimited),
        (v1::Rejection::SameToken, Rejection::SameToken),
    ] {
        let fake = Fake::with("a", 1000);
        let client = fake.broker().client("demo");
        let read = client.token().await.unwrap();
        fake.answer(token("a", 1000), message);
        let report = client.report(&read).await.unwrap();
        assert_eq!((report.token.id(), report.rejection), ("a", expected));
        assert_eq!(client.token().await.unwrap().id(), "a");
        assert_eq!(client.current().unwrap().id(), "a");
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_that_fails_leaves_all_as_it_was() {
    let fake = Fake::with("a", 1000);
    let client = fake.broker().client("demo");
    let read = client.token().await.unwrap();
    fake.answer_with(Error::new(reason::ISSUER_UNREACHABLE, Code::Unavailable, "as scripted"));
    assert_eq!(client.report(&read).await.unwrap_err().reason(), reason::ISSUER_UNREACHABLE);
    assert_eq!(client.token().await.unwrap().id(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_report_of_another_token_than_the_one_in_memory_asks_nobody() {
    let fake = Fake::with("b", 1000);
    let client = fake.broker().client("demo");
    client.token().await.unwrap();
    let report = client.report_id("a").await.unwrap();
    assert_eq!((report.token.id(), report.rejection), ("b", Rejection::AlreadyReplaced));
    assert_eq!(fake.asked().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reporter_who_gives_up_does_not_cancel_the_report() {
    let (fake, client) = prepared().await;
    let given_up = tokio::time::timeout(SECOND, client.report_id("a")).await;
    assert!(given_up.is_err());
    fake.answer(token("b", 1000), v1::Rejection::Replaced);
    fake.open(true);
    assert_eq!(client.token().await.unwrap().id(), "b");
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_thing_may_be_a_report() {
    let fake = Fake::with("b", 1000);
    let client = fake.broker().client("demo");
    fake.answer(token("b", 1000), v1::Rejection::AlreadyReplaced);
    assert_eq!(client.report_id("a").await.unwrap().token.id(), "b");
}

#[test]
fn a_runtime_that_ends_during_a_report_lets_readers_go() {
    let fake = Fake::with("a", 1000);
    let client = fake.broker().client("demo");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let first = runtime();
    first.block_on(async {
        client.token().await.unwrap();
        fake.open(false);
        let given_up = tokio::time::timeout(SECOND, client.report_id("a")).await;
        assert!(given_up.is_err());
    });
    assert!(client.current().is_none());
    drop(first);
    runtime().block_on(async {
        assert_eq!(client.token().await.unwrap().id(), "a", "nobody knows what became of the report");
    });
}
