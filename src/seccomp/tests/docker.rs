//! Docker's profile: the verdicts of runc with libseccomp, size and depth, and what compiling costs.

use std::collections::BTreeMap;
use std::time::Instant;

use super::*;

/// The numbers around which a verdict can change: all that exist, and the borders of the x32 range.
pub(super) fn numbers() -> Vec<u32> {
    let low = 0..=600;
    let x32 = low.clone().map(|nr| 0x4000_0000 + nr);
    let edges = [0x3FFF_FFFF, 0x7FFF_FFFF, 0x8000_0000, 0xBFFF_FFFF, 0xC000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF];
    let mut numbers: Vec<u32> = low.chain(x32).chain(edges).collect();
    numbers.sort_unstable();
    numbers
}

/// First arguments around which the profile's conditions change.
pub(super) const FIRST_ARGUMENTS: [u64; 18] = [
    0,
    1,
    8,
    37,
    38,
    39,
    40,
    41,
    0x2_0000,
    0x2_0008,
    0x1000_0000,
    0x0200_0000,
    0x7E02_0000,
    0xFFFF_FFFF,
    0x1_0000_0000,
    0x1_0000_0008,
    0x1_FFFF_FFFF,
    u64::MAX,
];

/// An architecture that the profile does not list: aarch64.
pub(super) const ARCHES: [u32; 3] = [AMD64, I386, 0xC000_00B7];

/// The verdicts as text: for each architecture those with first argument 0 as `number=verdict` wherever it changes,
/// then for every other first argument the calls that differ from that.
pub(super) fn table(decide: impl Fn(u32, u32, u64) -> u32) -> String {
    let mut text = String::new();
    for arch in ARCHES {
        text += &format!("arch {arch:x}\n");
        let mut last = None;
        for nr in numbers() {
            let verdict = decide(arch, nr, 0);
            if last != Some(verdict) {
                text += &format!("{nr:x}={verdict:x} ");
            }
            last = Some(verdict);
        }
        text.push('\n');
        for argument in &FIRST_ARGUMENTS[1..] {
            let differs: BTreeMap<u32, u32> = numbers()
                .into_iter()
                .map(|nr| (nr, decide(arch, nr, *argument)))
                .filter(|&(nr, verdict)| verdict != decide(arch, nr, 0))
                .collect();
            let differs: Vec<_> = differs.iter().map(|(nr, verdict)| format!("{nr:x}={verdict:x}")).collect();
            text += &format!("argument {argument:x}: {}\n", differs.join(" "));
        }
    }
    text
}

/// [B1 B4 B6 B7 B8 B10] Every verdict is that of libseccomp 2.6.1 with runc's rule for newer calls. The table was made
/// by the test `oracle::docker_table`.
#[test]
fn verdicts_are_those_of_libseccomp() {
    let program = compile(&docker()).unwrap();
    let ours = table(|arch, nr, argument| verdict(&program, arch, nr, &[argument]));
    for (ours, theirs) in ours.lines().zip(include_str!("../testdata/docker-verdicts.txt").lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours, include_str!("../testdata/docker-verdicts.txt"));
}

/// [B13] Small and shallow.
#[test]
fn the_program_is_a_balanced_tree() {
    let program = compile(&docker()).unwrap();
    assert!(program.instructions.len() <= 310, "{}", program.instructions.len());
    let depth = |arch| {
        let steps = |nr| {
            FIRST_ARGUMENTS
                .map(|argument| run(&program.instructions, &Call { arch, nr, args: [argument; 6] }, false).1)
        };
        numbers().into_iter().flat_map(steps).max().unwrap()
    };
    assert!(depth(AMD64) <= 16, "{}", depth(AMD64));
    assert!(depth(I386) <= 15, "{}", depth(I386));
}

/// [B5] Docker gives `flags: null`.
#[test]
fn docker_gets_spec_allow_and_no_listener() {
    let program = compile(&docker()).unwrap();
    assert_eq!((program.flags, program.notify), (4, false));
    assert_eq!(program.unknown_names, Vec::<String>::new());
}

/// [B4] The same profile compiles for every other architecture, where its numbers differ.
#[test]
fn other_architectures_get_their_own_numbers() {
    for (native, read, openat) in [
        (Arch::ScmpArchAarch64, 63, 56),
        (Arch::ScmpArchRiscv64, 63, 56),
        (Arch::ScmpArchS390x, 3, 288),
        (Arch::ScmpArchPpc64le, 3, 286),
        (Arch::ScmpArchArm, 3, 322),
        (Arch::ScmpArchLoongarch64, 63, 56),
        (Arch::ScmpArchMips64, 5000, 5247),
    ] {
        let program = compile_for(&docker(), native).unwrap();
        for (nr, expected) in [(read, ALLOW), (openat, ALLOW), (6999, ENOSYS)] {
            assert_eq!(verdict(&program, native as u32, nr, &[]), expected, "{native} {nr}");
        }
        assert_eq!(verdict(&program, AMD64, 0, &[]), libc::SECCOMP_RET_KILL_THREAD, "{native}");
    }
}

/// Prints what compiling costs: `cargo test --release seccomp -- --ignored --nocapture compile_time`.
#[test]
#[ignore = "prints a measurement"]
fn compile_time() {
    let profile = docker();
    let start = Instant::now();
    let program = compile(&profile).unwrap();
    let cold = start.elapsed();
    let mut best = cold;
    for _ in 0..1000 {
        let start = Instant::now();
        let again = compile(&profile).unwrap();
        best = best.min(start.elapsed());
        assert_eq!(again.instructions.len(), program.instructions.len());
    }
    println!("{} instructions; first compile {cold:?}, best of 1000 {best:?}", program.instructions.len());
}
