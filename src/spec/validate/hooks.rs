//! Rules of the `hooks` object (config.md, "POSIX-platform Hooks").

use oci_spec::runtime::{Hook, Spec};

use super::Faults;

pub(super) fn check(spec: &Spec, faults: &mut Faults) {
    let Some(hooks) = spec.hooks() else { return };
    let kinds: [(&str, &Option<Vec<Hook>>); 6] = [
        ("prestart", hooks.prestart()),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("startContainer", hooks.start_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ];
    for (kind, list) in kinds {
        let list = list.as_deref().unwrap_or_default();
        for (index, hook) in list.iter().enumerate() {
            rules(hook, &format!("hooks.{kind}[{index}]"), faults);
        }
    }
}

fn rules(hook: &Hook, path: &str, faults: &mut Faults) {
    if !hook.path().is_absolute() {
        faults.add(format!("{path}.path"), format!("{} is not an absolute path", hook.path().display()));
    }
    if hook.timeout().is_some_and(|timeout| timeout <= 0) {
        faults.add(format!("{path}.timeout"), "hook timeout must be greater than zero");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{faults_with, one_fault};
    use serde_json::json;

    /// [H2] [H5]
    #[test]
    fn hooks_have_absolute_paths_and_some_time() {
        one_fault(
            json!({"hooks": {"prestart": [{"path": "x"}]}}),
            "hooks.prestart[0].path: x is not an absolute path",
        );
        let late = json!({"hooks": {"poststop": [{"path": "/x"}, {"path": "/x", "timeout": 0}]}});
        one_fault(late, "hooks.poststop[1].timeout: hook timeout must be greater than zero");
        assert!(faults_with(json!({"hooks": {"createRuntime": [{"path": "/x", "timeout": 1}]}})).is_empty());
    }

    /// [H10] [H11]
    #[test]
    fn hooks_in_the_container_follow_the_same_rules() {
        for kind in ["createContainer", "startContainer"] {
            assert!(faults_with(json!({"hooks": {kind: [{"path": "/x"}]}})).is_empty());
            let relative = format!("hooks.{kind}[0].path: x is not an absolute path");
            one_fault(json!({"hooks": {kind: [{"path": "x"}]}}), &relative);
        }
    }
}
