//! A failure in the child: no text, no allocation; the parent makes the sentence of it.

use rustix::io::Errno;

/// An enumeration whose variants can be listed: `ALL`, in the order of their numbers.
macro_rules! numbered {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident,)+ }) => {
        $(#[$meta])*
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),+];
        }
    };
}
pub(crate) use numbered;

numbered! {
/// What the child was doing inside a step when a system call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Action {
    /// Nothing more than the step says.
    Step,
    /// Finding or making the mount point.
    Target,
    /// Opening what is to be mounted.
    Source,
    /// mount(2).
    Mount,
    /// Setting mount flags.
    Flags,
    /// Putting the mount into place.
    Attach,
    /// Changing propagation.
    Propagation,
    /// pivot_root(2).
    Root,
    /// The target must be an ordinary directory, without symlinks on the way.
    Plain,
    /// Only procfs may cover /proc.
    NotProcfs,
    /// Something else is at the path already.
    Occupied,
    /// /dev/null is not the null device.
    NotNull,
    /// Changing the owner.
    Owner,
    /// Opening the file that is to be written.
    Open,
    /// Writing it.
    Write,
    /// The program was not found in PATH.
    NotFound,
    /// The program is a directory.
    IsDirectory,
    /// What is mounted would hide a part of procfs.
    OverProc,
    /// The working directory is outside of the container's root.
    Outside,
    /// A mount's flags are locked by the user namespace and were to be cleared.
    LockedFlags,
    /// The access time mode of a mount is locked by the user namespace and was to be changed.
    LockedAccessTime,
    /// Copying what a directory holds into the tmpfs over it.
    CopyUp,
    /// Setting an SELinux label.
    Label,
    /// Entering a namespace.
    Join,
    /// The terminal is not to come from anything but a devpts.
    NotDevpts,
    /// Sending a descriptor.
    Send,
}
}

impl Action {
    /// The action with this number, as it crossed the channel.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| *action as u8 == number)
    }
}

/// A failed system call in the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was being done.
    pub action: Action,
    /// Why it failed.
    pub errno: Errno,
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self { action: Action::Step, errno }
    }
}

/// Names the action that failed.
pub trait During<T> {
    /// Turns an errno into a [`Fault`] of `action`.
    ///
    /// # Errors
    /// The same failure.
    fn during(self, action: Action) -> Result<T, Fault>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, action: Action) -> Result<T, Fault> {
        self.map_err(|errno| Fault { action, errno })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_cross_as_numbers() {
        for action in Action::ALL.iter().copied() {
            assert_eq!(Action::from_number(action as u8), Some(action));
        }
        assert_eq!(Action::from_number(200), None);
    }
}
