//! `create`: a container up to the point just before its program runs.

mod orders;

use std::ffi::CStr;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use self::orders::Orders;
use crate::cgroups::systemd;
use crate::cgroups::{self, Cgroup, Host, Layout};
use crate::cli::{CgroupManager, CreateArgs, Global, Rootless};
use crate::commands::delete::run_poststop;
use crate::commands::pid_file;
use crate::container::{self, Container, Id, Joining, Process, Record, State, Status, Store, StoredHooks};
use crate::error::{Context, Error, Kind, Result};
use crate::log::Log;
use crate::plan::activation::Listen;
use crate::plan::rootless::Caller;
use crate::plan::{self, Plan, Request, show};
use crate::process::hooks::{self, Outputs, Setting};
use crate::process::interrupt::Interrupt;
use crate::process::launch::Sockets;
use crate::process::notify::{self, Notify};
use crate::process::terminal::receiver::Receiver;
use crate::process::terminal::session::Session;
use crate::process::{agent, labels, launch, own_binary, sources, start};
use crate::resctrl::{self, Group};
use crate::sys::clone::Child;
use crate::sys::credentials::permitted_capabilities;
use crate::sys::fd;

/// A container that was brought to life, with its init.
#[derive(Debug)]
pub struct Made {
    /// Its record and directory; the lock is held.
    pub container: Container,
    /// Its cgroups.
    pub cgroup: Cgroup,
    /// Its init.
    pub child: Child,
    /// `run` with a service manager: what the container says to it.
    pub notify: Option<Notify>,
    /// `run` in the foreground with a terminal.
    pub session: Option<Session>,
    /// `run` in the foreground: the signals that came since the container was begun.
    pub signals: Option<Interrupt>,
}

/// Creates a container and returns when `start` may come.
///
/// # Errors
/// Anything that keeps it from being created; nothing is left behind then.
pub fn run(global: &Global, args: &CreateArgs, log: &Log) -> Result<i32> {
    let made = make(global, args, log, Finish::Wait)?;
    made.container.unlock()?;
    Ok(0)
}

/// Where init is to be in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Waiting for `start`.
    Wait,
    /// The program, executed at once; the runtime leaves.
    Detached,
    /// The program, executed at once; the runtime stays.
    Foreground,
}

/// The common part of `create` and `run`.
///
/// # Errors
/// As [`run`].
pub fn make(global: &Global, args: &CreateArgs, log: &Log, finish: Finish) -> Result<Made> {
    let id = Id::parse(&args.id)?;
    if finish == Finish::Wait {
        // Nothing is read before: it would be read twice.
        own_binary::run_from_clone()?;
    }
    // The modes of cgroups and of what the container is to reach must not be the caller's wish.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let pid_file = args.pid_file.as_deref().map(std::path::absolute).transpose().context("--pid-file")?;
    let bundle = bundle(args.bundle.as_deref())?;
    let name = args.config.clone().unwrap_or_else(|| PathBuf::from("config.json"));
    // Neither this nor the plan is ever dropped: to free what lies in pages shared with init copies each page.
    let mut loaded = ManuallyDrop::new(crate::spec::load(&bundle, &name)?);
    let terminal = loaded.spec.process().as_ref().and_then(oci_spec::runtime::Process::terminal);
    Receiver::check(terminal == Some(true), finish != Finish::Foreground, args.console_socket.is_some())?;
    let host = host(global)?;
    let state_root = global.state_root();
    let request = Request {
        listen: listen()?,
        notify: notify::wanted().map(|_| state_root.path.join(&args.id).join(notify::DIRECTORY)),
        ..request(global, args, &bundle)?
    };
    check_passed(plan::passed_on(&request)?, request.listen.count)?;
    let changed = request.caller.add_user_namespace(&mut loaded.spec)?;
    loaded.warnings.extend(changed);
    let mut plan = ManuallyDrop::new(plan::plan(&loaded.spec, &request, &host)?);
    if finish != Finish::Wait && plan.shows_runtime() {
        own_binary::run_from_clone()?;
    }
    check_rootfs(plan.rootfs.path.as_c_str())?;
    check_joined(&plan)?;
    check_net_devices(&plan)?;
    sources::refuse_rootless(&plan)?;
    agent::check(plan.seccomp.as_ref(), plan.seccomp_agent.as_ref())?;
    labels::settle(&mut plan.process)?;
    grant(&mut plan)?;
    if log.is_debug() {
        for name in plan.seccomp.iter().flat_map(|filter| &filter.unknown_names) {
            log.debug(format_args!("linux.seccomp: unknown system call {name:?} is passed over"));
        }
        for step in show::steps(&plan) {
            log.debug(format_args!("plan: {}: {} {} [{}]", step.by, step.action, step.detail, step.path));
        }
    }
    let mut orders =
        Orders::new(args, finish, &bundle, pid_file, plan::annotations::pidfd_receiver(&loaded.spec))?;
    orders.find_terminal(&mut plan, args, &bundle)?;
    state_root.ensure()?;
    let store = Store::open(&state_root.path);
    let group = plan.resctrl.as_ref().map(Group::find).transpose()?;
    let mut record = record(&plan, &loaded.spec)?;
    record.resctrl = group.as_ref().map(Group::record);
    let mut signals = match finish {
        Finish::Foreground => Interrupt::catch_all()?,
        Finish::Wait | Finish::Detached => Interrupt::postpone()?,
    };
    // As delete would: hooks of the killed one may have set something up.
    let mut cleared = |record: &Record| run_poststop(record, &mut |text| log.warn(text));
    let container = store.create(&id, record, Some(&loaded.raw), &mut cleared)?;
    let mut made = assemble(&plan, container, group.as_ref(), &mut orders, &mut signals)
        .context("unable to start container process")?;
    for warning in loaded.warnings.iter().chain(&plan.warnings).chain(made.cgroup.warnings()) {
        log.warn(warning);
    }
    made.signals = (finish == Finish::Foreground).then_some(signals);
    Ok(made)
}

/// `$LISTEN_FDS` and its companions. The clone of the binary runs under the same pid.
fn listen() -> Result<Listen> {
    let get = |name| std::env::var_os(name);
    let Some(count) = get("LISTEN_FDS") else { return Ok(Listen::default()) };
    let (pid, names) = (get("LISTEN_PID"), get("LISTEN_FDNAMES"));
    Listen::decide(pid.as_deref(), &count, names.as_deref(), std::process::id())
}

/// Descriptors to pass on must be open; all others of the caller are the caller's own. The first `listen` are those
/// of `$LISTEN_FDS`.
pub(super) fn check_passed(count: i32, listen: u32) -> Result<()> {
    for number in 3..3 + count {
        if !fd::is_passed(number) {
            let of_listen = i64::from(number) < 3 + i64::from(listen);
            let (who, count) = match of_listen {
                true => ("LISTEN_FDS=", i64::from(listen)),
                false => ("--preserve-fds ", i64::from(count) - i64::from(listen)),
            };
            let text = format!("{who}{count}: file descriptor {number} is not open");
            return Err(Error::new(Kind::Usage, text));
        }
    }
    fd::cloexec_from(3 + count).context("close_range")
}

/// The bundle's absolute path, without symlinks.
pub(super) fn bundle(given: Option<&Path>) -> Result<PathBuf> {
    let path = given.unwrap_or(Path::new("."));
    path.canonicalize().with_context(|| format!("bundle {}", path.display()))
}

/// The host's cgroups, unless they are not to be touched.
pub(super) fn host(global: &Global) -> Result<Host> {
    if global.cgroup_manager == CgroupManager::Disabled {
        let layout = Layout::V1 { hierarchies: Vec::new(), unified: None };
        return Ok(Host { layout, own_v2: PathBuf::from("/") });
    }
    Layout::detect()
}

/// What the plan depends on besides the spec.
pub(super) fn request<'a>(global: &Global, args: &'a CreateArgs, bundle: &'a Path) -> Result<Request<'a>> {
    let caller = caller()?;
    let rootless = match global.rootless {
        Rootless::True => true,
        Rootless::False => false,
        Rootless::Auto => caller.uid != 0 || caller.confined,
    };
    let by_systemd = global.cgroup_manager == CgroupManager::Systemd;
    Ok(Request {
        id: &args.id,
        caller,
        bundle,
        no_pivot: args.no_pivot,
        no_new_keyring: args.no_new_keyring,
        preserve_fds: args.preserve_fds,
        listen: Listen::default(),
        notify: None,
        seccomp_receiver: seccomp_receiver(),
        seccomp_recorder: args.recorder.clone(),
        cgroup: plan::cgroup::Options {
            systemd: by_systemd.then(|| systemd::Manager::find(rootless)).transpose()?,
            rootless,
            user_namespace: caller.confined,
        },
        no_cgroup: global.cgroup_manager == CgroupManager::Disabled,
        selinux: crate::rootfs::label::enabled,
        kernel: plan::Kernel::RUNNING,
    })
}

/// Who is to get the listener of a seccomp filter, by the environment.
pub(super) fn seccomp_receiver() -> Option<PathBuf> {
    std::env::var_os(plan::seccomp::RECEIVER_VARIABLE).map(PathBuf::from)
}

/// Whose rights there are.
pub(super) fn caller() -> Result<Caller> {
    use caps::Capability::{CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN};
    let confined = crate::cli::in_user_namespace();
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return Ok(Caller { confined, ..Caller::ROOT });
    }
    let wanted = [CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID].iter().fold(0, |set, one| set | 1 << one.index());
    let have = permitted_capabilities().context("read the own capabilities")?;
    let gid = rustix::process::getegid().as_raw();
    Ok(Caller { uid: uid.as_raw(), gid, privileged: have & wanted == wanted, confined })
}

/// Of the capabilities asked for, those that the runtime has to give (P11).
pub(super) fn grant(plan: &mut Plan) -> Result<()> {
    let available = if plan.namespaces.in_user_namespace() {
        plan::process::ALL_CAPABILITIES
    } else {
        permitted_capabilities().context("read the own capabilities")?
    };
    plan.process.grant(available, &mut plan.warnings);
    Ok(())
}

/// P1: a directory, not a symlink. Here, since the plan itself touches no file.
pub(super) fn check_rootfs(path: &CStr) -> Result<()> {
    let text = path.to_string_lossy();
    let stat = rustix::fs::lstat(path)
        .map_err(|errno| Error::system(format_args!("root.path: invalid rootfs: stat {text}"), errno))?;
    match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::Directory => Ok(()),
        rustix::fs::FileType::Symlink => {
            let text = format!("invalid rootfs: not an absolute path, or a symlink: {text}");
            Err(Error::config("root.path", text))
        }
        _ => Err(Error::config("root.path", format!("invalid rootfs: {text} is not a directory"))),
    }
}

/// R16: a namespace that is joined by path may turn out to be the host's own, and what is set there is the host's.
pub(super) fn check_joined(plan: &Plan) -> Result<()> {
    use oci_spec::runtime::LinuxNamespaceType::{Ipc, Network, Uts};
    for join in &plan.namespaces.join {
        let (own, set): (&CStr, Option<String>) = match join.kind {
            Network => (
                c"/proc/self/ns/net",
                plan.sysctl_below("sys/net/").or_else(|| {
                    plan.net_devices.first().map(crate::namespaces::net_devices::NetDevice::path)
                }),
            ),
            Ipc => (
                c"/proc/self/ns/ipc",
                plan.sysctl_below("sys/fs/").or_else(|| plan.sysctl_below("sys/kernel/")),
            ),
            Uts if plan.hostname.is_some() || plan.domainname.is_some() => {
                (c"/proc/self/ns/uts", Some("hostname".into()))
            }
            _ => continue,
        };
        let Some(set) = set else { continue };
        let inode = |path: &CStr| rustix::fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
        if inode(&join.path).is_ok_and(|joined| inode(own).is_ok_and(|own| own == joined)) {
            let kind = crate::namespaces::name(join.kind);
            let text = format!("{set} not allowed in host {kind} namespace");
            return Err(Error::config(&format!("linux.namespaces[{}].path", join.index), text));
        }
    }
    Ok(())
}

/// An ordinary user has no right to devices of the host (T10).
fn check_net_devices(plan: &Plan) -> Result<()> {
    if plan.net_devices.is_empty() || rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::config("linux.netDevices", "network devices are not supported for rootless containers"))
}

/// What is known before anything has been made: written first, so that a crash at any moment leaves something
/// that `delete --force` clears.
fn record(plan: &Plan, spec: &Spec) -> Result<Record> {
    let rootfs = PathBuf::from(plan.rootfs.path.to_string_lossy().into_owned());
    Ok(Record {
        version: container::VERSION,
        oci_version: spec.version().clone(),
        id: plan.id.clone(),
        bundle: plan.bundle.clone(),
        rootfs,
        created: container::now(),
        owner: rustix::process::getuid().as_raw(),
        annotations: spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
        boot_id: container::boot_id()?,
        runtime: Process::current()?,
        cgroup: plan.cgroup.record(),
        join: Some(Joining { namespaces: plan.namespaces.all(), keyring: plan.process.keyring.is_some() }),
        own_pid_namespace: plan.namespaces.makes(libc::CLONE_NEWPID),
        seccomp_agent: plan.seccomp_agent.clone(),
        hooks: StoredHooks { poststart: plan.hooks.poststart.clone(), poststop: plan.hooks.poststop.clone() },
        ..Record::default()
    })
}

/// Cgroup, resctrl group, init, pid file; whatever fails is unmade.
fn assemble(
    plan: &Plan,
    mut container: Container,
    group: Option<&Group<'_>>,
    orders: &mut Orders,
    signals: &mut Interrupt,
) -> Result<Made> {
    let mut cgroup = match cgroups::Cgroup::create(&plan.cgroup) {
        Ok(cgroup) => cgroup,
        Err(error) => {
            let _ = container.remove_dir();
            return Err(error);
        }
    };
    if let Some(Err(error)) = group.map(Group::create) {
        let _ = cgroup.undo();
        let _ = container.remove_dir();
        return Err(error);
    }
    match bring_up(plan, &mut container, &mut cgroup, orders, signals) {
        Ok((child, notify, session)) => Ok(Made { container, cgroup, child, notify, session, signals: None }),
        Err(error) => Err(unmake(plan, container, &mut cgroup, error)),
    }
}

fn bring_up(
    plan: &Plan,
    container: &mut Container,
    cgroup: &mut Cgroup,
    orders: &mut Orders,
    signals: &mut Interrupt,
) -> Result<(Child, Option<Notify>, Option<Session>)> {
    container.record.cgroup = cgroup.record();
    if plan.notify {
        notify::make_directory(container.dir())?;
    }
    let notify = match orders.manager.take() {
        Some(manager) => Notify::new(container.dir(), manager)?,
        None => None,
    };
    let start = match orders.finish {
        Finish::Wait => Some(start::listener(container.dir())?),
        Finish::Detached | Finish::Foreground => None,
    };
    let sockets = Sockets { start, console: orders.terminal.take_socket(), pidfd: orders.pidfd.take() };
    let child = launch::launch(plan, container, cgroup, sockets, signals)?;
    let finished = settle(container, orders, &child);
    match finished {
        Ok(session) => Ok((child, notify, session)),
        Err(error) => {
            child.kill_and_reap();
            Err(error)
        }
    }
}

/// What is left once init is where it should be; the pid file is the last of all.
fn settle(container: &Container, orders: &mut Orders, child: &Child) -> Result<Option<Session>> {
    if orders.finish == Finish::Wait {
        start::announce(container.dir())?;
    }
    let session = orders.terminal.session()?;
    if let Some(path) = &orders.pid_file {
        pid_file::write(path, child.pid)?;
    }
    Ok(session)
}

/// S11: as if never attempted; poststop hooks run when others may have set something up.
fn unmake(plan: &Plan, container: Container, cgroup: &mut Cgroup, error: Error) -> Error {
    let _ = cgroup.kill_all(libc::SIGKILL);
    let group = container.record.resctrl.as_ref().map_or(Ok(()), resctrl::Record::remove);
    let removed = cgroup.undo().and(group);
    if plan.hooks.any_before_program()
        && let Ok(state) = State::plain(&container.record, Status::Stopped, 0).to_json()
    {
        let outputs = Outputs::of(&container.record).unwrap_or_default();
        let setting = Setting::runtime(&state, &plan.bundle).writing_to(&outputs);
        for hook in &plan.hooks.poststop {
            let _ = hooks::run(hook, &setting);
        }
    }
    let _ = container.remove_dir();
    match removed {
        Ok(()) => error,
        Err(left) => error.hint(left.to_string()),
    }
}
