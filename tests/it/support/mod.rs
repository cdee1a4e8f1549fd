//! What the tests share: a fake issuer, a daemon in this process, a daemon of its own.

pub(crate) mod binary;
pub(crate) mod daemon;
pub(crate) mod idp;
