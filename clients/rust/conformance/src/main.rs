//! The library under test, driven by lines of JSON: one command a line on standard input, one answer a line on standard
//! output. Run by the conformance suite.

#![allow(clippy::unwrap_used, reason = "a driver that cannot go on is to say so and end")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    error::Error as StdError,
    io::{self, BufRead as _},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bearerd_client::{
    Broker, Client, Error, ReadOptions, RequestHeader, Token,
    pb::v1,
    reqwest::{Error as HttpError, Http},
};
use bytes::Bytes;
use http_body_util::Full;
use reqwest::{Body, Method};
use serde_json::{Map, Value, json};
use tokio::{task::JoinSet, time::Instant};
use tracing_subscriber::{Layer as _, filter::LevelFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

type Outcome = Result<Value, Failure>;

fn main() {
    let log = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_filter(LevelFilter::DEBUG);
    tracing_subscriber::registry().with(log).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut driver = Driver::default();
    for line in io::stdin().lock().lines() {
        let outcome = match serde_json::from_str(&line.unwrap()) {
            Ok(command) => runtime.block_on(driver.perform(&command)),
            Err(error) => Err(Failure::of("BAD_COMMAND", &error.to_string())),
        };
        let (mut answer, more) = match outcome {
            Ok(answer) => (Map::from_iter([("ok".to_owned(), json!(true))]), answer),
            Err(Failure(answer)) => (Map::from_iter([("ok".to_owned(), json!(false))]), answer),
        };
        answer.extend(more.as_object().cloned().unwrap_or_default());
        println!("{}", Value::Object(answer));
    }
}

/// An answer that says what went wrong.
struct Failure(Value);

impl Failure {
    fn of(reason: &str, message: &str) -> Self {
        Self(json!({ "reason": reason, "code": "UNKNOWN", "message": message, "retry_after_s": null }))
    }

    fn reason(&self) -> String {
        text(&self.0, "reason").to_owned()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(json!({
            "reason": error.reason(),
            "code": error.code_name(),
            "message": error.message(),
            "retry_after_s": error.retry_after().map(|wait| wait.as_secs_f64()),
        }))
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Broker(error) => error.into(),
            error => {
                let cause = error.source().map(ToString::to_string).unwrap_or_default();
                Self::of("HTTP_FAILED", &format!("{error}: {cause}"))
            }
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        HttpError::from(error).into()
    }
}

#[derive(Default)]
struct Driver {
    broker: Option<Broker>,
    allow_http: bool,
    /// By client, and whether redirects are followed.
    http: HashMap<(String, bool), Http>,
}

impl Driver {
    async fn perform(&mut self, command: &Value) -> Outcome {
        match command["do"].as_str().unwrap_or_default() {
            "open" => Ok(self.open(command)),
            "close" => {
                self.broker()?.close().await;
                Ok(json!({}))
            }
            "token" => {
                let token = self.client(command)?.token_with(options(command)).await?;
                Ok(json!({ "token": describe(&token) }))
            }
            "read" => read(&self.client(command)?, command).await,
            "report" => {
                let report = self.client(command)?.report_id(text(command, "id")).await?;
                Ok(json!({ "rejection": report.rejection.as_str(), "token": describe(&report.token) }))
            }
            "headers" => headers(&self.client(command)?, command).await,
            "request" => request(&self.http(command)?, command).await,
            "burst" => burst(&self.http(command)?, command).await,
            "describe" => {
                let client = self.client(command)?;
                let token = client.token().await?;
                let broker = self.broker()?;
                let message = v1::Token {
                    access_token: token.access_token().to_owned(),
                    authorization: token.authorization().to_owned(),
                    ..v1::Token::default()
                };
                Ok(json!({ "text": format!("{token:?} {token:#?} {client:?} {broker:?} {message:?}") }))
            }
            "bench" => bench(&self.client(command)?, command).await,
            other => Err(Failure::of("UNKNOWN_COMMAND", other)),
        }
    }

    fn open(&mut self, command: &Value) -> Value {
        let builder = Broker::builder();
        self.broker = Some(match command["socket"].as_str() {
            Some(socket) => builder.socket(socket).build(),
            None => builder.build(),
        });
        self.allow_http = command["allow_http"].as_bool().unwrap_or_default();
        self.http.clear();
        json!({})
    }

    fn broker(&self) -> Result<&Broker, Failure> {
        self.broker.as_ref().ok_or_else(|| Failure::of("NOT_OPEN", "say open first"))
    }

    fn client(&self, command: &Value) -> Result<Client, Failure> {
        Ok(self.broker()?.client(text(command, "client")))
    }

    fn http(&mut self, command: &Value) -> Result<Http, Failure> {
        let follow = command["follow"].as_bool().unwrap_or_default();
        let key = (text(command, "client").to_owned(), follow);
        if let Some(http) = self.http.get(&key) {
            return Ok(http.clone());
        }
        let builder = Http::builder(self.client(command)?).allow_http(self.allow_http);
        let http = if follow { builder } else { builder.max_redirects(0) }.build()?;
        self.http.insert(key, http.clone());
        Ok(http)
    }
}

fn text<'a>(command: &'a Value, key: &str) -> &'a str {
    command[key].as_str().unwrap_or_default()
}

fn count(command: &Value, key: &str) -> u32 {
    command[key].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(1)
}

fn options(command: &Value) -> ReadOptions {
    let seconds = |key: &str| command[key].as_f64().map(Duration::from_secs_f64);
    let options = ReadOptions::new().min_validity(seconds("min_validity_s").unwrap_or_default());
    seconds("timeout_s").map_or(options, |timeout| options.timeout(timeout))
}

fn pairs(command: &Value, key: &str) -> Vec<(String, String)> {
    let pairs = command[key].as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn describe(token: &Token) -> Value {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let headers: Vec<_> = token
        .headers()
        .iter()
        .map(|header| {
            json!({
                "name": header.name(),
                "value": header.value().unwrap_or_default(),
                "per_call": header.per_call(),
                "pattern": header.pattern().unwrap_or_default(),
            })
        })
        .collect();
    json!({
        "id": token.id(),
        "access_token": token.access_token(),
        "authorization": token.authorization(),
        "token_type": token.token_type(),
        "issued_at": seconds(token.issued_at()),
        "expires_at": seconds(token.expires_at()),
        "scope": token.scope(),
        "proof_required": token.proof_required(),
        "headers": headers,
    })
}

async fn read(client: &Client, command: &Value) -> Outcome {
    let times = count(command, "times");
    let mut readers = JoinSet::new();
    for _ in 0..count(command, "readers") {
        let client = client.clone();
        readers.spawn(async move {
            let mut read = Vec::new();
            for _ in 0..times {
                read.push(client.token().await.map(|token| token.id().to_owned()));
            }
            read
        });
    }
    let mut ids = BTreeSet::new();
    let mut failures = BTreeMap::<String, u32>::new();
    let mut reads = 0;
    for outcome in readers.join_all().await.into_iter().flatten() {
        reads += 1;
        match outcome {
            Ok(id) => _ = ids.insert(id),
            Err(error) => *failures.entry(error.reason().to_owned()).or_default() += 1,
        }
    }
    Ok(json!({ "reads": reads, "ids": ids, "failures": failures }))
}

async fn headers(client: &Client, command: &Value) -> Outcome {
    let map = client.headers(pairs(command, "set")).await?;
    // Names in HTTP have no case; people read them as they are configured.
    let token = client.token().await?;
    let written = token.headers().iter().map(RequestHeader::name).chain(["Authorization"]);
    let written: HashMap<_, _> = written.map(|name| (name.to_ascii_lowercase(), name)).collect();
    let headers: Map<_, _> = map
        .iter()
        .map(|(name, value)| {
            let name = written.get(name.as_str()).copied().unwrap_or(name.as_str());
            (name.to_owned(), json!(String::from_utf8_lossy(value.as_bytes())))
        })
        .collect();
    Ok(json!({ "headers": headers }))
}

fn build(http: &Http, command: &Value) -> Result<reqwest::Request, Failure> {
    let method: Method = text(command, "method").parse().map_err(|_| Failure::of("BAD_COMMAND", "no method"))?;
    let mut request = http.request(method, text(command, "url"));
    for (name, value) in pairs(command, "headers") {
        request = request.header(name, value);
    }
    if let Some(body) = command["body"].as_str() {
        let body = Bytes::from(body.to_owned());
        let once = command["stream_body"].as_bool().unwrap_or_default();
        request = request.body(if once { Body::wrap(Full::new(body)) } else { Body::from(body) });
    }
    Ok(request.build()?)
}

async fn request(http: &Http, command: &Value) -> Outcome {
    let response = http.execute(build(http, command)?).await?;
    let status = response.status().as_u16();
    let mut headers = Map::new();
    for (name, value) in response.headers() {
        headers.insert(name.to_string(), json!(String::from_utf8_lossy(value.as_bytes())));
    }
    Ok(json!({ "status": status, "headers": headers, "body": response.text().await? }))
}

async fn burst(http: &Http, command: &Value) -> Outcome {
    let mut calls = JoinSet::new();
    for _ in 0..count(command, "count") {
        let (http, request) = (http.clone(), build(http, command)?);
        calls.spawn(async move { http.execute(request).await });
    }
    let mut statuses = BTreeMap::<String, u32>::new();
    let mut failures = BTreeMap::<String, u32>::new();
    for outcome in calls.join_all().await {
        match outcome {
            Ok(response) => *statuses.entry(response.status().as_u16().to_string()).or_default() += 1,
            Err(error) => *failures.entry(Failure::from(error).reason()).or_default() += 1,
        }
    }
    Ok(json!({ "statuses": statuses, "failures": failures }))
}

async fn bench(client: &Client, command: &Value) -> Outcome {
    let reads = count(command, "reads");
    for _ in 0..reads.min(10_000) {
        client.token().await?;
    }
    let began = Instant::now();
    for _ in 0..reads {
        std::hint::black_box(client.token().await?);
    }
    Ok(json!({ "ns_per_read": began.elapsed().as_secs_f64() * 1e9 / f64::from(reads) }))
}
