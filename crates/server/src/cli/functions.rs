//! `stentor functions`: the authenticator functions of a node, and one of them asked about a made-up request.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use stentor_websub::address;
use stentor_websub::authenticator::{TopicVerdict, Verdict};

use super::{LogFormat, LogLevel, Outcome, Place, check, complain, log, node_dir, say};
use crate::config::{
    AuthenticatorConfig, FunctionCode, FunctionConfig, HubConfig, NodeConfig, PathConfig, TransportKind,
    is_function_name,
};
use crate::node::sidecar_options;
use crate::sidecar::{self, Condition, Question, READY, Sidecar, Source};

/// The options of `functions`.
#[derive(Debug, Args)]
pub(super) struct FunctionsArgs {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: FunctionsCommand,
}

#[derive(Debug, Subcommand)]
enum FunctionsCommand {
    /// The functions of the node directory, and those of the library
    List,
    /// Print the code of a function, to read or to copy
    Show {
        #[arg(value_parser = name)]
        name: String,
    },
    /// Run a function once and print its verdict; exits with 1 unless the subscription is allowed
    Test(TestArgs),
    /// List the Python environments that no hub of the configuration needs; with --remove, remove them
    Prune {
        /// Remove what is listed; the node must not be running
        #[arg(long)]
        remove: bool,
    },
}

#[derive(Debug, Args)]
struct TestArgs {
    /// The function [default: that of the hub]
    #[arg(value_parser = name)]
    name: Option<String>,
    /// The hub whose requirements and settings are taken, where several have a function
    #[arg(long, value_name = "NAME")]
    hub: Option<String>,
    /// A header field of the request, such as 'Authorization: Bearer abc'; may be repeated
    #[arg(long = "header", value_name = "FIELD", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The topic to subscribe to
    #[arg(long, value_name = "URL", value_parser = topic)]
    topic: String,
    /// The callback in the form
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1/callback")]
    callback: String,
    /// The address that the request comes from
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    client: String,
}

fn name(text: &str) -> Result<String, String> {
    let sentence = "a function's name is 1 to 80 letters, digits, '_', '-' and '.', without '.py' behind";
    if is_function_name(text) { Ok(text.to_owned()) } else { Err(sentence.to_owned()) }
}

/// The topic as the hub reads it.
fn topic(text: &str) -> Result<String, String> {
    address::topic(text).map(|topic| topic.as_str().to_owned()).map_err(|fault| fault.to_string())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header field is written 'Name: value'")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

pub(super) fn run(args: &FunctionsArgs) -> Outcome {
    let dir = node_dir::resolve(&args.place.cbdir);
    let outcome = match &args.command {
        FunctionsCommand::List => list(&dir.path),
        FunctionsCommand::Show { name } => Source::named(name, &dir.path).read().map(|code| {
            say(code.trim_end());
            Outcome::Fine
        }),
        FunctionsCommand::Test(test) => {
            function(args, test, &dir).and_then(|(hub, config)| try_out(test, &hub, &config))
        }
        FunctionsCommand::Prune { remove } => {
            let wish = if *remove { Wish::Remove } else { Wish::List };
            prune(args, &dir, wish)
        }
    };
    outcome.unwrap_or_else(|sentence| {
        complain(&format!("Error: {sentence}"));
        Outcome::Misused
    })
}

fn list(dir: &Path) -> Result<Outcome, String> {
    let folder = dir.join("functions");
    let mut own: Vec<String> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.filter_map(|entry| own_name(&entry.ok()?.path())).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(format!("{} cannot be read: {error}", folder.display())),
    };
    own.sort();
    for name in &own {
        let checked = Source::named(name, dir).read().map_err(|reason| sidecar::CodeFault { line: 0, reason });
        let checked = checked.and_then(|code| sidecar::check(&code, Path::new("python3")));
        let note = checked.map_or_else(|fault| format!("line {}: {}", fault.line, fault.reason), |()| String::new());
        say(format!("  {name:<16} {}  {note}", folder.join(format!("{name}.py")).display()).trim_end());
    }
    for ready in READY.iter().filter(|ready| !own.iter().any(|name| name == ready.name)) {
        say(&format!("  {:<16} {}", ready.name, ready.about));
    }
    say("\nstentor functions show NAME prints one; copied to functions/NAME.py, it is yours to change.");
    Ok(Outcome::Fine)
}

/// What is to become of environments that nobody needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    List,
    Remove,
}

fn prune(args: &FunctionsArgs, dir: &node_dir::NodeDir, wish: Wish) -> Result<Outcome, String> {
    // A node that runs may use another configuration than the one that is there now; with this lock, none starts meanwhile.
    let claim = match wish {
        Wish::List => None,
        Wish::Remove => Some(node_dir::claim(&dir.path).map_err(|error| {
            match error {
                node_dir::ClaimError::Running(_) => {
                    "the node is running, and may need what the configuration does not name any more; stop it first"
                        .to_owned()
                }
                node_dir::ClaimError::Io(error) => format!("{} cannot be locked: {error}", dir.path.display()),
            }
        })?),
    };
    let report = check::read(&node_dir::find_config(dir, &args.place)?, &dir.path);
    let Some(config) = &report.config else {
        check::tell(&report);
        return Err("the configuration is at fault".to_owned());
    };
    let mut found = Vec::new();
    collect(config, &mut found);
    let used: Vec<sidecar::Options> = found.iter().map(|(hub, function)| sidecar_options(hub, function)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("there is no runtime: {error}"))?;
    let unused = runtime.block_on(sidecar::unused(&dir.path, &used))?;
    for folder in &unused {
        if wish == Wish::Remove {
            folder.remove()?;
        }
        let verb = if wish == Wish::Remove { "removed" } else { "unused" };
        say(&format!("{verb}  {}  ({})", folder.path.display(), folder.about));
    }
    if unused.is_empty() {
        say("every Python environment is needed");
    }
    drop(claim);
    Ok(Outcome::Fine)
}

fn own_name(path: &Path) -> Option<String> {
    let is_python = path.extension().is_some_and(|extension| extension == "py");
    is_python.then(|| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))?
}

/// The function that is meant, with what the configuration says about it; without a configuration, with nothing.
fn function(
    args: &FunctionsArgs,
    test: &TestArgs,
    dir: &node_dir::NodeDir,
) -> Result<(String, FunctionConfig), String> {
    let config = node_dir::find_config(dir, &args.place).ok().map(|source| check::read(&source, &dir.path));
    if let Some(report) = config.as_ref().filter(|report| report.config.is_none()) {
        check::tell(report);
        return Err("the configuration is at fault".to_owned());
    }
    let config = config.and_then(|report| report.config);
    let mut found: Vec<(String, FunctionConfig)> = Vec::new();
    config.iter().for_each(|config| collect(config, &mut found));
    found.retain(|(hub, _)| test.hub.as_ref().is_none_or(|wanted| wanted == hub));
    if let Some(wanted) = &test.name {
        found.retain(|(_, function)| matches!(&function.code, FunctionCode::Named { name, .. } if name == wanted));
        if found.is_empty() && test.hub.is_none() {
            if !dir.path.is_dir() {
                return Err(format!("there is no node directory {}; `stentor init` makes one", dir.path.display()));
            }
            let function = FunctionConfig::bare(wanted, &dir.path);
            Source::named(wanted, &dir.path).read()?;
            return Ok(("test".to_owned(), function));
        }
    }
    match found.len() {
        0 => Err("no hub of this configuration has such a function; name one".to_owned()),
        1 => Ok(found.remove(0)),
        _ => Err("several hubs have a function; say which with --hub".to_owned()),
    }
}

fn collect(config: &NodeConfig, found: &mut Vec<(String, FunctionConfig)>) {
    for transport in config.routers.iter().flat_map(|router| &router.transports) {
        if let TransportKind::Web { paths, .. } = &transport.kind {
            collect_paths(paths, found);
        }
    }
}

fn collect_paths(paths: &[(String, PathConfig)], found: &mut Vec<(String, FunctionConfig)>) {
    for (_, path) in paths {
        match path {
            PathConfig::WebSubHub(hub) => {
                let HubConfig { name, authenticator, .. } = &**hub;
                if let AuthenticatorConfig::Function(function) = authenticator {
                    found.push((name.clone(), (**function).clone()));
                }
            }
            PathConfig::Nested { paths } => collect_paths(paths, found),
            _ => {}
        }
    }
}

fn try_out(test: &TestArgs, hub: &str, config: &FunctionConfig) -> Result<Outcome, String> {
    let log = log::set_up(LogLevel::Info, LogFormat::Human);
    let mut options = sidecar_options(hub, config);
    options.workers = 1;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("there is no runtime: {error}"))?;
    let verdict = runtime.block_on(ask(options, question(test)));
    drop(log);
    Ok(tell(&verdict?, &test.topic))
}

async fn ask(options: sidecar::Options, question: Question) -> Result<Verdict, String> {
    let sidecar = Sidecar::start(options, Arc::default()).map_err(|error| format!("there is no thread: {error}"))?;
    let mut condition = sidecar.condition();
    let ready = condition.wait_for(|now| *now != Condition::Preparing).await;
    let ready = ready.map_err(|_| "the function cannot be run".to_owned())?.clone();
    let verdict = match ready {
        Condition::Failed(_) => Verdict::Unavailable,
        Condition::Preparing | Condition::Serving => sidecar.ask(question).await,
    };
    sidecar.stop().await;
    Ok(verdict)
}

fn question(test: &TestArgs) -> Question {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let body =
        format!("hub.mode=subscribe&hub.topic={}&hub.callback={}", encoded(&test.topic), encoded(&test.callback));
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut headers = vec![
        field("host", "localhost"),
        field("content-type", "application/x-www-form-urlencoded"),
        field("content-length", &body.len().to_string()),
    ];
    headers.retain(|(name, _)| !test.headers.iter().any(|(given, _)| given == name));
    headers.extend(test.headers.iter().cloned());
    Question {
        topic: test.topic.clone(),
        method: "POST".to_owned(),
        target: "/hub".to_owned(),
        scheme: "http".to_owned(),
        http_version: "1.1".to_owned(),
        client: Some(test.client.clone()),
        fields: headers.into_iter().collect(),
        body: body.into(),
    }
}

fn tell(verdict: &Verdict, topic: &str) -> Outcome {
    let (sentence, outcome) = match verdict {
        Verdict::Authenticated { identity, topic: TopicVerdict::Allowed } => {
            (format!("allowed: {identity} may subscribe to {topic}"), Outcome::Fine)
        }
        Verdict::Authenticated { identity, .. } => {
            (format!("denied: no scope of {identity} matches {topic} (202, and the callback is told)"), Outcome::Failed)
        }
        Verdict::Nobody => {
            ("denied: the function returned None (202, and the callback is told)".to_owned(), Outcome::Failed)
        }
        Verdict::Unauthenticated => ("refused: is_authenticated is false (403)".to_owned(), Outcome::Failed),
        Verdict::Dictated(response) => {
            say(&format!("refused: HTTPException with status {}", response.status));
            response.headers.iter().for_each(|(name, value)| say(&format!("  {name}: {value}")));
            (format!("  {}", String::from_utf8_lossy(&response.body)), Outcome::Failed)
        }
        Verdict::Failed => {
            ("refused: the function is at fault (500); the log above says why".to_owned(), Outcome::Failed)
        }
        Verdict::Unavailable => {
            ("refused: there was no verdict (503); the log above says why".to_owned(), Outcome::Failed)
        }
    };
    say(&sentence);
    outcome
}
