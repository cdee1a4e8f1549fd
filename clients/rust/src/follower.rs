//! One client as all its readers share it: reads, reports and proofs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    Error, Proof, Rejection, Report, Token,
    daemon::Daemon,
    judgement::Verdict,
    memory::{Memory, Withheld},
    pb::v1,
    tasks::Tasks,
    watcher::Watcher,
};

/// One client.
pub(crate) struct Follower {
    pub(crate) client: String,
    pub(crate) memory: Arc<Memory>,
    /// How long calls wait when nobody says.
    pub(crate) patience: Duration,
    daemon: Arc<dyn Daemon>,
    tasks: Arc<Tasks>,
    /// GetToken calls under way. Held for a look-up only, never while waiting.
    calls: Mutex<HashMap<Question, watch::Receiver<Option<Answer>>>>,
}

/// What is asked; whoever asks the same at the same time shares the answer.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Question {
    min_validity: Duration,
    rejected: Option<String>,
    patience: Duration,
}

type Answer = Result<Report, Error>;

impl Follower {
    pub(crate) fn new(client: String, daemon: Arc<dyn Daemon>, patience: Duration, tasks: Arc<Tasks>) -> Self {
        let memory = Arc::new(Memory::new());
        Self { client, memory, patience, daemon, tasks, calls: Mutex::default() }
    }

    /// A token that is good for this long, waited for no longer than `patience`.
    pub(crate) async fn read(self: &Arc<Self>, min_validity: Duration, patience: Duration) -> Result<Token, Error> {
        let reading = async {
            let mut changes = self.memory.changes();
            loop {
                self.follow();
                changes.mark_unchanged();
                match self.memory.judge(min_validity) {
                    Verdict::Serve(token) => return Ok(token),
                    Verdict::Refuse(error) => return Err(error),
                    Verdict::Ask => {
                        let question = Question { min_validity, rejected: None, patience };
                        return self.ask(question).await.map(|report| report.token);
                    }
                    Verdict::Hurry => self.memory.hurry.notify_one(),
                    Verdict::Wait => {}
                }
                // Its sender is in the memory.
                let _ = changes.changed().await;
            }
        };
        timeout(patience, reading).await.unwrap_or_else(|_| Err(self.out_of_time(patience)))
    }

    /// What becomes of a token that an API has refused.
    pub(crate) async fn report(self: &Arc<Self>, id: &str) -> Result<Report, Error> {
        let another = || self.memory.usable().filter(|token| token.id() != id);
        let reached = self.reached(|| another().is_some());
        timeout(self.patience, reached).await.unwrap_or_else(|_| Err(self.daemon.silent()))?;
        if let Some(token) = another() {
            return Ok(Report { token, rejection: Rejection::AlreadyReplaced });
        }
        let question =
            Question { min_validity: Duration::ZERO, rejected: Some(id.to_owned()), patience: self.patience };
        self.ask(question).await
    }

    /// A proof for one call of an API.
    pub(crate) async fn sign_proof(self: &Arc<Self>, request: v1::SignProofRequest) -> Result<Proof, Error> {
        let end = Instant::now() + self.patience;
        timeout_at(end, self.reached(|| false)).await.unwrap_or_else(|_| Err(self.daemon.silent()))?;
        let signed = tokio::select! {
            biased;
            () = self.memory.closed() => return Err(Error::closed()),
            signed = self.daemon.sign_proof(request, end.duration_since(Instant::now())) => signed?,
        };
        let token = signed.token.ok_or_else(|| Error::nonsense("a proof without its token"))?;
        let token = Token::read(token)?;
        self.memory.keep(&token);
        Proof::new(token, signed.proof)
    }

    /// Has the client followed, if nobody does yet.
    fn follow(&self) {
        if self.memory.falls_to_me() {
            let watcher = Watcher {
                client: self.client.clone(),
                memory: Arc::clone(&self.memory),
                daemon: Arc::clone(&self.daemon),
            };
            self.tasks.spawn(watcher.run());
        }
    }

    /// Returns when the daemon can be asked, or when that is not necessary any more.
    async fn reached(&self, unnecessary: impl Fn() -> bool) -> Result<(), Error> {
        let mut changes = self.memory.changes();
        loop {
            self.follow();
            changes.mark_unchanged();
            if unnecessary() {
                return Ok(());
            }
            match self.memory.reach() {
                Verdict::Serve(_) | Verdict::Ask => return Ok(()),
                Verdict::Refuse(error) => return Err(error),
                Verdict::Hurry => self.memory.hurry.notify_one(),
                Verdict::Wait => {}
            }
            let _ = changes.changed().await;
        }
    }

    /// The answer to a question, from the call that is under way if there is one.
    async fn ask(self: &Arc<Self>, question: Question) -> Answer {
        loop {
            let mut told = self.call(&question);
            let answer = told.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
            if let Some(answer) = answer {
                return answer;
            }
            // The runtime that made the call has ended meanwhile.
        }
    }

    /// Makes a call, or joins the one under way. It goes on when nobody waits for it any more.
    fn call(self: &Arc<Self>, question: &Question) -> watch::Receiver<Option<Answer>> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = calls.get(question) {
            return told.clone();
        }
        let (tell, told) = watch::channel(None);
        calls.insert(question.clone(), told.clone());
        let call = Call {
            _withheld: question.rejected.as_deref().map(|id| self.memory.withhold(id)),
            follower: Arc::clone(self),
            question: question.clone(),
        };
        // A runtime that shuts down drops the call at once, which takes the lock.
        drop(calls);
        self.tasks.spawn(async move {
            let answer = call.make().await;
            drop(call);
            tell.send_replace(Some(answer));
        });
        told
    }

    /// What to say to a reader who has waited as long as it wanted.
    fn out_of_time(&self, patience: Duration) -> Error {
        if self.memory.stands() { Error::pending(&self.client, patience) } else { self.daemon.silent() }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.memory.close();
    }
}

/// A call under way. It is out of the list of those when it is dropped.
struct Call {
    follower: Arc<Follower>,
    question: Question,
    _withheld: Option<Withheld>,
}

impl Call {
    async fn make(&self) -> Answer {
        let Question { min_validity, rejected, patience } = &self.question;
        let request = v1::GetTokenRequest {
            client: self.follower.client.clone(),
            min_validity: (!min_validity.is_zero()).then(|| whole(*min_validity)),
            rejected_token_id: rejected.clone().unwrap_or_default(),
        };
        let response = tokio::select! {
            biased;
            () = self.follower.memory.closed() => return Err(Error::closed()),
            response = self.follower.daemon.get_token(request, *patience) => response?,
        };
        let rejection = Rejection::of(response.rejection());
        let token = response.token.ok_or_else(|| Error::nonsense("no token"))?;
        let token = Token::read(token)?;
        self.follower.memory.keep(&token);
        Ok(Report { token, rejection })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.follower.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.question);
    }
}

/// The longest that the protocol can say is long enough to be refused.
fn whole(span: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(span).unwrap_or(prost_types::Duration { seconds: i64::MAX, nanos: 0 })
}
