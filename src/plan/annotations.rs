//! Annotations that change what is done (features.md section 3); all others are only passed on.

use std::fmt::Display;
use std::path::Path;

use oci_spec::runtime::Spec;

use crate::error::{Error, Result};

/// crun's: as `--pidfd-socket` (X25).
pub const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";
/// crun's: files for what hooks say (X19).
pub const HOOKS_STDOUT: &str = "run.oci.hooks.stdout";
/// The same for stderr.
pub const HOOKS_STDERR: &str = "run.oci.hooks.stderr";
const HANDLER: &str = "run.oci.handler";
const FORCE_V1: &str = "run.oci.systemd.force_cgroup_v1";

/// The value of an annotation.
pub(super) fn get<'a>(spec: &'a Spec, key: &str) -> Option<&'a str> {
    spec.annotations().as_ref()?.get(key).map(String::as_str)
}

/// A value that can't be carried out.
pub(super) fn wrong(key: &str, why: impl Display) -> Error {
    Error::config(&format!("annotations[{key:?}]"), why)
}

/// Refuses what would be another container if it was passed over.
///
/// # Errors
/// A handler is asked for (X20, Y5), or cgroup v1 on a host with v2 (X17).
pub(super) fn check(spec: &Spec) -> Result<()> {
    if let Some(handler) = get(spec, HANDLER).filter(|handler| !handler.is_empty()) {
        let why = format!("davit has no handler {handler:?}: it runs containers as plain processes only");
        return Err(wrong(HANDLER, why).hint("it asks crun for a virtual machine or WebAssembly"));
    }
    if get(spec, FORCE_V1).is_some() {
        let why = "a cgroup v1 hierarchy for systemd beside cgroup v2 is not made";
        return Err(wrong(FORCE_V1, why).hint("systemd in the container must know cgroup v2 (version 232)"));
    }
    Ok(())
}

/// Where a pidfd of init is wanted.
pub fn pidfd_receiver(spec: &Spec) -> Option<&Path> {
    get(spec, PIDFD_RECEIVER).filter(|path| !path.is_empty()).map(Path::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> Spec {
        serde_json::from_value(serde_json::json!({"ociVersion": "1.0.2", "annotations": {key: value}}))
            .unwrap()
    }

    /// [X17] [X20] [Y5]
    #[test]
    fn other_kinds_of_containers_are_refused() {
        for handler in ["krun", "wasm", "x"] {
            let error = check(&with(HANDLER, handler)).unwrap_err().to_string();
            let wanted = format!("annotations[\"run.oci.handler\"]: davit has no handler {handler:?}: ");
            assert!(error.starts_with(&wanted), "{error}");
        }
        assert!(check(&with(HANDLER, "")).is_ok());
        assert!(check(&with("module.wasm.image/variant", "compat")).is_ok());
        let error = check(&with(FORCE_V1, "/sys/fs/cgroup/systemd")).unwrap_err().to_string();
        assert!(error.starts_with("annotations[\"run.oci.systemd.force_cgroup_v1\"]: "), "{error}");
    }
}
