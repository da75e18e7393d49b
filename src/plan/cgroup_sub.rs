//! Further levels below the container's cgroup, by crun's annotations (features.md X16, X18).

use std::path::{Component, Path};

use oci_spec::runtime::Spec;

use super::annotations::{get, wrong};
use crate::cgroups::{CgroupPlan, Layout};
use crate::error::Result;

const SUBGROUP: &str = "run.oci.systemd.subgroup";
const DELEGATE: &str = "run.oci.delegate-cgroup";

/// Adds them to the plan. Unlike crun's, a scope has no further level unless it is asked for, as with runc.
///
/// # Errors
/// A name that could lead elsewhere; delegation on cgroup v1, where it would not be safe.
pub(super) fn add(spec: &Spec, layout: &Layout, plan: &mut CgroupPlan) -> Result<()> {
    let v2 = matches!(layout, Layout::V2 { .. });
    if let Some(scope) = &mut plan.scope
        && let Some(name) = name(spec, SUBGROUP)?
    {
        match plan.directories.first_mut() {
            Some(directory) if v2 => {
                directory.path.push(name);
                scope.subgroup = Some(name.into());
            }
            _ => plan.warnings.push(format!("annotations[{SUBGROUP:?}]: no effect on cgroup v1")),
        }
    }
    if let Some(name) = name(spec, DELEGATE)? {
        if !v2 {
            return Err(wrong(DELEGATE, "delegate-cgroup not supported on cgroup v1"));
        }
        plan.delegate = Some(name.into());
    }
    Ok(())
}

/// The relative path that an annotation asks for; none if it is absent or empty.
fn name<'a>(spec: &'a Spec, key: &str) -> Result<Option<&'a str>> {
    let Some(name) = get(spec, key).filter(|name| !name.is_empty()) else { return Ok(None) };
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if inside && !name.contains('\0') {
        return Ok(Some(name));
    }
    Err(wrong(key, format!("{name:?} must be a relative path without `..`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::systemd::Manager;
    use crate::plan::cgroup::{Options, plan, tests};
    use serde_json::json;

    fn with(key: &str, value: &str, v2: bool) -> Result<CgroupPlan> {
        let spec: Spec = serde_json::from_value(json!({"annotations": {key: value}})).unwrap();
        let host = if v2 { tests::v2("/") } else { tests::v1("/") };
        let manager = Manager { user: false, bus: Vec::new(), cgroup: "/".into() };
        let options = Options { systemd: Some(manager), ..Options::default() };
        let mut planned = plan(None, Some(Path::new(":x:y")), "y", &host, options).unwrap();
        add(&spec, &host.layout, &mut planned)?;
        Ok(planned)
    }

    /// [X16] The container is in the level below, with its limits; without a name there is none.
    #[test]
    fn a_level_below_the_scope() {
        let path = |name: &str, v2| with(SUBGROUP, name, v2).unwrap().directories[0].path.clone();
        assert_eq!(path("leaf", true), Path::new("/sys/fs/cgroup/system.slice/x-y.scope/leaf"));
        assert_eq!(path("", true), Path::new("/sys/fs/cgroup/system.slice/x-y.scope"));
        assert_eq!(path("leaf", false), Path::new("/sys/fs/cgroup/systemd/system.slice/x-y.scope"));
        assert_eq!(with(SUBGROUP, "leaf", false).unwrap().warnings.len(), 1);
    }

    /// [X18] [Z14]
    #[test]
    fn delegation() {
        assert_eq!(with(DELEGATE, "a/b", true).unwrap().delegate.as_deref(), Some(Path::new("a/b")));
        assert_eq!(with(DELEGATE, "", false).unwrap().delegate, None);
        assert!(with(DELEGATE, "a", false).unwrap_err().to_string().ends_with("not supported on cgroup v1"));
        for key in [SUBGROUP, DELEGATE] {
            for bad in ["..", "a/../..", "/a", "."] {
                let error = with(key, bad, true).unwrap_err().to_string();
                assert_eq!(
                    error,
                    format!("annotations[{key:?}]: {bad:?} must be a relative path without `..`")
                );
            }
        }
    }
}
