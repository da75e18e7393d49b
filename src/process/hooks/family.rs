//! What a hook has started, wherever it went: for the time of the hook its orphans come to this process.

use rustix::process::{Pid, Signal, WaitOptions};

use crate::error::{Context, Result};

/// More rounds than any hook's tree is deep; one that forks faster than it is killed is given up after them.
const ROUNDS: usize = 1000;

/// The descendants of one hook.
pub(super) struct Family {
    /// Children that were there before the hook.
    others: Vec<i32>,
    /// This process takes orphans anyway.
    subreaper: bool,
}

impl Family {
    /// From now on orphans come to this process (`PR_SET_CHILD_SUBREAPER`), until this is dropped. Those that are left
    /// then go on to the next subreaper when this process ends, as they would have at once.
    ///
    /// # Errors
    /// Those of prctl(2).
    pub(super) fn adopt() -> Result<Self> {
        let doing = "become a subreaper";
        let subreaper = rustix::process::child_subreaper().context(doing)?.is_some();
        if !subreaper {
            rustix::process::set_child_subreaper(Some(rustix::process::getpid())).context(doing)?;
        }
        Ok(Self { others: children(), subreaper })
    }

    /// Kills what the hook, which is dead and waited for, has left: its children are ours now, and when they die
    /// theirs.
    pub(super) fn kill(&self) {
        for _ in 0..ROUNDS {
            let mut left = children();
            left.retain(|pid| !self.others.contains(pid));
            if left.is_empty() {
                return;
            }
            for pid in left.into_iter().filter_map(Pid::from_raw) {
                // A child that was not waited for keeps its number.
                let _ = rustix::process::kill_process(pid, Signal::KILL);
                let wait = || rustix::process::waitpid(Some(pid), WaitOptions::empty());
                let _ = rustix::io::retry_on_intr(wait);
            }
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        if !self.subreaper {
            let _ = rustix::process::set_child_subreaper(None);
        }
    }
}

/// The children of this process (proc(5), `/proc/PID/task/TID/children`); none where the kernel has no such file.
fn children() -> Vec<i32> {
    let pid = std::process::id();
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
