//! Writes one limit; a failure is told with its JSON path, the value, the file and what can be done.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;

use super::steps::Write;
use super::{Directory, file};
use crate::error::{Error, Result};

/// Writes one limit; `fd` is the directory, where it is open.
///
/// # Errors
/// The kernel refuses the value, or has no such file.
pub(super) fn write(fd: Option<&OwnedFd>, directory: &Directory, write: &Write) -> Result<()> {
    let put = |name: &str, value: &str| match fd {
        Some(fd) => file::write_at(fd, Path::new(name), value.as_bytes()),
        None => file::write_at(CWD, &file::join(&directory.path, name), value.as_bytes()),
    };
    let (mut name, mut value) = (&write.file, &write.value);
    let mut result = put(name, value);
    if let (Err(Errno::NOENT), Some((other, other_value))) = (result, &write.or_else) {
        (name, value) = (other, other_value);
        result = put(name, value);
    }
    match result {
        Ok(()) => Ok(()),
        // The kernel answers EPERM, not ENOENT, where a cgroup file is to be made.
        Err(Errno::NOENT | Errno::PERM | Errno::ACCESS) if write.unified => {
            Err(unified_missing(directory, write, result))
        }
        Err(Errno::NOENT) if write.ignore_missing => Ok(()),
        Err(errno) => {
            let path = file::join(&directory.path, name);
            let error = Error::system(file::Writing { value, path: &path }, errno).context(&write.json_path);
            Err(match hint(name, errno) {
                Some(hint) => error.hint(hint),
                None => error,
            })
        }
    }
}

fn unified_missing(directory: &Directory, write: &Write, result: Result<(), Errno>) -> Error {
    let key = &write.file;
    let controller = key.split_once('.').map_or(&**key, |(controller, _)| controller);
    let available = file::read_raw(&file::join(&directory.path, "cgroup.controllers")).unwrap_or_default();
    let has = available.split(u8::is_ascii_whitespace).any(|name| name == controller.as_bytes());
    if !has && controller != "cgroup" {
        let text = format!("unified resource {key:?} can't be set: controller {controller:?} not available");
        return Error::config(&write.json_path, text);
    }
    let errno = result.err().unwrap_or(Errno::NOENT);
    Error::system(format_args!("{}: unable to set unified resource {key:?}", write.json_path), errno)
}

/// What the user can do about a refused value, where the cause is known.
fn hint(name: &str, errno: Errno) -> Option<&'static str> {
    Some(match (name, errno) {
        ("memory.memsw.limit_in_bytes" | "memory.swap.max", Errno::NOENT) => {
            "the kernel has no swap accounting; boot it with swapaccount=1"
        }
        (name, Errno::NOENT) if name.starts_with("hugetlb.") => "the kernel has no huge pages of this size",
        ("cpu.cfs_burst_us" | "cpu.max.burst" | "cpu.idle", Errno::NOENT) => {
            "the kernel has no such file: bursts are Linux 5.14, idle cgroups 5.15; or the controller is not enabled here"
        }
        ("cpu.rt_runtime_us" | "cpu.rt_period_us", Errno::NOENT) => {
            "the kernel has no real-time budgets (CONFIG_RT_GROUP_SCHED)"
        }
        (name, Errno::NOENT) if name.starts_with("blkio.bfq.") || name == "io.weight" => {
            "the kernel has no weights of block devices here: they are those of the I/O scheduler BFQ (module bfq)"
        }
        (name, Errno::NOENT) if name.starts_with("blkio.leaf_weight") => {
            "the kernel has none: they went with the I/O scheduler CFQ in Linux 5.0"
        }
        (_, Errno::NOENT) => "the controller is not enabled for this cgroup",
        (name, Errno::BUSY) if name.starts_with("memory.") => "the cgroup uses more than this already",
        (name, Errno::INVAL) if name.starts_with("cpu.cfs_") || name == "cpu.max" => {
            "quota and period are microseconds from 1000, the period at most 1000000, and the parent's share bounds both"
        }
        (name, Errno::INVAL | Errno::ACCESS | Errno::RANGE | Errno::NODEV) if name.starts_with("cpuset.") => {
            "only CPUs and memory nodes that the parent cgroup has can be named"
        }
        ("cpu.rt_runtime_us", Errno::INVAL) => {
            "the parent cgroups need a real-time budget first, and the other cgroups in them have a part of it"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [E12] A file that this kernel lacks is not a controller that is not enabled.
    #[test]
    fn missing_files_have_their_reasons() {
        for (name, text) in [
            ("blkio.bfq.weight", "BFQ"),
            ("blkio.bfq.weight_device", "BFQ"),
            ("io.weight", "BFQ"),
            ("blkio.leaf_weight_device", "CFQ"),
            ("cpu.idle", "5.15"),
            ("cpu.rt_period_us", "CONFIG_RT_GROUP_SCHED"),
            ("hugetlb.3MB.max", "huge pages of this size"),
            ("pids.max", "not enabled"),
        ] {
            assert!(hint(name, Errno::NOENT).is_some_and(|hint| hint.contains(text)), "{name}");
        }
    }
}
