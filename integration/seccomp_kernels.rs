//! Seccomp on kernels that have less of it: an older one is played by a filter around the runtime.

use crate::support::agent::{Agent, Answer};
use crate::support::*;
use std::time::Duration;

pub const LOG: u32 = 1 << 1;
pub const NEW_LISTENER: u32 = 1 << 3;
pub const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// Whether this kernel knows these `SECCOMP_FILTER_FLAG_*`: it looks at them (EINVAL) before the program, which is none (EFAULT).
pub fn knows(flags: u32) -> bool {
    let script = "import ctypes, sys; libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(int(sys.argv[1]), 1, int(sys.argv[2]), None); print(ctypes.get_errno())";
    let (number, flags) = (libc::SYS_seccomp.to_string(), flags.to_string());
    let cmd = Cmd::new(&std::env::temp_dir(), ["python3", "-c", script, &number, &flags]);
    cmd.output().ok() == libc::EFAULT.to_string()
}

/// The command on a kernel that has no `SECCOMP_GET_NOTIF_SIZES` and does not know these `SECCOMP_FILTER_FLAG_*`.
fn without(flags: u32, cmd: Cmd) -> Cmd {
    const SCRIPT: &str = "
import ctypes, os, sys
number, flags = int(sys.argv[1]), int(sys.argv[2])
def op(code, k, yes=0, no=0):
    return code.to_bytes(2, sys.byteorder) + bytes([yes, no]) + k.to_bytes(4, sys.byteorder)
program = b''.join([
    op(0x20, 0), op(0x15, number, 0, 6),              # seccomp(
    op(0x20, 16), op(0x15, 3, 4, 0), op(0x15, 1, 0, 3),  # SECCOMP_GET_NOTIF_SIZES, or SECCOMP_SET_MODE_FILTER,
    op(0x20, 24), op(0x45, flags, 0, 1),              # with one of the flags)
    op(0x06, 0x50016), op(0x06, 0x7fff0000),          # is EINVAL
])
class Program(ctypes.Structure):
    _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.syscall(number, 1, 0, ctypes.byref(Program(len(program) // 8, program))) == 0, ctypes.get_errno()
os.execvp(sys.argv[3], sys.argv[3:])";
    let (number, flags) = (libc::SYS_seccomp.to_string(), flags.to_string());
    cmd.wrap(["python3", "-c", SCRIPT, &number, &flags])
}

/// A container whose filter asks about mkdir, and its agent.
fn asking() -> (Test, Agent) {
    let mut t = Test::new();
    let agent = Agent::new(&t);
    t.config.set(
        "linux.seccomp",
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": agent.path,
                "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }] }),
    );
    (t, agent)
}

/// [B18] a kernel without listeners (before 5.0): SCMP_ACT_NOTIFY is an error of `create`, `run` and `exec`, whatever the flags,
/// before anything is made; a filter that asks nobody is loaded.
#[test]
fn no_listeners() {
    only_davit!();
    let (mut t, agent) = asking();
    for flags in [None, Some(json!([])), Some(json!(["SECCOMP_FILTER_FLAG_LOG"]))] {
        if let Some(flags) = flags {
            t.config.set("linux.seccomp.flags", flags);
        }
        t.sh("true");
        for verb in ["run", "create"] {
            without(NEW_LISTENER, t.bundle_cmd(verb, &[])).output().fails(
                1,
                "linux.seccomp: seccomp notify unsupported: the kernel has no SECCOMP_FILTER_FLAG_NEW_LISTENER",
            );
            t.assert_clean();
        }
    }
    assert!(agent.connection(Duration::ZERO).is_none(), "nobody is asked");
    let run = t.start_run("exec sleep 100");
    let session = agent.accept();
    t.wait_status("running");
    let exec = without(NEW_LISTENER, t.exec_cmd(&[], &["true"])).output();
    exec.fails(255, "seccomp notify unsupported");
    assert_eq!(t.status(), "running");
    drop(session);
    t.cmd(&["kill"]).args([t.id.as_str(), "KILL"]).output().ok();
    run.wait().code(137);

    t.config.set("linux.seccomp.syscalls", json!([{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" }]));
    t.sh("mkdir /tmp/a 2>/dev/null || echo refused");
    let output = without(NEW_LISTENER, t.bundle_cmd("run", &[])).output();
    assert_eq!(output.ok(), "refused");
}

/// [B5] a known flag that the kernel does not have is an error that names it.
#[test]
fn no_such_flags() {
    only_davit!();
    for (flag, name) in [(LOG, "LOG"), (WAIT_KILLABLE_RECV, "WAIT_KILLABLE_RECV")] {
        let (mut t, agent) = asking();
        let name = format!("SECCOMP_FILTER_FLAG_{name}");
        t.sh("mkdir /tmp/a && echo made");
        t.config.set("linux.seccomp.flags", json!([name]));
        without(flag, t.bundle_cmd("run", &[]))
            .output()
            .fails(1, &format!("linux.seccomp.flags: {name} is not supported by this kernel"));
        t.assert_clean();
        t.config.remove("linux.seccomp.flags");
        let run = without(flag, t.bundle_cmd("run", &[])).spawn();
        agent.accept().serve(|_| Answer::Continue);
        assert_eq!(run.wait().ok(), "made");
    }
}
