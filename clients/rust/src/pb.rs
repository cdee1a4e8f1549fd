//! The generated messages and gRPC clients, for calls that a [`Channel`](crate::Channel) makes directly.
//!
//! They are checked in, so that neither `protoc` nor a build script is needed. Whoever can, uses a [`Broker`](crate::Broker)
//! instead.

use std::fmt;

/// The broker's own API, package `bearerd.v1`.
#[expect(missing_docs, reason = "generated code is documented in proto/")]
#[allow(
    clippy::pedantic,
    clippy::indexing_slicing,
    clippy::allow_attributes_without_reason,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code; which lints it trips changes with the generator"
)]
pub mod v1 {
    include!("pb/bearerd.v1.rs");
}

/// `grpc.health.v1`.
#[expect(missing_docs, reason = "generated code")]
#[allow(
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code; which lints it trips changes with the generator"
)]
pub mod health {
    include!("pb/grpc.health.v1.rs");
}

impl fmt::Debug for v1::Token {
    /// Without the token itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, id, token_type, scope, proof_required, .. } = self;
        f.debug_struct("Token")
            .field("client", client)
            .field("id", id)
            .field("token_type", token_type)
            .field("scope", scope)
            .field("proof_required", proof_required)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::SignProofResponse {
    /// Without the proof, which is good for a call as long as it is young.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignProofResponse").field("token", &self.token).finish_non_exhaustive()
    }
}
