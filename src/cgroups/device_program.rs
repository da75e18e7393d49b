//! The device rules as a program of type `BPF_PROG_TYPE_CGROUP_DEVICE` for cgroup v2 (linux/bpf.h).
//!
//! The kernel runs it for each open and mknod with `struct bpf_cgroup_dev_ctx { u32 access_type, major, minor; }`,
//! where the low half of `access_type` is the type and the high half the uses asked for.

use std::os::fd::OwnedFd;

use super::devices::{Access, DeviceRules, Rule, Type};
use crate::error::{Error, Result};
use crate::sys::bpf::{Instruction, load_device_program};

const R0: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
/// The uses that no rule has decided yet.
const OPEN: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// Instruction codes (Documentation/bpf/standardization/instruction-set.rst).
const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbc;
const MOVE: u8 = 0xb7;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP: u8 = 0x05;
const JUMP_NOT_EQUAL: u8 = 0x55;
const JUMP_IF_ANY_BIT: u8 = 0x45;
const EXIT: u8 = 0x95;

const DEV_BLOCK: i32 = 1;
const DEV_CHAR: i32 = 2;

/// Compiles and loads the list.
///
/// # Errors
/// The kernel refuses the program; the verifier's reason is the hint.
pub fn load(rules: &DeviceRules) -> Result<OwnedFd> {
    let doing = "linux.resources.devices: load the device program";
    load_device_program(&compile(rules)).map_err(|(errno, log)| match log.as_str() {
        "" => Error::system(doing, errno),
        log => Error::system(doing, errno).hint(format!("the verifier says: {log}")),
    })
}

/// Compiles the list: each rule is tested in turn, the first that matches a use decides it.
pub fn compile(rules: &DeviceRules) -> Vec<Instruction> {
    let mut program = Vec::with_capacity(8 + rules.rules.len() * 7);
    program.extend([
        op(LOAD_WORD, TYPE, CONTEXT, 0, 0),
        op(MOVE_REGISTER, OPEN, TYPE, 0, 0),
        op(AND, TYPE, 0, 0, 0xffff),
        op(SHIFT_RIGHT, OPEN, 0, 0, 16),
        op(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        op(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ]);
    for rule in &rules.rules {
        add_rule(&mut program, rule);
    }
    answer(&mut program, rules.default_allow);
    program
}

fn add_rule(program: &mut Vec<Instruction>, rule: &Rule) {
    // The kernel has 12 bits of major and 20 of minor: a rule beyond the immediate's range matches nothing.
    let number = |number: Option<u32>| number.map(i32::try_from).transpose();
    let (Ok(major), Ok(minor)) = (number(rule.major), number(rule.minor)) else { return };
    let mut verdict = Vec::with_capacity(4);
    let access = i32::from(rule.access.bits());
    match (rule.allow, rule.access == Access::ALL) {
        (_, true) => {}
        (true, false) => {
            verdict.push(op(AND, OPEN, 0, 0, i32::from(Access::ALL.bits()) & !access));
            verdict.push(op(JUMP_NOT_EQUAL, OPEN, 0, 2, 0));
        }
        (false, false) => {
            verdict.push(op(JUMP_IF_ANY_BIT, OPEN, 0, 1, access));
            verdict.push(op(JUMP, 0, 0, 2, 0));
        }
    }
    answer(&mut verdict, rule.allow);
    let kind = if rule.kind == Type::Char { DEV_CHAR } else { DEV_BLOCK };
    let tests = [Some((TYPE, kind)), major.map(|n| (MAJOR, n)), minor.map(|n| (MINOR, n))];
    let count = tests.iter().flatten().count();
    for (done, (register, value)) in tests.into_iter().flatten().enumerate() {
        // At most two more tests and four instructions are jumped over.
        let over = i16::try_from(count - done - 1 + verdict.len()).unwrap_or(i16::MAX);
        program.push(op(JUMP_NOT_EQUAL, register, 0, over, value));
    }
    program.append(&mut verdict);
}

fn answer(program: &mut Vec<Instruction>, allow: bool) {
    program.extend([op(MOVE, R0, 0, 0, i32::from(allow)), op(EXIT, 0, 0, 0, 0)]);
}

fn op(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    // Two bit fields of four bits, laid out in the machine's order.
    let registers =
        if cfg!(target_endian = "big") { destination << 4 | source } else { source << 4 | destination };
    Instruction { code, registers, offset, immediate }
}

#[cfg(test)]
mod tests {
    use super::super::devices::Entry;
    use super::super::devices::tests::{entries, oracle, rule};
    use super::*;
    use proptest::prelude::*;

    /// Runs a program as the kernel would; panics on what the verifier would refuse.
    fn run(program: &[Instruction], kind: i32, access: u8, major: u32, minor: u32) -> bool {
        let context = [u32::from(access) << 16 | u32::try_from(kind).unwrap(), major, minor];
        let mut registers: [Option<u64>; 11] = [None; 11];
        let mut at = 0usize;
        for _ in 0..=program.len() {
            let i = program[at];
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            let immediate = i64::from(i.immediate).cast_unsigned();
            let low = immediate & 0xffff_ffff;
            at += 1;
            let jump = match i.code {
                LOAD_WORD => {
                    assert_eq!(from, usize::from(CONTEXT));
                    registers[to] = Some(context[usize::try_from(i.offset).unwrap() / 4].into());
                    false
                }
                MOVE_REGISTER => {
                    registers[to] = Some(registers[from].unwrap() & 0xffff_ffff);
                    false
                }
                MOVE => {
                    registers[to] = Some(immediate);
                    false
                }
                AND => {
                    registers[to] = Some(registers[to].unwrap() & low);
                    false
                }
                SHIFT_RIGHT => {
                    registers[to] = Some((registers[to].unwrap() & 0xffff_ffff) >> low);
                    false
                }
                JUMP => true,
                JUMP_NOT_EQUAL => registers[to].unwrap() != immediate,
                JUMP_IF_ANY_BIT => registers[to].unwrap() & immediate != 0,
                EXIT => return registers[0].unwrap() == 1,
                code => panic!("unknown instruction {code:#x}"),
            };
            if jump {
                at += usize::try_from(i.offset).expect("only forward jumps");
            }
        }
        panic!("no exit");
    }

    proptest! {
        /// [D10] The program answers as the full list does, combined uses included.
        #[test]
        fn the_program_decides_as_the_list(entries in entries()) {
            let program = compile(&DeviceRules::reduce(&entries));
            for (kind, number) in [(Type::Char, DEV_CHAR), (Type::Block, DEV_BLOCK)] {
                for (major, minor) in (1..5).flat_map(|a| (1..5).map(move |b| (a, b))) {
                    for access in 1..8 {
                        prop_assert_eq!(
                            run(&program, number, access, major, minor),
                            oracle(&entries, kind, major, minor, access)
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_beyond_the_kernels_match_nothing() {
        let Entry::Rule(far) = rule("allow c 4294967295:0 rwm") else { panic!("a rule") };
        let rules = DeviceRules { default_allow: false, rules: vec![far] };
        assert_eq!(compile(&rules).len(), 8);
    }
}
