//! `features`: what this build supports, whatever the host has (features.md J1-J15; the specification's features.md).
//!
//! Callers switch things on by it: Kubernetes its user namespaces (`mountExtensions.idmap`) and recursive read-only
//! mounts (`rro` in `mountOptions`). Every entry is a promise: one that is not built yet is not listed.

use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use crate::cli::{self, Global, SPEC_VERSION};
use crate::commands::output::print;
use crate::error::{Context as _, Result};
use crate::rootfs::{idmap, options};
use crate::seccomp;
use crate::sys::seccomp::flags_available;

/// What later work switches on, in one place.
mod built {
    pub const HOOKS: &[&str] =
        &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    pub const SYSTEMD: bool = true;
    pub const RDMA: bool = true;
    pub const APPARMOR: bool = true;
    pub const SELINUX: bool = true;
    pub const INTEL_RDT: bool = true;
    pub const IDMAP: bool = true;
    pub const NET_DEVICES: bool = true;
    pub const CHECKPOINT: &str = "false";
    pub const MEMORY_POLICY_MODES: &[&str] = &[
        "MPOL_BIND",
        "MPOL_DEFAULT",
        "MPOL_INTERLEAVE",
        "MPOL_LOCAL",
        "MPOL_PREFERRED",
        "MPOL_PREFERRED_MANY",
        "MPOL_WEIGHTED_INTERLEAVE",
    ];
    pub const MEMORY_POLICY_FLAGS: &[&str] =
        &["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];
    /// The annotations that change what this build does.
    pub const UNSAFE_ANNOTATIONS: &[&str] =
        &["org.davit.core-scheduling", "org.davit.landlock", "org.systemd.property.", "run.oci."];
    pub const SECCOMP_ACTIONS: &[&str] = &[
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_TRAP",
    ];
    pub const SECCOMP_ARCHS: &[&str] = &[
        "SCMP_ARCH_AARCH64",
        "SCMP_ARCH_ARM",
        "SCMP_ARCH_LOONGARCH64",
        "SCMP_ARCH_M68K",
        "SCMP_ARCH_MIPS",
        "SCMP_ARCH_MIPS64",
        "SCMP_ARCH_MIPS64N32",
        "SCMP_ARCH_MIPSEL",
        "SCMP_ARCH_MIPSEL64",
        "SCMP_ARCH_MIPSEL64N32",
        "SCMP_ARCH_PARISC",
        "SCMP_ARCH_PARISC64",
        "SCMP_ARCH_PPC",
        "SCMP_ARCH_PPC64",
        "SCMP_ARCH_PPC64LE",
        "SCMP_ARCH_RISCV64",
        "SCMP_ARCH_S390",
        "SCMP_ARCH_S390X",
        "SCMP_ARCH_SH",
        "SCMP_ARCH_SHEB",
        "SCMP_ARCH_X32",
        "SCMP_ARCH_X86",
        "SCMP_ARCH_X86_64",
    ];
    /// In alphabetical order. SECCOMP_FILTER_FLAG_TSYNC is accepted, and needs nothing of the kernel: there is one thread.
    pub const SECCOMP_FLAGS: &[&str] = &[
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ];
}

const NAMESPACES: &[&str] = &["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"];

const SECCOMP_OPERATORS: &[&str] = &[
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];

/// The flags that this kernel has, too: the one list that depends on the host (features-linux.md, "Seccomp").
fn supported_flags() -> Vec<&'static str> {
    let has = |flag: u32| flags_available(flag) || flags_available(flag | seccomp::NEW_LISTENER);
    let lacking = |name: &str| seccomp::FLAGS.iter().any(|(flag, known)| *known == name && !has(*flag));
    built::SECCOMP_FLAGS.iter().copied().filter(|name| !lacking(name)).collect()
}

/// In the kernel's order (include/uapi/linux/capability.h).
const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The mount options that are not data for a file system. The two that map ids have an entry of their own
/// (`mountExtensions`), and runc does not list them either (features.md J4).
fn mount_options() -> Vec<&'static str> {
    options::known().filter(|option| !matches!(*option, "idmap" | "ridmap")).collect()
}

/// The one entry that depends on the host: what can be id-mapped is its kernel's to say.
fn idmap_filesystems() -> String {
    idmap::capable_types(&rustix::system::uname().release().to_string_lossy()).join(",")
}

type Names = &'static [&'static str];

/// The features structure. Types of its own: oci-spec's keeps annotations in a hash map, whose order differs from run
/// to run. The tests read the result back with oci-spec.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: Names,
    mount_options: Vec<&'static str>,
    linux: Linux,
    annotations: Annotations,
    potentially_unsafe_config_annotations: Names,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: Names,
    capabilities: Names,
    cgroup: Cgroup,
    seccomp: Seccomp,
    apparmor: Enabled,
    selinux: Enabled,
    intel_rdt: IntelRdt,
    memory_policy: MemoryPolicy,
    mount_extensions: MountExtensions,
    net_devices: Enabled,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: Names,
    operators: Names,
    archs: Names,
    known_flags: Names,
    supported_flags: Vec<&'static str>,
}

#[derive(Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Serialize)]
struct IntelRdt {
    enabled: bool,
    schemata: bool,
    monitoring: bool,
}

#[derive(Serialize)]
struct MemoryPolicy {
    modes: Names,
    flags: Names,
}

#[derive(Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

#[derive(Serialize)]
struct Annotations {
    #[serde(rename = "org.davit.commit")]
    commit: &'static str,
    /// Comma-separated. Not in `mountExtensions`, whose properties are the specification's (features.md W8).
    #[serde(rename = "org.davit.idmap.filesystems")]
    idmap_filesystems: String,
    #[serde(rename = "org.davit.version")]
    version: &'static str,
    /// Callers probe for checkpoint support by this name (features.md J14).
    #[serde(rename = "org.opencontainers.runc.checkpoint.enabled")]
    checkpoint: &'static str,
}

fn features() -> Features {
    Features {
        oci_version_min: "1.0.0",
        oci_version_max: SPEC_VERSION,
        hooks: built::HOOKS,
        mount_options: mount_options(),
        linux: Linux {
            namespaces: NAMESPACES,
            capabilities: CAPABILITIES,
            cgroup: Cgroup {
                v1: true,
                v2: true,
                systemd: built::SYSTEMD,
                systemd_user: built::SYSTEMD,
                rdma: built::RDMA,
            },
            seccomp: Seccomp {
                enabled: true,
                actions: built::SECCOMP_ACTIONS,
                operators: SECCOMP_OPERATORS,
                archs: built::SECCOMP_ARCHS,
                known_flags: built::SECCOMP_FLAGS,
                supported_flags: supported_flags(),
            },
            apparmor: Enabled { enabled: built::APPARMOR },
            selinux: Enabled { enabled: built::SELINUX },
            intel_rdt: IntelRdt {
                enabled: built::INTEL_RDT,
                schemata: built::INTEL_RDT,
                monitoring: built::INTEL_RDT,
            },
            memory_policy: MemoryPolicy {
                modes: built::MEMORY_POLICY_MODES,
                flags: built::MEMORY_POLICY_FLAGS,
            },
            mount_extensions: MountExtensions { idmap: Enabled { enabled: built::IDMAP } },
            net_devices: Enabled { enabled: built::NET_DEVICES },
        },
        annotations: Annotations {
            commit: cli::commit(),
            idmap_filesystems: idmap_filesystems(),
            version: env!("CARGO_PKG_VERSION"),
            checkpoint: built::CHECKPOINT,
        },
        potentially_unsafe_config_annotations: built::UNSAFE_ANNOTATIONS,
    }
}

fn render() -> Result<String> {
    let mut text = Vec::with_capacity(8192);
    let mut json = serde_json::Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
    features().serialize(&mut json).map_err(std::io::Error::from).context("write JSON")?;
    text.push(b'\n');
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Prints the features; needs no right, file or cgroup (features.md J1).
///
/// # Errors
/// stdout cannot be written.
pub fn run(_global: &Global) -> Result<i32> {
    print(render()?.as_bytes())?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{Features, LinuxNamespaceType};

    use super::*;

    fn parsed() -> Features {
        serde_json::from_str(&render().unwrap()).unwrap()
    }

    /// [J2, J3, J15] Versions, hooks, annotations that matter. oci-spec reads every name it knows by its own enum,
    /// so that a misspelt action or architecture fails here.
    #[test]
    fn top_level() {
        let features = parsed();
        assert_eq!(
            (features.oci_version_min().as_str(), features.oci_version_max().as_str()),
            ("1.0.0", "1.3.0")
        );
        assert_eq!(features.hooks().as_ref().unwrap().len(), 6);
        let unsafe_ones = features.potentially_unsafe_config_annotations().as_deref();
        let expected: Vec<String> =
            built::UNSAFE_ANNOTATIONS.iter().map(|name| (*name).to_string()).collect();
        assert!(expected.is_sorted() && expected.len() > 1);
        assert_eq!(unsafe_ones, Some(&expected[..]));
    }

    /// [J4] Sorted, each once, with `rro` and without what is data or has its own entry.
    #[test]
    fn mount_options() {
        let features = parsed();
        let listed = features.mount_options().as_ref().unwrap();
        let listed: Vec<_> = listed.iter().map(String::as_str).collect();
        assert!(listed.is_sorted_by(|left, right| left < right));
        for known in ["tmpcopyup", "rro", "rrw", "defaults", "nosymfollow", "runbindable", "bind", "ro", "rw"]
        {
            assert!(listed.contains(&known), "{known}");
        }
        for other in ["idmap", "ridmap", "mode", "size"] {
            assert!(!listed.contains(&other), "{other}");
        }
    }

    /// [J5, J6] Eight namespaces, 41 capabilities, as the crates know them.
    #[test]
    fn namespaces_and_capabilities() {
        let features = parsed();
        let linux = features.linux().as_ref().unwrap();
        let namespaces = linux.namespaces().as_ref().unwrap();
        assert_eq!(namespaces.len(), 8);
        assert!(namespaces.contains(&LinuxNamespaceType::User));
        assert!(NAMESPACES.is_sorted());
        assert_eq!(CAPABILITIES.len(), 41);
        for (number, name) in CAPABILITIES.iter().enumerate() {
            let capability: caps::Capability = name.parse().unwrap();
            assert_eq!(usize::from(capability.index()), number, "{name}");
        }
    }

    /// [J7-J13] The parts of linux are there, and say what is built.
    #[test]
    fn linux_parts() {
        let features = parsed();
        let linux = features.linux().as_ref().unwrap();
        let cgroup = linux.cgroup().as_ref().unwrap();
        assert_eq!((*cgroup.v1(), *cgroup.v2()), (Some(true), Some(true)));
        assert_eq!(*cgroup.systemd(), Some(built::SYSTEMD));
        let seccomp = linux.seccomp().as_ref().unwrap();
        assert_eq!(*seccomp.enabled(), Some(true));
        assert_eq!(seccomp.actions().as_ref().unwrap().len(), built::SECCOMP_ACTIONS.len());
        assert_eq!(seccomp.operators().as_ref().unwrap().len(), 7);
        assert!(seccomp.archs().as_ref().unwrap().len() == 23);
        assert_eq!(seccomp.known_flags().as_ref().unwrap().len(), built::SECCOMP_FLAGS.len());
        assert_eq!(*linux.apparmor().as_ref().unwrap().enabled(), Some(built::APPARMOR));
        assert_eq!(*linux.selinux().as_ref().unwrap().enabled(), Some(built::SELINUX));
        assert_eq!(*linux.intel_rdt().as_ref().unwrap().enabled(), Some(built::INTEL_RDT));
        assert!(linux.memory_policy().as_ref().unwrap().modes().is_some());
        let idmap = linux.mount_extensions().as_ref().unwrap().idmap().as_ref().unwrap();
        assert_eq!(*idmap.enabled(), Some(built::IDMAP));
        assert_eq!(*linux.net_devices().as_ref().unwrap().enabled(), Some(built::NET_DEVICES));
    }

    /// [J14] The checkpoint probe, and no stray newline.
    #[test]
    fn annotations() {
        let features = parsed();
        let annotations = features.annotations().as_ref().unwrap();
        assert_eq!(annotations["org.opencontainers.runc.checkpoint.enabled"], built::CHECKPOINT);
        assert_eq!(annotations["org.davit.version"], env!("CARGO_PKG_VERSION"));
        assert!(annotations.values().all(|value| !value.contains('\n') && !value.is_empty()));
    }
}
