//! Many streams that follow one client: what each costs while nothing happens, and how soon all have a new token.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use bearerd_client::{
    Channel,
    pb::v1::{
        GetInfoRequest, RefreshClientRequest, WatchTokenRequest, WatchTokenResponse, admin_client::AdminClient,
        watch_token_response::State,
    },
};
use tokio::{
    runtime,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::Streaming;

use super::{
    Bench, Outcome,
    bearerd::{Served, Settings, start_with},
    client_name,
    figures::{Row, Spread},
    memory::SETTLE,
};

pub(crate) fn measure(bench: &Bench) -> Outcome<Vec<Row>> {
    let settings = Settings { limits: LIMITS, ..Settings::default() };
    let served = start_with(bench, CLIENTS, settings)?;
    // Threads and memory of the start go away, and the token is old enough to be renewed.
    thread::sleep(SETTLE);
    // The readers have more to do than the daemon, and should not be what is waited for.
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(followed(&served))
}

async fn followed(served: &Served) -> Outcome<Vec<Row>> {
    let mut admin = Channel::connect(&served.socket).await?.admin();
    admin.get_info(GetInfoRequest {}).await?;
    let before = served.process.memory()?.rss;
    let mut followers = timeout(PATIENCE, open(&served.socket)).await??;
    let calls = admin.get_info(GetInfoRequest {}).await?.into_inner().calls;
    if calls < STREAMS {
        return Err(format!("{calls} calls are in progress instead of {STREAMS} streams").into());
    }
    // What the last of them set off comes to an end.
    sleep(BREATH).await;
    let idle = served.process.memory()?.rss;
    let mut took = Vec::new();
    for _ in 0..RENEWALS {
        sleep(OLD_ENOUGH).await;
        let (last, told) = timeout(PATIENCE, renewed(&mut admin, followers)).await??;
        took.push(last.as_secs_f64() * 1e3);
        followers = told;
    }
    let busy = served.process.memory()?.rss;
    drop(followers);
    // The readers' own threads close the connections meanwhile.
    let limit = before + before / 2;
    let (left, after) = served.process.shrunk(limit)?;
    println!(
        "{STREAMS} streams over {CONNECTIONS} connections: RSS {before} KiB without, {idle} KiB with them, {busy} KiB \
         after {RENEWALS} renewals, {left} KiB {:.1} s after they were dropped",
        after.as_secs_f64()
    );
    let took = Spread::of(took);
    println!("{STREAMS} streams: the last one has the new token after {took} ms\n");
    let each = f64::from(u32::try_from(idle.saturating_sub(before))?) / f64::from(STREAMS);
    let kib = |kib: u64| u32::try_from(kib).map(f64::from);
    Ok(vec![
        Row::within("3.1", &format!("{STREAMS} idle streams: RSS of each"), each, 12.0, "KiB"),
        Row::within("3.1", &format!("{STREAMS} streams: new token at the last"), took.median, 200.0, "ms"),
        Row::within("3.3", &format!("RSS after {STREAMS} streams"), kib(left)?, kib(limit)?, "KiB"),
    ])
}

/// Opens all streams, and reads from each what is told at first.
async fn open(socket: &Path) -> Outcome<Vec<Follower>> {
    let mut opening = JoinSet::new();
    for _ in 0..CONNECTIONS {
        opening.spawn(open_some(socket.to_owned(), STREAMS / CONNECTIONS));
    }
    let mut followers = Vec::new();
    while let Some(opened) = opening.join_next().await {
        followers.extend(opened??);
    }
    Ok(followers)
}

/// So many on a connection of their own, which lasts as long as one of them.
async fn open_some(socket: PathBuf, streams: u32) -> Outcome<Vec<Follower>> {
    let mut broker = Channel::connect(&socket).await?.broker();
    let mut followers = Vec::new();
    for _ in 0..streams {
        let request = WatchTokenRequest { client: client_name(0) };
        let stream = broker.watch_token(request).await?.into_inner();
        followers.push(Follower { stream, told: String::new() }.news().await?.0);
    }
    Ok(followers)
}

/// Has the token renewed; how long it takes from the order until all have been told.
async fn renewed(admin: &mut AdminClient<Channel>, followers: Vec<Follower>) -> Outcome<(Duration, Vec<Follower>)> {
    let mut waiting = JoinSet::new();
    for follower in followers {
        waiting.spawn(follower.news());
    }
    // All of them wait.
    sleep(BREATH).await;
    let ordered = Instant::now();
    let answer = admin.refresh_client(RefreshClientRequest { client: client_name(0) }).await?.into_inner();
    if !answer.renewed {
        return Err(format!("the token was not renewed: {:?}", answer.status).into());
    }
    let (mut last, mut told) = (Duration::ZERO, Vec::new());
    while let Some(news) = waiting.join_next().await {
        let (follower, at) = news??;
        last = last.max(at.saturating_duration_since(ordered));
        told.push(follower);
    }
    Ok((last, told))
}

/// A stream, and the token that it told of last.
struct Follower {
    stream: Streaming<WatchTokenResponse>,
    told: String,
}

impl Follower {
    /// Waits until it tells of another token; when it did.
    async fn news(mut self) -> Outcome<(Self, Instant)> {
        loop {
            let message = self.stream.message().await?.ok_or("a stream that ended")?;
            if let Some(State::Token(token)) = message.state
                && token.id != self.told
            {
                self.told = token.id;
                return Ok((self, Instant::now()));
            }
        }
    }
}

const CLIENTS: u32 = 10;
const STREAMS: u32 = 10_000;
const CONNECTIONS: u32 = 16;
const LIMITS: &str = "calls_per_uid = 20000\nconnections = 2000\nconnections_per_uid = 1000";
const RENEWALS: usize = 3;
/// Between two successes of one client there are at least 5 s.
const OLD_ENOUGH: Duration = Duration::from_millis(6_100);
const BREATH: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);
