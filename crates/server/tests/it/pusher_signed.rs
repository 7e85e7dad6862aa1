//! Signed requests, with the clock of today.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use serde_json::json;

use crate::house::{Node, pusher, start, web};
use crate::http::{Http, Reply};

const BODY: &str = r#"{"topic":"t","args":["\u00e9",23]}"#;

/// One request to sign.
#[derive(Clone)]
struct Signed {
    key: &'static str,
    secret: &'static str,
    timestamp: String,
    seq: &'static str,
    nonce: String,
    body: &'static str,
}

impl Signed {
    fn new(nonce: u64) -> Self {
        let (timestamp, nonce) = (ago(0, 3), nonce.to_string());
        Self { key: "foobar", secret: "secret", timestamp, seq: "1", nonce, body: BODY }
    }

    fn tag(&self) -> hmac::Tag {
        let signed = [self.key, &self.timestamp, self.seq, &self.nonce, self.body].concat();
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes()), signed.as_bytes())
    }

    fn target(&self, signature: &str) -> String {
        let escaped = |text: &str| text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D").replace(':', "%3A");
        format!(
            "/push?key={}&timestamp={}&seq={}&nonce={}&signature={}",
            self.key,
            escaped(&self.timestamp),
            escaped(self.seq),
            self.nonce,
            escaped(signature)
        )
    }

    async fn send(&self, http: &mut Http) -> Reply {
        let target = self.target(&URL_SAFE.encode(self.tag()));
        http.post(&target, &[], self.body.as_bytes()).await
    }
}

/// The time so many seconds ago, with so many fraction digits.
fn ago(seconds: i64, digits: usize) -> String {
    let time = Timestamp::now() - SignedDuration::from_secs(seconds);
    let base = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    if digits == 0 {
        return base + "Z";
    }
    format!("{base}.{}Z", &format!("{:09}", time.subsec_nanosecond())[..digits])
}

fn guarded(window: u64) -> Node {
    start(&web(json!({"push": pusher(json!({"key": "foobar", "secret": "secret", "timestamp_delta_limit": window}))})))
}

#[tokio::test]
async fn right_signatures_in_every_alphabet() {
    let node = guarded(300);
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    let mut http = node.http().await;
    for (nonce, engine) in [&URL_SAFE, &URL_SAFE_NO_PAD, &STANDARD, &STANDARD_NO_PAD].into_iter().enumerate() {
        let signed = Signed::new(nonce as u64);
        let target = signed.target(&engine.encode(signed.tag()));
        let reply = http.post(&target, &[], BODY.as_bytes()).await;
        assert_eq!(reply.status, 202, "{nonce}: {}", reply.text());
        let event = subscriber.text().await;
        assert!(event.ends_with(r#",{},["\u00e9",23]]"#), "{event}");
    }
}

/// Such bodies are verified and read beside the threads that serve.
#[tokio::test]
async fn long_bodies_are_verified_and_read_too() {
    let node = guarded(300);
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    let mut http = node.http().await;
    let item = |n: usize| json!({"topic": "t", "args": [n, "x".repeat(200_000)], "kwargs": {"n": n}}).to_string();
    let bodies = [item(0), format!("[{},{{}},{}]", item(1), item(2)), format!("[{}", item(3))];
    for (nonce, (body, expected)) in bodies.into_iter().zip([202, 207, 400]).enumerate() {
        let signed = Signed { body: body.leak(), ..Signed::new(nonce as u64) };
        let forged = Signed { secret: "other", ..signed.clone() };
        assert_eq!(forged.send(&mut http).await.status, 401);
        let reply = signed.send(&mut http).await;
        assert_eq!(reply.status, expected, "{}", reply.text());
    }
    for n in 0..3 {
        let event = subscriber.expect(36).await;
        assert_eq!((&event[4][0], &event[5]), (&json!(n), &json!({"n": n})));
    }
}

#[tokio::test]
async fn timestamps_with_any_fraction() {
    let node = guarded(300);
    let mut http = node.http().await;
    for digits in [0, 1, 3, 6, 9] {
        let signed = Signed { timestamp: ago(0, digits), ..Signed::new(1000 + digits as u64) };
        assert_eq!(signed.send(&mut http).await.status, 202, "{digits}");
    }
}

#[tokio::test]
async fn without_a_window_any_time_will_do() {
    let node = guarded(0);
    let mut http = node.http().await;
    // The request of the public documentation's client, as it went over the wire.
    let body = r#"{"topic":"com.myapp.topic1","options":{"exclude":[1]},"args":["\u00e9",23],"kwargs":{"msg":"x"}}"#;
    let target = "/push?timestamp=2026-11-22T00%3A19%3A14.527Z&seq=1&key=foobar&nonce=5576599056441004\
                  &signature=L893V2F0J3YId2VByknGtUfjwAklqMiwzjfqwAj5Srs%3D";
    assert_eq!(http.post(target, &[], body.as_bytes()).await.status, 202);
    let again = http.post(target, &[], body.as_bytes()).await;
    assert_eq!(again.refusal(), (401, Some("nonce".to_owned())));
}

#[tokio::test]
async fn what_is_signed_is_what_was_sent() {
    let node = guarded(300);
    let mut http = node.http().await;
    for (nonce, seq) in ["01", "+1", "-5", "123456789012345678901234567890"].into_iter().enumerate() {
        let signed = Signed { seq, ..Signed::new(nonce as u64) };
        assert_eq!(signed.send(&mut http).await.status, 202, "{seq}");
    }
}

#[tokio::test]
async fn faults() {
    let node = guarded(10);
    let mut http = node.http().await;
    let good = Signed::new(77);
    let whole = good.target(&URL_SAFE.encode(good.tag()));
    for field in ["key", "timestamp", "seq", "nonce", "signature"] {
        let rest = whole.replace(&format!("{field}="), &format!("no_{field}="));
        let reply = http.post(&rest, &[], BODY.as_bytes()).await;
        assert_eq!(reply.refusal(), (400, Some(field.to_owned())), "{}", reply.text());
    }
    let unknown = Signed { key: "other", ..Signed::new(1) }.send(&mut http).await;
    assert_eq!(unknown.refusal(), (401, Some("key".to_owned())));
    assert_eq!(unknown.header("www-authenticate"), Some("HMAC-SHA256"));
    let wrong = Signed { secret: "wrong", ..Signed::new(2) }.send(&mut http).await;
    assert_eq!(wrong.refusal(), (401, Some("signature".to_owned())));
    let other_body = http.post(&whole, &[], br#"{"topic":"u"}"#).await;
    assert_eq!(other_body.refusal(), (401, Some("signature".to_owned())));
    for seconds in [3600, -3600] {
        let late = Signed { timestamp: ago(seconds, 3), ..Signed::new(3) }.send(&mut http).await;
        assert_eq!(late.refusal(), (400, Some("timestamp".to_owned())), "{}", late.text());
    }
    let hex: String = good.tag().as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    let reply = http.post(&good.target(&hex), &[], BODY.as_bytes()).await;
    assert_eq!(reply.refusal(), (401, Some("signature".to_owned())));
    assert!(!format!("{whole}{}", reply.text()).contains("secret"), "{}", reply.text());
    assert_eq!(node.running.meters().publications.get(), 0);
    // None of the refused ones has used the nonce up.
    assert_eq!(http.post(&whole, &[], BODY.as_bytes()).await.status, 202);
}

#[tokio::test]
async fn a_signed_request_is_accepted_once() {
    for window in [0, 300] {
        let node = guarded(window);
        let mut http = node.http().await;
        let signed = Signed::new(5);
        assert_eq!(signed.send(&mut http).await.status, 202);
        for again in [signed.clone(), Signed { seq: "2", ..signed }] {
            let reply = again.send(&mut node.http().await).await;
            assert_eq!(reply.refusal(), (401, Some("nonce".to_owned())));
        }
        assert_eq!(Signed::new(6).send(&mut http).await.status, 202);
        assert_eq!(node.running.meters().publications.get(), 2);
    }
}

#[tokio::test]
async fn odd_queries_are_read_as_written() {
    let node = guarded(300);
    let mut http = node.http().await;
    let whole = |nonce: u64| Signed::new(nonce).target(&URL_SAFE.encode(Signed::new(nonce).tag()));
    // Of a repeated field the first counts, and strange fields mean nothing.
    let signed = Signed::new(1);
    let target = signed.target(&URL_SAFE.encode(signed.tag())) + "&key=other&nonce=9&strange=%ff&&=";
    assert_eq!(http.post(&target, &[], BODY.as_bytes()).await.status, 202);
    for (from, to, status, field) in [
        ("seq=1", "seq=", 400, "seq"),
        ("nonce=2", "nonce=", 400, "nonce"),
        ("nonce=2", "nonce=2.0", 400, "nonce"),
        ("key=foobar", "key=", 401, "key"),
        ("key=foobar", "key=%C3%BC%FF", 401, "key"),
        ("key=foobar", "key=f%6fobarx", 401, "key"),
    ] {
        let reply = http.post(&whole(2).replace(from, to), &[], BODY.as_bytes()).await;
        assert_eq!(reply.refusal(), (status, Some(field.to_owned())), "{to}: {}", reply.text());
    }
    assert_eq!(http.post(&whole(3).replace("foobar", "f%6Fobar"), &[], BODY.as_bytes()).await.status, 202);
}

#[tokio::test]
async fn a_signed_request_is_accepted_once_by_all_services_of_its_key() {
    for window in [0, 300] {
        let options = json!({"key": "foobar", "secret": "secret", "timestamp_delta_limit": window});
        let node = start(&web(json!({"push": pusher(options.clone()), "again": pusher(options)})));
        let signed = Signed::new(8);
        let target = signed.target(&URL_SAFE.encode(signed.tag()));
        let mut http = node.http().await;
        assert_eq!(http.post(&target, &[], BODY.as_bytes()).await.status, 202);
        let elsewhere = target.replace("/push?", "/again?");
        let reply = http.post(&elsewhere, &[], BODY.as_bytes()).await;
        assert_eq!(reply.refusal(), (401, Some("nonce".to_owned())));
        assert_eq!(node.running.meters().publications.get(), 1);
    }
}
