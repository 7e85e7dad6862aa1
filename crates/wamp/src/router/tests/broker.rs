//! Publish and subscribe (WAMP sections "Subscribing and Unsubscribing", "Publishing and Events" and the advanced ones).

use crate::router::Settings;
use crate::transcript::{Setting, check, check_in, settings};
use crate::uri::Rule;

#[test]
fn events_reach_subscribers_and_not_their_publisher() {
    check(
        r#"
        + a user
        + b user
        a > [32,1,{},"com.x"]
        a < [33,1,1]
        b > [32,1,{},"com.x"]
        b < [33,1,1]
        + c user
        c > [16,1,{},"com.x",["hi",1.5,null],{"k":[true]}]
        a < [36,1,#1,{},["hi",1.5,null],{"k":[true]}]
        b < [36,1,#1,{},["hi",1.5,null],{"k":[true]}]
        a > [16,2,{"acknowledge":true},"com.x"]
        b < [36,1,#2,{}]
        a < [17,2,#2]
        a > [16,3,{"exclude_me":false},"com.x",[],{}]
        a < [36,1,#3,{}]
        b < [36,1,#3,{}]
        a > [16,4,{"exclude_me":true},"com.x",[],{"only":"kwargs"}]
        b < [36,1,#4,{},[],{"only":"kwargs"}]
        c > [16,2,{},"com.y"]
        "#,
    );
}

#[test]
fn a_subscription_is_one_whatever_its_subscribers() {
    check(
        r#"
        + a user
        + b user
        a > [32,1,{},"com.x"]
        a < [33,1,1]
        // Again, and with the same meaning in other words.
        a > [32,2,{"match":"exact","whatever":1},"com.x"]
        a < [33,2,1]
        a > [32,3,{"match":"prefix"},"com.x"]
        a < [33,3,2]
        b > [16,1,{},"com.x"]
        a < [36,1,#1,{}]
        a < [36,2,#1,{"topic":"com.x"}]
        a > [34,4,1]
        a < [35,4]
        b > [16,2,{},"com.x"]
        a < [36,2,#2,{"topic":"com.x"}]
        a > [34,5,1]
        a < [8,34,5,{},"wamp.error.no_such_subscription",["…"]]
        b > [34,3,2]
        b < [8,34,3,{},"wamp.error.no_such_subscription",["…"]]
        b > [16,4,{},"com.xy"]
        a < [36,2,#3,{"topic":"com.xy"}]
        - a
        b > [16,5,{"acknowledge":true},"com.x"]
        b < [17,5,#4]
        "#,
    );
}

#[test]
fn patterns() {
    check(
        r#"
        + a user
        + b user
        a > [32,1,{"match":"prefix"},"com.x."]
        a < [33,1,1]
        a > [32,2,{"match":"wildcard"},"com..z"]
        a < [33,2,2]
        a > [32,3,{"match":"prefix"},""]
        a < [33,3,3]
        b > [16,1,{},"com.x.z"]
        a < [36,3,#1,{"topic":"com.x.z"}]
        a < [36,1,#1,{"topic":"com.x.z"}]
        a < [36,2,#1,{"topic":"com.x.z"}]
        b > [16,2,{},"com.x"]
        a < [36,3,#2,{"topic":"com.x"}]
        a > [32,4,{"match":"regex"},"com.x"]
        a < [8,32,4,{},"wamp.error.invalid_argument",["…"]]
        a > [32,5,{"match":1},"com.x"]
        a < [8,32,5,{},"wamp.error.invalid_argument",["…"]]
        a > [32,6,{"match":null},"com.x"]
        a < [33,6,4]
        "#,
    );
}

#[test]
fn malformed_and_reserved_topics() {
    for topic in ["", "com..x", ".x", "x.", "com x", "com.#", "com.\\u2003x"] {
        let transcript = r#"
            + a user
            a > [32,1,{},"TOPIC"]
            a < [8,32,1,{},"wamp.error.invalid_uri",["…"]]
            a > [16,2,{"acknowledge":true},"TOPIC"]
            a < [8,16,2,{},"wamp.error.invalid_uri",["…"]]
            // Without acknowledge nobody is told.
            a > [16,3,{},"TOPIC"]
            a > [16,4,{"acknowledge":false},"TOPIC"]
        "#;
        check(&transcript.replace("TOPIC", topic));
    }
    check(
        r#"
        + a user
        a > [16,1,{"acknowledge":true},"wamp.session.on_join"]
        a < [8,16,1,{},"wamp.error.invalid_uri",["…"]]
        a > [16,2,{"acknowledge":true},"wamp"]
        a < [8,16,2,{},"wamp.error.invalid_uri",["…"]]
        a > [16,3,{"acknowledge":true},"wampum"]
        a < [17,3,#1]
        "#,
    );
    check_in(
        Setting { settings: || Settings { uri_rule: Rule::Strict, ..settings() }, ..Setting::default() },
        r#"
        + a user
        a > [32,1,{},"com.Loose"]
        a < [8,32,1,{},"wamp.error.invalid_uri",["…"]]
        a > [16,2,{"acknowledge":true},"com.a-b"]
        a < [8,16,2,{},"wamp.error.invalid_uri",["…"]]
        a > [32,3,{},"com.strict_1"]
        a < [33,3,1]
        "#,
    );
}

#[test]
fn options_of_the_wrong_type() {
    for option in [
        r#""exclude_me":1"#,
        r#""exclude":"a""#,
        r#""exclude":[0]"#,
        r#""eligible_authid":"joe""#,
        r#""eligible_authrole":[1]"#,
        r#""retain":"yes""#,
        r#""disclose_me":0"#,
    ] {
        let transcript = r#"
            + a user
            + b user
            b > [32,1,{},"com.x"]
            b < [33,1,1]
            a > [16,1,{"acknowledge":true,OPTION},"com.x"]
            a < [8,16,1,{},"wamp.error.invalid_argument",["…"]]
            a > [16,2,{OPTION},"com.x"]
        "#;
        check(&transcript.replace("OPTION", option));
    }
    check(
        r#"
        + a user
        a > [16,1,{"acknowledge":1},"com.x"]
        a > [32,2,{"get_retained":1},"com.x"]
        a < [8,32,2,{},"wamp.error.invalid_argument",["…"]]
        "#,
    );
}

#[test]
fn black_and_white_lists() {
    let reaches = |options: &str, receivers: &str| {
        let mut transcript = r#"
            + a user
            + b other
            + c user
            a > [32,1,{},"com.x"]
            a < [33,1,1]
            b > [32,1,{},"com.x"]
            b < [33,1,1]
            c > [32,1,{},"com.x"]
            c < [33,1,1]
            c > [16,2,{OPTIONS},"com.x"]
        "#
        .replace("OPTIONS", options);
        for receiver in receivers.chars() {
            transcript.push_str(&format!("\n{receiver} < [36,1,#1,{{}}]"));
        }
        check(&transcript);
    };
    reaches("", "ab");
    reaches(r#""exclude":[$a]"#, "b");
    reaches(r#""exclude":$a"#, "b");
    reaches(r#""exclude":[$a,$b]"#, "");
    reaches(r#""exclude_authid":["@b"]"#, "a");
    reaches(r#""exclude_authrole":["user"]"#, "b");
    reaches(r#""eligible":[$a]"#, "a");
    reaches(r#""eligible":[]"#, "");
    reaches(r#""eligible":[$c]"#, "");
    reaches(r#""eligible":[$c],"exclude_me":false"#, "c");
    reaches(r#""eligible_authid":["@a","@b"]"#, "ab");
    reaches(r#""eligible_authrole":["other"]"#, "b");
    reaches(r#""eligible_authrole":["nobody"]"#, "");
    reaches(r#""eligible":[$a,$b],"exclude_authrole":["other"]"#, "a");
    reaches(r#""eligible":[$a,$b],"eligible_authrole":["other"]"#, "b");
}

#[test]
fn retained_events() {
    check(
        r#"
        + a user
        a > [16,1,{"retain":true,"acknowledge":true},"com.x",[1]]
        a < [17,1,#1]
        a > [16,2,{"retain":true},"com.x",[2]]
        a > [16,3,{"retain":true},"com.y",[],{"k":1}]
        // An event that is not to be kept leaves the kept one alone.
        a > [16,4,{},"com.x",[3]]
        + b user
        b > [32,1,{"get_retained":true},"com.x"]
        b < [33,1,1]
        b < [36,1,#2,{"retained":true},[2]]
        b > [32,2,{"match":"prefix","get_retained":true},"com."]
        b < [33,2,2]
        b < [36,2,#2,{"topic":"com.x","retained":true},[2]]
        b < [36,2,#3,{"topic":"com.y","retained":true},[],{"k":1}]
        b > [32,3,{"match":"wildcard","get_retained":true},".y"]
        b < [33,3,3]
        b < [36,3,#3,{"topic":"com.y","retained":true},[],{"k":1}]
        b > [32,4,{},"com.y"]
        b < [33,4,4]
        b > [32,5,{"get_retained":false},"com.y"]
        b < [33,5,4]
        b > [32,6,{"get_retained":true},"com.z"]
        b < [33,6,5]
        // The publisher is gone; its event stays.
        - a
        b > [32,7,{"get_retained":true},"com.x"]
        b < [33,7,1]
        b < [36,1,#2,{"retained":true},[2]]
        "#,
    );
}

#[test]
fn retained_events_keep_their_lists_and_their_publisher() {
    check(
        r#"
        + a open
        + b other
        + c user
        a > [16,1,{"retain":true,"eligible_authrole":["other"]},"com.x",[1]]
        a > [16,2,{"retain":true,"exclude":[$b]},"com.y",[2]]
        b > [32,1,{"get_retained":true},"com.x"]
        b < [33,1,1]
        b < [36,1,#1,{"publisher":$a,"publisher_authid":"@a","publisher_authrole":"open","retained":true},[1]]
        b > [32,2,{"get_retained":true},"com.y"]
        b < [33,2,2]
        c > [32,1,{"get_retained":true},"com.x"]
        c < [33,1,1]
        c > [32,2,{"get_retained":true},"com.y"]
        c < [33,2,2]
        c < [36,2,#2,{"publisher":$a,"publisher_authid":"@a","publisher_authrole":"open","retained":true},[2]]
        "#,
    );
    check(
        r#"
        + a nobody
        a > [16,1,{"retain":true,"acknowledge":true},"com.x"]
        a < [8,16,1,{},"wamp.error.not_authorized",["…"]]
        + b user
        b > [32,1,{"get_retained":true},"com.x"]
        b < [33,1,1]
        b > [16,2,{"retain":true,"acknowledge":true,"disclose_me":true},"com.x"]
        b < [8,16,2,{},"wamp.error.option_disallowed.disclose_me",["…"]]
        b > [32,3,{"get_retained":true},"com.x"]
        b < [33,3,1]
        "#,
    );
}

#[test]
fn disclosure_of_the_publisher() {
    check(
        r#"
        + a user
        + b open
        a > [32,1,{},"com.x"]
        a < [33,1,1]
        a > [32,2,{"match":"prefix"},"com."]
        a < [33,2,2]
        b > [16,1,{},"com.x"]
        a < [36,1,#1,{"publisher":$b,"publisher_authid":"@b","publisher_authrole":"open"}]
        a < [36,2,#1,{"publisher":$b,"publisher_authid":"@b","publisher_authrole":"open","topic":"com.x"}]
        b > [16,2,{"disclose_me":true},"com.x"]
        a < [36,1,#2,{"publisher":$b,"publisher_authid":"@b","publisher_authrole":"open"}]
        a < [36,2,#2,{"publisher":$b,"publisher_authid":"@b","publisher_authrole":"open","topic":"com.x"}]
        + c user
        c > [16,1,{"disclose_me":true,"acknowledge":true},"com.x"]
        c < [8,16,1,{},"wamp.error.option_disallowed.disclose_me",["…"]]
        c > [16,2,{"disclose_me":true},"com.x"]
        c > [16,3,{"disclose_me":false},"com.x"]
        a < [36,1,#3,{}]
        a < [36,2,#3,{"topic":"com.x"}]
        "#,
    );
}

#[test]
fn a_session_holds_so_many_subscriptions() {
    check_in(
        Setting { subscriptions_max: 2, ..Setting::default() },
        r#"
        + a user
        a > [32,1,{},"com.a"]
        a < [33,1,1]
        a > [32,2,{},"com.b"]
        a < [33,2,2]
        a > [32,3,{},"com.c"]
        a < [8,32,3,{},"wamp.error.unavailable",["…"]]
        // What it holds already costs nothing more.
        a > [32,4,{},"com.a"]
        a < [33,4,1]
        a > [32,5,{"match":"prefix"},"com.a"]
        a < [8,32,5,{},"wamp.error.unavailable",["…"]]
        a > [34,6,1]
        a < [35,6]
        a > [32,7,{},"com.c"]
        a < [33,7,3]
        "#,
    );
}

#[test]
fn topics_of_a_publisher_come_in_order() {
    check(
        r#"
        + a user
        + b user
        a > [32,1,{},"com.x"]
        a < [33,1,1]
        a > [32,2,{},"com.y"]
        a < [33,2,2]
        b > [16,1,{},"com.x",[1]]
        a < [36,1,#1,{},[1]]
        b > [16,2,{},"com.y",[2]]
        a < [36,2,#2,{},[2]]
        b > [16,3,{},"com.x",[3]]
        a < [36,1,#3,{},[3]]
        "#,
    );
}

#[test]
fn an_event_without_payload_clears_what_is_retained() {
    check(
        r#"
        + a user
        + b user
        a > [16,1,{"retain":true},"com.x",[1]]
        a > [16,2,{"retain":true},"com.x"]
        b > [32,1,{"get_retained":true},"com.x"]
        b < [33,1,1]
        "#,
    );
}
