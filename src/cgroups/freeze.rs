//! Pause and resume. On hybrid hosts the cgroup2 tree's freezer is used: its processes can still be killed, its state
//! is one read, and it says when it is done, where v1's must be asked again and again.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{Cgroup, file, no_cgroup, processes};
use crate::error::{Error, Kind, Result};

/// How long the processes have to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// The file that freezes a container.
enum Freezer<'a> {
    /// cgroup2, since kernel 5.2: `cgroup.freeze`, `cgroup.events`.
    Unified(&'a Path),
    /// v1: `freezer.state`.
    V1(&'a Path),
}

impl Cgroup {
    /// Stops all processes; returns when the last one stands still. If one does not within ten seconds, all are let
    /// go again and this fails.
    ///
    /// # Errors
    /// No freezer, or not frozen in time.
    pub fn freeze(&self) -> Result<()> {
        let freezer = self.freezer("freeze")?;
        let frozen = match freezer {
            Freezer::Unified(directory) => freeze_unified(directory),
            Freezer::V1(directory) => freeze_v1(directory),
        };
        if !matches!(frozen, Ok(true)) {
            // Never leave a container half frozen; the failure to freeze is what is told.
            let _ = self.thaw();
        }
        if frozen? {
            return Ok(());
        }
        Err(Error::new(Kind::System, "unable to freeze: a process did not stop in time")
            .hint("a process in uninterruptible sleep can't be paused; see the states in ps"))
    }

    /// Lets all processes go on.
    ///
    /// # Errors
    /// No freezer, or its file can't be written.
    pub fn thaw(&self) -> Result<()> {
        match self.freezer("thaw")? {
            Freezer::Unified(directory) => file::write(&file::join(directory, "cgroup.freeze"), "0"),
            Freezer::V1(directory) => file::write(&file::join(directory, "freezer.state"), "THAWED"),
        }
    }

    /// Waits until the container is resumed, or gone.
    ///
    /// # Errors
    /// As [`Self::is_frozen`].
    pub fn wait_thawed(&self) -> Result<()> {
        let mut pause = Duration::from_millis(1);
        while self.is_frozen()? {
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        Ok(())
    }

    /// True if the container is paused: one open, one read. False for a cgroup that is gone. On cgroup2 this is what
    /// was asked for (`cgroup.freeze`): `frozen` in `cgroup.events` goes away for moments, as when a signal arrives.
    ///
    /// # Errors
    /// The state can't be read.
    pub fn is_frozen(&self) -> Result<bool> {
        let path = match self.freezer("read the state") {
            Ok(Freezer::Unified(directory)) => file::join(directory, "cgroup.freeze"),
            Ok(Freezer::V1(directory)) => file::join(directory, "freezer.state"),
            Err(_) => return Ok(false),
        };
        let mut buffer = [0; 1024];
        match file::read_short(&path, &mut buffer) {
            Ok(content) => Ok(matches!(content.trim_ascii(), b"1" | b"FROZEN" | b"FREEZING")),
            Err(Errno::NOENT | Errno::NODEV) => Ok(false),
            Err(errno) => Err(Error::system(format_args!("read {}", path.display()), errno)),
        }
    }

    fn freezer(&self, doing: &str) -> Result<Freezer<'_>> {
        match (self.unified(), self.v1("freezer")) {
            (Some(directory), _) => Ok(Freezer::Unified(directory)),
            (None, Some(directory)) => Ok(Freezer::V1(directory)),
            (None, None) if self.is_none() => Err(no_cgroup(doing)),
            (None, None) => Err(Error::new(Kind::System, format!("{doing}: the host has no freezer cgroup"))),
        }
    }
}

fn freeze_unified(directory: &Path) -> Result<bool> {
    file::write(&file::join(directory, "cgroup.freeze"), "1")?;
    processes::wait_event(directory, "frozen", 1, Instant::now() + PATIENCE)
}

/// v1 stays in FREEZING while processes fork: write FROZEN again, and now and then let them run for a moment
/// (freezer-subsystem.rst).
fn freeze_v1(directory: &Path) -> Result<bool> {
    let path = file::join(directory, "freezer.state");
    let deadline = Instant::now() + PATIENCE;
    let mut turn = 0_u32;
    while Instant::now() < deadline {
        turn += 1;
        if turn.is_multiple_of(50) {
            file::write(&path, "THAWED")?;
            std::thread::sleep(Duration::from_millis(10));
        }
        file::write(&path, "FROZEN")?;
        let mut buffer = [0; 1024];
        let state = file::read_short(&path, &mut buffer)
            .map_err(|errno| Error::system(format_args!("read {}", path.display()), errno))?;
        if state.trim_ascii() == b"FROZEN" {
            return Ok(true);
        }
        if turn > 10 {
            std::thread::sleep(Duration::from_micros(100 * u64::from(turn.min(100))));
        }
    }
    Ok(false)
}
