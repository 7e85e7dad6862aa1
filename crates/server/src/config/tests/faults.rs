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

/// One fault in the options of a signed pusher, whose line and path are always the same.
#[track_caller]
fn gate(options: &str, expect: &[&str]) {
    let path =
        format!(r#", "push": {{"type": "pusher", "realm": "realm1", "role": "anonymous", "options": {{{options}}}}}"#);
    let expect: Vec<String> =
        expect.iter().map(|text| format!(r#"4: workers[0].transports[0].paths["push"].options{text}"#)).collect();
    assert_eq!(lines(&read(&node("", "", &path), Syntax::Json).faults), expect, "{options}");
}

#[test]
fn limits_of_a_transport() {
    let text = node(
        "",
        r#""limits": {"connections_max": 0, "connections_per_address_max": -1, "head_timeout": 3600001, "body_timeout": "1s",
        "body_rate": 1, "write_timeout": null, "bodies_bytes_max": 1048575},"#,
        "",
    );
    let faults = lines(&read(&text, Syntax::Json).faults);
    let ends: Vec<&str> = faults.iter().filter_map(|fault| fault.split_once(".limits")).map(|(_, end)| end).collect();
    let expected = [
        ".connections_max: must be an integer from 1 to 10000000, not 0",
        ".connections_per_address_max: must be an integer from 0 to 10000000, not -1",
        ".head_timeout: must be an integer from 0 to 3600000, not 3600001",
        ".body_timeout: must be an integer from 0 to 3600000, not \"1s\"",
        ".bodies_bytes_max: must be an integer from 1048576 to 1099511627776, not 1048575",
        ": unknown key 'body_rate'; did you mean 'body_rate_min'?",
    ];
    assert_eq!(ends, expected, "{faults:#?}");
}

/// One fault in the service on the path `x`.
#[track_caller]
fn service(text: &str, expect: &[&str]) {
    let expect: Vec<String> =
        expect.iter().map(|text| format!(r#"4: workers[0].transports[0].paths["x"]{text}"#)).collect();
    let text = format!(r#", "x": {{{text}}}"#);
    assert_eq!(lines(&read(&node("", "", &text), Syntax::Json).faults), expect, "{text}");
}

#[test]
fn syntax() {
    check("", &["1: invalid JSON: expected a value, but the file ends"]);
    check("{\n\"a\": 1,\n}", &["3: invalid JSON: no comma is allowed before '}'"]);
    check("{\"a\": [1,\n]}", &["2: invalid JSON: no comma is allowed before ']'"]);
    check("{\n// no\n}", &["2: invalid JSON: comments are not allowed (they are in config.yaml)"]);
    check("{'a': 1}", &["1: invalid JSON: expected a key in double quotes; strings take double quotes"]);
    check("{\"a\" 1}", &["1: invalid JSON: expected ':', not '1'"]);
    check("{\"a\": yes}", &["1: invalid JSON: expected a value, not 'y'"]);
    check("{\"a\": \"b\n\"}", &["1: invalid JSON: a string is not closed on its line"]);
    check("{\"a\": 01}", &["1: invalid JSON: invalid number"]);
    check("{} {}", &["1: invalid JSON: expected the end of the file, not '{'"]);
    check("[]", &["1: must be a dictionary, not a list"]);
    check_yaml("", &["1: must be a dictionary, not null"]);
    check_yaml("a: 1\n---\nb: 1", &["2: a second YAML document; a node has one configuration"]);
    check_yaml("a: &x {}\nb:\n  <<: *x", &["3: YAML merge keys ('<<') are not supported; write the keys out"]);
    check_yaml("a: !python/object x", &["1: the YAML tag '!python/object' is not supported"]);
    check_yaml("? [a]\n: b", &["1: a key must be a plain name"]);
}

#[test]
fn the_node_and_its_workers() {
    check("{}", &["1: missing required key 'workers'"]);
    check(r#"{"workers": []}"#, &["1: workers: must hold at least one worker of type 'router'"]);
    check(r#"{"workers": [{"type": "guest"}]}"#, &["1: workers: must hold at least one worker of type 'router'"]);
    check(r#"{"workers": {}}"#, &["1: workers: must be a list, not a dictionary"]);
    check(
        r#"{"version": 3, "workers": [{"type": "ruter"}]}"#,
        &[
            "1: version: must be 2 (leave it out for a configuration in the 2014 form), not 3",
            "1: workers[0].type: unknown worker type 'ruter'; did you mean 'router'?",
        ],
    );
    check(
        "{\"workers\": [{\"type\": \"router\"}],\n\"workers\": [],\n\"workres\": 1}",
        &["2: the key 'workers' appears twice", "3: unknown key 'workres'; did you mean 'workers'?"],
    );
    check(r#"{"workers": [{"type": "router"}, {}]}"#, &["1: workers[1]: missing required key 'type'"]);
    check(
        r#"{"workers": [{"type": "router", "id": "a"}, {"type": "router", "id": "a"}]}"#,
        &["1: workers[1].id: a second worker with the id 'a'"],
    );
    check(
        r#"{"controler": {}, "workers": [{"type": "router"}]}"#,
        &["1: unknown key 'controler'; did you mean 'controller'?"],
    );
}

#[test]
fn what_is_ignored_is_said() {
    let text = node(
        r#""components": [], "manhole": {}, "options": {"title": "x", "pythonpath": [".."]},"#,
        r#""options": {"display_tracebacks": true},"#,
        r#", "ws": {"type": "websocket", "options": {"enable_hixie76": true, "flash_policy": "x"}}"#,
    );
    let text = text.replacen("[{", "[{\"type\": \"container\", \"components\": []}, {", 1);
    let report = read(&text, Syntax::Json);
    assert_eq!(report.faults, []);
    let expect = [
        "1: workers[0]: ignored: worker type 'container' of Crossbar.io is not supported by Stentor",
        "1: workers[1].options.title: ignored: Stentor has no worker processes",
        "1: workers[1].options.pythonpath: ignored: Stentor has no worker processes",
        "1: workers[1].components: ignored: 'components' of Crossbar.io are not supported by Stentor",
        "1: workers[1].manhole: ignored: 'manhole' of Crossbar.io is not supported by Stentor",
        "3: workers[1].transports[0].options.display_tracebacks: ignored: internal details are never shown",
        "4: workers[1].transports[0].paths[\"ws\"].options.enable_hixie76: ignored: RFC 6455 is spoken, and nothing older",
        "4: workers[1].transports[0].paths[\"ws\"].options.flash_policy: ignored: Flash is gone",
    ];
    assert_eq!(lines(&report.warnings), expect);
}

#[test]
fn realms() {
    let realms = |text: &str, expect: &[&str]| {
        let text = format!("{{\"workers\": [{{\"type\": \"router\", \"realms\": [{text}]}}]}}");
        let expect: Vec<String> = expect.iter().map(|text| format!("1: workers[0].realms{text}")).collect();
        assert_eq!(lines(&read(&text, Syntax::Json).faults), expect, "{text}");
    };
    realms("{}", &["[0]: missing required key 'name'"]);
    realms(r#"{"name": "a"}, {"name": "a"}"#, &["[1].name: a second realm 'a' in this router"]);
    realms(r#"{"name": "a b"}"#, &["[0].name: must be a URI without blanks, '#' and empty components, not \"a b\""]);
    realms(
        r#"{"name": "a", "options": {"uri_check": "lose", "request_ids": "any", "enable_meta_api": "yes"}}"#,
        &[
            "[0].options.uri_check: must be one of 'loose', 'strict', not \"lose\"",
            "[0].options.enable_meta_api: must be true or false, not \"yes\"",
        ],
    );
    realms(
        r#"{"name": "a", "roles": [{"name": "r", "authorizer": "com.x"}, {"name": "r"}]}"#,
        &[
            "[0].roles[0].authorizer: 'authorizer' of Crossbar.io is not supported by Stentor",
            "[0].roles[1].name: a second role 'r' in this realm",
        ],
    );
    let permission = |text: &str, expect: &[&str]| {
        let expect: Vec<String> = expect.iter().map(|text| format!("[0].roles[0].permissions{text}")).collect();
        let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
        realms(&format!(r#"{{"name": "a", "roles": [{{"name": "r", "permissions": [{text}]}}]}}"#), &expect);
    };
    permission("{}", &["[0]: missing required key 'uri'"]);
    permission(r#"{"uri": ""}"#, &["[0].uri: must not be empty; '*' means every URI"]);
    permission(
        r#"{"uri": "a."}"#,
        &["[0].uri: must be a URI without empty components, which match nothing, not \"a.\""],
    );
    permission(
        r#"{"uri": "a", "match": "suffix"}"#,
        &["[0].match: must be one of 'exact', 'prefix', 'wildcard', not \"suffix\""],
    );
    permission(r#"{"uri": "a", "subscibe": true}"#, &["[0]: unknown key 'subscibe'; did you mean 'subscribe'?"]);
    permission(
        r#"{"uri": "a", "call": true, "allow": {"pubish": 1}}"#,
        &[
            "[0].allow: the rights stand beside 'allow' too; write them in one place",
            "[0].allow: unknown key 'pubish'; did you mean 'publish'?",
        ],
    );
    permission(
        r#"{"uri": "a.*"}, {"uri": "a.", "match": "prefix"}"#,
        &["[1]: repeats the URI and match of a permission before it"],
    );
}

#[test]
fn transports_and_endpoints() {
    let transports = |text: &str, expect: &[&str]| {
        let text = format!(
            "{{\"workers\": [{{\"type\": \"router\", \"realms\": [{{\"name\": \"r\", \"roles\": \
             [{{\"name\": \"anonymous\"}}]}}], \"transports\": [{text}]}}]}}"
        );
        let expect: Vec<String> = expect.iter().map(|text| format!("1: workers[0].transports{text}")).collect();
        assert_eq!(lines(&read(&text, Syntax::Json).faults), expect, "{text}");
    };
    let endpoint = |text: &str, expect: &[&str]| {
        let expect: Vec<String> = expect.iter().map(|text| format!("[0].endpoint{text}")).collect();
        let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
        transports(&format!(r#"{{"type": "websocket", "endpoint": {{{text}}}}}"#), &expect);
    };
    transports(r#"{"type": "web"}"#, &["[0]: missing required key 'endpoint'", "[0]: missing required key 'paths'"]);
    for kind in ["rawsocket", "universal", "flashpolicy", "mqtt", "websocket.testee", "stream.testee"] {
        let expect = format!("[0].type: transport type '{kind}' of Crossbar.io is not supported by Stentor");
        transports(&format!(r#"{{"type": "{kind}", "endpoint": {{}}}}"#), &[&expect]);
    }
    transports(
        r#"{"type": "websoket", "endpoint": {}}"#,
        &["[0].type: unknown transport type 'websoket'; did you mean 'websocket'?"],
    );
    let port = "must be a port number from 0 to 65535 or \"$NAME\" of an environment variable, not";
    endpoint(r#""type": "tcp""#, &[": missing required key 'port'"]);
    endpoint(r#""type": "tcp", "port": 65536"#, &[&format!(".port: {port} 65536")]);
    endpoint(r#""type": "tcp", "port": "80""#, &[&format!(".port: {port} \"80\"")]);
    endpoint(r#""type": "tcp", "port": "$NONE""#, &[".port: the environment variable 'NONE' is not set"]);
    endpoint(
        r#""type": "tcp", "port": "$WORD""#,
        &[".port: the environment variable 'WORD' must hold a port number from 0 to 65535, not \"eighty\""],
    );
    endpoint(
        r#""type": "tcp", "portrange": [1, 2]"#,
        &[": 'portrange' of Crossbar.io is not supported by Stentor; name one 'port'"],
    );
    endpoint(
        r#""type": "tcp", "port": 1, "backlog": 0, "version": 5, "interfaces": "x""#,
        &[
            ".backlog: must be an integer from 1 to 65535, not 0",
            ".version: must be 4 or 6, not 5",
            ": unknown key 'interfaces'; did you mean 'interface'?",
        ],
    );
    endpoint(
        r#""type": "tcp", "port": 1, "tls": {"key": 1, "ca_certificates": []}"#,
        &[
            ".tls.key: must be a string, not 1",
            ".tls: missing required key 'certificate'",
            ".tls.ca_certificates: 'ca_certificates' of Crossbar.io is not supported by Stentor",
        ],
    );
    endpoint(r#""type": "onion""#, &[".type: endpoint type 'onion' of Crossbar.io is not supported by Stentor"]);
    endpoint(r#""type": "udp""#, &[".type: unknown endpoint type 'udp'; known are tcp, unix"]);
    let listen = |text: &str| format!(r#"{{"type": "websocket", "endpoint": {{"type": "tcp", {text}}}}}"#);
    let same = "[1]: listens on port 80 like workers[0].transports[0]";
    for (one, two, expect) in [
        (r#""port": 80"#, r#""port": 80"#, &[same][..]),
        (r#""port": 80, "interface": "127.0.0.1""#, r#""port": 80"#, &[same]),
        (r#""port": 80, "interface": "127.0.0.1""#, r#""port": 80, "interface": "127.0.0.2""#, &[]),
        (r#""port": 80, "version": 4"#, r#""port": 80, "version": 6"#, &[]),
        (r#""port": 0"#, r#""port": 0"#, &[]),
    ] {
        transports(&format!("{}, {}", listen(one), listen(two)), expect);
    }
}

#[test]
fn gates() {
    gate(r#""post_body_limit": "x""#, &[".post_body_limit: must be an integer from 0 to 1048576, not \"x\""]);
    gate(r#""post_body_limit": 1048577"#, &[".post_body_limit: must be an integer from 0 to 1048576, not 1048577"]);
    gate(r#""post_body_limit": -1"#, &[".post_body_limit: must be an integer from 0 to 1048576, not -1"]);
    gate(r#""timestamp_delta_limit": 1.5"#, &[".timestamp_delta_limit: must be an integer from 0 to 86400, not 1.5"]);
    gate(r#""key": "k""#, &[".key: a 'key' needs a 'secret' beside it; without one nothing would be checked"]);
    gate(r#""secret": "s""#, &[".secret: a 'secret' needs a 'key' beside it, which requests have to name"]);
    // A secret of the wrong type is not repeated.
    gate(
        r#""key": "", "secret": 1234"#,
        &[".key: must not be empty", ".secret: must be a string (in quotation marks)"],
    );
    gate(r#""require_ip": "127.0.0.1""#, &[".require_ip: must be a list, not \"127.0.0.1\""]);
    gate(
        r#""require_ip": ["localhost", "10.0.0.0/8", "10.0.0.0/99", 7]"#,
        &[
            ".require_ip[0]: must be an IP address or network such as '10.0.0.7', '10.0.0.0/8' or \
             '10.0.0.0/255.0.0.0', not \"localhost\"",
            ".require_ip[2]: must be an IP network whose part after '/' is a prefix length or a mask of leading ones, \
             not \"10.0.0.0/99\"",
            ".require_ip[3]: must be a string, not 7",
        ],
    );
    gate(
        r#""cors": ["*", "https://a.b:1", "a.b", "https://a.b/"]"#,
        &[
            ".cors[2]: must be '*' or an origin such as 'https://example.com', not \"a.b\"",
            ".cors[3]: must be '*' or an origin such as 'https://example.com', not \"https://a.b/\"",
        ],
    );
    gate(r#""require_tsl": true"#, &[": unknown key 'require_tsl'; did you mean 'require_tls'?"]);
    let text = r#", "p": {"type": "pusher", "realm": "realm1", "role": "anonymous",
        "options": {"key": "k", "secret": "s", "require_tls": true}}"#;
    let report = read(&node("", "", text), Syntax::Json);
    assert_eq!(report.faults, []);
    let place = "5: workers[0].transports[0].paths[\"p\"].options";
    let expect = [
        format!(
            "{place}.secret: set 'timestamp_delta_limit' (such as 10) too, so that an old signed request cannot be replayed"
        ),
        format!("{place}: 'require_tls' without TLS on this transport or 'trusted_proxies' refuses every request"),
    ];
    assert_eq!(lines(&report.advice), expect);
}

#[test]
fn services() {
    for kind in ["cgi", "wsgi", "longpoll", "webhook", "upload", "schemadoc", "reverseproxy"] {
        let expect = format!(".type: path type '{kind}' of Crossbar.io is not supported by Stentor");
        service(&format!(r#""type": "{kind}", "directory": "..""#), &[&expect]);
    }
    service(r#""type": "pushr""#, &[".type: unknown path type 'pushr'; did you mean 'pusher'?"]);
    service("", &[": missing required key 'type'"]);
    service(
        r#""type": "pusher", "relm": "realm1", "role": "anonymous""#,
        &[": missing required key 'realm'", ": unknown key 'relm'; did you mean 'realm'?"],
    );
    service(
        r#""type": "publisher", "realm": "real1", "role": "anonymous""#,
        &[".realm: this router has no realm 'real1'; did you mean 'realm1'?"],
    );
    service(
        r#""type": "caller", "realm": "realm1", "role": "anonymus""#,
        &[".role: the realm 'realm1' has no role 'anonymus'; did you mean 'anonymous'?"],
    );
    service(r#""type": "static""#, &[": missing required key 'directory'"]);
    service(
        r#""type": "static", "package": "x", "resource": "y", "directory": "z""#,
        &[
            ".package: 'package' of Crossbar.io is not supported by Stentor",
            ".resource: 'resource' of Crossbar.io is not supported by Stentor",
        ],
    );
    service(
        r#""type": "static", "directory": "z", "options": {"mime_types": {"md": "text/markdown"}}"#,
        &[".options.mime_types[\"md\"]: the extension 'md' must begin with a dot, such as '.md'"],
    );
    service(r#""type": "json""#, &[": missing required key 'value'"]);
    service(r#""type": "json", "value": [{"a": 1, "a": 2}]"#, &[".value[0]: the key 'a' appears twice"]);
    service(r#""type": "metrics", "token": """#, &[".token: must not be empty"]);
    service(r#""type": "health", "token": 7"#, &[".token: must be a string (in quotation marks)"]);
    service(r#""type": "health", "tokn": "x""#, &[": unknown key 'tokn'; did you mean 'token'?"]);
    service(r#""type": "redirect", "url": """#, &[".url: must not be empty"]);
    service(
        r#""type": "path", "paths": {"a/b": {"type": "demo"}, "c": {"type": "cgi"}}"#,
        &[
            ".paths[\"a/b\"]: the path name 'a/b' must be '/' or 1 to 128 letters, digits, '_' and '-'; for paths below \
             paths there is the type 'path'",
            ".paths[\"c\"].type: path type 'cgi' of Crossbar.io is not supported by Stentor",
        ],
    );
    let text = node("", "", r#", "x": {"type": "static", "directory": "../web"}"#);
    let faults = read_with(&text, Syntax::Json, &|_| false).faults;
    assert_eq!(
        lines(&faults),
        [r#"4: workers[0].transports[0].paths["x"].directory: there is no directory '/node/../web'"#]
    );
}

#[test]
fn websockets() {
    let websocket = |text: &str, expect: &[&str]| service(&format!(r#""type": "websocket", {text}"#), expect);
    websocket(r#""url": "http://x""#, &[".url: must be a URL that begins with ws:// or wss://, not \"http://x\""]);
    websocket(r#""serializers": []"#, &[".serializers: must name at least one serializer"]);
    websocket(
        r#""serializers": ["jsn", "ubjson"]"#,
        &[
            ".serializers[0]: unknown serializer 'jsn'; did you mean 'json'?",
            ".serializers[1]: serializer 'ubjson' of Crossbar.io is not supported by Stentor",
        ],
    );
    websocket(
        r#""options": {"auto_ping_interval": 10, "auto_ping_size": 126, "max_frame_size": -1, "tcp_nodely": true,
           "compression": {"deflate": {"max_window_bits": 8}, "deflat": {}}}"#
            .replace('\n', " ")
            .as_str(),
        &[
            ".options.max_frame_size: must be an integer from 0 to 1073741824, not -1",
            ".options.compression.deflate.max_window_bits: must be an integer from 9 to 15, not 8",
            ".options.compression: unknown key 'deflat'; did you mean 'deflate'?",
            ".options.auto_ping_interval: must be 0 or an integer from 1000 to 3600000 (milliseconds), not 10",
            ".options.auto_ping_size: must be an integer from 12 to 125, not 126",
            ".options: unknown key 'tcp_nodely'; did you mean 'tcp_nodelay'?",
        ],
    );
}

#[test]
fn authentication() {
    let auth = |text: &str, expect: &[&str]| {
        let expect: Vec<String> = expect.iter().map(|text| format!(".auth{text}")).collect();
        let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
        service(&format!(r#""type": "websocket", "auth": {{{text}}}"#), &expect);
    };
    auth("", &[": names no authentication method, so nobody could join; leave it out to let everybody in"]);
    for method in ["mozilla_persona", "cookie", "scram", "cryptosign", "tls"] {
        let expect = format!(".{method}: authentication method '{method}' of Crossbar.io is not supported by Stentor");
        auth(&format!(r#""{method}": {{}}"#), &[&expect]);
    }
    auth(
        r#""tiket": {}, "anonymous": {"role": "anon"}"#,
        &[
            ".anonymous.role: no realm of this router has a role 'anon'",
            ": unknown key 'tiket'; did you mean 'ticket'?",
        ],
    );
    auth(
        r#""ticket": {"type": "dynamic", "authenticator": "com.x"}"#,
        &[".ticket.type: authentication of type 'dynamic' is not supported by Stentor; use 'static'"],
    );
    auth(r#""ticket": {"type": "static"}"#, &[".ticket: missing required key 'principals'"]);
    auth(
        r#""wampcra": {"type": "static", "users": {"a b": {"secret": 7, "iterations": 5}}}"#,
        &[
            ".wampcra.users[\"a b\"].secret: must be a string (in quotation marks)",
            ".wampcra.users[\"a b\"]: missing required key 'role'",
            ".wampcra.users[\"a b\"].iterations: has no effect without 'salt'",
        ],
    );
    auth(
        r#""ticket": {"type": "static", "principals": {"joe": {"ticket": "t", "role": "anonymous", "realm": "realm1"}}}"#,
        &[".ticket.principals[\"joe\"].realm: 'realm' of Crossbar.io is not supported by Stentor"],
    );
    let long = "x".repeat(1025);
    auth(
        &format!(
            r#""ticket": {{"type": "static", "principals": {{"{long}": {{"ticket": "t", "role": "anonymous"}}}}}}"#
        ),
        &[&format!(
            ".ticket.principals[\"{}\"]: the name of a user may have 1024 octets, and this one has 1025",
            super::super::reader::shown(&long)
        )],
    );
}

#[test]
fn every_fault_is_found_in_one_run_in_the_order_of_the_file() {
    let text = r#"version: 1
workers:
  - type: router
    realms:
      - name: realm1
        roles: [{name: anonymous, permissions: [{uri: "a b"}]}]
    transports:
      - type: web
        endpoint: {type: tcp, port: none}
        paths:
          push:
            type: pusher
            relm: realm1
            role: anonymous
          rpc: {type: wsgi}
workrs: []
"#;
    check_yaml(
        text,
        &[
            "1: version: must be 2 (leave it out for a configuration in the 2014 form), not 1",
            "6: workers[0].realms[0].roles[0].permissions[0].uri: must be a URI without blanks and '#', not \"a b\"",
            "9: workers[0].transports[0].endpoint.port: must be a port number from 0 to 65535 or \"$NAME\" of an \
             environment variable, not \"none\"",
            "12: workers[0].transports[0].paths[\"push\"]: missing required key 'realm'",
            "13: workers[0].transports[0].paths[\"push\"]: unknown key 'relm'; did you mean 'realm'?",
            "15: workers[0].transports[0].paths[\"rpc\"].type: path type 'wsgi' of Crossbar.io is not supported by Stentor",
            "16: unknown key 'workrs'; did you mean 'workers'?",
        ],
    );
}
