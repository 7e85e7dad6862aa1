//! Who may do what.

use crate::permission::Permissions;
use crate::router::Settings;
use crate::transcript::{Setting, check, check_in, rule};
use crate::uri::Match;

#[test]
fn a_role_without_permissions_may_do_nothing() {
    check(
        r#"
        + a nobody
        a > [32,1,{},"com.x"]
        a < [8,32,1,{},"wamp.error.not_authorized",["…"]]
        a > [16,2,{"acknowledge":true},"com.x"]
        a < [8,16,2,{},"wamp.error.not_authorized",["…"]]
        a > [16,3,{},"com.x"]
        a > [64,4,{},"com.p"]
        a < [8,64,4,{},"wamp.error.not_authorized",["…"]]
        a > [48,5,{},"com.p"]
        a < [8,48,5,{},"wamp.error.not_authorized",["…"]]
        a > [48,6,{},"wamp.session.count"]
        a < [8,48,6,{},"wamp.error.not_authorized",["…"]]
        "#,
    );
}

#[test]
fn the_longest_rule_decides_and_an_exact_one_does_not_fall_back() {
    let limited = || Settings {
        roles: [(
            "user".into(),
            Permissions::new([
                rule("com.", Match::Prefix, true),
                rule("com.secret.", Match::Prefix, false),
                rule("com.secret.open", Match::Exact, true),
                crate::permission::Rule { subscribe: true, ..rule("com.listen", Match::Exact, false) },
            ]),
        )]
        .into(),
        ..Settings::default()
    };
    check_in(
        Setting { settings: limited, ..Setting::default() },
        r#"
        + a user
        a > [16,1,{"acknowledge":true},"com.x"]
        a < [17,1,#1]
        a > [16,2,{"acknowledge":true},"com.secret.x"]
        a < [8,16,2,{},"wamp.error.not_authorized",["…"]]
        a > [16,3,{"acknowledge":true},"com.secret.open"]
        a < [17,3,#2]
        a > [16,4,{"acknowledge":true},"com.listen"]
        a < [8,16,4,{},"wamp.error.not_authorized",["…"]]
        a > [32,5,{},"com.listen"]
        a < [33,5,1]
        a > [32,6,{"match":"prefix"},"com."]
        a < [8,32,6,{},"wamp.error.not_authorized",["…"]]
        a > [32,7,{"match":"prefix"},"com.l"]
        a < [33,7,2]
        a > [32,8,{"match":"wildcard"},"com."]
        a < [33,8,3]
        a > [32,9,{"match":"wildcard"},"com.."]
        a < [8,32,9,{},"wamp.error.not_authorized",["…"]]
        a > [32,10,{"match":"prefix"},""]
        a < [8,32,10,{},"wamp.error.not_authorized",["…"]]
        a > [16,11,{"acknowledge":true},"org.x"]
        a < [8,16,11,{},"wamp.error.not_authorized",["…"]]
        "#,
    );
}
