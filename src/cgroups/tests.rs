//! Real cgroups below `davit-test-PID-N`, on whatever layout the machine has. Each test says so and returns where it
//! lacks the rights; each removes what it made, also when it fails.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::plan::cgroup::{Options, plan};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A name for one test's cgroups; its drop clears everything below it.
struct Place {
    name: String,
}

impl Place {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        let name = format!("davit-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Some(Self { name })
    }

    fn path(&self) -> PathBuf {
        Path::new("/").join(&self.name).join("c1")
    }

    fn plan(&self, json: &str) -> CgroupPlan {
        let resources = serde_json::from_str(json).unwrap();
        let host = Layout::detect().unwrap();
        plan(Some(&resources), Some(&self.path()), "c1", &host, Options::default()).unwrap()
    }

    fn create(&self, json: &str) -> Cgroup {
        Cgroup::create(&self.plan(json)).unwrap()
    }

    /// All directories named after the test, in all hierarchies.
    fn roots(&self) -> Vec<PathBuf> {
        let mounts = std::fs::read_dir(layout::ROOT).unwrap().map(|entry| entry.unwrap().path());
        let found = mounts.chain([layout::ROOT.into()]).map(|mount| mount.join(&self.name));
        found.filter(|path| path.is_dir()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for root in self.roots() {
            for pid in processes::list(&root).unwrap_or_default() {
                let _ = crate::sys::kill::kill(pid, libc::SIGKILL);
            }
            for _ in 0..100 {
                for cgroup in processes::tree(&root).unwrap_or_default().iter().rev() {
                    let _ = std::fs::write(cgroup.join("freezer.state"), "THAWED");
                    let _ = std::fs::remove_dir(cgroup);
                }
                if !root.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// A process that is killed and reaped when the test ends.
struct Payload(Child);

impl Payload {
    fn start(script: &str) -> Self {
        let mut command = Command::new("/bin/sh");
        Self(command.args(["-c", script]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        self.0.id().try_into().unwrap()
    }

    fn ended_by(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.signal();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("still runs");
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn value(cgroup: &Cgroup, controller: &str, v1: &str, v2: &str) -> String {
    let path = match cgroup.v1(controller) {
        Some(directory) => directory.join(v1),
        None => cgroup.unified().unwrap().join(v2),
    };
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
}

/// [C11] A directory that was removed before init was in it, as systemd does it on v1 hosts, is made and filled anew.
#[test]
fn removed_before_init_is_in_it() {
    let Some(place) = Place::new() else { return };
    let json =
        r#"{"pids":{"limit":9},"cpu":{"cpus":"0","mems":"0"},"devices":[{"allow":false,"access":"rwm"}]}"#;
    let plan = place.plan(json);
    let mut cgroup = Cgroup::create(&plan).unwrap();
    if cgroup.is_v2() {
        println!("skipped: init is born in its cgroup");
        return;
    }
    let list = |cgroup: &Cgroup| {
        std::fs::read_to_string(cgroup.v1("devices").unwrap().join("devices.list")).unwrap()
    };
    let devices = list(&cgroup);
    // With the parent that was made for it.
    let remove = |cgroup: &Cgroup| {
        for directory in &cgroup.record.directories {
            std::fs::remove_dir(&directory.path).unwrap();
            std::fs::remove_dir(directory.path.parent().unwrap()).unwrap();
        }
    };
    remove(&cgroup);
    let tasks = cgroup.open_tasks(&plan).unwrap();
    assert_eq!(list(&cgroup), devices);
    remove(&cgroup);
    assert_eq!(tasks.enter(|_| {}), Err(Errno::NODEV));
    let mut payload = Payload::start("exec sleep 100");
    cgroup.attach_again(&plan, payload.pid()).unwrap();
    assert_eq!(value(&cgroup, "pids", "pids.max", "pids.max"), "9");
    assert_eq!(value(&cgroup, "cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(list(&cgroup), devices);
    for directory in &cgroup.record.directories {
        assert_eq!(
            processes::list(&directory.path).unwrap(),
            [payload.pid()],
            "{}",
            directory.path.display()
        );
    }
    cgroup.kill_all(libc::SIGKILL).unwrap();
    payload.ended_by();
    cgroup.remove().unwrap();
}

/// [C13] [C15] Of a hybrid host's hierarchies the cgroup2 tree alone, as an ordinary user may have it.
#[test]
fn the_unified_tree_alone() {
    let Some(place) = Place::new() else { return };
    let mut all = place.plan("{}").directories;
    let unified = all.pop().unwrap();
    if all.is_empty() || !unified.controllers.is_empty() {
        println!("skipped: needs a hybrid host");
        return;
    }
    let mount = "/sys/fs/cgroup/none";
    let missing =
        PlannedDir { controllers: "none".into(), path: format!("{mount}/x").into(), mount_len: mount.len() };
    let plan = CgroupPlan { directories: vec![missing, unified], ..CgroupPlan::default() };
    let mut cgroup = Cgroup::create(&plan).unwrap();
    assert!(cgroup.clone_into_fd().is_some());
    cgroup.undo().unwrap();
}

const LIMITS: &str = r#"{"memory":{"limit":67108864},"cpu":{"shares":512,"quota":150000,"period":100000},
    "pids":{"limit":20}}"#;

/// [C11] [C13] [C24] [S32] Made, joined, paused, resumed, killed, removed; parents stay.
#[test]
fn life() {
    let Some(place) = Place::new() else { return };
    let cgroup = place.create(LIMITS);
    assert_eq!(value(&cgroup, "memory", "memory.limit_in_bytes", "memory.max"), "67108864");
    assert_eq!(value(&cgroup, "pids", "pids.max", "pids.max"), "20");
    assert!(["512", "59"].contains(&value(&cgroup, "cpu", "cpu.shares", "cpu.weight").as_str()));
    assert!(
        ["150000", "150000 100000"].contains(&value(&cgroup, "cpu", "cpu.cfs_quota_us", "cpu.max").as_str())
    );

    let mut payload = Payload::start("exec sleep 100");
    cgroup.attach(payload.pid()).unwrap();
    let lines = std::fs::read_to_string(format!("/proc/{}/cgroup", payload.pid())).unwrap();
    for directory in &cgroup.record.directories {
        let end = format!(":{}:{}", directory.controllers, place.path().display());
        assert!(lines.lines().any(|line| line.ends_with(&end)), "{end} in {lines}");
    }

    let cgroup = Cgroup::from_record(&cgroup.record());
    assert!(cgroup.pids().unwrap().contains(&payload.pid()));
    assert!(!cgroup.is_frozen().unwrap());
    cgroup.freeze().unwrap();
    assert!(cgroup.is_frozen().unwrap());
    cgroup.thaw().unwrap();
    assert!(!cgroup.is_frozen().unwrap());
    assert!(!cgroup.wait_empty(Duration::from_millis(10)).unwrap());
    assert!(!cgroup.oom_killed());

    cgroup.freeze().unwrap();
    cgroup.kill_all(libc::SIGKILL).unwrap();
    assert_eq!(payload.ended_by(), Some(libc::SIGKILL));
    assert!(cgroup.wait_empty(Duration::from_secs(5)).unwrap());
    cgroup.remove().unwrap();
    cgroup.remove().unwrap();
    assert!(!cgroup.is_frozen().unwrap());
    for directory in &cgroup.record.directories {
        assert!(!directory.path.exists(), "{} is gone", directory.path.display());
        assert!(directory.path.parent().unwrap().exists(), "the parent stays");
    }
}

/// [S25] Sub-cgroups that the container made go too, with their processes.
#[test]
fn sub_cgroups_are_killed_and_removed() {
    let Some(place) = Place::new() else { return };
    let cgroup = place.create("{}");
    let mut payload = Payload::start("exec sleep 100");
    cgroup.attach(payload.pid()).unwrap();
    for directory in &cgroup.record.directories {
        let deep = directory.path.join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        if directory.controllers.is_empty() {
            std::fs::write(deep.join("cgroup.procs"), payload.pid().to_string()).unwrap();
        }
    }
    assert_eq!(cgroup.pids().unwrap(), [payload.pid()]);
    cgroup.kill_all(libc::SIGKILL).unwrap();
    assert_eq!(payload.ended_by(), Some(libc::SIGKILL));
    cgroup.remove().unwrap();
    assert!(cgroup.record.directories.iter().all(|directory| !directory.path.exists()));
}

/// Signals other than SIGKILL reach all; a paused container gets them when it goes on.
#[test]
fn signals_for_all() {
    let Some(place) = Place::new() else { return };
    let cgroup = place.create("{}");
    let mut payloads = [Payload::start("exec sleep 100"), Payload::start("exec sleep 100")];
    payloads.iter().for_each(|payload| cgroup.attach(payload.pid()).unwrap());
    cgroup.freeze().unwrap();
    cgroup.kill_all(libc::SIGTERM).unwrap();
    assert!(cgroup.is_frozen().unwrap(), "a signal does not resume");
    cgroup.thaw().unwrap();
    for payload in &mut payloads {
        assert_eq!(payload.ended_by(), Some(libc::SIGTERM));
    }
    cgroup.remove().unwrap();
}

/// The way without `cgroup.kill` and without the cgroup2 tree, forced by leaving that out of the record.
#[test]
fn v1_freezer_and_kill() {
    let Some(place) = Place::new() else { return };
    let made = place.create("{}");
    if made.v1("freezer").is_none() {
        println!("skipped: no v1 freezer");
        return;
    }
    let mut record = made.record();
    record.directories.retain(|directory| !directory.controllers.is_empty());
    let cgroup = Cgroup::from_record(&record);
    let mut payload = Payload::start("while :; do /bin/true; done");
    cgroup.attach(payload.pid()).unwrap();
    cgroup.freeze().unwrap();
    assert!(cgroup.is_frozen().unwrap());
    cgroup.kill_all(libc::SIGKILL).unwrap();
    assert_eq!(payload.ended_by(), Some(libc::SIGKILL));
    assert!(cgroup.wait_empty(Duration::from_secs(5)).unwrap());
    made.remove().unwrap();
}

/// [C8] A cgroup in use is refused and left alone; one that is empty is used and left when the container goes.
#[test]
fn cgroups_that_are_there_already() {
    let Some(place) = Place::new() else { return };
    let first = place.create("{}");
    let payload = Payload::start("exec sleep 100");
    first.attach(payload.pid()).unwrap();
    let error = Cgroup::create(&place.plan("{}")).unwrap_err();
    assert!(error.to_string().starts_with("container's cgroup is not empty: 1 process(es) found"), "{error}");
    assert_eq!(first.pids().unwrap(), [payload.pid()]);
    drop(payload);
    assert!(first.wait_empty(Duration::from_secs(5)).unwrap());

    first.freeze().unwrap();
    let error = Cgroup::create(&place.plan("{}")).unwrap_err();
    assert!(error.to_string().starts_with("container's cgroup unexpectedly frozen"), "{error}");
    first.thaw().unwrap();

    let second = place.create(LIMITS);
    second.remove().unwrap();
    assert!(first.record.directories.iter().all(|directory| directory.path.exists()));
    first.remove().unwrap();
}

/// A refused limit is told with its JSON path, value and file, and nothing is left behind.
#[test]
fn a_failed_creation_leaves_nothing() {
    let Some(place) = Place::new() else { return };
    let table = [
        (r#"{"cpu":{"quota":999}}"#, "linux.resources.cpu.quota: write 999"),
        (r#"{"cpu":{"cpus":"4096"}}"#, "linux.resources.cpu.cpus: write 4096 to "),
        (r#"{"hugepageLimits":[{"pageSize":"3MB","limit":1}]}"#, "linux.resources.hugepageLimits[0]: "),
    ];
    for (json, text) in table {
        let resources = serde_json::from_str(json).unwrap();
        let host = Layout::detect().unwrap();
        let planned = plan(Some(&resources), Some(&place.path()), "c1", &host, Options::default());
        let error = planned.and_then(|plan| Cgroup::create(&plan)).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
        assert_eq!(place.roots(), Vec::<PathBuf>::new(), "{json}");
    }
}

/// [C24] A cgroup that stays busy is an error that names it and its processes. (By a short deadline.)
#[test]
fn busy_cgroups_are_named() {
    let Some(place) = Place::new() else { return };
    let cgroup = place.create("{}");
    let payload = Payload::start("exec sleep 100");
    cgroup.attach(payload.pid()).unwrap();
    let directory = cgroup.main().unwrap();
    let error =
        remove::remove(directory, Instant::now() + Duration::from_millis(20)).unwrap_err().to_string();
    let expected = format!(
        "remove cgroup {}: device or resource busy (hint: processes in it: {})",
        directory.display(),
        payload.pid()
    );
    assert_eq!(error, expected);
}

/// [D6] [D9] [D10] Device rules bite: null is always there, kmsg (1:11) only if it is asked for.
#[test]
fn device_rules_bite() {
    let Some(place) = Place::new() else { return };
    let opens = |json: &str, path: &str| {
        let cgroup = place.create(json);
        let mut payload = Payload::start(&format!("sleep 0.3; exec 3<{path}; kill -9 $$"));
        cgroup.attach(payload.pid()).unwrap();
        let opened = payload.ended_by() == Some(libc::SIGKILL);
        cgroup.remove().unwrap();
        opened
    };
    assert!(opens("{}", "/dev/null"));
    assert!(!opens("{}", "/dev/kmsg"));
    let kmsg = r#"{"devices":[{"allow":false,"access":"rwm"},
        {"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#;
    assert!(opens(kmsg, "/dev/kmsg"));
    assert!(opens(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#, "/dev/kmsg"));
    // Always denied by a hole below a wider rule, which only the v2 program can express.
    if matches!(Layout::detect().unwrap().layout, Layout::V2 { .. }) {
        let hole = r#"{"devices":[{"allow":true,"access":"rwm"},
            {"allow":false,"type":"c","major":1,"minor":11,"access":"r"}]}"#;
        assert!(!opens(hole, "/dev/kmsg"));
    }
}

/// [C15] Without rights and without limits a container runs without cgroups; with limits it does not.
#[test]
fn rootless_without_rights() {
    let Some(place) = Place::new() else { return };
    let plan = |json: &str, explicit: bool| CgroupPlan {
        rootless: true,
        explicit_path: explicit,
        devices: None,
        ..place.plan(json)
    };
    let plans = [plan("{}", false), plan(r#"{"pids":{"limit":5}}"#, false), plan("{}", true)];
    // The ids of one thread: the other tests keep theirs.
    let nobody = rustix::process::Uid::from_raw(65534);
    let results = std::thread::spawn(move || {
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        plans.map(|plan| Cgroup::create(&plan))
    });
    let [without, pids, explicit] = results.join().unwrap();
    let without = without.unwrap();
    assert!(without.is_none());
    without.attach(1).unwrap();
    without.remove().unwrap();
    assert!(without.pids().unwrap().is_empty() && !without.is_frozen().unwrap());
    assert!(without.freeze().unwrap_err().to_string().contains("no cgroup"));
    let text = "cannot set pids limit: container could not join or create cgroup";
    let pids = pids.unwrap_err().to_string();
    assert!(pids.starts_with("linux.resources.pids.limit: ") && pids.contains(text), "{pids}");
    let text = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
    let explicit = explicit.unwrap_err().to_string();
    assert!(explicit.starts_with("linux.cgroupsPath: ") && explicit.contains(text), "{explicit}");
}

/// A hierarchy that is not where it usually is, is found in mountinfo; one that is not mounted matters only to who
/// needs it. Taking a creation back takes its parents too.
#[test]
fn unusual_mount_points() {
    let Some(place) = Place::new() else { return };
    let elsewhere = |json: &str| {
        let mut plan = place.plan(json);
        for directory in &mut plan.directories {
            let below = place.path();
            directory.mount_len = "/sys/fs/cgroup/nosuchplace".len();
            directory.path = Path::new("/sys/fs/cgroup/nosuchplace").join(below.strip_prefix("/").unwrap());
        }
        plan
    };
    let plan = elsewhere(LIMITS);
    let mut cgroup = Cgroup::create(&plan).unwrap();
    assert_eq!(cgroup.record().directories, place.plan(LIMITS).record().directories);
    let payload = Payload::start("exec sleep 100");
    cgroup.attach(payload.pid()).unwrap();
    drop(payload);
    cgroup.undo().unwrap();
    assert_eq!(place.roots(), Vec::<PathBuf>::new());

    let mut plan = elsewhere("{}");
    plan.directories.truncate(1);
    plan.directories[0].controllers = "name=nosuch".into();
    plan.devices = None;
    assert!(Cgroup::create(&plan).unwrap().is_none());
    plan.writes.push(Write { json_path: "linux.x".into(), ..Write::default() });
    let error = Cgroup::create(&plan).unwrap_err().to_string();
    assert!(error.starts_with("linux.x: cgroup controller name=nosuch is not mounted"), "{error}");
}

/// [Q22] v2 only: files by their own names, the last word, and errors that name the controller.
#[test]
fn unified() {
    let Some(place) = Place::new() else { return };
    if !matches!(Layout::detect().unwrap().layout, Layout::V2 { .. }) {
        println!("skipped: not a pure v2 host");
        return;
    }
    let cgroup = place.create(
        r#"{"memory":{"limit":67108864},"unified":{"memory.max":"33554432","memory.high":"16777216",
            "cgroup.max.depth":"3"}}"#,
    );
    assert_eq!(value(&cgroup, "memory", "", "memory.max"), "33554432");
    assert_eq!(value(&cgroup, "memory", "", "memory.high"), "16777216");
    assert_eq!(value(&cgroup, "memory", "", "cgroup.max.depth"), "3");
    cgroup.remove().unwrap();
    let fails = |json: &str| Cgroup::create(&place.plan(json)).unwrap_err().to_string();
    assert_eq!(
        fails(r#"{"unified":{"nosuch.max":"1"}}"#),
        "linux.resources.unified.nosuch.max: unified resource \"nosuch.max\" can't be set: \
         controller \"nosuch\" not available"
    );
    let text = fails(r#"{"unified":{"memory.nosuch":"1"}}"#);
    assert!(text.contains("unable to set unified resource \"memory.nosuch\""), "{text}");
}
