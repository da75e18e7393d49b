//! Rules of `process.scheduler`, `ioPriority` and `execCPUAffinity` (config.md, "Linux Process") and of
//! `linux.memoryPolicy` (config-linux.md). The texts are runc's.

use oci_spec::runtime::{
    LinuxMemoryPolicy, LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, Process, Scheduler,
    Spec,
};

use super::Faults;
use crate::spec::list::{MAX_CPU, MAX_NODE, NumberSet};

pub(super) fn check(spec: &Spec, faults: &mut Faults) {
    if let Some(process) = spec.process() {
        alone(process, faults);
    }
    if let Some(given) = spec.linux().as_ref().and_then(|linux| linux.memory_policy().as_ref()) {
        memory_policy(given, faults);
    }
}

/// The rules that need nothing else of the configuration.
pub(super) fn alone(process: &Process, faults: &mut Faults) {
    if let Some(given) = process.scheduler() {
        scheduler(given, faults);
    }
    io_priority(process, faults);
    exec_cpu_affinity(process, faults);
}

fn scheduler(given: &Scheduler, faults: &mut Faults) {
    use LinuxSchedulerPolicy::{SchedBatch, SchedDeadline, SchedFifo, SchedOther, SchedRr};
    let policy = *given.policy();
    let nice = given.nice().unwrap_or(0);
    if matches!(policy, SchedOther | SchedBatch) && !(-20..=19).contains(&nice) {
        let text = format!("invalid scheduler.nice: {nice} when scheduler.policy is {policy}");
        faults.add("process.scheduler.nice", text);
    }
    let priority = given.priority().unwrap_or(0);
    if matches!(policy, SchedFifo | SchedRr) {
        if !(1..=99).contains(&priority) {
            let text = format!("invalid scheduler.priority: {priority} is not 1 to 99 as {policy} needs it");
            faults.add("process.scheduler.priority", text);
        }
    } else if priority != 0 {
        let text = "scheduler.priority can only be specified for SchedFIFO or SchedRR policy";
        faults.add("process.scheduler.priority", text);
    }
    let times = [("runtime", given.runtime()), ("deadline", given.deadline()), ("period", given.period())];
    if let Some((name, _)) = times.iter().find(|(_, time)| time.unwrap_or(0) != 0)
        && policy != SchedDeadline
    {
        let text = "scheduler runtime/deadline/period can only be specified for SchedDeadline policy";
        faults.add(format!("process.scheduler.{name}"), text);
    }
}

fn io_priority(process: &Process, faults: &mut Faults) {
    let Some(given) = process.io_priority() else { return };
    if !(0..=7).contains(&given.priority()) {
        let text = format!("invalid ioPriority.Priority: {}", given.priority());
        faults.add("process.ioPriority.priority", text);
    }
}

/// For processes that join later, never for init; a bad list is found now.
fn exec_cpu_affinity(process: &Process, faults: &mut Faults) {
    let Some(given) = process.exec_cpu_affinity() else { return };
    for (name, list) in [("initial", given.initial()), ("final", given.cpu_affinity_final())] {
        if let Err(error) = NumberSet::parse(list.as_deref().unwrap_or_default(), MAX_CPU) {
            faults.add(format!("process.execCPUAffinity.{name}"), format!("bad list of CPUs: {error}"));
        }
    }
}

fn memory_policy(given: &LinuxMemoryPolicy, faults: &mut Faults) {
    use MemoryPolicyFlagType::{MpolFRelativeNodes, MpolFStaticNodes};
    use MemoryPolicyModeType::{MpolDefault, MpolLocal, MpolPreferred};
    let list = given.nodes().as_deref().unwrap_or_default();
    let nodes = match NumberSet::parse(list, MAX_NODE) {
        Ok(nodes) => nodes,
        Err(error) => {
            let text = format!("invalid memory policy nodes {list:?}: {error}");
            return faults.add("linux.memoryPolicy.nodes", text);
        }
    };
    let mode = given.mode();
    match (mode, nodes.count()) {
        (MpolDefault | MpolLocal, 0) | (MpolPreferred, _) => {}
        (MpolDefault | MpolLocal, count) => {
            let text = format!("memory policy {mode} mode requires 0 nodes but got {count}");
            faults.add("linux.memoryPolicy.nodes", text);
        }
        (_, 0) => {
            let text = format!("memory policy {mode} mode requires at least one node but got 0");
            faults.add("linux.memoryPolicy.nodes", text);
        }
        _ => {}
    }
    let flags = given.flags().as_deref().unwrap_or_default();
    if flags.contains(&MpolFStaticNodes) && flags.contains(&MpolFRelativeNodes) {
        let text =
            "invalid memory policy flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other";
        faults.add("linux.memoryPolicy.flags", text);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{faults_with, one_fault};
    use serde_json::{Value, json};

    fn process(key: &str, value: Value) -> Value {
        json!({"process": {key: value}})
    }

    fn memory(policy: Value) -> Value {
        json!({"linux": {"memoryPolicy": policy}})
    }

    /// [P19]
    #[test]
    fn schedulers() {
        let bad = |given: Value, text: &str| one_fault(process("scheduler", given), text);
        for policy in ["SCHED_OTHER", "SCHED_BATCH"] {
            let text = format!("invalid scheduler.nice: 20 when scheduler.policy is {policy}");
            bad(json!({"policy": policy, "nice": 20}), &text);
            bad(json!({"policy": policy, "nice": -21}), "invalid scheduler.nice: -21");
        }
        bad(
            json!({"policy": "SCHED_BATCH", "priority": 1}),
            "process.scheduler.priority: scheduler.priority can only be specified for SchedFIFO or SchedRR policy",
        );
        for time in ["runtime", "deadline", "period"] {
            bad(
                json!({"policy": "SCHED_RR", "priority": 1, time: 5}),
                "scheduler runtime/deadline/period can only be specified for SchedDeadline policy",
            );
        }
        for priority in [-1, 0, 100] {
            bad(json!({"policy": "SCHED_FIFO", "priority": priority}), "process.scheduler.priority");
        }
        for good in [
            json!({"policy": "SCHED_OTHER", "nice": -20}),
            json!({"policy": "SCHED_RR", "priority": 99}),
            json!({"policy": "SCHED_IDLE"}),
            json!({"policy": "SCHED_DEADLINE", "nice": 19, "runtime": 1, "deadline": 2, "period": 3}),
        ] {
            assert_eq!(faults_with(process("scheduler", good)), Vec::<String>::new());
        }
    }

    /// [P20]
    #[test]
    fn io_priorities() {
        for level in [-1, 8] {
            let given = json!({"class": "IOPRIO_CLASS_BE", "priority": level});
            one_fault(process("ioPriority", given), &format!("invalid ioPriority.Priority: {level}"));
        }
        let given = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 7});
        assert!(faults_with(process("ioPriority", given)).is_empty());
    }

    /// [P21]
    #[test]
    fn cpu_lists() {
        one_fault(
            process("execCPUAffinity", json!({"initial": "3-1"})),
            "process.execCPUAffinity.initial: bad",
        );
        one_fault(process("execCPUAffinity", json!({"final": "9999"})), "process.execCPUAffinity.final: bad");
        let good = json!({"initial": "0-1023", "final": "0,2-3"});
        assert!(faults_with(process("execCPUAffinity", good)).is_empty());
    }

    /// [T9]
    #[test]
    fn memory_policies() {
        one_fault(memory(json!({"mode": "MPOL_DEFAULT", "nodes": "0-7"})), "mode requires 0 nodes but got 8");
        one_fault(memory(json!({"mode": "MPOL_LOCAL", "nodes": "1"})), "mode requires 0 nodes but got 1");
        for mode in ["BIND", "INTERLEAVE", "PREFERRED_MANY", "WEIGHTED_INTERLEAVE"] {
            let given = json!({"mode": format!("MPOL_{mode}")});
            one_fault(memory(given), "mode requires at least one node but got 0");
        }
        let given = json!({"mode": "MPOL_BIND", "nodes": "0-9876543210"});
        one_fault(memory(given), "linux.memoryPolicy.nodes: invalid memory policy node");
        let flags = json!(["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]);
        one_fault(memory(json!({"mode": "MPOL_BIND", "nodes": "0", "flags": flags})), "exclude each other");
        for good in [json!({"mode": "MPOL_DEFAULT"}), json!({"mode": "MPOL_PREFERRED"})] {
            assert!(faults_with(memory(good)).is_empty());
        }
    }
}
