//! Servers that follow a script, for whoever sends requests to strangers.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use stentor::courier::{Options, Return};
use stentor_websub::guard::{Guard, Reach};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::house::{PATIENCE, soon};

/// Long enough for everything that happens, short enough to wait for what does not.
pub(crate) const BRIEF: Duration = Duration::from_millis(300);

pub(crate) fn options() -> Options {
    Options {
        guard: Guard { reach: Reach::Private, ..Guard::default() },
        connect_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        idle_per_host_max: 4,
        user_agent: "stentor-test".to_owned(),
        roots: Arc::new(RootCertStore::empty()),
    }
}

/// The end of a request as one line, for tables.
pub(crate) fn shown(result: &Return) -> String {
    match result {
        Return::Answered(answer) => format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)),
        Return::NotSent(fault) => format!("not sent: {fault:?}"),
        Return::NoAnswer(fault) => format!("no answer: {fault:?}"),
        Return::TooLong => "too long".to_owned(),
    }
}

/// What a server does with a request, one after the other, over all of its connections.
#[derive(Clone)]
pub(crate) enum Act {
    /// Writes these octets once the request was read.
    Say(Vec<u8>),
    /// Writes and closes.
    Last(Vec<u8>),
    /// Closes with a reset once the request was read.
    Reset,
    /// Writes the first, then an octet of the second now and then.
    Drip(&'static str),
    /// Says nothing, and waits until the other side closes.
    Hang,
    /// Says it, and hangs up unasked as soon as told.
    ThenEnd(Vec<u8>),
}

pub(crate) fn say(text: &str) -> Act {
    Act::Say(text.into())
}

pub(crate) fn ok(body: &str) -> Act {
    Act::Say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into())
}

/// What a server has seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: Cell<usize>,
    /// Of those, the ones that the other side closed.
    ended: Cell<usize>,
    pub(crate) requests: RefCell<Vec<String>>,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Rc<Seen>,
    changed: watch::Receiver<usize>,
}

impl Server {
    pub(crate) async fn start(script: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, changed) = watch::channel(0);
        let seen = Rc::new(Seen::default());
        let script = Rc::new(RefCell::new(script.into_iter()));
        let (told, sender) = (Rc::clone(&seen), Rc::new(sender));
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                told.connections.set(told.connections.get() + 1);
                let (told, script, sender) = (Rc::clone(&told), Rc::clone(&script), Rc::clone(&sender));
                tokio::task::spawn_local(async move {
                    let _ = play(stream, &script, &told).await;
                    told.ended.set(told.ended.get() + 1);
                    sender.send_modify(|ended| *ended += 1);
                });
            }
        });
        Self { address, seen, changed }
    }

    pub(crate) fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    /// Waits until so many connections have ended.
    pub(crate) async fn ended(&mut self, number: usize) {
        soon("connections to end", self.changed.wait_for(|ended| *ended >= number)).await.unwrap();
    }
}

/// A whole request, or nothing at the end of the stream.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<String>> {
    let mut octets = Vec::new();
    loop {
        if let Some(head) = octets.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&octets).into_owned();
            let told = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            if octets.len() >= head + 4 + told.map_or(0, |told| told.parse::<usize>().unwrap()) {
                return Ok(Some(text));
            }
        }
        if stream.read_buf(&mut octets).await? == 0 {
            return Ok(None);
        }
    }
}

async fn play(mut stream: TcpStream, script: &RefCell<std::vec::IntoIter<Act>>, seen: &Seen) -> io::Result<()> {
    while let Some(text) = request(&mut stream).await? {
        seen.requests.borrow_mut().push(text);
        let act = script.borrow_mut().next().expect("more requests than the script has");
        match act {
            Act::Say(octets) => stream.write_all(&octets).await?,
            Act::Last(octets) => return stream.write_all(&octets).await,
            Act::ThenEnd(octets) => {
                stream.write_all(&octets).await?;
                return stream.shutdown().await;
            }
            Act::Reset => {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                return Ok(());
            }
            Act::Drip(head) => {
                stream.write_all(head.as_bytes()).await?;
                let mut pulse = tokio::time::interval(Duration::from_millis(20));
                loop {
                    pulse.tick().await;
                    stream.write_all(b"x").await?;
                }
            }
            Act::Hang => while stream.read_u8().await.is_ok() {},
        }
    }
    Ok(())
}

/// A thread of its own, as the hub has it.
pub(crate) async fn here<T>(future: impl Future<Output = T>) -> T {
    tokio::task::LocalSet::new().run_until(future).await
}
