//! `stentor hub`: the subscriptions of a running hub, and the publications that it gave up, through its admin API.

use std::path::PathBuf;

use bytes::Bytes;
use clap::{Args, Subcommand};
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use stentor_model::Secret;

use super::client::{self, Ask, plain, steers};
use super::{Outcome, Place, check, complain, node_dir, publish, say};
use crate::config::{EndpointConfig, NodeConfig, PathConfig, TransportKind};

/// The options of `hub`.
#[derive(Debug, Args)]
pub(super) struct HubArgs {
    #[command(flatten)]
    place: Place,
    /// The URL of the path of type `hub-admin` [default: as the node's configuration says]
    #[arg(long, value_name = "URL", requires = "token_file", global = true)]
    admin: Option<String>,
    /// The file with the token of that path
    #[arg(long, value_name = "FILE", requires = "admin", global = true)]
    token_file: Option<PathBuf>,
    /// Which hub, where there are several
    #[arg(long, value_name = "NAME", global = true)]
    hub: Option<String>,
    #[command(subcommand)]
    command: HubCommand,
}

#[derive(Debug, Subcommand)]
enum HubCommand {
    /// The hubs of the node, and how they do
    Hubs,
    /// The subscriptions
    List {
        /// Those of one topic only
        #[arg(long, value_name = "URL")]
        topic: Option<String>,
    },
    /// Everything about one subscription
    Show { id: u64 },
    /// End a subscription and tell its callback
    Deny {
        id: u64,
        /// What the callback is told
        #[arg(long)]
        reason: Option<String>,
    },
    /// End a subscription without telling
    Remove { id: u64 },
    /// The publications that were given up
    Dead,
    /// Send one of them once more
    Replay { id: u64 },
    /// Forget one of them
    Forget { id: u64 },
}

/// Why a command ended early: what to say, and how.
struct Fault(Outcome, String);

impl Fault {
    fn misused(sentence: impl Into<String>) -> Self {
        Self(Outcome::Misused, sentence.into())
    }
}

/// Entries asked for at a time.
const PAGE_ENTRIES: usize = 500;

pub(super) fn run(args: &HubArgs) -> Outcome {
    match serve(args) {
        Ok(()) => Outcome::Fine,
        Err(Fault(outcome, sentence)) => {
            complain(&format!("Error: {sentence}"));
            outcome
        }
    }
}

fn serve(args: &HubArgs) -> Result<(), Fault> {
    let office = office(args)?;
    if let HubCommand::Hubs = args.command {
        let found = office.ask(&Method::GET, "hubs", None)?;
        found["hubs"].as_array().into_iter().flatten().for_each(|hub| say(&pretty(hub)));
        return Ok(());
    }
    let name = office.hub(args.hub.as_deref())?;
    let below = |rest: &str| format!("hubs/{}/{rest}", utf8_percent_encode(&name, NON_ALPHANUMERIC));
    match &args.command {
        HubCommand::Hubs => {}
        HubCommand::List { topic } => {
            let encoded = topic.as_ref().map(|topic| utf8_percent_encode(topic, NON_ALPHANUMERIC).to_string());
            let query = encoded.map_or_else(String::new, |topic| format!("&topic={topic}"));
            let found = office.pages(&below("subscriptions"), &query, "subscriptions", subscription)?;
            if found == 0 {
                let whose = topic.as_ref().map(|topic| format!(" of the topic {}", plain(topic)));
                complain(&format!("The hub '{}' has no subscriptions{}.", plain(&name), whose.unwrap_or_default()));
            }
        }
        HubCommand::Show { id } => {
            say(&pretty(&office.ask(&Method::GET, &below(&format!("subscriptions/{id}")), None)?));
        }
        HubCommand::Deny { id, reason } => {
            let body = json!({ "reason": reason });
            office.ask(&Method::POST, &below(&format!("subscriptions/{id}/deny")), Some(&body))?;
            say(&format!("Subscription {id} is denied, and its callback is told."));
        }
        HubCommand::Remove { id } => {
            office.ask(&Method::DELETE, &below(&format!("subscriptions/{id}")), None)?;
            say(&format!("Subscription {id} is gone."));
        }
        HubCommand::Dead => {
            if office.pages(&below("dead"), "", "dead", dead)? == 0 {
                complain(&format!("The hub '{}' has no dead publications.", plain(&name)));
            }
        }
        HubCommand::Replay { id } => {
            office.ask(&Method::POST, &below(&format!("dead/{id}/replay")), None)?;
            say(&format!("Dead publication {id} is sent once more."));
        }
        HubCommand::Forget { id } => {
            office.ask(&Method::DELETE, &below(&format!("dead/{id}")), None)?;
            say(&format!("Dead publication {id} is forgotten."));
        }
    }
    Ok(())
}

/// The admin API of a node.
struct Office {
    url: String,
    token: Secret,
}

impl Office {
    fn ask(&self, method: &Method, rest: &str, body: Option<&Value>) -> Result<Value, Fault> {
        let mut fields = vec![(AUTHORIZATION, format!("Bearer {}", self.token.expose()))];
        fields.extend(body.map(|_| (CONTENT_TYPE, "application/json".to_owned())));
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let url = format!("{}/{rest}", self.url);
        let said = client::ask(Ask { method: method.clone(), url, fields, body });
        let said = said.map_err(|sentence| Fault(Outcome::Failed, sentence))?;
        let answer = serde_json::from_str::<Value>(&said.text).unwrap_or_default();
        if said.is_fine() && answer.is_object() {
            return Ok(answer);
        }
        let sentence = answer["error"].as_str().unwrap_or("this is not the admin API of a hub");
        Err(Fault(Outcome::Failed, format!("{}: status {}: {}", plain(&self.url), said.status, plain(sentence))))
    }

    /// The hub that is meant: the one that was named, or the only one.
    fn hub(&self, named: Option<&str>) -> Result<String, Fault> {
        if let Some(name) = named {
            return Ok(name.to_owned());
        }
        let found = self.ask(&Method::GET, "hubs", None)?;
        let hubs = found["hubs"].as_array().into_iter().flatten();
        let names: Vec<&str> = hubs.filter_map(|hub| hub["name"].as_str()).collect();
        match names[..] {
            [name] => Ok(name.to_owned()),
            [] => Err(Fault(Outcome::Failed, "this node has no hub".to_owned())),
            _ => Err(Fault::misused(format!(
                "there are several hubs; name one with --hub: {}",
                plain(&names.join(", "))
            ))),
        }
    }

    /// Prints a list page by page, so that no number of entries is too much, and says how many there were.
    fn pages(&self, place: &str, query: &str, list: &str, line: fn(&Value) -> String) -> Result<usize, Fault> {
        let (mut after, mut entries) = (0, 0);
        loop {
            let page = self.ask(&Method::GET, &format!("{place}?limit={PAGE_ENTRIES}&after={after}{query}"), None)?;
            let found = page[list].as_array().map_or(&[][..], Vec::as_slice);
            found.iter().for_each(|entry| say(&line(entry)));
            entries += found.len();
            match page["next"].as_u64().filter(|next| *next > after) {
                Some(next) => after = next,
                None => return Ok(entries),
            }
        }
    }
}

fn pretty(value: &Value) -> String {
    // JSON escapes only the first set of what could move a cursor.
    format!("{value:#}").replace(|c: char| steers(c) && c != '\n', " ")
}

/// A value as one word or more; a dash for none.
fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => plain(text),
        other => other.to_string(),
    }
}

fn subscription(one: &Value) -> String {
    let [id, state, lease] = [&one["id"], &one["state"], &one["lease_end"]].map(word);
    let [topic, callback, delivery] = [&one["topic"], &one["callback"], &one["delivery"]["state"]].map(word);
    let identity = word(&one["identity"]);
    let failure = match &one["last_failure"] {
        Value::Null => String::new(),
        failure => format!("  last failure: {}", word(&failure["text"])),
    };
    format!("{id:>6}  {state}  {delivery}  until {lease}  {identity}  {topic}  {callback}{failure}")
}

fn dead(one: &Value) -> String {
    let [id, of, at, attempts] = [&one["id"], &one["subscription"], &one["at"], &one["attempts"]].map(word);
    let [topic, publication, reason] = [&one["topic"], &one["publication"], &one["reason"]].map(word);
    format!("{id:>6}  of subscription {of}  {at}  {topic}  publication {publication}  {attempts} attempts: {reason}")
}

fn office(args: &HubArgs) -> Result<Office, Fault> {
    if let (Some(url), Some(file)) = (&args.admin, &args.token_file) {
        let token = publish::read_secret(file).map_err(Fault::misused)?;
        return Ok(Office { url: url.trim_end_matches('/').to_owned(), token });
    }
    let dir = node_dir::resolve(&args.place.cbdir);
    let source = node_dir::find_config(&dir, &args.place).map_err(Fault::misused)?;
    let report = check::parse(&source, &dir.path);
    let Some(config) = report.config else {
        check::tell(&report);
        return Err(Fault::misused("the configuration is at fault; --admin URL and --token-file FILE do without it"));
    };
    configured(&config).map_err(Fault::misused)
}

/// The first admin API of a configuration that can be reached from this machine.
fn configured(config: &NodeConfig) -> Result<Office, String> {
    let mut is_anywhere = false;
    for transport in config.routers.iter().flat_map(|router| &router.transports) {
        let TransportKind::Web { paths, .. } = &transport.kind else { continue };
        let Some((path, token)) = admin_path(paths, "") else { continue };
        is_anywhere = true;
        if let Some(base) = base(&transport.endpoint) {
            return Ok(Office { url: format!("{base}/{path}"), token });
        }
    }
    Err(if is_anywhere {
        "the admin API of this node has no port in the configuration that a plain connection could be made to; name it with \
         --admin URL and --token-file FILE"
    } else {
        "this node has no path of type 'hub-admin'; name another one's with --admin URL and --token-file FILE"
    }
    .to_owned())
}

fn admin_path(paths: &[(String, PathConfig)], above: &str) -> Option<(String, Secret)> {
    paths.iter().find_map(|(name, service)| {
        let path = format!("{above}/{name}");
        let path = path.trim_matches('/');
        match service {
            PathConfig::HubAdmin { token } => Some((path.to_owned(), token.clone())),
            PathConfig::Nested { paths } => admin_path(paths, path),
            _ => None,
        }
    })
}

/// Where a program on this machine reaches an endpoint; a certificate would be for another name.
fn base(endpoint: &EndpointConfig) -> Option<String> {
    let EndpointConfig::Tcp { port: port @ 1.., interface, tls: None, .. } = endpoint else { return None };
    let host = match interface.as_deref() {
        None | Some("" | "0.0.0.0") => "127.0.0.1".to_owned(),
        Some("::") => "[::1]".to_owned(),
        Some(name) if name.contains(':') => format!("[{name}]"),
        Some(name) => name.to_owned(),
    };
    Some(format!("http://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Surroundings, Syntax};
    use std::path::Path;

    #[test]
    fn the_admin_api_is_found() {
        let check = |endpoint: &str, paths: &str, expect: Option<&str>| {
            let text = format!(
                r#"{{"workers": [{{"type": "router", "transports": [{{"type": "web", "endpoint": {endpoint},
                "paths": {paths}}}]}}]}}"#
            );
            let surroundings = Surroundings { node_dir: Path::new("/"), env: &|_| None, exists: &|_| true };
            let config = config::parse(&text, Syntax::Json, "test", &surroundings).config.unwrap();
            let found = configured(&config).ok().map(|office| office.url);
            assert_eq!(found.as_deref(), expect, "{text}");
        };
        let admin = r#"{"type": "hub-admin", "token": "0123456789abcdef"}"#;
        let direct = format!(r#"{{"admin": {admin}}}"#);
        check(r#"{"type": "tcp", "port": 8080}"#, &direct, Some("http://127.0.0.1:8080/admin"));
        check(r#"{"type": "tcp", "port": 8080, "interface": "::1"}"#, &direct, Some("http://[::1]:8080/admin"));
        check(r#"{"type": "tcp", "port": 8080, "interface": "::"}"#, &direct, Some("http://[::1]:8080/admin"));
        check(r#"{"type": "tcp", "port": 0}"#, &direct, None);
        check(r#"{"type": "tcp", "port": 1, "tls": {"key": "k", "certificate": "c"}}"#, &direct, None);
        check(r#"{"type": "unix", "path": "s"}"#, &direct, None);
        let nested = format!(r#"{{"a": {{"type": "path", "paths": {{"b": {admin}}}}}}}"#);
        check(r#"{"type": "tcp", "port": 80}"#, &nested, Some("http://127.0.0.1:80/a/b"));
        check(r#"{"type": "tcp", "port": 80}"#, "{}", None);
    }

    #[test]
    fn lists_are_one_line_an_entry() {
        let mut one = json!({"id": 7, "state": "active", "lease_end": "2026", "topic": "http://t/", "callback": "http://c/",
            "delivery": {"state": "idle"}, "last_failure": {"text": "status\u{1b}[2J 500"}});
        let expect = "     7  active  idle  until 2026  -  http://t/  http://c/  last failure: status [2J 500";
        assert_eq!(subscription(&one), expect);
        one["identity"] = json!("jo\u{202e}[2J");
        assert_eq!(subscription(&one), expect.replace("  -  ", "  jo [2J  "));
        let one = json!({"id": 1, "subscription": 7, "at": "2026", "attempts": 3, "topic": "http://t/", "publication": 5,
            "reason": "status 500"});
        assert_eq!(dead(&one), "     1  of subscription 7  2026  http://t/  publication 5  3 attempts: status 500");
    }
}
