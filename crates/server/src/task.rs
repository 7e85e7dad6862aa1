//! Starting tasks. A task that panics is counted and reported; the others go on.

use std::future::Future;
use std::rc::Rc;

use tracing::error;

use crate::fanout::shard::Shard;

struct Guard(Rc<Shard>);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.meters.tasks_panicked.increment();
            error!("a task panicked; the node goes on without it");
        }
    }
}

/// Starts a task on this thread.
pub(crate) fn spawn(shard: &Rc<Shard>, future: impl Future<Output = ()> + 'static) {
    let guard = Guard(Rc::clone(shard));
    drop(tokio::task::spawn_local(async move {
        let _guard = guard;
        future.await;
    }));
}
