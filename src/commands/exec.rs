//! `exec`: a further program in a container.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::cli::{ExecArgs, Global};
use crate::commands::create::{caller, check_passed, grant};
use crate::commands::pid_file;
use crate::container::{CONFIG_FILE, Container, Id, Lock, Status, Store};
use crate::error::{Context, Error, Kind, Result};
use crate::log::Log;
use crate::plan::exec::{self, ExecPlan, Target};
use crate::process::pidfd_socket::PidfdSocket;
use crate::process::{self, labels, own_binary, wait};
use crate::spec::load::{self, LoneProcess};

/// The exit code of every failure of the runtime itself: any other could be the program's (S27).
pub const FAILED: i32 = 255;

const NO_TERMINAL: &str = "exec with a terminal is not carried out by this version of davit";

/// Runs the program: in the foreground to its end, with `--detach` until it was executed.
///
/// # Errors
/// The container is not there or in another state, or the program can't be executed; then nothing is left of it.
pub fn run(global: &Global, args: &ExecArgs, log: &Log) -> Result<i32> {
    // A container sees the process on its way in.
    own_binary::run_from_clone()?;
    let id = Id::parse(&args.id)?;
    if args.tty || args.console_socket.is_some() {
        return Err(Error::new(Kind::Usage, NO_TERMINAL));
    }
    check_passed(args.preserve_fds.try_into().unwrap_or(i32::MAX), 0)?;
    let pid_file = args.pid_file.as_deref().map(std::path::absolute).transpose().context("--pid-file")?;
    let given = args.process.as_deref().map(read_process).transpose()?;
    let socket = args.pidfd_socket.as_deref().map(PidfdSocket::connect_for_exec).transpose()?;
    // No lock: it stands in nobody's way, and what goes on meanwhile is noticed by the pidfd.
    let container = Store::open(&global.state_root().path).load(&id, Lock::None)?;
    let init = enter(&container, args.ignore_paused)?;
    // As in create: nothing that is shared with the new process is ever freed.
    let exec = ManuallyDrop::new(decide(&container, given, args)?);
    exec.plan.warnings.iter().for_each(|warning| log.warn(warning));
    let signals = if args.detach { None } else { Some(wait::catch_signals()?) };
    let cgroup = container.cgroup();
    let child = process::exec::launch(&exec, &container, init.as_fd(), &cgroup, socket)
        .context("unable to start container process")?;
    if let Some(path) = &pid_file
        && let Err(error) = pid_file::write(path, child.pid)
    {
        child.kill_and_reap();
        return Err(error);
    }
    match signals {
        Some(signals) => wait::until_exit(&child, &signals, None, None, log),
        None => Ok(0),
    }
}

fn read_process(path: &Path) -> Result<LoneProcess> {
    let doing = || format!("--process {}", path.display());
    let raw = std::fs::read(path).with_context(doing)?;
    load::process(&raw).with_context(doing)
}

/// A pidfd of init, if the container's state allows to join it.
fn enter(container: &Container, ignore_paused: bool) -> Result<OwnedFd> {
    let refused = |text: &str| Err(Error::new(Kind::State, text));
    match container.status()? {
        Status::Created | Status::Running => {}
        Status::Paused if ignore_paused => container.cgroup().wait_thawed()?,
        Status::Paused => {
            return refused("cannot exec in a paused container (use --ignore-paused to override)");
        }
        Status::Creating => return refused("cannot exec in a container that is still being created"),
        Status::Stopped => return refused(STOPPED),
    }
    container.pidfd()?.ok_or_else(|| Error::new(Kind::State, STOPPED))
}

const STOPPED: &str = "cannot exec in a stopped container";

fn decide(container: &Container, given: Option<LoneProcess>, args: &ExecArgs) -> Result<ExecPlan> {
    let record = &container.record;
    let Some(join) = record.join else {
        let text = "the container was created by a version of davit that had no exec";
        return Err(Error::new(Kind::State, text));
    };
    let loaded = ManuallyDrop::new(load::load(container.path(), Path::new(CONFIG_FILE))?);
    let target = Target {
        id: &record.id,
        bundle: &record.bundle,
        spec: &loaded.spec,
        pid: record.init_process_pid,
        namespaces: join.namespaces,
        keyring: join.keyring,
        caller: caller()?,
    };
    let mut exec = exec::plan(given, args, &target)?;
    if exec.plan.process.terminal.is_some() {
        return Err(Error::config("process.terminal", NO_TERMINAL));
    }
    labels::settle(&mut exec.plan.process)?;
    grant(&mut exec.plan)?;
    Ok(exec)
}
