//! Where a further process of a container goes: its cgroups, cgroups below them, or where its init is now.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use super::layout::{self, Layout};
use super::{Cgroup, Directory, Tasks, cant_open, file, open_directory};
use crate::error::{Error, Kind, Result};

/// `exec --cgroup` (features.md V40).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SubCgroups {
    /// The container's own.
    #[default]
    None,
    /// One path in every hierarchy.
    All(String),
    /// A path for each of these v1 controllers.
    Of(Vec<(String, String)>),
}

impl SubCgroups {
    /// Reads `PATH`, or `CONTROLLER[,CONTROLLER]:PATH` once or more.
    ///
    /// # Errors
    /// In runc's words.
    pub fn parse(given: &[String]) -> Result<Self> {
        let wrong = |text: String| Err(Error::new(Kind::Usage, text));
        let mut list: Vec<(String, String)> = Vec::new();
        for one in given {
            let Some((controllers, path)) = one.split_once(':') else {
                if given.len() > 1 {
                    return wrong(format!("invalid --cgroup argument: {one}: missing <controller>: prefix"));
                }
                return Ok(Self::All(one.clone()));
            };
            for controller in controllers.split(',') {
                if controller.is_empty() {
                    return wrong(format!("invalid --cgroup argument: {one}: empty <controller> prefix"));
                }
                if list.iter().any(|(known, _)| known == controller) {
                    return wrong(format!(
                        "invalid --cgroup argument(s): controller {controller} specified multiple times"
                    ));
                }
                list.push((controller.into(), path.into()));
            }
        }
        Ok(if list.is_empty() { Self::None } else { Self::Of(list) })
    }

    /// The cgroups of the process, one for each of the container's.
    fn below(&self, directories: &[Directory]) -> Result<Vec<PathBuf>> {
        if let Self::Of(list) = self
            && let Some((unknown, _)) =
                list.iter().find(|(name, _)| !directories.iter().any(|directory| directory.has(name)))
        {
            let text = format!("unknown controller {unknown} in SubCgroupPaths");
            return Err(Error::new(Kind::Usage, format!("--cgroup: {text}")));
        }
        let below = |directory: &Directory| {
            let path = match self {
                Self::None => None,
                Self::All(path) => Some(path),
                Self::Of(list) => list.iter().find(|(name, _)| directory.has(name)).map(|(_, path)| path),
            };
            path.map_or_else(|| Ok(directory.path.clone()), |path| inside(&directory.path, path))
        };
        directories.iter().map(below).collect()
    }
}

/// `path` below `directory`, which it does not leave (Z14).
fn inside(directory: &Path, path: &str) -> Result<PathBuf> {
    let mut parts: Vec<&std::ffi::OsStr> = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => parts.push(name),
            Component::ParentDir if parts.pop().is_none() => {
                let text = format!("--cgroup: bad sub cgroup path: {path} is not a sub cgroup path");
                return Err(Error::new(Kind::Usage, text));
            }
            _ => {}
        }
    }
    Ok(parts.into_iter().fold(directory.to_path_buf(), |path, part| path.join(part)))
}

/// The cgroups that a process is to be in.
#[derive(Debug, Default)]
pub struct Place {
    /// That of cgroup2, for `CLONE_INTO_CGROUP`.
    unified: Option<(PathBuf, OwnedFd)>,
    /// Those of v1.
    tasks: Tasks,
    /// They were named: nothing else is as good.
    named: bool,
    /// An ordinary user, who may not enter all of them, goes without.
    tolerant: bool,
}

impl Cgroup {
    /// Where a further process goes; all of it is opened. What is gone is replaced by the cgroup of `init`, a pid.
    /// `tolerant`: what an ordinary user may not enter is left.
    ///
    /// # Errors
    /// A controller or path of [`SubCgroups`] that is not there.
    pub fn place(&self, sub: &SubCgroups, init: i32, tolerant: bool) -> Result<Place> {
        let of_container = &self.record.directories[..];
        let named = *sub != SubCgroups::None;
        let mut place = Place { named, tolerant: tolerant && !named, ..Place::default() };
        for (path, own) in sub.below(of_container)?.into_iter().zip(of_container) {
            match own.controllers.as_str() {
                "" => place.open(path, init)?,
                controllers => place.add(&path, controllers, init)?,
            }
        }
        Ok(place)
    }
}

impl Place {
    /// The cgroup2 directory, for clone3(2).
    pub fn clone_into_fd(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(|(_, fd)| fd.as_fd())
    }

    /// The v1 cgroups, for the process itself.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    fn open(&mut self, path: PathBuf, init: i32) -> Result<()> {
        match open_directory(&path) {
            Ok(fd) => self.unified = Some((path, fd)),
            Err(Errno::NOENT | Errno::NODEV) if !self.named => self.take_inits(init)?,
            Err(errno) => return Err(cant_open(&path, errno)),
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, controllers: &str, init: i32) -> Result<()> {
        let mut added = self.tasks.add(path);
        if matches!(added, Err(Errno::NOENT | Errno::NODEV)) && !self.named {
            // Gone: somebody has moved init elsewhere.
            added = self.tasks.add(&of_process(init, controllers)?);
        }
        match added {
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) if self.tolerant => Ok(()),
            other => other.map_err(|errno| cant_open(path, errno)),
        }
    }

    /// cgroup2: the cgroup of init instead, after clone3(2) was refused in the container's: that has become threaded, or
    /// has passed controllers on to cgroups below it, one of which init moved to (S29). False if nothing else is
    /// allowed or there.
    ///
    /// # Errors
    /// That cgroup can't be found or opened.
    pub fn fall_back(&mut self, init: i32, errno: Errno) -> Result<bool> {
        if self.tolerant && matches!(errno, Errno::ACCESS | Errno::PERM) {
            return Ok(self.unified.take().is_some());
        }
        let other = matches!(errno, Errno::BUSY | Errno::OPNOTSUPP | Errno::NOENT | Errno::NODEV);
        let Some((before, _)) = self.unified.take().filter(|_| other && !self.named) else {
            return Ok(false);
        };
        self.take_inits(init)?;
        Ok(self.unified.as_ref().is_some_and(|(path, _)| *path != before))
    }

    fn take_inits(&mut self, init: i32) -> Result<()> {
        let path = of_process(init, "")?;
        let fd = open_directory(&path).map_err(|errno| cant_open(&path, errno))?;
        self.unified = Some((path, fd));
        Ok(())
    }
}

/// The cgroup that a process is in now, in the hierarchy of these controllers; none mean cgroup2.
fn of_process(pid: i32, controllers: &str) -> Result<PathBuf> {
    let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
    let host = layout::parse(&file::read(&path)?, false);
    let found = match (&host.layout, controllers) {
        (_, "") => Some((layout::find_mount("")?, host.own_v2.clone())),
        (Layout::V1 { hierarchies, .. }, _) => {
            let same = hierarchies.iter().find(|hierarchy| hierarchy.controllers == controllers);
            same.map(|hierarchy| (Some(hierarchy.mount.clone()), hierarchy.own.clone()))
        }
        (Layout::V2 { .. }, _) => None,
    };
    match found {
        Some((Some(mount), own)) => {
            // What lies outside of our own cgroup namespace is shown with `..`: out of reach.
            Ok(own.components().fold(mount, |path, part| match part {
                Component::Normal(name) => path.join(name),
                _ => path,
            }))
        }
        _ => Err(Error::new(Kind::System, format!("{}: no cgroup of init can be found", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &[&str]) -> Result<SubCgroups> {
        SubCgroups::parse(&given.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn directories() -> Vec<Directory> {
        let directory = |controllers: &str, path: &str| Directory {
            controllers: controllers.into(),
            path: path.into(),
            made: true,
        };
        vec![
            directory("cpu,cpuacct", "/c/cpu/x"),
            directory("memory", "/c/memory/x"),
            directory("", "/c/unified/x"),
        ]
    }

    /// [V40] The forms, and runc's words for what is none.
    #[test]
    fn sub_cgroups_are_named_in_two_ways() {
        assert_eq!(parse(&[]).unwrap(), SubCgroups::None);
        assert_eq!(parse(&["a/b"]).unwrap(), SubCgroups::All("a/b".into()));
        let two = vec![("cpu".to_string(), "a".to_string()), ("memory".into(), "a".into())];
        assert_eq!(parse(&["cpu,memory:a"]).unwrap(), SubCgroups::Of(two.clone()));
        assert_eq!(parse(&["cpu:a", "memory:a"]).unwrap(), SubCgroups::Of(two));
        for (given, text) in [
            (&["a", "cpu:b"][..], "invalid --cgroup argument: a: missing <controller>: prefix"),
            (&[":b"][..], "invalid --cgroup argument: :b: empty <controller> prefix"),
            (&["cpu:a", "cpu:b"][..], "controller cpu specified multiple times"),
        ] {
            let error = parse(given).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    /// [V40] [Z14] Never outside of the container's.
    #[test]
    fn sub_cgroups_stay_inside() {
        let below = |given: &[&str]| parse(given).unwrap().below(&directories());
        let paths = |given: &[&str]| {
            below(given).unwrap().iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(paths(&[]), ["/c/cpu/x", "/c/memory/x", "/c/unified/x"]);
        assert_eq!(paths(&["/a/./b/../c"]), ["/c/cpu/x/a/c", "/c/memory/x/a/c", "/c/unified/x/a/c"]);
        assert_eq!(paths(&["cpu:a"]), ["/c/cpu/x/a", "/c/memory/x", "/c/unified/x"]);
        for given in ["..", "a/../..", "/../x", "cpu:../x"] {
            let error = below(&[given]).unwrap_err().to_string();
            assert!(error.contains("bad sub cgroup path: "), "{error}");
        }
        let error = below(&["cpu:a", "pids:b"]).unwrap_err().to_string();
        assert!(error.contains("unknown controller pids"), "{error}");
    }
}
