//! The library against a scripted daemon. Time stands still and moves on when everybody waits.

mod closing;
mod fake;
mod losing;
mod reading;
mod reporting;

pub(crate) use fake::{Fake, token};
