//! Landlock: the ruleset of the plan, from files as they are in the container.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::super::step::Step;
use super::Init;
use crate::fault::{Action, During, Fault};
use crate::plan::landlock::OF_FILES;
use crate::sys::landlock;

impl Init<'_> {
    /// As root of the container, who may look everywhere in it, and while CAP_SYS_ADMIN is there for it.
    pub(super) fn landlock(&self) -> Result<(), Fault> {
        let Some(plan) = &self.plan.landlock else { return Ok(()) };
        // Nothing may be read after it that the program may not.
        self.find_home();
        self.progress.enter(Step::Landlock);
        let ruleset = landlock::create(&plan.handled)?;
        for (index, rule) in plan.paths.iter().enumerate() {
            self.progress.at(Step::LandlockPath, index);
            let path = match rustix::fs::open(&rule.path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
                Err(Errno::NOENT | Errno::NOTDIR) if plan.best_effort => continue,
                other => other.during(Action::Open)?,
            };
            let stat = rustix::fs::fstat(&path)?;
            let directory = FileType::from_raw_mode(stat.st_mode).is_dir();
            let access = if directory { rule.access } else { rule.access & OF_FILES };
            landlock::allow_path(ruleset.as_fd(), path.as_fd(), access)?;
        }
        self.progress.enter(Step::Landlock);
        for (port, access) in &plan.ports {
            landlock::allow_port(ruleset.as_fd(), *port, *access)?;
        }
        Ok(landlock::restrict_self(ruleset)?)
    }
}
