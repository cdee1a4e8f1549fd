//! A fake issuer: answers every token request at once with another long-lived token.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    runtime,
    task::{JoinSet, LocalSet},
};

use super::Outcome;

/// A running issuer. Its thread ends with the process.
pub(crate) struct Issuer {
    addresses: Vec<SocketAddr>,
}

impl Issuer {
    /// Starts one that listens on several addresses of 127.0.0.0/8, as bearerd sends at most four requests at a
    /// time to one host.
    pub(crate) fn start() -> Outcome<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listeners = runtime.block_on(async {
            let mut listeners = Vec::new();
            for host in 1..=HOSTS {
                listeners.push(TcpListener::bind((Ipv4Addr::new(127, 0, host, 1), 0)).await?);
            }
            Outcome::Ok(listeners)
        })?;
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
        thread::Builder::new().name("issuer".to_owned()).spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                let mut accepting = JoinSet::new();
                for listener in listeners {
                    accepting.spawn_local(accept(listener));
                }
                accepting.join_all().await;
            });
        })?;
        Ok(Self { addresses })
    }

    /// Where a client with this number gets its tokens.
    pub(crate) fn token_url(&self, client: u32) -> String {
        let address = self.addresses[client as usize % self.addresses.len()];
        format!("http://{address}/token")
    }
}

async fn accept(listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        // A client that hangs up is no concern of ours.
        connections.spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // Read to the end, so that the connection can be used again.
    let _ = request.into_body().collect().await;
    let body = format!(
        r#"{{"access_token":"{}","token_type":"Bearer","expires_in":{LIFETIME_S},"scope":"bench"}}"#,
        token(SERIAL.fetch_add(1, Ordering::Relaxed))
    );
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Letters and digits, different for each number.
fn token(serial: u64) -> String {
    let mut random = fastrand::Rng::with_seed(serial);
    std::iter::repeat_with(|| random.alphanumeric()).take(TOKEN_LENGTH).collect()
}

static SERIAL: AtomicU64 = AtomicU64::new(0);
/// Addresses to listen on.
const HOSTS: u8 = 64;
/// Such that the whole reply of GetToken, which holds the token twice, is about 1.2 KB.
pub(crate) const TOKEN_LENGTH: usize = 550;
/// No token becomes due while something is measured.
const LIFETIME_S: u32 = 24 * 3_600;
