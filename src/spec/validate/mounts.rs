//! Rules of the `mounts` array (config.md, "Mounts").

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};

use super::process::no_nul;
use super::{Faults, has_namespace};
use crate::rootfs::idmap_option;
use crate::rootfs::options;
use crate::rootfs::paths::normalize;

/// The only files below /proc that something may be mounted on (for lxcfs), relative to it.
const PROC_FILES: &[&str] = &[
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "slabinfo",
    "stat",
    "swaps",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
    "uptime",
];

pub(super) fn check(spec: &Spec, faults: &mut Faults) {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    if !mounts.is_empty() && !has_namespace(spec, LinuxNamespaceType::Mount) {
        faults.add(
            "mounts",
            "unable to mount anything without a private mount namespace: it would be mounted on the host",
        );
    }
    for (index, mount) in mounts.iter().enumerate() {
        let path = format!("mounts[{index}]");
        destination(mount, &path, faults);
        kind(mount, &path, faults);
        id_map(spec, mount, &path, faults);
        copy_up(mount, &path, faults);
        links(mount, &path, faults);
    }
}

fn destination(mount: &Mount, path: &str, faults: &mut Faults) {
    let destination = mount.destination().to_string_lossy();
    let path = format!("{path}.destination");
    if destination.is_empty() {
        return faults.add(path, "must not be empty");
    }
    no_nul(&destination, || path.clone(), faults);
    if let Some(text) = forbidden_target(&normalize(mount.destination()), mount) {
        faults.add(path, text);
    }
}

/// Why nothing may be mounted at `inside`, a clean path relative to the root.
pub(crate) fn forbidden_target(inside: &str, mount: &Mount) -> Option<String> {
    let destination = mount.destination().to_string_lossy();
    if inside.is_empty() {
        return Some("must not be the root itself".into());
    }
    if let Some(below) = inside.strip_prefix("proc/")
        && !PROC_FILES.contains(&below)
    {
        return Some(format!("{destination:?} cannot be mounted because it is inside /proc"));
    }
    (inside == "proc" && !may_cover_proc(mount))
        .then(|| format!("{destination:?} cannot be mounted because it is not of type proc"))
}

/// At /proc itself only procfs, or a bind whose source must then be one (checked when it is mounted).
fn may_cover_proc(mount: &Mount) -> bool {
    let options = parse(mount);
    let there_already = options.flags & libc::MS_REMOUNT != 0;
    mount.typ().as_deref() == Some("proc") || options.is_bind() || there_already
}

fn parse(mount: &Mount) -> options::MountOptions {
    options::parse(mount.options().as_deref().unwrap_or_default().iter().map(String::as_str))
}

fn kind(mount: &Mount, path: &str, faults: &mut Faults) {
    let options = parse(mount);
    let fstype = mount.typ().as_deref().unwrap_or_default();
    if let Some(source) = mount.source() {
        no_nul(&source.to_string_lossy(), || format!("{path}.source"), faults);
    }
    if options.is_bind() {
        if options.flags & libc::MS_REMOUNT == 0
            && mount.source().as_ref().is_none_or(|source| source.as_os_str().is_empty())
        {
            faults.add(format!("{path}.source"), "a bind mount needs a source");
        }
        if !options.data.is_empty() {
            let text = format!(
                "bind mounts cannot have any filesystem-specific options applied: {:?}",
                options.data
            );
            faults.add(format!("{path}.options"), text);
        }
    } else if fstype == "bind" {
        faults.add(format!("{path}.type"), "a bind mount needs the option \"bind\" or \"rbind\"");
    } else if fstype.is_empty() && options.flags & libc::MS_REMOUNT == 0 {
        faults.add(format!("{path}.type"), "must be set for a mount that is not a bind mount");
    }
    if options.data.contains('\0') {
        faults.add(format!("{path}.options"), "must not hold a NUL byte");
    }
}

/// config.md: both mappings or none; without them the container's user namespace has one, or it is an error.
fn id_map(spec: &Spec, mount: &Mount, path: &str, faults: &mut Faults) {
    let options = parse(mount);
    let maps = [("uidMappings", mount.uid_mappings()), ("gidMappings", mount.gid_mappings())];
    let [uids, gids] = maps.map(|(_, list)| !list.as_deref().unwrap_or_default().is_empty());
    if options.id_map.is_none() && !uids && !gids {
        return;
    }
    if let Some(text) = &options.id_map_text {
        let option = format!("{path}.options");
        if uids || gids {
            faults.add(option, "a mapping in the option idmap= and uidMappings exclude each other");
        } else if let Err(text) = idmap_option::maps(text, &super::id_mappings(spec)) {
            faults.add(option, format!("the mapping in the option idmap=: {text}"));
        }
    } else if uids != gids {
        let missing = if uids { "gidMappings" } else { "uidMappings" };
        let text = "id-mapped mounts must have both uid and gid mappings specified";
        faults.add(format!("{path}.{missing}"), text);
    } else if !uids && !has_namespace(spec, LinuxNamespaceType::User) {
        let text =
            "an id-mapped mount needs uidMappings and gidMappings, or a user namespace of the container";
        faults.add(format!("{path}.uidMappings"), text);
    }
    for (name, list) in maps {
        let list = list.as_deref().unwrap_or_default();
        if list.len() > 340 {
            faults.add(format!("{path}.{name}"), format!("{} lines, the kernel takes 340", list.len()));
        }
        for (index, _) in list.iter().enumerate().filter(|(_, mapping)| mapping.size() == 0) {
            faults.add(format!("{path}.{name}[{index}].size"), "must not be 0");
        }
    }
    if !options.is_bind() && options.flags & libc::MS_REMOUNT != 0 {
        faults.add(format!("{path}.options"), "a remount can't map ids");
    } else if matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2")) && !options.is_bind() {
        faults.add(path, "a cgroup mount can't be id-mapped");
    }
}

fn copy_up(mount: &Mount, path: &str, faults: &mut Faults) {
    let options = parse(mount);
    let new = !options.is_bind() && options.flags & libc::MS_REMOUNT == 0;
    if options.copy_up && !(new && mount.typ().as_deref() == Some("tmpfs")) {
        faults.add(format!("{path}.options"), "tmpcopyup is for new mounts of type tmpfs only");
    }
}

fn links(mount: &Mount, path: &str, faults: &mut Faults) {
    let options = parse(mount);
    let bind = options.is_bind() && options.flags & libc::MS_REMOUNT == 0;
    if options.links != options::Links::default() && !bind {
        let text = "copy-symlink, src-nofollow and dest-nofollow are for bind mounts";
        faults.add(format!("{path}.options"), text);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{faults_with, one_fault};
    use serde_json::json;

    fn with(mount: serde_json::Value) -> serde_json::Value {
        json!({"mounts": [mount]})
    }

    /// [M2] [Z4]
    #[test]
    fn destinations() {
        one_fault(with(json!({"destination": "/", "type": "tmpfs"})), "must not be the root itself");
        one_fault(with(json!({"destination": "/a/../..", "type": "tmpfs"})), "must not be the root itself");
        one_fault(with(json!({"destination": "", "type": "tmpfs"})), "must not be empty");
        one_fault(with(json!({"destination": "/a\u{0}", "type": "tmpfs"})), "NUL");
        assert!(faults_with(with(json!({"destination": "rel", "type": "tmpfs"}))).is_empty());
    }

    /// [M37] [M38]
    #[test]
    fn proc_is_covered_by_procfs_only() {
        let inside = "\"/proc/sys\" cannot be mounted because it is inside /proc";
        one_fault(with(json!({"destination": "/proc/sys", "type": "tmpfs"})), inside);
        one_fault(with(json!({"destination": "/mnt/../proc/self/attr", "type": "tmpfs"})), "inside /proc");
        one_fault(with(json!({"destination": "/proc", "type": "tmpfs"})), "not of type proc");
        let lxcfs = json!({"destination": "/proc/cpuinfo", "source": "/x", "options": ["bind"]});
        assert!(faults_with(with(lxcfs)).is_empty());
    }

    /// [M5] [M7]
    #[test]
    fn binds() {
        let bind = |options: &[&str]| with(json!({"destination": "/a", "source": "/b", "options": options}));
        one_fault(bind(&["bind", "size=1"]), "cannot have any filesystem-specific options applied");
        one_fault(with(json!({"destination": "/a", "type": "bind", "source": "/b"})), "mounts[0].type");
        one_fault(with(json!({"destination": "/a", "options": ["rbind"]})), "needs a source");
        assert!(faults_with(bind(&["rbind", "ro"])).is_empty());
    }

    /// [X10]
    #[test]
    fn links_are_for_binds() {
        for option in ["copy-symlink", "src-nofollow", "dest-nofollow"] {
            let tmpfs = json!({"destination": "/a", "type": "tmpfs", "options": [option]});
            one_fault(with(tmpfs), "mounts[0].options: copy-symlink, src-nofollow and");
            let bind = json!({"destination": "/a", "source": "/b", "options": ["bind", option]});
            assert!(faults_with(with(bind)).is_empty());
        }
    }

    /// [M22]
    #[test]
    fn remounts_need_neither_type_nor_source() {
        for options in [&["remount", "bind", "ro"][..], &["remount", "ro"]] {
            let remount = |at: &str| with(json!({"destination": at, "options": options}));
            assert!(faults_with(remount("/a")).is_empty(), "{options:?}");
            assert!(faults_with(remount("/proc")).is_empty(), "{options:?}");
            one_fault(remount("/proc/sys"), "inside /proc");
        }
    }

    /// [M33] [M35]
    #[test]
    fn id_mappings() {
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        let bind = |more: serde_json::Value| {
            let mut mount = json!({"destination": "/a", "source": "/b", "options": ["bind"]});
            mount.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            with(mount)
        };
        one_fault(
            bind(json!({"uidMappings": map})),
            "mounts[0].gidMappings: id-mapped mounts must have both",
        );
        one_fault(
            bind(json!({"gidMappings": map})),
            "mounts[0].uidMappings: id-mapped mounts must have both",
        );
        one_fault(
            bind(json!({"options": ["bind", "ridmap"]})),
            "mounts[0].uidMappings: an id-mapped mount needs",
        );
        let empty = json!([{"containerID": 0, "hostID": 1000, "size": 0}]);
        one_fault(bind(json!({"uidMappings": map, "gidMappings": empty})), "mounts[0].gidMappings[0].size");
        assert!(faults_with(bind(json!({"uidMappings": map, "gidMappings": map}))).is_empty());
        let user = json!({"mounts": [{"destination": "/a", "source": "/b", "options": ["bind", "idmap"]}],
            "linux": {"namespaces": [{"type": "mount"}, {"type": "user"}], "uidMappings": map, "gidMappings": map}});
        assert!(faults_with(user).is_empty());
        one_fault(
            bind(json!({"options": ["bind", "idmap=uids=0-1-2"]})),
            "mounts[0].options: the mapping in the option",
        );
        let both = json!({"options": ["bind", "idmap=uids=0-1-2;gids=0-1-2"], "uidMappings": map, "gidMappings": map});
        one_fault(bind(both), "exclude each other");
        assert!(faults_with(bind(json!({"options": ["bind", "idmap=uids=0-1-2;gids=0-1-2"]}))).is_empty());
        one_fault(
            bind(json!({"options": ["bind", "idmap=uids=@0-1-2;gids=0-1-2"]})),
            "is not in one mapping",
        );
        let mut remount = json!({"destination": "/a", "options": ["remount", "idmap"]});
        remount["uidMappings"] = map.clone();
        remount["gidMappings"] = map.clone();
        one_fault(with(remount.clone()), "a remount can't map ids");
        remount["type"] = "cgroup".into();
        remount["options"] = json!([]);
        one_fault(with(remount), "a cgroup mount can't be id-mapped");
    }

    /// [M31]
    #[test]
    fn copy_up_is_for_a_tmpfs() {
        let mount = |kind: &str, options: &[&str]| {
            with(json!({"destination": "/a", "type": kind, "source": "x", "options": options}))
        };
        assert!(faults_with(mount("tmpfs", &["tmpcopyup"])).is_empty());
        for options in [&["tmpcopyup", "bind"][..], &["tmpcopyup", "remount"]] {
            one_fault(mount("tmpfs", options), "mounts[0].options: tmpcopyup is for");
        }
        one_fault(mount("mqueue", &["tmpcopyup"]), "tmpcopyup is for");
    }
}
