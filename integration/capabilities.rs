//! Capabilities and no_new_privs: what /proc/PID/status says of a program is what capabilities(7) promises for it.

use crate::support::*;
use rustix::fs::XattrFlags;
use std::os::unix::fs::{PermissionsExt, chown};

const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const RAW: u64 = 1 << 13;
const NONE: Sets = Sets { bounding: 0, effective: 0, permitted: 0, inheritable: 0, ambient: 0 };
/// CAP_CHOWN and CAP_KILL, as engines give them: three sets, nothing to inherit.
const USUAL: Sets = Sets { bounding: CHOWN | KILL, effective: CHOWN | KILL, permitted: CHOWN | KILL, ..NONE };
/// Nothing is held, but a program may gain.
const BOUND: Sets = Sets { bounding: CHOWN | KILL, ..NONE };
/// And CAP_CHOWN survives execve by itself.
const AMBIENT: Sets = Sets { inheritable: CHOWN, ambient: CHOWN, ..USUAL };

/// The five sets, as bit masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sets {
    bounding: u64,
    effective: u64,
    permitted: u64,
    inheritable: u64,
    ambient: u64,
}

impl Sets {
    fn of_process(pid: i32) -> Self {
        let set = |name: &str| u64::from_str_radix(&host::status_line(pid, name), 16).unwrap();
        Self {
            bounding: set("CapBnd"),
            effective: set("CapEff"),
            permitted: set("CapPrm"),
            inheritable: set("CapInh"),
            ambient: set("CapAmb"),
        }
    }

    fn to_json(self) -> Value {
        let names = |set: u64| -> Vec<&str> {
            let known = [(CHOWN, "CAP_CHOWN"), (KILL, "CAP_KILL"), (RAW, "CAP_NET_RAW")];
            known.iter().filter(|(bit, _)| set & bit != 0).map(|(_, name)| *name).collect()
        };
        json!({ "bounding": names(self.bounding), "effective": names(self.effective),
                "permitted": names(self.permitted), "inheritable": names(self.inheritable),
                "ambient": names(self.ambient) })
    }
}

/// The file that is executed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum File {
    Plain,
    /// Mode 4755, of the container's root.
    Setuid,
    /// File capabilities (`struct vfs_cap_data`): permitted, inheritable, the effective bit.
    Caps(u64, u64, bool),
}

/// One row: what config.json asks for, and what the program then has.
struct Row {
    what: &'static str,
    uid: u32,
    user_namespace: bool,
    no_new_privs: bool,
    filter: bool,
    file: File,
    given: Sets,
    wanted: Sets,
    /// The effective user id, in the container.
    euid: u32,
}

impl Row {
    const fn new(what: &'static str, uid: u32, given: Sets, wanted: Sets) -> Self {
        Self {
            what,
            uid,
            user_namespace: false,
            no_new_privs: false,
            filter: false,
            file: File::Plain,
            given,
            wanted,
            euid: uid,
        }
    }

    const fn file(self, file: File) -> Self {
        Self { file, ..self }
    }

    /// With the program's effective user id.
    const fn euid(self, euid: u32) -> Self {
        Self { euid, ..self }
    }

    const fn no_new_privs(self) -> Self {
        Self { no_new_privs: true, ..self }
    }

    const fn filter(self) -> Self {
        Self { filter: true, ..self }
    }

    const fn inside(self) -> Self {
        Self { user_namespace: true, ..self }
    }
}

const ROOT_ROWS: &[Row] = &[
    Row::new("root has what is bounded", 0, USUAL, USUAL),
    Row::new("root regains what it only may gain", 0, BOUND, USUAL),
    Row::new("but not under no_new_privs", 0, BOUND, BOUND).no_new_privs(),
    Row::new("no_new_privs takes nothing from root", 0, USUAL, USUAL).no_new_privs(),
    Row::new("with a filter", 0, USUAL, USUAL).filter(),
    Row::new("with a filter, under no_new_privs", 0, USUAL, USUAL).filter().no_new_privs(),
    Row::new("nothing", 0, NONE, NONE),
    Row::new(
        "what is permitted beyond the bounds is gone",
        0,
        Sets { bounding: CHOWN, ..USUAL },
        Sets { bounding: CHOWN, permitted: CHOWN, effective: CHOWN, ..NONE },
    ),
    Row::new("ambient stays ambient", 0, AMBIENT, AMBIENT),
    Row::new("effective is no limit for root", 0, Sets { effective: 0, ..USUAL }, USUAL),
];

const USER_ROWS: &[Row] = &[
    Row::new("a user has nothing", 1000, USUAL, BOUND),
    Row::new(
        "inheritable alone gives nothing",
        1000,
        Sets { inheritable: CHOWN, ..USUAL },
        Sets { inheritable: CHOWN, ..BOUND },
    ),
    Row::new(
        "ambient is had",
        1000,
        AMBIENT,
        Sets { inheritable: CHOWN, ambient: CHOWN, permitted: CHOWN, effective: CHOWN, ..BOUND },
    ),
    Row::new(
        "ambient under no_new_privs",
        1000,
        AMBIENT,
        Sets { inheritable: CHOWN, ambient: CHOWN, permitted: CHOWN, effective: CHOWN, ..BOUND },
    )
    .no_new_privs(),
    Row::new(
        "ambient with a filter",
        1000,
        AMBIENT,
        Sets { inheritable: CHOWN, ambient: CHOWN, permitted: CHOWN, effective: CHOWN, ..BOUND },
    )
    .filter(),
    Row::new("ambient needs inheritable", 1000, Sets { ambient: CHOWN, ..USUAL }, BOUND),
    Row::new("a user with a filter", 1000, USUAL, BOUND).filter(),
];

const SETUID_ROWS: &[Row] = &[
    Row::new("a setuid program", 1000, USUAL, USUAL).file(File::Setuid).euid(0),
    Row::new("a setuid program gains what is bounded", 1000, BOUND, USUAL).file(File::Setuid).euid(0),
    Row::new("a setuid program without bounds", 1000, NONE, NONE).file(File::Setuid).euid(0),
    Row::new("a setuid program under no_new_privs", 1000, USUAL, BOUND).file(File::Setuid).no_new_privs(),
    Row::new("a setuid program ends what is ambient", 1000, AMBIENT, Sets { inheritable: CHOWN, ..USUAL })
        .file(File::Setuid)
        .euid(0),
];

const HAS_CHOWN: Sets = Sets { permitted: CHOWN, effective: CHOWN, ..BOUND };

const FILE_ROWS: &[Row] = &[
    Row::new("file capabilities", 1000, BOUND, HAS_CHOWN).file(File::Caps(CHOWN, 0, true)),
    Row::new("file capabilities of a silent program", 1000, BOUND, Sets { effective: 0, ..HAS_CHOWN })
        .file(File::Caps(CHOWN | RAW, 0, false)),
    Row::new("file capabilities under no_new_privs", 1000, BOUND, BOUND)
        .file(File::Caps(CHOWN, 0, true))
        .no_new_privs(),
    Row::new("file capabilities that are held already, under no_new_privs", 1000, USUAL, HAS_CHOWN)
        .file(File::Caps(CHOWN, 0, true))
        .no_new_privs(),
    Row::new(
        "inheritable on both sides",
        1000,
        Sets { inheritable: CHOWN, ..BOUND },
        Sets { inheritable: CHOWN, ..HAS_CHOWN },
    )
    .file(File::Caps(0, CHOWN, true)),
    Row::new(
        "file capabilities end what is ambient",
        1000,
        AMBIENT,
        Sets { inheritable: CHOWN, permitted: KILL, effective: KILL, ..BOUND },
    )
    .file(File::Caps(KILL, 0, true)),
    Row::new("file capabilities for root are those of the file", 0, USUAL, USUAL)
        .file(File::Caps(CHOWN, 0, true)),
];

const INSIDE_ROWS: &[Row] = &[
    Row::new("root of a user namespace", 0, USUAL, USUAL).inside(),
    Row::new("with what it only may gain", 0, BOUND, USUAL).inside(),
    Row::new("under no_new_privs", 0, BOUND, BOUND).inside().no_new_privs(),
    Row::new("with a filter", 0, USUAL, USUAL).inside().filter(),
    Row::new("a user of a user namespace", 1000, USUAL, BOUND).inside(),
    Row::new(
        "with ambient capabilities",
        1000,
        AMBIENT,
        Sets { inheritable: CHOWN, ambient: CHOWN, ..HAS_CHOWN },
    )
    .inside(),
    Row::new("with a setuid program", 1000, BOUND, USUAL).inside().file(File::Setuid).euid(0),
    Row::new("with a setuid program, under no_new_privs", 1000, BOUND, BOUND)
        .inside()
        .file(File::Setuid)
        .no_new_privs(),
    Row::new("with file capabilities", 1000, BOUND, HAS_CHOWN).inside().file(File::Caps(CHOWN, 0, true)),
    Row::new("ambient that is not inheritable", 1000, Sets { ambient: CHOWN, ..USUAL }, BOUND).inside(),
];

/// The host's id of the container's root in a user namespace of [`Config::user_namespace`].
const INSIDE_ROOT: u32 = 100_000;

/// `struct vfs_ns_cap_data` (linux/capability.h), revision 3, as setcap(8) writes it.
fn file_capabilities(permitted: u64, inheritable: u64, effective: bool, root: u32) -> Vec<u8> {
    let half = |set: u64, number: u32| u32::try_from(set >> (32 * number) & 0xffff_ffff).unwrap();
    let words = [
        0x0300_0000 | u32::from(effective),
        half(permitted, 0),
        half(inheritable, 0),
        half(permitted, 1),
        half(inheritable, 1),
        root,
    ];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A container whose program waits, as the row asks for; None where the program can't be built.
fn container(row: &Row) -> Option<Test> {
    let mut t = Test::new();
    t.probe().then_some(())?;
    let program = t.rootfs.join("probe");
    let root = if row.user_namespace { INSIDE_ROOT } else { 0 };
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    match row.file {
        File::Plain => {}
        File::Setuid => {
            chown(&program, Some(root), Some(root)).unwrap();
            std::fs::set_permissions(&program, PermissionsExt::from_mode(0o4755)).unwrap();
        }
        File::Caps(permitted, inheritable, effective) => {
            let data = file_capabilities(permitted, inheritable, effective, root);
            rustix::fs::setxattr(&program, "security.capability", &data, XattrFlags::empty()).unwrap();
        }
    }
    if row.user_namespace {
        t.config.user_namespace();
    }
    if row.filter {
        t.config.set(
            "linux.seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": ["reboot"], "action": "SCMP_ACT_ERRNO" }] }),
        );
    }
    t.config
        .set("process.user", json!({ "uid": row.uid, "gid": row.uid }))
        .set("process.capabilities", row.given.to_json())
        .set("process.noNewPrivileges", row.no_new_privs);
    // pause(2)
    t.args(&["/probe", "34"]);
    Some(t)
}

/// What the program of the running container has: sets, effective user id in the container, no_new_privs, filter.
fn seen(row: &Row, pid: i32) -> (Sets, u32, bool, bool) {
    let comm = format!("/proc/{pid}/comm");
    host::wait_until("the program runs", || {
        std::fs::read_to_string(&comm).is_ok_and(|name| name == "probe\n")
    });
    let ids = host::status_line(pid, "Uid");
    let euid: u32 = ids.split_whitespace().nth(1).unwrap().parse().unwrap();
    let root = if row.user_namespace { INSIDE_ROOT } else { 0 };
    let no_new_privs = host::status_line(pid, "NoNewPrivs") == "1";
    (Sets::of_process(pid), euid - root, no_new_privs, host::status_line(pid, "Seccomp") == "2")
}

/// Runs the rows, under runc too where it is installed.
fn check(rows: &[Row]) {
    let runc = "/usr/sbin/runc";
    let compare = davit_only() && std::path::Path::new(runc).exists();
    for row in rows {
        let wanted = (row.wanted, row.euid, row.no_new_privs, row.filter);
        let Some(t) = container(row) else { return skip(probe::WHY) };
        t.bundle_cmd("run", &["--detach"]).output().code(0);
        assert_eq!(seen(row, t.pid()), wanted, "{}", row.what);
        // A further process has what the first one has.
        let pid_file = t.path("pid-of-exec");
        t.cmd(&["exec", "--detach", "--pid-file", &pid_file, &t.id, "/probe", "34"]).output().code(0);
        let pid = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
        assert_eq!(seen(row, pid), wanted, "exec: {}", row.what);
        // Init can't end before this process, its parent now, has reaped it.
        host::kill(pid);
        host::wait_until("it is reaped", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
        if compare {
            let Some(t) = container(row) else { unreachable!("it was built") };
            t.write();
            let (root, bundle, pid_file) =
                (t.path("runc"), t.bundle.to_str().unwrap(), t.path("pid-of-runc"));
            let runs = ["--root", &root, "run", "-d", "--bundle", bundle, "--pid-file", &pid_file, &t.id];
            Cmd::new(&t.dir, [runc]).args(runs).output().code(0);
            let pid = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
            assert_eq!(seen(row, pid), wanted, "runc: {}", row.what);
            Cmd::new(&t.dir, [runc]).args(["--root", &root, "delete", "--force", &t.id]).output().code(0);
        }
    }
}

/// [P11] [P12] [P15] [Z9] root: bounded, ambient, with and without no_new_privs, with a filter.
#[test]
fn of_root() {
    check(ROOT_ROWS);
}

/// [P11] [P12] [P15] [Z9] another user: only ambient capabilities are left.
#[test]
fn of_a_user() {
    check(USER_ROWS);
}

/// [P11] [P15] a setuid program gains up to the bounding set, and nothing under no_new_privs.
#[test]
fn of_a_setuid_program() {
    check(SETUID_ROWS);
}

/// [P11] [P15] file capabilities, up to the bounding set, and nothing new under no_new_privs.
#[test]
fn of_a_file_with_capabilities() {
    check(FILE_ROWS);
}

/// [P11] [P12] [P15] [Z9] the same in a user namespace.
#[test]
fn in_a_user_namespace() {
    check(INSIDE_ROWS);
}

/// [P11] a program that needs a capability beyond the bounding set is not executed (capabilities(7), "Safety checking").
#[test]
fn a_file_that_needs_more() {
    let row = Row::new("", 1000, BOUND, BOUND).file(File::Caps(CHOWN | RAW, 0, true));
    let Some(t) = container(&row) else { return skip(probe::WHY) };
    t.run().fails(1, "operation not permitted").says("/probe");
    t.assert_clean();
}

/// [P11] file capabilities that the root of neither this nor an outer user namespace has given do not count.
#[test]
fn of_a_file_of_another_root() {
    let row = Row::new("", 1000, BOUND, BOUND).inside();
    let Some(t) = container(&row) else { return skip(probe::WHY) };
    let data = file_capabilities(CHOWN, 0, true, 2 * INSIDE_ROOT);
    rustix::fs::setxattr(t.rootfs.join("probe"), "security.capability", &data, XattrFlags::empty()).unwrap();
    t.detach();
    assert_eq!(seen(&row, t.pid()), (row.wanted, 1000, false, false));
}
