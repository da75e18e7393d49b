//! Device rules of a running container, changed without a moment in which more or less is allowed than before or after
//! (features.md D9, D10, W3).

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;

use super::devices::{Access, DeviceRules};
use super::{Cgroup, device_program, file};
use crate::error::{Error, Result};
use crate::sys::bpf;

/// How cgroup v1 gets from one list of rules to another.
#[derive(Debug, PartialEq, Eq)]
enum Transition {
    /// File and line each: what is new first, then what goes.
    Steps(Vec<(&'static str, String)>),
    /// Another answer where no rule matches, or exceptions from "all" that the kernel does not show: from the start.
    Reset,
}

/// `present` is what `devices.list` shows.
fn transition(present: &str, wanted: &DeviceRules) -> Transition {
    let Some(old) = exceptions(present.lines()) else { return Transition::Reset };
    if wanted.default_allow {
        return Transition::Reset;
    }
    let texts: Vec<_> = wanted.rules.iter().map(ToString::to_string).collect();
    let Some(new) = exceptions(texts.iter().map(String::as_str)) else { return Transition::Reset };
    let less = |from: &BTreeMap<String, u8>, than: &BTreeMap<String, u8>, file: &'static str| {
        let left = from.iter().filter_map(|(device, bits)| {
            let access = Access::from_bits(bits & !than.get(device).unwrap_or(&0))?;
            Some((file, format!("{device} {access}")))
        });
        left.collect::<Vec<_>>()
    };
    let mut steps = less(&new, &old, "devices.allow");
    steps.extend(less(&old, &new, "devices.deny"));
    Transition::Steps(steps)
}

/// `c 1:3` → the uses allowed; `None` if all devices are allowed, or for a line that is none.
fn exceptions<'l>(lines: impl Iterator<Item = &'l str>) -> Option<BTreeMap<String, u8>> {
    let mut all = BTreeMap::new();
    for line in lines {
        let (device, access) = line.rsplit_once(' ')?;
        if device.starts_with('a') {
            return None;
        }
        *all.entry(device.to_string()).or_default() |= Access::parse(access)?.bits();
    }
    Some(all)
}

fn refused(path: &Path, value: &str, errno: Errno) -> Error {
    Error::system(file::Writing { value, path }, errno).context("linux.resources.devices")
}

impl Cgroup {
    /// Puts `rules` in the place of those that the container has.
    ///
    /// # Errors
    /// The kernel refuses them; the old ones hold.
    pub(super) fn update_devices(&self, rules: &DeviceRules) -> Result<()> {
        if let Some(fd) = &self.fd {
            let failed = |doing: &str, errno| {
                Error::system(format_args!("linux.resources.devices: {doing} the device program"), errno)
            };
            let old = bpf::attached_device_program(fd.as_fd()).map_err(|errno| failed("look for", errno))?;
            let done = match old {
                None if rules.allow_everything() => return Ok(()),
                None => bpf::attach_device_program(fd.as_fd(), device_program::load(rules)?.as_fd()),
                Some(old) => {
                    let program = device_program::load(rules)?;
                    bpf::replace_device_program(fd.as_fd(), program.as_fd(), old.as_fd())
                }
            };
            return done.map_err(|errno| failed("replace", errno));
        }
        let Some(directory) = self.v1("devices") else { return Ok(()) };
        let list = file::join(directory, "devices.list");
        let present = file::read(&list)?;
        match transition(&String::from_utf8_lossy(&present), rules) {
            Transition::Steps(steps) => step_by_step(directory, &steps),
            Transition::Reset => self.reset_devices(directory, rules),
        }
    }

    /// Sets the default and then each exception, while nobody can look: the container stands still for that time.
    fn reset_devices(&self, directory: &Path, rules: &DeviceRules) -> Result<()> {
        let paused = self.is_frozen()?;
        if !paused {
            self.freeze()?;
        }
        let done = reset(directory, rules);
        if !paused {
            self.thaw()?;
        }
        done
    }
}

fn reset(directory: &Path, rules: &DeviceRules) -> Result<()> {
    let first = file::join(directory, rules.v1_reset_file());
    file::write_at(CWD, &first, b"a").map_err(|errno| refused(&first, "a", errno))?;
    if rules.rules.is_empty() {
        return Ok(());
    }
    let path = file::join(directory, rules.v1_file());
    let lines: Vec<_> = rules.rules.iter().map(ToString::to_string).collect();
    file::write_each(&path, &lines).map_err(|(line, errno)| refused(&path, line, errno))
}

/// Puts back what `devices.list` showed, where all but exceptions was denied.
pub(super) fn put_back(directory: &Path, shown: &str) -> Result<()> {
    let now = file::read(&file::join(directory, "devices.list"))?;
    if now == shown.as_bytes() {
        return Ok(());
    }
    let all = file::join(directory, "devices.deny");
    file::write_at(CWD, &all, b"a").map_err(|errno| refused(&all, "a", errno))?;
    let path = file::join(directory, "devices.allow");
    let lines: Vec<_> = shown.lines().map(ToString::to_string).collect();
    file::write_each(&path, &lines).map_err(|(line, errno)| refused(&path, line, errno))
}

/// Each step is one exception more or less; those done are taken back if one fails.
fn step_by_step(directory: &Path, steps: &[(&'static str, String)]) -> Result<()> {
    let path = |name: &str| -> PathBuf { file::join(directory, name) };
    for (done, (name, line)) in steps.iter().enumerate() {
        let Err(errno) = file::write_at(CWD, &path(name), line.as_bytes()) else { continue };
        for (name, line) in steps.iter().take(done).rev() {
            let other = if *name == "devices.allow" { "devices.deny" } else { "devices.allow" };
            // What was there a moment ago is taken again.
            let _ = file::write_at(CWD, &path(other), line.as_bytes());
        }
        return Err(refused(&path(name), line, errno));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::devices::tests::rule;
    use super::*;

    fn rules(list: &[&str]) -> DeviceRules {
        DeviceRules::reduce(&list.iter().map(|text| rule(text)).collect::<Vec<_>>())
    }

    /// [D9] The fewest writes, and never a moment without what both lists allow.
    #[test]
    fn only_what_differs_is_written() {
        let new = rules(&["allow c 1:3 rwm", "allow c 10:229 rw", "allow b *:* m"]);
        let Transition::Steps(steps) = transition("c 1:3 rw\nb *:* m\nc 5:0 rwm\nc 10:229 rwm\n", &new)
        else {
            panic!("steps");
        };
        let steps: Vec<_> = steps.iter().map(|(file, line)| format!("{file} {line}")).collect();
        assert_eq!(steps, ["devices.allow c 1:3 m", "devices.deny c 10:229 m", "devices.deny c 5:0 rwm"]);
        assert_eq!(transition("c 10:229 rw\nc 1:3 rwm\nb *:* m\n", &new), Transition::Steps(vec![]));
    }

    /// Nothing less than a new start will do where the default changes.
    #[test]
    fn another_default_starts_anew() {
        assert_eq!(transition("a *:* rwm\n", &rules(&["allow c 1:3 r"])), Transition::Reset);
        assert_eq!(transition("c 1:3 r\n", &rules(&["allow a", "deny c 1:3 r"])), Transition::Reset);
    }
}
