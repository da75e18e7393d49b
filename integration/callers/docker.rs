//! A Docker daemon of one's own, with a containerd of one's own.

use crate::client::{Client, Engine};
use crate::image;
use crate::place::{Daemon, Place, installed};
use crate::support::run::Running;
use crate::support::{Cmd, host};
use rustix::process::Signal;
use std::path::PathBuf;
use std::time::Duration;

/// Docker with Davit as its default runtime, the image loaded; all containers are removed at the end.
pub struct Docker {
    pub daemon: Daemon,
    /// Its containerd: one that the machine has would be taken otherwise.
    _containerd: Option<Daemon>,
    pub place: Place,
    more: Vec<String>,
    front: Vec<String>,
}

/// What is shipped for Docker, as it lies there: it names the program without a path.
pub const CONTRIB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/docker/daemon.json");

/// Gives a daemon, or leaves the test where Docker is not installed.
macro_rules! docker {
    ($($option:expr),*) => {
        match $crate::docker::Docker::start(&[$($option),*]) {
            Some(docker) => docker,
            None => return $crate::support::skip("dockerd is not installed"),
        }
    };
}
pub(crate) use docker;

impl Docker {
    /// With more options for the daemon; none if it is not installed.
    pub fn start(more: &[&str]) -> Option<Self> {
        installed("dockerd").then(|| Self::in_place(Place::new(), more))
    }

    /// As [`Docker::start`], in a place that was prepared.
    pub fn in_place(place: Place, more: &[&str]) -> Self {
        Self::configured(place, CONTRIB, more, &[])
    }

    /// With this configuration file, and by way of a program that runs its last arguments; the daemon starts its containerd
    /// itself then.
    pub fn configured(place: Place, config: &str, more: &[&str], front: &[&str]) -> Self {
        place.link_runtime("davit");
        // BuildKit looks for a runtime of that name.
        place.link_runtime("runc");
        let own = |list: &[&str]| list.iter().map(|word| (*word).to_string()).collect::<Vec<_>>();
        let mut more = own(more);
        more.extend(own(&["--config-file", config, "--default-runtime=davit"]));
        let front = own(front);
        let containerd = front.is_empty().then(|| containerd(&place));
        let daemon = Self::daemon(&place, &more, &front);
        let docker = Self { daemon, _containerd: containerd, place, more, front };
        docker.load(&docker.place);
        docker
    }

    fn daemon(place: &Place, more: &[String], front: &[String]) -> Daemon {
        let socket = place.path("docker.sock");
        let command =
            place.cmd(&["dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false"]).args([
                "--shutdown-timeout=3",
                "--data-root",
                &place.path("data"),
                "--exec-root",
                &place.path("exec"),
                "--pidfile",
                &place.path("docker.pid"),
                "--host",
                &format!("unix://{socket}"),
                "--cgroup-parent",
                &place.cgroup(),
            ]);
        let address = place.path("containerd.sock");
        let own: &[&str] = if front.is_empty() { &["--containerd", &address] } else { &[] };
        // systemd's driver, the default on v2, is what `systemd.rs` asks for.
        let driver = more.iter().any(|option| option.starts_with("native.cgroupdriver="));
        let driver: &[&str] = if driver { &[] } else { &["--exec-opt", "native.cgroupdriver=cgroupfs"] };
        let command = command.args(own).args(driver).args(more).env("PATH", &place.search_path()).wrap(front);
        Daemon::start(place, "dockerd", command, &socket)
    }

    /// Ends the daemon with the signal and starts it again.
    pub fn restart_daemon(&mut self, signal: Signal) {
        self.daemon.end(signal);
        let _ = std::fs::remove_file(self.place.dir.join("docker.pid"));
        self.daemon = Self::daemon(&self.place, &self.more, &self.front);
    }

    /// A path as the running container sees it.
    #[track_caller]
    pub fn inside(&self, name: &str, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.inspect(name, ".State.Pid"))).join(path)
    }

    /// The container's cgroup.
    #[track_caller]
    pub fn cgroup(&self, name: &str) -> String {
        format!("{}/{}", self.place.cgroup(), self.id(name))
    }

    /// Starts the client without waiting.
    pub fn spawn(&self, args: &[&str]) -> Running {
        self.cmd(args).spawn()
    }

    /// The runtime's own state directory of this daemon holds no container.
    fn states(&self) -> Vec<String> {
        let exec = self.place.dir.join("exec");
        let runtimes = host::list(&exec).into_iter().filter(|name| name.starts_with("runtime-"));
        runtimes.flat_map(|name| host::list(exec.join(name).join("moby"))).collect()
    }
}

impl Client for Docker {
    fn cmd(&self, args: &[&str]) -> Cmd {
        let host = format!("unix://{}", self.place.path("docker.sock"));
        self.place.cmd(&["/usr/bin/docker", "--host", &host]).args(args).env("HOME", &self.place.path("home"))
    }
}

impl Engine for Docker {
    fn start_cmd(&self, verb: &str, options: &[&str]) -> Cmd {
        self.cmd(&[verb]).args(options).args([image::NAME])
    }
}

fn containerd(place: &Place) -> Daemon {
    let config =
        place.file("containerd.toml", "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n");
    let (socket, root, state) = (place.path("containerd.sock"), place.path("images"), place.path("tasks"));
    let command = place.cmd(&["containerd", "--config", &config, "--address", &socket]);
    let command = command.args(["--root", &root, "--state", &state]).env("PATH", &place.search_path());
    Daemon::start(place, "containerd", command, &socket)
}

impl Drop for Docker {
    fn drop(&mut self) {
        let all = self.run(&["ps", "--all", "--quiet", "--no-trunc"]).stdout;
        let all: Vec<&str> = all.lines().collect();
        if !all.is_empty() {
            self.cmd(&["rm", "--force", "--volumes"]).args(&all).output();
        }
        let clean = host::until(Duration::from_secs(5), || self.states().is_empty());
        if !std::thread::panicking() {
            assert!(clean, "the runtime's state is left: {:?}\n{}", self.states(), self.daemon.log());
        }
    }
}
