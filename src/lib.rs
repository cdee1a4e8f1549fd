//! `bearerd` keeps a fresh OAuth 2.0 access token for every configured client and serves it to the local processes
//! that may have it, over gRPC on a Unix socket.
//!
//! This library is what the binary is made of. Its modules stand in storeys and import only downward; a test
//! (`tests/it/layers.rs`) keeps that true, ARCHITECTURE.md draws it.

pub mod access;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod dev;
pub mod json;
pub mod lifecycle;
pub mod moment;
pub mod oauth;
pub mod pb;
pub mod peer;
pub mod refresh;
pub mod secret;
pub mod sensitive;
pub mod server;
pub mod systemd;
pub mod token;
