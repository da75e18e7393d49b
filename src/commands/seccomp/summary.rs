//! `seccomp explain` without a call: the whole profile.

use std::collections::{BTreeMap, BTreeSet};

use oci_spec::runtime::Arch;
use serde::Serialize;

use super::explain::{Verdict, json, newest};
use super::read::Source;
use crate::cli::PlanFormat;
use crate::error::Result;
use crate::seccomp::{Answer, Explainer, words};

/// The profile, as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    default: Verdict,
    /// For calls with a greater number than the profile names, if it is not the default's.
    #[serde(skip_serializing_if = "Option::is_none")]
    newer: Option<Verdict>,
    unknown_names: Vec<String>,
    architectures: Vec<Calls>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Calls {
    architecture: String,
    /// The greatest number that the profile names.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u32>,
    /// By what happens, in words.
    calls: BTreeMap<String, Vec<&'static str>>,
}

/// The calls of one architecture by what happens to them, in words.
fn by_verdict(explainer: &Explainer, arch: Arch) -> BTreeMap<String, Vec<&'static str>> {
    let mut groups: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
    for (name, answer) in explainer.every_call(arch) {
        groups.entry(words_of(&answer)).or_default().push(name);
    }
    groups
}

/// `ALLOW`, or `ALLOW if arg0 < 38 or arg0 == 39, else ERRNO EPERM (1)`.
fn words_of(answer: &Answer) -> String {
    if let Some(decided) = answer.decided() {
        return words::verdict(decided);
    }
    let mut text = String::new();
    let mut last = None;
    for outcome in &answer.outcomes {
        let conditions = match outcome.conditions.as_slice() {
            [] => String::new(),
            conditions => words::conditions(conditions),
        };
        let verdict = words::verdict(outcome.action);
        let part = match (last == Some(outcome.action), conditions.is_empty()) {
            (_, true) => format!(", else {verdict}"),
            (true, false) => format!(" or {conditions}"),
            (false, false) if text.is_empty() => format!("{verdict} if {conditions}"),
            (false, false) => format!(", {verdict} if {conditions}"),
        };
        text.push_str(&part);
        last = Some(outcome.action);
    }
    text
}

pub(super) fn print(
    source: &Source,
    explainer: &Explainer,
    arches: &[Arch],
    format: PlanFormat,
) -> Result<String> {
    let groups: Vec<_> = arches.iter().map(|arch| (*arch, by_verdict(explainer, *arch))).collect();
    match format {
        PlanFormat::Text => Ok(text(source, explainer, &groups)),
        PlanFormat::Json => json(&Summary {
            default: Verdict::of(explainer.default_action()),
            newer: explainer.newer().map(Verdict::of),
            unknown_names: explainer.unknown_names().to_vec(),
            architectures: groups
                .into_iter()
                .map(|(arch, calls)| Calls {
                    architecture: words::architecture(arch),
                    last: explainer.last(arch),
                    calls,
                })
                .collect(),
        }),
    }
}

type Groups = (Arch, BTreeMap<String, Vec<&'static str>>);

fn text(source: &Source, explainer: &Explainer, groups: &[Groups]) -> String {
    let (path, line) = source.place("defaultAction");
    let default = words::verdict(explainer.default_action());
    let mut text = format!("what no rule names: {default}, by {path} (line {line})\n");
    let unknown = explainer.unknown_names();
    if !unknown.is_empty() {
        text.push_str(&format!("names that no architecture has, ignored: {}\n", unknown.join(" ")));
    }
    let mut first: Option<&Groups> = None;
    for group in groups {
        let (arch, calls) = group;
        text.push_str(&format!("\n{}", words::architecture(*arch)));
        match first {
            None => text.push('\n'),
            Some((first, _)) => {
                text.push_str(&format!(", where it differs from {}\n", words::architecture(*first)))
            }
        }
        for (verdict, names) in calls {
            let same: BTreeSet<_> =
                first.and_then(|(_, calls)| calls.get(verdict)).into_iter().flatten().copied().collect();
            let names: Vec<_> = names.iter().copied().filter(|name| !same.contains(name)).collect();
            if !names.is_empty() {
                text.push_str(&format!("  {verdict}:\n{}", wrapped(&names)));
            }
        }
        if let (Some(action), Some(last)) = (explainer.newer(), explainer.last(*arch)) {
            let newest = newest(*arch, last);
            text.push_str(&format!("  {}:\n    every call newer than {newest}\n", words::verdict(action)));
        }
        first = first.or(Some(group));
    }
    text
}

/// Names in lines of at most 100 characters.
fn wrapped(names: &[&str]) -> String {
    let mut text = String::new();
    let mut width = 0;
    for name in names {
        if width == 0 || width + name.len() + 1 > 100 {
            text.push_str(if width == 0 { "    " } else { "\n    " });
            width = 4 + name.len();
        } else {
            text.push(' ');
            width += name.len() + 1;
        }
        text.push_str(name);
    }
    text + "\n"
}
