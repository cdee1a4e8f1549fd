//! Client of bearerd, the token broker daemon.

mod channel;
mod connect_error;
pub mod pb;
pub mod socket;

pub use channel::Channel;
pub use connect_error::ConnectError;
