//! `bearerd check`

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Exit, Outcome, Trouble, args, output, run};
use crate::{
    clock::SystemClock,
    config::{self, ClientSettings, Config, Problems},
    oauth::{Endpoint, Transports},
    token::{ClientName, Failure, Issued, TokenSource as _},
};

/// Names every problem of the configuration; online, tries every client once.
pub(super) async fn check(args: args::CheckArgs) -> Outcome {
    let sources = run::sources(args.config);
    let config = match config::load(&sources) {
        Ok(config) => config,
        Err(problems) => return refuse(&problems, args.json),
    };
    if args.online {
        return online(&config, args.json).await;
    }
    let files: Vec<_> = config.files.iter().map(|file| file.display().to_string()).collect();
    if args.json {
        return output::json(&json!({ "problems": [], "clients": config.clients.len(), "files": files }));
    }
    output::line(&format!("{}: {}", files.join(", "), good(config.clients.len())))
}

fn good(clients: usize) -> String {
    if clients == 1 { "good, 1 client".to_owned() } else { format!("good, {clients} clients") }
}

fn refuse(problems: &Problems, as_json: bool) -> Outcome {
    if !as_json {
        return Err(Trouble::new(Exit::Configuration, run::refused(problems)));
    }
    let problems: Vec<_> = problems
        .as_slice()
        .iter()
        .map(|problem| {
            json!({
                "file": *problem.file,
                "path": *problem.path,
                "message": *problem.message,
                "remedy": *problem.remedy,
            })
        })
        .collect();
    output::json(&json!({ "problems": problems }))?;
    Err(Trouble::new(Exit::Configuration, ""))
}

/// One real token request for each client. Prints what came of it, never the token.
async fn online(config: &Config, as_json: bool) -> Outcome {
    let transports = Transports::default();
    let mut failed = 0;
    let mut all = Vec::new();
    for (name, settings) in &config.clients {
        let outcome = attempt(settings, &transports).await;
        let outcome = outcome.and_then(|issued| Ok((judged(settings, &issued)?, issued)));
        failed += usize::from(outcome.is_err());
        if as_json {
            all.push(as_value(name, &outcome));
        } else {
            output::print(in_words(name, &outcome).as_bytes())?;
        }
    }
    if as_json {
        output::json(&json!({ "clients": all }))?;
    }
    if failed == 0 {
        return Ok(());
    }
    let text = format!("{failed} of {} clients got no token", config.clients.len());
    Err(Trouble::new(Exit::Unavailable, if as_json { String::new() } else { text }))
}

async fn attempt(settings: &ClientSettings, transports: &Transports) -> Result<Issued, Failure> {
    let http = transports
        .client(&settings.endpoint.transport)
        .map_err(|error| Failure::new(crate::token::FailureKind::Misconfigured, error.to_string()))?;
    Endpoint::new(Arc::clone(&settings.endpoint), http, Arc::new(SystemClock)).fetch().await
}

/// The lifetime in words, and everything odd with the key to set.
fn judged(settings: &ClientSettings, issued: &Issued) -> Result<(String, Vec<String>), Failure> {
    let life = settings.refresh.lifetime_of(issued)?;
    let odd = issued.oddities.iter().map(ToString::to_string).chain(life.warning.map(String::from)).collect();
    Ok((output::span(life.length), odd))
}

/// What came of one attempt: the token with its lifetime in words and everything odd about it.
type Tried = Result<((String, Vec<String>), Issued), Failure>;

fn in_words(name: &ClientName, outcome: &Tried) -> String {
    match outcome {
        Err(failure) => format!("{name}: FAILED: {} [{}]\n", failure.text, failure.kind.reason()),
        Ok(((life, odd), issued)) => {
            let mut text = format!("{name}: ok, {} token, valid for {life}\n", issued.token_type);
            text.extend(odd.iter().map(|odd| format!("{name}: odd: {odd}\n")));
            text
        }
    }
}

fn as_value(name: &ClientName, outcome: &Tried) -> Value {
    match outcome {
        Err(failure) => json!({
            "name": name.as_str(),
            "ok": false,
            "reason": failure.kind.reason(),
            "text": *failure.text,
        }),
        Ok(((life, odd), issued)) => json!({
            "name": name.as_str(),
            "ok": true,
            "token_type": issued.token_type,
            "valid_for": life,
            "odd": odd,
        }),
    }
}
