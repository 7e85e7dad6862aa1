//! No text, however odd, does more than produce faults.

use super::super::tree::Value;
use super::super::*;
use super::read;
use proptest::prelude::*;

#[test]
fn nesting_is_bounded() {
    for (syntax, text) in [
        (Syntax::Json, "[".repeat(100_000)),
        (Syntax::Json, r#"{"a":"#.repeat(100_000)),
        (Syntax::Yaml, "[".repeat(200)),
        (Syntax::Yaml, (0..300).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect()),
    ] {
        let report = read(&text, syntax);
        assert_eq!(report.faults.len(), 1);
        assert_eq!(report.faults[0].message, "nested more than 128 deep");
    }
    // Here the parser of YAML itself gives up.
    assert_eq!(read(&"[".repeat(100_000), Syntax::Yaml).faults.len(), 1);
}

#[test]
fn aliases_cannot_fill_the_memory() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let alias = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 10].join(", "));
    }
    assert_eq!(read(&text, Syntax::Yaml).faults[0].message, "more than 100000 values, aliases expanded");
}

#[test]
fn files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    let env = |_: &str| None;
    assert_eq!(find(directory.path()), None);
    assert!(load(&path, directory.path(), &env).faults[0].message.starts_with("cannot be read: "));
    std::fs::write(&path, b"{\n\xff}").unwrap();
    let fault = &load(&path, directory.path(), &env).faults[0];
    assert_eq!((fault.line, fault.message.as_str()), (2, "is not UTF-8 text here"));
    assert_eq!(find(directory.path()), Some(path.clone()));
    // Here, unlike in most tests, the file system is asked.
    std::fs::write(&path, super::node("", "", r#", "w": {"type": "static", "directory": "web"}"#)).unwrap();
    assert!(load(&path, directory.path(), &env).faults[0].message.starts_with("there is no directory '"));
    std::fs::create_dir(directory.path().join("web")).unwrap();
    assert_eq!(load(&path, directory.path(), &env).faults, []);
}

/// Any tree out of the words that configurations are made of, so that readers get deep before they stumble.
fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "version",
        "workers",
        "type",
        "router",
        "container",
        "realms",
        "name",
        "roles",
        "permissions",
        "uri",
        "match",
        "allow",
        "publish",
        "transports",
        "web",
        "websocket",
        "endpoint",
        "tcp",
        "port",
        "tls",
        "paths",
        "/",
        "push",
        "pusher",
        "realm",
        "role",
        "options",
        "key",
        "secret",
        "require_ip",
        "cors",
        "auth",
        "ticket",
        "principals",
        "json",
        "value",
        "path",
        "static",
        "directory",
        "serializers",
        "compression",
        "deflate",
        "store",
        "sqlite",
        "websub-hub",
        "hub-admin",
        "websub-topic",
        "hub_url",
        "hubUrl",
        "authenticator",
        "tokens",
        "bridge",
        "topic",
        "http://example.com/{uri}",
        "com.x.*",
        "",
        "$PORT",
    ])
    .prop_map(str::to_owned)
}

fn tree() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<i32>().prop_map(|halves| (f64::from(halves) / 2.0).into()),
        word().prop_map(Into::into),
    ];
    leaf.prop_recursive(8, 128, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(word(), inner, 0..8)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn plain(text: &str, syntax: Syntax) -> Option<Value> {
    let tree = match syntax {
        Syntax::Json => json::parse(text),
        Syntax::Yaml => yaml::parse(text),
    };
    tree.ok().map(|node| node.value)
}

proptest! {
    #[test]
    fn arbitrary_text_is_survived(text in ".{0,200}", tail in "[\\[\\]{}:,\"'&*!|>#\\-\\\\ \na-c0-9.]{0,200}") {
        for text in [&text, &tail] {
            for syntax in [Syntax::Json, Syntax::Yaml] {
                let report = read(text, syntax);
                prop_assert_eq!(report.config.is_some(), report.faults.is_empty());
            }
        }
    }

    #[test]
    fn json_is_read_as_serde_json_reads_it(text in "[\\[\\]{}:,\"\\\\ \nabntrue0-9.eE+u-]{0,40}") {
        let expect: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        prop_assert_eq!(plain(&text, Syntax::Json).map(|value| value.to_json()), expect);
    }

    #[test]
    fn any_tree_is_judged(tree in tree()) {
        for text in [tree.to_string(), serde_json::to_string_pretty(&tree).unwrap()] {
            let report = read(&text, Syntax::Json);
            prop_assert_eq!(report.config.is_some(), report.faults.is_empty());
            let value = plain(&text, Syntax::Json).map(|value| value.to_json());
            prop_assert_eq!(value, Some(tree.clone()));
        }
    }
}
