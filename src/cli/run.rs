//! `bearerd run`

use std::{io::IsTerminal as _, path::PathBuf, sync::Arc};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::mpsc;

use super::{Exit, Outcome, Trouble, args, runtime, socket};
use crate::{
    clock::SystemClock,
    config::{self, Config, Environment, Sources},
    daemon::{Daemon, Parts, StartError, engine::Engine, logging, reload::Load, signals},
};

/// Runs the daemon until a signal stops it.
pub(super) fn run(named: Option<PathBuf>, args: args::RunArgs) -> Outcome {
    start_logging(args.log)?;
    let sources = sources(args.config);
    let load: Load = Arc::new(move || config::load(&sources));
    let config = load().map_err(|problems| Trouble::new(Exit::Configuration, refused(&problems)))?;
    let socket = match named.or_else(|| config.server.socket.clone()) {
        Some(socket) => socket,
        None => socket::place()?,
    };
    serve(config, socket, Some(load), None)
}

/// Serves a configuration on this thread, with the engine on another. `greet` is called once it serves.
pub(super) fn serve(config: Config, socket: PathBuf, load: Option<Load>, greet: Option<Box<dyn FnOnce()>>) -> Outcome {
    raise_descriptor_limit();
    let engine = Engine::start().map_err(|error| Trouble::new(Exit::Unavailable, format!("cannot start: {error}")))?;
    runtime()?.block_on(async {
        let (orders, received) = mpsc::channel(8);
        let signals = signals::forward(orders)
            .map_err(|error| Trouble::new(Exit::Unavailable, format!("cannot receive signals: {error}")))?;
        let parts = Parts { socket, clock: Arc::new(SystemClock), engine: engine.handle().clone(), load };
        let daemon = Daemon::build(config, parts).map_err(|error| not_started(&error))?;
        if let Some(greet) = greet {
            greet();
        }
        tokio::select! {
            () = daemon.run(received) => Ok(()),
            () = async { signals.await; std::future::pending().await } => Ok(()),
        }
    })
}

/// Each connection takes a descriptor, and the usual soft limit of 1,024 is below what `server.limits` allows.
fn raise_descriptor_limit() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "descriptor limit not raised");
    }
}

/// Starts logging for a daemon.
pub(super) fn start_logging(args: args::LogArgs) -> Outcome {
    logging::start(args.log, args.log_format, std::io::stderr().is_terminal())
        .map_err(|error| Trouble::new(Exit::Unavailable, format!("cannot start logging: {error}")))
}

/// The files and the environment of this process.
pub(super) fn sources(args: args::ConfigArgs) -> Sources {
    Sources { file: args.config, environment: Environment::of_process(), own_uid: nix::unistd::geteuid().as_raw() }
}

/// What is printed about a bad configuration.
pub(super) fn refused(problems: &config::Problems) -> String {
    let count = problems.as_slice().len();
    let noun = if count == 1 { "problem" } else { "problems" };
    format!("the configuration has {count} {noun}:\n{problems}")
}

fn not_started(error: &StartError) -> Trouble {
    let exit = match error {
        StartError::Assemble(_) => Exit::Configuration,
        StartError::Listen(_) | StartError::Reflection(_) => Exit::Unavailable,
    };
    Trouble::new(exit, error.to_string())
}
