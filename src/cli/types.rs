//! What a command line says, as typed values.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::exec::ExecArgs;
use super::mounts::MountsArgs;
use super::root::{StateRoot, default_root};
use super::seccomp::{RecordArgs, SeccompArgs};
use super::update::UpdateArgs;
use crate::error::Error;

/// A whole command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The options before the command.
    pub global: Global,
    /// The command with its options and arguments.
    pub command: Command,
    /// The command's name as texts show it (`davit NAME failed: …`); empty when there is none.
    pub name: &'static str,
}

/// A command line that cannot be carried out.
#[derive(Debug)]
pub struct UsageError {
    /// What was understood before the fault: it says where the error goes.
    pub global: Global,
    /// The help that belongs on stdout; may be empty.
    pub stdout: String,
    /// The fault; its exit code is 1, or 3 for an unknown command.
    pub error: Error,
}

/// The options before the command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Global {
    /// `--root`: absolute; `None` for the default ([`Global::state_root`]).
    pub root: Option<PathBuf>,
    /// `--log`, `--systemd-log`: the log file, or `journald:ID`, `syslog:ID`.
    pub log: Option<PathBuf>,
    /// `--log-format`.
    pub log_format: LogFormat,
    /// `--log-level`, `--debug`.
    pub level: Level,
    /// `--cgroup-manager`, `--systemd-cgroup`: the last one given.
    pub cgroup_manager: CgroupManager,
    /// `--rootless`.
    pub rootless: Rootless,
    /// The command's stdout and stderr are read together as one answer: no warning may be printed.
    pub quiet: bool,
}

impl Global {
    /// Where the containers' state lives.
    pub fn state_root(&self) -> StateRoot {
        match &self.root {
            Some(path) => StateRoot { path: path.clone(), xdg: false },
            None => default_root(),
        }
    }
}

/// How log records are written (features.md G15).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// logrus' text: `time="…" level=error msg="…"`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Which log records are written: those of this level and below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Failures.
    Error,
    /// And what was passed over.
    #[default]
    Warning,
    /// And every step.
    Debug,
}

/// Who makes the container's cgroup (features.md G17, X1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupManager {
    /// The runtime, in the file system.
    #[default]
    Cgroupfs,
    /// systemd, asked over D-Bus.
    Systemd,
    /// Nobody: the container stays in the caller's cgroup.
    Disabled,
}

/// Whether missing permission for cgroups is passed over (features.md G18).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rootless {
    /// Decided from the effective user id and the user namespace.
    #[default]
    Auto,
    /// It is.
    True,
    /// It is not.
    False,
}

/// `--format` of `list` and `ps`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableFormat {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// `--format` of `plan`, `validate`, `info` and `seccomp explain`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlanFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Command {
    /// Print this text: a help, a manual page, a completion script; exit code 0.
    Help(String),
    /// Print [`version`]; exit code 0.
    Version,
    Create(CreateArgs),
    Run(RunArgs),
    Start {
        id: String,
    },
    /// `all`: with the cgroups and every process.
    State {
        id: String,
        all: bool,
    },
    /// `signal` as given: a number or a name. `regex`: the id is a pattern for many.
    Kill {
        id: String,
        signal: Option<String>,
        all: bool,
        regex: bool,
    },
    /// `regex`: the id is a pattern for many.
    Delete {
        id: String,
        force: bool,
        regex: bool,
    },
    List {
        format: TableFormat,
        quiet: bool,
    },
    /// `args`: options for ps(1); empty for the default.
    Ps {
        id: String,
        format: TableFormat,
        args: Vec<OsString>,
    },
    Pause {
        id: String,
    },
    Resume {
        id: String,
    },
    /// `once`: one line of numbers (`--stats`).
    Events {
        id: String,
        once: bool,
        interval: Duration,
    },
    Exec(Box<ExecArgs>),
    Stats(StatsArgs),
    Spec(SpecArgs),
    Features,
    MountsAdd(MountsArgs),
    MountsRemove(MountsArgs),
    Info {
        format: PlanFormat,
    },
    Update(Box<UpdateArgs>),
    Plan(PlanArgs),
    /// It takes what `plan` takes.
    Validate(PlanArgs),
    Wait {
        id: String,
    },
    SeccompDisasm(SeccompArgs),
    SeccompExplain(SeccompArgs),
    SeccompRecord(RecordArgs),
}

/// `create`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateArgs {
    /// The container's id, not validated yet.
    pub id: String,
    /// `--bundle`; `None` for the current directory.
    pub bundle: Option<PathBuf>,
    /// `--config`; `None` for the bundle's config.json.
    pub config: Option<PathBuf>,
    /// `--console-socket`.
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`.
    pub pidfd_socket: Option<PathBuf>,
    /// `--pid-file`.
    pub pid_file: Option<PathBuf>,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// `--preserve-fds`: how many, counted from fd 3 on, besides `$LISTEN_FDS`.
    pub preserve_fds: u32,
    /// `seccomp record`: who is asked about every system call.
    pub recorder: Option<PathBuf>,
}

/// `run`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunArgs {
    /// What it shares with `create`.
    pub create: CreateArgs,
    /// `--detach`.
    pub detach: bool,
    /// `--keep`.
    pub keep: bool,
    /// `--no-subreaper`.
    pub no_subreaper: bool,
}

/// `stats`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsArgs {
    /// The containers, not validated yet; none for all that run.
    pub ids: Vec<String>,
    /// `--format`.
    pub format: TableFormat,
    /// `--no-stream`.
    pub no_stream: bool,
    /// `--interval`.
    pub interval: Duration,
}

/// `spec`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecArgs {
    /// `--bundle`; `None` for the current directory.
    pub bundle: Option<PathBuf>,
    /// `--file`, relative to the bundle; `None` for config.json.
    pub file: Option<PathBuf>,
    /// `--rootless`.
    pub rootless: bool,
}

/// `plan` and `validate`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanArgs {
    /// `--bundle`; `None` for the current directory.
    pub bundle: Option<PathBuf>,
    /// `--config`; `None` for the bundle's config.json.
    pub config: Option<PathBuf>,
    /// `--format`.
    pub format: PlanFormat,
}
