//! Streams that end, and daemons that are not there.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, advance, sleep},
};
use tonic::Code;

use super::{Fake, token};
use crate::{ReadOptions, pb::v1::watch_token_response::State, reason};

const SECOND: Duration = Duration::from_secs(1);

/// The pauses between attempts.
fn pauses(attempts: &[Instant]) -> Vec<Duration> {
    attempts.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_in_memory_outlives_the_stream_but_not_itself() {
    let fake = Fake::with("a", 100);
    let client = fake.broker().client("demo");
    client.token().await.unwrap();
    fake.go_away();
    sleep(89 * SECOND).await;
    assert_eq!(client.token().await.unwrap().id(), "a");
    sleep(2 * SECOND).await;
    assert_eq!(client.token().await.unwrap_err().reason(), reason::DAEMON_UNREACHABLE);
    assert!(client.current().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lost_stream_is_begun_anew_within_seconds() {
    let fake = Fake::with("a", 10_000);
    let client = fake.broker().client("demo");
    client.token().await.unwrap();
    sleep(60 * SECOND).await;
    fake.go_away();
    sleep(600 * SECOND).await;
    let attempts = fake.attempts();
    let pauses = pauses(&attempts[1..]);
    assert!(attempts[1] - attempts[0] <= 60 * SECOND + Duration::from_millis(51), "the first one comes at once");
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_millis(2001)), "{pauses:?}");
    // Drawn between 0 and 2 s: fewer would be a storm, more would be slow.
    assert!((300..1200).contains(&pauses.len()), "{} attempts in ten minutes", pauses.len());
    fake.say(State::Token(token("b", 10_000)));
    sleep(3 * SECOND).await;
    assert_eq!(client.token().await.unwrap().id(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_takes_the_token_away() {
    for code in [
        Code::NotFound,
        Code::PermissionDenied,
        Code::InvalidArgument,
        Code::FailedPrecondition,
        Code::ResourceExhausted,
        Code::Unimplemented,
    ] {
        let fake = Fake::with("a", 10_000);
        let client = fake.broker().client("demo");
        client.token().await.unwrap();
        fake.refuse("SCRIPTED", code);
        sleep(10 * Duration::from_millis(1)).await;
        let error = client.token().await.unwrap_err();
        assert_eq!((error.reason(), error.code()), ("SCRIPTED", code));
        sleep(600 * SECOND).await;
        let pauses = pauses(&fake.attempts());
        assert!(pauses.iter().all(|pause| *pause <= 30 * SECOND + Duration::from_millis(1)), "{pauses:?}");
        assert!((20..100).contains(&pauses.len()), "{} attempts in ten minutes", pauses.len());
    }
}

#[tokio::test(start_paused = true)]
async fn other_ends_do_not_take_the_token_away() {
    for code in [Code::Unavailable, Code::Internal, Code::Cancelled, Code::Unknown, Code::DeadlineExceeded] {
        let fake = Fake::with("a", 10_000);
        let client = fake.broker().client("demo");
        client.token().await.unwrap();
        fake.refuse("SCRIPTED", code);
        sleep(SECOND).await;
        assert_eq!(client.token().await.unwrap().id(), "a", "{code:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_daemon_is_an_error_at_once_for_all_who_read() {
    let fake = Fake::new();
    fake.go_away();
    let client = fake.broker().client("demo");
    let began = Instant::now();
    let mut readers = JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        readers.spawn(async move { client.token().await.unwrap_err().reason().to_owned() });
    }
    assert!(readers.join_all().await.iter().all(|reason| reason == reason::DAEMON_UNREACHABLE));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(fake.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn readers_cause_an_attempt_a_second_and_get_its_outcome() {
    let fake = Fake::new();
    fake.refuse("SCRIPTED", Code::PermissionDenied);
    let client = fake.broker().client("demo");
    client.token().await.unwrap_err();
    // Until the pauses are so long that attempts are the readers' doing.
    sleep(300 * SECOND).await;
    let before = fake.attempts().len();
    for _ in 0..1000 {
        client.token().await.unwrap_err();
        advance(Duration::from_millis(10)).await;
    }
    let attempts = fake.attempts().len() - before;
    assert!((9..=15).contains(&attempts), "{attempts} attempts in ten seconds of reading");
    advance(2 * SECOND).await;
    fake.say(State::Token(token("a", 100)));
    assert_eq!(client.token().await.unwrap().id(), "a", "found by the next read");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_does_not_answer_is_given_up() {
    let fake = Fake::new();
    let client = fake.broker().client("demo");
    let began = Instant::now();
    let error = client.token_with(ReadOptions::new().timeout(SECOND)).await.unwrap_err();
    assert_eq!(error.reason(), reason::DAEMON_UNREACHABLE);
    assert_eq!(began.elapsed(), SECOND);
    sleep(12 * SECOND).await;
    assert!(fake.attempts().len() > 1, "the attempt has a limit of its own");
}

#[test]
fn a_runtime_that_ends_leaves_the_place_to_the_next() {
    let fake = Fake::with("a", 10_000);
    let client = fake.broker().client("demo");
    for round in 1..=3 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            assert_eq!(client.token().await.unwrap().id(), "a");
            sleep(SECOND).await;
            assert_eq!(fake.attempts().len(), round, "each runtime follows the client itself");
            assert_eq!(client.token().await.unwrap().id(), "a");
        });
        drop(runtime);
        assert_eq!(client.current().unwrap().id(), "a", "the memory stays");
    }
}
