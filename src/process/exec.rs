//! `exec`: a further process in a container that is there already.
//!
//! A hostile process in the container sees who joins it, and with CAP_SYS_PTRACE may look into it, whatever its rights:
//! root, working directory, descriptors, memory. So a process in between enters everything that can be entered and closes
//! everything first, while it is still seen by the host's pid namespace only; what it then makes is born inside.
//!
//! ```text
//! runtime                           in between                          the program's process
//!   clone3(CLONE_INTO_CGROUP) ────▶ v1: enters the cgroups
//!                                   oom score, LSM labels: host's /proc
//!                                   setns(pidfd of init): all at once
//!                                   root of the user namespace
//!                                   terminal made, its master sent
//!                                   closes all but the channel
//!   reaps it ◀───────────────────── clone3(CLONE_PARENT) ─────────────▶ session, streams, keyring, rlimits,
//!   pidfd socket, resctrl             ends                               user, capabilities, program looked up
//!   ───────────── Go, if there is one ────────────────────────────────▶ affinity, seccomp filter, execve
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci_spec::runtime::LinuxNamespaceType;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, PidfdFlags};

use super::agent;
use super::channel::{self, Message};
use super::describe;
use super::init::Init;
use super::join::Joins;
use super::launch::{explain_death, ignored_signals};
use super::pidfd_socket::PidfdSocket;
use super::step::{Progress, Step};
use super::terminal;
use crate::cgroups::{Cgroup, Place, Tasks};
use crate::container::{Container, Status};
use crate::error::{Context, Error, Kind, Result};
use crate::fault::{Action, During, Fault};
use crate::identity::apply;
use crate::namespaces::{file_name, flag};
use crate::plan::Plan;
use crate::plan::exec::{Affinity, ExecPlan};
use crate::spec::list::NumberSet;
use crate::sys::clone::{self, Child};
use crate::sys::exec::forget_command_line;
use crate::sys::fd;
use crate::sys::page::SharedWord;
use crate::sys::process::pidfd_send_signal;
use crate::sys::procfs::Proc;
use crate::sys::scheduling;

/// Starts the process and returns when it has become the program. When this fails, it is dead and reaped.
///
/// # Errors
/// What failed, here or there, as one sentence.
pub fn launch(
    exec: &ExecPlan,
    container: &Container,
    init: BorrowedFd<'_>,
    cgroup: &Cgroup,
    socket: Option<PidfdSocket>,
    console: Option<OwnedFd>,
) -> Result<Child> {
    let plan = &exec.plan;
    let init_pid = container.record.init_process_pid;
    let mut place = cgroup.place(&exec.cgroup, init_pid, !plan.namespaces.runtime_is_root)?;
    let resctrl = container.record.resctrl.as_ref();
    let progress = Progress::new().context("share a page with the process")?;
    let (parent_end, child_end) = channel::pair().context("make the channel to the process")?;
    let proc = Proc::open().context("open /proc")?;
    if let Affinity::Given { initial, .. } = &exec.affinity {
        set_affinity("initial", initial)?;
    }
    if exec.core_cookie {
        // Inherited by the process that is made.
        scheduling::take_core_cookie(init_pid)
            .context("annotations[\"org.davit.core-scheduling\"]: share init's cookie")?;
    }
    let entrance = Entrance {
        enter: exec.enter,
        affinity: &exec.affinity,
        waits: socket.is_some() || resctrl.is_some(),
        target: init,
        target_pid: init_pid,
        root: chroot_of(exec, &proc, init, init_pid)?,
        keep: 3 + plan.preserve_fds,
        made: SharedWord::new().context("share a page")?,
        process: Init {
            plan,
            progress: &progress,
            tasks: &Tasks::default(),
            channel: child_end,
            sources: Vec::new(),
            joins: Joins::open([])?,
            start: None,
            console,
            states: None,
            hide_early: false,
            ignored: ignored_signals(&proc)?,
            proc,
        },
    };
    // The process shows its memory to whoever may trace it.
    forget_command_line();
    let child = entrance.make(&mut place, &parent_end)?;
    drop(entrance.process.channel);
    drop(entrance.process.console);
    let told = socket.map_or(Ok(()), |socket| socket.send(child.pidfd.as_fd()));
    let told = told
        .and_then(|()| resctrl.map_or(Ok(()), |group| group.attach(child.pid)))
        .and_then(|()| if entrance.waits { super::launch::let_go(&parent_end) } else { Ok(()) })
        .and_then(|()| follow(plan, container, &parent_end, &progress, child.pid));
    match told {
        Ok(()) => Ok(child),
        Err(error) => {
            let status = child.kill_and_reap();
            Err(explain_death(error, status, cgroup))
        }
    }
}

fn set_affinity(name: &str, set: &NumberSet) -> Result<()> {
    if set.count() == 0 {
        return Ok(());
    }
    scheduling::set_affinity(set.words())
        .with_context(|| format!("process.execCPUAffinity.{name}: set {set}"))
}

/// Where the container has no mount namespace: the root of its init, which was changed by chroot(2) only.
fn chroot_of(exec: &ExecPlan, proc: &Proc, init: BorrowedFd<'_>, pid: i32) -> Result<Option<OwnedFd>> {
    if exec.enter & flag(LinuxNamespaceType::Mount) != 0 {
        return Ok(None);
    }
    let root = proc.open_root_of(pid).with_context(|| format!("open /proc/{pid}/root"))?;
    // As long as init lives its pid is nobody else's.
    pidfd_send_signal(init, 0).context("the container's init")?;
    Ok(Some(root))
}

/// Listens to the process until it is the program.
fn follow(
    plan: &Plan,
    container: &Container,
    channel: &OwnedFd,
    progress: &Progress,
    pid: i32,
) -> Result<()> {
    loop {
        match channel::next(channel).context("listen to the process")? {
            Message::Listener => {
                let agent = plan.seccomp_agent.as_ref();
                agent::pass_on(channel, agent, &container.record, Status::Running, pid)?;
            }
            Message::Failed(failure) => return Err(describe::failure(plan, &failure)),
            Message::End if progress.position().step == Step::Exec => return Ok(()),
            Message::End if progress.position().step == Step::ExecFailed => {
                return Err(describe::exec_failed_silently(plan, progress.position().index));
            }
            _ => {
                let place = describe::place(plan, progress.position());
                return Err(Error::new(Kind::System, format!("the process ended unexpectedly at {place}")));
            }
        }
    }
}

/// What the process in between works with.
struct Entrance<'a> {
    enter: u64,
    affinity: &'a Affinity,
    /// The process waits for the parent before it becomes the program.
    waits: bool,
    target: BorrowedFd<'a>,
    target_pid: i32,
    root: Option<OwnedFd>,
    /// The first descriptor that the program does not get.
    keep: i32,
    /// The pid of the process, once it is there.
    made: SharedWord,
    process: Init<'a>,
}

impl Entrance<'_> {
    /// Makes the process by way of the one in between.
    fn make(&self, place: &mut Place, parent_end: &OwnedFd) -> Result<Child> {
        // Who enters a time namespace may share its memory with nobody (setns(2)).
        let copies = self.enter & flag(LinuxNamespaceType::Time) != 0;
        let between = loop {
            let work = || self.enter_and_clone(place.tasks());
            let made = match copies {
                true => clone::clone3(0, place.clone_into_fd(), false, work),
                false => clone::clone3_in_memory(place.clone_into_fd(), work),
            };
            match made {
                Ok(between) => break between,
                Err(errno) if place.fall_back(self.target_pid, errno)? => {}
                Err(errno) => return Err(describe::exec_clone_failed(errno)),
            }
        };
        let killed = between.reap();
        if let Some(known) = i32::try_from(self.made.get()).ok().and_then(Pid::from_raw) {
            let pidfd = rustix::process::pidfd_open(known, PidfdFlags::empty());
            let pidfd = pidfd.context("open a pidfd of the process")?;
            return Ok(Child { pid: known.as_raw_nonzero().get(), pidfd });
        }
        if killed.is_none()
            && let Message::Failed(failure) = channel::next(parent_end).context("listen to the process")?
        {
            return Err(match failure.position.step {
                Step::Start => describe::exec_clone_failed(failure.fault.errno),
                Step::Cgroup => place.tasks().refused(failure.position.index, failure.fault.errno),
                _ => describe::failure(self.process.plan, &failure),
            });
        }
        Err(Error::new(Kind::System, "enter the container: the process that does it was killed"))
    }

    /// The process in between.
    fn enter_and_clone(&self, tasks: &Tasks) -> i32 {
        let process = &self.process;
        let entered = tasks.enter(|index| process.progress.at(Step::Cgroup, index)).map_err(Fault::from);
        match entered.and_then(|()| self.enter()).and_then(|()| self.clone_process().map_err(Fault::from)) {
            Ok(child) => {
                self.made.set(child.pid.unsigned_abs());
                0
            }
            Err(fault) => {
                channel::send_failed(&process.channel, process.progress.position(), fault, b"");
                1
            }
        }
    }

    fn enter(&self) -> Result<(), Fault> {
        let process = &self.process;
        // By the host's /proc, whose files of a process are its own as long as that is dumpable.
        process.progress.enter(Step::OomScore);
        process.write_oom_score().during(Action::Write)?;
        process.write_labels()?;
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        process.progress.enter(Step::Enter);
        self.enter_namespaces()?;
        if let Some(root) = &self.root {
            rustix::process::fchdir(root)?;
            rustix::process::chroot(c".")?;
        }
        if process.plan.namespaces.in_user_namespace() {
            process.progress.enter(Step::UserNamespace);
            let plan = &process.plan.process;
            if !plan.keep_groups {
                apply::set_groups(&[], true)?;
            }
            apply::become_root_of_namespace(plan.uid, plan.gid)?;
            // Changing ids may make it dumpable again (proc(5), fs.suid_dumpable).
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        }
        if let (Some(terminal), Some(socket)) = (&process.plan.process.terminal, &process.console) {
            process.progress.enter(Step::Terminal);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::openat(CWD, c"/", flags, Mode::empty())?;
            terminal::make(terminal, root.as_fd(), socket)?;
        }
        Ok(())
    }

    /// All at once, the user namespace first (setns(2) with a pidfd, Linux 5.8); one by one where that is refused.
    fn enter_namespaces(&self) -> Result<(), Errno> {
        if self.enter == 0 {
            return Ok(());
        }
        let all = i32::try_from(self.enter).map_err(|_| Errno::INVAL)?;
        match clone::setns(self.target, all) {
            Err(Errno::PERM | Errno::INVAL) => self.enter_one_by_one(),
            other => other,
        }
    }

    /// Those that are not ours already: with the runtime's rights, else with those that the user namespace gives.
    fn enter_one_by_one(&self) -> Result<(), Errno> {
        let user = flag(LinuxNamespaceType::User);
        let mut left = 0;
        for kind in KINDS {
            let bit = flag(kind);
            if self.enter & bit == 0 || self.is_ours(kind) {
                continue;
            }
            match if bit == user { Err(Errno::PERM) } else { self.setns(bit) } {
                Err(Errno::PERM) => left |= bit,
                other => other?,
            }
        }
        // The user namespace comes first among the kinds.
        for bit in KINDS.map(flag).into_iter().filter(|bit| left & bit != 0) {
            self.setns(bit)?;
        }
        Ok(())
    }

    fn setns(&self, bit: u64) -> Result<(), Errno> {
        clone::setns(self.target, i32::try_from(bit).map_err(|_| Errno::INVAL)?)
    }

    fn is_ours(&self, kind: LinuxNamespaceType) -> bool {
        let inode = |pid: Option<i32>| {
            let file = self.process.proc.open_namespace_of(pid, file_name(kind)).ok()?;
            rustix::fs::fstat(file).ok().map(|stat| (stat.st_dev, stat.st_ino))
        };
        let own = inode(None);
        own.is_some() && own == inode(Some(self.target_pid))
    }

    fn clone_process(&self) -> Result<Child, Errno> {
        fd::close_all_but(self.process.channel.as_fd(), self.keep)?;
        self.process.progress.enter(Step::Start);
        clone::clone3(0, None, true, || self.process.run_joined(self.affinity, self.waits))
    }
}

/// The user namespace first.
const KINDS: [LinuxNamespaceType; 8] = [
    LinuxNamespaceType::User,
    LinuxNamespaceType::Cgroup,
    LinuxNamespaceType::Ipc,
    LinuxNamespaceType::Uts,
    LinuxNamespaceType::Network,
    LinuxNamespaceType::Pid,
    LinuxNamespaceType::Time,
    LinuxNamespaceType::Mount,
];
