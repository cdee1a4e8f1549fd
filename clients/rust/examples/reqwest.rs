//! Calls an API with reqwest: `cargo run -p bearerd-client --features reqwest --example reqwest -- CLIENT URL [NAME=VALUE]...`
//!
//! Against `bearerd dev`: `… --example reqwest -- partner http://127.0.0.1:PORT/api/accounts Requestor-ID=4711`

use std::{env, error::Error};

use bearerd_client::{Broker, reqwest::Http};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let (client, url) = words.next().zip(words.next()).ok_or("say CLIENT and URL")?;

    let broker = Broker::new();
    let api = Http::new(broker.client(&client))?;

    let mut request = api.get(url);
    for word in words {
        let (name, value) = word.split_once('=').ok_or("say NAME=VALUE")?;
        request = request.header(name, value);
    }
    let answer = api.send(request).await?;
    println!("{}\n{}", answer.status(), answer.text().await?);

    broker.close().await;
    Ok(())
}
