//! Sixty days of a thousand clients in simulated time, with everything that goes wrong: failing, throttling and
//! refusing issuers, outages, rejected tokens, suspends, pauses and clock steps, and processes that end and are started
//! again with the tokens that were kept.
//!
//! The scripted issuers check every request against the bounds of the refresh policy (product contract, section 6);
//! the callers check every token against the issuers' own record of how long it is valid. The seed is printed;
//! `BEARERD_SIMULATION_SEED` sets it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bearerd::{
    access::Policy,
    clock::{Clock, TestClock},
    moment::BootTime,
    refresh::{ClockWatch, Entry, Handle, Refresher, Registry, Survivor, Terms},
    sensitive::Sensitive,
    token::{
        Ask, ClientName, Failure, FailureKind, Issued, RefreshPolicy, Refused, Rejection, TokenSource,
        policy::{FLOOR, FORCED_EVERY, PER_ISSUER},
        source::{Fetching, Looking},
    },
};
use fastrand::Rng;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep},
};

const CLIENTS: usize = 1_000;
const HOSTS: usize = 50;
const DAYS: u64 = 60;
const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);
/// The longest wait for a turn: twenty clients of a host, four at a time, two seconds each.
const QUEUE: Duration = Duration::from_secs(12);

/// What really is the time, and what happens in the world.
struct World {
    clock: TestClock,
    /// Time that passed without the boot-time clock counting it (a paused virtual machine).
    paused: Mutex<Duration>,
    /// How often the wall clock jumped forward. A jump may mean a pause, so tokens may be renewed early after it.
    forward_jumps: AtomicU64,
    /// Hosts that are down.
    down: Mutex<[bool; HOSTS]>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    served: AtomicU64,
    refused: AtomicU64,
    replaced: AtomicU64,
    jolts: AtomicU64,
    restarts: AtomicU64,
    survived: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl World {
    /// Real time: what the issuers' clocks show.
    fn now(&self) -> BootTime {
        self.clock.now().boot.plus(*self.paused.lock().unwrap())
    }

    /// How often anything has happened to the clocks.
    fn jolted(&self) -> u64 {
        self.counts.jolts.load(Ordering::Relaxed)
    }

    /// The machine stands still without any clock noticing, until NTP sets the wall clock right.
    fn pause(&self, by: Duration) {
        *self.paused.lock().unwrap() += by;
        self.jump(by);
    }

    fn jump(&self, by: Duration) {
        count(&self.forward_jumps);
        self.clock.step_wall_forward(by);
    }
}

/// One client's issuer, which remembers and judges.
struct Issuer {
    name: usize,
    /// The client asks of its own accord, whether or not callers do.
    proactive: bool,
    world: Arc<World>,
    state: Mutex<Memory>,
}

struct Memory {
    rng: Rng,
    /// Until when each token is valid, by value.
    tokens: HashMap<String, BootTime>,
    last: Option<Ended>,
    successes: u64,
    /// When the previous forced renewal was made.
    forced: Option<BootTime>,
    /// Somebody reported the current token, or wants one that lives longer.
    wanted: bool,
    reported: bool,
    /// The newest token was reported, so its client may be without one.
    retired: bool,
    /// The newest token.
    newest: Option<Newest>,
    /// A refusal since the last success.
    refused: bool,
}

/// A request: when it was sent, and what had happened to the clocks until then.
#[derive(Clone, Copy)]
struct Sent {
    at: BootTime,
    jumps: u64,
    jolts: u64,
}

/// A token as its callers must get it, if nothing is in the way.
struct Newest {
    /// From then on it may be withheld: its margin begins.
    until: BootTime,
    jolts: u64,
}

/// How the last attempt ended.
#[derive(Clone, Copy)]
struct Ended {
    at: BootTime,
    /// The earliest moment of the next attempt.
    not_before: BootTime,
    /// The latest moment of the next attempt, if nothing is in the way.
    not_after: BootTime,
    /// How often the wall clock had jumped forward when the request was sent.
    jumps: u64,
    /// How often anything had happened to the clocks.
    jolts: u64,
    success: bool,
}

impl Issuer {
    /// A request arrives: is it within the bounds?
    fn judge(&self, memory: &mut Memory, now: BootTime) {
        count(&self.world.counts.requests);
        let Some(last) = memory.last else { return };
        let since = now.since(last.at);
        let jumped = self.jumps() > last.jumps;
        if self.proactive && self.world.jolted() == last.jolts {
            let late = now.since(last.not_after.plus(QUEUE));
            assert!(late.is_zero(), "client {}: {since:?} after {}, {late:?} late", self.name, last.success);
        }
        if last.success {
            assert!(since >= FLOOR, "client {}: {since:?} after a success", self.name);
            let regular = now >= last.not_before || jumped;
            if !regular && memory.reported {
                let apart = memory.forced.map(|forced| now.since(forced));
                assert!(apart.is_none_or(|apart| apart >= FORCED_EVERY), "client {}: forced {apart:?}", self.name);
                memory.forced = Some(now);
            } else {
                assert!(
                    regular || memory.wanted,
                    "client {}: renewed {since:?} after success {} (due in {:?})",
                    self.name,
                    memory.successes,
                    last.not_before.since(now)
                );
            }
        } else {
            assert!(now >= last.not_before, "client {}: {since:?} after a failure", self.name);
        }
    }

    /// Ends the attempt with a failure after which the client must stay away for at least `wait`.
    fn fail(&self, memory: &mut Memory, failure: Failure, wait: Duration, at_most: Duration) -> Failure {
        let now = self.world.now();
        memory.last = Some(Ended {
            at: now,
            not_before: now.plus(wait),
            not_after: now.plus(at_most),
            jumps: self.jumps(),
            jolts: self.world.jolted(),
            success: false,
        });
        failure
    }

    /// Whether there is a token that nobody reported and that no clock makes doubtful.
    fn must_serve(&self) -> bool {
        let memory = self.state.lock().unwrap();
        let sound = |newest: &Newest| newest.until > self.world.now() && newest.jolts == self.world.jolted();
        !memory.retired && memory.newest.as_ref().is_some_and(sound)
    }

    fn jumps(&self) -> u64 {
        self.world.forward_jumps.load(Ordering::Relaxed)
    }

    fn answer(&self, sent: Sent) -> Result<Issued, Failure> {
        let mut memory = self.state.lock().unwrap();
        let memory = &mut *memory;
        let down = self.world.down.lock().unwrap()[self.name % HOSTS];
        let dice = if down { 0 } else { memory.rng.u32(0..100) };
        let least = Duration::from_millis(100);
        match dice {
            0..10 => Err(self.fail(memory, Failure::new(FailureKind::Unreachable, "down"), least, MINUTE)),
            10..13 => {
                let asked = Duration::from_secs(memory.rng.u64(1..2_000));
                let failure = Failure::new(FailureKind::Busy, "503").retry_after(Some(asked));
                let rest = asked.min(Duration::from_secs(900));
                Err(self.fail(memory, failure, rest, rest.max(MINUTE)))
            }
            13..15 => {
                let failure = Failure::new(FailureKind::Busy, "429").throttled(true);
                Err(self.fail(memory, failure, MINUTE, MINUTE))
            }
            15..20 => {
                // The first refusal since a success is confirmed after 5 s, whatever else failed before it.
                let first = !std::mem::replace(&mut memory.refused, true) && memory.successes > 0;
                let (wait, at_most) = if first { (5, 5) } else { (30, 900) };
                let failure = Failure::new(FailureKind::Refused, "invalid_client");
                Err(self.fail(memory, failure, Duration::from_secs(wait), Duration::from_secs(at_most)))
            }
            _ => Ok(self.issue(memory, sent)),
        }
    }

    /// A token with a random life between 10 s and 24 h: half of them uniform, half uniform in the logarithm.
    fn issue(&self, memory: &mut Memory, Sent { at: sent, jumps, jolts }: Sent) -> Issued {
        let now = self.world.now();
        let (even, sample) = (memory.rng.bool(), memory.rng.f64());
        let mut lifetime =
            Duration::from_secs_f64(if even { 10.0 + 86_390.0 * sample } else { 10.0 * 8_640.0_f64.powf(sample) });
        // Tokens that die together are how an issuer that reissues late looks; this one is none.
        while memory.tokens.values().any(|until| apart(*until, now.plus(lifetime)) < Duration::from_secs(10)) {
            lifetime += Duration::from_secs(5);
        }
        memory.successes += 1;
        let value = format!("{}-{}", self.name, memory.successes);
        memory.tokens.retain(|_, until| *until > now);
        memory.tokens.insert(value.clone(), now.plus(lifetime));
        let earliest = sent.plus(lifetime.mul_f64(if lifetime < 2 * FLOOR { 0.5 } else { 0.7 }));
        let latest = sent.plus(lifetime.mul_f64(if lifetime < 2 * FLOOR { 0.5 } else { 0.8 })).max(now.plus(FLOOR));
        memory.last = Some(Ended { at: now, not_before: earliest, not_after: latest, jumps, jolts, success: true });
        (memory.wanted, memory.reported, memory.retired, memory.refused) = (false, false, false, false);
        let margin = (lifetime / 10).min(Duration::from_secs(30));
        memory.newest = Some(Newest { until: sent.plus(lifetime).minus(margin), jolts });
        Issued {
            value: Sensitive::new(value),
            token_type: Cow::Borrowed("Bearer"),
            scope: None,
            expires_in: Some(lifetime),
            jwt_lifetime: None,
            refresh_in: None,
            secret_in_use: 1,
            oddities: Vec::new(),
            binding: None,
        }
    }
}

impl TokenSource for Issuer {
    fn fetch(&self) -> Fetching<'_> {
        Box::pin(async move {
            let sent = Sent { at: self.world.now(), jumps: self.jumps(), jolts: self.world.jolted() };
            let takes = {
                let mut memory = self.state.lock().unwrap();
                self.judge(&mut memory, sent.at);
                Duration::from_millis(memory.rng.u64(5..2_000))
            };
            sleep(takes).await;
            self.answer(sent)
        })
    }

    fn credentials_changed(&self) -> Looking<'_> {
        Box::pin(std::future::ready(false))
    }
}

fn apart(one: BootTime, other: BootTime) -> Duration {
    one.since(other).max(other.since(one))
}

/// One client as its process runs it.
struct Client {
    issuer: Arc<Issuer>,
    terms: Box<dyn Fn() -> Terms + Send + Sync>,
    clients: Arc<Clients>,
    entry: Arc<Entry>,
    handle: Handle,
    /// The refresher. It ends when a bound is broken; then there is no client any more.
    task: JoinSet<()>,
}

/// All clients, as those see them who look after all.
#[derive(Default)]
struct Clients {
    registry: Registry,
    entries: Mutex<HashMap<ClientName, Arc<Entry>>>,
}

impl Client {
    fn start(
        issuer: Arc<Issuer>,
        terms: Box<dyn Fn() -> Terms + Send + Sync>,
        clients: Arc<Clients>,
        survivor: Option<Survivor>,
    ) -> Self {
        let terms_now = terms();
        let name = terms_now.name.clone();
        let (refresher, handle) = match survivor {
            Some(survivor) => Refresher::resume(terms_now, survivor),
            None => Refresher::new(terms_now),
        };
        let mut task = JoinSet::new();
        task.spawn(refresher.run());
        let mut entry = Entry::new(name.clone(), Policy::new(0, []), handle.clone());
        entry.asks = Some([0; 16]);
        let entry = Arc::new(entry);
        clients.entries.lock().unwrap().insert(name, Arc::clone(&entry));
        Self { issuer, terms, clients, entry, handle, task }
    }

    /// The process ends, whatever is under way, and another one takes its place.
    async fn restart(self) -> Self {
        let Self { issuer, terms, clients, entry, handle: _, mut task } = self;
        still_runs(&mut task);
        task.shutdown().await;
        let survivor = entry.survivor().map(|(_, survivor)| survivor);
        let now = issuer.world.clock.now();
        let kept = survivor.as_ref().and_then(|survivor| survivor.kept.as_ref());
        let kept = kept.is_some_and(|kept| !kept.token.remaining(now).is_zero());
        count(&issuer.world.counts.restarts);
        issuer.world.counts.survived.fetch_add(u64::from(kept), Ordering::Relaxed);
        {
            let mut memory = issuer.state.lock().unwrap();
            memory.forced = None;
            if !kept {
                // It begins anew, and at once. Whether credentials have ever worked is not known any more.
                memory.last = None;
                memory.refused = true;
            }
        }
        let client = Self::start(issuer, terms, Arc::clone(&clients), survivor);
        clients.registry.replace(clients.entries.lock().unwrap().clone());
        client
    }
}

/// Fails the test if a bound was broken in this task.
fn still_runs(task: &mut JoinSet<()>) {
    if let Some(ended) = task.try_join_next() {
        ended.unwrap_or_else(|broken| std::panic::resume_unwind(broken.into_panic()));
    }
}

/// One client's callers: ask now and then, report some tokens, want some to live longer.
async fn call(mut client: Client, end: BootTime) {
    let issuer = Arc::clone(&client.issuer);
    let mut rng = Rng::with_seed(issuer.name as u64);
    while issuer.world.now() < end {
        sleep(Duration::from_secs(rng.u64(1..36_000))).await;
        if rng.u32(0..40) == 0 {
            client = client.restart().await;
        }
        let handle = client.handle.clone();
        let longer = (rng.u32(0..50) == 0).then(|| Duration::from_secs(rng.u64(1..7_200)));
        issuer.state.lock().unwrap().wanted |= longer.is_some();
        let Some((id, value)) = get(&issuer, &handle, Ask { min_validity: longer, rejected: None }).await else {
            continue;
        };
        if rng.u32(0..20) == 0 {
            {
                let mut memory = issuer.state.lock().unwrap();
                (memory.reported, memory.retired) = (true, true);
            }
            let ask = Ask { rejected: Some(id), min_validity: None };
            let outcome = handle.token(ask, Instant::now() + Duration::from_secs(10)).await;
            let kept = matches!(
                outcome.as_ref().ok().and_then(|given| given.rejection),
                Some(Rejection::TooYoung | Rejection::RateLimited)
            );
            if let Some((_, again)) = get(&issuer, &handle, Ask::default()).await {
                assert!(kept || again != value, "client {}: the rejected token came back", issuer.name);
                issuer.world.counts.replaced.fetch_add(u64::from(!kept), Ordering::Relaxed);
            }
        }
    }
    still_runs(&mut client.task);
}

/// Asks for a token and checks it against what the issuer knows.
async fn get(issuer: &Issuer, handle: &Handle, ask: Ask) -> Option<(bearerd::token::TokenId, String)> {
    let must = ask.min_validity.is_none() && issuer.must_serve();
    let before = Instant::now();
    let outcome = handle.token(ask, before + Duration::from_secs(10)).await;
    assert!(!must || before.elapsed().is_zero(), "client {}: waited in spite of a token", issuer.name);
    let given = match outcome {
        Ok(given) => given,
        Err(Refused::Gone) => panic!("client {} is gone", issuer.name),
        Err(refused) => {
            assert!(!must, "client {}: refused in spite of a token: {refused:?}", issuer.name);
            count(&issuer.world.counts.refused);
            return None;
        }
    };
    count(&issuer.world.counts.served);
    let value = given.token.value.expose().to_owned();
    let now = issuer.world.now();
    let left = issuer.state.lock().unwrap().tokens.get(&value).map_or(Duration::ZERO, |until| until.since(now));
    assert!(!left.is_zero(), "client {}: an expired token was served", issuer.name);
    let promised = ask.min_validity.unwrap_or_else(|| (given.token.lifetime / 10).min(Duration::from_secs(30)));
    assert!(left >= promised, "client {}: {left:?} left of {promised:?}", issuer.name);
    Some((given.token.id, value))
}

/// The world's events, a few each day.
async fn happen(world: Arc<World>, end: BootTime, mut rng: Rng) {
    while world.now() < end {
        sleep(Duration::from_secs(rng.u64(600..20_000))).await;
        match rng.u32(0..9) {
            0..5 => {
                // An outage, during which nothing else happens.
                let host = rng.usize(0..HOSTS);
                world.down.lock().unwrap()[host] = true;
                sleep(Duration::from_secs(rng.u64(60..14_400))).await;
                world.down.lock().unwrap()[host] = false;
            }
            5..7 => {
                count(&world.counts.jolts);
                world.clock.suspend(Duration::from_secs(rng.u64(60..43_200)));
            }
            7 => {
                count(&world.counts.jolts);
                world.pause(Duration::from_secs(rng.u64(60..7_200)));
            }
            _ => {
                // Somebody sets the clock back, and NTP corrects it.
                let by = Duration::from_secs(rng.u64(60..86_400));
                count(&world.counts.jolts);
                world.clock.step_wall_back(by);
                sleep(Duration::from_secs(rng.u64(60..3_600))).await;
                count(&world.counts.jolts);
                world.jump(by);
            }
        }
    }
}

/// Most clients have the defaults; some sleep when nobody asks, some are on a budget, some wait for their first caller.
fn policy(name: usize) -> RefreshPolicy {
    let default = RefreshPolicy::default();
    match name % 10 {
        7 => RefreshPolicy { idle_after: Some(Duration::from_secs(3_600)), ..default },
        8 => RefreshPolicy { budget_per_day: Some(20), ..default },
        9 => RefreshPolicy { prefetch: false, ..default },
        _ => default,
    }
}

#[tokio::test(start_paused = true)]
async fn sixty_days_of_a_thousand_clients() {
    let seed = seed();
    println!("simulation seed: {seed} (set BEARERD_SIMULATION_SEED to repeat)");
    let mut rng = Rng::with_seed(seed);
    let world = Arc::new(World {
        clock: TestClock::new(),
        paused: Mutex::default(),
        forward_jumps: AtomicU64::new(0),
        down: Mutex::new([false; HOSTS]),
        counts: Counts::default(),
    });
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let gates: Vec<_> = (0..HOSTS).map(|_| Arc::new(Semaphore::new(PER_ISSUER))).collect();
    let end = world.now().plus(DAY * u32::try_from(DAYS).unwrap());
    let mut engine = JoinSet::new();
    let mut callers = JoinSet::new();
    let clients = Arc::<Clients>::default();
    for name in 0..CLIENTS {
        let policy = policy(name);
        let issuer = Arc::new(Issuer {
            name,
            proactive: policy == RefreshPolicy::default(),
            world: Arc::clone(&world),
            state: Mutex::new(Memory {
                rng: rng.fork(),
                tokens: HashMap::new(),
                last: None,
                successes: 0,
                forced: None,
                wanted: false,
                reported: false,
                retired: false,
                newest: None,
                refused: false,
            }),
        });
        let source: Arc<dyn TokenSource> = Arc::<Issuer>::clone(&issuer);
        let (policy, gate, clock) = (Arc::new(policy), Arc::clone(&gates[name % HOSTS]), Arc::clone(&clock));
        let seeds = Mutex::new(rng.fork());
        let terms = move || Terms {
            name: ClientName::parse(&format!("client-{name}")).unwrap(),
            policy: Arc::clone(&policy),
            source: Arc::clone(&source),
            gate: Arc::clone(&gate),
            clock: Arc::clone(&clock),
            pulse: watch::Sender::new(0),
            remains: watch::Sender::new(0),
            seed: seeds.lock().unwrap().u64(..),
        };
        let client = Client::start(issuer, Box::new(terms), Arc::clone(&clients), None);
        callers.spawn(call(client, end));
    }
    clients.registry.replace(clients.entries.lock().unwrap().clone());
    engine.spawn(ClockWatch::new(clock).run(move || clients.registry.ring()));
    callers.spawn(happen(Arc::clone(&world), end, rng.fork()));
    while let Some(ended) = tokio::select! {
        ended = callers.join_next() => ended,
        Some(broken) = engine.join_next() => Some(broken),
    } {
        ended.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    let counts = &world.counts;
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{} requests, {} tokens served, {} refused, {} reports that brought another token, {} jolts, {} restarts, {} with a \
         token",
        read(&counts.requests),
        read(&counts.served),
        read(&counts.refused),
        read(&counts.replaced),
        read(&counts.jolts),
        read(&counts.restarts),
        read(&counts.survived)
    );
    assert!(read(&counts.restarts) > 5_000 && read(&counts.survived) > read(&counts.restarts) * 3 / 4);
    assert!(read(&counts.served) > 200_000 && read(&counts.replaced) > 1_000 && read(&counts.jolts) > 50);
    assert!(read(&counts.refused) < read(&counts.served) / 5, "issuers are mostly up");
}

#[tokio::test(start_paused = true)]
async fn refreshes_spread_after_a_common_start() {
    let seed = seed();
    println!("simulation seed: {seed}");
    let mut rng = Rng::with_seed(seed);
    let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    let mut engine = JoinSet::new();
    for name in 0..CLIENTS {
        let (refresher, _) = Refresher::new(Terms {
            name: ClientName::parse(&format!("client-{name}")).unwrap(),
            policy: Arc::new(RefreshPolicy::default()),
            source: Arc::new(Hourly { requests: Arc::clone(&requests) }),
            gate: Arc::new(Semaphore::new(PER_ISSUER)),
            clock: Arc::clone(&clock),
            pulse: watch::Sender::new(0),
            remains: watch::Sender::new(0),
            seed: rng.u64(..),
        });
        engine.spawn(refresher.run());
    }
    sleep(Duration::from_secs(3_600)).await;
    let mut per_second = HashMap::<u64, u32>::new();
    for at in requests.lock().unwrap().iter().filter(|at| at.duration_since(start) > Duration::from_secs(60)) {
        *per_second.entry(at.duration_since(start).as_secs()).or_default() += 1;
    }
    let all: u32 = per_second.values().sum();
    let most = per_second.values().copied().max().unwrap();
    // 1,000 draws over 360 s: 2.8 a second on average; 14 in one second has a probability below 10^-5.
    assert_eq!(all as usize, CLIENTS);
    assert!(most <= 14, "{most} in one second");
    let first_half = per_second.iter().filter(|(second, _)| **second < 2_700).map(|(_, count)| count).sum::<u32>();
    assert!((400..600).contains(&first_half), "{first_half} of {all} in the first half of the window");
}

/// Issues tokens that live an hour, and notes when.
struct Hourly {
    requests: Arc<Mutex<Vec<Instant>>>,
}

impl TokenSource for Hourly {
    fn fetch(&self) -> Fetching<'_> {
        Box::pin(async {
            let number = {
                let mut requests = self.requests.lock().unwrap();
                requests.push(Instant::now());
                requests.len()
            };
            Ok(Issued {
                value: Sensitive::new(format!("token-{number}")),
                token_type: Cow::Borrowed("Bearer"),
                scope: None,
                expires_in: Some(Duration::from_secs(3_600)),
                jwt_lifetime: None,
                refresh_in: None,
                secret_in_use: 1,
                oddities: Vec::new(),
                binding: None,
            })
        })
    }

    fn credentials_changed(&self) -> Looking<'_> {
        Box::pin(std::future::ready(false))
    }
}

#[allow(clippy::disallowed_methods, reason = "lets a person repeat a failed run")]
fn seed() -> u64 {
    let given = std::env::var("BEARERD_SIMULATION_SEED").ok();
    given.map_or(20_261_124, |text| text.parse().unwrap_or_else(|_| panic!("the seed must be a number, not {text}")))
}
