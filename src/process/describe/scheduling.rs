//! Why sched_setattr(2) failed.

use rustix::io::Errno;

use crate::error::{Error, Kind};
use crate::plan::Plan;
use crate::plan::scheduling::{SCHED_DEADLINE, SCHED_ISO};

pub(super) fn failed(plan: &Plan, errno: Errno) -> Error {
    let policy = plan.scheduling.scheduler.map_or(0, |attr| attr.policy);
    let cpuset = plan.cgroup.writes.iter().any(|write| write.json_path == "linux.resources.cpu.cpus");
    if errno == Errno::PERM && policy == SCHED_DEADLINE && cpuset {
        // runc's words.
        let text = "process.scheduler: process scheduler can't be used together with AllowedCPUs";
        return Error::new(Kind::System, text)
            .hint("SCHED_DEADLINE needs all CPUs; remove linux.resources.cpu.cpus");
    }
    let error = Error::system("process.scheduler: error setting scheduler", errno);
    match (errno, policy) {
        (Errno::PERM, SCHED_DEADLINE) => {
            error.hint("SCHED_DEADLINE takes CAP_SYS_NICE on the host and all CPUs")
        }
        (Errno::PERM, _) => error.hint(
            "it takes CAP_SYS_NICE on the host (not only in a user namespace), or RLIMIT_NICE or RLIMIT_RTPRIO",
        ),
        (Errno::INVAL, SCHED_ISO) => error.hint("Linux has no SCHED_ISO, its number is only reserved"),
        (Errno::INVAL, SCHED_DEADLINE) => {
            error.hint("1024 ns <= runtime <= deadline <= period is needed, see sched(7)")
        }
        (Errno::BUSY, SCHED_DEADLINE) => error.hint("the CPUs have no bandwidth left for it"),
        (Errno::OPNOTSUPP, _) => error.hint("the kernel has no utilization clamping"),
        _ => error,
    }
}
