//! Sentences for failures in init: the step, its place in config.json, what was being done, the errno's text.

use oci_spec::runtime::LinuxNamespaceType;
use rustix::io::Errno;

mod scheduling;

use super::channel::Failure;
use super::step::{Position, Step};
use crate::error::{Error, Kind, errno_text};
use crate::fault::Action;
use crate::namespaces::{Join, NamespacePlan, flag, name};
use crate::plan::Plan;
use crate::rootfs::tree::{MountAction, MountOp};

/// The whole sentence of a failure.
pub fn failure(plan: &Plan, failure: &Failure) -> Error {
    let Failure { position, fault, text } = failure;
    match position.step {
        Step::Lookup => return program_missing(plan, fault.action, fault.errno),
        Step::Scheduler => return scheduling::failed(plan, fault.errno),
        Step::Exec => return exec_failed(text, fault.errno),
        Step::CreateContainer | Step::StartContainer if !text.is_empty() => {
            return hook_failed(*position, text);
        }
        // Of unshare(2) it means one thing only.
        Step::CgroupNamespace if fault.errno == Errno::INVAL => {
            return not_enabled(LinuxNamespaceType::Cgroup);
        }
        Step::TimeNamespace if fault.errno == Errno::INVAL && fault.action == Action::Step => {
            return not_enabled(LinuxNamespaceType::Time);
        }
        _ => {}
    }
    let place = place(plan, *position);
    let doing = doing(plan, *position, fault.action);
    let error = if doing.is_empty() {
        Error::system(place, fault.errno)
    } else if let Some(rule) = broken_rule(fault.action) {
        Error::new(Kind::System, format!("{place}: {rule}"))
    } else {
        Error::system(format_args!("{place}: {doing}"), fault.errno)
    };
    match hint(plan, *position, fault.action, fault.errno) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Where in config.json, or in the runtime's own work, a step belongs.
pub fn place(plan: &Plan, position: Position) -> String {
    let index = position.index;
    match position.step {
        Step::Start => "start of init".into(),
        Step::UserNamespace => "linux.uidMappings: become root of the user namespace".into(),
        Step::Join => joined(&plan.namespaces, index),
        Step::Enter => "enter the container's namespaces".into(),
        Step::TimeNamespace => "linux.timeOffsets".into(),
        Step::Names => "hostname".into(),
        Step::Root => format!("root.path: prepare {}", plan.rootfs.path.to_string_lossy()),
        Step::Wait => "waiting for the runtime".into(),
        Step::Cgroup => "enter the cgroup".into(),
        Step::CgroupNamespace => "linux.namespaces: make a cgroup namespace".into(),
        Step::Mount | Step::ReadonlyMount => {
            let target =
                plan.rootfs.mounts.get(index).map(|op| op.target.to_string_lossy()).unwrap_or_default();
            format!("{} (/{target})", plan.mount_origin(index))
        }
        Step::Device => device(plan, index),
        Step::CreateContainer => format!("hooks.createContainer[{index}]"),
        Step::StartContainer => format!("hooks.startContainer[{index}]"),
        Step::Terminal => "process.terminal".into(),
        Step::DevLinks => "make the default links in /dev".into(),
        Step::WorkingDirectory => format!("process.cwd: chdir to {}", plan.process.cwd.to_string_lossy()),
        Step::Masked => hidden("maskedPaths", &plan.rootfs.masked, index),
        Step::Readonly => hidden("readonlyPaths", &plan.rootfs.readonly_paths, index),
        Step::ReadonlyRoot => "root.readonly".into(),
        Step::Loopback => "set the loopback device up".into(),
        Step::Sysctl => {
            let key = plan.sysctl.get(index).map(|sysctl| sysctl.key.as_str()).unwrap_or_default();
            format!("linux.sysctl[{key:?}]")
        }
        Step::OomScore => "process.oomScoreAdj".into(),
        Step::AppArmor => {
            let profile = plan.process.apparmor.as_deref().unwrap_or_default();
            let name = profile.split_once(' ').map_or(profile, |(_, name)| name);
            format!("process.apparmorProfile: apparmor failed to apply profile {name:?}")
        }
        Step::Selinux => {
            let label = plan.process.selinux.as_deref().unwrap_or_default();
            format!("process.selinuxLabel: set the label {label:?} for exec")
        }
        Step::Pivot => "change the root".into(),
        Step::Streams => "pass on the standard streams".into(),
        Step::Keyring => "make a session keyring".into(),
        Step::Rlimit => format!("process.rlimits[{index}]"),
        Step::Scheduler => "process.scheduler".into(),
        Step::IoPriority => "process.ioPriority".into(),
        Step::Personality => "linux.personality".into(),
        Step::MemoryPolicy => "linux.memoryPolicy".into(),
        Step::NoNewPrivileges => "process.noNewPrivileges".into(),
        Step::CoreScheduling => {
            format!("annotations[{:?}]: make a cookie", crate::plan::scheduling::CORE_ANNOTATION)
        }
        Step::Landlock => format!("annotations[{:?}]: restrict", crate::plan::landlock::ANNOTATION),
        Step::LandlockPath => landlock_path(plan, index),
        Step::Bounding => "process.capabilities.bounding".into(),
        Step::Groups => "process.user.additionalGids".into(),
        Step::Ids => format!("process.user: become uid {} gid {}", plan.process.uid, plan.process.gid),
        Step::Capabilities => "process.capabilities".into(),
        Step::Affinity => "process.execCPUAffinity.final".into(),
        Step::Lookup => "look up the program".into(),
        Step::Created => "waiting for start".into(),
        Step::Seccomp => "linux.seccomp: load the filter".into(),
        Step::Listener => "linux.seccomp.listenerPath: pass the listener on".into(),
        Step::Exec | Step::ExecFailed => "exec".into(),
    }
}

fn landlock_path(plan: &Plan, index: usize) -> String {
    let rule = plan.landlock.as_ref().and_then(|landlock| landlock.paths.get(index));
    let place =
        rule.map(|rule| format!(".{}[{}]: {}", rule.origin.0, rule.origin.1, rule.path.to_string_lossy()));
    format!("annotations[{:?}]{}", crate::plan::landlock::ANNOTATION, place.unwrap_or_default())
}

fn joined(plan: &NamespacePlan, index: usize) -> String {
    let mut joins = plan.join.iter().chain(&plan.join_user).chain(&plan.join_pid);
    let what = joins
        .find(|join| join.index == index)
        .map(|join| format!("{} namespace {}", name(join.kind), join.path.to_string_lossy()));
    format!("linux.namespaces[{index}]: join {}", what.unwrap_or_default())
}

fn device(plan: &Plan, index: usize) -> String {
    let Some(node) = plan.rootfs.devices.get(index) else { return "linux.devices".into() };
    let path = node.path.to_string_lossy();
    match node.index {
        Some(index) => format!("linux.devices[{index}] (/{path})"),
        None => format!("default device /{path}"),
    }
}

fn hidden(list: &str, paths: &[crate::rootfs::tree::HiddenPath], index: usize) -> String {
    let path = paths.iter().find(|path| path.index == index);
    format!("linux.{list}[{index}] (/{})", path.map(|path| path.path.to_string_lossy()).unwrap_or_default())
}

/// What was being done at that place.
fn doing(plan: &Plan, position: Position, action: Action) -> String {
    if position.step == Step::Terminal {
        return doing_terminal(action).into();
    }
    let mount = match position.step {
        Step::Mount => plan.rootfs.mounts.get(position.index).map(mount_text),
        _ => None,
    };
    match action {
        Action::Step => mount.unwrap_or_default(),
        Action::Target if matches!(position.step, Step::Masked | Step::Readonly | Step::ReadonlyMount) => {
            "open".into()
        }
        Action::Target if matches!(position.step, Step::Device | Step::DevLinks) => {
            "open or make its directory".into()
        }
        Action::Target => "make the mount point".into(),
        Action::Source => match plan.rootfs.mounts.get(position.index).map(|op| &op.action) {
            Some(MountAction::Bind { source, .. }) if position.step == Step::Mount => {
                format!("open source {}", source.to_string_lossy())
            }
            _ => "open the source".into(),
        },
        Action::Mount => mount.unwrap_or_else(|| "mount".into()),
        Action::Flags => "set mount flags".into(),
        Action::LockedFlags => format!("{}: cannot clear locked flags", mount.unwrap_or_default()),
        Action::LockedAccessTime => {
            format!("{}: cannot change the locked access time mode", mount.unwrap_or_default())
        }
        Action::Attach => format!("attach {}", mount.unwrap_or_else(|| "the mount".into())),
        Action::Propagation => "set propagation".into(),
        Action::Root => "pivot_root".into(),
        Action::Owner => "change the owner".into(),
        Action::Open => "open".into(),
        Action::Write => "write".into(),
        Action::CopyUp => "copy what the directory holds into the tmpfs".into(),
        Action::Label => "set the label of linux.mountLabel".into(),
        Action::Join => "enter the namespace".into(),
        _ => "check".into(),
    }
}

fn doing_terminal(action: Action) -> &'static str {
    match action {
        Action::Open => "open /dev/pts/ptmx",
        Action::NotDevpts => "check",
        Action::Target => "open or make /dev/console",
        Action::Source | Action::Attach => "bind the terminal on /dev/console",
        Action::Send => "--console-socket: send the terminal",
        _ => "make a terminal",
    }
}

/// What mounting `op` is called.
pub fn mount_text(op: &MountOp) -> String {
    match &op.action {
        MountAction::Fresh { fstype, source, data, .. } => {
            let data = data.as_ref().map(|data| format!(" with data {:?}", data.to_string_lossy()));
            let (fstype, source) = (fstype.to_string_lossy(), source.to_string_lossy());
            format!("error mounting {fstype} from {source:?}{}", data.unwrap_or_default())
        }
        MountAction::Bind { source, .. } => format!("error mounting {:?}", source.to_string_lossy()),
        MountAction::CgroupV1 { .. } | MountAction::CgroupV2 { .. } => "error mounting cgroup".into(),
        MountAction::Remount { .. } | MountAction::Attributes { .. } => "error remounting".into(),
    }
}

/// Actions that say more than an errno could.
fn broken_rule(action: Action) -> Option<&'static str> {
    Some(match action {
        Action::Plain => "must be mounted on ordinary directory",
        Action::NotProcfs => "cannot be mounted because it is not of type proc",
        Action::OverProc => "cannot be mounted because it is inside /proc",
        Action::Occupied => "something else is there already",
        Action::NotNull => "/dev/null is not the null device (character device 1:3)",
        Action::NotDevpts => "/dev/pts/ptmx is not that of a devpts file system",
        Action::Outside => "current working directory is outside of container mount namespace root",
        _ => return None,
    })
}

fn hint(plan: &Plan, position: Position, action: Action, errno: Errno) -> Option<&'static str> {
    let fresh_with_data = matches!(
        plan.rootfs.mounts.get(position.index).map(|op| &op.action),
        Some(MountAction::Fresh { data: Some(_), .. })
    );
    match (position.step, action, errno) {
        (Step::Mount, Action::Mount, Errno::INVAL) if fresh_with_data => {
            Some("does the file system know all of these options?")
        }
        (Step::Mount, Action::LockedFlags | Action::LockedAccessTime, _) => {
            Some("the user namespace got the mount as it is: leave that option out")
        }
        (Step::Mount, Action::Source, Errno::INVAL) => {
            Some("unbindable, or a mount below it that a user namespace must not uncover: try rbind")
        }
        (Step::Mount, Action::Mount, Errno::PERM) if plan.namespaces.in_user_namespace() => Some(
            "a user namespace can mount only a few types, and some of them only in namespaces of its own",
        ),
        (Step::Root, Action::Propagation, Errno::INVAL) => {
            Some("the current root is no mount point (a chroot): bind it on itself before")
        }
        (Step::Pivot, Action::Root, Errno::INVAL) => {
            Some("the current root can't be pivoted away: an initramfs? use --no-pivot")
        }
        (Step::Mount, Action::Mount, Errno::NODEV) => Some("the kernel has no file system of this type"),
        (Step::Mount, Action::Attach, Errno::NOTDIR) => {
            Some("source and destination must both be directories or both be files")
        }
        (_, Action::CopyUp, Errno::NOSPC) => Some("the tmpfs is too small for it: see size= and nr_inodes="),
        (_, Action::CopyUp, Errno::LOOP) => Some("its directories are nested too deep"),
        (_, Action::CopyUp, Errno::PERM) => Some("device nodes can't be made in a user namespace"),
        (Step::Terminal, Action::Open, Errno::NOENT) => Some("mount a devpts at /dev/pts"),
        (Step::Terminal, Action::Open, Errno::NOSPC) => {
            Some("the limit in /proc/sys/kernel/pty/max is reached")
        }
        (Step::Terminal, Action::Target, Errno::LOOP) => Some("it is a symbolic link"),
        (Step::LandlockPath, Action::Open, Errno::NOENT) => {
            Some("\"mode\": \"best-effort\" passes over what is not there")
        }
        (Step::Landlock, _, Errno::PERM) => Some("it takes process.noNewPrivileges or CAP_SYS_ADMIN"),
        (Step::Join, ..) => join_hint(errno),
        (Step::Enter, _, Errno::SRCH) => Some("the container has ended"),
        (Step::Enter, _, Errno::PERM) => Some("was the container made by another user?"),
        (Step::UserNamespace, _, Errno::INVAL) => {
            Some("root and the user of process.user are both unmapped in it")
        }
        (Step::Ids | Step::Groups, _, Errno::INVAL) => Some("the id is unmapped in the user namespace"),
        (Step::Groups, _, Errno::PERM) => Some("cannot set any additional groups in a rootless container"),
        (Step::IoPriority, _, Errno::PERM) => Some("IOPRIO_CLASS_RT takes CAP_SYS_NICE"),
        (Step::MemoryPolicy, _, Errno::INVAL) => {
            Some("the kernel lacks this mode, or a node is not there or not allowed by the cgroup's cpuset")
        }
        (Step::MemoryPolicy, _, Errno::NOSYS) => Some("the kernel has no NUMA"),
        (Step::Rlimit, _, Errno::PERM) => Some("raising a hard limit takes CAP_SYS_RESOURCE"),
        (Step::AppArmor, _, Errno::NOENT) => {
            Some("it is not loaded: apparmor_parser -r FILE loads it, aa-status names those that are")
        }
        (Step::AppArmor, _, Errno::ACCESS | Errno::PERM) => {
            Some("the runtime's own AppArmor profile does not allow the change")
        }
        (Step::Selinux, _, Errno::INVAL) => Some("the loaded policy has no such context"),
        (Step::Selinux, _, Errno::ACCESS) => Some("the policy does not allow the transition"),
        (Step::Seccomp, _, errno) => filter_hint(errno),
        (Step::Sysctl, _, Errno::NOENT) => Some("the kernel has no such parameter"),
        _ => None,
    }
}

/// Why the kernel refuses a filter (seccomp(2)).
pub fn filter_hint(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::ACCESS => Some("without process.noNewPrivileges it takes CAP_SYS_ADMIN"),
        Errno::INVAL => Some("the kernel has no seccomp, or the program is not valid"),
        Errno::AGAIN => Some("a listener takes one thread more: see pids.limit and RLIMIT_NPROC"),
        Errno::BUSY => Some("a filter around the runtime has a listener, and a process can have but one"),
        _ => None,
    }
}

/// The texts that callers turn into exit codes 126 and 127 (features.md E4 to E7).
fn program_missing(plan: &Plan, action: Action, errno: Errno) -> Error {
    let name = plan.process.args.as_slice().first().map(|name| name.to_string_lossy()).unwrap_or_default();
    let text = match action {
        Action::NotFound => format!("exec: {name:?}: executable file not found in $PATH"),
        // runc before 1.2 said "permission denied", and callers of its time know 126 by that alone.
        Action::IsDirectory => format!("exec: {name:?}: is a directory: permission denied"),
        Action::Open => format!("exec: {name:?}: stat {name}: {}", errno_text(&errno.into())),
        _ => format!("exec: {name:?}: {}", errno_text(&errno.into())),
    };
    Error::new(Kind::Program, text)
}

/// A hook that init ran, with what it said.
pub fn hook_failed(position: Position, text: &str) -> Error {
    let kind = if position.step == Step::CreateContainer { "createContainer" } else { "startContainer" };
    Error::new(Kind::System, format!("error running {kind} hook #{}: {text}", position.index))
}

/// A failed execve(2) that init could not tell of, for its filter.
pub fn exec_failed_silently(plan: &Plan, errno: usize) -> Error {
    let errno = Errno::from_raw_os_error(i32::try_from(errno).unwrap_or(0));
    let name = plan.process.args.as_slice().first().map(|name| name.to_string_lossy()).unwrap_or_default();
    exec_failed(&name, errno)
}

/// A failed execve(2), with its likely cause.
pub fn exec_failed(path: &str, errno: Errno) -> Error {
    let error = Error::new(Kind::Program, format!("exec {path}: {}", errno_text(&errno.into())));
    match errno {
        Errno::NOENT => {
            error.hint("its interpreter is missing in the container: see after #! or run ldd on it")
        }
        Errno::NOEXEC => {
            error.hint("not a program, or one for another processor; a script needs #! in its first line")
        }
        Errno::ACCESS => {
            error.hint("is it on a mount with noexec, or not among execute of org.davit.landlock?")
        }
        _ => error,
    }
}

/// A failed setns(2).
pub fn join_failed(join: &Join, errno: Errno) -> Error {
    let path = join.path.to_string_lossy();
    let error = Error::system(
        format_args!("linux.namespaces[{}]: join {} namespace {path}", join.index, name(join.kind)),
        errno,
    );
    match join_hint(errno) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn join_hint(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => "the path is not a namespace of this type",
        Errno::PERM => {
            "it belongs to a user namespace over which neither the runtime nor the container has rights"
        }
        _ => return None,
    })
}

/// A failed clone3(2).
pub fn clone_failed(errno: Errno, plan: &Plan) -> Error {
    let namespaces = &plan.namespaces;
    if errno == Errno::INVAL
        && let Some(kind) = missing_type(namespaces, |file| std::fs::exists(file).unwrap_or(true))
    {
        return not_enabled(kind);
    }
    let error = Error::system("make init in its namespaces", errno);
    match errno {
        Errno::PERM if namespaces.id_maps.is_some() => {
            error.hint("are user namespaces enabled? see sysctl kernel.unprivileged_userns_clone")
        }
        Errno::PERM => error.hint("making namespaces takes root or a user namespace"),
        Errno::NOSPC => error.hint("a limit in /proc/sys/user/max_*_namespaces is reached"),
        Errno::INVAL => error.hint("a namespace type of linux.namespaces isn't enabled in the kernel"),
        Errno::NOENT | Errno::NODEV => error.hint("somebody has removed its cgroup meanwhile"),
        // cgroups(7): who moves a process needs to write to cgroup.procs of the common ancestor, too.
        Errno::ACCESS => error.hint(
            "init may not be moved into its cgroup: run davit inside of the cgroup that is delegated to this user, for instance by \
             systemd-run --user --scope -p Delegate=yes",
        ),
        _ => error,
    }
}

/// A failed clone3(2) for a process that joins a container.
pub fn exec_clone_failed(errno: Errno) -> Error {
    let error = Error::system("make a process in the container", errno);
    match errno {
        Errno::AGAIN => error.hint("is linux.resources.pids.limit reached?"),
        // alloc_pid: the init of the pid namespace has ended.
        Errno::NOMEM | Errno::NODEV | Errno::NOENT => error.hint("the container may just have ended"),
        Errno::BUSY => error.hint("its cgroup has passed controllers on, so it can't have processes itself"),
        Errno::OPNOTSUPP => error.hint("its cgroup is threaded"),
        Errno::ACCESS | Errno::PERM => error.hint("it may not be moved into the container's cgroup"),
        _ => error,
    }
}

/// The first type of namespace to be made that has no file below /proc/self/ns.
fn missing_type(namespaces: &NamespacePlan, exists: impl Fn(&str) -> bool) -> Option<LinuxNamespaceType> {
    use LinuxNamespaceType::{Ipc, Mount, Network, Pid, Time, User, Uts};
    let types = [
        (User, "user"),
        (Time, "time"),
        (Pid, "pid"),
        (Network, "net"),
        (Ipc, "ipc"),
        (Uts, "uts"),
        (Mount, "mnt"),
    ];
    let made = |kind| namespaces.clone_flags & flag(kind) != 0;
    let missing = |file: &str| !exists(&format!("/proc/self/ns/{file}"));
    types.into_iter().find(|(kind, file)| made(*kind) && missing(file)).map(|(kind, _)| kind)
}

/// N13.
fn not_enabled(kind: LinuxNamespaceType) -> Error {
    Error::config("linux.namespaces", format_args!("{} namespaces aren't enabled in the kernel", name(kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [N13]
    #[test]
    fn the_missing_type_is_named() {
        let plan = NamespacePlan {
            clone_flags: flag(LinuxNamespaceType::User) | flag(LinuxNamespaceType::Time),
            ..NamespacePlan::default()
        };
        let without = |gone: &'static str| missing_type(&plan, move |file| !file.ends_with(gone));
        assert_eq!(without("/user"), Some(LinuxNamespaceType::User));
        assert_eq!(without("/time"), Some(LinuxNamespaceType::Time));
        assert_eq!(without("/net"), None);
        let text = not_enabled(LinuxNamespaceType::Time).to_string();
        assert_eq!(text, "linux.namespaces: time namespaces aren't enabled in the kernel");
    }
}
