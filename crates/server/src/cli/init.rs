//! `stentor init` and `stentor templates`.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};

use super::{Outcome, complain, say};
use crate::http::{DEMO_CLIENT, DEMO_PAGE};

/// One template: a name, what it is for, and its files.
struct Template {
    name: &'static str,
    about: &'static str,
    files: &'static [(&'static str, &'static str)],
}

macro_rules! file {
    ($template:literal, $name:literal) => {
        ($name, include_str!(concat!("../../templates/", $template, "/", $name)))
    };
}

const TEMPLATES: [Template; 5] = [
    Template {
        name: "default",
        about: "A node with WebSocket, a publisher and a page, configured in today's form",
        files: &[
            (".stentor/config.json", include_str!("../../templates/default/dot-stentor/config.json")),
            file!("default", "README.md"),
            ("web/index.html", DEMO_PAGE),
            ("web/wamp.js", DEMO_CLIENT),
        ],
    },
    Template {
        name: "pusher",
        about: "The HTTP pusher: a page that shows events, and scripts that send them, signed and unsigned",
        files: &[
            (".stentor/config.json", include_str!("../../templates/pusher/dot-stentor/config.json")),
            file!("pusher", "publish.py"),
            file!("pusher", "publish_signed.py"),
            file!("pusher", "README.md"),
            ("web/index.html", DEMO_PAGE),
            ("web/wamp.js", DEMO_CLIENT),
        ],
    },
    Template {
        name: "hub",
        about: "A WebSub hub: ordered webhooks that arrive, with a subscriber and a publisher in Python",
        files: &[
            (".stentor/config.json", include_str!("../../templates/hub/dot-stentor/config.json")),
            file!("hub", "subscribe.py"),
            file!("hub", "publish.py"),
            file!("hub", "README.md"),
        ],
    },
    Template {
        name: "hub-with-authenticator",
        about: "A WebSub hub that asks your own Python function who may subscribe",
        files: &[
            (".stentor/config.json", include_str!("../../templates/hub-with-authenticator/dot-stentor/config.json")),
            (
                ".stentor/functions/subscribers.py",
                include_str!("../../templates/hub-with-authenticator/dot-stentor/functions/subscribers.py"),
            ),
            file!("hub", "subscribe.py"),
            file!("hub", "publish.py"),
            file!("hub-with-authenticator", "README.md"),
        ],
    },
    Template {
        name: "push-everywhere",
        about: "One HTTP POST that reaches browsers over WebSocket and other servers as webhooks",
        files: &[
            (".stentor/config.json", include_str!("../../templates/push-everywhere/dot-stentor/config.json")),
            file!("hub", "subscribe.py"),
            file!("pusher", "publish.py"),
            file!("push-everywhere", "README.md"),
            ("web/index.html", DEMO_PAGE),
            ("web/wamp.js", DEMO_CLIENT),
        ],
    },
];

/// What stands in a template for a token that nobody knows.
const RANDOM: &str = "@RANDOM@";

/// Octets of a random token: more than anybody can try.
const RANDOM_BYTES: usize = 24;

pub(super) fn list() -> Outcome {
    say("Available templates:\n");
    for template in &TEMPLATES {
        say(&format!("  {:<22} {}", template.name, template.about));
    }
    say("\nstentor init --template NAME [--appdir DIR] creates one.");
    Outcome::Fine
}

pub(super) fn run(name: &str, appdir: Option<&Path>) -> Outcome {
    let Some(template) = TEMPLATES.iter().find(|template| template.name == name) else {
        complain(&format!("Error: there is no template '{name}'; `stentor templates` lists those that there are."));
        return Outcome::Misused;
    };
    let mut made = Made::default();
    match create(template, appdir, &mut made) {
        Ok(root) => {
            let dir = root.join(".stentor");
            say("Application template initialized");
            say(&format!(
                "\nTo start your node, run\n\n  stentor start --cbdir {}",
                quoted(&dir.display().to_string())
            ));
            Outcome::Fine
        }
        Err(sentence) => {
            made.take_back();
            complain(&format!("Error: {sentence}"));
            Outcome::Failed
        }
    }
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

fn create(template: &Template, appdir: Option<&Path>, made: &mut Made) -> Result<PathBuf, String> {
    let root = match appdir {
        Some(path) => {
            if path.exists() {
                return Err(format!("app directory '{}' already exists", path.display()));
            }
            path.to_owned()
        }
        None => std::env::current_dir().map_err(|error| format!("the current directory is not there: {error}"))?,
    };
    let paths: Vec<PathBuf> = template.files.iter().map(|(name, _)| root.join(name)).collect();
    if let Some(taken) = paths.iter().find(|path| path.exists()) {
        return Err(format!("{} already exists; nothing was created", taken.display()));
    }
    for (path, (_, text)) in paths.iter().zip(template.files) {
        if let Some(parent) = path.parent() {
            made.directory(parent)?;
        }
        // Whoever may read a token may do what it allows.
        let mode = if text.contains(RANDOM) { 0o600 } else { 0o666 };
        made.file(path, &filled(text)?, mode)?;
    }
    Ok(root)
}

/// The text of a file, with a token of its own where the template has none.
fn filled(text: &'static str) -> Result<Cow<'static, str>, String> {
    if !text.contains(RANDOM) {
        return Ok(Cow::Borrowed(text));
    }
    let mut octets = [0; RANDOM_BYTES];
    SystemRandom::new().fill(&mut octets).map_err(|_| "the system has no random numbers".to_owned())?;
    Ok(Cow::Owned(text.replace(RANDOM, &URL_SAFE_NO_PAD.encode(octets))))
}

/// What has been created, so that it can be taken back.
#[derive(Default)]
struct Made(Vec<PathBuf>);

impl Made {
    fn directory(&mut self, path: &Path) -> Result<(), String> {
        // The parent of a relative name is the empty one, which stands for the current directory.
        if path.as_os_str().is_empty() || path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.directory(parent)?;
        }
        say(&format!("Creating directory {}", path.display()));
        fs::create_dir(path).map_err(|error| format!("{} cannot be created: {error}", path.display()))?;
        self.0.push(path.to_owned());
        Ok(())
    }

    fn file(&mut self, path: &Path, text: &str, mode: u32) -> Result<(), String> {
        say(&format!("Creating file      {}", path.display()));
        self.0.push(path.to_owned());
        let file = File::options().write(true).create_new(true).mode(mode).open(path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| format!("{} cannot be written: {error}", path.display()))
    }

    fn take_back(self) {
        for path in self.0.into_iter().rev() {
            // What cannot be removed was not created either, or somebody has put something into it.
            drop(if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) });
        }
    }
}
