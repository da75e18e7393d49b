//! cgroup v1's cpuset: a new cgroup has no CPUs and no memory nodes, and takes no process until it has both.

use std::path::Path;

use super::file;
use crate::error::{Context, Result};

/// Copies `cpuset.cpus` and `cpuset.mems` from the parent, whose own come first if it is empty too (features.md Q12).
/// `mount_len` is the length of the mount point in `directory`; the root always has both. One that is not `new` keeps
/// what it has.
pub(super) fn fill(directory: &Path, mount_len: usize, new: bool) -> Result<()> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        if !new && !own(directory, name)?.is_empty() {
            continue;
        }
        let value = inherited(directory, mount_len, name)?;
        file::write(&file::join(directory, name), &value)?;
    }
    Ok(())
}

fn own(directory: &Path, name: &str) -> Result<String> {
    let path = file::join(directory, name);
    let mut buffer = [0; 1024];
    let content = file::read_short(&path, &mut buffer).with_context(|| format!("read {}", path.display()))?;
    // A machine with scattered CPUs can have a longer list than the buffer.
    let value = if content.len() < 1024 { content.to_vec() } else { file::read(&path)? };
    Ok(String::from_utf8_lossy(value.trim_ascii()).into_owned())
}

/// The parent's value; an empty parent is filled first.
fn inherited(directory: &Path, mount_len: usize, name: &str) -> Result<String> {
    let parent = directory.parent().unwrap_or(directory);
    let value = own(parent, name)?;
    if !value.is_empty() || parent.as_os_str().len() <= mount_len {
        return Ok(value);
    }
    let value = inherited(parent, mount_len, name)?;
    file::write(&file::join(parent, name), &value)?;
    Ok(value)
}
