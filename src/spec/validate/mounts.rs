//! Rules of the `mounts` array (config.md, "Mounts").

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};

use super::process::no_nul;
use super::{Faults, has_namespace};
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
        faults.add("mounts", "unable to mount anything without a private mount namespace");
    }
    for (index, mount) in mounts.iter().enumerate() {
        let path = format!("mounts[{index}]");
        destination(mount, &path, faults);
        kind(mount, &path, faults);
        not_built(mount, &path, faults);
    }
}

/// config.md: a relative destination "MUST be interpreted as relative to "/"", for compatibility.
pub(super) fn warn(spec: &Spec, warnings: &mut Faults) {
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        if mount.destination().is_relative() {
            let text = format!("{} is relative, and taken from /", mount.destination().display());
            warnings.add(format!("mounts[{index}].destination"), text);
        }
    }
}

fn destination(mount: &Mount, path: &str, faults: &mut Faults) {
    let destination = mount.destination().to_string_lossy();
    let path = format!("{path}.destination");
    if destination.is_empty() {
        return faults.add(path, "must not be empty");
    }
    no_nul(&destination, || path.clone(), faults);
    let inside = normalize(mount.destination());
    if inside.is_empty() {
        return faults.add(path, "must not be the root itself");
    }
    if let Some(below) = inside.strip_prefix("proc/")
        && !PROC_FILES.contains(&below)
    {
        faults.add(path, format!("{destination:?} cannot be mounted because it is inside /proc"));
    } else if inside == "proc" && !may_cover_proc(mount) {
        faults.add(path, format!("{destination:?} cannot be mounted because it is not of type proc"));
    }
}

/// At /proc itself only procfs, or a bind whose source must then be one (checked when it is mounted).
fn may_cover_proc(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("proc") || parse(mount).is_bind()
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
        if mount.source().as_ref().is_none_or(|source| source.as_os_str().is_empty()) {
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

/// Properties that this version does not carry out are refused rather than ignored.
fn not_built(mount: &Mount, path: &str, faults: &mut Faults) {
    let options = parse(mount);
    if options.id_map.is_some() || mount.uid_mappings().is_some() || mount.gid_mappings().is_some() {
        faults.add(path, "id-mapped mounts are not carried out by this version of davit");
    }
    if options.copy_up {
        faults.add(format!("{path}.options"), "tmpcopyup is not carried out by this version of davit");
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
}
