//! What a peer can do to a connection, and what it cannot do to others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::sync::Arc;

use bearerd::{daemon::Order, lifecycle::Lifecycle};
use bearerd_client::pb::v1;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    task::JoinSet,
};

use crate::support::{
    daemon::{ADMINS, ANYBODY, Running, client, until_in_use, within},
    idp::Idp,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
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

/// A whole call of `path` with an empty message.
fn call(path: &str, stream: u32) -> Vec<u8> {
    [opening(path, stream), frame(DATA, 1, stream, &[0; 5])].concat()
}

/// A call whose message is still to come, as gRPC C-core sends it on a Unix socket.
fn opening(path: &str, stream: u32) -> Vec<u8> {
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
    frame(HEADERS, 4, stream, &block)
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
    for nonsense in [b"EHLO mail.example\r\n".to_vec(), vec![0xff; 5_000], [PREFACE, &[0xff; 64]].concat()] {
        let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
        // It may be closed before all of it is taken.
        let _ = stream.write_all(&nonsense).await;
        let mut rest = Vec::new();
        // Reset or end, both are a close.
        let _ = within(stream.read_to_end(&mut rest)).await;
    }
    assert!(daemon.get("demo").await.is_ok());
}

/// Takes about a second. To be asked whether one is alive (RFC 9113 section 6.7) is nothing to wait for.
#[tokio::test]
async fn a_peer_that_pings_on_and_on_does_not_hold_up_the_end() {
    let idp = Idp::start();
    let daemon = Running::start(&format!("[server]\ndrain = \"10m\"\n{}", client("demo", &idp, ANYBODY)));
    daemon.get("demo").await.unwrap();
    let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    let _ = frame_of(&mut stream, SETTINGS).await;
    daemon.order(Order::Stop).await;
    let mut answer = [0; 4_096];
    let pinging = async {
        while stream.write_all(&frame(PING, 0, 0, &[7; 8])).await.is_ok() {
            if !matches!(stream.read(&mut answer).await, Ok(1..)) {
                break;
            }
        }
    };
    within(pinging).await;
    daemon.until(Lifecycle::Stopped).await;
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
        let bytes = call(GET_TOKEN, 2 * number + 1);
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

#[tokio::test]
async fn a_reply_that_is_not_taken_still_counts() {
    let idp = Idp::start();
    let daemon = Running::start(&format!("{ADMINS}{}", client("demo", &idp, ANYBODY)));
    let mut miser = UnixStream::connect(daemon.socket()).await.unwrap();
    // SETTINGS_INITIAL_WINDOW_SIZE (4) of nothing: the headers of a reply may come, its message may not.
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let calls: Vec<u8> = (0..3).flat_map(|number| call("/grpc.health.v1.Health/Check", 2 * number + 1)).collect();
    miser.write_all(&[PREFACE, &settings, &calls].concat()).await.unwrap();
    let channel = daemon.connect().await;
    until_in_use(&channel, 2, 4).await;
    drop(miser);
    until_in_use(&channel, 1, 1).await;
}

#[tokio::test]
async fn a_call_without_its_message_counts() {
    let idp = Idp::start();
    let daemon = Running::start(&format!("{ADMINS}{}", client("demo", &idp, ANYBODY)));
    let mut half = UnixStream::connect(daemon.socket()).await.unwrap();
    half.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    for (number, path) in [GET_TOKEN, "/bearerd.v1.TokenBroker/WatchToken", REFLECTION].into_iter().enumerate() {
        half.write_all(&opening(path, 2 * u32::try_from(number).unwrap() + 1)).await.unwrap();
    }
    let channel = daemon.connect().await;
    until_in_use(&channel, 2, 4).await;
}

#[tokio::test]
async fn a_request_that_is_no_message_says_so() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    for (path, message) in [
        (GET_TOKEN, vec![]),
        (GET_TOKEN, vec![0, 0, 0, 0, 9]),
        (GET_TOKEN, vec![0, 0, 0, 0, 2, 0xff, 0xff]),
        (GET_TOKEN, [&[0, 0, 0, 0x50, 0][..], &[0; 0x5000]].concat()),
        ("/bearerd.v1.TokenBroker/WatchToken", vec![0, 0, 0, 0, 2, 0xff, 0xff]),
        ("/bearerd.v1.TokenBroker/ListClients", [&[0, 0, 0, 0x50, 0][..], &[0; 0x5000]].concat()),
    ] {
        let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
        let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &opening(path, 1)].concat();
        let (last, pieces) =
            message.chunks(8_192).collect::<Vec<_>>().split_last().map_or((&[][..], vec![]), |(l, p)| (*l, p.to_vec()));
        bytes.extend(pieces.into_iter().flat_map(|piece| frame(DATA, 0, 1, piece)));
        bytes.extend(frame(DATA, 1, 1, last));
        stream.write_all(&bytes).await.unwrap();
        let block = payload_of(&mut stream, HEADERS).await;
        let text = String::from_utf8_lossy(&block).into_owned();
        // Trailers only; the status is INVALID_ARGUMENT, and the reason is in the details.
        assert!(text.contains("grpc-status-details-bin") || block.len() > 60, "{path} {message:?}: {text}");
        assert!(has_status_3(&block), "{path} {:?}: {text:?}", &message[..message.len().min(9)]);
    }
    assert!(daemon.get("demo").await.is_ok());
}

/// Whether a header block, as the HTTP library writes its first one, has a `grpc-status` of 3.
fn has_status_3(block: &[u8]) -> bool {
    // "grpc-status" Huffman coded ends in these bytes, then the coded value: length 1, the code of `3`.
    block.windows(2).any(|pair| pair == [0x81, 0x67])
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    let mut rapid = UnixStream::connect(daemon.socket()).await.unwrap();
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    for number in 0..200 {
        bytes.extend(opening(GET_TOKEN, 2 * number + 1));
        bytes.extend(frame(RST_STREAM, 0, 2 * number + 1, &[0, 0, 0, 8]));
    }
    rapid.write_all(&bytes).await.unwrap();
    let goaway = payload_of(&mut rapid, GOAWAY).await;
    assert_eq!(goaway[4..8], [0, 0, 0, 0xb], "ENHANCE_YOUR_CALM");
    assert!(daemon.get("demo").await.is_ok());
}

#[tokio::test]
async fn a_question_to_reflection_is_bounded_like_any_other() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    let mut greedy = UnixStream::connect(daemon.socket()).await.unwrap();
    let announced = frame(DATA, 0, 1, &[0, 0, 0x40, 0, 0]);
    greedy
        .write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &opening(REFLECTION, 1), &announced].concat())
        .await
        .unwrap();
    // Four megabytes are announced and refused before they come: the answer's headers, and the end of the stream.
    let (flags, stream) = frame_of(&mut greedy, HEADERS).await;
    let (flags, stream) = if flags & 1 == 0 { frame_of(&mut greedy, HEADERS).await } else { (flags, stream) };
    assert_eq!((flags & 1, stream), (1, 1));
}

#[tokio::test]
async fn who_is_silent_does_not_hold_up_the_drain() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    let mut silent = UnixStream::connect(daemon.socket()).await.unwrap();
    silent.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    frame_of(&mut silent, SETTINGS).await;
    daemon.get("demo").await.unwrap();
    // The drain may take ten seconds; nothing is under way, so it does not.
    tokio::time::timeout(std::time::Duration::from_secs(8), daemon.stop()).await.unwrap();
}

/// The payload of the next frame of this kind.
async fn payload_of(stream: &mut UnixStream, wanted: u8) -> Vec<u8> {
    loop {
        let mut head = [0; 9];
        within(stream.read_exact(&mut head)).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        within(stream.read_exact(&mut payload)).await.unwrap();
        if head[3] == wanted {
            return payload;
        }
    }
}

const GET_TOKEN: &str = "/bearerd.v1.TokenBroker/GetToken";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
