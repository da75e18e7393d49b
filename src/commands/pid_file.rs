//! `--pid-file` (features.md S39).

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use crate::error::{Context, Error, Kind, Result};

/// Writes it: digits only, under a temporary name first, so that nobody reads half a number or an old one.
///
/// # Errors
/// Those of open(2), write(2) and rename(2); no file is left then.
pub fn write(path: &Path, pid: i32) -> Result<()> {
    let doing = || format!("write pid file {}", path.display());
    let name = path
        .file_name()
        .ok_or_else(|| Error::new(Kind::Usage, format!("--pid-file {}: not a file name", path.display())))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let temporary = path.with_file_name(hidden);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(CWD, &temporary, flags, Mode::from_raw_mode(0o644));
    let file = match open() {
        Err(rustix::io::Errno::EXIST) => {
            // Left by a run that was killed.
            rustix::fs::unlinkat(CWD, &temporary, rustix::fs::AtFlags::empty()).with_context(doing)?;
            open()
        }
        other => other,
    };
    let file = file.with_context(doing)?;
    let written = rustix::io::write(file.as_fd(), pid.to_string().as_bytes())
        .and_then(|_| rustix::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = rustix::fs::unlinkat(CWD, &temporary, rustix::fs::AtFlags::empty());
    }
    written.with_context(doing)
}
