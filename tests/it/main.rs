//! All integration tests in one program: linked once, run in parallel.

mod config;
mod dev_issuer;
mod layers;
mod simulation;
mod support;
mod token_endpoint;
