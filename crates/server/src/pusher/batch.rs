//! Several publications in one body: a JSON array of objects, or one object per line.
//!
//! Each item is read on its own, so that one at fault does not stop the others; they are published in order and answered
//! in order by [`super::answer::batch`]. Only what hides where the items are refuses the whole.

use std::fmt;

use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::answer::{Refusal, RefusalKind};
use stentor_wamp::codec::json::Reader;
use stentor_wamp::codec::{Read as _, Syntax};

use super::body::{LastingSubmission, Submission, fault, parse_publish};
use super::media::Media;

/// Items of one batch. Bounds the answer, and how long one request can keep others waiting; more fit into another one.
pub const BATCH_ITEMS_MAX: usize = 10_000;

/// What a body holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted<'a> {
    /// One publication, answered alone. It is for [`parse_publish`].
    Single(&'a [u8]),
    /// A list of them, perhaps of one, answered by a list.
    Batch(Batch<'a>),
}

/// The items of a batch, in order, not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    items: Vec<&'a [u8]>,
}

impl<'a> Batch<'a> {
    /// How many items there are: at least one, at most [`BATCH_ITEMS_MAX`].
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Reads one item after the other.
    pub fn submissions(&self) -> impl Iterator<Item = Result<Submission<'a>, Refusal>> + '_ {
        self.items.iter().map(|item| parse_publish(item))
    }
}

/// What a body holds, read to its end.
#[derive(Debug)]
pub enum Read {
    /// As [`Posted::Single`].
    Single(Result<LastingSubmission, Refusal>),
    /// As [`Posted::Batch`].
    Batch(Vec<Result<LastingSubmission, Refusal>>),
}

/// Splits a body and reads all its items, for threads that only read.
///
/// # Errors
///
/// As [`split`].
pub fn read(media: Media, body: &[u8]) -> Result<Read, Refusal> {
    let lasting = |item: Result<Submission<'_>, Refusal>| item.map(|submission| submission.lasting(body));
    Ok(match split(media, body)? {
        Posted::Single(item) => Read::Single(lasting(parse_publish(item))),
        Posted::Batch(batch) => Read::Batch(batch.submissions().map(lasting).collect()),
    })
}

/// Tells a single publication from a batch, and where the items of a batch are.
///
/// # Errors
///
/// 400 for a batch without items or whose items cannot be told apart, 413 for more than [`BATCH_ITEMS_MAX`].
pub fn split(media: Media, body: &[u8]) -> Result<Posted<'_>, Refusal> {
    let items = match media {
        Media::JsonLines => {
            // One more than allowed is enough to know.
            let lines = body.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
            lines.take(BATCH_ITEMS_MAX + 1).collect()
        }
        Media::Json if body.trim_ascii_start().first() == Some(&b'[') => array_items(body)?,
        Media::Json => return Ok(Posted::Single(body)),
    };
    match items.len() {
        0 => Err(Refusal::malformed("the batch has no items")),
        1..=BATCH_ITEMS_MAX => Ok(Posted::Batch(Batch { items })),
        _ => {
            let sentence = format!("the batch has more than {BATCH_ITEMS_MAX} items");
            Err(Refusal::new(RefusalKind::TooLarge, sentence))
        }
    }
}

/// The items of an array. How deep an item nests is judged when it is read, so that one cannot spoil the others.
fn array_items(body: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    let mut reader = Reader::new(body).map_err(|error| fault(body, None, error))?;
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let items = deserializer.deserialize_seq(Items);
    match items
        .and_then(|items| if items.len() > BATCH_ITEMS_MAX { Ok(items) } else { deserializer.end().map(|()| items) })
    {
        Ok(items) => Ok(items),
        // Our own reader has the better sentences, as long as it gets to where the other one stopped.
        Err(error) => Err(match reader.skip().and_then(|_| reader.finish()) {
            Err(found) if found.syntax != Syntax::Depth => fault(body, None, found),
            _ => Refusal::malformed(format!("the body is not valid JSON: {error}")),
        }),
    }
}

struct Items;

impl<'a> Visitor<'a> for Items {
    type Value = Vec<&'a [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<&'a RawValue>()? {
            if items.len() <= BATCH_ITEMS_MAX {
                items.push(item.get().as_bytes());
            }
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each item by its topic, or by its status and field.
    fn check(media: Media, body: &str, expect: Result<&[&str], u16>) {
        let got = match split(media, body.as_bytes()) {
            Ok(Posted::Batch(batch)) => {
                assert_eq!(batch.submissions().count(), batch.len());
                Ok(batch
                    .submissions()
                    .map(|item| match item {
                        Ok(submission) => submission.topic.into_owned(),
                        Err(refusal) => format!("{} {}", refusal.status(), refusal.field().unwrap_or("-")),
                    })
                    .collect())
            }
            Ok(Posted::Single(item)) => Ok(vec![format!("single {}", item.len())]),
            Err(refusal) => Err(refusal.status()),
        };
        assert_eq!(got, expect.map(|items| items.iter().map(ToString::to_string).collect::<Vec<_>>()), "{body}");
    }

    #[test]
    fn arrays() {
        check(Media::Json, r#"{"topic":"a"}"#, Ok(&["single 13"]));
        check(Media::Json, "", Ok(&["single 0"]));
        check(Media::Json, r#" [{"topic":"a"} , {"topic":"b"}] "#, Ok(&["a", "b"]));
        check(
            Media::Json,
            r#"[{"topic":"a"},{},7,{"topic":"b","args":["\ud800"]}]"#,
            Ok(&["a", "400 topic", "400 -", "400 args"]),
        );
        check(Media::Json, "[]", Err(400));
        check(Media::Json, r#"[{"topic":"a"}"#, Err(400));
        check(Media::Json, r#"[{"topic":"a"}] x"#, Err(400));
        check(Media::Json, r#"[{"topic":"a","args":[NaN]}]"#, Err(400));
    }

    #[test]
    fn lines() {
        check(Media::JsonLines, "{\"topic\":\"a\"}\r\n\n  \n{\"topic\":\"b\"}", Ok(&["a", "b"]));
        check(
            Media::JsonLines,
            "{\"topic\":\"a\"}\n{\"topic\"\n[]\n{\"topic\":\"b\"}\n",
            Ok(&["a", "400 -", "400 -", "b"]),
        );
        check(Media::JsonLines, "", Err(400));
        check(Media::JsonLines, "\n \n", Err(400));
    }

    #[test]
    fn the_number_of_items_is_bounded() {
        for (count, fits) in [(BATCH_ITEMS_MAX, true), (BATCH_ITEMS_MAX + 1, false)] {
            let items = vec!["{}"; count];
            for (media, body) in [(Media::Json, format!("[{}]", items.join(","))), (Media::JsonLines, items.join("\n"))]
            {
                match split(media, body.as_bytes()) {
                    Ok(_) => assert!(fits),
                    Err(refusal) => assert_eq!((fits, refusal.status()), (false, 413)),
                }
            }
        }
    }

    #[test]
    fn depth_counts_for_each_item() {
        let deep = |depth: usize| format!("{{\"topic\":\"a\",\"args\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        check(Media::Json, &format!("[{},{}]", deep(128), deep(129)), Ok(&["a", "400 args"]));
        check(Media::Json, &format!("[{}]", deep(100_000)), Ok(&["400 args"]));
        check(Media::Json, &"[".repeat(100_000), Err(400));
    }

    proptest! {
        #[test]
        fn arbitrary_bodies_never_panic(body in "[\\[\\]{}\",:a-f\\\\uNI0-9 \n-]{0,60}|\\PC{0,60}") {
            for media in [Media::Json, Media::JsonLines] {
                if let Ok(Posted::Batch(batch)) = split(media, body.as_bytes()) {
                    prop_assert_eq!(batch.submissions().count(), batch.len());
                }
            }
        }
    }
}
