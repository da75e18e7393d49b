//! `delete --regex`, `kill --regex`: a verb for every container whose ID an expression matches (features.md X6).

use std::path::Path;

use regex::Regex;

use crate::container::Store;
use crate::error::{Error, Kind, Result};
use crate::log::Log;

/// Does `verb` for each match, in the order of the IDs. A failure is a warning, so that the others have their turn; as
/// with crun none at all is fine.
///
/// # Errors
/// The pattern is none; the root can't be read.
pub fn each(root: &Path, pattern: &str, log: &Log, verb: impl Fn(&str) -> Result<i32>) -> Result<i32> {
    let regex = Regex::new(pattern).map_err(|error| {
        // Its text has lines that point at the place.
        let error = error.to_string();
        let why = error.lines().last().unwrap_or_default();
        Error::new(Kind::Usage, format!("invalid regular expression {pattern:?}: {why}"))
    })?;
    let store = Store::open(root);
    let ids: Vec<String> = match store.list() {
        Ok(entries) => entries.map(|entry| entry.id.as_str().to_string()).collect(),
        Err(error) if error.kind() == Kind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    for id in ids.iter().filter(|id| regex.is_match(id)) {
        if let Err(error) = verb(id) {
            log.warn(format_args!("{id}: {error}"));
        }
    }
    Ok(0)
}
