//! Where oci-spec's types are narrower than the specification or than runc: the second look at a configuration that
//! did not parse.

use oci_spec::runtime::{Capability, Spec};
use serde_json::Value;

use super::list::{MAX_CPU, NumberSet};
use crate::error::{Error, Kind, Result};

/// The configuration rewritten so that oci-spec takes it, with what has to be warned of. None if nothing in it asks
/// for that.
///
/// # Errors
/// Not JSON.
pub(super) fn rewrite(raw: &[u8]) -> Result<Option<(Vec<u8>, Vec<String>)>> {
    let text = |error: serde_json::Error| Error::new(Kind::Config, error.to_string());
    let given: Value = serde_json::from_slice(raw).map_err(text)?;
    let mut value = given.clone();
    let warnings = drop_unknown_capabilities(&mut value);
    spell_scheduler_flags(&mut value);
    spell_cpu_lists(&mut value);
    drop_empty_seccomp(&mut value);
    if value == given {
        return Ok(None);
    }
    Ok(Some((serde_json::to_vec(&value).map_err(text)?, warnings)))
}

/// config.md: capabilities that cannot be granted MUST be logged as a warning and SHOULD NOT be an error.
fn drop_unknown_capabilities(value: &mut Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for set in ["bounding", "effective", "inheritable", "permitted", "ambient"] {
        let Some(list) = value.pointer_mut(&format!("/process/capabilities/{set}")) else { continue };
        let Some(names) = list.as_array_mut() else { continue };
        names.retain(|name| {
            let known = name
                .as_str()
                .is_none_or(|name| serde_json::from_value::<Capability>(Value::from(name)).is_ok());
            if !known {
                warnings.push(format!("process.capabilities.{set}: unknown capability {name} is ignored"));
            }
            known
        });
    }
    warnings
}

/// oci-spec 0.10 spells two flags otherwise than config.md.
fn spell_scheduler_flags(value: &mut Value) {
    let flags = value.pointer_mut("/process/scheduler/flags").and_then(Value::as_array_mut);
    for flag in flags.into_iter().flatten() {
        match flag.as_str() {
            Some("SCHED_FLAG_RESET_ON_FORK") => *flag = "SCHED_RESET_ON_FORK".into(),
            Some("SCHED_FLAG_DL_OVERRUN") => *flag = "SCHED_FLAG_D_L_OVERRUN".into(),
            _ => {}
        }
    }
}

/// oci-spec refuses the empty list, which config.md allows, and the blanks and spare commas that runc takes.
fn spell_cpu_lists(value: &mut Value) {
    let affinity = value.pointer_mut("/process/execCPUAffinity").and_then(Value::as_object_mut);
    let Some(affinity) = affinity else { return };
    for name in ["initial", "final"] {
        match affinity.get(name).and_then(Value::as_str).map(|list| NumberSet::parse(list, MAX_CPU)) {
            Some(Ok(set)) if set.count() == 0 => drop(affinity.remove(name)),
            Some(Ok(set)) => drop(affinity.insert(name.into(), set.to_string().into())),
            _ => {}
        }
    }
}

/// As runc: no default action and no rules is no filter.
fn drop_empty_seccomp(value: &mut Value) {
    let Some(linux) = value.pointer_mut("/linux").and_then(Value::as_object_mut) else { return };
    let Some(seccomp) = linux.get("seccomp").and_then(Value::as_object) else { return };
    let none = |name: &str| match seccomp.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    };
    if none("defaultAction") && none("syscalls") {
        linux.remove("seccomp");
    }
}

/// runc's words, which callers and its own tests look for, in place of serde's.
pub(super) fn reword(path: &str, cause: &str) -> Option<String> {
    let value = cause.strip_prefix("unknown variant `").and_then(|rest| rest.split('`').next());
    let list = |name: &str| path.strip_prefix(name).is_some_and(|rest| rest.starts_with('['));
    let missing = |name: &str| cause == format!("missing field `{name}`");
    Some(match (path, value) {
        ("process.scheduler", None) if missing("policy") => "scheduler policy is required".into(),
        ("process.scheduler.policy", Some("")) => "scheduler policy is required".into(),
        ("process.scheduler.policy", Some(value)) => format!("invalid scheduler policy: {value}"),
        ("process.ioPriority.class", Some(value)) => format!("invalid ioPriority.Class: {value:?}"),
        ("linux.personality", None) if missing("domain") => "invalid personality domain".into(),
        ("linux.personality.domain", Some(value)) => format!("invalid personality domain {value}"),
        ("linux.memoryPolicy", None) if missing("mode") => "invalid memory policy mode \"\"".into(),
        ("linux.memoryPolicy.mode", Some(value)) => format!("invalid memory policy mode {value:?}"),
        (_, Some(value)) if list("process.scheduler.flags") => format!("invalid scheduler flag: {value}"),
        (_, Some(value)) if list("linux.memoryPolicy.flags") => {
            format!("invalid memory policy flag {value:?}")
        }
        (_, Some(value)) if list("process.rlimits") => format!("wrong rlimit value: {value}"),
        _ => return None,
    })
}

/// Required members for which oci-spec puts in a value of its own.
///
/// # Errors
/// One is not there.
pub(super) fn check_required(raw: &[u8], spec: &Spec) -> Result<()> {
    if spec.process().as_ref().is_none_or(|process| process.io_priority().is_none()) {
        return Ok(());
    }
    let value: Value =
        serde_json::from_slice(raw).map_err(|error| Error::new(Kind::Config, error.to_string()))?;
    match value.pointer("/process/ioPriority/class") {
        Some(_) => Ok(()),
        None => Err(Error::config("process.ioPriority.class", "invalid ioPriority.Class: \"\"")),
    }
}
