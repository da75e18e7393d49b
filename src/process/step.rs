//! The steps of init, numbered, so that even a killed child leaves word of where it was.

use crate::sys::page::SharedWord;

crate::fault::numbered! {
/// What init does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Step {
    /// New session, name, death signal.
    Start,
    /// Becoming root of a user namespace.
    UserNamespace,
    /// Entering a namespace by path; the index is that of `linux.namespaces`.
    Join,
    /// Entering the namespaces of a container that is there already.
    Enter,
    /// Making a time namespace.
    TimeNamespace,
    /// Host and domain name.
    Names,
    /// Making the rootfs a mount of its own.
    Root,
    /// Waiting for the parent.
    Wait,
    /// Entering a v1 cgroup; the index is that of [`crate::cgroups::Tasks`].
    Cgroup,
    /// Making a cgroup namespace.
    CgroupNamespace,
    /// An entry of `mounts`.
    Mount,
    /// A device node; the index is that of the plan.
    Device,
    /// The links below /dev.
    DevLinks,
    /// A createContainer hook.
    CreateContainer,
    /// `process.terminal`.
    Terminal,
    /// The working directory.
    WorkingDirectory,
    /// An entry of `linux.maskedPaths`.
    Masked,
    /// An entry of `linux.readonlyPaths`.
    Readonly,
    /// A tmpfs with `ro`, now that it is filled; the index is that of `mounts`.
    ReadonlyMount,
    /// `root.readonly`.
    ReadonlyRoot,
    /// Loopback device.
    Loopback,
    /// An entry of the plan's kernel parameters.
    Sysctl,
    /// `process.oomScoreAdj`.
    OomScore,
    /// `process.apparmorProfile`.
    AppArmor,
    /// `process.selinuxLabel`.
    Selinux,
    /// Changing the root.
    Pivot,
    /// The standard streams.
    Streams,
    /// Session keyring.
    Keyring,
    /// An entry of `process.rlimits`.
    Rlimit,
    /// `process.scheduler`.
    Scheduler,
    /// `process.ioPriority`.
    IoPriority,
    /// `linux.personality`.
    Personality,
    /// `linux.memoryPolicy`.
    MemoryPolicy,
    /// The core scheduling cookie.
    CoreScheduling,
    /// `process.noNewPrivileges`.
    NoNewPrivileges,
    /// The ruleset of Landlock.
    Landlock,
    /// A path of it; the index is that of the plan.
    LandlockPath,
    /// Bounding set.
    Bounding,
    /// Supplementary groups.
    Groups,
    /// User and group id.
    Ids,
    /// Capability sets.
    Capabilities,
    /// `process.execCPUAffinity.final`.
    Affinity,
    /// Looking up the program.
    Lookup,
    /// Waiting for `start`.
    Created,
    /// A startContainer hook.
    StartContainer,
    /// Loading the filter.
    Seccomp,
    /// Passing on the listener of SCMP_ACT_NOTIFY.
    Listener,
    /// execve(2).
    Exec,
    /// It failed, under a filter that may forbid to tell; the index is the errno.
    ExecFailed,
}
}

/// A step with the index of the item that it is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The step.
    pub step: Step,
    /// Which item of its list, 0 without one.
    pub index: usize,
}

impl Position {
    /// One word for the shared page and the channel.
    pub fn to_word(self) -> u32 {
        u32::from(self.step as u8) << 24 | u32::try_from(self.index & 0xff_ffff).unwrap_or(0)
    }

    /// Reads what [`Position::to_word`] made.
    pub fn from_word(word: u32) -> Self {
        let number = word >> 24;
        let step =
            Step::ALL.iter().copied().find(|step| u32::from(*step as u8) == number).unwrap_or(Step::Start);
        Self { step, index: usize::try_from(word & 0xff_ffff).unwrap_or(0) }
    }
}

/// Where init is, seen by both sides.
#[derive(Debug)]
pub struct Progress {
    word: SharedWord,
}

impl Progress {
    /// At the start.
    ///
    /// # Errors
    /// No memory.
    pub fn new() -> Result<Self, rustix::io::Errno> {
        Ok(Self { word: SharedWord::new()? })
    }

    /// Notes the step that begins; one store.
    pub fn enter(&self, step: Step) {
        self.at(step, 0);
    }

    /// Notes the item that a step is at.
    pub fn at(&self, step: Step, index: usize) {
        self.word.set(Position { step, index }.to_word());
    }

    /// Where it is.
    pub fn position(&self) -> Position {
        Position::from_word(self.word.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_the_word() {
        for (number, step) in Step::ALL.iter().copied().enumerate() {
            assert_eq!(usize::from(step as u8), number);
            let position = Position { step, index: number * 1000 };
            assert_eq!(Position::from_word(position.to_word()), position);
        }
    }
}
