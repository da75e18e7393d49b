//! `kill ID [SIGNAL]`: a signal for init, or for all processes of the container.

use std::path::Path;

use crate::container::{Container, Id, Lock, Store, not_running};
use crate::error::{Error, Kind, Result};

/// Sends `signal` to init; with `all` to all processes of the container's cgroup.
///
/// SIGKILL for a container without an own pid namespace goes to all too: there the others do not die with
/// init. Nothing is waited for, neither a lock nor an end.
///
/// # Errors
/// `container does not exist`, `container not running` (with `all` that is no error),
/// `…: no such process` when init ends in this moment.
pub fn run(root: &Path, id: &str, signal: i32, all: bool) -> Result<i32> {
    let container = Store::open(root).load(&Id::parse(id)?, Lock::None)?;
    if send(&container, signal, all)? || all { Ok(0) } else { Err(not_running()) }
}

/// `false`: there was nobody to get the signal.
fn send(container: &Container, signal: i32, all: bool) -> Result<bool> {
    let record = &container.record;
    if container.is_unfinished()? {
        return Ok(false);
    }
    if all || (signal == libc::SIGKILL && !record.own_pid_namespace) {
        return send_to_all(container, signal);
    }
    let sent = container.kill_init(signal)?;
    if sent && signal == libc::SIGKILL {
        // cgroup2's freezer lets them die, v1's does not, whoever has used it.
        container.cgroup().thaw_v1();
    }
    Ok(sent)
}

fn send_to_all(container: &Container, signal: i32) -> Result<bool> {
    let cgroup = container.cgroup();
    let pids = cgroup.pids()?;
    if !pids.is_empty() {
        cgroup.kill_all(signal)?;
    }
    // A rootless container may have no cgroup of its own.
    if pids.contains(&container.record.init_process_pid) {
        return Ok(true);
    }
    Ok(container.kill_init(signal)? || !pids.is_empty())
}

/// The names of signal(7) without `SIG`.
const SIGNALS: [(&str, i32); 35] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGIOT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
    ("UNUSED", libc::SIGSYS),
];

/// The first and last real-time signal as glibc and the engines count them: the C library of the runtime
/// must not decide what a name means in the container (musl begins at 35).
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// A number, or a name with or without `SIG`, in any case; `RTMIN+n` and `RTMAX-n` too. SIGTERM if there is none.
///
/// # Errors
/// `unknown signal "X"`.
pub fn parse_signal(text: Option<&str>) -> Result<i32> {
    let Some(text) = text else { return Ok(libc::SIGTERM) };
    if let Ok(number) = text.parse::<i32>() {
        // The kernel decides which numbers there are.
        return Ok(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = match SIGNALS.iter().find(|(known, _)| *known == name) {
        Some((_, number)) => Some(*number),
        None => real_time(name),
    };
    number.ok_or_else(|| Error::new(Kind::Usage, format!("unknown signal {text:?}")))
}

fn real_time(name: &str) -> Option<i32> {
    let offset = |text: &str, sign: char| match text {
        "" => Some(0),
        text => {
            let digits = text.strip_prefix(sign)?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i32>().ok())?
        }
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        RTMIN.checked_add(offset(rest, '+')?)?
    } else {
        RTMAX.checked_sub(offset(name.strip_prefix("RTMAX")?, '-')?)?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::testing::{Root, record, running};
    use crate::container::{EARLY_SOCKET, Phase};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// [V16] [S19] Numbers, names, real-time names.
    #[test]
    fn signals_are_parsed() {
        for (text, number) in [
            ("15", 15),
            ("0", 0),
            ("999", 999),
            ("TERM", 15),
            ("sigterm", 15),
            ("SigKill", 9),
            ("CLD", 17),
            ("SIGPOLL", 29),
            ("RTMIN", 34),
            ("SIGRTMIN+1", 35),
            ("rtmin+30", 64),
            ("RTMAX", 64),
            ("RTMAX-3", 61),
        ] {
            assert_eq!(parse_signal(Some(text)).expect(text), number);
        }
        let bad =
            ["", "SIG", "NOPE", "SIGSIGTERM", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMIN+", "RTMIN++1", "1x"];
        for text in bad {
            let error = parse_signal(Some(text)).expect_err(text).to_string();
            assert_eq!(error, format!("unknown signal {text:?}"));
        }
    }

    /// All names have the kernel's numbers, and none is missing (signal(7)).
    #[test]
    fn every_signal_has_a_name() {
        for number in 1..=31 {
            assert!(SIGNALS.iter().any(|&(_, known)| known == number), "{number}");
        }
    }

    /// [V17] [S16] [S19] Who gets it, and what a stopped or missing one answers.
    #[test]
    fn kill_by_state() {
        let root = Root::new("kill");
        let kill = |signal, all| run(root.path(), "c1", parse_signal(signal)?, all);
        let error = |signal, all| kill(signal, all).expect_err("fails").to_string();
        assert_eq!(error(None, false), "container does not exist");
        assert_eq!(error(None, true), "container does not exist");
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let store = Store::open(root.path());
        let id = Id::parse("c1").expect("id");
        drop(store.create(&id, running("c1", &child), None, &mut |_| ()).expect("created"));
        assert_eq!(error(Some("NOPE"), false), "unknown signal \"NOPE\"");
        assert!(error(Some("999"), false).ends_with(": invalid argument"));
        assert_eq!(kill(Some("0"), false).expect("alive"), 0);
        assert!(child.try_wait().expect("wait").is_none());
        assert_eq!(kill(None, false).expect("sent"), 0);
        assert_eq!(child.wait().expect("wait").signal(), Some(libc::SIGTERM));
        assert_eq!(error(None, false), "container not running");
        assert_eq!(error(Some("9"), false), "container not running");
        assert_eq!(kill(Some("9"), true).expect("no error"), 0);
    }

    /// [S16] One that is being created is not running yet.
    #[test]
    fn creating_is_not_running() {
        let root = Root::new("kill-creating");
        let id = Id::parse("c1").expect("id");
        let record = record("c1", Phase::Creating);
        let _held = Store::open(root.path()).create(&id, record, None, &mut |_| ()).expect("created");
        let error = run(root.path(), "c1", libc::SIGKILL, false).expect_err("creating");
        assert_eq!(error.to_string(), "container not running");
        // The record is ahead of init, which has not said yet that it waits.
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let container = Store::open(root.path()).create(
            &Id::parse("c2").expect("id"),
            running("c2", &child),
            None,
            &mut |_| (),
        );
        std::fs::write(container.expect("created").path().join(EARLY_SOCKET), "").expect("write");
        let error = run(root.path(), "c2", libc::SIGKILL, false).expect_err("creating");
        assert_eq!(error.to_string(), "container not running");
        assert!(child.try_wait().expect("wait").is_none());
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }
}
