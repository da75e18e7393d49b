//! The part of the program that looks at a system call's arguments.

use oci_spec::runtime::LinuxSeccompOperator::{
    ScmpCmpEq as Eq, ScmpCmpGe as Ge, ScmpCmpGt as Gt, ScmpCmpLe as Le, ScmpCmpLt as Lt,
    ScmpCmpMaskedEq as MaskedEq, ScmpCmpNe as Ne,
};

use super::arch::Abi;
use super::assembler::{Assembler, Span, Target, Test, push_span, tree};
use super::profile::Condition;

/// `offsetof(struct seccomp_data, args)`.
const ARGS: u32 = 16;

/// An action and the conditions under which it is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    pub(super) action: u32,
    pub(super) conditions: &'a [Condition],
}

/// Writes `choices`, the first that holds wins, and `otherwise` if none does.
pub(super) fn write(assembler: &mut Assembler, abi: &Abi, choices: &[Choice], otherwise: u32) -> Target {
    if let Some(index) = common_argument(choices) {
        return Ranges { abi, index, choices, otherwise }.write(assembler);
    }
    let mut next = Target::Return(otherwise);
    for choice in choices.iter().rev() {
        let mut holds = Target::Return(choice.action);
        for condition in choice.conditions.iter().rev() {
            holds = write_condition(assembler, abi, condition, holds, next);
        }
        next = holds;
    }
    next
}

/// The argument, if all choices are one plain comparison of the same one.
fn common_argument(choices: &[Choice]) -> Option<u8> {
    let index = choices.first()?.conditions.first()?.index;
    let same = |choice: &Choice| match choice.conditions {
        [one] => one.index == index && one.operator != MaskedEq,
        _ => false,
    };
    choices.iter().all(same).then_some(index)
}

fn write_condition(
    assembler: &mut Assembler,
    abi: &Abi,
    condition: &Condition,
    yes: Target,
    no: Target,
) -> Target {
    let (test, yes, no) = match condition.operator {
        Eq | MaskedEq => (Test::Equal, yes, no),
        Ne => (Test::Equal, no, yes),
        Gt => (Test::Greater, yes, no),
        Ge => (Test::GreaterOrEqual, yes, no),
        Lt => (Test::GreaterOrEqual, no, yes),
        Le => (Test::Greater, no, yes),
    };
    let (high_datum, low_datum) = halves(condition.datum);
    let (high_mask, low_mask) = halves(condition.mask);
    let mut start = yes;
    if low_mask != 0 {
        start = assembler.branch(test, low_datum, yes, no);
        if low_mask != u32::MAX {
            start = assembler.mask(low_mask, start);
        }
        start = assembler.load(low(abi, condition.index), start);
    }
    if abi.wide && high_mask != 0 {
        start = assembler.branch(Test::Equal, high_datum, start, no);
        if test != Test::Equal {
            start = assembler.branch(Test::Greater, high_datum, yes, start);
        }
        if high_mask != u32::MAX {
            start = assembler.mask(high_mask, start);
        }
        start = assembler.load(high(abi, condition.index), start);
    }
    start
}

/// High and low word.
fn halves(value: u64) -> (u32, u32) {
    let low = u32::try_from(value & 0xFFFF_FFFF).unwrap_or_default();
    let high = u32::try_from(value >> 32).unwrap_or_default();
    (high, low)
}

/// The offset of an argument's low word in `seccomp_data`.
fn low(abi: &Abi, index: u8) -> u32 {
    ARGS + 8 * u32::from(index) + if abi.big_endian { 4 } else { 0 }
}

/// The offset of an argument's high word in `seccomp_data`.
fn high(abi: &Abi, index: u8) -> u32 {
    ARGS + 8 * u32::from(index) + if abi.big_endian { 0 } else { 4 }
}

/// Comparisons of one argument as a partition of its values, which makes them a tree like that of the numbers.
struct Ranges<'a> {
    abi: &'a Abi,
    index: u8,
    choices: &'a [Choice<'a>],
    otherwise: u32,
}

/// What a high word decides.
#[derive(Clone, Copy, PartialEq)]
enum High {
    Action(u32),
    /// Look at the low word: a range of `Ranges::parts`.
    Low {
        from: usize,
        to: usize,
    },
}

impl Ranges<'_> {
    fn write(&self, assembler: &mut Assembler) -> Target {
        let parts = self.parts();
        if !self.abi.wide {
            let spans: Vec<_> =
                parts.iter().map(|&(start, verdict)| Span { start: halves(start).1, verdict }).collect();
            let body = tree(assembler, &spans, &|_| 1, &mut |_, action| Target::Return(action));
            return assembler.load(low(self.abi, self.index), body);
        }
        let mut spans: Vec<Span<High>> = Vec::new();
        let mut at = 0;
        while let Some(&(start, action)) = parts.get(at) {
            let word = start >> 32;
            let end = at + parts[at..].iter().take_while(|part| part.0 >> 32 == word).count();
            let (word, low_word) = halves(start);
            if end == at + 1 && low_word == 0 {
                push_span(&mut spans, word, High::Action(action));
            } else {
                push_span(&mut spans, word, High::Low { from: at, to: end });
                if let Some(next) = word.checked_add(1) {
                    push_span(&mut spans, next, High::Action(parts[end - 1].1));
                }
            }
            at = end;
        }
        let weight = |verdict| match verdict {
            High::Action(_) => 1,
            High::Low { from, to } => to - from + 1,
        };
        let body = tree(assembler, &spans, &weight, &mut |assembler, verdict| match verdict {
            High::Action(action) => Target::Return(action),
            High::Low { from, to } => {
                let mut spans = Vec::with_capacity(to - from + 1);
                if let Some(before) = from.checked_sub(1) {
                    push_span(&mut spans, 0, parts[before].1);
                }
                for &(start, action) in &parts[from..to] {
                    push_span(&mut spans, halves(start).1, action);
                }
                let body = tree(assembler, &spans, &|_| 1, &mut |_, action| Target::Return(action));
                assembler.load(low(self.abi, self.index), body)
            }
        });
        assembler.load(high(self.abi, self.index), body)
    }

    /// The starts of the ranges with one action each, the first at 0.
    fn parts(&self) -> Vec<(u64, u32)> {
        let max = if self.abi.wide { u64::MAX } else { u64::from(u32::MAX) };
        let mut starts = Vec::with_capacity(2 * self.choices.len() + 1);
        starts.push(0);
        for choice in self.choices {
            let datum = choice.conditions[0].datum & max;
            let above = datum.checked_add(1).filter(|next| *next <= max);
            match choice.conditions[0].operator {
                Eq | Ne | MaskedEq => starts.extend([Some(datum), above].into_iter().flatten()),
                Lt | Ge => starts.push(datum),
                Le | Gt => starts.extend(above),
            }
        }
        starts.sort_unstable();
        starts.dedup();
        let mut parts: Vec<(u64, u32)> = Vec::with_capacity(starts.len());
        for start in starts {
            let first = self.choices.iter().find(|choice| holds(&choice.conditions[0], start, max));
            let action = first.map_or(self.otherwise, |choice| choice.action);
            if parts.last().is_none_or(|last| last.1 != action) {
                parts.push((start, action));
            }
        }
        parts
    }
}

/// Whether a comparison holds for an argument, of which the bits of `width` count.
pub(super) fn holds(condition: &Condition, argument: u64, width: u64) -> bool {
    let (argument, datum) = (argument & condition.mask & width, condition.datum & width);
    match condition.operator {
        Eq | MaskedEq => argument == datum,
        Ne => argument != datum,
        Lt => argument < datum,
        Le => argument <= datum,
        Gt => argument > datum,
        Ge => argument >= datum,
    }
}
