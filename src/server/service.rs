//! From a request's path to the service that answers it, on one connection.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::{Status, body::Body};
use tower_service::Service as _;

use super::{limits::Turn, reply::Refusal, session::Session};
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

    /// Counts a call for as long as it is being answered. A stream lives longer and counts itself.
    fn admit(&self, path: &str) -> Result<Option<Turn>, Refusal> {
        self.session.admit()?;
        if STREAMS.contains(&path) { Ok(None) } else { self.session.turn().map(Some) }
    }

    fn route(&self, request: Request<Incoming>) -> Answering {
        let path = request.uri().path();
        let service = path.strip_prefix('/').and_then(|path| path.split_once('/')).map_or("", |(service, _)| service);
        match service {
            "bearerd.v1.TokenBroker" => TokenBrokerServer::from_arc(Arc::clone(&self.session))
                .max_decoding_message_size(LARGEST_REQUEST)
                .call(request),
            "bearerd.v1.Admin" => AdminServer::from_arc(Arc::clone(&self.session))
                .max_decoding_message_size(LARGEST_REQUEST)
                .call(request),
            "grpc.health.v1.Health" => HealthServer::from_arc(Arc::clone(&self.session))
                .max_decoding_message_size(LARGEST_REQUEST)
                .call(request),
            "grpc.reflection.v1.ServerReflection" => (self.reflection.v1)(request),
            "grpc.reflection.v1alpha.ServerReflection" => (self.reflection.v1alpha)(request),
            _ => {
                let status = Status::unimplemented("no such service; grpc.reflection lists those there are");
                Box::pin(async move { Ok(status.into_http()) })
            }
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Call;

    fn call(&self, request: Request<Incoming>) -> Call {
        match self.admit(request.uri().path()) {
            Ok(turn) => Call { answering: self.route(request), _turn: turn },
            Err(refusal) => {
                let status = Status::from(refusal);
                Call { answering: Box::pin(async move { Ok(status.into_http()) }), _turn: None }
            }
        }
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// A call being answered; counted while it is.
pub struct Call {
    answering: Answering,
    _turn: Option<Turn>,
}

impl Future for Call {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.answering.as_mut().poll(cx)
    }
}

/// `grpc.reflection` in both versions that clients use.
pub struct Reflection {
    v1: Answerer,
    v1alpha: Answerer,
}

/// The reflection crate does not name its service types.
type Answerer = Box<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>;

impl Reflection {
    /// Prepares the answers.
    ///
    /// # Errors
    /// The descriptors that were compiled in are unusable, which a test would have shown.
    pub fn build() -> Result<Self, tonic_reflection::server::Error> {
        let v1 = described().build_v1()?;
        let v1alpha = described().build_v1alpha()?;
        Ok(Self {
            v1: Box::new(move |request| v1.clone().call(request)),
            v1alpha: Box::new(move |request| v1alpha.clone().call(request)),
        })
    }
}

fn described() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
        .register_encoded_file_descriptor_set(pb::health::FILE_DESCRIPTOR_SET)
}

/// Calls whose answers go on.
const STREAMS: [&str; 2] = ["/bearerd.v1.TokenBroker/WatchToken", "/grpc.health.v1.Health/Watch"];
/// Requests hold a name, an id and a duration.
const LARGEST_REQUEST: usize = 16 * 1024;
