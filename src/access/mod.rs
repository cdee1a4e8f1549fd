//! Who a caller is and what it may have: facts and rules, no I/O.

pub mod caller;
pub mod policy;
pub mod rule;

pub use caller::Caller;
pub use policy::{Decision, Policy};
pub use rule::Rule;
