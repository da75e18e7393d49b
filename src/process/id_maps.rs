//! The id mappings of init's user namespace: written where it is new, compared where it is joined.

use std::ffi::CString;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::namespaces::{IdMaps, Join};
use crate::sys::procfs::Proc;

/// Writes the maps of the process `pid`.
///
/// # Errors
/// `linux.uidMappings: write /proc/N/uid_map: …`.
pub fn write(proc: &Proc, pid: i32, maps: &IdMaps) -> Result<()> {
    let file = |name: &str| CString::new(format!("{pid}/{name}")).unwrap_or_default();
    let failed = |path: &str, errno: Errno| {
        let error = Error::system(format_args!("{path}: write /proc/{pid}/{}", path_file(path)), errno);
        if errno == Errno::PERM { error.hint("only root may map ids other than its own") } else { error }
    };
    if !rustix::process::geteuid().is_root() {
        // user_namespaces(7): without privilege gid_map may be written only once setgroups(2) is given up.
        proc.write(&file("setgroups"), b"deny").with_context(|| format!("write /proc/{pid}/setgroups"))?;
    }
    proc.write(&file("uid_map"), maps.uid.as_bytes()).map_err(|errno| failed("linux.uidMappings", errno))?;
    proc.write(&file("gid_map"), maps.gid.as_bytes()).map_err(|errno| failed("linux.gidMappings", errno))
}

/// N8: a namespace that is joined has its mappings already; those of the config must be the same.
pub fn compare(proc: &Proc, pid: i32, join: &Join, maps: &IdMaps) -> Result<()> {
    for (path, wanted) in [("linux.uidMappings", &maps.uid), ("linux.gidMappings", &maps.gid)] {
        let file = CString::new(format!("{pid}/{}", path_file(path))).unwrap_or_default();
        let mut buffer = [0u8; 16384];
        let read = proc
            .open_file(&file, OFlags::RDONLY)
            .and_then(|file| rustix::io::read(&file, &mut buffer))
            .with_context(|| format!("{path}: read /proc/{pid}/{}", path_file(path)))?;
        let there = String::from_utf8_lossy(&buffer[..read]);
        if !there.split_whitespace().eq(wanted.split_whitespace()) {
            let there: Vec<_> = there.split_whitespace().collect();
            let text = format!(
                "are not those of the namespace {}: {}",
                join.path.to_string_lossy(),
                there.join(" ")
            );
            return Err(Error::config(path, text));
        }
    }
    Ok(())
}

fn path_file(path: &str) -> &'static str {
    if path.ends_with("uidMappings") { "uid_map" } else { "gid_map" }
}
