//! `state ID`: the container's state as JSON.

use std::path::Path;

use super::output::print;
use crate::container::{Id, Lock, State, Store};
use crate::error::Result;

/// Prints the state. No lock: the record is replaced as a whole, and hooks ask while `create` holds it.
///
/// # Errors
/// `container does not exist`, a bad ID, or a record that cannot be read.
pub fn run(root: &Path, id: &str) -> Result<i32> {
    let container = Store::open(root).load(&Id::parse(id)?, Lock::None)?;
    let status = container.status()?;
    let mut json = State::full(&container.record, status, container.pid(status)).to_json_pretty()?;
    json.push(b'\n');
    print(&json)?;
    Ok(0)
}
