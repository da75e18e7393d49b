//! What stands at the other end of a container's terminal: a console socket, or the terminal of whoever calls.

use super::Test;
use super::run::{Cmd, Running};
use super::socket::receive;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

/// A container with a terminal and this script as its program.
pub fn with_terminal(script: &str) -> Test {
    let mut t = Test::new();
    t.config.set("process.terminal", true);
    t.sh(script);
    t
}

/// A socket for `--console-socket`.
pub struct ConsoleSocket {
    listener: UnixListener,
}

impl ConsoleSocket {
    pub fn bind(path: impl AsRef<Path>) -> Self {
        Self { listener: UnixListener::bind(path).unwrap() }
    }

    /// The container's terminal: one message with a name and one descriptor, then the end.
    #[track_caller]
    pub fn accept(&self) -> Screen {
        let (connection, _) = self.listener.accept().unwrap();
        let (name, mut fds) = receive(&connection);
        assert!(name.starts_with("/dev/") && name.ends_with("ptmx") && fds.len() == 1, "{name} {fds:?}");
        let (rest, none) = receive(&connection);
        assert!(rest.is_empty() && none.is_empty(), "{rest}");
        Screen::new(fds.remove(0))
    }
}

/// The master end of a terminal, and what was seen there.
pub struct Screen {
    pub master: OwnedFd,
    seen: String,
    /// Up to here [`Screen::expect`] has looked.
    at: usize,
}

impl Screen {
    fn new(master: OwnedFd) -> Self {
        rustix::fs::fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK).unwrap();
        Self { master, seen: String::new(), at: 0 }
    }

    /// A terminal of our own, 24 rows of 80.
    pub fn open() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let screen = Self::new(master);
        screen.resize(24, 80);
        screen
    }

    /// Where programs find it.
    pub fn path(&self) -> String {
        ptsname(&self.master, Vec::new()).unwrap().into_string().unwrap()
    }

    /// The command with the terminal as its streams, in a session that it belongs to.
    pub fn run(&self, cmd: Cmd) -> Running {
        cmd.wrap(["setsid", "--ctty"]).shell(&format!("exec \"$@\" <>{} >&0 2>&0", self.path())).spawn()
    }

    /// The command in a session that the terminal belongs to; the script has it as its streams and runs `"$@"`.
    pub fn run_by(&self, script: &str, cmd: Cmd) -> Running {
        self.run(cmd.shell(script))
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
    }

    /// All modes, as text to be compared.
    pub fn modes(&self) -> String {
        format!("{:?}", tcgetattr(&self.master).unwrap())
    }

    #[track_caller]
    pub fn type_in(&self, text: &str) {
        assert_eq!(rustix::io::write(&self.master, text.as_bytes()).unwrap(), text.len());
    }

    /// What runs in it has ended with this code, and left the modes as they were.
    #[track_caller]
    pub fn ends(&mut self, running: Running, code: i32, modes: &str) {
        let output = running.wait();
        assert_eq!(output.code, code, "{output}{:?}", self.seen());
        assert_eq!(self.modes(), modes);
    }

    /// Waits until the text is seen, behind what was expected before.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let end = Instant::now() + Duration::from_secs(15);
        loop {
            self.read();
            if let Some(found) = self.seen[self.at..].find(text) {
                self.at += found + text.len();
                return;
            }
            assert!(Instant::now() < end, "no {text:?} in {:?}", &self.seen[self.at..]);
            let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            let _ = poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&wait));
        }
    }

    /// Everything that was seen so far.
    pub fn seen(&mut self) -> &str {
        self.read();
        &self.seen
    }

    /// Waits until nobody has the terminal any more; everything that was seen.
    #[track_caller]
    pub fn until_closed(&mut self) -> &str {
        let end = Instant::now() + Duration::from_secs(15);
        while self.read() != Some(rustix::io::Errno::IO) {
            assert!(Instant::now() < end, "still open: {:?}", self.seen);
            let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            let _ = poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&wait));
        }
        &self.seen
    }

    fn read(&mut self) -> Option<rustix::io::Errno> {
        let mut buffer = [0u8; 4096];
        loop {
            match rustix::io::read(&self.master, &mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.seen.push_str(&String::from_utf8_lossy(&buffer[..count])),
                Err(errno) => return Some(errno),
            }
        }
    }
}
