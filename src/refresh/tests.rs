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

use super::{Amendment, ClockWatch, Handle, Refresher, Survivor, Terms};
use crate::{
    clock::{Clock, TestClock},
    sensitive::Sensitive,
    token::{
        Ask, ClientName, ClientState, Failure, FailureKind, Issued, RefreshPolicy, Refused, Rejection, TokenId,
        TokenSource, Verdict,
        source::{Fetching, Looking},
    },
};

/// One scripted answer of the issuer.
#[derive(Clone)]
pub(super) enum Answer {
    /// A new token that lives this many seconds.
    Token(u64),
    /// This very token, which dies this many seconds after the first request. Told in whole seconds, and not at all
    /// in its last one, as the parser reads `expires_in: 0`.
    Named(&'static str, u64),
    Fail(Failure),
}

#[derive(Default)]
pub(super) struct Issuer {
    script: Mutex<VecDeque<Answer>>,
    /// What follows the script.
    then: Mutex<Option<Answer>>,
    requests: Mutex<Vec<Instant>>,
    takes: Mutex<Duration>,
    revision: Mutex<u64>,
    /// The revision at the last request.
    used: Mutex<u64>,
    /// Other clients' requests, as the gate sees them.
    gate: Mutex<Option<Arc<Semaphore>>>,
}

impl Issuer {
    fn says(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.lock().unwrap().extend(answers);
    }

    pub(super) fn says_from_now_on(&self, answer: Answer) {
        *self.then.lock().unwrap() = Some(answer);
    }

    pub(super) fn count(&self) -> usize {
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
            *self.used.lock().unwrap() = *self.revision.lock().unwrap();
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
                    let told = Some(Duration::from_secs(left.as_secs())).filter(|told| !told.is_zero());
                    Ok(Issued { expires_in: told, ..issued(value, 0) })
                }
                Answer::Fail(failure) => Err(failure),
            }
        })
    }

    fn credentials_changed(&self) -> Looking<'_> {
        let changed = *self.revision.lock().unwrap() != *self.used.lock().unwrap();
        Box::pin(std::future::ready(changed))
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
        binding: None,
    }
}

pub(super) struct World {
    pub(super) handle: Handle,
    pub(super) issuer: Arc<Issuer>,
    pub(super) clock: TestClock,
    start: Instant,
    tasks: JoinSet<()>,
}

impl World {
    fn new(policy: RefreshPolicy) -> Self {
        let clock = TestClock::new();
        let issuer = Arc::new(Issuer::default());
        let gate = Arc::new(Semaphore::new(4));
        *issuer.gate.lock().unwrap() = Some(Arc::clone(&gate));
        Self::of(policy, clock, issuer, gate, None)
    }

    /// The same world when the process has ended and another one has taken its place.
    pub(super) fn restarted(self, policy: RefreshPolicy) -> Self {
        let Self { handle, issuer, clock, tasks, .. } = self;
        let (snapshot, spoiled) = handle.look();
        // As the runtime of a process that ends does.
        drop(tasks);
        let gate = Arc::new(Semaphore::new(4));
        *issuer.gate.lock().unwrap() = Some(Arc::clone(&gate));
        Self::of(policy, clock, issuer, gate, Survivor::of(&snapshot, spoiled))
    }

    fn of(
        policy: RefreshPolicy,
        clock: TestClock,
        issuer: Arc<Issuer>,
        gate: Arc<Semaphore>,
        survivor: Option<Survivor>,
    ) -> Self {
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let source: Arc<dyn TokenSource> = Arc::<Issuer>::clone(&issuer);
        let terms = Terms {
            name: ClientName::parse("test").unwrap(),
            policy: Arc::new(policy),
            source,
            gate,
            clock: Arc::clone(&shared),
            pulse: watch::Sender::new(0),
            remains: watch::Sender::new(0),
            seed: if survivor.is_some() { 8 } else { 7 },
        };
        let (refresher, handle) = match survivor {
            Some(survivor) => Refresher::resume(terms, survivor),
            None => Refresher::new(terms),
        };
        let mut tasks = JoinSet::new();
        let woken = handle.clone();
        tasks.spawn(ClockWatch::new(shared).run(move || woken.ring()));
        tasks.spawn(refresher.run());
        Self { handle, issuer, clock, start: Instant::now(), tasks }
    }

    pub(super) fn by_default() -> Self {
        Self::new(RefreshPolicy::default())
    }

    pub(super) async fn get(&self) -> Result<String, Refused> {
        self.ask(Ask::default()).await.map(|(value, ..)| value)
    }

    pub(super) async fn ask(&self, ask: Ask) -> Result<(String, TokenId, Option<Rejection>), Refused> {
        let given = self.handle.token(ask, Instant::now() + Duration::from_secs(10)).await?;
        Ok((given.token.value.expose().to_owned(), given.token.id, given.rejection))
    }

    pub(super) async fn report(&self, id: TokenId) -> Result<(String, TokenId, Option<Rejection>), Refused> {
        self.ask(Ask { rejected: Some(id), ..Ask::default() }).await
    }

    fn gate(&self) -> Arc<Semaphore> {
        self.issuer.gate.lock().unwrap().clone().unwrap()
    }

    /// Lets time pass in small steps, as it does.
    pub(super) async fn pass(&self, secs: u64) {
        sleep(Duration::from_secs(secs)).await;
    }
}

pub(super) fn busy() -> Answer {
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
async fn row_cognito_refresh_happens_between_70_and_80_percent() {
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
async fn row_resource_servers_a_token_too_young_to_be_wrong_stays() {
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
async fn row_marketo_wso2_reltio_beschannels_the_same_token_until_it_dies_is_noticed() {
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
async fn a_clock_that_is_set_back_after_a_pause_revives_no_token() {
    let world = World::new(RefreshPolicy { idle_after: Some(Duration::from_secs(60)), ..RefreshPolicy::default() });
    world.get().await.unwrap();
    world.pass(120).await;
    // A pause that only the wall clock shows, as a virtual machine that is resumed has it.
    world.clock.step_wall_forward(Duration::from_secs(3_000));
    world.pass(40).await;
    world.clock.step_wall_back(Duration::from_secs(3_000));
    world.pass(600).await;
    assert_eq!(world.get().await.unwrap(), "token-2");
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
async fn row_keycloak_an_order_overrides_the_schedule_but_not_the_floor() {
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
async fn row_ebay_soundcloud_zus_cleartax_a_spent_budget_stops_the_regular_refresh_only() {
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

#[tokio::test(start_paused = true)]
async fn a_token_returned_in_its_last_second_is_not_taken_for_a_new_one() {
    let world = World::by_default();
    world.issuer.says_from_now_on(Answer::Named("one", 600));
    world.get().await.unwrap();
    world.pass(600).await;
    // Told "10" ten and a half seconds before its end, it is over for us before it is for the issuer.
    for _ in 0..300 {
        if let Ok(value) = world.get().await {
            assert!(world.start.elapsed() < Duration::from_secs(603), "`{value}` lives on after its end");
        }
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_refusal_after_a_long_outage_is_looked_at_again_soon() {
    let world = World::by_default();
    world.issuer.says([Answer::Token(600)]);
    world.get().await.unwrap();
    world.issuer.says_from_now_on(busy());
    world.pass(3_600).await;
    let before = world.issuer.count();
    assert!(before > 100, "{before}");
    world.issuer.says([refused(), Answer::Token(600)]);
    world.issuer.says_from_now_on(Answer::Token(600));
    world.pass(21).await;
    assert_eq!(world.issuer.count(), before + 2, "the confirming try after 5 s");
    assert_eq!(world.handle.state(), ClientState::Fresh);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_brings_the_regular_token_cures_what_was_forced() {
    let world = World::by_default();
    world.issuer.says_from_now_on(Answer::Token(7_200));
    let (_, mut id, _) = world.ask(Ask::default()).await.unwrap();
    for _ in 0..3 {
        world.pass(31).await;
        id = world.report(id).await.unwrap().1;
    }
    world.issuer.says([busy()]);
    world.pass(31).await;
    assert_eq!(world.report(id).await.unwrap().2, Some(Rejection::RateLimited));
    world.pass(7_200 / 5 * 4).await;
    let (_, id, _) = world.ask(Ask::default()).await.unwrap();
    world.pass(6).await;
    assert_eq!(world.report(id).await.unwrap().2, Some(Rejection::Replaced));
}

#[tokio::test(start_paused = true)]
async fn where_callers_wishes_come_first_reports_are_heard_again_after_a_window() {
    let world = World::by_default();
    world.issuer.says_from_now_on(Answer::Token(3_600));
    let half = Ask { min_validity: Some(Duration::from_secs(1_800)), ..Ask::default() };
    let (_, mut id, _) = world.ask(half).await.unwrap();
    for _ in 0..3 {
        world.pass(31).await;
        id = world.report(id).await.unwrap().1;
    }
    for _ in 0..3 {
        world.pass(1_801).await;
        id = world.ask(half).await.unwrap().1;
    }
    world.pass(6).await;
    assert_eq!(world.report(id).await.unwrap().2, Some(Rejection::Replaced));
}

#[tokio::test(start_paused = true)]
async fn the_same_token_early_in_its_life_says_nothing_about_later() {
    let world = World::by_default();
    world.issuer.says([Answer::Named("one", 3_600), Answer::Named("one", 3_600)]);
    world.get().await.unwrap();
    world.pass(60).await;
    assert!(world.handle.refresh(Instant::now() + Duration::from_secs(30)).await.unwrap());
    let (snapshot, _) = world.handle.look();
    assert!(!snapshot.reissues_late);
    world.pass(2_881).await;
    assert_eq!(world.get().await.unwrap(), "token-3", "renewed in time, not at the very end");
}

#[tokio::test(start_paused = true)]
async fn a_validity_as_long_as_the_life_is_unattainable_and_makes_no_loop() {
    let world = World::by_default();
    *world.issuer.takes.lock().unwrap() = Duration::from_millis(200);
    world.issuer.says_from_now_on(Answer::Token(3_600));
    world.get().await.unwrap();
    let whole = Ask { min_validity: Some(Duration::from_secs(3_600)), ..Ask::default() };
    for _ in 0..100 {
        world.pass(10).await;
        assert!(matches!(world.ask(whole).await, Err(Refused::Unattainable { retry_in: None, .. })));
    }
    assert_eq!(world.issuer.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_is_not_overdrawn_by_retries() {
    let world = World::new(RefreshPolicy { budget_per_day: Some(5), ..RefreshPolicy::default() });
    world.issuer.says([Answer::Token(600)]);
    world.get().await.unwrap();
    world.issuer.says_from_now_on(busy());
    world.pass(6 * 3_600).await;
    assert_eq!(world.issuer.count(), 5);
    assert_eq!(world.handle.state(), ClientState::Idle);
    assert_eq!(kind_of(world.get().await.unwrap_err()), FailureKind::Busy);
    assert_eq!(world.issuer.count(), 6, "on demand");
}

#[tokio::test(start_paused = true)]
async fn the_first_caller_after_a_quiet_time_gets_no_old_failure() {
    let policy = RefreshPolicy { idle_after: Some(Duration::from_secs(600)), ..RefreshPolicy::default() };
    let world = World::new(policy);
    world.issuer.says([busy()]);
    world.get().await.unwrap_err();
    world.issuer.says_from_now_on(busy());
    world.pass(3_600).await;
    let asleep = world.issuer.count();
    world.pass(3_600).await;
    assert_eq!(world.issuer.count(), asleep, "nobody asks");
    world.issuer.says_from_now_on(Answer::Token(600));
    assert!(world.get().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn credentials_that_keep_changing_do_not_hammer_the_issuer() {
    let world = World::by_default();
    world.issuer.says_from_now_on(refused());
    world.get().await.unwrap_err();
    for _ in 0..600 {
        *world.issuer.revision.lock().unwrap() += 1;
        world.handle.ring();
        sleep(Duration::from_millis(100)).await;
    }
    assert!((8..=13).contains(&world.issuer.count()), "{} in a minute", world.issuer.count());
}

#[tokio::test(start_paused = true)]
async fn followers_are_told_of_a_token_that_ends_while_the_issuer_does_not_answer() {
    let world = World::by_default();
    world.issuer.says([Answer::Token(600)]);
    world.get().await.unwrap();
    let mut follower = world.handle.follow();
    let Verdict::Serve(token, _) = follower.current() else { panic!("no token") };
    *world.issuer.takes.lock().unwrap() = Duration::from_secs(3_600);
    assert!(follower.changed().await);
    while matches!(follower.current(), Verdict::Serve(..)) {
        assert!(follower.changed().await);
    }
    let left = token.remaining(world.clock.now());
    assert!((29..=30).contains(&left.as_secs()), "told when it stopped being handed out, {left:?} before its end");
}

#[tokio::test(start_paused = true)]
async fn followers_are_told_of_a_retired_token_at_once() {
    let world = World::by_default();
    let (_, id, _) = world.ask(Ask::default()).await.unwrap();
    world.pass(60).await;
    *world.issuer.takes.lock().unwrap() = Duration::from_secs(8);
    let mut follower = world.handle.follow();
    assert!(matches!(follower.current(), Verdict::Serve(..)));
    let report = world.report(id);
    let told = async {
        let before = Instant::now();
        assert!(follower.changed().await);
        (before.elapsed(), matches!(follower.current(), Verdict::Serve(..)))
    };
    let (reported, (after, served)) = tokio::join!(report, told);
    assert_eq!((after, served), (Duration::ZERO, false));
    assert_eq!(reported.unwrap().2, Some(Rejection::Replaced));
}

#[tokio::test(start_paused = true)]
async fn who_waits_long_for_a_turn_at_the_issuer_is_told() {
    let world = World::by_default();
    let others = world.gate().acquire_many_owned(4).await.unwrap();
    let ask = |patience| world.handle.token(Ask::default(), Instant::now() + Duration::from_secs(patience));
    let refused = ask(60).await.unwrap_err();
    assert!((10..12).contains(&world.start.elapsed().as_secs()), "{:?}", world.start.elapsed());
    assert_eq!(kind_of(refused), FailureKind::Busy);
    let before = Instant::now();
    assert_eq!(kind_of(ask(60).await.unwrap_err()), FailureKind::Busy);
    assert_eq!((before.elapsed(), world.issuer.count()), (Duration::ZERO, 0));
    drop(others);
    world.pass(1).await;
    assert!(ask(0).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn new_terms_leave_the_token_and_change_the_schedule() {
    let world = World::by_default();
    world.issuer.says_from_now_on(Answer::Token(3_600));
    assert_eq!(world.get().await.unwrap(), "token-1");
    let policy = Arc::new(RefreshPolicy { earliest: 0.2, latest: 0.3, ..RefreshPolicy::default() });
    world.handle.amend(Amendment { policy: Arc::clone(&policy), source: None });
    world.pass(600).await;
    assert_eq!((world.get().await.unwrap().as_str(), world.issuer.count()), ("token-1", 1));
    world.pass(500).await;
    assert_eq!(world.get().await.unwrap(), "token-2");
    let other = Arc::new(Issuer::default());
    other.says_from_now_on(Answer::Fail(Failure::new(FailureKind::Refused, "other")));
    world.issuer.says_from_now_on(refused());
    world.pass(1_100).await;
    assert_eq!(world.handle.state(), ClientState::Degraded);
    other.says([Answer::Token(3_600)]);
    let source: Arc<dyn TokenSource> = Arc::<Issuer>::clone(&other);
    world.handle.amend(Amendment { policy, source: Some(source) });
    world.pass(6).await;
    assert_eq!((other.count(), world.handle.state()), (1, ClientState::Fresh));
}
