//! Carries a [`CgroupPlan`] out: directories, controllers, limits, device rules; undone as a whole if a part fails.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;

use super::steps::{CgroupPlan, PlannedDir, Write};
use super::{Cgroup, Directory, cant_open, cpuset, file, layout, limit, open_directory, processes, threaded};
use crate::error::{Error, Kind, Result};

/// Whether mkdir made the directory; false if it was there.
type Made = Result<bool, Errno>;

/// How often directories are made again that somebody removes meanwhile.
pub const RACES: usize = 10;

const MODE: Mode = Mode::from_raw_mode(0o755);

impl Cgroup {
    /// Makes the container's cgroups and sets everything that the plan says; no process is moved yet.
    ///
    /// # Errors
    /// One line with the JSON path, the file and the value. What was made is removed again. A cgroup that was there
    /// before and has processes or is frozen is refused (features.md C8).
    pub fn create(plan: &CgroupPlan) -> Result<Self> {
        if plan.scope.is_some() { Self::before_scope(plan) } else { carry_out(plan) }
    }

    /// Takes a creation back: as [`Self::remove`], and the parents that were made for it go too, unless others use
    /// them by now.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub fn undo(&mut self) -> Result<()> {
        self.fd = None;
        let removed = self.remove();
        for parent in self.parents.drain(..).rev() {
            // A parent that another container has moved into is busy and stays.
            let _ = rustix::fs::rmdir(parent);
        }
        removed
    }
}

/// Makes everything, or nothing; from the start if somebody has removed a part meanwhile.
pub(super) fn carry_out(plan: &CgroupPlan) -> Result<Cgroup> {
    let mut rounds = RACES;
    loop {
        let mut making = Making::new(plan);
        let Err(error) = making.run() else { return Ok(making.cgroup) };
        let lost = making.cgroup.record.directories.iter().any(|directory| !directory.path.exists());
        // The error that is told is the one that came first.
        let _ = making.cgroup.undo();
        if !lost || rounds == 0 {
            return Err(error);
        }
        rounds -= 1;
    }
}

/// A creation under way.
pub(super) struct Making<'p> {
    pub(super) plan: &'p CgroupPlan,
    pub(super) cgroup: Cgroup,
    /// For each planned directory its place in the record; `None`: gone without.
    pub(super) index: Vec<Option<usize>>,
    /// systemd has started the unit: its cgroups are there, with init in them, and count as made.
    pub(super) started: bool,
    /// Who is moved into the new cgroup before its parent, where it is now, hands controllers down: that it can't with a
    /// process of its own.
    pub(super) first_in: Option<i32>,
}

impl<'p> Making<'p> {
    pub(super) fn new(plan: &'p CgroupPlan) -> Self {
        Self { plan, cgroup: Cgroup::default(), index: Vec::new(), started: false, first_in: None }
    }

    pub(super) fn run(&mut self) -> Result<()> {
        for at in 0..self.plan.directories.len() {
            self.directory(at)?;
        }
        if let Some(pid) = self.first_in {
            self.cgroup.attach(pid)?;
        }
        if self.cgroup.is_v2() {
            self.prepare_v2()?;
        }
        if self.cgroup.v1("cpuset").is_some() {
            self.fill_cpuset()?;
        }
        self.limits()?;
        self.devices()?;
        self.cgroup.give(self.plan.owner)
    }

    /// Makes one directory, or goes without where that is allowed.
    pub(super) fn directory(&mut self, at: usize) -> Result<()> {
        let planned = &self.plan.directories[at];
        let (path, made) = match rustix::fs::mkdirat(CWD, &planned.path, MODE) {
            Ok(()) => (planned.path.clone(), Ok(true)),
            Err(Errno::EXIST) => (planned.path.clone(), Ok(false)),
            // A parent is missing, or the hierarchy is not mounted where it usually is.
            Err(Errno::NOENT) => match self.with_parents(planned)? {
                Some((path, made)) => (path, made),
                None => return self.not_mounted(at),
            },
            Err(errno) => (planned.path.clone(), Err(errno)),
        };
        let made = match made {
            Ok(made) => made,
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) if self.plan.rootless => return self.denied(at),
            Err(errno) => return Err(Error::system(format_args!("make cgroup {}", path.display()), errno)),
        };
        let made = made || self.started;
        if !made {
            refuse_used(&path, &planned.controllers)?;
        }
        self.index.push(Some(self.cgroup.record.directories.len()));
        self.cgroup.record.directories.push(Directory {
            controllers: planned.controllers.clone(),
            path,
            made,
        });
        Ok(())
    }

    /// Makes the missing parents and the directory. `None`: the hierarchy is not mounted at all.
    fn with_parents(&mut self, planned: &PlannedDir) -> Result<Option<(PathBuf, Made)>> {
        let (mount, below) = planned.path.as_os_str().as_bytes().split_at(planned.mount_len);
        let (mount, below) = (Path::new(OsStr::from_bytes(mount)), OsStr::from_bytes(below));
        let mount = if is_cgroup(mount) {
            mount.to_path_buf()
        } else {
            match layout::find_mount(&planned.controllers)? {
                Some(mount) => mount,
                None => return Ok(None),
            }
        };
        let names: Vec<_> = Path::new(below).iter().filter(|name| *name != "/").collect();
        let mut result = self.descend(&mount, &names);
        for _ in 0..RACES {
            match result.1 {
                // Another creation has just been taken back, and a parent with it.
                Err(Errno::NOENT) => result = self.descend(&mount, &names),
                _ => break,
            }
        }
        Ok(Some(result))
    }

    /// Makes each directory in turn, from the mount point down.
    fn descend(&mut self, mount: &Path, names: &[&OsStr]) -> (PathBuf, Made) {
        let mut path = mount.to_path_buf();
        let mut made = Ok(false);
        for (at, name) in names.iter().enumerate() {
            path.push(name);
            made = match rustix::fs::mkdirat(CWD, &path, MODE) {
                Ok(()) => Ok(true),
                Err(Errno::EXIST) => Ok(false),
                Err(errno) => return (path, Err(errno)),
            };
            if made == Ok(true) && at + 1 < names.len() {
                self.cgroup.parents.push(path.clone());
            }
        }
        (path, made)
    }

    fn not_mounted(&mut self, at: usize) -> Result<()> {
        let controllers = &self.plan.directories[at].controllers;
        let missing = |path: &str| {
            let message = format!("cgroup controller {controllers} is not mounted");
            Err(Error::new(Kind::System, format!("{path}: {message}"))
                .hint(format!("mount it at {}", self.plan.directories[at].path.display())))
        };
        if let Some(write) = self.plan.writes.iter().find(|write| write.directory == at) {
            return missing(&write.json_path);
        }
        if self.plan.devices.is_some() && controllers.split(',').any(|controller| controller == "devices") {
            return missing("linux.resources.devices");
        }
        self.index.push(None);
        Ok(())
    }

    /// features.md C15: without rights, a container that asks for nothing runs without cgroups.
    fn denied(&mut self, at: usize) -> Result<()> {
        let planned = &self.plan.directories[at];
        let wanted = || self.plan.writes.iter().filter(|write| write.directory == at);
        let pids = wanted().find(|write| write.file == "pids.max");
        let path = match pids.or_else(|| wanted().next()) {
            Some(write) => &*write.json_path,
            None if self.plan.explicit_path => "linux.cgroupsPath",
            None => {
                self.index.push(None);
                return Ok(());
            }
        };
        let text = if pids.is_some() {
            "cannot set pids limit: container could not join or create cgroup"
        } else {
            "rootless needs no limits + no cgrouppath when no permission is granted for cgroups"
        };
        Err(Error::new(Kind::System, format!("{path}: {text} ({})", planned.path.display())).hint(
            "have the cgroup delegated to this user, for instance by systemd-run --user --scope -p Delegate=yes",
        ))
    }

    /// Opens the directory and gives it the controllers that the root has, through all its ancestors
    /// (features.md C9).
    fn prepare_v2(&mut self) -> Result<()> {
        let path = self.cgroup.record.directories[0].path.clone();
        let opened = open_directory(&path);
        let failed = |what: String| move |errno: Errno| Error::system(what, errno);
        self.cgroup.fd = Some(opened.map_err(|errno| cant_open(&path, errno))?);
        // A rootless container on a hybrid host may have no other.
        let planned = self.plan.directories.iter().find(|planned| planned.controllers.is_empty());
        let mount_len = planned.map_or(0, |planned| planned.mount_len);
        let mount = path.ancestors().find(|above| above.as_os_str().len() <= mount_len).unwrap_or(&path);
        let controllers = |directory: &Path| {
            let file = file::join(directory, "cgroup.controllers");
            let content = file::read_raw(&file).map_err(failed(format!("read {}", file.display())))?;
            Ok::<_, Error>(String::from_utf8_lossy(content.trim_ascii()).into_owned())
        };
        let wanted = controllers(mount)?;
        let have = controllers(&path)?;
        let missing: Vec<_> = wanted
            .split(' ')
            .filter(|name| !name.is_empty() && !have.split(' ').any(|h| h == *name))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        // A threaded cgroup always lacks some, so that nobody else pays for this look.
        let made = || self.cgroup.parents.iter().chain([&path]).map(PathBuf::as_path);
        threaded::settle(made(), &path, &self.plan.writes)?;
        let mut above: Vec<_> =
            path.ancestors().skip(1).take_while(|a| a.as_os_str().len() >= mount.as_os_str().len()).collect();
        above.reverse();
        above.into_iter().for_each(|directory| enable(directory, &missing));
        // One that has processes of its own can hand down only those that divide threads, and it changes with that.
        threaded::settle(made(), &path, &self.plan.writes)
    }

    fn fill_cpuset(&self) -> Result<()> {
        let Some(at) =
            self.plan.directories.iter().position(|d| d.controllers.split(',').any(|c| c == "cpuset"))
        else {
            return Ok(());
        };
        let Some(directory) = self.index[at].map(|place| &self.cgroup.record.directories[place]) else {
            return Ok(());
        };
        let planned = &self.plan.directories[at];
        // The mount point may be another one than planned, the part below it is the same.
        let below = planned.path.as_os_str().len() - planned.mount_len;
        cpuset::fill(&directory.path, directory.path.as_os_str().len() - below, directory.made)
    }

    fn limits(&self) -> Result<()> {
        let mut again = Vec::new();
        for write in &self.plan.writes {
            let Some(directory) = self.index[write.directory].map(|at| &self.cgroup.record.directories[at])
            else {
                continue;
            };
            if write.skip_if_new && directory.made {
                continue;
            }
            match self.write(directory, write) {
                Err(error) if write.retry_last && error.errno() == Some(Errno::INVAL.raw_os_error()) => {
                    again.push((directory, write));
                }
                other => other?,
            }
        }
        again.into_iter().try_for_each(|(directory, write)| self.write(directory, write))
    }

    fn write(&self, directory: &Directory, write: &Write) -> Result<()> {
        limit::write(self.cgroup.fd.as_ref(), directory, write)
    }

    fn devices(&self) -> Result<()> {
        let Some(rules) = &self.plan.devices else { return Ok(()) };
        if let Some(fd) = &self.cgroup.fd {
            if rules.allow_everything() {
                return Ok(());
            }
            let program = super::device_program::load(rules)?;
            return crate::sys::bpf::attach_device_program(fd.as_fd(), program.as_fd()).map_err(|errno| {
                Error::system("linux.resources.devices: attach the device program to the cgroup", errno)
            });
        }
        let Some(directory) = self.cgroup.v1("devices") else { return Ok(()) };
        rules.check_v1()?;
        let failed = |path: &Path, value: &str, errno| {
            Error::system(file::Writing { value, path }, errno).context("linux.resources.devices")
        };
        let reset = file::join(directory, rules.v1_reset_file());
        file::write_at(CWD, &reset, b"a").map_err(|errno| failed(&reset, "a", errno))?;
        if rules.rules.is_empty() {
            return Ok(());
        }
        let path = file::join(directory, rules.v1_file());
        let lines: Vec<_> = rules.rules.iter().map(ToString::to_string).collect();
        file::write_each(&path, &lines).map_err(|(line, errno)| failed(&path, line, errno))
    }
}

/// Enables the controllers for the directory's children. What can't be enabled shows when a limit needs it.
pub(super) fn enable(directory: &Path, controllers: &[&str]) {
    let path = file::join(directory, "cgroup.subtree_control");
    let all: Vec<_> = controllers.iter().map(|name| format!("+{name}")).collect();
    if file::write_at(CWD, &path, all.join(" ").as_bytes()).is_err() && all.len() > 1 {
        for one in &all {
            let _ = file::write_at(CWD, &path, one.as_bytes());
        }
    }
}

/// features.md C8: a cgroup that was there before must be unused.
pub(super) fn refuse_used(path: &Path, controllers: &str) -> Result<()> {
    let pids = processes::list(path)?;
    if !pids.is_empty() {
        let text = format!("container's cgroup is not empty: {} process(es) found", pids.len());
        return Err(Error::new(Kind::State, text).hint(format!("see {}/cgroup.procs", path.display())));
    }
    let file = if controllers.is_empty() { "cgroup.freeze" } else { "freezer.state" };
    let mut buffer = [0; 1024];
    let state = file::read_short(&file::join(path, file), &mut buffer).unwrap_or(b"");
    if matches!(state.trim_ascii(), b"1" | b"FROZEN" | b"FREEZING") {
        let text = "container's cgroup unexpectedly frozen";
        return Err(Error::new(Kind::State, text).hint(format!("see {}/{file}", path.display())));
    }
    Ok(())
}

/// True if the path is in a cgroup file system of either version.
fn is_cgroup(path: &Path) -> bool {
    const CGROUP_SUPER_MAGIC: rustix::fs::FsWord = 0x0027_e0eb;
    rustix::fs::statfs(path)
        .is_ok_and(|found| layout::is_cgroup2(&found) || found.f_type == CGROUP_SUPER_MAGIC)
}
