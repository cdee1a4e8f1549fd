//! The one seam between the engine and the world that issues tokens.

use std::{future::Future, pin::Pin};

use super::{Failure, Issued};
use crate::sensitive::Sensitive;

/// The outcome of one attempt, on its way.
///
/// Boxed so that an idle client does not carry the state of a request it is not making.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Issued, Failure>> + Send + 'a>>;

/// A look at the credentials, on its way. It ends within seconds and never blocks the thread.
pub type Looking<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// A token being revoked. The error is for a person.
pub type Revoking<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// Something that can be asked for a new token.
pub trait TokenSource: Send + Sync + 'static {
    /// Makes one attempt.
    ///
    /// It ends within the attempt's time limit, whatever the other side does. On failure nothing is kept; the
    /// next attempt starts afresh and reads the secret again.
    fn fetch(&self) -> Fetching<'_>;

    /// Tells the issuer that a token is not needed any more, where that is wanted; otherwise does nothing.
    fn revoke<'a>(&'a self, _token: &'a Sensitive) -> Revoking<'a> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Whether the credentials are others than at the last attempt, found out without using them. False when that cannot
    /// be told, for example because a file system does not answer.
    ///
    /// A client whose credentials were refused is tried again when they are.
    fn credentials_changed(&self) -> Looking<'_>;
}
