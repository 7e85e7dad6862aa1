//! A subscriber: an HTTP server on some port of this machine that answers challenges and keeps what it gets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use crate::house::soon;

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A decoded parameter of the query, the last of its name.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?')?.1;
        let value = query.split('&').rev().find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))?.1;
        Some(percent_encoding::percent_decode_str(value).decode_utf8().unwrap().into_owned())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// What it says to a request.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// This status and body.
    Status(u16, String),
    /// This status and a header.
    With(u16, &'static str, String),
    /// This status, when told to.
    Later(Arc<Notify>, u16),
    /// Nothing, for ever.
    Silence,
}

type Manner = Box<dyn Fn(&Got, usize) -> Say + Send + Sync>;

struct Inner {
    manner: Mutex<Manner>,
    got: watch::Sender<Vec<Got>>,
}

/// The server.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    inner: Arc<Inner>,
}

/// Echoes challenges and thanks for everything else.
pub(crate) fn polite(got: &Got, _: usize) -> Say {
    Say::Status(200, got.parameter("hub.challenge").unwrap_or_default())
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        Self::with(polite).await
    }

    /// One with manners of its own, which get each request and its place among those of the same method.
    pub(crate) async fn with(manner: impl Fn(&Got, usize) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner { manner: Mutex::new(Box::new(manner)), got: watch::channel(Vec::new()).0 });
        let of_server = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inner = Arc::clone(&of_server);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(request, Arc::clone(&inner)));
                    drop(
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                });
            }
        });
        Self { address, inner }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Other manners from now on.
    pub(crate) fn behave(&self, manner: impl Fn(&Got, usize) -> Say + Send + Sync + 'static) {
        *self.inner.manner.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(manner);
    }

    /// All requests so far.
    pub(crate) fn all(&self) -> Vec<Got> {
        self.inner.got.borrow().clone()
    }

    /// Waits until this holds for what came so far.
    pub(crate) async fn until(&self, what: &str, enough: impl Fn(&[Got]) -> bool) -> Vec<Got> {
        let mut got = self.inner.got.subscribe();
        soon(what, got.wait_for(|got| enough(got))).await.unwrap().clone()
    }

    /// The deliveries, as soon as there are so many.
    pub(crate) async fn posts(&self, count: usize) -> Vec<Got> {
        let posts = |got: &[Got]| got.iter().filter(|one| one.method == "POST").cloned().collect::<Vec<_>>();
        let got = self.until(&format!("{count} deliveries"), |got| posts(got).len() >= count).await;
        posts(&got)
    }

    /// The questions, as soon as there are so many.
    pub(crate) async fn gets(&self, count: usize) -> Vec<Got> {
        let gets = |got: &[Got]| got.iter().filter(|one| one.method == "GET").cloned().collect::<Vec<_>>();
        let got = self.until(&format!("{count} questions"), |got| gets(got).len() >= count).await;
        gets(&got)
    }
}

async fn answer(request: Request<Incoming>, inner: Arc<Inner>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let got = Got {
        method: head.method.to_string(),
        target: head.uri.path_and_query().unwrap().to_string(),
        headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: body.collect().await?.to_bytes().to_vec(),
    };
    let place = inner.got.borrow().iter().filter(|other| other.method == got.method).count();
    let say = inner.manner.lock().unwrap_or_else(PoisonError::into_inner)(&got, place);
    inner.got.send_modify(|all| all.push(got));
    let mut response = Response::new(Full::default());
    let status = match say {
        Say::Silence => std::future::pending().await,
        Say::Later(when, status) => {
            when.notified().await;
            status
        }
        Say::Status(status, body) => {
            *response.body_mut() = Full::new(Bytes::from(body));
            status
        }
        Say::With(status, name, value) => {
            response.headers_mut().insert(name, value.parse().unwrap());
            status
        }
    };
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}
