//! GetToken without detours: the one call that is made all the time.
//!
//! Does what the generated service would do, with one copy of the token instead of four.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, LazyLock},
};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use hyper::body::Body as _;
use prost::Message as _;
use tonic::Status;

use super::{
    body::{Answer, PREFIX, RequestBody},
    reply::Refusal,
    session::{Session, deadline},
    token_message,
    tokens::PATIENCE,
};
use crate::pb::v1::GetTokenRequest;

/// Answers a call.
pub(super) async fn answer(session: Arc<Session>, request: Request<RequestBody>) -> Response<Answer> {
    match message(&session, request).await {
        Ok(message) => success(message),
        Err(status) => status.into_http::<tonic::body::Body>().map(Answer::Service),
    }
}

async fn message(session: &Session, request: Request<RequestBody>) -> Result<Bytes, Status> {
    let (head, body) = request.into_parts();
    let sent = only_message(body).await?;
    let wanted = GetTokenRequest::decode(sent)
        .map_err(|_| Refusal::Invalid("the message is not a bearerd.v1.GetTokenRequest".into()))?;
    let (client, given) = session.token(&wanted, || deadline(&head.headers, PATIENCE)).await?;
    Ok(token_message::encode(client.entry(), &given, session.shared.clock.now()))
}

/// The message of a call that has one, without its prefix.
async fn only_message(mut body: RequestBody) -> Result<Bytes, Status> {
    let (mut all, mut pieces) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        // Trailers say nothing.
        let Ok(data) = frame?.into_data() else { continue };
        // Nearly always there is one piece, which is passed on as it is.
        if all.is_empty() && pieces.is_empty() {
            all = data;
        } else {
            pieces.extend_from_slice(&std::mem::take(&mut all));
            pieces.extend_from_slice(&data);
        }
        if body.is_end_stream() {
            break;
        }
    }
    if !pieces.is_empty() {
        all = pieces.freeze();
    }
    if all.first() == Some(&COMPRESSED) {
        return Err(Status::unimplemented("compressed messages are not supported; send them as they are"));
    }
    let whole = all.len().checked_sub(PREFIX).filter(|length| all.first() == Some(&0) && says(&all, *length));
    if whole.is_none() {
        return Err(
            Refusal::Invalid("a call has one message, not compressed, after its five bytes of prefix".into()).into()
        );
    }
    all.advance(PREFIX);
    Ok(all)
}

/// Whether the prefix says that so many bytes follow.
fn says(all: &Bytes, length: usize) -> bool {
    let told = all.get(1..PREFIX).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(u32::from_be_bytes);
    told.is_some_and(|told| usize::try_from(told) == Ok(length))
}

fn success(message: Bytes) -> Response<Answer> {
    let mut response = Response::new(Answer::Message(Some(message), Some(TRAILERS.clone())));
    response.headers_mut().clone_from(&HEADERS);
    response
}

/// What is the same in all answers; a copy costs less than to make it.
static HEADERS: LazyLock<HeaderMap> =
    LazyLock::new(|| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))]));
static TRAILERS: LazyLock<HeaderMap> =
    LazyLock::new(|| HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))]));

/// The first byte of a message that is compressed.
const COMPRESSED: u8 = 1;
