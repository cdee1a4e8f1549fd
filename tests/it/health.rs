//! `grpc.health.v1` over the wire: the process, readiness and each client.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use bearerd::daemon::Order;
use bearerd_client::pb::health::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus};
use tonic::{Code, Streaming};

use crate::support::{
    daemon::{ADMINS, ANYBODY, Running, client, within},
    idp::{Answer, Gate, Idp},
};
use ServingStatus::{NotServing, ServiceUnknown, Serving};

type Stream = Streaming<HealthCheckResponse>;

fn request(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn check(daemon: &Running, service: &str) -> ServingStatus {
    daemon.connect().await.health().check(request(service)).await.unwrap().into_inner().status()
}

async fn watch(daemon: &Running, service: &str) -> Stream {
    daemon.connect().await.health().watch(request(service)).await.unwrap().into_inner()
}

/// The next state; `None` at the end of the stream.
async fn next(stream: &mut Stream) -> Option<ServingStatus> {
    within(stream.message()).await.unwrap().map(|response| response.status())
}

#[tokio::test]
async fn each_name_says_what_it_stands_for() {
    let (good, bad) = (Idp::start(), Idp::start());
    bad.otherwise(|_| Answer::error(503, "temporarily_unavailable"));
    let daemon = Running::start(&(client("good", &good, ANYBODY) + &client("bad", &bad, ANYBODY)));
    daemon.get("good").await.unwrap();
    daemon.get("bad").await.unwrap_err();
    assert_eq!(check(&daemon, "").await, Serving);
    assert_eq!(check(&daemon, "bearerd.v1.TokenBroker").await, NotServing, "`bad` is required");
    assert_eq!(check(&daemon, "clients/good").await, Serving);
    assert_eq!(check(&daemon, "clients/bad").await, NotServing);
    for unknown in ["clients/unknown", "clients/", "good", "bearerd.v1.Admin", "/", " "] {
        let status = daemon.connect().await.health().check(request(unknown)).await.unwrap_err();
        let text = "no such service; known are \"\", \"bearerd.v1.TokenBroker\" and \"clients/NAME\"";
        assert_eq!((status.code(), status.message()), (Code::NotFound, text), "{unknown:?}");
    }
}

#[tokio::test]
async fn readiness_waits_for_required_clients_only() {
    let (idp, gate) = (Idp::start(), Gate::closed());
    idp.otherwise({
        let gate = gate.clone();
        move |_| Answer::token("tok", 3_600).behind(&gate)
    });
    let down = Idp::start();
    down.go_down();
    let config = client("needed", &idp, ANYBODY)
        + &client("lazy", &down, "allow = [{ any = true }]\nprefetch = false")
        + &client("optional", &down, "allow = [{ any = true }]\nrequired = false");
    let daemon = Running::start(&config);
    let mut readiness = watch(&daemon, "bearerd.v1.TokenBroker").await;
    assert_eq!(next(&mut readiness).await, Some(NotServing));
    daemon.get("optional").await.unwrap_err();
    gate.open();
    assert_eq!(next(&mut readiness).await, Some(Serving), "although `optional` fails and `lazy` is idle");
    // Somebody asks for the idle one, which is required: now it is needed, and it fails.
    daemon.get("lazy").await.unwrap_err();
    assert_eq!(next(&mut readiness).await, Some(NotServing));
    down.come_back();
    assert_eq!(next(&mut readiness).await, Some(Serving));
    assert_eq!(check(&daemon, "clients/lazy").await, Serving);
}

#[tokio::test]
async fn an_idle_client_has_no_token_but_does_not_make_the_daemon_unready() {
    let idp = Idp::start();
    let daemon = Running::start(&client("lazy", &idp, "allow = [{ any = true }]\nprefetch = false"));
    assert_eq!(check(&daemon, "clients/lazy").await, NotServing);
    assert_eq!(check(&daemon, "bearerd.v1.TokenBroker").await, Serving);
    daemon.get("lazy").await.unwrap();
    assert_eq!(check(&daemon, "clients/lazy").await, Serving);
}

#[tokio::test]
async fn a_watched_name_may_appear_and_disappear_with_a_reload() {
    let idp = Idp::start();
    let first = format!("{ADMINS}{}", client("first", &idp, ANYBODY));
    let both = format!("{first}{}", client("later", &idp, ANYBODY));
    let daemon = Running::start(&first);
    let mut stream = watch(&daemon, "clients/later").await;
    assert_eq!(next(&mut stream).await, Some(ServiceUnknown));
    assert_eq!(daemon.reload(&both).await.added, ["later"]);
    daemon.get("later").await.unwrap();
    let mut seen = next(&mut stream).await;
    if seen == Some(NotServing) {
        seen = next(&mut stream).await;
    }
    assert_eq!(seen, Some(Serving));
    assert_eq!(daemon.reload(&first).await.removed, ["later"]);
    assert_eq!(next(&mut stream).await, Some(ServiceUnknown));
}

#[tokio::test]
async fn an_outage_does_not_have_the_process_restarted() {
    let idp = Idp::start();
    idp.go_down();
    let daemon = Running::with_demo(&idp);
    let mut process = watch(&daemon, "").await;
    let mut demo = watch(&daemon, "clients/demo").await;
    assert_eq!(next(&mut process).await, Some(Serving));
    assert_eq!(next(&mut demo).await, Some(NotServing));
    daemon.get("demo").await.unwrap_err();
    idp.come_back();
    assert_eq!(next(&mut demo).await, Some(Serving));
    daemon.order(Order::Stop).await;
    assert_eq!(next(&mut process).await, Some(NotServing), "nothing was told in between");
}

#[tokio::test]
async fn draining_is_told_to_all_who_watch_and_then_the_streams_end() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    daemon.get("demo").await.unwrap();
    let mut streams = Vec::new();
    for service in ["", "bearerd.v1.TokenBroker", "clients/demo"] {
        let mut stream = watch(&daemon, service).await;
        assert_eq!(next(&mut stream).await, Some(Serving));
        streams.push(stream);
    }
    let mut unknown = watch(&daemon, "unknown").await;
    assert_eq!(next(&mut unknown).await, Some(ServiceUnknown));
    daemon.order(Order::Stop).await;
    for stream in &mut streams {
        assert_eq!(next(stream).await, Some(NotServing));
        assert_eq!(next(stream).await, None);
    }
    assert_eq!(next(&mut unknown).await, None);
}
