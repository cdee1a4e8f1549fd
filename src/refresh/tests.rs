//! The engine in simulated time: paused clock, scripted source, no sockets.

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, advance, sleep},
};

use super::{ClockWatch, Handle, Refresher, Terms};
use crate::{
    clock::{Clock, TestClock},
    sensitive::Sensitive,
    token::{
        Ask, ClientName, ClientState, Failure, FailureKind, Issued, RefreshPolicy, Refused, Rejection, TokenId,
        TokenSource, source::Fetching,
    },
};

/// One scripted answer of the issuer.
#[derive(Clone)]
enum Answer {
    /// A new token that lives this many seconds.
    Token(u64),
    /// This very token, which dies this many seconds after the first request.
    Named(&'static str, u64),
    Fail(Failure),
}

#[derive(Default)]
struct Issuer {
    script: Mutex<VecDeque<Answer>>,
    /// What follows the script.
    then: Mutex<Option<Answer>>,
    requests: Mutex<Vec<Instant>>,
    takes: Mutex<Duration>,
    revision: Mutex<u64>,
}

impl Issuer {
    fn says(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.lock().unwrap().extend(answers);
    }

    fn says_from_now_on(&self, answer: Answer) {
        *self.then.lock().unwrap() = Some(answer);
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// Seconds between requests, the first from `start`.
    fn gaps(&self, start: Instant) -> Vec<f64> {
        let requests = self.requests.lock().unwrap().clone();
        let mut before = start;
        requests.into_iter().map(|at| (at - std::mem::replace(&mut before, at)).as_secs_f64()).collect()
    }
}

impl TokenSource for Issuer {
    fn fetch(&self) -> Fetching<'_> {
        Box::pin(async move {
            self.requests.lock().unwrap().push(Instant::now());
            let number = self.count();
            let takes = *self.takes.lock().unwrap();
            sleep(takes).await;
            let answer = self.script.lock().unwrap().pop_front();
            let answer = answer.or_else(|| self.then.lock().unwrap().clone()).unwrap_or(Answer::Token(3_600));
            match answer {
                Answer::Token(lifetime) => Ok(issued(&format!("token-{number}"), lifetime)),
                Answer::Named(value, end) => {
                    let first = self.requests.lock().unwrap()[0];
                    let left = Duration::from_secs(end).saturating_sub(first.elapsed());
                    Ok(Issued { expires_in: Some(left), ..issued(value, 0) })
                }
                Answer::Fail(failure) => Err(failure),
            }
        })
    }

    fn revision(&self) -> u64 {
        *self.revision.lock().unwrap()
    }
}

fn issued(value: &str, lifetime: u64) -> Issued {
    Issued {
        value: Sensitive::new(value),
        token_type: Cow::Borrowed("Bearer"),
        scope: None,
        expires_in: Some(Duration::from_secs(lifetime)),
        jwt_lifetime: None,
        refresh_in: None,
        secret_in_use: 1,
        oddities: Vec::new(),
    }
}

struct World {
    handle: Handle,
    issuer: Arc<Issuer>,
    clock: TestClock,
    start: Instant,
    tasks: JoinSet<()>,
}

impl World {
    fn new(policy: RefreshPolicy) -> Self {
        let clock = TestClock::new();
        let issuer = Arc::new(Issuer::default());
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let source: Arc<dyn TokenSource> = Arc::<Issuer>::clone(&issuer);
        let (refresher, handle) = Refresher::new(Terms {
            name: ClientName::parse("test").unwrap(),
            policy: Arc::new(policy),
            source,
            gate: Arc::new(Semaphore::new(4)),
            clock: Arc::clone(&shared),
            pulse: watch::Sender::new(0),
            seed: 7,
        });
        let mut tasks = JoinSet::new();
        let woken = handle.clone();
        tasks.spawn(ClockWatch::new(shared).run(move || woken.ring()));
        tasks.spawn(refresher.run());
        Self { handle, issuer, clock, start: Instant::now(), tasks }
    }

    fn by_default() -> Self {
        Self::new(RefreshPolicy::default())
    }

    async fn get(&self) -> Result<String, Refused> {
        self.ask(Ask::default()).await.map(|(value, ..)| value)
    }

    async fn ask(&self, ask: Ask) -> Result<(String, TokenId, Option<Rejection>), Refused> {
        let given = self.handle.token(ask, Instant::now() + Duration::from_secs(10)).await?;
        Ok((given.token.value.expose().to_owned(), given.token.id, given.rejection))
    }

    async fn report(&self, id: TokenId) -> Result<(String, TokenId, Option<Rejection>), Refused> {
        self.ask(Ask { rejected: Some(id), ..Ask::default() }).await
    }

    /// Lets time pass in small steps, as it does.
    async fn pass(&self, secs: u64) {
        sleep(Duration::from_secs(secs)).await;
    }
}

fn busy() -> Answer {
    Answer::Fail(Failure::new(FailureKind::Busy, "HTTP 503"))
}

fn refused() -> Answer {
    Answer::Fail(Failure::new(FailureKind::Refused, "invalid_client"))
}

fn kind_of(refused: Refused) -> FailureKind {
    match refused {
        Refused::Failing { record, .. } => record.failure.kind,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_on_a_cold_client_cost_one_request() {
    let world = World::by_default();
    *world.issuer.takes.lock().unwrap() = Duration::from_millis(300);
    let mut callers = JoinSet::new();
    for _ in 0..1_000 {
        let handle = world.handle.clone();
        callers.spawn(async move { handle.token(Ask::default(), Instant::now() + Duration::from_secs(10)).await });
    }
    let answers = callers.join_all().await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|given| given.token.value.expose() == "token-1")));
    assert_eq!(world.issuer.count(), 1);
    assert!(world.start.elapsed() < Duration::from_secs(1), "the start's jitter does not hold up callers");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_reports_of_one_token_cost_one_request() {
    let world = World::by_default();
    let (_, id, _) = world.ask(Ask::default()).await.unwrap();
    world.pass(60).await;
    *world.issuer.takes.lock().unwrap() = Duration::from_millis(300);
    let mut callers = JoinSet::new();
    for _ in 0..1_000 {
        let handle = world.handle.clone();
        callers.spawn(async move {
            let ask = Ask { rejected: Some(id), ..Ask::default() };
            handle.token(ask, Instant::now() + Duration::from_secs(10)).await
        });
    }
    for answer in callers.join_all().await {
        let given = answer.unwrap();
        assert_eq!(given.token.value.expose(), "token-2");
        assert_eq!(given.rejection, Some(Rejection::Replaced));
    }
    assert_eq!(world.issuer.count(), 2);
    let (_, _, late) = world.report(id).await.unwrap();
    assert_eq!(late, Some(Rejection::AlreadyReplaced));
    assert_eq!(world.issuer.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_reports_and_asks_again_at_once_never_gets_the_rejected_token() {
    let world = World::by_default();
    world.issuer.says_from_now_on(Answer::Token(100_000));
    let (mut value, mut id, _) = world.ask(Ask::default()).await.unwrap();
    for _ in 0..20 {
        world.pass(700).await;
        let report =
            world.handle.token(Ask { rejected: Some(id), ..Ask::default() }, Instant::now() + Duration::from_secs(10));
        // The report is polled once, which posts it, and dropped: the caller does not wait for the outcome.
        tokio::select! { biased; _ = report => panic!("answered at once"), () = async {} => {} }
        let (next, next_id, _) = world.ask(Ask::default()).await.unwrap();
        assert_ne!(next, value);
        (value, id) = (next, next_id);
    }
}

#[tokio::test(start_paused = true)]
async fn refresh_happens_between_70_and_80_percent() {
    let world = World::by_default();
    world.get().await.unwrap();
    world.pass(100_000).await;
    let gaps = world.issuer.gaps(world.start);
    assert!(gaps.len() > 30);
    for gap in &gaps[1..] {
        assert!((2_520.0..2_881.0).contains(gap), "{gap}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_bridged_then_told_then_over_within_a_backoff() {
    let world = World::by_default();
    world.issuer.says([Answer::Token(600)]);
    world.get().await.unwrap();
    world.issuer.says_from_now_on(busy());
    world.pass(500).await;
    assert_eq!(world.get().await.unwrap(), "token-1", "served while it is valid");
    assert_eq!(world.handle.state(), ClientState::Degraded);
    world.pass(150).await;
    let before = Instant::now();
    assert_eq!(kind_of(world.get().await.unwrap_err()), FailureKind::Busy);
    assert_eq!(before.elapsed(), Duration::ZERO, "no hang");
    assert_eq!(world.handle.state(), ClientState::Unavailable);
    assert!(world.handle.look().0.token.is_none(), "an expired token is let go");
    world.issuer.says_from_now_on(Answer::Token(600));
    world.pass(16).await;
    assert!(world.get().await.is_ok());
    assert_eq!(world.handle.state(), ClientState::Fresh);
}

#[tokio::test(start_paused = true)]
async fn a_first_failure_reaches_the_callers_that_wait() {
    let world = World::by_default();
    world.issuer.says_from_now_on(refused());
    assert_eq!(kind_of(world.get().await.unwrap_err()), FailureKind::Refused);
    assert_eq!(world.handle.state(), ClientState::Rejected);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_success_is_confirmed_after_five_seconds() {
    let world = World::by_default();
    world.issuer.says([Answer::Token(600), refused(), Answer::Token(600)]);
    world.get().await.unwrap();
    world.pass(500).await;
    let gaps = world.issuer.gaps(world.start);
    assert_eq!(gaps.len(), 3);
    assert!((5.0..5.1).contains(&gaps[2]), "{gaps:?}");
    assert_eq!(world.handle.state(), ClientState::Fresh);
}

#[tokio::test(start_paused = true)]
async fn new_credentials_end_the_wait_of_a_refused_client() {
    let world = World::by_default();
    world.issuer.says([refused()]);
    world.get().await.unwrap_err();
    world.pass(10).await;
    assert_eq!(world.issuer.count(), 1);
    *world.issuer.revision.lock().unwrap() += 1;
    world.pass(6).await;
    assert_eq!(world.get().await.unwrap(), "token-2");
}

#[tokio::test(start_paused = true)]
async fn the_issuers_wish_to_be_left_alone_is_respected() {
    let world = World::by_default();
    let wait = Failure::new(FailureKind::Busy, "HTTP 503").retry_after(Some(Duration::from_secs(120)));
    world.issuer.says([Answer::Fail(wait)]);
    world.get().await.unwrap_err();
    world.pass(119).await;
    assert_eq!(world.issuer.count(), 1);
    world.pass(2).await;
    assert_eq!(world.issuer.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_does_not_cancel_the_request() {
    let world = World::by_default();
    *world.issuer.takes.lock().unwrap() = Duration::from_secs(8);
    let outcome = world.handle.token(Ask::default(), Instant::now() + Duration::from_secs(1)).await;
    assert!(matches!(outcome, Err(Refused::Pending)));
    assert_eq!(world.get().await.unwrap(), "token-1");
    assert_eq!(world.issuer.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_too_young_to_be_wrong_stays() {
    let world = World::by_default();
    let (value, id, _) = world.ask(Ask::default()).await.unwrap();
    let (again, _, rejection) = world.report(id).await.unwrap();
    assert_eq!((again, rejection), (value, Some(Rejection::TooYoung)));
    assert_eq!(world.issuer.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn forced_renewals_are_limited() {
    let world = World::by_default();
    world.issuer.says_from_now_on(Answer::Token(7_200));
    let (_, mut id, _) = world.ask(Ask::default()).await.unwrap();
    world.pass(60).await;
    let mut outcomes = Vec::new();
    for wait in [0, 10, 21, 31, 31] {
        world.pass(wait).await;
        let (_, next, rejection) = world.report(id).await.unwrap();
        outcomes.push(rejection.unwrap());
        id = next;
    }
    assert_eq!(
        outcomes,
        [Rejection::Replaced, Rejection::RateLimited, Rejection::Replaced, Rejection::Replaced, Rejection::RateLimited],
        "one per 30 s, three in 10 min"
    );
    assert_eq!(world.issuer.count(), 4);
    world.pass(7_200).await;
    let (_, id, _) = world.ask(Ask::default()).await.unwrap();
    assert_eq!(world.report(id).await.unwrap().2, Some(Rejection::Replaced), "after a regular refresh it starts again");
}

#[tokio::test(start_paused = true)]
async fn ids_of_another_life_are_old() {
    let world = World::by_default();
    let (value, id, _) = world.ask(Ask::default()).await.unwrap();
    world.pass(60).await;
    let other = TokenId { epoch: id.epoch ^ 1, ..id };
    let (again, _, rejection) = world.report(other).await.unwrap();
    assert_eq!((again, rejection), (value, Some(Rejection::AlreadyReplaced)));
    assert_eq!(world.issuer.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reported_token_is_not_served_while_the_issuer_is_down() {
    let world = World::by_default();
    let (_, id, _) = world.ask(Ask::default()).await.unwrap();
    world.pass(60).await;
    world.issuer.says_from_now_on(busy());
    assert_eq!(kind_of(world.report(id).await.unwrap_err()), FailureKind::Busy);
    assert_eq!(kind_of(world.get().await.unwrap_err()), FailureKind::Busy);
    let before = Instant::now();
    assert_eq!(kind_of(world.report(id).await.unwrap_err()), FailureKind::Busy);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_report_while_the_issuer_fails_is_answered_at_once() {
    let world = World::by_default();
    world.issuer.says([Answer::Token(600)]);
    let (_, id, _) = world.ask(Ask::default()).await.unwrap();
    let wait = Failure::new(FailureKind::Busy, "HTTP 503").retry_after(Some(Duration::from_secs(60)));
    world.issuer.says_from_now_on(Answer::Fail(wait));
    world.pass(485).await;
    assert_eq!(world.handle.state(), ClientState::Degraded);
    let (before, requests) = (Instant::now(), world.issuer.count());
    assert_eq!(kind_of(world.report(id).await.unwrap_err()), FailureKind::Busy);
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(world.issuer.count(), requests, "its rest is not disturbed");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_returns_the_same_token_until_it_dies_is_noticed() {
    let world = World::by_default();
    world.issuer.says([Answer::Named("one", 600), Answer::Named("one", 600), Answer::Named("one", 600)]);
    world.issuer.says([Answer::Named("two", 1_200), Answer::Named("two", 1_200), Answer::Named("three", 1_800)]);
    assert_eq!(world.get().await.unwrap(), "one");
    world.pass(2 * 600 - 20).await;
    assert_eq!(world.get().await.unwrap(), "two");
    world.pass(22).await;
    assert_eq!(world.get().await.unwrap(), "three");
    let (snapshot, _) = world.handle.look();
    assert!(snapshot.reissues_late);
    assert!(snapshot.warnings.iter().any(|warning| warning.contains("reissue=late")));
    assert_eq!(world.issuer.count(), 6, "{:?}", world.issuer.gaps(world.start));
}

#[tokio::test(start_paused = true)]
async fn the_last_token_of_a_late_issuer_is_served_to_its_end() {
    let world = World::by_default();
    world.issuer.says([Answer::Named("one", 600), Answer::Named("one", 600), Answer::Named("one", 600)]);
    world.get().await.unwrap();
    world.pass(598).await;
    assert_eq!(world.get().await.unwrap(), "one");
    world.pass(2).await;
    assert_eq!(world.get().await.unwrap(), "token-4");
}

#[tokio::test(start_paused = true)]
async fn a_report_that_brings_the_same_token_says_so() {
    let world = World::by_default();
    world.issuer.says([Answer::Named("one", 600), Answer::Named("one", 600)]);
    let (_, id, _) = world.ask(Ask::default()).await.unwrap();
    world.pass(60).await;
    let (value, same, rejection) = world.report(id).await.unwrap();
    assert_eq!((value.as_str(), same, rejection), ("one", id, Some(Rejection::SameToken)));
}

#[tokio::test(start_paused = true)]
async fn a_validity_beyond_the_issuers_is_refused_without_asking_it() {
    let world = World::by_default();
    world.issuer.says([Answer::Token(600)]);
    world.get().await.unwrap();
    let long = Ask { min_validity: Some(Duration::from_secs(601)), ..Ask::default() };
    for _ in 0..50 {
        let outcome = world.ask(long).await;
        assert!(matches!(outcome, Err(Refused::Unattainable { .. })));
    }
    assert_eq!(world.issuer.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_longer_validity_is_fetched_once() {
    let world = World::by_default();
    world.issuer.says_from_now_on(Answer::Token(600));
    world.get().await.unwrap();
    world.pass(200).await;
    let long = Ask { min_validity: Some(Duration::from_secs(500)), ..Ask::default() };
    assert_eq!(world.ask(long).await.unwrap().0, "token-2");
    assert_eq!(world.ask(long).await.unwrap().0, "token-2");
    assert_eq!(world.issuer.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_suspend_never_leaves_an_expired_token_in_service() {
    let world = World::by_default();
    assert_eq!(world.get().await.unwrap(), "token-1");
    world.clock.suspend(Duration::from_secs(7_200));
    assert_eq!(world.get().await.unwrap(), "token-2", "the first caller after it wakes the refresher");
    world.clock.suspend(Duration::from_secs(7_200));
    world.pass(31).await;
    assert_eq!(world.issuer.count(), 3, "without a caller it is noticed within half a minute");
}

#[tokio::test(start_paused = true)]
async fn steps_of_the_wall_clock_are_survived() {
    let world = World::by_default();
    assert_eq!(world.get().await.unwrap(), "token-1");
    world.clock.step_wall_back(Duration::from_secs(86_400));
    assert_eq!(world.get().await.unwrap(), "token-1", "boot time knows better");
    world.clock.step_wall_forward(Duration::from_secs(2 * 86_400));
    assert_eq!(world.get().await.unwrap(), "token-2", "perhaps the machine was paused: ask anew");
}

#[tokio::test(start_paused = true)]
async fn without_prefetch_the_first_caller_starts_the_request() {
    let world = World::new(RefreshPolicy { prefetch: false, ..RefreshPolicy::default() });
    world.pass(3_600).await;
    assert_eq!(world.issuer.count(), 0);
    assert_eq!(world.handle.state(), ClientState::Idle);
    assert_eq!(world.get().await.unwrap(), "token-1");
    world.pass(3_600).await;
    assert_eq!(world.issuer.count(), 2, "from then on it is kept fresh");
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_is_left_to_lapse_and_comes_back_when_asked() {
    let policy = RefreshPolicy { idle_after: Some(Duration::from_secs(600)), ..RefreshPolicy::default() };
    let world = World::new(policy);
    world.get().await.unwrap();
    world.pass(10 * 3_600).await;
    assert_eq!(world.issuer.count(), 1);
    assert_eq!(world.handle.state(), ClientState::Idle);
    assert_eq!(world.get().await.unwrap(), "token-2");
    let follower = world.handle.follow();
    world.pass(10 * 3_600).await;
    assert!(world.issuer.count() > 10, "a watcher counts as asking");
    drop(follower);
    world.pass(3_600).await;
    let settled = world.issuer.count();
    world.pass(10 * 3_600).await;
    assert_eq!(world.issuer.count(), settled);
}

#[tokio::test(start_paused = true)]
async fn an_order_overrides_the_schedule_but_not_the_floor() {
    let world = World::by_default();
    world.get().await.unwrap();
    let soon = || Instant::now() + Duration::from_secs(30);
    let before = Instant::now();
    assert!(world.handle.refresh(soon()).await.unwrap());
    assert!(before.elapsed() >= Duration::from_secs(5));
    world.issuer.says_from_now_on(refused());
    world.pass(6).await;
    assert!(!world.handle.refresh(soon()).await.unwrap());
    let before = Instant::now();
    assert!(!world.handle.refresh(soon()).await.unwrap(), "even while backing off");
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_stops_the_regular_refresh_only() {
    let world = World::new(RefreshPolicy { budget_per_day: Some(2), ..RefreshPolicy::default() });
    world.issuer.says_from_now_on(Answer::Token(600));
    world.get().await.unwrap();
    world.pass(3_600).await;
    assert_eq!(world.issuer.count(), 2);
    assert!(world.get().await.is_ok());
    assert_eq!(world.issuer.count(), 3);
    world.pass(24 * 3_600).await;
    assert!(world.issuer.count() >= 5, "the next day has a budget of its own");
}

#[tokio::test(start_paused = true)]
async fn a_refresher_that_is_gone_releases_its_readers() {
    let mut world = World::by_default();
    *world.issuer.takes.lock().unwrap() = Duration::from_secs(60);
    let handle = world.handle.clone();
    let mut callers = JoinSet::new();
    callers.spawn(async move { handle.token(Ask::default(), Instant::now() + Duration::from_secs(50)).await });
    advance(Duration::from_secs(1)).await;
    world.tasks.shutdown().await;
    assert!(matches!(callers.join_next().await.unwrap().unwrap(), Err(Refused::Gone)));
}
