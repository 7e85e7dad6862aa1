//! The public WebSocket fuzzing suite against our echo service: `cargo xtask websocket-suite`.
//!
//! Knows how the suite is told what to do and how its index reads. Does not know how the suite is installed: it needs a
//! Python that systems no longer have, so whoever has it names its program, and nothing else here depends on it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::place::Place;
use crate::step::{exec, say};

/// How our server is called in the suite's reports.
const AGENT: &str = "stentor";

/// All cases take a quarter of an hour on a small machine. A suite that was stopped leaves no index, so the limit is for
/// one that hangs.
const SUITE_TIME_MAX: Duration = Duration::from_secs(90 * 60);

/// The gaps between two looks at a running suite.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// A node with nothing but the echo service. The suite's client is slow enough to miss pings and closing deadlines.
const CONFIG: &str = r#"{"version": 2, "workers": [{"type": "router", "realms": [], "transports": [{
  "type": "web", "endpoint": {"type": "tcp", "port": 0, "interface": "127.0.0.1"},
  "paths": {"echo": {"type": "echo", "options": {
    "auto_ping_interval": 0, "close_handshake_timeout": 60000, "compression": {"deflate": {}}
  }}}
}]}]}"#;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    wstest: PathBuf,
    /// Names of cases, in which a star stands for anything.
    cases: Vec<String>,
}

/// Runs the suite as the rest of the command line says.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    match order(arguments).and_then(|order| walk(&Place::find(None), &order)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            say(&format!("websocket-suite: {fault}"));
            ExitCode::FAILURE
        }
    }
}

fn order(mut arguments: impl Iterator<Item = String>) -> Result<Order, String> {
    let (mut wstest, mut cases) = (None, vec!["*".to_owned()]);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--wstest" => wstest = Some(PathBuf::from(value)),
            "--cases" => cases = value.split(',').map(|case| case.trim().to_owned()).collect(),
            _ => return Err(format!("{name} means nothing here")),
        }
    }
    let wstest = wstest.ok_or("--wstest names the suite's program")?;
    // The suite works in another folder than ours.
    let wstest = std::path::absolute(&wstest).map_err(|error| format!("{}: {error}", wstest.display()))?;
    let is_name = |case: &String| !case.is_empty() && case.bytes().all(|b| b.is_ascii_digit() || b".*".contains(&b));
    if !cases.iter().all(is_name) {
        return Err("--cases is a list such as `1.*,6.4.3`".to_owned());
    }
    Ok(Order { wstest, cases })
}

fn walk(place: &Place, order: &Order) -> Result<(), String> {
    exec(&mut place.cargo("build --release --package stentor-server --bin stentor"))?;
    let folder = place.target.join("websocket-suite");
    if folder.exists() {
        // The index of an earlier run must not be taken for this one's.
        std::fs::remove_dir_all(&folder).map_err(|error| format!("{} cannot be emptied: {error}", folder.display()))?;
    }
    write(&folder.join("node/config.json"), CONFIG)?;
    let mut server = Server::start(&place.release_server(), &folder.join("node"))?;
    let spec = folder.join("spec.json");
    let reports = folder.join("reports");
    write(&spec, &specification(&reports, server.address()?, &order.cases))?;
    let mut suite = Command::new(&order.wstest);
    suite.current_dir(&folder).args(["-m", "fuzzingclient", "-s"]).arg(&spec);
    wait(&mut suite)?;
    let index = reports.join("index.json");
    let text = std::fs::read_to_string(&index).map_err(|error| format!("{}: {error}", index.display()))?;
    let summary = Summary::of(&outcomes(&text));
    say(&format!("{}reports: {}", summary.table(), reports.display()));
    server.is_alive()?;
    summary.verdict()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().expect("the paths here are below the target folder");
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

fn specification(reports: &Path, address: &str, cases: &[String]) -> String {
    let cases: Vec<_> = cases.iter().map(|case| format!("\"{case}\"")).collect();
    format!(
        r#"{{"outdir": {:?}, "servers": [{{"agent": "{AGENT}", "url": "ws://{address}/echo"}}],
            "cases": [{}], "exclude-cases": [], "exclude-agent-cases": {{}}}}"#,
        reports.display().to_string(),
        cases.join(", "),
    )
}

/// Waits for the suite, but not for ever.
fn wait(suite: &mut Command) -> Result<(), String> {
    let mut child = suite.spawn().map_err(|error| format!("{:?} cannot be started: {error}", suite.get_program()))?;
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("the suite ended with {status}")),
            Ok(None) if start.elapsed() < SUITE_TIME_MAX => std::thread::sleep(LOOK_INTERVAL),
            Ok(None) | Err(_) => {
                end(&mut child);
                return Err(format!("the suite did not end within {} minutes", SUITE_TIME_MAX.as_secs() / 60));
            }
        }
    }
}

/// Ends a child. One that is gone already is what was wanted.
fn end(child: &mut Child) {
    drop(child.kill().and_then(|()| child.wait()));
}

/// The server under test; it ends with this value.
struct Server {
    child: Child,
    /// Taken once the address is known; read on by a thread, since a full pipe would hold the server up.
    log: Option<BufReader<ChildStderr>>,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl Server {
    fn start(program: &Path, node: &Path) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.args(["start", "--enable-echo", "--log-format", "json", "--cbdir"]).arg(node);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
        let log = child.stderr.take().map(BufReader::new);
        Ok(Self { child, log, address: String::new() })
    }

    /// Where it listens, as it says itself.
    fn address(&mut self) -> Result<&str, String> {
        let Some(mut log) = self.log.take() else { return Ok(&self.address) };
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            match log.read_line(&mut line) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(format!("the server did not come up:\n{seen}")),
            }
            if let Some(address) = text_field(&line, "address") {
                self.address = address.to_owned();
                std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
                return Ok(&self.address);
            }
            seen.push_str(&line);
        }
    }

    /// A server that fell over must not pass because the cases before it did.
    fn is_alive(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("the server ended with {status}")),
            Err(error) => Err(format!("the server cannot be looked at: {error}")),
        }
    }
}

/// The value of a field in a line of JSON; addresses have nothing to unescape.
fn text_field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let (_, rest) = line.split_once(&format!("\"{name}\":\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

/// How one case went.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    case: String,
    behavior: String,
    close: String,
}

/// Reads the suite's index: agent, then case, then what was seen. Numbers and nulls are passed over.
fn outcomes(index: &str) -> Vec<Outcome> {
    let mut found: Vec<Outcome> = Vec::new();
    let (mut depth, mut is_value, mut key) = (0, false, "");
    let mut rest = index;
    while let Some(sign) = rest.chars().next() {
        rest = &rest[sign.len_utf8()..];
        match sign {
            '{' => (depth, is_value) = (depth + 1, false),
            '}' => depth -= 1,
            ':' => is_value = true,
            ',' => is_value = false,
            '"' => {
                // Names of cases and verdicts contain nothing that would need escaping.
                let Some((text, after)) = rest.split_once('"') else { return found };
                rest = after;
                match (depth, is_value, found.last_mut()) {
                    (2, false, _) => {
                        let (behavior, close) = (String::new(), String::new());
                        found.push(Outcome { case: text.to_owned(), behavior, close });
                    }
                    (3, false, _) => key = text,
                    (3, true, Some(last)) if key == "behavior" => text.clone_into(&mut last.behavior),
                    (3, true, Some(last)) if key == "behaviorClose" => text.clone_into(&mut last.close),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    found
}

/// The cases by verdict.
#[derive(Debug, Default)]
struct Summary {
    total: usize,
    behavior: BTreeMap<String, Vec<String>>,
    close: BTreeMap<String, Vec<String>>,
}

/// Verdicts that are as they should be: informational cases have no right answer.
const GOOD: [&str; 2] = ["OK", "INFORMATIONAL"];

impl Summary {
    fn of(outcomes: &[Outcome]) -> Self {
        let mut summary = Self { total: outcomes.len(), ..Self::default() };
        for Outcome { case, behavior, close } in outcomes {
            summary.behavior.entry(behavior.clone()).or_default().push(case.clone());
            summary.close.entry(close.clone()).or_default().push(case.clone());
        }
        summary
    }

    /// One line for each verdict, with the numbers of the cases that are not simply in order.
    fn table(&self) -> String {
        let mut table = format!("{:<10} {:<16} {:>5}  cases\n", "", "verdict", "count");
        for (part, verdicts) in [("behaviour", &self.behavior), ("close", &self.close)] {
            for (verdict, cases) in verdicts {
                let mut named = cases.clone();
                named.sort_by_key(|case| numbers(case));
                let named = if verdict == "OK" { String::new() } else { named.join(" ") };
                table += &format!("{part:<10} {verdict:<16} {:>5}  {named}\n", cases.len());
            }
        }
        table
    }

    fn verdict(&self) -> Result<(), String> {
        let bad = |verdicts: &BTreeMap<String, Vec<String>>| -> usize {
            let bad = verdicts.iter().filter(|(verdict, _)| !GOOD.contains(&verdict.as_str()));
            bad.map(|(_, cases)| cases.len()).sum()
        };
        match (self.total, bad(&self.behavior), bad(&self.close)) {
            (0, ..) => Err("no case was run".to_owned()),
            (total, 0, 0) => {
                say(&format!("websocket-suite: passed, {total} cases"));
                Ok(())
            }
            (total, behavior, close) => {
                Err(format!("of {total} cases {behavior} went wrong, and {close} closed in a wrong way"))
            }
        }
    }
}

/// The order of people: 2.10 after 2.9.
fn numbers(case: &str) -> Vec<u32> {
    case.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_order(line: &str, expect: Result<(&str, &[&str]), &str>) {
        let found = order(line.split_whitespace().map(str::to_owned));
        match expect {
            Ok((wstest, cases)) => {
                let cases = cases.iter().map(|&case| case.to_owned()).collect();
                assert_eq!(found, Ok(Order { wstest: PathBuf::from(wstest), cases }), "{line}");
            }
            Err(words) => assert!(found.is_err_and(|fault| fault.contains(words)), "{line}"),
        }
    }

    #[test]
    fn command_line() {
        check_order("--wstest /x/wstest", Ok(("/x/wstest", &["*"])));
        check_order("--cases 1.*,6.4.3 --wstest /x", Ok(("/x", &["1.*", "6.4.3"])));
        check_order("", Err("--wstest"));
        check_order("--wstest", Err("value"));
        check_order("--wstest /x --cases a\"b", Err("--cases"));
        check_order("--what 1", Err("--what"));
    }

    #[test]
    fn the_index_is_read_and_judged() {
        let index = r#"{"stentor": {
            "2.10": {"behavior": "FAILED", "behaviorClose": "OK", "duration": 5, "remoteCloseCode": null},
            "2.9": {"behavior": "NON-STRICT", "behaviorClose": "UNCLEAN", "reportfile": "x.json"},
            "1.1.1": {"duration": 1, "behavior": "OK", "behaviorClose": "INFORMATIONAL"}
        }}"#;
        let found = outcomes(index);
        assert_eq!(found.len(), 3);
        assert_eq!((found[2].case.as_str(), found[2].close.as_str()), ("1.1.1", "INFORMATIONAL"));
        let summary = Summary::of(&found);
        assert_eq!(summary.verdict(), Err("of 3 cases 2 went wrong, and 1 closed in a wrong way".to_owned()));
        let table = summary.table();
        assert!(table.contains("FAILED") && table.contains("  2.10\n") && !table.contains("2.9 2.10"), "{table}");
        assert_eq!(Summary::of(&found[2..]).verdict(), Ok(()));
        assert!(Summary::of(&outcomes("{\"stentor\": {}}")).verdict().is_err());
    }

    #[test]
    fn the_address_is_found_in_the_log() {
        let line = r#"{"level":"INFO","message":"listening","address":"127.0.0.1:4711"}"#;
        assert_eq!(text_field(line, "address"), Some("127.0.0.1:4711"));
        assert_eq!(text_field(line, "port"), None);
    }
}
