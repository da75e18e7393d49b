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

/// The index from which on mounts may wait until nodes, masks and read-only paths are made: that of the mount of cgroups,
/// which has to wait for init's move into its cgroups, and that takes long; the rest has not. It must be where every
/// configuration has it, in a new sysfs, and nothing of what comes first is at, above or below a late mount; what is hidden
/// lies in new file systems, too, so that no image leads it elsewhere. The mounts themselves keep their order.
pub(super) fn late(plan: &RootfsPlan) -> Option<usize> {
    const PLACE: &str = "sys/fs/cgroup";
    let index = plan.mounts.iter().position(MountOp::shows_cgroups)?;
    let (earlier, late) = plan.mounts.split_at(index);
    let target = |op: &MountOp| op.target.to_string_lossy().into_owned();
    let new_sysfs = |op: &MountOp| matches!(&op.action, MountAction::Fresh { fstype, .. } if fstype.as_bytes() == b"sysfs");
    let above = earlier.iter().rfind(|op| below(PLACE, &target(op)).is_some())?;
    let usual = target(&late[0]) == PLACE && target(above) == "sys" && new_sysfs(above);
    let in_turn = |op: &MountOp| matches!(op.action, MountAction::Bind { opens: Opens::InTurn, .. });
    let mut first: Vec<_> = plan.devices.iter().map(|node| node.path.to_string_lossy()).collect();
    let hidden = || plan.masked.iter().chain(&plan.readonly_paths).map(|path| path.path.to_string_lossy());
    first.extend(hidden());
    let in_new = |path: &str| {
        let around = earlier.iter().rfind(|op| below(path, &target(op)).is_some());
        around.is_some_and(|op| matches!(op.action, MountAction::Fresh { .. }))
    };
    let apart = |op: &MountOp| {
        let target = target(op);
        let near = |path: &str| below(path, &target).is_some() || below(&target, path).is_some();
        // /dev has the links, too.
        !(in_turn(op) || below("dev", &target).is_some() || first.iter().any(|path| near(path)))
    };
    (usual && late.iter().all(apart) && hidden().all(|path| in_new(&path))).then_some(index)
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

    /// What is near a late mount keeps all in their turn.
    #[test]
    fn what_lets_mounts_be_late() {
        let of = |mounts: Vec<MountOp>, masked: &str| {
            let masked = HiddenPath { path: CString::new(masked).unwrap(), index: 0 };
            late(&RootfsPlan { mounts, masked: vec![masked], ..RootfsPlan::default() })
        };
        let usual = |last: &str| {
            vec![fresh("proc", "proc"), fresh("sys", "sysfs"), cgroups("sys/fs/cgroup"), fresh(last, "tmpfs")]
        };
        assert_eq!(of(usual("dev/shm"), "sys/firmware"), Some(2));
        assert_eq!(of(usual("etc/hosts"), "proc/kcore"), Some(2));
        for near in ["sys", "sys/fs", "sys/fs/cgroup", "sys/fs/cgroup/memory", "dev", "dev/shm", "dev/shm/x"]
        {
            assert_eq!(of(usual("dev/shm"), near), None, "mask {near:?}");
        }
        assert_eq!(of(usual("dev/shm"), "etc/shadow"), None);
        for (last, masked) in [("", "proc/x"), ("dev", "proc/x"), ("proc", "proc/x"), ("proc/x", "proc/x")] {
            assert_eq!(of(usual(last), masked), None, "mount {last:?}, mask {masked:?}");
        }
        assert_eq!(of(vec![fresh("sys", "sysfs"), cgroups("cgroup")], "sys/x"), None);
        assert_eq!(of(vec![cgroups("sys/fs/cgroup")], "sys/x"), None);
        assert_eq!(of(vec![fresh("sys", "tmpfs"), cgroups("sys/fs/cgroup")], "sys/x"), None);
        let covered = vec![fresh("sys", "sysfs"), fresh("sys/fs", "tmpfs"), cgroups("sys/fs/cgroup")];
        assert_eq!(of(covered, "sys/x"), None);
        assert_eq!(of(vec![fresh("sys", "sysfs"), fresh("proc", "proc")], "sys/x"), None);
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
