//! What `create` and `run` do besides the plan: who is told of what.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::Finish;
use crate::cli::CreateArgs;
use crate::error::{Context, Error, Kind, Result};
use crate::plan::Plan;
use crate::process::notify::Manager;
use crate::process::pidfd_socket::PidfdSocket;
use crate::process::terminal::outer::Outer;
use crate::process::terminal::session::Session;
use crate::process::unix_socket::receive_fd;
use crate::process::{channel, terminal};

/// What `create` and `run` have to do besides the plan.
pub struct Orders {
    /// Where init is to be.
    pub finish: Finish,
    /// Where its pid is written, last of all.
    pub pid_file: Option<PathBuf>,
    /// Who gets a pidfd of it.
    pub pidfd: Option<PidfdSocket>,
    /// Who hears of its readiness.
    pub manager: Option<Manager>,
    /// Who gets the master end of the terminal.
    pub console: Option<OwnedFd>,
    /// That is us: where it arrives, and where it is shown.
    shown: Option<(Outer, OwnedFd)>,
}

impl Orders {
    /// Connects to whom the caller wants told: a wrong name fails before anything is made. As runc does it from
    /// within the bundle, relative names start there.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn new(args: &CreateArgs, finish: Finish, bundle: &Path, pid_file: Option<PathBuf>) -> Result<Self> {
        let connect = |path: &PathBuf| PidfdSocket::connect(&socket(bundle, path));
        Ok(Self {
            finish,
            pid_file,
            pidfd: args.pidfd_socket.as_ref().map(connect).transpose()?,
            manager: if finish == Finish::Wait { None } else { Manager::connect()? },
            console: None,
            shown: None,
        })
    }

    /// Finds who is to have the terminal, if there is to be one, and fits it to where it is shown.
    ///
    /// # Errors
    /// Nobody listens at `--console-socket`; there is no terminal to show it in.
    pub fn find_terminal(&mut self, plan: &mut Plan, args: &CreateArgs, bundle: &Path) -> Result<()> {
        let Some(terminal) = &mut plan.process.terminal else { return Ok(()) };
        if let Some(path) = &args.console_socket {
            self.console = Some(terminal::connect(&socket(bundle, path))?);
            return Ok(());
        }
        let outer = Outer::find()?;
        outer.shape(terminal);
        let (ours, inits) = channel::pair().context("make a socket for the terminal")?;
        self.console = Some(inits);
        self.shown = Some((outer, ours));
        Ok(())
    }

    /// The terminal that init has sent, if it is ours to show.
    ///
    /// # Errors
    /// Those of recvmsg(2), fcntl(2), ioctl(2).
    pub fn take_terminal(&mut self) -> Result<Option<Session>> {
        let Some((outer, socket)) = self.shown.take() else { return Ok(None) };
        let master = receive_fd(&socket).context("receive the terminal from init")?;
        Session::new(outer, master).map(Some)
    }
}

/// Where a socket is that the caller has named; `@name` is in no directory.
fn socket(bundle: &Path, path: &Path) -> PathBuf {
    match path.as_os_str().as_encoded_bytes() {
        [b'@', ..] => path.to_path_buf(),
        _ => bundle.join(path),
    }
}

/// Who is to have the master end of the terminal must be clear (F4, F5).
///
/// # Errors
/// It is not.
pub fn check_terminal(terminal: bool, foreground: bool, socket: bool) -> Result<()> {
    let (text, hint) = match (terminal && !foreground, socket) {
        (true, false) => (
            "cannot allocate tty if runc will detach without setting console socket",
            "process.terminal is true: set --console-socket, or run it without --detach",
        ),
        (false, true) => (
            "cannot use console socket if runc will not detach or allocate tty",
            "--console-socket is for process.terminal true and create or run --detach",
        ),
        _ => return Ok(()),
    };
    Err(Error::new(Kind::Usage, text).hint(hint))
}
