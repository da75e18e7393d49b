//! `resume ID`: lets a paused container go on.

use std::path::Path;

use crate::container::{Id, Lock, Status, Store};
use crate::error::{Error, Kind, Result};

/// Thaws the container's cgroup.
///
/// # Errors
/// `container not paused`; `container does not exist`; the freezer fails.
pub fn run(root: &Path, id: &str) -> Result<i32> {
    let container = Store::open(root).load(&Id::parse(id)?, Lock::Exclusive)?;
    if container.status()? != Status::Paused {
        return Err(Error::new(Kind::State, "container not paused"));
    }
    container.cgroup().thaw()?;
    Ok(0)
}
