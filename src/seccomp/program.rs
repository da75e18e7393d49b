//! From the checked profile to the program: a verdict for every number of every architecture, then a tree each.

use oci_spec::runtime::{Arch, LinuxSeccompAction, LinuxSeccompOperator};
use seccompiler::sock_filter;

use super::arch::{Abi, NATIVE, SLOTS, Slot, X32_BIT, may_meet};
use super::assembler::{Assembler, Span, Target, Test, push_span, tree};
use super::conditions::{self, Choice};
use super::error::CompileError;
use super::profile::{Alternative, Condition, Entry, Profile, precedence};

/// `offsetof(struct seccomp_data, nr)` and `arch`.
const NR: u32 = 0;
const ARCH: u32 = 4;
/// What libseccomp does for an architecture that the profile does not list.
pub(super) const BAD_ARCH: u32 = libc::SECCOMP_RET_KILL_THREAD;
pub(super) const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | 38;
/// `BPF_MAXINSNS`.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Compiles for a kernel whose own architecture is `native`.
pub(super) fn build(
    profile: &Profile,
    default: LinuxSeccompAction,
    listed: &[Arch],
    native: Arch,
) -> Result<Vec<sock_filter>, CompileError> {
    let newer = newer(default);
    let abis = abis(listed, native);
    let mut audits: Vec<u32> = Vec::with_capacity(abis.len());
    for abi in &abis {
        if !audits.contains(&abi.audit()) {
            audits.push(abi.audit());
        }
    }
    let mut assembler = Assembler::with_capacity(512);
    let mut head = Target::Return(BAD_ARCH);
    let mut sections = Vec::with_capacity(audits.len());
    let mut blocks = Blocks::default();
    // Written from the end, so the native architecture is looked for first and stands first.
    for audit in audits.into_iter().rev() {
        let section = Section::new(profile, &abis, audit, newer);
        sections.push((audit, section.write(&mut assembler, &mut blocks)?));
    }
    for (audit, section) in sections {
        head = assembler.branch(Test::Equal, audit, section, head);
    }
    head = assembler.load(ARCH, head);
    let instructions = assembler.finish(head);
    if instructions.len() > MAX_INSTRUCTIONS {
        return Err(CompileError::TooLong { length: instructions.len(), max: MAX_INSTRUCTIONS });
    }
    Ok(instructions)
}

/// The verdict for calls newer than the profile, where that is not the default's.
pub(super) fn newer(default: LinuxSeccompAction) -> Option<u32> {
    use LinuxSeccompAction::{ScmpActAllow, ScmpActLog, ScmpActTrace};
    match default {
        ScmpActAllow | ScmpActLog | ScmpActTrace => None,
        _ => Some(ENOSYS),
    }
}

/// The architectures that calls can come from, `native` first: it counts even if the profile does not list it.
pub(super) fn abis(listed: &[Arch], native: Arch) -> Vec<Abi> {
    let native = if native == Arch::ScmpArchNative { NATIVE } else { native };
    let mut abis = Vec::with_capacity(listed.len() + 1);
    abis.push(Abi::of(native));
    for &arch in listed {
        let new = arch != Arch::ScmpArchNative && abis.iter().all(|abi| abi.arch != arch);
        if new && may_meet(native, arch) {
            abis.push(Abi::of(arch));
        }
    }
    abis
}

/// What a number leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Action(u32),
    /// The conditional rules of a slot of one of the section's tables.
    Conditional {
        table: u8,
        slot: u16,
    },
}

/// What the profile says of one architecture's calls.
pub(super) struct Table<'a> {
    pub(super) abi: Abi,
    /// Actions; none where there is no rule or one with conditions.
    pub(super) slots: [Option<u32>; SLOTS],
    conditional: Vec<Conditional<'a>>,
    /// The greatest slot that the profile names.
    pub(super) last: Option<Slot>,
}

/// A rule with conditions.
#[derive(Clone, Copy)]
pub(super) struct Conditional<'a> {
    slot: Slot,
    pub(super) rule: usize,
    pub(super) action: u32,
    conditions: &'a [Condition],
    /// The call behind socketcall(2) or ipc(2) instead of `conditions`.
    pub(super) call: Option<Condition>,
}

impl Conditional<'_> {
    pub(super) fn conditions(&self) -> &[Condition] {
        self.call.as_ref().map_or(self.conditions, std::slice::from_ref)
    }
}

impl<'a> Table<'a> {
    fn fill(profile: &'a Profile, abi: Abi, newer: Option<u32>) -> Self {
        let mut table = Self { abi, slots: [None; SLOTS], conditional: Vec::new(), last: None };
        for entry in &profile.entries {
            if let Some(slot) = abi.slot(entry.name) {
                table.last = table.last.max(Some(slot));
                for alternative in &profile.alternatives[entry.alternatives.clone()] {
                    table.add(slot, alternative, profile.conditions(alternative));
                }
            }
            table.add_multiplexed(profile, entry);
        }
        // s390 has its greater numbers in a register behind call 0, setup(2); one the kernel does not know stays 0.
        if table.last.is_some()
            && newer.is_some()
            && matches!(abi.arch, Arch::ScmpArchS390 | Arch::ScmpArchS390x)
        {
            table.slots[0] = newer;
        }
        table
    }

    /// As in libseccomp, a rule without conditions overrides those with some, and the first of several holds.
    fn add(&mut self, slot: Slot, alternative: &Alternative, conditions: &'a [Condition]) {
        if self.slots[slot].is_some() {
            return;
        }
        let &Alternative { action, rule, .. } = alternative;
        if conditions.is_empty() {
            self.slots[slot] = Some(action);
        } else {
            self.conditional.push(Conditional { slot, rule, action, conditions, call: None });
        }
    }

    /// The same rule for the call behind socketcall(2) or ipc(2).
    ///
    /// There the arguments are in memory, where a filter cannot see them. A rule with conditions therefore says
    /// nothing there if it is laxer than the default, and holds always if it is stricter.
    fn add_multiplexed(&mut self, profile: &'a Profile, entry: &Entry) {
        let Some((slot, call)) = self.abi.multiplexed(entry.name) else { return };
        if self.slots[slot].is_some() {
            return;
        }
        for alternative in &profile.alternatives[entry.alternatives.clone()] {
            let strict = severity(alternative.action) > severity(profile.default_action);
            if !strict && !alternative.conditions.is_empty() {
                continue;
            }
            // The kernel takes ipc's call from the low 16 bits; the others are a version.
            let (operator, mask) = match strict {
                true => (LinuxSeccompOperator::ScmpCmpMaskedEq, 0xFFFF),
                false => (LinuxSeccompOperator::ScmpCmpEq, u64::MAX),
            };
            let &Alternative { action, rule, .. } = alternative;
            let call = Some(Condition { index: 0, operator, datum: call, mask });
            self.conditional.push(Conditional { slot, rule, action, conditions: &[], call });
        }
    }

    /// Adds the verdicts of all slots and of the numbers above.
    fn add_spans(&self, spans: &mut Vec<Span<Verdict>>, table: u8, default: u32, newer: Option<u32>) {
        let Some(last) = self.last else {
            push_span(spans, self.abi.base, Verdict::Action(default));
            return;
        };
        let mut conditional = [false; SLOTS];
        for rule in &self.conditional {
            conditional[rule.slot] = true;
        }
        // Neighbours with the same rules are one range: the slot that stands for the last one with conditions.
        let mut before: Option<(Slot, Vec<Conditional>)> = None;
        let mut expected = self.abi.base;
        for (slot, conditional) in conditional.into_iter().enumerate().take(last + 1) {
            let number = self.abi.number(slot);
            if number != expected {
                push_span(spans, expected, Verdict::Action(default));
            }
            let verdict = match (self.slots[slot], u16::try_from(slot)) {
                (Some(action), _) => Verdict::Action(action),
                (None, Ok(_)) if conditional => {
                    let rules = self.rules(slot);
                    let first = match before {
                        Some((first, known)) if same(&known, &rules) => first,
                        _ => slot,
                    };
                    before = Some((first, rules));
                    Verdict::Conditional { table, slot: u16::try_from(first).unwrap_or_default() }
                }
                _ => Verdict::Action(default),
            };
            push_span(spans, number, verdict);
            expected = number + 1;
        }
        push_span(spans, expected, Verdict::Action(newer.unwrap_or(default)));
    }

    /// The rules of a slot, in the order in which they are tried.
    pub(super) fn rules(&self, slot: Slot) -> Vec<Conditional<'a>> {
        let listed: Vec<Conditional> =
            self.conditional.iter().filter(|rule| rule.slot == slot).copied().collect();
        let conditions: Vec<&[Condition]> = listed.iter().map(Conditional::conditions).collect();
        let mut order: Vec<usize> = (0..listed.len()).collect();
        order.sort_by(|a, b| precedence(&conditions, *a, *b));
        let mut rules: Vec<Conditional> = order.into_iter().map(|at| listed[at]).collect();
        // As in libseccomp, a rule swallows those that begin like it and ask for more.
        let mut at = 1;
        while at < rules.len() {
            let swallowed = rules[..at].iter().any(|wider| {
                let (wider, this) = (wider.conditions(), rules[at].conditions());
                wider.len() < this.len() && this.starts_with(wider)
            });
            if swallowed {
                rules.remove(at);
            } else {
                at += 1;
            }
        }
        rules
    }
}

/// What one `AUDIT_ARCH_*` needs: one table, or those of x86-64 and x32.
pub(super) struct Section<'a> {
    pub(super) tables: Vec<Table<'a>>,
    /// The verdicts of all 2^32 numbers.
    pub(super) spans: Vec<Span<Verdict>>,
    default: u32,
}

impl<'a> Section<'a> {
    pub(super) fn new(profile: &'a Profile, abis: &[Abi], audit: u32, newer: Option<u32>) -> Self {
        let same = abis.iter().filter(|abi| abi.audit() == audit);
        let tables: Vec<Table> = same.map(|abi| Table::fill(profile, *abi, newer)).collect();
        let spans = spans(&tables, profile.default_action, newer);
        Self { tables, spans, default: profile.default_action }
    }

    fn write(&self, assembler: &mut Assembler, blocks: &mut Blocks<'a>) -> Result<Target, CompileError> {
        let mut result = Ok(());
        // What looks at arguments is some comparisons deep itself.
        let weight = |verdict| if matches!(verdict, Verdict::Action(_)) { 1 } else { 8 };
        let body = tree(assembler, &self.spans, &weight, &mut |assembler, verdict| match verdict {
            Verdict::Action(action) => Target::Return(action),
            Verdict::Conditional { table, slot } => blocks
                .write(assembler, &self.tables[usize::from(table)], slot.into(), self.default)
                .unwrap_or_else(|error| {
                    result = Err(error);
                    Target::Return(BAD_ARCH)
                }),
        });
        result?;
        Ok(assembler.load(NR, body))
    }
}

/// What is written already of the code that looks at arguments: calls with the same rules share it.
#[derive(Default)]
struct Blocks<'a>(Vec<(bool, Vec<Conditional<'a>>, Target)>);

impl<'a> Blocks<'a> {
    /// Writes the rules of a slot, or finds them.
    fn write(
        &mut self,
        assembler: &mut Assembler,
        table: &Table<'a>,
        slot: Slot,
        default: u32,
    ) -> Result<Target, CompileError> {
        let rules = table.rules(slot);
        let known = self.0.iter().find(|(wide, known, _)| *wide == table.abi.wide && same(known, &rules));
        if let Some((_, _, target)) = known {
            return Ok(*target);
        }
        for pair in rules.windows(2) {
            if pair[0].conditions() == pair[1].conditions() && pair[0].action != pair[1].action {
                return Err(CompileError::Contradiction { rule: pair[1].rule, other: pair[0].rule });
            }
        }
        let choices: Vec<Choice> =
            rules.iter().map(|rule| Choice { action: rule.action, conditions: rule.conditions() }).collect();
        let target = conditions::write(assembler, &table.abi, &choices, default);
        self.0.push((table.abi.wide, rules, target));
        Ok(target)
    }
}

/// Whether two calls have the same rules.
fn same(a: &[Conditional<'_>], b: &[Conditional<'_>]) -> bool {
    let equal =
        |a: &Conditional<'_>, b: &Conditional<'_>| a.action == b.action && a.conditions() == b.conditions();
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
}

/// The verdicts of all 2^32 numbers of one section.
fn spans(tables: &[Table], default: u32, newer: Option<u32>) -> Vec<Span<Verdict>> {
    let mut spans = Vec::with_capacity(160);
    push_span(&mut spans, 0, Verdict::Action(default));
    let find = |arch| (0..).zip(tables).find(|(_, table)| table.abi.arch == arch);
    let (amd64, x32) = (find(Arch::ScmpArchX86_64), find(Arch::ScmpArchX32));
    if amd64.is_none() && x32.is_none() {
        for table in tables {
            table.add_spans(&mut spans, 0, default, newer);
        }
        return spans;
    }
    for (found, base) in [(amd64, 0), (x32, X32_BIT)] {
        match found {
            Some((at, table)) => table.add_spans(&mut spans, at, default, newer),
            None => push_span(&mut spans, base, Verdict::Action(BAD_ARCH)),
        }
    }
    // Above 2^31 runc's ENOSYS still goes by bit 30, and libseccomp takes all numbers from 2^30 for x32's. But -1, by
    // which a tracer skips a call, is of the wrong architecture for neither.
    let rest = if x32.is_some() { default } else { BAD_ARCH };
    let above =
        |found: Option<(u8, &Table)>| found.and_then(|(_, table)| table.last).and(newer).unwrap_or(rest);
    push_span(&mut spans, 2 * X32_BIT, Verdict::Action(above(amd64)));
    push_span(&mut spans, 3 * X32_BIT, Verdict::Action(above(x32)));
    if x32.is_none() {
        push_span(&mut spans, u32::MAX, Verdict::Action(default));
    }
    spans
}

/// How strict an action is, by the kernel's order of precedence of several filters (seccomp(2)).
fn severity(action: u32) -> u8 {
    match action & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_KILL_PROCESS => 7,
        libc::SECCOMP_RET_KILL_THREAD => 6,
        libc::SECCOMP_RET_TRAP => 5,
        libc::SECCOMP_RET_ERRNO => 4,
        libc::SECCOMP_RET_USER_NOTIF => 3,
        libc::SECCOMP_RET_TRACE => 2,
        libc::SECCOMP_RET_LOG => 1,
        _ => 0,
    }
}
