//! The meta API: what a realm tells of itself (WAMP sections "Session Meta API", "Subscription Meta API").

use stentor_model::RequestId;

use super::limits::member;
use crate::codec::Serializer;
use crate::message::Payload;
use crate::router::meta::LOOK_BYTES;
use crate::router::{Action, MetaApi, Settings};
use crate::transcript::{Setting, World, check, check_in, settings};
use crate::value::Dict;

#[test]
fn sessions_are_counted_listed_and_described() {
    check(
        r#"
        + a user
        a > [48,1,{},"wamp.session.count"]
        a < [50,1,{},[1]]
        a > [48,2,{},"wamp.session.list"]
        a < [50,2,{},[[$a]]]
        + b other
        a > [48,3,{},"wamp.session.count"]
        a < [50,3,{},[2]]
        a > [48,4,{},"wamp.session.count",[["other","nobody"]]]
        a < [50,4,{},[1]]
        a > [48,5,{},"wamp.session.list",[["other"]]]
        a < [50,5,{},[[$b]]]
        a > [48,6,{},"wamp.session.list",[[]]]
        a < [50,6,{},[[]]]
        a > [48,7,{},"wamp.session.list",["other"]]
        a < [8,48,7,{},"wamp.error.invalid_argument",["…"]]
        a > [48,8,{},"wamp.session.get",[$b]]
        a < [50,8,{},[{"session":$b,"authid":"@b","authrole":"other","authmethod":"anonymous","authprovider":"anonymous"}]]
        a > [48,9,{},"wamp.session.get",[1]]
        a < [8,48,9,{},"wamp.error.no_such_session",["…"]]
        a > [48,10,{},"wamp.session.get"]
        a < [8,48,10,{},"wamp.error.invalid_argument",["…"]]
        a > [48,11,{},"wamp.session.get",["x"]]
        a < [8,48,11,{},"wamp.error.invalid_argument",["…"]]
        - b
        a > [48,12,{},"wamp.session.list",[null]]
        a < [50,12,{},[[$a]]]
        "#,
    );
}

/// A number may be the answer to a look at everybody.
#[test]
fn looking_at_all_sessions_counts() {
    let check = |procedure: &str, args: Option<&str>, answer: &str, each: usize| {
        let mut world = World::new(Setting::default(), Serializer::Json);
        for name in ["a", "b", "c", "d"] {
            world.join(name, if name == "a" { "user" } else { "other" }).unwrap();
        }
        let (mut out, caller) = (Vec::new(), member(77, "user"));
        let args = args.map(str::as_bytes);
        let payload = Payload { args, ..Payload::none(Serializer::Json) };
        world.router.call(&caller, RequestId::FIRST, &Dict::new(), procedure, payload, &mut out);
        let Some(Action::Result { value, effort, .. }) = out.last() else { panic!("{out:?}") };
        assert_eq!((format!("{value:?}").as_str(), *effort), (answer, 4 * each), "{procedure} {args:?}");
    };
    let many: Vec<String> = (0..3000).map(|n| format!("\"{n}\"")).chain(["\"other\"".to_owned()]).collect();
    let many = format!("[[{}]]", many.join(","));
    check("wamp.session.count", None, "Int(4)", 0);
    check("wamp.session.count", Some("[null]"), "Int(4)", 0);
    check("wamp.session.count", Some("[[]]"), "Int(0)", LOOK_BYTES);
    check("wamp.session.count", Some(r#"[["other"]]"#), "Int(3)", LOOK_BYTES);
    check("wamp.session.count", Some(r#"[["user","user"]]"#), "Int(1)", LOOK_BYTES);
    check("wamp.session.count", Some(&many), "Int(3)", LOOK_BYTES);
    check("wamp.session.list", Some(r#"[["nobody"]]"#), "List([])", LOOK_BYTES);
    check("wamp.session.kill_by_authid", Some(r#"["nobody"]"#), "List([])", LOOK_BYTES);
    check("wamp.session.kill_by_authrole", Some(r#"["other"]"#), "Int(3)", LOOK_BYTES);
    check("wamp.session.kill_all", None, "Int(4)", LOOK_BYTES);
    check("wamp.subscription.match", Some(r#"["com.x"]"#), "Null", 0);
}

#[test]
fn sessions_are_killed() {
    check(
        r#"
        + a user
        + b other
        b > [64,1,{},"com.p"]
        b < [65,1,1]
        a > [48,1,{},"com.p"]
        b < [68,1,1,{}]
        a > [48,2,{},"wamp.session.kill",[$b],{"reason":"com.myapp.enough","message":"go"}]
        b < [6,{},"com.myapp.enough"]
        a < [8,48,1,{},"wamp.error.canceled",["…"]]
        a < [50,2,{},[null]]
        b > [70,1,{}]
        b > [6,{},"wamp.close.goodbye_and_out"]
        b x
        a > [48,3,{},"wamp.session.kill",[$b]]
        a < [8,48,3,{},"wamp.error.no_such_session",["…"]]
        a > [48,4,{},"wamp.session.kill",[$a]]
        a < [8,48,4,{},"wamp.error.no_such_session",["…"]]
        + c other
        a > [48,5,{},"wamp.session.kill",[$c],{"reason":"no reason"}]
        a < [8,48,5,{},"wamp.error.invalid_uri",["…"]]
        a > [48,6,{},"wamp.session.kill",[$c]]
        c < [6,{},"wamp.close.killed"]
        a < [50,6,{},[null]]
        "#,
    );
}

#[test]
fn sessions_are_killed_by_what_they_are() {
    check(
        r#"
        + a other
        + b other
        + c user
        a > [48,1,{},"wamp.session.kill_by_authid",["@b"]]
        b < [6,{},"wamp.close.killed"]
        a < [50,1,{},[[$b]]]
        a > [48,2,{},"wamp.session.kill_by_authid",["@a"]]
        a < [50,2,{},[[]]]
        a > [48,3,{},"wamp.session.kill_by_authrole",["user"]]
        c < [6,{},"wamp.close.killed"]
        a < [50,3,{},[1]]
        a > [48,4,{},"wamp.session.kill_by_authrole",["other"]]
        a < [50,4,{},[0]]
        + d user
        + e other
        a > [48,5,{},"wamp.session.kill_all",[],{"reason":"com.r"}]
        d < [6,{},"com.r"]
        e < [6,{},"com.r"]
        a < [50,5,{},[2]]
        a > [48,6,{},"wamp.session.kill_all"]
        a < [50,6,{},[0]]
        a > [48,7,{},"wamp.session.kill_by_authid"]
        a < [8,48,7,{},"wamp.error.invalid_argument",["…"]]
        "#,
    );
}

#[test]
fn subscriptions_are_told() {
    check(
        r#"
        + a user
        + b user
        a > [48,1,{},"wamp.subscription.list"]
        a < [50,1,{},[{"exact":[],"prefix":[],"wildcard":[]}]]
        a > [32,2,{},"com.x"]
        a < [33,2,1]
        b > [32,1,{"match":"prefix"},"com."]
        b < [33,1,2]
        b > [32,2,{"match":"wildcard"},"com."]
        b < [33,2,3]
        b > [32,3,{},"com.x"]
        b < [33,3,1]
        a > [48,3,{},"wamp.subscription.list"]
        a < [50,3,{},[{"exact":[1],"prefix":[2],"wildcard":[3]}]]
        a > [48,4,{},"wamp.subscription.lookup",["com.x"]]
        a < [50,4,{},[1]]
        a > [48,5,{},"wamp.subscription.lookup",["com.",{"match":"prefix"}]]
        a < [50,5,{},[2]]
        a > [48,6,{},"wamp.subscription.lookup",["com.",{"match":"exact"}]]
        a < [50,6,{},[null]]
        a > [48,7,{},"wamp.subscription.lookup",["com.",{"match":"x"}]]
        a < [8,48,7,{},"wamp.error.invalid_argument",["…"]]
        a > [48,8,{},"wamp.subscription.match",["com.x"]]
        a < [50,8,{},[[1,2,3]]]
        a > [48,9,{},"wamp.subscription.match",["org"]]
        a < [50,9,{},[null]]
        a > [48,10,{},"wamp.subscription.get",[2]]
        a < [50,10,{},[{"id":2,"created":"2026-01-01","uri":"com.","match":"prefix"}]]
        a > [48,11,{},"wamp.subscription.list_subscribers",[1]]
        a < [50,11,{},[[$a,$b]]]
        a > [48,12,{},"wamp.subscription.count_subscribers",[1]]
        a < [50,12,{},[2]]
        a > [48,13,{},"wamp.subscription.get",[9]]
        a < [8,48,13,{},"wamp.error.no_such_subscription",["…"]]
        a > [48,14,{},"wamp.subscription.count_subscribers",["1"]]
        a < [8,48,14,{},"wamp.error.invalid_argument",["…"]]
        a > [48,15,{},"wamp.subscription.lookup"]
        a < [8,48,15,{},"wamp.error.invalid_argument",["…"]]
        "#,
    );
}

#[test]
fn sessions_that_come_and_go_are_events() {
    check(
        r#"
        + a user
        a > [32,1,{},"wamp.session.on_join"]
        a < [33,1,1]
        a > [32,2,{},"wamp.session.on_leave"]
        a < [33,2,2]
        + b other
        a < [36,1,#1,{},[{"session":$b,"authid":"@b","authrole":"other","authmethod":"anonymous","authprovider":"anonymous"}]]
        b > [6,{},"wamp.close.normal"]
        a < [36,2,#2,{},[$b,"@b","other"]]
        b < [6,{},"wamp.close.goodbye_and_out"]
        - b
        + c user
        a < [36,1,#3,{},[{"session":$c,"authid":"@c","authrole":"user","authmethod":"anonymous","authprovider":"anonymous"}]]
        a > [48,3,{},"wamp.session.kill",[$c]]
        c < [6,{},"wamp.close.killed"]
        a < [36,2,#4,{},[$c,"@c","user"]]
        a < [50,3,{},[null]]
        "#,
    );
}

#[test]
fn subscriptions_that_come_and_go_are_events() {
    check(
        r#"
        + a user
        a > [32,1,{"match":"prefix"},"wamp.subscription."]
        a < [33,1,1]
        + b user
        + c user
        b > [32,1,{},"com.x"]
        b < [33,1,2]
        a < [36,1,#1,{"topic":"wamp.subscription.on_create"},[$b,{"id":2,"created":"2026-01-01","uri":"com.x","match":"exact"}]]
        a < [36,1,#2,{"topic":"wamp.subscription.on_subscribe"},[$b,2]]
        b > [32,2,{},"com.x"]
        b < [33,2,2]
        c > [32,1,{},"com.x"]
        c < [33,1,2]
        a < [36,1,#3,{"topic":"wamp.subscription.on_subscribe"},[$c,2]]
        b > [34,3,2]
        b < [35,3]
        a < [36,1,#4,{"topic":"wamp.subscription.on_unsubscribe"},[$b,2]]
        - c
        a < [36,1,#5,{"topic":"wamp.subscription.on_unsubscribe"},[$c,2]]
        a < [36,1,#6,{"topic":"wamp.subscription.on_delete"},[$c,2]]
        // Subscriptions to the meta API itself are not told, neither when they come nor when they go.
        b > [32,4,{},"wamp.session.on_join"]
        b < [33,4,3]
        b > [34,5,3]
        b < [35,5]
        "#,
    );
}

#[test]
fn a_realm_without_meta_api() {
    check_in(
        Setting { settings: || Settings { meta_api: MetaApi::Off, ..settings() }, ..Setting::default() },
        r#"
        + a user
        a > [48,1,{},"wamp.session.count"]
        a < [8,48,1,{},"wamp.error.no_such_procedure",["…"]]
        a > [32,2,{"match":"prefix"},"wamp."]
        a < [33,2,1]
        + b user
        b > [32,1,{},"com.x"]
        b < [33,1,2]
        - b
        "#,
    );
}
