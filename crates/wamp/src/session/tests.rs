//! The life of a session, rule by rule (WAMP sections "Session Establishment", "Session Closing", "IDs").

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use stentor_model::Secret;

use crate::auth::{AuthPolicy, CraUser, Salting, TicketPrincipal};
use crate::codec::{Serializer, decode};
use crate::message::RouterMessage;
use crate::router::Settings;
use crate::session::{AUTHID_BYTES_MAX, Realms, RequestIds, Session, State, Step};
use crate::transcript::{FRESH, Setting, check, check_in, settings};
use crate::uri::reason;

const HELLO: &str = r#"[1,"realm1",{"roles":{"subscriber":{}}}]"#;
const VIOLATION: &str = r#"[3,{"message":"…"},"wamp.error.protocol_violation"]"#;

#[test]
fn hello_is_welcomed() {
    check(
        r#"
        a > [1,"realm1",{"roles":{"publisher":{"features":{"publisher_identification":true}},"subscriber":{}},"x_more":[1]}]
        a < [2,$a,{"realm":"realm1","authid":"@a","authrole":"user","authmethod":"anonymous","authprovider":"anonymous","roles":{"broker":{"features":{"publisher_identification":true,"publisher_exclusion":true,"subscriber_blackwhite_listing":true,"pattern_based_subscription":true,"event_retention":true,"session_meta_api":true,"subscription_meta_api":true}},"dealer":{"features":{"caller_identification":true,"call_canceling":true,"progressive_call_results":true,"session_meta_api":true}}}}]
        "#,
    );
}

#[test]
fn hellos_that_are_refused() {
    let refused = |hello: &str, reason: &str| {
        check(&format!("a > {hello}\na < [3,{{\"message\":\"…\"}},\"wamp.error.{reason}\"]\na x"));
    };
    refused(r#"[1,"realm2",{"roles":{"caller":{}}}]"#, "no_such_realm");
    for realm in ["", "a..b", "a b", "a#b", ".a"] {
        refused(&format!(r#"[1,"{realm}",{{"roles":{{"caller":{{}}}}}}]"#), "invalid_uri");
    }
    for details in [
        r#"{}"#,
        r#"{"roles":null}"#,
        r#"{"roles":[]}"#,
        r#"{"roles":"caller"}"#,
        r#"{"roles":{}}"#,
        r#"{"roles":{"broker":{}}}"#,
        r#"{"roles":{"caller":null}}"#,
        r#"{"roles":{"caller":true}}"#,
        r#"{"roles":{"caller":{},"callee":1}}"#,
        r#"{"roles":{"caller":{"features":[]}}}"#,
        r#"{"roles":{"caller":{}},"authmethods":"ticket"}"#,
        r#"{"roles":{"caller":{}},"authmethods":[1]}"#,
    ] {
        refused(&format!(r#"[1,"realm1",{details}]"#), "protocol_violation");
    }
    refused(r#"[1,"realm1",{"roles":{"caller":{}},"authmethods":["scram"]}]"#, "no_matching_auth_method");
    refused(r#"[1,"realm1"]"#, "protocol_violation");
}

#[test]
fn a_role_that_the_realm_lacks() {
    check_in(
        Setting { policy: || AuthPolicy::anonymous("ghost"), ..Setting::default() },
        &format!("a > {HELLO}\na < [3,{{\"message\":\"…\"}},\"wamp.error.no_such_role\"]\na x"),
    );
}

#[test]
fn nothing_comes_before_hello() {
    for message in [
        r#"[2,1,{}]"#,
        r#"[4,"ticket",{}]"#,
        r#"[5,"x",{}]"#,
        r#"[6,{},"wamp.close.normal"]"#,
        r#"[8,68,1,{},"a.b"]"#,
        r#"[16,1,{},"a.b"]"#,
        r#"[32,1,{},"a.b"]"#,
        r#"[34,1,1]"#,
        r#"[48,1,{},"a.b"]"#,
        r#"[49,1,{}]"#,
        r#"[64,1,{},"a.b"]"#,
        r#"[66,1,1]"#,
        r#"[70,1,{}]"#,
        r#"[]"#,
        r#"{}"#,
        r#"[1"#,
    ] {
        check(&format!("a > {message}\na < {VIOLATION}\na x"));
    }
}

#[test]
fn what_an_established_session_must_not_say() {
    for message in [
        HELLO,
        r#"[2,1,{}]"#,
        r#"[4,"ticket",{}]"#,
        r#"[5,"x",{}]"#,
        r#"[17,1,1]"#,
        r#"[36,1,1,{}]"#,
        r#"[50,1,{}]"#,
        r#"[68,1,1,{}]"#,
        r#"[69,1,{}]"#,
        r#"[8,48,1,{},"a.b"]"#,
        r#"[8,16,1,{},"a.b"]"#,
        r#"[8,68,1,{},"a.b"]"#,
        r#"[70,1,{}]"#,
        r#"[49,1,{"mode":"maybe"}]"#,
        r#"[49,1,{"mode":1}]"#,
        r#"[7]"#,
        r#"[256]"#,
        r#"[]"#,
        r#"[32,1,{}]"#,
        r#"[32,1,{},5]"#,
        r#"[32,1,{},"a.b",1]"#,
        r#"[32,"1",{},"a.b"]"#,
        r#"[32,-1,{},"a.b"]"#,
        r#"[32,1.0,{},"a.b"]"#,
        r#"[16,1,{},"a.b",{}]"#,
        r#"[16,1,{},"a.b",[],[]]"#,
        "\u{1}",
    ] {
        check(&format!("+ a user\na > {message}\na < {VIOLATION}\na x"));
    }
}

#[test]
fn a_violation_frees_everything() {
    check(&format!(
        r#"
        + a user
        + b user
        a > [32,1,{{}},"a.b"]
        a < [33,1,1]
        a > [64,2,{{}},"a.p"]
        a < [65,2,1]
        a > {HELLO}
        a < {VIOLATION}
        a x
        b > [16,1,{{"acknowledge":true}},"a.b"]
        b < [17,1,#1]
        b > [48,2,{{}},"a.p"]
        b < [8,48,2,{{}},"wamp.error.no_such_procedure",["…"]]
        b > [48,3,{{}},"wamp.session.count"]
        b < [50,3,{{}},[1]]
        "#
    ));
}

#[test]
fn request_ids_count_from_one_by_one() {
    let refused = |said: &str, id: &str| {
        check(&format!("+ a user\n{said}\na > [34,{id},9]\na < {VIOLATION}\na x"));
    };
    let first = "a > [34,1,9]\na < [8,34,1,{},\"wamp.error.no_such_subscription\",[\"…\"]]";
    refused("", "0");
    refused("", "2");
    refused("", "9007199254740993");
    refused(first, "1");
    refused(first, "3");
    check(
        r#"
        + a user
        // One counter for all kinds of requests; CANCEL names an old one.
        a > [32,1,{},"a.b"]
        a < [33,1,1]
        a > [16,2,{},"a.c"]
        a > [64,3,{},"a.p"]
        a < [65,3,1]
        a > [48,4,{},"a.q"]
        a < [8,48,4,{},"wamp.error.no_such_procedure",["…"]]
        a > [49,4,{}]
        a > [66,5,1]
        a < [67,5]
        a > [34,6,1]
        a < [35,6]
        "#,
    );
}

#[test]
fn a_realm_may_admit_clients_that_do_not_count() {
    let any = || Settings { request_ids: RequestIds::Any, ..settings() };
    let setting = Setting { settings: any, ..Setting::default() };
    check_in(
        setting,
        r#"
        + a user
        a > [32,7,{},"a.b"]
        a < [33,7,1]
        a > [32,7,{},"a.c"]
        a < [33,7,2]
        a > [34,9007199254740992,1]
        a < [35,9007199254740992]
        a > [34,1,2]
        a < [35,1]
        "#,
    );
    check_in(setting, &format!("+ a user\na > [34,0,9]\na < {VIOLATION}\na x"));
    // The answer to a repeated request could not be told from that to the first.
    check_in(
        setting,
        &format!(
            r#"
            + a user
            + b user
            b > [64,1,{{}},"a.p"]
            b < [65,1,1]
            a > [48,5,{{}},"a.p"]
            b < [68,1,1,{{}}]
            a > [48,5,{{}},"a.p"]
            a < {VIOLATION}
            a x
            b > [70,1,{{}}]
            "#
        ),
    );
}

#[test]
fn goodbye_is_answered_and_another_hello_may_follow() {
    check(&format!(
        r#"
        + a user
        a > [32,1,{{}},"a.b"]
        a < [33,1,1]
        a > [6,{{"message":"bye"}},"wamp.close.close_realm"]
        a < [6,{{}},"wamp.close.goodbye_and_out"]
        + b user
        b > [16,1,{{}},"a.b"]
        + a other
        // The new session counts anew and holds nothing of the old one.
        a > [34,1,1]
        a < [8,34,1,{{}},"wamp.error.no_such_subscription",["…"]]
        a > [6,{{}},"wamp.close.normal"]
        a < [6,{{}},"wamp.close.goodbye_and_out"]
        a > [16,2,{{}},"a.b"]
        a < {VIOLATION}
        a x
        "#
    ));
}

#[test]
fn after_the_routers_own_goodbye_only_the_clients_counts() {
    check(
        r#"
        + a user
        ! a shutdown
        a < [6,{},"wamp.close.system_shutdown"]
        a > [16,1,{"acknowledge":true},"a.b"]
        a > [1,"realm1",{"roles":{"caller":{}}}]
        a > [99]
        a > nonsense
        a > [6,{},"wamp.close.goodbye_and_out"]
        a x
        "#,
    );
    check(
        r#"
        + a user
        ! a shutdown
        a < [6,{},"wamp.close.system_shutdown"]
        a > [3,{},"a.b"]
        a x
        "#,
    );
}

#[test]
fn a_bad_frame_after_goodbye_is_not_worth_an_abort() {
    let mut session = Session::default();
    session.closing();
    assert_eq!(session.violate("a text frame"), Step::Ignore);
    let mut session = Session::default();
    assert!(matches!(session.violate("a text frame"), Step::Abort(_)));
    assert_eq!(session.violate("another one"), Step::Ignore, "one ABORT is enough");
}

#[test]
fn an_abort_is_never_answered() {
    for before in ["", "+ a user\n"] {
        check(&format!("{before}a > [3,{{}},\"wamp.error.whatever\"]\na x"));
    }
    check(
        r#"
        + a user
        + b user
        a > [64,1,{},"a.p"]
        a < [65,1,1]
        a > [3,{},"wamp.error.whatever"]
        a x
        b > [64,1,{},"a.p"]
        b < [65,1,2]
        "#,
    );
}

fn principals() -> AuthPolicy {
    AuthPolicy {
        anonymous: None,
        ticket: Some(HashMap::from([(
            "joe".to_owned(),
            TicketPrincipal { ticket: Secret::new("secret!"), role: "open".into() },
        )])),
        wampcra: Some(HashMap::from([(
            "ann".to_owned(),
            CraUser {
                secret: Secret::new("key"),
                role: "other".into(),
                salting: Some(Salting { salt: "s0Lt".into(), iterations: 100, key_bytes: 16 }),
            },
        )])),
    }
}

fn authenticated(transcript: &str) {
    check_in(Setting { policy: principals, ..Setting::default() }, transcript);
}

fn hello(method: &str, authid: &str) -> String {
    format!(r#"a > [1,"realm1",{{"roles":{{"caller":{{}}}},"authmethods":["{method}"],"authid":"{authid}"}}]"#)
}

const FAILED: &str = "a < [3,{\"message\":\"…\"},\"wamp.error.authentication_failed\"]\na x";
const WHO_AM_I: &str = "a > [48,1,{},\"wamp.session.get\",[$a]]";

#[test]
fn tickets() {
    let hello = |authid| hello("ticket", authid);
    let roles = "\"roles\":{\"broker\":{\"features\":{\"publisher_identification\":true,\"publisher_exclusion\":true,\"subscriber_blackwhite_listing\":true,\"pattern_based_subscription\":true,\"event_retention\":true,\"session_meta_api\":true,\"subscription_meta_api\":true}},\"dealer\":{\"features\":{\"caller_identification\":true,\"call_canceling\":true,\"progressive_call_results\":true,\"session_meta_api\":true}}}";
    authenticated(&format!(
        r#"
        {}
        a < [4,"ticket",{{}}]
        a > [5,"secret!",{{}}]
        a < [2,$a,{{"realm":"realm1","authid":"joe","authrole":"open","authmethod":"ticket","authprovider":"static",{roles}}}]
        {WHO_AM_I}
        a < [50,1,{{}},[{{"session":$a,"authid":"joe","authrole":"open","authmethod":"ticket","authprovider":"static"}}]]
        "#,
        hello("joe")
    ));
    // A wrong proof and an unknown principal cannot be told apart.
    for authid in ["joe", "jim"] {
        authenticated(&format!("{}\na < [4,\"ticket\",{{}}]\na > [5,\"wrong\",{{}}]\n{FAILED}", hello(authid)));
    }
    // One proof for one challenge, and nothing else in between.
    for message in [HELLO, "[16,1,{},\"a.b\"]", "[6,{},\"wamp.close.normal\"]", "[8,68,1,{},\"a.b\"]"] {
        authenticated(&format!("{}\na < [4,\"ticket\",{{}}]\na > {message}\na < {VIOLATION}\na x", hello("joe")));
    }
    authenticated(&format!("{}\na < [4,\"ticket\",{{}}]\na > [3,{{}},\"a.b\"]\na x", hello("joe")));
    authenticated(&format!("a > {HELLO}\na < [3,{{\"message\":\"…\"}},\"wamp.error.no_matching_auth_method\"]\na x"));
    authenticated(&format!(
        r#"a > [1,"realm1",{{"roles":{{"caller":{{}}}},"authmethods":["ticket"]}}]{}{FAILED}"#,
        "\n"
    ));
}

struct AnyRealm;

impl Realms for AnyRealm {
    fn request_ids(&self, _: &str) -> Option<RequestIds> {
        Some(RequestIds::Sequential)
    }

    fn has_role(&self, _: &str, _: &str) -> bool {
        true
    }
}

#[test]
fn names_have_their_limit() {
    let policy = AuthPolicy { anonymous: Some("user".into()), ..principals() };
    let check = |method: &str, authid: &str, taken: bool| {
        let hello = hello(method, authid);
        let message = decode(Serializer::Json, hello.trim_start_matches("a > ").as_bytes());
        let mut session = Session::default();
        let (step, length) = (session.receive(message, &policy, &AnyRealm, &FRESH), authid.len());
        match (step, &session.state) {
            (Step::Send(_), State::Challenging(pending)) => {
                assert!(pending.challenge.extra.is_empty(), "what was sent is kept");
                assert!(taken, "{method} {length}");
            }
            (Step::Join(_), State::Established { .. }) => assert!(taken, "{method} {length}"),
            (Step::Abort(RouterMessage::Abort { message, reason }), State::Ended) => {
                assert!(!taken && reason == reason::PROTOCOL_VIOLATION, "{method} {length} {message}");
                assert!(message.contains("1024"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    };
    for method in ["ticket", "wampcra"] {
        check(method, "", true);
        check(method, &"x".repeat(AUTHID_BYTES_MAX), true);
        check(method, &"ö".repeat(AUTHID_BYTES_MAX / 2), true);
        check(method, &"x".repeat(AUTHID_BYTES_MAX + 1), false);
        check(method, &"ö".repeat(AUTHID_BYTES_MAX / 2 + 1), false);
        check(method, &"x".repeat(60_000), false);
    }
    // Nobody looks at it where no name is proven.
    check("anonymous", &"x".repeat(60_000), true);
}

/// The challenge of `authid` as it stands in a message, and its signature by `secret`.
fn cra(authid: &str, role: &str, secret: &str) -> (String, String) {
    let text = format!(
        r#"{{"authid":"{authid}","authrole":"{role}","authmethod":"wampcra","authprovider":"static","nonce":"n0","timestamp":"2026-01-01T00:00:00.000Z","session":7}}"#
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
    (text.replace('"', "\\\""), signature)
}

#[test]
fn wampcra() {
    let (text, signature) = cra("ann", "other", "key");
    let challenge = format!(r#"a < [4,"wampcra",{{"challenge":"{text}","salt":"s0Lt","iterations":100,"keylen":16}}]"#);
    let hello = hello("wampcra", "ann");
    for (signature, expected) in [(signature, true), (cra("ann", "other", "kez").1, false), ("?".to_owned(), false)] {
        let answer = format!("{hello}\n{challenge}\na > [5,\"{signature}\",{{}}]\n");
        if expected {
            let refused = std::panic::catch_unwind(|| authenticated(&answer)).unwrap_err();
            let said = refused.downcast_ref::<String>().expect("a formatted panic");
            assert!(
                said.contains(r#"[2,$a,{"realm":"realm1","authid":"ann","authrole":"other","authmethod":"wampcra""#),
                "{said}"
            );
        } else {
            authenticated(&format!("{answer}{FAILED}"));
        }
    }
}

#[test]
fn unknown_names_are_challenged_like_known_ones() {
    // With one user, an unknown name is shown that user's role and derivation; only the salt is another.
    let policy = principals();
    let known = policy.challenge(crate::auth::Method::WampCra, "ann", &crate::transcript::FRESH);
    let unknown = policy.challenge(crate::auth::Method::WampCra, "jim", &crate::transcript::FRESH);
    let again = policy.challenge(crate::auth::Method::WampCra, "jim", &crate::transcript::FRESH);
    assert_eq!(unknown, again, "a salt that changed would show that it is made up");
    let keys =
        |challenge: &crate::auth::Challenge| challenge.extra.iter().map(|(key, _)| key.to_owned()).collect::<Vec<_>>();
    assert_eq!(keys(&known), keys(&unknown));
    let text = |challenge: &crate::auth::Challenge, key| challenge.extra.get(key).cloned();
    assert_eq!(text(&known, "iterations"), text(&unknown, "iterations"));
    assert_eq!(text(&known, "keylen"), text(&unknown, "keylen"));
    assert_ne!(text(&known, "salt"), text(&unknown, "salt"));
    let words = |challenge: &crate::auth::Challenge, name: &str| {
        text(challenge, "challenge").unwrap().as_str().unwrap().replace(name, "?")
    };
    assert_eq!(words(&known, "ann"), words(&unknown, "jim"));
    let (_, signature) = cra("jim", "other", "key");
    assert_eq!(policy.verify(&unknown, &signature), None);
}
