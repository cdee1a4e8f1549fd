//! `bearerd health`

use std::path::PathBuf;

use bearerd_client::{
    Channel,
    pb::{
        health::{HealthCheckRequest, health_check_response::ServingStatus},
        v1,
    },
};
use serde_json::json;
use tonic::{Code, Response};

use super::{Exit, Outcome, Trouble, args, output, socket, table};
use crate::server::health::READINESS;

/// Prints one line: what is asked for and whether it is well. Exit code 69 if it is not.
pub(super) async fn health(named: Option<PathBuf>, args: args::HealthArgs) -> Outcome {
    let service = args.client.as_ref().map_or_else(|| READINESS.to_owned(), |client| format!("clients/{client}"));
    let channel = socket::connect(named).await?;
    let Some(healthy) = serving(channel.clone(), &service).await? else {
        let name = args.client.unwrap_or_default();
        return Err(Trouble::new(Exit::Configuration, format!("no client `{name}` is configured")));
    };
    if args.json {
        output::json(&json!({ "service": service, "healthy": healthy }))?;
    } else if healthy {
        output::line(&well(args.client.as_deref()))?;
    } else {
        let failing = match args.client {
            Some(client) => vec![client],
            None => failing(channel).await,
        };
        output::line(&ill(&failing))?;
    }
    if healthy { Ok(()) } else { Err(Trouble::new(Exit::Unavailable, "")) }
}

/// Whether a service is well; `None` if there is none of that name.
async fn serving(channel: Channel, service: &str) -> Result<Option<bool>, Trouble> {
    let mut health = channel.health();
    let request = HealthCheckRequest { service: service.to_owned() };
    let checked = async {
        match health.check(request).await {
            Err(status) if status.code() == Code::NotFound => Ok(Response::new(None)),
            checked => checked.map(|response| Response::new(Some(response.into_inner()))),
        }
    };
    let response = socket::answer(socket::PROMPT, checked).await?;
    Ok(response.map(|response| response.status() == ServingStatus::Serving))
}

/// The required clients that have no usable token, as far as this user may see them.
async fn failing(channel: Channel) -> Vec<String> {
    let mut broker = channel.broker();
    let listed = socket::answer(socket::PROMPT, broker.list_clients(v1::ListClientsRequest {})).await;
    // That something is wrong is known; who it is cannot always be told.
    let clients = listed.map(|listed| listed.clients).unwrap_or_default();
    let at_fault = clients.into_iter().filter(|client| client.required && table::lacks_a_token(client.state()));
    at_fault.map(|client| client.name).collect()
}

fn well(client: Option<&str>) -> String {
    match client {
        None => "ok: every required client has a usable token or is idle".to_owned(),
        Some(client) => format!("ok: client `{client}` has a usable token"),
    }
}

fn ill(failing: &[String]) -> String {
    let named: Vec<String> = failing.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    let more = failing.len() - named.len();
    let who = match (named.len(), more) {
        (0, _) => "a required client has".to_owned(),
        (1, _) => format!("client {} has", named.concat()),
        (_, 0) => format!("clients {} have", named.join(", ")),
        _ => format!("clients {} and {more} more have", named.join(", ")),
    };
    format!("not ok: {who} no usable token; see `bearerd status`")
}

/// So many are named on one line.
const NAMED: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ones_at_fault_are_named() {
        for (names, expected) in [
            (&[][..], "not ok: a required client has no usable token; see `bearerd status`"),
            (&["a"], "not ok: client `a` has no usable token; see `bearerd status`"),
            (&["a", "b"], "not ok: clients `a`, `b` have no usable token; see `bearerd status`"),
            (
                &["a", "b", "c", "d", "e"],
                "not ok: clients `a`, `b`, `c` and 2 more have no usable token; see `bearerd status`",
            ),
        ] {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            assert_eq!(ill(&names), expected);
        }
    }
}
