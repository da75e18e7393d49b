//! Becoming the container's user, in the child.

use std::ffi::CStr;

use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::{CapabilitySets, Rlimit};
use crate::sys::credentials::{capset, drop_bounding, raise_ambient};

/// Sets the supplementary groups, exactly these, even if none (R13). `lenient`: in a user namespace that denies
/// setgroups(2) an empty list is as it is.
///
/// # Errors
/// EPERM, EINVAL (a group is not mapped).
pub fn set_groups(groups: &[u32], lenient: bool) -> Result<(), Errno> {
    let mut ids = [Gid::ROOT; 64];
    let result = match ids.get_mut(..groups.len()) {
        Some(ids) => {
            for (id, group) in ids.iter_mut().zip(groups) {
                *id = Gid::from_raw(*group);
            }
            set_thread_groups(ids)
        }
        None => set_thread_groups(&groups.iter().map(|group| Gid::from_raw(*group)).collect::<Vec<_>>()),
    };
    match result {
        Err(Errno::PERM) if lenient && groups.is_empty() => Ok(()),
        other => other,
    }
}

/// In a user namespace: becomes its root, or the container's user where root is not mapped (N11). Either way this process has all
/// capabilities over the namespace; an id without a mapping could own no file there.
///
/// # Errors
/// EINVAL: neither id is mapped; EPERM.
pub fn become_root_of_namespace(uid: u32, gid: u32) -> Result<(), Errno> {
    let (root, group) = (Uid::ROOT, Gid::ROOT);
    match set_thread_res_gid(group, group, group) {
        Err(Errno::INVAL) => {
            let gid = Gid::from_raw(gid);
            set_thread_res_gid(gid, gid, gid)?;
        }
        other => other?,
    }
    match set_thread_res_uid(root, root, root) {
        Err(Errno::INVAL) => {
            set_keep_capabilities(true)?;
            let uid = Uid::from_raw(uid);
            set_thread_res_uid(uid, uid, uid)
        }
        other => other,
    }
}

/// Sets real, effective and saved group id, then user id, keeping the permitted capabilities.
///
/// # Errors
/// EINVAL: the id is not mapped in the user namespace; EPERM.
pub fn set_ids(uid: u32, gid: u32) -> Result<(), Errno> {
    let gid = Gid::from_raw(gid);
    set_thread_res_gid(gid, gid, gid)?;
    if uid != 0 {
        set_keep_capabilities(true)?;
    }
    let uid = Uid::from_raw(uid);
    set_thread_res_uid(uid, uid, uid)
}

/// Drops from the bounding set what is not in it.
///
/// # Errors
/// EPERM.
pub fn limit_bounding(sets: &CapabilitySets) -> Result<(), Errno> {
    for capability in (0..64u8).filter(|number| sets.bounding >> number & 1 == 0) {
        match drop_bounding(capability) {
            // Beyond the last capability that this kernel knows.
            Err(Errno::INVAL) => break,
            other => other?,
        }
    }
    Ok(())
}

/// The final sets, ambient ones raised one by one; what can't be raised was warned about by the plan.
///
/// `until_exec` is permitted and effective besides, until execve(2): the sets after it come from the inheritable, the bounding and
/// the ambient set and from the file, and from those before it only under no_new_privs (capabilities(7)).
///
/// # Errors
/// EPERM.
pub fn set_capabilities(sets: &CapabilitySets, until_exec: u64) -> Result<(), Errno> {
    capset(sets.effective | until_exec, sets.permitted | until_exec, sets.inheritable)?;
    for capability in (0..64u8).filter(|number| sets.ambient >> number & 1 == 1) {
        match raise_ambient(capability) {
            Ok(()) | Err(Errno::PERM | Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sets one resource limit.
///
/// # Errors
/// EPERM (raising a hard limit), EINVAL.
pub fn set_rlimit(limit: &Rlimit) -> Result<(), Errno> {
    let bound = |value: u64| if value == u64::MAX { None } else { Some(value) };
    let new = rustix::process::Rlimit { current: bound(limit.soft), maximum: bound(limit.hard) };
    rustix::process::setrlimit(limit.resource, new)
}

/// HOME of a user id from the text of /etc/passwd, which `read` gives piece by piece (0 at its end), written
/// NUL-terminated as `HOME=…` into `out`; `/` if the user is not there (P5). Lines beyond 2 KiB are nobody's.
pub fn home(uid: u32, mut read: impl FnMut(&mut [u8]) -> usize, out: &mut [u8; 1024]) -> &CStr {
    let mut buffer = [0u8; 2048];
    let mut filled = 0;
    let mut too_long = false;
    loop {
        let count = read(&mut buffer[filled..]).min(buffer.len() - filled);
        filled += count;
        let end = match buffer[..filled].iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => newline + 1,
            None if count == 0 || filled == buffer.len() => filled,
            None => continue,
        };
        let lines = buffer[..end].split(|byte| *byte == b'\n');
        if let Some(home) = lines.skip(usize::from(too_long)).find_map(|line| home_of(uid, line)) {
            return variable(home, out);
        }
        // No text, such as what a link to /dev/zero gives without end.
        let text = !buffer[..filled].contains(&0);
        if count == 0 || !text {
            return variable(b"/", out);
        }
        too_long = buffer[end - 1] != b'\n';
        buffer.copy_within(end..filled, 0);
        filled -= end;
    }
}

/// The home directory of a line of passwd(5), if it is that of the user.
fn home_of(uid: u32, line: &[u8]) -> Option<&[u8]> {
    let mut fields = line.split(|byte| *byte == b':');
    let id: u32 = std::str::from_utf8(fields.nth(2)?).ok()?.parse().ok()?;
    fields.nth(2).filter(|home| id == uid && !home.is_empty() && home.len() < 1000)
}

fn variable<'a>(directory: &[u8], out: &'a mut [u8; 1024]) -> &'a CStr {
    out.fill(0);
    for (to, from) in out.iter_mut().zip(b"HOME=".iter().chain(directory)) {
        *to = *from;
    }
    CStr::from_bytes_until_nul(out).unwrap_or(c"HOME=/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HOME of a text that comes in pieces of this size.
    fn home_by(uid: u32, text: &[u8], piece: usize) -> String {
        let mut rest = text;
        let mut out = [0; 1024];
        let read = |buffer: &mut [u8]| {
            let count = piece.min(rest.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            count
        };
        home(uid, read, &mut out).to_str().unwrap().to_string()
    }

    /// [P5]
    #[test]
    fn home_comes_from_passwd() {
        let long = "x".repeat(3000);
        let passwd = format!(
            "root:x:0:0:root:/root:/bin/sh\nbroken\n{long}\nu:x:1000:1000::/home/u:/bin/sh\n\
             n:x:5:5:::/bin/sh\nlast:x:9:9::/last:/bin/sh"
        );
        for piece in [1, 7, 2048, 5000] {
            for (uid, wanted) in [(0, "/root"), (1000, "/home/u"), (5, "/"), (7, "/"), (9, "/last")] {
                assert_eq!(home_by(uid, passwd.as_bytes(), piece), format!("HOME={wanted}"), "{uid} {piece}");
            }
        }
        assert_eq!(home_by(7, b"", 10), "HOME=/");
        assert_eq!(home_by(7, b"a:x:5:5::/a:/bin/sh\n\0\nb:x:7:7::/b:/bin/sh\n", 30), "HOME=/");
    }
}
