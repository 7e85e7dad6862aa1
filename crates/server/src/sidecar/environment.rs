//! Virtual environments: made once for each set of requirements and each Python, and found again at the next start.
//!
//! Each making has a folder of its own, and the name of the environment becomes a link to it when everything is there. So
//! what a killed node has left at work never touches what is made after it, and a start with an environment that is there
//! needs no network.

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tracing::{debug, info, warn};

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
    /// Where it lies.
    pub(super) folder: PathBuf,
    /// The name that leads there.
    link: PathBuf,
}

impl Environment {
    /// The one that a name leads to, if it is finished.
    fn find(link: &Path, package: &Path) -> Option<Self> {
        let folder = target(link);
        folder.join(MARKER).is_file().then(|| Self::at(link, folder, package))
    }

    fn at(link: &Path, folder: PathBuf, package: &Path) -> Self {
        Self { python: folder.join("bin/python"), package: package.to_owned(), folder, link: link.to_owned() }
    }

    /// Whether what every worker needs can be imported.
    pub(super) async fn is_whole(&self) -> bool {
        const TRY: &str =
            "import fastapi, starlette\ntry: import python_multipart\nexcept ImportError: import multipart";
        let mut command = Command::new(&self.python);
        command.args(["-I", "-c", TRY]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.kill_on_drop(true);
        // One that is only slow is not damaged.
        let tried = tokio::time::timeout(Duration::from_secs(60), command.status()).await;
        tried.is_err() || tried.is_ok_and(|status| status.is_ok_and(|status| status.success()))
    }

    /// Takes its name away, so that another one is made. The folder stays until it is pruned, as others may be using it.
    pub(super) async fn discard(&self) -> Result<(), String> {
        let _lock = lock(&self.link.with_extension("lock")).await?;
        if target(&self.link) != self.folder {
            // Somebody else was faster.
            return Ok(());
        }
        let gone = if self.folder == self.link {
            fs::rename(&self.link, fresh(&self.link))
        } else {
            fs::remove_file(&self.link)
        };
        gone.map_err(|error| format!("{} cannot be renamed: {error}", self.link.display()))
    }
}

/// Where the name of an environment leads. A folder may have the name itself.
fn target(link: &Path) -> PathBuf {
    fs::read_link(link).map_or_else(|_| link.to_owned(), |name| link.with_file_name(name))
}

/// A folder that has never been.
fn fresh(link: &Path) -> PathBuf {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    link.with_extension(format!("{:x}", since.as_nanos()))
}

/// Removes what was never finished. Something may still be writing there, which does no harm.
fn sweep(link: &Path) -> Result<(), String> {
    if !link.is_symlink() {
        remove(link)?;
    }
    let entries = link.parent().and_then(|folder| fs::read_dir(folder).ok());
    for path in entries.into_iter().flatten().flatten().map(|entry| entry.path()) {
        let is_other = path.is_dir() && path.file_stem() == link.file_name() && path.extension().is_some();
        if is_other && !path.join(MARKER).exists() {
            drop(fs::remove_dir_all(&path));
        }
    }
    Ok(())
}

/// Has the name lead to this folder, from one moment to the next.
fn point(link: &Path, folder: &Path) -> io::Result<()> {
    let draft = link.with_extension("link");
    drop(fs::remove_file(&draft));
    std::os::unix::fs::symlink(folder.file_name().unwrap_or_default(), &draft)?;
    fs::rename(&draft, link)
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
    let link = folder.join(&name);
    if let Some(found) = Environment::find(&link, &package) {
        return Ok(found);
    }
    let _lock = lock(&link.with_extension("lock")).await?;
    if let Some(found) = Environment::find(&link, &package) {
        return Ok(found);
    }
    sweep(&link)?;
    let dir = fresh(&link);
    let environment = Environment::at(&link, dir.clone(), &package);
    let made = make(options, &dir, &environment.python, &requirements).await;
    let written = made.and_then(|()| {
        let text = format!("{interpreter}\n{}\n", requirements.join("\n"));
        let written = fs::write(dir.join(MARKER), text).and_then(|()| point(&link, &dir));
        written.map_err(|error| format!("{} cannot be written: {error}", dir.display()))
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
    requirements.extend(super::script::dependencies(code)?);
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
        let link = self.path.with_extension("");
        if target(&link) == self.path {
            drop(fs::remove_file(&link));
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
        let link = folder.join(identify(options, &options.source.read()?).await?.name);
        kept.push(target(&link).file_name().unwrap_or_default().to_string_lossy().into_owned());
    }
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{} cannot be read: {error}", folder.display())),
    };
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir() && !path.is_symlink()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_environment = package::is_short_hash(name.split_once('.').map_or(&*name, |(hash, _)| hash));
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
    let mut venv = guarded(&options.python, MODULE);
    venv.arg("venv").arg(dir);
    run(&options.hub, "venv", venv).await?;
    let mut pip = guarded(python, MODULE);
    pip.args(["pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off", "-r"]);
    pip.arg(list);
    run(&options.hub, "pip", pip).await
}

/// The same with uv, which is faster by far. Nothing when there is no uv.
async fn with_uv(options: &Options, dir: &Path, python: &Path, list: &Path) -> Option<Result<(), String>> {
    let mut there = Command::new("uv");
    there.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    there.status().await.ok().filter(std::process::ExitStatus::success)?;
    if let Err(fault) = remove(dir) {
        return Some(Err(fault));
    }
    let mut venv = guarded(&options.python, PROGRAM);
    venv.args(["uv", "venv", "--no-progress", "--python"]).arg(&options.python).arg(dir);
    if let Err(fault) = run(&options.hub, "uv venv", venv).await {
        return Some(Err(fault));
    }
    let mut install = guarded(&options.python, PROGRAM);
    install.args(["uv", "pip", "install", "--no-progress", "--python"]).arg(python).arg("-r").arg(list);
    Some(run(&options.hub, "uv pip", install).await)
}

/// Has the kernel tell the process when the thread that has started it ends, however that happens.
const GUARD: &str = "
import os, signal, sys
def end(*_): os.killpg(0, signal.SIGKILL)
def guard(number):
    try:
        import ctypes
        sys.platform == 'linux' and ctypes.CDLL(None).prctl(1, number, 0, 0, 0)
    except ImportError: pass
    # It may have ended before the kernel knew whom to watch.
    if os.getppid() != int(sys.argv[1]): end()
";

/// Runs a module of Python, which takes all that it has started with it when it ends before its time.
const MODULE: &str = "
import runpy
signal.signal(signal.SIGTERM, end)
guard(signal.SIGTERM)
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
";

/// Becomes another program.
const PROGRAM: &str = "
guard(signal.SIGKILL)
os.execvp(sys.argv[2], sys.argv[2:])
";

fn guarded(python: &Path, what: &str) -> Command {
    let mut command = Command::new(python);
    command.args(["-I", "-c"]).arg(format!("{GUARD}{what}")).arg(std::process::id().to_string());
    command
}

/// The processes of a command; those that are left when nobody waits any more are killed.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.map(|group| kill_process_group(group, Signal::KILL)) {
            debug!(%error, "the processes of a command had gone before");
        }
    }
}

/// Runs a command to its end. Its lines are progress, and the last ones the reason when it fails.
async fn run(hub: &str, program: &str, mut command: Command) -> Result<(), String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // In a group of its own, so that Ctrl-C at the terminal reaches it through us and not beside us, and so that pip's own
    // children end with it.
    command.process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{program} cannot be run: {error}"))?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let last = std::cell::RefCell::new(VecDeque::new());
    let ended = async {
        tokio::join!(watch(hub, stdout, &last), watch(hub, stderr, &last));
        child.wait().await
    };
    let ended = tokio::time::timeout(COMMAND_TIMEOUT, ended).await;
    if ended.is_ok() {
        // Its number may soon be somebody else's.
        group.0 = None;
    }
    match ended {
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
