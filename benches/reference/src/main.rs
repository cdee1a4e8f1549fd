//! `reference SOCKET LENGTH`: answers every call on SOCKET with the same message of LENGTH encoded bytes.
//!
//! What somebody gets who follows tonic's own example: no limit, no policy, no look-up, nothing tuned.

use std::{env, error::Error};

use prost::Message as _;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use pb::{
    Ask, Payload,
    token_broker_server::{TokenBroker, TokenBrokerServer},
};

mod pb {
    tonic::include_proto!("bearerd.v1");
}

struct Echo {
    payload: String,
}

#[tonic::async_trait]
impl TokenBroker for Echo {
    async fn get_token(&self, _: Request<Ask>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(Payload { payload: self.payload.clone() }))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [socket, length] = words.as_slice() else { return Err("usage: reference SOCKET LENGTH".into()) };
    let payload = of_encoded_length(length.parse()?).ok_or("no message has exactly that length")?;
    let incoming = UnixListenerStream::new(UnixListener::bind(socket)?);
    Server::builder().add_service(TokenBrokerServer::new(Echo { payload })).serve_with_incoming(incoming).await?;
    Ok(())
}

/// The text with which a message has this length on the wire.
fn of_encoded_length(length: usize) -> Option<String> {
    let mut message = Payload { payload: "x".repeat(length) };
    while message.encoded_len() > length {
        message.payload.pop()?;
    }
    (message.encoded_len() == length).then_some(message.payload)
}
