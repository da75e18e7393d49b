//! Completion scripts for bash, zsh and fish, made from the tables (features.md Y2).
//!
//! A script holds the names; only the ids of containers are asked for when they are wanted, by `davit list -q`
//! with the `--root` that stands on the line.

mod bash;
mod fish;
mod zsh;

use std::ffi::OsStr;

use super::parse::usage;
use super::table::{COMMANDS, CommandSpec, GLOBAL, HELP, Kind, OptionSpec, Verb};
use crate::error::Result;

/// The script for a shell, or one of its path, as `$SHELL` has it.
///
/// # Errors
/// Another shell.
pub(super) fn script(shell: &OsStr) -> Result<String> {
    let name = shell.to_string_lossy();
    match name.rsplit('/').next() {
        Some("bash") => Ok(bash::script()),
        Some("zsh") => Ok(zsh::script()),
        Some("fish") => Ok(fish::script()),
        _ => Err(usage(format!("no completion for the shell {name:?}")).hint("there is bash, zsh and fish")),
    }
}

/// What may stand as an option's value, by its placeholder.
enum Values {
    /// A flag: none.
    Nothing,
    Directories,
    Files,
    Words(Vec<&'static str>),
    /// What cannot be guessed.
    Anything,
}

fn values(option: &OptionSpec) -> Values {
    match (option.kind, option.value) {
        (Kind::Flag, _) => Values::Nothing,
        (_, "DIR") => Values::Directories,
        (_, "FILE" | "PATH") => Values::Files,
        (_, words) if words.contains('|') => Values::Words(words.split('|').collect()),
        _ => Values::Anything,
    }
}

/// What may stand as a command's arguments, in their order, by the help's text for them.
enum Place {
    /// One container.
    Container,
    /// Any number of containers.
    Containers,
    Signal,
    /// A command of ours.
    Command,
    /// What `seccomp explain` is to `seccomp`.
    SubCommand(&'static [CommandSpec]),
    Files,
    Shell,
}

fn places(command: &CommandSpec) -> Vec<Place> {
    // The id of a container that is not there yet is known to nobody.
    if matches!(command.verb, Verb::Create | Verb::Run) {
        return vec![];
    }
    if let [first, ..] = command.commands {
        return [Place::SubCommand(command.commands)].into_iter().chain(places(first)).collect();
    }
    let known = |word| match word {
        "<container-id>" => Some(Place::Container),
        "[container-id...]" => Some(Place::Containers),
        "[signal]" => Some(Place::Signal),
        "[command]" | "[command" => Some(Place::Command),
        "<profile|bundle>" => Some(Place::Files),
        "[bash|zsh|fish]" => Some(Place::Shell),
        _ => None,
    };
    command.arguments.split(' ').map_while(known).collect()
}

/// The options that are shown of the program (under the name "") and of each command, `--help` among them; a command
/// has those of its sub-commands, too.
fn scopes() -> impl Iterator<Item = (&'static str, Vec<&'static OptionSpec>)> {
    let program = [("", GLOBAL.iter().chain([&HELP]).collect())];
    program.into_iter().chain(COMMANDS.iter().map(|command| (command.name, options(command)))).map(
        |(name, mut options): (_, Vec<&OptionSpec>)| {
            options.retain(|option| !option.hidden);
            (name, options)
        },
    )
}

fn options(command: &CommandSpec) -> Vec<&'static OptionSpec> {
    let mut found: Vec<&OptionSpec> = command.options.iter().collect();
    for option in command.commands.iter().flat_map(|command| command.options) {
        if found.iter().all(|known| known.long != option.long) {
            found.push(option);
        }
    }
    found.push(&HELP);
    found
}

/// The last word of each sub-command's name.
fn last_words(commands: &[CommandSpec]) -> String {
    commands.iter().filter_map(|command| command.name.rsplit(' ').next()).collect::<Vec<_>>().join(" ")
}

/// `--bundle` and `-b`, or `--bundle` alone.
fn spellings(option: &OptionSpec) -> impl Iterator<Item = String> {
    let long = format!("--{}", option.long);
    [Some(long), option.short.map(|short| format!("-{short}"))].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [Y2] Every option that is shown is in every script, and no other; every command.
    #[test]
    fn scripts_hold_the_tables() {
        for shell in ["bash", "/usr/bin/zsh", "fish"] {
            let script = script(OsStr::new(shell)).expect(shell);
            for command in COMMANDS {
                assert!(script.contains(command.name), "{shell}: {}", command.name);
            }
            let hidden = COMMANDS.iter().flat_map(|command| command.options).filter(|option| option.hidden);
            for option in scopes().flat_map(|(_, options)| options).chain(hidden) {
                let name = if shell == "fish" {
                    format!("-l {}", option.long)
                } else {
                    format!("--{}", option.long)
                };
                assert_eq!(script.contains(&name), !option.hidden, "{shell}: {name}");
            }
        }
        // Each argument that has a name of ours is known.
        for command in COMMANDS.iter().filter(|command| !command.arguments.is_empty()) {
            let new = matches!(command.verb, Verb::Create | Verb::Run);
            assert_eq!(places(command).is_empty(), new, "{}", command.name);
        }
        let error = script(OsStr::new("tcsh")).expect_err("no such script").to_string();
        assert_eq!(error, "no completion for the shell \"tcsh\" (hint: there is bash, zsh and fish)");
    }
}
