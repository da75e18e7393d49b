//! Where oci-spec's types are narrower than the specification or than runc: what is put right before the second look at
//! a configuration that did not parse. Nothing moves in the text, so that all places stay what they are.

use oci_spec::runtime::{LinuxSchedulerFlag, Spec};

use super::list::{MAX_CPU, NumberSet};
use super::locate::{Content, Node};

/// One change of the text.
#[derive(Debug)]
pub(super) enum Edit<'n> {
    /// Another string, no longer than the one that is there.
    Put(&'n Node, String),
    /// The member or element goes.
    Drop(&'n Node),
}

/// What [`edits`] could not say in the text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Later {
    dl_overrun: bool,
}

/// What to change so that oci-spec takes it.
pub(super) fn edits<'n>(raw: &[u8], whole: &'n Node) -> (Vec<Edit<'n>>, Later) {
    let (mut edits, mut later) = (Vec::new(), Later::default());
    scheduler_flags(raw, whole, &mut edits, &mut later);
    cpu_lists(raw, whole, &mut edits);
    empty_seccomp(raw, whole, &mut edits);
    (edits, later)
}

/// Puts into the configuration what its text had to do without.
pub(super) fn restore(spec: &mut Spec, later: Later) {
    let Some(process) = spec.process_mut().as_mut().filter(|_| later.dl_overrun) else { return };
    if let Some(mut scheduler) = process.scheduler().clone() {
        let mut flags = scheduler.flags().clone().unwrap_or_default();
        flags.push(LinuxSchedulerFlag::SchedFlagDLOverrun);
        scheduler.set_flags(Some(flags));
        process.set_scheduler(Some(scheduler));
    }
}

fn inside<'n>(node: &'n Node, names: &[&str]) -> Option<&'n Node> {
    names.iter().try_fold(node, |node, name| node.member(name))
}

fn text(raw: &[u8], node: &Node) -> Option<String> {
    serde_json::from_slice(raw.get(node.start..node.end)?).ok()
}

/// oci-spec 0.10 spells two flags otherwise than config.md, one of them longer.
fn scheduler_flags<'n>(raw: &[u8], whole: &'n Node, edits: &mut Vec<Edit<'n>>, later: &mut Later) {
    let Some(Node { content: Content::Array(flags), .. }) = inside(whole, &["process", "scheduler", "flags"])
    else {
        return;
    };
    for flag in flags {
        match text(raw, flag).as_deref() {
            Some("SCHED_FLAG_RESET_ON_FORK") => edits.push(Edit::Put(flag, "SCHED_RESET_ON_FORK".into())),
            Some("SCHED_FLAG_DL_OVERRUN") => {
                edits.push(Edit::Drop(flag));
                later.dl_overrun = true;
            }
            _ => {}
        }
    }
}

/// oci-spec refuses the empty list, which config.md allows, and the blanks and spare commas that runc takes.
fn cpu_lists<'n>(raw: &[u8], whole: &'n Node, edits: &mut Vec<Edit<'n>>) {
    for name in ["initial", "final"] {
        let Some(node) = inside(whole, &["process", "execCPUAffinity", name]) else { continue };
        let Some(list) = text(raw, node) else { continue };
        match NumberSet::parse(&list, MAX_CPU) {
            Ok(set) if set.count() == 0 => edits.push(Edit::Drop(node)),
            Ok(set) => edits.push(Edit::Put(node, set.to_string())),
            Err(_) => {}
        }
    }
}

/// As runc: no default action and no rules is no filter.
fn empty_seccomp<'n>(raw: &[u8], whole: &'n Node, edits: &mut Vec<Edit<'n>>) {
    let Some(seccomp) = inside(whole, &["linux", "seccomp"]) else { return };
    let none = |name: &str| match seccomp.member(name) {
        None => true,
        Some(Node { content: Content::Array(list), .. }) => list.is_empty(),
        Some(node) => matches!(raw.get(node.start..node.end), Some(b"null" | b"\"\"")),
    };
    if matches!(seccomp.content, Content::Object(_)) && none("defaultAction") && none("syscalls") {
        edits.push(Edit::Drop(seccomp));
    }
}

/// runc's words, which callers and its own tests look for, in place of serde's.
pub(super) fn reword(path: &str, cause: &str) -> Option<String> {
    let value = cause.strip_prefix("unknown variant `").and_then(|rest| rest.split('`').next());
    let missing = cause.starts_with("missing field ");
    let list = |name: &str| path.strip_prefix(name).is_some_and(|rest| rest.starts_with('['));
    Some(match (path, value) {
        ("process.scheduler.policy", None) if missing => "scheduler policy is required".into(),
        ("process.scheduler.policy", Some("")) => "scheduler policy is required".into(),
        ("process.scheduler.policy", Some(value)) => format!("invalid scheduler policy: {value}"),
        ("process.ioPriority.class", Some(value)) => format!("invalid ioPriority.Class: {value:?}"),
        ("linux.personality.domain", None) if missing => "invalid personality domain".into(),
        ("linux.personality.domain", Some(value)) => format!("invalid personality domain {value}"),
        ("linux.memoryPolicy.mode", None) if missing => "invalid memory policy mode \"\"".into(),
        ("linux.memoryPolicy.mode", Some(value)) => format!("invalid memory policy mode {value:?}"),
        (_, Some(value)) if list("process.scheduler.flags") => format!("invalid scheduler flag: {value}"),
        (_, Some(value)) if list("linux.memoryPolicy.flags") => {
            format!("invalid memory policy flag {value:?}")
        }
        (_, Some(value)) if path.starts_with("process.rlimits[") => format!("wrong rlimit value: {value}"),
        (_, Some(value)) => return reword_seccomp(path.strip_prefix("linux.seccomp.")?, value),
        _ => return None,
    })
}

fn reword_seccomp(path: &str, value: &str) -> Option<String> {
    let what = match path {
        _ if path.starts_with("flags[") => {
            return Some(format!("seccomp flag {value} is not known to davit"));
        }
        _ if path.starts_with("architectures[") => "arch",
        _ if path.ends_with("].op") => "operator",
        _ if path == "defaultAction" || path.ends_with("].action") => "action",
        _ => return None,
    };
    Some(format!("string {value} is not a valid {what} for seccomp"))
}

/// A required member for which oci-spec puts in a value of its own: its path and what is said of it.
pub(super) fn missing(whole: &Node) -> Option<(&Node, &'static str, &'static str)> {
    let io_priority = inside(whole, &["process", "ioPriority"])?;
    let object = matches!(io_priority.content, Content::Object(_));
    (object && io_priority.member("class").is_none()).then_some((
        io_priority,
        "process.ioPriority.class",
        "invalid ioPriority.Class: \"\"",
    ))
}
