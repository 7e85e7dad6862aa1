//! Bodies of publish and call requests, judged against serde_json's idea of the same octets.

use serde_json::Value;
use serde_json::value::RawValue;
use stentor::pusher::batch::{BATCH_ITEMS_MAX, Posted, split};
use stentor::pusher::body::{parse_call, parse_publish};
use stentor::pusher::{Media, Refusal};
use stentor_model::limit::URI_BYTES_MAX;

pub(crate) fn body(data: &[u8]) {
    let opinion = Opinion::of(data);
    let publish = parse_publish(data);
    let call = parse_call(data);
    judge(data, &opinion, "topic", publish.as_ref().map(|body| (&*body.topic, body.args, body.kwargs)));
    judge(data, &opinion, "procedure", call.as_ref().map(|body| (&*body.procedure, body.args, body.kwargs)));
    if let (Ok(publish), Ok(call)) = (publish, call) {
        assert_eq!((publish.args, publish.kwargs), (call.args, call.kwargs));
    }
}

/// What serde_json makes of the octets.
enum Opinion {
    Object(serde_json::Map<String, Value>),
    Other,
    Refused(String),
}

impl Opinion {
    fn of(data: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(data) else { return Self::Refused("not UTF-8".to_owned()) };
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Self::Object(object),
            Ok(_) => Self::Other,
            Err(error) => Self::Refused(error.to_string()),
        }
    }

    /// Whether it refuses by a limit of its own: we count depth otherwise, and pass long integers on as they are.
    fn is_own_limit(sentence: &str) -> bool {
        ["recursion limit", "number out of range"].iter().any(|limit| sentence.contains(limit))
    }
}

/// URI, args and kwargs of what was accepted.
type Accepted<'a> = (&'a str, Option<&'a [u8]>, Option<&'a [u8]>);

fn judge(data: &[u8], opinion: &Opinion, uri_field: &str, got: Result<Accepted<'_>, &Refusal>) {
    if let Err(refusal) = got {
        explained(refusal);
    }
    let object = match opinion {
        Opinion::Object(object) => object,
        Opinion::Other => return assert!(got.is_err(), "a body has to be an object"),
        Opinion::Refused(sentence) => {
            return assert!(got.is_err() || Opinion::is_own_limit(sentence), "accepted in spite of: {sentence}");
        }
    };
    let there = |name: &str| object.get(name).filter(|value| !value.is_null());
    let uri = there(uri_field).and_then(Value::as_str).filter(|uri| (1..=URI_BYTES_MAX).contains(&uri.len()));
    let args = there("args").is_none_or(Value::is_array);
    let kwargs = there("kwargs").is_none_or(Value::is_object);
    // What is said of options is the router's business; a call has none.
    let options = uri_field == "procedure" || there("options").is_none_or(Value::is_object);
    let acceptable = uri.is_some() && args && kwargs && options;
    match got {
        Ok((got_uri, got_args, got_kwargs)) => {
            assert!(acceptable, "accepted: {object:?}");
            assert_eq!(Some(got_uri), uri);
            raw(data, got_args, there("args"));
            raw(data, got_kwargs, there("kwargs"));
        }
        Err(refusal) => {
            let options = uri_field == "topic" && there("options").is_some();
            let marked = data.starts_with(b"\xef\xbb\xbf");
            assert!(!acceptable || options || marked || is_deep(data), "refused: {object:?}: {refusal}");
        }
    }
}

/// The octets are a part of the body and nothing but the value; an empty one is left away.
fn raw(data: &[u8], got: Option<&[u8]>, expect: Option<&Value>) {
    let is_empty = match expect {
        None => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(members)) => members.is_empty(),
        Some(_) => unreachable!("was judged before"),
    };
    let Some(slice) = got else { return assert!(is_empty, "{expect:?} is gone") };
    assert!(!is_empty);
    let place = slice.as_ptr().addr().checked_sub(data.as_ptr().addr()).expect("a slice of the body");
    assert_eq!(data.get(place..place + slice.len()), Some(slice));
    assert_eq!(slice.trim_ascii(), slice, "nothing around the value");
    assert_eq!(serde_json::from_slice::<Value>(slice).ok().as_ref(), expect);
}

/// Whether brackets alone could be what was refused.
fn is_deep(data: &[u8]) -> bool {
    data.iter().filter(|octet| matches!(octet, b'[' | b'{')).count() > stentor_model::limit::NESTING_DEPTH_MAX
}

/// Every refusal has words, and a body that is JSON.
pub(crate) fn explained(refusal: &Refusal) {
    assert!((400..=599).contains(&refusal.status()) && !refusal.error().is_empty());
    let body = refusal.body();
    let body: Value = serde_json::from_slice(&body).expect("the body of a refusal is JSON");
    assert!(body.is_object());
}

/// Batches: the first octet chooses between an array and lines.
pub(crate) fn batch(data: &[u8]) {
    let [choice, body @ ..] = data else { return };
    let media = if choice & 1 == 0 { Media::Json } else { Media::JsonLines };
    let expect = match media {
        Media::Json => array(body),
        Media::JsonLines => Some(lines(body)),
    };
    let batch = match split(media, body) {
        Ok(Posted::Single(single)) => {
            assert_eq!((media, single), (Media::Json, body));
            return assert!(!body.trim_ascii_start().starts_with(b"["));
        }
        Ok(Posted::Batch(batch)) => batch,
        Err(refusal) => {
            explained(&refusal);
            let readable = expect.is_some_and(|items| (1..=BATCH_ITEMS_MAX).contains(&items.len()));
            return assert!(!readable, "refused: {refusal}");
        }
    };
    let expect = expect.expect("only what can be read elsewhere is a batch");
    assert_eq!(batch.len(), expect.len());
    assert!(!expect.is_empty() && expect.len() <= BATCH_ITEMS_MAX);
    for (got, item) in batch.submissions().zip(&expect) {
        assert_eq!(got, parse_publish(item));
        if let Err(refusal) = got {
            explained(&refusal);
        }
    }
}

fn array(body: &[u8]) -> Option<Vec<&[u8]>> {
    let items: Vec<&RawValue> = serde_json::from_str(std::str::from_utf8(body).ok()?).ok()?;
    Some(items.into_iter().map(|item| item.get().as_bytes()).collect())
}

fn lines(body: &[u8]) -> Vec<&[u8]> {
    body.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).collect()
}
