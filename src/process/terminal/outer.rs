//! The terminal that the runtime was called in.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::getpgrp;
use rustix::termios::{
    OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
};

use crate::error::{Context, Result};
use crate::plan::terminal::TerminalPlan;
use crate::sys::{fd, signal};

/// The caller's terminal; as it was once this is dropped.
#[derive(Debug)]
pub struct Outer {
    /// Has the size.
    screen: OwnedFd,
    /// Standard input, if that is a terminal: what is typed there is for the container.
    keys: Option<BorrowedFd<'static>>,
    /// What the container writes is shown on that terminal.
    shown_there: bool,
    /// Its modes, once they are changed.
    saved: Option<Termios>,
}

impl Outer {
    /// Finds it: a stream, or the controlling terminal. In the background, where it belongs to others, the process is
    /// stopped until it is brought to the foreground, as everybody is who reads from the terminal (credentials(7)).
    ///
    /// # Errors
    /// ENXIO: there is none.
    pub fn find() -> Result<Self> {
        let terminal = |number| fd::borrow_inherited(number).filter(|stream| isatty(stream));
        let keys = terminal(0);
        let stream = terminal(1).or_else(|| terminal(2)).or(keys);
        let screen = match stream {
            Some(stream) => fcntl_dupfd_cloexec(stream, 3).context("duplicate a stream")?,
            None => {
                let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
                rustix::fs::openat(CWD, c"/dev/tty", flags, Mode::empty()).context("open /dev/tty").map_err(
                    |error| {
                        error.hint(
                            "process.terminal is true, and neither a stream is a terminal nor is there another one",
                        )
                    },
                )?
            }
        };
        let device = |stream: BorrowedFd<'_>| rustix::fs::fstat(stream).ok().map(|stat| stat.st_rdev);
        let shown_there = keys.is_some_and(|keys| terminal(1).and_then(device) == device(keys));
        let outer = Self { screen, keys, shown_there, saved: None };
        if outer.in_background() {
            signal::stop_for_input();
        }
        Ok(outer)
    }

    /// What the container's terminal takes over: the size, and who makes CR LF of newlines. Exactly one does: the
    /// container's where the caller's is raw, else the caller's; and none where the output goes to a file or a pipe.
    pub fn shape(&self, plan: &mut TerminalPlan) {
        plan.size = self.size().or(plan.size);
        plan.crlf = self.shown_there;
    }

    /// Rows and columns, if it knows.
    pub fn size(&self) -> Option<(u16, u16)> {
        let size = tcgetwinsize(&self.screen).ok()?;
        (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
    }

    /// What is typed goes to the container, key by key. True if the container may have it; not in the background.
    ///
    /// # Errors
    /// Those of tcsetattr(3).
    pub fn make_raw(&mut self) -> Result<bool> {
        let Some(keys) = self.keys else { return Ok(true) };
        if self.in_background() {
            return Ok(false);
        }
        let doing = "make the terminal raw";
        let mut modes = tcgetattr(keys).context(doing)?;
        let saved = self.saved.get_or_insert_with(|| modes.clone());
        let output = saved.output_modes;
        modes.make_raw();
        if !self.shown_there {
            modes.output_modes = output | OutputModes::OPOST;
        }
        tcsetattr(keys, OptionalActions::Now, &modes).context(doing)?;
        Ok(true)
    }

    /// After SIGCONT: the shell has set its own modes meanwhile. As [`Outer::make_raw`].
    ///
    /// # Errors
    /// As there.
    pub fn resume(&mut self) -> Result<bool> {
        if self.in_background() {
            signal::stop_for_input();
        }
        self.make_raw()
    }

    /// Another process group has the terminal (tcgetpgrp(3)). One that is not our controlling terminal knows none.
    pub fn in_background(&self) -> bool {
        self.keys.is_some_and(|keys| tcgetpgrp(keys).is_ok_and(|group| group != getpgrp()))
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        // In the background it is as its owner wants it.
        if let (Some(saved), Some(keys)) = (&self.saved, self.keys)
            && !self.in_background()
        {
            let _ = tcsetattr(keys, OptionalActions::Now, saved);
        }
    }
}
