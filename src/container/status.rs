//! A container's status: derived from the record and the kernel at each question.

use std::fmt;

use super::{INIT_COMM, Phase, ProcessStat};

/// The status, in the words of the runtime specification (and `paused`, which callers know from runc).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `create` is under way.
    Creating,
    /// Init waits for `start`.
    Created,
    /// The user's program has been executed.
    Running,
    /// Its cgroup is frozen.
    Paused,
    /// Init has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// What was found out about a container.
pub(super) struct Facts {
    /// From the record.
    pub phase: Phase,
    /// Init's stat line while it lives; not needed in [`Phase::Creating`].
    pub init: Option<ProcessStat>,
}

/// The status as far as it can be told without the cgroup and the directory.
///
/// The questions are asked only when the answer hangs on them, since each costs system calls: whether its cgroup is `frozen`,
/// whether init `waits` for `start`, and whether it is `abandoned` by a creator that did not finish.
pub(super) fn derive<E>(
    facts: &Facts,
    frozen: impl FnOnce() -> Result<bool, E>,
    waits: impl FnOnce() -> Result<bool, E>,
    abandoned: impl FnOnce() -> Result<bool, E>,
) -> Result<Status, E> {
    // Nobody will ever start it: init dies with its creator, or has just outlived it and waits for nobody.
    let unfinished = || Ok(if abandoned()? { Status::Stopped } else { Status::Creating });
    if facts.phase == Phase::Creating {
        return unfinished();
    }
    let Some(init) = &facts.init else { return Ok(Status::Stopped) };
    if frozen()? {
        return Ok(Status::Paused);
    }
    // The comm changes at execve, the socket goes when init was told to: together they leave no moment in
    // which a payload that took our comm is called created.
    if init.comm == INIT_COMM.as_bytes() {
        return if waits()? { Ok(Status::Created) } else { unfinished() };
    }
    Ok(Status::Running)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(phase: Phase, comm: Option<&str>, frozen: bool, waits: bool, abandoned: bool) -> Status {
        let init =
            comm.map(|comm| ProcessStat { comm: comm.into(), state: b'S', start_time: 1, exit_status: 0 });
        let Ok(status) = derive::<()>(&Facts { phase, init }, || Ok(frozen), || Ok(waits), || Ok(abandoned))
        else {
            panic!("no question fails")
        };
        status
    }

    /// [S5] [S6] The whole table.
    #[test]
    fn status_is_derived() {
        use Phase::{Created, Creating};
        assert_eq!(status(Creating, None, false, false, false), Status::Creating);
        assert_eq!(status(Creating, Some(INIT_COMM), true, true, false), Status::Creating);
        assert_eq!(status(Creating, Some(INIT_COMM), false, true, true), Status::Stopped);
        assert_eq!(status(Created, None, true, true, false), Status::Stopped);
        assert_eq!(status(Created, Some(INIT_COMM), false, true, false), Status::Created);
        assert_eq!(status(Created, Some(INIT_COMM), false, false, false), Status::Creating);
        assert_eq!(status(Created, Some(INIT_COMM), false, false, true), Status::Stopped);
        assert_eq!(status(Created, Some("sh"), false, true, true), Status::Running);
        assert_eq!(status(Created, Some("sh"), true, false, false), Status::Paused);
        assert_eq!(status(Created, Some(INIT_COMM), true, true, false), Status::Paused);
    }

    /// [S5] The words.
    #[test]
    fn words_of_the_specification() {
        let all = [Status::Creating, Status::Created, Status::Running, Status::Paused, Status::Stopped];
        assert_eq!(all.map(|s| s.to_string()), ["creating", "created", "running", "paused", "stopped"]);
    }

    /// A waiting init's comm fits the kernel's 16 bytes with the NUL.
    #[test]
    fn comm_fits() {
        assert!(INIT_COMM.len() <= 15);
    }
}
