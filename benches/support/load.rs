//! 64 calls in flight over 1, 8 and 64 connections; nobody is confined to a processor.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    runtime,
    task::{JoinSet, LocalSet},
    time::{sleep, timeout},
};

use super::{
    Bench, Outcome,
    bearerd::{self, Served},
    figures::{Row, Spread, Verdict, median, micros},
    reference,
    wire::Conversation,
};

pub(crate) fn measure(bench: &Bench) -> Outcome<Vec<Row>> {
    let ours = bearerd::start(bench, 10, &[])?;
    let theirs = reference::start(bench, ours.expected.length, &[])?;
    let mut rows = Vec::new();
    for connections in [1, 8, IN_FLIGHT] {
        let mut measured = [Measured::default(), Measured::default()];
        for _ in 0..bench.extent.rounds {
            let mut order = [(&ours, 0), (&theirs, 1)];
            fastrand::shuffle(&mut order);
            for (served, at) in order {
                let (rate, cpu) = turn(bench, served, connections)?;
                measured[at].rate.push(rate);
                measured[at].cpu.push(cpu);
            }
        }
        rows.extend(compared(connections, &measured));
    }
    Ok(rows)
}

/// A value for each round.
#[derive(Default)]
struct Measured {
    rate: Vec<f64>,
    cpu: Vec<f64>,
}

fn compared(connections: u32, [ours, theirs]: &[Measured; 2]) -> [Row; 2] {
    let name = |what| format!("{IN_FLIGHT} in flight over {connections}: {what}");
    let (cpu, rate) = (Spread::of_ratios(&ours.cpu, &theirs.cpu), Spread::of_ratios(&ours.rate, &theirs.rate));
    let mut rows = [Row::told(&name("server CPU of a call"), cpu), Row::told(&name("calls per second"), rate)];
    if connections == IN_FLIGHT {
        rows[0] = Row::at_most("3", &name("server CPU of a call"), cpu, 0.55);
        rows[1].goal = "3";
        rows[1].limit = format!(">= {RATE:.2} x");
        rows[1].verdict = Verdict::of(rate.median >= RATE);
    }
    let [cpu, rate] = rows;
    let (time, number) =
        (|cpu: &[f64]| format!("{:.1} µs", median(cpu)), |rate: &[f64]| format!("{:.0}", median(rate)));
    [cpu.from(time(&ours.cpu), time(&theirs.cpu)), rate.from(number(&ours.rate), number(&theirs.rate))]
}

/// One contestant's turn: calls per second, and the server's processor time for one in microseconds.
fn turn(bench: &Bench, served: &Served, connections: u32) -> Outcome<(f64, f64)> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let span = Duration::from_millis(bench.extent.load_ms);
    LocalSet::new().block_on(&runtime, async {
        let shared = Rc::new(Shared::default());
        let mut callers = JoinSet::new();
        for _ in 0..connections {
            let stream = UnixStream::connect(&served.socket).await?;
            let mut outbox = Vec::new();
            let conversation = Conversation::begin(&bench.script, served.expected, &mut outbox);
            let caller = Caller { stream, conversation, outbox, shared: Rc::clone(&shared) };
            callers.spawn_local(caller.run(IN_FLIGHT / connections));
        }
        sleep(span / 5).await;
        let before = (shared.calls.get(), served.process.cpu()?, Instant::now());
        sleep(span).await;
        let took = before.2.elapsed();
        let (calls, cpu) = (shared.calls.get() - before.0, served.process.cpu()?.saturating_sub(before.1));
        shared.over.set(true);
        while let Some(ended) = timeout(Duration::from_secs(30), callers.join_next()).await? {
            ended??;
        }
        let calls = f64::from(u32::try_from(calls)?);
        Ok((calls / took.as_secs_f64(), micros(cpu) / calls))
    })
}

#[derive(Default)]
struct Shared {
    calls: Cell<u64>,
    over: Cell<bool>,
}

/// One connection.
struct Caller {
    stream: UnixStream,
    conversation: Conversation,
    outbox: Vec<u8>,
    shared: Rc<Shared>,
}

impl Caller {
    /// Keeps so many calls in flight until it is over.
    async fn run(mut self, in_flight: u32) -> Outcome<()> {
        let mut inbox = vec![0; 64 * 1024];
        let mut filled = 0;
        let mut open = in_flight;
        for _ in 0..in_flight {
            self.conversation.ask(0, &mut self.outbox);
        }
        while open > 0 {
            self.stream.write_all(&self.outbox).await?;
            self.outbox.clear();
            let read = self.stream.read(&mut inbox[filled..]).await?;
            if read == 0 {
                return Err("the server hung up".into());
            }
            filled += read;
            let heard = self.conversation.hear(&inbox[..filled], &mut self.outbox)?;
            inbox.copy_within(heard.consumed..filled, 0);
            filled -= heard.consumed;
            self.shared.calls.set(self.shared.calls.get() + u64::from(heard.replies));
            if self.shared.over.get() {
                open -= heard.replies;
            } else {
                (0..heard.replies).for_each(|_| self.conversation.ask(0, &mut self.outbox));
            }
        }
        Ok(())
    }
}

const IN_FLIGHT: u32 = 64;
/// How many times the reference's rate we want to reach.
const RATE: f64 = 1.5;
