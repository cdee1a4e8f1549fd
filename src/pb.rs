//! The only door to generated protobuf code: messages are those of `bearerd_client`, so that both sides of a call and
//! all that is said of a message have one type; the services are made by build.rs.

/// The broker's own API, package `bearerd.v1`.
#[allow(
    clippy::pedantic,
    clippy::indexing_slicing,
    clippy::allow_attributes_without_reason,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code; which lints it trips changes with the generator"
)]
pub mod v1 {
    pub use bearerd_client::pb::v1::*;

    tonic::include_proto!("bearerd.v1");
}

/// `grpc.health.v1`.
pub use tonic_health::pb as health;

/// Descriptors of the broker's own API, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bearerd.bin"));
