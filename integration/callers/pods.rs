//! What the kubelet does with pods and containers.

use crate::cri::{CONTAINER, NODE, POD, cri};
use crate::protobuf::Message;
use crate::support::{cgroup, host};

/// `LinuxContainerConfig` of a container with a process namespace of its own.
fn plain() -> Message {
    Message::new().message(2, &Message::new().message(3, &Message::new().number(2, CONTAINER)))
}

/// The same with these resources.
fn limits(resources: &Message) -> Message {
    plain().message(1, resources)
}

/// [callers 3] A pod on its own network: two containers share network, IPC and host name, not the process namespace.
#[test]
fn pod_with_shared_namespaces() {
    let cri = cri!();
    let pod = cri.pod("shared", POD, |linux| linux.entry(3, "net.ipv4.ip_forward", "1"));
    let first =
        pod.start("first", "hostname; cat /proc/sys/net/ipv4/ip_forward; echo $$; sleep 1000", &plain());
    let second = pod.start("second", "sleep 1000", &plain());
    pod.wait_log("first", "host-shared\n1\n1");
    let sandbox = cri.pid("PodSandboxStatus", &pod.id);
    let ns = |pid: i32, kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    let (first_pid, second_pid) = (cri.pid("ContainerStatus", &first), cri.pid("ContainerStatus", &second));
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(ns(first_pid, kind), ns(sandbox, kind), "{kind}");
        assert_eq!(ns(second_pid, kind), ns(sandbox, kind), "{kind}");
    }
    assert_ne!(ns(first_pid, "pid"), ns(second_pid, "pid"));
    assert_ne!(ns(first_pid, "net"), ns(i32::try_from(std::process::id()).unwrap(), "net"));
    // The address that the bridge gave, seen in the container; one container's server from the other.
    let address = cri.status("PodSandboxStatus", &pod.id).message(5).text(1);
    let seen = cri.exec(&second, &["ip", "-4", "addr", "show", "eth0"]).unwrap();
    assert!(address.starts_with("10.77.") && seen.1.contains(&address), "{address}: {seen:?}");
    let other = cri.pod("other", POD, |linux| linux);
    let client = other.start("client", &format!("ping -c 1 -W 5 {address} && echo reached"), &plain());
    assert_eq!(cri.wait(&client).0, 0, "{}", other.log("client"));
    other.remove();
    pod.remove();
}

/// [callers 3] The host's network; a pod whose containers share one process namespace.
#[test]
fn pod_on_the_node_with_one_process_namespace() {
    let cri = cri!();
    let namespaces = Message::new().number(1, NODE).number(2, POD);
    let security = Message::new().message(1, &namespaces);
    let pod = cri.pod("node", NODE, |linux| linux.message(2, &security));
    let linux = plain().message(2, &Message::new().message(3, &namespaces));
    let one = pod.start("one", "sleep 4321", &linux);
    let two = pod.start("two", "sleep 0.5; ps -o args | grep '[s]leep 4321'; sleep 1000", &linux);
    pod.wait_log("two", "sleep 4321");
    let pid = cri.pid("ContainerStatus", &one);
    let daemon = cri.pid("PodSandboxStatus", &pod.id);
    let ns = |pid: i32, kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    assert_eq!(ns(pid, "pid"), ns(daemon, "pid"));
    assert_eq!(ns(pid, "pid"), ns(cri.pid("ContainerStatus", &two), "pid"));
    // One container ends: the other's processes stay.
    cri.call("StopContainer", &Message::new().text(1, &one).number(2, 0));
    assert_eq!(cri.wait(&one).0, 137);
    assert!(host::alive(cri.pid("ContainerStatus", &two)));
    pod.remove();
}

/// [callers 3] Exec probes: exit code, output, an error for a missing program, for a container that has ended.
#[test]
fn exec_probes() {
    let cri = cri!();
    let pod = cri.pod("probed", NODE, |linux| linux);
    let id = pod.start("web", "sleep 1000", &plain());
    let (code, out, err) = cri.exec(&id, &["sh", "-c", "echo out; echo err >&2; exit 7"]).unwrap();
    assert_eq!((code, &*out, &*err), (7, "out\n", "err\n"));
    for _ in 0..20 {
        assert_eq!(cri.exec(&id, &["true"]).unwrap().0, 0);
    }
    let pid = cri.pid("ContainerStatus", &id);
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    assert_eq!(children.split_whitespace().count(), 0, "zombies of probes");
    let error = cri.exec(&id, &["nonesuch"]).unwrap_err();
    assert!(error.contains("executable file not found in $PATH"), "{error}");
    cri.call("StopContainer", &Message::new().text(1, &id).number(2, 0));
    assert!(cri.exec(&id, &["true"]).is_err());
    // A probe that takes too long is killed.
    let slow = pod.start("slow", "sleep 1000", &plain());
    let request =
        ["sleep", "99"].iter().fold(Message::new().text(1, &slow), |request, arg| request.text(2, arg));
    let error = cri.try_call("ExecSync", &request.number(3, 1)).unwrap_err();
    assert!(error.contains("timeout") || error.contains("deadline"), "{error}");
    pod.remove();
}

/// [callers 3] Limits of the container in the cgroup of the pod, and changed while it runs: what is not given stays.
#[test]
fn limits_and_update() {
    let cri = cri!();
    let pod = cri.pod("limited", NODE, |linux| linux);
    let memory = 64 << 20;
    let resources =
        Message::new().number(1, 100_000).number(2, 50_000).number(3, 512).number(4, memory).number(5, 900);
    let id = pod.start("small", "sleep 1000", &limits(&resources));
    let group = format!("{}/{id}", pod.cgroup);
    let read = |v1: &str, v2: &str| cgroup::read(&group, v1, v2);
    let quota = || read("cpu.cfs_quota_us", "cpu.max").split(' ').next().unwrap().to_string();
    assert_eq!((read("memory.limit_in_bytes", "memory.max"), quota()), (memory.to_string(), "50000".into()));
    let pid = cri.pid("ContainerStatus", &id);
    assert_eq!(std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim(), "900");
    let update = |resources: &Message| {
        cri.call("UpdateContainerResources", &Message::new().text(1, &id).message(2, resources));
    };
    update(&Message::new().number(2, 70_000));
    assert_eq!((read("memory.limit_in_bytes", "memory.max"), quota()), (memory.to_string(), "70000".into()));
    update(&Message::new().text(6, "0"));
    assert_eq!((read("cpuset.cpus", "cpuset.cpus"), quota()), ("0".to_string(), "70000".into()));
    update(&Message::new().number(4, 96 << 20));
    assert_eq!(read("memory.limit_in_bytes", "memory.max"), (96 << 20).to_string());
    assert_eq!(read("cpuset.cpus", "cpuset.cpus"), "0");
    // Statistics come from the cgroup.
    let stats = cri.call("ContainerStats", &Message::new().text(1, &id)).message(1);
    assert_eq!(stats.message(1).text(1), id);
    pod.remove();
}

/// [callers 3] Out of memory is told as the reason; the restart is a new container in the same pod.
#[test]
fn out_of_memory_and_restart() {
    let cri = cri!();
    let pod = cri.pod("hungry", NODE, |linux| linux);
    let resources = limits(&Message::new().number(4, 32 << 20).number(10, 32 << 20));
    let id = pod.start("eater", "exec dd if=/dev/zero of=/dev/null bs=200M count=1", &resources);
    let (code, reason) = cri.wait(&id);
    assert_eq!((code, &*reason), (137, "OOMKilled"));
    cri.call("RemoveContainer", &Message::new().text(1, &id));
    for round in 0..3 {
        let id = pod.start("again", &format!("exit {round}"), &resources);
        assert_eq!(cri.wait(&id).0, round);
        cri.call("RemoveContainer", &Message::new().text(1, &id));
    }
    pod.remove();
}

/// [callers 3] terminationGracePeriod: SIGTERM, time to end, SIGKILL; stopping what has ended already succeeds.
#[test]
fn stop_with_grace() {
    let cri = cri!();
    let pod = cri.pod("graceful", NODE, |linux| linux);
    let polite =
        pod.start("polite", "trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.05; done", &plain());
    let deaf = pod.start("deaf", "trap '' TERM; echo up; while :; do sleep 0.05; done", &plain());
    pod.wait_log("polite", "up");
    pod.wait_log("deaf", "up");
    let stop =
        |id: &str, seconds: u64| cri.call("StopContainer", &Message::new().text(1, id).number(2, seconds));
    stop(&polite, 20);
    assert_eq!((cri.wait(&polite).0, &*pod.log("polite")), (3, "up\nterm"));
    stop(&deaf, 1);
    assert_eq!(cri.wait(&deaf).0, 137);
    stop(&deaf, 1);
    // A pod with running containers goes whole.
    pod.start("left", "sleep 1000", &plain());
    pod.remove();
}

/// [callers 3] Volumes that are read-only, user, capabilities, seccomp, masked paths, read-only root.
#[test]
fn security_and_volumes() {
    let cri = cri!();
    let pod = cri.pod("secure", NODE, |linux| linux);
    let place = &cri.containerd.place;
    place.file("volume/file", "from the node");
    let security = Message::new()
        .message(1, &Message::new().text(2, "ALL").text(1, "NET_ADMIN"))
        .message(3, &Message::new().number(1, NODE).number(2, CONTAINER))
        .message(5, &Message::new().number(1, 0))
        .number(7, 1)
        .number(11, 1)
        .text(13, "/etc/group")
        .text(14, "/proc/sys")
        .message(15, &Message::new().number(1, 0));
    let linux = plain().message(2, &security);
    let mount = Message::new().text(1, "/volume").text(2, place.path("volume")).number(3, 1);
    let script = "cat /proc/self/status | grep -E '^(CapEff|NoNewPrivs|Seccomp):' | tr -d '\\t'; \
                  touch /root-file 2>/dev/null || echo ro-root; touch /volume/x 2>/dev/null || echo ro-volume; \
                  head -c 1 /etc/group | wc -c; cat /volume/file; echo";
    let id = pod.create("locked", script, &linux, |config| config.message(7, &mount));
    cri.call("StartContainer", &Message::new().text(1, &id));
    assert_eq!(cri.wait(&id).0, 0, "{}", pod.log("locked"));
    let expected = "CapEff:0000000000001000\nNoNewPrivs:1\nSeccomp:2\nro-root\nro-volume\n0\nfrom the node";
    assert_eq!(pod.log("locked"), expected);
    let user = plain().message(2, &Message::new().message(5, &Message::new().number(1, 1000)));
    let id = pod.start("user", "id -u", &user);
    assert_eq!((cri.wait(&id).0, &*pod.log("user")), (0, "1000"));
    pod.remove();
}

/// [callers 3] Errors of create reach the kubelet in its words; ten pods at once come and go.
#[test]
fn failures_and_many_pods() {
    let cri = cri!();
    let pod = cri.pod("failing", NODE, |linux| linux);
    let id = pod.create("broken", "true", &plain(), |config| config.text(5, "/etc/passwd"));
    let error = cri.try_call("StartContainer", &Message::new().text(1, &id)).unwrap_err();
    assert!(error.contains("OCI runtime create failed") && error.contains("not a directory"), "{error}");
    cri.call("RemoveContainer", &Message::new().text(1, &id));
    pod.remove();
    std::thread::scope(|scope| {
        for number in 0..10 {
            let cri = &cri;
            scope.spawn(move || {
                let pod = cri.pod(&format!("many{number}"), NODE, |linux| linux);
                let id = pod.start("one", &format!("exit {number}"), &plain());
                assert_eq!(cri.wait(&id).0, number);
                pod.remove();
            });
        }
    });
    let left = cri.call("ListPodSandbox", &Message::new()).messages(1);
    assert!(left.is_empty(), "{left:?}");
}
