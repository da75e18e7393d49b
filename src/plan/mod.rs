//! Spec → Plan: every decision, without side effects. Parent and child only carry it out.

pub mod activation;
pub mod annotations;
pub mod cgroup;
mod cgroup_owner;
pub mod cgroup_properties;
mod cgroup_sub;
pub mod cgroup_systemd;
mod cgroup_v1;
mod cgroup_v2;
pub mod digest;
pub mod exec;
mod faults;
mod gvariant;
pub mod hotplug;
mod id_map;
mod label;
pub mod landlock;
mod mounts;
pub mod namespaces;
mod order;
pub mod process;
pub mod resctrl;
mod resources;
pub mod rootfs;
pub mod rootless;
pub mod scheduling;
pub mod seccomp;
pub mod show;
pub mod terminal;
pub mod update;

use std::ffi::CString;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Hook, LinuxNamespaceType, Spec};
use rustix::io::Errno;

use crate::cgroups::{CgroupPlan, Host};
use crate::container::Agent;
use crate::error::{Error, Kind, Result};
use crate::namespaces::NamespacePlan;
use crate::namespaces::net_devices::NetDevice;
use crate::resctrl::ResctrlPlan;
use crate::rootfs::tree::RootfsPlan;
use crate::seccomp::Program;
use crate::spec::validate::sysctl_path;

pub use faults::faults;
use process::ProcessPlan;
use rootless::Caller;

/// What the command line adds to the spec.
#[derive(Debug)]
pub struct Request<'a> {
    /// Container id.
    pub id: &'a str,
    /// Absolute path of the bundle.
    pub bundle: &'a Path,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// `--preserve-fds`.
    pub preserve_fds: u32,
    /// Sockets of a service manager.
    pub listen: activation::Listen,
    /// The directory of the notify socket on the host, if the container is to have one.
    pub notify: Option<PathBuf>,
    /// Whose rights there are.
    pub caller: Caller,
    /// `$RUN_OCI_SECCOMP_RECEIVER`.
    pub seccomp_receiver: Option<PathBuf>,
    /// Who is asked about every system call, in place of the profile.
    pub seccomp_recorder: Option<PathBuf>,
    /// How cgroups are made.
    pub cgroup: cgroup::Options,
    /// Cgroups are not touched at all (`--cgroup-manager disabled`).
    pub no_cgroup: bool,
    /// Whether the host has SELinux: asked only where the spec has a label for mounts.
    pub selinux: fn() -> bool,
    /// What the kernel has of what annotations ask for.
    pub kernel: Kernel,
}

/// How the kernel is asked, where an annotation makes it necessary.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// Landlock's ABI; 0 for none.
    pub landlock: fn() -> u32,
    /// The errno, if there is no core scheduling.
    pub core_scheduling: fn() -> Option<Errno>,
}

impl Kernel {
    /// The one that runs.
    pub const RUNNING: Self = Self {
        landlock: crate::sys::landlock::abi,
        core_scheduling: || crate::sys::scheduling::core_scheduling(0).err(),
    };

    /// One that has nothing.
    pub const PLAIN: Self = Self { landlock: || 0, core_scheduling: || Some(Errno::INVAL) };
}

/// All that will be done to make a container.
#[derive(Debug, Default)]
pub struct Plan {
    /// Container id.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Namespaces made and joined.
    pub namespaces: NamespacePlan,
    /// The file tree.
    pub rootfs: RootfsPlan,
    /// What is executed, and as whom.
    pub process: ProcessPlan,
    /// How the program is scheduled, where its memory comes from.
    pub scheduling: scheduling::Scheduling,
    /// Directories, limits, device rules.
    pub cgroup: CgroupPlan,
    /// The compiled filter.
    pub seccomp: Option<Program>,
    /// Who answers the calls that the filter asks about.
    pub seccomp_agent: Option<Agent>,
    /// The filter asks a recorder about every call: hooks, which it would not hear, go without.
    pub recorded: bool,
    /// Files and ports that the program may use.
    pub landlock: Option<landlock::Landlock>,
    /// Kernel parameters, in the spec's spelling's order.
    pub sysctl: Vec<Sysctl>,
    /// Network devices that move into the container's namespace.
    pub net_devices: Vec<NetDevice>,
    /// The group in resctrl.
    pub resctrl: Option<ResctrlPlan>,
    /// sethostname(2).
    pub hostname: Option<String>,
    /// setdomainname(2).
    pub domainname: Option<String>,
    /// Hooks of every kind.
    pub hooks: Hooks,
    /// Descriptors 3 to 3+N-1 are passed on.
    pub preserve_fds: i32,
    /// The last mount is the notify socket's directory.
    pub notify: bool,
    /// What the specification wants logged and passed over.
    pub warnings: Vec<String>,
}

/// One kernel parameter.
#[derive(Debug)]
pub struct Sysctl {
    /// As the spec writes it.
    pub key: String,
    /// Its file below /proc: `sys/net/ipv4/ip_forward`.
    pub file: CString,
    /// What is written.
    pub value: String,
}

/// The hooks (config.md, "POSIX-platform Hooks").
#[derive(Debug, Default)]
pub struct Hooks {
    /// Deprecated; run before createRuntime.
    pub prestart: Vec<Hook>,
    /// In the runtime's namespaces, once the container's are there.
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before the root changes.
    pub create_container: Vec<Hook>,
    /// In the container, just before the program.
    pub start_container: Vec<Hook>,
    /// In the runtime's namespaces, after the program was executed.
    pub poststart: Vec<Hook>,
    /// In the runtime's namespaces, after everything was removed.
    pub poststop: Vec<Hook>,
}

/// Decides everything.
///
/// # Errors
/// A broken rule of the specification, or something that this host or version can't do; named by JSON path.
pub fn plan(spec: &Spec, request: &Request<'_>, host: &Host) -> Result<Plan> {
    crate::spec::validate::check(spec)?;
    annotations::check(spec)?;
    let process = spec.process().as_ref();
    let process = process.ok_or_else(|| Error::new(Kind::Config, "process property must not be empty"))?;
    let mut warnings = Vec::new();
    let namespaces = namespaces::plan(spec, &request.caller)?;
    let mut cgroup = cgroup_plan(spec, request, host)?;
    // Who is not root can give nothing away.
    if !(request.cgroup.rootless || request.no_cgroup) {
        cgroup.owner = cgroup_owner::of(spec, &namespaces, &host.layout);
    }
    warnings.extend(cgroup.warnings.iter().cloned());
    let keyring = if request.no_new_keyring { None } else { Some(process::keyring(request.id)?) };
    let place = place(spec, request, host, &cgroup, &mut warnings)?;
    let (seccomp, seccomp_agent) = match &request.seccomp_recorder {
        Some(recorder) => seccomp::recorded(spec, recorder, &mut warnings),
        None => seccomp::plan(spec, request.bundle, request.seccomp_receiver.as_deref())?,
    };
    let mut scheduling = scheduling::plan(process, spec.linux().as_ref(), &mut warnings)?;
    scheduling.core_cookie = scheduling::core(spec, request.kernel, &mut warnings)?;
    let landlock = landlock::plan(spec, request.kernel.landlock, &mut warnings)?;
    let mut process = process::plan(process, keyring)?;
    process.keep_groups = rootless::keep_groups(spec);
    if let Some(terminal) = &mut process.terminal {
        // Without a mount namespace that would be the host's.
        terminal.console = crate::spec::validate::has_namespace(spec, LinuxNamespaceType::Mount);
    }
    rootless::check_groups(&process, namespaces.id_maps.as_ref())?;
    if request.notify.is_some() {
        process.set_variables(vec![activation::notify_variable()?]);
    }
    if request.listen.count > 0 {
        process.set_variables(request.listen.environment()?);
        process.set_listen_pid();
    }
    Ok(Plan {
        id: request.id.to_string(),
        bundle: request.bundle.to_path_buf(),
        rootfs: rootfs::plan(spec, &place, &mut warnings)?,
        process,
        scheduling,
        namespaces,
        cgroup,
        seccomp,
        seccomp_agent,
        recorded: request.seccomp_recorder.is_some(),
        landlock,
        sysctl: sysctl(spec)?,
        net_devices: namespaces::net_devices(spec),
        resctrl: resctrl::plan(spec, request.id)?,
        hostname: spec.hostname().clone().filter(|name| !name.is_empty()),
        domainname: spec.domainname().clone().filter(|name| !name.is_empty()),
        hooks: hooks(spec),
        preserve_fds: passed_on(request)?,
        notify: request.notify.is_some(),
        warnings,
    })
}

/// What the file tree depends on.
fn place<'a>(
    spec: &'a Spec,
    request: &Request<'a>,
    host: &'a Host,
    cgroup: &'a CgroupPlan,
    warnings: &mut Vec<String>,
) -> Result<rootfs::Place<'a>> {
    Ok(rootfs::Place {
        bundle: request.bundle,
        no_pivot: request.no_pivot,
        host,
        cgroup,
        rootless: request.cgroup.rootless,
        extra: request.notify.as_deref().map(activation::notify_mount).transpose()?,
        label: label::of_mounts(spec, request.selinux, warnings)?,
        detached: false,
    })
}

/// How many descriptors from 3 on the program gets: those of `$LISTEN_FDS`, then those of `--preserve-fds`.
///
/// # Errors
/// More than a process can have.
pub fn passed_on(request: &Request<'_>) -> Result<i32> {
    fd_count(request.listen.count.saturating_add(request.preserve_fds))
}

/// A number of descriptors, from 3 on.
///
/// # Errors
/// More than a process can have.
pub fn fd_count(count: u32) -> Result<i32> {
    let count = i32::try_from(count).ok().filter(|count| *count < MOST_FDS);
    count.ok_or_else(|| Error::new(Kind::Usage, "--preserve-fds: too large a number"))
}

/// `/proc/sys/fs/nr_open` can't be larger.
const MOST_FDS: i32 = i32::MAX / 8;

fn cgroup_plan(spec: &Spec, request: &Request<'_>, host: &Host) -> Result<CgroupPlan> {
    let linux = spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    if request.no_cgroup {
        return Ok(CgroupPlan::default());
    }
    let path = linux.and_then(|linux| linux.cgroups_path().as_deref());
    let mut plan = cgroup::plan(resources, path, request.id, host, request.cgroup.clone())?;
    cgroup_systemd::annotations(spec.annotations().as_ref(), &mut plan)?;
    cgroup_sub::add(spec, &host.layout, &mut plan)?;
    Ok(plan)
}

fn sysctl(spec: &Spec) -> Result<Vec<Sysctl>> {
    let given = spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref());
    let mut list = Vec::new();
    for (key, value) in given.into_iter().flatten() {
        let file = cstring(format!("sys/{}", sysctl_path(key)))?;
        list.push(Sysctl { key: key.clone(), file, value: value.clone() });
    }
    list.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(list)
}

fn hooks(spec: &Spec) -> Hooks {
    let Some(given) = spec.hooks() else { return Hooks::default() };
    let prestart = given.prestart();
    let list = |hooks: &Option<Vec<Hook>>| hooks.clone().unwrap_or_default();
    Hooks {
        prestart: list(prestart),
        create_runtime: list(given.create_runtime()),
        create_container: list(given.create_container()),
        start_container: list(given.start_container()),
        poststart: list(given.poststart()),
        poststop: list(given.poststop()),
    }
}

impl Plan {
    /// Who asks for the mount of this index.
    pub fn mount_origin(&self, index: usize) -> String {
        match self.notify && index + 1 == self.rootfs.mounts.len() {
            true => "NOTIFY_SOCKET".into(),
            false => format!("mounts[{index}]"),
        }
    }

    /// The first kernel parameter whose file begins so, as texts name it.
    pub fn sysctl_below(&self, prefix: &str) -> Option<String> {
        let found = self.sysctl.iter().find(|sysctl| sysctl.file.to_bytes().starts_with(prefix.as_bytes()));
        found.map(|sysctl| format!("sysctl {:?}", sysctl.key))
    }

    /// Whether init, in its namespaces and with its mounts, waits for the parent: for hooks, for network devices, or to be
    /// moved on from the root of its cgroup namespace.
    pub fn stops_midway(&self) -> bool {
        !(self.net_devices.is_empty()
            && self.cgroup.delegate.is_none()
            && self.hooks.prestart.is_empty()
            && self.hooks.create_runtime.is_empty())
    }

    /// Whether a process of a container could see init before it is the program: in a pid namespace that others are
    /// in already. In a fresh one nobody is there before the program (and a created container's init waits, which
    /// is another matter).
    pub fn shows_runtime(&self) -> bool {
        !self.namespaces.makes(libc::CLONE_NEWPID)
            || self.namespaces.in_user_namespace()
            || !self.hooks.start_container.is_empty()
    }
}

impl Hooks {
    /// Whether some run before the program does, and may have set something up that poststop hooks take away.
    pub fn any_before_program(&self) -> bool {
        [&self.prestart, &self.create_runtime, &self.create_container, &self.start_container]
            .iter()
            .any(|hooks| !hooks.is_empty())
    }

    /// Every kind with its name in config.json.
    pub fn kinds(&self) -> [(&'static str, &[Hook]); 6] {
        [
            ("prestart", &self.prestart),
            ("createRuntime", &self.create_runtime),
            ("createContainer", &self.create_container),
            ("startContainer", &self.start_container),
            ("poststart", &self.poststart),
            ("poststop", &self.poststop),
        ]
    }
}

/// A C string for the child.
///
/// # Errors
/// It holds a NUL byte.
pub(crate) fn cstring(text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text).map_err(|error| {
        let text = String::from_utf8_lossy(&error.into_vec()).replace('\0', "\\0");
        Error::new(Kind::Config, format!("{text:?} holds a NUL byte"))
    })
}
