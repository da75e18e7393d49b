//! `seccomp explain`: the verdict on a call, and the rule it comes from.

use oci_spec::runtime::Arch;
use serde::Serialize;

use super::read::Source;
use super::summary;
use crate::cli::{PlanFormat, SeccompArgs};
use crate::error::{Error, Kind, Result};
use crate::seccomp::{self, Explainer, Holds, NATIVE, Outcome, Reason, words};

/// One architecture's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    architecture: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    number: u32,
    /// Absent if it depends on arguments that were not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    /// What is tried, in order.
    tried: Vec<Tried>,
}

/// An action.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verdict {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno_name: Option<String>,
}

/// A rule, or what stands for one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tried {
    holds: &'static str,
    #[serde(flatten)]
    verdict: Verdict,
    #[serde(skip_serializing_if = "String::is_empty")]
    conditions: String,
    path: String,
    line: usize,
    /// Why, if it is not just the rule at `path`.
    #[serde(skip_serializing_if = "String::is_empty")]
    because: String,
    #[serde(skip)]
    action: u32,
}

/// Prints what happens to a call, or to all.
///
/// # Errors
/// The profile can't be read or compiled; no such call.
pub fn explain(args: &SeccompArgs) -> Result<i32> {
    let only = super::architecture(args)?;
    // A call of another family of machines is judged as a kernel of its own would.
    let native = only.filter(|arch| !seccomp::may_meet(NATIVE, *arch)).unwrap_or(NATIVE);
    let source = Source::read(args, native)?;
    let explainer = Explainer::new(&source.profile, native).map_err(|error| source.fault(&error))?;
    let arches = match only {
        Some(arch) => vec![if arch == Arch::ScmpArchNative { NATIVE } else { arch }],
        None => explainer.architectures().collect(),
    };
    let text = match &args.call {
        None => summary::print(&source, &explainer, &arches, args.format)?,
        Some(call) => {
            let mut given = [None; 6];
            for (slot, value) in given.iter_mut().zip(&args.args) {
                *slot = *value;
            }
            let entries = entries(&source, &explainer, &arches, call, &given)?;
            match args.format {
                PlanFormat::Json => json(&entries)?,
                PlanFormat::Text => entries.iter().map(to_text).collect(),
            }
        }
    };
    crate::commands::output::print(text.as_bytes())?;
    Ok(0)
}

pub(super) fn json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value);
    Ok(text.map_err(|error| Error::new(Kind::System, error.to_string()))? + "\n")
}

fn entries(
    source: &Source,
    explainer: &Explainer,
    arches: &[Arch],
    call: &str,
    args: &[Option<u64>; 6],
) -> Result<Vec<Entry>> {
    let entry = |arch: Arch| {
        let number = match call.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => call.parse().ok().or_else(|| seccomp::number(arch, call))?,
        };
        let answer = explainer.answer(arch, number, args);
        let tried = |outcome| tried(source, explainer, arch, outcome);
        Some(Entry {
            architecture: words::architecture(arch),
            name: seccomp::name(arch, number),
            number,
            verdict: answer.decided().map(Verdict::of),
            tried: answer.outcomes.iter().map(tried).collect(),
        })
    };
    let entries: Vec<Entry> = arches.iter().copied().filter_map(entry).collect();
    if entries.is_empty() { Err(unknown(call, arches)) } else { Ok(entries) }
}

/// No architecture that was asked about has the call.
fn unknown(call: &str, arches: &[Arch]) -> Error {
    let has = |arch: &Arch| seccomp::number(*arch, call).is_some();
    let elsewhere: Vec<String> =
        words::ARCHITECTURES.into_iter().filter(has).map(words::architecture).collect();
    let asked: Vec<String> = arches.iter().copied().map(words::architecture).collect();
    if !elsewhere.is_empty() {
        let text = format!("{} has no system call {call:?}", asked.join(" and "));
        return Error::new(Kind::Usage, text).hint(format!("known on {}", elsewhere.join(", ")));
    }
    let error = Error::new(Kind::Usage, format!("{call:?} is no system call that davit knows"));
    let names: Vec<&str> = arches.iter().flat_map(|arch| seccomp::names(*arch)).collect();
    match crate::similar::closest(call, names.into_iter()) {
        Some(close) => error.hint(format!("did you mean {close:?}?")),
        None => error.hint("a number may be given, too"),
    }
}

impl Verdict {
    pub(super) fn of(value: u32) -> Self {
        let (action, data) = words::action(value);
        let errno_name = data.filter(|_| action == "SCMP_ACT_ERRNO").and_then(words::errno_name);
        Self { action, errno: data, errno_name }
    }
}

fn tried(source: &Source, explainer: &Explainer, arch: Arch, outcome: &Outcome) -> Tried {
    let ((path, line), because) = match outcome.reason {
        Reason::Rule(rule) => (source.rule(rule), String::new()),
        Reason::Behind { rule, call } => (source.rule(rule), format!("the call asked for is {call}")),
        Reason::Default => (source.place("defaultAction"), String::new()),
        Reason::Newer { last } => (source.place("syscalls"), newer(arch, last)),
        Reason::Architecture => {
            let word = words::architecture(arch);
            let listed: Vec<String> = explainer.architectures().map(words::architecture).collect();
            let text = format!("{word} is not among the profile's architectures: {}", listed.join(", "));
            (source.place("architectures"), text)
        }
    };
    let holds = match outcome.holds {
        Holds::Yes => "yes",
        Holds::No => "no",
        Holds::Perhaps => "perhaps",
    };
    let conditions = words::conditions(&outcome.conditions);
    let action = outcome.action;
    Tried { holds, verdict: Verdict::of(action), conditions, path, line, because, action }
}

/// Why a call gets ENOSYS.
fn newer(arch: Arch, last: u32) -> String {
    let newest = newest(arch, last);
    format!("newer than {newest}, the newest that the profile knows; programs then fall back to older calls")
}

/// `mseal (462)`.
pub(super) fn newest(arch: Arch, last: u32) -> String {
    call(seccomp::name(arch, last), last)
}

/// `socket (41)`; x32's numbers by their bit.
fn call(name: Option<&str>, number: u32) -> String {
    let number = if number < 1 << 30 { number.to_string() } else { format!("{number:#x}") };
    name.map_or_else(|| format!("call {number}"), |name| format!("{name} ({number})"))
}

/// `x86_64: socket (41): ERRNO EPERM (1)` and what was tried.
fn to_text(entry: &Entry) -> String {
    let Entry { architecture, name, number, tried, .. } = entry;
    let call = call(*name, *number);
    let first = tried.iter().find(|one| one.holds != "no").map(|one| words::verdict(one.action));
    let verdict = match (&entry.verdict, first) {
        (Some(_), Some(verdict)) => verdict,
        _ => "depends on its arguments".to_owned(),
    };
    let mut text = format!("{architecture}: {call}: {verdict}\n");
    for one in tried {
        let Tried { holds, conditions, path, line, because, action, .. } = one;
        let mut said = words::verdict(*action);
        if !conditions.is_empty() {
            said.push_str(&format!(" if {conditions}"));
        }
        let said = match (*holds, conditions.is_empty()) {
            ("no", _) => format!("{said}: it does not hold"),
            ("perhaps", true) => format!("{said} otherwise"),
            (_, true) if tried.len() > 1 => format!("{said}, as none of these holds"),
            ("yes", false) => format!("{said}: it holds"),
            _ => said,
        };
        let because = if because.is_empty() { String::new() } else { format!(" ({because})") };
        text.push_str(&format!("    {path} (line {line}): {said}{because}\n"));
    }
    text
}
