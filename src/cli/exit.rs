//! How the process ends: the exit codes, and the error behind them.

use std::{fmt, io::Write as _, process::ExitCode};

use bearerd_client::ConnectError;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Exit codes (`sysexits.h`), documented in `bearerd --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 2: the command line is wrong.
    Usage,
    /// 69: the daemon or a token is not available, and waiting alone will not change that.
    Unavailable,
    /// 75: try again later.
    TryAgain,
    /// 77: this user may not.
    NotAllowed,
    /// 78: the configuration is wrong, or says nothing about the client.
    Configuration,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Unavailable => 69,
            Self::TryAgain => 75,
            Self::NotAllowed => 77,
            Self::Configuration => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What a verb ends with. What it has to say on success it has printed.
pub type Outcome = Result<(), Trouble>;

/// Why a verb did not do what it was to do.
#[derive(Debug)]
pub struct Trouble {
    /// How the process ends.
    pub exit: Exit,
    /// What is printed on standard error; empty: nothing more to say.
    pub text: String,
}

impl Trouble {
    /// An error with its exit code.
    #[must_use]
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }

    /// Prints it. A closed standard error leaves nobody to tell.
    pub fn print(&self) {
        if !self.text.is_empty() {
            let _ = writeln!(std::io::stderr(), "bearerd: {}", self.text);
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<ConnectError> for Trouble {
    fn from(error: ConnectError) -> Self {
        let exit = if error.not_allowed() { Exit::NotAllowed } else { Exit::Unavailable };
        Self::new(exit, error.to_string())
    }
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        let exit = match status.code() {
            Code::NotFound => Exit::Configuration,
            Code::PermissionDenied => Exit::NotAllowed,
            Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
            Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled => Exit::TryAgain,
            // The daemon says when to come back; without that it is not the daemon that speaks.
            Code::Unavailable if status.get_details_retry_info().is_some() => Exit::TryAgain,
            _ => Exit::Unavailable,
        };
        if closed(&status) {
            return Self::new(Exit::Unavailable, "the daemon has closed the connection");
        }
        let reason = status.get_details_error_info().map(|info| info.reason);
        let text = match reason {
            Some(reason) => format!("{} [{reason}]", status.message()),
            None if status.message().is_empty() => format!("the daemon answered {:?}", status.code()),
            None => status.message().to_owned(),
        };
        Self::new(exit, text)
    }
}

/// Whether it is not the daemon that speaks but the library below, because the daemon has gone.
fn closed(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(|error| error.is_closed() || error.is_canceled()) {
            return true;
        }
        cause = error.source();
    }
    false
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Unavailable, format!("cannot write the output: {error}"))
    }
}
