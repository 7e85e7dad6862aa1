//! `stentor check`, and the reading of configurations for `start`.

use std::path::Path;

use super::node_dir::{self, Source};
use super::{Outcome, Place, complain, say};
use crate::config::{self, Fault, Report, Surroundings, Syntax};
use crate::node::preflight;

pub(super) fn run(place: &Place) -> Outcome {
    let dir = node_dir::resolve(&place.cbdir);
    let source = match node_dir::find_config(&dir, place) {
        Ok(source) => source,
        Err(sentence) => {
            complain(&format!("Error: {sentence}"));
            return Outcome::Misused;
        }
    };
    let report = read(&source, &dir.path);
    tell(&report);
    if report.config.is_none() {
        complain(&format!("Error: the configuration has {} at fault.", counted(report.faults.len())));
        return Outcome::Misused;
    }
    match source {
        Source::File(path) => say(&format!("Ok, configuration file {} looks good.", path.display())),
        Source::Embedded => say("Ok, there is no configuration here: `stentor start` runs the embedded default node."),
    }
    Outcome::Fine
}

fn counted(lines: usize) -> String {
    if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") }
}

/// Reads a configuration and tries out what it names: certificates, interfaces, directories, socket paths.
pub(super) fn read(source: &Source, dir: &Path) -> Report {
    let mut report = parse(source, dir);
    let Some(config) = &report.config else { return report };
    let file = match source {
        Source::File(path) => path.display().to_string(),
        Source::Embedded => "config.default.yaml".to_owned(),
    };
    let faults = preflight::faults(config);
    // What was read a moment ago is only looked at for the place of a fault.
    let text = match source {
        Source::File(path) if !faults.is_empty() => std::fs::read_to_string(path).unwrap_or_default(),
        _ => String::new(),
    };
    let syntax = match source {
        Source::File(path) => Syntax::of(path),
        Source::Embedded => Syntax::Yaml,
    };
    report.faults.extend(faults.into_iter().map(|fault| {
        let mut fault = fault.in_configuration(&text);
        if fault.file.is_none() && fault.line == 0 {
            fault.line = config::line_of(&text, syntax, &fault.path);
        }
        let file = fault.file.map_or_else(|| file.clone(), |path| path.display().to_string());
        Fault { file, line: fault.line, path: fault.path, message: fault.message }
    }));
    if !report.faults.is_empty() {
        report.config = None;
    }
    report
}

/// Reads a configuration and looks at nothing else.
pub(super) fn parse(source: &Source, dir: &Path) -> Report {
    let environment = |name: &str| std::env::var(name).ok();
    match source {
        Source::File(path) => {
            // Relative paths of a configuration start at its node directory, wherever it was named from.
            let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
            config::load(path, &dir, &environment)
        }
        Source::Embedded => {
            let exists = |_: &Path| true;
            let surroundings = Surroundings { node_dir: dir, env: &environment, exists: &exists };
            config::parse(config::embedded_default(), Syntax::Yaml, "config.default.yaml", &surroundings)
        }
    }
}

/// Logs everything that reading found.
pub(super) fn log(report: &Report) {
    report.advice.iter().for_each(|advice| tracing::info!("advice: {advice}"));
    report.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    report.faults.iter().for_each(|fault| tracing::error!("{fault}"));
}

/// Prints everything that reading found, one line each.
pub(super) fn tell(report: &Report) {
    for advice in &report.advice {
        complain(&format!("Advice: {advice}"));
    }
    for warning in &report.warnings {
        complain(&format!("Warning: {warning}"));
    }
    for fault in &report.faults {
        complain(&format!("Error: {fault}"));
    }
}
