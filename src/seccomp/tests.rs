use super::*;
use interpreter::{Call, run};
fn docker() -> LinuxSeccomp {
    serde_json::from_str(include_str!("testdata/docker.json")).unwrap()
}
#[test]
fn docker_shape() {
    let p = compile(&docker()).unwrap().unwrap();
    let mut max = 0;
    for arch in [0xc000_003e_u32, 0x4000_0003] {
        for nr in 0..600 {
            for b in [0, 1 << 30] {
                max = max.max(run(&p.instructions, &Call { arch, nr: nr | b, args: [0; 6] }, false).1);
            }
        }
    }
    println!("{} instructions, depth {max}, {:?}", p.instructions.len(), p.unknown_names);
}
