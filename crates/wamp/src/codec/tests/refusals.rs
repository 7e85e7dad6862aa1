//! What clients must not send, and the sentence that each of them gets to read.

use stentor_model::limit::{NESTING_DEPTH_MAX, OPTIONS_BYTES_MAX, TEXT_BYTES_MAX};

use super::octets;
use crate::codec::{DecodeError, MessageType, Serializer, decode};

#[track_caller]
fn check(serializer: Serializer, written: &str, expect: &str) {
    let octets = octets(serializer, written);
    let refusal = decode(serializer, &octets).expect_err(written);
    assert_eq!(refusal.to_string(), expect, "{written}");
}

#[track_caller]
fn check_all(serializer: Serializer, rows: &[(&str, &str)]) {
    for (written, expect) in rows {
        check(serializer, written, expect);
    }
}

#[test]
fn shapes() {
    check_all(
        Serializer::Json,
        &[
            ("{}", "a message must be a list, not a dictionary"),
            ("16", "a message must be a list, not an integer"),
            ("null", "a message must be a list, not null"),
            ("[]", "a message must not be an empty list"),
            (r#"["16"]"#, "the message type must be a non-negative integer, not a string"),
            ("[16.0]", "the message type must be a non-negative integer, not a float"),
            ("[true]", "the message type must be a non-negative integer, not a boolean"),
            ("[-1]", "there is no message type -1"),
            ("[0]", "there is no message type 0"),
            ("[7,1]", "there is no message type 7"),
            ("[999]", "there is no message type 999"),
            ("[18446744073709551615]", "there is no message type 18446744073709551615"),
        ],
    );
}

#[test]
fn messages_of_routers() {
    let theirs = [2, 4, 17, 33, 35, 36, 50, 65, 67, 68, 69];
    for code in theirs {
        let message = MessageType::from_code(code).unwrap();
        let written = format!("[{code},1,2,{{}}]");
        assert_eq!(decode(Serializer::Json, written.as_bytes()), Err(DecodeError::FromRouter(message)));
    }
    check(Serializer::Json, "[2,1,{}]", "WELCOME is sent by routers, not by clients");
    let ours = MessageType::ALL.iter().filter(|message| !theirs.contains(&(**message as u64)));
    for message in ours {
        let written = format!("[{}]", *message as u64);
        let refusal = decode(Serializer::Json, written.as_bytes()).unwrap_err();
        assert!(matches!(refusal, DecodeError::Missing { message: named, .. } if named == *message));
    }
}

#[test]
fn fields() {
    check_all(
        Serializer::Json,
        &[
            ("[1]", "HELLO.Realm is missing"),
            ("[1,7,{}]", "HELLO.Realm must be a string, not an integer"),
            (r#"[1,"a"]"#, "HELLO.Details is missing"),
            (r#"[1,"a",[]]"#, "HELLO.Details must be a dictionary, not a list"),
            (r#"[1,"a",{},1]"#, "HELLO must have at most 3 elements"),
            (r#"[3,"a",{}]"#, "ABORT.Details must be a dictionary, not a string"),
            ("[3,{}]", "ABORT.Reason is missing"),
            ("[5]", "AUTHENTICATE.Signature is missing"),
            (r#"[5,"s",null]"#, "AUTHENTICATE.Extra must be a dictionary, not null"),
            ("[6,{},true]", "GOODBYE.Reason must be a string, not a boolean"),
            (r#"[8,48,1,{},"a"]"#, "ERROR.RequestType must be 68 (INVOCATION), not 48"),
            (r#"[8,"68",1,{},"a"]"#, "ERROR.RequestType must be a non-negative integer, not a string"),
            (r#"[8,68,0,{},"a"]"#, "ERROR.Request must be an integer from 1 to 2^53, not 0"),
            ("[8,68,1,{}]", "ERROR.Error is missing"),
            (r#"[8,68,1,{},"a",[],{},0]"#, "ERROR must have at most 7 elements"),
            ("[16]", "PUBLISH.Request is missing"),
            (r#"[16,0,{},"a"]"#, "PUBLISH.Request must be an integer from 1 to 2^53, not 0"),
            (r#"[16,-1,{},"a"]"#, "PUBLISH.Request must be an integer from 1 to 2^53, not -1"),
            (
                r#"[16,9007199254740993,{},"a"]"#,
                "PUBLISH.Request must be an integer from 1 to 2^53, not 9007199254740993",
            ),
            (r#"[16,1.0,{},"a"]"#, "PUBLISH.Request must be an integer from 1 to 2^53, not a float"),
            (r#"[16,"1",{},"a"]"#, "PUBLISH.Request must be an integer from 1 to 2^53, not a string"),
            (r#"[16,true,{},"a"]"#, "PUBLISH.Request must be an integer from 1 to 2^53, not a boolean"),
            (r#"[16,1,[],"a"]"#, "PUBLISH.Options must be a dictionary, not a list"),
            ("[16,1,{}]", "PUBLISH.Topic is missing"),
            ("[16,1,{},1.5]", "PUBLISH.Topic must be a string, not a float"),
            (r#"[16,1,{},"a",{}]"#, "PUBLISH.Arguments must be a list, not a dictionary"),
            (r#"[16,1,{},"a",null]"#, "PUBLISH.Arguments must be a list, not null"),
            (r#"[16,1,{},"a",[],[]]"#, "PUBLISH.ArgumentsKw must be a dictionary, not a list"),
            (r#"[16,1,{},"a",[],{},0]"#, "PUBLISH must have at most 6 elements"),
            (r#"[32,1,{},"a",0]"#, "SUBSCRIBE must have at most 4 elements"),
            ("[34,1]", "UNSUBSCRIBE.Subscription is missing"),
            ("[34,1,2,3]", "UNSUBSCRIBE must have at most 3 elements"),
            (r#"[48,1,{},"a",[],{},0]"#, "CALL must have at most 6 elements"),
            ("[48,1,{},{}]", "CALL.Procedure must be a string, not a dictionary"),
            ("[49,1,0]", "CANCEL.Options must be a dictionary, not an integer"),
            ("[64,1,{}]", "REGISTER.Procedure is missing"),
            ("[66,1,0]", "UNREGISTER.Registration must be an integer from 1 to 2^53, not 0"),
            ("[70,1,{},[],{},0]", "YIELD must have at most 5 elements"),
        ],
    );
}

#[test]
fn fields_in_binary() {
    check_all(
        Serializer::Msgpack,
        &[
            ("80", "a message must be a list, not a dictionary"),
            ("90", "a message must not be an empty list"),
            ("94 10 cb3ff0000000000000 80 a161", "PUBLISH.Request must be an integer from 1 to 2^53, not a float"),
            ("94 10 01 80 c40161", "PUBLISH.Topic must be a string, not a byte string"),
            ("94 10 01 80 d40100", "PUBLISH.Topic must be a string, not an extension"),
            ("94 10 01 810102 a161", "PUBLISH.Options must have strings for keys, not an integer"),
            ("96 10 01 80 a161 90 81c002", "PUBLISH.ArgumentsKw must have strings for keys, not null"),
        ],
    );
    check_all(
        Serializer::Cbor,
        &[
            ("84 10 f93c00 a0 6161", "PUBLISH.Request must be an integer from 1 to 2^53, not a float"),
            ("84 10 20 a0 6161", "PUBLISH.Request must be an integer from 1 to 2^53, not -1"),
            ("84 10 01 a0 4161", "PUBLISH.Topic must be a string, not a byte string"),
            ("84 10 01 a10102 6161", "PUBLISH.Options must have strings for keys, not an integer"),
            ("86 10 01 a0 6161 80 a1416102", "PUBLISH.ArgumentsKw must have strings for keys, not a byte string"),
            ("9f10 01 ff", "PUBLISH.Options is missing"),
        ],
    );
}

#[test]
fn malformed_json() {
    let payload = |inside: &str| format!(r#"[16,1,{{}},"a",[{inside}]]"#);
    for (inside, expect) in [
        ("\"\u{1}\"", "control characters in strings must be escaped (at octet 15)"),
        (r#""\x""#, "the escape in the string is unknown (at octet 15)"),
        (r#""\u12g4""#, "the escape in the string is unknown (at octet 19)"),
        (r#""\ud800""#, "surrogates in strings must come in pairs (at octet 15)"),
        (r#""\ud800\u0041""#, "surrogates in strings must come in pairs (at octet 15)"),
        (r#""\udc00""#, "surrogates in strings must come in pairs (at octet 15)"),
        ("NaN", "expected a value (at octet 14)"),
        ("Infinity", "expected a value (at octet 14)"),
        ("-Infinity", "expected a digit (at octet 15)"),
        ("nul", "expected a value (at octet 14)"),
        ("01", "expected a comma or the end of the list (at octet 15)"),
        ("1.", "expected a digit (at octet 16)"),
        ("1e", "expected a digit (at octet 16)"),
        (".5", "expected a value (at octet 14)"),
        ("+1", "expected a value (at octet 14)"),
        ("1e999", "the number is too large (at octet 14)"),
        ("1,", "expected a value (at octet 16)"),
        (",", "expected a value (at octet 14)"),
        ("1 2", "expected a comma or the end of the list (at octet 16)"),
        (r#"{"a"}"#, "expected a colon (at octet 18)"),
        ("{1:2}", "expected a key (at octet 15)"),
        (r#"{"a":1,}"#, "expected a key (at octet 21)"),
        (r#"{"a":1 "b":2}"#, "expected a comma or the end of the dictionary (at octet 21)"),
        ("1}", "expected a comma or the end of the list (at octet 15)"),
    ] {
        check(Serializer::Json, &payload(inside), &format!("the message is not valid JSON: {expect}"));
    }
    check_all(
        Serializer::Json,
        &[
            ("", "the message is not valid JSON: it ends too early (at octet 0)"),
            (r#"[16,1,{},"a",["#, "the message is not valid JSON: it ends too early (at octet 14)"),
            (r#"[16,1,{},"a"#, "the message is not valid JSON: it ends too early (at octet 11)"),
            (r#"[32,1,{},"a"] 0"#, "the message is not valid JSON: something follows its end (at octet 14)"),
            (
                "\u{feff}[32,1,{},\"a\"]",
                "the message is not valid JSON: it must not begin with a byte order mark (at octet 0)",
            ),
        ],
    );
    let refusal = decode(Serializer::Json, b"[32,1,{},\"\xff\"]").unwrap_err();
    assert_eq!(refusal.to_string(), "the message is not valid JSON: text must be UTF-8 (at octet 10)");
}

#[test]
fn malformed_binary() {
    check_all(
        Serializer::Msgpack,
        &[
            ("", "the message is not valid MessagePack: it ends too early (at octet 0)"),
            ("94 10 01 80", "the message is not valid MessagePack: it ends too early (at octet 4)"),
            ("94 20 01 80 a161 00", "the message is not valid MessagePack: something follows its end (at octet 6)"),
            ("95 10 01 80 a161 91c1", "the message is not valid MessagePack: 0xc1 cannot begin a value (at octet 7)"),
            ("94 10 01 80 a1ff", "the message is not valid MessagePack: text must be UTF-8 (at octet 5)"),
            ("95 10 01 80 a161 91a1ff", "the message is not valid MessagePack: text must be UTF-8 (at octet 8)"),
            ("95 10 01 80 a161 ddffffffff", "the message is not valid MessagePack: it ends too early (at octet 11)"),
            (
                "94 10 01 81a161d40100 a161",
                "the message is not valid MessagePack: extensions have no meaning in WAMP (at octet 6)",
            ),
        ],
    );
    check_all(
        Serializer::Cbor,
        &[
            ("", "the message is not valid CBOR: it ends too early (at octet 0)"),
            ("84 1820 01 a0 6161 00", "the message is not valid CBOR: something follows its end (at octet 7)"),
            ("85 10 01 a0 6161 81ff", "the message is not valid CBOR: expected a value (at octet 7)"),
            ("85 10 01 a0 6161 811c", "the message is not valid CBOR: 0x1c cannot begin a value (at octet 7)"),
            ("85 10 01 a0 6161 81f0", "the message is not valid CBOR: 0xf0 cannot begin a value (at octet 7)"),
            ("85 10 01 a0 6161 81bf01ff", "the message is not valid CBOR: expected a value (at octet 9)"),
            ("85 10 01 a0 6161 8161ff", "the message is not valid CBOR: text must be UTF-8 (at octet 8)"),
            (
                "85 10 01 a0 6161 817f41 61ff",
                "the message is not valid CBOR: the chunks of a string must be of its own sort and of definite length (at octet 8)",
            ),
            (
                "85 10 01 a0 6161 81c201",
                "the message is not valid CBOR: expected the byte string of a bignum (at octet 8)",
            ),
            ("85 10 01 a0 6161 9bffffffffffffffff", "the message is not valid CBOR: it ends too early (at octet 15)"),
            ("85 10 01 a0 6161 9f01", "the message is not valid CBOR: it ends too early (at octet 8)"),
        ],
    );
}

/// A payload with so many containers within each other, in each serializer.
fn nested(serializer: Serializer, depth: usize) -> Vec<u8> {
    let (head, open, close): (&[u8], &[u8], &[u8]) = match serializer {
        Serializer::Json => (br#"[16,1,{},"a","#, b"[", b"]"),
        Serializer::Msgpack => (b"\x95\x10\x01\x80\xa1a", b"\x91", b""),
        Serializer::Cbor => (b"\x85\x10\x01\xa0\x61a", b"\x81", b""),
    };
    let end: (&[u8], &[u8]) = match serializer {
        Serializer::Json => (b"1", b"]"),
        Serializer::Msgpack | Serializer::Cbor => (b"\x01", b""),
    };
    [head, &open.repeat(depth), end.0, &close.repeat(depth), end.1].concat()
}

#[test]
fn depth() {
    for serializer in Serializer::ALL {
        assert!(decode(serializer, &nested(serializer, NESTING_DEPTH_MAX)).is_ok());
        for depth in [NESTING_DEPTH_MAX + 1, 80_000] {
            let refusal = decode(serializer, &nested(serializer, depth)).unwrap_err().to_string();
            assert!(refusal.contains("it nests too deep"), "{refusal}");
        }
    }
    let deep = format!(r#"[16,1,{{"a":{}"#, r#"{"a":"#.repeat(80_000));
    assert!(decode(Serializer::Json, deep.as_bytes()).unwrap_err().to_string().contains("it nests too deep"));
    let deep = [&b"\x84\x10\x01"[..], &b"\xbf\x61a".repeat(80_000)].concat();
    assert!(decode(Serializer::Cbor, &deep).unwrap_err().to_string().contains("it nests too deep"));
    // Tags nest nothing, and many of them are only long.
    let tagged = [&b"\x85\x10\x01\xa0\x61a\x81"[..], &b"\xc1".repeat(80_000), b"\x01"].concat();
    assert!(decode(Serializer::Cbor, &tagged).is_ok());
}

#[test]
fn texts_have_a_limit() {
    let rows = [
        ("[1,{},{}]", "HELLO.Realm"),
        ("[3,{},{}]", "ABORT.Reason"),
        ("[5,{},{}]", "AUTHENTICATE.Signature"),
        ("[6,{},{}]", "GOODBYE.Reason"),
        ("[8,68,1,{},{}]", "ERROR.Error"),
        ("[16,1,{},{}]", "PUBLISH.Topic"),
        ("[32,1,{},{}]", "SUBSCRIBE.Topic"),
        ("[48,1,{},{}]", "CALL.Procedure"),
        ("[64,1,{},{}]", "REGISTER.Procedure"),
    ];
    for (row, field) in rows {
        let text_comes_first = field.starts_with("HELLO") || field.starts_with("AUTH");
        let place = if text_comes_first { row.find("{}") } else { row.rfind("{}") }.unwrap();
        let written = |len: usize| format!("{}\"{}\"{}", &row[..place], "x".repeat(len), &row[place + 2..]);
        assert!(decode(Serializer::Json, written(TEXT_BYTES_MAX).as_bytes()).is_ok(), "{row}");
        check(Serializer::Json, &written(TEXT_BYTES_MAX + 1), &format!("{field} must not be longer than 65536 octets"));
    }
}

#[test]
fn options_have_a_limit() {
    let written = |len: usize| format!(r#"[16,1,{{"x":"{}"}},"a"]"#, "y".repeat(len));
    assert!(decode(Serializer::Json, written(OPTIONS_BYTES_MAX - 10).as_bytes()).is_ok());
    check(Serializer::Json, &written(OPTIONS_BYTES_MAX), "PUBLISH.Options must not be longer than 65536 octets");
}
