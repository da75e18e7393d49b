//! Signal dispositions, mask, and waiting for signals by descriptor.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::clone::last_errno;
use super::fd::own;

/// The signals of `ignored` (bit N-1 for signal N) back to their defaults, and none blocked: what the caller
/// ignored or blocked must not reach the container (`nohup`, our own SIGPIPE). Handlers end with execve anyway.
pub fn reset(ignored: u64) {
    for signal in (1..=64).filter(|signal| ignored >> (signal - 1) & 1 == 1) {
        // The system call itself: glibc's function refuses the two signals that it keeps for threads.
        let action = [0usize; 4];
        // SAFETY: the kernel's structure has handler, flags, restorer and a mask of 8 bytes, each at most a word; all zero
        // is SIG_DFL without flags.
        unsafe {
            let none = std::ptr::null_mut::<libc::c_void>();
            libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), none, 8usize);
        }
    }
    unblock_all();
}

/// Blocks no signal any more.
pub fn unblock_all() {
    // SAFETY: an empty set is valid; the calls read it only.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Ignores SIGPIPE: a reader that is gone is an error of write(2), not our death. Does not ignore SIGCHLD, if the
/// caller did: children would vanish before they are waited for (wait(2), "POSIX.1-2001 specifies").
pub fn set_own() {
    // SAFETY: SIG_IGN and SIG_DFL are valid dispositions, no handler of ours is involved.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
}

/// Whether a write to a pipe that nobody reads is an error of write(2) only, or also SIGPIPE's end of the process.
pub fn ignore_broken_pipes(ignore: bool) {
    // SAFETY: SIG_IGN and SIG_DFL are valid dispositions, no handler of ours is involved.
    unsafe { libc::signal(libc::SIGPIPE, if ignore { libc::SIG_IGN } else { libc::SIG_DFL }) };
}

/// SIGTERM ends this process also where it is the init of a pid namespace, for which the kernel drops what would be
/// its end by default (pid_namespaces(7)). execve undoes it.
pub fn end_on_terminate() {
    extern "C" fn end(signal: libc::c_int) {
        super::clone::exit_now(128 + signal);
    }
    let handler: extern "C" fn(libc::c_int) = end;
    // SAFETY: the handler makes one system call, _exit(2), and touches no memory.
    unsafe { libc::signal(libc::SIGTERM, handler as libc::sighandler_t) };
}

/// Blocks every signal and opens a signalfd(2) that reads them.
///
/// # Errors
/// EMFILE, ENOMEM.
pub fn block_all_to_fd() -> Result<OwnedFd, Errno> {
    // SAFETY: a full set, read by both calls; signalfd returns a new descriptor.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        if libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()) < 0 {
            return Err(last_errno());
        }
        own(libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))
    }
}

/// What asks a program to end: a closed terminal, its keys, kill(1).
const ENDING: [(i32, &str); 4] = [
    (libc::SIGHUP, "SIGHUP"),
    (libc::SIGINT, "SIGINT"),
    (libc::SIGQUIT, "SIGQUIT"),
    (libc::SIGTERM, "SIGTERM"),
];

fn ending() -> libc::sigset_t {
    // SAFETY: an empty set of our own, to which valid signals are added.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for (signal, _) in ENDING {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

/// Blocks SIGHUP, SIGINT, SIGQUIT and SIGTERM besides what is blocked already.
///
/// # Errors
/// None that is known.
pub fn block_ending() -> Result<(), Errno> {
    let set = ending();
    // SAFETY: a valid set, which is read only.
    match unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// A signalfd(2), which does not block, for those of [`block_ending`].
///
/// # Errors
/// EMFILE, ENOMEM.
pub fn ending_to_fd() -> Result<OwnedFd, Errno> {
    let set = ending();
    // SAFETY: a valid set, which is read only; signalfd returns a new descriptor.
    unsafe { own(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)) }
}

/// Whether the signal has no effect on this process unless it is read.
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: the action is written by the call; a failed one leaves it zero, which is SIG_DFL.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action);
        action.sa_sigaction == libc::SIG_IGN
    }
}

/// Whether it is one of [`block_ending`]'s.
pub fn is_ending(signal: i32) -> bool {
    ENDING.iter().any(|(number, _)| *number == signal)
}

/// `SIGINT` for one of [`block_ending`]'s.
pub fn name(signal: i32) -> &'static str {
    ENDING.iter().find(|(number, _)| *number == signal).map_or("a signal", |(_, name)| name)
}

/// The number of the next pending signal, or None.
///
/// # Errors
/// Those of read(2), EAGAIN excepted.
pub fn read_signal(fd: &OwnedFd) -> Result<Option<i32>, Errno> {
    let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(fd, &mut info) {
        Ok(count) if count == info.len() => {
            let number = u32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
            Ok(i32::try_from(number).ok())
        }
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Stops the process group, as the kernel stops one that reads from a terminal in the background; returns when it has
/// been continued. Does nothing where nobody could continue it (an orphaned group, credentials(7)).
pub fn stop_for_input() {
    // SAFETY: a set with one signal, read by both calls; kill(2) takes integers. SIGTTIN, which is blocked and has its
    // default disposition, is let through in between.
    unsafe {
        let mut one: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut one);
        libc::sigaddset(&raw mut one, libc::SIGTTIN);
        libc::kill(0, libc::SIGTTIN);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const one, std::ptr::null_mut());
        libc::sigprocmask(libc::SIG_BLOCK, &raw const one, std::ptr::null_mut());
    }
}
