//! `stock-rust SOCKET`: a stock tonic client with default options, driven by lines of JSON.

use std::{
    collections::HashMap,
    env,
    error::Error,
    io::{self, BufRead as _},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::{
    Request, Status, Streaming, TimeoutExpired,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt as _;

use v1::{
    ClientState, GetTokenRequest, ListClientsRequest, RequestHeader, Token, WatchTokenRequest, WatchTokenResponse,
    token_broker_client::TokenBrokerClient, watch_token_response::State,
};

mod v1 {
    tonic::include_proto!("bearerd.v1");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let socket = env::args().nth(1).ok_or("usage: stock-rust SOCKET")?;
    let channel = Endpoint::try_from(format!("unix://{socket}"))?.connect_lazy();
    let mut driver = Driver { channel, streams: HashMap::new() };
    for line in io::stdin().lock().lines() {
        let command = serde_json::from_str(&line?)?;
        let answer = driver.perform(&command).await.unwrap_or_else(|status| refusal(&status));
        println!("{answer}");
    }
    Ok(())
}

struct Driver {
    channel: Channel,
    streams: HashMap<u64, Stream>,
}

enum Stream {
    Health(Streaming<HealthCheckResponse>),
    Token(Streaming<WatchTokenResponse>),
}

impl Driver {
    async fn perform(&mut self, command: &Value) -> Result<Value, Status> {
        match text(command, "do").as_str() {
            "get" => self.get(command).await,
            "watch" => {
                let request = WatchTokenRequest { client: text(command, "client") };
                let stream = TokenBrokerClient::new(self.channel.clone()).watch_token(request).await?;
                self.open(Stream::Token(stream.into_inner())).await
            }
            "health" => {
                let request = HealthCheckRequest { service: text(command, "service") };
                let answer = HealthClient::new(self.channel.clone()).check(request).await?;
                Ok(health(&answer.into_inner()))
            }
            "health_watch" => {
                let request = HealthCheckRequest { service: text(command, "service") };
                let stream = HealthClient::new(self.channel.clone()).watch(request).await?;
                self.open(Stream::Health(stream.into_inner())).await
            }
            "next" => {
                let number = command["watch"].as_u64().unwrap_or_default();
                let stream = self.streams.get_mut(&number).ok_or_else(|| Status::not_found("no such stream"))?;
                let patience = seconds(command, "timeout_s").unwrap_or(Duration::from_secs(10));
                let late = |_| Err(Status::deadline_exceeded("no message in time"));
                timeout(patience, stream.next()).await.unwrap_or_else(late)
            }
            "list" => {
                let listed = TokenBrokerClient::new(self.channel.clone()).list_clients(ListClientsRequest {}).await?;
                let clients = listed.into_inner().clients.into_iter().map(|client| {
                    let state = ClientState::try_from(client.state).unwrap_or_default().as_str_name();
                    json!({ "name": client.name, "state": state.trim_start_matches("CLIENT_STATE_") })
                });
                Ok(json!({ "ok": true, "clients": clients.collect::<Vec<_>>() }))
            }
            other => Err(Status::unimplemented(format!("no command {other}"))),
        }
    }

    async fn get(&self, command: &Value) -> Result<Value, Status> {
        let mut request = Request::new(GetTokenRequest {
            client: text(command, "client"),
            min_validity: seconds(command, "min_validity_s").and_then(|span| span.try_into().ok()),
            rejected_token_id: text(command, "rejected"),
        });
        if let Some(limit) = seconds(command, "timeout_s") {
            request.set_timeout(limit);
        }
        let answer = TokenBrokerClient::new(self.channel.clone()).get_token(request).await?.into_inner();
        let rejection = answer.rejection().as_str_name().trim_start_matches("REJECTION_").to_owned();
        let token = answer.token.ok_or_else(|| Status::internal("no token"))?;
        let mut shown = describe(&token);
        shown["rejection"] = json!(rejection);
        Ok(shown)
    }

    async fn open(&mut self, mut stream: Stream) -> Result<Value, Status> {
        let mut first = stream.next().await?;
        let number = self.streams.len() as u64 + 1;
        self.streams.insert(number, stream);
        first["watch"] = json!(number);
        Ok(first)
    }
}

impl Stream {
    /// The next message; an end without an error is one of its own kind.
    async fn next(&mut self) -> Result<Value, Status> {
        let ended = || Status::cancelled("the stream has ended");
        match self {
            Self::Health(stream) => Ok(health(&stream.message().await?.ok_or_else(ended)?)),
            Self::Token(stream) => match stream.message().await?.ok_or_else(ended)?.state {
                Some(State::Token(token)) => Ok(describe(&token)),
                Some(State::Unavailable(why)) => Ok(json!({ "ok": true, "unavailable": why.reason })),
                None => Err(Status::internal("a message without a state")),
            },
        }
    }
}

fn text(command: &Value, key: &str) -> String {
    command[key].as_str().unwrap_or_default().to_owned()
}

fn seconds(command: &Value, key: &str) -> Option<Duration> {
    command[key].as_f64().map(Duration::from_secs_f64)
}

fn describe(token: &Token) -> Value {
    let header = |header: &RequestHeader| {
        let RequestHeader { name, value, per_call, pattern } = header;
        json!({ "name": name, "value": value, "per_call": per_call, "pattern": pattern })
    };
    let headers: Vec<_> = token.headers.iter().map(header).collect();
    json!({ "ok": true, "id": token.id, "authorization": token.authorization, "headers": headers })
}

fn health(answer: &HealthCheckResponse) -> Value {
    let status = ServingStatus::try_from(answer.status).unwrap_or_default();
    json!({ "ok": true, "status": status.as_str_name() })
}

/// What a program may rely on: the code and the details, not the text.
fn refusal(status: &Status) -> Value {
    let details = status.get_error_details();
    let (domain, reason) = details.error_info().map(|info| (&info.domain, &info.reason)).unzip();
    let wait = details.retry_info().and_then(|info| info.retry_delay);
    json!({
        "ok": false,
        "code": code(status),
        "message": status.message(),
        "domain": domain,
        "reason": reason,
        "retry_after_s": wait.map(|wait| wait.as_secs_f64()),
    })
}

/// `NOT_FOUND` of `NotFound`. When a caller's own time is up, tonic says `Cancelled`, and why among the causes.
fn code(status: &Status) -> String {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<TimeoutExpired>() {
            return "DEADLINE_EXCEEDED".to_owned();
        }
        cause = error.source();
    }
    let mut name = String::new();
    for (at, char) in format!("{:?}", status.code()).chars().enumerate() {
        if char.is_ascii_uppercase() && at > 0 {
            name.push('_');
        }
        name.push(char.to_ascii_uppercase());
    }
    name
}
