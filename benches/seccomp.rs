//! Docker's profile for three architectures: what it costs to compile and to load, ours beside libseccomp's.
//!
//! `make bench-seccomp`; without the feature `libseccomp-oracle` ours alone. The first compile in a process is told
//! apart, as a container's runtime compiles once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark fails by panicking")]

use std::time::{Duration, Instant};

use davit::seccomp::{self, NATIVE};
use oci_spec::runtime::LinuxSeccomp;
use seccompiler::sock_filter;

const PROFILE: &str = include_str!("../src/seccomp/testdata/docker.json");

fn main() {
    let rounds = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(300);
    let profile: LinuxSeccomp = serde_json::from_str(PROFILE).unwrap();
    println!("| Docker's profile, {rounds} rounds | first | least | median | instructions |");
    println!("|---|---:|---:|---:|---:|");
    let ours = || seccomp::compile_for(&profile, NATIVE).unwrap().instructions;
    measure("ours", rounds, &ours);
    #[cfg(feature = "libseccomp-oracle")]
    {
        use davit::seccomp::oracle;
        measure("libseccomp, linear", rounds, &|| oracle::filter(&profile, NATIVE, false).unwrap());
        measure("libseccomp, binary tree", rounds, &|| oracle::filter(&profile, NATIVE, true).unwrap());
    }
}

fn measure(name: &str, rounds: usize, compile: &dyn Fn() -> Vec<sock_filter>) {
    let program = compile();
    row(
        &format!("{name}: compile"),
        program.len(),
        &times(rounds, &mut || {
            let start = Instant::now();
            let again = compile();
            let took = start.elapsed();
            assert_eq!(again.len(), program.len());
            took
        }),
    );
    // A filter can't be taken off again: each is loaded in a thread of its own.
    row(
        &format!("{name}: load"),
        program.len(),
        &times(rounds, &mut || std::thread::scope(|scope| scope.spawn(|| load(&program)).join().unwrap())),
    );
}

fn load(program: &[sock_filter]) -> Duration {
    rustix::thread::set_no_new_privs(true).unwrap();
    let start = Instant::now();
    davit::sys::seccomp::load(program, 0).unwrap();
    start.elapsed()
}

/// The first, then all in order.
fn times(rounds: usize, once: &mut dyn FnMut() -> Duration) -> (Duration, Vec<Duration>) {
    let first = once();
    let mut all: Vec<_> = (0..rounds).map(|_| once()).collect();
    all.sort_unstable();
    (first, all)
}

fn row(name: &str, instructions: usize, (first, all): &(Duration, Vec<Duration>)) {
    let ms = |time: &Duration| format!("{:.3} ms", time.as_secs_f64() * 1e3);
    println!("| {name} | {} | {} | {} | {instructions} |", ms(first), ms(&all[0]), ms(&all[all.len() / 2]));
}
