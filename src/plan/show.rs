//! The plan as a list of steps, for `davit plan`.

use std::ffi::CStr;

use serde::Serialize;

use super::Plan;
use super::process::ProcessPlan;
use super::scheduling::Scheduling;
use crate::namespaces::{NamespacePlan, name};
use crate::rootfs::tree::{IdMap, MapNamespace, MountAction, MountOp};

/// One thing that will be done.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Shown {
    /// Who does it: `parent` or `init`.
    pub by: &'static str,
    /// What.
    pub action: String,
    /// On what, or with which value.
    pub detail: String,
    /// Where config.json asks for it; empty if it does not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
}

struct List(Vec<Shown>);

impl List {
    fn add(&mut self, by: &'static str, action: &str, detail: impl Into<String>, path: impl Into<String>) {
        self.0.push(Shown { by, action: action.into(), detail: detail.into(), path: path.into() });
    }
}

/// Everything that the plan does, in order.
pub fn steps(plan: &Plan) -> Vec<Shown> {
    let mut list = List(Vec::new());
    cgroup(plan, &mut list);
    if let Some(resctrl) = &plan.resctrl {
        let group = resctrl.clos_id.as_ref().unwrap_or(&resctrl.id);
        list.add("parent", "join resctrl group", group, "linux.intelRdt");
        for line in &resctrl.lines {
            list.add("parent", "set resctrl schema", &line.text, &line.path);
        }
        if resctrl.monitoring {
            list.add("parent", "make monitoring group", &resctrl.id, "linux.intelRdt.enableMonitoring");
        }
    }
    namespaces(&plan.namespaces, &mut list);
    if let Some(name) = &plan.hostname {
        list.add("init", "set host name", name, "hostname");
    }
    if let Some(name) = &plan.domainname {
        list.add("init", "set domain name", name, "domainname");
    }
    tree(plan, &mut list);
    for device in &plan.net_devices {
        let detail = match &device.new_name {
            Some(new_name) => format!("{} as {new_name}", device.name),
            None => device.name.clone(),
        };
        list.add("parent", "move network device", detail, device.path());
    }
    hooks(plan, &mut list);
    for sysctl in &plan.sysctl {
        list.add(
            "init",
            "set kernel parameter",
            format!("{} = {}", sysctl.key, sysctl.value),
            "linux.sysctl",
        );
    }
    scheduling(&plan.scheduling, &mut list);
    process(&plan.process, &mut list);
    landlock(plan, &mut list);
    if let Some(filter) = &plan.seccomp {
        let detail = format!("{} instructions, flags {:#x}", filter.instructions.len(), filter.flags);
        list.add("init", "load seccomp filter", detail, "linux.seccomp");
        if let Some(agent) = &plan.seccomp_agent {
            let detail = agent.path.display().to_string();
            list.add("parent", "pass its listener on", detail, "linux.seccomp.listenerPath");
        }
    }
    let args: Vec<_> = plan.process.args.as_slice().iter().map(|arg| text(arg)).collect();
    list.add("init", "execute", args.join(" "), "process.args");
    list.0
}

fn landlock(plan: &Plan, list: &mut List) {
    let Some(landlock) = &plan.landlock else { return };
    let place = |rest: String| format!("annotations[{:?}]{rest}", super::landlock::ANNOTATION);
    let handled = landlock.handled;
    let detail =
        format!("files {:#x}, ports {:#x}, scope {:#x}", handled.files, handled.ports, handled.scoped);
    list.add("init", "restrict by Landlock", detail, place(String::new()));
    for rule in &landlock.paths {
        let (member, at) = rule.origin;
        let detail = format!("{} of {}", member, text(&rule.path));
        list.add("init", "allow by Landlock", detail, place(format!(".{member}[{at}]")));
    }
    for (port, access) in &landlock.ports {
        let member = if *access == 1 { "bind" } else { "connect" };
        list.add(
            "init",
            "allow by Landlock",
            format!("{member} to TCP port {port}"),
            place(format!(".{member}")),
        );
    }
}

fn text(string: &CStr) -> String {
    string.to_string_lossy().into_owned()
}

fn cgroup(plan: &Plan, list: &mut List) {
    if let Some(scope) = &plan.cgroup.scope {
        let names: Vec<_> = scope.properties.iter().map(|property| property.name.as_str()).collect();
        let detail = format!("{} with {}", scope.unit.name, names.join(" "));
        list.add("parent", "start systemd unit", detail, "linux.cgroupsPath");
    }
    for directory in &plan.cgroup.directories {
        let hierarchy = if directory.controllers.is_empty() { "cgroup2" } else { &directory.controllers };
        let detail = format!("{} ({hierarchy})", directory.path.display());
        list.add("parent", "make cgroup", detail, "linux.cgroupsPath");
    }
    for write in &plan.cgroup.writes {
        let directory = plan.cgroup.directories.get(write.directory);
        let file = directory.map(|directory| directory.path.join(&*write.file)).unwrap_or_default();
        list.add("parent", "set limit", format!("{} = {}", file.display(), write.value), &*write.json_path);
    }
    if let Some(uid) = plan.cgroup.owner {
        list.add("parent", "give cgroup", format!("to uid {uid}"), "process.user.uid");
    }
    if let Some(below) = &plan.cgroup.delegate {
        let detail = format!("{} below it, with init in it", below.display());
        list.add("parent", "delegate cgroup", detail, "annotations[\"run.oci.delegate-cgroup\"]");
    }
    if plan.cgroup.devices.is_some() {
        list.add("parent", "set device rules", "", "linux.resources.devices");
    }
}

fn namespaces(plan: &NamespacePlan, list: &mut List) {
    let names = [
        (libc::CLONE_NEWUSER, "user"),
        (libc::CLONE_NEWNS, "mount"),
        (libc::CLONE_NEWPID, "pid"),
        (libc::CLONE_NEWNET, "network"),
        (libc::CLONE_NEWIPC, "ipc"),
        (libc::CLONE_NEWUTS, "uts"),
        (0x80, "time"),
    ];
    let mut made: Vec<_> =
        names.iter().filter(|(flag, _)| plan.makes(*flag)).map(|(_, name)| *name).collect();
    if plan.new_cgroup {
        made.push("cgroup");
    }
    if plan.time_offsets.is_some() {
        made.push("time");
    }
    list.add("parent", "make init in new namespaces", made.join(" "), "linux.namespaces");
    let first = plan.joins_before_user_namespace();
    for join in plan.join.iter().filter(|_| first).chain(&plan.join_pid).chain(&plan.join_user) {
        let detail = format!("{} {}", name(join.kind), text(&join.path));
        let by = if first { "go-between" } else { "parent" };
        list.add(by, "join namespace", detail, format!("linux.namespaces[{}]", join.index));
    }
    for join in plan.join.iter().filter(|_| !first) {
        let detail = format!("{} {}", name(join.kind), text(&join.path));
        list.add("init", "join namespace", detail, format!("linux.namespaces[{}]", join.index));
    }
    if let Some(maps) = &plan.id_maps {
        let by = |helper, program| if helper { program } else { "parent" };
        let lines = |text: &str| text.trim_end().replace('\n', ", ");
        if maps.deny_setgroups {
            list.add("parent", "deny setgroups", "", "linux.gidMappings");
        }
        list.add(by(maps.uid_helper, "newuidmap"), "map user ids", lines(&maps.uid), "linux.uidMappings");
        list.add(by(maps.gid_helper, "newgidmap"), "map group ids", lines(&maps.gid), "linux.gidMappings");
    }
    if let Some(offsets) = &plan.time_offsets {
        list.add("init", "set clocks", offsets.trim_end().replace('\n', ", "), "linux.timeOffsets");
    }
}

fn tree(whole: &Plan, list: &mut List) {
    let plan = &whole.rootfs;
    list.add("init", "prepare rootfs", text(&plan.path), "root.path");
    for (index, op) in plan.mounts.iter().enumerate() {
        let (action, detail) = mount(op);
        list.add("init", action, format!("/{} {detail}", text(&op.target)), whole.mount_origin(index));
        if let Some(id_map) = &op.id_map {
            list.add("parent", "map ids of the mount", id_mapping(id_map), whole.mount_origin(index));
        }
    }
    for node in &plan.devices {
        let (major, minor) = (rustix::fs::major(node.device), rustix::fs::minor(node.device));
        let path = node.index.map(|index| format!("linux.devices[{index}]")).unwrap_or_default();
        let detail = format!("/{} {major}:{minor} mode {:o}", text(&node.path), node.mode & 0o7777);
        list.add("init", "make device", detail, path);
    }
    if let Some(terminal) = &whole.process.terminal {
        let size = terminal.size.map(|(rows, columns)| format!("{rows} rows of {columns}"));
        list.add("init", "make terminal", size.unwrap_or_default(), "process.terminal");
        if terminal.console {
            list.add("init", "bind the terminal", "/dev/console", "process.terminal");
        }
    }
    for hidden in &plan.masked {
        list.add(
            "init",
            "mask",
            format!("/{}", text(&hidden.path)),
            format!("linux.maskedPaths[{}]", hidden.index),
        );
    }
    for hidden in &plan.readonly_paths {
        let path = format!("linux.readonlyPaths[{}]", hidden.index);
        list.add("init", "make read-only", format!("/{}", text(&hidden.path)), path);
    }
    if plan.readonly {
        list.add("init", "make read-only", "/", "root.readonly");
    }
    let how = match (plan.private, plan.no_pivot) {
        (false, _) => "chroot",
        (true, true) => "move the root over /",
        (true, false) => "pivot_root",
    };
    list.add("init", "change the root", how, "");
}

fn id_mapping(id_map: &IdMap) -> String {
    let how = if id_map.recursive { "recursively " } else { "" };
    match &id_map.namespace {
        MapNamespace::Joined => format!("{how}as the user namespace that is joined"),
        MapNamespace::Made { uid, gid } => {
            let line = |map: &str| map.trim_end().replace('\n', ", ");
            format!("{how}uids {} gids {}", line(uid), line(gid))
        }
    }
}

fn mount(op: &MountOp) -> (&'static str, String) {
    let flags = |flags: u64| format!("flags {flags:#x}");
    match &op.action {
        MountAction::Fresh { fstype, source, flags: bits, data, copy_up, .. } => {
            let data = data.as_deref().map(|data| format!(" data {}", text(data))).unwrap_or_default();
            let action = if *copy_up { "mount with what is there" } else { "mount" };
            (action, format!("{} from {} {}{data}", text(fstype), text(source), flags(*bits)))
        }
        MountAction::Bind { source, recursive, attributes, .. } => {
            let how = if *recursive { "recursively " } else { "" };
            (
                "bind",
                format!("{how}from {} set {:#x} clear {:#x}", text(source), attributes.set, attributes.clear),
            )
        }
        MountAction::CgroupV1 { hierarchies, flags: bits, .. } => {
            let names: Vec<_> = hierarchies.iter().map(|hierarchy| text(&hierarchy.name)).collect();
            ("mount cgroup v1", format!("{} {}", names.join(" "), flags(*bits)))
        }
        MountAction::CgroupV2 { flags: bits, .. } => ("mount cgroup v2", flags(*bits)),
        MountAction::Attributes { attributes, .. } => {
            ("remount", format!("set {:#x} clear {:#x}", attributes.set, attributes.clear))
        }
        MountAction::Remount { flags: bits, .. } => ("remount", flags(*bits)),
    }
}

fn hooks(plan: &Plan, list: &mut List) {
    for (kind, hooks) in plan.hooks.kinds() {
        let by = if matches!(kind, "createContainer" | "startContainer") { "init" } else { "parent" };
        for (index, hook) in hooks.iter().enumerate() {
            let path = format!("hooks.{kind}[{index}]");
            list.add(by, "run hook", hook.path().display().to_string(), path);
        }
    }
}

fn scheduling(plan: &Scheduling, list: &mut List) {
    if let Some(attr) = &plan.scheduler {
        let mut detail = format!("policy {} nice {} priority {}", attr.policy, attr.nice, attr.priority);
        if attr.runtime != 0 {
            let times = format!("{}/{}/{}", attr.runtime, attr.deadline, attr.period);
            detail.push_str(&format!(" runtime/deadline/period {times}"));
        }
        detail.push_str(&format!(" flags {:#x}", attr.flags));
        list.add("init", "set scheduler", detail, "process.scheduler");
    }
    if let Some(priority) = plan.io_priority {
        let detail = format!("class {} level {}", priority.0 >> 13, priority.0 & 7);
        list.add("init", "set I/O priority", detail, "process.ioPriority");
    }
    if let Some(persona) = plan.personality {
        list.add("init", "set personality", format!("{persona:#x}"), "linux.personality");
    }
    if let Some(policy) = &plan.memory_policy {
        let detail = format!("mode {:#x} nodes {:x?}", policy.mode, policy.nodes);
        list.add("init", "set memory policy", detail, "linux.memoryPolicy");
    }
    if plan.core_cookie {
        let path = format!("annotations[{:?}]", super::scheduling::CORE_ANNOTATION);
        list.add("init", "make core scheduling cookie", "", path);
    }
}

fn process(plan: &ProcessPlan, list: &mut List) {
    for (index, limit) in plan.rlimits.iter().enumerate() {
        let detail = format!("{:?} soft {} hard {}", limit.resource, limit.soft, limit.hard);
        list.add("init", "set resource limit", detail, format!("process.rlimits[{index}]"));
    }
    if let Some(score) = &plan.oom_score_adj {
        list.add("init", "set OOM score adjustment", score, "process.oomScoreAdj");
    }
    if plan.no_new_privileges {
        list.add("init", "set no_new_privs", "", "process.noNewPrivileges");
    }
    let groups: Vec<_> = plan.groups.iter().map(u32::to_string).collect();
    let detail =
        format!("uid {} gid {} groups {} umask {:04o}", plan.uid, plan.gid, groups.join(","), plan.umask);
    list.add("init", "become", detail, "process.user");
    let sets = &plan.capabilities;
    let detail = format!(
        "bounding {:#x} effective {:#x} permitted {:#x} inheritable {:#x} ambient {:#x}",
        sets.bounding, sets.effective, sets.permitted, sets.inheritable, sets.ambient
    );
    list.add("init", "set capabilities", detail, "process.capabilities");
    list.add("init", "change directory", text(&plan.cwd), "process.cwd");
}

/// For people: a line a step, in columns.
pub fn to_text(steps: &[Shown]) -> String {
    let mut lines = String::new();
    for step in steps {
        let line = format!("{:<7} {:<28} {}", step.by, step.action, step.detail);
        let line = line.trim_end();
        if step.path.is_empty() {
            lines.push_str(&format!("{line}\n"));
        } else {
            lines.push_str(&format!("{line}  [{}]\n", step.path));
        }
    }
    lines
}
