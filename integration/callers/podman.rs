//! Podman with conmon, its storage and state in the test's directory, `contrib/podman/containers.conf` as it lies there.

use crate::client::{Client, Engine};
use crate::image;
use crate::place::{Place, installed};
use crate::support::run::Running;
use crate::support::{Cmd, host, runtime};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// What is shipped for Podman: the program is looked for in `$PATH` where the named ones are not there.
const CONTRIB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/podman/containers.conf");

/// For machines where raising a limit is not allowed (CAP_SYS_RESOURCE): no container would start with any runtime.
const LOW_LIMITS: &str = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n";

/// Podman with the image loaded; all containers are removed at the end.
pub struct Podman {
    pub place: Place,
    config: String,
    manager: &'static str,
    parent: String,
}

/// Gives a Podman, or leaves the test where it is not installed.
macro_rules! podman {
    () => {
        match $crate::podman::Podman::start() {
            Some(podman) => podman,
            None => return $crate::support::skip("podman and conmon are not installed"),
        }
    };
}
pub(crate) use podman;

impl Podman {
    /// None if it is not installed.
    pub fn start() -> Option<Self> {
        let place = (installed("podman") && installed("conmon")).then(Place::new)?;
        let parent = place.cgroup();
        Some(Self::in_place(place, "cgroupfs", parent))
    }

    /// With this cgroup manager, and with containers below this cgroup or slice.
    pub fn in_place(place: Place, manager: &'static str, parent: String) -> Self {
        let config = if host::capable(24) {
            CONTRIB.to_string()
        } else {
            let text = std::fs::read_to_string(CONTRIB).unwrap();
            place.file("containers.conf", &format!("{text}\n{LOW_LIMITS}"))
        };
        let podman = Self { place, config, manager, parent };
        podman.runtime("davit", &runtime());
        podman.load(&podman.place);
        podman
    }

    /// Puts a runtime into the search path under this name, as a script that gives it its state root: Podman 4.3 forgets
    /// `--runtime-flag` when it cleans up.
    pub fn runtime(&self, name: &str, program: &Path) {
        let script =
            format!("#!/bin/sh\nexec {} --root {} \"$@\"\n", program.display(), self.place.path("runtime"));
        let script = self.place.file(&format!("bin/{name}"), &script);
        std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// `podman` without a runtime.
    pub fn bare_cmd(&self) -> Cmd {
        let path = |name| self.place.path(name);
        let cmd = self.place.cmd(&["podman", "--cgroup-manager", self.manager, "--events-backend", "file"]);
        cmd.args(["--root", &path("storage"), "--runroot", &path("run"), "--tmpdir", &path("tmp")])
            .args(["--network-config-dir", &path("networks")])
            .env("CONTAINERS_CONF", &self.config)
            .env("PATH", &self.place.search_path())
            .env("HOME", &path("home"))
    }

    /// The container's cgroup.
    #[track_caller]
    pub fn cgroup(&self, name: &str) -> String {
        format!("{}/libpod-{}", self.place.cgroup(), self.id(name))
    }

    /// Starts `podman run` without waiting.
    pub fn spawn(&self, options: &[&str], script: &str) -> Running {
        self.start_cmd("run", options).args(["sh", "-c", script]).spawn()
    }
}

impl Client for Podman {
    fn cmd(&self, args: &[&str]) -> Cmd {
        // By name as contrib has it; by path where that would find another one than the test's.
        let by_name = !["/usr/local/bin/davit", "/usr/bin/davit"].iter().any(|at| Path::new(at).exists());
        let runtime = if by_name { "davit".to_string() } else { self.place.path("bin/davit") };
        self.bare_cmd().args(["--runtime", &runtime]).args(args)
    }
}

impl Engine for Podman {
    /// Without a network unless one is named.
    fn start_cmd(&self, verb: &str, options: &[&str]) -> Cmd {
        let network: &[&str] = if options.contains(&"--network") { &[] } else { &["--network", "none"] };
        let cmd = self.cmd(&[verb, "--cgroup-parent", &self.parent]).args(network);
        cmd.args(options).args([image::NAME])
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.run(&["rm", "--all", "--force", "--time", "0", "--volumes"]);
        self.run(&["pod", "rm", "--all", "--force"]);
        let states = || host::list(self.place.dir.join("runtime"));
        let clean = host::until(Duration::from_secs(5), || states().is_empty());
        if !std::thread::panicking() {
            assert!(clean, "the runtime's state is left: {:?}", states());
        }
    }
}
