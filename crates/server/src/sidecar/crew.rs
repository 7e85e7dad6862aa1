//! The workers of one function: which of them is asked, what becomes of their answers, and when a new one is hired.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use stentor_websub::authenticator::Verdict;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::cache::{Cache, Key};
use super::environment::Environment;
use super::output::{Speaker, shown};
use super::source::Stamp;
use super::speech::{Cause, LoadFault, Ruling};
use super::worker::{self, Code, End, Ended, Hired, Worker};
use super::{Options, Question};
use crate::meter::Meters;

/// Questions that wait for a worker. Behind it they are denied at once: their time would be over anyway.
const WAITING_MAX: usize = 4096;

/// The first and the longest wait before a worker is replaced that did not start.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// The longest wait before one is replaced that did. Whoever can make workers crash must not close the hub for others, whose
/// time is five seconds by default.
const BACKOFF_STARTED_MAX: Duration = Duration::from_secs(1);

/// A worker that lived for so long did not end because of how it began.
const HEALTHY_AGE: Duration = Duration::from_secs(30);

/// How often a question is asked when workers end over it. The last time that one ended by itself, it was asked alone.
const TRIES_MAX: usize = 3;

/// How often a worker that is to be left to one question is looked at.
const IDLE_INTERVAL: Duration = Duration::from_millis(5);

/// All workers of one function.
#[derive(Debug)]
pub(super) struct Crew {
    options: Options,
    meters: Arc<Meters>,
    speaker: Speaker,
    workers: RefCell<Vec<Rc<Worker>>>,
    /// A worker has room for one more question.
    freed: Notify,
    /// Held by the one question that has a worker for itself.
    alone: Mutex<()>,
    waiting: Cell<usize>,
    /// Whether there has ever been a worker.
    staffed: watch::Sender<bool>,
    /// Why a worker did not start, the last time.
    stumbled: watch::Sender<Option<String>>,
    /// Whether all workers are to go.
    dismissed: watch::Sender<bool>,
    code: RefCell<Code>,
    stamp: Cell<Option<Stamp>>,
    /// The file cannot be read, and the log knows.
    is_unreadable: Cell<bool>,
    /// The last generation whose fault has been logged.
    faulty: Cell<Option<u64>>,
    cache: RefCell<Cache>,
}

impl Crew {
    pub(super) fn new(
        options: Options,
        code: Result<String, String>,
        stamp: Option<Stamp>,
        meters: Arc<Meters>,
    ) -> Rc<Self> {
        let speaker = Speaker {
            hub: options.hub.as_str().into(),
            function: options.source.name().into(),
            limiter: Rc::default(),
            last: Rc::default(),
        };
        if let Err(sentence) = &code {
            error!(hub = options.hub, "every subscription is denied: {sentence}");
        }
        let is_unreadable = Cell::new(code.is_err());
        let code = Code { generation: 1, file: options.source.file(), text: code.unwrap_or_default() };
        Rc::new(Self {
            options,
            meters,
            speaker,
            workers: RefCell::default(),
            freed: Notify::new(),
            alone: Mutex::new(()),
            waiting: Cell::new(0),
            staffed: watch::Sender::new(false),
            stumbled: watch::Sender::new(None),
            dismissed: watch::Sender::new(false),
            code: RefCell::new(code),
            stamp: Cell::new(stamp),
            is_unreadable,
            faulty: Cell::new(None),
            cache: RefCell::default(),
        })
    }

    /// The code as it was read last.
    pub(super) fn code(&self) -> String {
        self.code.borrow().text.clone()
    }

    /// Waits for the first worker.
    pub(super) async fn staffed(&self) {
        // The sender is here, so it cannot be gone.
        drop(self.staffed.subscribe().wait_for(|staffed| *staffed).await);
    }

    /// Hears why workers do not start.
    pub(super) fn stumbled(&self) -> watch::Receiver<Option<String>> {
        self.stumbled.subscribe()
    }

    /// Ends all workers.
    pub(super) fn dismiss(&self) {
        self.dismissed.send_replace(true);
    }

    /// Says who may subscribe, by the deadline.
    pub(super) async fn judge(&self, question: &Question) -> Verdict {
        self.meters.function_questions.increment();
        let (hub, function) = (&*self.speaker.hub, &*self.speaker.function);
        if !*self.staffed.borrow() {
            self.meters.function_silences.increment();
            warn!(hub, function, "denied: the environment of the authenticator is not there");
            return Verdict::Unavailable;
        }
        if !self.refresh() {
            self.meters.function_failures.increment();
            return Verdict::Failed;
        }
        let key = if self.cache.borrow().is_empty() { None } else { Some(Key::of(question)) };
        if let Some(verdict) = key.and_then(|key| self.cache.borrow().get(key, Instant::now())) {
            return verdict;
        }
        let deadline = Instant::now() + self.options.timeout;
        let verdict = tokio::time::timeout_at(deadline, self.ask(question, deadline)).await;
        match verdict {
            Ok(Some(verdict)) => return verdict,
            Ok(None) => warn!(hub, function, "denied: the authenticator's worker ended before it had answered"),
            Err(_) => {
                let timeout = self.options.timeout;
                warn!(hub, function, ?timeout, "denied: there was no verdict in time");
            }
        }
        self.meters.function_silences.increment();
        Verdict::Unavailable
    }

    /// Reads the file again when it has changed. False when there is nothing to run.
    fn refresh(&self) -> bool {
        let stamp = self.options.source.stamp();
        if stamp == self.stamp.get() {
            return !self.is_unreadable.get();
        }
        let (hub, function) = (&*self.speaker.hub, &*self.speaker.function);
        match self.options.source.read() {
            Ok(text) => {
                self.stamp.set(stamp);
                self.is_unreadable.set(false);
                let mut code = self.code.borrow_mut();
                if code.text != text {
                    info!(hub, function, "the authenticator's file has changed; from now on the new code is asked");
                    *code = Code { generation: code.generation + 1, file: code.file.clone(), text };
                    self.cache.borrow_mut().clear();
                }
                true
            }
            Err(sentence) => {
                if !self.is_unreadable.replace(true) {
                    error!(hub, function, "every subscription is denied: {sentence}");
                }
                self.stamp.set(stamp);
                false
            }
        }
    }

    /// Asks a worker; another one where the first ended over something that may have been another question. When it ended
    /// by itself, nobody can tell which question it was, so each is asked alone from then on: the one at fault is found, and
    /// the others get their answers.
    async fn ask(&self, question: &Question, deadline: Instant) -> Option<Verdict> {
        let mut is_suspect = false;
        for _ in 0..TRIES_MAX {
            let alone = if is_suspect { Some(self.alone.lock().await) } else { None };
            let (worker, reservation) = match alone {
                Some(_) => {
                    let reservation = self.reserve().await?;
                    (Rc::clone(&reservation.worker), Some(reservation))
                }
                None => (self.free_worker().await?, None),
            };
            let code = self.code.borrow().clone();
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = worker.ask(&code, question, left).await;
            drop(reservation);
            match ended {
                Ended::Answered(answer) => {
                    let Some(ruling) = answer.ruling() else {
                        worker.retire("its verdict lacks something");
                        return Some(Verdict::Failed);
                    };
                    return self.rule(ruling, question, &worker, code.generation);
                }
                Ended::Bystander => {}
                Ended::Suspect => is_suspect = true,
                Ended::Crashed => return None,
            }
        }
        None
    }

    /// A worker that has no question and gets none.
    async fn reserve(&self) -> Option<Reservation<'_>> {
        loop {
            let worker = self.free_worker().await?;
            worker.reserve();
            let reservation = Reservation { worker, freed: &self.freed };
            // What it has begun is answered or overdue soon, and whoever waits here has a deadline as well.
            while !reservation.worker.is_idle() && !reservation.worker.is_leaving() {
                tokio::time::sleep(IDLE_INTERVAL).await;
            }
            if !reservation.worker.is_leaving() {
                return Some(reservation);
            }
        }
    }

    async fn free_worker(&self) -> Option<Rc<Worker>> {
        loop {
            let best = {
                let workers = self.workers.borrow();
                let loads = workers.iter().filter_map(|worker| Some((worker.load()?, worker)));
                loads.min_by_key(|(load, _)| *load).map(|(_, worker)| Rc::clone(worker))
            };
            if best.is_some() {
                return best;
            }
            if self.waiting.get() >= WAITING_MAX {
                return None;
            }
            self.waiting.set(self.waiting.get() + 1);
            let _waiting = Waiting(&self.waiting);
            self.freed.notified().await;
        }
    }

    fn rule(&self, ruling: Ruling, question: &Question, worker: &Worker, generation: u64) -> Option<Verdict> {
        let (hub, function) = (&*self.speaker.hub, &*self.speaker.function);
        match ruling {
            Ruling::Verdict(verdict, keep) => {
                // What code said that has been replaced meanwhile is the answer to this question and to no later one.
                let is_in_force = || self.refresh() && generation == self.code.borrow().generation;
                let keep = keep.filter(|keep| !keep.is_zero() && is_in_force());
                if let Some(keep) = keep {
                    self.cache.borrow_mut().put(Key::of(question), verdict.clone(), keep, Instant::now());
                }
                Some(verdict)
            }
            Ruling::Failed(cause, reason) => {
                self.meters.function_failures.increment();
                let reason = shown(&reason);
                // Whoever can make it fail can do so often; the metric counts them all.
                let is_told = self.speaker.admits();
                match cause {
                    Cause::Result | Cause::Exception if !is_told => {}
                    Cause::Result => error!(hub, function, "the authenticator's result is not allowed: {reason}"),
                    Cause::Exception => error!(hub, function, "the authenticator raised an exception: {reason}"),
                    Cause::Memory => {
                        error!(hub, function, "the authenticator ran out of memory: {reason}");
                        worker.retire("a function ran out of memory");
                    }
                }
                Some(Verdict::Failed)
            }
            Ruling::Overdue => None,
        }
    }

    /// Keeps one place of the crew filled until all are dismissed.
    pub(super) async fn staff(self: Rc<Self>, number: usize, mut environment: watch::Receiver<Environment>) {
        let mut dismissed = self.dismissed.subscribe();
        let mut backoff = BACKOFF_FIRST;
        loop {
            let since = Instant::now();
            let (hub, function) = (&*self.speaker.hub, &*self.speaker.function);
            let code = self.code.borrow().clone();
            let place = environment.borrow_and_update().clone();
            let hired = tokio::select! {
                hired = worker::hire(number, &self.options, &place, &code, &self.speaker) => hired,
                _ = dismissed.wait_for(|dismissed| *dismissed) => return,
            };
            match hired {
                Ok((mut hired, fault)) => {
                    self.loaded(code.generation, fault);
                    let end = tokio::select! {
                        end = self.employ(&mut hired) => end,
                        _ = dismissed.wait_for(|dismissed| *dismissed) => {
                            hired.end().await;
                            return;
                        }
                    };
                    // Whoever was asking it has not run yet: the end is counted before it is heard of.
                    self.meters.function_workers_ended.increment();
                    let status = hired.end().await;
                    let why = end.sentence();
                    warn!(hub, function, worker = number, status, why, "a worker of the authenticator is replaced");
                    backoff = backoff.min(BACKOFF_STARTED_MAX);
                }
                Err(sentence) => {
                    error!(hub, function, worker = number, "{sentence}");
                    self.stumbled.send_replace(Some(sentence));
                }
            }
            if since.elapsed() >= HEALTHY_AGE {
                backoff = BACKOFF_FIRST;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff) => {}
                Ok(()) = environment.changed() => {}
                _ = dismissed.wait_for(|dismissed| *dismissed) => return,
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Gives a worker its questions until it ends.
    async fn employ(&self, hired: &mut Hired) -> End {
        let worker = Rc::clone(&hired.worker);
        self.workers.borrow_mut().push(Rc::clone(&worker));
        self.staffed.send_replace(true);
        self.freed.notify_waiters();
        let end = hired.work(|generation, fault| self.loaded(generation, fault), &self.freed).await;
        self.workers.borrow_mut().retain(|other| !Rc::ptr_eq(other, &worker));
        end
    }

    /// Logs once what is wrong with code. Until it is mended, whoever asks is denied.
    fn loaded(&self, generation: u64, fault: Option<LoadFault>) {
        let (hub, function) = (&*self.speaker.hub, &*self.speaker.function);
        let Some(fault) = fault else { return };
        if self.faulty.replace(Some(generation)) != Some(generation) {
            let (line, reason) = (fault.line, shown(&fault.reason));
            error!(hub, function, line, "every subscription is denied: the function is at fault: {reason}");
        }
    }
}

/// A worker that is kept for one question.
struct Reservation<'c> {
    worker: Rc<Worker>,
    freed: &'c Notify,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.worker.release();
        self.freed.notify_one();
    }
}

/// Counts down when somebody stops waiting.
struct Waiting<'c>(&'c Cell<usize>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
