//! Scheduler, I/O priority, personality and memory policy, where config.json names them.

use super::super::step::Step;
use super::Init;
use crate::fault::Fault;
use crate::sys::scheduling;

impl Init<'_> {
    /// After the limits, since RLIMIT_NICE and RLIMIT_RTPRIO give rights, and before the ids; late, so that little of
    /// the set-up runs by it.
    pub(super) fn schedule(&self) -> Result<(), Fault> {
        let plan = &self.plan.scheduling;
        if let Some(attr) = &plan.scheduler {
            self.progress.enter(Step::Scheduler);
            scheduling::sched_setattr(attr)?;
        }
        if let Some(priority) = plan.io_priority {
            self.progress.enter(Step::IoPriority);
            scheduling::ioprio_set_group(priority)?;
        }
        if let Some(persona) = plan.personality {
            self.progress.enter(Step::Personality);
            scheduling::set_personality(persona)?;
        }
        if let Some(policy) = &plan.memory_policy {
            self.progress.enter(Step::MemoryPolicy);
            scheduling::set_mempolicy(policy.mode, &policy.nodes)?;
        }
        if plan.core_cookie {
            self.progress.enter(Step::CoreScheduling);
            scheduling::make_core_cookie()?;
        }
        Ok(())
    }
}
