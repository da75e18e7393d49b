//! The container's file tree: mounts, device nodes, hidden paths, and the change of root.

pub mod configured;
pub mod console;
pub mod copy_up;
pub mod devices;
pub mod fresh;
pub mod handle;
pub mod hidden;
pub mod idmap;
pub mod idmap_option;
pub mod label;
pub mod locked;
pub mod mounts;
pub mod options;
pub mod paths;
pub mod root;
pub mod tree;

/// The `MS_*` flags of a `linux.rootfsPropagation` value, or None if there is no such value.
pub fn propagation_flags(value: &str) -> Option<u64> {
    Some(match value {
        "" | "rslave" => libc::MS_SLAVE | libc::MS_REC,
        "slave" => libc::MS_SLAVE,
        "shared" => libc::MS_SHARED,
        "rshared" => libc::MS_SHARED | libc::MS_REC,
        "private" => libc::MS_PRIVATE,
        "rprivate" => libc::MS_PRIVATE | libc::MS_REC,
        "unbindable" => libc::MS_UNBINDABLE,
        "runbindable" => libc::MS_UNBINDABLE | libc::MS_REC,
        _ => return None,
    })
}
