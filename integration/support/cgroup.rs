//! Where a container's cgroup is on this host, v1, hybrid or v2.

use std::path::{Path, PathBuf};

/// True on a host with nothing but cgroup v2.
pub fn unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// The mount points of every hierarchy, each once: `cpu` may be a link to `cpu,cpuacct`.
pub fn hierarchies() -> Vec<PathBuf> {
    if unified() {
        return vec![PathBuf::from("/sys/fs/cgroup")];
    }
    let mounts = super::host::list("/sys/fs/cgroup");
    let mounts = mounts.iter().map(|name| Path::new("/sys/fs/cgroup").join(name));
    mounts.filter(|mount| !mount.is_symlink()).collect()
}

/// The directories of that name that exist.
pub fn dirs(cgroup: &str) -> Vec<PathBuf> {
    let path = cgroup.trim_start_matches('/');
    hierarchies().iter().map(|mount| mount.join(path)).filter(|dir| dir.exists()).collect()
}

/// The cgroup's directory for a controller.
pub fn dir(cgroup: &str, controller: &str) -> PathBuf {
    let mount = Path::new("/sys/fs/cgroup");
    let mount = if unified() { mount.to_path_buf() } else { mount.join(controller) };
    mount.join(cgroup.trim_start_matches('/'))
}

/// The content of a controller's file: its v1 name, or the v2 one on such a host.
#[track_caller]
pub fn read(cgroup: &str, v1: &str, v2: &str) -> String {
    let file = if unified() { v2 } else { v1 };
    let controller = v1.split('.').next().unwrap();
    let path = dir(cgroup, controller).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim_end().to_string()
}

/// The processes in the cgroup (not below it), by the pids or the unified hierarchy.
pub fn pids(cgroup: &str) -> Vec<i32> {
    let text = std::fs::read_to_string(dir(cgroup, "pids").join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Removes the cgroup with all below it wherever it exists, killing what is in it.
pub fn destroy(cgroup: &str) {
    // The freezer first, so that what is killed can end.
    let mut dirs = dirs(cgroup);
    dirs.sort_by_key(|dir| !dir.starts_with("/sys/fs/cgroup/freezer"));
    dirs.iter().for_each(|dir| remove_tree(dir));
}

fn remove_tree(dir: &Path) {
    let _ = std::fs::write(dir.join("freezer.state"), "THAWED");
    let _ = std::fs::write(dir.join("cgroup.freeze"), "0");
    for name in super::host::list(dir) {
        if dir.join(&name).is_dir() {
            remove_tree(&dir.join(&name));
        }
    }
    let gone = |dir: &Path| {
        let procs = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines().filter_map(|line| rustix::process::Pid::from_raw(line.parse().ok()?)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        std::fs::remove_dir(dir).is_ok() || !dir.exists()
    };
    super::host::until(std::time::Duration::from_secs(2), || gone(dir));
}

/// Cgroups that belong to the ordinary user of `user.rs`, with a child that its runtime is in.
pub struct Delegated {
    cgroup: String,
    parents: Vec<PathBuf>,
}

impl Delegated {
    /// Makes them below this cgroup, in the hierarchies that matter here.
    pub fn new(cgroup: &str) -> Self {
        let names: &[&str] = if unified() { &["."] } else { &["pids", "memory", "freezer"] };
        let mut parents = vec![];
        for name in names {
            let mount = Path::new("/sys/fs/cgroup").join(name);
            let parent = mount.join(cgroup.trim_start_matches('/'));
            if !mount.exists() || std::fs::create_dir_all(parent.join("own")).is_err() {
                continue;
            }
            for above in parent.ancestors().skip(1).take_while(|above| above.starts_with(&mount)) {
                let _ = std::fs::write(above.join("cgroup.subtree_control"), "+pids +memory");
            }
            let _ = std::fs::write(parent.join("cgroup.subtree_control"), "+pids +memory");
            super::user::give(&parent);
            parents.push(parent);
        }
        Self { cgroup: cgroup.to_string(), parents }
    }

    /// Whether the controller can be used in it.
    pub fn has(&self, controller: &str) -> bool {
        dir(&self.cgroup, controller).join("own").join(format!("{controller}.max")).exists()
    }

    /// The command with its process in the user's own cgroups.
    pub fn enter(&self, cmd: super::Cmd) -> super::Cmd {
        let files: Vec<_> = self
            .parents
            .iter()
            .map(|parent| format!("echo $$ > {}/own/cgroup.procs", parent.display()))
            .collect();
        cmd.shell(&format!("{} && exec \"$@\"", files.join(" && ")))
    }

    /// The cgroup that the runtime makes a container's in: beside itself on v2, below itself on v1.
    pub fn parent(&self) -> String {
        if unified() { self.cgroup.clone() } else { format!("{}/own", self.cgroup) }
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        destroy(&self.cgroup);
    }
}
