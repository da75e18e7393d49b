//! A static program that makes one system call: what a seccomp filter says is seen by it alone. It is assembled with the tests, so
//! it needs no C compiler where they run.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Added to a number: the call goes the way of 32-bit programs (`int 0x80`), as one of i386.
pub const I386: u64 = 1 << 40;

/// Why there is none.
pub const WHY: &str = "the probes are for x86_64";

/// Writes the probe: `probe NR [ARG…]` makes one system call with numbers as arguments and prints its result (-errno on failure).
/// What runs under the filter is this call, write and exit_group. False on another machine type.
pub fn write(path: &Path) -> bool {
    program(path, code::probe())
}

/// Writes a program that makes one call, exit_group(42).
pub fn write_exit(path: &Path) -> bool {
    program(path, code::exit())
}

/// Writes a program that makes one call, pause().
pub fn write_pause(path: &Path) -> bool {
    program(path, code::pause())
}

fn program(path: &Path, code: &[u8]) -> bool {
    if code.is_empty() {
        return false;
    }
    super::host::make_program(|| std::fs::write(path, elf(code))).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    true
}

/// A static x86-64 program (elf(5)): the header, one segment, the code.
fn elf(code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + u64::try_from(code.len()).unwrap();
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    // Entry, program headers, no sections; flags; sizes and counts of headers.
    for word in [BASE + HEADERS, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // PT_LOAD, read and execute.
    file.extend(1u32.to_le_bytes());
    file.extend(5u32.to_le_bytes());
    for word in [0, BASE, BASE, size, size, 4096] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

#[cfg(not(target_arch = "x86_64"))]
mod code {
    pub fn probe() -> &'static [u8] {
        &[]
    }

    pub fn exit() -> &'static [u8] {
        &[]
    }

    pub fn pause() -> &'static [u8] {
        &[]
    }
}

/// The programs' code, which lies among the tests' constants and is never run there.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod code {
    unsafe extern "C" {
        static probe_begin: u8;
        static probe_end: u8;
        static exit_begin: u8;
        static exit_end: u8;
        static pause_end: u8;
    }

    pub fn probe() -> &'static [u8] {
        // SAFETY: two labels around constant bytes.
        unsafe { between(&raw const probe_begin, &raw const probe_end) }
    }

    pub fn exit() -> &'static [u8] {
        // SAFETY: as above.
        unsafe { between(&raw const exit_begin, &raw const exit_end) }
    }

    pub fn pause() -> &'static [u8] {
        // SAFETY: as above.
        unsafe { between(&raw const exit_end, &raw const pause_end) }
    }

    unsafe fn between(begin: *const u8, end: *const u8) -> &'static [u8] {
        // SAFETY: the caller's labels are those of one constant.
        unsafe { std::slice::from_raw_parts(begin, usize::try_from(end.offset_from(begin)).unwrap()) }
    }

    std::arch::global_asm!(
        ".pushsection .rodata.programs, \"a\"",
        "probe_begin:",
        "mov r12, [rsp]",      // argc
        "lea r13, [rsp + 16]", // &argv[1]
        "sub rsp, 128",        // seven values
        "xor eax, eax",
        "mov ecx, 7",
        "mov rdi, rsp",
        "rep stosq",
        "xor ebx, ebx", // which argument
        "2: inc rbx",
        "cmp rbx, r12",
        "jae 5f",
        "cmp rbx, 7",
        "ja 5f",
        "mov rsi, [r13 + 8*rbx - 8]",
        "xor eax, eax",
        "3: movzx ecx, byte ptr [rsi]",
        "sub ecx, 48",
        "cmp ecx, 9",
        "ja 4f",
        "imul rax, rax, 10",
        "add rax, rcx",
        "inc rsi",
        "jmp 3b",
        "4: mov [rsp + 8*rbx - 8], rax",
        "jmp 2b",
        "5: mov rax, [rsp]",
        "bt rax, 40",
        "jc 6f",
        "mov rdi, [rsp + 8]",
        "mov rsi, [rsp + 16]",
        "mov rdx, [rsp + 24]",
        "mov r10, [rsp + 32]",
        "mov r8, [rsp + 40]",
        "mov r9, [rsp + 48]",
        "syscall",
        "jmp 7f",
        "6: mov ebx, [rsp + 8]", // i386's registers
        "mov ecx, [rsp + 16]",
        "mov edx, [rsp + 24]",
        "mov esi, [rsp + 32]",
        "mov edi, [rsp + 40]",
        "mov ebp, [rsp + 48]",
        "mov eax, eax",
        "int 0x80",
        "cdqe",
        "7: mov r14, rax", // the result in decimal, from its end
        "test rax, rax",
        "jns 8f",
        "neg rax",
        "8: lea rsi, [rsp + 127]",
        "mov byte ptr [rsi], 10",
        "mov ecx, 10",
        "9: xor edx, edx",
        "div rcx",
        "add edx, 48",
        "dec rsi",
        "mov [rsi], dl",
        "test rax, rax",
        "jnz 9b",
        "test r14, r14",
        "jns 22f",
        "dec rsi",
        "mov byte ptr [rsi], 45",
        "22: lea rdx, [rsp + 128]", // write(1, …)
        "sub rdx, rsi",
        "mov edi, 1",
        "mov eax, 1",
        "syscall",
        "xor edi, edi", // exit_group(0)
        "mov eax, 231",
        "syscall",
        "probe_end:",
        "exit_begin:",
        "mov edi, 42",
        "mov eax, 231",
        "syscall",
        "exit_end:",
        "mov eax, 34",
        "syscall",
        "pause_end:",
        ".popsection",
    );
}
