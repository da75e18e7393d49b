//! A further process of a container: what `exec` is given, over what the container's configuration says.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci_spec::runtime::{LinuxNamespaceType, Process};

use super::digest::Digest;
use super::rootless::{self, Caller};
use super::{Kernel, Plan, cstring, landlock, process, scheduling};
use crate::cgroups::SubCgroups;
use crate::cli::ExecArgs;
use crate::error::{Error, Kind, Result};
use crate::namespaces::{Join, NamespacePlan, flag};
use crate::spec::list::{MAX_CPU, NumberSet};
use crate::spec::load::LoneProcess;
use crate::spec::validate;

/// The container that is joined.
#[derive(Debug)]
pub struct Target<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its bundle.
    pub bundle: &'a Path,
    /// Its configuration.
    pub digest: &'a Digest,
    /// Its init.
    pub pid: i32,
    /// `CLONE_NEW*` of the namespaces that are its own.
    pub namespaces: u64,
    /// It has a session keyring of its own.
    pub keyring: bool,
    /// Whose rights there are.
    pub caller: Caller,
    /// What the kernel has.
    pub kernel: Kernel,
}

/// All that will be done for a process that joins.
#[derive(Debug)]
pub struct ExecPlan {
    /// As for init, with nothing to build: namespaces, file tree and cgroups are there.
    pub plan: Plan,
    /// `CLONE_NEW*` of the namespaces to enter.
    pub enter: u64,
    /// Where below the container's cgroups it runs.
    pub cgroup: SubCgroups,
    /// On which CPUs.
    pub affinity: Affinity,
    /// It shares init's core scheduling cookie.
    pub core_cookie: bool,
}

/// `process.execCPUAffinity` (features.md S30).
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Affinity {
    /// All CPUs that the cpuset allows: the caller's affinity must not leak in.
    #[default]
    Reset,
    /// As given; an empty set is none.
    Given {
        /// Before the process is in its cgroup.
        initial: NumberSet,
        /// When it is there.
        last: NumberSet,
    },
}

/// Decides everything.
///
/// # Errors
/// A broken rule of the specification, by its JSON path or option.
pub fn plan(given: Option<LoneProcess>, args: &ExecArgs, target: &Target<'_>) -> Result<ExecPlan> {
    let spec = &target.digest.spec;
    let of_container = spec.process().clone();
    let of_container = of_container
        .ok_or_else(|| Error::new(Kind::Config, "the container's configuration has no process"))?;
    let mut warnings = Vec::new();
    let (mut process, cgroup) = match given {
        Some(mut lone) => {
            warnings.append(&mut lone.warnings);
            inherit(&mut lone.process, of_container);
            (lone.process, lone.cgroup)
        }
        None => (of_container, None),
    };
    let program = options(&mut process, args)?;
    check(&process, args)?;
    let linux = spec.linux().as_ref();
    let keyring = target.keyring.then(|| process::keyring(target.id)).transpose()?;
    let scheduling = scheduling::plan(&process, linux, &mut warnings)?;
    let core_cookie = scheduling::core(spec, target.kernel, &mut warnings)?;
    let landlock = landlock::plan(spec, target.kernel.landlock, &mut warnings)?;
    let affinity = affinity(&process)?;
    let mut process = process::plan(&process, keyring)?;
    process.keep_groups = rootless::keep_groups(spec);
    if let Some(program) = program {
        process.set_args(program)?;
    }
    for name in &args.cap {
        process.capabilities.add(capability(name)?);
    }
    let cgroup = if args.cgroup.is_empty() { cgroup.into_iter().collect() } else { args.cgroup.clone() };
    let plan = Plan {
        id: target.id.to_string(),
        bundle: target.bundle.to_path_buf(),
        process,
        scheduling,
        namespaces: namespaces(target)?,
        seccomp: target.digest.seccomp.clone(),
        seccomp_agent: target.digest.agent.clone(),
        recorded: false,
        landlock,
        preserve_fds: super::fd_count(args.preserve_fds)?,
        warnings,
        ..Plan::default()
    };
    let cgroup = SubCgroups::parse(&cgroup)?;
    Ok(ExecPlan { plan, enter: target.namespaces, cgroup, affinity, core_cookie })
}

/// What a process file leaves out is as for init (V32); but for no_new_privs, which is as it says.
fn inherit(process: &mut Process, container: Process) {
    fn or<T: Clone>(own: &Option<T>, other: &Option<T>) -> Option<T> {
        own.clone().or_else(|| other.clone())
    }
    let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    process.set_capabilities(or(process.capabilities(), container.capabilities()));
    process.set_apparmor_profile(or(&some(process.apparmor_profile()), container.apparmor_profile()));
    process.set_selinux_label(or(&some(process.selinux_label()), container.selinux_label()));
    process.set_oom_score_adj(process.oom_score_adj().or(container.oom_score_adj()));
    process.set_io_priority(or(process.io_priority(), container.io_priority()));
    process.set_scheduler(or(process.scheduler(), container.scheduler()));
    process.set_exec_cpu_affinity(or(process.exec_cpu_affinity(), container.exec_cpu_affinity()));
    if process.rlimits().as_ref().is_none_or(Vec::is_empty) {
        process.set_rlimits(container.rlimits().clone());
    }
    let umask = process.user().umask().or(container.user().umask());
    process.user_mut().set_umask(umask);
}

/// Puts the options over it. Gives the program with its arguments as bytes, which `Process` can't hold.
fn options(process: &mut Process, args: &ExecArgs) -> Result<Option<Vec<CString>>> {
    if args.process.is_none() {
        process.set_terminal(Some(false));
        process.set_args(Some(args.command.iter().map(|arg| arg.to_string_lossy().into_owned()).collect()));
    }
    if args.tty {
        process.set_terminal(Some(true));
    }
    if let Some(cwd) = &args.cwd {
        process.set_cwd(cwd.clone());
    }
    if let Some(user) = args.user {
        let gid = user.gid.unwrap_or(process.user().gid());
        process.user_mut().set_uid(user.uid);
        process.user_mut().set_gid(gid);
    }
    if !args.additional_gids.is_empty() {
        let gids = process.user_mut().additional_gids_mut().get_or_insert_default();
        gids.extend(&args.additional_gids);
    }
    for entry in &args.env {
        if entry.split_once('=').is_none_or(|(name, _)| name.is_empty()) {
            let text = format!("--env {entry:?}: invalid environment variable: want NAME=VALUE");
            return Err(Error::new(Kind::Usage, text));
        }
        process.env_mut().get_or_insert_default().push(entry.clone());
    }
    if let Some(on) = args.no_new_privs {
        process.set_no_new_privileges(Some(on));
    }
    if args.apparmor.is_some() {
        process.set_apparmor_profile(args.apparmor.clone());
    }
    if args.process_label.is_some() {
        process.set_selinux_label(args.process_label.clone());
    }
    let program = args.command.iter().map(|arg| cstring(arg.as_bytes())).collect::<Result<_>>()?;
    Ok(args.process.is_none().then_some(program))
}

fn check(process: &Process, args: &ExecArgs) -> Result<()> {
    validate::check_process(process).map_err(|error| match &args.cwd {
        Some(_) => error.rename("process.cwd", "--cwd"),
        None => error,
    })
}

fn capability(name: &str) -> Result<u64> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    let known = full.parse::<caps::Capability>();
    known.map(|known| known.bitmask()).map_err(|_| {
        let error = Error::new(Kind::Usage, format!("--cap {name:?}: unknown capability"));
        let names: Vec<_> = caps::all().into_iter().map(|known| known.to_string()).collect();
        match crate::similar::closest(&full, names.iter().map(String::as_str)) {
            Some(close) => error.hint(format!("did you mean {close}?")),
            None => error,
        }
    })
}

/// They are there already; what is left to know is whether the ids are those of another user namespace.
fn namespaces(target: &Target<'_>) -> Result<NamespacePlan> {
    let user = target.namespaces & flag(LinuxNamespaceType::User) != 0;
    let path = cstring(format!("/proc/{}/ns/user", target.pid))?;
    Ok(NamespacePlan {
        join_user: user.then_some(Join { kind: LinuxNamespaceType::User, path, index: 0 }),
        runtime_confined: target.caller.confined,
        runtime_is_root: target.caller.privileged && !target.caller.confined,
        ..NamespacePlan::default()
    })
}

fn affinity(process: &Process) -> Result<Affinity> {
    let Some(given) = process.exec_cpu_affinity() else { return Ok(Affinity::Reset) };
    let set = |name: &str, list: &Option<String>| {
        NumberSet::parse(list.as_deref().unwrap_or_default(), MAX_CPU)
            .map_err(|error| Error::config(&format!("process.execCPUAffinity.{name}"), error))
    };
    Ok(Affinity::Given {
        initial: set("initial", given.initial())?,
        last: set("final", given.cpu_affinity_final())?,
    })
}
