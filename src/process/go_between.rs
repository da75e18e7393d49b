//! The process between the runtime and init, where there is one: it joins namespaces with the runtime's rights, enters a user
//! namespace that is joined, makes init as its sibling and ends. The runtime itself could not come back from there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci_spec::runtime::LinuxNamespaceType;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, PidfdFlags};

use super::channel::{self, Message};
use super::describe;
use super::init::Init;
use super::join::Joins;
use super::step::Step;
use crate::cgroups::Cgroup;
use crate::error::{Context, Error, Kind, Result};
use crate::plan::Plan;
use crate::sys::clone::{self, Child};
use crate::sys::fd;
use crate::sys::page::SharedWord;

/// Makes init by way of another process.
///
/// # Errors
/// What failed there, by JSON path.
pub fn clone_init(plan: &Plan, cgroup: &Cgroup, init: &Init<'_>, parent_end: &OwnedFd) -> Result<Child> {
    let user = Joins::open(&plan.namespaces.join_user)?;
    let pid = Joins::open(&plan.namespaces.join_pid)?;
    let made = SharedWord::new().context("share a page")?;
    // On v2, who is in a cgroup namespace can put nobody into a cgroup outside of it: then init inherits the cgroup.
    let inherits = plan.namespaces.join.iter().any(|join| join.kind == LinuxNamespaceType::Cgroup);
    let (for_it, for_init) = match cgroup.clone_into_fd() {
        directory if inherits => (directory, None),
        directory => (None, directory),
    };
    let between = clone::clone3(0, for_it, false, || {
        // Else both would keep the channel open that tells them of the parent's death.
        fd::close_in_child(parent_end.as_fd());
        match enter(plan, init, &user, &pid).and_then(|()| clone_sibling(plan, for_init, init)) {
            Ok(child) => {
                made.set(child.pid.unsigned_abs());
                0
            }
            Err(errno) => {
                channel::send_failed(&init.channel, init.progress.position(), errno.into(), b"");
                1
            }
        }
    })
    .map_err(|errno| describe::clone_failed(errno, plan))?;
    let killed = between.reap();
    if let Some(known) = i32::try_from(made.get()).ok().and_then(Pid::from_raw) {
        let pidfd =
            rustix::process::pidfd_open(known, PidfdFlags::empty()).context("open a pidfd of init")?;
        return Ok(Child { pid: known.as_raw_nonzero().get(), pidfd });
    }
    if killed.is_none()
        && let Message::Failed(failure) = channel::next(parent_end).context("listen to init")?
    {
        return Err(match failure.position.step {
            Step::Start => describe::clone_failed(failure.fault.errno, plan),
            _ => describe::failure(plan, &failure),
        });
    }
    Err(Error::new(Kind::System, "join namespaces: the process that does it was killed"))
}

/// Everything that can be joined with the runtime's rights, the user namespace, and then the pid namespace if only that gives
/// the right. What is left is joined by init.
fn enter(plan: &Plan, init: &Init<'_>, user: &Joins<'_>, pid: &Joins<'_>) -> Result<(), Errno> {
    let joins_user = plan.namespaces.join_user.is_some();
    if joins_user {
        init.progress.enter(Step::OomScore);
        // Here, since what is not dumpable is root's for procfs.
        init.write_oom_score()?;
        // Nobody in that namespace may look into us (R12).
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    init.joins.join(init.progress, true)?;
    pid.join(init.progress, joins_user)?;
    user.join(init.progress, false)?;
    pid.join(init.progress, false)
}

fn clone_sibling(plan: &Plan, cgroup: Option<BorrowedFd<'_>>, init: &Init<'_>) -> Result<Child, Errno> {
    init.progress.enter(Step::Start);
    clone::clone3(plan.namespaces.clone_flags, cgroup, true, || init.run())
}
