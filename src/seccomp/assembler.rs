//! Writes classic BPF from its end to its start, so that every jump's target is known when the jump is written.

use seccompiler::sock_filter;

const LD_W_ABS: u16 = 0x20;
const JMP_JA: u16 = 0x05;
const ALU_AND_K: u16 = 0x54;
const RET_K: u16 = 0x06;

/// A conditional jump's comparison of the accumulator with a constant, unsigned (linux/bpf_common.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Test {
    Equal = 0x15,
    Greater = 0x25,
    GreaterOrEqual = 0x35,
}

/// Where control goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// An instruction, counted from the program's end, which has 1.
    At(usize),
    /// A return of this value, written where it is needed: a copy is as cheap as a jump to a far one.
    Return(u32),
}

/// The tail of a program.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    reversed: Vec<sock_filter>,
    /// The last written return of each value.
    returns: Vec<(u32, usize)>,
}

impl Assembler {
    pub(super) fn with_capacity(instructions: usize) -> Self {
        Self { reversed: Vec::with_capacity(instructions), returns: Vec::with_capacity(8) }
    }

    /// The program, starting with `entry`.
    pub(super) fn finish(mut self, entry: Target) -> Vec<sock_filter> {
        self.bring_next(entry);
        self.reversed.reverse();
        self.reversed
    }

    /// `if (A test k) goto yes; else goto no;`
    pub(super) fn branch(&mut self, test: Test, k: u32, mut yes: Target, mut no: Target) -> Target {
        if yes == no {
            return yes;
        }
        loop {
            match (self.distance(yes), self.distance(no)) {
                (Some(jt), Some(jf)) => return self.push(test as u16, jt, jf, k),
                (None, _) => yes = self.bring(yes),
                (_, None) => no = self.bring(no),
            }
        }
    }

    /// `A = *(u32 *)(seccomp_data + offset); goto next;`
    pub(super) fn load(&mut self, offset: u32, next: Target) -> Target {
        self.bring_next(next);
        self.push(LD_W_ABS, 0, 0, offset)
    }

    /// `A &= mask; goto next;`
    pub(super) fn mask(&mut self, mask: u32, next: Target) -> Target {
        self.bring_next(next);
        self.push(ALU_AND_K, 0, 0, mask)
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Target {
        self.reversed.push(sock_filter { code, jt, jf, k });
        Target::At(self.reversed.len())
    }

    /// The offset for a jump written now, if it fits.
    fn distance(&self, target: Target) -> Option<u8> {
        u8::try_from(self.reversed.len() - self.place(target)?).ok()
    }

    fn place(&self, target: Target) -> Option<usize> {
        match target {
            Target::At(place) => Some(place),
            Target::Return(value) => self.returns.iter().find(|known| known.0 == value).map(|known| known.1),
        }
    }

    /// Makes `target` the instruction that follows what is written now.
    fn bring_next(&mut self, target: Target) {
        if self.place(target) != Some(self.reversed.len()) {
            self.bring(target);
        }
    }

    /// Writes a return or a long jump that stands for `target`.
    fn bring(&mut self, target: Target) -> Target {
        match target {
            Target::At(place) => {
                let distance = u32::try_from(self.reversed.len() - place).unwrap_or(u32::MAX);
                self.push(JMP_JA, 0, 0, distance)
            }
            Target::Return(value) => {
                self.push(RET_K, 0, 0, value);
                let place = self.reversed.len();
                match self.returns.iter_mut().find(|known| known.0 == value) {
                    Some(known) => known.1 = place,
                    None => self.returns.push((value, place)),
                }
                target
            }
        }
    }
}

/// `verdict` holds from `start` to the next range's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span<V> {
    pub(super) start: u32,
    pub(super) verdict: V,
}

/// Adds a range at the end: merged with an equal neighbour, or in place of one that would be empty.
pub(super) fn push_span<V: PartialEq>(spans: &mut Vec<Span<V>>, start: u32, verdict: V) {
    if spans.last().is_some_and(|last| last.start == start) {
        spans.pop();
    }
    if spans.last().is_none_or(|last| last.verdict != verdict) {
        spans.push(Span { start, verdict });
    }
}

/// A balanced tree of comparisons of the accumulator: about log2(spans) deep, at most spans - 1 instructions.
///
/// `spans` is not empty; the first one starts at 0 or wherever the accumulator is known to be. `leaf` writes what is
/// done with a verdict; `weight` tells how many spans one with that verdict counts for, so that what goes on below a
/// leaf is balanced with the rest.
pub(super) fn tree<V: Copy + PartialEq>(
    assembler: &mut Assembler,
    spans: &[Span<V>],
    weight: &impl Fn(V) -> usize,
    leaf: &mut impl FnMut(&mut Assembler, V) -> Target,
) -> Target {
    match spans {
        [] => unreachable!("a tree has a span"),
        [one] => leaf(assembler, one.verdict),
        [around, one, after] if island(around, one, after) => {
            let no = leaf(assembler, around.verdict);
            let yes = leaf(assembler, one.verdict);
            assembler.branch(Test::Equal, one.start, yes, no)
        }
        // One instruction less than the tree has, and no deeper.
        [around, one, between, two, after] if island(around, one, between) && island(between, two, after) => {
            let no = leaf(assembler, around.verdict);
            let second = leaf(assembler, two.verdict);
            let no = assembler.branch(Test::Equal, two.start, second, no);
            let first = leaf(assembler, one.verdict);
            assembler.branch(Test::Equal, one.start, first, no)
        }
        _ => {
            let (low, high) = spans.split_at(middle(spans, weight));
            let yes = tree(assembler, high, weight, leaf);
            let no = tree(assembler, low, weight, leaf);
            assembler.branch(Test::GreaterOrEqual, high[0].start, yes, no)
        }
    }
}

/// Whether the second span is one number between equal neighbours.
fn island<V: PartialEq>(around: &Span<V>, one: &Span<V>, after: &Span<V>) -> bool {
    around.verdict == after.verdict && one.start.checked_add(1) == Some(after.start)
}

/// Where both sides weigh the same, as nearly as can be; neither is empty.
fn middle<V: Copy>(spans: &[Span<V>], weight: &impl Fn(V) -> usize) -> usize {
    let total: usize = spans.iter().map(|span| weight(span.verdict)).sum();
    let mut below = 0;
    for (at, span) in spans.iter().enumerate() {
        let with = below + weight(span.verdict);
        if 2 * with > total {
            // The span that lies across goes to the lighter side.
            let split = if with - total / 2 < total / 2 - below { at + 1 } else { at };
            return split.clamp(1, spans.len() - 1);
        }
        below = with;
    }
    spans.len() / 2
}
