//! The command line: what people type, and what they are told.
//!
//! Exit codes: 0 all is well, 1 something failed while running, 2 the command line or the configuration is wrong.

mod check;
mod client;
mod functions;
mod hub;
mod init;
mod log;
mod node_dir;
mod publish;
mod start;
mod status;
mod store;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// What the exit codes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is well.
    Fine,
    /// Something failed while running.
    Failed,
    /// The command line or the configuration is wrong.
    Misused,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Fine => 0,
            Outcome::Failed => 1,
            Outcome::Misused => 2,
        })
    }
}

#[derive(Debug, Parser)]
#[command(
    name = "stentor",
    display_name = "Stentor",
    about = "One HTTP POST in, every listener reached.",
    version = env!("CARGO_PKG_VERSION")
)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a node directory and code from a template
    Init {
        /// The template; `stentor templates` lists them
        #[arg(long, default_value = "default")]
        template: String,
        /// Where to create it; the folder must not exist yet [default: the current one]
        #[arg(long)]
        appdir: Option<PathBuf>,
    },
    /// List the templates
    Templates,
    /// Start a node and stay in the foreground
    Start(StartArgs),
    /// Check a configuration and name everything that is wrong with it
    Check(Place),
    /// Tell whether a node is running
    Status {
        #[command(flatten)]
        place: Cbdir,
        /// Exit with 1 unless the node is in this state
        #[arg(long)]
        assert: Option<NodeState>,
    },
    /// Stop a running node
    Stop(Cbdir),
    /// Publish a file at a WebSub hub, and print the publication's id
    Publish(publish::PublishArgs),
    /// Look after the subscriptions of a running hub
    Hub(hub::HubArgs),
    /// List, show or try out authenticator functions
    Functions(functions::FunctionsArgs),
    /// Check or copy the store of a node, running or not
    Store {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        command: store::StoreCommand,
    },
    /// Print the version
    Version,
}

#[derive(Debug, Args)]
struct Cbdir {
    /// The node directory [default: $STENTOR_DIR or $CROSSBAR_DIR, else ./.stentor, else ./.crossbar]
    #[arg(long, value_name = "DIR", global = true)]
    cbdir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Place {
    #[command(flatten)]
    cbdir: Cbdir,
    /// The configuration file [default: config.json, config.yaml or config.yml in the node directory]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct StartArgs {
    #[command(flatten)]
    place: Place,
    /// The least important messages to show
    #[arg(long, value_enum, default_value_t = LogLevel::Info)]
    loglevel: LogLevel,
    /// How messages look
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    log_format: LogFormat,
    /// Threads that serve connections [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Allow the path type `echo`, which conformance suites need and nobody else does
    #[arg(long)]
    enable_echo: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NodeState {
    Running,
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    None,
    #[value(alias = "fatal", alias = "critical")]
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Human,
    Json,
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // clap writes help to standard output and mistakes to standard error.
            drop(error.print());
            let misused = error.use_stderr();
            return if misused { Outcome::Misused } else { Outcome::Fine }.into();
        }
    };
    match line.command {
        Command::Init { template, appdir } => init::run(&template, appdir.as_deref()),
        Command::Templates => init::list(),
        Command::Start(args) => start::run(&args),
        Command::Check(place) => check::run(&place),
        Command::Status { place, assert } => status::run(&place, assert),
        Command::Stop(place) => status::stop(&place),
        Command::Publish(args) => publish::run(&args),
        Command::Functions(args) => functions::run(&args),
        Command::Hub(args) => hub::run(&args),
        Command::Store { place, command } => store::run(&place, &command),
        Command::Version => {
            say(&format!("Stentor {}", env!("CARGO_PKG_VERSION")));
            Outcome::Fine
        }
    }
    .into()
}

/// Prints a line for people. A closed pipe is nobody's fault.
fn say(line: &str) {
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

/// Prints a line about something that is wrong.
fn complain(line: &str) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}
