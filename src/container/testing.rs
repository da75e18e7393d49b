//! What the tests of the store and of the verbs share: a state root, records, a process that stands for init.

use std::path::{Path, PathBuf};
use std::process::Child;

use oci_spec::runtime::{Hook, HookBuilder};

use super::{Phase, Process, Record, VERSION, boot_id, now};

/// A state root of its own for each test, not made yet; removed at the end.
pub(crate) struct Root(PathBuf);

impl Root {
    pub(crate) fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("davit-test-{}-{name}", std::process::id())))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A record without init and without cgroups.
pub(crate) fn record(id: &str, phase: Phase) -> Record {
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
pub(crate) fn running(id: &str, child: &Child) -> Record {
    let mut record = record(id, Phase::Created);
    record.set_init(Process::of(i32::try_from(child.id()).expect("pid")).expect("stat"));
    record
}

/// A hook that runs a shell script.
pub(crate) fn sh(script: &str) -> Hook {
    let args = ["sh", "-c", script].map(str::to_owned);
    HookBuilder::default().path("/bin/sh").args(args).build().expect("hook")
}
