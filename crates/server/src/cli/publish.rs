//! `stentor publish`: content from a file to a hub, signed where the hub wants it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use stentor_model::Secret;

use super::client::{self, Ask, plain};
use super::{Outcome, complain, say};
use crate::clock::Clock;
use crate::pusher::signature::{Credentials, signed_query};

/// Octets of content: no hub takes more, and none should fill the memory on the way.
const CONTENT_BYTES_MAX: u64 = stentor_store::RECORD_BYTES_MAX as u64;

/// Where the secret may be beside the command line.
const SECRET_VARIABLE: &str = "STENTOR_SECRET";

/// What need not be encoded in the value of a query.
const VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b':');

/// The options of `publish`.
#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    /// The URL of the hub
    #[arg(long, value_name = "URL")]
    hub: String,
    /// The topic, a URL
    #[arg(long, value_name = "URL")]
    topic: String,
    /// The media type of the content [default: by the file's extension]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// The key of the hub's `publish`; the request is signed then
    #[arg(long)]
    key: Option<String>,
    /// The file with the secret that goes with the key
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "secret")]
    secret_file: Option<PathBuf>,
    /// The secret itself; other users of this machine can see it on a command line [env: STENTOR_SECRET]
    #[arg(long, requires = "key")]
    secret: Option<String>,
    /// Publishes once, however often it is repeated within a day
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// The content, as it is; `-` reads standard input
    file: PathBuf,
}

pub(super) fn run(args: &PublishArgs) -> Outcome {
    let (ask, from) = match request(args) {
        Ok(ask) => (ask, &args.hub),
        Err(sentence) => {
            complain(&format!("Error: {sentence}"));
            return Outcome::Misused;
        }
    };
    let said = match client::ask(ask) {
        Ok(said) => said,
        Err(sentence) => {
            complain(&format!("Error: {sentence}"));
            return Outcome::Failed;
        }
    };
    let answer: Value = serde_json::from_str(&said.text).unwrap_or_default();
    match answer.get("id").filter(|_| said.is_fine()) {
        Some(id) => {
            say(&id.to_string());
            if answer["repeated"] == Value::Bool(true) {
                complain(
                    "This key was used before: the publication of then has this id, and nothing was published now.",
                );
            }
            Outcome::Fine
        }
        None if said.is_fine() => {
            complain(&format!("Error: {} answered {} and no publication id; is it a hub?", plain(from), said.status));
            Outcome::Failed
        }
        None => {
            complain(&format!("Error: refused with status {}: {}", said.status, plain(&said.text)));
            Outcome::Failed
        }
    }
}

fn request(args: &PublishArgs) -> Result<Ask, String> {
    let body = content(&args.file)?;
    let separator = if args.hub.contains('?') { '&' } else { '?' };
    let mut url = format!("{}{separator}topic={}", args.hub, utf8_percent_encode(&args.topic, VALUE));
    if let Some(key) = &args.key {
        let credentials = Credentials { key: key.clone(), secret: secret(args)? };
        let now = Clock::default().display();
        let query = signed_query(&credentials, &now, 1, fastrand::u64(..1 << 53), &body);
        url.push('&');
        url.push_str(&query);
    }
    let media_type = args.content_type.clone().unwrap_or_else(|| {
        // Standard input has no extension, so that it is octets.
        mime_guess::from_path(&args.file).first_or_octet_stream().essence_str().to_owned()
    });
    let mut fields = vec![(CONTENT_TYPE, media_type)];
    fields.extend(args.idempotency_key.clone().map(|key| (HeaderName::from_static("idempotency-key"), key)));
    Ok(Ask { method: Method::POST, url, fields, body })
}

fn secret(args: &PublishArgs) -> Result<Secret, String> {
    match (&args.secret_file, &args.secret) {
        (Some(file), _) => read_secret(file),
        (None, Some(secret)) => Ok(Secret::new(secret.as_str())),
        // Read here and not by the parser of the line: there, a variable that is always set would ask for a key, and be in
        // the way of a file.
        (None, None) => match std::env::var(SECRET_VARIABLE) {
            Ok(secret) if !secret.is_empty() => Ok(Secret::new(secret)),
            _ => Err(format!("a --key needs a secret: --secret-file FILE, or the variable {SECRET_VARIABLE}")),
        },
    }
}

/// A secret in a file, without the end of its line.
pub(super) fn read_secret(file: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty", file.display())),
        text => Ok(Secret::new(text)),
    }
}

fn content(file: &Path) -> Result<Bytes, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", file.display());
    let mut reader: Box<dyn Read> = match file.as_os_str().as_encoded_bytes() {
        b"-" => Box::new(std::io::stdin()),
        _ => Box::new(File::open(file).map_err(unreadable)?),
    };
    let mut body = Vec::new();
    reader.by_ref().take(CONTENT_BYTES_MAX + 1).read_to_end(&mut body).map_err(unreadable)?;
    if body.len() as u64 > CONTENT_BYTES_MAX {
        return Err(format!("{} has more than {CONTENT_BYTES_MAX} octets, which no hub takes", file.display()));
    }
    Ok(body.into())
}
