//! The end.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::Code;

use super::Fake;
use crate::reason;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn closing_wakes_who_waits_and_ends_the_stream() {
    let fake = Fake::new();
    fake.say_unavailable(Code::Unavailable, reason::TOKEN_PENDING, None);
    let broker = fake.broker();
    let (pending, idle) = (broker.client("pending"), broker.client("idle"));
    let reader = pending.clone();
    let mut reading = JoinSet::new();
    reading.spawn(async move { reader.token().await });
    sleep(SECOND).await;
    timeout(SECOND / 2, broker.close()).await.expect("its tasks end at once");
    assert_eq!(reading.join_all().await[0].as_ref().unwrap_err().reason(), reason::CLOSED);
    timeout(SECOND, fake.deserted()).await.expect("nobody follows any more");
    for client in [pending, idle, broker.client("later")] {
        assert_eq!(client.token().await.unwrap_err().reason(), reason::CLOSED);
        assert_eq!(client.report_id("a").await.unwrap_err().reason(), reason::CLOSED);
        assert_eq!(client.sign_proof("GET", "https://a", None).await.unwrap_err().reason(), reason::CLOSED);
        assert!(client.current().is_none());
    }
    broker.close().await;
    assert_eq!(fake.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_what_is_asked_and_what_is_waited_for() {
    let fake = Fake::with("a", 1000);
    let broker = fake.broker();
    let client = broker.client("demo");
    client.token().await.unwrap();
    fake.open(false);
    let reporter = client.clone();
    let mut reporting = JoinSet::new();
    reporting.spawn(async move { reporter.report_id("a").await });
    sleep(SECOND).await;
    broker.close().await;
    assert_eq!(reporting.join_all().await[0].as_ref().unwrap_err().reason(), reason::CLOSED);
    assert_eq!(client.token().await.unwrap_err().reason(), reason::CLOSED, "not the token in memory");
}

#[tokio::test(start_paused = true)]
async fn closing_while_the_daemon_is_away_ends_the_attempts() {
    let fake = Fake::new();
    fake.go_away();
    let broker = fake.broker();
    broker.client("demo").token().await.unwrap_err();
    broker.close().await;
    let attempts = fake.attempts().len();
    sleep(60 * SECOND).await;
    assert_eq!(fake.attempts().len(), attempts);
}

#[tokio::test(start_paused = true)]
async fn dropping_all_of_it_ends_the_stream() {
    let fake = Fake::with("a", 1000);
    let broker = fake.broker();
    let client = broker.client("demo");
    client.token().await.unwrap();
    drop(broker);
    assert!(timeout(SECOND, fake.deserted()).await.is_err(), "the client still uses it");
    assert_eq!(client.token().await.unwrap().id(), "a");
    drop(client);
    timeout(SECOND, fake.deserted()).await.expect("nobody follows any more");
}
