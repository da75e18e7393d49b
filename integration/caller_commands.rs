//! The command lines that the programs above write, word for word and in their order, with what each reads back.
//! The programs themselves are driven in callers/.

use crate::support::*;
use rustix::process::Signal;
use std::path::PathBuf;

/// go-runc's prefix as containerd's shim sets it.
fn shim(t: &Test) -> Cmd {
    let log = t.path("log.json");
    t.cmd(&["--log", &log, "--log-format", "json"])
}

/// The JSON objects in the shim's log.
fn log(t: &Test) -> Vec<Value> {
    let text = std::fs::read_to_string(t.path("log.json")).unwrap_or_default();
    serde_json::Deserializer::from_str(&text).into_iter().map(|record| record.unwrap()).collect()
}

/// [callers 1, 2] containerd's shim: create, start, ps, pause, resume, update, kill, delete, the pid file by `Atoi`.
#[test]
fn containerd_shim() {
    let mut t = Test::new();
    t.sh("trap 'exit 4' TERM; while :; do usleep 10000; done");
    t.write();
    let (bundle, pid_file) = (t.bundle.to_str().unwrap(), t.pid_file.to_str().unwrap());
    let create = ["create", "--bundle", bundle, "--pid-file", pid_file, "--no-new-keyring", &t.id];
    shim(&t).args(create).output().ok();
    let pid: i32 = std::fs::read_to_string(&t.pid_file).unwrap().parse().expect("digits only");
    // The cgroup is opened by way of /proc/PID/cgroup as soon as create has returned.
    assert!(std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().contains(&t.cgroup));
    shim(&t).args(["start", &t.id]).output().ok();
    let ps = shim(&t).args(["ps", "--format", "json", &t.id]).output().ok();
    assert!(serde_json::from_str::<Vec<i32>>(&ps).unwrap().contains(&pid));
    let top = shim(&t).args(["ps", "--format", "table", &t.id, "-o", "pid,args"]).output().ok();
    assert!(top.lines().next().unwrap().split_whitespace().any(|word| word == "PID"), "{top}");
    shim(&t).args(["pause", &t.id]).output().ok();
    shim(&t).args(["resume", &t.id]).output().ok();
    let resources = t.path("resources");
    std::fs::write(&resources, r#"{"pids":{"limit":55}}"#).unwrap();
    shim(&t).args(["update", "--resources=-", &t.id]).stdin(resources.as_ref()).output().ok();
    assert_eq!(cgroup::read(&t.cgroup, "pids.max", "pids.max"), "55");
    shim(&t).args(["kill", &t.id, "15"]).output().ok();
    t.wait_status("stopped");
    shim(&t).args(["kill", "--all", &t.id, "9"]).output().ok();
    shim(&t).args(["kill", &t.id, "9"]).output().fails(1, "container not running");
    assert_eq!(log(&t).len(), 1, "success writes nothing: {:?}", log(&t));
    shim(&t).args(["delete", &t.id]).output().ok();
    shim(&t).args(["kill", &t.id, "9"]).output().fails(1, "container does not exist");
    shim(&t).args(["delete", &t.id]).output().fails(1, "container does not exist");
    t.assert_clean_but_pid_file();
}

/// [callers 2] The error that the shim shows is the `msg` of the last record of level `error`; keys and time as it decodes them.
#[test]
fn last_error_in_the_log() {
    only_davit!();
    let mut t = Test::new();
    t.args(&["nonesuch"]);
    t.write();
    let create = ["create", "--bundle", t.bundle.to_str().unwrap(), &t.id];
    for round in 1..=2 {
        let output = shim(&t).args(create).output().fails(1, "executable file not found in $PATH");
        let log = log(&t);
        assert_eq!(log.len(), round);
        let record = log.last().unwrap();
        assert_eq!(record["level"], "error");
        assert_eq!(output.stderr, format!("{}\n", record["msg"].as_str().unwrap()));
        let time = record["time"].as_str().unwrap();
        assert!(time.len() == 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
        assert_eq!(record["code"], "program");
        assert_eq!(record.as_object().unwrap().len(), 4, "{record}");
    }
    t.assert_clean();
}

/// [callers 2] The shim's clean-up after its own death: other options, no log, another directory, a bare environment.
#[test]
fn cleanup_by_a_stranger() {
    let mut t = Test::new();
    t.sh("sleep 1000 & sleep 1000");
    shim(&t).args(["create", "--bundle"]).args([&t.bundle]).args([&t.id]).output().code(1);
    t.write();
    shim(&t).args(["create", "--bundle"]).args([&t.bundle]).args([&t.id]).output().ok();
    shim(&t).args(["start", &t.id]).output().ok();
    let pid = t.pid();
    std::fs::rename(&t.bundle, t.dir.join("moved")).unwrap();
    t.cmd(&["delete", "--force", &t.id]).cwd("/".as_ref()).only_env(&[]).output().ok();
    assert!(!host::alive(pid));
    std::fs::rename(t.dir.join("moved"), &t.bundle).unwrap();
    t.assert_clean();
}

/// [callers 5] BuildKit: `run --keep` in the foreground without a root of its own, `state` meanwhile, SIGTERM to the runtime
/// reaches the step, the cgroup is there for `memory.events`, then delete.
#[test]
fn buildkit() {
    only_davit!(); // runc has --keep from 1.2 on
    let mut t = Test::new();
    t.sh("trap 'echo term; exit 6' TERM; echo up; while :; do usleep 10000; done");
    t.write();
    let run = shim(&t).args(["run", "--bundle"]).args([&t.bundle]).args(["--keep", &t.id]).spawn();
    // While it comes up: no such container, or a whole state.
    let mut seen = std::collections::BTreeSet::new();
    host::wait_until("running", || {
        let output = t.verb(&["state"]);
        if output.code == 0 {
            let state: Value = serde_json::from_str(&output.stdout).expect("a whole state");
            seen.insert(state["status"].as_str().unwrap().to_string());
        } else {
            output.says("does not exist");
        }
        seen.contains("running")
    });
    assert!(
        seen.iter().all(|status| matches!(status.as_str(), "creating" | "created" | "running")),
        "{seen:?}"
    );
    host::wait_until("up", || run.stdout().contains("up"));
    run.kill(Signal::TERM);
    let output = run.wait().code(6);
    assert_eq!(output.stdout, "up\nterm\n");
    assert_eq!(t.status(), "stopped");
    assert!(!cgroup::dirs(&t.cgroup).is_empty());
    t.verb(&["delete"]).ok();
    t.assert_clean();
}

/// [callers 5] A cancelled build: `kill ID 9` again and again until `run` has ended; 137.
#[test]
fn buildkit_cancels() {
    only_davit!();
    let mut t = Test::new();
    t.sh("echo up; sleep 1000");
    t.write();
    let run = shim(&t).args(["run", "--bundle"]).args([&t.bundle]).args(["--keep", &t.id]).spawn();
    host::wait_until("up", || run.stdout().contains("up"));
    for _ in 0..3 {
        let output = t.cmd(&["kill", &t.id, "9"]).output();
        assert!(output.code == 0 || output.stderr.contains("container not running"), "{output}");
    }
    run.wait().code(137);
    t.cmd(&["kill", &t.id, "9"]).output().fails(1, "container not running");
    t.verb(&["delete"]).ok();
}

/// [callers 6] conmon reads one block of stderr for the error: it is there in one piece, with nothing before it, and no
/// pid file is made; an old one is not taken for a new one.
#[test]
fn conmon_create() {
    let mut t = Test::new();
    t.args(&["nonesuch"]);
    std::fs::write(&t.pid_file, "1").unwrap();
    let pid_file = t.pid_file.to_str().unwrap().to_string();
    let failed = t.bundle_cmd("create", &["--pid-file", &pid_file]).output();
    failed.fails(1, "executable file not found in $PATH");
    assert!(["", "1"].contains(&&*std::fs::read_to_string(&t.pid_file).unwrap_or_default()));
    t.sh("exit 3");
    t.bundle_cmd("create", &["--pid-file", &pid_file]).output().ok();
    let pid: i32 = std::fs::read_to_string(&t.pid_file).unwrap().parse().unwrap();
    // conmon is the subreaper and waits for this pid itself; its process group is what it kills after a time-out.
    assert_eq!(host::stat_field(pid, 4).unwrap(), std::process::id().to_string());
    assert_eq!(host::stat_field(pid, 5).unwrap(), pid.to_string());
    t.verb(&["start"]).ok();
    t.wait_status("stopped");
    t.verb(&["delete", "--force"]).ok();
}

/// [callers 6] conmon's exec: whether there is a pid file tells success, the exit code tells nothing; no `--systemd-cgroup`.
#[test]
fn conmon_exec() {
    let mut t = Test::new();
    t.sh("sleep 1000");
    t.detach();
    let (pid_file, process) = (t.path("exec.pid"), t.path("process.json"));
    let exec = |args: &[&str]| {
        let object =
            json!({ "args": args, "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
        std::fs::write(&process, object.to_string()).unwrap();
        t.cmd(&["exec", "--pid-file", &pid_file, "--process", &process, "--detach", &t.id]).output()
    };
    exec(&["nonesuch"]).fails(255, "executable file not found in $PATH");
    assert!(!PathBuf::from(&pid_file).exists());
    exec(&["sleep", "1000"]).ok();
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    assert_eq!(host::stat_field(pid, 4).unwrap(), std::process::id().to_string(), "not reparented");
    host::kill(pid);
}

/// [callers 7] Podman's direct calls have XDG_RUNTIME_DIR only, not even a PATH; `update` by a file.
#[test]
fn podman_calls() {
    let mut t = Test::new();
    t.sh("sleep 1000");
    t.detach();
    let env = [("XDG_RUNTIME_DIR", t.dir.to_str().unwrap())];
    let call = |args: &[&str]| t.cmd(args).args([&t.id]).only_env(&env).output();
    let resources = t.path("resources");
    std::fs::write(&resources, r#"{"pids":{"limit":44}}"#).unwrap();
    call(&["update", &format!("--resources={resources}")]).ok();
    assert_eq!(cgroup::read(&t.cgroup, "pids.max", "pids.max"), "44");
    call(&["pause"]).ok();
    call(&["resume"]).ok();
    t.cmd(&["kill", &t.id, "9"]).only_env(&env).output().ok();
    t.wait_status("stopped");
    call(&["delete", "--force"]).ok();
    // At every clean-up, also after a reboot.
    call(&["delete", "--force"]).ok();
}

/// [callers 7] The whole log file is one JSON object when a create has failed.
#[test]
fn podman_log() {
    only_davit!();
    let mut t = Test::new();
    t.args(&["/etc"]);
    t.config.set("process.capabilities.ambient", json!(["CAP_CHOWN", "CAP_KILL"]));
    t.config.push("process.capabilities.bounding", "CAP_NO_SUCH");
    t.write();
    let log = t.path("oci-log");
    let front = ["--log-format=json", "--log", &log, "create", "--bundle"];
    t.cmd(&front).args([&t.bundle]).args([&t.id]).output().fails(1, "permission denied");
    let record: Value =
        serde_json::from_str(&std::fs::read_to_string(&log).unwrap()).expect("one JSON object");
    assert_eq!(record["level"], "error");
}

/// [callers 8] Buildah polls `state` on stdout until it says stopped.
#[test]
fn buildah() {
    let mut t = Test::new();
    t.sh("exit 3");
    t.create().ok();
    // It waits for the pid itself.
    assert_eq!(host::stat_field(t.pid(), 4).unwrap(), std::process::id().to_string());
    assert_eq!(t.status(), "created");
    t.verb(&["start"]).ok();
    t.wait_status("stopped");
    t.verb(&["delete"]).ok();
}

/// [callers 9] CRI-O: signals by name and number, `kill -a`, `update --resources -` as two words, exec in the foreground,
/// whose exit code is the program's.
#[test]
fn crio() {
    let mut t = Test::new();
    t.sh("sleep 1000");
    t.detach();
    let resources = t.path("resources");
    std::fs::write(&resources, r#"{"pids":{"limit":33}}"#).unwrap();
    t.cmd(&["update", "--resources", "-", &t.id]).stdin(resources.as_ref()).output().ok();
    assert_eq!(cgroup::read(&t.cgroup, "pids.max", "pids.max"), "33");
    let process = t.path("process.json");
    let object = json!({ "args": ["sh", "-c", "exit 9"], "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
    std::fs::write(&process, object.to_string()).unwrap();
    t.cmd(&["exec", "--process", &process, &t.id]).output().code(9);
    t.cmd(&["kill", &t.id, "CONT"]).output().ok();
    t.cmd(&["kill", &t.id, "15"]).output().ok();
    t.cmd(&["kill", "-a", &t.id, "9"]).output().ok();
    t.wait_status("stopped");
    t.cmd(&["kill", &t.id, "KILL"]).output().fails(1, "container not running");
    t.verb(&["delete", "--force"]).ok();
}

/// [callers 10] conmon-rs: `--root=R` twice, exec by a command line whose own options are the command's.
#[test]
fn conmon_rs() {
    let mut t = Test::new();
    t.sh("sleep 1000");
    t.detach();
    let (root, file) = (format!("--root={}", t.root.display()), t.path("exec.pid"));
    let front = [root.clone(), root, "exec".into(), "-d".into(), format!("--pid-file={file}"), t.id.clone()];
    let exec = Cmd::new(&t.dir, [runtime()]).args(front).args([
        "sh",
        "-c",
        "echo $0 > /made; sleep 1000",
        "--detach",
    ]);
    exec.output().ok();
    let pid: u32 = std::fs::read_to_string(&file).unwrap().parse().expect("a number alone");
    host::wait_until("made", || {
        std::fs::read_to_string(t.rootfs.join("made")).is_ok_and(|text| text == "--detach\n")
    });
    host::kill(i32::try_from(pid).unwrap());
}

/// [callers 11] What a hook of nerdctl's or NVIDIA's reads: id, the host's pid, the absolute bundle, compact, on one line;
/// config.json's annotations and `root.path` by way of it. A hook that does not read its stdin harms nothing.
#[test]
fn hook_users() {
    let mut t = Test::new();
    t.sh("true");
    let (state, network) = (t.path("hook-state"), t.path("hook-net"));
    let script = format!(
        "cat > {state}; bundle=$(sed 's/.*\"bundle\":\"\\([^\"]*\\)\".*/\\1/' {state}); test -f $bundle/config.json && \
         pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/' {state}); readlink /proc/$pid/ns/net > {network}"
    );
    let hook = |script: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    t.config.set("hooks.createRuntime", hook(&script));
    t.config.set("hooks.poststop", hook("exec 0<&-"));
    t.run().ok();
    let text = std::fs::read_to_string(&state).unwrap();
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    assert!(!text.contains("\\/"), "{text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((value["id"].as_str(), value["bundle"].as_str()), (Some(&*t.id), t.bundle.to_str()));
    assert!(matches!(value["status"].as_str(), Some("creating" | "created")), "{value}");
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let seen = std::fs::read_to_string(&network).unwrap();
    assert!(seen.starts_with("net:[") && seen.trim_end() != own.to_str().unwrap(), "{seen}");
}

/// [callers 12] Pipes and scripts of a person at a shell.
#[test]
fn a_person_at_a_shell() {
    let mut t = Test::new();
    t.sh("cat; echo end");
    let bundle = t.bundle_cmd("run", &[]);
    let piped = bundle.shell("printf 'hi\\n' | \"$@\" | cat").output().ok();
    assert_eq!(piped, "hi\nend");
    t.sh("sleep 1000");
    t.detach();
    let list = t.rt(&["list", "-q"]).ok();
    assert_eq!(list, t.id);
    let delete = t.cmd(&["delete", "-f"]).shell("echo \"$NAMES\" | xargs -n1 \"$@\"").env("NAMES", &list);
    delete.output().ok();
    assert_eq!(t.rt(&["list", "-q"]).ok(), "");
    let _ = std::fs::remove_file(&t.pid_file);
}
