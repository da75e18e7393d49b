//! What state.json keeps of a container's cgroups.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::systemd::Unit;

/// Enough to find, pause, kill and remove a container's cgroups without looking at the host's layout again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Who made them.
    #[serde(default)]
    pub driver: Driver,
    /// One a hierarchy; none at all for a rootless container that runs without cgroups.
    #[serde(default)]
    pub directories: Vec<Directory>,
    /// The unit, with the systemd driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
}

/// Who makes and removes the directories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// The runtime itself, by mkdir and rmdir.
    #[default]
    Cgroupfs,
    /// systemd, as a transient unit.
    Systemd,
}

/// One cgroup of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// `cpu,cpuacct`; empty for cgroup2.
    pub controllers: String,
    /// The absolute path.
    pub path: PathBuf,
    /// False if it was there before the container: then it stays when the container goes.
    pub made: bool,
}

impl Directory {
    /// True if the directory is in the hierarchy of this v1 controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|found| found == controller)
    }
}
