//! The profile, checked and flattened: names are table indices, actions are the kernel's return values.

use std::cmp::Ordering;
use std::ops::Range;

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};

use super::arch::{NameId, name_id};
use super::error::CompileError;

/// `SECCOMP_RET_ERRNO | MAX_ERRNO`: the kernel cuts greater numbers down.
const MAX_ERRNO: u32 = 4095;
/// `SECCOMP_RET_DATA`.
const MAX_TRACE_DATA: u32 = 0xFFFF;

/// One comparison of one argument. `LinuxSeccompOperator` and all values are unsigned 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The argument, 0 to 5.
    pub index: u8,
    /// How it is compared.
    pub operator: LinuxSeccompOperator,
    /// Compared with the argument, or with its masked bits.
    pub datum: u64,
    /// All ones but for MASKED_EQ.
    pub mask: u64,
}

/// Conditions that must all hold for an action.
#[derive(Clone, Debug)]
pub(super) struct Alternative {
    pub(super) action: u32,
    /// The index in `syscalls`, for messages.
    pub(super) rule: usize,
    /// By rising argument index; in [`Profile::conditions`].
    pub(super) conditions: Range<usize>,
}

/// A name with the alternatives of its rule.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: NameId,
    /// In [`Profile::alternatives`]; empty for a rule that only repeats the default action.
    pub(super) alternatives: Range<usize>,
}

/// A checked profile.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) default_action: u32,
    pub(super) conditions: Vec<Condition>,
    pub(super) alternatives: Vec<Alternative>,
    /// In the profile's order, because of two unconditional rules for one name the first holds.
    pub(super) entries: Vec<Entry>,
    pub(super) notify: bool,
    pub(super) unknown_names: Vec<String>,
}

impl Profile {
    pub(super) fn check(source: &LinuxSeccomp) -> Result<Self, CompileError> {
        if source.default_action() == LinuxSeccompAction::ScmpActNotify {
            return Err(CompileError::NotifyByDefault);
        }
        let errno = source.default_errno_ret();
        let default_action =
            action(source.default_action(), errno, || "linux.seccomp.defaultErrnoRet".to_owned())?;
        let rules = source.syscalls().as_deref().unwrap_or_default();
        let mut profile = Self {
            default_action,
            conditions: Vec::new(),
            alternatives: Vec::with_capacity(rules.len()),
            entries: Vec::with_capacity(rules.iter().map(|rule| rule.names().len()).sum()),
            notify: false,
            unknown_names: Vec::new(),
        };
        let listener = source.listener_path().as_ref().is_some_and(|path| !path.as_os_str().is_empty());
        for (at, rule) in rules.iter().enumerate() {
            if rule.action() == LinuxSeccompAction::ScmpActNotify {
                if !listener {
                    return Err(CompileError::NoListener { rule: at });
                }
                profile.notify = true;
            }
            let alternatives = profile.add_alternatives(at, rule)?;
            profile.add_names(at, rule, &alternatives)?;
        }
        if !listener && source.listener_metadata().as_ref().is_some_and(|text| !text.is_empty()) {
            return Err(CompileError::MetadataWithoutListener);
        }
        Ok(profile)
    }

    fn add_names(
        &mut self,
        at: usize,
        rule: &LinuxSyscall,
        alternatives: &Range<usize>,
    ) -> Result<(), CompileError> {
        if rule.names().is_empty() {
            return Err(CompileError::NoNames { rule: at });
        }
        let mut hint = 0;
        for (position, name) in rule.names().iter().enumerate() {
            if name.is_empty() {
                return Err(CompileError::EmptyName { rule: at, name: position });
            }
            if rule.action() == LinuxSeccompAction::ScmpActNotify && name == "write" {
                return Err(CompileError::NotifyWrite { rule: at, name: position });
            }
            if let Some(id) = name_id(name.as_bytes(), hint) {
                hint = id;
                self.entries.push(Entry { name: id, alternatives: alternatives.clone() });
            } else {
                self.unknown_names.push(name.clone());
            }
        }
        Ok(())
    }

    /// One alternative, or one a condition if two of them concern the same argument (as runc always did).
    fn add_alternatives(&mut self, at: usize, rule: &LinuxSyscall) -> Result<Range<usize>, CompileError> {
        let action =
            action(rule.action(), rule.errno_ret(), || format!("linux.seccomp.syscalls[{at}].errnoRet"))?;
        let first_condition = self.conditions.len();
        let mut seen = 0_u8;
        let mut repeated = false;
        for (position, arg) in rule.args().as_deref().unwrap_or_default().iter().enumerate() {
            let condition = Condition::new(arg).ok_or(CompileError::ArgumentIndex {
                rule: at,
                arg: position,
                index: arg.index(),
            })?;
            repeated |= seen & 1 << condition.index != 0;
            seen |= 1 << condition.index;
            self.conditions.push(condition);
        }
        let first = self.alternatives.len();
        if action == self.default_action {
            return Ok(first..first);
        }
        // A mask of nothing always holds: as in libseccomp, that is no condition.
        if repeated {
            let ranges = (first_condition..self.conditions.len())
                .map(|one| one..one + usize::from(self.conditions[one].mask != 0));
            let one = |conditions| Alternative { action, rule: at, conditions };
            self.alternatives.extend(ranges.map(one));
        } else {
            let mut conditions = self.conditions.split_off(first_condition);
            conditions.retain(|condition| condition.mask != 0);
            conditions.sort_by_key(|condition| condition.index);
            self.conditions.extend(conditions);
            let conditions = first_condition..self.conditions.len();
            self.alternatives.push(Alternative { action, rule: at, conditions });
        }
        Ok(first..self.alternatives.len())
    }

    /// The conditions of an alternative.
    pub(super) fn conditions(&self, alternative: &Alternative) -> &[Condition] {
        &self.conditions[alternative.conditions.clone()]
    }
}

impl Condition {
    /// None if the index is not that of an argument.
    fn new(arg: &LinuxSeccompArg) -> Option<Self> {
        let index = u8::try_from(arg.index()).ok().filter(|index| *index < 6)?;
        let (datum, mask) = match arg.op() {
            // libseccomp drops the bits of valueTwo outside the mask.
            LinuxSeccompOperator::ScmpCmpMaskedEq => {
                (arg.value_two().unwrap_or(0) & arg.value(), arg.value())
            }
            _ => (arg.value(), u64::MAX),
        };
        Some(Self { index, operator: arg.op(), datum, mask })
    }

    /// libseccomp's order of one level of its tree: later arguments first; equalities before less-than before
    /// greater-than; narrower before wider (`_db_chain_lt` in its db.c).
    fn precedence(&self, other: &Self) -> Ordering {
        use LinuxSeccompOperator::*;
        let class = |operator| match operator {
            ScmpCmpEq | ScmpCmpNe | ScmpCmpMaskedEq => 0,
            ScmpCmpLt | ScmpCmpLe => 1,
            ScmpCmpGe | ScmpCmpGt => 2,
        };
        let by_datum = match class(self.operator) {
            1 => self.datum.cmp(&other.datum),
            _ => other.datum.cmp(&self.datum),
        };
        other.index.cmp(&self.index).then(class(self.operator).cmp(&class(other.operator))).then(by_datum)
    }
}

/// Which of two alternatives `a` and `b` of `all` for one system call is tried first: by the first condition that differs, and of two
/// that begin alike the one with fewer conditions. Conditions of the same rank, such as masks, stay in the profile's order.
pub(super) fn precedence(all: &[&[Condition]], a: usize, b: usize) -> Ordering {
    let (a, b) = (all[a], all[b]);
    let Some(differ) = a.iter().zip(b).position(|(a, b)| a != b) else { return a.len().cmp(&b.len()) };
    let first = |one: &[Condition]| all.iter().position(|other| other.starts_with(&one[..=differ]));
    a[differ].precedence(&b[differ]).then_with(|| first(a).cmp(&first(b)))
}

/// The filter's return value; `path` is the place of `errno` in the JSON.
fn action(
    action: LinuxSeccompAction,
    errno: Option<u32>,
    path: impl Fn() -> String,
) -> Result<u32, CompileError> {
    let max = match action {
        LinuxSeccompAction::ScmpActErrno => MAX_ERRNO,
        LinuxSeccompAction::ScmpActTrace => MAX_TRACE_DATA,
        _ if errno.is_some() => return Err(CompileError::ErrnoWithoutUse { path: path(), action }),
        _ => 0,
    };
    match errno {
        Some(value) if value > max => Err(CompileError::ErrnoRange { path: path(), value, max }),
        _ => Ok(action.as_u32(errno)),
    }
}
