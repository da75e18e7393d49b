//! What an entry of the [`table`](super::table) says of an option or a command.

/// An option's identity; how it is spelt is the table's matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Opt {
    AdditionalGids,
    All,
    Apparmor,
    Arch,
    BlkioWeight,
    Bundle,
    Cap,
    Caps,
    Cgroup,
    CgroupManager,
    Config,
    ConsoleSocket,
    CpuBurst,
    CpuIdle,
    CpuPeriod,
    CpuQuota,
    CpuRtPeriod,
    CpuRtRuntime,
    CpuShare,
    CpusetCpus,
    CpusetMems,
    Criu,
    Cwd,
    Debug,
    Detach,
    Env,
    File,
    Force,
    Format,
    Help,
    IgnorePaused,
    Interval,
    Keep,
    KernelMemory,
    KernelMemoryTcp,
    L3CacheSchema,
    Log,
    LogFormat,
    LogLevel,
    MemBwSchema,
    Memory,
    MemoryReservation,
    MemorySwap,
    NoNewKeyring,
    NoNewPrivs,
    NoPivot,
    NoStream,
    NoSubreaper,
    Output,
    PidFile,
    PidfdSocket,
    PidsLimit,
    PreserveFds,
    Process,
    ProcessLabel,
    Quiet,
    Regex,
    Resources,
    Root,
    Rootless,
    Shell,
    Stats,
    SystemdCgroup,
    SystemdLog,
    Tty,
    User,
    Version,
}

/// A command's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    Completion,
    Create,
    Delete,
    Events,
    Exec,
    Features,
    Help,
    Info,
    Kill,
    List,
    Man,
    Mounts,
    MountsAdd,
    MountsRemove,
    Pause,
    Plan,
    Ps,
    Resume,
    Run,
    Seccomp,
    SeccompDisasm,
    SeccompExplain,
    SeccompRecord,
    Spec,
    Start,
    State,
    Stats,
    Update,
    Validate,
    Wait,
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, or `=true` and `=false` in the words of Go's `strconv.ParseBool`.
    Flag,
    /// Any text, UTF-8 or not.
    Text,
    /// A decimal number from 0 to 2^32-1.
    Number,
}

/// One option of the program or of a command.
#[derive(Debug)]
pub struct OptionSpec {
    /// What it is.
    pub opt: Opt,
    /// The long name, without dashes.
    pub long: &'static str,
    /// The short name, without its dash.
    pub short: Option<&'static str>,
    /// What it takes.
    pub kind: Kind,
    /// The placeholder of the value in the help; empty for a flag.
    pub value: &'static str,
    /// Accepted, but not shown in the help.
    pub hidden: bool,
    /// One line for the help.
    pub help: &'static str,
    /// The default that the help shows.
    pub default: Option<&'static str>,
}

/// One command.
#[derive(Debug)]
pub struct CommandSpec {
    /// What it is.
    pub verb: Verb,
    /// The name on the command line; of a sub-command with that of its command before it.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// How the help shows the arguments.
    pub arguments: &'static str,
    /// The least number of arguments.
    pub min: usize,
    /// The greatest number of arguments.
    pub max: usize,
    /// Everything after the first argument belongs to another program: no option is looked for there.
    pub trailing: bool,
    /// Callers read stdout and stderr of this command together as one answer: it prints no warning.
    pub quiet: bool,
    /// One line for the list of commands.
    pub summary: &'static str,
    /// The longer text; lines are indented by the help.
    pub description: &'static str,
    /// Its options, without `--help`.
    pub options: &'static [OptionSpec],
    /// Its sub-commands, in alphabetical order; one must be given if there are some.
    pub commands: &'static [CommandSpec],
}

impl CommandSpec {
    /// The word that calls it: its name, or the last part of a sub-command's.
    pub fn word(&self) -> &'static str {
        self.name.rsplit(' ').next().unwrap_or(self.name)
    }
}

pub(super) const fn flag(opt: Opt, long: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { opt, long, short: None, kind: Kind::Flag, value: "", hidden: false, help, default: None }
}

pub(super) const fn text(
    opt: Opt,
    long: &'static str,
    value: &'static str,
    help: &'static str,
) -> OptionSpec {
    OptionSpec { opt, long, short: None, kind: Kind::Text, value, hidden: false, help, default: None }
}

impl OptionSpec {
    pub(super) const fn short(self, short: &'static str) -> Self {
        Self { short: Some(short), ..self }
    }

    pub(super) const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    pub(super) const fn hidden(self) -> Self {
        Self { hidden: true, ..self }
    }

    /// Whether `name`, without dashes, is this option.
    pub fn is(&self, name: &[u8]) -> bool {
        self.long.as_bytes() == name || self.short.is_some_and(|short| short.as_bytes() == name)
    }
}
