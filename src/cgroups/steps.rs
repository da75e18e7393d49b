//! What [`super::Cgroup::create`] carries out: plain data, made by `plan::cgroup`.

use std::borrow::Cow;
use std::path::PathBuf;

use serde::Serialize;

use super::devices::DeviceRules;
use super::record::{Directory, Driver, Record};
use super::systemd::{Property, Unit};

/// Everything that is decided about a container's cgroups.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CgroupPlan {
    /// One directory in each hierarchy. On v2 there is one; on hybrid hosts the cgroup2 tree's is the last.
    pub directories: Vec<PlannedDir>,
    /// The limits, in the order in which they are written.
    pub writes: Vec<Write>,
    /// The devices that the container may use; absent where rules can't be loaded (in a user namespace).
    pub devices: Option<DeviceRules>,
    /// The runtime has no full rights: a directory that may not be made is gone without, if nothing needs it.
    pub rootless: bool,
    /// The unit that systemd is to make; absent where the runtime makes the directories itself.
    pub scope: Option<ScopePlan>,
    /// config.json has a `linux.cgroupsPath`.
    pub explicit_path: bool,
    /// v2: a cgroup below the container's that is the container's own to manage; init is moved into it, with a cgroup
    /// namespace once that has the container's as its root.
    pub delegate: Option<PathBuf>,
    /// The uid that the v2 cgroup is given to (config-linux.md, "Cgroup ownership").
    pub owner: Option<u32>,
    /// What config.json asks for and is left out by design; for the log.
    pub warnings: Vec<String>,
}

/// The unit of a container.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScopePlan {
    /// Its name, and who makes it.
    pub unit: Unit,
    /// A slice has no processes of its own when it starts; init is moved into it then.
    pub is_slice: bool,
    /// v2: the container's cgroup is this one below the unit's.
    pub subgroup: Option<PathBuf>,
    /// What it is made with, but for init's pid. The last of a name counts.
    pub properties: Vec<Property>,
}

/// One cgroup to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedDir {
    /// `cpu,cpuacct`; empty for cgroup2.
    pub controllers: String,
    /// The absolute path, mount point included.
    pub path: PathBuf,
    /// How many bytes of `path` are the mount point.
    pub mount_len: usize,
}

/// One value for one cgroup file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Write {
    /// Index into [`CgroupPlan::directories`].
    pub directory: usize,
    /// The file's name.
    pub file: Cow<'static, str>,
    /// What is written, by one call.
    pub value: String,
    /// Where config.json asks for it.
    pub json_path: Cow<'static, str>,
    /// Where `file` is missing, this file gets this value instead (BFQ's files come and go with its module).
    pub or_else: Option<(Cow<'static, str>, String)>,
    /// A missing file means that there is nothing to limit.
    pub ignore_missing: bool,
    /// The kernel gives a new cgroup this very value: written only into one that was there before.
    pub skip_if_new: bool,
    /// EINVAL can mean that another value must change first: tried again after the others.
    pub retry_last: bool,
    /// From `linux.resources.unified`, which has error texts of its own (features.md Q22).
    pub unified: bool,
}

impl CgroupPlan {
    /// What the state must hold before [`super::Cgroup::create`] makes anything, so that a `delete --force` after
    /// a crash in the middle finds everything.
    pub fn record(&self) -> Record {
        let directory = |dir: &PlannedDir| Directory {
            controllers: dir.controllers.clone(),
            path: dir.path.clone(),
            made: true,
        };
        let unit = self.scope.as_ref().map(|scope| scope.unit.clone());
        let driver = if unit.is_some() { Driver::Systemd } else { Driver::Cgroupfs };
        Record { driver, directories: self.directories.iter().map(directory).collect(), unit }
    }
}
