//! A connection for webhooks and nothing else, past hyper: what goes out is ready for the wire, and of most answers only
//! a status is wanted. It speaks as much HTTP/1.1 as that takes. An answer whose length the head does not tell is cut off
//! behind its head, and its origin is spoken to by hyper from then on (see [`Manner`]).
//!
//! It is told to send one notice after the other. What their fates mean is not known here.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use hyper::header::HeaderValue;
use stentor_delivery::WaitFault;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::answer::{DRAIN_BYTES_MAX, DRAIN_TIMEOUT, Rest};
use super::connection::HEAD_BYTES_MAX;
use super::goal::Goal;
use super::notice::Notice;
use super::stream::Stream;

/// Longer contents are hyper's: while they are written, answers may come that want to be read.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;

/// Fields of an answer, as many as hyper takes.
const FIELDS_MAX: usize = 100;

/// What an idle connection keeps of its buffer.
const BUFFER_BYTES_KEPT: usize = 2048;

/// A connection of its own.
pub(super) struct Lane<S = Stream> {
    stream: S,
    /// First for what goes out, then for what comes back.
    buffer: Vec<u8>,
}

/// How a server answers, as far as it concerns the way to speak to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// A lane understands it.
    Plain,
    /// Its answers have to be read to know their end.
    Elaborate,
}

/// What was heard.
pub(super) struct Heard {
    pub(super) status: u16,
    /// As it came.
    pub(super) retry_after: Option<String>,
    pub(super) rest: Rest,
    pub(super) manner: Manner,
}

/// Why nothing was.
#[derive(Debug)]
pub(super) enum Unheard {
    /// No octet was sent.
    Unsent,
    /// Some may have been.
    Silent(WaitFault),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lane<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Whether the connection lives, as far as one can tell. An idle server has nothing to say.
    pub(super) fn is_alive(&mut self) -> bool {
        let mut octet = [0];
        let mut octet = ReadBuf::new(&mut octet);
        Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut octet).is_pending()
    }

    /// Sends a notice and reads what is answered. `is_sent` is set with the first octet.
    pub(super) async fn tell(
        &mut self,
        goal: &Goal,
        user_agent: &HeaderValue,
        notice: &Notice,
        is_sent: &Cell<bool>,
    ) -> Result<Heard, Unheard> {
        self.write_head(goal, user_agent, notice);
        let was_early = match self.write(&notice.body, is_sent).await {
            Ok(was_early) => was_early,
            Err(_) if is_sent.get() => return Err(Unheard::Silent(WaitFault::Reset)),
            Err(_) => return Err(Unheard::Unsent),
        };
        let mut heard = self.hear().await.map_err(Unheard::Silent)?;
        if was_early {
            // It would take what is missing for the beginning of the next request.
            heard.rest = Rest::Some;
        }
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        Ok(heard)
    }

    fn write_head(&mut self, goal: &Goal, user_agent: &HeaderValue, notice: &Notice) {
        self.buffer.clear();
        let target = goal.origin_form.path_and_query().map_or("/", |target| target.as_str());
        for part in [
            b"POST ",
            target.as_bytes(),
            b" HTTP/1.1\r\nhost: ",
            goal.host_field.as_bytes(),
            b"\r\nuser-agent: ",
            user_agent.as_bytes(),
            b"\r\n",
            &notice.shared_fields,
            notice.own_fields.as_bytes(),
            b"\r\n",
        ] {
            self.buffer.extend_from_slice(part);
        }
    }

    /// Writes all of it, or, which is true then, until an answer comes before its time. The answer is not read here.
    async fn write(&mut self, body: &[u8], is_sent: &Cell<bool>) -> io::Result<bool> {
        let (mut head, mut body) = (&self.buffer[..], body);
        let stream = &mut self.stream;
        let mut early = [0_u8; 1];
        while !head.is_empty() || !body.is_empty() {
            let parts = [IoSlice::new(head), IoSlice::new(body)];
            let written = poll_fn(|cx| {
                if let Poll::Ready(written) = Pin::new(&mut *stream).poll_write_vectored(cx, &parts) {
                    return Poll::Ready(written.map(Some));
                }
                let mut early = ReadBuf::new(&mut early);
                match Pin::new(&mut *stream).poll_read(cx, &mut early) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) if early.filled().is_empty() => {
                        Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
                    }
                    Poll::Ready(Ok(())) => Poll::Ready(Ok(None)),
                }
            });
            let Some(written) = written.await? else {
                self.buffer.clear();
                self.buffer.push(early[0]);
                return Ok(true);
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            is_sent.set(true);
            let of_head = written.min(head.len());
            (head, body) = (&head[of_head..], &body[written - of_head..]);
        }
        stream.flush().await?;
        self.buffer.clear();
        Ok(false)
    }

    async fn hear(&mut self) -> Result<Heard, WaitFault> {
        let head = self.hear_head().await?;
        let Head { status, retry_after, is_kept, length, bytes } = head;
        let (rest, manner) = match length {
            // The length of what is not told is not wanted; the server is not spoken to like this again.
            None => (Rest::Some, Manner::Elaborate),
            Some(length) => {
                let is_read = is_kept && self.read_away(bytes, length).await;
                (if is_read { Rest::None } else { Rest::Some }, Manner::Plain)
            }
        };
        Ok(Heard { status, retry_after, rest, manner })
    }

    /// The head of the answer; interim answers before it are passed over.
    async fn hear_head(&mut self) -> Result<Head, WaitFault> {
        // What does not end a line changes nothing but the beginning, and octets may come one by one.
        let (mut passed, mut says_more) = (0, true);
        loop {
            match if says_more { Head::read(&self.buffer)? } else { None } {
                Some(head) if head.is_interim() => {
                    passed += head.bytes;
                    self.buffer.drain(..head.bytes);
                    continue;
                }
                Some(head) => return Ok(head),
                None => {}
            }
            let before = self.buffer.len();
            if passed + before >= HEAD_BYTES_MAX {
                return Err(WaitFault::Malformed);
            }
            self.buffer.reserve(512);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(WaitFault::Reset),
                Ok(_) => says_more = before == 0 || self.buffer[before..].contains(&b'\n'),
            }
        }
    }

    /// Reads a body for the connection's sake only. False when that costs more than a new connection, or when more comes.
    async fn read_away(&mut self, head_bytes: usize, length: u64) -> bool {
        let Some(whole) = usize::try_from(length).ok().filter(|length| *length <= DRAIN_BYTES_MAX) else {
            return false;
        };
        let mut here = self.buffer.len() - head_bytes;
        if here < whole {
            let reading = async {
                while here < whole {
                    self.buffer.clear();
                    self.buffer.reserve(BUFFER_BYTES_KEPT);
                    match self.stream.read_buf(&mut self.buffer).await {
                        Ok(0) | Err(_) => return,
                        Ok(read) => here += read,
                    }
                }
            };
            if timeout(DRAIN_TIMEOUT, pin!(reading)).await.is_err() {
                return false;
            }
        }
        here == whole
    }
}

/// What the head of an answer says.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    retry_after: Option<String>,
    /// The server goes on on this connection.
    is_kept: bool,
    /// Octets of the body; nothing where they have to be read to know.
    length: Option<u64>,
    /// Octets up to the body.
    bytes: usize,
}

impl Head {
    /// RFC 9110, section 15.2: what was not asked for is passed over. A switch to another protocol is the end of this one.
    const fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..200)
    }

    /// Nothing as long as it is not whole.
    fn read(octets: &[u8]) -> Result<Option<Self>, WaitFault> {
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let parsed =
            httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, octets, &mut fields);
        let bytes = match parsed {
            Ok(httparse::Status::Complete(bytes)) => bytes,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(WaitFault::Malformed),
        };
        let status = response.code.filter(|code| *code >= 100).ok_or(WaitFault::Malformed)?;
        let mut head = Self { status, retry_after: None, is_kept: response.version == Some(1), length: None, bytes };
        let (mut length, mut is_coded) = (Ok(None), false);
        for field in response.headers.iter() {
            let name = field.name;
            if name.eq_ignore_ascii_case("content-length") {
                length = length.and_then(|before| one_length(before, field.value).map(Some));
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                is_coded = true;
            } else if name.eq_ignore_ascii_case("connection") {
                head.is_kept &= !has_close(field.value);
            } else if name.eq_ignore_ascii_case("retry-after") && head.retry_after.is_none() {
                head.retry_after = std::str::from_utf8(field.value).ok().map(str::to_owned);
            }
        }
        // RFC 9112, section 6.3.
        head.length = match status {
            101 => None,
            100..200 | 204 | 304 => Some(0),
            // RFC 9112, section 6.1: an earlier version has no such field.
            _ if is_coded && response.version == Some(0) => return Err(WaitFault::Malformed),
            _ if is_coded => None,
            // One that cannot be relied on matters only where it would be.
            _ => length?,
        };
        Ok(Some(head))
    }
}

/// The length that all fields and all members of their lists agree on (RFC 9110, section 8.6).
fn one_length(before: Option<u64>, value: &[u8]) -> Result<u64, WaitFault> {
    let mut found = before;
    for member in value.split(|octet| *octet == b',') {
        let digits = member.trim_ascii();
        let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|octet| octet.is_ascii_digit()));
        let length: u64 = text.and_then(|text| text.parse().ok()).ok_or(WaitFault::Malformed)?;
        if found.replace(length).is_some_and(|before| before != length) {
            return Err(WaitFault::Malformed);
        }
    }
    found.ok_or(WaitFault::Malformed)
}

fn has_close(value: &[u8]) -> bool {
    value.split(|octet| *octet == b',').any(|member| member.trim_ascii().eq_ignore_ascii_case(b"close"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use stentor_websub::guard::{Guard, Reach};
    use tokio::io::DuplexStream;

    use super::super::goal::Goals;
    use super::*;

    fn notice(body: &'static [u8]) -> Notice {
        Notice {
            url: "http://127.0.0.1:8080/cb?x=%7E".into(),
            shared_fields: format!("link: <a>\r\ncontent-length: {}\r\n", body.len()).into(),
            own_fields: "stentor-attempt: 1\r\n".to_owned(),
            body: body.into(),
            timeout: std::time::Duration::from_secs(1),
        }
    }

    /// What comes of a notice over this stream.
    async fn told(lane: &mut Lane<DuplexStream>, body: &'static [u8]) -> String {
        let notice = notice(body);
        let goals = Goals::new(Guard { reach: Reach::Private, ..Guard::default() });
        let goal = goals.of(&Arc::clone(&notice.url)).unwrap();
        let is_sent = Cell::new(false);
        match lane.tell(&goal, &HeaderValue::from_static("test"), &notice, &is_sent).await {
            Ok(Heard { status, retry_after, rest, manner }) => {
                let is_kept = matches!(rest, Rest::None);
                format!("{status} {} {is_kept} {manner:?}", retry_after.as_deref().unwrap_or("-"))
            }
            Err(fault) => format!("{fault:?} {}", is_sent.get()),
        }
    }

    /// However the network cuts it.
    async fn check(answer: &str, expected: &str) {
        check_cut(answer, &[0, answer.len().min(1), answer.len() / 2, answer.len().saturating_sub(1)], expected).await;
    }

    async fn check_cut(answer: &str, cuts: &[usize], expected: &str) {
        for &cut in cuts {
            let (here, mut there) = tokio::io::duplex(1 << 20);
            let mut lane = Lane::new(here);
            let (first, second) = answer.as_bytes().split_at(cut);
            let (first, second) = (first.to_vec(), second.to_vec());
            let server = tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"hello") {
                    there.read_buf(&mut request).await.unwrap();
                }
                there.write_all(&first).await.unwrap();
                tokio::task::yield_now().await;
                // A fault may be seen before the end of it.
                drop(there.write_all(&second).await);
                String::from_utf8(request).unwrap()
            });
            assert_eq!(told(&mut lane, b"hello").await, expected, "{answer:?} cut at {cut}");
            let head = "POST /cb?x=%7E HTTP/1.1\r\nhost: 127.0.0.1:8080\r\nuser-agent: test\r\nlink: <a>\r\n";
            let request = format!("{head}content-length: 5\r\nstentor-attempt: 1\r\n\r\nhello");
            assert_eq!(server.await.unwrap(), request);
        }
    }

    #[tokio::test]
    async fn answers_are_understood_as_far_as_they_matter() {
        let with = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
        check(&with("Content-Length: 0\r\n", ""), "200 - true Plain").await;
        check(&with("content-length:3\r\nX: y\r\n", "abc"), "200 - true Plain").await;
        check(&with("Content-Length: 3, 3\r\nContent-Length: 3\r\n", "abc"), "200 - true Plain").await;
        check("HTTP/1.1 204 No Content\r\n\r\n", "204 - true Plain").await;
        check("HTTP/1.1 503 \r\nRetry-After: 7\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n", "503 7 true Plain")
            .await;
        // More than an answer is not ours, and less than one is not waited for without end.
        check_cut(&with("Content-Length: 3\r\n", "abcd"), &[0, 20], "200 - false Plain").await;
        check(&with("Content-Length: 99999999\r\n", "abc"), "200 - false Plain").await;
        check(&with("Content-Length: 3\r\nConnection: x, CLOSE\r\n", "abc"), "200 - false Plain").await;
        check("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "200 - false Plain").await;
        check(&with("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), "200 - false Elaborate").await;
        check(&with("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", ""), "200 - false Elaborate").await;
        check(&with("", "to the end"), "200 - false Elaborate").await;
        check("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "101 - false Elaborate").await;
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n";
        check(&format!("{interim}HTTP/1.1 204 \r\n\r\n"), "204 - true Plain").await;
    }

    #[tokio::test]
    async fn what_is_no_answer_has_a_name() {
        let with = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        for broken in [
            "SSH-2.0-OpenSSH_9\r\n".to_owned(),
            "HTTP/1.1 99999 No\r\n\r\n".to_owned(),
            "HTTP/2 200\r\n\r\n".to_owned(),
            with("Content-Length: 1\r\nContent-Length: 2\r\n"),
            with("Content-Length: +1\r\n"),
            with("Content-Length: \r\n"),
            with("Content-Length: 99999999999999999999\r\n"),
            with(&"X: y\r\n".repeat(FIELDS_MAX + 1)),
            with(&format!("X: {}\r\n", "y".repeat(HEAD_BYTES_MAX))),
            "HTTP/1.1 100 \r\n\r\n".repeat(HEAD_BYTES_MAX / 10),
        ] {
            check(&broken, "Silent(Malformed) true").await;
        }
        check("", "Silent(Reset) true").await;
        check("HTTP/1.1 200 OK\r\nConte", "Silent(Reset) true").await;
        let (here, there) = tokio::io::duplex(64);
        drop(there);
        assert_eq!(told(&mut Lane::new(here), b"hello").await, "Unsent false");
    }

    #[tokio::test]
    async fn one_notice_after_the_other_and_none_over_what_has_ended() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let (here, mut there) = tokio::io::duplex(4096);
        let mut lane = Lane::new(here);
        for _ in 0..3 {
            assert!(lane.is_alive());
            there.write_all(answer).await.unwrap();
            assert_eq!(told(&mut lane, b"hello").await, "200 - true Plain");
        }
        // An answer that is there before it is asked for is nobody's.
        there.write_all(answer).await.unwrap();
        assert!(!lane.is_alive());
        let (here, there) = tokio::io::duplex(4096);
        lane = Lane::new(here);
        assert!(lane.is_alive());
        drop(there);
        assert!(!lane.is_alive());
    }

    #[tokio::test]
    async fn an_answer_before_its_time_is_heard() {
        static LONG: [u8; 5000] = [b'x'; 5000];
        let (here, mut there) = tokio::io::duplex(256);
        let server = tokio::spawn(async move {
            there.write_all(b"HTTP/1.1 413 Too Much\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            there
        });
        assert_eq!(told(&mut Lane::new(here), &LONG).await, "413 - false Plain");
        drop(server.await.unwrap());
    }

    /// What hyper makes of the same answer.
    async fn by_hyper(answer: &[u8]) -> String {
        let (here, mut there) = tokio::io::duplex(1 << 20);
        let io = hyper_util::rt::TokioIo::new(here);
        let (mut sender, driver) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let driver = tokio::spawn(driver);
        let request = hyper::Request::post("/").body(http_body_util::Full::new(bytes::Bytes::new())).unwrap();
        let sent = tokio::spawn(sender.send_request(request));
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            there.read_buf(&mut request).await.unwrap();
        }
        drop(there.write_all(answer).await);
        drop(there);
        let told = match sent.await.unwrap() {
            Ok(response) => response.status().as_u16().to_string(),
            Err(error) => format!("{:?}", super::super::connection::silence(&error)),
        };
        driver.abort();
        told
    }

    async fn by_lane(answer: &[u8]) -> String {
        let (here, mut there) = tokio::io::duplex(1 << 20);
        there.write_all(answer).await.unwrap();
        there.shutdown().await.unwrap();
        let mut lane = Lane::new(here);
        match lane.hear().await {
            Ok(heard) => heard.status.to_string(),
            Err(fault) => format!("{fault:?}"),
        }
    }

    fn answers() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        use proptest::prelude::*;
        let start = prop_oneof![
            8 => (100_u16..1000).prop_map(|status| format!("HTTP/1.1 {status} Said\r\n")),
            2 => Just("HTTP/1.0 200\r\n".to_owned()),
            1 => Just("HTTP/1.1 102 \r\n\r\nHTTP/1.1 200 \r\n".to_owned()),
            1 => "[ -~\r\n]{0,24}",
        ];
        let field = prop_oneof![
            4 => "Content-Length: ?[0-9]{1,3}(, ?[0-9]{1,2})?\r\n",
            2 => "[Tt]ransfer-[Ee]ncoding: (chunked|gzip, chunked|identity)\r\n",
            2 => "Connection: (close|keep-alive|x)\r\n",
            2 => "Retry-After: [0-9a-z ]{0,5}\r\n",
            4 => "[!-~]{1,6}: ?[ -~é\t]{0,9}\r?\n",
            1 => "[ -~\r\n]{0,9}",
        ];
        let end = prop_oneof![6 => Just("\r\n".to_owned()), 1 => Just(String::new()), 1 => Just("\n".to_owned())];
        let parts = (start, prop::collection::vec(field, 0..5), end, "[a-z0-9\r\n]{0,12}");
        let told = parts.prop_map(|(start, fields, end, body)| (start + &fields.concat() + &end + &body).into_bytes());
        // Now and then an octet is another one.
        (told, any::<prop::sample::Index>(), prop::option::weighted(0.2, any::<u8>())).prop_map(
            |(mut told, at, octet)| {
                if let Some(octet) = octet
                    && !told.is_empty()
                {
                    let at = at.index(told.len());
                    told[at] = octet;
                }
                told
            },
        )
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]

        /// Hyper is the second opinion: what it takes for an answer is one here, and the other way round.
        #[test]
        fn hyper_reads_the_same(answer in answers()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let (lane, hyper) = runtime.block_on(async { (by_lane(&answer).await, by_hyper(&answer).await) });
            proptest::prop_assert_eq!(lane, hyper, "{}", String::from_utf8_lossy(&answer));
        }
    }
}
