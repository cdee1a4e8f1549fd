//! What a token is, how long it lives and when it is renewed: values and rules, no clock, no I/O.

pub mod access_token;
pub mod backoff;
pub mod failure;
pub mod judge;
pub mod lifetime;
pub mod name;
pub mod policy;
pub mod proof;
pub mod request_header;
pub mod schedule;
pub mod snapshot;
pub mod source;

pub use access_token::{AccessToken, Issued, TokenId};
pub use failure::{Failure, FailureKind};
pub use judge::{Ask, Refused, Rejection, Verdict, Waiting, Wish};
pub use name::ClientName;
pub use policy::RefreshPolicy;
pub use proof::{Binding, ProvenCall, Prover};
pub use request_header::{HeaderValueRule, RequestHeader};
pub use schedule::{Asked, Cause, Step};
pub use snapshot::{ClientState, FailureRecord, Quiet, Snapshot};
pub use source::TokenSource;
