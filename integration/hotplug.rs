//! What the host mounts and unmounts while a container runs (volume plug-ins, CSI drivers).

use crate::support::*;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};
use std::path::{Path, PathBuf};

/// A shared mount of the host; taken away when dropped, with what is mounted below.
struct Shared(PathBuf);

impl Shared {
    fn new(path: PathBuf) -> Self {
        std::fs::create_dir_all(path.join("later")).unwrap();
        mount_bind(&path, &path).unwrap();
        let shared = Self(path);
        mount_change(&shared.0, MountPropagationFlags::SHARED).unwrap();
        shared
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = unmount(self.0.join("later"), UnmountFlags::DETACH);
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn tmpfs(at: &Path) {
    let data: &std::ffi::CStr = c"size=64k";
    mount("tmpfs", at, "tmpfs", MountFlags::empty(), data).unwrap();
    std::fs::write(at.join("seen"), "").unwrap();
}

/// [L3] [M25] with the default propagation of the root, a slave and a shared bind show what the host mounts after the
/// start, until it unmounts it; a private one does not.
#[test]
fn later_mounts_of_the_host() {
    let mut t = Test::new();
    let source = Shared::new(t.dir.join("src"));
    let path = t.path("src");
    for (at, option) in [("/private", "rprivate"), ("/slave", "rslave"), ("/shared", "rshared")] {
        t.config.mount(at, "bind", &path, &["rbind", option]);
    }
    t.sh("sleep 30");
    t.detach();
    let later = source.0.join("later");
    let inside = PathBuf::from(format!("/proc/{}/root", t.pid()));
    let seen = |at: &str| inside.join(at).join("later/seen").exists();
    tmpfs(&later);
    assert!(seen("slave") && seen("shared"), "mounted after the start");
    assert!(!seen("private"));
    unmount(&later, UnmountFlags::DETACH).unwrap();
    assert!(!seen("slave") && !seen("shared"), "unmounted again");
}

/// [L3] the same for a container in a user namespace, and in a bind that is id-mapped.
#[test]
fn later_mounts_in_a_user_namespace() {
    only_davit!(); // runc from 1.2 on
    let mut t = Test::new();
    t.open_to_all();
    std::os::unix::fs::chown(&t.rootfs, Some(100_000), Some(100_000)).unwrap();
    let source = Shared::new(t.dir.join("src"));
    let path = t.path("src");
    t.config.user_namespace().mount("/slave", "bind", &path, &["rbind", "rslave"]);
    let able = rustix::fs::statfs(&t.dir).unwrap().f_type == 0xef53;
    if able {
        t.config.mount("/mapped", "bind", &path, &["rbind", "rslave", "idmap"]);
    }
    t.sh("sleep 30");
    t.detach();
    let inside = PathBuf::from(format!("/proc/{}/root", t.pid()));
    let seen = |at: &str| inside.join(at).join("later/seen").exists();
    tmpfs(&source.0.join("later"));
    assert!(seen("slave"));
    assert!(!able || seen("mapped"));
}
