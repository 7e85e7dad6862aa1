//! What comes from outside of any session: calls by HTTP, other permissions, a reload.

use stentor_model::RequestId;

use super::limits::member;
use crate::codec::Serializer;
use crate::message::{Payload, RouterMessage};
use crate::permission::Permissions;
use crate::router::{Action, Settings};
use crate::transcript::{Setting, World, settings};
use crate::uri::reason;
use crate::value::{Dict, Value};

#[test]
fn somebody_who_has_not_joined_may_call_and_hang_up() {
    let mut world = World::new(Setting::default(), Serializer::Json);
    world.join("b", "user canceling").unwrap();
    let place = world.place("b");
    world.receive(place, br#"[64,1,{},"com.p"]"#);
    world.take();
    let caller = member(77, "user");
    let mut call = |procedure: &str| {
        let mut out = Vec::new();
        let payload = Payload::none(Serializer::Json);
        world.router.call(&caller, RequestId::FIRST, &Dict::new(), procedure, payload, &mut out);
        format!("{out:?}")
    };
    assert!(call("com.p").contains("Invocation"));
    assert!(call("com.q").contains(reason::NO_SUCH_PROCEDURE));
    assert!(call("wamp.session.count").contains("value: Int(1)"), "who calls by HTTP is no session");
    let mut out = Vec::new();
    world.router.end_calls(caller.session, &[], &mut out);
    let [Action::Send { to, message: RouterMessage::Interrupt { options, .. } }] = &out[..] else { panic!("{out:?}") };
    assert_eq!((*to, options.get("mode").and_then(Value::as_str)), (place, Some("killnowait")));
    world.receive(place, br#"[70,1,{}]"#);
    assert_eq!(world.take(), []);
    world.lose(place);
    assert!(world.router.is_empty());
}

#[test]
fn new_permissions_hold_from_the_next_request_on() {
    let mut world = World::new(Setting::default(), Serializer::Json);
    world.join("a", "user").unwrap();
    let place = world.place("a");
    world.receive(place, br#"[32,1,{},"com.x"]"#);
    world.router.reconfigure(Settings { roles: [("user".into(), Permissions::default())].into(), ..settings() });
    world.receive(place, br#"[32,2,{},"com.y"]"#);
    world.receive(place, br#"[34,3,1]"#);
    let expected = [r#"[33,1,1]"#, r#"[8,32,2,{},"wamp.error.not_authorized",["…"]]"#, r#"[35,3]"#];
    assert_eq!(world.take(), expected.map(|text| (place, text.to_owned())));
}

#[test]
fn killing_takes_a_rule_of_its_own() {
    let mut world = World::new(Setting::default(), Serializer::Json);
    // `open` may call everything by the catch-all rule, and nothing by a rule that speaks of the router.
    world.join("a", "open").unwrap();
    let place = world.place("a");
    world.receive(place, br#"[48,1,{},"wamp.session.kill_all"]"#);
    world.receive(place, br#"[48,2,{},"wamp.session.count"]"#);
    let expected = [r#"[8,48,1,{},"wamp.error.not_authorized",["…"]]"#, r#"[50,2,{},[1]]"#];
    assert_eq!(world.take(), expected.map(|text| (place, text.to_owned())));
}

#[test]
fn a_call_that_cannot_be_carried_is_answered() {
    let mut world = World::new(Setting::default(), Serializer::Json);
    world.join("b", "user").unwrap();
    let callee = world.place("b");
    world.receive(callee, br#"[64,1,{},"com.p"]"#);
    let caller = member(77, "user");
    let mut out = Vec::new();
    world.router.call(&caller, RequestId::FIRST, &Dict::new(), "com.p", Payload::none(Serializer::Json), &mut out);
    let [Action::Invoke { to, invocation, .. }] = &out[..] else { panic!("{out:?}") };
    let (session, invocation) = (to.session, *invocation);
    let mut out = Vec::new();
    world.router.undeliverable(session, invocation, &mut out);
    let [Action::Refuse { refusal, .. }] = &out[..] else { panic!("{out:?}") };
    assert_eq!(refusal.error, reason::INVALID_ARGUMENT);
}
