//! Callers on a machine with systemd: units instead of bare cgroups, and Podman as an ordinary user. `scripts/test-vm callers`
//! runs them in a virtual machine; where systemd is not process 1 they are skipped.

use crate::client::{Client, Engine};
use crate::cri::{Cri, NODE};
use crate::docker::{CONTRIB, Docker};
use crate::place::{Place, installed};
use crate::podman::Podman;
use crate::protobuf::Message;
use crate::support::{Cmd, host, need, runtime};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

fn running() -> bool {
    Path::new("/run/systemd/system").exists()
}

/// A slice for one test: a dash would make it the child of another.
fn slice(place: &Place) -> String {
    format!("{}.slice", place.name.replace('-', "_"))
}

/// One property of a unit.
fn property(place: &Place, unit: &str, name: &str) -> String {
    place.cmd(&["systemctl", "show", "--value", "--property", name, unit]).output().ok()
}

/// The slice is the test's own and nothing is in it.
fn stop(place: &Place, slice: &str) {
    place.cmd(&["systemctl", "stop", slice]).output();
}

/// [callers 4] Docker with `native.cgroupdriver=systemd`: a scope with the limits as properties, changed by update, gone
/// with the container.
#[test]
fn docker() {
    need!(running() && installed("dockerd"), "systemd and dockerd");
    let place = Place::new();
    let slice = slice(&place);
    let options = ["--exec-opt", "native.cgroupdriver=systemd", "--cgroup-parent", &slice];
    let docker = Docker::configured(place, CONTRIB, &options, &[]);
    docker.detach("limited", &["--memory", "64m", "--pids-limit", "77"], "sleep 1000");
    let unit = format!("docker-{}.scope", docker.id("limited"));
    let show = |name: &str| property(&docker.place, &unit, name);
    assert_eq!(
        (show("Slice"), show("ActiveState"), show("TasksMax")),
        (slice.clone(), "active".into(), "77".into())
    );
    let memory = if crate::support::cgroup::unified() { "MemoryMax" } else { "MemoryLimit" };
    assert_eq!(show(memory), "67108864");
    docker.ok(&["update", "--memory", "96m", "--memory-swap", "-1", "limited"]);
    assert_eq!(show(memory), "100663296");
    assert_eq!(docker.ok(&["exec", "limited", "sh", "-c", "echo in; cat /proc/1/comm; true"]), "in\nsleep");
    docker.ok(&["pause", "limited"]);
    docker.ok(&["unpause", "limited"]);
    docker.ok(&["restart", "--time", "0", "limited"]);
    assert_eq!(show("ActiveState"), "active");
    docker.ok(&["rm", "--force", "limited"]);
    assert_ne!(show("ActiveState"), "active");
    assert_eq!(docker.run(&["run", "--rm", crate::image::NAME, "sh", "-c", "exit 3"]).code, 3);
    stop(&docker.place, &slice);
}

/// [callers 7] Podman with the systemd manager, which is its default.
#[test]
fn podman() {
    need!(running() && installed("podman") && installed("conmon"), "systemd, podman and conmon");
    let place = Place::new();
    let slice = slice(&place);
    let podman = Podman::in_place(place, "systemd", slice.clone());
    podman.detach("limited", &["--memory", "64m", "--pids-limit", "77"], "sleep 1000");
    let unit = format!("libpod-{}.scope", podman.inspect("limited", ".Id"));
    let show = |name: &str| property(&podman.place, &unit, name);
    assert_eq!(
        (show("Slice"), show("ActiveState"), show("TasksMax")),
        (slice.clone(), "active".into(), "77".into())
    );
    let run = podman.run(&["exec", "limited", "sh", "-c", "echo in; exit 3"]);
    assert_eq!((run.code, &*run.stdout), (3, "in\n"), "{run}");
    podman.run(&["pause", "limited"]).code(0);
    podman.run(&["unpause", "limited"]).code(0);
    podman.run(&["rm", "--force", "--time", "0", "limited"]).code(0);
    assert_ne!(show("ActiveState"), "active");
    stop(&podman.place, &slice);
}

/// [callers 3] A pod's containers as scopes below the pod's slice, with contrib's `SystemdCgroup = true`.
#[test]
fn pods() {
    need!(running(), "systemd");
    let Some(cri) = Cri::with(true) else { return crate::support::skip("containerd, CNI plugins or curl") };
    let slice = slice(&cri.containerd.place);
    let pod = cri.pod_in(&slice, "units", NODE, |linux| linux);
    let limits = Message::new().message(1, &Message::new().number(4, 64 << 20));
    let id = pod.start("small", "sleep 1000", &limits);
    let unit = format!("cri-containerd-{id}.scope");
    let show = |name: &str| property(&cri.containerd.place, &unit, name);
    assert_eq!((show("Slice"), show("ActiveState")), (slice.clone(), "active".into()));
    let (code, out, _) = cri.exec(&id, &["sh", "-c", "echo in; exit 3"]).unwrap();
    assert_eq!((code, &*out), (3, "in\n"));
    let resources = Message::new().number(4, 96 << 20);
    cri.call("UpdateContainerResources", &Message::new().text(1, &id).message(2, &resources));
    let memory = if crate::support::cgroup::unified() { "MemoryMax" } else { "MemoryLimit" };
    assert_eq!(show(memory), "100663296");
    let request = Message::new().text(1, &pod.id);
    cri.call("StopPodSandbox", &request);
    cri.call("RemovePodSandbox", &request);
    assert_ne!(show("ActiveState"), "active");
    stop(&cri.containerd.place, &slice);
}

/// [callers 7] Podman of an ordinary user, with the user's own systemd: run, limits, exec, stop.
#[test]
fn rootless_podman() {
    const USER: &str = "tester";
    need!(running() && installed("podman") && installed("conmon"), "systemd, podman and conmon");
    let place = Place::new();
    let id = place.cmd(&["id", "-u", USER]).output();
    need!(id.code == 0, "the user of the virtual machine");
    let runtime_dir = format!("/run/user/{}", id.stdout.trim());
    need!(Path::new(&runtime_dir).join("bus").exists(), "the user's D-Bus");
    let archive = crate::image::archive(&place.dir, "image.tar", crate::image::NAME, &["sh"]);
    let program = place.dir.join("bin/davit");
    std::fs::create_dir_all(place.dir.join("bin")).unwrap();
    std::fs::copy(runtime(), &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir_all(place.dir.join("own/home")).unwrap();
    place.cmd(&["chown", "-R", USER, &place.path("own")]).output().ok();
    let podman = |args: &[&str]| -> Cmd {
        let own = |name: &str| place.path(&format!("own/{name}"));
        let front = ["runuser", "-u", USER, "--", "env", "--chdir", &place.path("own")];
        let cmd = place.cmd(&front).args([
            format!("HOME={}", own("home")),
            format!("XDG_RUNTIME_DIR={runtime_dir}"),
            format!("DBUS_SESSION_BUS_ADDRESS=unix:path={runtime_dir}/bus"),
            format!(
                "CONTAINERS_CONF={}",
                concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/podman/containers.conf")
            ),
        ]);
        let cmd = cmd.args([
            "podman",
            "--root",
            &own("storage"),
            "--runroot",
            &own("run"),
            "--tmpdir",
            &own("tmp"),
        ]);
        cmd.args(["--runtime", program.to_str().unwrap()]).args(args).patience(180)
    };
    podman(&["load", "--quiet", "--input", archive.to_str().unwrap()]).output().code(0);
    let run = |options: &[&str], script: &str| {
        podman(&["run", "--network", "none"])
            .args(options)
            .args([crate::image::NAME, "sh", "-c", script])
            .output()
    };
    let first = run(&["--rm"], "id -u; echo hello; exit 3").code(3);
    assert_eq!(first.stdout, "0\nhello\n", "{first}");
    run(&["--detach", "--name", "limited", "--memory", "64m", "--pids-limit", "77"], "sleep 1000").code(0);
    let seen =
        podman(&["exec", "limited", "sh", "-c", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max"])
            .output();
    assert_eq!(seen.code(0).stdout, "67108864\n77\n");
    podman(&["exec", "limited", "nonesuch"]).output().code(127);
    podman(&["pause", "limited"]).output().code(0);
    podman(&["unpause", "limited"]).output().code(0);
    podman(&["stop", "--time", "1", "limited"]).output().code(0);
    podman(&["rm", "--force", "limited"]).output().code(0);
    let left = host::list(Path::new(&runtime_dir).join("davit"));
    assert!(left.is_empty(), "the runtime's state is left: {left:?}");
    // The process that holds the user's namespace for the next command.
    podman(&["system", "migrate"]).output();
    place.cmd(&["pkill", "-u", USER, "catatonit"]).output();
    assert!(host::until(Duration::from_secs(20), || host::mounts(&place.dir).is_empty()));
}
