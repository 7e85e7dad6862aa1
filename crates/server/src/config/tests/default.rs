//! The embedded default is documentation and node in one: both have to be true.

use super::super::reader::Context;
use super::super::*;

const FILE: &str = "config.default.yaml";

/// The default file with the lines of some kinds made effective.
fn uncommented(markers: &[&str]) -> String {
    let line = |line: &str| {
        let marker = markers.iter().find(|marker| line.trim_start().starts_with(**marker));
        marker.map_or_else(|| line.to_owned(), |marker| line.replacen(marker, "", 1))
    };
    embedded_default().lines().map(|text| line(text) + "\n").collect()
}

fn surroundings() -> Surroundings<'static> {
    Surroundings { node_dir: Path::new("/node"), env: &|_| None, exists: &|_| true }
}

fn sound(text: &str) -> NodeConfig {
    let mut report = parse(text, Syntax::Yaml, FILE, &surroundings());
    // Keys that are there for the sake of Crossbar.io's files say so themselves.
    report.warnings.retain(|warning| !warning.message.starts_with("has no effect"));
    assert_eq!((report.faults, report.warnings), (vec![], vec![]));
    report.config.unwrap()
}

#[test]
fn the_default_node_is_what_the_manual_promises() {
    let report = parse(embedded_default(), Syntax::Yaml, FILE, &surroundings());
    assert_eq!((&report.faults, &report.warnings, &report.advice), (&vec![], &vec![], &vec![]));
    let config = report.config.unwrap();
    let [router] = &config.routers[..] else { panic!("one router") };
    let permission = &router.realms[0].roles[0].permissions[0];
    assert_eq!((router.realms[0].name.as_str(), permission.matching), ("realm1", Match::Prefix));
    assert!(permission.publish && permission.subscribe && permission.call && permission.register);
    let [transport] = &router.transports[..] else { panic!("one transport") };
    assert!(matches!(&transport.endpoint, EndpointConfig::Tcp { port: 8080, interface: Some(name), tls: None, .. }
        if name == "127.0.0.1"));
    let TransportKind::Web { paths, .. } = &transport.kind else { panic!("web") };
    let names: Vec<&str> = paths.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["/", "ws", "push", "publish"]);
    assert_eq!(paths[0].1, PathConfig::Demo);
}

#[test]
fn documented_defaults_are_the_defaults() {
    assert_eq!(sound(&uncommented(&["#: "])), sound(embedded_default()));
}

#[test]
fn documented_examples_are_accepted_and_no_key_is_missing() {
    let text = uncommented(&["#: ", "#= "]);
    sound(&text);
    let surroundings = surroundings();
    let cx = Context::new(&surroundings, FILE);
    interpret(&text, Syntax::Yaml, &cx);
    let found = cx.found.into_inner();
    let missing: Vec<&&str> = found.asked.iter().filter(|key| !text.contains(&format!("{key}:"))).collect();
    // Editors write it, people do not.
    assert_eq!(missing, [&"$schema"]);
}

#[test]
fn documented_options_of_a_hub_are_the_defaults() {
    let config = sound(&uncommented(&["#: ", "#= "]));
    let TransportKind::Web { paths, .. } = &config.routers[0].transports[0].kind else { panic!("web") };
    let found = paths.iter().find_map(|(_, path)| match path {
        PathConfig::WebSubHub(hub) => Some(hub),
        _ => None,
    });
    let hub = found.unwrap();
    assert_eq!(hub.options, stentor_websub::options::HubOptions::new(hub.options.hub_url.clone()));
    assert_eq!(hub.delivery, stentor_delivery::Options::default());
}
