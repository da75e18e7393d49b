//! Changes the limits of a container whose cgroups systemd has made. systemd is told first: with each change it writes all
//! files that it knows, rounded, and what its properties can't say is lost. So it is followed, not preceded.

use std::path::Path;

use rustix::io::Errno;

use super::scope::unknown_property;
use super::steps::CgroupPlan;
use super::systemd::{Property, Unit};
use super::update::Undo;
use super::{Cgroup, devices_update, file};
use crate::error::Result;

/// What systemd writes (versions 247 to 257), in the order in which it can be put back.
const V2: [&str; 16] = [
    "cpu.weight",
    "cpu.idle",
    "cpu.max",
    "cpuset.cpus",
    "cpuset.mems",
    "io.weight",
    "io.bfq.weight",
    "memory.oom.group",
    "memory.min",
    "memory.low",
    "memory.high",
    "memory.max",
    "memory.swap.max",
    "memory.zswap.max",
    "memory.zswap.writeback",
    "pids.max",
];
const V1: [(&str, &str); 7] = [
    ("cpu", "cpu.shares"),
    ("cpu", "cpu.cfs_quota_us"),
    ("cpu", "cpu.cfs_period_us"),
    ("blkio", "blkio.weight"),
    ("blkio", "blkio.bfq.weight"),
    ("memory", "memory.limit_in_bytes"),
    ("pids", "pids.max"),
];

impl Cgroup {
    /// Tells systemd of `properties`, keeps it from changing anything else, then writes what the plan says. Gives what is
    /// to be logged.
    ///
    /// # Errors
    /// systemd or the kernel refuses. systemd has the old properties again, and files that the plan does not name are as
    /// they were.
    pub(super) fn update_unit(
        &self,
        unit: &Unit,
        properties: &[Property],
        plan: &CgroupPlan,
    ) -> Result<Vec<String>> {
        let kept = self.kept(plan);
        let Some(directory) = self.v1("devices") else {
            return self.tell(unit, properties, plan, &kept);
        };
        let list = file::join(directory, "devices.list");
        let present = file::read(&list)?;
        if present.starts_with(b"a") {
            // The kernel does not show what is denied to a container that may use all else, so nobody could deny it
            // again once systemd has allowed all.
            return self.write(plan).map(|()| Vec::new());
        }
        // systemd denies all devices and then allows one after the other.
        let paused = self.is_frozen()?;
        if !paused {
            self.freeze()?;
        }
        let done = self.tell(unit, properties, plan, &kept);
        let held = if done.is_err() || plan.devices.is_none() {
            devices_update::put_back(directory, &String::from_utf8_lossy(&present))
        } else {
            Ok(())
        };
        let thawed = if paused { Ok(()) } else { self.thaw() };
        done.and_then(|told| held.and(thawed).map(|()| told))
    }

    fn tell(
        &self,
        unit: &Unit,
        properties: &[Property],
        plan: &CgroupPlan,
        kept: &Undo,
    ) -> Result<Vec<String>> {
        let before = unit.get(properties)?;
        let unknown = unit.set(properties)?;
        kept.run();
        let Err(error) = self.write(plan) else {
            return Ok(unknown.into_iter().map(|name| unknown_property(unit, &name)).collect());
        };
        let back = unit.set(&before);
        kept.run();
        Err(match back {
            Ok(_) => error,
            Err(failed) => error.hint(format!("the unit's old properties could not be put back: {failed}")),
        })
    }

    /// The files that systemd writes and the plan does not.
    fn kept(&self, plan: &CgroupPlan) -> Undo {
        let mut undo = Undo::default();
        let mut note = |directory: &Path, name: &str| -> Result<(), Errno> {
            if plan.writes.iter().any(|write| write.file == name) {
                Ok(())
            } else {
                undo.note(directory, name, "")
            }
        };
        // A file that this kernel does not have is not written either.
        if self.is_v2() {
            self.unified().into_iter().for_each(|own| V2.iter().for_each(|name| _ = note(own, name)));
        } else {
            V1.iter().for_each(|(controller, name)| {
                if let Some(directory) = self.v1(controller) {
                    let _ = note(directory, name);
                }
            });
        }
        undo
    }
}
