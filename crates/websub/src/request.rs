//! What a POST to the hub asks for (WebSub 5.1): a subscription, its end, or a ping that a topic has something new.
//!
//! Judged is only what stands in the request. Who may subscribe to what is the authenticator's question, and whether the
//! callback agrees is asked by [`crate::subscription`].

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode;
use stentor_model::{Secret, Topic};

use crate::address::{AskedTopic, Callback, Pair};
use crate::lease;
use crate::options::HubOptions;
pub use crate::refusal::{Refusal, RefusalClass};

/// WebSub 5.1: a secret has to be shorter than this, in octets of UTF-8.
const SECRET_BYTES_LIMIT: usize = 200;

/// Characters of a stranger's field name that a sentence repeats.
const NAME_CHARS_SHOWN: usize = 40;

/// What a form-encoded request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To subscribe or to unsubscribe.
    Intent(Intent),
    /// To fetch these topics and to tell their subscribers, each topic once, in order.
    Ping(Vec<Topic>),
}

/// A subscriber's wish, to be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Which subscription it is about.
    pub pair: Pair,
    /// What is to happen with it.
    pub wish: Wish,
}

/// What is to happen with a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It shall exist, with these settings instead of former ones.
    Subscribe {
        /// The lease asked for, in seconds.
        lease_seconds: Option<u64>,
        /// With what notifications are to be signed; nothing means unsigned, also where there was a secret before.
        secret: Option<Secret>,
    },
    /// It shall end.
    Unsubscribe,
}

impl Wish {
    /// The value of `hub.mode`.
    #[must_use]
    pub const fn mode(&self) -> &'static str {
        match self {
            Self::Subscribe { .. } => "subscribe",
            Self::Unsubscribe => "unsubscribe",
        }
    }
}

/// What a POST to the hub's URL is, by its head alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A form, for [`parse`]. The only kind that strangers may send.
    Form,
    /// An `echo.websub` message, for [`crate::message::parse`].
    Message,
    /// Content for this topic, for [`crate::message::raw`].
    Raw(Topic),
}

impl Kind {
    /// Looks at the content type and the query. A topic in the query makes everything content, JSON and forms as well.
    ///
    /// # Errors
    /// When it is nothing that a hub takes.
    pub fn of(content_type: Option<&str>, query: Option<&str>) -> Result<Self, Refusal> {
        let mut topics = Single::new("topic");
        let query = query.unwrap_or_default().as_bytes();
        for (name, value) in fields(query) {
            if name == b"topic".as_slice() {
                topics.take(&value)?;
            }
        }
        if let Some(name) = torn_off(query) {
            return Err(Refusal::NotEncoded { name });
        }
        if let Some(text) = topics.value {
            let fault = |fault| Refusal::Url { field: "topic", fault };
            return crate::address::topic(&text).map(Self::Raw).map_err(fault);
        }
        match essence(content_type.unwrap_or_default()) {
            kind if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") => Ok(Self::Form),
            kind if kind.eq_ignore_ascii_case("application/json") => Ok(Self::Message),
            _ => Err(Refusal::BodyType),
        }
    }
}

/// The media type without its parameters: a charset changes nothing, for these two are always UTF-8.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Reads a form-encoded request.
///
/// # Errors
/// With the first fault; each is the client's.
pub fn parse(content_type: Option<&str>, body: &[u8], options: &HubOptions) -> Result<Request, Refusal> {
    if !essence(content_type.unwrap_or_default()).eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Refusal::BodyType);
    }
    let bytes_max = options.limits.request_bytes_max;
    if body.len() > bytes_max {
        return Err(Refusal::BodyTooLong { bytes_max });
    }
    let form = Form::parse(body)?;
    match form.mode.need()? {
        "subscribe" => form.intent(Some(options)),
        "unsubscribe" => form.intent(None),
        "publish" => form.ping(options.limits.ping_topics_max),
        _ => Err(Refusal::Mode),
    }
}

/// The fields that mean something. All others are ignored (WebSub 5.1), among them `hub.verify` and `hub.verify_token` of
/// PubSubHubbub 0.3, which old subscribers still send.
struct Form {
    mode: Single,
    topic: Single,
    callback: Single,
    /// Read only if needed: WebSub 5.1 has `unsubscribe` ignore it whatever it is.
    lease_seconds: Vec<Vec<u8>>,
    secret: Vec<Vec<u8>>,
    topics: Vec<Vec<u8>>,
    urls: Vec<Vec<u8>>,
}

impl Form {
    fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut form = Self {
            mode: Single::new("hub.mode"),
            topic: Single::new("hub.topic"),
            callback: Single::new("hub.callback"),
            lease_seconds: Vec::new(),
            secret: Vec::new(),
            topics: Vec::new(),
            urls: Vec::new(),
        };
        for (name, value) in fields(body) {
            match name.as_ref() {
                b"hub.mode" => form.mode.take(&value)?,
                b"hub.callback" => form.callback.take(&value)?,
                b"hub.lease_seconds" => form.lease_seconds.push(value.into_owned()),
                b"hub.secret" => form.secret.push(value.into_owned()),
                // Hubs written in PHP need the brackets, so some publishers send them.
                b"hub.topic" | b"hub.topic[]" => form.topics.push(value.into_owned()),
                b"hub.url" | b"hub.url[]" => form.urls.push(value.into_owned()),
                _ => {}
            }
        }
        Ok(form)
    }

    fn intent(mut self, subscribe: Option<&HubOptions>) -> Result<Request, Refusal> {
        for topic in &self.topics {
            self.topic.take(topic)?;
        }
        let url = |field| move |fault| Refusal::Url { field, fault };
        let callback = Callback::parse(self.callback.need()?).map_err(url("hub.callback"))?;
        let topic = AskedTopic::parse(self.topic.need()?).map_err(url("hub.topic"))?;
        let wish = match subscribe {
            None => Wish::Unsubscribe,
            Some(options) => {
                let wish = self.subscribe()?;
                let Wish::Subscribe { secret, .. } = &wish else { unreachable!("made as a subscription") };
                let security = options.subscription_security;
                if security.needs_https() && callback.address().scheme != crate::address::Scheme::Https {
                    return Err(Refusal::NeedsHttps);
                }
                if security.needs_secret() && secret.is_none() {
                    return Err(Refusal::NeedsSecret);
                }
                wish
            }
        };
        Ok(Request::Intent(Intent { pair: Pair { topic, callback }, wish }))
    }

    fn subscribe(&self) -> Result<Wish, Refusal> {
        let mut lease_text = Single::new("hub.lease_seconds");
        self.lease_seconds.iter().try_for_each(|value| lease_text.take(value))?;
        let lease_seconds = lease::parse_seconds(lease_text.value.as_deref().unwrap_or_default());
        let mut secret = Single::new("hub.secret");
        self.secret.iter().try_for_each(|value| secret.take(value))?;
        // An empty secret would sign with a key that everybody knows; who sends one means none.
        let secret = secret.value.filter(|text| !text.is_empty());
        if secret.as_ref().is_some_and(|text| text.len() >= SECRET_BYTES_LIMIT) {
            return Err(Refusal::SecretTooLong);
        }
        let lease_seconds = lease_seconds.map_err(|_| Refusal::Lease)?;
        Ok(Wish::Subscribe { lease_seconds, secret: secret.map(Secret::new) })
    }

    /// De-facto form of publishing: `hub.url`, repeated for several topics, or `hub.topic`. Who sends both means one topic.
    fn ping(self, topics_max: usize) -> Result<Request, Refusal> {
        let mut topics: Vec<Topic> = Vec::new();
        let named = [("hub.url", &self.urls), ("hub.topic", &self.topics)];
        for (field, value) in named.into_iter().flat_map(|(field, values)| values.iter().map(move |v| (field, v))) {
            let text = std::str::from_utf8(value).map_err(|_| Refusal::NotUtf8 { field })?;
            let topic = crate::address::topic(text).map_err(|fault| Refusal::Url { field, fault })?;
            if topics.contains(&topic) {
                continue;
            }
            if topics.len() == topics_max {
                return Err(Refusal::TooManyTopics { topics_max });
            }
            topics.push(topic);
        }
        if topics.is_empty() { Err(Refusal::Missing { field: "hub.url" }) } else { Ok(Request::Ping(topics)) }
    }
}

/// A field that has one value, however often it is given. Two values would be a request that reads differently at the hub
/// and at whoever checked it before.
struct Single {
    field: &'static str,
    value: Option<String>,
}

impl Single {
    const fn new(field: &'static str) -> Self {
        Self { field, value: None }
    }

    fn take(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let field = self.field;
        let text = std::str::from_utf8(value).map_err(|_| Refusal::NotUtf8 { field })?;
        match &self.value {
            Some(former) if former != text => Err(Refusal::Ambiguous { field }),
            Some(_) => Ok(()),
            None => {
                self.value = Some(text.to_owned());
                Ok(())
            }
        }
    }

    fn need(&self) -> Result<&str, Refusal> {
        self.value.as_deref().ok_or(Refusal::Missing { field: self.field })
    }
}

/// What a query may have besides a topic: the fields of a signature.
const SIGNATURE_FIELDS: [&[u8]; 5] = [b"key", b"timestamp", b"seq", b"nonce", b"signature"];

/// The name of a field that was meant to be a part of the topic before it: behind a `?` that nobody encoded, and nothing
/// that a hub knows. Ignored, it would leave a shorter topic, which is another one, and nobody would hear of it.
fn torn_off(query: &[u8]) -> Option<String> {
    let mut pairs = query.split(|octet| *octet == b'&').filter(|pair| !pair.is_empty());
    pairs.find(|pair| pair.starts_with(b"topic=") && pair.contains(&b'?'))?;
    let is_known = |name: &[u8]| name == b"topic" || SIGNATURE_FIELDS.contains(&name);
    let name = fields_of(pairs).map(|(name, _)| name).find(|name| !is_known(name))?;
    let name = String::from_utf8_lossy(&name);
    Some(name.chars().take(NAME_CHARS_SHOWN).flat_map(char::escape_debug).collect())
}

/// The fields of a form. Octets, because a reader that replaces what is not UTF-8 would turn one secret into another.
pub(crate) fn fields(form: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    fields_of(form.split(|octet| *octet == b'&').filter(|pair| !pair.is_empty()))
}

fn fields_of<'f>(pairs: impl Iterator<Item = &'f [u8]>) -> impl Iterator<Item = (Cow<'f, [u8]>, Cow<'f, [u8]>)> {
    pairs.map(|pair| {
        let at = pair.iter().position(|octet| *octet == b'=');
        let (name, value) = at.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
        (decode(name), decode(value))
    })
}

fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if text.contains(&b'+') {
        let spaced: Vec<u8> = text.iter().map(|octet| if *octet == b'+' { b' ' } else { *octet }).collect();
        percent_decode(&spaced).collect::<Vec<u8>>().into()
    } else {
        percent_decode(text).into()
    }
}

impl fmt::Display for Request {
    /// For logs: without the secret, and without the callback's query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intent(Intent { pair, wish }) => {
                write!(f, "{} {} {:?}", wish.mode(), pair.topic.text(), pair.callback)
            }
            Self::Ping(topics) => write!(f, "publish {} topics", topics.len()),
        }
    }
}

#[cfg(test)]
mod tests;
