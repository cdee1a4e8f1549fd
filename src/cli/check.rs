//! `bearerd check`

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use super::{Exit, Outcome, Trouble, args, methods, output, progress, run, supposed};
use crate::{
    clock::SystemClock,
    config::{self, ClientSettings, Config, Problem, Problems},
    oauth::{Endpoint, Transports},
    token::{ClientName, Failure, FailureKind, Issued, TokenSource as _, policy::PER_ISSUER},
};

/// Names every problem of the configuration; online, tries every client once.
pub(super) async fn check(args: args::CheckArgs) -> Outcome {
    let sources = run::sources(args.config);
    let config = match config::load(&sources) {
        Ok(config) => config,
        Err(problems) => return refuse(&problems, args.json),
    };
    if args.supposed.user.is_some() {
        return supposed::check(&config, &args.supposed, args.json);
    }
    if args.online {
        let what = format!("the issuers of {}", counted(config.clients.len()));
        return progress::waiting(&what, online(&config, args.json, args.try_methods)).await;
    }
    if args.json {
        let names: Vec<_> = config.clients.keys().map(|name| json!({ "name": name.as_str() })).collect();
        return output::json(&document(&config, &names));
    }
    let warnings: String = config.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    output::print(warnings.as_bytes())?;
    output::line(&format!("{}: good, {}", files(&config).join(", "), counted(config.clients.len())))
}

fn counted(clients: usize) -> String {
    if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") }
}

fn files(config: &Config) -> Vec<String> {
    config.files.iter().map(|file| file.display().to_string()).collect()
}

/// What programs read: the same whether the clients were tried or not.
fn document(config: &Config, clients: &[Value]) -> Value {
    let warnings: Vec<_> = config.warnings.iter().map(problem).collect();
    json!({ "clients": clients, "files": files(config), "problems": [], "warnings": warnings })
}

fn refuse(problems: &Problems, as_json: bool) -> Outcome {
    if !as_json {
        return Err(Trouble::new(Exit::Configuration, run::refused(problems)));
    }
    let problems: Vec<_> = problems.as_slice().iter().map(problem).collect();
    output::json(&json!({ "clients": [], "problems": problems }))?;
    Err(Trouble::new(Exit::Configuration, ""))
}

fn problem(problem: &Problem) -> Value {
    json!({
        "file": *problem.file,
        "path": *problem.path,
        "message": *problem.message,
        "remedy": *problem.remedy,
    })
}

/// One real token request for each client, a few at a time. Prints what came of it in the order of the clients' names,
/// never the token.
async fn online(config: &Config, as_json: bool, try_methods: bool) -> Outcome {
    let transports = &Transports::default();
    let tries = stream::iter(&config.clients)
        .map(|(name, settings)| async move { (name, attempt(settings, transports, try_methods).await) })
        // As many as a daemon makes at one issuer, which may be everybody's.
        .buffered(PER_ISSUER);
    let mut tries = pin!(tries);
    let mut failed = 0;
    let mut all = Vec::new();
    while let Some((name, outcome)) = tries.next().await {
        failed += usize::from(outcome.is_err());
        if as_json {
            all.push(as_value(name, &outcome));
        } else {
            output::print(in_words(name, &outcome).as_bytes())?;
        }
    }
    if as_json {
        output::json(&document(config, &all))?;
    }
    if failed == 0 {
        return Ok(());
    }
    let text = format!("{failed} of {} got no token", counted(config.clients.len()));
    Err(Trouble::new(Exit::Unavailable, if as_json { String::new() } else { text }))
}

/// A token that was issued, without the token.
struct Good {
    token_type: String,
    life: Duration,
    /// Everything odd, with the key to set.
    odd: Vec<String>,
}

async fn attempt(settings: &ClientSettings, transports: &Transports, try_methods: bool) -> Result<Good, Failure> {
    let http = transports
        .client(&settings.endpoint.transport)
        .map_err(|error| Failure::new(FailureKind::Unreachable, error.to_string()))?;
    let endpoint = Endpoint::new(Arc::clone(&settings.endpoint), http.clone(), Arc::new(SystemClock));
    match endpoint.fetch().await {
        Ok(issued) => judge(settings, &issued),
        Err(mut failure) => {
            if try_methods
                && failure.invalid_client
                && let Some(taken) = methods::taken(&settings.endpoint, &http).await
            {
                failure.text = format!("{}; {taken}", failure.text).into();
            }
            Err(failure)
        }
    }
}

fn judge(settings: &ClientSettings, issued: &Issued) -> Result<Good, Failure> {
    let life = settings.refresh.lifetime_of(issued)?;
    let odd = issued.oddities.iter().map(ToString::to_string).chain(life.warning.map(String::from)).collect();
    Ok(Good { token_type: issued.token_type.to_string(), life: life.length, odd })
}

fn in_words(name: &ClientName, outcome: &Result<Good, Failure>) -> String {
    match outcome {
        Err(failure) => format!("{name}: FAILED: {} [{}]\n", failure.text, failure.kind.reason()),
        Ok(Good { token_type, life, odd }) => {
            let mut text = format!("{name}: ok, {token_type} token, valid for {}\n", output::span(*life));
            text.extend(odd.iter().map(|odd| format!("{name}: odd: {odd}\n")));
            text
        }
    }
}

fn as_value(name: &ClientName, outcome: &Result<Good, Failure>) -> Value {
    match outcome {
        Err(failure) => json!({
            "name": name.as_str(),
            "ok": false,
            "reason": failure.kind.reason(),
            "text": *failure.text,
        }),
        Ok(Good { token_type, life, odd }) => json!({
            "name": name.as_str(),
            "ok": true,
            "token_type": token_type,
            "valid_for_seconds": life.as_secs(),
            "odd": odd,
        }),
    }
}
