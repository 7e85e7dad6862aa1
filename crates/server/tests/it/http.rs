//! A raw HTTP/1.1 client: what is written is what the test says, what is read is taken apart and no more.

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::house::soon;

/// Any stream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One connection.
pub(crate) struct Http {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The value of a header that is there at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let first = found.next();
        assert!(found.next().is_none(), "several headers {name}");
        first
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// The publication id of a success.
    #[track_caller]
    pub(crate) fn id(&self) -> u64 {
        let value = self.json();
        let id = value["id"].as_u64().unwrap_or_else(|| panic!("{} {value}", self.status));
        assert_eq!(self.text(), format!("{{\"id\":{id}}}"));
        id
    }

    /// Status and field at fault of a refusal, whose body has the one shape.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, Option<String>) {
        let value = self.json();
        let object = value.as_object().unwrap();
        assert_eq!(object.keys().collect::<Vec<_>>(), ["args", "error", "kwargs"], "{value}");
        assert!(self.text().starts_with("{\"error\":\""), "{value}");
        assert!(!value["error"].as_str().unwrap().is_empty());
        assert!(value["args"].is_array());
        assert_eq!(self.header("content-type"), Some("application/json; charset=UTF-8"));
        assert_eq!(self.header("cache-control"), Some("no-store, no-cache, must-revalidate, max-age=0"));
        (self.status, value["kwargs"]["field"].as_str().map(str::to_owned))
    }
}

/// A POST of JSON as octets.
pub(crate) fn post(target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut all = vec![("Content-Type", "application/json")];
    all.extend_from_slice(headers);
    request("POST", target, &all, body)
}

/// A request with a body as octets.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let mut all = headers.to_vec();
    all.push(("Content-Length", &length));
    [head(method, target, &all).as_bytes(), body].concat()
}

/// The head of a request.
pub(crate) fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> String {
    let mut out = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out + "\r\n"
}

impl Http {
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new() }
    }

    /// Sends octets as they are.
    pub(crate) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        soon("room to write", self.stream.write_all(octets.as_ref())).await.unwrap();
        soon("room to flush", self.stream.flush()).await.unwrap();
    }

    /// Sends as much as the server takes; it may answer and hang up before the end.
    pub(crate) async fn send_unless_refused(&mut self, octets: &[u8]) {
        drop(soon("room to write", self.stream.write_all(octets)).await);
    }

    /// Says that nothing more comes.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    pub(crate) async fn post(&mut self, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.send(post(target, headers, body)).await;
        self.reply().await
    }

    pub(crate) async fn get(&mut self, target: &str) -> Reply {
        self.send(head("GET", target, &[])).await;
        self.reply().await
    }

    /// The next answer; its body has a length or is chunked.
    pub(crate) async fn reply(&mut self) -> Reply {
        let mut reply = self.reply_head().await;
        if reply.header("transfer-encoding").is_some() {
            reply.body = self.chunks().await;
            return reply;
        }
        let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.buffer.len() < length {
            assert!(self.read().await, "the body broke off");
        }
        reply.body = self.buffer.drain(..length).collect();
        reply
    }

    /// The next answer without its body, as for HEAD.
    pub(crate) async fn reply_head(&mut self) -> Reply {
        let line = self.line().await;
        let status = line.strip_prefix("HTTP/1.").unwrap_or_else(|| panic!("{line}"))[2..5].parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line().await;
            if line.is_empty() {
                return Reply { status, headers, body: Vec::new() };
            }
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk().await;
            if chunk.is_empty() {
                return body;
            }
            body.extend(chunk);
        }
    }

    /// One chunk of a body that does not end.
    pub(crate) async fn chunk(&mut self) -> Vec<u8> {
        let length = usize::from_str_radix(&self.line().await, 16).unwrap();
        while self.buffer.len() < length + 2 {
            assert!(self.read().await, "a chunk broke off");
        }
        let chunk = self.buffer.drain(..length).collect();
        self.buffer.drain(..2);
        chunk
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).unwrap();
            }
            assert!(self.read().await, "the head broke off: {}", String::from_utf8_lossy(&self.buffer));
        }
    }

    async fn read(&mut self) -> bool {
        soon("octets", self.stream.read_buf(&mut self.buffer)).await.unwrap() > 0
    }

    /// Whatever comes next, at least one octet.
    pub(crate) async fn reply_octets(&mut self) -> Vec<u8> {
        while self.buffer.is_empty() {
            assert!(self.read().await, "nothing came");
        }
        std::mem::take(&mut self.buffer)
    }

    /// Whether the server hangs up without another answer.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !matches!(soon("the end", self.stream.read_buf(&mut self.buffer)).await, Ok(1..))
    }

    /// The stream and what was read beyond the last answer.
    pub(crate) fn into_parts(self) -> (Box<dyn Stream>, Vec<u8>) {
        (self.stream, self.buffer)
    }
}
