//! SCMP_ACT_NOTIFY: an agent outside of the container answers calls of its processes.

use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use crate::seccomp_kernels as kernel;
use crate::support::agent::{Agent, Answer, Call};
use crate::support::*;

const MKDIR: i32 = 83;
const EXECVE: i32 = 59;
const OPENAT: i32 = 257;
const MKNOD: i32 = 133;
const MKNODAT: i32 = 259;

/// A container whose filter asks about these calls, and its agent.
fn asking(names: &[&str]) -> (Test, Agent) {
    let mut t = Test::new();
    let agent = Agent::new(&t);
    t.config.set(
        "linux.seccomp",
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": agent.path,
                "listenerMetadata": "MKDIR=no",
                "syscalls": [{ "names": names, "action": "SCMP_ACT_NOTIFY" }] }),
    );
    (t, agent)
}

fn carried_out(_: &Call) -> Answer {
    Answer::Continue
}

/// [B15] [B16] [B17] `run`: one connection, one state with one descriptor; the agent's word holds.
#[test]
fn run_asks_the_agent() {
    let (mut t, agent) = asking(&["mkdir", "mkdirat"]);
    t.config.set("annotations", json!({ "k": "v" }));
    let run = t.start_run("mkdir /tmp/a; mkdir /tmp/b || echo no; ls /tmp");
    let session = agent.accept();
    let mut asked = vec![];
    session.serve(|call| {
        asked.push(call.nr);
        if asked.len() == 1 { Answer::Continue } else { Answer::Errno(libc::EDQUOT) }
    });
    let output = run.wait();
    assert_eq!(output.stdout, "no\na\n", "{output}");
    output.says("Disk quota exceeded");
    assert_eq!(asked, [MKDIR, MKDIR]);
    let state = &session.state;
    assert_eq!(state["fds"], json!(["seccompFd"]));
    assert_eq!(state["metadata"], "MKDIR=no");
    assert_eq!(state["state"]["id"], t.id.as_str());
    assert_eq!(state["state"]["status"], "creating");
    assert_eq!(state["state"]["bundle"], t.bundle.to_str().unwrap());
    assert_eq!(state["state"]["annotations"], json!({ "k": "v" }));
    assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{state}");
    assert_eq!(state["pid"], state["state"]["pid"]);
    assert!(agent.connection(Duration::ZERO).is_none(), "one connection only");
    t.assert_clean();
}

/// [B15] [B17] `create` only looks whether the agent is there; the listener comes with `start`, before the program.
#[test]
fn start_asks_the_agent() {
    only_davit!(); // runc loads the filter at create
    let (mut t, agent) = asking(&["mkdir"]);
    t.sh("mkdir /tmp/a && sleep 100");
    t.create().ok();
    assert!(agent.connection(Duration::ZERO).is_none(), "no connection before start");
    let start = t.cmd(&["start"]).args([&t.id]).spawn();
    let session = agent.accept();
    assert_eq!(session.state["pid"], i64::from(t.pid()));
    assert_eq!(session.state["state"]["status"], "creating");
    std::thread::scope(|scope| {
        let server = scope.spawn(|| session.serve(carried_out));
        start.wait().ok();
        host::wait_until("mkdir", || t.rootfs.join("tmp/a").exists());
        assert_eq!(t.status(), "running");
        t.verb(&["delete", "--force"]).ok();
        server.join().unwrap();
    });
}

/// [B15] what an agent is for: it opens a file of the host's for the container, and makes a device node that the container
/// may not make.
#[test]
fn the_agent_acts_for_the_container() {
    let (mut t, agent) = asking(&["openat", "mknod", "mknodat"]);
    t.config.caps(&[]);
    let path = t.dir.join("answer");
    File::create(&path).unwrap().write_all(b"from the agent\n").unwrap();
    let run = t.start_run("mknod /tmp/null c 1 3; cat /tmp/asked; echo x >/tmp/null");
    let session = agent.accept();
    let rootfs = t.rootfs.clone();
    session.serve(|call| match call.nr {
        OPENAT if memory(call.pid, call.args[1]) == "/tmp/asked" => Answer::Open(File::open(&path).unwrap()),
        MKNOD | MKNODAT => {
            let at = call.args[usize::from(call.nr == MKNODAT)];
            assert_eq!(memory(call.pid, at), "/tmp/null");
            make_null(&rootfs.join("tmp/null"));
            Answer::Value(0)
        }
        _ => Answer::Continue,
    });
    let output = run.wait();
    assert_eq!(output.stdout, "from the agent\n", "{output}");
    assert!(output.stderr.is_empty(), "{output}");
}

fn make_null(path: &std::path::Path) {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3)).unwrap();
    rustix::fs::chmod(path, Mode::from_raw_mode(0o666)).unwrap();
}

/// The text at an address of a process.
fn memory(pid: u32, at: u64) -> String {
    use std::os::unix::fs::FileExt;
    let mut buffer = [0; 256];
    let length = File::open(format!("/proc/{pid}/mem")).unwrap().read_at(&mut buffer, at).unwrap();
    let text = &buffer[..length];
    String::from_utf8_lossy(text.split(|byte| *byte == 0).next().unwrap()).into_owned()
}

/// [B11] [B14] [W9] execve itself may be asked about: it is the runtime's only call under the filter, and its refusal is told.
#[test]
fn execve_is_asked_about() {
    only_davit!(); // runc makes more calls under the filter
    for new_privileges in [true, false] {
        let (mut t, agent) =
            asking(&["execve", "sendto", "sendmsg", "read", "close", "futex", "capset", "prctl"]);
        t.config.set("process.noNewPrivileges", !new_privileges);
        let run = t.start_run("exit 7");
        let session = agent.accept();
        let mut first = None;
        session.serve(|call| {
            first.get_or_insert(call.nr);
            Answer::Continue
        });
        run.wait().code(7);
        assert_eq!(first, Some(EXECVE));
    }
    let (mut t, agent) = asking(&["execve", "exit_group", "sendto"]);
    let run = t.start_run("true");
    agent.accept().serve(|_| Answer::Errno(libc::EPERM));
    run.wait().fails(1, "exec /bin/sh: operation not permitted");
    t.assert_clean();
    t.create().ok();
    let start = t.cmd(&["start"]).args([&t.id]).spawn();
    agent.accept().serve(|_| Answer::Errno(libc::EACCES));
    start.wait().fails(1, "exec /bin/sh: permission denied");
    assert_eq!(t.status(), "stopped");
}

/// [B15] [security R18] nobody there: neither `create` nor `run` leaves anything.
#[test]
fn no_agent() {
    let (mut t, agent) = asking(&["mkdir"]);
    t.sh("true");
    let path = agent.path.clone();
    drop(agent);
    // Its socket's file is there, then nothing, then something else.
    for text in ["connection refused", "no such file or directory", "connection refused"] {
        for output in [t.create(), t.run()] {
            assert_eq!(output.code, 1, "{output}");
            output.says("failed to connect with seccomp agent");
            if davit_only() {
                output.fails(
                    1,
                    &format!(
                        "linux.seccomp.listenerPath: failed to connect with seccomp agent specified in \
                    the seccomp profile: {path}: {text}"
                    ),
                );
            }
            t.assert_clean();
        }
        let _ = std::fs::remove_file(&path);
        if text.starts_with("no such") {
            File::create(&path).unwrap();
        }
    }
}

/// [B15] an agent that goes away after `create`, or that never takes a connection: the container is gone, too.
#[test]
fn the_agent_leaves_before_start() {
    only_davit!(); // runc loads the filter at create
    let (mut t, agent) = asking(&["mkdir"]);
    t.sh("true");
    t.create().ok();
    drop(agent);
    t.verb(&["start"]).fails(1, "failed to connect with seccomp agent");
    t.assert_clean_but_pid_file();
    // Bound, but not listened on: it has no connections to offer.
    let path = t.path("deaf.sock");
    let deaf =
        rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&deaf, &rustix::net::SocketAddrUnix::new(path.as_str()).unwrap()).unwrap();
    t.config.set("linux.seccomp.listenerPath", path);
    t.run().fails(1, "connection refused");
    t.assert_clean();
    // One of another type.
    let path = t.path("datagrams.sock");
    let _datagrams = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    t.config.set("linux.seccomp.listenerPath", path);
    t.run().fails(1, "protocol wrong type for socket");
    t.assert_clean();
}

/// [B15] an agent that drops the listener: calls that nobody answers are ENOSYS, as the kernel has it.
#[test]
fn the_agent_dies_later() {
    let (mut t, agent) = asking(&["mkdir"]);
    let run = t.start_run("mkdir /tmp/a || echo no");
    drop(agent.accept());
    let output = run.wait();
    assert_eq!(output.stdout, "no\n", "{output}");
    output.says("Function not implemented");
}

/// [B15] an agent in the abstract namespace, whose absence is told by what needs it.
#[test]
fn abstract_names() {
    use std::os::linux::net::SocketAddrExt;
    only_davit!();
    let (mut t, _) = asking(&["mkdir"]);
    let name = format!("davit-{}", t.id);
    t.config.set("linux.seccomp.listenerPath", format!("@{name}"));
    t.sh("mkdir /tmp/a");
    t.run().fails(1, "failed to connect with seccomp agent");
    t.assert_clean();
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let agent = Agent::with(name, UnixListener::bind_addr(&address).unwrap());
    let run = t.bundle_cmd("run", &[]).spawn();
    agent.accept().serve(carried_out);
    run.wait().ok();
}

/// [B15] without SCMP_ACT_NOTIFY nobody is asked, and nobody need be there.
#[test]
fn unused_listener_is_ignored() {
    let mut t = Test::new();
    t.config.set(
        "linux.seccomp",
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nowhere", "listenerMetadata": "x",
                "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" }] }),
    );
    assert_eq!(t.out("echo up"), "up");
}

/// [B14] [B16] what a profile with SCMP_ACT_NOTIFY may not say.
#[test]
fn restrictions() {
    let rule = |names: &[&str]| json!([{ "names": names, "action": "SCMP_ACT_NOTIFY" }]);
    let listener =
        UnixListener::bind(std::env::temp_dir().join(format!("davit-agent-{}", std::process::id())));
    let path = std::env::temp_dir().join(format!("davit-agent-{}", std::process::id()));
    for (profile, text) in [
        (
            json!({ "syscalls": rule(&["read", "write"]), "listenerPath": path }),
            "SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
        (json!({ "syscalls": rule(&["read"]) }), "listenerPath"),
        (
            json!({ "defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": path }),
            "SCMP_ACT_NOTIFY cannot be used as default action",
        ),
        (json!({ "listenerMetadata": "x" }), "listenerMetadata"),
    ] {
        let mut t = Test::new();
        t.config.set("linux.seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW" }));
        for (key, value) in profile.as_object().unwrap() {
            t.config.set(&format!("linux.seccomp.{key}"), value.clone());
        }
        t.sh("true");
        let output = t.run();
        assert_eq!(output.code, 1, "{profile}: {output}");
        output.says(text);
        t.assert_clean();
    }
    drop(listener);
    std::fs::remove_file(path).unwrap();
}

/// [B5] [B15] the flag that lets only a fatal signal interrupt a call that is being answered.
#[test]
fn killable_receive() {
    only_davit!(); // runc from 1.2 on
    let (mut t, agent) = asking(&["mkdir"]);
    t.config.set("linux.seccomp.flags", json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]));
    need!(kernel::knows(kernel::NEW_LISTENER | kernel::WAIT_KILLABLE_RECV), "Linux before 5.19");
    t.sh("mkdir /tmp/a && echo made");
    let run = t.bundle_cmd("run", &[]).spawn();
    agent.accept().serve(carried_out);
    assert_eq!(run.wait().ok(), "made");
}

/// [B11] [B15] for a user without rights, with and without no_new_privs, and in a user namespace.
#[test]
fn users_and_namespaces() {
    for (user, namespace, no_new_privileges) in
        [(1000, false, true), (1000, false, false), (0, true, true), (0, true, false), (1000, true, false)]
    {
        let (mut t, agent) = asking(&["mkdir"]);
        t.open_to_all();
        t.config.set("process.user", json!({ "uid": user, "gid": user }));
        t.config.set("process.noNewPrivileges", no_new_privileges);
        if namespace {
            t.config.user_namespace();
        }
        let run = t.start_run("mkdir /tmp/a; grep NoNewPrivs /proc/self/status");
        agent.accept().serve(|_| Answer::Errno(libc::EXDEV));
        let output = run.wait();
        output.says("Invalid cross-device link");
        assert_eq!(host::field(&output.stdout, "NoNewPrivs"), u8::from(no_new_privileges).to_string());
    }
}

/// [B15] several containers with one agent, started at the same time.
#[test]
fn one_agent_for_all() {
    let (mut first, agent) = asking(&["mkdir"]);
    let others: Vec<Test> = (0..3).map(|_| first.sibling()).collect();
    first.sh("mkdir /tmp/a && echo made");
    let script = first.config.clone();
    let runs: Vec<_> = std::iter::once(&mut first)
        .map(|t| &*t)
        .chain(&others)
        .map(|t| {
            let cgroup = format!("/davit-test/{}", t.cgroup.rsplit('/').next().unwrap());
            let mut config = script.clone();
            config.set("linux.cgroupsPath", cgroup);
            std::fs::write(t.bundle.join("config.json"), serde_json::to_string(&config.0).unwrap()).unwrap();
            t.cmd(&["run", "--bundle", t.bundle.to_str().unwrap()]).args([&t.id]).spawn()
        })
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..runs.len() {
            let session = agent.accept();
            scope.spawn(move || session.serve(carried_out));
        }
    });
    for run in runs {
        assert_eq!(run.wait().ok(), "made");
    }
}

/// [X21] crun's annotation and its variable name the agent where the profile does not.
#[test]
fn receivers_of_crun() {
    only_davit!();
    for by_variable in [false, true] {
        let (mut t, agent) = asking(&["mkdir"]);
        t.config.remove("linux.seccomp.listenerPath").remove("linux.seccomp.listenerMetadata");
        t.sh("mkdir /tmp/a");
        let mut run = t.bundle_cmd("run", &[]);
        if by_variable {
            run = run.env("RUN_OCI_SECCOMP_RECEIVER", &agent.path);
        } else {
            t.config.set("annotations", json!({ "run.oci.seccomp.receiver": agent.path }));
            t.write();
        }
        let run = run.spawn();
        let session = agent.accept();
        session.serve(|_| Answer::Value(0));
        run.wait().ok();
        assert_eq!(session.state["metadata"], Value::Null);
    }
    let (mut t, _agent) = asking(&["mkdir"]);
    t.config.remove("linux.seccomp.listenerPath").remove("linux.seccomp.listenerMetadata");
    t.config.set("annotations", json!({ "run.oci.seccomp.receiver": "agent.sock" }));
    t.run().fails(1, "annotations[\"run.oci.seccomp.receiver\"]: the seccomp receiver \"agent.sock\" is not an absolute path");
    t.assert_clean();
}

/// [B12] [B15] [B17] a process of `exec` has a filter and a listener of its own: another connection, the status `running`, its own
/// pid beside that of init.
#[test]
fn exec_asks_the_agent() {
    let (mut t, agent) = asking(&["mkdir"]);
    let run = t.start_run("exec sleep 100");
    let first = agent.accept();
    t.wait_status("running");
    let exec = t.cmd(&["exec"]).args([&t.id]).args(["sh", "-c", "mkdir /tmp/a; echo done"]).spawn();
    let session = agent.accept();
    let state = &session.state;
    assert_eq!(state["state"]["status"], "running");
    assert_eq!(state["state"]["pid"], i64::from(t.pid()));
    let pid = state["pid"].as_i64().unwrap();
    assert_ne!(pid, i64::from(t.pid()));
    assert_eq!(state["metadata"], "MKDIR=no");
    session.serve(|call| {
        assert_ne!(call.nr, EXECVE);
        Answer::Errno(libc::EROFS)
    });
    let output = exec.wait();
    assert_eq!(output.stdout, "done\n", "{output}");
    output.says("Read-only file system");
    drop(first);
    t.cmd(&["kill"]).args([t.id.as_str(), "KILL"]).output().ok();
    run.wait().code(137);
}

/// [B15] without an agent there is no `exec`, and the container goes on.
#[test]
fn exec_without_an_agent() {
    only_davit!(); // runc's container is created and started by one agent
    let (mut t, agent) = asking(&["mkdir"]);
    let run = t.start_run("exec sleep 100");
    let session = agent.accept();
    t.wait_status("running");
    drop(agent);
    let exec = || t.cmd(&["exec"]).args([&t.id]).args(["true"]).output();
    exec().fails(255, "failed to connect with seccomp agent");
    assert_eq!(t.status(), "running");
    assert_eq!(host::processes(&t.cgroup, &t.dir.join("none")).len(), 1);
    drop(session);
    t.cmd(&["kill"]).args([t.id.as_str(), "KILL"]).output().ok();
    run.wait().code(137);
}
