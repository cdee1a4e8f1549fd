//! What a read costs while the stream is up: `BEARERD_SOCKET=… cargo bench -p bearerd-client --bench read [CLIENT]`.
//!
//! Needs a daemon, which `bearerd dev` is; its client `demo` is read unless another is named.

#![allow(clippy::print_stdout, reason = "what it is for")]

use std::{env, error::Error, hint::black_box};

use bearerd_client::Broker;
use tokio::time::Instant;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let name = env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_else(|| "demo".to_owned());
    let broker = Broker::new();
    let client = broker.client(&name);
    client.token().await?;
    let began = Instant::now();
    for _ in 0..READS {
        black_box(client.token().await?);
    }
    println!("read through token().await {:.0} ns", began.elapsed().as_secs_f64() * 1e9 / f64::from(READS));
    let began = Instant::now();
    for _ in 0..READS {
        black_box(client.current());
    }
    println!("read through current() {:.0} ns", began.elapsed().as_secs_f64() * 1e9 / f64::from(READS));
    broker.close().await;
    Ok(())
}

const READS: u32 = 2_000_000;
