//! The container's process: what is executed, and as whom.

use std::ffi::CString;

use oci_spec::runtime::{Capabilities, LinuxCapabilities, PosixRlimitType, Process};
use rustix::process::Resource;

use super::cstring;
use super::terminal::{self, TerminalPlan};
use crate::error::{Error, Result};
use crate::identity::{CapabilitySets, Rlimit};
use crate::rootfs::paths::normalize;
use crate::sys::exec::CStringArray;

/// What the maker of a user namespace has in it: every capability up to CAP_CHECKPOINT_RESTORE, 40.
pub const ALL_CAPABILITIES: u64 = u64::MAX >> 23;

/// The process to start, with everything that is set before execve.
#[derive(Debug, Default)]
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
    /// The caller's supplementary groups stay (X14).
    pub keep_groups: bool,
    /// File mode creation mask.
    pub umask: u32,
    /// Capability sets, as bit masks.
    pub capabilities: CapabilitySets,
    /// The capabilities that init itself holds before it drops them.
    pub available: u64,
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
    /// The terminal that its streams are to be.
    pub terminal: Option<TerminalPlan>,
    /// Name of the new session keyring, or None to keep the caller's.
    pub keyring: Option<CString>,
}

/// Decides the process of a container.
///
/// # Errors
/// A string with a NUL byte; an unknown capability number.
pub fn plan(process: &Process, keyring: Option<CString>) -> Result<ProcessPlan> {
    let env = environment(process.env().as_deref().unwrap_or_default());
    let args = process.args().as_deref().unwrap_or_default();
    let program = args.first().map(String::as_str).unwrap_or_default();
    let find_home = !env.iter().any(|entry| entry.strip_prefix("HOME=").is_some_and(|home| !home.is_empty()));
    let candidates = candidates(program.as_bytes(), search_path(&env))?;
    let kept = env.into_iter().filter(|entry| *entry != "HOME=");
    let user = process.user();
    let profile = process.apparmor_profile().as_deref();
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
        keep_groups: false,
        umask: user.umask().unwrap_or(0o022),
        capabilities: capabilities(process.capabilities().as_ref())?,
        available: ALL_CAPABILITIES,
        rlimits: rlimits(process),
        oom_score_adj: process.oom_score_adj().map(|score| score.to_string()),
        no_new_privileges: process.no_new_privileges() == Some(true),
        apparmor: profile.filter(|name| !name.is_empty()).map(|name| format!("exec {name}")),
        selinux: process.selinux_label().clone().filter(|label| !label.is_empty()),
        terminal: terminal::plan(process),
        keyring,
    })
}

/// The name of the container's session keyring, by which later processes find it (P25).
///
/// # Errors
/// None in practice.
pub(super) fn keyring(id: &str) -> Result<CString> {
    cstring(format!("_ses.{id}"))
}

impl ProcessPlan {
    /// Another program with its arguments, which need not be UTF-8.
    pub(super) fn set_args(&mut self, args: Vec<CString>) -> Result<()> {
        let program = args.first().map(|program| program.to_bytes()).unwrap_or_default();
        let env: Vec<_> = self.env.as_slice().iter().filter_map(|entry| entry.to_str().ok()).collect();
        self.candidates = candidates(program, search_path(&env))?;
        self.bare = !program.contains(&b'/');
        self.args = CStringArray::new(args);
        Ok(())
    }

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

fn search_path<'a>(env: &[&'a str]) -> &'a str {
    env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default()
}

/// The files that execvp(3) would try: the name itself if it holds a slash, else one for each entry of PATH.
/// Without PATH nothing is found by a bare name (P6).
fn candidates(program: &[u8], path: &str) -> Result<Vec<CString>> {
    if program.contains(&b'/') {
        return Ok(vec![cstring(program)?]);
    }
    path.split(':')
        .filter(|_| !path.is_empty())
        .map(|directory| if directory.is_empty() { "." } else { directory })
        .map(|directory| cstring([directory.as_bytes(), b"/", program].concat()))
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

fn capabilities(given: Option<&LinuxCapabilities>) -> Result<CapabilitySets> {
    let Some(given) = given else { return Ok(CapabilitySets::default()) };
    Ok(CapabilitySets {
        bounding: mask(given.bounding().as_ref())?,
        effective: mask(given.effective().as_ref())?,
        permitted: mask(given.permitted().as_ref())?,
        inheritable: mask(given.inheritable().as_ref())?,
        ambient: mask(given.ambient().as_ref())?,
    })
}

impl ProcessPlan {
    /// Takes from the sets what capset(2) would refuse; `available` is what init holds. config.md: what cannot be
    /// granted MUST be warned of and SHOULD NOT be an error.
    pub fn grant(&mut self, available: u64, warnings: &mut Vec<String>) {
        self.available = available;
        let mut keep = |name: &str, set: &mut u64, within: u64, why: &str| {
            let beyond = names(*set & !within);
            if !beyond.is_empty() {
                warnings.push(format!("process.capabilities.{name}: can't grant {beyond}: {why}"));
            }
            *set &= within;
        };
        let sets = &mut self.capabilities;
        let lacking = "the runtime itself lacks it";
        keep("bounding", &mut sets.bounding, available, lacking);
        keep("permitted", &mut sets.permitted, available, lacking);
        keep("effective", &mut sets.effective, sets.permitted, "it is not permitted");
        keep("inheritable", &mut sets.inheritable, sets.bounding, "it is not in the bounding set");
        // One line for all: where the runtime has the caller's streams, it is seen.
        let mut refused = numbers(sets.ambient & !(sets.inheritable & sets.permitted)).map(capability_name);
        if let Some(first) = refused.next() {
            let others = refused.map(|name| format!(", nor {name}")).collect::<String>();
            warnings.push(format!(
                "can't raise ambient capability {first}: it is not permitted and inheritable{others}"
            ));
        }
    }
}

fn numbers(set: u64) -> impl Iterator<Item = u8> {
    (0..64).filter(move |number| set >> number & 1 == 1)
}

fn names(set: u64) -> String {
    numbers(set).map(capability_name).collect::<Vec<_>>().join(", ")
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
        let process = serde_json::from_value(process).unwrap();
        let mut plan = plan(&process, None).unwrap();
        plan.grant(!(1 << 25), &mut warnings);
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

    /// [P11] What capset(2) would refuse is not asked for; each is told.
    #[test]
    fn what_cannot_be_granted_is_a_warning() {
        let sets = serde_json::json!({
            "bounding": ["CAP_CHOWN", "CAP_SYS_TIME"], "permitted": ["CAP_CHOWN", "CAP_SYS_TIME"],
            "effective": ["CAP_CHOWN", "CAP_KILL"], "inheritable": ["CAP_CHOWN", "CAP_FOWNER"]
        });
        let (plan, warnings) = plan_of(serde_json::json!({ "capabilities": sets }));
        let all_chown =
            CapabilitySets { bounding: 1, effective: 1, permitted: 1, inheritable: 1, ambient: 0 };
        assert_eq!(plan.capabilities, all_chown);
        for (warning, text) in warnings.iter().zip([
            "bounding: can't grant CAP_SYS_TIME: the runtime itself lacks it",
            "permitted: can't grant CAP_SYS_TIME: the runtime itself lacks it",
            "effective: can't grant CAP_KILL: it is not permitted",
            "inheritable: can't grant CAP_FOWNER: it is not in the bounding set",
        ]) {
            assert_eq!(warning, &format!("process.capabilities.{text}"));
        }
        assert_eq!(warnings.len(), 4);
    }

    /// [P16]
    #[test]
    fn profiles_are_written_as_apparmor_reads_them() {
        let (plan, _) = plan_of(serde_json::json!({"apparmorProfile": "docker-default"}));
        assert_eq!(plan.apparmor.as_deref(), Some("exec docker-default"));
        assert_eq!(plan_of(serde_json::json!({"apparmorProfile": ""})).0.apparmor, None);
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
