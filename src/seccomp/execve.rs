//! What a program says before it is loaded: of execve, by which it comes into force, and of listeners.

use oci_spec::runtime::LinuxSeccompFilterFlag;
use seccompiler::sock_filter;

use super::arch::{Abi, NATIVE, name_id};
use super::interpreter::{Call, evaluate};
use super::{Program, flags};

/// `BPF_RET | BPF_K`, `BPF_RET | BPF_A`.
const RETURN: u16 = 0x06;
const RETURN_COMPUTED: u16 = 0x16;

impl Program {
    /// A program that was not compiled from a profile. Its verdicts are its own affair, as are the kernel's doubts.
    pub fn ready_made(
        instructions: Vec<sock_filter>,
        listed: Option<&[LinuxSeccompFilterFlag]>,
        listener: bool,
    ) -> Self {
        let mut program = Self { instructions, flags: 0, notify: false, unknown_names: Vec::new() };
        program.notify = listener && program.may_notify();
        program.flags = flags(listed, program.notify);
        program
    }

    /// The program that asks its listener about every call of every architecture.
    pub fn asking_always() -> Self {
        let verdict = sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_USER_NOTIF };
        Self::ready_made(vec![verdict], None, true)
    }

    /// Whether a verdict of it can be `SECCOMP_RET_USER_NOTIF`.
    pub fn may_notify(&self) -> bool {
        self.instructions.iter().any(|instruction| match instruction.code {
            RETURN => instruction.k & libc::SECCOMP_RET_ACTION_FULL == libc::SECCOMP_RET_USER_NOTIF,
            code => code == RETURN_COMPUTED,
        })
    }

    /// Whether execve(2) on this machine fails or kills, with whatever arguments, as far as that can be told.
    pub fn denies_execve(&self) -> bool {
        let abi = Abi::of(NATIVE);
        let Some(slot) = name_id(b"execve", 0).and_then(|name| abi.slot(name)) else { return false };
        let big_endian = cfg!(target_endian = "big");
        // Pointers nobody has a rule about: two examples do.
        [0, u64::MAX / 3].iter().all(|&arg| {
            let call = Call { arch: abi.audit(), nr: abi.number(slot), args: [arg; 6] };
            let verdict = evaluate(&self.instructions, &call, big_endian).map(|(verdict, _)| verdict);
            let action = verdict.map(|verdict| verdict & libc::SECCOMP_RET_ACTION_FULL);
            matches!(
                action,
                Some(
                    libc::SECCOMP_RET_KILL_PROCESS
                        | libc::SECCOMP_RET_KILL_THREAD
                        | libc::SECCOMP_RET_TRAP
                        | libc::SECCOMP_RET_ERRNO
                )
            )
        })
    }
}
