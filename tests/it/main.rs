//! All integration tests in one program: linked once, run in parallel.

#![allow(
    clippy::pedantic,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    reason = "what fails here fails its test; time and tasks are real"
)]

mod authorize;
mod bad_input;
mod cli;
mod config;
mod connection;
mod credentials;
mod dev_issuer;
mod docs;
mod get_token;
mod health;
mod http_view;
mod layers;
mod limits;
mod outage;
mod reload;
mod report;
mod secrets_stay_secret;
mod service_manager;
mod simulation;
mod socket_file;
mod support;
mod token_endpoint;
mod watch;
