//! Containers on disk: one directory a container below the state root, with its record, lock and status.
//!
//! ```text
//! ROOT/ID/state.json    the record (record.rs), written by temp file and rename
//!         config.json   the configuration as it was at create
//!         config.digest the same for `exec`, ready to be used; made by the first one
//!         start.sock    there until the user's program runs (.start.sock: `create` is not done yet)
//! ROOT/ID,new           the same directory before it is complete and gets its name
//! ```
//!
//! The lock is a flock on the directory itself: it dies with its holder, nothing goes stale.
//! The status is never stored: it is derived from the record and the kernel (status.rs).

mod destroy;
mod handle;
mod id;
mod lock;
mod process;
mod record;
mod state;
mod status;
mod store;

pub use handle::{Container, not_running};
pub use id::Id;
pub use process::{Process, ProcessStat, boot_id};
pub use record::{Agent, Joining, Phase, Record, StoredHooks, VERSION, now};
pub use state::{State, StateText, owner_name};
pub use status::Status;
pub use store::{Entry, Lock, Store};

/// The record's file name in the container's directory.
pub const STATE_FILE: &str = "state.json";
/// The snapshot of the bundle's config.json in the container's directory.
pub const CONFIG_FILE: &str = "config.json";
/// What `exec` made of it; there once there was an exec.
pub const DIGEST_FILE: &str = "config.digest";
/// The socket on which a created container's init waits for `start`; gone once it was told to go.
pub const START_SOCKET: &str = "start.sock";
/// The name that the socket has until init waits on it and `create` has heard so.
pub const EARLY_SOCKET: &str = ".start.sock";
/// The comm of an init that waits for `start` (15 bytes at most: `TASK_COMM_LEN`).
pub const INIT_COMM: &str = "davit:[init]";

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
