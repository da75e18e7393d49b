//! Mounts that a test makes on the host.

use rustix::mount::{MountFlags, UnmountFlags};
use std::path::PathBuf;

/// A tmpfs of the host with these flags; unmounted when dropped.
pub struct HostMount {
    pub path: PathBuf,
}

impl HostMount {
    /// At this path, which is made with its parents.
    pub fn new(path: PathBuf, flags: MountFlags) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let data: &std::ffi::CStr = c"size=256k,mode=755";
        rustix::mount::mount("tmpfs", &path, "tmpfs", flags, data).unwrap();
        Self { path }
    }

    /// Its path as text.
    pub fn text(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.path, UnmountFlags::DETACH);
    }
}
