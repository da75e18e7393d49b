//! The sub-commands of `mounts`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::entry::{CommandSpec, Verb};
use super::table::on_container;

/// `mounts add` and `mounts remove`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountsArgs {
    /// The container's id, not validated yet.
    pub id: String,
    /// Where the array of mounts is; `-` is stdin.
    pub file: PathBuf,
}

/// An entry of the table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        arguments: "<container-id> <file>",
        min: 2,
        max: 2,
        ..on_container(
            Verb::MountsAdd,
            "mounts add",
            "mount something in a running container",
            "\
The file holds an array as \"mounts\" of config.json is; - is stdin:

    # echo '[{\"destination\": \"/data\", \"source\": \"/srv\", \"options\": [\"rbind\"]}]' |
          davit mounts add c1 -

All of them are mounted, or none. Sources are found on the host.",
        )
    },
    CommandSpec {
        arguments: "<container-id> <file>",
        min: 2,
        max: 2,
        ..on_container(
            Verb::MountsRemove,
            "mounts remove",
            "take mounts of a running container away",
            "\
The file holds an array of which only \"destination\" is read; the last entry goes
first. No symbolic link is followed.",
        )
    },
];

/// Reads the operands.
pub(super) fn args(id: String, file: Option<OsString>) -> MountsArgs {
    MountsArgs { id, file: file.unwrap_or_default().into() }
}
