//! From a request's path to the service that answers it, on one connection.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::{Code, Status, body::Body};
use tower_service::Service as _;

use super::{
    body::{Answer, PREFIX, ReplyBody, RequestBody},
    get_token,
    reply::Refusal,
    session::{Session, Turn},
};
use crate::pb::{
    self,
    health::health_server::HealthServer,
    v1::{admin_server::AdminServer, token_broker_server::TokenBrokerServer},
};

/// All services as one connection sees them. Everything is shared; making one costs two reference counts.
pub struct Services {
    session: Arc<Session>,
    reflection: Arc<Reflection>,
}

impl Services {
    pub(super) fn new(session: Arc<Session>, reflection: Arc<Reflection>) -> Self {
        Self { session, reflection }
    }

    fn admit(&self, kind: Kind) -> Result<Turn, Refusal> {
        if kind == Kind::Probe { Ok(self.session.admit_probe()) } else { self.session.admit() }
    }

    fn sized(&self, request: Request<Incoming>, room: usize) -> Request<RequestBody> {
        request.map(|body| RequestBody::new(body, room, Arc::clone(&self.session)))
    }

    fn route(&self, kind: Kind, request: Request<Incoming>) -> Answering {
        if kind == Kind::GetToken {
            let request = self.sized(request, LARGEST_REQUEST + PREFIX);
            return Answering::Own(Box::pin(get_token::answer(Arc::clone(&self.session), request)));
        }
        let path = request.uri().path();
        let room = if path.starts_with(REFLECTION) { LARGEST_DIALOGUE } else { LARGEST_REQUEST + PREFIX };
        let service = path.strip_prefix('/').and_then(|path| path.split_once('/')).map_or("", |(service, _)| service);
        let own = || Arc::clone(&self.session);
        match service {
            "bearerd.v1.TokenBroker" => served(TokenBrokerServer::from_arc(own()).call(self.sized(request, room))),
            "bearerd.v1.Admin" => served(AdminServer::from_arc(own()).call(self.sized(request, room))),
            "grpc.health.v1.Health" => served(HealthServer::from_arc(own()).call(self.sized(request, room))),
            "grpc.reflection.v1.ServerReflection" => described_by(&self.reflection.v1, self.sized(request, room)),
            "grpc.reflection.v1alpha.ServerReflection" => {
                described_by(&self.reflection.v1alpha, self.sized(request, room))
            }
            _ => refused(Status::unimplemented("no such service; grpc.reflection lists those there are")),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Services {
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = Call;

    fn call(&self, request: Request<Incoming>) -> Call {
        let kind = Kind::of(request.uri().path());
        match self.admit(kind) {
            Ok(turn) => Call { answering: self.route(kind, request), turn: Some(turn), kind },
            Err(refusal) => Call { answering: refused(refusal.into()), turn: None, kind },
        }
    }
}

/// What is different about a call before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The call with a way of its own.
    GetToken,
    /// Any other call with one answer.
    Other,
    /// A health check, which nothing keeps out.
    Probe,
    /// A call whose answers go on.
    Stream,
}

impl Kind {
    /// By the path of the request; the most frequent one first.
    fn of(path: &str) -> Self {
        match path {
            "/bearerd.v1.TokenBroker/GetToken" => Self::GetToken,
            "/grpc.health.v1.Health/Check" => Self::Probe,
            "/bearerd.v1.TokenBroker/WatchToken" | "/grpc.health.v1.Health/Watch" => Self::Stream,
            path if path.starts_with(REFLECTION) => Self::Stream,
            _ => Self::Other,
        }
    }
}

fn served(answering: ServiceFuture) -> Answering {
    Answering::Service(answering)
}

fn refused(status: Status) -> Answering {
    Answering::Refused(Some(status))
}

type ServiceFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// A call being answered by one of those that can.
enum Answering {
    Own(Pin<Box<dyn Future<Output = Response<Answer>> + Send>>),
    Refused(Option<Status>),
    Service(ServiceFuture),
}

/// A call being answered; counted while it is, and until the peer has taken the answer.
pub struct Call {
    answering: Answering,
    turn: Option<Turn>,
    kind: Kind,
}

impl Future for Call {
    type Output = Result<Response<ReplyBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let response = match &mut this.answering {
            Answering::Own(answering) => ready!(answering.as_mut().poll(cx)),
            Answering::Refused(status) => {
                let status = status.take().unwrap_or_else(|| Status::internal("answered twice"));
                status.into_http().map(Answer::Service)
            }
            Answering::Service(answering) => {
                let Ok(response) = ready!(answering.as_mut().poll(cx));
                explained(response).map(Answer::Service)
            }
        };
        let mut turn = this.turn.take();
        // Only an answer that ends can be left lying.
        if this.kind != Kind::Stream
            && let Some(turn) = &mut turn
        {
            turn.owe();
        }
        Poll::Ready(Ok(response.map(|answer| ReplyBody::new(answer, turn))))
    }
}

/// What the generated code says of a message that it cannot read is INTERNAL, without details. It is the caller's
/// mistake, and errors here have a reason.
fn explained(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    let unreadable =
        headers.get(Status::GRPC_STATUS).is_some_and(|code| Code::from_bytes(code.as_bytes()) == Code::Internal);
    if !unreadable || headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return response;
    }
    let text = "the request is not the one message that this call has; is it of the right type?";
    Status::from(Refusal::Invalid(text.into())).into_http()
}

/// `grpc.reflection` in both versions that clients use. Prepared when somebody asks: hardly anybody does, and it takes
/// milliseconds, which is half of the start.
pub struct Reflection {
    v1: LazyLock<Option<Answerer>>,
    v1alpha: LazyLock<Option<Answerer>>,
}

/// The reflection crate does not name its service types.
type Answerer = Box<dyn Fn(Request<RequestBody>) -> ServiceFuture + Send + Sync>;

impl Default for Reflection {
    fn default() -> Self {
        Self {
            v1: LazyLock::new(|| {
                let service = described().build_v1().ok()?.max_decoding_message_size(LARGEST_REQUEST);
                Some(Box::new(move |request| service.clone().call(request)))
            }),
            v1alpha: LazyLock::new(|| {
                let service = described().build_v1alpha().ok()?.max_decoding_message_size(LARGEST_REQUEST);
                Some(Box::new(move |request| service.clone().call(request)))
            }),
        }
    }
}

/// The answer of one version. That the descriptors which were compiled in are unusable is something that a test shows.
fn described_by(version: &LazyLock<Option<Answerer>>, request: Request<RequestBody>) -> Answering {
    match &**version {
        Some(answer) => served(answer(request)),
        None => refused(Status::internal("the descriptors for reflection are unusable")),
    }
}

fn described() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
        .register_encoded_file_descriptor_set(pb::health::FILE_DESCRIPTOR_SET)
        // So that whoever asks here for the types of error details can show them.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

/// How the paths of both versions of reflection begin.
const REFLECTION: &str = "/grpc.reflection.";
/// Requests hold a name, an id and a duration.
const LARGEST_REQUEST: usize = 16 * 1024;
/// All that one reflection stream may ask: a few hundred questions.
const LARGEST_DIALOGUE: usize = 64 * 1024;
