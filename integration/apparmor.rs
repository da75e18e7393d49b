//! AppArmor: the container's program runs under the profile of config.json, or not at all. Run by `scripts/test-vm apparmor`.

use crate::support::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

fn enabled() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
        && Path::new("/sbin/apparmor_parser").exists()
}

macro_rules! need_apparmor {
    () => {
        need!(enabled(), "AppArmor is off, or apparmor_parser is missing");
    };
}

/// A loaded profile that allows everything but to write below one directory; gone with the value.
struct Profile {
    name: String,
    file: std::path::PathBuf,
}

impl Profile {
    fn load(t: &Test, name: &str, denied: &str) -> Self {
        let name = format!("davit-test-{}-{name}", t.id);
        let file = t.dir.join(&name);
        let rules = "network, capability, file, mount, umount, pivot_root, signal, ptrace, unix, \
                     change_profile -> **,";
        let text = format!(
            "profile {name} flags=(attach_disconnected,mediate_deleted) {{ {rules} deny {denied}/** w, }}\n"
        );
        std::fs::write(&file, text).unwrap();
        let profile = Self { name, file };
        assert!(profile.parser("-rKq"), "apparmor_parser has loaded {}", profile.name);
        profile
    }

    fn parser(&self, options: &str) -> bool {
        let mut command = Command::new("/sbin/apparmor_parser");
        command.arg(options).arg(&self.file).stdin(Stdio::null());
        host::wait(&mut host::spawn(&mut command).unwrap()).success()
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let gone = self.parser("-RKq");
        assert!(gone || std::thread::panicking(), "apparmor_parser has removed {}", self.name);
    }
}

/// Tells its profile and tries to write to three directories.
const PROBE: &str = "cat /proc/self/attr/apparmor/current; for d in one two three; do \
                     (echo x > /$d/file) 2>/dev/null && echo $d; done; true";

/// A container that runs [`PROBE`].
fn container() -> Test {
    let mut t = Test::new();
    for name in ["one", "two", "three"] {
        t.file(&format!("{name}/file"), "");
        for path in [name.to_string(), format!("{name}/file")] {
            std::fs::set_permissions(t.rootfs.join(path), PermissionsExt::from_mode(0o777)).unwrap();
        }
    }
    t.sh(PROBE);
    t
}

fn under(t: &mut Test, profile: &str) -> String {
    t.config.set("process.apparmorProfile", profile);
    t.run().ok()
}

/// [P16] the profile is in force for root and for another user, with and without no_new_privs, with a filter.
#[test]
fn a_profile_is_applied() {
    need_apparmor!();
    let mut t = container();
    let profile = Profile::load(&t, "p", "/two");
    let wanted = format!("{} (enforce)\none\nthree", profile.name);
    for uid in [0, 1000] {
        for no_new_privs in [false, true] {
            for filter in [json!(null), json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [] })] {
                t.config.set("process.user", json!({ "uid": uid, "gid": uid })).set("linux.seccomp", filter);
                t.config.set("process.noNewPrivileges", no_new_privs);
                assert_eq!(under(&mut t, &profile.name), wanted, "{uid} {no_new_privs}");
            }
        }
    }
}

/// [P16] `unconfined`, and no profile: as the runtime is.
#[test]
fn unconfined() {
    need_apparmor!();
    let mut t = container();
    for profile in ["unconfined", ""] {
        assert_eq!(under(&mut t, profile), "unconfined\none\ntwo\nthree", "{profile:?}");
    }
}

/// [P16] [E] a profile that is not loaded is an error that names it, and how to load it.
#[test]
fn a_missing_profile() {
    need_apparmor!();
    let mut t = container();
    t.config.set("process.apparmorProfile", "davit-test-missing");
    let output = t.run().code(1);
    output.says("no such file or directory");
    t.assert_clean();
    only_davit!();
    output.says("process.apparmorProfile: apparmor failed to apply profile \"davit-test-missing\"");
    output.says("apparmor_parser -r");
    t.create().fails(1, "davit-test-missing");
    t.assert_clean();
}

/// [L6] in a user namespace.
#[test]
fn in_a_user_namespace() {
    need_apparmor!();
    let mut t = container();
    t.config.user_namespace();
    let profile = Profile::load(&t, "p", "/two");
    for uid in [0, 1000] {
        t.config.set("process.user", json!({ "uid": uid, "gid": uid }));
        assert_eq!(under(&mut t, &profile.name), format!("{} (enforce)\none\nthree", profile.name), "{uid}");
    }
}

/// [L6] two profiles at once, by their names.
#[test]
fn a_stack_by_name() {
    need_apparmor!();
    let mut t = container();
    let (first, second) = (Profile::load(&t, "a", "/one"), Profile::load(&t, "b", "/two"));
    let stack = format!("{}//&{}", first.name, second.name);
    assert_eq!(under(&mut t, &stack), format!("{stack} (enforce)\nthree"));
}

/// The same container from a runtime that is confined itself.
fn from_within(t: &Test, outer: &Profile) -> String {
    let cmd = t.bundle_cmd("run", &[]);
    let cmd = cmd.shell(&format!("echo 'exec {}' > /proc/self/attr/exec; exec \"$@\"", outer.name));
    cmd.output().ok()
}

/// [L6] a runtime that is confined itself: under no_new_privs both profiles hold, as the kernel allows nothing else.
#[test]
fn stacked_on_the_profile_of_the_runtime() {
    need_apparmor!();
    only_davit!(); // runc fails under no_new_privs
    let mut t = container();
    let (outer, inner) = (Profile::load(&t, "outer", "/one"), Profile::load(&t, "inner", "/two"));
    t.config.set("process.apparmorProfile", inner.name.clone()).set("process.noNewPrivileges", true);
    let stack = format!("{}//&{} (enforce)\nthree", inner.name, outer.name);
    assert_eq!(from_within(&t, &outer), stack);
    t.config.set("process.noNewPrivileges", false);
    assert_eq!(from_within(&t, &outer), format!("{} (enforce)\none\nthree", inner.name), "changed");
    t.config.user_namespace().set("process.noNewPrivileges", true);
    assert_eq!(from_within(&t, &outer), stack, "in a user namespace");
    t.config.remove("process.apparmorProfile");
    assert_eq!(from_within(&t, &outer), format!("{} (enforce)\ntwo\nthree", outer.name), "inherited");
}

/// [Z7] [L5] what is only called /proc gets no profile written to it.
#[test]
fn a_false_proc() {
    need_apparmor!();
    only_davit!();
    let mut t = container();
    let profile = Profile::load(&t, "p", "/two");
    t.config.set("process.apparmorProfile", profile.name.clone());
    let fakes = ["self/attr/apparmor/exec", "self/attr/exec"];
    for fake in fakes {
        let path = t.dir.join("proc").join(fake);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    let script = format!("mount --bind {} /proc && exec \"$@\"", t.path("proc"));
    let output = t.bundle_cmd("run", &[]).shell(&script).wrap(["/usr/bin/unshare", "-m"]).output();
    for fake in fakes {
        assert_eq!(std::fs::read_to_string(t.dir.join("proc").join(fake)).unwrap(), "", "{fake}");
    }
    // Without a /proc it may well fail, but never run unconfined.
    assert!(output.code != 0 || output.stdout.starts_with(&profile.name), "{output}");
    t.assert_clean();
}

/// A container that waits, under a profile.
fn waiting(profile: &str) -> Test {
    let mut t = container();
    t.config.set("process.apparmorProfile", profile);
    t.sh("sleep 30");
    t.detach();
    t
}

/// What a further process says of itself.
fn exec(t: &Test, options: &[&str]) -> Output {
    t.cmd(&["exec"]).args(options).args([&t.id, "/bin/sh", "-c", PROBE]).output()
}

/// [P16] [V36] `exec`: under the container's profile, or another one, with and without no_new_privs; one that is not
/// loaded is an error with the runtime's exit code.
#[test]
fn exec_under_a_profile() {
    need_apparmor!();
    let t = container();
    let (own, other) = (Profile::load(&t, "own", "/one"), Profile::load(&t, "other", "/two"));
    let t = waiting(&own.name);
    assert_eq!(exec(&t, &[]).ok(), format!("{} (enforce)\ntwo\nthree", own.name));
    for more in [&[][..], &["--no-new-privs"], &["--user", "1000:1000"]] {
        let options = [&["--apparmor", other.name.as_str()][..], more].concat();
        assert_eq!(exec(&t, &options).ok(), format!("{} (enforce)\none\nthree", other.name), "{more:?}");
    }
    only_davit!(); // its exit code
    let output = exec(&t, &["--apparmor", "davit-test-missing"]).fails(255, "no such file or directory");
    output.says("apparmor failed to apply profile \"davit-test-missing\"");
}

/// [L6] `exec` by a runtime that is confined itself: both profiles hold under no_new_privs.
#[test]
fn exec_stacked_on_the_profile_of_the_runtime() {
    need_apparmor!();
    only_davit!();
    let t = container();
    let (outer, inner) = (Profile::load(&t, "outer", "/one"), Profile::load(&t, "inner", "/two"));
    let t = waiting(&inner.name);
    let cmd = t.cmd(&["exec", "--no-new-privs", &t.id, "/bin/sh", "-c", PROBE]);
    let cmd = cmd.shell(&format!("echo 'exec {}' > /proc/self/attr/exec; exec \"$@\"", outer.name));
    assert_eq!(cmd.output().ok(), format!("{}//&{} (enforce)\nthree", inner.name, outer.name));
}

/// [L5] [Z7] `exec` writes no profile to what is only called /proc, and runs nothing unconfined then.
#[test]
fn exec_with_a_false_proc() {
    need_apparmor!();
    only_davit!();
    let t = container();
    let profile = Profile::load(&t, "p", "/two");
    let t = waiting(&profile.name);
    let fake = t.dir.join("proc/self/attr/apparmor/exec");
    std::fs::create_dir_all(fake.parent().unwrap()).unwrap();
    std::fs::write(&fake, "").unwrap();
    let script = format!("mount --bind {} /proc && exec \"$@\"", t.path("proc"));
    let cmd = t.cmd(&["exec", &t.id, "/bin/sh", "-c", PROBE]);
    let output = cmd.shell(&script).wrap(["/usr/bin/unshare", "-m"]).output();
    assert_eq!(std::fs::read_to_string(&fake).unwrap(), "");
    assert!(output.code != 0 || output.stdout.starts_with(&profile.name), "{output}");
}
