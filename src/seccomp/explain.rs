//! What a profile says of one call, and which rule says so: read from the same tables that the program is made of.

use oci_spec::runtime::{Arch, LinuxSeccomp};

use super::arch::{Abi, X32_BIT};
use super::conditions::holds;
use super::error::CompileError;
use super::profile::Profile;
use super::program::{BAD_ARCH, Section, Table, Verdict, abis, build, newer};

pub use super::profile::Condition;

/// A profile that can be asked.
#[derive(Debug)]
pub struct Explainer {
    profile: Profile,
    abis: Vec<Abi>,
    newer: Option<u32>,
}

/// What can happen to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// In the order in which they are tried. The last one happens if nothing before it does.
    pub outcomes: Vec<Outcome>,
}

/// One thing that can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The filter's return value, `SECCOMP_RET_*`.
    pub action: u32,
    /// Why.
    pub reason: Reason,
    /// Under which conditions, all of them.
    pub conditions: Vec<Condition>,
    /// Whether they hold for the arguments given.
    pub holds: Holds,
}

/// Whether conditions hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// All.
    Yes,
    /// At least one does not.
    No,
    /// An argument that was not given decides.
    Perhaps,
}

/// Where a verdict comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `syscalls[n]`.
    Rule(usize),
    /// `syscalls[rule]`, which names the call that socketcall(2) or ipc(2) was asked for.
    Behind {
        /// The rule.
        rule: usize,
        /// The call's name.
        call: &'static str,
    },
    /// No rule: `defaultAction`.
    Default,
    /// Above the greatest number that the profile names on this architecture.
    Newer {
        /// That number.
        last: u32,
    },
    /// The profile does not list the architecture.
    Architecture,
}

impl Answer {
    /// The one action that happens, if the arguments given leave no other.
    pub fn decided(&self) -> Option<u32> {
        let possible = || self.outcomes.iter().filter(|outcome| outcome.holds != Holds::No);
        let first = possible().next()?.action;
        possible().all(|outcome| outcome.action == first).then_some(first)
    }

    fn only(action: u32, reason: Reason) -> Self {
        Self { outcomes: vec![Outcome { action, reason, conditions: Vec::new(), holds: Holds::Yes }] }
    }
}

impl Explainer {
    /// Reads a profile for a kernel whose own architecture is `native`.
    ///
    /// # Errors
    /// As [`super::compile`].
    pub fn new(source: &LinuxSeccomp, native: Arch) -> Result<Self, CompileError> {
        let profile = Profile::check(source)?;
        let listed = source.architectures().as_deref().unwrap_or_default();
        build(&profile, source.default_action(), listed, native)?;
        Ok(Self { profile, abis: abis(listed, native), newer: newer(source.default_action()) })
    }

    /// The architectures whose calls the program knows, the kernel's own first.
    pub fn architectures(&self) -> impl Iterator<Item = Arch> + '_ {
        self.abis.iter().map(|abi| abi.arch)
    }

    /// The verdict where no rule says anything.
    pub fn default_action(&self) -> u32 {
        self.profile.default_action
    }

    /// The verdict for calls newer than the profile, where it is not that of [`Explainer::default_action`].
    pub fn newer(&self) -> Option<u32> {
        self.newer
    }

    /// Names that no architecture has.
    pub fn unknown_names(&self) -> &[String] {
        &self.profile.unknown_names
    }

    /// The greatest number that the profile names.
    pub fn last(&self, arch: Arch) -> Option<u32> {
        let section = self.section(arch)?;
        let table = section.tables.iter().find(|table| table.abi.arch == arch)?;
        table.last.map(|slot| table.abi.number(slot))
    }

    /// What happens to a call of a program of `arch`; an argument that is `None` can be anything.
    pub fn answer(&self, arch: Arch, number: u32, args: &[Option<u64>; 6]) -> Answer {
        match self.section(arch) {
            Some(section) => self.answer_in(&section, number, args),
            None => Answer::only(BAD_ARCH, Reason::Architecture),
        }
    }

    /// The answer for every call that `arch` has, by name.
    pub fn every_call(&self, arch: Arch) -> Vec<(&'static str, Answer)> {
        let Some(section) = self.section(arch) else { return Vec::new() };
        let calls = Abi::of(arch);
        calls.calls().map(|(name, number)| (name, self.answer_in(&section, number, &[None; 6]))).collect()
    }

    fn section(&self, arch: Arch) -> Option<Section<'_>> {
        let audit = Abi::of(arch).audit();
        self.abis
            .iter()
            .any(|abi| abi.audit() == audit)
            .then(|| Section::new(&self.profile, &self.abis, audit, self.newer))
    }

    fn answer_in(&self, section: &Section<'_>, number: u32, args: &[Option<u64>; 6]) -> Answer {
        let at = section.spans.partition_point(|span| span.start <= number);
        match section.spans[at - 1].verdict {
            Verdict::Action(action) => Answer::only(action, self.reason(section, number, action)),
            // Its slot may be that of a neighbour with the same conditions, but another rule.
            Verdict::Conditional { table, slot } => {
                let table = &section.tables[usize::from(table)];
                self.tried(table, table.abi.slot_of(number).unwrap_or(slot.into()), args)
            }
        }
    }

    /// Why a number's verdict needs no look at the arguments.
    fn reason(&self, section: &Section<'_>, number: u32, action: u32) -> Reason {
        let x32 = |table: &&Table<'_>| (table.abi.arch == Arch::ScmpArchX32) == (number & X32_BIT != 0);
        let table = match section.tables.as_slice() {
            [one] if !matches!(one.abi.arch, Arch::ScmpArchX86_64 | Arch::ScmpArchX32) => Some(one),
            tables => tables.iter().find(x32),
        };
        let Some(table) = table else {
            let refused = action == BAD_ARCH && number != u32::MAX;
            return if refused { Reason::Architecture } else { Reason::Default };
        };
        let slot = table.abi.slot_of(number);
        if let Some(slot) = slot.filter(|slot| table.slots[*slot] == Some(action)) {
            let names_it = |entry: &&super::profile::Entry| table.abi.slot(entry.name) == Some(slot);
            let mut alternatives = self
                .profile
                .entries
                .iter()
                .filter(names_it)
                .flat_map(|entry| self.profile.alternatives[entry.alternatives.clone()].iter());
            if let Some(found) = alternatives.find(|alternative| alternative.conditions.is_empty()) {
                return Reason::Rule(found.rule);
            }
        }
        match table.last.map(|last| table.abi.number(last)) {
            // s390's setup(2) stands for all numbers that it has not.
            Some(last) if self.newer == Some(action) && (number > last || slot == Some(0)) => {
                Reason::Newer { last }
            }
            _ => Reason::Default,
        }
    }

    /// The conditional rules up to the first that surely holds.
    fn tried(&self, table: &Table<'_>, slot: usize, args: &[Option<u64>; 6]) -> Answer {
        let width = if table.abi.wide { u64::MAX } else { u64::from(u32::MAX) };
        let mut outcomes = Vec::new();
        for rule in table.rules(slot) {
            let conditions = rule.conditions().to_vec();
            let one = |condition: &Condition| {
                args[usize::from(condition.index)].map(|argument| holds(condition, argument, width))
            };
            let holds = match conditions.iter().map(one).reduce(both) {
                Some(Some(false)) => Holds::No,
                Some(None) => Holds::Perhaps,
                _ => Holds::Yes,
            };
            let reason = match rule.call.and_then(|call| table.abi.behind(slot, call.datum)) {
                Some(call) => Reason::Behind { rule: rule.rule, call },
                None => Reason::Rule(rule.rule),
            };
            outcomes.push(Outcome { action: rule.action, reason, conditions, holds });
            if holds == Holds::Yes {
                return Answer { outcomes };
            }
        }
        let holds = match outcomes.iter().all(|outcome| outcome.holds == Holds::No) {
            true => Holds::Yes,
            false => Holds::Perhaps,
        };
        let action = self.profile.default_action;
        outcomes.push(Outcome { action, reason: Reason::Default, conditions: Vec::new(), holds });
        Answer { outcomes }
    }
}

/// "And", where one may be unknown.
fn both(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// The number of a call; a name by `arch`'s table, a number as it is.
pub fn number(arch: Arch, call: &str) -> Option<u32> {
    Abi::of(arch).calls().find(|(name, _)| *name == call).map(|(_, number)| number)
}

/// The call's name, if `arch` has one with that number.
pub fn name(arch: Arch, number: u32) -> Option<&'static str> {
    Abi::of(arch).calls().find(|(_, known)| *known == number).map(|(name, _)| name)
}

/// The kernel's `AUDIT_ARCH_*`; x86-64 and x32 have the same.
pub fn audit(arch: Arch) -> u32 {
    Abi::of(arch).audit()
}

/// The names of an architecture's calls.
pub fn names(arch: Arch) -> Vec<&'static str> {
    Abi::of(arch).calls().map(|(name, _)| name).collect()
}
