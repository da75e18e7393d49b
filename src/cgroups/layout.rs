//! Which cgroup hierarchies this host has, where they are mounted, and where the runtime itself is in them.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::cgroups::file;
use crate::error::{Context, Error, Kind, Result};

/// Where every distribution and systemd mount the cgroup file systems.
pub const ROOT: &str = "/sys/fs/cgroup";

/// The cgroup v1 controllers that a container joins. A named hierarchy is joined only if it is systemd's:
/// the others belong to somebody who does not expect containers in them.
const JOINED: [&str; 15] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "perf_event",
    "net_cls",
    "net_prio",
    "rdma",
    "misc",
    "name=systemd",
];

/// The cgroup set-up of the host as this process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The hierarchies.
    pub layout: Layout,
    /// The runtime's own cgroup in the cgroup2 tree, from its root: `/user.slice/session-1.scope`; `/` where there
    /// is no such tree.
    pub own_v2: PathBuf,
}

/// The three forms that a host's cgroups take: v1, hybrid (v1 with a cgroup2 tree beside it), v2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Limits are set in v1 hierarchies.
    V1 {
        /// Those that a container joins, in the order of `/proc/self/cgroup`.
        hierarchies: Vec<Hierarchy>,
        /// Hybrid: the cgroup2 mount. It has the better tools (`cgroup.kill`, `cgroup.freeze`, `cgroup.events`).
        unified: Option<PathBuf>,
    },
    /// One cgroup2 tree for everything.
    V2 {
        /// Its mount point.
        mount: PathBuf,
    },
}

/// One v1 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// As `/proc/self/cgroup` names it: `cpu,cpuacct` or `name=systemd`.
    pub controllers: String,
    /// Its conventional mount point, `/sys/fs/cgroup/cpu,cpuacct`; proved only when it is used.
    pub mount: PathBuf,
    /// The runtime's own cgroup from the hierarchy's root: `/`, `/user.slice`.
    pub own: PathBuf,
}

impl Layout {
    /// Finds the host's layout by one `statfs` and one read of `/proc/self/cgroup` (cgroups(7)).
    ///
    /// # Errors
    /// `/sys/fs/cgroup` is not there, or `/proc/self/cgroup` can't be read.
    pub fn detect() -> Result<Host> {
        let found = rustix::fs::statfs(ROOT)
            .with_context(|| format!("find the cgroup file system at {ROOT}"))
            .map_err(|error| error.hint("mount cgroup2 there"))?;
        let v2 = is_cgroup2(&found);
        let path = Path::new("/proc/self/cgroup");
        let mut buffer = [0; 4096];
        // The file is made as a whole when it is read, so a short read is all of it.
        let read = file::read_short(path, &mut buffer).context("read /proc/self/cgroup")?;
        let mut host = if read.len() < 4096 { parse(read, v2) } else { parse(&file::read(path)?, v2) };
        if let Layout::V1 { unified, .. } = &mut host.layout {
            // The kernel lists the tree also where this mount namespace does not have it.
            *unified =
                unified.take().filter(|path| rustix::fs::statfs(path).is_ok_and(|found| is_cgroup2(&found)));
        }
        match &host.layout {
            Layout::V1 { hierarchies, unified: None } if hierarchies.is_empty() => {
                Err(Error::new(Kind::System, format!("{ROOT} has no cgroup file system mounted"))
                    .hint("mount cgroup2 there"))
            }
            _ => Ok(host),
        }
    }
}

/// True for a cgroup2 file system (statfs(2): `CGROUP2_SUPER_MAGIC`).
pub(super) fn is_cgroup2(found: &rustix::fs::StatFs) -> bool {
    const CGROUP2_SUPER_MAGIC: rustix::fs::FsWord = 0x6367_7270;
    found.f_type == CGROUP2_SUPER_MAGIC
}

/// Reads the lines of `/proc/self/cgroup`: `hierarchy-ID:controller-list:cgroup-path`.
pub(super) fn parse(lines: &[u8], v2: bool) -> Host {
    let mut hierarchies = Vec::new();
    let mut own_v2 = None;
    for line in lines.split(|byte| *byte == b'\n') {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let own = PathBuf::from(OsStr::from_bytes(path));
        if controllers.is_empty() {
            own_v2 = Some(own);
            continue;
        }
        if v2 {
            continue;
        }
        let Ok(controllers) = std::str::from_utf8(controllers) else { continue };
        if controllers.split(',').any(|controller| JOINED.contains(&controller)) {
            hierarchies.push(Hierarchy {
                mount: conventional(controllers),
                controllers: controllers.into(),
                own,
            });
        }
    }
    let layout = if v2 {
        Layout::V2 { mount: ROOT.into() }
    } else {
        // The line is there once a cgroup2 file system has been mounted somewhere.
        let unified = own_v2.as_ref().map(|_| conventional("unified"));
        Layout::V1 { hierarchies, unified }
    };
    Host { layout, own_v2: own_v2.unwrap_or_else(|| "/".into()) }
}

/// `/sys/fs/cgroup/NAME`, without the `name=` of a named hierarchy.
fn conventional(controllers: &str) -> PathBuf {
    let name = controllers.strip_prefix("name=").unwrap_or(controllers);
    let mut path = Vec::with_capacity(ROOT.len() + 1 + name.len());
    path.extend_from_slice(ROOT.as_bytes());
    path.push(b'/');
    path.extend_from_slice(name.as_bytes());
    std::ffi::OsString::from_vec(path).into()
}

/// Where a hierarchy is mounted that is not at its conventional place: reads the whole of mountinfo, so only the
/// fall-back. Empty `controllers` mean cgroup2. `None`: it is not mounted here.
pub(super) fn find_mount(controllers: &str) -> Result<Option<PathBuf>> {
    let failed = |error| Error::new(Kind::System, format!("read /proc/self/mountinfo: {error}"));
    let mounts = procfs::process::Process::myself().and_then(|me| me.mountinfo()).map_err(failed)?;
    for mount in mounts {
        let same = match mount.fs_type.as_str() {
            "cgroup2" => controllers.is_empty(),
            "cgroup" if !controllers.is_empty() => controllers.split(',').all(|wanted| {
                let (key, value) =
                    wanted.split_once('=').map_or((wanted, None), |(key, value)| (key, Some(value)));
                mount.super_options.get(key).is_some_and(|found| found.as_deref() == value)
            }),
            _ => false,
        };
        if same {
            return Ok(Some(mount.mount_point));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_hosts_have_v1_hierarchies_and_a_cgroup2_tree() {
        let lines = b"12:rdma:/\n9:name=systemd:/u\n8:name=other:/\n4:cpu,cpuacct:/a:b\n1:debug:/\n0::/me\n";
        let host = parse(lines, false);
        assert_eq!(host.own_v2, Path::new("/me"));
        let Layout::V1 { hierarchies, unified } = host.layout else { panic!("v1 expected") };
        assert_eq!(unified.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        let found: Vec<_> = hierarchies
            .iter()
            .map(|h| (h.controllers.as_str(), h.mount.to_str().unwrap(), h.own.to_str().unwrap()))
            .collect();
        assert_eq!(
            found,
            [
                ("rdma", "/sys/fs/cgroup/rdma", "/"),
                ("name=systemd", "/sys/fs/cgroup/systemd", "/u"),
                ("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/a:b"),
            ]
        );
    }

    #[test]
    fn pure_v1_hosts_have_no_cgroup2_line() {
        let host = parse(b"4:memory:/\n", false);
        assert!(matches!(host.layout, Layout::V1 { unified: None, .. }));
        assert_eq!(host.own_v2, Path::new("/"));
    }

    #[test]
    fn v2_hosts_have_one_tree() {
        let host = parse(b"1:name=systemd:/\n0::/system.slice/x.service\n", true);
        assert_eq!(host.layout, Layout::V2 { mount: "/sys/fs/cgroup".into() });
        assert_eq!(host.own_v2, Path::new("/system.slice/x.service"));
    }

    #[test]
    fn this_machine_is_recognised() {
        let host = Layout::detect().unwrap();
        match host.layout {
            Layout::V1 { hierarchies, .. } => {
                for hierarchy in hierarchies {
                    let found = find_mount(&hierarchy.controllers).unwrap();
                    assert!(found.is_some(), "{} is mounted", hierarchy.controllers);
                }
            }
            Layout::V2 { mount } => assert_eq!(find_mount("").unwrap(), Some(mount)),
        }
    }
}
