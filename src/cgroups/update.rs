//! Changes the limits and device rules of a container; what was written is put back if a part fails.

use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;

use super::steps::{CgroupPlan, PlannedDir, Write};
use super::systemd::Property;
use super::{Cgroup, Directory, file, limit, restore};
use crate::error::{Error, Result};

/// What to write to get back to where things were, in the order in which it was noted.
#[derive(Debug, Default)]
pub(super) struct Undo(Vec<(PathBuf, String)>);

impl Undo {
    /// Notes the file's content before `value` is written to it.
    pub(super) fn note(&mut self, directory: &Path, name: &str, value: &str) -> Result<(), Errno> {
        let path = file::join(directory, name);
        let content = file::read_raw(&path)?;
        if let Some(text) = restore::text(name, &String::from_utf8_lossy(&content), value) {
            self.0.push((path, text));
        }
        Ok(())
    }

    /// Notes what a limit is about to change. What can't be read can't be put back, which is told only if needed.
    fn note_limit(&mut self, directory: &Path, write: &Write) {
        if write.file == "cpu.idle" {
            // The kernel forgets the weight of an idle cgroup; put back after it, so noted before.
            let _ =
                self.note(directory, "cpu.weight", "").or_else(|_| self.note(directory, "cpu.shares", ""));
        }
        if let (Err(Errno::NOENT), Some((other, value))) =
            (self.note(directory, &write.file, &write.value), &write.or_else)
        {
            let _ = self.note(directory, other, value);
        }
    }

    /// Writes it all, the last change first. Gives the files that did not take their old value.
    pub(super) fn run(&self) -> Vec<String> {
        let mut failed = Vec::new();
        for (path, text) in self.0.iter().rev() {
            let now = || file::read_raw(path).unwrap_or_default();
            // A refused write has changed nothing.
            if now().trim_ascii_end() == text.as_bytes().trim_ascii_end() {
                continue;
            }
            if file::write_at(CWD, path, text.as_bytes()).is_err() {
                failed.push(path.display().to_string());
            }
        }
        failed
    }
}

impl Cgroup {
    /// Where the container's cgroups are, for [`CgroupPlan::directories`] of an update.
    pub fn planned(&self) -> Vec<PlannedDir> {
        let planned = |dir: &Directory| PlannedDir {
            controllers: dir.controllers.clone(),
            path: dir.path.clone(),
            mount_len: 0,
        };
        self.record.directories.iter().map(planned).collect()
    }

    /// Writes the limits in their order, then changes the device rules. systemd is told of `properties` first, if it has
    /// made the cgroup. Gives what is to be logged.
    ///
    /// # Errors
    /// One line with the JSON path, the file and the value; what was written or told before is put back.
    pub fn update(&mut self, plan: &CgroupPlan, properties: &[Property]) -> Result<Vec<String>> {
        self.open()?;
        let undo = self.note(plan);
        let done = match self.record.unit.clone() {
            Some(unit) if !properties.is_empty() => self.update_unit(&unit, properties, plan),
            _ => self.write(plan).map(|()| Vec::new()),
        };
        done.map_err(|error| match undo.run() {
            failed if failed.is_empty() => error,
            failed => error.hint(format!("the old value could not be put back: {}", failed.join(", "))),
        })
    }

    fn note(&self, plan: &CgroupPlan) -> Undo {
        let mut undo = Undo::default();
        for write in &plan.writes {
            let Some(directory) = self.record.directories.get(write.directory) else { continue };
            // What can't be read can't be put back, which is told only if needed.
            for (parent, budget) in budget_of_parents(&directory.path, write) {
                let _ = undo.note(parent, RUNTIME, &budget);
            }
            undo.note_limit(&directory.path, write);
        }
        undo
    }

    /// Limits, then device rules.
    pub(super) fn write(&self, plan: &CgroupPlan) -> Result<()> {
        self.write_limits(plan)?;
        plan.devices.as_ref().map_or(Ok(()), |rules| self.update_devices(rules))
    }

    fn write_limits(&self, plan: &CgroupPlan) -> Result<()> {
        let mut again = Vec::new();
        for write in &plan.writes {
            let Some(directory) = self.record.directories.get(write.directory) else { continue };
            give_budget_to_parents(&directory.path, write)?;
            match limit::write(self.fd.as_ref(), directory, write) {
                Err(error) if write.retry_last && error.errno() == Some(Errno::INVAL.raw_os_error()) => {
                    again.push((directory, write));
                }
                other => other?,
            }
        }
        again.into_iter().try_for_each(|(dir, write)| limit::write(self.fd.as_ref(), dir, write))
    }
}

const RUNTIME: &str = "cpu.rt_runtime_us";

/// features.md C21: a cgroup's real-time budget is a part of its parent's. The parents that have less than `write` asks
/// for, and what they need, from the outermost on. The root's own is the machine's.
fn budget_of_parents<'d>(directory: &'d Path, write: &Write) -> Vec<(&'d Path, String)> {
    let number = |directory: &Path, name: &str| {
        let content = file::read_raw(&file::join(directory, name)).ok()?;
        std::str::from_utf8(&content).ok()?.trim().parse::<i64>().ok()
    };
    let wanted = write.value.parse::<i64>().ok().filter(|_| write.file == RUNTIME);
    let Some(wanted) = wanted else { return Vec::new() };
    let Some(period) = number(directory, "cpu.rt_period_us").filter(|period| *period > 0) else {
        return Vec::new();
    };
    let is_root = |path: &Path| path.parent().is_none_or(|above| number(above, "cpu.rt_period_us").is_none());
    let parents = directory.ancestors().skip(1).take_while(|path| !is_root(path));
    let needed = parents.filter_map(|parent| {
        let (own_period, own) = (number(parent, "cpu.rt_period_us")?, number(parent, RUNTIME)?);
        // The same share of time, in the parent's period.
        let share = i128::from(wanted) * i128::from(own_period);
        let needed = (share + i128::from(period) - 1) / i128::from(period);
        (own >= 0 && i128::from(own) < needed).then(|| (parent, needed.to_string()))
    });
    let mut list: Vec<_> = needed.collect();
    list.reverse();
    list
}

fn give_budget_to_parents(directory: &Path, write: &Write) -> Result<()> {
    for (parent, needed) in budget_of_parents(directory, write) {
        let path = file::join(parent, RUNTIME);
        file::write_at(CWD, &path, needed.as_bytes()).map_err(|errno| {
            Error::system(file::Writing { value: &needed, path: &path }, errno)
                .context(&write.json_path)
                .hint("the container's parents have too small a real-time budget")
        })?;
    }
    Ok(())
}
