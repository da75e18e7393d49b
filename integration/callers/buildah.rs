//! Buildah with `--isolation oci`: create, start, `state` until stopped, delete.

use crate::image;
use crate::place::{Place, installed};
use crate::support::{Cmd, host, runtime};

struct Buildah {
    place: Place,
    container: String,
}

impl Buildah {
    fn start() -> Option<Self> {
        let place = installed("buildah").then(Place::new)?;
        let archive = image::archive(&place.dir, "image.tar", image::NAME, &["sh"]);
        let mut buildah = Self { place, container: String::new() };
        // Buildah asks for more than some machines may give.
        let limits = ["from", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
        let from =
            buildah.cmd(&limits).args([format!("docker-archive:{}", archive.display())]).output().code(0);
        buildah.container = from.stdout.trim().to_string();
        Some(buildah)
    }

    fn cmd(&self, args: &[&str]) -> Cmd {
        let (root, run) = (self.place.path("storage"), self.place.path("run"));
        let cmd = self.place.cmd(&["buildah", "--root", &root, "--runroot", &run]).args(args);
        cmd.env("HOME", &self.place.path("home"))
    }

    fn run(&self, options: &[&str], script: &str) -> Cmd {
        let flag = format!("root={}", self.place.path("runtime"));
        let cmd = self.cmd(&["run", "--isolation", "oci", "--runtime", runtime().to_str().unwrap()]);
        let cmd = cmd.args(["--runtime-flag", &flag, "--network", "none"]).args(options);
        cmd.args([&self.container]).args(["sh", "-c", script])
    }
}

impl Drop for Buildah {
    fn drop(&mut self) {
        self.cmd(&["rm", "--all"]).output();
        let storage = self.place.dir.join("storage/overlay");
        let _ = rustix::mount::unmount(storage, rustix::mount::UnmountFlags::DETACH);
        let left = host::list(self.place.dir.join("runtime"));
        assert!(left.is_empty() || std::thread::panicking(), "the runtime's state is left: {left:?}");
    }
}

/// [callers 8] Output, exit code, what a step leaves for the next, mounts, users, errors.
#[test]
fn builds_by_steps() {
    let Some(buildah) = Buildah::start() else { return crate::support::skip("buildah is not installed") };
    assert_eq!(buildah.run(&[], "echo made > /made; echo hi").output().code(0).stdout, "hi\n");
    let run = buildah.run(&[], "cat /made; echo err >&2; exit 5").output().code(5);
    assert_eq!(run.stdout, "made\n");
    run.says("err\n");
    buildah.place.file("host/file", "from the host");
    let volume = format!("{}:/data:ro", buildah.place.path("host"));
    let run = buildah
        .run(&["--volume", &volume, "--user", "user"], "cat /data/file; id -u; touch /data/x || echo ro");
    assert_eq!(run.output().code(0).stdout, "from the host1000\nro\n");
    let run = buildah.run(&["--cap-drop", "ALL"], "grep CapEff /proc/self/status").output().code(0);
    assert_eq!(host::capabilities(&run.stdout, "CapEff"), 0);
    let run = buildah.run(&["--workingdir", "/tmp", "--env", "A=b"], "pwd; echo $A").output().code(0);
    assert_eq!(run.stdout, "/tmp\nb\n");
}
