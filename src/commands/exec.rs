//! `exec`: a further program in a container.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::cli::{ExecArgs, Global};
use crate::commands::create::{caller, check_passed, grant, seccomp_receiver};
use crate::commands::pid_file;
use crate::container::{CONFIG_FILE, Container, DIGEST_FILE, Id, Lock, Status, Store};
use crate::error::{Context, Error, Kind, Result};
use crate::log::Log;
use crate::plan::digest::Digest;
use crate::plan::exec::{self, ExecPlan, Target};
use crate::plan::fd_count;
use crate::process::interrupt::Interrupt;
use crate::process::pidfd_socket::PidfdSocket;
use crate::process::terminal::receiver::Receiver;
use crate::process::{self, agent, labels, unix_socket, wait};
use crate::spec::load::{self, LoneProcess};
use crate::sys::clone::Child;

/// The exit code of every failure of the runtime itself: any other could be the program's (S27).
pub const FAILED: i32 = 255;

/// Runs the program: in the foreground to its end, with `--detach` until it was executed. This must be the clone of the
/// binary by now, since a container sees the process on its way in.
///
/// # Errors
/// The container is not there or in another state, or the program can't be executed; then nothing is left of it.
pub fn run(global: &Global, args: &ExecArgs, log: &Log) -> Result<i32> {
    let id = Id::parse(&args.id)?;
    check_passed(fd_count(args.preserve_fds)?, 0)?;
    let pid_file = args.pid_file.as_deref().map(std::path::absolute).transpose().context("--pid-file")?;
    let given = args.process.as_deref().map(read_process).transpose()?;
    // No lock: it stands in nobody's way, and what goes on meanwhile is noticed by the pidfd.
    let container = Store::open(&global.state_root().path).load(&id, Lock::None)?;
    let init = enter(&container, args.ignore_paused)?;
    let place = |path: &PathBuf| socket_place(args, &container.record.bundle, path);
    let pidfd = args.pidfd_socket.as_ref().map(place);
    let pidfd = pidfd.as_deref().map(PidfdSocket::connect_for_exec).transpose()?;
    // As in create: nothing that is shared with the new process is ever freed.
    let (digest, kept) = digest(&container)?;
    let mut exec = ManuallyDrop::new(decide(&container, &digest, given, args)?);
    let terminal = &mut exec.plan.process.terminal;
    Receiver::check(terminal.is_some(), args.detach, args.console_socket.is_some())?;
    let signals = if args.detach { None } else { Some(Interrupt::catch_all()?) };
    let mut receiver = Receiver::find(terminal.as_mut(), args.console_socket.as_ref().map(place).as_deref())?;
    exec.plan.warnings.iter().for_each(|warning| log.warn(warning));
    let cgroup = container.cgroup();
    let console = receiver.take_socket();
    let child = process::exec::launch(&exec, &container, init.as_fd(), &cgroup, pidfd, console)
        .context("unable to start container process")?;
    if !kept && let Some(bytes) = digest.encode() {
        // For the next one; without it that takes longer.
        let _ = container.keep(DIGEST_FILE, &bytes);
    }
    let code = attend(&child, receiver, pid_file.as_deref(), signals, log);
    if code.is_err() {
        child.kill_and_reap();
    }
    code
}

/// What is left once it is the program; the pid file is the last of all.
fn attend(
    child: &Child,
    mut receiver: Receiver,
    pid_file: Option<&Path>,
    signals: Option<Interrupt>,
    log: &Log,
) -> Result<i32> {
    let session = receiver.session()?;
    if let Some(path) = pid_file {
        pid_file::write(path, child.pid)?;
    }
    match signals {
        Some(mut signals) => wait::until_exit(child, &mut signals, None, session, log),
        None => Ok(0),
    }
}

/// As with runc, which reads the container's configuration from within the bundle: relative names start there, unless
/// there is a process file.
fn socket_place(args: &ExecArgs, bundle: &Path, name: &Path) -> PathBuf {
    match &args.process {
        Some(_) => name.to_path_buf(),
        None => unix_socket::place(bundle, name),
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
    let (status, pidfd) = container.status_and_pidfd()?;
    match status {
        Status::Created | Status::Running => {}
        Status::Paused if ignore_paused => container.cgroup().wait_thawed()?,
        Status::Paused => {
            return refused("cannot exec in a paused container (use --ignore-paused to override)");
        }
        Status::Creating => return refused("cannot exec in a container that is still being created"),
        Status::Stopped => return refused(STOPPED),
    }
    pidfd.ok_or_else(|| Error::new(Kind::State, STOPPED))
}

const STOPPED: &str = "cannot exec in a stopped container";

/// What of the configuration is needed, and whether it was kept: made by the first exec, so that create has no part in it.
fn digest(container: &Container) -> Result<(ManuallyDrop<Digest>, bool)> {
    let kept = container.kept(DIGEST_FILE).ok();
    if let Some(digest) = kept.and_then(|bytes| Digest::decode(&bytes)) {
        return Ok((ManuallyDrop::new(digest), true));
    }
    let loaded = load::load(container.path(), Path::new(CONFIG_FILE))?;
    let record = &container.record;
    // Who creates may have had a variable that is not there now. A recorder's name, which is not absolute, is none of it: that
    // hears the container's first process only, and this one has the profile of the bundle.
    let of_create = || {
        let path = record.seccomp_agent.as_ref().map(|agent| agent.path.clone());
        path.filter(|path| path.is_absolute())
    };
    let receiver = seccomp_receiver().or_else(of_create);
    Ok((ManuallyDrop::new(Digest::of(&loaded.spec, &record.bundle, receiver.as_deref())?), false))
}

fn decide(
    container: &Container,
    digest: &Digest,
    given: Option<LoneProcess>,
    args: &ExecArgs,
) -> Result<ExecPlan> {
    let record = &container.record;
    let Some(join) = record.join else {
        let text = "the container was created by a version of davit that had no exec";
        return Err(Error::new(Kind::State, text));
    };
    let target = Target {
        id: &record.id,
        bundle: &record.bundle,
        digest,
        pid: record.init_process_pid,
        namespaces: join.namespaces,
        keyring: join.keyring,
        caller: caller()?,
        kernel: crate::plan::Kernel::RUNNING,
    };
    let mut exec = exec::plan(given, args, &target)?;
    agent::check(exec.plan.seccomp.as_ref(), exec.plan.seccomp_agent.as_ref())?;
    labels::settle(&mut exec.plan.process)?;
    grant(&mut exec.plan)?;
    Ok(exec)
}
