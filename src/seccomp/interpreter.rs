//! Runs a filter as the kernel would: every access checked, as the kernel's verifier does when it is loaded. It knows the
//! instructions that our programs are made of.

use seccompiler::sock_filter;

/// `struct seccomp_data` without the instruction pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) arch: u32,
    pub(super) nr: u32,
    pub(super) args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32, big_endian: bool) -> Option<u32> {
        match offset {
            0 => Some(self.nr),
            4 => Some(self.arch),
            16..64 if offset.is_multiple_of(4) => {
                let arg = self.args[(offset as usize - 16) / 8];
                let half = if offset.is_multiple_of(8) == big_endian { arg >> 32 } else { arg & 0xFFFF_FFFF };
                u32::try_from(half).ok()
            }
            _ => None,
        }
    }
}

/// The program's return value and how many instructions it took; None at an instruction that is not one of ours.
pub(super) fn evaluate(program: &[sock_filter], call: &Call, big_endian: bool) -> Option<(u32, usize)> {
    let mut accumulator = 0;
    let mut at = 0;
    for steps in 1..=program.len() {
        let instruction = program.get(at)?;
        at += 1;
        let k = instruction.k;
        let test = match instruction.code {
            0x20 => {
                accumulator = call.word(k, big_endian)?;
                continue;
            }
            0x06 => return Some((k, steps)),
            0x05 => {
                at += k as usize;
                continue;
            }
            0x54 => {
                accumulator &= k;
                continue;
            }
            0x15 => accumulator == k,
            0x25 => accumulator > k,
            0x35 => accumulator >= k,
            0x45 => accumulator & k != 0,
            _ => return None,
        };
        at += usize::from(if test { instruction.jt } else { instruction.jf });
    }
    None
}

/// As [`evaluate`], for programs of ours.
#[cfg(test)]
pub(super) fn run(program: &[sock_filter], call: &Call, big_endian: bool) -> (u32, usize) {
    evaluate(program, call, big_endian).expect("a program that ends, of our instructions")
}
