//! Architectures, actions and conditions in words, for people.

use oci_spec::runtime::{Arch, LinuxSeccompOperator};

use super::Condition;

/// Every architecture of the specification.
pub const ARCHITECTURES: [Arch; 23] = [
    Arch::ScmpArchX86_64,
    Arch::ScmpArchX86,
    Arch::ScmpArchX32,
    Arch::ScmpArchAarch64,
    Arch::ScmpArchArm,
    Arch::ScmpArchRiscv64,
    Arch::ScmpArchLoongarch64,
    Arch::ScmpArchPpc64le,
    Arch::ScmpArchPpc64,
    Arch::ScmpArchPpc,
    Arch::ScmpArchS390x,
    Arch::ScmpArchS390,
    Arch::ScmpArchMips,
    Arch::ScmpArchMips64,
    Arch::ScmpArchMips64n32,
    Arch::ScmpArchMipsel,
    Arch::ScmpArchMipsel64,
    Arch::ScmpArchMipsel64n32,
    Arch::ScmpArchParisc,
    Arch::ScmpArchParisc64,
    Arch::ScmpArchM68k,
    Arch::ScmpArchSh,
    Arch::ScmpArchSheb,
];

/// `x86_64` for `SCMP_ARCH_X86_64`.
pub fn architecture(arch: Arch) -> String {
    let name = arch.to_string();
    name.strip_prefix("SCMP_ARCH_").unwrap_or(&name).to_lowercase()
}

/// The architecture called so: by the specification (`SCMP_ARCH_X86_64`, `x86_64`), by Go (`amd64`) or uname(2).
pub fn architecture_named(word: &str) -> Option<Arch> {
    let lower = word.to_lowercase();
    let lower = lower.strip_prefix("scmp_arch_").unwrap_or(&lower);
    let plain = match lower {
        "amd64" => "x86_64",
        "386" | "i386" | "i586" | "i686" => "x86",
        "arm64" => "aarch64",
        "armv7l" => "arm",
        "loong64" => "loongarch64",
        "native" => return Some(super::NATIVE),
        plain => plain,
    };
    ARCHITECTURES.into_iter().find(|arch| architecture(*arch) == plain)
}

/// What the kernel does, by the filter's return value: `SCMP_ACT_*`, and the number that belongs to it.
pub fn action(value: u32) -> (&'static str, Option<u32>) {
    let data = value & libc::SECCOMP_RET_DATA;
    match value & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_KILL_PROCESS => ("SCMP_ACT_KILL_PROCESS", None),
        libc::SECCOMP_RET_KILL_THREAD => ("SCMP_ACT_KILL_THREAD", None),
        libc::SECCOMP_RET_TRAP => ("SCMP_ACT_TRAP", None),
        libc::SECCOMP_RET_ERRNO => ("SCMP_ACT_ERRNO", Some(data)),
        libc::SECCOMP_RET_USER_NOTIF => ("SCMP_ACT_NOTIFY", None),
        libc::SECCOMP_RET_TRACE => ("SCMP_ACT_TRACE", Some(data)),
        libc::SECCOMP_RET_LOG => ("SCMP_ACT_LOG", None),
        _ => ("SCMP_ACT_ALLOW", None),
    }
}

/// `ALLOW`, `ERRNO EPERM (1)`, `TRACE 7`.
pub fn verdict(value: u32) -> String {
    let (name, data) = action(value);
    let name = name.strip_prefix("SCMP_ACT_").unwrap_or(name);
    match data {
        Some(data) if name == "ERRNO" => match errno_name(data) {
            Some(errno) => format!("ERRNO {errno} ({data})"),
            None => format!("ERRNO {data}"),
        },
        Some(data) => format!("{name} {data}"),
        None => name.to_owned(),
    }
}

/// `EPERM` for 1.
pub fn errno_name(number: u32) -> Option<String> {
    let known = nix::errno::Errno::from_raw(i32::try_from(number).ok()?);
    (known != nix::errno::Errno::UnknownErrno).then(|| format!("{known:?}"))
}

/// 1 for `EPERM`.
pub fn errno_named(name: &str) -> Option<u32> {
    (1..=MAX_KNOWN_ERRNO).find(|number| errno_name(*number).as_deref() == Some(name))
}

/// include/uapi/asm-generic/errno.h ends at 133; MIPS and PA-RISC have greater ones.
const MAX_KNOWN_ERRNO: u32 = 1133;

/// `arg0 & 0x7e020000 == 0`; several are joined by "and".
pub fn conditions(conditions: &[Condition]) -> String {
    let words: Vec<String> = conditions.iter().map(condition).collect();
    words.join(" and ")
}

fn condition(condition: &Condition) -> String {
    let Condition { index, operator, datum, mask } = condition;
    let (operator, mask) = match operator {
        LinuxSeccompOperator::ScmpCmpMaskedEq => ("==", format!(" & {}", number(*mask))),
        LinuxSeccompOperator::ScmpCmpEq => ("==", String::new()),
        LinuxSeccompOperator::ScmpCmpNe => ("!=", String::new()),
        LinuxSeccompOperator::ScmpCmpLt => ("<", String::new()),
        LinuxSeccompOperator::ScmpCmpLe => ("<=", String::new()),
        LinuxSeccompOperator::ScmpCmpGt => (">", String::new()),
        LinuxSeccompOperator::ScmpCmpGe => (">=", String::new()),
    };
    format!("arg{index}{mask} {operator} {}", number(*datum))
}

/// Small numbers as people count, great ones as bits.
fn number(value: u64) -> String {
    if value < 1024 { value.to_string() } else { format!("{value:#x}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [B4] Every name of the specification, and what else they are called.
    #[test]
    fn architectures_have_names() {
        for arch in ARCHITECTURES {
            assert_eq!(architecture_named(&architecture(arch)), Some(arch));
            assert_eq!(architecture_named(&arch.to_string()), Some(arch));
        }
        assert_eq!(architecture(Arch::ScmpArchMips64n32), "mips64n32");
        for (word, arch) in
            [("amd64", Arch::ScmpArchX86_64), ("i686", Arch::ScmpArchX86), ("ARM64", Arch::ScmpArchAarch64)]
        {
            assert_eq!(architecture_named(word), Some(arch), "{word}");
        }
        assert_eq!(architecture_named("vax"), None);
    }

    #[test]
    fn verdicts_have_words() {
        assert_eq!(verdict(libc::SECCOMP_RET_ALLOW), "ALLOW");
        assert_eq!(verdict(libc::SECCOMP_RET_ERRNO | 38), "ERRNO ENOSYS (38)");
        assert_eq!(verdict(libc::SECCOMP_RET_ERRNO | 4000), "ERRNO 4000");
        assert_eq!(verdict(libc::SECCOMP_RET_TRACE | 7), "TRACE 7");
        assert_eq!((errno_named("EPERM"), errno_named("EXYZ")), (Some(1), None));
        let one = |operator, datum, mask| conditions(&[Condition { index: 2, operator, datum, mask }]);
        assert_eq!(one(LinuxSeccompOperator::ScmpCmpMaskedEq, 0, 0x7E02_0000), "arg2 & 0x7e020000 == 0");
        assert_eq!(one(LinuxSeccompOperator::ScmpCmpGt, 40, u64::MAX), "arg2 > 40");
    }
}
