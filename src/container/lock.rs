//! The lock of a container: flock(2) on its directory, with a deadline and the holder's name.

use std::os::fd::{AsFd, BorrowedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{Error, Kind, Result};

/// How long a verb waits for another one.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// Takes the lock if it is free: `Ok(false)` if another process holds it.
pub(super) fn try_lock(dir: impl AsFd, exclusive: bool) -> Result<bool> {
    let operation = if exclusive {
        FlockOperation::NonBlockingLockExclusive
    } else {
        FlockOperation::NonBlockingLockShared
    };
    match rustix::io::retry_on_intr(|| rustix::fs::flock(&dir, operation)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(Error::system("lock the container", errno)),
    }
}

/// Takes the lock, waiting at most `deadline`.
///
/// # Errors
/// [`Kind::State`] when the time is over, with the holder: `held by pid 42 (davit start c1)`.
pub(super) fn lock(dir: BorrowedFd<'_>, exclusive: bool, deadline: Duration) -> Result<()> {
    let start = Instant::now();
    // Most holders are done within a millisecond; a long one is not worth many wake-ups.
    let mut pause = Duration::from_micros(500);
    while !try_lock(dir, exclusive)? {
        if start.elapsed() >= deadline {
            let seconds = deadline.as_secs_f32();
            let by = holder(dir).unwrap_or_else(|| "held by another process".into());
            return Err(Error::new(Kind::State, format!("container is locked for {seconds}s: {by}")));
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    Ok(())
}

/// Who holds the lock, from /proc/locks (proc(5)); only for an error's text, so a fault gives `None`.
fn holder(dir: BorrowedFd<'_>) -> Option<String> {
    let stat = rustix::fs::fstat(dir).ok()?;
    let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    let key = format!("{major:02x}:{minor:02x}:{}", stat.st_ino);
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let pid = holder_in(&locks, &key)?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    let command: String = command.trim_end().chars().take(80).collect();
    Some(format!("held by pid {pid} ({command})"))
}

/// The pid in the line `1: FLOCK  ADVISORY  WRITE 42 00:1b:777 0 EOF` that has `key`.
fn holder_in(locks: &str, key: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        if fields.next()? != "FLOCK" {
            return None;
        }
        let pid = fields.nth(2)?;
        if fields.next()? == key { pid.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};

    #[test]
    fn the_holder_is_found_among_waiters_and_other_kinds() {
        let locks = "1: POSIX  ADVISORY  WRITE 1 00:1b:7 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 42 00:1b:7 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 43 00:1b:7 0 EOF\n\
                     3: FLOCK  ADVISORY  READ  44 00:1b:8 0 EOF\n";
        assert_eq!(holder_in(locks, "00:1b:7"), Some(42));
        assert_eq!(holder_in(locks, "00:1b:8"), Some(44));
        assert_eq!(holder_in(locks, "00:1b:9"), None);
    }

    /// [S37] A held lock ends in an error that names the holder, not in a hang.
    #[test]
    fn a_held_lock_has_a_deadline() {
        let dir = std::env::temp_dir().join(format!("davit-lock-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("mkdir");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || rustix::fs::open(&dir, flags, Mode::empty()).expect("open");
        let (first, second) = (open(), open());
        lock(first.as_fd(), true, DEADLINE).expect("free");
        assert!(!try_lock(&second, false).expect("asked"));
        let error = lock(second.as_fd(), true, Duration::from_millis(5)).expect_err("held");
        std::fs::remove_dir(&dir).expect("rmdir");
        assert_eq!(error.kind(), Kind::State);
        let text = error.to_string();
        assert!(text.contains(&format!("held by pid {} (", std::process::id())), "{text}");
        drop(first);
        lock(second.as_fd(), true, DEADLINE).expect("free again");
    }
}
