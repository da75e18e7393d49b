//! Loading a cgroup device program and attaching it to a cgroup: bpf(2), for cgroup v2 (kernel 4.15).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::clone::last_errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// `struct bpf_insn` (linux/bpf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Class, operation and source.
    pub code: u8,
    /// Destination and source, four bits each; the destination is in the low ones on little-endian machines.
    pub registers: u8,
    /// Jump distance or memory offset.
    pub offset: i16,
    /// Operand.
    pub immediate: i32,
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;

/// By this name our programs are known.
const NAME: [u8; 16] = *b"davit_devices\0\0\0";

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` of a program without extras reads.
#[repr(C)]
struct LoadAttributes {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The part of `union bpf_attr` that `BPF_PROG_ATTACH` reads.
#[repr(C)]
struct AttachAttributes {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// The part of `union bpf_attr` that `BPF_PROG_QUERY` reads, and where it answers.
#[repr(C)]
struct QueryAttributes {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// The part of `union bpf_attr` that `BPF_PROG_GET_FD_BY_ID` reads.
#[repr(C)]
struct IdAttributes {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// The part of `union bpf_attr` that `BPF_OBJ_GET_INFO_BY_FD` reads.
#[repr(C)]
struct InfoAttributes {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The beginning of `struct bpf_prog_info`.
#[derive(Default)]
#[repr(C, align(8))]
struct ProgramInfo {
    other: [u64; 8],
    name: [u8; 16],
}

/// Loads a device program.
///
/// # Errors
/// The kernel's errno and, where the verifier refused the program, its log.
pub fn load_device_program(program: &[Instruction]) -> Result<OwnedFd, (Errno, String)> {
    match load(program, None) {
        // Kernels before 5.11 count programs against RLIMIT_MEMLOCK.
        Err(Errno::PERM) => {
            with_unlimited_memlock(|| load(program, None)).map_err(|errno| (errno, String::new()))
        }
        Err(errno @ (Errno::INVAL | Errno::ACCESS)) => {
            let mut log = vec![0; 64 * 1024];
            let result = load(program, Some(&mut log));
            let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
            result.map_err(|_| (errno, String::from_utf8_lossy(&log[..end]).trim().replace('\n', "; ")))
        }
        other => other.map_err(|errno| (errno, String::new())),
    }
}

fn load(program: &[Instruction], log: Option<&mut Vec<u8>>) -> Result<OwnedFd, Errno> {
    let (log_level, log_size, log_buf) = match log {
        Some(log) => {
            (1, u32::try_from(log.len()).map_err(|_| Errno::TOOBIG)?, log.as_mut_ptr().expose_provenance())
        }
        None => (0, 0, 0),
    };
    let mut attributes = LoadAttributes {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        insns: address(program.as_ptr().expose_provenance()),
        license: address(c"Apache-2.0".as_ptr().expose_provenance()),
        log_level,
        log_size,
        log_buf: address(log_buf),
        kern_version: 0,
        prog_flags: 0,
        prog_name: NAME,
    };
    // SAFETY: the attributes are those of the command, which makes an fd; their pointers are to the program, to a static C
    // string and to `log`'s `log_size` bytes, all of which outlive the call; the kernel writes only to the log.
    unsafe { bpf_fd(BPF_PROG_LOAD, &mut attributes) }
}

/// Attaches a device program to the cgroup (a cgroup2 directory, `O_PATH` is enough) beside those that are there:
/// all of them must allow a use. It stays until the cgroup goes; the program's fd can be closed.
///
/// # Errors
/// The kernel's errno.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    attach(cgroup, program, None)
}

/// Attaches a device program in the place of another one, in one step (kernel 5.6).
///
/// # Errors
/// The kernel's errno; ENOENT if `old` is not attached.
pub fn replace_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    old: BorrowedFd<'_>,
) -> Result<(), Errno> {
    attach(cgroup, program, Some(old))
}

fn attach(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replace: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attributes = AttachAttributes {
        target_fd: number(cgroup)?,
        attach_bpf_fd: number(program)?,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: if replace.is_some() { BPF_F_ALLOW_MULTI | BPF_F_REPLACE } else { BPF_F_ALLOW_MULTI },
        replace_bpf_fd: replace.map_or(Ok(0), number)?,
    };
    // SAFETY: the attributes are those of the command and have no pointers; all fds are open for the call.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attributes) }.map(drop)
}

/// The device program that a davit has attached to this very cgroup; those of others are not counted.
///
/// # Errors
/// The kernel's errno.
pub fn attached_device_program(cgroup: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    // The kernel allows 64 programs for one cgroup.
    let mut ids = [0_u32; 64];
    let mut attributes = QueryAttributes {
        target_fd: number(cgroup)?,
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: address(ids.as_mut_ptr().expose_provenance()),
        prog_cnt: 64,
        padding: 0,
    };
    // SAFETY: the attributes are those of the command; `prog_ids` points to `prog_cnt` numbers that outlive the call.
    unsafe { bpf(BPF_PROG_QUERY, &mut attributes)? };
    let count = usize::try_from(attributes.prog_cnt).unwrap_or(0);
    for id in ids.iter().take(count) {
        match program_by_id(*id) {
            Ok(program) if name(program.as_fd())? == NAME => return Ok(Some(program)),
            // Another one, or one that has just been detached.
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

fn program_by_id(prog_id: u32) -> Result<OwnedFd, Errno> {
    let mut attributes = IdAttributes { prog_id, next_id: 0, open_flags: 0 };
    // SAFETY: the attributes are those of the command, which makes an fd, and have no pointers.
    unsafe { bpf_fd(BPF_PROG_GET_FD_BY_ID, &mut attributes) }
}

fn name(program: BorrowedFd<'_>) -> Result<[u8; 16], Errno> {
    let mut info = ProgramInfo::default();
    let mut attributes = InfoAttributes {
        bpf_fd: number(program)?,
        info_len: u32::try_from(size_of::<ProgramInfo>()).map_err(|_| Errno::TOOBIG)?,
        info: address((&raw mut info).expose_provenance()),
    };
    // SAFETY: the attributes are those of the command; `info` points to `info_len` zeroed bytes, so no list is asked for,
    // that outlive the call.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes)? };
    Ok(info.name)
}

/// bpf(2) of a command that makes an fd.
///
/// # Safety
/// As for [`bpf`]; the command answers with an fd of its own.
unsafe fn bpf_fd<T>(command: libc::c_int, attributes: &mut T) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller's promise.
    let fd = unsafe { bpf(command, attributes)? };
    let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just made this fd (close-on-exec, bpf(2)); nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// bpf(2); the kernel's answer, which is not negative.
///
/// # Safety
/// `T` is what the command reads and writes of `union bpf_attr`, and what its pointers name is good for the call.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> Result<libc::c_long, Errno> {
    let attributes = std::ptr::from_mut(attributes);
    // SAFETY: the length is that of `attributes`; for the rest, the caller's promise.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if answer < 0 { Err(last_errno()) } else { Ok(answer) }
}

fn number(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    u32::try_from(fd.as_raw_fd()).map_err(|_| Errno::BADF)
}

/// The limit is put back at once: the container must not inherit it.
fn with_unlimited_memlock<T>(run: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let before = getrlimit(Resource::Memlock);
    setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })?;
    let result = run();
    setrlimit(Resource::Memlock, before)?;
    result
}

fn address(pointer: usize) -> u64 {
    u64::try_from(pointer).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [D10] The verifier's reason reaches the user.
    #[test]
    fn a_refused_program_comes_with_the_log() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let exit = Instruction { code: 0x95, registers: 0, offset: 0, immediate: 0 };
        let (errno, log) = load_device_program(&[exit]).unwrap_err();
        assert_eq!(errno, Errno::ACCESS);
        assert!(log.contains("R0 !read_ok"), "{log}");
    }
}
