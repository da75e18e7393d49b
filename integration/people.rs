//! For people at a shell: what the host offers, how a container ended, all that is known of one.

use crate::support::*;
use std::collections::BTreeSet;

/// [Y1] what `info` says of the host is what the host says.
#[test]
fn info() {
    only_davit!();
    let t = Test::new();
    let info: Value = serde_json::from_str(&t.rt(&["info", "--format", "json"]).ok()).unwrap();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(info["kernel"], kernel.trim());
    assert_eq!(info["root"], t.root.to_str().unwrap());
    assert_eq!(info["user"]["uid"], 0);
    let layout = info["cgroup"]["layout"].as_str().unwrap();
    assert_eq!(layout == "v2", cgroup::unified(), "{layout}");
    let controllers = info["cgroup"]["controllers"].as_array().unwrap();
    assert!(controllers.contains(&json!("memory")), "{info}");
    assert_eq!(info["cgroup"]["systemd"], std::path::Path::new("/run/systemd/system").is_dir());
    let files: BTreeSet<String> = host::list("/proc/self/ns").into_iter().collect();
    let namespaces = info["namespaces"].as_array().unwrap();
    assert_eq!(namespaces.contains(&json!("time")), files.contains("time"));
    assert!(namespaces.contains(&json!("mount")) && namespaces.contains(&json!("network")));
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap();
    assert_eq!(info["seccompActions"], json!(actions.split_whitespace().collect::<Vec<_>>()));
    let held = info["user"]["capabilities"].as_array().unwrap().len();
    let lacking = info["user"]["lacking"].as_array().unwrap().len();
    let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
    assert_eq!(held + lacking, last.trim().parse::<usize>().unwrap() + 1);
    let text = t.rt(&["info"]).ok();
    assert!(text.contains(kernel.trim()) && text.contains("namespaces  "), "{text}");
    t.rt(&["info", "--format", "xml"]).fails(1, "invalid format option");
}

/// [Y1] for whoever asks: what one lacks is named.
#[test]
fn info_for_others() {
    only_davit!();
    let t = Test::new();
    let cmd = t.cmd(&["info"]).wrap(["setpriv", "--bounding-set", "-sys_time", "--inh-caps", "-sys_time"]);
    let text = cmd.output().ok();
    assert!(text.contains("CAP_SYS_TIME"), "{text}");
    let text = t.cmd(&["info"]).only_env(&[("PATH", "/nowhere")]).output().ok();
    assert!(text.contains("ps as a table: ps is not in $PATH"), "{text}");
}

/// [W13] `state --all` adds the cgroups and all processes; without it the state is what callers know.
#[test]
fn whole_state() {
    only_davit!();
    let mut t = Test::new();
    t.sh("sleep 30 & sleep 31 & wait");
    t.detach();
    host::wait_until("two children", || whole(&t)["pids"].as_array().unwrap().len() == 3);
    let all = whole(&t);
    let plain = t.state();
    for (key, value) in plain.as_object().unwrap() {
        assert_eq!(&all[key], value, "{key}");
    }
    assert!(plain.get("pids").is_none() && plain.get("cgroupPaths").is_none());
    assert!(all["pids"].as_array().unwrap().contains(&plain["pid"]));
    assert_eq!(all["cgroupDriver"], "cgroupfs");
    let paths = all["cgroupPaths"].as_object().unwrap();
    assert!(!paths.is_empty());
    for path in paths.values() {
        let path = path.as_str().unwrap();
        assert!(path.ends_with(&t.cgroup) && std::path::Path::new(path).is_dir(), "{path}");
    }
    t.rt(&["kill", &t.id, "KILL"]).ok();
    t.wait_status("stopped");
    assert_eq!(whole(&t)["pids"], json!([]));
}

fn whole(t: &Test) -> Value {
    serde_json::from_str(&t.verb(&["state", "--all"]).ok()).unwrap()
}

/// [W4] `wait` tells the exit code of a detached container to whoever asks, without a process that watches over it:
/// before or after its parent has asked.
#[test]
fn wait_for_the_exit_code() {
    only_davit!();
    for (script, code) in [("exit 7", "7"), ("kill -9 $$", "137"), ("true", "0")] {
        let mut t = Test::new();
        // No namespace of its own, or its init could not be killed from inside.
        t.config.leave("pid").unmount("/proc");
        t.sh(&format!("read line < /go; {script}"));
        let go = t.rootfs.join("go");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &go,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        t.detach();
        let (first, second) = (t.cmd(&["wait", &t.id]).spawn(), t.cmd(&["wait", &t.id]).spawn());
        host::wait_until("they wait", || [&first, &second].iter().all(|one| waits(one.pid())));
        std::fs::write(&go, "x\n").unwrap();
        for waiting in [first, second] {
            let output = waiting.wait();
            if output.code != 0 && !keeps_exit_codes() {
                output.fails(1, "its exit code is known to its parent only");
            } else {
                assert_eq!(output.ok(), code, "{script}");
            }
        }
    }
}

/// PIDFD_INFO_EXIT is there: the parent, this process, may be quicker.
fn keeps_exit_codes() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

/// In poll(2).
fn waits(pid: i32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    host::process_state(pid) == Some('S') && (call.starts_with("7 ") || call.starts_with("271 "))
}

/// [W4] one that has ended, and whose parent knows: the code is gone, and that is said.
#[test]
fn wait_too_late() {
    only_davit!();
    let mut t = Test::new();
    t.rt(&["wait", "none"]).fails(1, "container does not exist");
    t.sh("exit 3");
    t.detach();
    t.wait_status("stopped");
    let pid = t.pid();
    assert_eq!(pid, 0);
    host::wait_until("it is reaped", || {
        host::reap();
        t.verb(&["wait"]).code != 0
    });
    t.verb(&["wait"]).fails(1, "container not running: its exit code is gone");
}
