//! What can go wrong with a measurement.

use std::fmt;
use std::io;

/// Why a measurement has no result.
#[derive(Debug)]
pub enum Fault {
    /// The operating system refused something; the words say what was tried.
    Io(String, io::Error),
    /// The server answered something else than it should have.
    Protocol(String),
    /// Nothing came for too long.
    Stalled(String),
    /// A limit of this machine is too low; the words say what is needed.
    Limit(String),
    /// The options or the surroundings do not allow it, such as a program that is not there.
    Setup(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(what, error) => write!(f, "{what}: {error}"),
            Self::Protocol(words) | Self::Stalled(words) | Self::Limit(words) | Self::Setup(words) => {
                f.write_str(words)
            }
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

/// Puts words on an error of the operating system.
pub(crate) fn io<T>(result: io::Result<T>, what: impl FnOnce() -> String) -> Result<T, Fault> {
    result.map_err(|error| Fault::Io(what(), error))
}
