//! Cgroups that somebody removes before init is in them: on a v1 host systemd clears every empty cgroup out of a hierarchy
//! that none of its own units uses any more, also those of others. They are made anew.

use rustix::io::Errno;

use super::create::{Making, RACES, carry_out};
use super::steps::{CgroupPlan, PlannedDir, Write};
use super::{Cgroup, Directory, cant_open, open_directory};
use crate::error::{Error, Result};

impl Cgroup {
    /// As [`Self::attach`], making anew what is gone.
    ///
    /// # Errors
    /// As [`Self::create`] and [`Self::attach`].
    pub fn attach_again(&mut self, plan: &CgroupPlan, pid: i32) -> Result<()> {
        (0..self.record.directories.len())
            .try_for_each(|at| self.with(plan, at, |directory| directory.attach(pid)))
    }

    /// Opens the directory for [`Self::clone_into_fd`] anew, on a hybrid host and after clone3(2) has failed with this
    /// error. False if that does not say that it is gone.
    ///
    /// # Errors
    /// It can't be made.
    pub fn reopen(&mut self, plan: &CgroupPlan, error: &Error) -> Result<bool> {
        let unified = self.record.directories.iter().position(|directory| directory.controllers.is_empty());
        match unified {
            Some(at) if self.hybrid.is_some() && is_gone(error) => self.open_hybrid(plan, at).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Opens the cgroup2 directory of a hybrid host.
    pub(super) fn open_hybrid(&mut self, plan: &CgroupPlan, at: usize) -> Result<()> {
        let mut hybrid = None;
        self.with(plan, at, |directory| {
            let opened = open_directory(&directory.path);
            hybrid = Some(opened.map_err(|errno| cant_open(&directory.path, errno))?);
            Ok(())
        })?;
        self.hybrid = hybrid;
        Ok(())
    }

    /// Does what needs one of the directories, and makes that anew as long as it is gone.
    pub(super) fn with(
        &mut self,
        plan: &CgroupPlan,
        at: usize,
        mut act: impl FnMut(&Directory) -> Result<()>,
    ) -> Result<()> {
        for _ in 0..RACES {
            match act(&self.record.directories[at]) {
                Err(error) if is_gone(&error) => self.make_again(plan, at)?,
                other => return other,
            }
        }
        act(&self.record.directories[at])
    }

    fn make_again(&mut self, plan: &CgroupPlan, at: usize) -> Result<()> {
        let directory = &mut self.record.directories[at];
        let same = |planned: &PlannedDir| planned.controllers == directory.controllers;
        let Some(of_plan) = plan.directories.iter().position(same) else { return Ok(()) };
        let writes = plan.writes.iter().filter(|write| write.directory == of_plan).cloned();
        let part = CgroupPlan {
            directories: vec![plan.directories[of_plan].clone()],
            writes: writes.map(|write| Write { directory: 0, ..write }).collect(),
            devices: plan.devices.clone().filter(|_| directory.has("devices")),
            ..CgroupPlan::default()
        };
        let made = if directory.controllers.is_empty() {
            // The tree of cgroup2 on a hybrid host has no limits.
            let mut making = Making::new(&part);
            making.directory(0)?;
            making.cgroup
        } else {
            carry_out(&part)?
        };
        directory.made |= made.record.directories.iter().any(|one| one.made);
        self.parents.extend(made.parents);
        Ok(())
    }
}

/// ENODEV: it went after it was opened.
fn is_gone(error: &Error) -> bool {
    [Errno::NOENT, Errno::NODEV].iter().any(|errno| error.errno() == Some(errno.raw_os_error()))
}
