//! Bad snippets, and the exact sentence for each.

use super::super::{Fault, Syntax};
use super::{node, read, read_with};

fn lines(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(|fault| fault.to_string().replacen("config.json:", "", 1)).collect()
}

#[track_caller]
fn check(text: &str, expect: &[&str]) {
    assert_eq!(lines(&read(text, Syntax::Json).faults), expect, "{text}");
}

#[track_caller]
fn check_yaml(text: &str, expect: &[&str]) {
    assert_eq!(lines(&read(text, Syntax::Yaml).faults), expect, "{text}");
}
