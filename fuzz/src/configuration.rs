//! Configurations: any text is either a configuration or has faults, and JSON and YAML mean the same.

use std::path::Path;

use stentor::config::{Report, Surroundings, Syntax, parse};

pub(crate) fn json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let report = read(text, Syntax::Json);
    let Ok(tree) = serde_json::from_str::<serde_json::Value>(text) else {
        // Ours ignores a mark in front and counts depth otherwise, and its numbers may be out of range.
        return;
    };
    // JSON is YAML, as long as the strings have no escapes that the two write differently.
    if report.config.is_some() && !text.contains('\\') && text.bytes().all(|octet| octet >= b' ' || octet == b'\n') {
        let neat = serde_json::to_string_pretty(&tree).expect("a tree can be written");
        assert_eq!(read(&neat, Syntax::Json).config, report.config);
        let yaml = read(&neat, Syntax::Yaml);
        assert_eq!(yaml.config, report.config, "as YAML: {:?}", yaml.faults);
    }
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
