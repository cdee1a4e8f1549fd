//! `bearerd refresh` and `bearerd reload`

use std::{path::PathBuf, time::Duration};

use bearerd_client::pb::v1;
use serde_json::json;
use tonic::Request;

use super::{Exit, Outcome, Trouble, args, output, progress, socket};

/// Orders a token request and says what came of it.
pub(super) async fn refresh(named: Option<PathBuf>, args: args::RefreshArgs) -> Outcome {
    let mut request = Request::new(v1::RefreshClientRequest { client: args.client.clone() });
    request.set_timeout(args.timeout);
    let mut admin = socket::connect(named).await?.admin();
    let asked = socket::answer(args.timeout, admin.refresh_client(request));
    let response = progress::waiting(&format!("the issuer of `{}`", args.client), asked).await?;
    let status = response.status.unwrap_or_default();
    if args.json {
        output::json(&json!({ "renewed": response.renewed, "status": crate::json::client_status(&status) }))?;
    } else if response.renewed {
        output::line(&format!("{}: renewed, token {}", args.client, status.token_id))?;
    }
    if response.renewed {
        return Ok(());
    }
    let failure = status.last_failure.unwrap_or_default();
    let exit = match failure.reason.as_str() {
        "CREDENTIALS_REFUSED" | "SECRET_UNREADABLE" => Exit::Unavailable,
        _ => Exit::TryAgain,
    };
    Err(Trouble::new(exit, format!("{}: not renewed: {} [{}]", args.client, failure.text, failure.reason)))
}

/// Has the configuration read again and says what changed.
pub(super) async fn reload(named: Option<PathBuf>, args: args::ReloadArgs) -> Outcome {
    let mut admin = socket::connect(named).await?.admin();
    let asked = socket::answer(RELOADING, admin.reload(v1::ReloadRequest {}));
    let response = progress::waiting("the daemon to read its configuration", asked).await?;
    if args.json {
        output::json(&as_json(&response))?;
    } else if response.applied {
        output::line(&summary(&response))?;
        for note in &response.notes {
            output::line(&format!("note: {note}"))?;
        }
    }
    if response.applied {
        return Ok(());
    }
    let lines: Vec<_> = response.problems.iter().map(problem).collect();
    let noun = if lines.len() == 1 { "problem" } else { "problems" };
    let text = format!("nothing was changed; the configuration has {} {noun}:\n{}", lines.len(), lines.join("\n"));
    Err(Trouble::new(Exit::Configuration, if args.json { String::new() } else { text }))
}

fn summary(response: &v1::ReloadResponse) -> String {
    let named = |what: &str, names: &[String]| match names {
        [] => None,
        names => Some(format!("{what} {}", names.join(", "))),
    };
    let parts: Vec<_> =
        [named("added", &response.added), named("changed", &response.changed), named("removed", &response.removed)]
            .into_iter()
            .flatten()
            .chain([format!("{} unchanged", response.unchanged)])
            .collect();
    format!("reloaded: {}", parts.join("; "))
}

fn problem(problem: &v1::ConfigProblem) -> String {
    let v1::ConfigProblem { file, path, message, remedy } = problem;
    if path.is_empty() {
        format!("{file}: {message}; {remedy}")
    } else {
        format!("{file}: {path}: {message}; {remedy}")
    }
}

fn as_json(response: &v1::ReloadResponse) -> serde_json::Value {
    let problems: Vec<_> = response
        .problems
        .iter()
        .map(|problem| {
            json!({
                "file": problem.file,
                "path": problem.path,
                "message": problem.message,
                "remedy": problem.remedy,
            })
        })
        .collect();
    json!({
        "applied": response.applied,
        "problems": problems,
        "added": response.added,
        "changed": response.changed,
        "removed": response.removed,
        "unchanged": response.unchanged,
        "notes": response.notes,
    })
}

/// Reading a very large configuration takes seconds.
const RELOADING: Duration = Duration::from_secs(120);
