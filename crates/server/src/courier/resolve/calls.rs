//! The calls to the system that are under way or wait, and the threads that make them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use tokio::sync::watch;

use super::known::Known;
use super::line::{Line, Turn};

/// Calls at once for names that were found lately. They take milliseconds, so this is a matter of thousands a second.
const KNOWN_PLACES: usize = 96;

/// Calls at once for all other names, which may well be names that nobody answers for.
const UNKNOWN_PLACES: usize = 128;

/// A name that takes longer to be found is not known after that: it would keep those waiting whose servers are fine.
const FOUND_TIME_MAX: Duration = Duration::from_secs(3);

/// After so long without work a thread ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The call that blocks.
type Ask = Box<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// What came of a call, for all who asked. Errors cannot be handed to many.
type Answer = Result<Arc<[IpAddr]>, (io::ErrorKind, Arc<str>)>;

/// Calls, one at a time for each name. A call keeps its place until it has returned, whether or not somebody still waits for
/// it: it is the thread that is scarce. There are never more threads than places.
pub(super) struct Calls {
    ask: Ask,
    state: Mutex<State>,
    /// Something was put into `State::begun`.
    work: Condvar,
}

struct State {
    known: Known,
    lines: Lines,
    calls: HashMap<Arc<str>, Call, RandomState>,
    /// Calls with a place, for threads that were idle.
    begun: VecDeque<Arc<str>>,
    /// Threads that wait for work, save those for whom it lies in `begun`.
    idle: usize,
}

struct Lines {
    known: Line,
    unknown: Line,
}

/// In which line a call is. What is learnt meanwhile does not change that.
#[derive(Clone, Copy, Debug)]
enum Standing {
    Known,
    Unknown,
}

struct Call {
    standing: Standing,
    /// Nothing once it is under way.
    turn: Option<Turn>,
    answer: watch::Sender<Option<Answer>>,
}

impl Lines {
    fn of(&mut self, standing: Standing) -> &mut Line {
        match standing {
            Standing::Known => &mut self.known,
            Standing::Unknown => &mut self.unknown,
        }
    }
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").field("calls", &self.state().calls.len()).finish_non_exhaustive()
    }
}

impl Calls {
    pub(super) fn new(ask: Ask) -> Self {
        let lines = Lines { known: Line::new(KNOWN_PLACES), unknown: Line::new(UNKNOWN_PLACES) };
        let (known, calls) = (Known::default(), HashMap::default());
        let state = State { known, lines, calls, begun: VecDeque::new(), idle: 0 };
        Self { ask, state: Mutex::new(state), work: Condvar::new() }
    }

    /// Has the system asked for a name, with whoever else wants to know it.
    pub(super) fn ask_for(self: &Arc<Self>, name: &str) -> Asker {
        let mut state = self.state();
        if let Some((name, call)) = state.calls.get_key_value(name) {
            return Asker { calls: Arc::clone(self), name: Arc::clone(name), answer: call.answer.subscribe() };
        }
        let name = Arc::<str>::from(name);
        let standing = if state.known.has(&name) { Standing::Known } else { Standing::Unknown };
        let turn = state.lines.of(standing).enter(&name);
        let (sender, answer) = watch::channel(None);
        state.calls.insert(Arc::clone(&name), Call { standing, turn, answer: sender });
        drop(state);
        if turn.is_none() {
            self.begin(vec![Arc::clone(&name)]);
        }
        Asker { calls: Arc::clone(self), name, answer }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has these calls made, which have their places.
    fn begin(self: &Arc<Self>, mut names: Vec<Arc<str>>) {
        while let Some(name) = names.pop() {
            if let Err(error) = self.hand_over(&name) {
                names.extend(self.state().end(&name, Err(error), Duration::ZERO));
            }
        }
    }

    fn hand_over(self: &Arc<Self>, name: &Arc<str>) -> io::Result<()> {
        let mut state = self.state();
        if state.idle > 0 {
            state.idle -= 1;
            state.begun.push_back(Arc::clone(name));
            self.work.notify_one();
            return Ok(());
        }
        drop(state);
        let (calls, name) = (Arc::clone(self), Arc::clone(name));
        let thread = std::thread::Builder::new().name("stentor-names".to_owned());
        thread.spawn(move || calls.work(name)).map(drop)
    }

    /// A thread's life: its first call, and those that come after.
    fn work(self: Arc<Self>, first: Arc<str>) {
        let mut next = Some(first);
        while let Some(name) = next {
            let since = Instant::now();
            let answer = (self.ask)(&name);
            let took = since.elapsed();
            let mut state = self.state();
            let mut begun = state.end(&name, answer, took);
            next = begun.pop();
            if next.is_none() {
                state.idle += 1;
            }
            drop(state);
            self.begin(begun);
            next = next.or_else(|| self.wait_for_work());
        }
    }

    /// For a thread that is idle; nothing when there was no work for long enough, and it is counted no more.
    fn wait_for_work(&self) -> Option<Arc<str>> {
        let has_none = |state: &mut State| state.begun.is_empty();
        let waited = self.work.wait_timeout_while(self.state(), IDLE_TIMEOUT, has_none);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let name = state.begun.pop_front();
        if name.is_none() {
            state.idle -= 1;
        }
        name
    }
}

impl State {
    /// A call has returned: tells those who wait for it, and gives the calls that have a place now.
    fn end(&mut self, name: &Arc<str>, answer: io::Result<Vec<IpAddr>>, took: Duration) -> Vec<Arc<str>> {
        if answer.is_ok() && took <= FOUND_TIME_MAX {
            self.known.learn(Arc::clone(name));
        } else {
            self.known.forget(name);
        }
        let call = self.calls.remove(name).expect("a call that is under way is known");
        call.answer.send_replace(Some(match answer {
            Ok(found) => Ok(found.into()),
            Err(error) => Err((error.kind(), error.to_string().into())),
        }));
        let line = self.lines.of(call.standing);
        line.end(name);
        let begun: Vec<_> = std::iter::from_fn(|| line.next()).collect();
        for name in &begun {
            self.calls.get_mut(name).expect("a call that waits is known").turn = None;
        }
        begun
    }
}

/// Somebody who waits for a call. Whoever drops it gives up, and a call that nobody wants is not begun.
pub(super) struct Asker {
    calls: Arc<Calls>,
    name: Arc<str>,
    answer: watch::Receiver<Option<Answer>>,
}

impl Asker {
    pub(super) async fn addresses(mut self) -> io::Result<Vec<IpAddr>> {
        let answer = self.answer.wait_for(Option::is_some).await;
        match answer.as_deref() {
            Ok(Some(Ok(found))) => Ok(found.to_vec()),
            Ok(Some(Err((kind, text)))) => Err(io::Error::new(*kind, text.to_string())),
            Ok(None) | Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        let mut guard = self.calls.state();
        let state = &mut *guard;
        if self.answer.borrow().is_some() {
            return;
        }
        // Without an answer the call is there, and has this one among those who ask.
        let Some(call) = state.calls.get(&self.name) else { return };
        if let (Some(turn), 1) = (call.turn, call.answer.receiver_count()) {
            state.lines.of(call.standing).leave(&self.name, turn);
            state.calls.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// A system whose calls for silent names return when they are let go, without an address.
    #[derive(Default)]
    struct System {
        book: Mutex<Book>,
        news: Condvar,
    }

    #[derive(Default)]
    struct Book {
        asked: Vec<String>,
        /// The ends of silent names.
        silent: Vec<&'static str>,
    }

    impl Book {
        fn is_silent(&self, name: &str) -> bool {
            self.silent.iter().any(|end| name.ends_with(end))
        }
    }

    impl System {
        fn new() -> (Arc<Self>, Arc<Calls>) {
            let system = Arc::new(Self::default());
            let asked = Arc::clone(&system);
            (system, Arc::new(Calls::new(Box::new(move |name| asked.answer(name)))))
        }

        fn answer(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            let mut book = self.book.lock().unwrap();
            book.asked.push(name.to_owned());
            self.news.notify_all();
            if !book.is_silent(name) {
                return Ok(vec![ADDRESS]);
            }
            drop(self.news.wait_while(book, |book| book.is_silent(name)).unwrap());
            Err(io::ErrorKind::TimedOut.into())
        }

        fn silence(&self, ends: &[&'static str]) {
            self.book.lock().unwrap().silent = ends.to_vec();
            self.news.notify_all();
        }

        /// Blocks until this is how many were asked for, ever.
        fn wait_for_asked(&self, count: usize) {
            let book = self.book.lock().unwrap();
            let book = self.news.wait_while(book, |book| book.asked.len() < count).unwrap();
            assert_eq!(book.asked.len(), count);
        }
    }

    fn ask_for_many(calls: &Arc<Calls>, count: usize, end: &str) -> Vec<Asker> {
        (0..count).map(|number| calls.ask_for(&format!("h{number}.{end}"))).collect()
    }

    async fn check_found(calls: &Arc<Calls>, names: &[&str]) {
        for name in names {
            assert_eq!(calls.ask_for(name).addresses().await.unwrap(), [ADDRESS], "{name}");
        }
    }

    #[tokio::test]
    async fn silent_names_hold_up_no_others() {
        let (system, calls) = System::new();
        check_found(&calls, &["www.slow.test"]).await;
        system.silence(&["x.slow.test"]);
        let silent = ask_for_many(&calls, 900, "x.slow.test");
        system.wait_for_asked(1 + 43);
        // Neither of other domains nor of their own, nor a name of theirs that was found before.
        check_found(&calls, &["a.example", "b.test", "y.slow.test", "www.slow.test", "a.example"]).await;
        system.silence(&[]);
        for one in silent {
            drop(one.addresses().await);
        }
        assert!(calls.state().calls.is_empty());
    }

    #[tokio::test]
    async fn a_name_is_asked_for_once_at_a_time() {
        let (system, calls) = System::new();
        system.silence(&["slow.test"]);
        let askers = [calls.ask_for("a.slow.test"), calls.ask_for("a.slow.test"), calls.ask_for("a.slow.test")];
        system.wait_for_asked(1);
        system.silence(&[]);
        for one in askers {
            assert_eq!(one.addresses().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        check_found(&calls, &["a.slow.test"]).await;
        system.wait_for_asked(2);
    }

    #[tokio::test]
    async fn a_call_keeps_its_place_until_it_has_returned() {
        let (system, calls) = System::new();
        system.silence(&["slow.test"]);
        let given_up = ask_for_many(&calls, 900, "slow.test");
        system.wait_for_asked(64);
        drop(given_up);
        assert_eq!(calls.state().calls.len(), 64, "whoever waited for a place is forgotten");
        let patient = calls.ask_for("late.slow.test");
        // Joins a call that nobody waits for any more.
        let again = calls.ask_for("h0.slow.test");
        assert!(calls.state().calls["late.slow.test"].turn.is_some());
        system.silence(&["late.slow.test"]);
        assert!(again.addresses().await.is_err());
        system.wait_for_asked(65);
        system.silence(&[]);
        assert!(patient.addresses().await.is_err());
        assert_eq!(ask_for_many(&calls, 1, "slow.test").remove(0).addresses().await.unwrap(), [ADDRESS]);
        system.wait_for_asked(66);
    }

    #[tokio::test]
    async fn who_asks_for_a_waiting_name_too_keeps_it_waiting() {
        let (system, calls) = System::new();
        system.silence(&["slow.test"]);
        let silent = ask_for_many(&calls, 64, "slow.test");
        let (one, other) = (calls.ask_for("late.slow.test"), calls.ask_for("late.slow.test"));
        drop(one);
        system.wait_for_asked(64);
        system.silence(&["late.slow.test"]);
        drop(silent);
        system.wait_for_asked(65);
        system.silence(&[]);
        assert!(other.addresses().await.is_err());
    }

    #[tokio::test]
    async fn a_name_that_fails_is_unknown_again() {
        let (system, calls) = System::new();
        check_found(&calls, &["a.test"]).await;
        assert!(calls.state().known.has("a.test"));
        system.silence(&["a.test"]);
        let asker = calls.ask_for("a.test");
        system.wait_for_asked(2);
        system.silence(&[]);
        assert!(asker.addresses().await.is_err());
        assert!(!calls.state().known.has("a.test"));
    }

    #[test]
    fn a_name_that_takes_long_is_not_known() {
        let check = |took, is_known| {
            let (system, calls) = System::new();
            system.silence(&["a.test"]);
            let _asker = calls.ask_for("a.test");
            let mut state = calls.state();
            // As the thread will, which is never let go here.
            state.end(&"a.test".into(), Ok(vec![ADDRESS]), took);
            assert_eq!(state.known.has("a.test"), is_known);
        };
        check(FOUND_TIME_MAX, true);
        check(FOUND_TIME_MAX + Duration::from_millis(1), false);
    }

    #[tokio::test]
    async fn threads_are_used_again() {
        let threads = Arc::new(Mutex::new(std::collections::HashSet::new()));
        let seen = Arc::clone(&threads);
        let calls = Arc::new(Calls::new(Box::new(move |_| {
            seen.lock().unwrap().insert(std::thread::current().id());
            Ok(vec![ADDRESS])
        })));
        for _ in 0..100 {
            check_found(&calls, &["a.test", "b.test"]).await;
        }
        assert_eq!(threads.lock().unwrap().len(), 1);
    }
}
