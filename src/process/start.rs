//! Between `create` and `start`: the socket on which init waits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::agent;
use super::channel::{self, Failure, Message};
use super::describe;
use super::step::Step;
use crate::container::{EARLY_SOCKET, INIT_COMM, ProcessStat, Record, START_SOCKET, Status};
use crate::error::{Context, Error, Kind, Result};
use crate::log::Log;

/// How long init may keep silent before its state is looked at.
const PATIENCE: Timespec = Timespec { tv_sec: 3, tv_nsec: 0 };

/// Until a process that executes a program has its name.
const MOMENT: Duration = Duration::from_millis(2);

fn socket() -> Result<OwnedFd> {
    let kind = SocketType::SEQPACKET;
    socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).context("make a socket")
}

/// The socket's address by the directory's descriptor: a path may be longer than the 107 bytes of sun_path (F3).
fn address(directory: BorrowedFd<'_>, name: &str) -> Result<SocketAddrUnix> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    SocketAddrUnix::new(path).context("name the socket")
}

/// Makes the listening socket for init, under a name of its own until [`announce`].
///
/// # Errors
/// Those of socket(2), bind(2) and listen(2).
pub fn listener(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    let socket = socket()?;
    bind(&socket, &address(directory, EARLY_SOCKET)?).context("bind the start socket")?;
    listen(&socket, 1).context("listen on the start socket")?;
    Ok(socket)
}

/// Gives the socket its name: from now on the container is created.
///
/// # Errors
/// Those of renameat(2).
pub fn announce(directory: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::renameat(directory, EARLY_SOCKET, directory, START_SOCKET).context("name the start socket")
}

/// How a start ended that init has answered.
#[derive(Debug)]
pub enum Started {
    /// The program was executed.
    Running,
    /// A startContainer hook or the seccomp agent failed, before the program; init has ended or is about to.
    Undone(Error),
}

/// Tells init to go on and waits until it has executed the program. As long as that takes the socket stays: the
/// container is still `created`, and the caller's lock keeps a second start away.
///
/// # Errors
/// Init is dead or stopped by a signal, or could not execute the program.
pub fn start(directory: BorrowedFd<'_>, record: &Record, log: &Log) -> Result<Started> {
    let pid = record.init_process_pid;
    let socket = socket()?;
    match connect(&socket, &address(directory, START_SOCKET)?) {
        Ok(()) => {}
        Err(Errno::CONNREFUSED) => return Err(no_listener(record)?),
        Err(errno) => return Err(errno).context("connect to the container's init"),
    }
    let answer = answer(socket.as_fd(), record);
    // What init has done can't be undone: it is no failure that the state root has become read-only.
    if let Err(errno) = rustix::fs::unlinkat(directory, START_SOCKET, AtFlags::empty()) {
        log.warn(Error::system("remove the start socket", errno));
    }
    match answer? {
        Answer::Undone(error) => Ok(Started::Undone(error)),
        Answer::Message(Message::Failed(failure)) => {
            wait_for_end(pid);
            failed(&failure)
        }
        Answer::Message(Message::End) if still_waits(pid)? => {
            let hint = "it has executed nothing; a seccomp profile may forbid it to tell why, but not where `davit run` is used";
            Err(dead().hint(hint))
        }
        Answer::Message(_) => Ok(Started::Running),
    }
}

enum Answer {
    Message(Message),
    /// The listener could not be passed on.
    Undone(Error),
}

/// Init's last word. On the way to it the listener of its seccomp filter is passed on.
fn answer(socket: BorrowedFd<'_>, record: &Record) -> Result<Answer> {
    let pid = record.init_process_pid;
    loop {
        wait_for_answer(socket, pid)?;
        match channel::next(socket).context("wait for the program's start")? {
            // As runc's, whose filter is loaded when the container is created.
            Message::Listener => {
                let agent = record.seccomp_agent.as_ref();
                if let Err(error) = agent::pass_on(socket, agent, record, Status::Creating, pid) {
                    return Ok(Answer::Undone(error));
                }
            }
            message => return Ok(Answer::Message(message)),
        }
    }
}

/// Init ends after its last word, so that who looks next sees it ended.
fn wait_for_end(pid: i32) {
    let pidfd = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
    if let Some(Ok(pidfd)) = pidfd {
        let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&PATIENCE));
    }
}

fn failed(failure: &Failure) -> Result<Started> {
    let errno = failure.fault.errno;
    let (step, hint) = match failure.position.step {
        Step::Exec => return Err(describe::exec_failed(&failure.text, errno)),
        Step::StartContainer => {
            return Ok(Started::Undone(describe::hook_failed(failure.position, &failure.text)));
        }
        Step::Seccomp => ("linux.seccomp: load the filter", describe::filter_hint(errno)),
        _ => ("start the container's program", None),
    };
    let error = Error::system(step, errno);
    Err(match hint {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

/// Waits until init answers or the connection is closed. Its death closes it as well; only an init that is stopped
/// would keep us for ever.
fn wait_for_answer(socket: BorrowedFd<'_>, pid: i32) -> Result<()> {
    loop {
        match poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::IN)], Some(&PATIENCE)) {
            Ok(0) => match ProcessStat::read(pid)? {
                Some(stat) if stat.is_stopped() => return Err(suspended(pid, stat.state)),
                _ => {}
            },
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("wait for the program's start"),
        }
    }
}

fn suspended(pid: i32, state: u8) -> Error {
    let state = char::from(state);
    Error::new(
        Kind::State,
        format!("container init (pid {pid}) does not answer: its state is {state} (stopped)"),
    )
    .hint("it goes on with the start when it gets SIGCONT")
}

/// The connection is closed by execve, a moment before the process has the program's name, or by the death of an init that has
/// not executed anything.
fn still_waits(pid: i32) -> Result<bool> {
    for _ in 0..100 {
        match ProcessStat::read(pid)? {
            Some(stat) if stat.comm != INIT_COMM.as_bytes() => return Ok(false),
            Some(stat) if !matches!(stat.state, b'Z' | b'X') => {}
            Some(_) => return Ok(true),
            None => return Ok(false),
        }
        std::thread::sleep(MOMENT);
    }
    Ok(true)
}

/// One that is dying closes the socket a moment before.
const DYING: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Init has ended, or was told to go on by a `start` that was killed meanwhile.
fn no_listener(record: &Record) -> Result<Error> {
    let Some(pidfd) = record.init().unwrap_or_default().pidfd()? else { return Ok(dead()) };
    Ok(match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&DYING)) {
        Ok(0) => Error::new(Kind::State, "cannot start a container that is being started already")
            .hint("whoever began it was killed; the startContainer hooks run, then the program"),
        _ => dead(),
    })
}

fn dead() -> Error {
    Error::new(Kind::State, "container process is already dead")
}
