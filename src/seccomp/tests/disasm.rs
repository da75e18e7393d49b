//! The program as text.

use super::*;

/// A small program whole: labels, names, both kinds of comparison.
#[test]
fn a_small_program() {
    let profile = profile(json!({
        "defaultAction": "SCMP_ACT_KILL_PROCESS", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
            { "names": ["read", "write"], "action": "SCMP_ACT_ALLOW" },
            { "names": ["clone"], "action": "SCMP_ACT_ERRNO", "args": [
                { "index": 0, "value": 0x1000_0000, "valueTwo": 0x1000_0000, "op": "SCMP_CMP_MASKED_EQ" }] },
        ],
    }));
    let text = disassemble(&compile(&profile).unwrap(), Arch::ScmpArchX86_64);
    for line in [
        "      jeq  0xc000003e, L2, L1            ; x86_64 and x32\n",
        "\n; x86_64 and x32\nL2:   ld   nr\n",
        "\n; x86\n",
        "ld   arg0.low\n      and  0x10000000\n      jeq  0x10000000, ",
        " ; clone\n",
        " ; read (x32)\n",
        "ret  KILL_PROCESS\n",
        "ret  ERRNO EPERM (1)\n",
        "ret  ERRNO ENOSYS (38)\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

/// Every instruction has its line, every label is there, and the depth is what the interpreter counts.
#[test]
fn the_whole_of_dockers() {
    let program = compile(&docker()).unwrap();
    let text = disassemble(&program, Arch::ScmpArchX86_64);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(';') && !line.is_empty()).collect();
    assert_eq!(lines.len(), program.instructions.len());
    let at = |label: &str| lines.iter().position(|line| line.starts_with(&format!("{label}:")));
    for (number, (line, instruction)) in lines.iter().zip(&program.instructions).enumerate() {
        let operation = line[6..].split(';').next().unwrap().trim();
        let Some((_, targets)) = operation.strip_prefix('j').and_then(|rest| rest.split_once(", ")) else {
            continue;
        };
        let targets: Vec<_> = targets.split(", ").map(|label| at(label).unwrap()).collect();
        let jumps = [instruction.jt, instruction.jf].map(|jump| number + 1 + usize::from(jump));
        assert_eq!(targets, jumps, "{line}");
    }
    let longest = docker::ARCHES
        .iter()
        .flat_map(|arch| docker::numbers().into_iter().map(move |nr| (*arch, nr)))
        .flat_map(|(arch, nr)| docker::FIRST_ARGUMENTS.map(|argument| Call { arch, nr, args: [argument; 6] }))
        .map(|call| run(&program.instructions, &call, false).1)
        .max();
    let head = format!("; {} instructions, at most {} for a call", lines.len(), longest.unwrap());
    assert_eq!(text.lines().next(), Some(head.as_str()));
}

/// Halves of arguments stand the other way round where the most significant byte comes first.
#[test]
fn big_endian() {
    let args = json!([{ "index": 1, "value": 1, "op": "SCMP_CMP_GE" }]);
    let profile =
        rule("SCMP_ACT_ERRNO", &json!({ "names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "args": args }));
    let program = compile_for(&profile, Arch::ScmpArchS390x).unwrap();
    let text = disassemble(&program, Arch::ScmpArchS390x);
    let high = text.find("ld   arg1.high").unwrap();
    assert!(high < text.find("ld   arg1.low").unwrap() && text.contains("; s390x"), "{text}");
}
