//! What a peer can do to a connection, and what it cannot do to others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::sync::Arc;

use bearerd::{daemon::Order, lifecycle::Lifecycle, pb::v1};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    task::JoinSet,
};

use crate::support::{
    daemon::{Running, within},
    idp::Idp,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A literal header without indexing (RFC 7541 section 6.2.2), not Huffman coded.
fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// A whole call of `path` with an empty message, as gRPC C-core sends it on a Unix socket.
fn call(path: &str, stream: u32) -> Vec<u8> {
    let block = [
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", path),
        // With the indexed name and incremental indexing, as C-core does.
        [&[0x41, 14], b"%2Frun%2Fx.soc".as_slice()].concat(),
        header("te", "trailers"),
        header("content-type", "application/grpc"),
    ]
    .concat();
    [frame(HEADERS, 4, stream, &block), frame(DATA, 1, stream, &[0; 5])].concat()
}

/// Reads frames until one of this kind; its flags and its stream.
async fn frame_of(stream: &mut UnixStream, wanted: u8) -> (u8, u32) {
    loop {
        let mut head = [0; 9];
        within(stream.read_exact(&mut head)).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        within(stream.read_exact(&mut vec![0; length])).await.unwrap();
        let (kind, flags) = (head[3], head[4]);
        assert!(kind == wanted || ![RST_STREAM, GOAWAY].contains(&kind), "frame of type {kind}");
        if kind == wanted {
            return (flags, u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        }
    }
}

#[tokio::test]
async fn a_socket_path_as_authority_is_answered_even_byte_by_byte() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
    let bytes = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[]), call("/grpc.health.v1.Health/Check", 1)].concat();
    for byte in &bytes {
        stream.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(frame_of(&mut stream, HEADERS).await, (4, 1), "the headers of the answer");
    assert_eq!(frame_of(&mut stream, HEADERS).await, (5, 1), "its trailers");
    stream.write_all(&call("/grpc.health.v1.Health/Check", 3)).await.unwrap();
    assert_eq!(frame_of(&mut stream, HEADERS).await, (4, 3));
}

#[tokio::test]
async fn one_reply_is_one_write() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, 1, 0, &[])].concat()).await.unwrap();
    frame_of(&mut stream, SETTINGS).await;
    frame_of(&mut stream, SETTINGS).await;
    for number in 0..5 {
        stream.write_all(&call("/grpc.health.v1.Health/Check", 2 * number + 1)).await.unwrap();
        // What one read finds was written at once. Frames about the connection itself may come before.
        let mut kinds = Vec::new();
        while kinds.is_empty() {
            let mut reply = vec![0; 4_096];
            let length = within(stream.read(&mut reply)).await.unwrap();
            let mut rest = &reply[..length];
            while !rest.is_empty() {
                let payload = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
                kinds.push(rest[3]);
                rest = &rest[9 + payload..];
            }
            kinds.retain(|kind| [HEADERS, DATA].contains(kind));
        }
        assert_eq!(kinds, [HEADERS, DATA, HEADERS]);
    }
}

#[tokio::test]
async fn nonsense_closes_the_connection_that_sent_it() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    let _silent = UnixStream::connect(daemon.socket()).await.unwrap();
    for nonsense in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), vec![0xff; 5_000], [PREFACE, &[0xff; 64]].concat()]
    {
        let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
        // It may be closed before all of it is taken.
        let _ = stream.write_all(&nonsense).await;
        let mut rest = Vec::new();
        // Reset or end, both are a close.
        let _ = within(stream.read_to_end(&mut rest)).await;
    }
    assert!(daemon.get("demo").await.is_ok());
}

#[tokio::test]
async fn a_peer_that_never_reads_disturbs_nobody() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    let mut deaf = UnixStream::connect(daemon.socket()).await.unwrap();
    deaf.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    let mut sent = 0;
    for number in 0..5_000 {
        // Its calls are refused for want of a message; what counts is that the answers pile up.
        let bytes = call("/bearerd.v1.TokenBroker/GetToken", 2 * number + 1);
        match deaf.try_write(&bytes) {
            Ok(length) if length == bytes.len() => sent += 1,
            _ => break,
        }
        tokio::task::yield_now().await;
    }
    assert!(sent > 100, "{sent} calls were taken");
    let channel = daemon.connect().await;
    for _ in 0..200 {
        let request = v1::GetTokenRequest { client: "demo".to_owned(), ..v1::GetTokenRequest::default() };
        within(channel.clone().broker().get_token(request)).await.unwrap();
    }
}

#[tokio::test]
async fn a_busy_connection_does_not_starve_another() {
    let idp = Idp::start();
    let daemon = Arc::new(Running::with_demo(&idp));
    daemon.get("demo").await.unwrap();
    let request = || v1::GetTokenRequest { client: "demo".to_owned(), ..v1::GetTokenRequest::default() };
    let busy = daemon.connect().await;
    let mut flood = JoinSet::new();
    for _ in 0..256 {
        let channel = busy.clone();
        flood.spawn(async move {
            loop {
                channel.clone().broker().get_token(request()).await.unwrap();
            }
        });
    }
    let quiet = daemon.connect().await;
    for _ in 0..100 {
        within(quiet.clone().broker().get_token(request())).await.unwrap();
    }
    assert_eq!(flood.len(), 256, "the flood went on");
}

#[tokio::test]
async fn draining_removes_the_socket_and_a_second_order_ends_it() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    let socket = daemon.socket();
    // Half a connection: it will not finish by itself.
    let mut half = UnixStream::connect(&socket).await.unwrap();
    half.write_all(PREFACE).await.unwrap();
    daemon.get("demo").await.unwrap();
    daemon.order(Order::Stop).await;
    daemon.until(Lifecycle::Draining).await;
    daemon.order(Order::Stop).await;
    within(daemon.until(Lifecycle::Stopped)).await;
    assert!(!socket.exists());
    let mut rest = Vec::new();
    let _ = within(half.read_to_end(&mut rest)).await;
}
