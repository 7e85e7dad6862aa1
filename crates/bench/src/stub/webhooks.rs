//! The ceiling of hubs: in memory, one topic, one ordered task and one connection for each endpoint.
//!
//! It parses no more of a publication than it must, knows its endpoints from the start, and neither asks nor retries: one that
//! does not accept ends the process. What remains is what no hub can save: base64 once for each publication, a signature where
//! one is wanted, and a request and an answer for each delivery, by the HTTP client that our own server stands on.

use std::net::SocketAddr;
use std::process::exit;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, LINK};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use ring::hmac;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::http::{self, ACCEPTED, Kind, find};
use crate::fault::{Fault, io};
use crate::hub::{SECRET, Signing, address};

/// Publications that may wait for one endpoint; more than publishers ever have under way.
const QUEUE_MAX: usize = 4096;

type Endpoints = Rc<Vec<mpsc::Sender<Bytes>>>;

/// Serves until the process is ended.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) fn serve(at: SocketAddr, endpoints: usize, port: u16, signing: Signing) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = io(runtime, || "the runtime cannot be set up".to_owned())?;
    LocalSet::new().block_on(&runtime, async {
        let listener = io(super::listen(at), || format!("{at} cannot be bound"))?;
        let start = |endpoint| {
            let (sender, queue) = mpsc::channel(QUEUE_MAX);
            drop(tokio::task::spawn_local(async move {
                if let Err(error) = deliver(endpoint, port, signing, queue).await {
                    // Whoever measures sees that the process has ended.
                    drop(error);
                    exit(1);
                }
            }));
            sender
        };
        let endpoints: Endpoints = Rc::new((0..endpoints).map(start).collect());
        loop {
            let (tcp, _) = io(listener.accept().await, || "no more connections".to_owned())?;
            let endpoints = Rc::clone(&endpoints);
            // A connection that breaks is simply over.
            drop(tokio::task::spawn_local(async move { drop(take(tcp, endpoints).await) }));
        }
    })
}

/// Takes publications of one connection.
async fn take(tcp: TcpStream, endpoints: Endpoints) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut input = Vec::with_capacity(2048);
    loop {
        tcp.readable().await?;
        match tcp.try_read_buf(&mut input) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        while let Some(request) = http::Request::first(&input) {
            if matches!(request.kind, Kind::Post) {
                let content = content(&input[request.body..request.end]);
                endpoints.iter().for_each(|endpoint| drop(endpoint.try_send(content.clone())));
            }
            tcp.try_write(ACCEPTED)?;
            input.drain(..request.end);
        }
    }
}

/// The content of a message, decoded.
fn content(body: &[u8]) -> Bytes {
    let key = b"\"contentBase64\":\"";
    let text = find(body, key).map_or(b"".as_slice(), |at| &body[at + key.len()..]);
    let text = text.split(|octet| *octet == b'"').next().unwrap_or_default();
    STANDARD.decode(text).unwrap_or_default().into()
}

/// Delivers what is published to one endpoint, one after the other.
async fn deliver(
    endpoint: usize,
    port: u16,
    signing: Signing,
    mut queue: mpsc::Receiver<Bytes>,
) -> Result<(), Box<dyn std::error::Error>> {
    let address = address(endpoint, port);
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
    drop(tokio::task::spawn_local(connection));
    let uri: Uri = format!("/{endpoint}").parse()?;
    let host = HeaderValue::try_from(address.to_string())?;
    let links =
        HeaderValue::from_static("<http://127.0.0.1/hub>; rel=\"hub\", <https://example.com/topic>; rel=\"self\"");
    let key = (signing == Signing::Signed).then(|| hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()));
    while let Some(content) = queue.recv().await {
        let mut request = Request::post(uri.clone());
        let headers = request.headers_mut().expect("the target has been parsed");
        headers.insert(HOST, host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(LINK, links.clone());
        if let Some(key) = &key {
            headers.insert("x-hub-signature", signature(key, &content));
        }
        let answer = sender.send_request(request.body(Full::new(content))?).await?;
        if !answer.status().is_success() {
            return Err(format!("{} from endpoint {endpoint}", answer.status()).into());
        }
        answer.into_body().collect().await?;
    }
    Ok(())
}

fn signature(key: &hmac::Key, content: &[u8]) -> HeaderValue {
    let mut text = Vec::with_capacity(7 + 64);
    text.extend_from_slice(b"sha256=");
    for octet in hmac::sign(key, content).as_ref() {
        let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
        text.extend_from_slice(&[digit(octet >> 4), digit(octet & 15)]);
    }
    HeaderValue::try_from(text).expect("these are hexadecimal digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_decoded() {
        assert_eq!(content(b"{\"topic\":\"t\",\"contentBase64\":\"aGVsbG8=\"}"), "hello");
        assert_eq!(content(b"{}"), "");
    }

    #[test]
    fn signatures_have_their_form() {
        // RFC 4231, section 4.3.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let found = signature(&key, b"what do ya want for nothing?");
        assert_eq!(found, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
