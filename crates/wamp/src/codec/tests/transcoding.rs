//! Payloads from one serializer to another: what corresponds to what, and what has no counterpart.

use super::{hex, octets};
use crate::codec::{Kind, Serializer, Syntax, TranscodeError, decode_value, transcode};
use crate::value::Value;

#[track_caller]
fn check(from: Serializer, written: &str, to: Serializer, expect: &str) {
    let mut out = Vec::new();
    transcode(from, to, &octets(from, written), &mut out).expect(written);
    assert_eq!(out, octets(to, expect), "{written}: {:02x?}, {}", out, String::from_utf8_lossy(&out));
}

/// What corresponds exactly goes in every direction.
#[test]
fn counterparts() {
    for row in [
        ["null", "c0", "f6"],
        ["true", "c3", "f5"],
        ["false", "c2", "f4"],
        ["0", "00", "00"],
        ["23", "17", "17"],
        ["24", "18", "1818"],
        ["127", "7f", "187f"],
        ["128", "cc80", "1880"],
        ["255", "ccff", "18ff"],
        ["256", "cd0100", "190100"],
        ["65535", "cdffff", "19ffff"],
        ["65536", "ce00010000", "1a00010000"],
        ["4294967295", "ceffffffff", "1affffffff"],
        ["4294967296", "cf0000000100000000", "1b0000000100000000"],
        ["18446744073709551615", "cfffffffffffffffff", "1bffffffffffffffff"],
        ["-1", "ff", "20"],
        ["-24", "e8", "37"],
        ["-25", "e7", "3818"],
        ["-32", "e0", "381f"],
        ["-33", "d0df", "3820"],
        ["-128", "d080", "387f"],
        ["-129", "d1ff7f", "3880"],
        ["-32768", "d18000", "397fff"],
        ["-32769", "d2ffff7fff", "398000"],
        ["-2147483649", "d3ffffffff7fffffff", "3a80000000"],
        ["-9223372036854775808", "d38000000000000000", "3b7fffffffffffffff"],
        ["1.0", "cb3ff0000000000000", "fb3ff0000000000000"],
        ["-0.0", "cb8000000000000000", "fb8000000000000000"],
        ["1.5", "cb3ff8000000000000", "fb3ff8000000000000"],
        ["1e300", "cb7e37e43c8800759c", "fb7e37e43c8800759c"],
        ["1e-7", "cb3e7ad7f29abcaf48", "fb3e7ad7f29abcaf48"],
        [r#""""#, "a0", "60"],
        [r#""é\"\\\n""#, "a5c3a9225c0a", "65c3a9225c0a"],
        ["\"\\u0001\u{7f}\"", "a2017f", "62017f"],
        [r#""\u0000AAEC""#, "c403000102", "43000102"],
        [r#""\u0000""#, "c400", "40"],
        [r#""\u0000/w==""#, "c401ff", "41ff"],
        ["[]", "90", "80"],
        ["{}", "80", "a0"],
        [r#"[1,[2,{"a":[]}],{"b":{"c":null}}]"#, "9301920281a1619081a16281a163c0", "83018202a1616180a16162a16163f6"],
    ] {
        for (from, written) in Serializer::ALL.into_iter().zip(row) {
            for (to, expect) in Serializer::ALL.into_iter().zip(row) {
                check(from, written, to, expect);
            }
        }
    }
}

/// Container lengths are patched in afterwards where the source does not tell them.
#[test]
fn long_containers_and_strings() {
    use Serializer::{Cbor, Json, Msgpack};
    let ones = |n: usize| format!("[{}]", vec!["1"; n].join(","));
    let heads = [
        (15, "9f", "8f"),
        (16, "dc0010", "90"),
        (23, "dc0017", "97"),
        (24, "dc0018", "9818"),
        (256, "dc0100", "990100"),
        (65_536, "dd00010000", "9a00010000"),
    ];
    for (n, msgpack, cbor) in heads {
        let (msgpack, cbor) = (format!("{msgpack}{}", "01".repeat(n)), format!("{cbor}{}", "01".repeat(n)));
        check(Json, &ones(n), Msgpack, &msgpack);
        check(Json, &ones(n), Cbor, &cbor);
        check(Msgpack, &msgpack, Cbor, &cbor);
        check(Cbor, &cbor, Msgpack, &msgpack);
        check(Cbor, &cbor, Json, &ones(n));
    }
    let entries: Vec<String> = (10..26).map(|n| format!("\"{n}\":1")).collect();
    let pairs: String = (10..26).map(|n| format!("a2{:02x}{:02x}01", 0x30 + n / 10, 0x30 + n % 10)).collect();
    check(Json, &format!("[{{{}}},2]", entries.join(",")), Msgpack, &format!("92de0010{pairs}02"));
    for (n, msgpack, cbor) in
        [(31, "bf", "781f"), (32, "d920", "7820"), (256, "da0100", "790100"), (65_536, "db00010000", "7a00010000")]
    {
        let (text, content) = (format!("\"{}\"", "a".repeat(n)), "61".repeat(n));
        check(Json, &text, Msgpack, &format!("{msgpack}{content}"));
        check(Msgpack, &format!("{msgpack}{content}"), Cbor, &format!("{cbor}{content}"));
        check(Cbor, &format!("{cbor}{content}"), Json, &text);
    }
}

/// What is read in many forms and written in one.
#[test]
fn one_way() {
    use Serializer::{Cbor, Json, Msgpack};
    for (from, written, to, expect) in [
        (Json, " [ 1 , 2 ] ", Msgpack, "920102"),
        (Json, "18446744073709551616", Msgpack, "cb43f0000000000000"),
        (Json, "-9223372036854775809", Cbor, "fbc3e0000000000000"),
        (Json, "-0", Msgpack, "00"),
        (Json, "1E+2", Cbor, "fb4059000000000000"),
        (Json, r#""\u0041\ud83d\ude00\/""#, Msgpack, "a641f09f98802f"),
        // Base64 without padding is understood; what is no Base64 stays text.
        (Json, r#""\u0000/w""#, Cbor, "41ff"),
        (Json, r#""\u0000?""#, Cbor, "62003f"),
        (Msgpack, "a2003f", Json, r#""\u0000?""#),
        (Msgpack, "ca3fc00000", Json, "1.5"),
        (Msgpack, "d30000000000000001", Json, "1"),
        (Msgpack, "cf0000000000000001", Cbor, "01"),
        (Msgpack, "dd00000001dc0000", Cbor, "8180"),
        (Msgpack, "8101c0", Cbor, "a101f6"),
        (Cbor, "f7", Json, "null"),
        (Cbor, "f93e00", Json, "1.5"),
        (Cbor, "fa3fc00000", Msgpack, "cb3ff8000000000000"),
        (Cbor, "1b0000000000000001", Json, "1"),
        (Cbor, "9f0102ff", Msgpack, "920102"),
        (Cbor, "bf616101ff", Json, r#"{"a":1}"#),
        (Cbor, "7f6161626263ff", Json, r#""abc""#),
        (Cbor, "5f4161ff", Msgpack, "c40161"),
        (Cbor, "bf7f6161ff01ff", Json, r#"{"a":1}"#),
        // A date-time's tag means nothing to anybody else; the text below it does.
        (Cbor, "c06161", Json, r#""a""#),
        (Cbor, "d9d9f781c101", Json, "[1]"),
        (Cbor, "c249010000000000000000", Json, "1.8446744073709552e19"),
        (Cbor, "c24100", Json, "0"),
        (Cbor, "c2420100", Msgpack, "cd0100"),
        (Cbor, "c34100", Json, "-1"),
        (Cbor, "c348ffffffffffffffff", Json, "-1.8446744073709552e19"),
        (Cbor, "3bffffffffffffffff", Json, "-1.8446744073709552e19"),
    ] {
        check(from, written, to, expect);
    }
}

#[test]
fn nothing_corresponds() {
    use Serializer::{Cbor, Json, Msgpack};
    let read = |syntax: Syntax, position| TranscodeError::Syntax(syntax.at(position));
    for (from, written, to, expect) in [
        (Msgpack, "cb7ff0000000000000", Json, TranscodeError::NotFinite),
        (Msgpack, "cb7ff8000000000000", Json, TranscodeError::NotFinite),
        (Cbor, "f97e00", Json, TranscodeError::NotFinite),
        (Msgpack, "81018102c0", Json, TranscodeError::Key(Kind::Integer)),
        (Cbor, "a1410100", Json, TranscodeError::Key(Kind::Bytes)),
        (Cbor, "a18000", Msgpack, TranscodeError::Key(Kind::List)),
        (Msgpack, "91d6ff00000000", Json, read(Syntax::Extension, 1)),
        (Msgpack, "c70001", Cbor, read(Syntax::Extension, 0)),
        (Msgpack, "9101ff", Json, read(Syntax::Trailing, 2)),
        (Json, "[1", Msgpack, read(Syntax::End, 2)),
        (Json, "1 1", Json, read(Syntax::Trailing, 2)),
    ] {
        let mut out = b"before".to_vec();
        assert_eq!(transcode(from, to, &octets(from, written), &mut out), Err(expect), "{written}");
        assert_eq!(out, b"before");
    }
    // Extensions stay legal where nobody has to understand them.
    check(Msgpack, "91d6ff00000000", Msgpack, "91d6ff00000000");
}

#[test]
fn values() {
    let octets = hex("93 c40161 cf8000000000000000 81a161cb3ff0000000000000");
    let value = decode_value(Serializer::Msgpack, &octets).unwrap();
    let Value::List(items) = &value else { panic!() };
    assert_eq!(items[0], Value::Bytes(b"a".to_vec()));
    assert_eq!(items[1], Value::Uint(1 << 63));
    assert_eq!(items[2].as_dict().and_then(|dict| dict.get("a")), Some(&Value::Float(1.0)));
    assert!(decode_value(Serializer::Msgpack, &hex("8101c0")).is_err());
}
