//! The container's terminal: a pseudo-terminal of its own devpts, and /dev/console (R7).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::pty::OpenptFlags;

use super::mounts::attach;
use super::paths::{Missing, make_one, open_inside, open_or_make};
use crate::fault::{Action, During, Fault};

/// linux/magic.h
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
/// fs/devpts/inode.c: the number that its ptmx has in every instance.
const PTMX_INODE: u64 = 2;
/// `tty`'s own rights: its user reads and writes, its group writes (write(1), wall(1)).
const MODE: u32 = 0o620;

/// Both ends of a pseudo-terminal (pty(7)).
#[derive(Debug)]
pub struct Pty {
    /// What a terminal emulator holds.
    pub master: OwnedFd,
    /// The terminal itself, mode 0620.
    pub slave: OwnedFd,
}

/// Makes one in `dev/pts` below `root`. Only the kernel makes names in a devpts, so that nothing can be put in the
/// place of its ptmx, and the other end is had from the master, not by a name.
///
/// # Errors
/// [`Action::NotDevpts`]; those of open(2): ENOENT, ENOSPC (too many terminals).
pub fn open(root: BorrowedFd<'_>) -> Result<Pty, Fault> {
    let not_devpts = |errno| Fault { action: Action::NotDevpts, errno };
    let directory =
        open_inside(root, c"dev/pts", false, OFlags::PATH | OFlags::DIRECTORY).during(Action::Open)?;
    if rustix::fs::fstatfs(&directory)?.f_type != DEVPTS_SUPER_MAGIC {
        return Err(not_devpts(rustix::io::Errno::NODEV));
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let master = match openat2(&directory, c"ptmx", flags, Mode::empty(), resolve) {
        Err(errno @ rustix::io::Errno::XDEV) => return Err(not_devpts(errno)),
        other => other.during(Action::Open)?,
    };
    let stat = rustix::fs::fstat(&master)?;
    let character = FileType::from_raw_mode(stat.st_mode).is_char_device();
    if !character || stat.st_rdev != rustix::fs::makedev(5, 2) || stat.st_ino != PTMX_INODE {
        return Err(not_devpts(rustix::io::Errno::NODEV));
    }
    rustix::pty::unlockpt(&master)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    if rustix::fs::fstat(&slave)?.st_mode & 0o7777 != MODE {
        // As its devpts has no `mode=0620`.
        rustix::fs::fchmod(&slave, Mode::from_raw_mode(MODE))?;
    }
    Ok(Pty { master, slave })
}

/// Binds the terminal on `dev/console` below `root`, which is made if it is missing and must not be a symlink.
///
/// # Errors
/// Those of openat(2): ELOOP, EROFS; of open_tree(2) and move_mount(2).
pub fn bind(root: BorrowedFd<'_>, slave: &OwnedFd) -> Result<(), Fault> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(slave, c"", flags).during(Action::Source)?;
    let dev = open_or_make(root, c"dev", Missing::Directory).during(Action::Target)?;
    let place = make_one(&dev, c"console", Missing::File).during(Action::Target)?;
    attach(tree.as_fd(), place.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn root(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    /// [Z6] [F1] From a devpts, and from nothing else.
    #[test]
    fn terminals_come_from_a_devpts() {
        let base = std::env::temp_dir().join(format!("davit-console-{}", std::process::id()));
        std::fs::create_dir_all(base.join("dev/pts")).unwrap();
        let failure = |base: &Path| open(root(base).as_fd()).unwrap_err();
        std::fs::write(base.join("dev/pts/ptmx"), "").unwrap();
        assert_eq!(failure(&base).action, Action::NotDevpts);
        std::fs::remove_dir_all(base.join("dev/pts")).unwrap();
        std::os::unix::fs::symlink("/dev/pts", base.join("dev/pts")).unwrap();
        assert_eq!(failure(&base).errno, rustix::io::Errno::LOOP);
        std::fs::remove_dir_all(base).unwrap();
        let Ok(pty) = open(root(Path::new("/")).as_fd()) else { return };
        assert!(rustix::termios::isatty(&pty.slave));
        assert_eq!(rustix::fs::fstat(&pty.slave).unwrap().st_mode & 0o777, MODE);
    }
}
