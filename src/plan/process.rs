//! The container's process: what is executed, and as whom.

use std::ffi::CString;

use oci_spec::runtime::{Capabilities, LinuxCapabilities, PosixRlimitType, Process};
use rustix::process::Resource;

use super::cstring;
use crate::error::{Error, Result};
use crate::identity::{CapabilitySets, Rlimit};
use crate::rootfs::paths::normalize;
use crate::sys::exec::CStringArray;

/// The process to start, with everything that is set before execve.
#[derive(Debug)]
pub struct ProcessPlan {
    /// Files to try, in order, for `args[0]` (execvp(3)).
    pub candidates: Vec<CString>,
    /// Whether `args[0]` has no slash, so that it was searched in PATH.
    pub bare: bool,
    /// The argument vector.
    pub args: CStringArray,
    /// The environment; its slot takes HOME when `find_home`.
    pub env: CStringArray,
    /// HOME is not given: look it up in the container's /etc/passwd.
    pub find_home: bool,
    /// Init adds `LISTEN_PID`, its own pid.
    pub listen_pid: bool,
    /// Working directory in the container.
    pub cwd: CString,
    /// The same relative to the rootfs, to be made if it is missing; empty for the root.
    pub cwd_inside: CString,
    /// User id in the container.
    pub uid: u32,
    /// Group id in the container.
    pub gid: u32,
    /// Supplementary group ids, exactly these.
    pub groups: Vec<u32>,
    /// File mode creation mask.
    pub umask: u32,
    /// Capability sets, as bit masks.
    pub capabilities: CapabilitySets,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Text for `/proc/self/oom_score_adj`.
    pub oom_score_adj: Option<String>,
    /// Set `no_new_privs`.
    pub no_new_privileges: bool,
    /// What to write for the LSM, and where: `exec docker-default` to `attr/apparmor/exec`.
    pub apparmor: Option<String>,
    /// SELinux exec label.
    pub selinux: Option<String>,
    /// Name of the new session keyring, or None to keep the caller's.
    pub keyring: Option<CString>,
}

/// Decides the process of a container.
///
/// # Errors
/// A string with a NUL byte; an unknown capability number.
pub fn plan(process: &Process, keyring: Option<CString>, warnings: &mut Vec<String>) -> Result<ProcessPlan> {
    let env = environment(process.env().as_deref().unwrap_or_default());
    let args = process.args().as_deref().unwrap_or_default();
    let program = args.first().map(String::as_str).unwrap_or_default();
    let find_home = !env.iter().any(|entry| entry.strip_prefix("HOME=").is_some_and(|home| !home.is_empty()));
    let candidates = candidates(program, &env)?;
    let kept = env.into_iter().filter(|entry| *entry != "HOME=");
    let user = process.user();
    Ok(ProcessPlan {
        candidates,
        bare: !program.contains('/'),
        args: CStringArray::new(args.iter().map(|arg| cstring(arg.as_str())).collect::<Result<_>>()?),
        env: CStringArray::new(kept.map(cstring).collect::<Result<_>>()?),
        find_home,
        listen_pid: false,
        cwd: cstring(process.cwd().as_os_str().as_encoded_bytes())?,
        cwd_inside: cstring(normalize(process.cwd()))?,
        uid: user.uid(),
        gid: user.gid(),
        groups: user.additional_gids().clone().unwrap_or_default(),
        umask: user.umask().unwrap_or(0o022),
        capabilities: capabilities(process.capabilities().as_ref(), warnings)?,
        rlimits: rlimits(process),
        oom_score_adj: process.oom_score_adj().map(|score| score.to_string()),
        no_new_privileges: process.no_new_privileges() == Some(true),
        apparmor: process.apparmor_profile().clone().filter(|profile| !profile.is_empty()),
        selinux: process.selinux_label().clone().filter(|label| !label.is_empty()),
        keyring,
    })
}

impl ProcessPlan {
    /// Sets variables, `NAME=VALUE` each, over those that the spec has by the same names.
    pub(super) fn set_variables(&mut self, list: Vec<CString>) {
        let mut env = self.env.as_slice().to_vec();
        env.retain(|entry| !list.iter().any(|new| variable(new) == variable(entry)));
        env.extend(list);
        self.env = CStringArray::new(env);
    }

    /// Lets init add `LISTEN_PID`, whatever the spec says.
    pub(super) fn set_listen_pid(&mut self) {
        let mut env = self.env.as_slice().to_vec();
        env.retain(|entry| variable(entry) != b"LISTEN_PID");
        self.env = CStringArray::new(env);
        self.listen_pid = true;
    }
}

/// The name before `=`.
fn variable(entry: &CString) -> &[u8] {
    entry.to_bytes().split(|byte| *byte == b'=').next().unwrap_or_default()
}

/// The environment in order; of a repeated name the last value wins and keeps the first one's place (P5).
fn environment(given: &[String]) -> Vec<&str> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().len();
    let mut result: Vec<&str> = Vec::with_capacity(given.len());
    for entry in given {
        match result.iter_mut().find(|kept| kept[..name(kept)] == entry[..name(entry)]) {
            Some(kept) => *kept = entry,
            None => result.push(entry),
        }
    }
    result
}

/// The files that execvp(3) would try: the name itself if it holds a slash, else one for each entry of PATH.
/// Without PATH nothing is found by a bare name (P6).
fn candidates(program: &str, env: &[&str]) -> Result<Vec<CString>> {
    if program.contains('/') {
        return Ok(vec![cstring(program)?]);
    }
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
    path.split(':')
        .filter(|_| !path.is_empty())
        .map(|directory| if directory.is_empty() { "." } else { directory })
        .map(|directory| cstring(format!("{directory}/{program}")))
        .collect()
}

fn rlimits(process: &Process) -> Vec<Rlimit> {
    let list = process.rlimits().as_deref().unwrap_or_default().iter();
    list.map(|rlimit| Rlimit { resource: resource(rlimit.typ()), soft: rlimit.soft(), hard: rlimit.hard() })
        .collect()
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}

fn capabilities(given: Option<&LinuxCapabilities>, warnings: &mut Vec<String>) -> Result<CapabilitySets> {
    let Some(given) = given else { return Ok(CapabilitySets::default()) };
    let sets = CapabilitySets {
        bounding: mask(given.bounding().as_ref())?,
        effective: mask(given.effective().as_ref())?,
        permitted: mask(given.permitted().as_ref())?,
        inheritable: mask(given.inheritable().as_ref())?,
        ambient: mask(given.ambient().as_ref())?,
    };
    let beyond = sets.ambient & !(sets.inheritable & sets.permitted);
    for number in (0..64).filter(|number| beyond >> number & 1 == 1) {
        let name = capability_name(number);
        warnings.push(format!("can't raise ambient capability {name}: it is not permitted and inheritable"));
    }
    Ok(sets)
}

fn mask(set: Option<&Capabilities>) -> Result<u64> {
    let mut bits = 0;
    for capability in set.into_iter().flatten() {
        // oci-spec's own name is without the CAP_ that caps wants.
        let name = format!("CAP_{capability}");
        let known: caps::Capability = name
            .parse()
            .map_err(|_| Error::config("process.capabilities", format!("unknown capability {name}")))?;
        bits |= known.bitmask();
    }
    Ok(bits)
}

/// `CAP_CHOWN` for 0, or the number itself beyond the known ones.
pub fn capability_name(number: u8) -> String {
    caps::all()
        .into_iter()
        .find(|capability| capability.index() == number)
        .map_or_else(|| format!("capability {number}"), |capability| capability.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(patch: serde_json::Value) -> (ProcessPlan, Vec<String>) {
        let mut process = serde_json::json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"]});
        for (key, value) in patch.as_object().unwrap() {
            process[key] = value.clone();
        }
        let mut warnings = Vec::new();
        let plan = plan(&serde_json::from_value(process).unwrap(), None, &mut warnings).unwrap();
        (plan, warnings)
    }

    fn texts(list: &[CString]) -> Vec<&str> {
        list.iter().map(|text| text.to_str().unwrap()).collect()
    }

    /// [P6] [S10]
    #[test]
    fn programs_are_looked_up_as_execvp_does() {
        let (plan, _) = plan_of(serde_json::json!({"env": ["PATH=/a::/b"]}));
        assert_eq!(texts(&plan.candidates), ["/a/sh", "./sh", "/b/sh"]);
        assert!(plan.bare);
        assert!(plan_of(serde_json::json!({})).0.candidates.is_empty());
        let (plan, _) = plan_of(serde_json::json!({"args": ["./x", "y"], "env": ["PATH=/a"]}));
        assert_eq!(texts(&plan.candidates), ["./x"]);
        assert!(!plan.bare);
    }

    /// [P5]
    #[test]
    fn the_last_value_of_a_variable_wins() {
        let (plan, _) = plan_of(serde_json::json!({"env": ["A=1", "B=2", "A=3", "HOME="]}));
        assert_eq!(texts(plan.env.as_slice()), ["A=3", "B=2"]);
        assert!(plan.find_home);
        assert!(!plan_of(serde_json::json!({"env": ["HOME=/x"]})).0.find_home);
    }

    /// [P11] [P12] [Z9]
    #[test]
    fn capabilities_are_masks_and_nothing_is_added() {
        let sets =
            serde_json::json!({"bounding": ["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"], "ambient": ["CAP_KILL"]});
        let (plan, warnings) = plan_of(serde_json::json!({ "capabilities": sets }));
        assert_eq!(plan.capabilities.bounding, 1 | 1 << 40);
        assert_eq!(plan.capabilities.inheritable, 0);
        assert!(warnings[0].starts_with("can't raise ambient capability CAP_KILL: "), "{warnings:?}");
        assert_eq!(plan_of(serde_json::json!({})).0.capabilities, CapabilitySets::default());
    }

    /// [P9] [P13]
    #[test]
    fn umask_defaults_and_rlimits_are_taken_over() {
        let limit = serde_json::json!([{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 9}]);
        let (plan, _) = plan_of(serde_json::json!({ "rlimits": limit }));
        assert_eq!(plan.rlimits, [Rlimit { resource: Resource::Nofile, soft: 5, hard: 9 }]);
        assert_eq!(plan.umask, 0o022);
    }
}
