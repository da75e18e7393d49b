//! A cgroup below a threaded one (admin-guide/cgroup-v2.rst, "Threads"): it is "domain invalid" and takes no process
//! until it is made threaded, and then it has no controllers but those that divide threads.

use std::path::Path;

use rustix::fs::CWD;

use super::file;
use super::steps::Write;
use crate::error::{Error, Kind, Result};

/// The controllers that threaded cgroups have.
const THREAD_CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "perf_event", "pids"];

/// Makes the cgroups that were made for the container (outermost first) threaded if they have to be, and refuses
/// limits that a threaded cgroup can't have (features.md C10).
///
/// # Errors
/// A limit of a controller for whole processes.
pub(super) fn settle<'p>(
    made: impl Iterator<Item = &'p Path>,
    directory: &Path,
    writes: &[Write],
) -> Result<()> {
    let mode = match kind(directory).as_str() {
        "domain invalid" => "it is in an invalid state",
        "threaded" => "it is in threaded mode",
        _ => return Ok(()),
    };
    let unfit = writes.iter().find_map(|write| Some((write, controller(write)?)));
    if let Some((write, controller)) = unfit {
        let path = directory.display().to_string();
        let text = format!("cannot enter cgroupv2 {path:?} with {controller} controller -- {mode}");
        return Err(Error::new(Kind::System, format!("{}: {text}", write.json_path))
            .hint("its parent is threaded: only limits of cpu, cpuset and pids are possible here"));
    }
    for path in made.filter(|path| kind(path) == "domain invalid") {
        let file = file::join(path, "cgroup.type");
        file::write_at(CWD, &file, b"threaded")
            .map_err(|errno| Error::system(file::Writing { value: "threaded", path: &file }, errno))?;
    }
    Ok(())
}

/// The controller of a limit that threads can't have.
fn controller(write: &Write) -> Option<&str> {
    let name = write.file.split_once('.').map_or(&*write.file, |(name, _)| name);
    (name != "cgroup" && !THREAD_CONTROLLERS.contains(&name)).then_some(name)
}

/// The content of `cgroup.type`; empty where there is none (the root).
fn kind(directory: &Path) -> String {
    let mut buffer = [0; 64];
    let content = file::read_short(&file::join(directory, "cgroup.type"), &mut buffer).unwrap_or_default();
    String::from_utf8_lossy(content.trim_ascii()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_controllers_divide_threads() {
        let write = |file: &'static str| Write { file: file.into(), ..Write::default() };
        assert_eq!(controller(&write("memory.max")), Some("memory"));
        assert_eq!(controller(&write("hugetlb.2MB.max")), Some("hugetlb"));
        for file in ["cpu.max", "cpuset.cpus", "pids.max", "cgroup.max.depth"] {
            assert_eq!(controller(&write(file)), None);
        }
    }
}
