//! What `create` and `run` do besides the plan: who is told of what.

use std::path::{Path, PathBuf};

use super::Finish;
use crate::cli::CreateArgs;
use crate::error::Result;
use crate::plan::Plan;
use crate::plan::annotations::PIDFD_RECEIVER;
use crate::process::notify::Manager;
use crate::process::pidfd_socket::{OPTION, PidfdSocket};
use crate::process::terminal::receiver::Receiver;
use crate::process::unix_socket;

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
    /// Who gets the master end of its terminal.
    pub terminal: Receiver,
}

impl Orders {
    /// Connects to whom the caller wants told: a wrong name fails before anything is made. As runc does it from
    /// within the bundle, relative names start there.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn new(
        args: &CreateArgs,
        finish: Finish,
        bundle: &Path,
        pid_file: Option<PathBuf>,
        receiver: Option<&Path>,
    ) -> Result<Self> {
        let by_option = args.pidfd_socket.as_deref().map(|path| (path, OPTION.to_string()));
        let pidfd = by_option.or(receiver.map(|path| (path, format!("annotations[{PIDFD_RECEIVER:?}]"))));
        Ok(Self {
            finish,
            pid_file,
            pidfd: pidfd
                .map(|(path, asked)| PidfdSocket::connect(&unix_socket::place(bundle, path), &asked))
                .transpose()?,
            manager: if finish == Finish::Wait { None } else { Manager::connect()? },
            terminal: Receiver::default(),
        })
    }

    /// Finds who is to have the terminal, if there is to be one.
    ///
    /// # Errors
    /// Nobody listens at `--console-socket`; there is no terminal to show it in.
    pub fn find_terminal(&mut self, plan: &mut Plan, args: &CreateArgs, bundle: &Path) -> Result<()> {
        let path = args.console_socket.as_ref().map(|path| unix_socket::place(bundle, path));
        self.terminal = Receiver::find(plan.process.terminal.as_mut(), path.as_deref())?;
        Ok(())
    }
}
