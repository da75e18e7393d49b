//! The parent: makes one child, does what only the parent can, and hears how it went.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, waitid};

use super::channel::{self, Message};
use super::describe;
use super::hooks::{self, inside};
use super::id_maps;
use super::init::Init;
use super::own_binary;
use super::pidfd_socket::PidfdSocket;
use super::step::{Progress, Step};
use crate::cgroups::Cgroup;
use crate::container::{Container, Phase, Process, State, Status};
use crate::error::{Context, Error, Kind, Result};
use crate::namespaces::{Join, name, net_devices};
use crate::plan::Plan;
use crate::rootfs::mounts;
use crate::rootfs::tree::MountAction;
use crate::sys::clone::{self, Child};
use crate::sys::credentials::permitted_capabilities;
use crate::sys::exec::Room;
use crate::sys::fd;
use crate::sys::page::SharedWord;
use crate::sys::procfs::Proc;

/// Sockets that are for init.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Where it listens for `start`; without it becomes the program.
    pub start: Option<OwnedFd>,
    /// Who gets a pidfd of it, before any of the container's programs runs.
    pub pidfd: Option<PidfdSocket>,
}

/// Starts init and brings it to where it waits for `start` or has become the program. When this fails, init is dead and reaped.
///
/// # Errors
/// What failed, in the parent or in init, as one sentence.
pub fn launch(plan: &Plan, container: &mut Container, cgroup: &Cgroup, sockets: Sockets) -> Result<Child> {
    let progress = Progress::new().context("share a page with init")?;
    let (parent_end, child_end) = channel::pair().context("make the channel to init")?;
    let proc = Proc::open().context("open /proc")?;
    let init = Init {
        plan,
        progress: &progress,
        channel: child_end,
        sources: early_sources(plan)?,
        joins: plan.namespaces.join.iter().map(open_namespace).collect::<Result<_>>()?,
        start: sockets.start.map(|listener| waiting_room(plan).map(|room| (listener, room))).transpose()?,
        states: inside::States::prepare(plan, &container.record)?,
        hide_early: rustix::process::geteuid().is_root(),
        ignored: ignored_signals(&proc)?,
        available: available(plan)?,
        proc,
    };
    let child = clone_init(plan, cgroup, &init, &parent_end)?;
    drop(init.channel);
    let sent = sockets.pidfd.map_or(Ok(()), |socket| socket.send(child.pidfd.as_fd()));
    let told = sent
        .and_then(|()| attend(plan, container, cgroup, &init.proc, &parent_end, child.pid))
        .and_then(|()| follow(plan, container, &parent_end, &progress, &child));
    match told {
        Ok(()) => Ok(child),
        Err(error) => {
            let status = kill_and_reap(&child);
            Err(explain_death(error, status, cgroup))
        }
    }
}

fn open_namespace(join: &Join) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, &join.path, flags, Mode::empty()).with_context(|| {
        let (kind, path) = (name(join.kind), join.path.to_string_lossy());
        format!("linux.namespaces[{}].path: open {kind} namespace {path}", join.index)
    })
}

/// Links of procfs lead into the runtime's mount namespace, where init is not any more (M48).
fn early_sources(plan: &Plan) -> Result<Vec<(usize, OwnedFd)>> {
    let mut sources = Vec::new();
    for (index, op) in plan.rootfs.mounts.iter().enumerate() {
        if let MountAction::Bind { source, recursive, early: true, .. } = &op.action {
            let tree = mounts::clone_tree(source, *recursive).map_err(|fault| {
                Error::system(
                    format_args!("mounts[{index}].source: open {}", source.to_string_lossy()),
                    fault.errno,
                )
            })?;
            if plan.rootfs.propagation & libc::MS_SHARED == 0 {
                // As it would be, had init opened it: mounts in the container must not reach the host (M25).
                mounts::enslave(&tree).with_context(|| format!("mounts[{index}].source: set propagation"))?;
            }
            sources.push((index, tree));
        }
    }
    Ok(sources)
}

/// Mapped here, before the container's own limits are in force.
fn waiting_room(plan: &Plan) -> Result<Room> {
    let process = &plan.process;
    let filter = plan.seccomp.as_ref().map(|filter| filter.instructions.as_slice()).unwrap_or_default();
    Room::new(&process.candidates, &process.args, &process.env, filter).context("map memory for init")
}

/// What init must not hand on: `SigIgn` of /proc/self/status (proc(5)), bit N-1 for signal N.
fn ignored_signals(proc: &Proc) -> Result<u64> {
    let doing = "read /proc/self/status";
    let mut buffer = [0u8; 4096];
    let file = proc.open_file(c"self/status", OFlags::RDONLY).context(doing)?;
    let length = rustix::io::read(&file, &mut buffer).context(doing)?;
    let text = String::from_utf8_lossy(&buffer[..length]);
    let mask = text.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    mask.and_then(|mask| u64::from_str_radix(mask, 16).ok())
        .ok_or_else(|| Error::new(Kind::System, format!("{doing}: no SigIgn")))
}

/// The capabilities that init holds before it drops them: in a user namespace all.
fn available(plan: &Plan) -> Result<u64> {
    if plan.namespaces.in_user_namespace() {
        return Ok(u64::MAX >> 23);
    }
    permitted_capabilities().context("read the own capabilities")
}

/// One clone3. A pid namespace that is joined is entered by the parent, for its children only, and left again.
fn clone_init(plan: &Plan, cgroup: &Cgroup, init: &Init<'_>, parent_end: &OwnedFd) -> Result<Child> {
    let namespaces = &plan.namespaces;
    if let Some(user) = &namespaces.join_user {
        return clone_into_user_namespace(plan, cgroup, init, user, parent_end);
    }
    let joined = namespaces.join_pid.as_ref().map(enter_pid_namespace).transpose()?;
    let made = clone::clone3(namespaces.clone_flags, cgroup.clone_into_fd(), false, || {
        // Else it would keep the channel open that tells it of the parent's death.
        fd::close_in_child(parent_end.as_fd());
        init.run()
    });
    if let Some(own) = joined {
        clone::setns(own.as_fd(), libc::CLONE_NEWPID).context("return to the own pid namespace")?;
    }
    made.map_err(|errno| describe::clone_failed(errno, namespaces))
}

/// Lets the next child be in the namespace; gives the own one to go back to.
fn enter_pid_namespace(join: &Join) -> Result<OwnedFd> {
    let own = rustix::fs::openat(CWD, c"/proc/self/ns/pid", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .context("open /proc/self/ns/pid")?;
    let file = open_namespace(join)?;
    clone::setns(file.as_fd(), libc::CLONE_NEWPID).map_err(|errno| describe::join_failed(join, errno))?;
    Ok(own)
}

/// The one case with a process in between: the other namespaces must be made inside the user namespace that is
/// joined, and whoever has joined it can't come back. It makes init as its sibling and ends.
fn clone_into_user_namespace(
    plan: &Plan,
    cgroup: &Cgroup,
    init: &Init<'_>,
    user: &Join,
    parent_end: &OwnedFd,
) -> Result<Child> {
    let file = open_namespace(user)?;
    let pid_file = plan.namespaces.join_pid.as_ref().map(open_namespace).transpose()?;
    let pid = SharedWord::new().context("share a page")?;
    let middle = clone::clone3(0, None, false, || {
        // Else both would keep the channel open that tells them of the parent's death.
        fd::close_in_child(parent_end.as_fd());
        init.progress.at(Step::Join, user.index);
        let result = clone::setns(file.as_fd(), libc::CLONE_NEWUSER)
            .and_then(|()| {
                pid_file.as_ref().map_or(Ok(()), |file| clone::setns(file.as_fd(), libc::CLONE_NEWPID))
            })
            .and_then(|()| {
                clone::clone3(plan.namespaces.clone_flags, cgroup.clone_into_fd(), true, || init.run())
            });
        match result {
            Ok(child) => {
                pid.set(child.pid.unsigned_abs());
                0
            }
            Err(errno) => {
                channel::send_failed(&init.channel, init.progress.position(), errno.into(), b"");
                1
            }
        }
    })
    .map_err(|errno| describe::clone_failed(errno, &plan.namespaces))?;
    reap(&middle);
    let pid = i32::try_from(pid.get()).unwrap_or(0);
    let Some(known) = Pid::from_raw(pid) else {
        return Err(describe::join_failed(user, Errno::PERM));
    };
    let pidfd = rustix::process::pidfd_open(known, PidfdFlags::empty()).context("open a pidfd of init")?;
    Ok(Child { pid, pidfd })
}

/// What only the parent can do for init, while that builds its file tree; then the word to go on.
fn attend(
    plan: &Plan,
    container: &mut Container,
    cgroup: &Cgroup,
    proc: &Proc,
    channel: &OwnedFd,
    pid: i32,
) -> Result<()> {
    if let Some(maps) = &plan.namespaces.id_maps {
        id_maps::write(proc, pid, maps)?;
    }
    if let (Some(join), Some(maps)) = (&plan.namespaces.join_user, &plan.namespaces.expected_maps) {
        id_maps::compare(proc, pid, join, maps)?;
    }
    if cgroup.clone_into_fd().is_none() {
        cgroup.attach(pid)?;
    }
    if let Some(group) = &container.record.resctrl {
        group.attach(pid)?;
    }
    container.record.set_init(Process::of(pid)?);
    // While hooks run it is still being created, for whoever asks (H7).
    container.record.phase = if plan.stops_midway() { Phase::Creating } else { Phase::Created };
    container.save()?;
    let_go(channel)
}

fn let_go(channel: &OwnedFd) -> Result<()> {
    match channel::send_go(channel) {
        // It is dead: follow() tells why.
        Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
        Err(errno) => Err(Error::system("let init go on", errno)),
    }
}

/// Listens to init until it is where it should be.
fn follow(
    plan: &Plan,
    container: &mut Container,
    channel: &OwnedFd,
    progress: &Progress,
    child: &Child,
) -> Result<()> {
    loop {
        match channel::next(channel).context("listen to init")? {
            Message::Ready => return Ok(()),
            Message::NamespacesReady => {
                move_net_devices(plan, child.pid)?;
                run_hooks(plan, container, child.pid)?;
                container.record.phase = Phase::Created;
                container.save()?;
                let_go(channel)?;
            }
            Message::Failed(failure) => return Err(describe::failure(plan, &failure)),
            Message::End if progress.position().step == Step::Exec => {
                return own_binary::refuse_as_program(plan, child.pid);
            }
            Message::End => {
                let place = describe::place(plan, progress.position());
                return Err(Error::new(Kind::System, format!("init ended unexpectedly at {place}")));
            }
        }
    }
}

/// Into init's network namespace, now that it is in it, and as late as may be: a virtual device ends with the
/// namespace if the container does not come to be.
fn move_net_devices(plan: &Plan, pid: i32) -> Result<()> {
    if plan.net_devices.is_empty() {
        return Ok(());
    }
    let path = format!("/proc/{pid}/ns/net");
    let file = rustix::fs::openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    net_devices::move_all(&plan.net_devices, file.with_context(|| format!("open {path}"))?.as_fd())
}

/// prestart, then createRuntime: the namespaces and mounts are there, the root has not changed yet (H9).
fn run_hooks(plan: &Plan, container: &Container, pid: i32) -> Result<()> {
    let state = State::plain(&container.record, Status::Creating, pid).to_json()?;
    let setting = hooks::Setting::runtime(&state, &plan.bundle).dying_with_us();
    hooks::run_all("prestart", &plan.hooks.prestart, &setting)?;
    hooks::run_all("createRuntime", &plan.hooks.create_runtime, &setting)
}

/// Kills init and waits for its end; gives the signal that ended it.
pub fn kill_and_reap(child: &Child) -> Option<i32> {
    let _ = crate::sys::process::pidfd_send_signal(child.pidfd.as_fd(), libc::SIGKILL);
    reap(child)
}

/// Waits for a child's end; gives the signal that killed it.
fn reap(child: &Child) -> Option<i32> {
    let wait = || waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
    rustix::io::retry_on_intr(wait).ok().flatten().and_then(|status| status.terminating_signal())
}

/// The kernel kills without a word: a memory limit is the likely cause (S12).
fn explain_death(error: Error, signal: Option<i32>, cgroup: &Cgroup) -> Error {
    if signal == Some(libc::SIGKILL) && error.errno().is_none() && cgroup.oom_killed() {
        return error.context("container init was OOM-killed (memory limit too low?)");
    }
    error
}
