//! Limits under Docker: what stands in the cgroup, what happens at the limit, update, pause, top and stats.

use crate::client::{Client, Engine};
use crate::docker::docker;
use crate::image::NAME;
use crate::support::{Value, cgroup, host};

/// [callers 4] Every limit of `docker run` arrives in the cgroup.
#[test]
fn limits_are_in_the_cgroup() {
    let docker = docker!();
    let options = [
        ["--memory", "64m"],
        ["--cpus", "0.5"],
        ["--cpu-shares", "512"],
        ["--pids-limit", "77"],
        ["--cpuset-cpus", "0"],
        ["--oom-score-adj", "123"],
    ];
    docker.detach("limited", &options.concat(), "sleep 1000");
    let group = docker.cgroup("limited");
    let read = |v1: &str, v2: &str| cgroup::read(&group, v1, v2);
    assert_eq!(read("memory.limit_in_bytes", "memory.max"), "67108864");
    assert_eq!(read("pids.max", "pids.max"), "77");
    assert_eq!(read("cpuset.cpus", "cpuset.cpus"), "0");
    if cgroup::unified() {
        assert_eq!(read("cpu.max", "cpu.max"), "50000 100000");
        // By the formula of runc before 1.4, and since.
        assert!(["20", "59"].contains(&&*read("cpu.weight", "cpu.weight")));
    } else {
        assert_eq!(read("cpu.cfs_quota_us", ""), "50000");
        assert_eq!(read("cpu.shares", ""), "512");
    }
    let pid = docker.inspect("limited", ".State.Pid");
    assert_eq!(std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim(), "123");
}

/// [callers 2] The OOM event of the cgroup that the shim watches since create: Docker says that it was that.
#[test]
fn out_of_memory() {
    let docker = docker!();
    let script = "dd if=/dev/zero of=/dev/null bs=200M count=1; sleep 1; exit 3";
    let options = ["--memory", "32m", "--memory-swap", "32m"];
    docker.detach("hungry", &options, &format!("exec {}", script.split(';').next().unwrap()));
    assert_eq!(docker.ok(&["wait", "hungry"]), "137");
    docker.wait_for("hungry", ".State.OOMKilled", "true");
    // A child of init is killed, init goes on.
    docker.detach("parent", &options, script);
    assert_eq!(docker.ok(&["wait", "parent"]), "3");
    docker.wait_for("parent", ".State.OOMKilled", "true");
    // No more processes than allowed.
    let forks = docker.cmd(&["run", "--rm", "--pids-limit", "5", NAME, "sh", "-c"]);
    let forks = forks.args(["for i in 1 2 3 4 5 6 7; do sleep 1 & done; echo no"]).output();
    assert!(forks.stderr.contains("can't fork") && !forks.stdout.contains("no"), "{forks}");
}

/// [callers 4] `docker update` on a running container: what is given changes, the rest stays.
#[test]
fn update() {
    let docker = docker!();
    docker.detach("subject", &["--memory", "64m", "--cpus", "0.5", "--pids-limit", "77"], "sleep 1000");
    let group = docker.cgroup("subject");
    let memory = || cgroup::read(&group, "memory.limit_in_bytes", "memory.max");
    let pids = || cgroup::read(&group, "pids.max", "pids.max");
    docker.ok(&["update", "--pids-limit", "88", "subject"]);
    assert_eq!((memory(), pids()), ("67108864".to_string(), "88".to_string()));
    docker.ok(&["update", "--memory", "96m", "--memory-swap", "-1", "--cpus", "1.5", "subject"]);
    assert_eq!((memory(), pids()), ("100663296".to_string(), "88".to_string()));
    let quota = cgroup::read(&group, "cpu.cfs_quota_us", "cpu.max");
    assert!(quota == "150000" || quota == "150000 100000", "{quota}");
    // Devices stay as they were: /dev/null can be written still.
    assert_eq!(docker.inspect("subject", ".State.Running"), "true");
    // Less than is in use is refused, or kills: the container's memory stays readable, and Docker says what happened.
    docker.ok(&["stop", "--time", "0", "subject"]);
    docker.ok(&["update", "--memory", "80m", "--memory-swap", "-1", "subject"]);
    docker.ok(&["start", "subject"]);
    assert_eq!(memory(), "83886080");
}

/// [callers 4] Paused means frozen; what does not fit is refused in Docker's words; unpause, stop and rm of a paused one.
#[test]
fn pause_and_unpause() {
    let docker = docker!();
    docker.detach("ticker", &[], "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done");
    docker.wait_log("ticker", "3\n");
    docker.ok(&["pause", "ticker"]);
    assert_eq!(docker.inspect("ticker", ".State.Status"), "paused");
    let lines = || docker.run(&["logs", "ticker"]).stdout.lines().count();
    // What was in the pipe may still arrive.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let before = lines();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(lines(), before);
    docker.run(&["pause", "ticker"]).code(1).says("already paused");
    docker.run(&["exec", "ticker", "true"]).code(1).says("is paused");
    docker.ok(&["unpause", "ticker"]);
    assert!(host::until(std::time::Duration::from_secs(20), || lines() > before));
    docker.run(&["unpause", "ticker"]).code(1).says("is not paused");
    docker.ok(&["pause", "ticker"]);
    docker.ok(&["rm", "--force", "ticker"]);
}

/// [callers 1, 4] `docker top` by `ps --format json`, `docker stats` by the cgroup.
#[test]
fn top_and_stats() {
    let docker = docker!();
    docker.detach("tree", &["--memory", "64m"], "sleep 111 & sleep 222 & wait");
    let top = || docker.ok(&["top", "tree"]);
    assert!(host::until(std::time::Duration::from_secs(20), || top().lines().count() == 4), "{}", top());
    let text = docker.ok(&["top", "tree", "-o", "pid,args"]);
    assert!(text.contains("sleep 111") && text.contains("sleep 222"), "{text}");
    let stats = docker.ok(&["stats", "--no-stream", "--format", "{{json .}}", "tree"]);
    let stats: Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["PIDs"], "3", "{stats}");
    assert!(stats["MemUsage"].as_str().unwrap().ends_with("/ 64MiB"), "{stats}");
}
