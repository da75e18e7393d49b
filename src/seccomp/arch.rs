//! The architectures: which calls each has, under which numbers, and what the kernel calls it.

use oci_spec::runtime::Arch;

use super::tables::{self, Row};

/// Bit 30 of a system call number on x86-64: the x32 ABI (arch/x86/include/uapi/asm/unistd.h).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// What `seccomp_data` and a number table look like on one architecture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abi {
    pub(super) arch: Arch,
    row: Row,
    /// Added to a table's numbers.
    pub(super) base: u32,
    /// Whether arguments are compared with all 64 bits. Elsewhere, x32 included, libseccomp compares the low 32.
    pub(super) wide: bool,
    pub(super) big_endian: bool,
}

/// The index of a system call name in the tables.
pub(super) type NameId = usize;

/// A dense index for a table's number, so that a verdict a number fits a small array.
pub(super) type Slot = usize;

/// Slots of an architecture: numbers, then ARM's private calls (0x0f0000 + n).
pub(super) const SLOTS: usize = 640;
const FIRST_PRIVATE: u16 = 632;
/// `__ARM_NR_BASE`.
const PRIVATE_BASE: u32 = 0x000F_0000;
const ABSENT: u16 = 0xFFFF;
const PRIVATE: u16 = 0xF000;

impl Abi {
    /// The layout of `arch`.
    pub(super) fn of(arch: Arch) -> Self {
        use Arch::*;
        let (row, base, wide, big_endian) = match arch {
            ScmpArchNative => return Self::of(NATIVE),
            ScmpArchX86 => (Row::X86, 0, false, false),
            ScmpArchX86_64 => (Row::X86_64, 0, true, false),
            ScmpArchX32 => (Row::X32, X32_BIT, false, false),
            ScmpArchArm => (Row::Arm, 0, false, false),
            ScmpArchAarch64 => (Row::Aarch64, 0, true, false),
            ScmpArchMips => (Row::Mips, 4000, false, true),
            ScmpArchMipsel => (Row::Mips, 4000, false, false),
            ScmpArchMips64 => (Row::Mips64, 5000, true, true),
            ScmpArchMipsel64 => (Row::Mips64, 5000, true, false),
            ScmpArchMips64n32 => (Row::Mips64n32, 6000, false, true),
            ScmpArchMipsel64n32 => (Row::Mips64n32, 6000, false, false),
            ScmpArchPpc => (Row::Ppc, 0, false, true),
            ScmpArchPpc64 => (Row::Ppc64, 0, true, true),
            ScmpArchPpc64le => (Row::Ppc64, 0, true, false),
            ScmpArchS390 => (Row::S390, 0, false, true),
            ScmpArchS390x => (Row::S390x, 0, true, true),
            ScmpArchParisc => (Row::Parisc, 0, false, true),
            ScmpArchParisc64 => (Row::Parisc64, 0, true, true),
            ScmpArchRiscv64 => (Row::Riscv64, 0, true, false),
            ScmpArchLoongarch64 => (Row::Loongarch64, 0, true, false),
            ScmpArchM68k => (Row::M68k, 0, false, true),
            ScmpArchSh => (Row::Sh, 0, false, false),
            ScmpArchSheb => (Row::Sh, 0, false, true),
        };
        Self { arch, row, base, wide, big_endian }
    }

    /// The kernel's `AUDIT_ARCH_*`. libseccomp's token is the same but for x32, which the kernel does not tell apart.
    pub(super) fn audit(&self) -> u32 {
        if self.arch == Arch::ScmpArchX32 { Arch::ScmpArchX86_64 as u32 } else { self.arch as u32 }
    }

    /// Where `name`'s verdict is kept; none where the architecture has no such call.
    pub(super) fn slot(&self, name: NameId) -> Option<Slot> {
        match tables::NUMBERS[self.row as usize][name] {
            ABSENT => None,
            number if number >= PRIVATE => Some(usize::from(FIRST_PRIVATE + (number - PRIVATE))),
            number => Some(usize::from(number)),
        }
    }

    /// The number in `seccomp_data.nr` of a slot. Grows with the slot.
    pub(super) fn number(&self, slot: Slot) -> u32 {
        let slot = u32::try_from(slot).unwrap_or(u32::MAX);
        match slot.checked_sub(u32::from(FIRST_PRIVATE)) {
            Some(private) => PRIVATE_BASE + private,
            None => self.base + slot,
        }
    }

    /// The reverse of [`Abi::number`], for any number.
    pub(super) fn slot_of(&self, number: u32) -> Option<Slot> {
        let private = u32::from(FIRST_PRIVATE);
        let slot = match number.checked_sub(self.base).filter(|slot| *slot < private) {
            Some(slot) => Some(slot),
            None => number.checked_sub(PRIVATE_BASE).and_then(|call| private.checked_add(call)),
        };
        usize::try_from(slot?).ok().filter(|slot| *slot < SLOTS)
    }

    /// The calls, by name, with their numbers.
    pub(super) fn calls(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        (0..tables::COUNT).filter_map(|id| {
            let number = self.number(self.slot(id)?);
            Some((text(id), number))
        })
    }

    /// The name of the call behind socketcall(2) or ipc(2).
    pub(super) fn behind(&self, multiplexer: Slot, call: u64) -> Option<&'static str> {
        let found = (0..tables::COUNT).find(|id| self.multiplexed(*id) == Some((multiplexer, call)))?;
        Some(text(found))
    }

    /// The slot of socketcall(2) or ipc(2) and the number of `name` behind it, where the architecture has that.
    pub(super) fn multiplexed(&self, name: NameId) -> Option<(Slot, u64)> {
        let call = tables::MULTIPLEXED[name];
        let by = match call {
            0 => return None,
            1..128 => name_id(b"socketcall", 0),
            _ => name_id(b"ipc", 0),
        };
        Some((self.slot(by?)?, u64::from(call % 128)))
    }
}

/// The architecture this program was built for.
pub const NATIVE: Arch = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
    Arch::ScmpArchX86_64
} else if cfg!(target_arch = "x86_64") {
    Arch::ScmpArchX32
} else if cfg!(target_arch = "x86") {
    Arch::ScmpArchX86
} else if cfg!(target_arch = "aarch64") {
    Arch::ScmpArchAarch64
} else if cfg!(target_arch = "arm") {
    Arch::ScmpArchArm
} else if cfg!(target_arch = "riscv64") {
    Arch::ScmpArchRiscv64
} else if cfg!(target_arch = "loongarch64") {
    Arch::ScmpArchLoongarch64
} else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
    Arch::ScmpArchPpc64le
} else if cfg!(target_arch = "powerpc64") {
    Arch::ScmpArchPpc64
} else if cfg!(target_arch = "powerpc") {
    Arch::ScmpArchPpc
} else if cfg!(target_arch = "s390x") {
    Arch::ScmpArchS390x
} else if cfg!(all(target_arch = "mips64", target_endian = "little")) {
    Arch::ScmpArchMipsel64
} else if cfg!(target_arch = "mips64") {
    Arch::ScmpArchMips64
} else if cfg!(all(target_arch = "mips", target_endian = "little")) {
    Arch::ScmpArchMipsel
} else if cfg!(target_arch = "mips") {
    Arch::ScmpArchMips
} else if cfg!(target_arch = "m68k") {
    Arch::ScmpArchM68k
} else {
    panic!("the OCI spec has no seccomp name for this architecture")
};

/// Whether a kernel that runs `native` programs may also run those of `other`. Others need no code in the program:
/// no call of theirs can come.
pub fn may_meet(native: Arch, other: Arch) -> bool {
    family(native) == family(other)
}

fn family(arch: Arch) -> u8 {
    use Arch::*;
    match arch {
        ScmpArchNative => 0,
        ScmpArchX86 | ScmpArchX86_64 | ScmpArchX32 => 1,
        ScmpArchArm | ScmpArchAarch64 => 2,
        ScmpArchMips | ScmpArchMips64 | ScmpArchMips64n32 => 3,
        ScmpArchMipsel | ScmpArchMipsel64 | ScmpArchMipsel64n32 => 4,
        ScmpArchPpc | ScmpArchPpc64 => 5,
        ScmpArchPpc64le => 6,
        ScmpArchS390 | ScmpArchS390x => 7,
        ScmpArchParisc | ScmpArchParisc64 => 8,
        ScmpArchRiscv64 => 9,
        ScmpArchLoongarch64 => 10,
        ScmpArchM68k => 11,
        ScmpArchSh => 12,
        ScmpArchSheb => 13,
    }
}

fn name(id: NameId) -> &'static [u8] {
    let at = |i: usize| usize::from(tables::OFFSETS[i]);
    &tables::BLOB[at(id)..at(id + 1)]
}

/// A name as text.
pub(super) fn text(id: NameId) -> &'static str {
    std::str::from_utf8(name(id)).unwrap_or_default()
}

/// Finds a system call's name in the tables; none if no architecture has it.
///
/// Profiles list names sorted, so the search gallops from `hint`, the last one found: two or three comparisons a
/// name instead of ten.
pub(super) fn name_id(wanted: &[u8], hint: NameId) -> Option<NameId> {
    let (mut low, mut high) = (0, tables::COUNT);
    if hint < high && name(hint) <= wanted {
        low = hint;
        let mut step = 1;
        while low + step < high {
            if name(low + step) > wanted {
                high = low + step;
                break;
            }
            low += step;
            step *= 2;
        }
    }
    while high - low > 1 {
        let middle = low.midpoint(high);
        if name(middle) <= wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    (name(low) == wanted).then_some(low)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Every number of one architecture by the `syscalls` crate, but for its errors.
    macro_rules! check_table {
        ($arch:expr, $module:ident) => {
            let abi = Abi::of($arch);
            let ours: BTreeMap<String, u32> = (0..tables::COUNT)
                .filter_map(|id| {
                    Some((String::from_utf8(name(id).to_vec()).unwrap(), abi.number(abi.slot(id)?)))
                })
                .collect();
            let mut checked = 0;
            for call in syscalls::$module::Sysno::iter() {
                let number = u32::try_from(call.id()).unwrap();
                let generic = matches!($arch, Arch::ScmpArchAarch64);
                if generic && (number == 79 || (403..=423).contains(&number)) {
                    continue;
                }
                let call = call.name().trim_start_matches("r#");
                assert_eq!(ours.get(call), Some(&number), "{} {call}", abi.arch);
                checked += 1;
            }
            assert!(checked > 300);
        };
    }

    /// [B4] Each architecture has its own numbers.
    #[test]
    fn numbers_are_those_of_the_kernel() {
        check_table!(Arch::ScmpArchX86_64, x86_64);
        check_table!(Arch::ScmpArchX86, x86);
        check_table!(Arch::ScmpArchAarch64, aarch64);
        check_table!(Arch::ScmpArchArm, arm);
        check_table!(Arch::ScmpArchRiscv64, riscv64);
        check_table!(Arch::ScmpArchS390x, s390x);
        check_table!(Arch::ScmpArchPpc64le, powerpc64);
        let number = |arch, call: &str| {
            let abi = Abi::of(arch);
            abi.slot(name_id(call.as_bytes(), 0).unwrap()).map(|slot| abi.number(slot))
        };
        assert_eq!(number(Arch::ScmpArchX32, "execve"), Some(X32_BIT + 520));
        assert_eq!(number(Arch::ScmpArchX32, "read"), Some(X32_BIT));
        assert_eq!(number(Arch::ScmpArchArm, "set_tls"), Some(0x000F_0005));
        assert_eq!(number(Arch::ScmpArchMips64n32, "read"), Some(6000));
        assert_eq!(number(Arch::ScmpArchAarch64, "newfstatat"), Some(79));
        assert_eq!(number(Arch::ScmpArchAarch64, "open"), None);
    }

    #[test]
    fn every_number_has_a_slot() {
        for row in &tables::NUMBERS {
            for &number in row {
                assert!(number < FIRST_PRIVATE || number == ABSENT || (0xF001..=0xF006).contains(&number));
            }
        }
        assert!(usize::from(FIRST_PRIVATE) + 6 < SLOTS);
    }

    #[test]
    fn every_name_is_found_from_every_hint() {
        for id in 0..tables::COUNT {
            for hint in (0..tables::COUNT).step_by(7).chain([id, id.saturating_sub(1), tables::COUNT]) {
                assert_eq!(name_id(name(id), hint), Some(id));
            }
        }
        assert_eq!(name_id(b"", 3), None);
        assert_eq!(name_id(b"opena", 0), None);
        assert_eq!(name_id(b"zzz", 0), None);
    }
}
