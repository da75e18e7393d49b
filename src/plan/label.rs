//! `linux.mountLabel` as mount data (config-linux.md, "Mount Label").

use oci_spec::runtime::Spec;

use super::annotations;
use crate::error::Result;
use crate::rootfs::label::{self, MountLabel, OPTIONS};

/// crun's annotation: which mount option gives the label (X15).
const CONTEXT_TYPE: &str = "run.oci.mount_context_type";

/// The label of new mounts; none, with a warning, where the kernel has no SELinux, since no file system takes one
/// then (as crun; runc's mounts fail).
///
/// # Errors
/// The annotation names no such option.
pub(super) fn of_mounts<'a>(
    spec: &'a Spec,
    enabled: fn() -> bool,
    warnings: &mut Vec<String>,
) -> Result<Option<MountLabel<'a>>> {
    let option = option(spec)?;
    let label = spec.linux().as_ref().and_then(|linux| linux.mount_label().as_deref());
    let Some(label) = label.filter(|label| !label.is_empty()) else { return Ok(None) };
    if enabled() {
        return Ok(Some(MountLabel { label, option }));
    }
    warnings.push("linux.mountLabel: not used, since SELinux is disabled or not supported".into());
    Ok(None)
}

fn option(spec: &Spec) -> Result<&'static str> {
    let Some(wanted) = annotations::get(spec, CONTEXT_TYPE) else { return Ok("context") };
    OPTIONS.into_iter().find(|option| *option == wanted).ok_or_else(|| {
        let why = format!("invalid mount context type {wanted:?}: must be one of {}", OPTIONS.join(", "));
        annotations::wrong(CONTEXT_TYPE, why)
    })
}

/// The data of a new file system, with the container's label where the type takes one and the options give none.
pub(super) fn data(given: &str, fstype: &str, label: Option<MountLabel<'_>>) -> String {
    let mut data = given.to_string();
    let names = |option: &str| option.split_once('=').is_some_and(|(name, _)| OPTIONS.contains(&name));
    let labelled = data.split(',').any(names);
    if let Some(label) = label.filter(|_| label::takes_context(fstype) && !labelled) {
        if !data.is_empty() {
            data.push(',');
        }
        data.push_str(&label.data());
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::options::parse;

    const LABEL: &str = "system_u:object_r:container_file_t:s0:c1,c2";

    fn text(options: &[&str], fstype: &str, label: Option<MountLabel<'_>>) -> String {
        data(&parse(options.iter().copied()).data, fstype, label)
    }

    /// [M44] [X15]
    #[test]
    fn types_that_take_a_label_get_it() {
        for option in OPTIONS {
            let label = Some(MountLabel { label: LABEL, option });
            let context = format!("{option}=\"{LABEL}\"");
            let wanted = format!("size=1k,mode=755,{context}");
            assert_eq!(text(&["size=1k", "mode=755"], "tmpfs", label), wanted);
            assert_eq!(text(&["ro"], "devpts", label), context);
            assert_eq!(text(&["context=other", "size=1k"], "tmpfs", label), "context=other,size=1k");
            assert_eq!(text(&["rootcontext=other"], "tmpfs", label), "rootcontext=other");
            assert_eq!(text(&["size=1k"], "tmpfs", None), "size=1k");
            for other in ["proc", "sysfs", "mqueue", "cgroup2"] {
                assert_eq!(text(&["x=1"], other, label), "x=1", "{other}");
            }
        }
    }

    fn spec(label: Option<&str>, option: Option<&str>) -> Spec {
        let mut spec = serde_json::json!({"ociVersion": "1.0.2", "linux": {}, "annotations": {}});
        if let Some(label) = label {
            spec["linux"]["mountLabel"] = label.into();
        }
        if let Some(option) = option {
            spec["annotations"][CONTEXT_TYPE] = option.into();
        }
        serde_json::from_value(spec).unwrap()
    }

    /// [M44] Without SELinux it is not used, and that is said.
    #[test]
    fn a_label_needs_selinux() {
        let mut warnings = Vec::new();
        let labelled = spec(Some(LABEL), None);
        let label = MountLabel { label: LABEL, option: "context" };
        assert_eq!(of_mounts(&labelled, || true, &mut warnings).unwrap(), Some(label));
        assert!(warnings.is_empty());
        assert_eq!(of_mounts(&labelled, || false, &mut warnings).unwrap(), None);
        assert_eq!(warnings.len(), 1);
        let asked = || panic!("not asked for nothing");
        assert_eq!(of_mounts(&spec(None, None), asked, &mut warnings).unwrap(), None);
    }

    /// [X15]
    #[test]
    fn the_option_is_one_of_four() {
        for option in OPTIONS {
            let spec = spec(Some(LABEL), Some(option));
            let label = of_mounts(&spec, || true, &mut Vec::new()).unwrap();
            assert_eq!(label, Some(MountLabel { label: LABEL, option }));
        }
        for bad in ["", "Context", "seclabel"] {
            let error = of_mounts(&spec(None, Some(bad)), || true, &mut Vec::new()).unwrap_err();
            let wanted = "annotations[\"run.oci.mount_context_type\"]: invalid mount context type";
            assert!(error.to_string().starts_with(wanted), "{error}");
        }
    }
}
