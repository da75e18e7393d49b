//! `docker build`: the old builder by containers, BuildKit by `runc run --keep` in the foreground.

use crate::client::Client;
use crate::docker::docker;
use crate::support::{Output, host};
use std::time::Duration;

const DOCKERFILE: &str = "FROM docker.io/library/davit-test:1
RUN echo built > /made && id -u > /who && echo from-step
USER user
RUN id -u > /tmp/who
USER root
RUN test $(cat /who) = 0 && test $(cat /tmp/who) = 1000
CMD [\"cat\", \"/made\"]
";

fn build(docker: &crate::docker::Docker, dockerfile: &str, buildkit: bool) -> Output {
    let name = if buildkit { "kit" } else { "old" };
    docker.place.file(&format!("{name}/Dockerfile"), dockerfile);
    let dir = docker.place.path(name);
    let cmd = docker.cmd(&["build", "--network", "none", "--no-cache", "--tag", name, &dir]);
    let cmd = cmd.env("DOCKER_BUILDKIT", if buildkit { "1" } else { "0" });
    if buildkit { cmd.env("BUILDKIT_PROGRESS", "plain").output() } else { cmd.output() }
}

/// [callers 4] The old builder: each step is a container; a failing step's code and text are shown.
#[test]
fn builds_by_containers() {
    let docker = docker!();
    let built = build(&docker, DOCKERFILE, false).code(0);
    assert!(built.stdout.contains("from-step"), "{built}");
    assert_eq!(docker.ok(&["run", "--rm", "old"]), "built");
    let failed = build(&docker, "FROM docker.io/library/davit-test:1\nRUN exit 9\n", false);
    failed.says("returned a non-zero code: 9");
}

/// [callers 5] BuildKit: `run --bundle B --keep ID` without `--root`, the code of the step, `delete` afterwards.
#[test]
fn builds_by_buildkit() {
    let docker = docker!();
    let built = build(&docker, DOCKERFILE, true).code(0);
    assert!(built.stderr.contains("from-step"), "{built}");
    assert_eq!(docker.ok(&["run", "--rm", "kit"]), "built");
    let failed = build(&docker, "FROM docker.io/library/davit-test:1\nRUN exit 9\n", true);
    failed.says("exit code: 9");
    let failed = build(&docker, "FROM docker.io/library/davit-test:1\nRUN [\"nonesuch\"]\n", true);
    failed.says("executable file not found in $PATH");
}

/// [callers 5] A cancelled build: `kill ID 9` until `run` ends; nothing of the step is left.
#[test]
fn cancels_a_build() {
    let docker = docker!();
    docker.place.file("kit/Dockerfile", "FROM docker.io/library/davit-test:1\nRUN sleep 98765\n");
    let cmd = docker.cmd(&["build", "--network", "none", "--no-cache", &docker.place.path("kit")]);
    let client = cmd.env("DOCKER_BUILDKIT", "1").env("BUILDKIT_PROGRESS", "plain").spawn();
    let step = || {
        let is = |pid: &String| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|text| text.starts_with(b"sleep\x0098765"))
        };
        host::list("/proc").into_iter().find(is)
    };
    assert!(host::until(Duration::from_secs(30), || step().is_some()), "{}", docker.daemon.log());
    client.kill(rustix::process::Signal::INT);
    client.wait();
    assert!(host::until(Duration::from_secs(30), || step().is_none()), "the step goes on");
}
