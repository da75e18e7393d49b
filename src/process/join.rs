//! Namespaces that are joined by path.
//!
//! A namespace may be joined by who has rights over the user namespace that owns it: the runtime, or else init once it is in the
//! container's user namespace. Which of both it is can't be seen from the path, so each is tried in that order (N6, N12).

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::step::{Progress, Step};
use crate::error::{Context, Result};
use crate::namespaces::{Join, flag, name};
use crate::sys::clone;

/// Namespace files, opened by the parent.
#[derive(Debug)]
pub struct Joins<'p>(Vec<Opened<'p>>);

#[derive(Debug)]
struct Opened<'p> {
    join: &'p Join,
    file: OwnedFd,
    done: Cell<bool>,
}

impl<'p> Joins<'p> {
    /// Opens the files, in order.
    ///
    /// # Errors
    /// `linux.namespaces[N].path: open network namespace /x: no such file or directory`.
    pub fn open(list: impl IntoIterator<Item = &'p Join>) -> Result<Self> {
        let open = |join| open(join).map(|file| Opened { join, file, done: Cell::new(false) });
        list.into_iter().map(open).collect::<Result<_>>().map(Self)
    }

    /// Joins all that are not joined yet. `early`: what takes other rights is left for later.
    ///
    /// # Errors
    /// EINVAL (of another type), EPERM (not with `early`).
    pub fn join(&self, progress: &Progress, early: bool) -> Result<(), Errno> {
        for opened in self.0.iter().filter(|opened| !opened.done.get()) {
            progress.at(Step::Join, opened.join.index);
            let kind = i32::try_from(flag(opened.join.kind)).unwrap_or(0);
            match clone::setns(opened.file.as_fd(), kind) {
                Err(Errno::PERM) if early => {}
                other => other.map(|()| opened.done.set(true))?,
            }
        }
        Ok(())
    }
}

/// Opens the file of one namespace. Without blocking: a fifo has no place here, but may be behind the path.
///
/// # Errors
/// As [`Joins::open`].
pub fn open(join: &Join) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::openat(CWD, &join.path, flags, Mode::empty()).with_context(|| {
        let (kind, path) = (name(join.kind), join.path.to_string_lossy());
        format!("linux.namespaces[{}].path: open {kind} namespace {path}", join.index)
    })
}
