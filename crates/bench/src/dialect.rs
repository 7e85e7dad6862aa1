//! What a session says to come to its events: WAMP in one of its serializers, or nothing at all.
//!
//! Knows the few messages of a subscriber. Events are not decoded; [`stamp`](crate::stamp) finds what matters in them.

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serializer {
    /// Text frames.
    #[default]
    Json,
    /// Binary frames.
    MessagePack,
    /// Binary frames.
    Cbor,
}

/// What is spoken over a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// HELLO, SUBSCRIBE, and then events.
    Wamp(Serializer),
    /// The server sends what was published, word for word, from the moment the socket is open.
    Plain,
}

/// What somebody subscribes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// A topic, or a pattern.
    pub uri: String,
    /// How it is compared.
    pub matching: Matching,
}

/// WAMP, "Pattern-based Subscriptions".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// The topic itself.
    Exact,
    /// Whatever begins so.
    Prefix,
    /// Empty components stand for anything.
    Wildcard,
}

impl Subscription {
    /// To one topic.
    #[must_use]
    pub fn exact(uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), matching: Matching::Exact }
    }
}

impl Dialect {
    /// The subprotocol to offer.
    #[must_use]
    pub const fn subprotocol(self) -> Option<&'static str> {
        match self {
            Self::Wamp(Serializer::Json) => Some("wamp.2.json"),
            Self::Wamp(Serializer::MessagePack) => Some("wamp.2.msgpack"),
            Self::Wamp(Serializer::Cbor) => Some("wamp.2.cbor"),
            Self::Plain => None,
        }
    }
}

impl Serializer {
    /// HELLO for a subscriber.
    #[must_use]
    pub fn hello(self, realm: &str) -> Vec<u8> {
        let roles = Item::Map(&[("subscriber", Item::Map(&[]))]);
        self.write(&Item::List(&[Item::Number(1), Item::Text(realm), Item::Map(&[("roles", roles)])]))
    }

    /// SUBSCRIBE with the session's request id.
    #[must_use]
    pub fn subscribe(self, request: u32, subscription: &Subscription) -> Vec<u8> {
        let prefix = [("match", Item::Text("prefix"))];
        let wildcard = [("match", Item::Text("wildcard"))];
        let options: &[_] = match subscription.matching {
            Matching::Exact => &[],
            Matching::Prefix => &prefix,
            Matching::Wildcard => &wildcard,
        };
        let uri = Item::Text(&subscription.uri);
        self.write(&Item::List(&[Item::Number(32), Item::Number(request), Item::Map(options), uri]))
    }

    /// The type of a message: the first number of its array.
    #[must_use]
    pub fn kind(self, message: &[u8]) -> Option<u8> {
        match (self, message) {
            (Self::Json, [b'[', rest @ ..]) => {
                let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
                std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
            }
            (Self::MessagePack, [0x90..=0x9f, kind @ 0..=0x7f, ..]) => Some(*kind),
            (Self::Cbor, [0x80..=0x97, 0x18, kind, ..]) => Some(*kind),
            (Self::Cbor, [0x80..=0x97, kind @ 0..=0x17, ..]) => Some(*kind),
            _ => None,
        }
    }

    fn write(self, item: &Item<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Json => item.json(&mut out),
            Self::MessagePack => item.message_pack(&mut out),
            Self::Cbor => item.cbor(&mut out),
        }
        out
    }
}

/// The values that those messages consist of. Lists and maps are short, texts are plain.
enum Item<'a> {
    Number(u32),
    Text(&'a str),
    List(&'a [Self]),
    Map(&'a [(&'a str, Self)]),
}

impl Item<'_> {
    fn json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Self::Text(text) => quoted(text, out),
            Self::List(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    comma(at, out);
                    item.json(out);
                }
                out.push(b']');
            }
            Self::Map(items) => {
                out.push(b'{');
                for (at, (key, item)) in items.iter().enumerate() {
                    comma(at, out);
                    quoted(key, out);
                    out.push(b':');
                    item.json(out);
                }
                out.push(b'}');
            }
        }
    }

    fn message_pack(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number @ 0..128) => out.push(*number as u8),
            Self::Number(number) => {
                out.push(0xce);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Text(text) => {
                out.extend_from_slice(&[0xd9, text.len() as u8]);
                out.extend_from_slice(text.as_bytes());
            }
            Self::List(items) => {
                out.push(0x90 | items.len() as u8);
                items.iter().for_each(|item| item.message_pack(out));
            }
            Self::Map(items) => {
                out.push(0x80 | items.len() as u8);
                for (key, item) in *items {
                    Self::Text(key).message_pack(out);
                    item.message_pack(out);
                }
            }
        }
    }

    fn cbor(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number @ 0..24) => out.push(*number as u8),
            Self::Number(number @ 24..256) => out.extend_from_slice(&[0x18, *number as u8]),
            Self::Number(number) => {
                out.push(0x1a);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Text(text) => {
                out.extend_from_slice(&[0x78, text.len() as u8]);
                out.extend_from_slice(text.as_bytes());
            }
            Self::List(items) => {
                out.push(0x80 | items.len() as u8);
                items.iter().for_each(|item| item.cbor(out));
            }
            Self::Map(items) => {
                out.push(0xa0 | items.len() as u8);
                for (key, item) in *items {
                    Self::Text(key).cbor(out);
                    item.cbor(out);
                }
            }
        }
    }
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn comma(at: usize, out: &mut Vec<u8>) {
    if at > 0 {
        out.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_as_the_specification_shows_it() {
        let pattern = Subscription { uri: "com..x".to_owned(), matching: Matching::Wildcard };
        for (message, expect) in [
            (Serializer::Json.hello("realm1"), r#"[1,"realm1",{"roles":{"subscriber":{}}}]"#),
            (Serializer::Json.subscribe(7, &Subscription::exact("a.b")), r#"[32,7,{},"a.b"]"#),
            (Serializer::Json.subscribe(8, &pattern), r#"[32,8,{"match":"wildcard"},"com..x"]"#),
        ] {
            assert_eq!(String::from_utf8(message).expect("text"), expect);
        }
    }

    #[test]
    fn kinds_are_read() {
        for serializer in [Serializer::Json, Serializer::MessagePack, Serializer::Cbor] {
            let subscription = Subscription::exact("a");
            assert_eq!(serializer.kind(&serializer.subscribe(300, &subscription)), Some(32), "{serializer:?}");
            assert_eq!(serializer.kind(b""), None);
        }
        assert_eq!(Serializer::Json.kind(b"[33,1,1]"), Some(33));
        assert_eq!(Serializer::MessagePack.kind(&[0x93, 33, 1, 1]), Some(33));
        assert_eq!(Serializer::Cbor.kind(&[0x83, 0x18, 33, 1, 1]), Some(33));
        assert_eq!(Serializer::Cbor.kind(&[0x83, 2, 1, 0xa0]), Some(2));
    }
}
