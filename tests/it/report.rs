//! `rejected_token_id` over the wire, as far as real time allows: what needs a token that is 5 s old is tested in
//! simulated time, in `src/refresh/tests.rs`.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use bearerd_client::pb::v1::{self, Rejection};

use crate::support::{
    daemon::{ADMINS, ANYBODY, Running, client},
    idp::Idp,
};

async fn report(daemon: &Running, id: &str) -> (v1::Token, Rejection) {
    let request = v1::GetTokenRequest {
        client: "demo".to_owned(),
        rejected_token_id: id.to_owned(),
        ..v1::GetTokenRequest::default()
    };
    let response = daemon.connect().await.broker().get_token(request).await.unwrap().into_inner();
    let rejection = response.rejection();
    (response.token.unwrap(), rejection)
}

#[tokio::test]
async fn a_young_token_is_handed_out_again() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    let token = daemon.get("demo").await.unwrap();
    for _ in 0..10 {
        assert_eq!(report(&daemon, &token.id).await, (token.clone(), Rejection::TooYoung));
    }
    assert_eq!(daemon.get("demo").await.unwrap(), token);
    assert_eq!(idp.request_count(), 1);
}

#[tokio::test]
async fn an_id_from_before_a_restart_never_hits_a_new_token() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    let token = daemon.get("demo").await.unwrap();
    // The same serial of another epoch, and another serial of the same one.
    let (epoch, serial) = token.id.split_once('-').unwrap();
    let foreign = [format!("{:016x}-{serial}", !u64::from_str_radix(epoch, 16).unwrap()), format!("{epoch}-7")];
    for id in foreign {
        assert_eq!(report(&daemon, &id).await, (token.clone(), Rejection::AlreadyReplaced), "{id}");
    }
    assert_eq!(idp.request_count(), 1);
}

#[tokio::test]
async fn a_report_to_a_client_without_a_token_waits_for_the_first() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    let (token, rejection) = report(&daemon, "0123456789abcdef-1").await;
    assert_eq!((&*token.access_token, rejection), ("tok-1", Rejection::AlreadyReplaced));
    assert_eq!(idp.request_count(), 1);
}

#[tokio::test]
async fn the_token_of_a_client_that_was_replaced_by_a_reload_is_replaced() {
    let idp = Idp::start();
    let daemon = Running::start(&format!("{ADMINS}{}", client("demo", &idp, ANYBODY)));
    let before = daemon.get("demo").await.unwrap();
    let changed = client("demo", &idp, &format!("{ANYBODY}\nscope = [\"more\"]"));
    assert_eq!(daemon.reload(&format!("{ADMINS}{changed}")).await.changed, ["demo"]);
    let (token, rejection) = report(&daemon, &before.id).await;
    assert_eq!((&*token.access_token, rejection), ("tok-2", Rejection::AlreadyReplaced));
    assert_eq!(idp.request_count(), 2);
}
