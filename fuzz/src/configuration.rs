//! Configurations: any text is either a configuration or has faults, and JSON and YAML mean the same.

use std::path::Path;

use stentor::config::{Report, Surroundings, Syntax, parse};

pub(crate) fn json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let report = read(text, Syntax::Json);
    // JSON is YAML, as long as no blank is a tab and no string has an escape that the two write differently.
    if report.config.is_some() && !text.contains(['\\', '\t', '\r']) && !text.contains(unlike_yaml) {
        let yaml = read(text, Syntax::Yaml);
        assert_eq!(yaml.config, report.config, "as YAML: {:?}", yaml.faults);
    }
}

/// Characters that only JSON takes in the middle of a string (YAML 1.2.2 section 5.1).
fn unlike_yaml(character: char) -> bool {
    matches!(character, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

pub(crate) fn yaml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    read(text, Syntax::Yaml);
}

fn read(text: &str, syntax: Syntax) -> Report {
    let env = |name: &str| (name == "PORT").then(|| "8080".to_owned());
    let surroundings = Surroundings { node_dir: Path::new("node"), env: &env, exists: &|_| true };
    let report = parse(text, syntax, "config", &surroundings);
    assert_eq!(report.config.is_some(), report.faults.is_empty());
    let lines = text.split('\n').count();
    for fault in report.faults.iter().chain(&report.warnings).chain(&report.advice) {
        assert!(!fault.message.is_empty());
        // Whoever parses YAML may also count a carriage return, or the end of the text, as a line.
        assert!(fault.line <= lines + text.matches('\r').count() + 1, "{fault} in a text of {lines} lines");
    }
    report
}
