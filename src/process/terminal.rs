//! A process's own terminal: made in the container, its master sent away (features.md, section 18).

pub mod outer;
pub mod receiver;
pub mod session;
mod stream;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::termios::{OptionalActions, OutputModes, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use super::unix_socket;
use crate::fault::{Action, During, Fault};
use crate::plan::terminal::TerminalPlan;
use crate::rootfs::console::{self, Pty};
use crate::sys::fd;

/// What the message with the master says: conmon wants a name.
const NAME: &[u8] = b"/dev/ptmx";

/// In the child: makes the terminal in the file tree `root`, sends its master to `socket` and keeps the other end as
/// its streams.
///
/// # Errors
/// No devpts is there, /dev/console can't be made, the peer is gone.
pub(super) fn make(plan: &TerminalPlan, root: BorrowedFd<'_>, socket: &OwnedFd) -> Result<(), Fault> {
    let Pty { master, slave } = console::open(root)?;
    if let Some((rows, columns)) = plan.size {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size)?;
    }
    if !plan.crlf {
        // Here, so that not even the first words of the program are written the other way.
        let mut modes = tcgetattr(&slave)?;
        modes.output_modes.remove(OutputModes::ONLCR);
        tcsetattr(&slave, OptionalActions::Now, &modes)?;
    }
    if plan.console {
        console::bind(root, &slave)?;
    }
    unix_socket::send_fd(socket, NAME, master.as_fd()).during(Action::Send)?;
    for stream in 0..3 {
        fd::dup_to(slave.as_fd(), stream)?;
    }
    Ok(())
}

/// In the child, a session leader: its stdin, a terminal that was made for it, becomes the one that controls it.
///
/// # Errors
/// EPERM: it controls another session.
pub(super) fn control() -> Result<(), Errno> {
    fd::borrow_inherited(0).map_or(Err(Errno::BADF), rustix::process::ioctl_tiocsctty)
}
