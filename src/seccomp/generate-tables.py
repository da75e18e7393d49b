#!/usr/bin/env python3
"""Writes src/seccomp/tables.rs: system call names and their numbers on every architecture of the OCI spec.

usage: generate-tables.py SYSCALLS_CRATE HEADERS_ROOT > tables.rs

SYSCALLS_CRATE  source directory of the `syscalls` crate (cargo vendor shows it)
HEADERS_ROOT    directory with usr/TRIPLE/include/asm/unistd*.h for the architectures the crate lacks: Debian's
                linux-libc-dev and linux-libc-dev-{s390x,mips64,hppa,m68k,sh4}-cross, unpacked with dpkg -x
"""
import re
import sys
from pathlib import Path

crate, headers = Path(sys.argv[1]), Path(sys.argv[2])
ABSENT, ARM_PRIVATE = 0xFFFF, 0xF000


def from_crate(name, base=0):
    text = (crate / "src/arch" / f"{name}.rs").read_text()
    return {n: int(v) - base for n, v in re.findall(r"^\s+(?:r#)?(\w+) = (\d+),$", text, re.M)}


def from_header(path):
    text = (headers / "usr" / path).read_text()
    found = re.findall(r"#define __NR_(\w+)\s+\(?(?:__X32_SYSCALL_BIT \+ |__NR_Linux \+ )?(\d+)\)?\s*$", text, re.M)
    return {n: int(v) for n, v in found if n != "Linux_syscalls"}


tables = {
    "X86_64": from_crate("x86_64"),
    "X86": from_crate("x86"),
    "X32": from_header("x86_64-linux-gnu/include/asm/unistd_x32.h"),
    "AARCH64": from_crate("aarch64"),
    "ARM": from_crate("arm"),
    "RISCV64": from_crate("riscv64"),
    "LOONGARCH64": from_crate("loongarch64"),
    "PPC64": from_crate("powerpc64"),
    "PPC": from_crate("powerpc"),
    "S390X": from_crate("s390x"),
    "S390": from_header("s390x-linux-gnu/include/asm/unistd_32.h"),
    "MIPS": from_crate("mips", 4000),
    "MIPS64": from_crate("mips64", 5000),
    "MIPS64N32": from_header("mips64-linux-gnuabi64/include/asm/unistd_n32.h"),
    "PARISC": from_header("hppa-linux-gnu/include/asm/unistd_32.h"),
    "PARISC64": from_header("hppa-linux-gnu/include/asm/unistd_64.h"),
    "M68K": from_header("m68k-linux-gnu/include/asm/unistd_32.h"),
    "SH": from_header("sh4-linux-gnu/include/asm/unistd_32.h"),
}
# Where the sources err (checked against the kernel's own tables): the generic 64-bit table calls 79 newfstatat and
# has no *_time64 calls; loongarch has no renameat, [gs]etrlimit, memfd_secret; MIPS's placeholders are no calls.
for generic in ("AARCH64", "LOONGARCH64"):
    table = tables[generic]
    table["newfstatat"] = table.pop("fstatat")
    for name in [n for n, v in table.items() if 403 <= v <= 423]:
        del table[name]
for name in ("renameat", "getrlimit", "setrlimit", "memfd_secret"):
    del tables["LOONGARCH64"][name]
for table in tables.values():
    for name in [n for n in table if re.match(r"(unused|reserved)\d+$", n)]:
        del table[name]
tables["X32"].update(uretprobe=335, uprobe=336)
tables["S390"]["memfd_secret"] = 447
tables["MIPS64"]["set_mempolicy_home_node"] = 450
tables["PARISC"]["cacheflush"] = tables["PARISC64"]["cacheflush"] = 356
tables["SH"]["sync_file_range2"] = 388
# arch/arm/include/uapi/asm/unistd.h: __ARM_NR_BASE + n
for n, name in enumerate(["breakpoint", "cacheflush", "usr26", "usr32", "set_tls", "get_tls"], 1):
    tables["ARM"][name] = ARM_PRIVATE + n
# From 424 on one number holds everywhere: newer ones than a source knows are taken from x86_64, then from Linux 7.0.
newest = {n: v for n, v in tables["X86_64"].items() if v > 450} | {"listns": 470, "rseq_slice_yield": 471}
for name, table in tables.items():
    # The n64 and n32 numbers are given without their 5000 and 6000; 424 and up are common there too.
    for n, v in newest.items():
        table.setdefault(n, v)

# The calls behind socketcall(2) and ipc(2): include/uapi/linux/net.h, include/uapi/linux/ipc.h.
SOCKET = "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown \
setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg".split()
multiplexed = {name: n for n, name in enumerate(SOCKET, 1)}
for first, group in ((1, "semop semget semctl semtimedop"), (11, "msgsnd msgrcv msgget msgctl"), (21, "shmat shmdt shmget shmctl")):
    multiplexed.update({name: 128 + n for n, name in enumerate(group.split(), first)})

names = sorted(set().union(*tables.values()))
offsets, blob = [0], ""
for n in names:
    blob += n
    offsets.append(len(blob))


def rows(values, width=16):
    for i in range(0, len(values), width):
        yield "        " + " ".join(f"{v}," for v in values[i : i + width])


out = sys.stdout
print(f"""//! System call names and numbers. Written by `generate-tables.py`; do not edit.
//!
//! No pointer is in here: a relocated page would be a private dirty page of every process of the runtime.

/// How many names there are.
pub(super) const COUNT: usize = {len(names)};

/// All names, sorted, end to end.
pub(super) static BLOB: [u8; {len(blob)}] = *b"\\""", file=out)
for i in range(0, len(blob), 110):
    print(blob[i : i + 110] + ("\\" if i + 110 < len(blob) else '";'))
print(f"""
/// Where each name starts in [`BLOB`]; one more for the end.
#[rustfmt::skip]
pub(super) static OFFSETS: [u16; COUNT + 1] = [""")
print("\n".join(rows(offsets)).replace("        ", "    "))
print("""];

/// For calls that the old architectures multiplex: n for socketcall(2) call n, 128 + n for ipc(2) call n, 0 for others.
#[rustfmt::skip]
pub(super) static MULTIPLEXED: [u8; COUNT] = [""")
print("\n".join(rows([multiplexed.get(n, 0) for n in names], 32)).replace("        ", "    "))
print("""];

/// The rows of [`NUMBERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Row {""")
for name in tables:
    print(f"    {name.capitalize()},")
print(f"""}}

/// Numbers by row and name, less the ABI's base (x32 bit, MIPS's 4000 to 6000). 0xFFFF: no such call there;
/// 0xF000 + n: ARM's private call n.
#[rustfmt::skip]
pub(super) static NUMBERS: [[u16; COUNT]; {len(tables)}] = [""")
for name, table in tables.items():
    print(f"    [ // {name.capitalize()}")
    print("\n".join(rows([table.get(n, ABSENT) for n in names])))
    print("    ],")
print("];")
