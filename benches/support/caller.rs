//! Callers that make one call after the other, with the least work a caller can do: one write, then reads.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Outcome,
    wire::{Conversation, Expected, Script},
};

/// Something that can be asked again and again.
pub(crate) trait Ask {
    /// Makes one call and waits for its checked answer.
    fn ask(&mut self) -> Outcome<()>;
}

/// A gRPC caller on one connection.
pub(crate) struct Caller {
    stream: UnixStream,
    conversation: Conversation,
    inbox: Vec<u8>,
    filled: usize,
    outbox: Vec<u8>,
    /// The client whose token is asked for is drawn from so many.
    clients: u32,
    random: fastrand::Rng,
}

impl Caller {
    pub(crate) fn connect(socket: &Path, script: &Arc<Script>, expected: Expected, clients: u32) -> Outcome<Self> {
        Self::over(UnixStream::connect(socket)?, script, expected, clients)
    }

    pub(crate) fn over(stream: UnixStream, script: &Arc<Script>, expected: Expected, clients: u32) -> Outcome<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut outbox = Vec::with_capacity(4_096);
        let conversation = Conversation::begin(script, expected, &mut outbox);
        let random = fastrand::Rng::with_seed(1);
        Ok(Self { stream, conversation, inbox: vec![0; 64 * 1024], filled: 0, outbox, clients, random })
    }

    /// Makes one call and returns the message it brought, whatever its length.
    pub(crate) fn fetch(socket: &Path, script: &Arc<Script>) -> Outcome<Vec<u8>> {
        let any = Expected { length: 0, give_or_take: usize::MAX };
        let mut caller = Self::connect(socket, script, any, 1)?;
        caller.conversation.kept = Some(Vec::new());
        caller.ask()?;
        let kept = caller.conversation.kept.take().unwrap_or_default();
        Ok(kept.get(super::wire::MESSAGE_PREFIX..).unwrap_or_default().to_vec())
    }
}

impl Ask for Caller {
    fn ask(&mut self) -> Outcome<()> {
        let client = if self.clients > 1 { self.random.u32(..self.clients) } else { 0 };
        self.conversation.ask(client, &mut self.outbox);
        self.stream.write_all(&self.outbox)?;
        self.outbox.clear();
        loop {
            let read = self.stream.read(&mut self.inbox[self.filled..])?;
            if read == 0 {
                return Err("the server hung up".into());
            }
            self.filled += read;
            let heard = self.conversation.hear(&self.inbox[..self.filled], &mut self.outbox)?;
            self.inbox.copy_within(heard.consumed..self.filled, 0);
            self.filled -= heard.consumed;
            if heard.replies > 0 {
                return Ok(());
            }
        }
    }
}

/// Makes so many calls and returns how long each took.
pub(crate) fn time(caller: &mut dyn Ask, calls: usize) -> Outcome<Vec<Duration>> {
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let start = Instant::now();
        caller.ask()?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// No call here takes longer, not even under an emulator.
const PATIENCE: Duration = Duration::from_secs(30);
