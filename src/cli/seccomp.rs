//! The sub-commands of `seccomp`: explain, disasm and record, and their arguments.

use std::ffi::OsString;
use std::path::PathBuf;

use super::entry::{CommandSpec, Opt, OptionSpec, Verb, text};
use super::parse::{Given, usage};
use super::table::{BUNDLE, CONFIG, on_container};
use super::{PlanFormat, plan_format};
use crate::error::Result;

const CAPS: OptionSpec = text(
    Opt::Caps,
    "caps",
    "LIST",
    "a profile of Docker or Podman: for a container with these capabilities, as CAP_CHOWN,CAP_KILL, all or none",
)
.default("Docker's own");

/// The sub-commands of `seccomp`.
pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        arguments: "<profile|bundle>",
        options: &[
            text(Opt::Arch, "arch", "NAME", "the program for a kernel of this architecture, as aarch64")
                .default("this machine's"),
            CAPS,
        ],
        ..on_container(
            Verb::SeccompDisasm,
            "seccomp disasm",
            "print the program that the kernel would be given",
            "\
One instruction a line: ld loads a word of the call, jeq, jgt and jge compare it
with a number and go to one label or the other, ret is the verdict.",
        )
    },
    CommandSpec {
        arguments: "<profile|bundle> [syscall [args...]]",
        max: 8,
        options: &[
            text(Opt::Arch, "arch", "NAME", "calls of programs of this architecture only, as x86 or x32"),
            CAPS,
            text(Opt::Format, "format", "text|json", "how to print").default("text"),
        ],
        ..on_container(
            Verb::SeccompExplain,
            "seccomp explain",
            "tell what happens to a system call, and which rule says so",
            "\
The call is a name or a number. Its arguments are numbers: 40, 0x28, 050. Those
not given, or given as \"-\", may be any. Before a negative one goes \"--\":

    # davit seccomp explain /run/bundle socket 40
    # davit seccomp explain profile.json -- kill -1 9

Without a call: what the profile says of every call that the kernel has.",
        )
    },
    CommandSpec {
        arguments: "[container-id]",
        min: 0,
        max: 1,
        options: &[
            BUNDLE,
            CONFIG,
            text(Opt::Output, "output", "FILE", "where the profile goes, by default to stdout").short("o"),
        ],
        ..on_container(
            Verb::SeccompRecord,
            "seccomp record",
            "run a container, note its system calls, and write a profile that allows just these",
            "\
The container runs to its end, as by run. Its own profile is not in force; every
call is let through, and costs more time. The profile is a linux.seccomp object:

    # davit seccomp record --bundle /run/bundle -o profile.json",
        )
    },
];

/// `seccomp explain` and `seccomp disasm`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeccompArgs {
    /// A file, or a directory with config.json in it.
    pub profile: PathBuf,
    /// The system call's name or number, as given.
    pub call: Option<String>,
    /// Its arguments from the first on; `None` may be anything.
    pub args: Vec<Option<u64>>,
    /// `--arch`, as given.
    pub arch: Option<String>,
    /// `--caps`, as given.
    pub caps: Option<String>,
    /// `--format`.
    pub format: PlanFormat,
}

/// `seccomp record`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordArgs {
    /// The container's id, not validated yet.
    pub id: Option<String>,
    /// `--bundle`; `None` for the current directory.
    pub bundle: Option<PathBuf>,
    /// `--config`; `None` for the bundle's config.json.
    pub config: Option<PathBuf>,
    /// `--output`; `None` for stdout.
    pub output: Option<PathBuf>,
}

/// Reads operands and options.
///
/// # Errors
/// An argument that is no number.
pub(super) fn args(mut operands: impl Iterator<Item = OsString>, given: &mut Given) -> Result<SeccompArgs> {
    let mut text = |opt| given.text(opt).map(|text| text.to_string_lossy().into_owned());
    let (arch, caps) = (text(Opt::Arch), text(Opt::Caps));
    let profile = operands.next().unwrap_or_default().into();
    let mut operands = operands.map(|operand| operand.to_string_lossy().into_owned());
    let call = operands.next();
    let argument = |(at, text): (usize, String)| match text.as_str() {
        "-" => Ok(None),
        text => match number(text) {
            Some(number) => Ok(Some(number)),
            None => Err(usage(format!("invalid value {text:?} for argument {at} of the system call"))
                .hint("want 40, 0x28, 050, or - for any")),
        },
    };
    let args = operands.enumerate().map(argument).collect::<Result<_>>()?;
    Ok(SeccompArgs { profile, call, args, arch, caps, format: plan_format(given)? })
}

/// A number in C's notation; a negative one is taken as the 64 bits that a register has.
fn number(text: &str) -> Option<u64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    // from_str_radix takes a sign of its own.
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (16, digits),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    if digits.starts_with('+') {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    match negative {
        false => Some(value),
        true if value <= 1 << 63 => Some(value.wrapping_neg()),
        true => None,
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_those_of_c() {
        for (text, value) in [
            ("0", 0),
            ("40", 40),
            ("0x28", 40),
            ("0XfF", 255),
            ("050", 40),
            ("-1", u64::MAX),
            ("-0x8000000000000000", 1 << 63),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(number(text), Some(value), "{text}");
        }
        for text in
            ["", "-", "+1", "0x", "0x+1", "08", "1k", "18446744073709551616", "-9223372036854775809", "--1"]
        {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
