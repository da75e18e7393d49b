//! A process that is known by more than its pid: pid and start time, within one boot.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Kind, Result};

/// A process's identity: a pid is used again, a pid with its start time is not (within one boot).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The pid in the runtime's pid namespace; 0 stands for "none".
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks since boot (proc(5)).
    pub start_time: u64,
}

/// What one read of `/proc/PID/stat` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// The command name, at most 15 bytes.
    pub comm: Vec<u8>,
    /// The state's letter: `R S D Z T t X I` (proc(5)).
    pub state: u8,
    /// Field 22: clock ticks since boot.
    pub start_time: u64,
    /// Field 52: how it ended, as wait4(2) gives it; 0 while it has not.
    pub exit_status: i32,
}

impl ProcessStat {
    /// Reads `/proc/PID/stat`; `None` when there is no such process.
    ///
    /// # Errors
    /// `/proc` cannot be read, or its text is not what proc(5) says.
    pub fn read(pid: i32) -> Result<Option<Self>> {
        // The line has some 350 bytes; the comm is the only part without a fixed form.
        let mut buffer = [0; 1024];
        let path = format!("/proc/{pid}/stat");
        match read_small(&path, &mut buffer) {
            Ok(text) => Self::parse(text)
                .map(Some)
                .ok_or_else(|| Error::new(Kind::System, format!("{path}: not in the form of proc(5)"))),
            Err(Errno::NOENT | Errno::SRCH) => Ok(None),
            Err(errno) => Err(Error::system(format_args!("read {path}"), errno)),
        }
    }

    /// Takes comm, state and start time out of the line. The comm may hold blanks and parentheses.
    fn parse(line: &[u8]) -> Option<Self> {
        let open = line.iter().position(|&byte| byte == b'(')?;
        let close = line.iter().rposition(|&byte| byte == b')')?;
        let comm = line.get(open + 1..close)?.to_vec();
        let mut fields = line.get(close + 1..)?.split(|&byte| byte == b' ').filter(|field| !field.is_empty());
        let state = *fields.next()?.first()?; // field 3
        let start_time = std::str::from_utf8(fields.nth(18)?).ok()?.parse().ok()?; // field 22
        let exit_status = fields.nth(29).map(<[u8]>::trim_ascii_end).unwrap_or_default(); // field 52
        let exit_status = std::str::from_utf8(exit_status).ok()?.parse().unwrap_or(0);
        Some(Self { comm, state, start_time, exit_status })
    }

    /// A zombie or dead process: it has ended, only its parent has not asked yet.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Whether a signal or a tracer has stopped it (proc(5): `T`, `t`).
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }
}

impl Process {
    /// The calling process.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn current() -> Result<Self> {
        Self::of(rustix::process::getpid().as_raw_nonzero().get())
    }

    /// The process that has `pid` now.
    ///
    /// # Errors
    /// There is none (`no such process`), or `/proc` cannot be read.
    pub fn of(pid: i32) -> Result<Self> {
        let stat = ProcessStat::read(pid)?
            .ok_or_else(|| Error::system(format_args!("read /proc/{pid}/stat"), Errno::SRCH))?;
        Ok(Self { pid, start_time: stat.start_time })
    }

    /// The process's stat line while it lives: not ended, and the pid not used again.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn alive(&self) -> Result<Option<ProcessStat>> {
        Ok(self.stat()?.filter(|stat| !stat.has_ended()))
    }

    /// A pidfd of the process; `None` when it has ended. The start time is compared after the fd is
    /// open, so the fd cannot belong to a stranger that got the pid (pidfd_open(2), Linux 5.3).
    ///
    /// # Errors
    /// `pidfd_open` failed, or `/proc` cannot be read.
    pub fn pidfd(&self) -> Result<Option<OwnedFd>> {
        let Some(fd) = self.open()? else { return Ok(None) };
        Ok(self.alive()?.map(|_| fd))
    }

    /// The same for one that may have ended, but was not waited for by its parent yet.
    ///
    /// # Errors
    /// As [`Process::pidfd`].
    pub fn pidfd_of_ended(&self) -> Result<Option<OwnedFd>> {
        let Some(fd) = self.open()? else { return Ok(None) };
        Ok(self.stat()?.map(|_| fd))
    }

    /// The stat line, also of one that has ended.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn stat(&self) -> Result<Option<ProcessStat>> {
        if self.pid <= 0 {
            return Ok(None);
        }
        Ok(ProcessStat::read(self.pid)?.filter(|stat| stat.start_time == self.start_time))
    }

    /// A pidfd of whatever process has the pid now.
    pub(super) fn open(&self) -> Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.pid > 0) else { return Ok(None) };
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(fd)),
            // EINVAL: the pid is that of a thread now, so our process is gone.
            Err(Errno::SRCH | Errno::INVAL) => Ok(None),
            Err(errno) => Err(Error::system(format_args!("pidfd_open {pid}", pid = self.pid), errno)),
        }
    }
}

/// The kernel's random ID of this boot, 36 characters: start times count from it.
///
/// # Errors
/// `/proc/sys/kernel/random/boot_id` cannot be read.
pub fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let mut buffer = [0; 64];
    let text = read_small(path, &mut buffer).with_context(|| format!("read {path}"))?;
    Ok(String::from_utf8_lossy(text).trim_end().to_owned())
}

/// Reads a file of procfs by one read into `buffer`: three system calls, no allocation but the path.
fn read_small<'b>(path: &str, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut *buffer))?;
    buffer.get(..length).ok_or(Errno::OVERFLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = b"7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 2 3\n";

    /// [S6] The comm may hold `)` and blanks; the state is field 3, the start time field 22.
    #[test]
    fn stat_line_is_parsed_from_the_last_parenthesis() {
        let stat = ProcessStat::parse(LINE).expect("parses");
        let wanted =
            ProcessStat { comm: b"a) b (c)".to_vec(), state: b'S', start_time: 4242, exit_status: 0 };
        assert_eq!(stat, wanted);
        assert_eq!(ProcessStat::parse(b"7 (a) S 1"), None);
        assert_eq!(ProcessStat::parse(b""), None);
    }

    /// [W4] The status is the last field.
    #[test]
    fn the_exit_status_is_field_52() {
        let line = format!("7 (a) Z {}4242{} 256\n", "1 ".repeat(18), " 5".repeat(29));
        let stat = ProcessStat::parse(line.as_bytes()).expect("parses");
        assert_eq!((stat.start_time, stat.exit_status), (4242, 256));
    }

    /// [S6] Zombies and dead ones count as ended.
    #[test]
    fn zombies_have_ended() {
        let mut stat = ProcessStat::parse(LINE).expect("parses");
        assert!(!stat.has_ended());
        for state in [b'Z', b'X'] {
            stat.state = state;
            assert!(stat.has_ended());
        }
    }

    /// [S16] The same pid with another start time is another process, and gets no pidfd.
    #[test]
    fn a_used_pid_is_not_our_process() {
        let me = Process::current().expect("self");
        assert!(me.alive().expect("read").is_some());
        assert!(me.pidfd().expect("open").is_some());
        let other = Process { start_time: me.start_time + 1, ..me };
        assert!(other.alive().expect("read").is_none());
        assert!(other.pidfd().expect("open").is_none());
        assert!(Process::default().pidfd().expect("none").is_none());
        assert!(Process { pid: i32::MAX, start_time: 0 }.pidfd().expect("none").is_none());
    }

    #[test]
    fn boot_id_is_a_uuid() {
        assert_eq!(boot_id().expect("read").len(), 36);
    }
}
