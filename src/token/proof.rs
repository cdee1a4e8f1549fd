//! Tokens that are bound to a key, so that a stolen one is worth nothing (RFC 9449).

use std::{fmt, sync::Arc};

use crate::sensitive::Sensitive;

/// One call of an API that a bound token is to be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenCall<'a> {
    /// The HTTP method (`htm`).
    pub method: &'a str,
    /// The URL without query and fragment (`htu`).
    pub url: &'a str,
    /// What the API gave in `DPoP-Nonce`, if it did.
    pub nonce: Option<&'a str>,
}

/// Holds a key and proves it. The key never leaves it.
pub trait Prover: Send + Sync {
    /// A proof for this call with this token, good for one use. `None` when the system gives no random numbers.
    fn prove(&self, call: &ProvenCall<'_>, token: &Sensitive) -> Option<String>;
}

/// The key that a token is bound to. Equal only to itself; `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Binding(Arc<dyn Prover>);

impl Binding {
    /// To the key that this holds.
    #[must_use]
    pub fn to(prover: Arc<dyn Prover>) -> Self {
        Self(prover)
    }

    /// See [`Prover::prove`].
    #[must_use]
    pub fn prove(&self, call: &ProvenCall<'_>, token: &Sensitive) -> Option<String> {
        self.0.prove(call, token)
    }
}

impl PartialEq for Binding {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Binding {}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding").finish_non_exhaustive()
    }
}
