//! Remote procedure calls (WAMP sections "Registering and Unregistering", "Calling and Invocations" and the advanced ones).

use crate::transcript::check;

/// A callee `b` that holds registration 1 on `com.p`, and a caller `a`.
fn with_callee(rest: &str) {
    check(&format!("+ a user\n+ b user\nb > [64,1,{{}},\"com.p\"]\nb < [65,1,1]\n{rest}"));
}

/// The same with a callee that can be interrupted.
fn with_canceling(rest: &str) {
    check(&format!("+ a user\n+ b user canceling\nb > [64,1,{{}},\"com.p\"]\nb < [65,1,1]\n{rest}"));
}

const VIOLATION: &str = r#"[3,{"message":"…"},"wamp.error.protocol_violation"]"#;

#[test]
fn registrations() {
    check(
        r#"
        + a user
        + b user
        a > [64,1,{},"com.p"]
        a < [65,1,1]
        b > [64,1,{},"com.p"]
        b < [8,64,1,{},"wamp.error.procedure_already_exists",["…"]]
        a > [64,2,{},"com.p"]
        a < [8,64,2,{},"wamp.error.procedure_already_exists",["…"]]
        b > [66,2,1]
        b < [8,66,2,{},"wamp.error.no_such_registration",["…"]]
        b > [66,3,77]
        b < [8,66,3,{},"wamp.error.no_such_registration",["…"]]
        a > [66,3,1]
        a < [67,3]
        a > [66,4,1]
        a < [8,66,4,{},"wamp.error.no_such_registration",["…"]]
        b > [64,4,{"match":"exact","invoke":"single","more":1},"com.p"]
        b < [65,4,2]
        b > [64,5,{"match":"prefix"},"com.q"]
        b < [8,64,5,{},"wamp.error.invalid_argument",["…"]]
        b > [64,6,{"invoke":"roundrobin"},"com.q"]
        b < [8,64,6,{},"wamp.error.invalid_argument",["…"]]
        - b
        a > [64,5,{},"com.p"]
        a < [65,5,3]
        "#,
    );
}

#[test]
fn malformed_and_reserved_procedures() {
    for procedure in ["", "com..x", ".x", "x.", "com x", "com.#"] {
        let transcript = r#"
            + a user
            a > [64,1,{},"PROCEDURE"]
            a < [8,64,1,{},"wamp.error.invalid_uri",["…"]]
            a > [48,2,{},"PROCEDURE"]
            a < [8,48,2,{},"wamp.error.invalid_uri",["…"]]
        "#;
        check(&transcript.replace("PROCEDURE", procedure));
    }
    check(
        r#"
        + a user
        a > [64,1,{},"wamp.session.count"]
        a < [8,64,1,{},"wamp.error.invalid_uri",["…"]]
        a > [64,2,{},"wamp.mine"]
        a < [8,64,2,{},"wamp.error.invalid_uri",["…"]]
        a > [48,3,{},"wamp.mine"]
        a < [8,48,3,{},"wamp.error.no_such_procedure",["…"]]
        a > [48,4,{},"com.p"]
        a < [8,48,4,{},"wamp.error.no_such_procedure",["…"]]
        "#,
    );
}

#[test]
fn results_and_errors() {
    with_callee(
        r#"
        a > [48,1,{},"com.p",[1,"x"],{"k":null}]
        b < [68,1,1,{},[1,"x"],{"k":null}]
        a > [48,2,{"unknown":1},"com.p"]
        b < [68,2,1,{}]
        b > [70,2,{},[2]]
        a < [50,2,{},[2]]
        b > [70,1,{},[],{"r":1}]
        a < [50,1,{},[],{"r":1}]
        a > [48,3,{},"com.p"]
        b < [68,3,1,{}]
        b > [8,68,3,{"d":1},"com.myapp.error",["why"],{"k":2}]
        a < [8,48,3,{"d":1},"com.myapp.error",["why"],{"k":2}]
        // A session may call itself, and procedures go with their registration.
        b > [48,2,{},"com.p"]
        b < [68,4,1,{}]
        b > [66,3,1]
        b < [67,3]
        a > [48,4,{},"com.p"]
        a < [8,48,4,{},"wamp.error.no_such_procedure",["…"]]
        // A call under way outlives it.
        b > [70,4,{},[4]]
        b < [50,2,{},[4]]
        "#,
    );
}

#[test]
fn invocations_are_counted_for_each_callee() {
    with_callee(
        r#"
        + c user
        c > [64,1,{},"com.q"]
        c < [65,1,2]
        a > [48,1,{},"com.p"]
        b < [68,1,1,{}]
        a > [48,2,{},"com.q"]
        c < [68,1,2,{}]
        c > [70,1,{}]
        a < [50,2,{}]
        b > [70,1,{}]
        a < [50,1,{}]
        "#,
    );
}

#[test]
fn answers_that_come_late_and_answers_that_were_never_asked_for() {
    with_callee(&format!(
        r#"
        a > [48,1,{{}},"com.p"]
        b < [68,1,1,{{}}]
        b > [70,1,{{}}]
        a < [50,1,{{}}]
        // Late, whatever it says.
        b > [70,1,{{}}]
        b > [70,1,{{"progress":true}}]
        b > [8,68,1,{{}},"com.e"]
        // Another session's invocation is none of its own.
        + c user
        c > [70,1,{{}}]
        c < {VIOLATION}
        c x
        b > [8,68,2,{{}},"com.e"]
        b < {VIOLATION}
        b x
        "#
    ));
    with_callee(&format!("b > [70,1,{{}}]\nb < {VIOLATION}\nb x"));
}

#[test]
fn a_callee_that_leaves() {
    with_callee(
        r#"
        + c user
        a > [48,1,{},"com.p"]
        b < [68,1,1,{}]
        c > [48,1,{},"com.p"]
        b < [68,2,1,{}]
        - b
        a < [8,48,1,{},"wamp.error.canceled",["…"]]
        c < [8,48,1,{},"wamp.error.canceled",["…"]]
        "#,
    );
    with_callee(
        r#"
        a > [48,1,{},"com.p"]
        b < [68,1,1,{}]
        b > [6,{},"wamp.close.normal"]
        a < [8,48,1,{},"wamp.error.canceled",["…"]]
        b < [6,{},"wamp.close.goodbye_and_out"]
        "#,
    );
}

#[test]
fn a_caller_that_leaves() {
    with_canceling(
        r#"
        a > [48,1,{},"com.p"]
        b < [68,1,1,{}]
        - a
        b < [69,1,{"mode":"killnowait"}]
        b > [8,68,1,{},"wamp.error.canceled"]
        "#,
    );
    with_callee(
        r#"
        a > [48,1,{},"com.p"]
        b < [68,1,1,{}]
        - a
        b > [70,1,{},["in vain"]]
        "#,
    );
    // A session that called itself hears nothing more.
    with_canceling(
        r#"
        b > [48,2,{},"com.p"]
        b < [68,1,1,{}]
        - b
        "#,
    );
}

#[test]
fn cancel_modes() {
    const CANCELED: &str = r#"a < [8,48,1,{},"wamp.error.canceled",["…"]]"#;
    const CALL: &str = "a > [48,1,{},\"com.p\"]\nb < [68,1,1,{}]";
    for options in ["{}", r#"{"mode":"killnowait"}"#, r#"{"mode":null}"#] {
        with_canceling(&format!(
            "{CALL}\na > [49,1,{options}]\nb < [69,1,{{\"mode\":\"killnowait\"}}]\n{CANCELED}\nb > [70,1,{{}}]"
        ));
        with_callee(&format!("{CALL}\na > [49,1,{options}]\n{CANCELED}\nb > [70,1,{{}}]"));
    }
    with_canceling(&format!("{CALL}\na > [49,1,{{\"mode\":\"skip\"}}]\n{CANCELED}\nb > [70,1,{{}}]"));
    // With "kill" the callee has the last word, when it can be told.
    let kill = format!("{CALL}\na > [49,1,{{\"mode\":\"kill\"}}]");
    let told = format!("{kill}\nb < [69,1,{{\"mode\":\"kill\"}}]");
    with_canceling(&format!(
        "{told}\nb > [8,68,1,{{}},\"wamp.error.canceled\",[1]]\na < [8,48,1,{{}},\"wamp.error.canceled\",[1]]"
    ));
    with_canceling(&format!("{told}\nb > [70,1,{{}},[1]]\na < [50,1,{{}},[1]]"));
    with_canceling(&format!("{told}\n- b\n{CANCELED}"));
    with_callee(&format!("{kill}\n{CANCELED}\nb > [70,1,{{}}]"));
    // What is not under way cannot be canceled: not an old call, not another session's, not one that never was.
    with_canceling(&format!(
        "{CALL}\n+ c user\nc > [49,1,{{}}]\na > [49,2,{{}}]\nb > [70,1,{{}}]\na < [50,1,{{}}]\na > [49,1,{{}}]"
    ));
    with_canceling(&format!("{CALL}\na > [49,1,{{\"mode\":\"skip\"}}]\n{CANCELED}\na > [49,1,{{}}]"));
}

#[test]
fn progressive_results() {
    check(
        r#"
        + a user
        + b user progressive
        b > [64,1,{},"com.p"]
        b < [65,1,1]
        a > [48,1,{"receive_progress":true},"com.p"]
        b < [68,1,1,{"receive_progress":true}]
        b > [70,1,{"progress":true},[1]]
        a < [50,1,{"progress":true},[1]]
        b > [70,1,{"progress":true},[2]]
        a < [50,1,{"progress":true},[2]]
        b > [70,1,{},[3]]
        a < [50,1,{},[3]]
        b > [70,1,{"progress":true},[4]]
        a > [48,2,{"receive_progress":true},"com.p"]
        b < [68,2,1,{"receive_progress":true}]
        b > [70,2,{"progress":true},[1]]
        a < [50,2,{"progress":true},[1]]
        b > [8,68,2,{},"com.e"]
        a < [8,48,2,{},"com.e"]
        // A caller who did not ask for pieces gets the last word only.
        a > [48,3,{"receive_progress":false},"com.p"]
        b < [68,3,1,{}]
        b > [70,3,{"progress":true},[1]]
        b > [70,3,{"progress":false},[2]]
        a < [50,3,{},[2]]
        a > [48,4,{"receive_progress":1},"com.p"]
        a < [8,48,4,{},"wamp.error.invalid_argument",["…"]]
        "#,
    );
    // A callee that announced nothing is not asked for pieces.
    with_callee(
        r#"
        a > [48,1,{"receive_progress":true},"com.p"]
        b < [68,1,1,{}]
        b > [70,1,{}]
        a < [50,1,{}]
        "#,
    );
}

#[test]
fn disclosure_of_the_caller() {
    with_callee(
        r#"
        + c open
        c > [48,1,{},"com.p"]
        b < [68,1,1,{"caller":$c,"caller_authid":"@c","caller_authrole":"open"}]
        c > [48,2,{"disclose_me":true},"com.p"]
        b < [68,2,1,{"caller":$c,"caller_authid":"@c","caller_authrole":"open"}]
        a > [48,1,{"disclose_me":true},"com.p"]
        a < [8,48,1,{},"wamp.error.option_disallowed.disclose_me",["…"]]
        a > [48,2,{"disclose_me":1},"com.p"]
        a < [8,48,2,{},"wamp.error.invalid_argument",["…"]]
        "#,
    );
}
