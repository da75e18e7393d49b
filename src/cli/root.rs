//! Where the containers' state lives (features.md G13, G20).

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use rustix::fs::Mode;

use crate::error::{Context as _, Error, Kind, Result};

/// The inode number of the initial user namespace (`PROC_USER_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// The state directory, and where the choice came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRoot {
    /// Absolute path.
    pub path: PathBuf,
    /// It lies in `$XDG_RUNTIME_DIR`, where tmp cleaners roam.
    pub xdg: bool,
}

impl StateRoot {
    /// Makes the directory, mode 0700, with its parents. In the XDG case the sticky bit is set too: cleaners leave
    /// such a directory alone.
    ///
    /// # Errors
    /// The directory cannot be made, or its mode cannot be changed.
    pub fn ensure(&self) -> Result<()> {
        let path = &self.path;
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(rustix::io::Errno::NOENT) => {
                use std::os::unix::fs::DirBuilderExt as _;
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(path)
                    .with_context(|| format!("make the state directory {}", path.display()))?;
            }
            Err(error) => {
                let made = Error::system(format!("make the state directory {}", path.display()), error);
                return Err(match error {
                    rustix::io::Errno::ACCESS if !rustix::process::geteuid().is_root() => {
                        made.hint("an ordinary user sets XDG_RUNTIME_DIR, or gives --root")
                    }
                    _ => made,
                });
            }
        }
        if self.xdg {
            rustix::fs::chmod(path, Mode::RWXU | Mode::SVTX)
                .with_context(|| format!("set the sticky bit on the state directory {}", path.display()))?;
        }
        Ok(())
    }
}

/// The state directory without `--root`: `/run/davit`, or `$XDG_RUNTIME_DIR/davit` for who is not root.
pub fn default_root() -> StateRoot {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    default_root_for(runtime_dir.as_deref(), || {
        !rustix::process::geteuid().is_root()
            || (in_user_namespace() && std::env::var_os("USER").is_none_or(|user| user != "root"))
    })
}

/// The rule alone; `unprivileged` is asked only when its answer matters.
fn default_root_for(runtime_dir: Option<&OsStr>, unprivileged: impl FnOnce() -> bool) -> StateRoot {
    match runtime_dir {
        Some(dir) if unprivileged() => StateRoot { path: Path::new(dir).join("davit"), xdg: true },
        _ => StateRoot { path: PathBuf::from("/run/davit"), xdg: false },
    }
}

/// Whether this process is in a user namespace other than the initial one. The namespace's inode decides: an identity
/// map, as systemd 260 writes, looks like the initial one. Without /proc: no.
pub fn in_user_namespace() -> bool {
    rustix::fs::stat("/proc/self/ns/user").is_ok_and(|stat| stat.st_ino != INITIAL_USER_NAMESPACE)
}

/// The `--root` option's value as an absolute path without `.` and `..`.
///
/// # Errors
/// It is empty, or is `/` (by name; symbolic links are not followed).
pub(super) fn explicit_root(root: &OsStr) -> Result<PathBuf> {
    let mut absolute = PathBuf::new();
    let root = Path::new(root);
    if root.is_relative() && !root.as_os_str().is_empty() {
        absolute = std::env::current_dir().context("--root: find the current directory")?;
    }
    for part in root.components() {
        match part {
            Component::ParentDir => {
                absolute.pop();
            }
            Component::CurDir => {}
            part => absolute.push(part),
        }
    }
    if absolute.parent().is_none() {
        return Err(Error::new(Kind::Usage, "Option --root argument should not be set to /"));
    }
    Ok(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [G13] The default, by who asks.
    #[test]
    fn default_by_privilege() {
        let system = StateRoot { path: "/run/davit".into(), xdg: false };
        assert_eq!(default_root_for(None, || true), system);
        assert_eq!(default_root_for(Some(OsStr::new("/run/user/0")), || false), system);
        let own = default_root_for(Some(OsStr::new("/run/user/7")), || true);
        assert_eq!(own, StateRoot { path: "/run/user/7/davit".into(), xdg: true });
    }

    /// [G13] Whatever leads to `/`, or nowhere, is refused.
    #[test]
    fn root_of_the_file_system_is_refused() {
        for bad in ["/", "//", "", "/run/..", "/./", "/../..", "../../../../../../../../../../../../../../.."]
        {
            let error = explicit_root(OsStr::new(bad)).unwrap_err();
            assert_eq!(error.to_string(), "Option --root argument should not be set to /", "{bad}");
        }
        assert_eq!(explicit_root(OsStr::new("/run//x/./y/../z/")).unwrap(), Path::new("/run/x/z"));
        let here = std::env::current_dir().unwrap();
        assert_eq!(explicit_root(OsStr::new("./state")).unwrap(), here.join("state"));
    }

    /// [G13, U8] The sticky bit in the XDG case only; parents are made; an existing directory is fine.
    #[test]
    fn sticky_bit() {
        use std::os::unix::fs::PermissionsExt as _;
        let base = std::env::temp_dir().join(format!("davit-root-{}", std::process::id()));
        for (name, xdg, mode) in [("plain", false, 0o700), ("xdg", true, 0o1700)] {
            let root = StateRoot { path: base.join(name).join("davit"), xdg };
            root.ensure().unwrap();
            root.ensure().unwrap();
            let found = std::fs::metadata(&root.path).unwrap().permissions().mode() & 0o7777;
            assert_eq!(found, mode, "{name}");
        }
        std::fs::remove_dir_all(&base).unwrap();
    }
}
