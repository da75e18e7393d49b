//! argv → command → one place that prints the error → exit code.

#![no_main]

#[path = "sys/entry.rs"]
mod entry;

use std::ffi::OsString;

use davit::cli::{self, Command, Invocation};
use davit::commands;
use davit::error::{Context, Result};
use davit::log::Log;

#[global_allocator]
static ALLOCATOR: davit::sys::alloc::Arena = davit::sys::alloc::Arena;

/// Runs one command line; gives the exit code.
fn run(args: Vec<OsString>) -> i32 {
    let mut args = args.into_iter();
    let name = args.next().unwrap_or_default();
    match cli::parse_as(&name, args) {
        Ok(invocation) => carry_out(&invocation),
        Err(fault) => {
            // A closed stdout does not make the fault another one.
            let _ = commands::output::print(fault.stdout.as_bytes());
            Log::open(&fault.global).unwrap_or_else(|_| Log::stderr(&fault.global)).fail(&fault.error);
            fault.error.exit_code()
        }
    }
}

/// Bytes of memory that a command uses of the heap, by measurement.
fn memory(command: &Command) -> usize {
    match command {
        Command::Help(_) | Command::Version => 0,
        Command::Create(_) | Command::Run(_) => 120 << 10,
        _ => 48 << 10,
    }
}

fn carry_out(invocation: &Invocation) -> i32 {
    // Before anything else is done, since all of it would be done again.
    let cloned = match &invocation.command {
        Command::Exec(_) => davit::process::own_binary::run_from_clone(),
        _ => Ok(()),
    };
    davit::sys::alloc::populate(memory(&invocation.command));
    // First of all, so that the log is no standard stream (F17).
    let filled = davit::sys::fd::fill_standard_streams();
    let filled = filled.context("open /dev/null for a closed standard stream");
    let log = Log::open(&invocation.global);
    let result = match &log {
        Ok(log) => cloned.context("exec failed").and(filled).and_then(|()| dispatch(invocation, log)),
        Err(_) => Ok(0),
    };
    let (log, result) = match log {
        Ok(log) => (log, result),
        Err(error) => (Log::stderr(&invocation.global), Err(error)),
    };
    result.unwrap_or_else(|error| {
        let error = match &invocation.command {
            Command::Exec(_) => error.exiting(commands::exec::FAILED),
            _ => error,
        };
        let code = error.exit_code();
        log.fail(&error);
        code
    })
}

fn dispatch(invocation: &Invocation, log: &Log) -> Result<i32> {
    let global = &invocation.global;
    let root = || global.state_root().path;
    match &invocation.command {
        Command::Help(text) => commands::help::run(text),
        Command::Version => commands::help::version(),
        Command::Create(args) => commands::create::run(global, args, log).context("davit create failed"),
        Command::Run(args) => commands::run::run(global, args, log).context("davit run failed"),
        Command::Start { id } => commands::start::run(&root(), id, log),
        Command::State { id, all } => commands::state::run(&root(), id, *all),
        Command::Kill { id, signal, all, regex } => {
            let signal = commands::kill::parse_signal(signal.as_deref())?;
            let kill = |id: &str| commands::kill::run(&root(), id, signal, *all);
            if *regex { commands::matching::each(&root(), id, log, kill) } else { kill(id) }
        }
        Command::Delete { id, force, regex } => {
            let delete = |id: &str| commands::delete::run(&root(), id, *force, &mut |text| log.warn(text));
            if *regex { commands::matching::each(&root(), id, log, delete) } else { delete(id) }
        }
        Command::List { format, quiet } => {
            commands::list::run(&root(), global.root.is_some(), *format, *quiet, &mut |text| log.warn(text))
        }
        Command::Ps { id, format, args } => commands::ps::run(&root(), id, *format, args),
        Command::Pause { id } => commands::pause::run(&root(), id),
        Command::Resume { id } => commands::resume::run(&root(), id),
        Command::Events { id, once, interval } => commands::events::run(&root(), id, *once, *interval),
        Command::Exec(args) => commands::exec::run(global, args, log).context("exec failed"),
        Command::Stats(args) => commands::stats::run(&root(), args),
        Command::Spec(args) => commands::spec::run(global, args),
        Command::Features => commands::features::run(global),
        Command::MountsAdd(args) => commands::mounts::add(&root(), args, log),
        Command::MountsRemove(args) => commands::mounts::remove(&root(), args),
        Command::Info { format } => commands::info::run(global, *format),
        Command::Update(args) => commands::update::run(&root(), args, log),
        Command::Plan(args) => commands::plan::run(global, args),
        Command::Validate(args) => commands::validate::run(global, args),
        Command::Wait { id } => commands::wait::run(&root(), id),
        Command::SeccompDisasm(args) => commands::seccomp::disasm(args),
        Command::SeccompExplain(args) => commands::seccomp::explain(args),
        Command::SeccompRecord(args) => commands::seccomp::record(global, args, log),
    }
}
