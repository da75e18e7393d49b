//! `state ID`: the container's state as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::output::print;
use crate::cgroups::Driver;
use crate::container::{Container, Id, Lock, State, Store};
use crate::error::{Error, Kind, Result};

/// What `--all` adds, so that nobody has to read state.json for it (features.md W13).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    #[serde(flatten)]
    state: State<'a>,
    cgroup_driver: Driver,
    #[serde(skip_serializing_if = "Option::is_none")]
    systemd_unit: Option<&'a str>,
    /// By the controllers of the hierarchy, as runc's state.json has them; cgroup2 has an empty name.
    cgroup_paths: BTreeMap<&'a str, &'a Path>,
    /// On the host, init among them.
    pids: Vec<i32>,
}

/// Prints the state. No lock: the record is replaced as a whole, and hooks ask while `create` holds it.
///
/// # Errors
/// `container does not exist`, a bad ID, or a record that cannot be read.
pub fn run(root: &Path, id: &str, all: bool) -> Result<i32> {
    let container = Store::open(root).load(&Id::parse(id)?, Lock::None)?;
    let status = container.status()?;
    let pid = container.pid(status);
    let state = State::full(&container.record, status, pid);
    let mut json = if all { whole(&container, state, pid)? } else { state.to_json_pretty()? };
    json.push(b'\n');
    print(&json)?;
    Ok(0)
}

fn whole(container: &Container, state: State<'_>, pid: i32) -> Result<Vec<u8>> {
    let record = &container.record.cgroup;
    let mut pids = container.cgroup().pids()?;
    // One without a cgroup of its own has at least its init.
    if pids.is_empty() && pid > 0 {
        pids.push(pid);
    }
    pids.sort_unstable();
    let paths = record.directories.iter();
    let whole = Whole {
        state,
        cgroup_driver: record.driver,
        systemd_unit: record.unit.as_ref().map(|unit| unit.name.as_str()),
        cgroup_paths: paths.map(|found| (found.controllers.as_str(), found.path.as_path())).collect(),
        pids,
    };
    serde_json::to_vec_pretty(&whole).map_err(|error| Error::new(Kind::System, format!("state: {error}")))
}
