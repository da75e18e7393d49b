//! A containerd of one's own, with `contrib/containerd/config.toml` as it lies there.

use crate::client::Client;
use crate::image;
use crate::place::{Daemon, Place, installed};
use crate::support::{Cmd, host};
use rustix::process::Signal;
use std::time::Duration;

/// What is shipped for containerd: it names the program without a path.
const CONTRIB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/containerd/config.toml");

/// For machines where lowering an OOM score is not allowed (CAP_SYS_RESOURCE): pods would not start with any runtime.
const NO_LOWER_SCORES: &str = "[plugins.\"io.containerd.grpc.v1.cri\"]\nrestrict_oom_score_adj = true\n";

/// containerd with an image in the place's own namespace; all tasks and containers are removed at the end.
pub struct Containerd {
    pub daemon: Daemon,
    pub place: Place,
    front: Vec<String>,
    systemd: bool,
}

/// Gives a daemon, or leaves the test where containerd is not installed.
macro_rules! containerd {
    () => {
        match $crate::containerd::Containerd::start() {
            Some(containerd) => containerd,
            None => return $crate::support::skip("containerd is not installed"),
        }
    };
}
pub(crate) use containerd;

impl Containerd {
    /// None if it is not installed.
    pub fn start() -> Option<Self> {
        let containerd = installed("containerd").then(|| Self::in_place(Place::new(), &[], false))?;
        containerd.load(&containerd.place.name, image::NAME, &["sh"]);
        Some(containerd)
    }

    /// By way of a program that runs its last arguments; without an image; with the systemd driver as
    /// the file tells to have it, or without.
    pub fn in_place(place: Place, front: &[&str], systemd: bool) -> Self {
        place.link_runtime("davit");
        let front: Vec<String> = front.iter().map(|word| (*word).to_string()).collect();
        Self { daemon: Self::daemon(&place, &front, systemd), place, front, systemd }
    }

    fn daemon(place: &Place, front: &[String], systemd: bool) -> Daemon {
        let socket = place.path("containerd.sock");
        let mut text = std::fs::read_to_string(CONTRIB).unwrap();
        if systemd {
            text = text.replace("# SystemdCgroup", "SystemdCgroup");
        }
        if !host::capable(24) {
            text = format!("{text}\n{NO_LOWER_SCORES}");
        }
        let config = place.file("config.toml", &text);
        let command = place.cmd(&["containerd", "--config", &config]).args([
            "--root",
            &place.path("data"),
            "--state",
            &place.path("exec"),
            "--address",
            &socket,
        ]);
        let command = command.env("PATH", &place.search_path()).wrap(front);
        Daemon::start(place, "containerd", command, &socket)
    }

    /// Makes an image and gives it to a namespace of containerd.
    pub fn load(&self, namespace: &str, name: &str, args: &[&str]) {
        let file = format!("{}.tar", name.replace(['/', ':'], "-"));
        let archive = image::archive(&self.place.dir, &file, name, args);
        let cmd = self.place.cmd(&[
            "ctr",
            "--address",
            &self.place.path("containerd.sock"),
            "--namespace",
            namespace,
        ]);
        cmd.args(["images", "import", "--snapshotter", "overlayfs", archive.to_str().unwrap()])
            .output()
            .code(0);
    }

    /// Ends the daemon with the signal and starts it again.
    pub fn restart_daemon(&mut self, signal: Signal) {
        self.daemon.end(signal);
        self.daemon = Self::daemon(&self.place, &self.front, self.systemd);
    }

    /// `ctr run OPTIONS IMAGE ID`, to which the program is to be added.
    pub fn start_cmd(&self, options: &[&str], id: &str) -> Cmd {
        let root = self.place.path("runc");
        self.cmd(&["run", "--runc-binary", "davit", "--runc-root", &root])
            .args(options)
            .args([image::NAME, id])
    }

    /// A task that is removed at its end; its stdout.
    #[track_caller]
    pub fn sh(&self, options: &[&str], script: &str) -> String {
        let options = [&["--rm"], options].concat();
        self.start_cmd(&options, "once").args(["sh", "-c", script]).output().ok()
    }

    /// A task in the background.
    #[track_caller]
    pub fn detach(&self, options: &[&str], id: &str, script: &str) {
        let options = [&["--detach", "--null-io"], options].concat();
        self.start_cmd(&options, id).args(["sh", "-c", script]).output().ok();
    }

    /// The pid and the status of a task, as `ctr tasks ls` shows them.
    #[track_caller]
    pub fn task(&self, id: &str) -> Option<(i32, String)> {
        let list = self.ok(&["tasks", "ls"]);
        let line = list.lines().find(|line| line.split_whitespace().next() == Some(id))?;
        let words: Vec<&str> = line.split_whitespace().collect();
        Some((words[1].parse().unwrap(), words[2].to_string()))
    }

    /// Waits until a task has this status.
    #[track_caller]
    pub fn wait_for(&self, id: &str, status: &str) {
        let is = || self.task(id).is_some_and(|task| task.1 == status);
        assert!(host::until(Duration::from_secs(20), is), "{id}: {:?}, not {status}", self.task(id));
    }

    /// Kills and removes a task and its container.
    #[track_caller]
    pub fn remove(&self, id: &str) {
        self.run(&["tasks", "rm", "--force", id]).code(0);
        self.run(&["containers", "rm", id]).code(0);
    }
}

impl Client for Containerd {
    /// Its namespace is also the parent of the cgroups.
    fn cmd(&self, args: &[&str]) -> Cmd {
        let socket = self.place.path("containerd.sock");
        self.place.cmd(&["ctr", "--address", &socket, "--namespace", &self.place.name]).args(args)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        for id in self.run(&["tasks", "ls", "--quiet"]).stdout.lines() {
            self.run(&["tasks", "rm", "--force", id]);
        }
        for id in self.run(&["containers", "ls", "--quiet"]).stdout.lines() {
            self.run(&["containers", "rm", id]);
        }
        if !std::thread::panicking() {
            let states = || host::list(self.place.dir.join("runc").join(&self.place.name));
            let clean = host::until(Duration::from_secs(5), || states().is_empty());
            assert!(clean, "the runtime's state is left: {:?}\n{}", states(), self.daemon.log());
        }
    }
}
