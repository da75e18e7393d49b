//! The command line: runc's surface, by Go's rules, from one table (features.md sections 1 and 2).
//!
//! `table` says what there is, `parse` reads it by Go's rules, this file makes typed values (`types`) of it, `help`
//! renders texts when somebody asks for them.

mod completion;
mod duration;
mod entry;
mod exec;
mod help;
mod man;
mod mounts;
mod parse;
mod root;
mod seccomp;
pub mod table;
#[cfg(test)]
mod tests;
mod types;
mod update;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use self::parse::{Given, parse_bool, scan, usage};
use self::table::{COMMANDS, CommandSpec, GLOBAL, Opt, Verb};
use crate::error::{Error, Kind, Result};

pub use self::exec::{ExecArgs, User};
pub use self::help::{SPEC_VERSION, commit, version};
pub use self::mounts::MountsArgs;
pub use self::root::{StateRoot, default_root, in_user_namespace};
pub use self::seccomp::{RecordArgs, SeccompArgs};
pub use self::types::{
    CgroupManager, Command, CreateArgs, Global, Invocation, Level, LogFormat, PlanArgs, PlanFormat, Rootless,
    RunArgs, SpecArgs, StatsArgs, TableFormat, UsageError,
};
pub use self::update::{Limits, UpdateArgs};

/// Reads a command line with the program's name, by which crun is told to run a virtual machine (`krun`,
/// `crun-HANDLER`; features.md G21): whoever calls Davit so would not get one.
///
/// # Errors
/// As [`parse`]; such a name.
pub fn parse_as(
    program: &OsStr,
    args: impl Iterator<Item = OsString>,
) -> Result<Invocation, Box<UsageError>> {
    let invocation = parse(args)?;
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
    let handler = if name == "krun" { Some("krun") } else { name.strip_prefix("crun-") };
    match handler {
        // Callers ask so what this program is.
        Some(handler) if !matches!(invocation.command, Command::Version | Command::Help(_)) => {
            let text = format!("called as {name:?}: davit has no handler {handler:?}");
            let error = usage(text).hint("it runs containers as plain processes only");
            Err(Box::new(UsageError { global: invocation.global, stdout: String::new(), error }))
        }
        _ => Ok(invocation),
    }
}

/// Reads a command line; `args` comes without the program's name.
///
/// # Errors
/// A wrong command line, with the help that goes to stdout and the global options understood so far.
pub fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Invocation, Box<UsageError>> {
    let mut global = Global::default();
    match parse_into(&mut global, &mut args) {
        Ok((name, command)) => Ok(Invocation { global, command, name }),
        Err((stdout, error)) => Err(Box::new(UsageError { global, stdout, error })),
    }
}

/// A text for stdout and the fault.
type Fault = (String, Error);

fn plain(error: Error) -> Fault {
    (String::new(), error)
}

fn parse_into(
    global: &mut Global,
    args: &mut impl Iterator<Item = OsString>,
) -> Result<(&'static str, Command), Fault> {
    let (mut given, operands) = scan(GLOBAL, args, true)
        .map_err(|error| (format!("Incorrect Usage. {error}\n\n{}", help::program()), error))?;
    if given.flag(Opt::Help) {
        return Ok(("", Command::Help(help::program())));
    }
    if given.flag(Opt::Version) {
        return Ok(("", Command::Version));
    }
    let settings = set_global(global, &mut given);
    let Some(name) = operands.first() else {
        return Ok(("", Command::Help(help::program())));
    };
    settings.map_err(plain)?;
    let spec = find(name).map_err(plain)?;
    let spec = match sub_command(spec, args)? {
        Ok(spec) => spec,
        Err(help) => return Ok((spec.name, Command::Help(help))),
    };
    global.quiet = spec.quiet;
    parse_command(spec, args).map(|command| (spec.name, command)).map_err(|(stdout, error)| match spec.verb {
        // Any other code could be the program's (features.md S27).
        Verb::Exec => (stdout, error.exiting(255)),
        _ => (stdout, error),
    })
}

fn parse_command(
    spec: &'static CommandSpec,
    args: &mut impl Iterator<Item = OsString>,
) -> Result<Command, Fault> {
    let (given, mut operands) = scan(spec.options, args, spec.trailing)
        .map_err(|error| (format!("Incorrect Usage: {error}\n\n{}", help::command(spec)), error))?;
    if given.flag(Opt::Help) {
        return Ok(Command::Help(help::command(spec)));
    }
    if spec.trailing {
        operands.extend(args);
    }
    count(spec, operands.len())
        .map_err(|error| (format!("Incorrect Usage.\n\n{}", help::command(spec)), error))?;
    command(spec.verb, given, operands).map_err(plain)
}

fn set_global(global: &mut Global, given: &mut Given) -> Result<()> {
    // Where errors go comes first, so that the faults after it are told there.
    let target = given.order().filter(|opt| matches!(opt, Opt::Log | Opt::SystemdLog)).last();
    global.log = match target {
        Some(Opt::SystemdLog) if given.flag(Opt::SystemdLog) => Some("journald:davit".into()),
        _ => given.path(Opt::Log),
    };
    if let Some(format) = given.text(Opt::LogFormat) {
        global.log_format = match format.to_str() {
            Some("" | "text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            _ => return Err(usage(format!("invalid log-format: {}", format.display()))),
        };
    }
    if let Some(level) = given.text(Opt::LogLevel) {
        global.level = match level.to_str() {
            Some("error") => Level::Error,
            Some("" | "warning" | "warn" | "info") => Level::Warning,
            Some("debug" | "trace") => Level::Debug,
            _ => return Err(usage(format!("invalid log-level: {}", level.display()))),
        };
    }
    if given.flag(Opt::Debug) {
        global.level = Level::Debug;
    }
    if let Some(root) = given.text(Opt::Root) {
        global.root = Some(root::explicit_root(&root)?);
    }
    global.cgroup_manager = cgroup_manager(given)?;
    if let Some(mode) = given.text(Opt::Rootless) {
        global.rootless = match (mode.as_encoded_bytes(), parse_bool(mode.as_encoded_bytes())) {
            (b"" | b"auto", _) => Rootless::Auto,
            (_, Some(true)) => Rootless::True,
            (_, Some(false)) => Rootless::False,
            _ => return Err(usage(format!("invalid rootless: {}", mode.display()))),
        };
    }
    Ok(())
}

/// `--cgroup-manager` and `--systemd-cgroup` set one thing: the last one given wins.
fn cgroup_manager(given: &mut Given) -> Result<CgroupManager> {
    let named = match given.text(Opt::CgroupManager) {
        None => None,
        Some(name) => Some(match name.to_str() {
            Some("cgroupfs") => CgroupManager::Cgroupfs,
            Some("systemd") => CgroupManager::Systemd,
            Some("disabled") => CgroupManager::Disabled,
            _ => return Err(usage(format!("invalid cgroup-manager: {}", name.display()))),
        }),
    };
    let systemd = given.flag(Opt::SystemdCgroup).then_some(CgroupManager::Systemd);
    let last = given.order().filter(|opt| matches!(opt, Opt::CgroupManager | Opt::SystemdCgroup)).last();
    Ok(match last {
        Some(Opt::SystemdCgroup) => systemd.or(named),
        _ => named,
    }
    .unwrap_or_default())
}

/// The command itself, or the sub-command that the next argument names; else the help that was asked for.
fn sub_command(
    spec: &'static CommandSpec,
    args: &mut impl Iterator<Item = OsString>,
) -> Result<Result<&'static CommandSpec, String>, Fault> {
    if spec.commands.is_empty() {
        return Ok(Ok(spec));
    }
    let (given, operands) = scan(spec.options, args, true)
        .map_err(|error| (format!("Incorrect Usage: {error}\n\n{}", help::command(spec)), error))?;
    match operands.first() {
        Some(name) if !given.flag(Opt::Help) => find_in(spec.commands, name).map(Ok).map_err(plain),
        _ => Ok(Err(help::command(spec))),
    }
}

/// The command called `name`.
fn find(name: &OsStr) -> Result<&'static CommandSpec> {
    find_in(COMMANDS, name)
}

fn find_in(commands: &'static [CommandSpec], name: &OsStr) -> Result<&'static CommandSpec> {
    let known =
        |command: &&CommandSpec| command.word() == name || command.aliases.iter().any(|alias| *alias == name);
    commands.iter().find(known).ok_or_else(|| {
        let name = name.to_string_lossy();
        let error = Error::new(Kind::UnknownCommand, format!("No help topic for '{name}'"));
        match closest(commands, &name) {
            Some(close) => error.hint(format!("did you mean {close:?}?")),
            None => error,
        }
    })
}

/// The only command that begins with `name`, or the one at most two slips away.
fn closest(commands: &'static [CommandSpec], name: &str) -> Option<&'static str> {
    let mut begin = commands.iter().filter(|command| name.len() > 1 && command.word().starts_with(name));
    if let (Some(only), None) = (begin.next(), begin.next()) {
        return Some(only.word());
    }
    crate::similar::closest(name, commands.iter().map(CommandSpec::word))
}

/// The number of arguments (features.md G9, runc's words).
fn count(spec: &CommandSpec, found: usize) -> Result<()> {
    let CommandSpec { name, min, max, .. } = spec;
    let rule = match () {
        () if (*min..=*max).contains(&found) => return Ok(()),
        () if min == max => format!("exactly {min}"),
        () if found < *min => format!("a minimum of {min}"),
        () => format!("a maximum of {max}"),
    };
    Err(usage(format!("davit: \"{name}\" requires {rule} argument(s)")))
}

fn command(verb: Verb, mut given: Given, operands: Vec<OsString>) -> Result<Command> {
    let mut operands = operands.into_iter();
    let mut id = || {
        let id = operands.next().unwrap_or_default().into_string();
        id.map_err(|_| usage("invalid container ID format"))
    };
    Ok(match verb {
        Verb::Create => Command::Create(create_args(id()?, &mut given)),
        Verb::Run => Command::Run(RunArgs {
            create: create_args(id()?, &mut given),
            detach: given.flag(Opt::Detach),
            keep: given.flag(Opt::Keep),
            no_subreaper: given.flag(Opt::NoSubreaper),
        }),
        Verb::Start => Command::Start { id: id()? },
        Verb::State => Command::State { id: id()?, all: given.flag(Opt::All) },
        Verb::Kill => Command::Kill {
            id: id()?,
            signal: operands.next().map(|signal| signal.to_string_lossy().into_owned()),
            all: given.flag(Opt::All),
            regex: given.flag(Opt::Regex),
        },
        Verb::Delete => {
            Command::Delete { id: id()?, force: given.flag(Opt::Force), regex: given.flag(Opt::Regex) }
        }
        Verb::List => Command::List { format: table_format(&mut given)?, quiet: given.flag(Opt::Quiet) },
        Verb::Ps => Command::Ps { id: id()?, format: table_format(&mut given)?, args: operands.collect() },
        Verb::Pause => Command::Pause { id: id()? },
        Verb::Resume => Command::Resume { id: id()? },
        Verb::Events => Command::Events {
            id: id()?,
            once: given.flag(Opt::Stats),
            interval: interval(&mut given, Duration::from_secs(5))?,
        },
        Verb::Exec => {
            let id = id()?;
            Command::Exec(Box::new(exec::args(id, operands.collect(), &mut given)?))
        }
        Verb::Stats => Command::Stats(StatsArgs {
            ids: operands.map(|id| id.to_string_lossy().into_owned()).collect(),
            format: table_format(&mut given)?,
            no_stream: given.flag(Opt::NoStream),
            interval: interval(&mut given, Duration::from_secs(1))?,
        }),
        Verb::Spec => Command::Spec(SpecArgs {
            bundle: given.path(Opt::Bundle),
            file: given.path(Opt::File),
            rootless: given.flag(Opt::Rootless),
        }),
        Verb::Features => Command::Features,
        Verb::MountsAdd => Command::MountsAdd(mounts::args(id()?, operands.next())),
        Verb::MountsRemove => Command::MountsRemove(mounts::args(id()?, operands.next())),
        Verb::Info => Command::Info { format: plan_format(&mut given)? },
        Verb::Wait => Command::Wait { id: id()? },
        Verb::Update => Command::Update(Box::new(update::args(id()?, &mut given)?)),
        Verb::Plan => Command::Plan(plan_args(&mut given)?),
        Verb::Validate => Command::Validate(plan_args(&mut given)?),
        Verb::SeccompDisasm => Command::SeccompDisasm(seccomp::args(operands, &mut given)?),
        Verb::SeccompExplain => Command::SeccompExplain(seccomp::args(operands, &mut given)?),
        Verb::SeccompRecord => Command::SeccompRecord(RecordArgs {
            id: operands.next().map(|id| id.to_string_lossy().into_owned()),
            bundle: given.path(Opt::Bundle),
            config: given.path(Opt::Config),
            output: given.path(Opt::Output),
        }),
        // A sub-command has been found before this.
        Verb::Mounts | Verb::Seccomp => Command::Help(help::program()),
        Verb::Help => Command::Help(match (operands.next(), operands.next()) {
            (None, _) => help::program(),
            (Some(topic), None) => help::command(find(&topic)?),
            (Some(topic), Some(sub)) => help::command(find_in(find(&topic)?.commands, &sub)?),
        }),
        Verb::Man => Command::Help(match operands.next() {
            Some(topic) => man::command(find(&topic)?),
            None => man::program(),
        }),
        Verb::Completion => match given.text(Opt::Shell).or_else(|| operands.next()) {
            Some(shell) => Command::Help(completion::script(&shell)?),
            None => return Err(usage("completion for which shell?").hint("bash, zsh or fish")),
        },
    })
}

fn create_args(id: String, given: &mut Given) -> CreateArgs {
    CreateArgs {
        id,
        bundle: given.path(Opt::Bundle),
        config: given.path(Opt::Config),
        console_socket: given.path(Opt::ConsoleSocket),
        pidfd_socket: given.path(Opt::PidfdSocket),
        pid_file: given.path(Opt::PidFile),
        no_pivot: given.flag(Opt::NoPivot),
        no_new_keyring: given.flag(Opt::NoNewKeyring),
        preserve_fds: given.number(Opt::PreserveFds).unwrap_or(0),
        recorder: None,
    }
}

fn plan_args(given: &mut Given) -> Result<PlanArgs> {
    Ok(PlanArgs {
        bundle: given.path(Opt::Bundle),
        config: given.path(Opt::Config),
        format: plan_format(given)?,
    })
}

fn interval(given: &mut Given, default: Duration) -> Result<Duration> {
    let Some(text) = given.text(Opt::Interval) else { return Ok(default) };
    let text = text.to_string_lossy();
    match duration::parse(text.trim_start_matches('-')) {
        None => {
            Err(usage(format!("invalid value {text:?} for flag -interval")).hint("want 5s, 100ms or 1m30s"))
        }
        // runc's words (features.md V44).
        Some(time) if time.is_zero() || text.starts_with('-') => {
            Err(usage("duration interval must be greater than 0"))
        }
        Some(time) => Ok(time),
    }
}

fn table_format(given: &mut Given) -> Result<TableFormat> {
    match given.text(Opt::Format).as_deref().map(OsStr::to_str) {
        None | Some(Some("table")) => Ok(TableFormat::Table),
        Some(Some("json")) => Ok(TableFormat::Json),
        // runc's words (features.md V20).
        Some(_) => Err(usage("invalid format option")),
    }
}

fn plan_format(given: &mut Given) -> Result<PlanFormat> {
    match given.text(Opt::Format).as_deref().map(OsStr::to_str) {
        None | Some(Some("text")) => Ok(PlanFormat::Text),
        Some(Some("json")) => Ok(PlanFormat::Json),
        Some(_) => Err(usage("invalid format option").hint("text or json")),
    }
}
