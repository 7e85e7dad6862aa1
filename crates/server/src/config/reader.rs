//! A cursor over a tree: takes keys, checks types, and writes down every fault with its place.
//!
//! Knows how a fault is worded and placed. Deliberately does not stop at one: a reader asks for everything it needs
//! first and gives up afterwards, so that one run of `check` shows all there is to mend. A key whose value is null
//! counts as absent, because in YAML that is what remains of a section whose lines are all comments.

use super::tree::{Entry, Node, Value, quote};
use super::{Fault, Surroundings};
use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// What all cursors of one run share: where relative names lead, and what has been found.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) surroundings: &'a Surroundings<'a>,
    file: &'a str,
    pub(super) found: RefCell<Findings>,
}

/// What a run has found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Fault>,
    pub(super) advice: Vec<Fault>,
    /// The keys that readers asked for, so that a test can hold the documented default against them.
    #[cfg(test)]
    pub(super) asked: std::collections::BTreeSet<&'static str>,
}

impl<'a> Context<'a> {
    pub(super) fn new(surroundings: &'a Surroundings<'a>, file: &'a str) -> Self {
        Self { surroundings, file, found: RefCell::default() }
    }

    /// A remark in the form that all lists share.
    pub(super) fn note(&self, line: usize, path: &str, message: impl Into<String>) -> Fault {
        Fault { file: self.file.to_owned(), line, path: path.to_owned(), message: message.into() }
    }

    /// Records what keeps the node from starting.
    pub(super) fn fault(&self, line: usize, path: &str, message: impl Into<String>) {
        let fault = self.note(line, path, message);
        self.found.borrow_mut().faults.push(fault);
    }

    /// Records what is read and has no effect.
    fn warn(&self, line: usize, path: &str, message: impl Into<String>) {
        let fault = self.note(line, path, message);
        self.found.borrow_mut().warnings.push(fault);
    }

    /// Records what works and is probably not meant.
    fn advise(&self, line: usize, path: &str, message: impl Into<String>) {
        let fault = self.note(line, path, message);
        self.found.borrow_mut().advice.push(fault);
    }
}

/// One value and its place.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    pub(super) node: &'a Node,
    pub(super) path: String,
    pub(super) cx: &'a Context<'a>,
}

impl<'a> Cursor<'a> {
    /// The place where every path begins; its own path is empty.
    pub(super) fn root(node: &'a Node, cx: &'a Context<'a>) -> Self {
        Self { node, path: String::new(), cx }
    }

    pub(super) fn fault(&self, message: impl Into<String>) {
        self.cx.fault(self.node.line, &self.path, message);
    }

    pub(super) fn warn(&self, message: impl Into<String>) {
        self.cx.warn(self.node.line, &self.path, message);
    }

    pub(super) fn advise(&self, message: impl Into<String>) {
        self.cx.advise(self.node.line, &self.path, message);
    }

    /// A fault of the commonest form, which shows what stands there instead.
    pub(super) fn must(&self, wanted: &str) {
        self.fault(format!("must be {wanted}, not {}", self.node.value.describe()));
    }

    /// A dictionary whose keys we have chosen, to be read key by key.
    pub(super) fn dict(&self) -> Option<Dict<'a>> {
        let entries = self.entries()?;
        let (path, line) = (self.path.clone(), self.node.line);
        Some(Dict {
            path,
            line,
            rest: entries,
            known: Vec::new(),
            spelling: Spelling::Snake,
            section: None,
            cx: self.cx,
        })
    }

    /// The entries of a dictionary whose keys the user has chosen.
    pub(super) fn named(&self) -> Vec<(&'a str, Cursor<'a>)> {
        let entries = self.entries().unwrap_or_default();
        let place = |entry: &'a Entry| {
            let path = format!("{}[{}]", self.path, quote(&entry.key));
            (entry.key.as_str(), Cursor { node: &entry.node, path, cx: self.cx })
        };
        entries.into_iter().map(place).collect()
    }

    /// The entries without repetitions, which are faults.
    fn entries(&self) -> Option<Vec<&'a Entry>> {
        let Value::Dict(entries) = &self.node.value else {
            self.must("a dictionary");
            return None;
        };
        let mut seen = HashSet::new();
        let (first, repeated): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| seen.insert(entry.key.as_str()));
        for entry in repeated {
            self.cx.fault(entry.line, &self.path, format!("the key '{}' appears twice", entry.key));
        }
        Some(first)
    }

    /// Reports repeated keys at any depth, for a value that nobody reads key by key.
    pub(super) fn check_repetitions(&self) {
        match &self.node.value {
            Value::Dict(_) => self.named().iter().for_each(|(_, cursor)| cursor.check_repetitions()),
            Value::List(_) => self.list().iter().flatten().for_each(Cursor::check_repetitions),
            _ => {}
        }
    }

    /// The items of a list, each with its index in its path.
    pub(super) fn list(&self) -> Option<Vec<Cursor<'a>>> {
        let Value::List(nodes) = &self.node.value else {
            self.must("a list");
            return None;
        };
        let place =
            |(index, node): (usize, &'a Node)| Cursor { node, path: format!("{}[{index}]", self.path), cx: self.cx };
        Some(nodes.iter().enumerate().map(place).collect())
    }

    /// Any string, the empty one included.
    pub(super) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            _ => {
                self.must("a string");
                None
            }
        }
    }

    /// A string with something in it.
    pub(super) fn name(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.is_empty() {
            self.fault("must not be empty");
            return None;
        }
        Some(text)
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.node.value {
            Value::Bool(flag) => Some(flag),
            _ => {
                self.must("true or false");
                None
            }
        }
    }

    /// A whole number within limits. `8192.0` and `"8192"` are not taken for one: Crossbar.io refuses them too.
    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        match &self.node.value {
            Value::Number(number) if number.as_u64().is_some_and(|found| range.contains(&found)) => number.as_u64(),
            _ => {
                self.must(&format!("an integer from {} to {}", range.start(), range.end()));
                None
            }
        }
    }

    /// One word of a closed set; another one is a fault that names the nearest.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("'{word}'")).collect();
            self.must(&format!("one of {}", words.join(", ")));
        }
        found
    }

    /// A path in the file system, relative to the node directory.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.name().map(|name| self.cx.surroundings.node_dir.join(name))
    }

    /// A path that has to be there when the node starts.
    pub(super) fn existing(&self, kind: &str) -> Option<PathBuf> {
        let path = self.file()?;
        if !(self.cx.surroundings.exists)(&path) {
            self.fault(format!("there is no {kind} '{}'", path.display()));
            return None;
        }
        Some(path)
    }
}

/// A dictionary being read. What is left over at the end is unknown.
#[derive(Debug)]
pub(super) struct Dict<'a> {
    pub(super) path: String,
    pub(super) line: usize,
    rest: Vec<&'a Entry>,
    known: Vec<&'static str>,
    spelling: Spelling,
    /// A section whose keys may stand here as well.
    section: Option<Box<Self>>,
    pub(super) cx: &'a Context<'a>,
}

/// How the keys of a dictionary may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// `max_lease_seconds`
    Snake,
    /// And `maxLeaseSeconds`.
    SnakeOrCamel,
}

impl<'a> Dict<'a> {
    /// Takes every key in camelCase too, as the settings of hosted hubs are written.
    pub(super) fn in_both_spellings(self) -> Self {
        Self { spelling: Spelling::SnakeOrCamel, ..self }
    }

    /// Takes the keys of this section as if they stood here, and here as if they stood there.
    pub(super) fn and_section(mut self, key: &'static str) -> Self {
        let section = self.dict(key).map(|section| Self { spelling: self.spelling, ..section });
        Self { section: section.map(Box::new), ..self }
    }

    pub(super) fn fault(&self, message: impl Into<String>) {
        let place = self.section.as_deref().unwrap_or(self);
        place.cx.fault(place.line, &place.path, message);
    }

    pub(super) fn advise(&self, message: impl Into<String>) {
        self.cx.advise(self.line, &self.path, message);
    }

    /// Whether no key is left to be read.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes an entry out, so that `finish` does not find it any more.
    fn remove(&mut self, key: &str) -> Option<Cursor<'a>> {
        let index = self.rest.iter().position(|entry| entry.key == key)?;
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Some(Cursor { node: &self.rest.remove(index).node, path, cx: self.cx })
    }

    /// An optional key.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Cursor<'a>> {
        self.take_even_null(key).filter(|cursor| cursor.node.value != Value::Null)
    }

    /// An optional key for which null is a value like any other.
    pub(super) fn take_even_null(&mut self, key: &'static str) -> Option<Cursor<'a>> {
        let found = self.take_here(key);
        let Some(section) = &mut self.section else { return found };
        let twin = section.take_here(key);
        one_of(found, twin, || "is also beside this section; write it once".to_owned())
    }

    fn take_here(&mut self, key: &'static str) -> Option<Cursor<'a>> {
        self.known.push(key);
        #[cfg(test)]
        self.cx.found.borrow_mut().asked.insert(key);
        let found = self.remove(key);
        let camel = camel_case(key);
        if self.spelling == Spelling::Snake || camel == key {
            return found;
        }
        let twin = self.remove(&camel);
        one_of(found, twin, || format!("is '{key}' in another spelling, and both are there; write one of them"))
    }

    /// A required key.
    pub(super) fn need(&mut self, key: &'static str) -> Option<Cursor<'a>> {
        let found = self.take(key);
        if found.is_none() {
            self.fault(format!("missing required key '{key}'"));
        }
        found
    }

    /// A required string with something in it.
    pub(super) fn need_name(&mut self, key: &'static str) -> Option<String> {
        self.need(key)?.name().map(str::to_owned)
    }

    /// An optional section.
    pub(super) fn dict(&mut self, key: &'static str) -> Option<Dict<'a>> {
        self.take(key)?.dict()
    }

    /// The items of an optional list; none where it is absent.
    pub(super) fn list(&mut self, key: &'static str) -> Vec<Cursor<'a>> {
        self.take(key).and_then(|cursor| cursor.list()).unwrap_or_default()
    }

    /// An optional flag; the default stays where it is absent or wrong.
    pub(super) fn flag(&mut self, key: &'static str, into: &mut bool) {
        if let Some(flag) = self.take(key).and_then(|cursor| cursor.flag()) {
            *into = flag;
        }
    }

    /// A waiting time in milliseconds.
    pub(super) fn milliseconds(&mut self, key: &'static str, range: RangeInclusive<u64>, into: &mut Duration) {
        if let Some(found) = self.take(key).and_then(|cursor| cursor.integer(range)) {
            *into = Duration::from_millis(found);
        }
    }

    /// An integer that fits whatever type the field has; the range keeps the conversion from failing.
    pub(super) fn integer<T: TryFrom<u64>>(&mut self, key: &'static str, range: RangeInclusive<u64>, into: &mut T) {
        let found = self.take(key).and_then(|cursor| cursor.integer(range));
        if let Some(value) = found.and_then(|found| T::try_from(found).ok()) {
            *into = value;
        }
    }

    /// A size of which 0 means "Stentor's own limit": Crossbar's "unlimited" is not on offer.
    pub(super) fn size(&mut self, key: &'static str, range: RangeInclusive<u64>, into: &mut usize) {
        let mut found = 0;
        self.integer(key, range, &mut found);
        if found != 0 {
            *into = found;
        }
    }

    /// A waiting time in milliseconds of which 0 means "Stentor's own deadline".
    pub(super) fn deadline_ms(&mut self, key: &'static str, range: RangeInclusive<u64>, into: &mut Duration) {
        let mut found = 0;
        self.integer(key, range, &mut found);
        if found != 0 {
            *into = Duration::from_millis(found);
        }
    }

    /// Accepts a key that has no effect here, saying so.
    pub(super) fn ignore(&mut self, key: &'static str, why: &str) {
        if let Some(cursor) = self.take_unasked(key) {
            cursor.warn(format!("ignored: {why}"));
        }
    }

    /// A key that is not offered as a correction of a misspelt one, because the caller is going to turn it down.
    pub(super) fn take_unasked(&mut self, key: &str) -> Option<Cursor<'a>> {
        self.remove(key).filter(|cursor| cursor.node.value != Value::Null)
    }

    /// Accepts a key of Crossbar.io that must not be dropped silently, because something would be missing.
    pub(super) fn refuse(&mut self, key: &'static str) {
        if let Some(cursor) = self.take_unasked(key) {
            cursor.fault(format!("'{key}' of Crossbar.io is not supported by Stentor"));
        }
    }

    /// Ends the reading: every key nobody asked for is a fault that names the nearest one known here.
    pub(super) fn finish(self) {
        if let Some(section) = self.section {
            section.finish();
        }
        let camel: Vec<String> = match self.spelling {
            Spelling::Snake => Vec::new(),
            Spelling::SnakeOrCamel => self.known.iter().map(|key| camel_case(key)).collect(),
        };
        for entry in &self.rest {
            let hint = nearest(&entry.key, self.known.iter().copied().chain(camel.iter().map(String::as_str)));
            let hint = hint.map(|key| format!("; did you mean '{key}'?")).unwrap_or_default();
            self.cx.fault(entry.line, &self.path, format!("unknown key '{}'{hint}", shown(&entry.key)));
        }
    }
}

/// The one that is there of two places for the same key, of which null is as good as absent.
fn one_of<'a>(
    found: Option<Cursor<'a>>,
    twin: Option<Cursor<'a>>,
    sentence: impl FnOnce() -> String,
) -> Option<Cursor<'a>> {
    match (found, twin) {
        (Some(found), Some(twin)) if found.node.value == Value::Null => Some(twin),
        (Some(found), Some(twin)) => {
            if twin.node.value != Value::Null {
                twin.fault(sentence());
            }
            Some(found)
        }
        (found, twin) => found.or(twin),
    }
}

/// `max_lease_seconds` as `maxLeaseSeconds`.
pub(super) fn camel_case(key: &str) -> String {
    let mut words = key.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut camel, word| {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
        camel
    })
}

/// A key chosen by the user, for a message in single quotation marks.
pub(super) fn shown(key: &str) -> String {
    let quoted = quote(key);
    quoted[1..quoted.len() - 1].to_owned()
}

/// The candidate closest to a word, if a slip of the finger can explain the difference: one edit in a short word, a
/// third of the letters in a long one.
pub(super) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let scored = candidates.into_iter().map(|candidate| (strsim::osa_distance(word, candidate), candidate));
    let (distance, candidate) = scored.min()?;
    (distance <= (candidate.chars().count() / 3).max(1)).then_some(candidate)
}

/// `nearest` as the end of a sentence.
pub(super) fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    nearest(word, candidates).map(|near| format!("; did you mean '{near}'?")).unwrap_or_default()
}
