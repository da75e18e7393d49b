//! `events ID`: what a container uses and that it ran out of memory, as JSON lines in runc's words.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;

use super::output::{until_unread, write};
use crate::cgroups::{OomWatch, Stats};
use crate::container::{Container, Id, Lock, Status, Store};
use crate::error::{Context, Error, Kind, Result};

/// One line.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Stats>,
}

/// Prints one line of numbers (`once`), or one each `interval` and one for each process that the kernel kills for
/// lack of memory, until the container ends.
///
/// # Errors
/// `container does not exist`, `container with id X is not running`, no cgroup.
pub fn run(root: &Path, id: &str, once: bool, interval: Duration) -> Result<i32> {
    until_unread(watch(root, id, once, interval))
}

fn watch(root: &Path, id: &str, once: bool, interval: Duration) -> Result<i32> {
    let container = Store::open(root).load(&Id::parse(id)?, Lock::None)?;
    let gone = || Error::new(Kind::NotRunning, format!("container with id {id} is not running"));
    if container.status()? == Status::Stopped {
        return Err(gone());
    }
    if container.cgroup().is_none() {
        return Err(Error::new(Kind::State, "the container is not using cgroups"));
    }
    if once {
        print_stats(&container)?;
        return Ok(0);
    }
    let pidfd = container.pidfd()?.ok_or_else(gone)?;
    let mut oom = container.cgroup().watch_oom()?;
    let mut next = Instant::now() + interval;
    loop {
        let wait = next.saturating_duration_since(Instant::now());
        let ended = wait_for(pidfd.as_fd(), oom.as_ref(), wait)?;
        // First of all, since an end may well have been for lack of memory.
        print_kills(&container, oom.as_mut())?;
        if ended {
            return Ok(0);
        }
        if Instant::now() >= next {
            match print_stats(&container) {
                // It ended, and was deleted, just now.
                Err(_) if wait_for(pidfd.as_fd(), None, Duration::ZERO)? => return Ok(0),
                other => other?,
            }
            next += interval;
        }
    }
}

/// Waits for the end of init (`true`), for memory events, or for `time` to pass.
fn wait_for(pidfd: impl AsFd, oom: Option<&OomWatch>, time: Duration) -> Result<bool> {
    let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
    fds.extend(oom.map(|watch| PollFd::new(watch, PollFlags::IN)));
    let time = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 });
    match poll(&mut fds, Some(&time)) {
        Ok(_) => Ok(!fds[0].revents().is_empty()),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(errno).context("wait for events"),
    }
}

fn print_kills(container: &Container, oom: Option<&mut OomWatch>) -> Result<()> {
    let Some(oom) = oom else { return Ok(()) };
    for _ in 0..oom.kills(&container.cgroup())? {
        line(&Event { kind: "oom", id: &container.record.id, data: None })?;
    }
    Ok(())
}

fn print_stats(container: &Container) -> Result<()> {
    let data = Some(container.cgroup().stats()?);
    line(&Event { kind: "stats", id: &container.record.id, data })
}

fn line(event: &Event<'_>) -> Result<()> {
    let mut text = serde_json::to_vec(event).map_err(|error| Error::new(Kind::System, error.to_string()))?;
    text.push(b'\n');
    write(&text)
}
