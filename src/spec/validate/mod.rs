//! The rules of config.md and config-linux.md, one small function a rule; pure.

mod hooks;
mod linux;
mod mounts;
mod net_devices;
mod process;
mod resctrl;
mod resources;
mod scheduling;

use std::path::Path;

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Process, Spec};

use crate::error::{Error, Kind, Result};
use crate::rootfs::idmap_option::Mappings;

pub(crate) use linux::sysctl_path;
pub(crate) use mounts::forbidden_target;
pub(crate) use resctrl::RESERVED as RESERVED_GROUPS;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, as a JSON path: `mounts[2].options`.
    pub path: String,
    /// Which rule.
    pub message: String,
}

/// Collects faults.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Fault { path: path.into(), message: message.into() });
    }
}

/// Every broken rule of `spec`.
pub fn faults(spec: &Spec) -> Vec<Fault> {
    let mut faults = Faults::default();
    root(spec, &mut faults);
    process::check(spec, &mut faults);
    scheduling::check(spec, &mut faults);
    mounts::check(spec, &mut faults);
    linux::check(spec, &mut faults);
    resources::check(spec, &mut faults);
    hooks::check(spec, &mut faults);
    annotations(spec, &mut faults);
    faults.0
}

/// What is carried out, but hardly as it was meant; told by `davit validate` only.
pub fn warnings(spec: &Spec) -> Vec<Fault> {
    let mut warnings = Faults::default();
    version(spec, &mut warnings);
    warnings.0
}

/// Accepts a spec without faults.
///
/// # Errors
/// The first broken rule, with its JSON path, and how many more there are.
pub fn check(spec: &Spec) -> Result<()> {
    let found = faults(spec);
    let Some(first) = found.first() else { return Ok(()) };
    Err(more(Error::config(&first.path, &first.message), found.len() - 1))
}

/// Accepts a process that joins a container.
///
/// # Errors
/// The first broken rule, with the JSON path that it has in config.json.
pub fn check_process(process: &Process) -> Result<()> {
    let mut faults = Faults::default();
    process::alone(process, &mut faults);
    scheduling::alone(process, &mut faults);
    let Some(first) = faults.0.first() else { return Ok(()) };
    Err(Error::config(&first.path, &first.message))
}

/// The first of several faults, with how many more there are.
pub(super) fn more(first: Error, count: usize) -> Error {
    match count {
        0 => first,
        _ => Error::new(Kind::Config, format!("{first} (and {count} more)"))
            .hint("`davit validate --bundle DIR` lists them all"),
    }
}

fn root(spec: &Spec, faults: &mut Faults) {
    match spec.root() {
        None => faults.add("root", "must be set"),
        Some(root) if root.path().as_os_str().is_empty() => faults.add("root.path", "must not be empty"),
        Some(_) => {}
    }
}

/// config.md: "MUST be in SemVer v2.0.0 format". Callers get any version by (features.md E17).
fn version(spec: &Spec, warnings: &mut Faults) {
    let version = spec.version();
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    if core.split('.').count() != 3 || !core.split('.').all(number) {
        warnings.add("ociVersion", format!("{version:?} is not a version in SemVer 2.0.0 format"));
    } else if !core.starts_with("1.") {
        warnings.add("ociVersion", format!("{version} is not 1.x, which davit implements"));
    }
}

/// config.md, "Annotations": keys MUST NOT be an empty string.
fn annotations(spec: &Spec, faults: &mut Faults) {
    if spec.annotations().as_ref().is_some_and(|annotations| annotations.contains_key("")) {
        faults.add("annotations", "a key must not be empty");
    }
}

/// The namespace entries, or none.
pub(crate) fn namespaces(spec: &Spec) -> &[LinuxNamespace] {
    spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default()
}

/// The path of a namespace that is joined; an empty one is none.
pub(crate) fn join_path(namespace: &LinuxNamespace) -> Option<&Path> {
    namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty())
}

/// Whether the container gets, or joins, a namespace of this type.
pub(crate) fn has_namespace(spec: &Spec, kind: LinuxNamespaceType) -> bool {
    namespaces(spec).iter().any(|namespace| namespace.typ() == kind)
}

/// The mappings of users and of groups of the container's user namespace.
pub(crate) fn id_mappings(spec: &Spec) -> [Mappings; 2] {
    let linux = spec.linux().as_ref();
    let lists = linux.map(|linux| [linux.uid_mappings().as_deref(), linux.gid_mappings().as_deref()]);
    lists.unwrap_or_default().map(|list| {
        let list = list.unwrap_or_default().iter();
        list.map(|mapping| (mapping.container_id(), mapping.host_id(), mapping.size())).collect()
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The faults of a small good config with `patch` merged into it.
    pub(crate) fn faults_with(patch: serde_json::Value) -> Vec<String> {
        let mut config = serde_json::json!({
            "ociVersion": "1.3.0", "root": {"path": "rootfs"},
            "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"], "env": ["PATH=/bin"]},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "uts"}, {"type": "ipc"}]},
        });
        merge(&mut config, patch);
        let spec: Spec = serde_json::from_value(config).unwrap();
        faults(&spec).into_iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect()
    }

    fn merge(target: &mut serde_json::Value, patch: serde_json::Value) {
        match (target, patch) {
            (serde_json::Value::Object(target), serde_json::Value::Object(patch)) => {
                for (key, value) in patch {
                    merge(target.entry(key).or_insert(serde_json::Value::Null), value);
                }
            }
            (target, patch) => *target = patch,
        }
    }

    /// One fault that holds `text`.
    pub(crate) fn one_fault(patch: serde_json::Value, text: &str) {
        let found = faults_with(patch);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(text), "{:?} lacks {text:?}", found[0]);
    }

    #[test]
    fn a_good_config_has_no_fault() {
        assert_eq!(faults_with(serde_json::json!({})), Vec::<String>::new());
    }

    #[test]
    fn annotations_have_keys() {
        one_fault(serde_json::json!({"annotations": {"": "x"}}), "annotations: a key must not be empty");
        assert!(faults_with(serde_json::json!({"annotations": {"a": ""}})).is_empty());
    }

    /// [E17] Any version is carried out.
    #[test]
    fn odd_versions_are_warned_of() {
        for (version, odd) in [
            ("1.0.0", false),
            ("1.2.3-dev+x", false),
            ("1.2", true),
            ("v1.0.0", true),
            ("2.0.0", true),
            ("1.02.0", true),
        ] {
            let spec: Spec = serde_json::from_value(serde_json::json!({ "ociVersion": version })).unwrap();
            assert_eq!(warnings(&spec).len(), usize::from(odd), "{version}");
        }
    }

    /// [P1]
    #[test]
    fn root_is_required() {
        one_fault(serde_json::json!({"root": null}), "root: must be set");
        one_fault(serde_json::json!({"root": {"path": ""}}), "root.path: must not be empty");
    }
}
