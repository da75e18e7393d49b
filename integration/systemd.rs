//! The systemd cgroup driver: units, properties, waiting, removal. Needs a host that systemd has started (the VM).

use crate::support::{Cmd, Output, Test, cgroup, host, json, need, user};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub const WHY: &str = "systemd is not the init process here: shown in the VM";

pub fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

pub fn systemctl(args: &[&str]) -> String {
    let output = Command::new("systemctl").args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim_end().to_string()
}

pub fn show(unit: &str, property: &str) -> String {
    systemctl(&["show", "--value", "-p", property, unit])
}

/// A container of the unit `davit-ID.scope` in that slice.
pub struct Scope {
    pub t: Test,
    pub unit: String,
}

impl Scope {
    pub fn new() -> Self {
        Self::within("", "system.slice")
    }

    fn within(slice: &str, below: &str) -> Self {
        let mut t = Test::new();
        let unit = format!("davit-{}.scope", t.id);
        t.cgroup = format!("/{below}/{unit}");
        t.config.set("linux.cgroupsPath", format!("{slice}:davit:{}", t.id));
        t.sh("sleep 100");
        Self { t, unit }
    }

    fn cmd(&self, verb: &str, options: &[&str]) -> Cmd {
        self.t.write();
        let bundle = self.t.bundle.to_str().unwrap();
        self.t.cmd(&["--systemd-cgroup", verb, "--bundle", bundle]).args(options).args([&self.t.id])
    }

    pub fn create(&self) -> Output {
        self.cmd("create", &[]).output()
    }

    pub fn is(&self, property: &str, value: &str) {
        assert_eq!(show(&self.unit, property), value, "{property}");
    }

    pub fn is_gone(&self) {
        host::wait_until("the unit's end", || show(&self.unit, "ActiveState") == "inactive");
        host::wait_until("the unit is unloaded", || show(&self.unit, "LoadState") == "not-found");
        assert!(cgroup::dirs(&self.t.cgroup).is_empty(), "{:?}", cgroup::dirs(&self.t.cgroup));
    }
}

/// [C4] [C5] [C12] [C24] [G17] The scope with init in it when create returns; later verbs know it from the state alone.
#[test]
fn life() {
    need!(has_systemd(), WHY);
    let s = Scope::new();
    s.create().ok();
    s.is("ActiveState", "active");
    s.is("Slice", "system.slice");
    s.is("Delegate", "yes");
    s.is("DefaultDependencies", "no");
    s.is("Description", &format!("container {}", s.t.id));
    for accounting in ["MemoryAccounting", "CPUAccounting", "TasksAccounting"] {
        s.is(accounting, "yes");
    }
    let pid = s.t.pid();
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    for line in own.lines() {
        let named = line.contains("name=") && !line.contains("name=systemd");
        assert!(named || line.ends_with(&s.t.cgroup) || line.ends_with(":misc:/"), "{own}");
    }
    s.t.verb(&["start"]).ok();
    s.t.verb(&["pause"]).ok();
    assert_eq!(s.t.status(), "paused");
    s.t.verb(&["resume"]).ok();
    s.t.cmd(&["kill", &s.t.id, "KILL"]).output().ok();
    s.t.wait_status("stopped");
    s.t.verb(&["delete"]).ok();
    s.is_gone();
}

/// [C5] [Q9] [Q20] Limits are properties and files, and a daemon-reload undoes none; 0 processes are 1, as systemd has no 0.
#[test]
fn limits() {
    need!(has_systemd(), WHY);
    let mut s = Scope::new();
    s.t.config.set("linux.resources.memory", json!({"limit": 64 << 20, "reservation": 32 << 20}));
    s.t.config.set("linux.resources.cpu", json!({"shares": 2048, "quota": 33_333, "period": 100_000}));
    s.t.config.set("linux.resources.pids", json!({"limit": 0}));
    s.create().ok();
    let check = || {
        let max = cgroup::read(&s.t.cgroup, "memory.limit_in_bytes", "memory.max");
        assert_eq!(max, (64 << 20).to_string());
    };
    check();
    assert_eq!(cgroup::read(&s.t.cgroup, "pids.max", "pids.max"), "1");
    let quota = cgroup::read(&s.t.cgroup, "cpu.cfs_quota_us", "cpu.max");
    assert_eq!(quota.split(' ').next(), Some("33333"));
    s.is("TasksMax", "1");
    s.is("CPUQuotaPerSecUSec", "340ms");
    if cgroup::unified() {
        s.is("MemoryMax", &(64 << 20).to_string());
        s.is("MemoryLow", &(32 << 20).to_string());
        s.is("CPUWeight", &cgroup::read(&s.t.cgroup, "cpu.shares", "cpu.weight"));
    } else {
        s.is("MemoryLimit", &(64 << 20).to_string());
        s.is("CPUShares", "2048");
    }
    systemctl(&["daemon-reload"]);
    check();
    s.t.verb(&["delete", "--force"]).ok();
    s.is_gone();
}

/// [C20] [Q22] CPUs as a mask, and `unified` as properties and files, at create and by update.
#[test]
fn unified_and_cpus() {
    need!(has_systemd() && cgroup::unified(), "systemd on cgroup v2: shown in the VM");
    let mut s = Scope::new();
    s.t.config.set("linux.resources.cpu", json!({"cpus": "0", "mems": ""}));
    let unified = json!({"memory.high": "50331648", "pids.max": "77", "memory.oom.group": "1"});
    s.t.config.set("linux.resources.unified", unified);
    s.create().ok();
    s.is("AllowedCPUs", "0");
    s.is("AllowedMemoryNodes", "");
    s.is("MemoryHigh", "50331648");
    s.is("TasksMax", "77");
    assert_eq!(cgroup::read(&s.t.cgroup, "cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(cgroup::read(&s.t.cgroup, "memory.high", "memory.high"), "50331648");
    assert_eq!(cgroup::read(&s.t.cgroup, "memory.oom", "memory.oom.group"), "1");
    // Nothing is no change; later verbs know the unit without being told.
    s.t.verb(&["update", "--pids-limit", "88", "--cpuset-cpus", "", "--cpu-quota", "20000"]).ok();
    s.is("TasksMax", "88");
    s.is("AllowedCPUs", "0");
    s.is("CPUQuotaPerSecUSec", "200ms");
    assert_eq!(cgroup::read(&s.t.cgroup, "cpu.cfs_quota_us", "cpu.max"), "20000 100000");
    s.t.verb(&["update", "--cpuset-cpus", "0-1"]).ok();
    s.is("AllowedCPUs", "0-1");
}

/// [D11] systemd knows the devices, and its reload opens none that is closed.
#[test]
fn devices() {
    need!(has_systemd(), WHY);
    let mut s = Scope::new();
    s.t.config.set("root.readonly", false);
    s.t.config.set("linux.resources.devices", json!([{ "allow": false, "access": "rwm" }]));
    s.t.config.set("linux.devices", json!([{ "path": "/dev/k", "type": "c", "major": 1, "minor": 11 }]));
    s.t.sh("echo >/tmp/ready; while [ ! -e /tmp/go ]; do sleep 0.1; done
        (: </dev/k) 2>/dev/null && echo open || echo closed; echo >/dev/null && echo null");
    let running = s.cmd("run", &[]).spawn();
    let ready = host::until(Duration::from_secs(15), || s.t.rootfs.join("tmp/ready").exists());
    assert!(ready, "{:?}", running.wait_or_kill());
    s.is("DevicePolicy", "strict");
    let allowed = show(&s.unit, "DeviceAllow");
    assert!(allowed.contains("/dev/char/1:3 rwm") && !allowed.contains("1:11"), "{allowed}");
    systemctl(&["daemon-reload"]);
    s.t.file("/tmp/go", "");
    assert_eq!(running.wait().ok(), "closed\nnull");
    s.is_gone();
}

/// [H20] What CRI-O sends; seconds become microseconds; a wrong value makes nothing.
#[test]
fn annotations() {
    need!(has_systemd(), WHY);
    let mut s = Scope::new();
    let property = |name: &str| format!("org.systemd.property.{name}");
    let mut given = json!({});
    for (name, value) in [
        ("TimeoutStopUSec", "uint64 7000000"),
        ("DefaultDependencies", "true"),
        ("After", "['crio.service']"),
        ("CollectMode", "'inactive-or-failed'"),
    ] {
        given[property(name)] = value.into();
    }
    s.t.config.set("annotations", given);
    s.create().ok();
    s.is("TimeoutStopUSec", "7s");
    s.is("DefaultDependencies", "yes");
    s.is("CollectMode", "inactive-or-failed");
    assert!(show(&s.unit, "After").contains("crio.service"));
    s.t.verb(&["delete", "--force"]).ok();
    s.t.config.set("annotations", json!({ property("TimeoutStopSec"): "3" }));
    s.create().ok();
    s.is("TimeoutStopUSec", "3s");
    s.t.verb(&["delete", "--force"]).ok();
    for (name, value, text) in [
        ("After", "crio", "annotations[\"org.systemd.property.After\"]: \"crio\": "),
        ("ab", "true", "three letters"),
        ("NoSuchThing", "true", "systemd: StartTransientUnit (davit-"),
    ] {
        s.t.config.set("annotations", json!({ property(name): value }));
        s.create().code(1).says(text);
        s.t.assert_clean();
        s.is_gone();
    }
}

/// [C4] Nested slices, slices as units, and forms that are refused; without a path it is `:runc:ID`.
#[test]
fn names() {
    need!(has_systemd(), WHY);
    let s = Scope::within("davittest-a.slice", "davittest.slice/davittest-a.slice");
    s.create().ok();
    s.is("Slice", "davittest-a.slice");
    assert!(cgroup::pids(&s.t.cgroup).contains(&s.t.pid()));
    s.t.verb(&["delete", "--force"]).ok();
    s.is_gone();
    systemctl(&["stop", "davittest.slice"]);

    let mut s = Scope::new();
    let id = s.t.id.replace('-', "");
    s.unit = format!("davitunit-{id}.slice");
    s.t.cgroup = format!("/davitunit.slice/{}", s.unit);
    s.t.config.set("linux.cgroupsPath", format!("::{}", s.unit));
    s.create().ok();
    s.is("ActiveState", "active");
    assert!(cgroup::pids(&s.t.cgroup).contains(&s.t.pid()));
    s.t.verb(&["delete", "--force"]).ok();
    assert!(cgroup::dirs(&s.t.cgroup).is_empty());
    systemctl(&["stop", "davitunit.slice"]);

    let mut s = Scope::new();
    s.t.config.set("linux.cgroupsPath", "/a/b");
    s.create().code(1).says(
        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/a/b\" instead",
    );
    s.t.config.remove("linux.cgroupsPath");
    s.unit = format!("runc-{}.scope", s.t.id);
    s.t.cgroup = format!("/system.slice/{}", s.unit);
    s.create().ok();
    s.is("ActiveState", "active");
    s.t.verb(&["delete", "--force"]).ok();
    s.is_gone();
}

/// [C6] A failed unit of the name is no hindrance; one that runs is not touched.
#[test]
fn leftovers() {
    need!(has_systemd(), WHY);
    let s = Scope::new();
    let run = |args: &[&str]| {
        let unit = format!("--unit={}", s.unit);
        let mut command = Command::new("systemd-run");
        command.args(["--scope", "--quiet", &unit]).args(args).spawn().unwrap()
    };
    let mut failed = run(&["-p", "RuntimeMaxSec=1", "sleep", "100"]);
    failed.wait().unwrap();
    host::wait_until("a failed unit", || show(&s.unit, "ActiveState") == "failed");
    s.create().ok();
    s.is("ActiveState", "active");
    s.t.verb(&["delete", "--force"]).ok();
    s.is_gone();

    let mut other = run(&["sleep", "100"]);
    host::wait_until("the other's unit", || show(&s.unit, "ActiveState") == "active");
    s.create().code(1).says("container's cgroup is not empty: 1 process(es) found");
    s.is("ActiveState", "active");
    assert!(other.try_wait().unwrap().is_none());
    other.kill().unwrap();
    other.wait().unwrap();
    s.is_gone();
}

/// [C6] [C24] Who stops the unit ends the container; what fails later takes the unit along.
#[test]
fn ends() {
    need!(has_systemd(), WHY);
    let mut s = Scope::new();
    // The shell does not heed SIGTERM.
    s.t.config.set("annotations", json!({ "org.systemd.property.TimeoutStopSec": "1" }));
    s.create().ok();
    s.t.verb(&["start"]).ok();
    systemctl(&["stop", &s.unit]);
    s.t.wait_status("stopped");
    s.t.verb(&["delete"]).ok();
    s.is_gone();
    s.t.args(&["/no/such/program"]);
    s.create().code(1);
    s.t.assert_clean();
    s.is_gone();
    s.t.sh("mkdir -p /tmp/x; echo up");
    assert_eq!(s.cmd("run", &[]).output().ok(), "up");
    s.is_gone();
}

/// [C6] [C24] A bus that is not there, or says nothing sensible: an error that names it, and nothing is left.
#[test]
fn no_bus() {
    need!(has_systemd(), WHY);
    let s = Scope::new();
    let socket = s.t.path("bus");
    // The system bus may be away: systemd's own socket is there.
    let address = format!("unix:path={socket}");
    s.cmd("create", &[]).env("DBUS_SYSTEM_BUS_ADDRESS", &address).output().ok();
    s.is("ActiveState", "active");
    s.t.verb(&["delete", "--force"]).ok();
    s.is_gone();
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let closes = std::thread::spawn(move || drop(listener.accept()));
    s.cmd("create", &[]).env("DBUS_SYSTEM_BUS_ADDRESS", &address).output().ok();
    closes.join().unwrap();
    s.t.verb(&["delete", "--force"]).ok();
    s.is_gone();
}

/// Containers of the user 1000, which has a systemd of its own.
struct UserScope {
    u: user::User,
}

impl UserScope {
    /// Where such a user is.
    fn is_possible() -> bool {
        has_systemd() && Path::new("/run/user/1000/bus").exists()
    }

    fn new() -> Self {
        let mut u = user::User::new();
        let map = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
        u.t.config.set("linux.uidMappings", map.clone()).set("linux.gidMappings", map);
        u.t.config.set("linux.cgroupsPath", format!(":davit:{}", u.t.id));
        let resources = json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 50 } });
        u.t.config.set("linux.resources", resources);
        u.t.sh("sleep 100");
        u.t.write();
        let directory = u.t.dir.to_str().unwrap();
        assert!(Command::new("chown").args(["-R", "1000:1000", directory]).status().unwrap().success());
        let manager = "user.slice/user-1000.slice/user@1000.service";
        u.t.cgroup = format!("/{manager}/user.slice/davit-{}.scope", u.t.id);
        Self { u }
    }

    fn davit(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        let t = &self.u.t;
        Cmd::new(&t.dir, [self.u.davit()])
            .args(["--root", t.root.to_str().unwrap()])
            .args(args)
            .args([&t.id])
            .wrap(["/usr/bin/setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--inh-caps=-all"])
            .only_env(env)
            .output()
    }

    fn create(&self, env: &[(&str, &str)]) -> Output {
        self.davit(&["--systemd-cgroup", "create", "--bundle", self.u.t.bundle.to_str().unwrap()], env)
    }
}

const NO_BUS: [(&str, &str); 1] = [("PATH", user::PATH)];
const BUS: [(&str, &str); 2] = [("PATH", user::PATH), ("XDG_RUNTIME_DIR", "/run/user/1000")];

/// [C4] [G17] Where systemd is not there, the driver is refused at once, and nothing is made.
#[test]
fn not_running() {
    need!(!has_systemd(), "systemd is the init process here");
    let s = Scope::new();
    let text = "systemd cgroup flag passed, but systemd support for managing cgroups is not available";
    s.create().fails(1, text);
    s.t.assert_clean();
}

/// [C24] [C6] Neither a unit nor a directory is left after many rounds: 5, or as many as DAVIT_TEST_CYCLES says.
#[test]
fn cycles() {
    need!(has_systemd(), WHY);
    let rounds = std::env::var("DAVIT_TEST_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let s = Scope::new();
    for round in 0..rounds {
        s.create().ok();
        s.t.verb(&["delete", "--force"]).ok();
        assert!(cgroup::dirs(&s.t.cgroup).is_empty(), "round {round}");
    }
    s.is_gone();
    assert_eq!(systemctl(&["list-units", "--all", "--no-legend", &format!("*{}*", s.t.id)]), "");
}

/// [C7] An ordinary user's containers are units of its own systemd; on v1 they are refused.
#[test]
fn rootless() {
    need!(UserScope::is_possible(), "a user with a systemd: shown in the VM");
    let s = UserScope::new();
    let t = &s.u.t;
    if !cgroup::unified() {
        s.create(&BUS).code(1).says("rootless containers with the systemd cgroup driver need cgroup v2");
        return;
    }
    s.create(&NO_BUS).code(1).says("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set");
    s.create(&BUS).ok();
    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", t.pid())).unwrap();
    assert_eq!(own.trim_end(), format!("0::{}", t.cgroup));
    assert_eq!(cgroup::read(&t.cgroup, "memory.x", "memory.max"), (64 << 20).to_string());
    assert_eq!(cgroup::read(&t.cgroup, "pids.x", "pids.max"), "50");
    // Without the environment of create.
    s.davit(&["delete", "--force"], &NO_BUS).ok();
    assert!(host::until(Duration::from_secs(2), || cgroup::dirs(&t.cgroup).is_empty()));
}

/// Its user's systemd stands still as long as this lives.
struct Stopped(rustix::process::Pid);

impl Stopped {
    fn new(service: &str) -> Self {
        let pid = show(service, "MainPID").parse().ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(self.0, rustix::process::Signal::CONT);
    }
}

/// [C6] A systemd that does not answer: one line once the time is over, at any of its calls; nothing is left, also
/// once it goes on.
#[test]
fn silent_systemd() {
    need!(UserScope::is_possible() && cgroup::unified(), "a user with a systemd: shown in the VM");
    let s = UserScope::new();
    let env = [BUS[0], BUS[1], ("SYSTEMD_BUS_TIMEOUT", "500ms")];
    let late = |output: Output| {
        let output = output.code(1);
        assert!(
            output.stderr.contains(": no answer within 0.5 s (hint: systemd is busy, or its bus is)"),
            "{output:?}"
        );
        assert_eq!(output.stderr.trim_end().lines().count(), 1, "{output:?}");
    };
    {
        let _stopped = Stopped::new("user@1000.service");
        late(s.create(&env));
        s.u.t.assert_clean();
    }
    s.create(&BUS).ok();
    {
        let _stopped = Stopped::new("user@1000.service");
        late(s.davit(&["update", "--pids-limit", "60"], &env));
        assert_eq!(cgroup::read(&s.u.t.cgroup, "pids.x", "pids.max"), "50");
        late(s.davit(&["delete", "--force"], &env));
    }
    s.davit(&["delete", "--force"], &NO_BUS).ok();
    assert!(host::until(Duration::from_secs(2), || cgroup::dirs(&s.u.t.cgroup).is_empty()));
}
