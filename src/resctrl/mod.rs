//! `linux.intelRdt`: the container's group in the resctrl file system (Documentation/filesystems/resctrl.rst).
//!
//! Nothing here is touched, nor mountinfo read, for a container without `intelRdt`.

mod schemata;
#[cfg(test)]
mod tests;
mod update;

use std::path::{Path, PathBuf};

use procfs::process::{MountInfo, Process};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Kind, Result};

/// What the configuration wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResctrlPlan {
    /// The container's id: the name of its monitoring group, and of its group if it has no other.
    pub id: String,
    /// `closID`; `/` is the group of everybody.
    pub clos_id: Option<String>,
    /// What is written to `schemata`, in this order.
    pub lines: Vec<Line>,
    /// A monitoring group of its own.
    pub monitoring: bool,
}

/// One line for `schemata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where config.json has it.
    pub path: String,
    /// Without the line break.
    pub text: String,
}

/// What the state keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The group's directory.
    pub group: PathBuf,
    /// It was made for the container alone, and goes with it.
    pub made: bool,
    /// The monitoring group's directory, which goes with the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<PathBuf>,
}

/// A resctrl file system. Its mkdir makes the files of a group and its rmdir takes them away, which tests have to do
/// themselves.
#[derive(Clone, Debug)]
struct Tree {
    root: PathBuf,
    make: fn(&Path) -> Result<(), Errno>,
    remove: fn(&Path) -> Result<(), Errno>,
}

impl Tree {
    fn mounted_at(root: PathBuf) -> Self {
        Self {
            root,
            make: |path| rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)),
            remove: |path| rustix::fs::rmdir(path),
        }
    }
}

/// The group that a container is to be in, looked up and not made yet.
#[derive(Debug)]
pub struct Group<'a> {
    tree: Tree,
    plan: &'a ResctrlPlan,
    dir: PathBuf,
    /// Its directory is not there.
    missing: bool,
}

impl<'a> Group<'a> {
    /// Looks the group up in the mounted resctrl.
    ///
    /// # Errors
    /// resctrl is not mounted; the group is not there though nothing would make it, or has other schemata.
    pub fn find(plan: &'a ResctrlPlan) -> Result<Self> {
        let failed =
            |error| Error::new(Kind::System, format!("linux.intelRdt: read /proc/self/mountinfo: {error}"));
        let mounts = Process::myself().and_then(|me| me.mountinfo()).map_err(failed)?;
        let root = mount_point(mounts.0.iter()).ok_or_else(|| {
            Error::config("linux.intelRdt", "no resctrl file system is mounted")
                .hint("mount -t resctrl resctrl /sys/fs/resctrl, on a CPU that has it")
        })?;
        Self::find_in(plan, Tree::mounted_at(root.to_path_buf()))
    }

    fn find_in(plan: &'a ResctrlPlan, tree: Tree) -> Result<Self> {
        let dir = match plan.clos_id.as_deref() {
            Some("/") => tree.root.clone(),
            Some(name) => tree.root.join(name),
            None => tree.root.join(&plan.id),
        };
        let missing = match rustix::fs::lstat(&dir) {
            Ok(_) => false,
            Err(Errno::NOENT) => true,
            Err(errno) => {
                return Err(Error::system(format_args!("linux.intelRdt: stat {}", dir.display()), errno));
            }
        };
        let group = Self { tree, plan, dir, missing };
        group.check()?;
        Ok(group)
    }

    /// T3, T4: a group that others have set up must be there, and as the configuration has it.
    fn check(&self) -> Result<()> {
        if self.plan.clos_id.is_none() {
            return Ok(());
        }
        if self.missing {
            let text = format!("the resctrl group {} does not exist", self.dir.display());
            return match self.plan.lines.is_empty() {
                true => {
                    Err(Error::config("linux.intelRdt.closID", text).hint("without schemata it is not made"))
                }
                false => Ok(()),
            };
        }
        if self.plan.lines.is_empty() {
            return Ok(());
        }
        let file = self.dir.join("schemata");
        let present = std::fs::read_to_string(&file)
            .with_context(|| format!("linux.intelRdt: read {}", file.display()))?;
        let bandwidth = self.bandwidth();
        for (index, line) in self.plan.lines.iter().enumerate() {
            // Lines take effect in their order, so only the last word on a domain has to hold.
            let later = &self.plan.lines[index + 1..];
            if !schemata::holds(&present, &line.text, later.iter().map(|line| line.text.as_str()), bandwidth)
            {
                let text =
                    format!("{:?} is not what the resctrl group {} has", line.text, self.dir.display());
                return Err(Error::config(&line.path, text));
            }
        }
        Ok(())
    }

    /// How the kernel rounds `MB` values, if they are percentages.
    fn bandwidth(&self) -> schemata::Bandwidth {
        let number = |name: &str| {
            let text = std::fs::read_to_string(self.tree.root.join("info/MB").join(name)).unwrap_or_default();
            text.trim().parse().unwrap_or(0)
        };
        schemata::Bandwidth { minimum: number("min_bandwidth"), step: number("bandwidth_gran") }
    }

    /// What [`Group::create`] will make, for the state: written first.
    pub fn record(&self) -> Record {
        Record {
            group: self.dir.clone(),
            made: self.missing && self.plan.clos_id.is_none(),
            monitoring: self.plan.monitoring.then(|| self.dir.join("mon_groups").join(&self.plan.id)),
        }
    }

    /// Makes the group where it is missing, writes its schemata, makes the monitoring group.
    ///
    /// # Errors
    /// What failed, with the kernel's word on it; what was made is gone again then.
    pub fn create(&self) -> Result<()> {
        if self.missing {
            self.make(&self.dir, "linux.intelRdt")?;
        }
        let done = self.write().and_then(|()| match &self.record().monitoring {
            Some(dir) => self.make(dir, "linux.intelRdt.enableMonitoring"),
            None => Ok(()),
        });
        if done.is_err() && self.missing {
            let _ = (self.tree.remove)(&self.dir);
        }
        done
    }

    fn make(&self, dir: &Path, path: &str) -> Result<()> {
        (self.tree.make)(dir).map_err(|errno| {
            self.explain(Error::system(format_args!("{path}: make resctrl group {}", dir.display()), errno))
        })
    }

    /// One write a line: the kernel refuses a domain that comes twice in one.
    fn write(&self) -> Result<()> {
        // It was there already with these schemata.
        if !self.missing && self.plan.clos_id.is_some() {
            return Ok(());
        }
        let file = self.dir.join("schemata");
        for line in &self.plan.lines {
            write(&file, &format!("{}\n", line.text)).map_err(|errno| {
                let doing = format_args!("{}: write {:?} to {}", line.path, line.text, file.display());
                self.explain(Error::system(doing, errno))
            })?;
        }
        Ok(())
    }

    /// The kernel tells more than an errno in a file.
    fn explain(&self, error: Error) -> Error {
        let status = std::fs::read_to_string(self.tree.root.join("info/last_cmd_status")).unwrap_or_default();
        match status.trim() {
            "" | "ok" => error,
            status => error.hint(status.replace('\n', "; ")),
        }
    }
}

impl Record {
    /// Puts a process into the group and into the monitoring group, whose tasks must be in the group already.
    ///
    /// # Errors
    /// Names the file that refused it.
    pub fn attach(&self, pid: i32) -> Result<()> {
        for dir in std::iter::once(&self.group).chain(&self.monitoring) {
            let file = dir.join("tasks");
            write(&file, &pid.to_string())
                .with_context(|| format!("linux.intelRdt: write {pid} to {}", file.display()))?;
        }
        Ok(())
    }

    /// Removes what was made for the container; what is gone already is a success.
    ///
    /// # Errors
    /// Names the directory that cannot be removed.
    pub fn remove(&self) -> Result<()> {
        self.remove_by(|path| rustix::fs::rmdir(path))
    }

    fn remove_by(&self, remove: fn(&Path) -> Result<(), Errno>) -> Result<()> {
        for dir in self.monitoring.iter().chain(self.made.then_some(&self.group)) {
            match remove(dir) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(Error::system(format_args!("remove resctrl group {}", dir.display()), errno));
                }
            }
        }
        Ok(())
    }
}

/// Where resctrl is mounted as a whole, not only one of its groups.
fn mount_point<'a>(mut mounts: impl Iterator<Item = &'a MountInfo>) -> Option<&'a Path> {
    mounts
        .find(|mount| mount.fs_type == "resctrl" && mount.root == "/")
        .map(|mount| mount.mount_point.as_path())
}

fn write(file: &Path, text: &str) -> Result<(), Errno> {
    let fd = rustix::fs::open(file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::retry_on_intr(|| rustix::io::write(&fd, text.as_bytes())).map(drop)
}
