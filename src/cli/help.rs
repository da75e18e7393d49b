//! Help texts, rendered from the tables only when somebody asks.

use std::fmt::Write as _;

use super::table::{COMMANDS, CommandSpec, GLOBAL, HELP, OptionSpec, Verb};

/// The version of the OCI runtime specification that is implemented.
pub const SPEC_VERSION: &str = "1.3.0";

pub(super) const ABOUT: &str = "\
davit runs containers that are described by the Open Container Initiative (OCI)
runtime specification. It is a drop-in for runc.

A container is configured by a bundle: a directory with a file config.json and
the root file system of the container. To run one:

    # davit run [ -b bundle ] <container-id>
";

/// The commit that the build was made from; `DAVIT_COMMIT` in the build's environment sets it.
pub fn commit() -> &'static str {
    option_env!("DAVIT_COMMIT").unwrap_or("unknown")
}

/// What `--version` prints (features.md G12: callers read the lines by their first words).
pub fn version() -> String {
    format!("davit version {}\ncommit: {}\nspec: {SPEC_VERSION}\n", env!("CARGO_PKG_VERSION"), commit())
}

/// The help of the program.
pub fn program() -> String {
    let mut text = format!(
        "NAME:\n   davit - Open Container Initiative runtime\n\n{ABOUT}\n\
         USAGE:\n   davit [global options] command [command options] [arguments...]\n\n\
         VERSION:\n   {}\ncommit: {}\nspec: {SPEC_VERSION}\n\nCOMMANDS:\n",
        env!("CARGO_PKG_VERSION"),
        commit()
    );
    // Help itself last, as people look for it there.
    let commands = COMMANDS.iter().filter(|command| command.verb != Verb::Help);
    let help = COMMANDS.iter().filter(|command| command.verb == Verb::Help);
    columns(&mut text, commands.chain(help).map(|command| (names(command), command.summary.to_string())));
    text.push_str("\nGLOBAL OPTIONS:\n");
    options(&mut text, GLOBAL);
    text
}

/// The help of one command.
pub fn command(command: &CommandSpec) -> String {
    let mut text = format!(
        "NAME:\n   davit {} - {}\n\nUSAGE:\n   davit {}",
        command.name, command.summary, command.name
    );
    if !command.options.is_empty() {
        text.push_str(" [command options]");
    }
    if !command.arguments.is_empty() {
        text.push(' ');
        text.push_str(command.arguments);
    }
    text.push('\n');
    if !command.description.is_empty() {
        text.push_str("\nDESCRIPTION:\n");
        for line in command.description.lines() {
            let indent = if line.is_empty() { "" } else { "   " };
            let _ = writeln!(text, "{indent}{line}");
        }
    }
    if !command.commands.is_empty() {
        text.push_str("\nCOMMANDS:\n");
        columns(&mut text, command.commands.iter().map(|sub| (sub.word().into(), sub.summary.to_string())));
    }
    text.push_str("\nOPTIONS:\n");
    options(&mut text, command.options);
    text
}

fn names(command: &CommandSpec) -> String {
    let mut names = command.name.to_string();
    for alias in command.aliases {
        names.push_str(", ");
        names.push_str(alias);
    }
    names
}

/// One line an option: `--bundle DIR, -b DIR  the bundle's directory`.
fn options(text: &mut String, options: &[OptionSpec]) {
    let shown = options.iter().chain([&HELP]).filter(|option| !option.hidden);
    columns(
        text,
        shown.map(|option| {
            let value = if option.value.is_empty() { String::new() } else { format!(" {}", option.value) };
            let mut left = format!("--{}{value}", option.long);
            if let Some(short) = option.short {
                let _ = write!(left, ", -{short}{value}");
            }
            let mut right = option.help.to_string();
            if let Some(default) = option.default {
                let _ = write!(right, " (default: {default:?})");
            }
            (left, right)
        }),
    );
}

/// Two columns, the first as wide as its widest entry.
fn columns(text: &mut String, rows: impl Iterator<Item = (String, String)>) {
    let rows: Vec<_> = rows.collect();
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    for (left, right) in rows {
        let _ = writeln!(text, "   {left:width$}  {right}");
    }
}
