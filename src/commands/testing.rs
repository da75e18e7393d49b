//! What the tests of several verbs share: a state root, records, a process that stands for init.

use std::path::{Path, PathBuf};
use std::process::Child;

use oci_spec::runtime::{Hook, HookBuilder};

use crate::container::{Phase, Process, Record, VERSION, boot_id, now};

/// A state root of its own for each test, not made yet; removed at the end.
pub(super) struct Root(PathBuf);

impl Root {
    pub(super) fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("davit-verb-{}-{name}", std::process::id())))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A record without init and without cgroups.
pub(super) fn record(id: &str, phase: Phase) -> Record {
    Record {
        version: VERSION,
        oci_version: "1.2.0".into(),
        id: id.into(),
        bundle: "/b".into(),
        rootfs: "/b/rootfs".into(),
        created: now(),
        boot_id: boot_id().expect("boot id"),
        runtime: Process::current().expect("self"),
        phase,
        own_pid_namespace: true,
        ..Record::default()
    }
}

/// A record whose init is `child`.
pub(super) fn running(id: &str, child: &Child) -> Record {
    let mut record = record(id, Phase::Created);
    record.set_init(Process::of(i32::try_from(child.id()).expect("pid")).expect("stat"));
    record
}

/// A hook that runs a shell script.
pub(super) fn sh(script: &str) -> Hook {
    let args = ["sh", "-c", script].map(str::to_owned);
    HookBuilder::default().path("/bin/sh").args(args).build().expect("hook")
}
