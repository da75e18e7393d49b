//! From the runtime's root to the container's user: what /proc is written for, then rights given up one by one.

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::Signal;

use super::super::program;
use super::super::step::Step;
use super::Init;
use crate::fault::{Action, During, Fault};
use crate::identity::{Rlimit, apply};
use crate::sys::{credentials, netlink};

const CAP_SYS_ADMIN: u8 = 21;

impl Init<'_> {
    /// Everything that goes through /proc, by the host's.
    pub(super) fn write_proc(&self) -> Result<(), Fault> {
        if self.plan.namespaces.makes(libc::CLONE_NEWNET) {
            self.progress.enter(Step::Loopback);
            netlink::loopback_up()?;
        }
        for (index, sysctl) in self.plan.sysctl.iter().enumerate() {
            self.progress.at(Step::Sysctl, index);
            self.proc.write(&sysctl.file, sysctl.value.as_bytes()).during(Action::Write)?;
        }
        if !self.plan.namespaces.in_user_namespace() {
            self.progress.enter(Step::OomScore);
            self.write_oom_score().during(Action::Write)?;
        }
        self.write_labels()
    }

    /// What the security modules are to do at execve; a child of this process inherits it.
    pub(in super::super) fn write_labels(&self) -> Result<(), Fault> {
        let process = &self.plan.process;
        if let Some(profile) = &process.apparmor {
            self.progress.enter(Step::AppArmor);
            let text = profile.as_bytes();
            match self.proc.write(c"self/attr/apparmor/exec", text) {
                Err(Errno::NOENT) => self.proc.write(c"self/attr/exec", text).during(Action::Write)?,
                other => other.during(Action::Write)?,
            }
        }
        if let Some(label) = &process.selinux {
            self.progress.enter(Step::Selinux);
            self.proc.write(c"self/attr/exec", label.as_bytes()).during(Action::Write)?;
            // For the keyring that is made later; execve(2) clears it.
            match self.proc.write(c"self/attr/keycreate", label.as_bytes()) {
                Err(Errno::NOENT) => {}
                other => other.during(Action::Write)?,
            }
        }
        Ok(())
    }

    /// Where there is a user namespace, before it is entered: in there nobody may lower it.
    pub(in super::super) fn write_oom_score(&self) -> Result<(), Errno> {
        let Some(score) = &self.plan.process.oom_score_adj else { return Ok(()) };
        match self.proc.write(c"self/oom_score_adj", score.as_bytes()) {
            // Without the right to lower it, a rootless container keeps the caller's (U5).
            Err(Errno::ACCESS | Errno::PERM) if !self.plan.namespaces.runtime_is_root => Ok(()),
            other => other,
        }
    }

    /// From the runtime's root to the container's user, in the order that each right is still there for.
    pub(super) fn become_user(&self) -> Result<(), Fault> {
        let process = &self.plan.process;
        self.progress.enter(Step::Streams);
        program::adopt_streams(process.uid)?;
        self.progress.enter(Step::Keyring);
        if let Some(name) = &process.keyring {
            match credentials::join_session_keyring(name) {
                Err(Errno::NOSYS) => {}
                other => other?,
            }
        }
        if process.rlimits.iter().any(Rlimit::counts_address_space) {
            crate::sys::alloc::give_up_reserve();
        }
        for (index, rlimit) in process.rlimits.iter().enumerate() {
            self.progress.at(Step::Rlimit, index);
            apply::set_rlimit(rlimit)?;
        }
        self.schedule()?;
        rustix::process::umask(Mode::from_raw_mode(process.umask));
        self.progress.enter(Step::NoNewPrivileges);
        if process.no_new_privileges {
            rustix::thread::set_no_new_privs(true)?;
        }
        self.landlock()?;
        self.progress.enter(Step::Bounding);
        apply::limit_bounding(&process.capabilities)?;
        self.progress.enter(Step::WorkingDirectory);
        let early = rustix::process::chdir(&process.cwd);
        self.progress.enter(Step::Groups);
        if !process.keep_groups {
            apply::set_groups(&process.groups, self.plan.namespaces.confined())?;
        }
        self.progress.enter(Step::Ids);
        apply::set_ids(process.uid, process.gid)?;
        // Changing ids clears it (prctl(2)).
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        self.progress.enter(Step::WorkingDirectory);
        if early.is_err() {
            // A directory that only the user may enter, on NFS or with a mapping (P4).
            rustix::process::chdir(&process.cwd)?;
        }
        if !credentials::cwd_is_reachable() {
            return Err(Fault { action: Action::Outside, errno: Errno::NOENT });
        }
        self.progress.enter(Step::Capabilities);
        // Without no_new_privs, loading a filter takes CAP_SYS_ADMIN (seccomp(2)), which execve takes away.
        let needs_privilege = self.plan.seccomp.is_some() && !process.no_new_privileges;
        let until_exec = if needs_privilege { process.available & 1 << CAP_SYS_ADMIN } else { 0 };
        apply::set_capabilities(&process.capabilities, until_exec)?;
        Ok(())
    }
}
