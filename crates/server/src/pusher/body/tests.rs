//! Bodies as clients in the field send them, and each way in which they go wrong.

use proptest::prelude::*;

use stentor_model::SessionId;
use stentor_wamp::publish_options::Filter;

use super::*;

/// The topic, args and kwargs; or the field at fault and a part of the sentence.
type Expect<'a> = Result<(&'a str, Option<&'a str>, Option<&'a str>), (Option<&'a str>, &'a str)>;

fn check(body: &str, expect: Expect<'_>) {
    check_octets(body.as_bytes(), expect);
}

fn check_octets(body: &[u8], expect: Expect<'_>) {
    let shown = String::from_utf8_lossy(body);
    match (parse_publish(body), expect) {
        (Ok(got), Ok((topic, args, kwargs))) => {
            assert_eq!(got.topic, topic, "{shown}");
            assert_eq!(got.args, args.map(str::as_bytes), "{shown}");
            assert_eq!(got.kwargs, kwargs.map(str::as_bytes), "{shown}");
        }
        (Err(refusal), Err((field, part))) => {
            assert_eq!(refusal.status(), 400, "{shown}");
            assert_eq!(refusal.field(), field, "{shown}: {refusal}");
            assert!(refusal.error().contains(part), "{shown}: {refusal}");
        }
        (got, _) => panic!("{shown} gave {got:?}"),
    }
}

#[test]
fn the_payload_is_what_arrived() {
    check(r#"{"topic":"t"}"#, Ok(("t", None, None)));
    check(r#" { "topic" : "t" , "args" : [ 1.0, 1e2 ] } "#, Ok(("t", Some("[ 1.0, 1e2 ]"), None)));
    check(r#"{"topic":"t","kwargs":{"a":1}}"#, Ok(("t", None, Some(r#"{"a":1}"#))));
    check(
        r#"{"topic":"t","args":[123456789012345678901234567890,"\u00e9\ud83d\ude00"]}"#,
        Ok(("t", Some(r#"[123456789012345678901234567890,"\u00e9\ud83d\ude00"]"#), None)),
    );
    let kwargs = r#"{"options":1,"topic":2,"self":3}"#;
    check(&format!(r#"{{"topic":"t","kwargs":{kwargs}}}"#), Ok(("t", None, Some(kwargs))));
    check(r#"{"t\u006fpic":"caf\u00e9","other":[{}],"args":["\\ud800"]}"#, Ok(("café", Some(r#"["\\ud800"]"#), None)));
}

#[test]
fn null_and_empty_are_as_good_as_absent() {
    check(r#"{"topic":"t","args":null,"kwargs":null,"options":null}"#, Ok(("t", None, None)));
    check(r#"{"topic":"t","args":[ ],"kwargs":{}}"#, Ok(("t", None, None)));
    check(r#"{"topic":"t","args":[],"kwargs":{"a":[]}}"#, Ok(("t", None, Some(r#"{"a":[]}"#))));
    check(r#"{"topic":"t","args":[[]]}"#, Ok(("t", Some("[[]]"), None)));
}

#[test]
fn of_repeated_keys_the_last_counts() {
    check(r#"{"topic":"a","args":[1],"topic":"b","args":[2]}"#, Ok(("b", Some("[2]"), None)));
    check(r#"{"topic":"a","args":[1],"args":null}"#, Ok(("a", None, None)));
    check(r#"{"topic":7,"topic":"b"}"#, Ok(("b", None, None)));
}

#[test]
fn each_fault_has_its_sentence_and_its_field() {
    check("", Err((None, "empty")));
    check(" \n", Err((None, "empty")));
    check("\u{feff}{}", Err((None, "byte order mark")));
    check_octets(b"{\"topic\":\"\xff\"}", Err((None, "not UTF-8: octet 10")));
    check_octets(b"{\"topic\":\"\xed\xa0\x80\"}", Err((None, "not UTF-8")));
    check("{", Err((None, "line 1 column 2")));
    check("{\"topic\":\n  x}", Err((None, "line 2 column 3")));
    check("topic=com.myapp.topic1", Err((None, "not valid JSON")));
    check(r#"{"topic":"t"} x"#, Err((None, "not valid JSON")));
    check(r#"{'topic':"t"}"#, Err((None, "not valid JSON")));
    check(r#"{"topic":"t",}"#, Err((None, "not valid JSON")));
    check("{\"topic\":\"t\",\"args\":[\"a\nb\"]}", Err((None, "not valid JSON")));
    for body in ["[1]", "7", "null", "\"topic\"", "true"] {
        check(body, Err((None, "has to be an object")));
    }
    check("{}", Err((Some("topic"), "no 'topic'")));
    check(r#"{"topic":null}"#, Err((Some("topic"), "no 'topic'")));
    check(r#"{"topic":7}"#, Err((Some("topic"), "a string")));
    check(r#"{"topic":["t"]}"#, Err((Some("topic"), "a string")));
    check(r#"{"topic":""}"#, Err((Some("topic"), "empty")));
    check(&format!(r#"{{"topic":"{}"}}"#, "t".repeat(4097)), Err((Some("topic"), "4097")));
    for args in ["0", "7", "\"abc\"", "{}", r#"{"k":1}"#, "true"] {
        check(&format!(r#"{{"topic":"t","args":{args}}}"#), Err((Some("args"), "an array")));
    }
    for kwargs in ["0", "\"abc\"", "[]", "[1]", "false"] {
        check(&format!(r#"{{"topic":"t","kwargs":{kwargs}}}"#), Err((Some("kwargs"), "an object")));
    }
    for options in ["0", "\"abc\"", "[]", "true"] {
        check(&format!(r#"{{"topic":"t","options":{options}}}"#), Err((Some("options"), "an object")));
    }
}

#[test]
fn what_would_harm_receivers_is_refused() {
    for number in ["NaN", "Infinity", "-Infinity"] {
        check(&format!(r#"{{"topic":"t","args":[{number}]}}"#), Err((Some("args"), "NaN and Infinity")));
    }
    check("NaN", Err((None, "NaN and Infinity")));
    check(r#"{"topic":"t","args":["NaN Infinity \" NaN"]}"#, Ok(("t", Some(r#"["NaN Infinity \" NaN"]"#), None)));
    check(r#"{"topic":"t","kwargs":{"a":-1e999}}"#, Err((Some("kwargs"), "too large")));
    check(r#"{"topic":"t","args":[1e308,1e-999]}"#, Ok(("t", Some("[1e308,1e-999]"), None)));
    for text in
        [r"\ud800", r"\uDFFF", r"\ud800x", r"\ud800\ud800", r"\ud800\u0041", r"\ude00\ud83d", r"\\\ud800", r"\ud800\n"]
    {
        check(&format!(r#"{{"topic":"t","args":["{text}"]}}"#), Err((Some("args"), "surrogate")));
        check(&format!(r#"{{"topic":"{text}"}}"#), Err((Some("topic"), "surrogate")));
        check(&format!(r#"{{"topic":"t","kwargs":{{"{text}":1}}}}"#), Err((Some("kwargs"), "surrogate")));
        check(&format!(r#"{{"topic":"t","other":"{text}"}}"#), Err((Some("other"), "surrogate")));
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!(r#"{{"topic":"t","args":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(parse_publish(nested(NESTING_DEPTH_MAX).as_bytes()).is_ok());
    check(&nested(NESTING_DEPTH_MAX + 1), Err((Some("args"), "nested")));
    check(&nested(200_000), Err((Some("args"), "nested")));
    check(&"[".repeat(200_000), Err((None, "nested")));
    check(&"{\"a\":".repeat(200_000), Err((Some("a"), "nested")));
}

fn options(text: &str) -> Result<PublishOptions, String> {
    let body = format!(r#"{{"topic":"t","options":{text}}}"#);
    match parse_publish(body.as_bytes()) {
        Ok(submission) => Ok(submission.options),
        Err(refusal) => {
            assert_eq!(refusal.status(), 400);
            Err(refusal.field().unwrap_or_default().to_owned())
        }
    }
}

#[test]
fn options_have_their_types() {
    let id = |raw| SessionId::new(raw).unwrap();
    let all = r#"{"acknowledge":false,"exclude_me":true,"retain":true,"disclose_me":false,"exclude":[1, 9007199254740992],
        "eligible":[],"exclude_authid":["a"],"exclude_authrole":[],"eligible_authid":["b","\u00e9"],
        "eligible_authrole":["c"],"other":[{}]}"#;
    let filter = Filter {
        exclude: vec![id(1), id(1 << 53)],
        exclude_authid: vec!["a".to_owned()],
        exclude_authrole: vec![],
        eligible: Some(vec![]),
        eligible_authid: Some(vec!["b".to_owned(), "é".to_owned()]),
        eligible_authrole: Some(vec!["c".to_owned()]),
    };
    let filter = Some(Box::new(filter));
    let expect = PublishOptions { acknowledge: false, exclude_me: true, retain: true, disclose_me: false, filter };
    assert_eq!(options(all), Ok(expect));
    assert_eq!(options(r#"{"exclude":7}"#).unwrap().filter.unwrap().exclude, [id(7)]);
    assert_eq!(options(r#"{"exclude":null,"retain":null,"eligible_authid":null}"#), Ok(PublishOptions::default()));
    assert_eq!(options(r#"{"retain":false,"retain":true}"#).map(|options| options.retain), Ok(true));
}

#[test]
fn a_wrong_option_is_named_by_its_place() {
    for (text, field) in [
        (r#"{"eligible":[1,2,"3"]}"#, "options.eligible[2]"),
        (r#"{"eligible":[1.0]}"#, "options.eligible[0]"),
        (r#"{"exclude":[0]}"#, "options.exclude[0]"),
        (r#"{"exclude":[9007199254740993]}"#, "options.exclude[0]"),
        (r#"{"exclude":[true]}"#, "options.exclude[0]"),
        (r#"{"exclude":-1}"#, "options.exclude"),
        (r#"{"exclude":"1"}"#, "options.exclude"),
        (r#"{"exclude":{}}"#, "options.exclude"),
        (r#"{"exclude_authid":"a"}"#, "options.exclude_authid"),
        (r#"{"exclude_authrole":["a",1]}"#, "options.exclude_authrole[1]"),
        (r#"{"eligible_authid":[null]}"#, "options.eligible_authid[0]"),
        (r#"{"eligible_authrole":[[]]}"#, "options.eligible_authrole[0]"),
        (r#"{"retain":1}"#, "options.retain"),
        (r#"{"exclude_me":"true"}"#, "options.exclude_me"),
        (r#"{"acknowledge":[]}"#, "options.acknowledge"),
        (r#"{"disclose_me":{}}"#, "options.disclose_me"),
        (&format!(r#"{{"other":"{}"}}"#, "x".repeat(OPTIONS_BYTES_MAX)), "options"),
    ] {
        assert_eq!(options(text), Err(field.to_owned()), "{field}");
    }
}

#[test]
fn calls_are_read_alike() {
    let call = parse_call(br#"{"procedure":"p","args":[1],"kwargs":{"procedure":2},"topic":3}"#).unwrap();
    assert_eq!((&*call.procedure, call.args, call.kwargs), ("p", Some(&b"[1]"[..]), Some(&br#"{"procedure":2}"#[..])));
    assert_eq!(parse_call(br#"{"topic":"t"}"#).unwrap_err().field(), Some("procedure"));
}

proptest! {
    #[test]
    fn arbitrary_octets_never_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = (parse_publish(&body), parse_call(&body));
    }

    #[test]
    fn almost_json_never_panics(tail in "([\\[\\]{}\",:]|\\\\u[dD][89cC]00|\\\\|topic|args|options|exclude|1e9|-|NaN|null| |é){0,30}") {
        for body in [format!("{{\"topic\":\"t\",{tail}"), format!("{{\"topic\":\"t\",\"args\":[\"{tail}\"]}}"), tail] {
            if let Ok(submission) = parse_publish(body.as_bytes()) {
                // What is passed on is JSON that a full parser takes.
                for payload in [submission.args, submission.kwargs].into_iter().flatten() {
                    prop_assert!(serde_json::from_slice::<serde_json::Value>(payload).is_ok());
                }
            }
        }
    }
}
