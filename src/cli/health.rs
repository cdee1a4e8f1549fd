//! `bearerd health`

use std::path::PathBuf;

use serde_json::json;
use tonic::Response;

use super::{Exit, Outcome, Trouble, args, output, socket};
use crate::{
    pb::health::{HealthCheckRequest, health_check_response::ServingStatus},
    server::health::READINESS,
};

/// Prints one line: what is asked for and whether it is well. Exit code 69 if it is not.
pub(super) async fn health(named: Option<PathBuf>, args: args::HealthArgs) -> Outcome {
    let (service, well, ill) = match &args.client {
        None => (READINESS.to_owned(), "every required client has".to_owned(), "a required client has".to_owned()),
        Some(client) => {
            (format!("clients/{client}"), format!("client `{client}` has"), format!("client `{client}` has"))
        }
    };
    let mut health = socket::connect(named).await?.health();
    let request = HealthCheckRequest { service: service.clone() };
    let checked = async {
        match health.check(request).await {
            Err(status) if status.code() == tonic::Code::NotFound => Ok(Response::new(None)),
            checked => checked.map(|response| Response::new(Some(response.into_inner()))),
        }
    };
    let Some(response) = socket::answer(socket::PROMPT, checked).await? else {
        let name = args.client.unwrap_or_default();
        return Err(Trouble::new(Exit::Configuration, format!("no client `{name}` is configured")));
    };
    let healthy = response.status() == ServingStatus::Serving;
    if args.json {
        output::json(&json!({ "service": service, "healthy": healthy }))?;
    } else if healthy {
        output::line(&format!("ok: {well} a usable token"))?;
    } else {
        output::line(&format!("not ok: {ill} no usable token; see `bearerd status`"))?;
    }
    if healthy { Ok(()) } else { Err(Trouble::new(Exit::Unavailable, "")) }
}
