//! `stentor status` and `stentor stop`.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Cbdir, NodeState, Outcome, complain, node_dir, say};
use crate::node::DRAIN_TIMEOUT;

/// How often `stop` looks whether the node has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

pub(super) fn run(place: &Cbdir, assert: Option<NodeState>) -> Outcome {
    let running = node_dir::running(&node_dir::resolve(place).path);
    let state = if running.is_some() { NodeState::Running } else { NodeState::Stopped };
    say(match state {
        NodeState::Running => "Status is RUNNING",
        NodeState::Stopped => "Status is STOPPED",
    });
    if assert.is_none_or(|wanted| wanted == state) { Outcome::Fine } else { Outcome::Failed }
}

pub(super) fn stop(place: &Cbdir) -> Outcome {
    let dir = node_dir::resolve(place).path;
    let pid = node_dir::running(&dir).and_then(|pid| i32::try_from(pid).ok());
    let Some(pid) = pid.and_then(Pid::from_raw) else {
        complain(&format!("No node is running in {}.", dir.display()));
        return Outcome::Failed;
    };
    let number = pid.as_raw_nonzero();
    if let Err(error) = kill_process(pid, Signal::TERM) {
        complain(&format!("Process {number} cannot be stopped: {error}"));
        return Outcome::Failed;
    }
    let patience = Instant::now() + DRAIN_TIMEOUT + Duration::from_secs(5);
    while node_dir::running(&dir).is_some() {
        if Instant::now() > patience {
            complain(&format!("Process {number} is still running; it was told to stop."));
            return Outcome::Failed;
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    say(&format!("Process {number} has exited gracefully."));
    Outcome::Fine
}
