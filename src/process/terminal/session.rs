//! Copying between the caller's streams and the container's terminal, in the foreground.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, SpecialCodeIndex, Winsize, tcgetattr, tcsetwinsize};

use super::outer::Outer;
use super::stream::Stream;
use crate::error::{Context, Result};

/// More is not on its way through a terminal: 64 KiB in the kernel's tty buffer, 4 KiB in the line discipline.
const IN_FLIGHT: usize = 96 << 10;
/// How often input is copied before somebody else has a turn.
const ROUNDS: usize = 16;
/// Between one end of input and the next.
const PAUSE: Duration = Duration::from_millis(100);

/// A container's terminal, shown in the caller's.
#[derive(Debug)]
pub struct Session {
    outer: Outer,
    /// None once nobody sees it any more.
    pty: Option<Pty>,
    /// None at its end.
    input: Option<Stream>,
    output: Stream,
    to_container: Pending,
    to_host: Pending,
    /// The container may have what is typed.
    listening: bool,
    /// The last line of input, if its end is missing.
    last_line: LastLine,
    /// When the program may be told again that there is no more input.
    due: Instant,
}

#[derive(Debug)]
struct Pty {
    master: OwnedFd,
    /// Shows whether the program has read everything. Held, it also keeps the master from hanging up while the program
    /// has its terminal closed for a while.
    slave: OwnedFd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastLine {
    /// It has its end, or the program has it without.
    Whole,
    Unfinished,
    /// It was passed on by the line discipline, which whoever changes the modes before reading does not notice.
    PassedOn,
}

/// What was read and not yet written.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    start: usize,
}

impl Session {
    /// Takes over the master end that init has sent.
    ///
    /// # Errors
    /// Those of fcntl(2) and ioctl(2).
    pub fn new(outer: Outer, master: OwnedFd) -> Result<Self> {
        let doing = "take over the terminal";
        // Nobody else has this open file.
        rustix::fs::fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK).context(doing)?;
        let pty = Pty { slave: open_slave(&master).context(doing)?, master };
        Ok(Self {
            outer,
            pty: Some(pty),
            input: Stream::open(0, OFlags::RDONLY),
            output: Stream::open(1, OFlags::WRONLY).ok_or(Errno::BADF).context("standard output")?,
            to_container: Pending::default(),
            to_host: Pending::default(),
            listening: true,
            last_line: LastLine::Whole,
            due: Instant::now(),
        })
    }

    /// From now on what is typed is the container's.
    ///
    /// # Errors
    /// Those of tcsetattr(3).
    pub fn begin(&mut self) -> Result<()> {
        self.listening = self.outer.make_raw()?;
        // It may have changed since the container was made.
        self.resize();
        Ok(())
    }

    /// SIGWINCH: the container's terminal gets the size of the caller's.
    pub fn resize(&self) {
        if let (Some(pty), Some((rows, columns))) = (&self.pty, self.outer.size()) {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = tcsetwinsize(&pty.master, size);
        }
    }

    /// SIGCONT: whoever stopped us may have changed the terminal, put us into the background, or closed it.
    pub fn resume(&mut self) {
        self.listening = self.outer.resume().unwrap_or(false);
        self.resize();
    }

    /// Adds what is waited for.
    pub fn add_to<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        let mut add = |fd: BorrowedFd<'a>, flags| fds.push(PollFd::from_borrowed_fd(fd, flags));
        let Some(pty) = &self.pty else { return };
        let (reads, writes) = (self.to_host.is_empty(), !self.to_container.is_empty());
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, reads);
        flags.set(PollFlags::OUT, writes);
        if !flags.is_empty() {
            add(pty.master.as_fd(), flags);
        }
        if !reads {
            add(self.output.as_fd(), PollFlags::OUT);
        }
        if let Some(input) = self.input.as_ref().filter(|_| self.listening && !writes) {
            add(input.as_fd(), PollFlags::IN);
        }
    }

    /// How long to wait at most.
    pub fn patience(&self) -> Option<Timespec> {
        let ends = self.input.is_none() && self.pty.is_some();
        ends.then(|| Timespec { tv_sec: 0, tv_nsec: i64::from(PAUSE.subsec_nanos()) })
    }

    /// Copies what there is, both ways, without waiting.
    pub fn copy(&mut self) {
        self.copy_output();
        self.copy_input();
        if self.input.is_none() && self.to_container.is_empty() && Instant::now() >= self.due {
            self.end_input();
            self.due = Instant::now() + PAUSE;
        }
    }

    /// After the program's end: what it has written is still shown, but not what others of the container write on and
    /// on. Ends when `interrupted` says so.
    pub fn finish(mut self, mut interrupted: impl FnMut() -> bool) {
        let mut left = IN_FLIGHT;
        loop {
            left = left.saturating_sub(self.copy_output());
            if self.to_host.is_empty() || self.pty.is_none() || left == 0 || interrupted() {
                return;
            }
            let mut fds = [PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::OUT)];
            let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(PAUSE.subsec_nanos()) };
            let _ = poll(&mut fds, Some(&pause));
        }
    }

    /// How many bytes it read.
    fn copy_output(&mut self) -> usize {
        let mut count = 0;
        while let Some(pty) = &mut self.pty {
            if self.to_host.is_empty() {
                match self.to_host.fill(|buffer| rustix::io::read(&pty.master, buffer)) {
                    Ok(length) if length > 0 => count += length,
                    // Hung up, with our end too (vhangup(2), as login programs do it): it may be opened again.
                    Err(Errno::IO) => {
                        match open_slave(&pty.master) {
                            Ok(slave) => pty.slave = slave,
                            Err(_) => self.pty = None,
                        }
                        break;
                    }
                    Ok(_) | Err(_) => break,
                }
            }
            match self.to_host.drain(|bytes| self.output.write(bytes)) {
                Ok(()) if count < IN_FLIGHT => {}
                Ok(()) | Err(Errno::AGAIN) => break,
                // Nobody sees the terminal: it hangs up, as one whose window was closed.
                Err(_) => self.pty = None,
            }
        }
        count
    }

    fn copy_input(&mut self) {
        // What is read may never end, nor block: a line that is too long is thrown away by the kernel.
        for _ in 0..ROUNDS {
            let Some(pty) = &self.pty else { return };
            if self.to_container.is_empty() {
                let Some(input) = self.input.as_ref().filter(|_| self.listening) else { return };
                match self.to_container.fill(|buffer| input.read(buffer)) {
                    Ok(length) if length > 0 => self.last_line = self.to_container.last_line(),
                    Err(Errno::AGAIN | Errno::INTR) => return,
                    // Stopped and continued just now: its SIGCONT is still to be read.
                    Err(Errno::IO) if self.outer.in_background() => self.listening = false,
                    Ok(_) | Err(_) => {
                        self.input = None;
                        self.due = Instant::now() + PAUSE;
                    }
                }
            }
            match self.to_container.drain(|bytes| rustix::io::write(&pty.master, bytes)) {
                Ok(()) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.to_container = Pending::default(),
            }
        }
    }

    /// The input is at its end, which a terminal tells by a key. It is typed when the program has read everything
    /// before, and again when it reads again, as the end of a file would be there again. What the last line lacks
    /// is given to it: by the same key where the kernel collects lines (termios(3), VEOF), by Enter where the program does.
    fn end_input(&mut self) {
        let Some(pty) = &self.pty else { return };
        let mut fds = [PollFd::new(&pty.slave, PollFlags::IN)];
        let unread = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count > 0);
        let Some(modes) = tcgetattr(&pty.slave).ok().filter(|_| !unread) else { return };
        let by_lines = modes.local_modes.contains(LocalModes::ICANON);
        let (key, last_line) = match (self.last_line, by_lines) {
            (LastLine::Unfinished | LastLine::PassedOn, false) => (b'\r', LastLine::Whole),
            (LastLine::Unfinished, true) => (modes.special_codes[SpecialCodeIndex::VEOF], LastLine::PassedOn),
            _ => (modes.special_codes[SpecialCodeIndex::VEOF], LastLine::Whole),
        };
        self.last_line = last_line;
        let _ = rustix::io::write(&pty.master, &[key]);
    }
}

fn open_slave(master: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    rustix::pty::ioctl_tiocgptpeer(master, flags)
}

impl Pending {
    const SIZE: usize = 4096;

    fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    fn last_line(&self) -> LastLine {
        match self.bytes.last() {
            Some(b'\n' | b'\r') | None => LastLine::Whole,
            Some(_) => LastLine::Unfinished,
        }
    }

    /// Reads once.
    fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> Result<usize, Errno>) -> Result<usize, Errno> {
        self.start = 0;
        self.bytes.resize(Self::SIZE, 0);
        let result = read(&mut self.bytes);
        self.bytes.truncate(result.unwrap_or(0));
        result
    }

    /// Writes until nothing is left or can be written.
    fn drain(&mut self, mut write: impl FnMut(&[u8]) -> Result<usize, Errno>) -> Result<(), Errno> {
        while !self.is_empty() {
            match write(&self.bytes[self.start..]) {
                Ok(0) => return Err(Errno::AGAIN),
                Ok(count) => self.start += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_stays() {
        let mut pending = Pending::default();
        assert!(pending.is_empty());
        let read = pending.fill(|buffer| {
            buffer[..5].copy_from_slice(b"ab\ncd");
            Ok(5)
        });
        assert_eq!(read, Ok(5));
        assert_eq!(pending.last_line(), LastLine::Unfinished);
        let mut room = 2;
        let write = |bytes: &[u8]| match std::mem::take(&mut room) {
            0 => Err(Errno::AGAIN),
            count => Ok(count.min(bytes.len())),
        };
        assert_eq!(pending.drain(write), Err(Errno::AGAIN));
        let mut rest = Vec::new();
        let all = pending.drain(|bytes| {
            rest.extend_from_slice(bytes);
            Ok(bytes.len())
        });
        assert_eq!((all, rest.as_slice(), pending.is_empty()), (Ok(()), &b"\ncd"[..], true));
    }
}
