//! `info`: what this host offers containers, and what it lacks (features.md Y1). `features` tells what the build can do.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::output::print;
use crate::cgroups::{Host, Layout, systemd::Manager};
use crate::cli::{self, Global, PlanFormat};
use crate::error::{Context, Error, Kind, Result};
use crate::plan::process::capability_name;
use crate::rootfs::{idmap, label};
use crate::sys::credentials::permitted_capabilities;

/// All that is found, in the order in which it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    version: &'static str,
    commit: &'static str,
    oci_version: &'static str,
    root: PathBuf,
    kernel: String,
    machine: String,
    user: User,
    cgroup: Cgroup,
    /// Those that this kernel has, by their names in config.json.
    namespaces: Vec<&'static str>,
    lsm: Lsm,
    /// The kernel's names of what a filter may say; empty without seccomp.
    seccomp_actions: Vec<String>,
    /// Types of file systems that can be id-mapped.
    idmap_filesystems: Vec<&'static str>,
    programs: Vec<Program>,
    missing: Vec<Missing>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct User {
    uid: u32,
    /// Another one than the host's.
    user_namespace: bool,
    capabilities: Vec<String>,
    /// Of those that the kernel knows.
    lacking: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    /// `v1`, `hybrid`, `v2`, or `none`.
    layout: &'static str,
    controllers: Vec<String>,
    own: Option<PathBuf>,
    systemd: bool,
}

#[derive(Serialize)]
struct Lsm {
    active: Vec<String>,
    apparmor: bool,
    selinux: &'static str,
}

/// A program that is used where there is need of it.
#[derive(Serialize)]
struct Program {
    name: &'static str,
    path: Option<PathBuf>,
}

/// What can't be used.
#[derive(Serialize)]
struct Missing {
    what: &'static str,
    why: String,
}

/// Prints it as text or as JSON.
///
/// # Errors
/// `/proc` can't be read.
pub fn run(global: &Global, format: PlanFormat) -> Result<i32> {
    let info = find(global)?;
    let text = match format {
        PlanFormat::Text => info.to_text(),
        PlanFormat::Json => {
            serde_json::to_string_pretty(&info)
                .map_err(|error| Error::new(Kind::System, format!("info: {error}")))?
                + "\n"
        }
    };
    print(text.as_bytes())?;
    Ok(0)
}

fn find(global: &Global) -> Result<Info> {
    let uname = rustix::system::uname();
    let kernel = uname.release().to_string_lossy().into_owned();
    let user = user()?;
    let mut missing = Vec::new();
    let cgroup = cgroup(&user, &mut missing);
    let mut info = Info {
        version: env!("CARGO_PKG_VERSION"),
        commit: cli::commit(),
        oci_version: cli::SPEC_VERSION,
        root: global.state_root().path,
        idmap_filesystems: idmap::capable_types(&kernel),
        kernel,
        machine: uname.machine().to_string_lossy().into_owned(),
        user,
        cgroup,
        namespaces: namespaces(),
        lsm: lsm(),
        seccomp_actions: words("/proc/sys/kernel/seccomp/actions_avail", ' '),
        programs: ["newuidmap", "newgidmap", "ps", "criu"].into_iter().map(program).collect(),
        missing,
    };
    info.look_for_more();
    Ok(info)
}

fn user() -> Result<User> {
    let have = permitted_capabilities().context("read the own capabilities")?;
    let last = read("/proc/sys/kernel/cap_last_cap").and_then(|text| text.parse::<u8>().ok()).unwrap_or(40);
    let named = |held: bool| -> Vec<String> {
        let numbers = (0..=last.min(63)).filter(|number| (have >> number & 1 == 1) == held);
        numbers.map(capability_name).collect()
    };
    Ok(User {
        uid: rustix::process::geteuid().as_raw(),
        user_namespace: cli::in_user_namespace(),
        capabilities: named(true),
        lacking: named(false),
    })
}

fn cgroup(user: &User, missing: &mut Vec<Missing>) -> Cgroup {
    let rootless = user.uid != 0 || user.user_namespace;
    let manager = Manager::find(rootless);
    let systemd = manager.is_ok();
    if let Err(error) = manager {
        missing.push(Missing { what: "systemd as cgroup manager", why: last_part(&error) });
    }
    let Host { layout, own_v2 } = match Layout::detect() {
        Ok(host) => host,
        Err(error) => {
            missing.push(Missing { what: "cgroups", why: error.to_string() });
            return Cgroup { layout: "none", controllers: Vec::new(), own: None, systemd };
        }
    };
    match layout {
        Layout::V2 { mount } => {
            let controllers = words(mount.join("cgroup.controllers"), ' ');
            Cgroup { layout: "v2", controllers, own: Some(own_v2), systemd }
        }
        Layout::V1 { hierarchies, unified } => {
            let own = hierarchies.first().map(|hierarchy| hierarchy.own.clone());
            let names = hierarchies.iter().flat_map(|hierarchy| hierarchy.controllers.split(','));
            let controllers = names.filter(|name| !name.starts_with("name=")).map(str::to_string).collect();
            let layout = if unified.is_some() { "hybrid" } else { "v1" };
            Cgroup { layout, controllers, own, systemd }
        }
    }
}

/// What the error says last, the cause.
fn last_part(error: &Error) -> String {
    let text = error.to_string();
    text.strip_prefix("systemd cgroup flag passed, but ").map_or(text.clone(), str::to_string)
}

/// The kernel's name, and that of config.json.
const NAMESPACES: [(&str, &str); 8] = [
    ("cgroup", "cgroup"),
    ("ipc", "ipc"),
    ("mnt", "mount"),
    ("net", "network"),
    ("pid", "pid"),
    ("time", "time"),
    ("user", "user"),
    ("uts", "uts"),
];

fn namespaces() -> Vec<&'static str> {
    let there = |file: &str| Path::new("/proc/self/ns").join(file).exists();
    NAMESPACES.iter().filter(|(file, _)| there(file)).map(|(_, name)| *name).collect()
}

fn lsm() -> Lsm {
    let enforcing = read("/sys/fs/selinux/enforce");
    Lsm {
        active: words("/sys/kernel/security/lsm", ','),
        apparmor: read("/sys/module/apparmor/parameters/enabled").is_some_and(|text| text == "Y"),
        selinux: match (label::enabled(), enforcing.as_deref()) {
            (false, _) => "off",
            (true, Some("1")) => "enforcing",
            (true, _) => "permissive",
        },
    }
}

fn program(name: &'static str) -> Program {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(name));
    let executable = |file: &PathBuf| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok();
    Program { name, path: found.filter(|file| file.is_file()).find(executable) }
}

/// A file of one line; none where it is not there.
fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim_end().to_string())
}

fn words(path: impl AsRef<Path>, separator: char) -> Vec<String> {
    let text = read(path).unwrap_or_default();
    text.split(separator).filter(|word| !word.is_empty()).map(str::to_string).collect()
}

impl Info {
    fn look_for_more(&mut self) {
        let mut lacks = |what, why: &str| self.missing.push(Missing { what, why: why.into() });
        for (_, name) in NAMESPACES.iter().filter(|(_, name)| !self.namespaces.contains(name)) {
            lacks(name, "this kind of namespace is not enabled in the kernel");
        }
        let user = self.user.uid != 0 && self.namespaces.contains(&"user");
        for (file, barrier) in [
            ("/proc/sys/user/max_user_namespaces", "0"),
            ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
            ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
        ] {
            let for_all = file.ends_with("max_user_namespaces");
            if read(file).is_some_and(|text| text == barrier) && (user || for_all) {
                lacks("user namespaces", &format!("{file} is {barrier}"));
            }
        }
        if self.seccomp_actions.is_empty() {
            lacks("seccomp", "it is not enabled in the kernel");
        }
        if !self.lsm.apparmor {
            lacks("AppArmor profiles", "AppArmor is not enabled");
        }
        if self.lsm.selinux == "off" {
            lacks("SELinux labels", "SELinux is not enabled");
        }
        if self.programs.iter().any(|program| program.name.starts_with("new") && program.path.is_none()) {
            lacks("more than one id for ordinary users", "newuidmap or newgidmap is not in $PATH");
        }
        if self.programs.iter().any(|program| program.name == "ps" && program.path.is_none()) {
            lacks("ps as a table", "ps is not in $PATH");
        }
        if !Path::new("/sys/fs/resctrl/schemata").exists() {
            lacks("linux.intelRdt", "resctrl is not mounted at /sys/fs/resctrl");
        }
    }

    fn to_text(&self) -> String {
        let list = |words: &[String]| if words.is_empty() { "none".into() } else { words.join(" ") };
        let user = &self.user;
        let capabilities = match (user.capabilities.len(), user.lacking.len()) {
            (_, 0) => "all capabilities".to_string(),
            (0, _) => "no capabilities".to_string(),
            (_, _) => format!("all capabilities but {}", user.lacking.join(" ")),
        };
        let place = if user.user_namespace { ", in a user namespace" } else { "" };
        let own = self.cgroup.own.as_deref().map(|own| format!("; davit is in {}", own.display()));
        let on = |on: bool| if on { "yes" } else { "no" };
        let rows = [
            ("davit", format!("{} (commit {}), OCI {}", self.version, self.commit, self.oci_version)),
            ("state", self.root.display().to_string()),
            ("kernel", format!("{} {}", self.kernel, self.machine)),
            ("user", format!("{}{place}, {capabilities}", user.uid)),
            (
                "cgroups",
                format!(
                    "{}: {}{}",
                    self.cgroup.layout,
                    list(&self.cgroup.controllers),
                    own.unwrap_or_default()
                ),
            ),
            ("systemd", format!("{} (as cgroup manager)", on(self.cgroup.systemd))),
            ("namespaces", self.namespaces.join(" ")),
            (
                "LSM",
                format!(
                    "{}; AppArmor: {}, SELinux: {}",
                    match self.lsm.active.is_empty() {
                        true => "unknown, as securityfs is not mounted".into(),
                        false => list(&self.lsm.active),
                    },
                    on(self.lsm.apparmor),
                    self.lsm.selinux
                ),
            ),
            ("seccomp", list(&self.seccomp_actions)),
            ("id maps", self.idmap_filesystems.join(" ")),
        ];
        let mut text = String::new();
        for (name, value) in rows {
            let _ = writeln!(text, "{name:<12}{value}");
        }
        for program in &self.programs {
            let path = program.path.as_ref().map_or("not in $PATH".into(), |path| path.display().to_string());
            let _ = writeln!(text, "{:<12}{path}", program.name);
        }
        for Missing { what, why } in &self.missing {
            let _ = writeln!(text, "{:<12}{what}: {why}", "missing");
        }
        text
    }
}
