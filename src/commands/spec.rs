//! `spec`: a config.json to start from (features.md V59-V61).
//!
//! Written from types of its own: oci-spec keeps capabilities in a hash set, whose order differs from run to run,
//! and a file that people read and diff should not. The tests read the result back with oci-spec.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use crate::cli::{Global, SPEC_VERSION, SpecArgs};
use crate::error::{Context as _, Error, Kind, Result};

const CAPABILITIES: &[&str] = &["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

/// What tells of the host, or lets it be changed, and does not know of namespaces.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];

const READONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const MOUNTS: &[Mount] = &[
    Mount { destination: "/proc", kind: "proc", source: "proc", options: &[] },
    Mount {
        destination: "/dev",
        kind: "tmpfs",
        source: "tmpfs",
        options: &["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    Mount {
        destination: "/dev/pts",
        kind: "devpts",
        source: "devpts",
        options: &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    Mount {
        destination: "/dev/shm",
        kind: "tmpfs",
        source: "shm",
        options: &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
    },
    Mount {
        destination: "/dev/mqueue",
        kind: "mqueue",
        source: "mqueue",
        options: &["nosuid", "noexec", "nodev"],
    },
    Mount {
        destination: "/sys",
        kind: "sysfs",
        source: "sysfs",
        options: &["nosuid", "noexec", "nodev", "ro"],
    },
    Mount {
        destination: "/sys/fs/cgroup",
        kind: "cgroup",
        source: "cgroup",
        options: &["nosuid", "noexec", "nodev", "relatime", "ro"],
    },
];

/// `/sys` for who may not mount a sysfs: without a network namespace of its own the kernel refuses it.
const ROOTLESS_SYS: Mount = Mount {
    destination: "/sys",
    kind: "none",
    source: "/sys",
    options: &["rbind", "nosuid", "noexec", "nodev", "ro"],
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    oci_version: &'static str,
    process: Process,
    root: Root,
    hostname: &'static str,
    mounts: Vec<Mount>,
    linux: Linux,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    terminal: bool,
    user: User,
    args: &'static [&'static str],
    env: &'static [&'static str],
    cwd: &'static str,
    capabilities: Capabilities,
    rlimits: [Rlimit; 1],
    no_new_privileges: bool,
}

#[derive(Serialize)]
struct User {
    uid: u32,
    gid: u32,
}

#[derive(Serialize)]
struct Capabilities {
    bounding: &'static [&'static str],
    effective: &'static [&'static str],
    permitted: &'static [&'static str],
}

#[derive(Serialize)]
struct Rlimit {
    #[serde(rename = "type")]
    kind: &'static str,
    hard: u64,
    soft: u64,
}

#[derive(Serialize)]
struct Root {
    path: &'static str,
    readonly: bool,
}

#[derive(Clone, Serialize)]
struct Mount {
    destination: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    options: &'static [&'static str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid_mappings: Option<[IdMapping; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid_mappings: Option<[IdMapping; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
    namespaces: Vec<Namespace>,
    masked_paths: &'static [&'static str],
    readonly_paths: &'static [&'static str],
}

#[derive(Serialize)]
struct IdMapping {
    #[serde(rename = "containerID")]
    container: u32,
    #[serde(rename = "hostID")]
    host: u32,
    size: u32,
}

#[derive(Serialize)]
struct Resources {
    devices: [DeviceRule; 1],
}

#[derive(Serialize)]
struct DeviceRule {
    allow: bool,
    access: &'static str,
}

#[derive(Serialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: &'static str,
}

/// What of the host and its user the configuration depends on.
#[derive(Clone, Copy)]
struct Host {
    /// `/sys/fs/cgroup` is a cgroup2 mount: a cgroup namespace then is of use.
    unified: bool,
    /// The caller's effective uid and gid, for `--rootless`.
    rootless: Option<(u32, u32)>,
}

impl Host {
    fn detect(rootless: bool) -> Self {
        /// `CGROUP2_SUPER_MAGIC`, include/uapi/linux/magic.h.
        const CGROUP2: rustix::fs::FsWord = 0x6367_7270;
        let unified = rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.f_type == CGROUP2);
        let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { unified, rootless: rootless.then_some(ids) }
    }
}

fn config(host: Host) -> Config {
    Config {
        oci_version: SPEC_VERSION,
        process: Process {
            terminal: true,
            user: User { uid: 0, gid: 0 },
            args: &["sh"],
            env: &["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            cwd: "/",
            capabilities: Capabilities {
                bounding: CAPABILITIES,
                effective: CAPABILITIES,
                permitted: CAPABILITIES,
            },
            rlimits: [Rlimit { kind: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
            no_new_privileges: true,
        },
        root: Root { path: "rootfs", readonly: true },
        hostname: "davit",
        mounts: mounts(host.rootless.is_some()),
        linux: linux(host),
    }
}

fn mounts(rootless: bool) -> Vec<Mount> {
    let mut mounts = MOUNTS.to_vec();
    if rootless {
        for mount in &mut mounts {
            match mount.destination {
                "/sys" => *mount = ROOTLESS_SYS,
                // Group 5, tty, is not in a map of one id: the kernel would refuse it.
                "/dev/pts" => {
                    mount.options = &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
                }
                _ => {}
            }
        }
    }
    mounts
}

fn linux(host: Host) -> Linux {
    let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount"];
    if host.unified {
        namespaces.push("cgroup");
    }
    if host.rootless.is_some() {
        namespaces.retain(|kind| *kind != "network");
        namespaces.push("user");
    }
    let map = |host| [IdMapping { container: 0, host, size: 1 }];
    let deny_all = Resources { devices: [DeviceRule { allow: false, access: "rwm" }] };
    Linux {
        uid_mappings: host.rootless.map(|(uid, _)| map(uid)),
        gid_mappings: host.rootless.map(|(_, gid)| map(gid)),
        resources: host.rootless.is_none().then_some(deny_all),
        namespaces: namespaces.into_iter().map(|kind| Namespace { kind }).collect(),
        masked_paths: MASKED,
        readonly_paths: READONLY,
    }
}

/// The file's text: tab-indented, with a newline at its end.
fn render(host: Host) -> Result<Vec<u8>> {
    let mut text = Vec::with_capacity(4096);
    let mut json = serde_json::Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t"));
    config(host).serialize(&mut json).map_err(std::io::Error::from).context("write JSON")?;
    text.push(b'\n');
    Ok(text)
}

/// Writes `config.json` into the bundle.
///
/// # Errors
/// The file exists, or cannot be written.
pub fn run(_global: &Global, args: &SpecArgs) -> Result<i32> {
    let name = args.file.as_deref().unwrap_or(Path::new("config.json"));
    let path = args.bundle.as_ref().map_or_else(|| PathBuf::from(name), |bundle| bundle.join(name));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat(CWD, &path, flags, Mode::from_raw_mode(0o666)).map_err(|error| match error {
            // runc's words (features.md V59).
            Errno::EXIST => {
                Error::new(Kind::State, format!("File {} exists. Remove it first", name.display()))
            }
            error => Error::system(format!("make {}", path.display()), error),
        })?;
    let written = render(Host::detect(args.rootless)).and_then(|text| {
        std::fs::File::from(file).write_all(&text).with_context(|| format!("write {}", path.display()))
    });
    if written.is_err() {
        // Half a file would only be in the way of the next try; the first failure is the one to tell.
        let _ = rustix::fs::unlink(&path);
    }
    written.map(|()| 0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use oci_spec::runtime::{Capability, LinuxNamespaceType, PosixRlimitType, Spec};

    use super::*;

    const UNIFIED: Host = Host { unified: true, rootless: None };

    fn text(host: Host) -> String {
        String::from_utf8(render(host).unwrap()).unwrap()
    }

    fn spec(host: Host) -> Spec {
        serde_json::from_str(&text(host)).unwrap()
    }

    fn namespaces(spec: &Spec) -> Vec<LinuxNamespaceType> {
        let namespaces = spec.linux().as_ref().unwrap().namespaces().as_ref().unwrap();
        namespaces.iter().map(|namespace| namespace.typ()).collect()
    }

    /// The repository's example is what `davit spec` writes on a host with cgroup v2.
    #[test]
    fn example_is_the_output() {
        assert_eq!(text(UNIFIED), include_str!("../../config.json.example"));
    }

    /// [V61] The process of the default configuration.
    #[test]
    fn default_process() {
        let spec = spec(UNIFIED);
        assert_eq!(spec.version(), "1.3.0");
        assert_eq!(spec.hostname().as_deref(), Some("davit"));
        let process = spec.process().as_ref().unwrap();
        assert_eq!(process.terminal(), Some(true));
        assert_eq!(process.args().as_deref(), Some(&["sh".to_string()][..]));
        assert_eq!(process.cwd(), Path::new("/"));
        assert_eq!(process.no_new_privileges(), Some(true));
        let env = process.env().as_ref().unwrap();
        assert!(env.len() == 2 && env[0].starts_with("PATH=/usr/local/sbin:") && env[1] == "TERM=xterm");
        let wanted = HashSet::from([Capability::AuditWrite, Capability::Kill, Capability::NetBindService]);
        let sets = process.capabilities().as_ref().unwrap();
        for set in [sets.bounding(), sets.effective(), sets.permitted()] {
            assert_eq!(set.as_ref(), Some(&wanted));
        }
        assert_eq!((sets.inheritable(), sets.ambient()), (&None, &None));
        let rlimit = process.rlimits().as_ref().unwrap()[0];
        assert_eq!((rlimit.typ(), rlimit.soft(), rlimit.hard()), (PosixRlimitType::RlimitNofile, 1024, 1024));
        let root = spec.root().as_ref().unwrap();
        assert_eq!((root.path().as_path(), root.readonly()), (Path::new("rootfs"), Some(true)));
    }

    /// [V61] Mounts, devices, namespaces, masked and read-only paths.
    #[test]
    fn default_linux() {
        let spec = spec(UNIFIED);
        let mounts = spec.mounts().as_ref().unwrap();
        let places: Vec<_> = mounts.iter().map(|mount| mount.destination().to_str().unwrap()).collect();
        let wanted = ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"];
        assert_eq!(places, wanted);
        assert!(mounts[6].options().as_ref().unwrap().contains(&"ro".to_string()));
        let linux = spec.linux().as_ref().unwrap();
        let rules = linux.resources().as_ref().unwrap().devices().as_ref().unwrap();
        assert_eq!(rules.len(), 1);
        assert!(!rules[0].allow() && rules[0].access().as_deref() == Some("rwm") && rules[0].typ().is_none());
        assert_eq!(linux.masked_paths().as_ref().unwrap().len(), 10);
        assert_eq!(linux.readonly_paths().as_ref().unwrap().len(), 5);
        use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
        assert_eq!(namespaces(&spec), [Pid, Network, Ipc, Uts, Mount, Cgroup]);
        let legacy = Host { unified: false, ..UNIFIED };
        assert_eq!(namespaces(&super::tests::spec(legacy)), [Pid, Network, Ipc, Uts, Mount]);
    }

    /// [V60] The rootless form.
    #[test]
    fn rootless() {
        use LinuxNamespaceType::{Cgroup, Ipc, Mount, Pid, User, Uts};
        let spec = spec(Host { unified: true, rootless: Some((1000, 100)) });
        assert_eq!(namespaces(&spec), [Pid, Ipc, Uts, Mount, Cgroup, User]);
        let linux = spec.linux().as_ref().unwrap();
        assert_eq!(linux.resources(), &None);
        for (map, host) in [(linux.uid_mappings(), 1000), (linux.gid_mappings(), 100)] {
            let map = map.as_ref().unwrap();
            assert_eq!(map.len(), 1);
            assert_eq!((map[0].container_id(), map[0].host_id(), map[0].size()), (0, host, 1));
        }
        for mount in spec.mounts().as_ref().unwrap() {
            let options = mount.options().clone().unwrap_or_default();
            let ids = options.iter().any(|option| option.starts_with("uid=") || option.starts_with("gid="));
            assert!(!ids, "{options:?}");
            if mount.destination() == Path::new("/sys") {
                assert_eq!(mount.source().as_deref(), Some(Path::new("/sys")));
                assert!(options.contains(&"rbind".to_string()));
            }
        }
    }

    /// [V59, X5] The file is made, tab-indented, and never overwritten; `--bundle` and `--file` say where.
    #[test]
    fn file_is_never_overwritten() {
        let bundle = std::env::temp_dir().join(format!("davit-spec-{}", std::process::id()));
        std::fs::create_dir(&bundle).unwrap();
        let args = SpecArgs { bundle: Some(bundle.clone()), ..SpecArgs::default() };
        assert_eq!(run(&Global::default(), &args).unwrap(), 0);
        let made = std::fs::read_to_string(bundle.join("config.json")).unwrap();
        assert!(
            made.starts_with("{\n\t\"ociVersion\": \"1.3.0\",\n\t\"process\": {\n\t\t\"terminal\": true,\n")
        );
        let error = run(&Global::default(), &SpecArgs { rootless: true, ..args.clone() }).unwrap_err();
        assert_eq!(error.to_string(), "File config.json exists. Remove it first");
        assert_eq!(std::fs::read_to_string(bundle.join("config.json")).unwrap(), made);
        run(&Global::default(), &SpecArgs { file: Some("x.json".into()), ..args }).unwrap();
        assert_eq!(std::fs::read_to_string(bundle.join("x.json")).unwrap(), made);
        std::fs::remove_dir_all(&bundle).unwrap();
        let gone = SpecArgs { bundle: Some(bundle.clone()), ..SpecArgs::default() };
        let error = run(&Global::default(), &gone).unwrap_err().to_string();
        assert_eq!(error, format!("make {}/config.json: no such file or directory", bundle.display()));
    }
}
