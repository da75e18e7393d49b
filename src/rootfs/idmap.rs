//! Id-mapped mounts: the attribute, and what the kernel's refusals mean.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::sys::mount::{Attributes, set_attributes};

/// linux/mount.h
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// Maps the ids of the detached mount `tree` as the user namespace does, with `recursive` of all mounts in it
/// (Linux 5.12).
///
/// # Errors
/// EINVAL (the file system can't), EPERM (mapped already, or no CAP_SYS_ADMIN where the file system belongs).
pub fn apply(tree: BorrowedFd<'_>, namespace: BorrowedFd<'_>, recursive: bool) -> Result<(), Errno> {
    let attributes = Attributes { set: MOUNT_ATTR_IDMAP, ..Attributes::default() };
    set_attributes(tree, c"", recursive, attributes, Some(namespace))
}

/// File systems that the kernel can id-map, with the version that began (mount_setattr(2), "NOTES").
const CAPABLE: &[(&str, (u32, u32))] = &[
    ("btrfs", (5, 15)),
    ("ceph", (6, 7)),
    ("erofs", (5, 19)),
    ("ext4", (5, 12)),
    ("f2fs", (5, 18)),
    ("hugetlbfs", (6, 9)),
    ("msdos", (5, 12)),
    ("ntfs3", (5, 15)),
    ("squashfs", (6, 2)),
    ("tmpfs", (6, 3)),
    ("vfat", (5, 12)),
    ("xfs", (5, 12)),
];

/// The types of file systems that a kernel of this release (`6.1.0-13-amd64`) can id-map, sorted.
pub fn capable_types(release: &str) -> Vec<&'static str> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let running: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    CAPABLE.iter().filter(|(_, since)| *since <= running).map(|(name, _)| *name).collect()
}

/// The name of a file system type by its statfs(2) number; those that are asked for and can't be id-mapped.
pub fn type_name(magic: i64) -> Option<&'static str> {
    Some(match magic {
        0x0102_1997 => "9p",
        0xff53_4d42 => "cifs",
        0x0027_e0eb => "cgroup",
        0x6367_7270 => "cgroup2",
        0x1cd1 => "devpts",
        0xef53 => "ext4",
        0x6573_5546 => "fuse",
        0x1980_0202 => "mqueue",
        0x6969 => "nfs",
        0x794c_7630 => "overlay",
        0x9fa0 => "proc",
        0x8584_58f6 => "ramfs",
        0x6265_6572 => "sysfs",
        0x0102_1994 => "tmpfs",
        0x2fc1_2fc1 => "zfs",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [W8]
    #[test]
    fn types_come_with_the_kernel() {
        assert!(CAPABLE.is_sorted());
        assert_eq!(capable_types("5.12.0"), ["ext4", "msdos", "vfat", "xfs"]);
        let bookworm = capable_types("6.1.0-13-amd64");
        assert!(bookworm.contains(&"btrfs") && !bookworm.contains(&"tmpfs"));
        assert_eq!(capable_types("6.18.44-fc-v595").len(), CAPABLE.len());
        assert!(capable_types("").is_empty());
    }
}
