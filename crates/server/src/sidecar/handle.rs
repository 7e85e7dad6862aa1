//! The handle of a function, and the thread behind it.
//!
//! The kernel ends the workers when this thread ends, so it is the one that starts them, and it starts nothing else.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use stentor_websub::authenticator::Verdict;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet};
use tracing::{error, info, warn};

use super::crew::Crew;
use super::environment::{self, Environment};
use super::output::shown;
use super::{Options, Question};
use crate::meter::Meters;

/// Questions on their way to the thread.
const ORDERS_MAX: usize = 1024;

/// Waits between attempts to make an environment: a registry that is down comes back.
const RETRY_FIRST: Duration = Duration::from_secs(30);
const RETRY_MAX: Duration = Duration::from_secs(600);

/// How long killed processes may take to go.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What a sidecar is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The environment is being made, or the first worker is starting.
    Preparing,
    /// Questions are answered.
    Serving,
    /// Every question is denied, for this reason.
    Failed(String),
}

#[derive(Debug)]
struct Order {
    question: Question,
    reply: oneshot::Sender<Verdict>,
}

/// A function at work. Dropping it ends its processes.
pub struct Sidecar {
    orders: mpsc::Sender<Order>,
    condition: watch::Receiver<Condition>,
    stop: watch::Sender<bool>,
}

impl fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sidecar").field("condition", &*self.condition.borrow()).finish_non_exhaustive()
    }
}

impl Sidecar {
    /// Starts it. Its environment is made in the background; until it is there, every question is denied.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(options: Options, meters: Arc<Meters>) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let (told, condition) = watch::channel(Condition::Preparing);
        let (stop, stopped) = watch::channel(false);
        std::thread::Builder::new().name("stentor-python".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => LocalSet::new().block_on(&runtime, run(options, meters, inbox, told, stopped)),
                Err(error) => error!(%error, "the thread of an authenticator function has no runtime"),
            }
        })?;
        Ok(Self { orders, condition, stop })
    }

    /// Asks. No answer by the deadline is [`Verdict::Unavailable`].
    pub async fn ask(&self, question: Question) -> Verdict {
        let (reply, answer) = oneshot::channel();
        if self.orders.send(Order { question, reply }).await.is_err() {
            return Verdict::Unavailable;
        }
        answer.await.unwrap_or(Verdict::Unavailable)
    }

    /// What it is doing, now and later.
    #[must_use]
    pub fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.clone()
    }

    /// Ends its processes, and waits until they are gone.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let mut condition = self.condition.clone();
        while condition.changed().await.is_ok() {}
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

async fn run(
    options: Options,
    meters: Arc<Meters>,
    inbox: mpsc::Receiver<Order>,
    told: watch::Sender<Condition>,
    mut stopped: watch::Receiver<bool>,
) {
    let (code, stamp) = (options.source.read(), options.source.stamp());
    let crew = Crew::new(options.clone(), code, stamp, meters);
    drop(tokio::task::spawn_local(answer(Rc::clone(&crew), inbox)));
    let mut places = JoinSet::new();
    tokio::select! {
        () = staff(&options, &crew, &told, &mut places) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    drop(stopped.wait_for(|stopped| *stopped).await);
    crew.dismiss();
    let gone = async { while places.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_TIMEOUT, gone).await.is_err() {
        error!(hub = options.hub, "a worker of the authenticator cannot be ended");
    }
}

/// Fills the places of the crew, and mends the environment once when that is why they stay empty.
async fn staff(options: &Options, crew: &Rc<Crew>, told: &watch::Sender<Condition>, places: &mut JoinSet<()>) {
    let mut environment = prepared(options, crew, told).await;
    let (place, seen) = watch::channel(environment.clone());
    for number in 1..=options.workers {
        places.spawn_local(Rc::clone(crew).staff(number, seen.clone()));
    }
    let (mut stumbled, mut is_serving, mut is_mended) = (crew.stumbled(), false, false);
    loop {
        tokio::select! {
            () = crew.staffed(), if !is_serving => {
                let (hub, function, workers) = (&options.hub, options.source.name(), options.workers);
                info!(hub, function, workers, "the authenticator is asked");
                told.send_replace(Condition::Serving);
                is_serving = true;
            }
            Ok(()) = stumbled.changed() => {
                let sentence = stumbled.borrow_and_update().clone().unwrap_or_default();
                if !is_mended && !environment.is_whole().await {
                    is_mended = true;
                    let folder = environment.folder.display().to_string();
                    warn!(hub = options.hub, folder, "the Python environment of the authenticator is damaged");
                    if let Err(fault) = environment.discard().await {
                        error!(hub = options.hub, "the damaged environment stays: {fault}");
                    }
                    environment = prepared(options, crew, told).await;
                    place.send_replace(environment.clone());
                    // Those that stumbled meanwhile did so over the old one.
                    stumbled.mark_unchanged();
                } else if !is_serving {
                    told.send_replace(Condition::Failed(sentence));
                }
            }
        }
    }
}

/// Makes the environment, again and again if need be.
async fn prepared(options: &Options, crew: &Rc<Crew>, told: &watch::Sender<Condition>) -> Environment {
    let mut wait = RETRY_FIRST;
    loop {
        match environment::prepare(options, &crew.code()).await {
            Ok(environment) => return environment,
            Err(fault) => {
                let (hub, fault) = (&options.hub, shown(&fault));
                error!(hub, retry = ?wait, "every subscription is denied: there is no Python environment: {fault}");
                told.send_replace(Condition::Failed(fault));
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

async fn answer(crew: Rc<Crew>, mut inbox: mpsc::Receiver<Order>) {
    while let Some(Order { question, reply }) = inbox.recv().await {
        let crew = Rc::clone(&crew);
        // Who asked may have gone.
        drop(tokio::task::spawn_local(async move { drop(reply.send(crew.judge(&question).await)) }));
    }
}
