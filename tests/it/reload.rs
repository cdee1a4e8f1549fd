//! Another configuration for a running daemon: what changes, what does not, and who notices.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use bearerd::daemon::Order;
use bearerd_client::pb::v1;
use tokio::task::JoinSet;

use crate::support::{
    daemon::{ADMINS, ANYBODY, Running, client, within},
    idp::{Answer, Idp},
};

fn token_request(client: &str) -> v1::GetTokenRequest {
    v1::GetTokenRequest { client: client.to_owned(), ..v1::GetTokenRequest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_an_unchanged_client_notice_nothing() {
    let (idp, others) = (Idp::start(), Idp::start());
    let steady = format!("{ADMINS}{}", client("steady", &idp, ANYBODY));
    let config = |number: usize| {
        let changing = client("changing", &others, &format!("{ANYBODY}\nscope = [\"s{number}\"]"));
        steady.clone() + &changing + &client(&format!("passing-{number}"), &others, ANYBODY)
    };
    let daemon = Running::start(&config(0));
    let token = daemon.get("steady").await.unwrap();
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let (over, calls, id) = (Arc::clone(&over), Arc::clone(&calls), token.id.clone());
        let mut broker = daemon.connect().await.broker();
        callers.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let response = broker.get_token(token_request("steady")).await.unwrap().into_inner();
                assert_eq!(response.token.unwrap().id, id);
                calls.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for number in 1..=20 {
        let before = calls.load(Ordering::Relaxed);
        let reloaded = daemon.reload(&config(number)).await;
        let expected = v1::ReloadResponse {
            applied: true,
            added: vec![format!("passing-{number}")],
            changed: vec!["changing".to_owned()],
            removed: vec![format!("passing-{}", number - 1)],
            unchanged: 1,
            ..v1::ReloadResponse::default()
        };
        assert_eq!(reloaded, expected);
        within(async {
            while calls.load(Ordering::Relaxed) == before {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    over.store(true, Ordering::Relaxed);
    within(callers.join_all()).await;
    assert_eq!(idp.request_count(), 1);
}

#[tokio::test]
async fn who_may_have_it_changes_without_a_new_token() {
    let idp = Idp::start();
    let daemon = Running::start(&format!("{ADMINS}{}", client("demo", &idp, ANYBODY)));
    let token = daemon.get("demo").await.unwrap();
    let more = "allow = [{ any = true }, { uid = 12345 }]\nrequired = false\n\
                request_headers = { X-Partner = { value = \"acme\" } }";
    let reloaded = daemon.reload(&format!("{ADMINS}{}", client("demo", &idp, more))).await;
    assert_eq!((reloaded.changed, reloaded.unchanged), (vec!["demo".to_owned()], 0));
    let after = daemon.get("demo").await.unwrap();
    assert_eq!((&after.id, &after.access_token), (&token.id, &token.access_token));
    assert_eq!(after.headers[0].value, "acme");
    assert!(!daemon.status("demo").await.required);
    assert_eq!(idp.request_count(), 1);
}

#[tokio::test]
async fn another_endpoint_means_another_token_and_another_schedule_does_not() {
    let (idp, other) = (Idp::start(), Idp::start());
    other.otherwise(|number| Answer::token(&format!("other-{number}"), 3_600));
    let daemon = Running::start(&format!("{ADMINS}{}", client("demo", &idp, ANYBODY)));
    let before = daemon.get("demo").await.unwrap();
    let moved = format!("{ADMINS}{}", client("demo", &other, ANYBODY));
    assert_eq!(daemon.reload(&moved).await.changed, ["demo"]);
    let after = daemon.get("demo").await.unwrap();
    assert_eq!(after.access_token, "other-1");
    assert_ne!(after.id, before.id);
    for more in ["refresh = { min_validity = \"1s\" }", "timeouts = { attempt = \"7s\" }", "budget = { per_day = 9 }"] {
        assert_eq!(daemon.reload(&format!("{moved}{more}\n")).await.changed, ["demo"], "{more}");
        assert_eq!(daemon.get("demo").await.unwrap().id, after.id, "{more}");
    }
    assert_eq!((idp.request_count(), other.request_count()), (1, 1));
    let scoped = format!("{moved}scope = [\"other\"]\n");
    assert_eq!(daemon.reload(&scoped).await.changed, ["demo"]);
    assert_eq!(daemon.get("demo").await.unwrap().access_token, "other-2");
}

#[tokio::test]
async fn a_caller_who_waits_is_answered_by_the_successor() {
    let (idp, other) = (Idp::start(), Idp::start());
    idp.otherwise(|_| Answer::never());
    let lazy = "allow = [{ any = true }]\nprefetch = false";
    let daemon = Running::start(&format!("{ADMINS}{}", client("demo", &idp, lazy)));
    let mut broker = daemon.connect().await.broker();
    let reload = async {
        // Nobody else asks: when the request is there, the call waits.
        idp.wait_for_requests(1).await;
        daemon.reload(&format!("{ADMINS}{}", client("demo", &other, ANYBODY))).await
    };
    let (answered, reloaded) = within(async { tokio::join!(broker.get_token(token_request("demo")), reload) }).await;
    assert_eq!(reloaded.changed, ["demo"]);
    assert_eq!(answered.unwrap().into_inner().token.unwrap().access_token, "tok-1");
    assert_eq!(other.request_count(), 1);
}

#[tokio::test]
async fn with_any_problem_nothing_changes_and_every_problem_comes_back() {
    let idp = Idp::start();
    let good = format!("{ADMINS}{}", client("demo", &idp, ANYBODY));
    let daemon = Running::start(&good);
    let token = daemon.get("demo").await.unwrap();
    let bad = "[server]\nmode = \"0x\"\n[clients.demo]\ntoken_url = \"ftp://x.example/\"\nclient_id = \"a\"\n\
               [clients.new]\ntoken_url = \"https://x.example/token\"\nclient_id = \"a\"\n\
               client_secret = { file = \"/nowhere\" }\n";
    let reloaded = daemon.reload(bad).await;
    assert!(!reloaded.applied);
    let file = daemon.dir().join("bearerd.toml").display().to_string();
    assert!(reloaded.problems.iter().all(|problem| problem.file == file), "{:?}", reloaded.problems);
    let paths: Vec<_> = reloaded.problems.iter().map(|problem| (&*problem.path, &*problem.message)).collect();
    let expected = [
        ("clients.demo.client_secret", "is missing"),
        ("clients.demo.token_url", "is not an https:// URL"),
        ("server.mode", "is not a file mode"),
    ];
    assert_eq!(paths, expected);
    assert_eq!(reloaded.problems[2].remedy, "write three octal digits in quotes, like \"0660\"");
    assert_eq!(
        v1::ReloadResponse { problems: Vec::new(), ..reloaded },
        v1::ReloadResponse::default(),
        "nothing was added, changed or removed"
    );
    assert_eq!(daemon.get("demo").await.unwrap(), token);
    assert!(daemon.get("new").await.is_err());
    // Those who could administer still can.
    assert!(daemon.reload(&good).await.applied);
    assert_eq!(idp.request_count(), 1);
}

#[tokio::test]
async fn what_needs_a_restart_is_said() {
    let idp = Idp::start();
    let clients = client("demo", &idp, ANYBODY);
    let daemon = Running::start(&format!("{ADMINS}{clients}"));
    let more = "mode = \"0600\"\ndrain = \"3s\"\nlimits = { calls_per_uid = 7 }\n";
    let reloaded = daemon.reload(&format!("{ADMINS}{more}{clients}")).await;
    assert!(reloaded.applied);
    let notes = [
        "server.mode changed; it takes effect at the next restart",
        "server.limits changed; it takes effect at the next restart",
        "server.drain changed; it takes effect at the next restart",
    ];
    assert_eq!(reloaded.notes, notes);
}

#[tokio::test]
async fn the_signal_to_reload_does_the_same() {
    let idp = Idp::start();
    let daemon = Running::start(&client("demo", &idp, ANYBODY));
    let mut revisions = daemon.registry().revisions();
    daemon.write_config(&(client("demo", &idp, ANYBODY) + &client("added", &idp, ANYBODY)));
    daemon.order(Order::Reload).await;
    within(revisions.changed()).await.unwrap();
    assert_eq!(daemon.get("added").await.unwrap().client, "added");
}

#[tokio::test]
async fn every_one_of_many_who_order_a_reload_is_answered() {
    let idp = Idp::start();
    let text = format!("{ADMINS}{}", client("demo", &idp, ANYBODY));
    let daemon = Running::start(&text);
    let mut orders = JoinSet::new();
    for _ in 0..16 {
        let mut admin = daemon.connect().await.admin();
        orders.spawn(async move { admin.reload(v1::ReloadRequest {}).await.unwrap().into_inner() });
    }
    let answers = within(orders.join_all()).await;
    assert_eq!(answers.len(), 16);
    assert!(answers.iter().all(|answer| answer.applied && answer.unchanged == 1), "{answers:?}");
}
