//! What a request costs the courier, beside the same request over bare hyper. Not a test: run it by name, optimised.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request};
use rustls::RootCertStore;
use stentor::courier::{AnswerLimit, Courier, Options, Parcel, Return};
use stentor_websub::guard::{Guard, Reach};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ENDPOINTS: usize = 50;
const POSTS: usize = 4_000;
const BODY: &[u8] = &[b'x'; 256];

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Endpoints on a thread of their own, which answer every request that comes in one piece.
fn endpoints() -> Vec<SocketAddr> {
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        runtime().block_on(async {
            let mut addresses = Vec::new();
            for _ in 0..ENDPOINTS {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                addresses.push(listener.local_addr().unwrap());
                tokio::spawn(async move {
                    while let Ok((mut stream, _)) = listener.accept().await {
                        tokio::spawn(async move {
                            let mut octets = [0; 4096];
                            while matches!(stream.read(&mut octets).await, Ok(1..)) {
                                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                            }
                        });
                    }
                });
            }
            sender.send(addresses).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().unwrap()
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    headers.insert("link", "<https://hub.example/>; rel=\"hub\", <https://t.example/>; rel=\"self\"".parse().unwrap());
    headers.insert("x-hub-signature", format!("sha256={}", "0".repeat(64)).parse().unwrap());
    headers
}

async fn by_courier(courier: Courier, address: SocketAddr) {
    let url: Arc<str> = format!("http://{address}/hooks/one?token=abcdef").into();
    for _ in 0..POSTS {
        let parcel = Parcel {
            method: Method::POST,
            url: Arc::clone(&url),
            headers: headers(),
            body: Bytes::from_static(BODY),
            timeout: Duration::from_secs(20),
            answer: AnswerLimit::Discard,
        };
        assert!(matches!(courier.send(parcel).await, Return::Answered(_)));
    }
}

async fn by_hyper(address: SocketAddr) {
    let io = hyper_util::rt::TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, driver) = http1::handshake(io).await.unwrap();
    tokio::task::spawn_local(driver);
    for _ in 0..POSTS {
        let mut request = Request::new(Full::new(Bytes::from_static(BODY)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = "/hooks/one?token=abcdef".parse().unwrap();
        *request.headers_mut() = headers();
        request.headers_mut().insert("host", address.to_string().parse().unwrap());
        sender.ready().await.unwrap();
        let answer = sender.send_request(request).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }
}

/// Processor time of this thread, user and system.
fn spent() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap()
}

fn measure(name: &str, addresses: &[SocketAddr], start: impl Fn(SocketAddr) -> tokio::task::JoinHandle<()>) -> String {
    runtime().block_on(tokio::task::LocalSet::new().run_until(async {
        let (wall, processor) = (Instant::now(), spent());
        let tasks: Vec<_> = addresses.iter().map(|address| start(*address)).collect();
        for task in tasks {
            task.await.unwrap();
        }
        let count = f64::from(u32::try_from(ENDPOINTS * POSTS).unwrap());
        let (processor, wall) = ((spent() - processor).as_secs_f64(), wall.elapsed().as_secs_f64());
        format!("{name}: {:.0} POSTs per processor second, {:.0} per second", count / processor, count / wall)
    }))
}

#[test]
#[ignore = "a measurement"]
fn cost_of_a_post() {
    let addresses = endpoints();
    for _ in 0..3 {
        let of_hyper = measure("hyper", &addresses, |address| tokio::task::spawn_local(by_hyper(address)));
        let courier = Courier::new(Options {
            guard: Guard { reach: Reach::Private, ..Guard::default() },
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            idle_per_host_max: 8,
            user_agent: "stentor-test".to_owned(),
            roots: Arc::new(RootCertStore::empty()),
        });
        let of_courier =
            measure("courier", &addresses, |address| tokio::task::spawn_local(by_courier(courier.clone(), address)));
        println!("{of_hyper}\n{of_courier}");
    }
}
