//! Forms and what they ask for, by tables.

use super::*;
use crate::address::AddressFault;
use crate::options::SubscriptionSecurity;

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
const PAIR: &str = "hub.callback=http%3A%2F%2Fs.example%2Fcb&hub.topic=http://t.example/";

fn options() -> HubOptions {
    HubOptions::new("https://hub.example/")
}

/// The request in words: mode, topic as asked, callback, and for subscriptions lease and secret.
fn told(request: &Request) -> String {
    match request {
        Request::Ping(topics) => topics.iter().map(|topic| format!("{topic} ")).collect(),
        Request::Intent(Intent { pair, wish }) => {
            let settings = match wish {
                Wish::Subscribe { lease_seconds, secret } => {
                    format!(" {lease_seconds:?} {:?}", secret.as_ref().map(Secret::expose))
                }
                Wish::Unsubscribe => String::new(),
            };
            format!("{} {} {}{settings}", wish.mode(), pair.topic.text(), pair.callback.url())
        }
    }
}

fn check(body: &str, expected: Result<&str, Refusal>) {
    let found = parse(FORM, body.as_bytes(), &options()).map(|request| told(&request));
    assert_eq!(found, expected.map(str::to_owned), "{body}");
}

#[test]
fn subscriptions_are_read() {
    // Items 1, 2 and 4.
    check(&format!("{PAIR}&hub.mode=subscribe"), Ok("subscribe http://t.example/ http://s.example/cb None None"));
    check(
        &format!("hub.mode=subscribe&{PAIR}&hub.lease_seconds=60&hub.secret=%D1%8F+%2B"),
        Ok("subscribe http://t.example/ http://s.example/cb Some(60) Some(\"я +\")"),
    );
    check(
        &format!("hub.mode=subscribe&{PAIR}&hub.lease_seconds=&hub.secret="),
        Ok("subscribe http://t.example/ http://s.example/cb None None"),
    );
    // Item 13: both are kept as they were spelled, and known as what they mean.
    check(
        "hub.mode=subscribe&hub.callback=http://s.example/%257Ecb%3Fa%3D1&hub.topic=http://t.example/%257E",
        Ok("subscribe http://t.example/%7E http://s.example/%7Ecb?a=1 None None"),
    );
}

#[test]
fn unsubscriptions_ignore_what_is_not_theirs() {
    // Item 5.
    let expected = || Ok("unsubscribe http://t.example/ http://s.example/cb");
    check(&format!("{PAIR}&hub.mode=unsubscribe"), expected());
    check(&format!("{PAIR}&hub.mode=unsubscribe&hub.lease_seconds=garbage&hub.lease_seconds=%FF"), expected());
    let secret = "x".repeat(500);
    check(&format!("{PAIR}&hub.mode=unsubscribe&hub.secret={secret}"), expected());
}

#[test]
fn unknown_fields_are_ignored() {
    // Item 6, with what npm's pubsubhubbub, django-push and FreshRSS send.
    let legacy = "hub.verify=sync&hub.verify=async&hub.verify_token=%FF&foo=1&hub.foo=2&&=&x";
    check(
        &format!("{legacy}&{PAIR}&hub.mode=subscribe"),
        Ok("subscribe http://t.example/ http://s.example/cb None None"),
    );
}

#[test]
fn secrets_are_counted_in_octets() {
    // Item 3: 199 octets are taken, 200 refused; a letter may have two.
    let body = |secret: &str| format!("{PAIR}&hub.mode=subscribe&hub.secret={secret}");
    let taken = |secret: &str| format!("subscribe http://t.example/ http://s.example/cb None Some({secret:?})");
    let (longest, letters) = ("s".repeat(199), format!("s{}", "é".repeat(99)));
    check(&body(&longest), Ok(&taken(&longest)));
    check(&body(&letters), Ok(&taken(&letters)));
    check(&body(&"s".repeat(200)), Err(Refusal::SecretTooLong));
    check(&body(&"é".repeat(100)), Err(Refusal::SecretTooLong));
}

#[test]
fn faults_are_named() {
    // Item 9.
    let url = |field, fault| Err(Refusal::Url { field, fault });
    let twice = |field| Err(Refusal::Ambiguous { field });
    check("", Err(Refusal::Missing { field: "hub.mode" }));
    check(PAIR, Err(Refusal::Missing { field: "hub.mode" }));
    check("hub.mode=", Err(Refusal::Mode));
    check("hub.mode=Subscribe", Err(Refusal::Mode));
    check("hub.mode=denied", Err(Refusal::Mode));
    check("hub.mode=subscribe", Err(Refusal::Missing { field: "hub.callback" }));
    check("hub.mode=subscribe&hub.callback=http://s/", Err(Refusal::Missing { field: "hub.topic" }));
    check("hub.mode=subscribe&hub.topic=http://t/&hub.callback=", url("hub.callback", AddressFault::Empty));
    check("hub.mode=subscribe&hub.topic=http://t/&hub.callback=ftp://s/", url("hub.callback", AddressFault::Scheme));
    check(
        "hub.mode=subscribe&hub.topic=http://t/&hub.callback=http://s/%23x",
        url("hub.callback", AddressFault::Fragment),
    );
    check(
        "hub.mode=subscribe&hub.topic=http://t/&hub.callback=http://a:b@s/",
        url("hub.callback", AddressFault::UserInfo),
    );
    check("hub.mode=unsubscribe&hub.topic=t&hub.callback=http://s/", url("hub.topic", AddressFault::Scheme));
    check(&format!("{PAIR}&hub.mode=subscribe&hub.mode=unsubscribe"), twice("hub.mode"));
    check(&format!("{PAIR}&hub.mode=subscribe&hub.topic=http://other/"), twice("hub.topic"));
    check(&format!("{PAIR}&hub.mode=subscribe&hub.secret=%FF"), Err(Refusal::NotUtf8 { field: "hub.secret" }));
    for lease in ["0", "-5", "soon", "1.5"] {
        check(&format!("{PAIR}&hub.mode=subscribe&hub.lease_seconds={lease}"), Err(Refusal::Lease));
    }
}

#[test]
fn bodies_have_a_type_and_a_size() {
    let check = |content_type: Option<&str>, expected: Result<(), Refusal>| {
        let body = format!("{PAIR}&hub.mode=unsubscribe");
        assert_eq!(parse(content_type, body.as_bytes(), &options()).map(|_| ()), expected);
    };
    check(FORM, Ok(()));
    check(Some("Application/X-WWW-Form-URLEncoded ; charset=\"utf-8\""), Ok(()));
    check(Some("application/json"), Err(Refusal::BodyType));
    check(Some("multipart/form-data; boundary=x"), Err(Refusal::BodyType));
    check(None, Err(Refusal::BodyType));
    let bytes_max = options().limits.request_bytes_max;
    let body = vec![b'&'; bytes_max + 1];
    assert_eq!(parse(FORM, &body, &options()), Err(Refusal::BodyTooLong { bytes_max }));
}

#[test]
fn pings_name_topics() {
    // Items 38, 39 and 41.
    check("hub.mode=publish&hub.url=http://a/", Ok("http://a/ "));
    check("hub.mode=publish&hub.topic=http://a/", Ok("http://a/ "));
    check("hub.mode=publish&hub.topic=http://a/&hub.url=http://a/", Ok("http://a/ "));
    check(
        "hub.topic=http://c/&hub.mode=publish&hub.url=http://b/&hub.url=http://a/",
        Ok("http://b/ http://a/ http://c/ "),
    );
    check("hub.mode=publish&hub.url%5B%5D=http://b/&hub.url[]=http://a/", Ok("http://b/ http://a/ "));
    check("hub.mode=publish", Err(Refusal::Missing { field: "hub.url" }));
    check("hub.mode=publish&hub.url=", Err(Refusal::Url { field: "hub.url", fault: AddressFault::Empty }));
    check("hub.mode=publish&hub.url=a", Err(Refusal::Url { field: "hub.url", fault: AddressFault::Scheme }));
    let many: String = (0..101).map(|n| format!("&hub.url=http://a/{n}")).collect();
    check(&format!("hub.mode=publish{many}"), Err(Refusal::TooManyTopics { topics_max: 100 }));
}

#[test]
fn security_is_demanded_of_subscriptions() {
    let https = "hub.callback=https://s.example/&hub.topic=http://t.example/";
    let check = |security, pair: &str, more: &str, expected: Result<(), Refusal>| {
        let options = HubOptions { subscription_security: security, ..options() };
        let body = format!("{pair}{more}");
        assert_eq!(parse(FORM, body.as_bytes(), &options).map(|_| ()), expected, "{security:?} {body}");
    };
    let (plain, signed) = ("&hub.mode=subscribe", "&hub.mode=subscribe&hub.secret=s");
    check(SubscriptionSecurity::None, PAIR, plain, Ok(()));
    check(SubscriptionSecurity::Https, PAIR, signed, Err(Refusal::NeedsHttps));
    check(SubscriptionSecurity::Https, https, plain, Ok(()));
    check(SubscriptionSecurity::Secret, https, plain, Err(Refusal::NeedsSecret));
    check(SubscriptionSecurity::Secret, https, "&hub.mode=subscribe&hub.secret=", Err(Refusal::NeedsSecret));
    check(SubscriptionSecurity::Secret, PAIR, signed, Ok(()));
    check(SubscriptionSecurity::Both, PAIR, plain, Err(Refusal::NeedsHttps));
    check(SubscriptionSecurity::Both, https, plain, Err(Refusal::NeedsSecret));
    check(SubscriptionSecurity::Both, https, signed, Ok(()));
    // Who subscribed before the demand was made has to get out again.
    check(SubscriptionSecurity::Both, PAIR, "&hub.mode=unsubscribe", Ok(()));
}

#[test]
fn posts_are_told_apart() {
    let check = |content_type: Option<&str>, query: Option<&str>, expected: Result<Kind, Refusal>| {
        assert_eq!(Kind::of(content_type, query), expected);
    };
    let raw = Ok(Kind::Raw(crate::address::topic("http://t/?a").unwrap()));
    check(FORM, None, Ok(Kind::Form));
    check(FORM, Some("x=1"), Ok(Kind::Form));
    check(Some("application/json;charset=utf-8"), None, Ok(Kind::Message));
    check(Some("application/json"), Some("topic=http://t/%3Fa"), raw.clone());
    check(Some("text/xml"), Some("key=k&topic=http%3A//t/%3Fa"), raw.clone());
    check(None, Some("topic=http://t/?a"), raw.clone());
    check(None, Some("topic=http://t/?a&key=k&timestamp=t&seq=1&nonce=2&signature=x"), raw.clone());
    // What stands before a topic, or beside one that is encoded, was never a part of it.
    check(None, Some("b=2&topic=http://t/?a"), raw.clone());
    check(None, Some("topic=http://t/%3Fa&b=2"), raw);
    let torn = |name: &str| Err(Refusal::NotEncoded { name: name.to_owned() });
    check(None, Some("topic=http://t/?a=1&b=2"), torn("b"));
    check(Some("application/json"), Some("key=k&topic=http://t/?a=1&seq=1&b"), torn("b"));
    check(None, Some("topic=http://t/?a=1&b%0Ac=2"), torn("b\\nc"));
    check(None, Some(&format!("topic=http://t/?a=1&{}=2", "b".repeat(100))), torn(&"b".repeat(40)));
    check(Some("text/xml"), None, Err(Refusal::BodyType));
    check(None, None, Err(Refusal::BodyType));
    check(None, Some("topic="), Err(Refusal::Url { field: "topic", fault: AddressFault::Empty }));
    check(None, Some("topic=http://a/&topic=http://b/"), Err(Refusal::Ambiguous { field: "topic" }));
}

#[test]
fn refusals_are_sentences_with_a_class() {
    let check = |refusal: Refusal, class, sentence: &str| {
        assert_eq!((refusal.class(), refusal.to_string().as_str()), (class, sentence));
    };
    let fault = AddressFault::Scheme;
    check(
        Refusal::Url { field: "hub.topic", fault },
        RefusalClass::Malformed,
        "hub.topic is neither an http:// nor an https:// URL",
    );
    check(Refusal::NeedsSecret, RefusalClass::Policy, "hub.secret is required at this hub");
    check(Refusal::BodyTooLong { bytes_max: 9 }, RefusalClass::TooLong, "the body is longer than 9 octets");
    check(
        Refusal::NotEncoded { name: "b".to_owned() },
        RefusalClass::Malformed,
        "topic: percent-encode the URL (& as %26); `b` is no field of this request",
    );
    assert_eq!(Refusal::BodyType.class(), RefusalClass::BodyType);
}

#[test]
fn secrets_do_not_show() {
    // Item 68.
    let body = format!("{PAIR}&hub.mode=subscribe&hub.secret=hunter2");
    let request = parse(FORM, body.as_bytes(), &options()).unwrap();
    assert!(!format!("{request:?} {request}").contains("hunter2"));
}
