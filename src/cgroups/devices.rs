//! Which devices a container may use: an ordered list of rules reduced to the fewest that decide the same.

use std::fmt;

use serde::Serialize;

use crate::error::{Error, Result};

/// Read, write and mknod, as the bits of `bpf_cgroup_dev_ctx` (linux/bpf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Access(u8);

impl Access {
    /// Make a device node.
    pub const MKNOD: Self = Self(1);
    /// Open for reading.
    pub const READ: Self = Self(2);
    /// Open for writing.
    pub const WRITE: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    /// Reads a combination of `r`, `w` and `m`; `None` for anything else and for the empty text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bits = 0;
        for letter in text.chars() {
            bits |= match letter {
                'r' => Self::READ.0,
                'w' => Self::WRITE.0,
                'm' => Self::MKNOD.0,
                _ => return None,
            };
        }
        (bits != 0).then_some(Self(bits))
    }

    /// The bits, for the device program.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The reverse of [`Self::bits`]; `None` for no use at all.
    pub fn from_bits(bits: u8) -> Option<Self> {
        (1..=Self::ALL.0).contains(&bits).then_some(Self(bits))
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in [(Self::READ, "r"), (Self::WRITE, "w"), (Self::MKNOD, "m")] {
            if self.meets(bit) {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// Character or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Type {
    /// `c`
    Char,
    /// `b`
    Block,
}

/// One rule: `allow c 136:* rwm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Allow or deny.
    pub allow: bool,
    /// Which kind of device.
    pub kind: Type,
    /// `None` is every number.
    pub major: Option<u32>,
    /// `None` is every number.
    pub minor: Option<u32>,
    /// For which uses.
    pub access: Access,
    /// Its place in `linux.resources.devices`; `None` for a rule that is always there.
    pub index: Option<usize>,
}

impl Rule {
    fn pattern(&self) -> (Type, Option<u32>, Option<u32>) {
        (self.kind, self.major, self.minor)
    }

    /// True if each device of `other` is one of this rule's.
    fn covers(&self, other: &Self) -> bool {
        let wide = |mine: Option<u32>, theirs: Option<u32>| mine.is_none() || mine == theirs;
        self.kind == other.kind && wide(self.major, other.major) && wide(self.minor, other.minor)
    }

    /// True if some use of some device matches both.
    fn meets(&self, other: &Self) -> bool {
        let meet =
            |mine: Option<u32>, theirs: Option<u32>| mine.is_none() || theirs.is_none() || mine == theirs;
        self.kind == other.kind
            && meet(self.major, other.major)
            && meet(self.minor, other.minor)
            && self.access.meets(other.access)
    }
}

/// As cgroup v1's files spell it (devices.rst): `c 1:3 rwm`, `b *:* m`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.kind == Type::Char { "c " } else { "b " })?;
        match self.major {
            Some(number) => write!(f, "{number}:")?,
            None => f.write_str("*:")?,
        }
        match self.minor {
            Some(number) => write!(f, "{number} {}", self.access),
            None => write!(f, "* {}", self.access),
        }
    }
}

/// An entry of config.json's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Type `a`: forget the list so far; this is the answer where no later rule matches.
    Reset {
        /// The answer.
        allow: bool,
    },
    /// A rule for some devices.
    Rule(Rule),
}

/// The reduced list. For each of the uses asked for (read, write, mknod) the first rule that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceRules {
    /// The answer where no rule matches.
    pub default_allow: bool,
    /// First match first.
    pub rules: Vec<Rule>,
}

impl DeviceRules {
    /// Reduces a list in which later entries win; before the first entry everything is denied.
    pub fn reduce(entries: &[Entry]) -> Self {
        let last_reset = entries.iter().rposition(|entry| matches!(entry, Entry::Reset { .. }));
        let default_allow = last_reset.is_some_and(|at| entries[at] == Entry::Reset { allow: true });
        let start = last_reset.map_or(0, |at| at + 1);
        let mut rules: Vec<Rule> = Vec::with_capacity(entries.len() - start);
        for entry in entries[start..].iter().rev() {
            if let Entry::Rule(rule) = entry {
                add(&mut rules, *rule);
            }
        }
        drop_defaults(&mut rules, default_allow);
        Self { default_allow, rules }
    }

    /// True if nothing is forbidden.
    pub fn allow_everything(&self) -> bool {
        self.default_allow && self.rules.is_empty()
    }

    /// The file of the exceptions on cgroup v1, `devices.allow` or `devices.deny`. Writing `a` to the other one
    /// first sets the default and forgets all exceptions that the cgroup has.
    pub fn v1_file(&self) -> &'static str {
        if self.default_allow { "devices.deny" } else { "devices.allow" }
    }

    /// The file that takes the `a`.
    pub fn v1_reset_file(&self) -> &'static str {
        if self.default_allow { "devices.allow" } else { "devices.deny" }
    }

    /// Checks that cgroup v1 can express the list: there, exceptions can't have exceptions, and the kernel takes a
    /// rule that tries to make one without a word.
    ///
    /// # Errors
    /// Names the first rule that would be ignored, by its JSON path.
    pub fn check_v1(&self) -> Result<()> {
        let Some(hole) = self.rules.iter().find(|rule| rule.allow == self.default_allow) else {
            return Ok(());
        };
        let path = match hole.index {
            Some(index) => format!("linux.resources.devices[{index}]"),
            None => "linux.resources.devices".into(),
        };
        let message = format!(
            "requested rule [{hole}] not supported by devices cgroupv1 (cannot punch hole in existing wildcard rule)"
        );
        Err(Error::config(&path, message))
    }
}

/// Appends a rule of lower rank, without what the ones above it have decided already.
fn add(rules: &mut Vec<Rule>, mut rule: Rule) {
    let mut left = rule.access;
    for above in rules.iter() {
        if !above.covers(&rule) {
            continue;
        }
        left = left.without(above.access);
        if above.allow != rule.allow {
            rule.access = rule.access.without(above.access);
        }
    }
    // Bits that a rule of the same answer covers stay: v1 grants a use such as read-write by one exception only.
    if left.is_empty() {
        return;
    }
    let same = |r: &Rule| r.allow == rule.allow && r.pattern() == rule.pattern();
    match rules.iter().position(same) {
        Some(at) if !rules[at + 1..].iter().any(|r| r.allow != rule.allow && r.meets(&rule)) => {
            rules[at].access.0 |= rule.access.0;
        }
        _ => rules.push(rule),
    }
}

/// Drops each rule whose answer is the default's and that shields no use from a rule below it.
fn drop_defaults(rules: &mut Vec<Rule>, default_allow: bool) {
    let mut at = rules.len();
    while at > 0 {
        at -= 1;
        let rule = rules[at];
        if rule.allow == default_allow
            && !rules[at + 1..].iter().any(|r| r.allow != rule.allow && r.meets(&rule))
        {
            rules.remove(at);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn rule(text: &str) -> Entry {
        let mut words = text.split([' ', ':']);
        let allow = words.next().unwrap() == "allow";
        let kind = match words.next().unwrap() {
            "a" => return Entry::Reset { allow },
            "c" => Type::Char,
            _ => Type::Block,
        };
        let number = |word: Option<&str>| word.unwrap().parse().ok();
        Entry::Rule(Rule {
            allow,
            kind,
            major: number(words.next()),
            minor: number(words.next()),
            access: Access::parse(words.next().unwrap()).unwrap(),
            index: None,
        })
    }

    fn reduced(list: &[&str]) -> (bool, Vec<String>) {
        let entries: Vec<_> = list.iter().map(|text| rule(text)).collect();
        let rules = DeviceRules::reduce(&entries);
        let texts =
            rules.rules.iter().map(|r| format!("{} {r}", if r.allow { "allow" } else { "deny" })).collect();
        (rules.default_allow, texts)
    }

    /// What the unreduced list says: later wins, each use on its own.
    pub(crate) fn oracle(entries: &[Entry], kind: Type, major: u32, minor: u32, access: u8) -> bool {
        [1, 2, 4].into_iter().filter(|bit| access & bit != 0).all(|bit| {
            let mut allowed = false;
            for entry in entries {
                match entry {
                    Entry::Reset { allow } => allowed = *allow,
                    Entry::Rule(r) => {
                        let matches = r.kind == kind
                            && r.major.is_none_or(|n| n == major)
                            && r.minor.is_none_or(|n| n == minor)
                            && r.access.bits() & bit != 0;
                        if matches {
                            allowed = r.allow;
                        }
                    }
                }
            }
            allowed
        })
    }

    pub(crate) fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let number = prop_oneof![Just(None), (1u32..4).prop_map(Some)];
        let one = (any::<bool>(), 0..12u8, number.clone(), number, 1..8u8).prop_map(
            |(allow, kind, major, minor, access)| match kind {
                0 => Entry::Reset { allow },
                _ => Entry::Rule(Rule {
                    allow,
                    kind: if kind % 2 == 0 { Type::Char } else { Type::Block },
                    major,
                    minor,
                    access: Access(access),
                    index: None,
                }),
            },
        );
        proptest::collection::vec(one, 0..8)
    }

    /// [D6] In order, later wins.
    #[test]
    fn later_rules_win_and_the_overruled_go() {
        assert_eq!(
            reduced(&["allow a", "deny c 1:3 rw", "deny a", "allow c 1:3 r"]),
            (false, vec!["allow c 1:3 r".to_string()])
        );
        assert_eq!(reduced(&["allow c 1:3 r", "deny c 1:3 rwm"]).1, Vec::<String>::new());
        assert_eq!(reduced(&["allow c 1:3 rw", "deny c *:* w"]).1, ["allow c 1:3 r"]);
        assert_eq!(reduced(&["deny c 1:3 rwm", "allow c 1:3 r"]).1, ["allow c 1:3 r"]);
        assert_eq!(reduced(&["allow c 1:3 r", "allow c 1:3 w", "allow c 1:3 rwm"]).1, ["allow c 1:3 rwm"]);
        assert_eq!(reduced(&["allow c 1:3 w", "allow c 1:3 r"]).1, ["allow c 1:3 rw"]);
    }

    /// [D9] A use that one exception must grant as a whole stays whole.
    #[test]
    fn bits_are_not_split_over_two_allowing_rules() {
        assert_eq!(reduced(&["allow c 1:3 rw", "allow c *:* r"]).1, ["allow c *:* r", "allow c 1:3 rw"]);
    }

    /// [D6] A deny below a wider allow is a hole: kept for the device program, refused for v1.
    #[test]
    fn holes_are_kept_and_refused_on_v1() {
        let entries = [rule("allow c *:* rwm"), rule("deny c 10:229 rwm")];
        let rules = DeviceRules::reduce(&entries);
        assert_eq!(rules.rules.len(), 2);
        let error = rules.check_v1().unwrap_err().to_string();
        assert!(error.contains("cannot punch hole in existing wildcard rule"), "{error}");
    }

    #[test]
    fn v1_files_follow_the_default() {
        let closed = DeviceRules::default();
        assert_eq!((closed.v1_reset_file(), closed.v1_file()), ("devices.deny", "devices.allow"));
        let open = DeviceRules { default_allow: true, rules: vec![] };
        assert_eq!((open.v1_reset_file(), open.v1_file()), ("devices.allow", "devices.deny"));
        assert!(open.allow_everything() && !closed.allow_everything());
    }

    #[test]
    fn access_is_a_combination_of_three_letters() {
        assert_eq!(Access::parse("mwr"), Some(Access::ALL));
        assert_eq!(Access::parse("rw").unwrap().to_string(), "rw");
        assert_eq!(Access::parse(""), None);
        assert_eq!(Access::parse("rx"), None);
    }

    proptest! {
        /// [D6] The reduced list decides every use as the full one does.
        #[test]
        fn reduction_changes_no_answer(entries in entries()) {
            let rules = DeviceRules::reduce(&entries);
            let back: Vec<_> = std::iter::once(Entry::Reset { allow: rules.default_allow })
                .chain(rules.rules.iter().rev().map(|r| Entry::Rule(*r)))
                .collect();
            for kind in [Type::Char, Type::Block] {
                for (major, minor) in (1..5).flat_map(|a| (1..5).map(move |b| (a, b))) {
                    for access in 1..8 {
                        prop_assert_eq!(
                            oracle(&entries, kind, major, minor, access),
                            oracle(&back, kind, major, minor, access)
                        );
                    }
                }
            }
        }
    }
}
