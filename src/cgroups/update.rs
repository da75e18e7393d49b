//! Changes the limits and device rules of a container; what was written is put back if a part fails.

use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;

use super::steps::{CgroupPlan, PlannedDir, Write};
use super::{Cgroup, Directory, file, limit, restore};
use crate::error::{Error, Result};

/// What to write to get back to where things were, in the order in which it was noted.
#[derive(Debug, Default)]
struct Undo(Vec<(PathBuf, String)>);

impl Undo {
    /// Notes the file's content before `value` is written to it.
    fn note(&mut self, directory: &Path, name: &str, value: &str) -> Result<(), Errno> {
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
    fn run(self) -> Vec<String> {
        let mut failed = Vec::new();
        for (path, text) in self.0.into_iter().rev() {
            let now = || file::read_raw(&path).unwrap_or_default();
            // A refused write has changed nothing.
            if now().trim_ascii_end() == text.as_bytes() {
                continue;
            }
            if file::write_at(CWD, &path, text.as_bytes()).is_err() {
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

    /// Writes the limits in their order, then changes the device rules.
    ///
    /// # Errors
    /// One line with the JSON path, the file and the value; what was written before is put back.
    pub fn update(&mut self, plan: &CgroupPlan) -> Result<()> {
        self.open()?;
        let mut undo = Undo::default();
        let done = self.write_limits(plan, &mut undo).and_then(|()| match &plan.devices {
            Some(rules) => self.update_devices(rules),
            None => Ok(()),
        });
        done.map_err(|error| match undo.run() {
            failed if failed.is_empty() => error,
            failed => error.hint(format!("the old value could not be put back: {}", failed.join(", "))),
        })
    }

    fn write_limits(&self, plan: &CgroupPlan, undo: &mut Undo) -> Result<()> {
        let mut again = Vec::new();
        for write in &plan.writes {
            let Some(directory) = self.record.directories.get(write.directory) else { continue };
            if write.file == "cpu.rt_runtime_us" {
                budget_for_parents(&directory.path, write, undo)?;
            }
            undo.note_limit(&directory.path, write);
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

/// features.md C21: a cgroup's real-time budget is a part of its parent's, so parents that have less get as much,
/// from the outermost on. The root's own is the machine's.
fn budget_for_parents(directory: &Path, write: &Write, undo: &mut Undo) -> Result<()> {
    const RUNTIME: &str = "cpu.rt_runtime_us";
    let number = |directory: &Path, name: &str| {
        let content = file::read_raw(&file::join(directory, name)).ok()?;
        std::str::from_utf8(&content).ok()?.trim().parse::<i64>().ok()
    };
    let Some(period) = number(directory, "cpu.rt_period_us").filter(|period| *period > 0) else {
        return Ok(());
    };
    let Ok(wanted) = write.value.parse::<i64>() else { return Ok(()) };
    let is_root = |path: &Path| path.parent().is_none_or(|above| number(above, "cpu.rt_period_us").is_none());
    let mut parents: Vec<_> = directory.ancestors().skip(1).take_while(|path| !is_root(path)).collect();
    parents.reverse();
    for parent in parents {
        let (Some(own_period), Some(own)) = (number(parent, "cpu.rt_period_us"), number(parent, RUNTIME))
        else {
            continue;
        };
        // The same share of time, in the parent's period.
        let share = i128::from(wanted) * i128::from(own_period);
        let needed = (share + i128::from(period) - 1) / i128::from(period);
        if own < 0 || i128::from(own) >= needed {
            continue;
        }
        let (path, needed) = (file::join(parent, RUNTIME), needed.to_string());
        // Noted only if it can be put back.
        let _ = undo.note(parent, RUNTIME, &needed);
        file::write_at(CWD, &path, needed.as_bytes()).map_err(|errno| {
            Error::system(file::Writing { value: &needed, path: &path }, errno)
                .context(&write.json_path)
                .hint("the container's parents have too small a real-time budget")
        })?;
    }
    Ok(())
}
