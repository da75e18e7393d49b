//! What `update` writes, given what is asked for and what the kernel has now. What is not asked for stays as it is.

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use super::cgroup::missing_controller;
use super::{cgroup_v1, cgroup_v2, resources};
use crate::cgroups::{CgroupPlan, PlannedDir, Present, Write};
use crate::error::{Error, Kind, Result};

/// Makes the plan for a container whose cgroups are `directories`. `confined`: the runtime may set no device rules
/// (features.md D13).
///
/// # Errors
/// A value that is wrong, can't be expressed on this host, or does not go with what is there, by its JSON path.
pub fn plan(
    given: &LinuxResources,
    directories: Vec<PlannedDir>,
    present: &Present,
    confined: bool,
) -> Result<CgroupPlan> {
    let v2 = matches!(&directories[..], [only] if only.controllers.is_empty());
    let mut plan = CgroupPlan { directories, ..CgroupPlan::default() };
    let wanted = complete(given, present, v2)?;
    resources::check(&wanted, &mut plan.warnings)?;
    if v2 {
        refuse_below_usage(&wanted, present)?;
        cgroup_v2::writes(&wanted, &mut plan)?;
    } else {
        cgroup_v1::writes(&wanted, &mut plan)?;
    }
    drop_unasked(given, v2, &mut plan.writes);
    order(&mut plan.writes, present);
    devices(given, v2, confined, &mut plan)?;
    Ok(plan)
}

/// features.md D12, W3: an empty list is what kubelet and containerd send, and changes nothing.
fn devices(given: &LinuxResources, v2: bool, confined: bool, plan: &mut CgroupPlan) -> Result<()> {
    if given.devices().as_ref().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    if confined {
        plan.warnings.push("linux.resources.devices is ignored: not possible without full rights".into());
        return Ok(());
    }
    let rules = resources::devices(Some(given))?;
    if !v2 {
        rules.check_v1()?;
        let has = |dir: &PlannedDir| dir.controllers.split(',').any(|name| name == "devices");
        if !plan.directories.iter().any(has) {
            return Err(missing_controller("linux.resources.devices", "devices"));
        }
    }
    plan.devices = Some(rules);
    Ok(())
}

fn set(number: Option<i64>) -> Option<i64> {
    number.filter(|number| *number != 0)
}

/// Adds those present values that a given one is combined with in one file or one rule (features.md C16).
fn complete(given: &LinuxResources, present: &Present, v2: bool) -> Result<LinuxResources> {
    let mut wanted = given.clone();
    if let Some(memory) = given.memory() {
        wanted.set_memory(Some(complete_memory(*memory, present)?));
    }
    if let Some(cpu) = given.cpu() {
        wanted.set_cpu(Some(complete_cpu(cpu.clone(), present, v2)));
    }
    Ok(wanted)
}

/// Memory and swap together keep their limit, whichever way the kernel counts.
fn complete_memory(mut memory: LinuxMemory, present: &Present) -> Result<LinuxMemory> {
    match (set(memory.limit()), set(memory.swap()), present.swap) {
        (Some(limit), None, Some(total)) if limit > total => {
            let text = "memory+swap limit should be >= memory limit";
            return Err(Error::config("linux.resources.memory.limit", text).hint(format!(
                "the present limit of both is {total}: give linux.resources.memory.swap too"
            )));
        }
        (Some(limit), None, Some(total)) if limit > 0 => _ = memory.set_swap(Some(total)),
        (None, Some(swap), _) if swap > 0 => _ = memory.set_limit(present.limit),
        _ => {}
    }
    Ok(memory)
}

fn complete_cpu(mut cpu: LinuxCpu, present: &Present, v2: bool) -> LinuxCpu {
    let (quota, period) = (set(cpu.quota()), cpu.period().filter(|period| *period != 0));
    // One file there, with both of them.
    if v2 && (quota.is_some() || period.is_some()) {
        cpu.set_quota(quota.or(present.quota).or(Some(-1)));
        cpu.set_period(period.or(present.period));
    }
    // An idle cgroup has no weight, and takes none (features.md C19).
    let shares = cpu.shares().filter(|shares| *shares != 0);
    match cpu.idle() {
        Some(1) => _ = cpu.set_shares(None),
        None if shares.is_some() && present.idle => _ = cpu.set_idle(Some(0)),
        _ => {}
    }
    cpu
}

/// What [`complete`] added for the sake of a rule alone.
fn drop_unasked(given: &LinuxResources, v2: bool, writes: &mut Vec<Write>) {
    let Some(memory) = given.memory() else { return };
    if set(memory.limit()).is_none() {
        writes.retain(|write| write.json_path != "linux.resources.memory.limit");
    }
    // Here swap counts alone, so that it has to change with the limit.
    if set(memory.swap()).is_none() && !v2 {
        writes.retain(|write| write.json_path != "linux.resources.memory.swap");
    }
}

/// features.md C17, C19.
fn order(writes: &mut Vec<Write>, present: &Present) {
    let at = |writes: &[Write], name: &str| writes.iter().position(|write| write.file == name);
    // The kernel wants memory+swap >= memory at every moment.
    if let (Some(limit), Some(swap)) =
        (at(writes, "memory.limit_in_bytes"), at(writes, "memory.memsw.limit_in_bytes"))
        && let Some(total) = present.swap
        && let Ok(wanted) = writes[limit].value.parse::<i64>()
        && (wanted == -1 || wanted > total)
    {
        writes.swap(limit, swap);
    }
    // A weight is taken only once the cgroup is idle no more.
    if let (Some(shares), Some(idle)) = (at(writes, "cpu.shares"), at(writes, "cpu.idle"))
        && shares < idle
    {
        let idle = writes.remove(idle);
        writes.insert(shares, idle);
    }
}

/// `memory.checkBeforeUpdate` (features.md C18): v2's kernel takes a limit below the usage and kills; v1's refuses it.
fn refuse_below_usage(wanted: &LinuxResources, present: &Present) -> Result<()> {
    let Some(memory) = wanted.memory() else { return Ok(()) };
    let Some(usage) = present.usage.filter(|_| memory.check_before_update() == Some(true)) else {
        return Ok(());
    };
    for (what, number) in [("memory+swap", memory.swap()), ("memory", memory.limit())] {
        if let Some(number) = number.filter(|number| *number > 0 && *number <= usage) {
            let field = if what == "memory" { "limit" } else { "swap" };
            let text =
                format!("linux.resources.memory.{field}: rejecting {what} limit {number} <= usage {usage}");
            return Err(Error::new(Kind::State, text));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "update_tests.rs"]
mod tests;
