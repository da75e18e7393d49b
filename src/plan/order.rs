//! Sources that lie in the container's own tree: what they show depends on the mounts made before.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::rootfs::paths::normalize;
use crate::rootfs::tree::{MountAction, MountOp, Opens, RootfsPlan};

/// Lets init open the sources that show an earlier mount when it is their turn. All others are opened before init
/// changes its ids, where there is a user namespace.
///
/// # Errors
/// `mounts[N].source: …`: such a source is to be id-mapped, which the parent does before anything is mounted.
pub(super) fn sources_in_turn(rootfs: &Path, mounts: &mut [MountOp]) -> Result<()> {
    let rootfs = normalize(rootfs);
    for index in 0..mounts.len() {
        let (earlier, rest) = mounts.split_at_mut(index);
        let Some(op) = rest.first_mut() else { continue };
        let MountAction::Bind { source, recursive, opens, .. } = &mut op.action else { continue };
        let path = Path::new(std::ffi::OsStr::from_bytes(source.as_bytes()));
        let cleaned = normalize(path);
        let Some(inside) = below(&cleaned, &rootfs) else { continue };
        let shown = earlier.iter().position(|mount| {
            let target = mount.target.to_string_lossy();
            below(inside, &target).is_some() || *recursive && below(&target, inside).is_some()
        });
        match (shown, &op.id_map) {
            (None, _) => {}
            (Some(shown), Some(_)) => {
                let text = format!("{} shows mounts[{shown}], so it can't be id-mapped", path.display());
                return Err(Error::config(&format!("mounts[{index}].source"), text));
            }
            (Some(_), None) => *opens = Opens::InTurn,
        }
    }
    Ok(())
}

/// The mount of cgroups, if it may as well be the very last: it is where every configuration has it, in a new sysfs (so
/// that no image leads it elsewhere), and nothing that comes after it in the order of config.json is at, above or
/// below it. What it shows has to wait for init's move into its cgroups, which takes long; the rest has not.
pub(super) fn late_mount(plan: &RootfsPlan, cwd: &str) -> Option<usize> {
    const PLACE: &str = "sys/fs/cgroup";
    let near = |path: &str| below(path, PLACE).is_some() || below(PLACE, path).is_some();
    let mut cgroups = plan.mounts.iter().enumerate().filter(|(_, op)| op.shows_cgroups());
    let (index, op) = cgroups.next()?;
    let (earlier, later) = (&plan.mounts[..index], plan.mounts.get(index + 1..).unwrap_or_default());
    let target = |op: &MountOp| op.target.to_string_lossy().into_owned();
    let new_sysfs = |op: &MountOp| matches!(&op.action, MountAction::Fresh { fstype, .. } if fstype.as_bytes() == b"sysfs");
    let above = earlier.iter().rfind(|op| below(PLACE, &target(op)).is_some())?;
    let alone = target(op) == PLACE && target(above) == "sys" && new_sysfs(above) && cgroups.next().is_none();
    let in_turn = |op: &MountOp| matches!(op.action, MountAction::Bind { opens: Opens::InTurn, .. });
    let mut hidden = plan.masked.iter().chain(&plan.readonly_paths);
    let seen = later.iter().any(|op| near(&target(op)) || in_turn(op))
        || plan.devices.iter().any(|node| near(&node.path.to_string_lossy()))
        || hidden.any(|path| near(&path.path.to_string_lossy()))
        || below(cwd, PLACE).is_some();
    (alone && !seen).then_some(index)
}

/// `path` relative to `base`; both are cleaned and without the first slash.
fn below<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    match path.strip_prefix(base)? {
        "" => Some(""),
        rest if base.is_empty() => Some(rest),
        rest => rest.strip_prefix('/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::tree::HiddenPath;
    use crate::sys::mount::Attributes;
    use std::ffi::CString;

    fn op(target: &str, action: MountAction) -> MountOp {
        MountOp {
            target: CString::new(target).unwrap(),
            action,
            propagation: Vec::new(),
            recursive: Attributes::default(),
            readonly_later: false,
            id_map: None,
            label: None,
        }
    }

    fn fresh(target: &str, fstype: &str) -> MountOp {
        let fstype = CString::new(fstype).unwrap();
        let action = MountAction::Fresh {
            source: fstype.clone(),
            fstype,
            flags: 0,
            data: None,
            plain_target: false,
            fallback: None,
            parameters: None,
            copy_up: false,
        };
        op(target, action)
    }

    fn cgroups(target: &str) -> MountOp {
        let (flags, namespace, may_hide) = (0, true, false);
        let action = MountAction::CgroupV2 { flags, namespace, container: None, runtime: None, may_hide };
        op(target, action)
    }

    /// Each that is near the mount, before or behind, keeps it in its turn.
    #[test]
    fn what_lets_a_mount_of_cgroups_be_late() {
        let late = |mounts: Vec<MountOp>, masked: &str, cwd: &str| {
            let masked = HiddenPath { path: CString::new(masked).unwrap(), index: 0 };
            late_mount(&RootfsPlan { mounts, masked: vec![masked], ..RootfsPlan::default() }, cwd)
        };
        let usual = |last: &str| {
            vec![fresh("proc", "proc"), fresh("sys", "sysfs"), cgroups("sys/fs/cgroup"), fresh(last, "tmpfs")]
        };
        assert_eq!(late(usual("dev/shm"), "sys/firmware", ""), Some(2));
        for near in ["", "sys", "sys/fs", "sys/fs/cgroup", "sys/fs/cgroup/memory"] {
            assert_eq!(late(usual(near), "sys/firmware", ""), None, "mount {near:?}");
            assert_eq!(late(usual("dev/shm"), near, ""), None, "mask {near:?}");
        }
        assert_eq!(late(usual("dev/shm"), "sys/firmware", "sys/fs/cgroup/x"), None);
        assert_eq!(late(vec![fresh("sys", "sysfs"), cgroups("cgroup")], "x", ""), None);
        assert_eq!(late(vec![cgroups("sys/fs/cgroup")], "x", ""), None);
        assert_eq!(late(vec![fresh("sys", "tmpfs"), cgroups("sys/fs/cgroup")], "x", ""), None);
        let covered = vec![fresh("sys", "sysfs"), fresh("sys/fs", "tmpfs"), cgroups("sys/fs/cgroup")];
        assert_eq!(late(covered, "x", ""), None);
        let two = vec![fresh("sys", "sysfs"), cgroups("sys/fs/cgroup"), cgroups("mnt")];
        assert_eq!(late(two, "x", ""), None);
    }

    #[test]
    fn below_compares_whole_names() {
        assert_eq!(below("a/b/c", "a/b"), Some("c"));
        assert_eq!(below("a/b", "a/b"), Some(""));
        assert_eq!(below("a/b", ""), Some("a/b"));
        assert_eq!(below("a/bc", "a/b"), None);
        assert_eq!(below("a", "a/b"), None);
    }
}
