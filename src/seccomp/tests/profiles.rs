//! Random profiles and calls, made so that they meet.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::*;

/// Names that meet every special case: neighbours, newest, one architecture only, multiplexed, unknown.
pub(super) const NAMES: [&str; 14] = [
    "read",
    "write",
    "open",
    "socket",
    "clone",
    "personality",
    "mmap2",
    "statx",
    "uretprobe",
    "socketcall",
    "shmat",
    "recv",
    "execve",
    "nonsense",
];

/// Names that one of x86-64, x86, x32 lacks, and the multiplexed ones. libseccomp 2.6.1 forgets to load the number if its
/// first call is one that the architecture lacks, and drops conditions behind multiplexers.
const PARTIAL: [&str; 6] = ["socketcall", "shmat", "recv", "socket", "mmap2", "uretprobe"];

const VALUES: [u64; 12] = [
    0,
    1,
    2,
    7,
    21,
    0x7E02_0000,
    0xFFFF_FFFF,
    0x1_0000_0000,
    0x1_0000_0001,
    0x8000_0000_0000_0000,
    0xFFFF_FFFF_0000_0000,
    u64::MAX,
];

const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];

/// What profiles may have in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// All actions on all names.
    Everything,
    /// One ALLOW rule a name, without two conditions on one argument, for calls that all three x86 ABIs have. Where
    /// libseccomp 2.6.1 merges several 64-bit comparisons of one argument it can lose one (`< 0` beside `< 2^32`).
    #[cfg_attr(not(feature = "libseccomp-oracle"), allow(dead_code))]
    OneAction,
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![4 => select(&VALUES[..]), 1 => any::<u64>()]
}

fn args() -> impl Strategy<Value = Vec<Value>> {
    let arg = (0..3_u8, value(), value(), select(&OPERATORS[..])).prop_map(|(index, value, two, operator)| {
        json!({ "index": index, "value": value, "valueTwo": two, "op": format!("SCMP_CMP_{operator}") })
    });
    prop_oneof![2 => Just(Vec::new()), 5 => prop::collection::vec(arg, 1..4)]
}

fn action(kind: Kind) -> impl Strategy<Value = (&'static str, Option<u32>)> {
    let one = select(&[("ALLOW", None)][..]);
    let all = select(
        &[
            ("ALLOW", None),
            ("ERRNO", None),
            ("ERRNO", Some(38)),
            ("TRACE", Some(7)),
            ("KILL_PROCESS", None),
            ("KILL", None),
            ("TRAP", None),
            ("LOG", None),
        ][..],
    );
    if kind == Kind::OneAction { one.boxed() } else { all.boxed() }
}

fn with_action(mut object: Map<String, Value>, keys: [&str; 2], action: (&str, Option<u32>)) -> Value {
    object.insert(keys[0].to_owned(), format!("SCMP_ACT_{}", action.0).into());
    if let Some(errno) = action.1 {
        object.insert(keys[1].to_owned(), errno.into());
    }
    object.into()
}

/// Profiles that compile but for contradictions.
pub(super) fn profiles(kind: Kind) -> impl Strategy<Value = LinuxSeccomp> {
    let names = NAMES.iter().filter(|name| kind == Kind::Everything || !PARTIAL.contains(*name));
    let names = select(names.copied().collect::<Vec<_>>());
    let rule =
        (action(kind), prop::collection::vec(names, 1..4), args()).prop_map(|(action, names, args)| {
            let mut rule = Map::new();
            rule.insert("names".to_owned(), names.into());
            rule.insert("args".to_owned(), args.into());
            with_action(rule, ["action", "errnoRet"], action)
        });
    let default = match kind {
        Kind::Everything => action(kind).boxed(),
        Kind::OneAction => select(&[("ERRNO", None), ("KILL_PROCESS", None), ("LOG", None)][..]).boxed(),
    };
    let arches = prop::sample::subsequence(
        vec!["X86_64", "X86", "X32", "AARCH64"][..if kind == Kind::OneAction { 3 } else { 4 }].to_vec(),
        0..=3,
    );
    (default, prop::collection::vec(rule, 0..9), arches).prop_map(move |(default, mut rules, arches)| {
        if kind == Kind::OneAction {
            simplify(&mut rules);
        }
        let arches: Vec<_> = arches.iter().map(|arch| format!("SCMP_ARCH_{arch}")).collect();
        let mut object = Map::new();
        object.insert("syscalls".to_owned(), rules.into());
        object.insert("architectures".to_owned(), arches.into());
        profile(with_action(object, ["defaultAction", "defaultErrnoRet"], default))
    })
}

/// Leaves each name only to the first rule that has it, and each argument only its first condition.
fn simplify(rules: &mut Vec<Value>) {
    let mut taken = BTreeSet::new();
    for rule in rules.iter_mut() {
        let mut indices = BTreeSet::new();
        rule["names"].as_array_mut().unwrap().retain(|name| taken.insert(name.to_string()));
        rule["args"].as_array_mut().unwrap().retain(|arg| indices.insert(arg["index"].as_u64()));
    }
    rules.retain(|rule| !rule["names"].as_array().unwrap().is_empty());
}

/// Calls around the numbers of [`NAMES`] with arguments around the values of the profiles.
pub(super) fn calls() -> impl Strategy<Value = Vec<Call>> {
    let near = select(
        &[
            0_u32, 1, 2, 5, 30, 33, 41, 45, 56, 59, 102, 117, 120, 135, 136, 192, 291, 332, 335, 359, 383,
            397, 520,
        ][..],
    );
    let nr = prop_oneof![
        8 => (near, 0..3_u32).prop_map(|(nr, add)| (nr + add).saturating_sub(1)),
        1 => 0..600_u32,
        1 => any::<u32>(),
    ];
    let high = select(&[0_u32, 0, 0, 0x4000_0000, 0x4000_0000, 0x8000_0000, 0xC000_0000][..]);
    let arch = select(&[AMD64, AMD64, AMD64, I386, I386, 0xC000_00B7][..]);
    let arg = (value(), 0..3_u64).prop_map(|(value, add)| value.wrapping_add(add).wrapping_sub(1));
    let call = (arch, nr, high, prop::array::uniform6(arg)).prop_map(|(arch, nr, high, args)| Call {
        arch,
        nr: nr | high,
        args,
    });
    prop::collection::vec(call, 64)
}

/// Names that every architecture has directly, under numbers of its own.
#[cfg(feature = "libseccomp-oracle")]
pub(super) const WHOLE: [&str; 10] =
    ["read", "write", "clone", "personality", "ptrace", "prctl", "ioctl", "openat", "execve", "statx"];

/// Profiles for a machine of one architecture: every action, one rule a name, one condition an argument.
#[cfg(feature = "libseccomp-oracle")]
pub(super) fn of_one_machine(_native: Arch) -> impl Strategy<Value = LinuxSeccomp> {
    let rule = (action(Kind::Everything), prop::collection::vec(select(&WHOLE[..]), 1..4), args()).prop_map(
        |(action, names, args)| {
            let mut rule = Map::new();
            rule.insert("names".to_owned(), names.into());
            rule.insert("args".to_owned(), args.into());
            with_action(rule, ["action", "errnoRet"], action)
        },
    );
    (action(Kind::Everything), prop::collection::vec(rule, 1..9)).prop_map(|(default, mut rules)| {
        simplify(&mut rules);
        let mut object = Map::new();
        object.insert("syscalls".to_owned(), rules.into());
        profile(with_action(object, ["defaultAction", "defaultErrnoRet"], default))
    })
}

/// Calls of one architecture around these numbers, with arguments around the values of the profiles.
#[cfg(feature = "libseccomp-oracle")]
pub(super) fn calls_near(arch: u32, numbers: Vec<u32>) -> impl Strategy<Value = Vec<Call>> {
    let nr = prop_oneof![
        8 => (select(numbers.clone()), 0..3_u32).prop_map(|(nr, add)| (nr + add).saturating_sub(1)),
        2 => (select(numbers), 0..600_u32).prop_map(|(nr, add)| nr + add),
        1 => any::<u32>(),
    ];
    let arg = (value(), 0..3_u64).prop_map(|(value, add)| value.wrapping_add(add).wrapping_sub(1));
    let call = (nr, prop::array::uniform6(arg)).prop_map(move |(nr, args)| Call { arch, nr, args });
    prop::collection::vec(call, 64)
}
