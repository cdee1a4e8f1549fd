//! The definitions that parsing, help, man pages and completions come from.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Arg, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::daemon::logging::{LogFilter, LogFormat};

/// Keeps OAuth 2.0 access tokens fresh and hands them to local processes over gRPC.
#[derive(Debug, Parser)]
#[command(
    name = "bearerd",
    version,
    about,
    after_help = "Exit codes: 0 done; 2 wrong usage; 69 the daemon or a token is not available; 75 try again later; \
                  77 not allowed; 78 configuration.",
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Args {
    /// Socket of the daemon [default: /run/bearerd/bearerd.sock if it is there, else
    /// $XDG_RUNTIME_DIR/bearerd/bearerd.sock, or without that variable $HOME/.bearerd/bearerd/bearerd.sock]
    #[arg(long, global = true, env = "BEARERD_SOCKET", value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub socket: Option<PathBuf>,

    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

impl Args {
    /// What the words and the environment say.
    ///
    /// # Errors
    /// They make no sense, or they ask for the help or the version.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = without_empty_variables(Self::command()).try_get_matches_from(words)?;
        Self::from_arg_matches(&matches)
    }
}

/// A variable that is set to nothing counts as not set: that is how one is taken back in unit files and scripts.
#[expect(clippy::disallowed_methods, reason = "the variables that the definitions name; the library reads them too")]
fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if is_empty(&arg) { arg.env(None::<&'static str>) } else { arg })
        .mut_subcommands(without_empty_variables)
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the daemon in the foreground
    Run(RunArgs),
    /// Run a daemon with an embedded authorization server and a demo client: no configuration, no root
    Dev(DevArgs),
    /// Check the configuration and name every problem
    Check(CheckArgs),
    /// Print a client's access token
    Token(TokenArgs),
    /// Print the header lines an API call needs, for `curl -H @-`
    Headers(HeadersArgs),
    /// Run a command with a client's access token in its environment
    Exec(ExecArgs),
    /// Speak the credential protocol of git or kubectl
    #[command(subcommand)]
    Credential(CredentialArgs),
    /// Show how the clients are doing
    Status(StatusArgs),
    /// Print one line about the daemon's or a client's health, for monitors
    Health(HealthArgs),
    /// Ask the issuer for a new token of a client now (administrators)
    Refresh(RefreshArgs),
    /// Read the configuration again (administrators)
    Reload(ReloadArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print the manual page
    Man(ManArgs),
}

/// Where log lines go.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// Level (off, error, warn, info, debug, trace) or levels by target (info,bearerd=debug)
    #[arg(long, env = "BEARERD_LOG", value_name = "FILTER", default_value = "info")]
    pub log: LogFilter,

    /// What log lines look like
    #[arg(long, env = "BEARERD_LOG_FORMAT", value_name = "FORMAT", default_value = "auto")]
    pub log_format: LogFormat,
}

/// `bearerd run`
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

/// Which configuration.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// Main configuration file; conf.d/*.toml beside it is read too
    #[arg(
        long,
        env = "BEARERD_CONFIG",
        value_name = "FILE",
        default_value = "/etc/bearerd/bearerd.toml",
        value_hint = ValueHint::FilePath
    )]
    pub config: PathBuf,
}

/// `bearerd dev`
#[derive(Debug, clap::Args)]
pub struct DevArgs {
    /// How long the demo tokens live
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub lifetime: Duration,

    /// Port of the embedded authorization server on 127.0.0.1; 0: any free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,

    #[command(flatten)]
    pub log: LogArgs,
}

/// `bearerd check`
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub config: ConfigArgs,

    /// Make one real token request for each client, and say what is odd about the answers; beware of issuers whose new
    /// token revokes the old one (WSO2 by default): a running daemon's token is revoked
    #[arg(long, conflicts_with = "user")]
    pub online: bool,

    /// Where an issuer refuses a client's secret or key, try the other ways to use it, once each, and say which it takes;
    /// beware of issuers that lock a client out after some refusals
    #[arg(long, requires = "online")]
    pub try_methods: bool,

    #[command(flatten)]
    pub supposed: SupposedArgs,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A caller to try the rules with.
#[derive(Debug, clap::Args)]
pub struct SupposedArgs {
    /// Say which tokens a process of this user (a name or a number) would get, and why; run as the daemon's user, who is
    /// taken to be whoever runs this
    #[arg(long = "as", value_name = "USER")]
    pub user: Option<String>,

    /// Suppose that the process belongs to this unit of the system manager
    #[arg(long, value_name = "UNIT", requires = "user")]
    pub unit: Option<String>,
}

/// `bearerd token`
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    #[command(flatten)]
    pub ask: AskArgs,

    /// Print the token with everything that belongs to it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which token.
#[derive(Debug, clap::Args)]
pub struct AskArgs {
    /// Name of the client in the configuration
    #[arg(value_name = "CLIENT")]
    pub client: String,

    /// How long the token must at least be valid [default: the smaller of 30s and a tenth of its life]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub min_validity: Option<Duration>,

    /// Id of a token that the API answered with 401; it is replaced if it is still the current one, and if that is not
    /// done the exit code is 75
    #[arg(long, value_name = "ID")]
    pub rejected: Option<String>,

    /// How long to wait for a first token
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// `bearerd headers`
#[derive(Debug, clap::Args)]
pub struct HeadersArgs {
    #[command(flatten)]
    pub ask: AskArgs,

    /// Value of a header that the API wants with each call
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,

    /// HTTP method of the call, for a client whose calls each need a proof (DPoP)
    #[arg(long, value_name = "METHOD", requires = "url")]
    pub method: Option<String>,

    /// URL of the call, for the same
    #[arg(long, value_name = "URL", requires = "method")]
    pub url: Option<String>,

    /// What the API gave last in its DPoP-Nonce header, for the same
    #[arg(long, value_name = "NONCE", requires = "method")]
    pub nonce: Option<String>,

    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// `bearerd exec`
#[derive(Debug, clap::Args)]
pub struct ExecArgs {
    #[command(flatten)]
    pub ask: AskArgs,

    /// Variable that holds the token
    #[arg(long, value_name = "VARIABLE", default_value = "BEARERD_TOKEN")]
    pub env: String,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// `bearerd credential`
#[derive(Debug, Subcommand)]
pub enum CredentialArgs {
    /// A helper for git: credential.helper = "!bearerd credential git CLIENT"
    Git {
        /// Name of the client in the configuration
        #[arg(value_name = "CLIENT")]
        client: String,
        /// What the server wants as the name beside a token as the password
        #[arg(long, value_name = "NAME", default_value = "oauth2", conflicts_with = "bearer")]
        username: String,
        /// Send the token as Bearer, not as a password (git 2.46)
        #[arg(long)]
        bearer: bool,
        /// What git asks for: get, erase or store
        #[arg(value_name = "OPERATION")]
        operation: String,
    },
    /// A plugin for kubectl and client-go: `exec` of a user in a kubeconfig
    Kubernetes {
        /// Name of the client in the configuration
        #[arg(value_name = "CLIENT")]
        client: String,
    },
}

/// `bearerd status`
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Only this client, with everything that is known about it
    #[arg(value_name = "CLIENT")]
    pub client: Option<String>,

    /// Go on showing changes until interrupted
    #[arg(long, short)]
    pub watch: bool,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `bearerd health`
#[derive(Debug, clap::Args)]
pub struct HealthArgs {
    /// Only this client [default: every required client]
    #[arg(value_name = "CLIENT")]
    pub client: Option<String>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `bearerd refresh`
#[derive(Debug, clap::Args)]
pub struct RefreshArgs {
    /// Name of the client in the configuration
    #[arg(value_name = "CLIENT")]
    pub client: String,

    /// How long to wait for the outcome
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `bearerd reload`
#[derive(Debug, clap::Args)]
pub struct ReloadArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `bearerd completions`
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// `bearerd man`
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The page of this verb instead of the whole command's
    #[arg(value_name = "VERB")]
    pub command: Option<String>,
}
