//! Rights under Docker: users, capabilities, seccomp, privileged, user namespaces.

use crate::client::{Client, Engine};
use crate::docker::{CONTRIB, Docker, docker};
use crate::image::NAME;
use crate::place::{Place, installed};
use crate::support::{davit_only, host, need};

/// [callers 4] The user by name and number, more groups, the working directory.
#[test]
fn users() {
    let docker = docker!();
    assert_eq!(
        docker.sh(&["--user", "user"], "id; cd; pwd"),
        "uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)\n/home/user"
    );
    assert_eq!(docker.sh(&["--user", "77:88", "--group-add", "99"], "id"), "uid=77 gid=88 groups=88,99");
    assert_eq!(docker.sh(&["--workdir", "/new/dir"], "pwd"), "/new/dir");
    assert_eq!(docker.sh(&["--env", "A=b c", "--hostname", "other"], "echo $A; hostname"), "b c\nother");
}

/// [callers 4] Capabilities added and dropped, seccomp on and off, no new privileges.
#[test]
fn capabilities_and_seccomp() {
    let docker = docker!();
    let status = |options: &[&str]| docker.sh(options, "cat /proc/self/status");
    let plain = status(&[]);
    assert_eq!(host::capabilities(&plain, "CapEff"), 0xa804_25fb);
    assert_eq!((host::field(&plain, "Seccomp"), host::field(&plain, "NoNewPrivs")), ("2".into(), "0".into()));
    let none = status(&["--cap-drop", "ALL"]);
    assert_eq!((host::capabilities(&none, "CapEff"), host::capabilities(&none, "CapBnd")), (0, 0));
    let one = status(&["--cap-drop", "ALL", "--cap-add", "NET_ADMIN"]);
    assert_eq!(host::capabilities(&one, "CapEff"), 1 << 12);
    let user = status(&["--user", "1000"]);
    assert_eq!((host::capabilities(&user, "CapEff"), host::capabilities(&user, "CapBnd")), (0, 0xa804_25fb));
    assert_eq!(host::field(&status(&["--security-opt", "seccomp=unconfined"]), "Seccomp"), "0");
    assert_eq!(host::field(&status(&["--security-opt", "no-new-privileges"]), "NoNewPrivs"), "1");
    // Docker's profile refuses unshare without CAP_SYS_ADMIN; a profile of one's own takes a call away.
    assert_eq!(docker.sh(&[], "unshare -U true 2>/dev/null || echo refused"), "refused");
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#;
    let profile = format!("seccomp={}", docker.place.file("profile.json", profile));
    assert_eq!(docker.sh(&["--security-opt", &profile], "mkdir /x 2>/dev/null || echo refused"), "refused");
}

/// [callers 4] `--privileged`: all capabilities that the caller has, all devices, nothing masked, /sys and cgroups writable.
#[test]
fn privileged() {
    need!(davit_only() || host::capable(24), "runc gives up where it has not all capabilities itself");
    let docker = docker!();
    let script = "cat /proc/self/status; mkdir -p /mnt && mount -t tmpfs none /mnt && echo mounted >&2; \
                  grep -c ' /sys sysfs rw' /proc/mounts >&2; ls /dev | wc -l >&2";
    let run = docker.run(&["run", "--rm", "--privileged", NAME, "sh", "-c", script]).code(0);
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    // Docker 20.10 knows those up to number 37.
    let known = (1 << 38) - 1;
    let seen = host::capabilities(&run.stdout, "CapEff") & known;
    assert_eq!(seen, host::capabilities(&own, "CapEff") & known, "{run}");
    assert_eq!(host::field(&run.stdout, "Seccomp"), "0");
    let seen: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(seen[..2], ["mounted", "1"], "{run}");
    let devices: usize = seen[2].trim().parse().unwrap();
    assert!(devices > host::list("/dev").len() / 2, "{run}");
}

/// [callers 3, 4] `userns-remap`: root in the container is another user outside; volumes, exec and limits as ever. The
/// daemon gets its own /etc/subuid by a mount that only it sees, and does not see the machine's containerd.
#[test]
fn user_namespaces() {
    need!(installed("dockerd"), "dockerd is not installed");
    let place = Place::new();
    let map = place.file("subid", "nobody:200000:65536\nnogroup:200000:65536\n");
    need!(std::path::Path::new("/etc/subuid").exists(), "no /etc/subuid to put another one over");
    let script = format!(
        "mount --bind {map} /etc/subuid && mount --bind {map} /etc/subgid && mkdir -p /run/containerd && \
         mount -t tmpfs none /run/containerd && exec \"$@\""
    );
    let front = ["unshare", "--mount", "--propagation", "slave", "/bin/sh", "-c", &script, "sh"];
    let docker = Docker::configured(place, CONTRIB, &["--userns-remap=nobody:nogroup"], &front);
    assert_eq!(docker.sh(&[], "cat /proc/self/uid_map | tr -s ' '; id -u"), " 0 200000 65536\n0");
    docker.detach("mapped", &["--memory", "64m"], "echo up; sleep 1000");
    docker.wait_log("mapped", "up");
    let pid: i32 = docker.inspect("mapped", ".State.Pid").parse().unwrap();
    assert!(host::status_line(pid, "Uid").starts_with("200000"));
    let seen = docker
        .sh(&["-v", "vol:/data"], "stat -c %u /data/from-image; echo x > /data/y && stat -c %u /data/y");
    assert_eq!(seen, "0\n0");
    assert_eq!(docker.sh(&["--userns", "host"], "cat /proc/self/uid_map | tr -s ' '"), " 0 0 4294967295");
}
