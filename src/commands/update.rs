//! `update ID`: other limits for a container, running or not started yet.

use std::io::Read;
use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};

use crate::cli::{Limits, UpdateArgs};
use crate::container::{Container, Id, Lock, Status, Store, not_running};
use crate::error::{Context, Error, Kind, Result};
use crate::log::Log;
use crate::plan;
use crate::spec::load;

/// Changes what is given; what is not stays as the kernel has it. Nothing of it is kept in the state, so that there is
/// no second truth beside the cgroup's.
///
/// # Errors
/// `container does not exist`, `container not running`, a value that is wrong or refused; then nothing has changed.
pub fn run(root: &Path, args: &UpdateArgs, log: &Log) -> Result<i32> {
    let container = Store::open(root).load(&Id::parse(&args.id)?, Lock::Exclusive)?;
    match container.status()? {
        Status::Created | Status::Running | Status::Paused => {}
        Status::Creating | Status::Stopped => return Err(not_running()),
    }
    let wanted = match &args.resources {
        Some(path) => load::resources(&read(path)?).with_context(|| path.display())?,
        None => from_options(&args.limits),
    };
    let lines = plan::resctrl::update(args.l3_cache_schema.as_deref(), args.mem_bw_schema.as_deref())?;
    if !lines.is_empty() && container.record.resctrl.is_none() {
        let text = "updating a non-existent Intel RDT configuration is not supported";
        return Err(Error::new(Kind::State, text).hint("the container was created without linux.intelRdt"));
    }
    let by_options = args.resources.is_none();
    let done = change(&container, &wanted, &mut |text| log.warn(place(by_options, text)));
    done.map_err(|error| if by_options { OPTIONS.iter().fold(error, renamed) } else { error })?;
    match &container.record.resctrl {
        Some(group) if !lines.is_empty() => group.update(&lines)?,
        _ => {}
    }
    Ok(0)
}

fn change(container: &Container, wanted: &LinuxResources, warn: &mut dyn FnMut(&str)) -> Result<()> {
    let mut cgroup = container.cgroup();
    if cgroup.is_none() {
        return Err(Error::new(Kind::State, "the container is not using cgroups"));
    }
    let confined = crate::cli::in_user_namespace() || !rustix::process::geteuid().is_root();
    let present = cgroup.present();
    let plan = plan::update::plan(wanted, cgroup.planned(), &present, confined)?;
    let told = cgroup.update(&plan, &plan::cgroup_properties::changed(&plan, &present))?;
    told.iter().for_each(|text| warn(text));
    plan.warnings.iter().for_each(|text| warn(text));
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if path.as_os_str() != "-" {
        return std::fs::read(path).with_context(|| format!("--resources: read {}", path.display()));
    }
    let mut text = Vec::new();
    std::io::stdin().lock().read_to_end(&mut text).context("--resources: read stdin")?;
    Ok(text)
}

/// Which option stands for which property.
const OPTIONS: [(&str, &str); 16] = [
    ("linux.resources.blockIO.weight", "--blkio-weight"),
    ("linux.resources.cpu.period", "--cpu-period"),
    ("linux.resources.cpu.quota", "--cpu-quota"),
    ("linux.resources.cpu.burst", "--cpu-burst"),
    ("linux.resources.cpu.shares", "--cpu-share"),
    ("linux.resources.cpu.realtimePeriod", "--cpu-rt-period"),
    ("linux.resources.cpu.realtimeRuntime", "--cpu-rt-runtime"),
    ("linux.resources.cpu.idle", "--cpu-idle"),
    ("linux.resources.cpu.cpus", "--cpuset-cpus"),
    ("linux.resources.cpu.mems", "--cpuset-mems"),
    ("linux.resources.memory.limit", "--memory"),
    ("linux.resources.memory.reservation", "--memory-reservation"),
    ("linux.resources.memory.swap", "--memory-swap"),
    ("linux.resources.memory.kernelTCP", "--kernel-memory-tcp"),
    ("linux.resources.memory.kernel", "--kernel-memory"),
    ("linux.resources.pids.limit", "--pids-limit"),
];

fn renamed(error: Error, (path, option): &(&str, &str)) -> Error {
    error.rename(path, option)
}

fn place(by_options: bool, text: &str) -> String {
    let rename = |text: String, (path, option): &(&str, &str)| text.replace(path, option);
    if by_options { OPTIONS.iter().fold(text.to_string(), rename) } else { text.to_string() }
}

fn from_options(limits: &Limits) -> LinuxResources {
    let mut cpu = LinuxCpu::default();
    cpu.set_period(limits.cpu_period);
    cpu.set_quota(limits.cpu_quota);
    cpu.set_burst(limits.cpu_burst);
    cpu.set_shares(limits.cpu_share);
    cpu.set_realtime_period(limits.cpu_rt_period);
    cpu.set_realtime_runtime(limits.cpu_rt_runtime);
    cpu.set_idle(limits.cpu_idle);
    cpu.set_cpus(limits.cpuset_cpus.clone());
    cpu.set_mems(limits.cpuset_mems.clone());
    let mut memory = LinuxMemory::default();
    memory.set_limit(limits.memory);
    memory.set_reservation(limits.memory_reservation);
    memory.set_swap(limits.memory_swap);
    memory.set_kernel(limits.kernel_memory);
    memory.set_kernel_tcp(limits.kernel_memory_tcp);
    let mut block_io = LinuxBlockIo::default();
    block_io.set_weight(limits.blkio_weight);
    let mut resources = LinuxResources::default();
    resources.set_cpu(Some(cpu));
    resources.set_memory(Some(memory));
    resources.set_block_io(Some(block_io));
    resources.set_pids(limits.pids_limit.map(|limit| {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        pids
    }));
    resources
}
