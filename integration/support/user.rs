//! An ordinary user for a test: no root, no capability, a runtime directory of its own.

use super::run::{Cmd, Output};
use super::{Test, host, json, runtime};
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

/// The user's id and group: nobody is in every passwd, and newuidmap(1) asks for its name.
pub const ID: u32 = 65534;

/// The PATH of the user's commands.
pub const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// A test whose runtime is called by an ordinary user.
pub struct User {
    /// Bundle and container; its own commands are still root's.
    pub t: Test,
    davit: PathBuf,
}

impl User {
    /// With a configuration that needs no right: one id, no network namespace, no cgroup.
    pub fn new() -> Self {
        let mut t = Test::new();
        let runtime_dir = t.dir.join("run");
        std::fs::create_dir(&runtime_dir).unwrap();
        t.root = runtime_dir.join("davit");
        let map = json!([{ "containerID": 0, "hostID": ID, "size": 1 }]);
        t.config.remove("linux.cgroupsPath").remove("linux.resources").leave("network").namespace("user");
        t.config.set("linux.uidMappings", map.clone()).set("linux.gidMappings", map);
        t.config.unmount("/sys").unmount("/dev/pts");
        t.config.mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);
        t.config.mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666"]);
        // The build directory may be closed to others.
        let davit = t.dir.join(runtime().file_name().unwrap());
        host::copy_program(runtime(), &davit);
        let user = Self { t, davit };
        user.give_tree();
        user
    }

    /// Another container of the same user under the same state root.
    pub fn sibling(&self) -> Self {
        let mut other = Self::new();
        other.t.root.clone_from(&self.t.root);
        other.t.config = self.t.config.clone();
        other
    }

    /// The whole directory belongs to the user.
    pub fn give_tree(&self) {
        self.t.open_to_all();
        give(&self.t.dir);
    }

    /// The runtime with these arguments, called by the user.
    pub fn cmd(&self, args: &[&str]) -> Cmd {
        let runtime_dir = self.t.root.parent().unwrap().to_str().unwrap();
        Cmd::new(&self.t.dir, [&self.davit])
            .args(args)
            .wrap(["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
            .only_env(&[("PATH", PATH), ("XDG_RUNTIME_DIR", runtime_dir)])
    }

    /// `VERB [options] ID`.
    pub fn verb(&self, args: &[&str]) -> Output {
        self.cmd(args).args([&self.t.id]).output()
    }

    /// `run`, `create`, with what a bundle needs, after writing config.json.
    pub fn bundle_cmd(&self, verb: &str, options: &[&str]) -> Cmd {
        self.t.write();
        self.cmd(&[verb, "--bundle", self.t.bundle.to_str().unwrap()]).args(options).args([&self.t.id])
    }

    /// Runs a shell script as the container.
    pub fn sh(&mut self, script: &str) -> Output {
        self.t.sh(script);
        self.bundle_cmd("run", &[]).output()
    }

    /// Runs a shell script as the container in the background.
    #[track_caller]
    pub fn detach(&mut self, script: &str) {
        self.t.sh(script);
        self.bundle_cmd("run", &["--detach"]).output().ok();
    }

    /// The runtime's own file, as the user may execute it.
    pub fn davit(&self) -> &Path {
        &self.davit
    }

    /// Maps the ids 0 to `size` of the container: the first to the user itself, the others from `first` on.
    pub fn map(&mut self, first: u32, size: u32) -> &mut Self {
        let map = json!([
            { "containerID": 0, "hostID": ID, "size": 1 },
            { "containerID": 1, "hostID": first, "size": size }
        ]);
        self.t.config.set("linux.uidMappings", map.clone()).set("linux.gidMappings", map);
        self
    }
}

/// Gives a tree to the user.
pub fn give(path: &Path) {
    lchown(path, Some(ID), Some(ID)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for name in super::host::list(path) {
            give(&path.join(name));
        }
    }
}

/// The command in a mount namespace where the user has these subordinate ids; the machine's own files stay as they are.
pub fn with_subordinate_ids(cmd: Cmd, range: &str) -> Cmd {
    let file = cmd.dir().join("subordinate");
    std::fs::write(&file, format!("nobody:{range}\n")).unwrap();
    let script = format!(
        "mount --bind {0} /etc/subuid && mount --bind {0} /etc/subgid && exec \"$@\"",
        file.to_str().unwrap()
    );
    cmd.shell(&script).wrap(["/usr/bin/unshare", "-m"])
}

/// Whether newuidmap(1) and newgidmap(1) are installed.
pub fn has_helpers() -> bool {
    ["newuidmap", "newgidmap"]
        .iter()
        .all(|name| PATH.split(':').any(|directory| Path::new(directory).join(name).exists()))
        && Path::new("/etc/subuid").exists()
        && Path::new("/etc/subgid").exists()
}
