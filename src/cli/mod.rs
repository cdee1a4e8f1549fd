//! The command line: one small file per verb over one set of definitions (`args`).

mod admin;
mod args;
mod check;
mod credential;
mod dev;
mod exec;
mod exit;
mod headers;
mod health;
mod methods;
mod orders;
mod output;
mod progress;
mod run;
mod socket;
mod status;
mod supposed;
mod table;
mod token;

use std::{ffi::OsString, process::ExitCode};

use tokio::runtime;

use crate::daemon::{hardening, logging};
pub use args::Args;
use args::Verb;
pub use exit::{Exit, Outcome, Trouble};

/// Runs the command line and says how the process is to end.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::read(words) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are no errors and go to standard output; clap knows which is which.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    // Every verb may hold a token. A command that `exec` runs starts anew in this respect.
    hardening::hide_memory();
    let outcome = perform(args);
    logging::flush();
    match outcome {
        Ok(code) => code,
        Err(trouble) => {
            trouble.print();
            trouble.exit.into()
        }
    }
}

fn perform(args: Args) -> Result<ExitCode, Trouble> {
    let socket = args.socket;
    match args.verb {
        Verb::Check(args) => in_runtime(check::check(args)),
        Verb::Completions(args) => output::completions(args.shell),
        Verb::Credential(args) => in_runtime(credential::credential(socket, args)),
        Verb::Dev(args) => dev::dev(socket, args),
        Verb::Exec(args) => in_runtime(exec::exec(socket, args)),
        Verb::Headers(args) => in_runtime(headers::headers(socket, args)),
        Verb::Health(args) => in_runtime(health::health(socket, args)),
        Verb::Man(args) => output::man(args.command.as_deref()),
        Verb::Refresh(args) => in_runtime(admin::refresh(socket, args)),
        Verb::Reload(args) => in_runtime(admin::reload(socket, args)),
        Verb::Run(args) => run::run(socket, args),
        Verb::Status(args) => in_runtime(status::status(socket, args)),
        Verb::Token(args) => in_runtime(token::token(socket, args)),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Runs one verb on a runtime of one thread: starting more would take longer than most verbs.
fn in_runtime(verb: impl Future<Output = Outcome>) -> Outcome {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::new(Exit::Unavailable, format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(verb);
    // A read that hangs (on a dead file system) must not keep the process.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{RecvTimeoutError, channel},
        time::Duration,
    };

    use super::*;

    #[test]
    fn what_hangs_is_not_waited_for() {
        let (release, held) = channel::<()>();
        let (tell, told) = channel();
        let (started, starting) = tokio::sync::oneshot::channel();
        let outcome = in_runtime(async {
            let hanging = tokio::task::spawn_blocking(move || {
                started.send(()).unwrap();
                tell.send(held.recv_timeout(Duration::from_secs(20))).unwrap();
            });
            starting.await.unwrap();
            drop(hanging);
            Ok(())
        });
        assert!(outcome.is_ok());
        drop(release);
        assert_eq!(told.recv(), Ok(Err(RecvTimeoutError::Disconnected)), "not let go by its own time limit");
    }
}
