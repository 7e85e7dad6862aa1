//! Virtual environments: made once for each set of requirements and each Python, and found again at the next start.
//!
//! One that is being made has no marker yet; whatever lies in its folder then is removed first. So a node that is killed
//! while pip works begins anew, and a start with an environment that is there needs no network.

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tracing::{info, warn};

use super::{Options, output, package};

/// The folder in the node directory.
const FOLDER: &str = "functions-env";

/// Written when everything else is there.
const MARKER: &str = "stentor-environment.txt";

/// What the runner needs: fastapi brings starlette, and forms are read by python-multipart.
const REQUIREMENTS: [&str; 2] = ["fastapi", "python-multipart"];

/// The oldest Python whose syntax the runner keeps to.
const PYTHON_MIN: (u32, u32) = (3, 9);

/// For one command. Some packages are compiled.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1800);

/// How often somebody who waits for another process to make the same environment looks again.
const LOCK_INTERVAL: Duration = Duration::from_millis(200);

/// The lines of pip that a failure shows.
const LAST_LINES: usize = 12;

/// An environment that is there.
#[derive(Clone, Debug)]
pub(super) struct Environment {
    /// Its interpreter.
    pub(super) python: PathBuf,
    /// The package that the binary carries.
    pub(super) package: PathBuf,
}

/// Finds the environment of a function, or makes it.
///
/// # Errors
/// Sentences, pip's own last lines among them.
pub(super) async fn prepare(options: &Options, code: &str) -> Result<Environment, String> {
    let folder = options.node_dir.join(FOLDER);
    let unpacked = package::unpack(&folder);
    let package = unpacked.map_err(|error| format!("{} cannot be written: {error}", folder.display()))?;
    let Identity { name, interpreter, requirements } = identify(options, code).await?;
    let dir = folder.join(&name);
    let environment = Environment { python: dir.join("bin/python"), package };
    if dir.join(MARKER).is_file() {
        return Ok(environment);
    }
    let _lock = lock(&folder.join(format!("{name}.lock"))).await?;
    if dir.join(MARKER).is_file() {
        return Ok(environment);
    }
    let made = make(options, &dir, &environment.python, &requirements).await;
    let written = made.and_then(|()| {
        let text = format!("{interpreter}\n{}\n", requirements.join("\n"));
        fs::write(dir.join(MARKER), text).map_err(|error| format!("{} cannot be written: {error}", dir.display()))
    });
    match written {
        Ok(()) => Ok(environment),
        Err(fault) => {
            remove(&dir)?;
            Err(fault)
        }
    }
}

/// What makes an environment another one.
struct Identity {
    /// Of its folder.
    name: String,
    interpreter: String,
    requirements: Vec<String>,
}

async fn identify(options: &Options, code: &str) -> Result<Identity, String> {
    let mut requirements: Vec<String> = REQUIREMENTS.map(str::to_owned).into();
    requirements.extend(super::source::dependencies(code));
    requirements.extend(options.requirements.iter().cloned());
    requirements.sort();
    requirements.dedup();
    let interpreter = interpreter(&options.python).await?;
    let parts = requirements.iter().map(String::as_bytes).chain([interpreter.as_bytes()]);
    let name = package::short_hash(parts);
    Ok(Identity { name, interpreter, requirements })
}

/// A folder that no function needs.
#[derive(Clone, Debug)]
pub struct Unused {
    /// Where it is.
    pub path: PathBuf,
    /// What it was made for.
    pub about: String,
}

impl Unused {
    /// Removes it. Whoever makes environments must not be at work.
    ///
    /// # Errors
    /// A sentence.
    pub fn remove(&self) -> Result<(), String> {
        // The marker goes first, so that what is left of a removal that was broken off is no environment.
        match fs::remove_file(self.path.join(MARKER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(format!("{} cannot be removed: {error}", self.path.display()));
            }
            _ => {}
        }
        remove(&self.path)?;
        drop(fs::remove_file(self.path.with_extension("lock")));
        Ok(())
    }
}

/// The environments of a node directory, and the packages of other versions of the server, that none of these functions uses.
///
/// # Errors
/// A sentence when what is used cannot be told.
pub async fn unused(node_dir: &Path, used: &[Options]) -> Result<Vec<Unused>, String> {
    let folder = node_dir.join(FOLDER);
    let mut kept = vec![package::folder_name()];
    for options in used {
        kept.push(identify(options, &options.source.read()?).await?.name);
    }
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{} cannot be read: {error}", folder.display())),
    };
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_environment = package::is_short_hash(&name);
        let is_package =
            name.strip_prefix(package::PREFIX).is_some_and(|rest| package::is_short_hash(rest.get(..20).unwrap_or("")));
        // What somebody else has put there is theirs.
        if (is_environment || is_package) && !kept.contains(&name) {
            let about = if is_package { "the runner of another version".to_owned() } else { about(&path) };
            found.push(Unused { path, about });
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn about(dir: &Path) -> String {
    // The first line is the interpreter.
    match fs::read_to_string(dir.join(MARKER)) {
        Ok(text) => text.lines().skip(1).collect::<Vec<_>>().join(", "),
        Err(_) => "it was never finished".to_owned(),
    }
}

fn remove(dir: &Path) -> Result<(), String> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("{} cannot be removed: {error}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Two nodes, or two hubs of one, may want the same environment.
async fn lock(path: &Path) -> Result<File, String> {
    let fault = |error: io::Error| format!("{} cannot be locked: {error}", path.display());
    let file = File::create(path).map_err(fault)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_INTERVAL).await,
            Err(TryLockError::Error(error)) => return Err(fault(error)),
        }
    }
}

/// The version of the interpreter and where it is at home: what an environment depends on.
async fn interpreter(python: &Path) -> Result<String, String> {
    const SAY: &str =
        "import sys; print(sys.version_info[0], sys.version_info[1], sys.implementation.name, sys.base_prefix)";
    let mut command = Command::new(python);
    command.args(["-I", "-c", SAY]).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(30), command.output()).await;
    let output = match output {
        Ok(Ok(output)) if output.status.success() => output,
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(format!("{} does not run: {said}", python.display()));
        }
        Ok(Err(error)) => return Err(format!("{} cannot be run: {error}; is Python installed?", python.display())),
        Err(_) => return Err(format!("{} does not answer", python.display())),
    };
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut numbers = said.split(' ').map_while(|word| word.parse::<u32>().ok());
    let version = numbers.next().zip(numbers.next());
    match version {
        Some(version) if version >= PYTHON_MIN => Ok(said),
        _ => Err(format!(
            "{} is '{said}'; Python {}.{} or later is needed",
            python.display(),
            PYTHON_MIN.0,
            PYTHON_MIN.1
        )),
    }
}

async fn make(options: &Options, dir: &Path, python: &Path, requirements: &[String]) -> Result<(), String> {
    let (hub, packages) = (options.hub.as_str(), requirements.join(", "));
    info!(hub, packages, folder = %dir.display(), "making the Python environment of the authenticator; this is done once");
    let list = dir.with_extension("requirements");
    fs::write(&list, requirements.join("\n") + "\n")
        .map_err(|error| format!("{} cannot be written: {error}", list.display()))?;
    let made = with_uv(options, dir, python, &list).await;
    let made = match made {
        Some(Ok(())) => Ok(()),
        Some(Err(fault)) => {
            warn!(hub, "uv did not make the environment, so pip is tried: {}", output::shown(&fault));
            with_pip(options, dir, python, &list).await
        }
        None => with_pip(options, dir, python, &list).await,
    };
    // What is left of the list tells nothing that the marker does not.
    drop(fs::remove_file(&list));
    if made.is_ok() {
        info!(hub, "the Python environment of the authenticator is there");
    }
    made
}

async fn with_pip(options: &Options, dir: &Path, python: &Path, list: &Path) -> Result<(), String> {
    remove(dir)?;
    let mut venv = Command::new(&options.python);
    venv.args(["-I", "-m", "venv"]).arg(dir);
    run(&options.hub, venv).await?;
    let mut pip = Command::new(python);
    pip.args([
        "-I",
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
        "-r",
    ]);
    pip.arg(list);
    run(&options.hub, pip).await
}

/// The same with uv, which is faster by far. Nothing when there is no uv.
async fn with_uv(options: &Options, dir: &Path, python: &Path, list: &Path) -> Option<Result<(), String>> {
    let mut there = Command::new("uv");
    there.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    there.status().await.ok().filter(std::process::ExitStatus::success)?;
    if let Err(fault) = remove(dir) {
        return Some(Err(fault));
    }
    let mut venv = Command::new("uv");
    venv.args(["venv", "--no-progress", "--python"]).arg(&options.python).arg(dir);
    if let Err(fault) = run(&options.hub, venv).await {
        return Some(Err(fault));
    }
    let mut install = Command::new("uv");
    install.args(["pip", "install", "--no-progress", "--python"]).arg(python).arg("-r").arg(list);
    Some(run(&options.hub, install).await)
}

/// Runs a command to its end. Its lines are progress, and the last ones the reason when it fails.
async fn run(hub: &str, mut command: Command) -> Result<(), String> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // In a group of its own, so that Ctrl-C at the terminal reaches it through us and not beside us.
    command.process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{program} cannot be run: {error}"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let last = std::cell::RefCell::new(VecDeque::new());
    let ended = async {
        tokio::join!(watch(hub, stdout, &last), watch(hub, stderr, &last));
        child.wait().await
    };
    match tokio::time::timeout(COMMAND_TIMEOUT, ended).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => {
            let lines = last.into_inner().into_iter().collect::<Vec<String>>().join("\n");
            Err(format!("{program} ended with {status} and said:\n{lines}"))
        }
        Ok(Err(error)) => Err(format!("{program} cannot be waited for: {error}")),
        Err(_) => Err(format!("{program} did not end within {} s", COMMAND_TIMEOUT.as_secs())),
    }
}

/// What pip and uv say about something that took them time.
const PROGRESS: [&str; 6] = ["Collecting ", "Building ", "Installing ", "Successfully ", "Installed ", "Prepared "];

async fn watch(hub: &str, stream: Option<impl AsyncRead + Unpin>, last: &std::cell::RefCell<VecDeque<String>>) {
    let Some(stream) = stream else { return };
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let line = output::shown(&line);
        if PROGRESS.iter().any(|word| line.trim_start().starts_with(word)) {
            info!(hub, "{}", line.trim_start());
        }
        let mut last = last.borrow_mut();
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
}
