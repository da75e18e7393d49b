//! The program as text, in the manner of bpf_asm (the kernel's tools/bpf), with names in place of numbers.

use std::fmt::Write as _;

use oci_spec::runtime::Arch;
use seccompiler::sock_filter;

use super::Program;
use super::arch::{Abi, X32_BIT};
use super::words;

/// What the accumulator holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Unknown,
    Arch,
    Number,
    /// Half of an argument.
    Argument,
}

/// What is known where an instruction is reached.
#[derive(Clone, Copy, Debug)]
struct State {
    word: Word,
    /// `AUDIT_ARCH_*`, once it has been compared.
    audit: Option<u32>,
}

/// Writes the program of a kernel of `native` for people: a label where a jump goes, a comment where a number has a name.
pub fn disassemble(program: &Program, native: Arch) -> String {
    let code = &program.instructions;
    let big_endian = Abi::of(native).big_endian;
    let states = states(code);
    let mut text = format!("; {} instructions, at most {} for a call\n", code.len(), deepest(code));
    let mut audit = None;
    let labels = labels(code);
    for (at, instruction) in code.iter().enumerate() {
        let state = states[at];
        if state.audit != audit && instruction.code == LOAD {
            audit = state.audit;
            let _ = writeln!(text, "\n; {}", section(audit));
        }
        let label = labels[at].map(|label| format!("L{label}:")).unwrap_or_default();
        let (operation, comment) = line(at, instruction, state, &labels, big_endian);
        match comment {
            None => drop(writeln!(text, "{label:6}{operation}")),
            Some(comment) => drop(writeln!(text, "{label:6}{operation:34} ; {comment}")),
        }
    }
    text
}

const LOAD: u16 = 0x20;
const RETURN: u16 = 0x06;
const JUMP: u16 = 0x05;
const AND: u16 = 0x54;

/// Where control can go from an instruction.
fn targets(at: usize, instruction: &sock_filter) -> Vec<usize> {
    match instruction.code {
        RETURN => Vec::new(),
        LOAD | AND => vec![at + 1],
        JUMP => vec![at + 1 + usize::try_from(instruction.k).unwrap_or(usize::MAX)],
        _ => vec![at + 1 + usize::from(instruction.jt), at + 1 + usize::from(instruction.jf)],
    }
}

/// Every jump goes forward, so one pass tells what each instruction finds.
fn states(code: &[sock_filter]) -> Vec<State> {
    let mut states = vec![State { word: Word::Unknown, audit: None }; code.len()];
    for (at, instruction) in code.iter().enumerate() {
        let mut state = states[at];
        match (instruction.code, instruction.k) {
            (LOAD, 0) => state.word = Word::Number,
            (LOAD, 4) => state.word = Word::Arch,
            (LOAD, _) => state.word = Word::Argument,
            _ => {}
        }
        for (branch, target) in targets(at, instruction).into_iter().enumerate() {
            let mut next = state;
            if state.word == Word::Arch && branch == 0 && instruction.code == 0x15 {
                next.audit = Some(instruction.k);
            }
            if let Some(there) = states.get_mut(target) {
                *there = next;
            }
        }
    }
    states
}

/// The most instructions that one call can take.
fn deepest(code: &[sock_filter]) -> usize {
    let mut depths = vec![1; code.len()];
    for (at, instruction) in code.iter().enumerate() {
        for target in targets(at, instruction) {
            if let Some(depth) = depths.get(target).copied() {
                depths[target] = depth.max(depths[at] + 1);
            }
        }
    }
    depths.into_iter().max().unwrap_or_default()
}

/// A number for each instruction that a jump names.
fn labels(code: &[sock_filter]) -> Vec<Option<usize>> {
    let mut named = vec![false; code.len()];
    for (at, instruction) in code.iter().enumerate() {
        for target in targets(at, instruction) {
            if !matches!(instruction.code, LOAD | AND) && target < code.len() {
                named[target] = true;
            }
        }
    }
    let mut count = 0;
    let number = |named: bool| {
        count += usize::from(named);
        named.then_some(count)
    };
    named.into_iter().map(number).collect()
}

/// The operation and a comment.
fn line(
    at: usize,
    instruction: &sock_filter,
    state: State,
    labels: &[Option<usize>],
    big_endian: bool,
) -> (String, Option<String>) {
    let label = |target: usize| format!("L{}", labels.get(target).copied().flatten().unwrap_or_default());
    let &sock_filter { code, k, .. } = instruction;
    match code {
        LOAD => (format!("ld   {}", field(k, big_endian)), None),
        RETURN => (format!("ret  {}", words::verdict(k)), None),
        JUMP => (
            format!("jmp  {}", targets(at, instruction).first().copied().map(label).unwrap_or_default()),
            None,
        ),
        AND => (format!("and  {k:#x}"), None),
        _ => {
            let name = match code {
                0x15 => "jeq",
                0x25 => "jgt",
                0x35 => "jge",
                _ => "jset",
            };
            let targets: Vec<String> = targets(at, instruction).into_iter().map(label).collect();
            let k_text = match state.word {
                Word::Number if k < X32_BIT => k.to_string(),
                _ => format!("{k:#x}"),
            };
            (format!("{name:4} {k_text}, {}", targets.join(", ")), comment(state, k))
        }
    }
}

/// A word of `struct seccomp_data`.
fn field(offset: u32, big_endian: bool) -> String {
    match offset {
        0 => "nr".to_owned(),
        4 => "arch".to_owned(),
        8 | 12 => "ip".to_owned(),
        _ => {
            let half = if offset.is_multiple_of(8) == big_endian { "high" } else { "low" };
            format!("arg{}.{half}", (offset - 16) / 8)
        }
    }
}

/// What a constant means where it is compared.
fn comment(state: State, k: u32) -> Option<String> {
    match state.word {
        Word::Arch => Some(section(Some(k))),
        Word::Number => {
            let abis = abis(state.audit?);
            let abi = abis.iter().find(|abi| (abi.arch == Arch::ScmpArchX32) == (k & X32_BIT != 0))?;
            let name = super::name(abi.arch, k);
            Some(match (name, abi.arch) {
                (Some(name), Arch::ScmpArchX32) => format!("{name} (x32)"),
                (Some(name), _) => name.to_owned(),
                (None, _) => return None,
            })
        }
        Word::Argument | Word::Unknown => None,
    }
}

fn abis(audit: u32) -> Vec<Abi> {
    words::ARCHITECTURES.iter().map(|arch| Abi::of(*arch)).filter(|abi| abi.audit() == audit).collect()
}

fn section(audit: Option<u32>) -> String {
    let Some(audit) = audit else { return "any architecture".to_owned() };
    let names: Vec<String> = abis(audit).iter().map(|abi| words::architecture(abi.arch)).collect();
    names.join(" and ")
}
