//! `linux.mountLabel` as mount data (config-linux.md, "Mount Label").

use oci_spec::runtime::Linux;

use crate::rootfs::label;

/// The label of new mounts; none, with a warning, where the kernel has no SELinux, since no file system takes one
/// then (as crun; runc's mounts fail).
pub(super) fn of_mounts<'a>(
    linux: Option<&'a Linux>,
    enabled: fn() -> bool,
    warnings: &mut Vec<String>,
) -> Option<&'a str> {
    let label = linux.and_then(|linux| linux.mount_label().as_deref()).filter(|label| !label.is_empty())?;
    if enabled() {
        return Some(label);
    }
    warnings.push("linux.mountLabel: not used, since SELinux is disabled or not supported".into());
    None
}

/// The data of a new file system, with the container's label where the type takes one and the options give none.
pub(super) fn data(given: &str, fstype: &str, label: Option<&str>) -> String {
    let mut data = given.to_string();
    let labelled = data.split(',').any(|option| option.starts_with("context="));
    if let Some(label) = label.filter(|_| label::takes_context(fstype) && !labelled) {
        if !data.is_empty() {
            data.push(',');
        }
        data.push_str(&label::context(label));
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::options::parse;

    const LABEL: &str = "system_u:object_r:container_file_t:s0:c1,c2";

    fn text(options: &[&str], fstype: &str, label: Option<&str>) -> String {
        data(&parse(options.iter().copied()).data, fstype, label)
    }

    /// [M44]
    #[test]
    fn types_that_take_a_label_get_it() {
        let context = format!("context=\"{LABEL}\"");
        assert_eq!(
            text(&["size=1k", "mode=755"], "tmpfs", Some(LABEL)),
            format!("size=1k,mode=755,{context}")
        );
        assert_eq!(text(&["ro"], "devpts", Some(LABEL)), context);
        assert_eq!(text(&["context=other", "size=1k"], "tmpfs", Some(LABEL)), "context=other,size=1k");
        assert_eq!(text(&["size=1k"], "tmpfs", None), "size=1k");
        for other in ["proc", "sysfs", "mqueue", "cgroup2"] {
            assert_eq!(text(&["x=1"], other, Some(LABEL)), "x=1", "{other}");
        }
    }

    /// [M44] Without SELinux it is not used, and that is said.
    #[test]
    fn a_label_needs_selinux() {
        let linux: Linux = serde_json::from_value(serde_json::json!({ "mountLabel": LABEL })).unwrap();
        let mut warnings = Vec::new();
        assert_eq!(of_mounts(Some(&linux), || true, &mut warnings), Some(LABEL));
        assert!(warnings.is_empty());
        assert_eq!(of_mounts(Some(&linux), || false, &mut warnings), None);
        assert_eq!(warnings.len(), 1);
        assert_eq!(of_mounts(None, || panic!("not asked for nothing"), &mut warnings), None);
    }
}
