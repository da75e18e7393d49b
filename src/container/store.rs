//! The state root: containers by ID.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Dir, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::handle::remove_dir;
use super::lock::{DEADLINE, lock, try_lock};
use super::record::write_new;
use super::{CONFIG_FILE, Container, Id, Record, STATE_FILE};
use crate::error::{Context, Error, Kind, Result};

/// A container's directory: others may go through it to what they know, not list it.
const MODE: Mode = Mode::from_bits_retain(0o711);

/// The lock to hold on a loaded container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// None: state.json is replaced as a whole, so a reader needs none.
    None,
    /// With other readers.
    Shared,
    /// Alone.
    Exclusive,
}

/// One container of a listing.
#[derive(Debug)]
pub struct Entry {
    /// The directory's name.
    pub id: Id,
    /// The uid that owns the directory.
    pub uid: u32,
    /// The container, or why it cannot be loaded.
    pub container: Result<Container>,
}

/// The directory that holds one directory for each container.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// What a `create` finds under its ID.
enum Found {
    /// The ID is free.
    Nothing,
    /// What a create left that was killed before it was done; locked.
    Abandoned(Box<Container>),
    /// The same, in a moment: the maker is about to end, or its init, which has a copy of the lock, or somebody removes it.
    Ending,
    /// A container, or one whose maker is at work.
    Container,
}

/// `container does not exist`, as callers match it.
fn not_found() -> Error {
    Error::new(Kind::NotFound, "container does not exist")
}

impl Store {
    /// The store at `root`, which need not exist.
    pub fn open(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Makes a container's directory with its record, and holds its lock exclusively.
    ///
    /// The directory gets its name when it is complete, so nobody sees one without lock and record. What a
    /// killed `create` of the same ID left behind is cleaned away first, and `cleared` is told its record. `config` is the
    /// configuration's text.
    ///
    /// # Errors
    /// [`Kind::Exists`] `container with given ID already exists`; [`Kind::System`] when the directory cannot
    /// be made (`file name too long` for an ID that the file system does not take).
    pub fn create(
        &self,
        id: &Id,
        record: Record,
        config: Option<&[u8]>,
        cleared: &mut dyn FnMut(&Record),
    ) -> Result<Container> {
        let stage = self.stage(id);
        let path = self.path(id);
        let end = Instant::now() + DEADLINE;
        loop {
            let Some(dir) = self.make_stage(&stage)? else {
                // Another create of this ID is at work, or died there: it goes away or gets its name.
                if Instant::now() >= end || !self.clear_dead(id, cleared)? {
                    return Err(already_exists());
                }
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            let written = record.write_as(&dir, STATE_FILE).and_then(|()| match config {
                Some(text) => write_new(&dir, CONFIG_FILE, text).context("write config.json"),
                None => Ok(()),
            });
            let written = written.with_context(|| format!("state directory {}", self.root.display()));
            match written.and_then(|()| self.give_name(id, &stage, &path, cleared)) {
                Ok(()) => return Ok(Container::new(record, dir, path)),
                Err(error) => {
                    // Ours, complete or not; a failure to remove it would hide the cause.
                    let _ = remove_dir(dir.as_fd(), &stage);
                    return Err(error);
                }
            }
        }
    }

    /// Makes and locks the directory that is not complete yet; `None` if another process has it.
    fn make_stage(&self, stage: &Path) -> Result<Option<OwnedFd>> {
        let failed = |errno| Err(refused("make", stage, errno));
        let mut made = rustix::fs::mkdir(stage, MODE);
        if made == Err(Errno::NOENT) {
            self.make_root()?;
            made = rustix::fs::mkdir(stage, MODE);
        }
        match made {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                clear_stage(stage)?;
                return Ok(None);
            }
            Err(errno) => return failed(errno),
        }
        let taken = take_stage(stage);
        if taken.is_err() {
            // Still empty and ours: out of descriptors, for instance.
            let _ = rustix::fs::rmdir(stage);
        }
        taken
    }

    /// Renames the complete directory, unless the ID is taken by something that is not a dead create's.
    fn give_name(&self, id: &Id, stage: &Path, path: &Path, cleared: &mut dyn FnMut(&Record)) -> Result<()> {
        loop {
            match rename_new(stage, path) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST | Errno::NOTEMPTY) => {
                    if !self.clear_dead(id, cleared)? {
                        return Err(already_exists());
                    }
                }
                Err(errno) => return Err(Error::system(format_args!("make {}", path.display()), errno)),
            }
        }
    }

    /// Removes what a dead `create` left under this ID; `false`: it is a container, `true`: the ID is free.
    fn clear_dead(&self, id: &Id, cleared: &mut dyn FnMut(&Record)) -> Result<bool> {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.find(id)? {
                Found::Nothing => return Ok(true),
                Found::Abandoned(container) => {
                    let record = container.record.clone();
                    container.destroy().context("clean up after a create that was killed")?;
                    cleared(&record);
                    return Ok(true);
                }
                Found::Ending if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
                Found::Ending | Found::Container => return Ok(false),
            }
        }
    }

    /// What is under this ID.
    fn find(&self, id: &Id) -> Result<Found> {
        let path = self.path(id);
        let dir = match open_dir(&path) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(_) => return Ok(Found::Container),
        };
        let locked = try_lock(&dir, true)?;
        if is_removed(&dir)? {
            return Ok(Found::Nothing);
        }
        let record = match Record::read(&dir) {
            Ok(record) => record,
            // Empty or half a record: a create that was cut off, by a full disk or a power failure.
            Err(error) if locked && matches!(error.kind(), Kind::NotFound | Kind::Config) => {
                remove_dir(dir.as_fd(), &path)?;
                return Ok(Found::Nothing);
            }
            Err(_) => return Ok(Found::Container),
        };
        let container = Container::new(record, dir, path);
        if !container.is_unfinished()? {
            return Ok(Found::Container);
        }
        // Its maker has the lock as long as it works. So a dead one is certain only where both say so.
        Ok(match (locked, container.is_abandoned()?) {
            (true, true) => Found::Abandoned(Box::new(container)),
            (false, false) => Found::Container,
            (true, false) | (false, true) => Found::Ending,
        })
    }

    /// Loads a container.
    ///
    /// # Errors
    /// [`Kind::NotFound`] `container does not exist`; [`Kind::State`] when the lock is held for 10 s, or a
    /// newer davit wrote the record; [`Kind::Config`] when the record cannot be understood.
    pub fn load(&self, id: &Id, mode: Lock) -> Result<Container> {
        let (dir, path) = self.open_container(id)?;
        if mode != Lock::None {
            lock(dir.as_fd(), mode == Lock::Exclusive, DEADLINE)?;
        }
        Ok(Container::new(Record::read(&dir)?, dir, path))
    }

    /// Loads a container with the exclusive lock if that is free; `None` if another process holds it.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn try_load(&self, id: &Id) -> Result<Option<Container>> {
        let (dir, path) = self.open_container(id)?;
        if !try_lock(&dir, true)? {
            return Ok(None);
        }
        Ok(Some(Container::new(Record::read(&dir)?, dir, path)))
    }

    /// Removes what is left under `id` without a record that can be understood: `true` if there was
    /// something. Processes and cgroups of it, if any, cannot be known.
    ///
    /// # Errors
    /// It cannot be removed, or its lock is held.
    pub fn remove_broken(&self, id: &Id) -> Result<bool> {
        clear_stage(&self.stage(id))?;
        let (dir, path) = match self.open_container(id) {
            Ok(found) => found,
            Err(error) if error.kind() == Kind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        lock(dir.as_fd(), true, DEADLINE)?;
        if is_removed(&dir)? {
            return Ok(false);
        }
        remove_dir(dir.as_fd(), &path)?;
        Ok(true)
    }

    /// All containers, sorted by ID; one that goes away meanwhile is left out.
    ///
    /// # Errors
    /// The root cannot be read; [`Kind::NotFound`] if there is none.
    pub fn list(&self) -> Result<impl Iterator<Item = Entry> + '_> {
        let doing = || format!("open {}", self.root.display());
        let root = match open_dir(&self.root) {
            Ok(root) => root,
            Err(Errno::NOENT) => {
                let error = Error::new(Kind::NotFound, "no such file or directory");
                return Err(error.context(doing()));
            }
            Err(errno) => return Err(refused("open", &self.root, errno)),
        };
        let mut ids = Vec::new();
        for entry in Dir::new(root).with_context(doing)? {
            let entry = entry.with_context(doing)?;
            // The incomplete ones have a comma in their name, which no ID has.
            if let Some(id) = entry.file_name().to_str().ok().and_then(|name| Id::parse(name).ok()) {
                ids.push(id);
            }
        }
        ids.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(ids.into_iter().filter_map(|id| self.entry(id)))
    }

    fn entry(&self, id: Id) -> Option<Entry> {
        let path = self.path(&id);
        let dir = match open_dir(&path) {
            Ok(dir) => dir,
            // Gone, or no directory.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return None,
            Err(errno) => {
                let container = Err(Error::system(format_args!("open {}", path.display()), errno));
                return Some(Entry { id, uid: 0, container });
            }
        };
        let uid = rustix::fs::fstat(&dir).map_or(0, |stat| stat.st_uid);
        let container = match Record::read(&dir) {
            Ok(record) => Ok(Container::new(record, dir, path)),
            Err(_) if is_removed(&dir).unwrap_or(false) => return None,
            Err(error) if error.kind() == Kind::NotFound => {
                Err(Error::new(Kind::Config, format!("{}: no {STATE_FILE}", path.display())))
            }
            Err(error) => Err(error),
        };
        Some(Entry { id, uid, container })
    }

    fn open_container(&self, id: &Id) -> Result<(OwnedFd, PathBuf)> {
        let path = self.path(id);
        match open_dir(&path) {
            Ok(dir) => Ok((dir, path)),
            Err(Errno::NOENT | Errno::NAMETOOLONG) => Err(not_found()),
            Err(errno) => Err(refused("open", &path, errno)),
        }
    }

    fn path(&self, id: &Id) -> PathBuf {
        self.root.join(id.as_str())
    }

    /// The name while incomplete: always the same for an ID, so that `delete --force` finds it. File names
    /// have 255 bytes at most; the few IDs that share a cut name only wait for each other.
    fn stage(&self, id: &Id) -> PathBuf {
        let name = id.as_str();
        // An ID is ASCII. One that is too long itself must fail as such.
        let cut = if name.len() > 255 { name } else { name.get(..251).unwrap_or(name) };
        self.root.join(format!("{cut},new"))
    }

    /// Makes the root, 0700. Below `XDG_RUNTIME_DIR` it gets the sticky bit, which keeps tmp cleaners away
    /// (XDG Base Directory Specification).
    fn make_root(&self) -> Result<()> {
        let doing = || format!("make the state root {}", self.root.display());
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root).with_context(doing)?;
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
        if runtime_dir.is_some_and(|dir| self.root.starts_with(dir)) {
            let mode = std::fs::Permissions::from_mode(0o1700);
            std::fs::set_permissions(&self.root, mode).with_context(doing)?;
        }
        Ok(())
    }
}

/// A directory of the store can't be made or opened. Root's is closed to others.
#[cold]
fn refused(doing: &str, path: &Path, errno: Errno) -> Error {
    let error = Error::system(format_args!("{doing} {}", path.display()), errno);
    if errno == Errno::ACCESS && !rustix::process::geteuid().is_root() {
        return error.hint("an ordinary user sets XDG_RUNTIME_DIR, or gives --root");
    }
    error
}

fn already_exists() -> Error {
    Error::new(Kind::Exists, "container with given ID already exists")
}

fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Whether the open directory has been removed meanwhile.
fn is_removed(dir: impl AsFd) -> Result<bool> {
    Ok(rustix::fs::fstat(dir).context("fstat the state directory")?.st_nlink == 0)
}

/// The open directory's stat if it still is what `path` names: with its lock held it then stays so, for only
/// the holder renames or removes it.
fn stat_at(dir: impl AsFd, path: &Path) -> Result<Option<Stat>> {
    let open = rustix::fs::fstat(dir).context("fstat the state directory")?;
    match rustix::fs::lstat(path) {
        Ok(named) => Ok((named.st_ino == open.st_ino && named.st_dev == open.st_dev).then_some(open)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::system(format_args!("stat {}", path.display()), errno)),
    }
}

/// Opens and locks the directory that was just made; `None` if another process was faster.
fn take_stage(stage: &Path) -> Result<Option<OwnedFd>> {
    let dir = match open_dir(stage) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(Error::system(format_args!("make {}", stage.display()), errno)),
    };
    // Before the lock another create may have taken this one for a dead one's, and made its own.
    if !try_lock(&dir, true)? {
        return Ok(None);
    }
    let Some(stat) = stat_at(&dir, stage)? else { return Ok(None) };
    // The caller's umask may have taken something away.
    if Mode::from_raw_mode(stat.st_mode) != MODE {
        rustix::fs::fchmod(&dir, MODE).with_context(|| format!("chmod {}", stage.display()))?;
    }
    Ok(Some(dir))
}

/// Renames a directory if the new name is free; not every file system has the flag (NFS), but none puts a
/// directory over one that has something in it (rename(2)).
fn rename_new(from: &Path, to: &Path) -> Result<(), Errno> {
    let at = rustix::fs::CWD;
    match rustix::fs::renameat_with(at, from, at, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL) => rustix::fs::rename(from, to),
        result => result,
    }
}

/// Removes an incomplete directory whose maker is dead: it does not hold the lock.
fn clear_stage(stage: &Path) -> Result<()> {
    match open_dir(stage) {
        Ok(dir) if try_lock(&dir, true)? && stat_at(&dir, stage)?.is_some() => remove_dir(dir.as_fd(), stage),
        Ok(_) | Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(()),
        Err(errno) => Err(Error::system(format_args!("open {}", stage.display()), errno)),
    }
}
