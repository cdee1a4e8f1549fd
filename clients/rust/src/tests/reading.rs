//! Reads: from memory, with a minimum validity, while there is no token yet, and while there is none.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, advance, sleep},
};
use tonic::Code;

use super::{Fake, token};
use crate::{
    ReadOptions,
    pb::v1::{Rejection, watch_token_response::State},
    reason,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_thousand_readers_share_one_stream_and_make_no_call() {
    let fake = Fake::with("a", 100);
    let broker = fake.broker();
    let mut readers = JoinSet::new();
    for _ in 0..1000 {
        let client = broker.client("demo");
        readers.spawn(async move { client.token().await.unwrap().id().to_owned() });
    }
    assert!(readers.join_all().await.iter().all(|id| id == "a"));
    assert_eq!((fake.attempts().len(), fake.asked().len()), (1, 0));
    assert_eq!(broker.client("demo").current().unwrap().id(), "a");
    assert!(broker.client("other").current().is_none());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_before_the_first_read() {
    let fake = Fake::with("a", 100);
    let client = fake.broker().client("demo");
    assert!(client.current().is_none());
    sleep(60 * SECOND).await;
    assert_eq!(fake.attempts().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_token_is_seen_without_a_call() {
    let fake = Fake::with("a", 100);
    let client = fake.broker().client("demo");
    client.token().await.unwrap();
    fake.say(State::Token(token("b", 100)));
    sleep(SECOND).await;
    assert_eq!(client.token().await.unwrap().id(), "b");
    assert_eq!(fake.asked().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn within_the_margin_the_daemon_is_asked() {
    let fake = Fake::with("a", 100);
    let client = fake.broker().client("demo");
    client.token().await.unwrap();
    advance(Duration::from_millis(89_999)).await;
    assert_eq!(client.token().await.unwrap().id(), "a");
    assert!(client.current().is_some());
    advance(Duration::from_millis(1)).await;
    assert!(client.current().is_none(), "a tenth of its life is left");
    fake.answer(token("b", 100), Rejection::Unspecified);
    assert_eq!(client.token().await.unwrap().id(), "b");
    // It is kept, so that this is no call.
    assert_eq!(client.token().await.unwrap().id(), "b");
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_longer_validity_than_is_left_is_asked_for_once_by_all() {
    let fake = Fake::with("a", 100);
    let client = fake.broker().client("demo");
    client.token().await.unwrap();
    fake.answer(token("b", 300), Rejection::Unspecified);
    let options = ReadOptions::new().min_validity(200 * SECOND).timeout(3 * SECOND);
    let mut readers = JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        readers.spawn(async move { client.token_with(options).await.unwrap().id().to_owned() });
    }
    assert!(readers.join_all().await.iter().all(|id| id == "b"));
    let asked = fake.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].0.min_validity, Some(prost_types::Duration { seconds: 200, nanos: 0 }));
    assert_eq!(asked[0].1, 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_older_answer_does_not_replace_what_is_in_memory() {
    let fake = Fake::new();
    let older = token("old", 1000);
    advance(SECOND).await;
    fake.say(State::Token(token("new", 100)));
    let client = fake.broker().client("demo");
    client.token().await.unwrap();
    fake.answer(older, Rejection::Unspecified);
    let long = ReadOptions::new().min_validity(500 * SECOND);
    assert_eq!(client.token_with(long).await.unwrap().id(), "old");
    assert_eq!(client.token().await.unwrap().id(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_first_token_is_waited_for() {
    let fake = Fake::new();
    fake.say_unavailable(Code::Unavailable, reason::TOKEN_PENDING, None);
    let client = fake.broker().client("demo");
    let began = Instant::now();
    let reading = tokio::join!(client.token(), async {
        sleep(3 * SECOND).await;
        fake.say(State::Token(token("a", 100)));
    });
    assert_eq!(reading.0.unwrap().id(), "a");
    assert_eq!(began.elapsed(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_first_token_is_waited_for_no_longer_than_was_said() {
    let fake = Fake::new();
    fake.say_unavailable(Code::Unavailable, reason::TOKEN_PENDING, None);
    let client = fake.broker().client("demo");
    for (options, expected) in [(ReadOptions::new(), 10), (ReadOptions::new().timeout(2 * SECOND), 2)] {
        let began = Instant::now();
        let error = client.token_with(options).await.unwrap_err();
        assert_eq!((error.reason(), error.code()), (reason::TOKEN_PENDING, Code::Unavailable));
        assert_eq!(began.elapsed(), expected * SECOND);
    }
    assert_eq!(fake.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_token_is_an_error_at_once_with_the_time_of_the_next_try() {
    let fake = Fake::with("a", 100);
    let client = fake.broker().client("demo");
    client.token().await.unwrap();
    fake.say_unavailable(Code::Unavailable, reason::ISSUER_UNREACHABLE, Some(5 * SECOND));
    sleep(2 * SECOND).await;
    let began = Instant::now();
    let error = client.token().await.unwrap_err();
    assert_eq!((error.reason(), error.code_name()), (reason::ISSUER_UNREACHABLE, "UNAVAILABLE"));
    assert_eq!(error.retry_after(), Some(3 * SECOND));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(client.current().is_none());
    assert_eq!(fake.asked().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_makes_no_sense_is_none() {
    let fake = Fake::new();
    for message in [
        crate::pb::v1::Token { expires_at: None, ..token("a", 100) },
        crate::pb::v1::Token { authorization: "Bearer a\nX: y".to_owned(), ..token("a", 100) },
    ] {
        fake.say(State::Token(message));
        let client = fake.broker().client("demo");
        assert_eq!(client.token().await.unwrap_err().reason(), reason::INTERNAL);
    }
}
