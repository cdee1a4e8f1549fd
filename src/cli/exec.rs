//! `bearerd exec`

use std::{io, os::unix::process::CommandExt as _, path::PathBuf, process::Command};

use super::{Exit, Outcome, Trouble, args, token};

/// Becomes the command, with the token in its environment. Returns only when that fails.
pub(super) async fn exec(named: Option<PathBuf>, args: args::ExecArgs) -> Outcome {
    let bad_name = args.env.is_empty() || args.env.contains(['=', '\0']);
    if bad_name {
        return Err(Trouble::new(Exit::Usage, format!("--env {}: not a name for a variable", args.env)));
    }
    let (program, arguments) =
        args.command.split_first().ok_or_else(|| Trouble::new(Exit::Usage, "no command; write it behind --"))?;
    let (token, rejection) = token::fetch(named, args.ask).await?;
    token::replaced(&token, rejection)?;
    let error = Command::new(program).args(arguments).env(&args.env, &token.access_token).exec();
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "; is it installed and on the PATH?",
        io::ErrorKind::PermissionDenied => "; is it executable?",
        _ => "",
    };
    Err(Trouble::new(Exit::Usage, format!("cannot run {}: {error}{remedy}", program.display())))
}
