//! The id mappings of init's user namespace: written where it is new, compared where it is joined.

use std::ffi::CString;
use std::io::{ErrorKind, Read as _};
use std::process::Command;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result, errno_text};
use crate::namespaces::{IdMaps, Join};
use crate::sys::process::unblock_signals;
use crate::sys::procfs::Proc;

/// The smallest page that Linux has on any machine; only some have larger ones.
const PAGE: usize = 4096;

const UID: &str = "linux.uidMappings";
const GID: &str = "linux.gidMappings";

/// Writes the maps of the process `pid`.
///
/// # Errors
/// `linux.uidMappings: write /proc/N/uid_map: …`, `linux.uidMappings: newuidmap: …`.
pub fn write(proc: &Proc, pid: i32, maps: &IdMaps) -> Result<()> {
    if maps.deny_setgroups {
        let file = file(pid, "setgroups");
        proc.write(&file, b"deny").with_context(|| format!("write /proc/{pid}/setgroups"))?;
    }
    for (path, lines, helper) in [(UID, &maps.uid, maps.uid_helper), (GID, &maps.gid, maps.gid_helper)] {
        if helper {
            by_helper(path, pid, lines)?;
        } else {
            let written = proc.write(&file(pid, map_file(path)), lines.as_bytes());
            written.map_err(|errno| refused(path, pid, lines, errno))?;
        }
    }
    Ok(())
}

fn refused(path: &str, pid: i32, lines: &str, errno: Errno) -> Error {
    let error = Error::system(format_args!("{path}: write /proc/{pid}/{}", map_file(path)), errno);
    match errno {
        Errno::PERM => error.hint(
            "the runtime's own user namespace must have all ids that are given, and the right to map them",
        ),
        Errno::INVAL if lines.len() >= PAGE => error.hint(format!(
            "the {} lines make {} bytes, and the kernel takes less than a page of {}",
            lines.lines().count(),
            lines.len(),
            PAGE
        )),
        Errno::INVAL => error.hint("ranges must not overlap, and end below 4294967296"),
        _ => error,
    }
}

/// newuidmap(1), newgidmap(1): they know by /etc/subuid and /etc/subgid which ids of others a user may map.
fn by_helper(path: &str, pid: i32, lines: &str) -> Result<()> {
    let (program, list) =
        if path == UID { ("newuidmap", "/etc/subuid") } else { ("newgidmap", "/etc/subgid") };
    let pid = pid.to_string();
    let mut command = Command::new(program);
    // It may ask a slow directory service, and is waited for.
    unblock_signals(&mut command);
    let output = command.arg(&pid).args(lines.split_whitespace()).output().map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            let text = format!("{program} is not in PATH, and mapping ids of others takes it");
            return Error::config(path, text)
                .hint(format!("install the package uidmap, and give the user a range in {list}"));
        }
        Error::new(Kind::System, format!("{path}: run {program}: {}", errno_text(&error)))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim_end().replace('\n', "; ");
    let text =
        format!("{path}: {program} {pid} {}: {}: {said}", lines.trim_end().replace('\n', " "), output.status);
    let error = Error::new(Kind::System, text);
    Err(match output.status.code() {
        // Ctrl-C, which ends it as well.
        None => error,
        Some(_) => error.hint(format!(
            "which ids a user may map stands in {list}: a line USER:FIRST:COUNT, as in {}:100000:65536",
            user()
        )),
    })
}

/// The caller as /etc/subuid names it.
fn user() -> String {
    crate::container::owner_name(rustix::process::getuid().as_raw())
}

/// N8: a namespace that is joined has its mappings already; those of the config must be the same.
///
/// # Errors
/// They differ: both are named.
pub fn compare(proc: &Proc, pid: i32, join: &Join, maps: &IdMaps) -> Result<()> {
    for (path, wanted) in [(UID, &maps.uid), (GID, &maps.gid)] {
        let doing = || format!("{path}: read /proc/{pid}/{}", map_file(path));
        let mut there = String::new();
        let open = proc.open_file(&file(pid, map_file(path)), OFlags::RDONLY).with_context(doing)?;
        std::fs::File::from(open).read_to_string(&mut there).with_context(doing)?;
        if !wanted.is_empty() && sorted(&there) != sorted(wanted) {
            let text = format!(
                "are not those of the namespace {}: {}",
                join.path.to_string_lossy(),
                there.split_whitespace().collect::<Vec<_>>().join(" ")
            );
            return Err(Error::config(path, text));
        }
    }
    Ok(())
}

/// The lines without their padding. The kernel sorts long maps, so order says nothing.
fn sorted(lines: &str) -> Vec<Vec<&str>> {
    let mut lines: Vec<Vec<_>> = lines.lines().map(|line| line.split_whitespace().collect()).collect();
    lines.sort();
    lines
}

fn map_file(path: &str) -> &'static str {
    if path == UID { "uid_map" } else { "gid_map" }
}

fn file(pid: i32, name: &str) -> CString {
    CString::new(format!("{pid}/{name}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [N8]
    #[test]
    fn maps_are_equal_in_any_order() {
        assert_eq!(sorted("         0     100000          5\n 5 7 1\n"), sorted("5 7 1\n0 100000 5\n"));
        assert_ne!(sorted("0 100000 5\n"), sorted("0 100000 6\n"));
        assert_ne!(sorted("0 100000 5\n5 1 1\n"), sorted("0 100000 5\n"));
    }

    /// [N10]
    #[test]
    fn a_refused_map_says_why() {
        let long = "4000000000 4000000000 1\n".repeat(300);
        assert!(refused(UID, 7, &long, Errno::INVAL).to_string().contains("300 lines make 7200 bytes"));
        let text = refused(GID, 7, "0 0 1\n", Errno::INVAL).to_string();
        assert!(text.starts_with("linux.gidMappings: write /proc/7/gid_map: invalid argument"), "{text}");
        assert!(text.contains("overlap"), "{text}");
    }
}
