//! `grpc.health.v1`: the process, readiness, and each client.
//!
//! | service | SERVING when |
//! |---|---|
//! | `""` | the process serves |
//! | `bearerd.v1.TokenBroker` | every `required` client has a usable token, or is idle because nobody asks |
//! | `clients/NAME` | that client has a usable token |

use std::{pin::Pin, sync::Arc};

use futures_util::stream::{Stream, unfold};
use tonic::{Request, Response, Status};

use super::session::{Session, Shared};
use crate::{
    lifecycle::Lifecycle,
    pb::health::{
        HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
    },
};

#[tonic::async_trait]
impl Health for Session {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match serving(&self.shared, &service) {
            Some(status) => Ok(Response::new(HealthCheckResponse { status: status.into() })),
            None => Err(Status::not_found(
                "no such service; known are \"\", \"bearerd.v1.TokenBroker\" and \"clients/NAME\"",
            )),
        }
    }

    type WatchStream = HealthStream;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let watcher = Watcher { service: request.into_inner().service, shared: Arc::clone(&self.shared), told: None };
        let stream = unfold(watcher, |mut watcher| async {
            let status = watcher.next().await?;
            Some((Ok(HealthCheckResponse { status: status.into() }), watcher))
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

/// A stream of states of one service.
pub type HealthStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

struct Watcher {
    service: String,
    shared: Arc<Shared>,
    told: Option<ServingStatus>,
}

impl Watcher {
    /// Waits until the status is another one than was told. `None` after the last one: the daemon is draining.
    async fn next(&mut self) -> Option<ServingStatus> {
        let mut pulses = self.shared.registry.pulses();
        let mut phase = self.shared.phase.clone();
        loop {
            pulses.mark_unchanged();
            let status = serving(&self.shared, &self.service).unwrap_or(ServingStatus::ServiceUnknown);
            if self.told != Some(status) {
                self.told = Some(status);
                return Some(status);
            }
            if *phase.borrow() >= Lifecycle::Draining {
                return None;
            }
            tokio::select! {
                () = super::drained(&mut phase) => {}
                // The registry outlives the connections; an error would only mean that nothing changes any more.
                _ = pulses.changed() => {}
            }
        }
    }
}

/// The state of a service; `None` if there is no such service.
pub(super) fn serving(shared: &Shared, service: &str) -> Option<ServingStatus> {
    let healthy = match service {
        "" => true,
        READINESS => shared.registry.ready(),
        other => {
            let name = other.strip_prefix("clients/")?;
            shared.registry.entries().get(name)?.state().usable()
        }
    };
    let draining = *shared.phase.borrow() >= Lifecycle::Draining;
    Some(if healthy && !draining { ServingStatus::Serving } else { ServingStatus::NotServing })
}

/// The service whose health is readiness.
pub const READINESS: &str = "bearerd.v1.TokenBroker";
