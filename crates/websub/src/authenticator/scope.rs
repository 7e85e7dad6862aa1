//! Scopes: regular expressions that a topic has to match in full.
//!
//! For the authenticators that run without Python. The engine takes linear time whatever the expression; it therefore
//! knows no look-around and no back-references.

use regex::{Regex, RegexBuilder};
use stentor_model::Topic;

use super::TopicVerdict;

/// Memory of one compiled expression. A scope is a list of hosts or paths; a counted repetition of a large class is not.
const COMPILED_BYTES_MAX: usize = 256 << 10;

/// How long the text of a scope may be.
const TEXT_BYTES_MAX: usize = 4096;

/// How many scopes somebody may have.
pub const SCOPES_MAX: usize = 256;

/// The topics that somebody may subscribe to.
#[derive(Clone, Debug, Default)]
pub struct Scopes(Vec<Regex>);

/// A scope that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeFault {
    /// More than [`SCOPES_MAX`].
    TooMany,
    /// The text is too long.
    TooLong {
        /// Which one, counted from 0.
        index: usize,
    },
    /// Not a regular expression, or one that needs too much memory.
    Invalid {
        /// Which one, counted from 0.
        index: usize,
        /// What the engine says, in one line.
        reason: String,
    },
}

impl std::fmt::Display for ScopeFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooMany => write!(f, "more than {SCOPES_MAX} scopes"),
            Self::TooLong { index } => write!(f, "scope {index} is longer than {TEXT_BYTES_MAX} octets"),
            Self::Invalid { index, reason } => write!(f, "scope {index} is not a regular expression: {reason}"),
        }
    }
}

impl std::error::Error for ScopeFault {}

impl Scopes {
    /// Compiles scopes.
    ///
    /// # Errors
    /// With the first that is none.
    pub fn compile<S: AsRef<str>>(texts: &[S]) -> Result<Self, ScopeFault> {
        if texts.len() > SCOPES_MAX {
            return Err(ScopeFault::TooMany);
        }
        let compiled = texts.iter().enumerate().map(|(index, text)| compile(index, text.as_ref()));
        compiled.collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of them matches the whole topic. A scope that only had to occur somewhere in it would let
    /// `https://good\.example/` match `https://evil.example/?https://good.example/`.
    #[must_use]
    pub fn judge(&self, topic: &Topic) -> TopicVerdict {
        let is_match = self.0.iter().any(|scope| scope.is_match(topic.as_str()));
        if is_match { TopicVerdict::Allowed } else { TopicVerdict::Denied }
    }
}

fn compile(index: usize, text: &str) -> Result<Regex, ScopeFault> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ScopeFault::TooLong { index });
    }
    let build = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
    let invalid = |error: &regex::Error| {
        let lines = error.to_string();
        let reason = lines.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
        ScopeFault::Invalid { index, reason }
    };
    // Alone first: `a)|(?:b` would be an expression inside of the group, and escape the anchors.
    build(text).map_err(|error| invalid(&error))?;
    build(&format!(r"\A(?:{text})\z")).map_err(|error| invalid(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_match_in_full() {
        let check = |scopes: &[&str], topic: &str, expected: bool| {
            let verdict = Scopes::compile(scopes).unwrap().judge(&Topic::parse(topic).unwrap());
            assert_eq!(verdict == TopicVerdict::Allowed, expected, "{scopes:?} {topic}");
        };
        // The example of the reference: all topics.
        check(&[r"http[s]?://.*"], "https://a.example/x", true);
        check(&[r"http[s]?://.*"], "http://a.example/x", true);
        check(&[], "http://a.example/", false);
        check(&[r"https://good\.example/"], "https://evil.example/?https://good.example/", false);
        check(&[r"https://good\.example/"], "https://good.example/x", false);
        check(&["x", r"https://a/\d+"], "https://a/42", true);
        // Alternatives are taken as a whole, and the longer one as well as the first.
        check(&["http://a/|http://a/b"], "http://a/b", true);
        check(&["http://a/|http://b/"], "http://a/x", false);
        check(&["http://a/$"], "http://a/", true);
        check(&["(?i)HTTP://A/"], "http://a/", true);
    }

    #[test]
    fn bad_scopes_are_named() {
        let check = |scopes: &[&str], expected: &str| {
            let fault = Scopes::compile(scopes).unwrap_err().to_string();
            assert!(fault.starts_with(expected), "{fault}");
        };
        check(&["a", "(b"], "scope 1 is not a regular expression: unclosed group");
        check(&["a)|(?:b"], "scope 0 is not a regular expression: unopened group");
        check(&["(?x)a # b"], "scope 0 is not a regular expression: unclosed group");
        check(&["(?=a)"], "scope 0 is not a regular expression: look-around");
        check(&[r"[\w]{5000}"], "scope 0 is not a regular expression: ");
        check(&["x".repeat(5000).as_str()], "scope 0 is longer than 4096 octets");
        check(&["x"; 257], "more than 256 scopes");
    }
}
