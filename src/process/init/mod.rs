//! The child: a straight list of steps, each reason beside it. It decides nothing and parses nothing.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Signal};

mod landlock;
mod scheduling;
mod tree;
mod user;

use super::channel;
use super::hooks::inside;
use super::join::Joins;
use super::program::{self, Program};
use super::step::{Progress, Step};
use super::terminal;
use crate::cgroups::Tasks;
use crate::container::INIT_COMM;
use crate::fault::{Action, During, Fault};
use crate::identity::apply;
use crate::plan::Plan;
use crate::plan::exec::Affinity;
use crate::rootfs::root;
use crate::sys::exec::Room;
use crate::sys::procfs::Proc;
use crate::sys::{clone, fd, scheduling as scheduling_calls, signal};

/// The comm of a process that joins, until it is the program.
const EXEC_COMM: &str = "davit:[exec]";

/// All that init has from its parent.
#[derive(Debug)]
pub struct Init<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// Where it is.
    pub progress: &'a Progress,
    /// The v1 cgroups that it enters.
    pub tasks: &'a Tasks,
    /// Its end of the channel.
    pub channel: OwnedFd,
    /// The host's procfs.
    pub proc: Proc,
    /// The namespaces to join.
    pub joins: Joins<'a>,
    /// Sources of bind mounts that the parent opened, by the mount's index.
    pub sources: Vec<(usize, OwnedFd)>,
    /// `create`: where it listens for `start`, and room for what it keeps while it waits. None: it executes the program at once (`run`).
    pub start: Option<(OwnedFd, Room)>,
    /// Who gets the master end of the terminal, if there is one.
    pub console: Option<OwnedFd>,
    /// The state for the hooks that it runs itself, if there are any.
    pub states: Option<inside::States>,
    /// The runtime is root and needs nothing of init's /proc files: init hides from the start.
    pub hide_early: bool,
    /// The signals that the runtime or its caller ignores, bit N-1 for signal N.
    pub ignored: u64,
}

/// What happens once, as soon as a step needs it.
#[derive(Default)]
struct Once {
    /// The parent has let it go on.
    told_to_go: bool,
    /// It has its cgroup namespace.
    cgroup_namespace: bool,
    /// Mounts that become read-only when everything inside has been made, by their index (M15).
    readonly_later: Vec<(usize, OwnedFd)>,
}

impl Init<'_> {
    /// Runs all steps; returns only with the exit code of a failure, which the parent has been told by then.
    pub fn run(&self) -> i32 {
        let fault = match self.steps() {
            Ok(never) => match never {},
            Err(fault) => fault,
        };
        // Init's own lookups tell their file themselves.
        channel::send_failed(&self.channel, self.progress.position(), fault, b"");
        1
    }

    fn steps(&self) -> Result<std::convert::Infallible, Fault> {
        let mut once = Once::default();
        self.begin(INIT_COMM)?;
        if self.plan.namespaces.in_user_namespace() {
            self.wait(&mut once)?;
        }
        let sources = self.enter_namespaces()?;
        let root = self.build_tree(&mut once, &sources)?;
        self.wait(&mut once)?;
        self.new_cgroup_namespace(&mut once)?;
        reset_affinity();
        if self.plan.stops_midway() {
            self.progress.enter(Step::Wait);
            channel::namespaces_ready(&self.channel)?;
        }
        if let Some(states) = &self.states {
            // Before anything is read-only: they may put things into the rootfs.
            inside::create_container(self.plan, states, self.progress, root.as_fd(), &self.channel)?;
        }
        if let (Some(terminal), Some(socket)) = (&self.plan.process.terminal, &self.console) {
            // Before anything is read-only, and from the tree as it is now.
            self.progress.enter(Step::Terminal);
            terminal::make(terminal, root.as_fd(), socket)?;
            terminal::control()?;
        }
        self.close_tree(&mut once, root.as_fd())?;
        self.write_proc()?;
        self.progress.enter(Step::Pivot);
        root::enter(root.as_fd(), &self.plan.rootfs)?;
        drop(root);
        self.become_user()?;
        let program = self.look_up()?;
        program.execute(self)
    }

    /// The process of `exec`: born in the container's namespaces and cgroups, it goes the rest of init's way. Returns as
    /// [`Init::run`].
    pub fn run_joined(&self, affinity: &Affinity, waits: bool) -> i32 {
        let fault = match self.joined_steps(affinity, waits) {
            Ok(never) => match never {},
            Err(fault) => fault,
        };
        channel::send_failed(&self.channel, self.progress.position(), fault, b"");
        1
    }

    fn joined_steps(&self, affinity: &Affinity, waits: bool) -> Result<std::convert::Infallible, Fault> {
        self.begin(EXEC_COMM)?;
        if self.plan.process.terminal.is_some() {
            self.progress.enter(Step::Terminal);
            terminal::control()?;
        }
        self.become_user()?;
        let program = self.look_up()?;
        if waits {
            self.wait(&mut Once::default())?;
        } else {
            // It may have died before it was the one whose death kills: a frozen cgroup is entered only once it is thawed.
            channel::expect_peer(&self.channel)?;
        }
        match affinity {
            Affinity::Reset => reset_affinity(),
            Affinity::Given { last, .. } if last.count() > 0 => {
                self.progress.enter(Step::Affinity);
                scheduling_calls::set_affinity(last.words())?;
            }
            Affinity::Given { .. } => {}
        }
        program.execute(self)
    }

    /// Nothing of the caller's that could leak or kill later.
    fn begin(&self, comm: &str) -> Result<(), Fault> {
        self.progress.enter(Step::Start);
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if self.hide_early {
            // Nobody in a namespace that it joins may look into it (R12).
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        }
        signal::reset(self.ignored);
        let mut name = [0u8; 16];
        name[..comm.len()].copy_from_slice(comm.as_bytes());
        rustix::thread::set_name(CStr::from_bytes_until_nul(&name).unwrap_or(c"davit"))?;
        rustix::process::setsid()?;
        rustix::process::umask(Mode::empty());
        Ok(())
    }

    fn wait(&self, once: &mut Once) -> Result<(), Fault> {
        if !once.told_to_go {
            self.progress.enter(Step::Wait);
            channel::wait_go(&self.channel)?;
            once.told_to_go = true;
            self.enter_cgroups()?;
        }
        Ok(())
    }

    fn enter_cgroups(&self) -> Result<(), Fault> {
        match self.tasks.enter(|index| self.progress.at(Step::Cgroup, index)) {
            // Somebody has removed it before anybody was in it: the parent makes it again.
            Err(Errno::NODEV) => Ok(channel::cgroup_lost(&self.channel)?),
            other => Ok(other?),
        }
    }

    /// Joins what is joined by path and becomes root where there is a user namespace. Sources of bind mounts
    /// that only the caller may read are opened before that (M45).
    fn enter_namespaces(&self) -> Result<Vec<(usize, OwnedFd)>, Fault> {
        let namespaces = &self.plan.namespaces;
        self.joins.join(self.progress, false)?;
        // Before the change of ids: /proc/self of a process that is not dumpable is owned by the host's root.
        if let Some(offsets) = &namespaces.time_offsets {
            self.progress.enter(Step::TimeNamespace);
            clone::unshare(clone::CLONE_NEWTIME)?;
            self.proc.write(c"self/timens_offsets", offsets.as_bytes()).during(Action::Write)?;
            // Before Linux 6.3 execve does not enter it.
            let new = self.proc.open_namespace(c"self/ns/time_for_children").during(Action::Open)?;
            clone::setns(new.as_fd(), i32::try_from(clone::CLONE_NEWTIME).unwrap_or(0))
                .during(Action::Join)?;
        }
        let mut sources = Vec::new();
        if namespaces.in_user_namespace() {
            sources = self.open_sources()?;
            self.progress.enter(Step::UserNamespace);
            if !self.plan.process.keep_groups {
                apply::set_groups(&[], true)?;
            }
            apply::become_root_of_namespace(self.plan.process.uid, self.plan.process.gid)?;
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        }
        if namespaces.in_user_namespace() || !self.hide_early {
            // Changing ids made it dumpable again, or the maps had to be written first.
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        }
        self.progress.enter(Step::Names);
        if let Some(name) = &self.plan.hostname {
            rustix::system::sethostname(name.as_bytes())?;
        }
        if let Some(name) = &self.plan.domainname {
            rustix::system::setdomainname(name.as_bytes())?;
        }
        Ok(sources)
    }

    /// Once, after init is in its cgroup, so that it sees that as the root (N14).
    fn new_cgroup_namespace(&self, once: &mut Once) -> Result<(), Fault> {
        if self.plan.namespaces.new_cgroup && !once.cgroup_namespace {
            self.progress.enter(Step::CgroupNamespace);
            clone::unshare(u64::from(libc::CLONE_NEWCGROUP.unsigned_abs()))?;
            once.cgroup_namespace = true;
        }
        Ok(())
    }

    /// HOME, where config.json has none.
    fn find_home(&self) {
        if self.plan.process.find_home {
            self.plan.process.env.add(read_passwd(self.plan.process.uid));
        }
    }

    /// Finds the program as the container's user, so that a missing one fails `create` and not `start` (S10).
    fn look_up(&self) -> Result<Program<'_>, Fault> {
        self.progress.enter(Step::Lookup);
        let found = program::look_up(&self.plan.process)?;
        if self.plan.landlock.is_none() {
            self.find_home();
        }
        if self.plan.process.listen_pid {
            // In a pid namespace of its own that is 1; else only here it is known (F13).
            let pid = rustix::process::getpid().as_raw_nonzero();
            let entry = std::ffi::CString::new(format!("LISTEN_PID={pid}")).map_err(|_| Errno::INVAL)?;
            self.plan.process.env.add(entry);
        }
        Ok(found)
    }
}

/// The caller's CPU affinity must not leak in: all CPUs, of which the kernel keeps those of the cpuset (S31).
/// A seccomp profile around the runtime may forbid it, which is no reason to fail.
fn reset_affinity() {
    let mut all = rustix::thread::CpuSet::new();
    for cpu in 0..rustix::thread::CpuSet::MAX_CPU {
        all.set(cpu);
    }
    let _ = rustix::thread::sched_setaffinity(None, &all);
}

/// More of /etc/passwd is not read: some 300,000 users.
const LONGEST_PASSWD: usize = 16 << 20;

/// HOME by the container's /etc/passwd.
fn read_passwd(uid: u32) -> std::ffi::CString {
    let mut out = [0u8; 1024];
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(c"/etc/passwd", flags, Mode::empty()).ok();
    // An image may have a link to /dev/zero there, which never ends.
    let mut left = LONGEST_PASSWD;
    let read = |buffer: &mut [u8]| {
        let length = buffer.len().min(left);
        let file = file.as_ref().filter(|_| length > 0);
        let count = file.map_or(0, |file| rustix::io::read(file, &mut buffer[..length]).unwrap_or(0));
        left -= count.min(left);
        count
    };
    apply::home(uid, read, &mut out).to_owned()
}

/// Closes all descriptors from `keep` on but `channel`, which is moved to `keep` (R9).
pub(super) fn keep_only(channel: &OwnedFd, keep: i32) -> Result<(), Errno> {
    fd::move_to(channel.as_fd(), keep)?;
    fd::close_from(keep + 1)
}
