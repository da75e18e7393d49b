//! config.json as a value: two bases, and helpers to change it by path.

use serde_json::{Value, json};

/// A configuration under construction.
#[derive(Clone)]
pub struct Config(pub Value);

impl Config {
    /// What `runc spec` writes, without a terminal and with a writable root.
    pub fn plain() -> Self {
        let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
        let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount"];
        if super::cgroup::unified() {
            namespaces.push("cgroup");
        }
        let namespaces: Vec<Value> = namespaces.iter().map(|kind| json!({ "type": kind })).collect();
        Self(json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false,
                "user": { "uid": 0, "gid": 0 },
                "args": ["sh"],
                "env": ["PATH=/bin:/usr/bin", "TERM=xterm"],
                "cwd": "/",
                "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
                "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
                "noNewPrivileges": true
            },
            "root": { "path": "rootfs", "readonly": false },
            "hostname": "plain",
            "mounts": [
                mount("/proc", "proc", "proc", &[]),
                mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
                mount("/dev/pts", "devpts", "devpts",
                      &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
                mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
                mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
                mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
                mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"])
            ],
            "linux": {
                "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
                "namespaces": namespaces,
                "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
            }
        }))
    }

    /// The configuration that Docker writes for a container with limits.
    pub fn docker() -> Self {
        Self(serde_json::from_str(include_str!("../fixtures/docker.json")).expect("docker.json"))
    }

    /// Sets the value at a dotted path (`process.user.uid`, `mounts.2.options`), making objects on the way.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) -> &mut Self {
        let mut at = &mut self.0;
        for part in path.split('.') {
            at = match (at, part.parse::<usize>()) {
                (Value::Array(list), Ok(index)) => &mut list[index],
                (at, _) => {
                    if at.is_null() {
                        *at = json!({});
                    }
                    at.as_object_mut().expect("an object").entry(part).or_insert(Value::Null)
                }
            };
        }
        *at = value.into();
        self
    }

    /// Removes the member at a dotted path.
    pub fn remove(&mut self, path: &str) -> &mut Self {
        let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
        let pointer: String =
            parent.split('.').filter(|part| !part.is_empty()).map(|p| format!("/{p}")).collect();
        self.0.pointer_mut(&pointer).and_then(Value::as_object_mut).expect("an object").remove(name);
        self
    }

    /// Appends to the list at a dotted path, which is made if absent.
    pub fn push(&mut self, path: &str, value: impl Into<Value>) -> &mut Self {
        let pointer = format!("/{}", path.replace('.', "/"));
        if self.0.pointer(&pointer).is_none_or(Value::is_null) {
            self.set(path, json!([]));
        }
        self.0.pointer_mut(&pointer).and_then(Value::as_array_mut).expect("a list").push(value.into());
        self
    }

    /// Appends a mount.
    pub fn mount(&mut self, destination: &str, kind: &str, source: &str, options: &[&str]) -> &mut Self {
        self.push("mounts", mount(destination, kind, source, options))
    }

    /// Takes away the mounts at and below a destination.
    pub fn unmount(&mut self, destination: &str) -> &mut Self {
        let below = format!("{destination}/");
        self.0["mounts"].as_array_mut().expect("mounts").retain(|mount| {
            let at = mount["destination"].as_str().unwrap_or("");
            at != destination && !at.starts_with(&below)
        });
        self
    }

    /// Gives the namespace of this type a path; adds the entry when it is not there.
    pub fn join(&mut self, kind: &str, path: &str) -> &mut Self {
        self.leave(kind).push("linux.namespaces", json!({ "type": kind, "path": path }))
    }

    /// Adds a new namespace of this type.
    pub fn namespace(&mut self, kind: &str) -> &mut Self {
        self.leave(kind).push("linux.namespaces", json!({ "type": kind }))
    }

    /// Takes the namespace of this type away: the container shares the caller's.
    pub fn leave(&mut self, kind: &str) -> &mut Self {
        self.0["linux"]["namespaces"].as_array_mut().expect("namespaces").retain(|ns| ns["type"] != kind);
        self
    }

    /// A user namespace whose ids 0..65536 are the host's 100000...
    pub fn user_namespace(&mut self) -> &mut Self {
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
        self.namespace("user").set("linux.uidMappings", map.clone()).set("linux.gidMappings", map)
    }

    /// All five capability sets but those that are not named.
    pub fn caps(&mut self, caps: &[&str]) -> &mut Self {
        self.set("process.capabilities", json!({ "bounding": caps, "effective": caps, "permitted": caps }))
    }
}

/// One entry of `mounts`.
pub fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}
