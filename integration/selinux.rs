//! SELinux labels of processes and of what the runtime makes. With SELinux the kernel's own word is compared, without it
//! the words. Run by `scripts/test-vm selinux`.

use crate::support::terminal::ConsoleSocket;
use crate::support::*;

const LABEL: &str = "system_u:object_r:container_file_t:s0:c1,c2";

/// The domain for containers of the virtual machine's policy (integration/vm).
const DOMAIN: &str = "system_u:system_r:container_t:s0:c1,c2";

fn selinux() -> bool {
    std::path::Path::new("/sys/fs/selinux/enforce").exists()
}

/// The label of a path in the container of that init.
#[track_caller]
fn mount_label(pid: i32, path: &str) -> String {
    let mut buffer = [0u8; 256];
    let path = format!("/proc/{pid}/root{path}");
    let length = rustix::fs::lgetxattr(&path, "security.selinux", &mut buffer).expect(&path);
    String::from_utf8_lossy(&buffer[..length]).trim_end_matches('\0').to_string()
}

/// [M44] [L4] tmpfs, its device nodes, devpts, shm, mqueue and a masked directory have the label; proc and sysfs have
/// those of the policy.
#[test]
fn mounts_are_labelled() {
    need!(selinux(), "SELinux is disabled");
    let mut t = Test::new();
    t.config.set("linux.mountLabel", LABEL).mount("/copied", "tmpfs", "tmpfs", &["tmpcopyup", "size=1m"]);
    // With a handle of its own, as propagation asks for.
    t.config.mount("/queues", "mqueue", "mqueue", &["rprivate"]);
    t.file("copied/file", "");
    t.sh("sleep 30");
    t.detach();
    let pid = t.pid();
    let label = |path: &str| mount_label(pid, path);
    for path in
        ["/dev", "/dev/null", "/dev/pts", "/dev/shm", "/dev/mqueue", "/queues", "/copied", "/copied/file"]
    {
        assert_eq!(label(path), LABEL, "{path}");
    }
    assert_eq!(label("/proc/acpi"), LABEL, "a masked directory");
    for path in ["/proc", "/sys"] {
        assert_ne!(label(path), LABEL, "{path}");
    }
}

/// [L4] [F1] so has a terminal, by its devpts, and /dev/console, which is bound to it.
#[test]
fn the_terminal_is_labelled() {
    need!(selinux(), "SELinux is disabled");
    let mut t = Test::new();
    t.config.set("linux.mountLabel", LABEL).set("process.terminal", true);
    t.sh("read line");
    let socket = ConsoleSocket::bind(t.path("sock"));
    t.bundle_cmd("run", &["--detach", "--console-socket", &t.path("sock")]).output().ok();
    let _screen = socket.accept();
    for path in ["/dev/console", "/dev/pts/0"] {
        assert_eq!(mount_label(t.pid(), path), LABEL, "{path}");
    }
}

/// [M44] without SELinux the container starts, and a warning says that the label is not used.
#[test]
fn a_label_without_selinux() {
    only_davit!(); // runc's mounts fail
    need!(!selinux(), "SELinux is enabled");
    let mut t = Test::new();
    t.config.set("linux.mountLabel", LABEL);
    t.sh("cat /proc/self/mountinfo");
    let output = t.run().code(0);
    output.says("linux.mountLabel: not used, since SELinux is disabled");
    assert!(!output.stdout.contains("context="), "{output}");
}

/// [M44] a label that would end its own quotes is refused.
#[test]
fn a_label_is_no_mount_option() {
    only_davit!(); // runc quotes it
    let mut t = Test::new();
    t.config.set("linux.mountLabel", "a:b:c:s0\",size=1");
    t.sh("true");
    t.run().fails(1, "linux.mountLabel: must not hold a quotation mark");
    t.assert_clean();
}

/// [X15] the mount option that gives the label: all of the file system, its root only, or the file system itself.
#[test]
fn which_option_gives_the_label() {
    need!(selinux(), "SELinux is disabled");
    only_davit!(); // crun's
    let mut t = Test::new();
    t.config.set("linux.mountLabel", LABEL);
    for option in ["context", "fscontext", "rootcontext"] {
        t.config.set("annotations", json!({ "run.oci.mount_context_type": option }));
        let seen = t.out("grep ' /dev/shm ' /proc/self/mountinfo");
        // The kernel shows a label with a comma in quotes.
        assert!(seen.contains(&format!(",{option}=\"{LABEL}\"")), "{option}: {seen}");
    }
}

/// [X15] an option that is none of them.
#[test]
fn no_such_option_gives_a_label() {
    only_davit!(); // crun's
    crate::errors::refuses(
        |c| c.set("annotations", json!({ "run.oci.mount_context_type": "seclabel" })),
        &["annotations[\"run.oci.mount_context_type\"]: invalid mount context type \"seclabel\""],
    );
}

/// What the kernel says of a process.
fn label_of(pid: i32, attribute: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/attr/{attribute}")).unwrap();
    text.trim_end_matches(['\0', '\n']).to_string()
}

/// [P17] the program has the label, with and without no_new_privs, in a user namespace, as root and as a user.
#[test]
fn the_label_of_the_process() {
    need!(selinux(), "SELinux is disabled");
    for user_namespace in [false, true] {
        for (uid, no_new_privs) in [(0, false), (0, true), (1000, true)] {
            let mut t = Test::new();
            if user_namespace {
                t.config.user_namespace();
            }
            t.config.set("process.selinuxLabel", DOMAIN).set("process.noNewPrivileges", no_new_privs);
            t.config.set("process.user", json!({ "uid": uid, "gid": uid }));
            t.sh("sleep 30");
            t.detach();
            assert_eq!(label_of(t.pid(), "current"), DOMAIN, "{user_namespace} {uid} {no_new_privs}");
            for attribute in ["exec", "keycreate", "fscreate", "sockcreate"] {
                assert_eq!(label_of(t.pid(), attribute), "", "{attribute} is not left behind");
            }
        }
    }
}

/// Calls keyctl(KEYCTL_GET_SECURITY), which no tool of the machine does.
const KEY_LABEL: &str = "
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
text = ctypes.create_string_buffer(256)
if libc.syscall(250, 17, ctypes.c_long(int(sys.argv[1], 16)), text, 256) < 0:
    sys.exit('keyctl: errno %d' % ctypes.get_errno())
print(text.value.decode())
";

/// [P17] [P25] the session keyring has the label of the program.
#[test]
fn the_label_of_the_keyring() {
    need!(selinux(), "SELinux is disabled");
    need!(std::path::Path::new("/usr/bin/python3").exists(), "no python3");
    let mut t = Test::new();
    t.config.set("process.selinuxLabel", DOMAIN);
    t.sh("sleep 30");
    t.detach();
    let keys = std::fs::read_to_string("/proc/keys").unwrap();
    let name = format!(" _ses.{}:", t.id);
    let key = keys.lines().find(|line| line.contains(&name)).unwrap_or_else(|| panic!("{name} in\n{keys}"));
    let id = key.split_whitespace().next().unwrap();
    let label = Cmd::new(&t.dir, ["/usr/bin/python3", "-c", KEY_LABEL, id]).output().ok();
    assert_eq!(label, DOMAIN);
}

/// [P17] a label that the policy does not know.
#[test]
fn a_label_without_a_meaning() {
    need!(selinux(), "SELinux is disabled");
    let mut t = Test::new();
    t.config.set("process.selinuxLabel", "system_u:system_r:no_such_t:s0");
    t.sh("true");
    let output = t.run().code(1);
    output.says("invalid argument");
    t.assert_clean();
    only_davit!();
    output.says("process.selinuxLabel: set the label \"system_u:system_r:no_such_t:s0\" for exec");
    output.says("the loaded policy has no such context");
}

/// [P17] [V35] [L5] `exec`: the container's label, or another one; an unknown one is an error with the runtime's exit code.
#[test]
fn exec_with_a_label() {
    need!(selinux(), "SELinux is disabled");
    let mut t = Test::new();
    t.config.set("process.selinuxLabel", DOMAIN);
    t.sh("sleep 30");
    t.detach();
    let exec = |options: &[&str]| {
        t.cmd(&["exec"]).args(options).args([&t.id, "cat", "/proc/self/attr/current"]).output()
    };
    let shown = |output: Output| output.ok().trim_end_matches('\0').to_string();
    assert_eq!(shown(exec(&[])), DOMAIN);
    let other = "system_u:system_r:container_t:s0:c3,c4";
    for more in [&[][..], &["--no-new-privs"], &["--user", "1000:1000"]] {
        assert_eq!(shown(exec(&[&["--process-label", other][..], more].concat())), other, "{more:?}");
    }
    only_davit!(); // its exit code
    let output = exec(&["--process-label", "a:b:c:s0"]).fails(255, "invalid argument");
    output.says("set the label \"a:b:c:s0\" for exec");
}

/// [L5] [Z7] `exec` writes no label to what is only called /proc.
#[test]
fn exec_with_a_false_proc() {
    need!(selinux(), "SELinux is disabled");
    only_davit!();
    let mut t = Test::new();
    t.config.set("process.selinuxLabel", DOMAIN);
    t.sh("sleep 30");
    t.detach();
    let fake = t.dir.join("proc/self/attr/exec");
    std::fs::create_dir_all(fake.parent().unwrap()).unwrap();
    std::fs::write(&fake, "").unwrap();
    let script = format!("mount --bind {} /proc && exec \"$@\"", t.path("proc"));
    let cmd = t.cmd(&["exec", &t.id, "cat", "/proc/self/attr/current"]);
    let output = cmd.shell(&script).wrap(["/usr/bin/unshare", "-m"]).output();
    assert_eq!(std::fs::read_to_string(&fake).unwrap(), "");
    assert!(output.code != 0 || output.stdout.starts_with(DOMAIN), "{output}");
}
