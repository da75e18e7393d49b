//! `pause ID`: stops all processes of a container by its cgroup's freezer.

use std::path::Path;

use crate::container::{Id, Lock, Status, Store, not_running};
use crate::error::Result;

/// Returns once all processes are frozen.
///
/// # Errors
/// `container not running` unless it is created or running; `container does not exist`; the freezer fails.
pub fn run(root: &Path, id: &str) -> Result<i32> {
    let container = Store::open(root).load(&Id::parse(id)?, Lock::Exclusive)?;
    match container.status()? {
        Status::Created | Status::Running => container.cgroup().freeze()?,
        Status::Creating | Status::Paused | Status::Stopped => return Err(not_running()),
    }
    Ok(0)
}
