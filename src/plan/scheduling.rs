//! How the program is scheduled, where its memory comes from, what machine it sees.

use oci_spec::runtime::{
    IOPriorityClass, Linux, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonalityDomain, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, Process, Scheduler, Spec,
};
use rustix::io::Errno;

use super::{Kernel, annotations};
use crate::error::{Error, Result};
use crate::spec::list::{MAX_NODE, NumberSet};
use crate::sys::scheduling::{IoPriority, SchedAttr};

/// What is set just before the user is changed, while the right to it is there. Nothing for what config.json does not
/// name: nice value, policy and I/O priority are then the caller's, as with runc and crun (an engine that was given a
/// priority hands it on).
#[derive(Debug, Default)]
pub struct Scheduling {
    /// `process.scheduler`.
    pub scheduler: Option<SchedAttr>,
    /// `process.ioPriority`.
    pub io_priority: Option<IoPriority>,
    /// `linux.personality`: `PER_*` of personality(2).
    pub personality: Option<u32>,
    /// `linux.memoryPolicy`.
    pub memory_policy: Option<MemoryPolicy>,
    /// It gets a core scheduling cookie of its own.
    pub core_cookie: bool,
}

/// Arguments of set_mempolicy(2).
#[derive(Debug, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// The mode with its flags.
    pub mode: u32,
    /// Bit N for node N.
    pub nodes: Vec<u64>,
}

/// SCHED_ISO: its number is reserved, and no Linux has it.
pub const SCHED_ISO: u32 = 4;

/// SCHED_DEADLINE.
pub const SCHED_DEADLINE: u32 = 6;

/// Decides all of it.
///
/// # Errors
/// A number that validation lets through but the kernel's type does not hold.
pub fn plan(process: &Process, linux: Option<&Linux>, warnings: &mut Vec<String>) -> Result<Scheduling> {
    let personality = linux.and_then(|linux| linux.personality().as_ref());
    if let Some(flags) = personality.and_then(|personality| personality.flags().as_ref())
        && !flags.is_empty()
    {
        let text = format!("linux.personality.flags: ignoring unsupported personality flags: {flags:?}");
        warnings.push(text);
    }
    let policy = linux.and_then(|linux| linux.memory_policy().as_ref());
    Ok(Scheduling {
        scheduler: process.scheduler().as_ref().map(|given| scheduler(given, warnings)).transpose()?,
        io_priority: process.io_priority().as_ref().map(io_priority).transpose()?,
        personality: personality.map(|personality| match personality.domain() {
            LinuxPersonalityDomain::PerLinux => 0,
            LinuxPersonalityDomain::PerLinux32 => 8,
        }),
        memory_policy: policy.map(memory_policy).transpose()?,
        core_cookie: false,
    })
}

/// The annotation for core scheduling (row W2; the specification has no place for it yet).
pub const CORE_ANNOTATION: &str = "org.davit.core-scheduling";

/// Whether the container gets a core scheduling cookie of its own, so that only its processes run on a core's threads at
/// the same time.
///
/// # Errors
/// Neither `required` nor `best-effort`; required, and the kernel or the machine has it not.
pub fn core(spec: &Spec, kernel: Kernel, warnings: &mut Vec<String>) -> Result<bool> {
    let Some(wanted) = annotations::get(spec, CORE_ANNOTATION) else { return Ok(false) };
    let best_effort = match wanted {
        "required" => false,
        "best-effort" => true,
        _ => {
            let why = format!("{wanted:?} is not \"required\" or \"best-effort\"");
            return Err(annotations::wrong(CORE_ANNOTATION, why));
        }
    };
    let why = match (kernel.core_scheduling)() {
        None => return Ok(true),
        Some(Errno::NODEV) => "no core of this machine runs several threads, so there is nothing to share",
        Some(_) => "this kernel has no core scheduling (CONFIG_SCHED_CORE)",
    };
    let error = annotations::wrong(CORE_ANNOTATION, why);
    if best_effort {
        warnings.push(format!("{error}; left out"));
        return Ok(false);
    }
    Err(error.hint("\"best-effort\" does without"))
}

fn scheduler(given: &Scheduler, warnings: &mut Vec<String>) -> Result<SchedAttr> {
    let policy = policy(*given.policy());
    let nice = given.nice().unwrap_or(0);
    if nice != 0
        && !matches!(given.policy(), LinuxSchedulerPolicy::SchedOther | LinuxSchedulerPolicy::SchedBatch)
    {
        warnings.push(format!("process.scheduler.nice: {nice} has no effect with {}", given.policy()));
    }
    let priority = given.priority().unwrap_or(0);
    Ok(SchedAttr {
        policy,
        flags: given.flags().iter().flatten().fold(0, |flags, given| flags | flag(*given)),
        nice,
        priority: u32::try_from(priority)
            .map_err(|_| Error::config("process.scheduler.priority", format!("{priority} is negative")))?,
        runtime: given.runtime().unwrap_or(0),
        deadline: given.deadline().unwrap_or(0),
        period: given.period().unwrap_or(0),
    })
}

/// include/uapi/linux/sched.h
fn policy(policy: LinuxSchedulerPolicy) -> u32 {
    match policy {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => SCHED_ISO,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => SCHED_DEADLINE,
    }
}

fn flag(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

/// include/uapi/linux/ioprio.h
fn io_priority(given: &LinuxIOPriority) -> Result<IoPriority> {
    let class: u16 = match given.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let level = u16::try_from(given.priority()).ok().filter(|level| *level <= 7);
    let level = level.ok_or_else(|| {
        Error::config(
            "process.ioPriority.priority",
            format!("invalid ioPriority.Priority: {}", given.priority()),
        )
    })?;
    Ok(IoPriority(class << 13 | level))
}

/// include/uapi/linux/mempolicy.h
fn memory_policy(given: &LinuxMemoryPolicy) -> Result<MemoryPolicy> {
    let mode = match given.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flags = given.flags().iter().flatten().fold(0, |flags, flag| {
        flags
            | match flag {
                MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
                MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
                MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
            }
    });
    let nodes = NumberSet::parse(given.nodes().as_deref().unwrap_or_default(), MAX_NODE);
    let nodes = nodes.map_err(|error| Error::config("linux.memoryPolicy.nodes", error))?;
    Ok(MemoryPolicy { mode: mode | flags, nodes: nodes.words().to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [W2] The kernel's and the machine's answer.
    #[test]
    fn core_scheduling() {
        let of = |wanted: &str, answer: fn() -> Option<Errno>| {
            let spec = serde_json::json!({"ociVersion": "1.0.0", "annotations": {CORE_ANNOTATION: wanted}});
            let kernel = Kernel { core_scheduling: answer, ..Kernel::PLAIN };
            let mut warnings = Vec::new();
            let result = core(&serde_json::from_value(spec).unwrap(), kernel, &mut warnings);
            (result.map_err(|error| error.to_string()), warnings.len())
        };
        assert_eq!(of("required", || None), (Ok(true), 0));
        assert_eq!(of("best-effort", || None), (Ok(true), 0));
        assert_eq!(of("best-effort", || Some(Errno::INVAL)), (Ok(false), 1));
        let fault = |wanted, answer| of(wanted, answer).0.unwrap_err();
        let place = "annotations[\"org.davit.core-scheduling\"]: ";
        let lacks = fault("required", || Some(Errno::INVAL));
        assert!(
            lacks.starts_with(&format!("{place}this kernel has no core scheduling (CONFIG_SCHED_CORE)")),
            "{lacks}"
        );
        assert!(
            fault("required", || Some(Errno::NODEV)).contains("no core of this machine runs several threads")
        );
        assert_eq!(fault("yes", || None), format!("{place}\"yes\" is not \"required\" or \"best-effort\""));
        let none = serde_json::from_value(serde_json::json!({"ociVersion": "1.0.0"})).unwrap();
        let asked = || panic!("the kernel is not asked");
        let kernel = Kernel { core_scheduling: asked, ..Kernel::PLAIN };
        assert!(!core(&none, kernel, &mut Vec::new()).unwrap());
    }
    use serde_json::json;

    fn plan_of(process: serde_json::Value, linux: serde_json::Value) -> (Scheduling, Vec<String>) {
        let mut base = json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"]});
        for (key, value) in process.as_object().unwrap() {
            base[key] = value.clone();
        }
        let linux: Linux = serde_json::from_value(linux).unwrap();
        let mut warnings = Vec::new();
        let plan = plan(&serde_json::from_value(base).unwrap(), Some(&linux), &mut warnings).unwrap();
        (plan, warnings)
    }

    /// [P19]
    #[test]
    fn schedulers() {
        let given = json!({"policy": "SCHED_DEADLINE", "flags": ["SCHED_RESET_ON_FORK", "SCHED_FLAG_RECLAIM"],
                           "runtime": 1, "deadline": 2, "period": 3, "nice": 19});
        let (plan, warnings) = plan_of(json!({ "scheduler": given }), json!({}));
        let wanted = SchedAttr {
            policy: 6,
            flags: 3,
            nice: 19,
            runtime: 1,
            deadline: 2,
            period: 3,
            ..SchedAttr::default()
        };
        assert_eq!(plan.scheduler, Some(wanted));
        assert_eq!(warnings, ["process.scheduler.nice: 19 has no effect with SCHED_DEADLINE"]);
        let numbers = ["OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE"];
        for (number, name) in (0..).zip(numbers) {
            let given = json!({"policy": format!("SCHED_{name}")});
            assert_eq!(plan_of(json!({ "scheduler": given }), json!({})).0.scheduler.unwrap().policy, number);
        }
    }

    /// [P20]
    #[test]
    fn io_priorities() {
        for (class, level, wanted) in [("RT", 0, 0x2000), ("BE", 4, 0x4004), ("IDLE", 7, 0x6007)] {
            let given = json!({"class": format!("IOPRIO_CLASS_{class}"), "priority": level});
            let (plan, _) = plan_of(json!({ "ioPriority": given }), json!({}));
            assert_eq!(plan.io_priority, Some(IoPriority(wanted)));
        }
    }

    /// [L1] [L2]
    #[test]
    fn personalities() {
        for (domain, wanted) in [("LINUX", 0), ("LINUX32", 8)] {
            let (plan, warnings) = plan_of(
                json!({}),
                json!({"personality": {"domain": domain, "flags": ["ADDR_NO_RANDOMIZE"]}}),
            );
            assert_eq!(plan.personality, Some(wanted));
            assert!(warnings[0].contains("ADDR_NO_RANDOMIZE"), "{warnings:?}");
        }
    }

    /// [T9]
    #[test]
    fn memory_policies() {
        let given = json!({"mode": "MPOL_BIND", "nodes": "0,65", "flags": ["MPOL_F_STATIC_NODES"]});
        let (plan, _) = plan_of(json!({}), json!({ "memoryPolicy": given }));
        assert_eq!(plan.memory_policy, Some(MemoryPolicy { mode: 0x8002, nodes: vec![1, 2] }));
        let (plan, _) = plan_of(json!({}), json!({"memoryPolicy": {"mode": "MPOL_LOCAL"}}));
        assert_eq!(plan.memory_policy, Some(MemoryPolicy { mode: 4, nodes: vec![] }));
        assert!(plan.scheduler.is_none() && plan.io_priority.is_none() && plan.personality.is_none());
    }
}
