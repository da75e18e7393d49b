//! Cgroups that others remove, leave empty or freeze while the runtime works with them, mostly v1's.

use crate::support::user::{User, give};
use crate::support::*;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Fewer than are made up for.
const REMOVALS: usize = 8;

/// Removes empty ones of these while `work` goes on, from `delay` after the first is there.
fn remove_meanwhile(dirs: &[PathBuf], delay: Duration, work: impl FnOnce() -> Output) -> (Output, usize) {
    let done = AtomicBool::new(false);
    let remove = || {
        let mut removed = 0;
        let pause = || std::thread::sleep(Duration::from_micros(100));
        while !done.load(Ordering::Relaxed) && !dirs[0].exists() {
            pause();
        }
        std::thread::sleep(delay);
        while !done.load(Ordering::Relaxed) {
            for dir in dirs {
                removed += usize::from(removed < REMOVALS && std::fs::remove_dir(dir).is_ok());
            }
            pause();
        }
        removed
    };
    std::thread::scope(|scope| {
        let remover = scope.spawn(remove);
        let output = work();
        done.store(true, Ordering::Relaxed);
        (output, remover.join().unwrap())
    })
}

/// [C11] [C13] empty directories that somebody removes while the container is created, as systemd does it on v1 hosts,
/// are made anew, with their limits, and init is in them.
#[test]
fn removed_while_created() {
    only_davit!();
    need!(!cgroup::unified(), "v1 hierarchies");
    let mut t = Test::docker();
    t.config.set("linux.cgroupsPath", t.cgroup.clone());
    let below = t.cgroup.trim_start_matches('/');
    let dirs: Vec<_> = cgroup::hierarchies().iter().map(|mount| mount.join(below)).collect();
    let devices = |t: &Test| cgroup::read(&t.cgroup, "devices.list", "");
    t.create().ok();
    let rules = devices(&t);
    t.verb(&["delete", "--force"]).ok();
    let mut removed = 0;
    for round in 0..12 {
        let (output, count) = remove_meanwhile(&dirs, Duration::from_millis(2 * (round % 4)), || t.create());
        removed += count;
        output.ok();
        for dir in cgroup::dirs(&t.cgroup) {
            let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap();
            assert_eq!(text.trim(), t.pid().to_string(), "round {round}: {}", dir.display());
        }
        assert_eq!(cgroup::read(&t.cgroup, "pids.max", ""), "512", "round {round}");
        assert_eq!(devices(&t), rules, "round {round}");
        t.verb(&["delete", "--force"]).ok();
        t.assert_clean_but_pid_file();
    }
    assert!(removed > 0, "nothing was removed");
}

/// [C13] [C11] the same of the cgroup2 tree of a hybrid host alone, which init is born in.
#[test]
fn unified_removed_while_created() {
    only_davit!();
    let mount = Path::new("/sys/fs/cgroup/unified");
    need!(mount.exists(), "a host with a cgroup2 tree beside v1's");
    let t = Test::new();
    let dirs = [mount.join(t.cgroup.trim_start_matches('/'))];
    for round in 0..12 {
        let (output, _) = remove_meanwhile(&dirs, Duration::from_millis(round % 4), || t.create());
        output.ok();
        let text = std::fs::read_to_string(dirs[0].join("cgroup.procs")).unwrap();
        assert_eq!(text.trim(), t.pid().to_string(), "round {round}");
        t.verb(&["delete", "--force"]).ok();
        t.assert_clean_but_pid_file();
    }
}

/// [Q12] [C8] a cgroup that is there and has no processors yet gets its parent's; one that has some keeps them.
#[test]
fn there_without_processors() {
    need!(Path::new("/sys/fs/cgroup/cpuset").exists(), "v1's cpuset");
    let t = Test::new();
    let dir = cgroup::dir(&t.cgroup, "cpuset");
    std::fs::create_dir_all(&dir).unwrap();
    t.create().ok();
    assert_ne!(cgroup::read(&t.cgroup, "cpuset.cpus", ""), "");
    assert_ne!(cgroup::read(&t.cgroup, "cpuset.mems", ""), "");
    t.verb(&["delete", "--force"]).ok();
    std::fs::write(dir.join("cpuset.cpus"), "0").unwrap();
    t.create().ok();
    assert_eq!(cgroup::read(&t.cgroup, "cpuset.cpus", ""), "0");
    t.verb(&["delete", "--force"]).ok();
    if davit_only() {
        assert!(dir.exists(), "it was not the container's");
    }
    cgroup::destroy(&t.cgroup);
    t.assert_clean_but_pid_file();
}

/// [E12] [V40] a cgroup without processors takes no process, and the text says why.
#[test]
fn exec_into_a_cgroup_without_processors() {
    only_davit!();
    need!(Path::new("/sys/fs/cgroup/cpuset").exists(), "v1's cpuset");
    let mut t = Test::new();
    t.sleeper();
    let dir = cgroup::dir(&t.cgroup, "cpuset").join("empty");
    std::fs::create_dir(&dir).unwrap();
    let output = t.exec(&["--cgroup", "cpuset:empty"], "true");
    output
        .fails(255, &format!("enter the cgroup: write 0 to {}/tasks: no space left on device", dir.display()))
        .says("its cpuset.cpus or cpuset.mems is empty");
}

/// [E12] [Q11] a real-time caller's init may not enter a cgroup without a budget: which limit it needs is said.
#[test]
fn real_time_caller() {
    only_davit!();
    need!(
        Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists(),
        "a kernel with real-time budgets, and cgroup v1"
    );
    let real_time = ["chrt", "-f", "1"];
    let tried = Command::new("chrt").args(["-f", "1", "true"]).output();
    need!(tried.is_ok_and(|output| output.status.success()), "chrt, and a budget here");
    let t = Test::new();
    let output = t.bundle_cmd("create", &[]).wrap(real_time).output();
    output.fails(1, "/tasks: invalid argument").says("linux.resources.cpu.realtimeRuntime");
    t.assert_clean();
}

/// [S11] [C24] parents that were made for a container that then fails go with it.
#[test]
fn parents_of_a_failed_one() {
    only_davit!(); // runc leaves them
    let mut t = Test::new();
    t.config.set("linux.cgroupsPath", format!("{}/above/c", t.cgroup));
    t.args(&["/bin/nothere"]);
    t.create().fails(1, "/bin/nothere");
    t.assert_clean();
}

/// [S26] [reliability R3, R14] an exec that is killed while somebody else has frozen the container's v1 cgroup runs
/// nothing once that is thawed.
#[test]
fn exec_killed_while_frozen() {
    only_davit!();
    need!(
        Path::new("/sys/fs/cgroup/freezer").exists() && Path::new("/sys/fs/cgroup/unified").exists(),
        "two freezers: what v1's holds is not paused"
    );
    let mut t = Test::new();
    t.sleeper();
    let dir = cgroup::dir(&t.cgroup, "freezer");
    let inside = || std::fs::read_to_string(dir.join("cgroup.procs")).unwrap().lines().count();
    std::fs::write(dir.join("freezer.state"), "FROZEN").unwrap();
    let exec = t.exec_cmd(&[], &["touch", "/tmp/ran"]).spawn();
    host::wait_until("the process that enters", || inside() == 2);
    exec.kill(Signal::KILL);
    exec.wait().code(137);
    std::fs::write(dir.join("freezer.state"), "THAWED").unwrap();
    host::wait_until("nobody but init", || {
        host::reap();
        inside() == 1
    });
    assert!(!t.rootfs.join("tmp/ran").exists());
}

/// [S18] [reliability R3] SIGKILL ends a container whose v1 cgroup somebody else has frozen, on a hybrid host too.
#[test]
fn killed_while_frozen() {
    only_davit!();
    need!(Path::new("/sys/fs/cgroup/freezer").exists(), "v1's freezer");
    let mut t = Test::new();
    t.sleeper();
    std::fs::write(cgroup::dir(&t.cgroup, "freezer").join("freezer.state"), "FROZEN").unwrap();
    t.rt(&["kill", &t.id, "KILL"]).ok();
    t.wait_status("stopped");
}

/// [C15] [C13] [U3] an ordinary user who was given a cgroup of a hybrid host's cgroup2 tree, and none of v1, has that.
#[test]
fn only_the_unified_tree_is_the_users() {
    let mount = Path::new("/sys/fs/cgroup/unified");
    need!(mount.exists(), "a host with a cgroup2 tree beside v1's");
    let mut u = User::new();
    let dir = mount.join(u.t.cgroup.trim_start_matches('/'));
    std::fs::create_dir_all(dir.join("own")).unwrap();
    give(&dir);
    u.t.sh("sleep 30");
    let enter = format!("echo $$ > {}/own/cgroup.procs && exec \"$@\"", dir.display());
    let output = u.bundle_cmd("run", &["--detach"]).shell(&enter).output();
    let inside = std::fs::read_to_string(dir.join("own").join(&u.t.id).join("cgroup.procs"));
    u.cmd(&["delete", "--force", &u.t.id]).output().ok();
    let left = dir.join("own").join(&u.t.id).exists();
    cgroup::destroy(&u.t.cgroup);
    output.ok();
    assert_eq!(inside.unwrap().lines().count(), 1);
    assert!(!left);
}
