//! The `bearerd` binary. Everything is in the library.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    bearerd::cli::main(env::args_os())
}
