//! Who gets the master end of a process's terminal: whoever listens at `--console-socket`, or the runtime itself.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::net::SocketType;

use super::outer::Outer;
use super::session::Session;
use crate::error::{Context, Error, Kind, Result};
use crate::plan::terminal::TerminalPlan;
use crate::process::{channel, unix_socket};

/// The way of the master end.
#[derive(Debug, Default)]
pub struct Receiver {
    /// Where the process sends it.
    socket: Option<OwnedFd>,
    /// It comes to us: where it is shown, and where it arrives.
    shown: Option<(Outer, OwnedFd)>,
}

impl Receiver {
    /// It must be clear who that is (F4, F5).
    ///
    /// # Errors
    /// It is not.
    pub fn check(terminal: bool, detached: bool, socket: bool) -> Result<()> {
        let (text, hint) = match (terminal, detached, socket) {
            (true, true, false) => (
                "cannot allocate tty if runc will detach without setting console socket",
                "the process is to have a terminal: set --console-socket, or let the runtime stay",
            ),
            (true, false, true) | (false, _, true) => (
                "cannot use console socket if runc will not detach or allocate tty",
                "--console-socket is for a process with a terminal that the runtime leaves",
            ),
            _ => return Ok(()),
        };
        Err(Error::new(Kind::Usage, text).hint(hint))
    }

    /// Connects to `socket`, or fits the terminal to where it is shown; nothing without a terminal.
    ///
    /// # Errors
    /// Nobody listens at the socket; there is no terminal to show it in.
    pub fn find(plan: Option<&mut TerminalPlan>, socket: Option<&Path>) -> Result<Self> {
        let Some(plan) = plan else { return Ok(Self::default()) };
        if let Some(path) = socket {
            let connection = unix_socket::connect(path, SocketType::STREAM)
                .with_context(|| format!("--console-socket: connect to {}", path.display()))?;
            return Ok(Self { socket: Some(connection), shown: None });
        }
        let outer = Outer::find()?;
        outer.shape(plan);
        let (ours, theirs) = channel::pair().context("make a socket for the terminal")?;
        Ok(Self { socket: Some(theirs), shown: Some((outer, ours)) })
    }

    /// What the process is to have.
    pub fn take_socket(&mut self) -> Option<OwnedFd> {
        self.socket.take()
    }

    /// The terminal that the process has sent, if it is ours to show.
    ///
    /// # Errors
    /// Those of recvmsg(2), fcntl(2), ioctl(2).
    pub fn session(&mut self) -> Result<Option<Session>> {
        let Some((outer, socket)) = self.shown.take() else { return Ok(None) };
        let master = unix_socket::receive_fd(&socket).context("receive the terminal")?;
        Session::new(outer, master).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [F4] [F5]
    #[test]
    fn terminal_detaching_and_socket() {
        let allowed = |terminal, detached, socket| Receiver::check(terminal, detached, socket).is_ok();
        assert!(allowed(false, false, false) && allowed(false, true, false));
        assert!(allowed(true, false, false) && allowed(true, true, true));
        assert!(!allowed(true, true, false) && !allowed(true, false, true));
        assert!(!allowed(false, true, true) && !allowed(false, false, true));
    }
}
