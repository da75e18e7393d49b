//! Go's rules for options (package `flag`, as runc's callers rely on them) over the tables.
//!
//! No crate fits: getopt-like parsers, lexopt among them, read `-no-subreaper` as a cluster of short options, while
//! here one dash and two mean the same and short and long names are one name space (features.md G2).

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::table::{HELP, Kind, Opt, OptionSpec};
use crate::error::{self, Error, Result};

/// The value that an option was given.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    Flag(bool),
    Text(OsString),
    Number(u32),
}

/// The options of one command line, in their order.
#[derive(Debug, Default)]
pub(super) struct Given(Vec<(&'static OptionSpec, Value)>);

impl Given {
    /// The last value given for `opt` (features.md G4).
    fn last(&self, opt: Opt) -> Option<&Value> {
        self.0.iter().rev().find(|(given, _)| given.opt == opt).map(|(_, value)| value)
    }

    /// A flag; false when it is absent.
    pub(super) fn flag(&self, opt: Opt) -> bool {
        matches!(self.last(opt), Some(Value::Flag(true)))
    }

    /// A number, if given.
    pub(super) fn number(&self, opt: Opt) -> Option<u32> {
        match self.last(opt) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    fn last_text(&mut self, opt: Opt) -> Option<(&'static str, &mut OsString)> {
        match self.0.iter_mut().rfind(|(given, _)| given.opt == opt)? {
            (given, Value::Text(text)) => Some((given.long, text)),
            _ => None,
        }
    }

    /// A text, if given; it is moved out.
    pub(super) fn text(&mut self, opt: Opt) -> Option<OsString> {
        self.last_text(opt).map(|(_, text)| std::mem::take(text))
    }

    /// A flag, if it was given at all: `--x=false` is something else than nothing.
    pub(super) fn given_flag(&self, opt: Opt) -> Option<bool> {
        self.last(opt).map(|_| self.flag(opt))
    }

    /// A text, which must be UTF-8, with the option's long name; none if it is empty.
    fn named(&mut self, opt: Opt) -> Result<Option<(&'static str, String)>> {
        let text = self.last_text(opt).filter(|(_, text)| !text.is_empty());
        text.map(|(name, text)| Ok((name, utf8(name, std::mem::take(text))?))).transpose()
    }

    /// A text, which must be UTF-8, if given and not empty; it is moved out.
    pub(super) fn unicode(&mut self, opt: Opt) -> Result<Option<String>> {
        Ok(self.named(opt)?.map(|(_, text)| text))
    }

    /// As [`Given::unicode`], read by `parse`, which is told the option's long name for its errors.
    pub(super) fn parsed<T>(
        &mut self,
        opt: Opt,
        parse: impl FnOnce(&str, &str) -> Result<T>,
    ) -> Result<Option<T>> {
        self.named(opt)?.map(|(name, text)| parse(name, &text)).transpose()
    }

    /// Every text given for `opt`, which must be UTF-8, in order; they are moved out.
    pub(super) fn unicodes(&mut self, opt: Opt) -> Result<Vec<String>> {
        let of_it = self.0.iter_mut().filter(|(given, _)| given.opt == opt);
        of_it
            .filter_map(|(given, value)| match value {
                Value::Text(text) => Some(utf8(given.long, std::mem::take(text))),
                _ => None,
            })
            .collect()
    }

    /// A path, if given and not empty (callers write `--log ""` for "none").
    pub(super) fn path(&mut self, opt: Opt) -> Option<PathBuf> {
        self.text(opt).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// The options in the order in which they were given, for those that share one setting.
    pub(super) fn order(&self) -> impl Iterator<Item = Opt> + '_ {
        self.0.iter().map(|(given, _)| given.opt)
    }
}

/// Reads options and operands from `args` up to the end, or with `stop` up to the first operand, which is the one
/// returned; the rest then still is in `args`.
///
/// # Errors
/// An unknown option, a missing value, a value of the wrong kind; in the words of Go's `flag`.
pub(super) fn scan(
    options: &'static [OptionSpec],
    args: &mut impl Iterator<Item = OsString>,
    stop: bool,
) -> Result<(Given, Vec<OsString>)> {
    let mut given = Given::default();
    let mut operands = Vec::new();
    while let Some(arg) = args.next() {
        match arg.as_bytes() {
            b"--" if stop => {
                operands.extend(args.next());
                break;
            }
            b"--" => operands.extend(args.by_ref()),
            [b'-', _, ..] => given.0.push(option(options, arg, args)?),
            _ => {
                operands.push(arg);
                if stop {
                    break;
                }
            }
        }
    }
    Ok((given, operands))
}

/// One option, `arg`, with its value from after the `=` or from the next argument.
fn option(
    options: &'static [OptionSpec],
    arg: OsString,
    args: &mut impl Iterator<Item = OsString>,
) -> Result<(&'static OptionSpec, Value)> {
    let body = match arg.as_bytes() {
        [b'-', b'-', body @ ..] | [b'-', body @ ..] => body,
        body => body,
    };
    if matches!(body, [] | [b'-' | b'=', ..]) {
        return Err(usage(format!("bad flag syntax: {}", arg.display())));
    }
    let (name, value) = match body.iter().position(|&byte| byte == b'=') {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    let shown = String::from_utf8_lossy(name);
    let Some(spec) = options.iter().chain([&HELP]).find(|spec| spec.is(name)) else {
        return Err(usage(format!("flag provided but not defined: -{shown}")));
    };
    if spec.kind == Kind::Flag {
        let Some(value) = value else { return Ok((spec, Value::Flag(true))) };
        let on = match (parse_bool(value), spec.opt) {
            // crun takes any word here (features.md X9).
            (None, Opt::Tty) => Some(value != b"no"),
            (on, _) => on,
        };
        let Some(on) = on else {
            let value = String::from_utf8_lossy(value);
            return Err(usage(format!("invalid boolean value {value:?} for -{shown}: parse error")));
        };
        return Ok((spec, Value::Flag(on)));
    }
    let value = match value {
        Some(value) => OsString::from_vec(value.to_vec()),
        None => args.next().ok_or_else(|| usage(format!("flag needs an argument: -{shown}")))?,
    };
    if spec.kind == Kind::Text {
        return Ok((spec, Value::Text(value)));
    }
    match value.to_str().and_then(|value| value.parse().ok()) {
        Some(number) => Ok((spec, Value::Number(number))),
        None => {
            let value = value.to_string_lossy();
            Err(usage(format!("invalid value {value:?} for flag -{shown}: parse error")))
        }
    }
}

/// The words of Go's `strconv.ParseBool`.
pub(super) fn parse_bool(word: &[u8]) -> Option<bool> {
    match word {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some(false),
        _ => None,
    }
}

fn utf8(name: &str, text: OsString) -> Result<String> {
    text.into_string().map_err(|text| usage(format!("--{name}: {text:?} is not UTF-8")))
}

/// A wrong command line.
pub(super) fn usage(message: impl Into<String>) -> Error {
    Error::new(error::Kind::Usage, message)
}
