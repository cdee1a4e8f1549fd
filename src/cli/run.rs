//! `bearerd run`

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    sync::Arc,
};

use super::{Exit, Outcome, Trouble, args, in_runtime, orders::Orders, socket};
use crate::{
    clock::SystemClock,
    config::{self, Config, Environment, Sources},
    daemon::{Daemon, Handed, Parts, StartError, engine::Engine, handover, hardening, logging, reload::Load},
    systemd::{Manager, Passed},
};

/// Runs the daemon until a signal stops it.
pub(super) fn run(named: Option<PathBuf>, args: args::RunArgs) -> Outcome {
    let handed = handed(harden(args.log)?)?;
    let sources = sources(args.config);
    let load: Load = Arc::new(move || config::load(&sources));
    let engine = engine()?;
    in_runtime(async {
        // Before anything that can take long: until then a SIGHUP would end the process.
        let mut orders = Orders::of_signals()?;
        let Some(read) = orders.read_configuration(&load).await? else { return Ok(()) };
        let config = read.map_err(|problems| Trouble::new(Exit::Configuration, refused(&problems)))?;
        let socket = match named.or_else(|| config.server.socket.clone()) {
            Some(socket) => socket,
            // It is there already.
            None if handed.listener.is_some() => PathBuf::new(),
            None => socket::place()?,
        };
        serve(Service { config, socket, load: Some(load), greet: None, handed }, &engine, orders).await
    })
}

/// What is to be served, and where.
pub(super) struct Service {
    pub(super) config: Config,
    pub(super) socket: PathBuf,
    /// Reads the configuration again, if there is one to read.
    pub(super) load: Option<Load>,
    /// Called once it serves.
    pub(super) greet: Option<Box<dyn FnOnce()>>,
    /// What comes from the service manager.
    pub(super) handed: Handed,
}

/// Serves on this thread, with the engine on another, until ordered to stop.
pub(super) async fn serve(service: Service, engine: &Engine, orders: Orders) -> Outcome {
    let Service { config, socket, load, greet, handed } = service;
    let descriptors = hardening::raise_descriptor_limit();
    let (clock, engine) = (Arc::new(SystemClock), engine.handle().clone());
    let parts = Parts { socket, clock, engine, load, descriptors, handed };
    #[cfg(debug_assertions)]
    let _hanging = hanging(parts.engine.clone())?;
    let daemon = Daemon::build(config, parts).map_err(|error| not_started(&error))?;
    if let Some(greet) = greet {
        greet();
    }
    orders.carry_out(daemon).await;
    Ok(())
}

/// Has a debug build hang on order.
#[cfg(debug_assertions)]
fn hanging(engine: tokio::runtime::Handle) -> Result<tokio::task::JoinSet<()>, Trouble> {
    let hang = crate::daemon::hang::on_signals(engine)
        .map_err(|error| Trouble::new(Exit::Unavailable, format!("cannot receive signals: {error}")))?;
    let mut hanging = tokio::task::JoinSet::new();
    hanging.spawn(hang);
    Ok(hanging)
}

/// A thread to make token requests on.
pub(super) fn engine() -> Result<Engine, Trouble> {
    Engine::start().map_err(|error| Trouble::new(Exit::Unavailable, format!("cannot start: {error}")))
}

/// Protects the process, and starts its log, before it opens or reads anything. Returns what was passed to it on purpose.
pub(super) fn harden(log: args::LogArgs) -> Result<Passed, Trouble> {
    let passed = Passed::to_process().map_err(|error| wrongly_passed(&error))?;
    hardening::drop_inherited(&passed.numbers().collect::<Vec<_>>());
    start_logging(log)?;
    hardening::hide_memory();
    hardening::forbid_core_files();
    hardening::lock_memory();
    Ok(passed)
}

/// What the service manager has for this process.
fn handed(mut passed: Passed) -> Result<Handed, Trouble> {
    let listener = passed.take_listener().map_err(|error| wrongly_passed(&error))?;
    let tokens = passed.take_stored(handover::PREFIX);
    for (name, is_socket) in passed.left() {
        // Whoever passes one means it to be served, and would wonder who is where it is not.
        if is_socket && listener.is_none() {
            let text =
                format!("the socket `{name}` is not a listening Unix stream socket (ListenStream=/path, Accept=no)");
            return Err(wrongly_passed(&io::Error::other(text)));
        }
        tracing::warn!(name, "a descriptor was passed that is of no use here; it is closed");
    }
    let manager = Manager::of_process()
        .map_err(|error| Trouble::new(Exit::Unavailable, format!("cannot speak with the service manager: {error}")))?;
    Ok(Handed { manager, listener, tokens })
}

fn wrongly_passed(error: &io::Error) -> Trouble {
    Trouble::new(Exit::Configuration, format!("what the service manager passed cannot be used: {error}"))
}

/// Starts logging for a daemon.
fn start_logging(args: args::LogArgs) -> Outcome {
    logging::start(args.log, args.log_format, io::stderr().is_terminal())
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
        StartError::Listen(_) => Exit::Unavailable,
    };
    Trouble::new(exit, error.to_string())
}
