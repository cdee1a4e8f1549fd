//! A daemon that says what the test wants.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tonic::Code;

use crate::{
    Broker, Error, clock,
    daemon::{Daemon, States},
    pb::v1::{self, watch_token_response::State},
    reason,
};

/// See the module.
pub(crate) struct Fake {
    script: Mutex<Script>,
    /// Calls wait until it is open.
    gate: watch::Sender<bool>,
}

#[derive(Default)]
struct Script {
    /// What becomes of an attempt to follow a client: an error, or else a stream.
    refusal: Option<Error>,
    /// What a stream says first; it says nothing without.
    state: Option<State>,
    streams: Vec<mpsc::Sender<Result<State, Error>>>,
    answer: Option<Result<v1::GetTokenResponse, Error>>,
    attempts: Vec<Instant>,
    asked: Vec<(v1::GetTokenRequest, Duration)>,
    proofs: Vec<v1::SignProofRequest>,
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { script: Mutex::default(), gate: watch::Sender::new(true) })
    }

    /// One that has this token of `demo`.
    pub(crate) fn with(id: &str, life: u64) -> Arc<Self> {
        let fake = Self::new();
        fake.say(State::Token(token(id, life)));
        fake
    }

    pub(crate) fn broker(self: &Arc<Self>) -> Broker {
        Broker::with(Arc::clone(self) as Arc<dyn Daemon>, Duration::from_secs(10))
    }

    /// What streams say, now and as their first message.
    pub(crate) fn say(&self, state: State) {
        let mut script = self.script();
        for stream in &script.streams {
            let _ = stream.try_send(Ok(state.clone()));
        }
        script.state = Some(state);
        script.refusal = None;
    }

    /// Says that there is no token.
    pub(crate) fn say_unavailable(&self, code: Code, reason: &str, next_attempt_in: Option<Duration>) {
        self.say(State::Unavailable(v1::Unavailable {
            code: code.into(),
            reason: reason.to_owned(),
            message: "as scripted".to_owned(),
            next_attempt_at: next_attempt_in.map(|wait| (clock::now() + wait).into()),
        }));
    }

    /// Ends all streams, and answers so to all who want to follow from now on.
    pub(crate) fn refuse(&self, reason: &'static str, code: Code) {
        let mut script = self.script();
        let error = Error::new(reason, code, "as scripted");
        for stream in std::mem::take(&mut script.streams) {
            let _ = stream.try_send(Err(error.clone()));
        }
        script.refusal = Some(error);
    }

    pub(crate) fn go_away(&self) {
        self.refuse(reason::DAEMON_UNREACHABLE, Code::Unavailable);
    }

    /// What GetToken answers.
    pub(crate) fn answer(&self, token: v1::Token, rejection: v1::Rejection) {
        self.script().answer = Some(Ok(v1::GetTokenResponse { token: Some(token), rejection: rejection.into() }));
    }

    /// The same where it fails.
    pub(crate) fn answer_with(&self, error: Error) {
        self.script().answer = Some(Err(error));
    }

    /// Lets calls wait, or lets them through.
    pub(crate) fn open(&self, open: bool) {
        self.gate.send_replace(open);
    }

    /// When somebody wanted to follow.
    pub(crate) fn attempts(&self) -> Vec<Instant> {
        self.script().attempts.clone()
    }

    /// What was asked, and how long the answer was to be waited for.
    pub(crate) fn asked(&self) -> Vec<(v1::GetTokenRequest, Duration)> {
        self.script().asked.clone()
    }

    /// The nonces of the proofs that were asked for.
    #[cfg(feature = "reqwest")]
    pub(crate) fn nonces(&self) -> Vec<String> {
        self.script().proofs.iter().map(|request| request.nonce.clone()).collect()
    }

    /// Returns when nobody follows any more.
    pub(crate) async fn deserted(&self) {
        let streams = self.script().streams.clone();
        for stream in streams {
            stream.closed().await;
        }
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }
}

#[tonic::async_trait]
impl Daemon for Fake {
    async fn watch(&self, _: &str) -> Result<Box<dyn States>, Error> {
        let mut script = self.script();
        script.attempts.push(Instant::now());
        if let Some(error) = &script.refusal {
            return Err(error.clone());
        }
        let (send, received) = mpsc::channel(16);
        if let Some(state) = script.state.clone() {
            send.try_send(Ok(state)).unwrap();
        }
        script.streams.push(send);
        Ok(Box::new(received))
    }

    async fn get_token(&self, request: v1::GetTokenRequest, patience: Duration) -> Result<v1::GetTokenResponse, Error> {
        self.script().asked.push((request, patience));
        self.gate.subscribe().wait_for(|open| *open).await.unwrap();
        self.script().answer.clone().unwrap_or_else(|| Err(Error::nonsense("the test has no answer")))
    }

    async fn sign_proof(&self, request: v1::SignProofRequest, _: Duration) -> Result<v1::SignProofResponse, Error> {
        let mut script = self.script();
        let token = match &script.state {
            Some(State::Token(token)) => Some(token.clone()),
            _ => None,
        };
        let proof = format!("proof of {} {}", request.method, request.url);
        script.proofs.push(request);
        Ok(v1::SignProofResponse { token, proof })
    }

    fn silent(&self) -> Error {
        Error::new(reason::DAEMON_UNREACHABLE, Code::Unavailable, "as scripted: no answer")
    }

    async fn close(&self) {}
}

#[tonic::async_trait]
impl States for mpsc::Receiver<Result<State, Error>> {
    async fn next(&mut self) -> Result<State, Error> {
        self.recv().await.unwrap_or_else(|| Err(Error::nonsense("the test has ended the stream")))
    }
}

/// A token of `demo` that was issued now and lives so many seconds.
pub(crate) fn token(id: &str, life: u64) -> v1::Token {
    let now = clock::now();
    let stamp = |time: SystemTime| Some(prost_types::Timestamp::from(time));
    v1::Token {
        client: "demo".to_owned(),
        access_token: format!("secret-{id}"),
        token_type: "Bearer".to_owned(),
        authorization: format!("Bearer secret-{id}"),
        id: id.to_owned(),
        issued_at: stamp(now),
        expires_at: stamp(now + Duration::from_secs(life)),
        ..v1::Token::default()
    }
}
