//! Sources that lie in the container's own tree: what they show depends on the mounts made before.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::rootfs::paths::normalize;
use crate::rootfs::tree::{MountAction, MountOp, Opens};

/// Lets init open the sources that show an earlier mount when it is their turn. All others are opened before init
/// changes its ids, where there is a user namespace.
///
/// # Errors
/// `mounts[N].source: …`: such a source is to be id-mapped, which the parent does before anything is mounted.
pub(super) fn sources_in_turn(rootfs: &Path, mounts: &mut [MountOp]) -> Result<()> {
    let rootfs = normalize(rootfs);
    for index in 0..mounts.len() {
        let (earlier, rest) = mounts.split_at_mut(index);
        let Some(op) = rest.first_mut() else { continue };
        let MountAction::Bind { source, recursive, opens, .. } = &mut op.action else { continue };
        let path = Path::new(std::ffi::OsStr::from_bytes(source.as_bytes()));
        let cleaned = normalize(path);
        let Some(inside) = below(&cleaned, &rootfs) else { continue };
        let shown = earlier.iter().position(|mount| {
            let target = mount.target.to_string_lossy();
            below(inside, &target).is_some() || *recursive && below(&target, inside).is_some()
        });
        match (shown, &op.id_map) {
            (None, _) => {}
            (Some(shown), Some(_)) => {
                let text = format!("{} shows mounts[{shown}], so it can't be id-mapped", path.display());
                return Err(Error::config(&format!("mounts[{index}].source"), text));
            }
            (Some(_), None) => *opens = Opens::InTurn,
        }
    }
    Ok(())
}

/// `path` relative to `base`; both are cleaned and without the first slash.
fn below<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    match path.strip_prefix(base)? {
        "" => Some(""),
        rest if base.is_empty() => Some(rest),
        rest => rest.strip_prefix('/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_compares_whole_names() {
        assert_eq!(below("a/b/c", "a/b"), Some("c"));
        assert_eq!(below("a/b", "a/b"), Some(""));
        assert_eq!(below("a/b", ""), Some("a/b"));
        assert_eq!(below("a/bc", "a/b"), None);
        assert_eq!(below("a", "a/b"), None);
    }
}
