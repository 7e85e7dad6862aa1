//! The gate against the facts: one row per check that Crossbar makes, with the status that this server decided on.

use base64::Engine as _;
use proptest::prelude::*;

use stentor_model::Secret;

use super::*;

/// A request recorded from a client in the field, signed with `secret`.
const BODY: &[u8] =
    br#"{"topic":"com.myapp.topic1","options":{"exclude":[1]},"args":["\u00e9",23],"kwargs":{"msg":"x"}}"#;
const QUERY: &str = "timestamp=2026-11-22T00%3A19%3A14.527Z&seq=1&key=foobar&nonce=5576599056441004\
                     &signature=L893V2F0J3YId2VByknGtUfjwAklqMiwzjfqwAj5Srs%3D";
const NOW: &str = "2026-11-22T00:19:14.527Z";

fn credentials() -> Option<Credentials> {
    Some(Credentials { key: "foobar".to_owned(), secret: Secret::new("secret") })
}

fn signed() -> Gate {
    Gate::new(GateOptions { credentials: credentials(), ..GateOptions::default() })
}

fn windowed(seconds: u64) -> Gate {
    let timestamp_delta_limit = Some(Duration::from_secs(seconds));
    Gate::new(GateOptions { credentials: credentials(), timestamp_delta_limit, ..GateOptions::default() })
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn percent(text: &str) -> String {
    text.bytes().map(|octet| format!("%{octet:02X}")).collect()
}

/// A query as a client with the secret makes it.
fn sign(key: &str, timestamp: &str, seq: &str, nonce: &str, body: &[u8]) -> String {
    let parts = [key, timestamp, seq, nonce].map(str::as_bytes);
    let tag = Signer::new(&Secret::new("secret")).sign(parts, body);
    let signature = base64::engine::general_purpose::URL_SAFE.encode(tag);
    let [key, timestamp, seq, nonce, signature] = [key, timestamp, seq, nonce, &signature].map(percent);
    format!("key={key}&timestamp={timestamp}&seq={seq}&nonce={nonce}&signature={signature}")
}

/// Compares with a status and the field that is named; 0 stands for a request that passes.
fn check<T: std::fmt::Debug>(row: &str, got: Result<T, Refusal>, status: u16, field: Option<&str>) {
    match got {
        Ok(_) => assert_eq!(status, 0, "{row} passed"),
        Err(refusal) => {
            assert_eq!(refusal.status(), status, "{row}: {refusal}");
            assert_eq!(refusal.field(), field, "{row}: {refusal}");
        }
    }
}

fn check_query(gate: &Gate, query: &str, status: u16, field: Option<&str>) {
    check(query, gate.verify(query, BODY, at(NOW)), status, field);
}

#[test]
fn the_recorded_request_passes_once() {
    let gate = windowed(10);
    assert_eq!(gate.verify(QUERY, BODY, at(NOW)), Ok(Standing::Signed));
    check_query(&gate, QUERY, 401, Some("nonce"));
    let plain = "L893V2F0J3YId2VByknGtUfjwAklqMiwzjfqwAj5Srs";
    for signature in [plain.to_owned(), format!("{plain}="), format!("{plain}%3D"), format!("{plain}%3d")] {
        let (head, _) = QUERY.rsplit_once('=').unwrap();
        check_query(&signed(), &format!("{head}={signature}"), 0, None);
    }
}

#[test]
fn both_alphabets_padded_or_not() {
    // Among many signatures there are some with each of the octets in which the alphabets differ.
    for nonce in 0..64 {
        let query = sign("foobar", NOW, "1", &nonce.to_string(), BODY);
        let url_safe = query.replace("%2D", "-").replace("%5F", "_");
        let standard = query.replace("%2D", "%2B").replace("%5F", "%2F");
        // The timestamp has a `-` as well, and only the signature may be touched.
        let standard = format!("{}&signature={}", cut(&query), standard.rsplit_once('=').unwrap().1);
        for query in [&query, &url_safe, &standard, &standard.replace("%2B", "+")] {
            check_query(&signed(), query, 0, None);
            check_query(&signed(), &query.replace("%3D", ""), 0, None);
        }
    }
}

fn cut(query: &str) -> &str {
    query.split_once("&signature").unwrap().0
}

#[test]
fn integers_are_signed_as_they_are_spelled() {
    for seq in ["01", "+1", " 1", "1_000", "123456789012345678901234567890"] {
        check_query(&signed(), &sign("foobar", NOW, seq, "7", BODY), 0, None);
    }
}

#[test]
fn every_fault_of_a_signed_request() {
    let without = |name: &str| {
        let fields: Vec<&str> = QUERY.split('&').filter(|pair| !pair.starts_with(&format!("{name}="))).collect();
        fields.join("&")
    };
    let rows = [
        (String::new(), 400, "key"),
        (without("key"), 400, "key"),
        (without("timestamp"), 400, "timestamp"),
        (without("seq"), 400, "seq"),
        (without("nonce"), 400, "nonce"),
        (without("signature"), 400, "signature"),
        (QUERY.replace("2026-", "26-"), 400, "timestamp"),
        (QUERY.replace("527Z", "527%2B00:00"), 400, "timestamp"),
        (QUERY.replace("seq=1", "seq=one"), 400, "seq"),
        (QUERY.replace("seq=1", "seq="), 400, "seq"),
        (QUERY.replace("nonce=", "nonce=x"), 400, "nonce"),
        (QUERY.replace("foobar", "fooba"), 401, "key"),
        (QUERY.replace("foobar", "f%C3%B6%FF"), 401, "key"),
        (QUERY.replace("seq=1", "seq=2"), 401, "signature"),
        (QUERY.replace("L893", "L894"), 401, "signature"),
        (QUERY.replace("L893", ""), 401, "signature"),
        (format!("{}&signature=", cut(QUERY)), 401, "signature"),
        (format!("{}&signature={}", cut(QUERY), "2f".repeat(32)), 401, "signature"),
    ];
    for (query, status, field) in rows {
        check_query(&signed(), &query, status, Some(field));
    }
    check("other body", signed().verify(QUERY, b"{}", at(NOW)), 401, Some("signature"));
    // Repeated fields: the first counts. Unknown ones do not.
    check_query(&signed(), &format!("{QUERY}&seq=2&other=3"), 0, None);
    check_query(&signed(), &format!("seq=2&{QUERY}"), 401, Some("signature"));
}

#[test]
fn unsigned_paths_judge_what_is_there() {
    let gate =
        Gate::new(GateOptions { timestamp_delta_limit: Some(Duration::from_secs(10)), ..GateOptions::default() });
    let rows = [
        ("", 0, None),
        ("key=any&signature=any", 0, None),
        ("timestamp=2026-11-22T00:19:14Z&seq=1", 0, None),
        ("timestamp=2026-11-22T00:19:14.527123456Z", 0, None),
        ("timestamp=", 400, Some("timestamp")),
        ("timestamp=2011-10-14T16:59:51.123Z", 400, Some("timestamp")),
        ("seq=", 400, Some("seq")),
        ("nonce=1.5", 400, Some("nonce")),
    ];
    for (query, status, field) in rows {
        check_query(&gate, query, status, field);
    }
    // Nothing is remembered that was not signed.
    check_query(&gate, "nonce=7", 0, None);
    check_query(&gate, "nonce=7", 0, None);
}

#[test]
fn the_window_is_symmetric_and_inclusive() {
    for (now, status) in [
        ("2026-11-22T00:19:24.527Z", 0),
        ("2026-11-22T00:19:24.527000001Z", 400),
        ("2026-11-22T00:19:04.527Z", 0),
        ("2026-11-22T00:19:04.526999999Z", 400),
        ("2036-11-22T00:19:04Z", 400),
    ] {
        check(now, windowed(10).verify(QUERY, BODY, at(now)), status, (status != 0).then_some("timestamp"));
        check(now, windowed(0).verify(QUERY, BODY, at(now)), 0, None);
    }
}

#[test]
fn a_replay_is_refused_as_long_as_the_window_would_take_it() {
    let gate = windowed(10);
    check("first", gate.verify(QUERY, BODY, at("2026-11-22T00:19:04.527Z")), 0, None);
    for (now, field) in
        [(NOW, "nonce"), ("2026-11-22T00:19:24.527Z", "nonce"), ("2026-11-22T00:19:24.528Z", "timestamp")]
    {
        let status = if field == "nonce" { 401 } else { 400 };
        check(now, gate.verify(QUERY, BODY, at(now)), status, Some(field));
    }
}

#[test]
fn a_replay_in_disguise_is_refused() {
    let gate = signed();
    check_query(&gate, &sign("foobar", NOW, "1", "234", BODY), 0, None);
    // The same nonce in another request, and in another spelling.
    check_query(&gate, &sign("foobar", NOW, "2", "234", BODY), 401, Some("nonce"));
    check_query(&gate, &sign("foobar", NOW, "3", "+0_234", BODY), 401, Some("nonce"));
    // The same octets under the same signature, with a digit moved from the nonce to the number.
    let moved = sign("foobar", NOW, "12", "34", BODY);
    assert_eq!(moved.rsplit_once('=').unwrap().1, sign("foobar", NOW, "1", "234", BODY).rsplit_once('=').unwrap().1);
    check_query(&gate, &moved, 401, Some("nonce"));
    check_query(&gate, &sign("foobar", NOW, "1", "235", BODY), 0, None);
}

#[test]
fn of_simultaneous_copies_one_is_accepted() {
    let gate = windowed(10);
    let accepted = std::thread::scope(|scope| {
        let copies: Vec<_> = (0..8).map(|_| scope.spawn(|| gate.verify(QUERY, BODY, at(NOW)).is_ok())).collect();
        copies.into_iter().map(|copy| copy.join().unwrap()).filter(|accepted| *accepted).count()
    });
    assert_eq!(accepted, 1);
}

#[test]
fn a_wrong_signature_uses_up_no_nonce() {
    let gate = signed();
    check_query(&gate, &QUERY.replace("L893", "L894"), 401, Some("signature"));
    check("other body", gate.verify(QUERY, b"{}", at(NOW)), 401, Some("signature"));
    check_query(&gate, QUERY, 0, None);
}

#[test]
fn a_full_memory_narrows_the_window() {
    let timestamp_delta_limit = Some(Duration::from_secs(10));
    let options = GateOptions { credentials: credentials(), timestamp_delta_limit, ..GateOptions::default() };
    let gate = Gate::with_capacity(options, &Memories::default(), 2);
    let old = sign("foobar", "2026-11-22T00:19:10Z", "1", "1", BODY);
    check_query(&gate, &old, 0, None);
    check_query(&gate, &sign("foobar", "2026-11-22T00:19:11Z", "2", "2", BODY), 0, None);
    check_query(&gate, &sign("foobar", "2026-11-22T00:19:12Z", "3", "3", BODY), 0, None);
    check_query(&gate, &old, 503, Some("timestamp"));
    check_query(&gate, &sign("foobar", "2026-11-22T00:19:13Z", "4", "4", BODY), 0, None);
}

#[test]
fn the_body_limit_is_inclusive_and_holds_for_both_lengths() {
    for (limit, status) in [(96, 0), (95, 413), (0, 0)] {
        let gate = Gate::new(GateOptions { post_body_limit: Some(limit), ..GateOptions::default() });
        check("announced", gate.admit(&Head { content_length: Some(96), ..post() }), status, None);
        check("real", gate.verify("", BODY, at(NOW)), status, None);
        check("chunked", gate.admit(&post()), 0, None);
    }
    let refusal = Refusal::too_large_at(8193, 8192);
    assert!(refusal.error().contains("8193") && refusal.error().contains("8192"));
    assert!(Refusal::too_large(8192).error().contains("more than the 8192 octets"));
}

fn post() -> Head<'static> {
    Head { method: "POST", ..Head::default() }
}

fn listed(require_tls: bool) -> Gate {
    let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Gate::new(GateOptions {
        require_ip: Some(networks(&["192.168.1.1/24", "127.0.0.1/32", "2001:db8::/32"])),
        trusted_proxies: networks(&["10.0.0.0/8"]),
        require_tls,
        ..GateOptions::default()
    })
}

#[test]
fn only_listed_addresses_come_in() {
    for (peer, forwarded_for, status) in [
        ("127.0.0.1", "", 0),
        ("::ffff:127.0.0.1", "", 0),
        ("192.168.1.77", "", 0),
        ("192.168.2.1", "", 403),
        ("2001:db8::9", "", 0),
        ("2001:db9::9", "", 403),
        ("10.0.0.1", "", 403),
        ("10.0.0.1", "192.168.1.77", 0),
        ("10.0.0.1", "::ffff:192.168.1.77", 0),
        ("10.0.0.1", "127.0.0.1, 203.0.113.1", 403),
        ("10.0.0.1", "127.0.0.1, unknown", 403),
        ("203.0.113.1", "127.0.0.1", 403),
    ] {
        let x_forwarded_for = if forwarded_for.is_empty() { vec![] } else { vec![forwarded_for.as_bytes()] };
        let head = Head { peer: Some(peer.parse().unwrap()), x_forwarded_for, ..post() };
        check(&format!("{peer} {forwarded_for}"), listed(false).admit(&head), status, None);
    }
    check("no address", listed(false).admit(&post()), 403, None);
}

#[test]
fn tls_is_asked_for_when_configured() {
    let local = Head { peer: Some("127.0.0.1".parse().unwrap()), ..post() };
    check("plain", listed(true).admit(&local), 403, None);
    check("tls", listed(true).admit(&Head { tls: true, ..local.clone() }), 0, None);
    check("claimed", listed(true).admit(&Head { x_forwarded_proto: vec![b"https"], ..local }), 403, None);
    let proxied =
        Head { peer: Some("10.0.0.1".parse().unwrap()), tls: true, x_forwarded_for: vec![b"127.0.0.1"], ..post() };
    check("only to the proxy", listed(true).admit(&proxied), 403, None);
    check("proxied", listed(true).admit(&Head { x_forwarded_proto: vec![b"https"], ..proxied }), 0, None);
}

#[test]
fn the_head_is_judged_in_order_and_before_the_body() {
    let gate = listed(true);
    let stranger = Head { method: "GET", content_type: ContentType::Once(b"text/plain"), ..Head::default() };
    check("address first", gate.admit(&stranger), 403, None);
    let open = Gate::new(GateOptions::default());
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "post", ""] {
        check(method, open.admit(&Head { method, ..stranger.clone() }), 405, None);
    }
    check("type", open.admit(&Head { method: "PUT", ..stranger }), 415, Some("Content-Type"));
    check("none", open.admit(&post()), 0, None);
    let lines = Head { content_type: ContentType::Once(b"application/x-ndjson"), ..post() };
    assert_eq!(open.admit(&lines).unwrap().media, Media::JsonLines);
}

#[test]
fn refusals_and_debug_output_keep_the_secret() {
    let gate = Gate::new(GateOptions {
        credentials: Some(Credentials { key: "foobar".to_owned(), secret: Secret::new("hush-hush") }),
        ..GateOptions::default()
    });
    let refusal = gate.verify(QUERY, BODY, at(NOW)).unwrap_err();
    assert!(!format!("{gate:?} {refusal:?} {:?}", gate.signed_parts(QUERY, BODY)).contains("hush"));
    assert_eq!(gate.signed_parts(QUERY, BODY).unwrap().lengths, [6, 24, 1, 16, 96]);
    assert_eq!(Gate::new(GateOptions::default()).signed_parts(QUERY, BODY), None);
}

proptest! {
    #[test]
    fn arbitrary_requests_never_panic(
        query in "((key|timestamp|seq|nonce|signature|x)=?[0-9a-zA-Z%+_TZ:.-]{0,30}&?){0,8}|\\PC{0,80}",
        header in prop::collection::vec(any::<u8>(), 0..40),
        text in "[0-9a-f.:\\[\\]\",;= forptshx]{0,40}",
        body in prop::collection::vec(any::<u8>(), 0..40),
        now in -377_705_023_201_i64..=253_402_207_200,
    ) {
        let now = Timestamp::from_second(now).unwrap();
        for gate in [signed(), windowed(10), listed(true)] {
            let _ = gate.verify(&query, &body, now);
            let head = Head {
                content_type: ContentType::Once(&header),
                peer: Some("10.0.0.1".parse().unwrap()),
                forwarded: vec![text.as_bytes(), &header],
                x_forwarded_for: vec![text.as_bytes()],
                x_forwarded_proto: vec![&header],
                ..post()
            };
            let _ = gate.admit(&head);
        }
    }

    #[test]
    fn what_a_client_signs_is_accepted(
        key in "\\PC{0,20}", seq in any::<i64>(), nonce in 0_u64..=1 << 53, body in prop::collection::vec(any::<u8>(), 0..99),
    ) {
        let credentials = Some(Credentials { key: key.clone(), secret: Secret::new("secret") });
        let gate = Gate::new(GateOptions { credentials, ..GateOptions::default() });
        let query = sign(&key, NOW, &seq.to_string(), &nonce.to_string(), &body);
        prop_assert_eq!(gate.verify(&query, &body, at(NOW)), Ok(Standing::Signed));
        prop_assert_eq!(gate.verify(&query, &body, at(NOW)).map_err(|refusal| refusal.kind()), Err(RefusalKind::Replayed));
    }
}

#[test]
fn a_page_has_to_name_its_content_type() {
    let gate = Gate::new(GateOptions::default());
    check("program", gate.admit(&post()), 0, None);
    check("page", gate.admit(&Head { from_page: true, ..post() }), 415, Some("Content-Type"));
    let named = Head { from_page: true, content_type: ContentType::Once(b"application/json"), ..post() };
    check("asked page", gate.admit(&named), 0, None);
}

#[test]
fn gates_of_one_secret_remember_together() {
    let memories = Memories::default();
    let gate = |window: u64| {
        let timestamp_delta_limit = Some(Duration::from_secs(window));
        Gate::sharing(
            GateOptions { credentials: credentials(), timestamp_delta_limit, ..GateOptions::default() },
            &memories,
        )
    };
    let (one, other) = (gate(10), gate(10));
    assert_eq!(one.verify(QUERY, BODY, at(NOW)).unwrap(), Standing::Signed);
    check("elsewhere", other.verify(QUERY, BODY, at(NOW)), 401, Some("nonce"));
    drop(one);
    check("after a reload", gate(10).verify(QUERY, BODY, at(NOW)), 401, Some("nonce"));
    // Another window is another memory: what the old one has given up could not be told from what is new.
    assert_eq!(gate(20).verify(QUERY, BODY, at(NOW)).unwrap(), Standing::Signed);
}
