//! Small readers of the formats that cgroup files have (cgroup-v2.rst, "Interface file formats").

use std::collections::BTreeMap;
use std::path::Path;

use rustix::io::Errno;

use crate::cgroups::file;
use crate::error::{Error, Kind, Result};

/// The whole file; `None` where it, its controller or the cgroup is not there.
pub(super) fn text(directory: &Path, name: &str) -> Result<Option<String>> {
    let path = file::join(directory, name);
    match file::read_raw(&path) {
        Ok(content) => Ok(Some(String::from_utf8_lossy(&content).into_owned())),
        // OPNOTSUPP: pressure is switched off, or a device driver has no such number.
        Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(Error::system(format_args!("read {}", path.display()), errno)),
    }
}

/// A file with one number; `max` is 2^64-1, a missing file 0.
pub(super) fn number(directory: &Path, name: &str) -> Result<u64> {
    let Some(text) = text(directory, name)? else { return Ok(0) };
    one(text.trim()).ok_or_else(|| malformed(directory, name, &text))
}

/// `key value` lines.
pub(super) fn keyed(directory: &Path, name: &str) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for line in text(directory, name)?.unwrap_or_default().lines() {
        let pair = line.split_once(' ').and_then(|(key, value)| Some((key, one(value.trim())?)));
        let (key, value) = pair.ok_or_else(|| malformed(directory, name, line))?;
        found.insert(key.to_owned(), value);
    }
    Ok(found)
}

/// A list such as `0-3,8`.
pub(super) fn list(directory: &Path, name: &str) -> Result<Vec<u16>> {
    let text = text(directory, name)?.unwrap_or_default();
    ranges(text.trim()).ok_or_else(|| malformed(directory, name, &text))
}

/// A number, or `max`.
pub(super) fn one(text: &str) -> Option<u64> {
    if text == "max" { Some(u64::MAX) } else { text.parse().ok() }
}

fn ranges(text: &str) -> Option<Vec<u16>> {
    let mut numbers = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        numbers.extend(first.parse::<u16>().ok()?..=last.parse().ok()?);
    }
    Some(numbers)
}

/// `MAJOR:MINOR`.
pub(super) fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

pub(super) fn malformed(directory: &Path, name: &str, text: &str) -> Error {
    let shown: String = text.trim().chars().take(80).collect();
    Error::new(
        Kind::System,
        format!("read {}: {shown:?} is not understood", file::join(directory, name).display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_numbers() {
        assert_eq!(ranges("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(ranges(""), Some(vec![]));
        assert_eq!(ranges("1-x"), None);
        assert_eq!(one("max"), Some(u64::MAX));
        assert_eq!(one("-1"), None);
        assert_eq!(device("8:16"), Some((8, 16)));
        assert_eq!(device("8"), None);
    }

    #[test]
    fn a_missing_file_is_zero_and_nonsense_is_told() {
        let directory = Path::new("/proc/self");
        assert_eq!(number(directory, "no-such-file").unwrap(), 0);
        let error = number(directory, "comm").unwrap_err().to_string();
        assert!(
            error.starts_with("read /proc/self/comm: ") && error.ends_with("is not understood"),
            "{error}"
        );
    }
}
