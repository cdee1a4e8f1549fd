//! Who a caller is and what it may have: facts and rules, no I/O.

pub mod caller;
pub mod place;
pub mod policy;
pub mod rule;

pub use caller::{Caller, Fact, Needs, Process};
pub use place::Place;
pub use policy::{Decision, Policy};
pub use rule::{Conditions, Id, Rule, Subtree, UnitName};
