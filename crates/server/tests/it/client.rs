//! A raw WebSocket client that speaks WAMP. Tests write and read messages as JSON text whatever the serializer is.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use serde_json::{Value, json};
use stentor_wamp::codec::batch::{self, Separator};
use stentor_wamp::codec::{self, Batching, Format, Serializer};
use stentor_websocket::close::CloseCode;
use stentor_websocket::decoder::{Decoder, Event, MaskRule, Options, Role, Utf8Rule};
use stentor_websocket::deflate::{Agreed, Inflater, Window};
use stentor_websocket::frame::{self, Opcode};
use stentor_websocket::handshake;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::house::soon;
use crate::http::{self, Http, Reply, Stream};

/// The nonce of every handshake; nothing here depends on its being fresh.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What a client asks for.
#[derive(Clone, Copy)]
pub(crate) struct Offer<'a> {
    pub(crate) path: &'a str,
    /// Empty for none.
    pub(crate) subprotocols: &'a str,
    /// Empty for none.
    pub(crate) extensions: &'a str,
}

impl Default for Offer<'_> {
    fn default() -> Self {
        Self { path: "/ws", subprotocols: "wamp.2.json", extensions: "" }
    }
}

/// What a server may say on the WebSocket layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Code, 0 for none, and reason.
    Close(u16, String),
    /// The end of the stream.
    End,
}

/// One connection.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    decoder: Decoder,
    inflater: Inflater,
    frames: VecDeque<Frame>,
    messages: VecDeque<String>,
    pub(crate) format: Format,
    pub(crate) separator: Separator,
    /// The answer to the handshake.
    pub(crate) handshake: Reply,
    requests: u64,
    /// Octets that arrived behind the handshake.
    pub(crate) received: usize,
    /// The session's id.
    pub(crate) id: u64,
}

/// The head of a correct handshake.
pub(crate) fn handshake_head(offer: Offer<'_>) -> String {
    let mut headers = vec![
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    if !offer.subprotocols.is_empty() {
        headers.push(("Sec-WebSocket-Protocol", offer.subprotocols));
    }
    if !offer.extensions.is_empty() {
        headers.push(("Sec-WebSocket-Extensions", offer.extensions));
    }
    http::head("GET", offer.path, &headers)
}

impl Client {
    /// Opens a WebSocket, or tells how it was refused.
    pub(crate) async fn open(stream: impl Stream + 'static, offer: Offer<'_>) -> Result<Self, Reply> {
        let mut http = Http::over(stream);
        http.send(handshake_head(offer)).await;
        Self::take_over(http).await
    }

    /// Reads the answer to a handshake that has been sent.
    pub(crate) async fn take_over(mut http: Http) -> Result<Self, Reply> {
        let handshake = http.reply_head().await;
        if handshake.status != 101 {
            return Err(handshake);
        }
        assert_eq!(handshake.header("sec-websocket-accept"), Some(&*handshake::accept(KEY)));
        assert_eq!(handshake.header("upgrade"), Some("websocket"));
        let compression =
            handshake.header("sec-websocket-extensions").map(|_| Agreed { server_window: Window::Bits15 });
        let decoder = Decoder::new(Options {
            role: Role::Client,
            frame_bytes_max: usize::MAX,
            message_bytes_max: usize::MAX,
            compression,
            mask: MaskRule::Required,
            validate_utf8: Utf8Rule::Strict,
        });
        let format = handshake.header("sec-websocket-protocol").and_then(Format::from_subprotocol);
        let (stream, early) = http.into_parts();
        let mut client = Self {
            stream,
            decoder,
            inflater: Inflater::new(),
            frames: VecDeque::new(),
            messages: VecDeque::new(),
            format: format.unwrap_or(Format::ALL[0]),
            separator: Separator::default(),
            handshake,
            requests: 0,
            received: 0,
            id: 0,
        };
        client.feed(early);
        Ok(client)
    }

    /// Sends octets as they are.
    pub(crate) async fn send_octets(&mut self, octets: impl AsRef<[u8]>) {
        soon("room to write", self.stream.write_all(octets.as_ref())).await.unwrap();
        soon("room to flush", self.stream.flush()).await.unwrap();
    }

    /// Sends octets unless the connection is gone; whether it went well.
    pub(crate) async fn send_unless_gone(&mut self, octets: impl AsRef<[u8]>) -> bool {
        soon("room to write", self.stream.write_all(octets.as_ref())).await.is_ok()
    }

    /// Sends one frame.
    pub(crate) async fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        self.send_octets(frame::masked(opcode, payload, [7, 1, 200, 33])).await;
    }

    /// Sends a message, written as JSON.
    pub(crate) async fn send(&mut self, message: impl ToString) {
        self.send_all(&[message.to_string()]).await;
    }

    /// Sends messages together: as one batch where the subprotocol has batches, else one by one.
    pub(crate) async fn send_all(&mut self, messages: &[String]) {
        let Format { serializer, batched } = self.format;
        let opcode = if serializer == Serializer::Json { Opcode::Text } else { Opcode::Binary };
        let mut out = Vec::new();
        for message in messages {
            let begun = (batched == Batching::Batched).then(|| batch::begin(serializer, &mut out));
            codec::transcode(Serializer::Json, serializer, message.as_bytes(), &mut out).unwrap();
            match begun {
                Some(begun) => batch::finish(serializer, begun, self.separator, &mut out),
                None => self.send_frame(opcode, &std::mem::take(&mut out)).await,
            }
        }
        if batched == Batching::Batched {
            self.send_frame(opcode, &out).await;
        }
    }

    /// The next frame, whatever it is.
    pub(crate) async fn frame(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return frame;
            }
            let mut octets = vec![0; 64 * 1024];
            match soon("a frame", self.stream.read(&mut octets)).await {
                Ok(0) | Err(_) => return Frame::End,
                Ok(length) => {
                    octets.truncate(length);
                    self.feed(octets);
                }
            }
        }
    }

    /// The next octets past the decoder.
    pub(crate) async fn octets(&mut self, length: usize) -> Vec<u8> {
        let mut octets = vec![0; length];
        soon("octets", self.stream.read_exact(&mut octets)).await.unwrap();
        octets
    }

    fn feed(&mut self, mut octets: Vec<u8>) {
        self.received += octets.len();
        let frames = &mut self.frames;
        let outcome = self.decoder.feed(&mut octets, &mut self.inflater, |event| {
            frames.push_back(match event {
                Event::Text(text) => Frame::Text(text.to_owned()),
                Event::Binary(octets) => Frame::Binary(octets.to_vec()),
                Event::Ping(payload) => Frame::Ping(payload.to_vec()),
                Event::Pong(payload) => Frame::Pong(payload.to_vec()),
                Event::Close(code, reason) => Frame::Close(code.map_or(0, CloseCode::get), reason.to_owned()),
            });
            ControlFlow::Continue(())
        });
        assert_eq!(outcome.map(|_| ()), Ok(()), "the server broke WebSocket");
    }

    /// The next message as JSON text, exactly as it travelled where the serializer is JSON. Pings are answered.
    pub(crate) async fn text(&mut self) -> String {
        // Pings would keep the wait for each single frame short for ever.
        soon("a message", self.next_text()).await
    }

    async fn next_text(&mut self) -> String {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return message;
            }
            let octets = match self.frame().await {
                Frame::Ping(payload) => {
                    self.send_frame(Opcode::Pong, &payload).await;
                    continue;
                }
                Frame::Text(text) if self.format.serializer == Serializer::Json => text.into_bytes(),
                Frame::Binary(octets) if self.format.serializer != Serializer::Json => octets,
                other => panic!("not a message: {other:?}"),
            };
            match self.format.batched {
                Batching::Single => self.take(&octets),
                Batching::Batched => {
                    for message in batch::split(self.format.serializer, &octets).unwrap() {
                        self.take(message);
                    }
                }
            }
        }
    }

    fn take(&mut self, octets: &[u8]) {
        let mut text = Vec::new();
        codec::transcode(self.format.serializer, Serializer::Json, octets, &mut text).unwrap();
        self.messages.push_back(String::from_utf8(text).unwrap());
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// The next message, which has to have this code.
    #[track_caller]
    pub(crate) fn expect(&mut self, code: u64) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let message = self.message().await;
            assert_eq!(message[0], code, "{message} at {caller}");
            message
        }
    }

    /// ABORT with this reason, then Close with this code, our echo, and the end.
    pub(crate) async fn expect_abort(&mut self, reason: &str, code: u16) {
        let abort = self.expect(3).await;
        assert_eq!(abort[2], reason, "{abort}");
        assert!(!abort[1]["message"].as_str().unwrap().is_empty(), "{abort}");
        self.expect_close(code).await;
    }

    /// Close with this code, our echo, and the end.
    pub(crate) async fn expect_close(&mut self, code: u16) {
        match self.frame().await {
            Frame::Close(found, _) => assert_eq!(found, code),
            other => panic!("not a Close: {other:?}"),
        }
        self.send_frame(Opcode::Close, &code.to_be_bytes()).await;
        assert_eq!(self.frame().await, Frame::End);
    }

    /// Joins a realm with all client roles.
    pub(crate) async fn join(&mut self, realm: &str) -> u64 {
        self.send(hello(realm)).await;
        let welcome = self.expect(2).await;
        self.requests = 0;
        self.id = welcome[1].as_u64().unwrap();
        self.id
    }

    /// The id of the next request.
    pub(crate) fn request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// Subscribes to exactly this topic.
    pub(crate) async fn subscribe(&mut self, topic: &str) -> u64 {
        self.subscribe_with(json!({}), topic).await
    }

    pub(crate) async fn subscribe_with(&mut self, options: Value, topic: &str) -> u64 {
        let request = self.request();
        self.send(json!([32, request, options, topic])).await;
        let subscribed = self.expect(33).await;
        assert_eq!(subscribed[1], request);
        subscribed[2].as_u64().unwrap()
    }

    pub(crate) async fn register(&mut self, procedure: &str) -> u64 {
        let request = self.request();
        self.send(json!([64, request, {}, procedure])).await;
        self.expect(65).await[2].as_u64().unwrap()
    }

    /// Publishes and waits for the acknowledgement.
    pub(crate) async fn publish(&mut self, topic: &str, args: Value) -> u64 {
        let request = self.request();
        self.send(json!([16, request, {"acknowledge": true}, topic, args])).await;
        self.expect(17).await[2].as_u64().unwrap()
    }
}

/// A HELLO with all client roles.
pub(crate) fn hello(realm: &str) -> Value {
    let roles = json!({"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}});
    json!([1, realm, {"roles": roles}])
}
