//! `start`: tells a created container's init to execute the program.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::container::{Id, Lock, Record, State, Status, Store};
use crate::error::{Error, Kind, Result};
use crate::log::Log;
use crate::process::hooks::{self, Outputs, Setting};
use crate::process::notify::{Manager, Notify};
use crate::process::start::{self, Started};

/// Starts a created container; returns when its program was executed and the poststart hooks have run.
///
/// # Errors
/// It does not exist, is in another state, or the program can't be executed. When a startContainer or poststart hook
/// or the seccomp agent fails, the container is gone.
pub fn run(root: &Path, id: &str, log: &Log) -> Result<i32> {
    let id = Id::parse(id)?;
    let container = Store::open(root).load(&id, Lock::Exclusive)?;
    match container.status()? {
        Status::Created => {}
        Status::Running => return refuse("cannot start an already running container".into()),
        Status::Stopped => return refuse("cannot start a container that has stopped".into()),
        status => return refuse(format!("cannot start a container in the {status} state")),
    }
    let notify = match Manager::connect()? {
        Some(manager) => Notify::new(container.dir(), manager)?,
        None => None,
    };
    // While init waits for us: afterwards it may have ended.
    let watched = match notify {
        Some(notify) => container.pidfd()?.map(|pidfd| (notify, pidfd)),
        None => None,
    };
    let pid = container.record.init_process_pid;
    let ended = match start::start(container.dir(), &container.record, log)? {
        Started::Running => run_poststart(&container.record),
        Started::Undone(error) => Err(error),
    };
    if let Err(error) = ended {
        // H15, H16: killed and deleted (runtime.md, "Lifecycle", steps 7 and 9).
        let _ = container.kill_init(libc::SIGKILL);
        let record = container.record.clone();
        let _ = container.destroy();
        crate::commands::delete::run_poststop(&record, &mut |text| log.warn(text));
        return Err(error);
    }
    if let Some((notify, pidfd)) = watched {
        // Other verbs need not wait for what may take as long as it likes.
        container.unlock()?;
        report_readiness(notify, &pidfd, pid, log);
    }
    Ok(0)
}

/// Returns when the container is ready or has ended. It runs in any case: a manager that can't be told is a warning.
pub(super) fn report_readiness(notify: Notify, pidfd: &OwnedFd, pid: i32, log: &Log) {
    if let Err(error) = notify.wait(pidfd.as_fd(), pid) {
        log.warn(error);
    }
}

fn refuse(text: String) -> Result<i32> {
    Err(Error::new(Kind::State, text))
}

/// H12: after the program was executed, before the verb returns.
///
/// # Errors
/// A hook failed; the caller takes the container down.
pub(super) fn run_poststart(record: &Record) -> Result<()> {
    if record.hooks.poststart.is_empty() {
        return Ok(());
    }
    let state = State::plain(record, Status::Running, record.init_process_pid).to_json()?;
    let outputs = Outputs::of(record)?;
    let setting = Setting::runtime(&state, &record.bundle).writing_to(&outputs);
    hooks::run_all("poststart", &record.hooks.poststart, &setting)
}
