//! state.json: what later verbs need of a container. Small on purpose; the configuration lies beside it.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::SystemTime;

use oci_spec::runtime::Hook;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Process, STATE_FILE};
use crate::error::{Context, Error, Kind, Result};

/// The record's version. A change that an older davit would read wrongly counts it up; a new field does not.
pub const VERSION: u32 = 1;

/// The file that a new state.json is written to before it is renamed.
pub(super) const TEMP_FILE: &str = ".state.json";

/// How far `create` came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Under way, or its runtime died in the middle.
    #[default]
    Creating,
    /// `create` has done all its work.
    Created,
}

/// The hooks that run after `create`; the others have done their work by then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredHooks {
    /// Run by `start`, once the user's program is executed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// Run by `delete`, once everything is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

impl StoredHooks {
    fn is_empty(&self) -> bool {
        self.poststart.is_empty() && self.poststop.is_empty()
    }
}

/// How to become a part of the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// `CLONE_NEW*` of the namespaces that are made for it or joined by it.
    pub namespaces: u64,
    /// It has a session keyring of its own, by the name that its id gives.
    pub keyring: bool,
}

/// Who answers the calls of SCMP_ACT_NOTIFY.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its socket: absolute, or `@name` in the abstract namespace.
    pub path: PathBuf,
    /// `listenerMetadata`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
}

/// The content of state.json.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`] of the davit that wrote it.
    pub version: u32,
    /// `ociVersion` of the configuration.
    #[serde(default)]
    pub oci_version: String,
    /// The container's ID.
    pub id: String,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// The root file system, absolute.
    pub rootfs: PathBuf,
    /// When it was created: RFC 3339 with nanoseconds, UTC ([`now`]).
    pub created: String,
    /// The uid that created it, as the runtime sees it.
    #[serde(default)]
    pub owner: u32,
    /// The configuration's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Init's pid in the runtime's pid namespace, 0 before there is one. Other tools read this name.
    #[serde(default)]
    pub init_process_pid: i32,
    /// Init's start time: field 22 of `/proc/PID/stat`.
    #[serde(default)]
    pub init_process_start: u64,
    /// The boot in which the pids and start times are valid.
    pub boot_id: String,
    /// The runtime process that creates the container.
    pub runtime: Process,
    /// How far it came.
    #[serde(default)]
    pub phase: Phase,
    /// Where its cgroups are.
    #[serde(default)]
    pub cgroup: crate::cgroups::Record,
    /// Its group in resctrl, if it has to be in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<crate::resctrl::Record>,
    /// What a process needs to know that joins later (`exec`); none by a version that had no `exec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<Joining>,
    /// Whether init is the init of its pid namespace, so that its death ends all others.
    #[serde(default)]
    pub own_pid_namespace: bool,
    /// Who gets the listener of the seccomp filter, which is loaded by `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp_agent: Option<Agent>,
    /// Hooks of later verbs.
    #[serde(default, skip_serializing_if = "StoredHooks::is_empty")]
    pub hooks: StoredHooks,
    /// Fields that this version does not know: kept as they are.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// The present time as the record holds it.
pub fn now() -> String {
    humantime::format_rfc3339_nanos(SystemTime::now()).to_string()
}

impl Record {
    /// Init, once there was one.
    pub fn init(&self) -> Option<Process> {
        (self.init_process_pid > 0)
            .then_some(Process { pid: self.init_process_pid, start_time: self.init_process_start })
    }

    /// Notes init; the caller saves the record before init may go on.
    pub fn set_init(&mut self, init: Process) {
        self.init_process_pid = init.pid;
        self.init_process_start = init.start_time;
    }

    /// Reads `dir`/state.json by three system calls.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none, [`Kind::Config`] if it cannot be understood (a crash of the
    /// machine, a full disk), [`Kind::State`] if a newer davit wrote it, else [`Kind::System`].
    pub(super) fn read(dir: impl AsFd) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = match rustix::fs::openat(dir, STATE_FILE, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Err(Error::new(Kind::NotFound, "container does not exist")),
            Err(errno) => return Err(Error::system("open state.json", errno)),
        };
        let text = read_all(fd).context("read state.json")?;
        Self::parse(&text)
    }

    fn parse(text: &[u8]) -> Result<Self> {
        let record: Self = serde_json::from_slice(text)
            .map_err(|error| Error::new(Kind::Config, format!("state.json: {error}")))?;
        if record.version > VERSION {
            let message = format!("state.json has version {}, this davit knows {VERSION}", record.version);
            return Err(Error::new(Kind::State, message).hint("use the davit that created the container"));
        }
        Ok(record)
    }

    /// Writes `name` in `dir`, mode 0600; `name` is [`STATE_FILE`] only while nobody can see `dir`.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub(super) fn write_as(&self, dir: impl AsFd, name: &str) -> Result<()> {
        // One page holds nearly every record.
        let mut text = Vec::with_capacity(4096);
        serde_json::to_writer(&mut text, self)
            .map_err(|error| Error::new(Kind::System, format!("state.json: {error}")))?;
        write_new(dir, name, &text).context("write state.json")
    }

    /// Replaces `dir`/state.json as a whole: at any moment a reader sees the old or the new one.
    ///
    /// # Errors
    /// The new one cannot be written; the old one is still there.
    pub(super) fn save(&self, dir: impl AsFd) -> Result<()> {
        let dir = dir.as_fd();
        self.write_as(dir, TEMP_FILE)?;
        rustix::fs::renameat(dir, TEMP_FILE, dir, STATE_FILE).context("rename state.json")
    }
}

/// Writes a file of mode 0600 from the start.
pub(super) fn write_new(dir: impl AsFd, name: &str, content: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600))?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&fd, rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Reads to the end; a regular file that gives less than was asked for has ended.
pub(super) fn read_all(fd: impl AsFd) -> Result<Vec<u8>, Errno> {
    let mut text = vec![0; 4096];
    let mut length = 0;
    loop {
        let room = text.get_mut(length..).ok_or(Errno::OVERFLOW)?;
        let wanted = room.len();
        let got = rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut *room))?;
        length += got;
        if got < wanted {
            text.truncate(length);
            return Ok(text);
        }
        text.resize(length * 2, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            version: VERSION,
            id: "c1".into(),
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: "2026-01-02T03:04:05.000000006Z".into(),
            boot_id: "boot".into(),
            ..Record::default()
        }
    }

    /// [S36] Other tools read `init_process_pid` at the top level.
    #[test]
    fn init_pid_has_runcs_name() {
        let mut record = record();
        assert_eq!(record.init(), None);
        record.set_init(Process { pid: 42, start_time: 7 });
        assert_eq!(record.init(), Some(Process { pid: 42, start_time: 7 }));
        let json: serde_json::Value = serde_json::to_value(&record).expect("serializes");
        assert_eq!(json["init_process_pid"], 42);
        assert_eq!(json["init_process_start"], 7);
        assert_eq!(json["phase"], "creating");
    }

    /// [S36] A field of a later version survives a rewrite; a later format is refused, not misread.
    #[test]
    fn unknown_fields_are_kept() {
        let mut json = serde_json::to_value(record()).expect("serializes");
        json["from_the_future"] = serde_json::json!({ "a": [1, 2] });
        let text = serde_json::to_vec(&json).expect("serializes");
        let read = Record::parse(&text).expect("parses");
        assert_eq!(serde_json::to_value(&read).expect("serializes"), json);

        json["version"] = (VERSION + 1).into();
        let error = Record::parse(&serde_json::to_vec(&json).expect("serializes")).expect_err("too new");
        assert_eq!(error.kind(), Kind::State);
        assert_eq!(Record::parse(b"{").expect_err("half").kind(), Kind::Config);
        assert_eq!(Record::parse(b"").expect_err("empty").kind(), Kind::Config);
    }

    /// [S36] The record stays small: hot verbs read it by one system call.
    #[test]
    fn a_plain_record_fits_a_page() {
        assert!(serde_json::to_vec(&record()).expect("serializes").len() < 1024);
    }

    /// [S3] RFC 3339 with nanoseconds, UTC.
    #[test]
    fn created_has_nanoseconds() {
        let now = now();
        assert_eq!((now.len(), &now[19..20], &now[29..]), (30, ".", "Z"));
    }
}
