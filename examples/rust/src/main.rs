//! Calls a partner's API as the client `partner`, whose calls each say in `Requestor-ID` for whom they are made.

use std::{env, error::Error};

use bearerd_client::{Broker, reqwest::Http};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::new();
    let partner = Http::new(broker.client("partner"))?;

    let url = format!("{}/api/accounts", env::var("PARTNER_URL")?);
    let answer = partner.send(partner.get(url).header("Requestor-ID", "4711")).await?;
    println!("{}", answer.error_for_status()?.text().await?);

    broker.close().await;
    Ok(())
}
