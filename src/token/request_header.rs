//! Headers that an API wants on each call beside `Authorization`.

/// One declared header.
///
/// It belongs to the call, not to the token: one token serves every value, and a per-call value never reaches
/// the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Name as configured.
    pub name: Box<str>,
    /// Where the value comes from.
    pub value: HeaderValueRule,
}

/// Where the value of a declared header comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValueRule {
    /// The same for every call.
    Fixed(Box<str>),
    /// The caller supplies it with each call; it must match the pattern as a whole, if there is one.
    PerCall {
        /// Regular expression.
        pattern: Option<Box<str>>,
    },
}
