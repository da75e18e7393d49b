//! Runs a filter as the kernel would: every access checked, as the kernel's verifier does when it is loaded.

use seccompiler::sock_filter;

/// `struct seccomp_data` without the instruction pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) arch: u32,
    pub(super) nr: u32,
    pub(super) args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32, big_endian: bool) -> u32 {
        match offset {
            0 => self.nr,
            4 => self.arch,
            16..64 if offset.is_multiple_of(4) => {
                let arg = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) == big_endian {
                    (arg >> 32) as u32
                } else {
                    (arg & 0xFFFF_FFFF) as u32
                }
            }
            _ => panic!("load from {offset}"),
        }
    }
}

/// The program's return value and how many instructions it took.
pub(super) fn run(program: &[sock_filter], call: &Call, big_endian: bool) -> (u32, usize) {
    let mut accumulator = 0;
    let mut at = 0;
    for steps in 1..=program.len() {
        let instruction = &program[at];
        at += 1;
        let k = instruction.k;
        let test = match instruction.code {
            0x20 => {
                accumulator = call.word(k, big_endian);
                continue;
            }
            0x06 => return (k, steps),
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
            other => panic!("instruction {other:#x}"),
        };
        at += usize::from(if test { instruction.jt } else { instruction.jf });
    }
    panic!("the program does not end");
}
