//! CPU and I/O scheduling, personality and memory policy of the calling process.

use std::ptr;

use rustix::io::Errno;

use super::clone::last_errno;

/// What sched_setattr(2) sets: times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// -20 to 19, for SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// 1 to 99, for SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// For SCHED_DEADLINE.
    pub runtime: u64,
    /// For SCHED_DEADLINE.
    pub deadline: u64,
    /// For SCHED_DEADLINE; 0 for that of `deadline`.
    pub period: u64,
}

/// `struct sched_attr` as of Linux 5.3.
#[repr(C)]
struct KernelAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// Sets policy and parameters of the calling thread.
///
/// # Errors
/// EINVAL, EPERM (no right, or SCHED_DEADLINE on a part of the CPUs), EBUSY (no bandwidth for SCHED_DEADLINE left),
/// EOPNOTSUPP (no utilization clamping).
pub fn sched_setattr(attr: &SchedAttr) -> Result<(), Errno> {
    let SchedAttr { policy, flags, nice, priority, runtime, deadline, period } = *attr;
    let size = u32::try_from(size_of::<KernelAttr>()).map_err(|_| Errno::TOOBIG)?;
    let attr = KernelAttr {
        size,
        policy,
        flags,
        nice,
        priority,
        runtime,
        deadline,
        period,
        // config.md has no values for the clamps, only their flags.
        util_min: 0,
        util_max: 0,
    };
    // SAFETY: the kernel reads `size` bytes of a structure that outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// `class << 13 | level` (ioprio_set(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoPriority(pub u16);

const IOPRIO_WHO_PGRP: libc::c_int = 2;

/// Sets the I/O priority of every process of the caller's process group.
///
/// # Errors
/// EINVAL, EPERM (the real-time class).
pub fn ioprio_set_group(priority: IoPriority) -> Result<(), Errno> {
    // SAFETY: integers only.
    let result = unsafe {
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PGRP, 0 as libc::c_int, libc::c_int::from(priority.0))
    };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Sets the execution domain (personality(2)).
///
/// # Errors
/// EINVAL.
pub fn set_personality(persona: u32) -> Result<(), Errno> {
    // SAFETY: integers only.
    let result = unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(persona)) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Sets the NUMA memory policy of the calling thread: mode with its flags, and bit N of `nodes` for node N.
///
/// # Errors
/// EINVAL (a mode that this kernel lacks, a node that is not there or not allowed), ENOSYS (no NUMA).
pub fn set_mempolicy(mode: u32, nodes: &[u64]) -> Result<(), Errno> {
    let mask = if nodes.is_empty() { ptr::null() } else { nodes.as_ptr() };
    // The kernel takes one bit less than it is told of.
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 64 + 1 };
    // SAFETY: the kernel reads `bits` - 1 bits of a mask that outlives the call, nothing of a null one.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, libc::c_ulong::from(mode), mask, bits) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// sched_setaffinity(2) with bit N for CPU N: any number of CPUs, where a fixed set ends at 1,024.
///
/// # Errors
/// EINVAL: none of them is there, or allowed by the cpuset.
pub fn set_affinity(cpus: &[u64]) -> Result<(), Errno> {
    // SAFETY: the kernel reads the given length of a mask that outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(cpus), cpus.as_ptr()) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// A cookie of its own for the calling process: no other process shares a core with it at the same time (Linux 5.14,
/// admin-guide/hw-vuln/core-scheduling). What it starts inherits it.
///
/// # Errors
/// As [`core_scheduling`].
pub fn make_core_cookie() -> Result<(), Errno> {
    core(CORE_CREATE, 0, CORE_SCOPE_THREAD_GROUP, ptr::null_mut())
}

/// The cookie of another process for the calling one, and for what it starts.
///
/// # Errors
/// ESRCH, EPERM (may not be traced), and as [`core_scheduling`].
pub fn take_core_cookie(from: i32) -> Result<(), Errno> {
    core(CORE_SHARE_FROM, from, CORE_SCOPE_THREAD, ptr::null_mut())
}

/// The cookie of a process; 0 for none. Tells as well whether the kernel has core scheduling.
///
/// # Errors
/// EINVAL: it has not (CONFIG_SCHED_CORE). ENODEV: no core has several threads.
pub fn core_scheduling(pid: i32) -> Result<u64, Errno> {
    let mut cookie = 0;
    core(CORE_GET, pid, CORE_SCOPE_THREAD, &raw mut cookie)?;
    Ok(cookie)
}

const CORE_GET: libc::c_ulong = 0;
const CORE_CREATE: libc::c_ulong = 1;
const CORE_SHARE_FROM: libc::c_ulong = 3;
const CORE_SCOPE_THREAD: libc::c_ulong = 0;
const CORE_SCOPE_THREAD_GROUP: libc::c_ulong = 1;

fn core(command: libc::c_ulong, pid: i32, scope: libc::c_ulong, cookie: *mut u64) -> Result<(), Errno> {
    let pid = libc::c_ulong::try_from(pid).map_err(|_| Errno::SRCH)?;
    // SAFETY: the kernel writes one u64 to `cookie` for CORE_GET, where it is valid, and nothing for the others.
    let result = unsafe { libc::prctl(libc::PR_SCHED_CORE, command, pid, scope, cookie) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size that the kernel calls SCHED_ATTR_SIZE_VER1: others are refused or lack the clamps.
    #[test]
    fn the_structure_has_the_kernels_size() {
        assert_eq!(size_of::<KernelAttr>(), 56);
    }

    /// What is set is what the kernel then shows, in a thread of its own.
    #[test]
    fn the_kernel_takes_them() {
        std::thread::spawn(|| {
            sched_setattr(&SchedAttr { policy: 3, nice: 7, ..SchedAttr::default() }).expect("SCHED_BATCH");
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("stat");
            let fields: Vec<_> =
                stat.rsplit_once(") ").expect("comm").1.split(' ').map(str::to_string).collect();
            assert_eq!((fields[16].as_str(), fields[38].as_str()), ("7", "3"));
            assert_eq!(
                sched_setattr(&SchedAttr { policy: 77, ..SchedAttr::default() }),
                Err(Errno::INVAL),
                "no such policy"
            );
            set_personality(8).expect("PER_LINUX32");
            let shown = std::fs::read_to_string("/proc/thread-self/personality");
            assert!(shown.is_ok_and(|shown| shown.trim() == "00000008"));
            match set_mempolicy(3, &[1]) {
                Ok(()) => {
                    let maps = std::fs::read_to_string("/proc/thread-self/numa_maps").unwrap_or_default();
                    assert!(maps.is_empty() || maps.contains("interleave:0"), "{maps}");
                }
                Err(error) => assert_eq!(error, Errno::NOSYS, "no NUMA"),
            }
        })
        .join()
        .expect("thread");
    }
}
