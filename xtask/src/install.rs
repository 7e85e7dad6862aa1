//! Fetches what the tests need and is not there yet.
//!
//! Every step can be run again at any time and then only looks. What cannot be fetched ends the walk with a sentence
//! that says how to get it by hand. Nothing is installed outside the repository and its target directory, except
//! Debian packages.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::place::{self, Place};
use crate::step::{Ending, Step, exec, read};

/// All that `cargo xtask test` installs.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "install debian packages", run: debian },
    Step { name: "install node packages", run: node },
    Step { name: "install python environment", run: python },
];

/// What the unit tests need.
pub(crate) const PYTHON: &[Step] = &[Step { name: "install python environment", run: python }];

/// The oldest Node that has what the tests use: the test runner with reporters and `fetch`.
const NODE_MAJOR_MIN: u32 = 20;

/// The oldest Python 3 that the pinned client library runs on.
const PYTHON_MINOR_MIN: u32 = 11;

/// A program of the tests and the Debian package it comes in.
struct Package {
    name: &'static str,
    found: fn() -> bool,
}

const PACKAGES: &[Package] = &[
    Package { name: "chromium", found: || place::chromium().is_some() },
    // libFuzzer is C++, and comes as source.
    Package { name: "g++", found: || place::program(&["c++"]).is_some() },
    Package { name: "curl", found: || place::program(&["curl"]).is_some() },
    Package { name: "openssl", found: || place::program(&["openssl"]).is_some() },
];

fn debian(_: &Place) -> Ending {
    let missing =
        || PACKAGES.iter().filter(|package| !(package.found)()).map(|package| package.name).collect::<Vec<_>>();
    let wanted = missing();
    if wanted.is_empty() {
        return Ok("all there".to_owned());
    }
    let names = wanted.join(" ");
    let by_hand = format!(
        "the tests need {names}: install with `apt-get install {names}` as root, or name a browser in E2E_CHROMIUM"
    );
    let apt = apt_get().ok_or_else(|| by_hand.clone())?;
    let run = |words: &[&str]| {
        let mut command = Command::new(&apt[0]);
        exec(command.args(&apt[1..]).args(words).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    run(&["-qq", "update"])
        .and_then(|()| run(&[&["-qq", "-y", "install", "--no-install-recommends"], wanted.as_slice()].concat()))
        .map_err(|fault| format!("{fault}; {by_hand}"))?;
    if missing().is_empty() { Ok(format!("installed {names}")) } else { Err(by_hand) }
}

/// The words that start `apt-get` with the rights it needs, if there is a way without asking for a password.
fn apt_get() -> Option<Vec<String>> {
    place::program(&["apt-get"])?;
    if read(Command::new("id").arg("-u")).as_deref() == Some("0") {
        return Some(vec!["apt-get".to_owned()]);
    }
    read(Command::new("sudo").args(["-n", "true"]))?;
    Some(["sudo", "-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"].map(str::to_owned).to_vec())
}

fn node(place: &Place) -> Ending {
    let advice = format!("the tests need Node.js {NODE_MAJOR_MIN} or newer with npm: see https://nodejs.org");
    let version = read(Command::new("node").arg("--version")).ok_or_else(|| advice.clone())?;
    if node_major(&version).is_none_or(|major| major < NODE_MAJOR_MIN) {
        return Err(format!("this is Node.js {version}; {advice}"));
    }
    let folder = place.e2e();
    let lock =
        fs::read_to_string(folder.join("package-lock.json")).map_err(|error| format!("package-lock.json: {error}"))?;
    // `npm ci` always starts from nothing, so the lock file of the last success tells whether it is needed.
    let stamp = folder.join("node_modules").join(".installed-lock.json");
    if is_stamped(&stamp, &lock) {
        return Ok(format!("Node.js {version}, packages all there"));
    }
    exec(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder))?;
    write(&stamp, &lock)?;
    Ok(format!("Node.js {version}, packages installed"))
}

/// `v20.20.2` -> 20
fn node_major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

fn python(place: &Place) -> Ending {
    let base = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let advice = "the tests need Python 3.11 or newer, by PATH or in PYTHON: `apt-get install python3 python3-venv`";
    let version = read(Command::new(&base).arg("--version")).ok_or_else(|| advice.to_owned())?;
    if minor(&version).is_none_or(|minor| minor < PYTHON_MINOR_MIN) {
        return Err(format!("this is {version}; {advice}"));
    }
    let list = place.e2e().join("requirements.txt");
    let requirements = fs::read_to_string(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    let stamp = place.venv().join("installed-requirements.txt");
    let content = format!("# {version}\n{requirements}");
    let fresh = !is_stamped(&stamp, &content) || !place.python().is_file();
    if fresh {
        exec(Command::new(&base).args(["-m", "venv", "--clear"]).arg(place.venv()))
            .map_err(|fault| format!("{fault}; on Debian the module comes with `apt-get install python3-venv`"))?;
        exec(pip(place).arg("-r").arg(&list))?;
        write(&stamp, &content)?;
    }
    client(place)?;
    Ok(format!("{version}, packages {}", if fresh { "installed" } else { "all there" }))
}

/// `Python 3.11.7` -> 11
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("Python 3.")?.split('.').next()?.parse().ok()
}

/// The Python client is installed as users install it, every time: it is small, and what is tested must be what is here.
fn client(place: &Place) -> Result<(), String> {
    let source = place.root.join("clients").join("python");
    if !source.is_dir() {
        return Err(format!("{} is missing: the Python client belongs there", source.display()));
    }
    // Build backends leave their droppings beside the sources; they get a copy to play in.
    let copy = place.target.join("e2e-client");
    drop(fs::remove_dir_all(&copy));
    copy_tree(&source, &copy).map_err(|error| format!("{} cannot be copied: {error}", source.display()))?;
    exec(pip(place).args(["--no-deps", "--force-reinstall"]).arg(&copy))
}

fn pip(place: &Place) -> Command {
    let mut command = Command::new(place.python());
    command.args(["-m", "pip", "--quiet", "--disable-pip-version-check", "install"]);
    command
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn is_stamped(stamp: &Path, content: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|found| found == content)
}

fn write(path: &Path, content: &str) -> Result<(), String> {
    fs::write(path, content).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_versions() {
        for (version, major) in [("v20.20.2", Some(20)), ("v8.0.0", Some(8)), ("20.1.0", None), ("", None)] {
            assert_eq!(node_major(version), major, "{version}");
        }
    }

    #[test]
    fn python_versions() {
        for (version, found) in [("Python 3.11.7", Some(11)), ("Python 3.9.0", Some(9)), ("Python 2.7.18", None)] {
            assert_eq!(minor(version), found, "{version}");
        }
    }
}
