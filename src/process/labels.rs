//! Whether the host has the security module that a label or profile is for; looked at only when one is named.

use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::plan::process::ProcessPlan;
use crate::rootfs::label;
use crate::sys::procfs::Proc;

/// Accepts the label and the profile, or says that the host has no use for them. `unconfined` without AppArmor is
/// what the process is anyway, so that nothing is left to do (P16, P17).
///
/// # Errors
/// One that the host can't honour; the runtime's own confinement can't be read.
pub fn settle(process: &mut ProcessPlan) -> Result<()> {
    settle_on(process, apparmor_is_on, label::enabled)?;
    if let Some(command) = &mut process.apparmor
        && process.no_new_privileges
        && is_confined(&own_profile().context("read the runtime's own AppArmor profile")?)
    {
        // Under no_new_privs a confined process can only get narrower: its profile and the container's together
        // (L6; security/apparmor/domain.c of the kernel).
        *command = command.replacen("exec ", "stack ", 1);
    }
    Ok(())
}

fn settle_on(
    process: &mut ProcessPlan,
    apparmor: impl FnOnce() -> bool,
    selinux: impl FnOnce() -> bool,
) -> Result<()> {
    if let Some(profile) = &process.apparmor
        && !apparmor()
    {
        if profile != "exec unconfined" {
            let text = "apparmor: config provided but apparmor not supported";
            return Err(Error::config("process.apparmorProfile", text)
                .hint("AppArmor is not enabled on this host; remove the profile"));
        }
        process.apparmor = None;
    }
    if process.selinux.is_some() && !selinux() {
        let text = "selinux label is specified in config, but selinux is disabled or not supported";
        return Err(Error::config("process.selinuxLabel", text));
    }
    Ok(())
}

fn apparmor_is_on() -> bool {
    std::fs::read(Path::new("/sys/module/apparmor/parameters/enabled"))
        .is_ok_and(|content| content.starts_with(b"Y"))
}

/// What /proc says of this process: `unconfined`, `NAME (enforce)`.
fn own_profile() -> Result<Vec<u8>, Errno> {
    let proc = Proc::open()?;
    let file = match proc.open_file(c"self/attr/apparmor/current", OFlags::RDONLY) {
        Err(Errno::NOENT) => proc.open_file(c"self/attr/current", OFlags::RDONLY)?,
        other => other?,
    };
    let mut buffer = vec![0; 4096];
    let length = rustix::io::read(&file, &mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

/// Whether a profile restricts anything; those in unconfined mode only have a name.
fn is_confined(current: &[u8]) -> bool {
    let current = current.trim_ascii_end();
    current != b"unconfined" && !current.ends_with(b" (unconfined)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(process: serde_json::Value, on: bool) -> Result<ProcessPlan> {
        let mut base = serde_json::json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"]});
        for (key, value) in process.as_object().unwrap() {
            base[key] = value.clone();
        }
        let process = serde_json::from_value(base).unwrap();
        let mut plan = crate::plan::process::plan(&process, None).unwrap();
        settle_on(&mut plan, || on, || on).map(|()| plan)
    }

    /// [P16] [P17]
    #[test]
    fn labels_need_their_module() {
        let profile = |name: &str| serde_json::json!({ "apparmorProfile": name });
        let label = serde_json::json!({"selinuxLabel": "a:b:c:s0"});
        assert!(settled(profile("x"), false).unwrap_err().to_string().contains("apparmor not supported"));
        assert_eq!(settled(profile("unconfined"), false).unwrap().apparmor, None);
        assert_eq!(
            settled(profile("unconfined"), true).unwrap().apparmor.as_deref(),
            Some("exec unconfined")
        );
        assert_eq!(settled(profile("x"), true).unwrap().apparmor.as_deref(), Some("exec x"));
        let error = settled(label.clone(), false).unwrap_err().to_string();
        assert!(error.ends_with("but selinux is disabled or not supported"), "{error}");
        assert_eq!(settled(label, true).unwrap().selinux.as_deref(), Some("a:b:c:s0"));
        assert!(settled(serde_json::json!({}), false).is_ok());
    }

    /// [L6]
    #[test]
    fn a_name_is_no_confinement() {
        for free in ["unconfined\n", "unconfined", "runc (unconfined)\n"] {
            assert!(!is_confined(free.as_bytes()), "{free}");
        }
        for confined in
            ["docker-default (enforce)\n", "x (complain)", "unconfined_x (enforce)", "a//&b (mixed)"]
        {
            assert!(is_confined(confined.as_bytes()), "{confined}");
        }
    }
}
