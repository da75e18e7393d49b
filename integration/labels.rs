//! SELinux labels of what the runtime makes. With SELinux the kernel's own word is compared, without it the words.

use crate::support::*;

const LABEL: &str = "system_u:object_r:container_file_t:s0:c1,c2";

fn selinux() -> bool {
    std::path::Path::new("/sys/fs/selinux/enforce").exists()
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
    let label = |path: &str| {
        let mut buffer = [0u8; 256];
        let path = format!("/proc/{pid}/root{path}");
        let length = rustix::fs::lgetxattr(&path, "security.selinux", &mut buffer).expect(&path);
        String::from_utf8_lossy(&buffer[..length]).trim_end_matches('\0').to_string()
    };
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
