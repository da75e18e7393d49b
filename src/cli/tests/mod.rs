//! The command line's rules, by the rows of features.md sections 1 and 2.

mod commands;
mod global;
mod grammar;

use super::*;

fn line(text: &str) -> Result<Invocation, Box<UsageError>> {
    parse(text.split_whitespace().map(|word| OsString::from(word.replace("''", ""))))
}

fn ok(text: &str) -> Invocation {
    line(text).unwrap_or_else(|fault| panic!("{text}: {}", fault.error))
}

fn command_of(text: &str) -> Command {
    ok(text).command
}

fn fault(text: &str) -> Box<UsageError> {
    line(text).expect_err(text)
}

fn id() -> String {
    "c1".to_string()
}

fn run_args(text: &str) -> RunArgs {
    match command_of(text) {
        Command::Run(args) => args,
        other => panic!("{other:?}"),
    }
}
