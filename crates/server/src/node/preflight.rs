//! What a configuration names outside of itself, tried out before anything is started: certificates, interfaces, directories
//! and the places of Unix sockets and of the store. Ports are not opened here; another process may hold one rightly while this one is checked.

use std::net::ToSocketAddrs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use stentor_store::sqlite;

use super::hubs::function_source;
use super::tls;
use crate::config::{
    AuthenticatorConfig, EndpointConfig, FunctionConfig, IpVersion, NodeConfig, PathConfig, StoreKind, TransportConfig,
    TransportKind,
};
use crate::courier;
use crate::sidecar::{self, Source};

/// Octets of a Unix socket's path: `sun_path` has 108 with the zero behind it.
const SOCKET_PATH_MAX: usize = 107;

/// Something that would keep the node from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file that it is in, where that is not the configuration.
    pub file: Option<PathBuf>,
    /// The line of the file, from 1; 0 where it is not known.
    pub line: usize,
    /// The place in the configuration.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// Where the fault is in code that the configuration holds: the code, and its line.
    pub within: Option<(String, usize)>,
}

impl Fault {
    /// Names the line of the configuration that a fault of code in it stands in. Where the code does not stand there line by
    /// line, as in JSON, it says which line of the code is meant.
    #[must_use]
    pub fn in_configuration(mut self, text: &str) -> Self {
        let Some((code, line)) = self.within.take() else { return self };
        match beginning(text, self.line, &code) {
            Some(first) => self.line = first + line - 1,
            None => self.message = format!("{} (in line {line} of the function that begins here)", self.message),
        }
        self
    }
}

/// The line in which code begins that stands in a file as it is, but for its indentation, at this line or the next.
fn beginning(text: &str, from: usize, code: &str) -> Option<usize> {
    let stands = |first: &usize| {
        let mut lines = text.lines().skip(first.checked_sub(1)?);
        let is_there = code.trim_end().lines().all(|line| lines.next().is_some_and(|one| one.trim() == line.trim()));
        is_there.then_some(())
    };
    [from, from + 1].into_iter().find(|first| stands(first).is_some())
}

impl From<(String, String)> for Fault {
    fn from((path, message): (String, String)) -> Self {
        Self { file: None, line: 0, path, message, within: None }
    }
}

/// Everything that would keep the node from starting, each with its place.
#[must_use]
pub fn faults(config: &NodeConfig) -> Vec<Fault> {
    let mut faults = Vec::new();
    for router in &config.routers {
        for (at, transport) in router.transports.iter().enumerate() {
            let place = format!("workers[{}].transports[{at}]", router.place);
            check(transport, &place, &mut faults);
        }
    }
    let mut transports = config.routers.iter().flat_map(|router| &router.transports);
    let has_hub = transports.any(|one| matches!(&one.kind, TransportKind::Web { paths, .. } if has_hub(paths)));
    if let StoreKind::Sqlite { path } = &config.store.kind
        && has_hub
        && let Err(message) = store_path(path)
    {
        faults.push(("store.path".to_owned(), message).into());
    }
    faults
}

/// Without a hub the store is not opened.
fn has_hub(paths: &[(String, PathConfig)]) -> bool {
    paths.iter().any(|(_, service)| match service {
        PathConfig::WebSubHub(_) => true,
        PathConfig::Nested { paths } => has_hub(paths),
        _ => false,
    })
}

/// Whether a store can be here. It is not opened: closing it again would give up the locks of a node that is this process.
fn store_path(path: &Path) -> Result<(), String> {
    if path.parent().is_some_and(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        return Err(format!("the directory of {} is not there", path.display()));
    }
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(format!("{} is no file", path.display())),
        _ => sqlite::resolve(path).map(drop).map_err(|error| format!("{}: {error}", path.display())),
    }
}

fn check(transport: &TransportConfig, place: &str, faults: &mut Vec<Fault>) {
    match &transport.endpoint {
        EndpointConfig::Tcp { interface, version, tls, .. } => {
            if let Some(Err(message)) = interface.as_ref().map(|name| resolve(name, *version)) {
                faults.push((format!("{place}.endpoint.interface"), message).into());
            }
            if let Some(Err(message)) = tls.as_ref().map(tls::acceptor) {
                faults.push((format!("{place}.endpoint.tls"), message).into());
            }
        }
        EndpointConfig::Unix { path, .. } => {
            if let Err(message) = socket_path(path) {
                faults.push((format!("{place}.endpoint.path"), message).into());
            }
        }
    }
    if let TransportKind::Web { paths, .. } = &transport.kind {
        services(paths, place, faults);
    }
}

fn services(paths: &[(String, PathConfig)], place: &str, faults: &mut Vec<Fault>) {
    for (path, service) in paths {
        let place = format!("{place}.paths[\"{path}\"]");
        match service {
            PathConfig::Static { directory, .. } if !directory.is_dir() => {
                faults.push((format!("{place}.directory"), format!("{} is no directory", directory.display())).into());
            }
            PathConfig::Redirect { url } if url.chars().any(char::is_control) => {
                faults.push((format!("{place}.url"), "must not have control characters".to_owned()).into());
            }
            PathConfig::WebSubHub(hub) => {
                if let Some(Err(message)) = hub.certificate_authorities.as_deref().map(courier::authorities) {
                    faults.push((format!("{place}.certificate_authorities"), message).into());
                }
                if let AuthenticatorConfig::Function(function) = &hub.authenticator {
                    faults.extend(code(function, &place).err());
                }
            }
            PathConfig::Nested { paths } => services(paths, &place, faults),
            _ => {}
        }
    }
}

/// Whether an authenticator's code is one function and nothing else.
fn code(function: &FunctionConfig, place: &str) -> Result<(), Fault> {
    let fault = |path: &str, message| Fault {
        line: function.code.line(),
        ..Fault::from((format!("{place}.authenticator.{path}"), message))
    };
    let source = function_source(function);
    let text = source.read().map_err(|sentence| fault("name", sentence))?;
    sidecar::check(&text, &function.python).map_err(|found| match &source {
        Source::Inline { .. } => Fault { within: Some((text, found.line)), ..fault("inline", found.reason) },
        Source::Named { path, .. } => {
            let message = format!("{} (the function of {place})", found.reason);
            Fault { file: Some(path.clone()), line: found.line, ..Fault::from((String::new(), message)) }
        }
    })
}

fn resolve(name: &str, version: Option<IpVersion>) -> Result<(), String> {
    let found = (name, 0).to_socket_addrs().map_err(|error| {
        format!(
            "'{name}' is no address and no host name that can be resolved ({error}); IPv6 is written without brackets"
        )
    })?;
    let fits = |is_v4: bool| match version {
        None => true,
        Some(IpVersion::V4) => is_v4,
        Some(IpVersion::V6) => !is_v4,
    };
    if found.map(|address| address.is_ipv4()).any(fits) {
        return Ok(());
    }
    let version = if version == Some(IpVersion::V4) { 4 } else { 6 };
    Err(format!("'{name}' has no address of IP version {version}"))
}

fn socket_path(path: &Path) -> Result<(), String> {
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_MAX {
        return Err(format!("has {length} octets, and a socket's path may have {SOCKET_PATH_MAX}"));
    }
    if path.parent().is_some_and(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        return Err(format!("the directory of {} is not there", path.display()));
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            Err(format!("{} is there and is no socket; move it away or configure another path", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces() {
        assert_eq!(resolve("127.0.0.1", None), Ok(()));
        assert_eq!(resolve("127.0.0.1", Some(IpVersion::V4)), Ok(()));
        assert_eq!(
            resolve("127.0.0.1", Some(IpVersion::V6)).unwrap_err(),
            "'127.0.0.1' has no address of IP version 6"
        );
        assert!(resolve("[::1]", None).unwrap_err().contains("without brackets"));
    }

    #[test]
    fn places_of_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let check = |name: &str, expect: Option<&str>| match (store_path(&dir.path().join(name)), expect) {
            (Ok(()), None) => {}
            (Err(fault), Some(part)) => assert!(fault.contains(name) && fault.contains(part), "{fault}"),
            (found, _) => panic!("{name}: {found:?}"),
        };
        std::fs::write(dir.path().join("old"), "").unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        check("new", None);
        check("old", None);
        check("folder", Some("is no file"));
        check("missing/new", Some("directory"));
        std::os::unix::fs::symlink(dir.path().join("nothing"), dir.path().join("link")).unwrap();
        check("link", Some("symbolic link"));
    }

    #[test]
    fn places_of_sockets() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("precious"), "text").unwrap();
        assert_eq!(socket_path(&dir.path().join("new")), Ok(()));
        assert!(socket_path(&dir.path().join("precious")).unwrap_err().contains("no socket"));
        assert!(socket_path(&dir.path().join("missing/new")).unwrap_err().contains("not there"));
        assert!(socket_path(Path::new(&"x".repeat(200))).unwrap_err().contains("107"));
        let socket = dir.path().join("old");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert_eq!(socket_path(&socket), Ok(()));
    }
}
