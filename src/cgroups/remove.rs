//! Removal of a container's cgroups.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{Cgroup, processes};
use crate::error::{Error, Result};

/// How long the kernel has to let go of dead processes, for all hierarchies together.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Removes every cgroup that was made for the container, with the sub-cgroups that it made itself. One that is
    /// gone already is a success. Parents are never removed.
    ///
    /// # Errors
    /// systemd does not stop its unit; names the first cgroup that is still busy after ten seconds, and its processes. The others are removed.
    pub fn remove(&self) -> Result<()> {
        // First, or systemd would find its cgroup gone.
        let stopped = self.stop_unit();
        let deadline = Instant::now() + PATIENCE;
        let made = self.record.directories.iter().filter(|directory| directory.made);
        // The errors after the first tell the same story in other hierarchies.
        made.map(|directory| remove(&directory.path, deadline)).fold(stopped, Result::and)
    }
}

pub(super) fn remove(path: &Path, deadline: Instant) -> Result<()> {
    let mut pause = Duration::from_millis(1);
    let mut result = rustix::fs::rmdir(path);
    loop {
        let errno = match result {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            Err(errno) => errno,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if !matches!(errno, Errno::BUSY | Errno::NOTEMPTY | Errno::INTR) || left.is_zero() {
            return Err(still_there(path, errno));
        }
        // Sub-cgroups make it busy as processes do: take them first, deepest first.
        for cgroup in processes::tree(path)?.iter().rev() {
            // The last one is `path` itself.
            result = rustix::fs::rmdir(cgroup);
        }
        if result.is_err() {
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }
}

fn still_there(path: &Path, errno: Errno) -> Error {
    let error = Error::system(format_args!("remove cgroup {}", path.display()), errno);
    match processes::list(path) {
        Ok(pids) if !pids.is_empty() => error.hint(format!("processes in it: {}", short(&pids))),
        _ => error,
    }
}

fn short(pids: &[i32]) -> String {
    let shown: Vec<_> = pids.iter().take(10).map(ToString::to_string).collect();
    let more = if pids.len() > 10 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
