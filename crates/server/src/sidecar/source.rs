//! Where the code of a function is, and whether it is one function and nothing else.
//!
//! A function with a name is a file that may change while the node runs: whoever asks looks whether it did.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::package::{CHECK, READY};

/// Octets of a function. A program that is larger belongs into a package, which `requirements` can name.
const CODE_BYTES_MAX: u64 = 1 << 20;

/// Where the code of a function is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the configuration.
    Inline {
        /// The code.
        code: String,
    },
    /// In a file of the node directory, or where that is not there, in the library of the server.
    Named {
        /// Its name.
        name: String,
        /// The file.
        path: PathBuf,
    },
}

/// What is wrong with a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeFault {
    /// The line, from 1; 0 where all of it is meant.
    pub line: usize,
    /// A sentence without a full stop.
    pub reason: String,
}

/// By what a change of a file shows. Contents may change within a tick of the clock, but then hardly in length, and an
/// editor that writes a new file gives it a new number. Whoever copies the time of modification along cannot set the time
/// of the change itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    length: u64,
    file: u64,
}

impl Source {
    /// The function of this name.
    #[must_use]
    pub fn named(name: &str, node_dir: &Path) -> Self {
        Self::Named { name: name.to_owned(), path: node_dir.join("functions").join(format!("{name}.py")) }
    }

    /// Its name, for logs.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Inline { .. } => "inline",
            Self::Named { name, .. } => name,
        }
    }

    /// What Python calls its file.
    pub(super) fn file(&self) -> String {
        match self {
            Self::Inline { .. } => "<inline authenticator>".to_owned(),
            Self::Named { path, .. } => path.display().to_string(),
        }
    }

    /// When it changed.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let Self::Named { path, .. } = self else { return None };
        let found = fs::metadata(path).ok()?;
        Some(Stamp {
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
            length: found.len(),
            file: found.ino(),
        })
    }

    /// The code as it is now.
    ///
    /// # Errors
    /// A sentence when there is none.
    pub fn read(&self) -> Result<String, String> {
        let (name, path) = match self {
            Self::Inline { code } => return Ok(code.clone()),
            Self::Named { name, path } => (name, path),
        };
        match fs::metadata(path) {
            Ok(found) if found.len() > CODE_BYTES_MAX => {
                Err(format!("{} is longer than {CODE_BYTES_MAX} octets", path.display()))
            }
            Ok(_) => fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Hosted hubs put this before the names of their own functions.
                let short = name.strip_prefix("echo.").unwrap_or(name);
                let ready = READY.iter().find(|ready| ready.name == short);
                ready.map(|ready| ready.code.to_owned()).ok_or_else(|| {
                    let known = READY.map(|ready| ready.name).join(", ");
                    format!("there is no function '{name}': no file {}, and the library has {known}", path.display())
                })
            }
            Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
        }
    }
}

/// Whether the code is exactly one function. Asks the interpreter, and does its best where there is none.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(code: &str, python: &Path) -> Result<(), CodeFault> {
    match ask_python(code, python) {
        Some(fault) => fault.map_or(Ok(()), Err)?,
        None => rough_check(code)?,
    }
    super::script::dependencies(code).map(drop).map_err(|reason| CodeFault { line: 1, reason })
}

/// What an interpreter says; nothing when there is none that answers.
fn ask_python(code: &str, python: &Path) -> Option<Option<CodeFault>> {
    let mut command = Command::new(python);
    command.args(["-I", "-c", CHECK]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    // All of it is read before anything is said, so neither side waits for the other.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(code.as_bytes()));
    let output = child.wait_with_output().ok()?;
    written?.ok()?;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let Some(reason) = said["reason"].as_str() else { return Some(None) };
    let line = said["line"].as_u64().and_then(|line| usize::try_from(line).ok()).unwrap_or(0);
    Some(Some(CodeFault { line, reason: reason.to_owned() }))
}

/// The same without Python: looks at the statements that begin a line outside of brackets and texts.
fn rough_check(code: &str) -> Result<(), CodeFault> {
    let mut count = 0;
    for (line, text) in statements(code) {
        let fault = |reason: &str| Err(CodeFault { line, reason: reason.to_owned() });
        let is_def = text.starts_with("def ") || text.starts_with("async def ");
        if is_def && count > 0 {
            return fault("there is a second function; exactly one def is allowed, so put it inside");
        }
        if text.starts_with('@') {
            return fault("there is a decorator, which is code outside of the function; only one def is allowed");
        }
        if !is_def {
            return fault("there is code outside of the function; only one def is allowed, so put it inside");
        }
        count += usize::from(is_def);
    }
    let reason = "there is no function; exactly one def or async def is needed".to_owned();
    if count == 0 { Err(CodeFault { line: 1, reason }) } else { Ok(()) }
}

/// The beginnings of statements in the first column, with their lines.
fn statements(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let (mut depth, mut text_end, mut continued) = (0_usize, None::<&str>, false);
    for (number, line) in code.lines().enumerate() {
        let begins = depth == 0 && text_end.is_none() && !continued;
        if begins && line.starts_with(|first: char| !first.is_whitespace() && first != '#') {
            found.push((number + 1, line));
        }
        let mut rest = line;
        while !rest.is_empty() {
            if let Some(end) = text_end {
                let Some(at) = rest.find(end) else { break };
                rest = &rest[at + end.len()..];
                text_end = None;
                continue;
            }
            let opening = ["\"\"\"", "'''"].into_iter().find(|quote| rest.starts_with(quote));
            if let Some(quote) = opening {
                text_end = Some(quote);
                rest = &rest[3..];
                continue;
            }
            let first = rest.chars().next().expect("it is not empty");
            rest = &rest[first.len_utf8()..];
            match first {
                '#' => break,
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                '"' | '\'' => rest = behind_text(rest, first),
                _ => {}
            }
        }
        continued = text_end.is_none() && line.ends_with('\\');
    }
    found
}

/// What follows a text of one line whose opening quotation mark has been read.
fn behind_text(rest: &str, quote: char) -> &str {
    let mut escaped = false;
    for (at, letter) in rest.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return &rest[at + letter.len_utf8()..],
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "# a comment\n\nasync def f(\n    *, context,\nrequest, **k):\n    \"\"\"text\nmore\"\"\"\n    a = '('\n";

    #[test]
    fn one_function_and_nothing_else() {
        let check_both = |code: &str, expected: Option<(usize, &str)>| {
            for (who, found) in [("rough", rough_check(code)), ("python", check(code, Path::new("python3")))] {
                match (&found, expected) {
                    (Ok(()), None) => {}
                    (Err(fault), Some((line, part))) if fault.line == line && fault.reason.contains(part) => {}
                    _ => panic!("{who}: {code:?}: {found:?}"),
                }
            }
        };
        check_both(GOOD, None);
        check_both("def f(*, context, request, **kwargs):\n  return None", None);
        check_both("", Some((1, "no function")));
        check_both("import os\ndef f(*, context, request): pass", Some((1, "outside")));
        check_both("def f(**k): pass\nx = 1", Some((2, "outside")));
        check_both("@x\ndef f(**k): pass", Some((1, "decorator")));
        check_both("def f(**k): pass\n\ndef g(**k): pass", Some((3, "second")));
        check_both("async def f(**k):\n  a = '''\ndef g(): pass\n'''", None);
    }

    #[test]
    fn what_cannot_run_as_a_function_is_found_in_its_line() {
        let check = |code: &str, expected: Option<(usize, &str)>| {
            let found = check(code, Path::new("python3")).err();
            let is_expected = match (&found, expected) {
                (None, None) => true,
                (Some(fault), Some((line, part))) => fault.line == line && fault.reason.contains(part),
                _ => false,
            };
            assert!(is_expected, "{code:?}: {found:?}");
        };
        check("def f(**k):\n    await x", Some((2, "'await' outside async function")));
        check("def f(**k):\n\n    break", Some((3, "'break' outside loop")));
        check("def f(**k):\n  def g():\n    nonlocal z\n", Some((3, "nonlocal 'z'")));
        check("def f(**k):\n  a = 1\n  yield a", Some((3, "generator")));
        check("async def f(**k):\n  yield 1", Some((2, "generator")));
        check("def f(**k):\n  def g(): yield\n  return list(g())", None);
        check("def f(\n  *,\n  x=open('a'), **k): pass", Some((3, "default value is computed")));
        check("def f(x=print(), **k): pass", Some((1, "default value is computed")));
        check("def f(*, a=-1, b=(1, [2], {}), c=None, d=..., **k): pass", None);
        check("def f(*, context: Nowhere = None, request: run()): pass", None);
    }

    #[test]
    fn without_python_the_rough_check_stands_in() {
        let nowhere = Path::new("/nonexistent/python");
        assert_eq!(check(GOOD, nowhere), Ok(()));
        assert_eq!(check("x = 1", nowhere).unwrap_err().line, 1);
    }

    #[test]
    fn requirements_of_a_function_are_part_of_its_check() {
        let code = "# /// script\n# dependencies = ['--no-index']\n# ///\ndef f(**k): pass\n";
        let fault = check(code, Path::new("python3")).unwrap_err();
        assert!(fault.reason.contains("--no-index"), "{fault:?}");
    }

    #[test]
    fn a_change_of_the_same_length_and_time_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let source = Source::named("mine", dir.path());
        let path = dir.path().join("functions/mine.py");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, "one").unwrap();
        let (stamp, modified) = (source.stamp().unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
        // The clock of a file system has ticks.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while source.stamp() == Some(stamp) && std::time::Instant::now() < until {
            fs::write(&path, "two").unwrap();
            fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        }
        let found = source.stamp().unwrap();
        assert_eq!((found.modified, found.length, found.file), (stamp.modified, stamp.length, stamp.file));
        assert_ne!(found, stamp);
    }

    #[test]
    fn a_file_goes_before_the_library() {
        let dir = tempfile::tempdir().unwrap();
        let source = Source::named("basic", dir.path());
        assert_eq!(source.stamp(), None);
        assert!(source.read().unwrap().contains("def authenticator"));
        assert!(Source::named("echo.bearer", dir.path()).read().is_ok());
        let fault = Source::named("mine", dir.path()).read().unwrap_err();
        assert!(fault.contains("basic, bearer, jwt"), "{fault}");
        fs::create_dir(dir.path().join("functions")).unwrap();
        fs::write(dir.path().join("functions/basic.py"), "mine").unwrap();
        assert_eq!(source.read().unwrap(), "mine");
        assert!(source.stamp().is_some());
    }
}
