//! Files of one directory, for browsers.
//!
//! A request never leaves the directory: path segments that are hidden, empty or lead upwards are not found, and a
//! symbolic link that points outside is not followed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Method, Response, StatusCode};

use super::download::Download;
use super::range::{self, Asked};
use super::reply::{self, Octets, Reply};
use super::upgrade::percent_decoded;

/// The directory and how it is served.
#[derive(Clone, Debug)]
pub struct Files {
    /// The directory.
    pub directory: PathBuf,
    /// What a directory's own address shows.
    pub default_file: String,
    /// Whether directories without that file are listed.
    pub listing: Listing,
    /// How long browsers may keep a file without asking.
    pub cache: Option<Duration>,
    /// Types by extension, before the usual ones.
    pub mime_types: BTreeMap<String, String>,
}

/// Whether directories are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// They are.
    On,
    /// They are not found.
    Off,
}

impl Files {
    pub(crate) async fn reply(&self, method: &Method, path: &str, rest: &str, headers: &HeaderMap) -> Reply {
        if method != Method::GET && method != Method::HEAD {
            let mut reply = reply::text(405, "Files answer GET and HEAD only");
            reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return reply;
        }
        match self.find(rest).await {
            None => reply::text(404, "There is no such file"),
            Some(Found::Directory(_)) if !path.ends_with('/') && !path.is_empty() => {
                // Two slashes in front would make the target another host's address.
                reply::redirect(301, &format!("/{}/", path.trim_start_matches('/')))
            }
            Some(Found::Directory(directory)) => self.list(&directory).await,
            Some(Found::File(file)) => self.send(&file, method, headers).await,
        }
    }

    async fn find(&self, rest: &str) -> Option<Found> {
        let rest = percent_decoded(rest)?;
        let mut path = self.directory.clone();
        for segment in rest.split('/').filter(|segment| !segment.is_empty()) {
            if segment.starts_with('.') || segment.contains(['\\', '\0']) {
                return None;
            }
            path.push(segment);
        }
        let root = tokio::fs::canonicalize(&self.directory).await.ok()?;
        let path = tokio::fs::canonicalize(&path).await.ok()?;
        if !path.starts_with(&root) {
            return None;
        }
        if !tokio::fs::metadata(&path).await.ok()?.is_dir() {
            // A slash behind a file's name would break the relative links in it.
            return (!rest.ends_with('/')).then_some(Found::File(path));
        }
        let inside = tokio::fs::canonicalize(path.join(&self.default_file)).await.unwrap_or_default();
        if inside.is_absolute() && !inside.starts_with(&root) {
            return None;
        }
        match tokio::fs::metadata(&inside).await {
            Ok(found) if found.is_file() && (rest.is_empty() || rest.ends_with('/')) => Some(Found::File(inside)),
            Ok(_) => Some(Found::Directory(path)),
            Err(_) if self.listing == Listing::On => Some(Found::Directory(path)),
            Err(_) => None,
        }
    }

    async fn send(&self, path: &Path, method: &Method, headers: &HeaderMap) -> Reply {
        let Ok(metadata) = tokio::fs::metadata(path).await else {
            return reply::text(404, "There is no such file");
        };
        let modified = metadata.modified().ok();
        let stamp = modified.and_then(|time| HeaderValue::from_str(&httpdate::fmt_http_date(time)).ok());
        if modified.is_some_and(|modified| is_fresh(modified, headers)) {
            let mut reply = Response::new(Octets::default());
            *reply.status_mut() = StatusCode::NOT_MODIFIED;
            return reply;
        }
        let length = metadata.len();
        let asked = if *method == Method::GET { range::asked(headers, stamp.as_ref(), length) } else { Asked::Whole };
        let part = match asked {
            Asked::Whole => 0..length,
            Asked::Part(ref part) => part.clone(),
            Asked::Beyond => return beyond(length),
        };
        let mut reply = Response::new(Octets::default());
        let out = reply.headers_mut();
        out.insert(header::CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
        out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Ok(kind) = HeaderValue::from_str(&self.media_type(path)) {
            out.insert(header::CONTENT_TYPE, kind);
        }
        out.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(stamp) = stamp {
            out.insert(header::LAST_MODIFIED, stamp);
        }
        let cache = self.cache.map_or("no-cache".to_owned(), |time| format!("public, max-age={}", time.as_secs()));
        if let Ok(cache) = HeaderValue::from_str(&cache) {
            out.insert(header::CACHE_CONTROL, cache);
        }
        if let Asked::Part(part) = asked {
            let value = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            out.insert(header::CONTENT_RANGE, HeaderValue::from_str(&value).expect("digits are valid in a header"));
            *reply.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        if *method == Method::GET && !part.is_empty() {
            match Download::open(path, part).await {
                Ok(download) => *reply.body_mut() = Octets::Download(Box::new(download)),
                Err(_) => return reply::text(404, "The file cannot be read"),
            }
        }
        reply
    }

    fn media_type(&self, path: &Path) -> String {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let own = self.mime_types.get(extension).or_else(|| self.mime_types.get(&format!(".{extension}")));
        if let Some(own) = own {
            return own.clone();
        }
        let guess = mime_guess::from_path(path).first_or_octet_stream().to_string();
        let is_text = guess.starts_with("text/") || guess == "application/json" || guess.ends_with("javascript");
        if is_text { format!("{guess}; charset=utf-8") } else { guess }
    }

    async fn list(&self, directory: &Path) -> Reply {
        if self.listing == Listing::Off {
            return reply::text(404, "There is no such file");
        }
        let mut names = Vec::new();
        if let Ok(mut entries) = tokio::fs::read_dir(directory).await {
            while let Ok(Some(entry)) = entries.next_entry().await {
                let name = entry.file_name().to_string_lossy().into_owned();
                if !name.starts_with('.') {
                    let slash = if entry.path().is_dir() { "/" } else { "" };
                    names.push(format!("{name}{slash}"));
                }
            }
        }
        names.sort();
        let rows: String = names
            .iter()
            .map(|name| format!("<li><a href=\"./{}\">{}</a></li>", escaped(name), escaped(name)))
            .collect();
        let page =
            format!("<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>Files</title><ul>{rows}</ul>");
        reply::with_body(200, "text/html; charset=utf-8", page)
    }
}

enum Found {
    File(PathBuf),
    Directory(PathBuf),
}

/// RFC 9110 section 15.5.17.
fn beyond(length: u64) -> Reply {
    let mut reply = reply::text(416, "The range lies beyond the end of the file");
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{length}")) {
        reply.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    reply
}

fn is_fresh(modified: SystemTime, headers: &HeaderMap) -> bool {
    let since = headers.get(header::IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    let Some(since) = since.and_then(|text| httpdate::parse_http_date(text).ok()) else { return false };
    // HTTP dates have whole seconds.
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    seconds(modified) <= seconds(since)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_stay_inside() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("web");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(outside.path().join("secret"), "no").unwrap();
        std::fs::write(root.join("index.html"), "index").unwrap();
        std::fs::write(root.join("a b.txt"), "blank").unwrap();
        std::fs::write(root.join(".hidden"), "no").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), root.join("link")).unwrap();
        std::fs::create_dir(root.join("trap")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), root.join("trap/index.html")).unwrap();
        let files = Files {
            directory: root,
            default_file: "index.html".into(),
            listing: Listing::Off,
            cache: None,
            mime_types: BTreeMap::new(),
        };
        let headers = HeaderMap::new();
        for (rest, expected) in [
            ("", 200),
            ("index.html", 200),
            ("a%20b.txt", 200),
            ("../secret", 404),
            ("%2e%2e/secret", 404),
            ("..%2fsecret", 404),
            (".hidden", 404),
            ("link", 404),
            ("trap/", 404),
            ("index.html/", 404),
            ("sub", 404),
            ("nothing", 404),
            ("%zz", 404),
        ] {
            let reply = files.reply(&Method::GET, &format!("/{rest}"), rest, &headers).await;
            assert_eq!(reply.status().as_u16(), expected, "{rest}");
        }
        assert_eq!(files.reply(&Method::POST, "/", "", &headers).await.status().as_u16(), 405);
    }
}
