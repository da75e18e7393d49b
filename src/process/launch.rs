//! The parent: makes one child, does what only the parent can, and hears how it went.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::agent;
use super::channel::{self, Failure, Message};
use super::describe;
use super::go_between;
use super::hooks::{self, inside};
use super::id_maps;
use super::init::Init;
use super::interrupt::Interrupt;
use super::join::{self, Joins};
use super::own_binary;
use super::pidfd_socket::PidfdSocket;
use super::sources;
use super::step::{Position, Progress, Step};
use crate::cgroups::{Cgroup, RACES, Tasks};
use crate::container::{Container, Phase, Process, State, Status};
use crate::error::{Context, Error, Kind, Result};
use crate::namespaces::{Join, net_devices};
use crate::plan::Plan;
use crate::sys::clone::{self, Child};
use crate::sys::exec::Room;
use crate::sys::fd;
use crate::sys::procfs::Proc;

/// Sockets that are for init.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Where it listens for `start`; without it becomes the program.
    pub start: Option<OwnedFd>,
    /// Who gets the master end of its terminal.
    pub console: Option<OwnedFd>,
    /// Who gets a pidfd of it, before any of the container's programs runs.
    pub pidfd: Option<PidfdSocket>,
}

/// Starts init and brings it to where it waits for `start` or has become the program. When this fails, init is dead and reaped.
///
/// # Errors
/// What failed, in the parent or in init, as one sentence.
pub fn launch(
    plan: &Plan,
    container: &mut Container,
    cgroup: &mut Cgroup,
    sockets: Sockets,
    interrupt: &mut Interrupt,
) -> Result<Child> {
    let progress = Progress::new().context("share a page with init")?;
    let (parent_end, child_end) = channel::pair().context("make the channel to init")?;
    let proc = Proc::open().context("open /proc")?;
    let tasks = cgroup.open_tasks(&plan.cgroup)?;
    let init = Init {
        plan,
        tasks: &tasks,
        progress: &progress,
        channel: child_end,
        sources: sources::open(plan, &proc)?,
        joins: Joins::open(&plan.namespaces.join)?,
        start: sockets.start.map(|listener| waiting_room(plan).map(|room| (listener, room))).transpose()?,
        console: sockets.console,
        states: inside::States::prepare(plan, &container.record)?,
        hide_early: rustix::process::geteuid().is_root(),
        ignored: ignored_signals(&proc)?,
        proc,
    };
    let child = make_init(plan, cgroup, &init, &parent_end)?;
    drop(init.channel);
    drop(init.console);
    let sent = sockets.pidfd.map_or(Ok(()), |socket| socket.send(child.pidfd.as_fd()));
    let told = sent
        .and_then(|()| attend(plan, container, cgroup, &init.proc, &parent_end, child.pid))
        .and_then(|()| follow(plan, container, (cgroup, &tasks), &parent_end, &progress, &child, interrupt));
    match told {
        Ok(()) => Ok(child),
        Err(error) => {
            let status = child.kill_and_reap();
            Err(explain_death(error, status, cgroup))
        }
    }
}

/// Mapped here, before the container's own limits are in force.
fn waiting_room(plan: &Plan) -> Result<Room> {
    let process = &plan.process;
    let filter = plan.seccomp.as_ref().map(|filter| filter.instructions.as_slice()).unwrap_or_default();
    Room::new(&process.candidates, &process.args, &process.env, filter).context("map memory for init")
}

/// What init must not hand on: `SigIgn` of /proc/self/status (proc(5)), bit N-1 for signal N.
pub(super) fn ignored_signals(proc: &Proc) -> Result<u64> {
    let doing = "read /proc/self/status";
    let mut buffer = [0u8; 4096];
    let file = proc.open_file(c"self/status", OFlags::RDONLY).context(doing)?;
    let mut text = Vec::new();
    loop {
        let length = rustix::io::read(&file, &mut buffer).context(doing)?;
        text.extend_from_slice(&buffer[..length]);
        // A caller with many groups has a long file: they stand before it.
        if let Some(mask) = sig_ign(&text) {
            return Ok(mask);
        }
        if length == 0 {
            return Err(Error::new(Kind::System, format!("{doing}: no SigIgn")));
        }
    }
}

/// The mask, once its whole line is there.
fn sig_ign(status: &[u8]) -> Option<u64> {
    let lines = status.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let mask = lines.filter_map(|line| line.strip_prefix(b"SigIgn:")).next()?;
    u64::from_str_radix(std::str::from_utf8(mask).ok()?.trim(), 16).ok()
}

/// Once more for each time that somebody removes the cgroup2 directory of a hybrid host meanwhile.
fn make_init(plan: &Plan, cgroup: &mut Cgroup, init: &Init<'_>, parent_end: &OwnedFd) -> Result<Child> {
    for _ in 0..RACES {
        match clone_init(plan, cgroup, init, parent_end) {
            Err(error) if cgroup.reopen(&plan.cgroup, &error)? => {}
            other => return other,
        }
    }
    clone_init(plan, cgroup, init, parent_end)
}

/// One clone3. A pid namespace that is joined is entered by the parent, for its children only, and left again.
fn clone_init(plan: &Plan, cgroup: &Cgroup, init: &Init<'_>, parent_end: &OwnedFd) -> Result<Child> {
    let namespaces = &plan.namespaces;
    if namespaces.joins_before_user_namespace() {
        return go_between::clone_init(plan, cgroup, init, parent_end);
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
    made.map_err(|errno| describe::clone_failed(errno, plan))
}

/// Lets the next child be in the namespace; gives the own one to go back to.
fn enter_pid_namespace(join: &Join) -> Result<OwnedFd> {
    let own = rustix::fs::openat(CWD, c"/proc/self/ns/pid", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .context("open /proc/self/ns/pid")?;
    let file = join::open(join)?;
    clone::setns(file.as_fd(), libc::CLONE_NEWPID).map_err(|errno| describe::join_failed(join, errno))?;
    Ok(own)
}

/// What only the parent can do for init, while that builds its file tree; then the word to go on.
fn attend(
    plan: &Plan,
    container: &mut Container,
    cgroup: &mut Cgroup,
    proc: &Proc,
    channel: &OwnedFd,
    pid: i32,
) -> Result<()> {
    if let Some(maps) = &plan.namespaces.id_maps {
        id_maps::write(proc, pid, maps)?;
        // Here, with the runtime's rights: in its user namespace init has none to lower it.
        if let Some(score) = &plan.process.oom_score_adj {
            set_oom_score(plan, proc, pid, score)?;
        }
    }
    if let (Some(join), Some(maps)) = (&plan.namespaces.join_user, &plan.namespaces.expected_maps) {
        id_maps::compare(proc, pid, join, maps)?;
    }
    cgroup.enter(&plan.cgroup, pid)?;
    container.record.cgroup = cgroup.record();
    if let Some(group) = &container.record.resctrl {
        group.attach(pid)?;
    }
    container.record.set_init(Process::of(pid)?);
    // While hooks run it is still being created, for whoever asks (H7).
    container.record.phase = if plan.stops_midway() { Phase::Creating } else { Phase::Created };
    container.save()?;
    let_go(channel)
}

fn set_oom_score(plan: &Plan, proc: &Proc, pid: i32, score: &str) -> Result<()> {
    let file = CString::new(format!("{pid}/oom_score_adj")).unwrap_or_default();
    match proc.write(&file, score.as_bytes()) {
        // Without the right to lower it, a rootless container keeps the caller's (U5).
        Err(Errno::ACCESS | Errno::PERM) if !plan.namespaces.runtime_is_root => Ok(()),
        other => {
            other.with_context(|| format!("process.oomScoreAdj: write {score} to /proc/{pid}/oom_score_adj"))
        }
    }
}

pub(super) fn let_go(channel: &OwnedFd) -> Result<()> {
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
    (cgroup, tasks): (&mut Cgroup, &Tasks),
    channel: &OwnedFd,
    progress: &Progress,
    child: &Child,
    interrupt: &mut Interrupt,
) -> Result<()> {
    loop {
        interrupt.wait_for(channel)?;
        match channel::next(channel).context("listen to init")? {
            Message::Ready => return Ok(()),
            Message::CgroupLost => {
                cgroup.attach_again(&plan.cgroup, child.pid)?;
                container.record.cgroup = cgroup.record();
                container.save()?;
                let_go(channel)?;
            }
            Message::NamespacesReady => {
                cgroup.delegate(&plan.cgroup, child.pid)?;
                move_net_devices(plan, child.pid)?;
                run_hooks(plan, container, child.pid)?;
                container.record.phase = Phase::Created;
                container.save()?;
                let_go(channel)?;
            }
            Message::Listener => {
                let agent = plan.seccomp_agent.as_ref();
                agent::pass_on(channel, agent, &container.record, Status::Creating, child.pid)?;
            }
            Message::Failed(Failure { position: Position { step: Step::Cgroup, index }, fault, .. }) => {
                return Err(tasks.refused(index, fault.errno));
            }
            Message::Failed(failure) => return Err(describe::failure(plan, &failure)),
            Message::End if progress.position().step == Step::Exec => {
                return own_binary::refuse_as_program(plan, child.pid);
            }
            Message::End if progress.position().step == Step::ExecFailed => {
                return Err(describe::exec_failed_silently(plan, progress.position().index));
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
    let outputs = hooks::Outputs::of(&container.record)?;
    let setting = hooks::Setting::runtime(&state, &plan.bundle).dying_with_us().writing_to(&outputs);
    hooks::run_all("prestart", &plan.hooks.prestart, &setting)?;
    hooks::run_all("createRuntime", &plan.hooks.create_runtime, &setting)
}

/// The kernel kills without a word: a memory limit is the likely cause (S12).
pub(super) fn explain_death(error: Error, signal: Option<i32>, cgroup: &Cgroup) -> Error {
    if signal == Some(libc::SIGKILL) && error.errno().is_none() && cgroup.oom_killed() {
        return error.context("container init was OOM-killed (memory limit too low?)");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The groups stand before it, as many as there are.
    #[test]
    fn the_mask_is_found_once_its_line_is_whole() {
        let status =
            format!("Name:\tx\nGroups:\t{}\nSigIgn:\t0000000000001000\nSigCgt:\t0\n", "7 ".repeat(9000));
        assert_eq!(sig_ign(status.as_bytes()), Some(0x1000));
        let cut = status.find("1000\n").unwrap();
        assert_eq!(sig_ign(&status.as_bytes()[..cut]), None);
        let own = ignored_signals(&Proc::open().unwrap()).unwrap();
        assert_eq!(own >> 63, 0);
    }
}
