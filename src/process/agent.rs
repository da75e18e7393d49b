//! The seccomp agent of SCMP_ACT_NOTIFY (config-linux.md, "Seccomp"): who answers the calls, by the listener that it is sent.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{SendFlags, SocketType, send};
use serde::Serialize;

use super::{channel, unix_socket};
use crate::cli::SPEC_VERSION;
use crate::container::{Agent, Record, State, Status};
use crate::error::{Context, Error, Kind, Result};
use crate::seccomp::Program;
use crate::sys::seccomp;

/// The container process state (config-linux.md, "The Container Process State").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'r> {
    oci_version: &'static str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'r str>,
    state: State<'r>,
}

/// Asks the kernel and looks at the agent before anything is made, where the filter needs what not all have: the default
/// flags every kernel has that this runtime can run on.
///
/// # Errors
/// A flag that the kernel lacks; nobody listens.
pub fn check(filter: Option<&Program>, agent: Option<&Agent>) -> Result<()> {
    let Some(filter) = filter.filter(|filter| filter.flags & !crate::seccomp::SPEC_ALLOW != 0) else {
        return Ok(());
    };
    // First, since the others are asked for together with it.
    let listener = filter.flags & crate::seccomp::NEW_LISTENER;
    if listener != 0 && !seccomp::flags_available(listener) {
        let text =
            "seccomp notify unsupported: the kernel has no SECCOMP_FILTER_FLAG_NEW_LISTENER (Linux 5.0)";
        return Err(Error::config("linux.seccomp", text));
    }
    for (flag, name) in crate::seccomp::FLAGS {
        if filter.flags & flag != 0 && !seccomp::flags_available(flag | listener) {
            return Err(Error::config(
                "linux.seccomp.flags",
                format!("{name} is not supported by this kernel"),
            ));
        }
    }
    agent.map_or(Ok(()), |agent| probe(&agent.path))
}

/// Whether somebody has the socket open, told by connecting with another type: that is refused as such, and the agent, which
/// may look at one connection at a time, has none that stays silent until `start`. In the abstract namespace each type has its own
/// names, so that nothing can be told there.
fn probe(path: &Path) -> Result<()> {
    if path.as_os_str().as_encoded_bytes().starts_with(b"@") {
        return Ok(());
    }
    match unix_socket::connect(path, SocketType::DGRAM) {
        Err(Errno::PROTOTYPE) => Ok(()),
        Ok(_) => Err(unreachable(path, Errno::PROTOTYPE)),
        Err(errno) => Err(unreachable(path, errno)),
    }
}

fn unreachable(path: &Path, errno: Errno) -> Error {
    let doing =
        "linux.seccomp.listenerPath: failed to connect with seccomp agent specified in the seccomp profile";
    Error::system(format_args!("{doing}: {}", path.display()), errno)
}

/// Receives the listener that a process of the container has announced on the channel, and passes it on; then that may go on.
///
/// # Errors
/// The agent can't be reached, or closes the connection before it has the message.
pub fn pass_on(
    channel: impl AsFd,
    agent: Option<&Agent>,
    record: &Record,
    status: Status,
    pid: i32,
) -> Result<()> {
    let listener = unix_socket::receive_fd(&channel).context("receive the seccomp listener")?;
    let agent = agent.ok_or_else(|| Error::new(Kind::System, "no seccomp agent is known"))?;
    deliver(agent, listener.as_fd(), record, status, pid)?;
    match channel::send_go(&channel) {
        // It is dead, as its end tells.
        Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
        Err(errno) => Err(Error::system("let init go on", errno)),
    }
}

/// One connection, one state; the descriptor goes with its first byte.
fn deliver(agent: &Agent, listener: BorrowedFd<'_>, record: &Record, status: Status, pid: i32) -> Result<()> {
    let state = ProcessState {
        oci_version: SPEC_VERSION,
        fds: ["seccompFd"],
        pid,
        metadata: agent.metadata.as_deref(),
        state: State::plain(record, status, record.init_process_pid),
    };
    let text = serde_json::to_vec(&state)
        .map_err(|error| Error::new(Kind::System, format!("container process state: {error}")))?;
    let socket = unix_socket::connect(&agent.path, SocketType::STREAM)
        .map_err(|errno| unreachable(&agent.path, errno))?;
    let doing = || {
        let path = agent.path.display();
        format!("linux.seccomp.listenerPath: cannot send seccomp fd to the agent at {path}")
    };
    let mut sent = unix_socket::send_fd(&socket, &text, listener).with_context(doing)?;
    while let Some(rest) = text.get(sent..).filter(|rest| !rest.is_empty()) {
        sent += send(&socket, rest, SendFlags::NOSIGNAL).with_context(doing)?;
    }
    Ok(())
}
