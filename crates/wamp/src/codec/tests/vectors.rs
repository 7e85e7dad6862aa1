//! Every message in every serializer, octet by octet, written down from the three specifications.

use stentor_model::{InvocationId, PublicationId, RegistrationId, RequestId, SessionId, SubscriptionId};

use super::{hex, octets};
use crate::codec::{Lasting, Serializer, decode, encode, encode_client};
use crate::message::{ClientMessage, Payload, RequestKind, RouterMessage};
use crate::value::{Dict, Value};

/// JSON, MessagePack, CBOR.
type Row = [&'static str; 3];

const CLIENT: &[Row] = &[
    [
        r#"[1,"a.b",{"roles":{"caller":{}}}]"#,
        "93 01 a3612e62 81 a5726f6c6573 81 a663616c6c6572 80",
        "83 01 63612e62 a1 65726f6c6573 a1 6663616c6c6572 a0",
    ],
    [r#"[3,{},"a.b"]"#, "93 03 80 a3612e62", "83 03 a0 63612e62"],
    [r#"[5,"s",{}]"#, "93 05 a173 80", "83 05 6173 a0"],
    [r#"[6,{},"a.b"]"#, "93 06 80 a3612e62", "83 06 a0 63612e62"],
    [
        r#"[8,68,1,{},"a.b",[1],{"k":null}]"#,
        "97 08 44 01 80 a3612e62 9101 81a16bc0",
        "87 08 1844 01 a0 63612e62 8101 a1616bf6",
    ],
    [
        r#"[16,1,{},"a.b",["x"],{"k":-1}]"#,
        "96 10 01 80 a3612e62 91a178 81a16bff",
        "86 10 01 a0 63612e62 816178 a1616b20",
    ],
    [
        r#"[16,9007199254740992,{"acknowledge":true},"a.b"]"#,
        "94 10 cf0020000000000000 81ab61636b6e6f776c65646765c3 a3612e62",
        "84 10 1b0020000000000000 a16b61636b6e6f776c65646765f5 63612e62",
    ],
    [r#"[32,300,{},"a.b"]"#, "94 20 cd012c 80 a3612e62", "84 1820 19012c a0 63612e62"],
    ["[34,70000,200]", "93 22 ce00011170 ccc8", "83 1822 1a00011170 18c8"],
    [
        r#"[48,1,{},"a.b",[1.5]]"#,
        "95 30 01 80 a3612e62 91cb3ff8000000000000",
        "85 1830 01 a0 63612e62 81fb3ff8000000000000",
    ],
    [r#"[49,1,{"mode":"kill"}]"#, "93 31 01 81a46d6f6465a46b696c6c", "83 1831 01 a1646d6f6465646b696c6c"],
    [r#"[64,1,{},"a.b"]"#, "94 40 01 80 a3612e62", "84 1840 01 a0 63612e62"],
    ["[66,1,2]", "93 42 01 02", "83 1842 01 02"],
    ["[70,1,{},[true]]", "94 46 01 80 91c3", "84 1846 01 a0 81f5"],
];

#[test]
fn client_messages_in_every_serializer() {
    for row in CLIENT {
        for (from, written) in Serializer::ALL.into_iter().zip(row) {
            let octets_in = octets(from, written);
            let message = decode(from, &octets_in).expect(written);
            let lasting = Lasting::decode(from, &octets_in).expect(written);
            assert_eq!(lasting.restore(&octets_in.clone()), message, "{} in {}", row[0], from.name());
            for (to, expect) in Serializer::ALL.into_iter().zip(row) {
                let mut out = Vec::new();
                encode_client(to, &message, &mut out).unwrap();
                assert_eq!(out, octets(to, expect), "{} to {}", row[0], to.name());
            }
        }
    }
}

const fn json<'a>(args: Option<&'a str>, kwargs: Option<&'a str>) -> Payload<'a> {
    let (args, kwargs) = match (args, kwargs) {
        (None, _) => (None, None),
        (Some(args), None) => (Some(args.as_bytes()), None),
        (Some(args), Some(kwargs)) => (Some(args.as_bytes()), Some(kwargs.as_bytes())),
    };
    Payload { serializer: Serializer::Json, args, kwargs }
}

#[test]
fn client_messages_mean_what_they_say() {
    let (request, invocation) = (RequestId::FIRST, InvocationId::FIRST);
    let expect = [
        ClientMessage::Hello {
            realm: "a.b".into(),
            details: Dict::new().with("roles", Dict::new().with("caller", Dict::new())),
        },
        ClientMessage::Abort { details: Dict::new(), reason: "a.b".into() },
        ClientMessage::Authenticate { signature: "s".into(), extra: Dict::new() },
        ClientMessage::Goodbye { details: Dict::new(), reason: "a.b".into() },
        ClientMessage::Error {
            invocation,
            details: Dict::new(),
            error: "a.b".into(),
            payload: json(Some("[1]"), Some(r#"{"k":null}"#)),
        },
        ClientMessage::Publish {
            request,
            options: Dict::new(),
            topic: "a.b".into(),
            payload: json(Some(r#"["x"]"#), Some(r#"{"k":-1}"#)),
        },
        ClientMessage::Publish {
            request: RequestId::new(1 << 53).unwrap(),
            options: Dict::new().with("acknowledge", true),
            topic: "a.b".into(),
            payload: json(None, None),
        },
        ClientMessage::Subscribe { request: RequestId::new(300).unwrap(), options: Dict::new(), topic: "a.b".into() },
        ClientMessage::Unsubscribe {
            request: RequestId::new(70_000).unwrap(),
            subscription: SubscriptionId::new(200).unwrap(),
        },
        ClientMessage::Call {
            request,
            options: Dict::new(),
            procedure: "a.b".into(),
            payload: json(Some("[1.5]"), None),
        },
        ClientMessage::Cancel { request, options: Dict::new().with("mode", "kill") },
        ClientMessage::Register { request, options: Dict::new(), procedure: "a.b".into() },
        ClientMessage::Unregister { request, registration: RegistrationId::new(2).unwrap() },
        ClientMessage::Yield { invocation, options: Dict::new(), payload: json(Some("[true]"), None) },
    ];
    assert_eq!(expect.len(), CLIENT.len());
    for (row, expect) in CLIENT.iter().zip(expect) {
        assert_eq!(decode(Serializer::Json, row[0].as_bytes()), Ok(expect));
    }
}

#[track_caller]
fn check(message: &RouterMessage<'_>, row: Row) {
    for (to, expect) in Serializer::ALL.into_iter().zip(row) {
        let mut out = b"before".to_vec();
        encode(to, message, &mut out).unwrap();
        assert_eq!(out[6..], octets(to, expect), "{} in {}", row[0], to.name());
    }
}

#[test]
fn session_messages_of_the_router() {
    check(
        &RouterMessage::Welcome {
            session: SessionId::FIRST,
            details: Dict::new().with("roles", Dict::new().with("broker", Dict::new())),
        },
        [
            r#"[2,1,{"roles":{"broker":{}}}]"#,
            "93 02 01 81a5726f6c6573 81a662726f6b657280",
            "83 02 01 a165726f6c6573 a16662726f6b6572a0",
        ],
    );
    check(
        &RouterMessage::Abort { message: "no".into(), reason: "a.b" },
        [
            r#"[3,{"message":"no"},"a.b"]"#,
            "93 03 81a76d657373616765a26e6f a3612e62",
            "83 03 a1676d657373616765626e6f 63612e62",
        ],
    );
    check(
        &RouterMessage::Challenge { method: "ticket", extra: Dict::new() },
        [r#"[4,"ticket",{}]"#, "93 04 a67469636b6574 80", "83 04 667469636b6574 a0"],
    );
    check(
        &RouterMessage::Goodbye { reason: "a.b".into() },
        [r#"[6,{},"a.b"]"#, "93 06 80 a3612e62", "83 06 a0 63612e62"],
    );
}

#[test]
fn answers_of_the_router() {
    let request = RequestId::FIRST;
    let (publication, subscription) = (PublicationId::new(2).unwrap(), SubscriptionId::new(2).unwrap());
    check(
        &RouterMessage::Error {
            kind: RequestKind::Call,
            request,
            details: Dict::new(),
            error: "a.b".into(),
            payload: json(Some("[1]"), Some(r#"{"k":2}"#)),
        },
        [
            r#"[8,48,1,{},"a.b",[1],{"k":2}]"#,
            "97 08 30 01 80 a3612e62 9101 81a16b02",
            "87 08 1830 01 a0 63612e62 8101 a1616b02",
        ],
    );
    check(&RouterMessage::Published { request, publication }, ["[17,1,2]", "93 11 01 02", "83 11 01 02"]);
    check(&RouterMessage::Subscribed { request, subscription }, ["[33,1,2]", "93 21 01 02", "83 1821 01 02"]);
    check(&RouterMessage::Unsubscribed { request }, ["[35,1]", "92 23 01", "82 1823 01"]);
    let registration = RegistrationId::new(2).unwrap();
    check(&RouterMessage::Registered { request, registration }, ["[65,1,2]", "93 41 01 02", "83 1841 01 02"]);
    check(&RouterMessage::Unregistered { request }, ["[67,1]", "92 43 01", "82 1843 01"]);
    check(
        &RouterMessage::Interrupt { invocation: InvocationId::FIRST, options: Dict::new().with("mode", "kill") },
        [r#"[69,1,{"mode":"kill"}]"#, "93 45 01 81a46d6f6465a46b696c6c", "83 1845 01 a1646d6f6465646b696c6c"],
    );
}

/// Empty arguments are left out, from whichever serializer they came.
#[test]
fn payloads_of_the_router() {
    let event = |payload: Payload<'_>, row| {
        let (subscription, publication) = (SubscriptionId::FIRST, PublicationId::new(2).unwrap());
        check(&RouterMessage::Event { subscription, publication, details: &Dict::new(), payload }, row);
    };
    let bare = ["[36,1,2,{}]", "94 24 01 02 80", "84 1824 01 02 a0"];
    event(json(None, None), bare);
    event(json(Some("[ ]"), None), bare);
    event(json(Some("[]"), Some("{\n}")), bare);
    for (serializer, args, kwargs) in [
        (Serializer::Msgpack, "90", "80"),
        (Serializer::Msgpack, "dc0000", "df00000000"),
        (Serializer::Cbor, "80", "a0"),
        (Serializer::Cbor, "9fff", "bfff"),
    ] {
        let (args, kwargs) = (hex(args), hex(kwargs));
        event(Payload { serializer, args: Some(&args), kwargs: Some(&kwargs) }, bare);
    }
    event(json(Some("[1]"), Some("{ }")), ["[36,1,2,{},[1]]", "95 24 01 02 80 9101", "85 1824 01 02 a0 8101"]);

    let keyed = ["[50,1,{},[],{\"k\":2}]", "95 32 01 80 90 81a16b02", "85 1832 01 a0 80 a1616b02"];
    let request = RequestId::FIRST;
    for args in [None, Some(&b"[]"[..])] {
        let payload = Payload { serializer: Serializer::Json, args, kwargs: Some(b"{\"k\":2}") };
        check(&RouterMessage::Result { request, details: Dict::new(), payload }, keyed);
    }

    let (invocation, registration) = (InvocationId::FIRST, RegistrationId::new(2).unwrap());
    check(
        &RouterMessage::Invocation {
            invocation,
            registration,
            details: Dict::new().with("procedure", "a.b"),
            payload: json(Some("[1]"), None),
        },
        [
            r#"[68,1,2,{"procedure":"a.b"},[1]]"#,
            "95 44 01 02 81a970726f636564757265a3612e62 9101",
            "85 1844 01 02 a16970726f63656475726563612e62 8101",
        ],
    );
}

#[test]
fn what_cannot_be_encoded_leaves_the_buffer_alone() {
    let mut out = b"before".to_vec();
    let details = Dict::new().with("x", Value::Float(f64::NAN));
    assert!(
        encode(Serializer::Json, &RouterMessage::Welcome { session: SessionId::FIRST, details }, &mut out).is_err()
    );
    let payload = Payload { serializer: Serializer::Msgpack, args: Some(b"\x91\xd4\x01\x01"), kwargs: None };
    let message = ClientMessage::Yield { invocation: InvocationId::FIRST, options: Dict::new(), payload };
    assert!(encode_client(Serializer::Cbor, &message, &mut out).is_err());
    assert_eq!(out, b"before");
}

/// Whitespace is legal between tokens; what lies inside a payload stays as it was.
#[test]
fn whitespace_in_json() {
    let message = decode(Serializer::Json, b" [ 16 ,\t1\r\n, { } , \"a.b\" , [ 1 , 2 ] , { \"k\" : 1 } ] \n");
    let payload = json(Some("[ 1 , 2 ]"), Some("{ \"k\" : 1 }"));
    let (request, options) = (RequestId::FIRST, Dict::new());
    assert_eq!(message, Ok(ClientMessage::Publish { request, options, topic: "a.b".into(), payload }));
}

/// Runs of blanks are skipped in pieces, whatever their length and whatever stands behind them.
#[test]
fn runs_of_whitespace_in_json() {
    for length in 0..150 {
        let run: String = " \t \r\n".chars().cycle().take(length).collect();
        let text = format!("{run}[32,{run}1,{{{run}}},\"a.b\"{run}]{run}");
        let message = decode(Serializer::Json, text.as_bytes());
        let subscribe =
            ClientMessage::Subscribe { request: RequestId::FIRST, options: Dict::new(), topic: "a.b".into() };
        assert_eq!(message, Ok(subscribe), "{length}");
        // Not a blank of JSON, though of Unicode.
        assert!(
            decode(Serializer::Json, format!("{run}\u{b}{run}[32,1,{{}},\"a.b\"]").as_bytes()).is_err(),
            "{length}"
        );
    }
}

#[test]
fn keys_of_options_are_unique() {
    let sentence = "CANCEL.Options must not have the same key twice";
    let few = br#"[49,1,{"mode":"skip","x":1,"mode":"kill"}]"#;
    assert_eq!(decode(Serializer::Json, few).unwrap_err().to_string(), sentence);
    let entries: Vec<String> = (0..100).map(|n| format!("\"k{}\":{n}", n % 99)).collect();
    let many = format!("[49,1,{{{}}}]", entries.join(","));
    assert_eq!(decode(Serializer::Json, many.as_bytes()).unwrap_err().to_string(), sentence);
}

/// Text in JSON is borrowed as long as nothing in it is escaped.
#[test]
fn topics_are_borrowed() {
    for (written, borrowed) in [(r#"[32,1,{},"a.é"]"#, true), (r#"[32,1,{},"a.\u00e9"]"#, false)] {
        let Ok(ClientMessage::Subscribe { topic, .. }) = decode(Serializer::Json, written.as_bytes()) else { panic!() };
        assert_eq!(topic, "a.é");
        assert_eq!(matches!(topic, std::borrow::Cow::Borrowed(_)), borrowed);
    }
}
