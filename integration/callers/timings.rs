//! `make bench-callers`: what a caller's command takes with Davit and with others, in turns.

use crate::client::{Client, Engine};
use crate::containerd::Containerd;
use crate::docker::Docker;
use crate::image::NAME;
use crate::place::{Place, installed};
use crate::podman::Podman;
use crate::support::{Cmd, json, runtime, skip};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The runtimes that are there, Davit first.
fn runtimes() -> Vec<(&'static str, PathBuf)> {
    let found = [("runc", "/usr/sbin/runc"), ("crun", "/usr/bin/crun")];
    let found =
        found.into_iter().map(|(name, path)| (name, PathBuf::from(path))).filter(|(_, path)| path.exists());
    std::iter::once(("davit", runtime())).chain(found).collect()
}

/// Milliseconds of each round of each runtime, in turns; the first round is not counted.
fn measure(
    runtimes: &[(&str, PathBuf)],
    rounds: usize,
    command: impl Fn(&str, &Path) -> Cmd,
) -> Vec<Vec<f64>> {
    let mut all = vec![vec![]; runtimes.len()];
    for round in 0..=rounds {
        for (times, (name, path)) in all.iter_mut().zip(runtimes) {
            let command = command(name, path);
            let start = Instant::now();
            let output = command.output();
            let took = start.elapsed().as_secs_f64() * 1e3;
            assert_eq!(output.code, 0, "{output}");
            if round > 0 {
                times.push(took);
            }
        }
    }
    all
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    f64::midpoint(times[(times.len() - 1) / 2], times[times.len() / 2])
}

/// A line of the table: medians, and Davit's in relation to each other one's.
fn row(what: &str, names: &[&str], times: &[Vec<f64>]) {
    let medians: Vec<f64> = times.iter().map(|times| median(times)).collect();
    let at = |name: &str| names.iter().position(|known| *known == name).map(|index| medians[index]);
    let cell = |name| at(name).map_or("–".to_string(), |median| format!("{median:.0} ms"));
    let ratio = |name| at(name).map_or("–".to_string(), |median| format!("{:.2}", medians[0] / median));
    let cells = [cell("davit"), cell("runc"), cell("crun"), ratio("runc"), ratio("crun")];
    println!("| {what} | {} |", cells.join(" | "));
}

fn names<'a>(runtimes: &[(&'a str, PathBuf)]) -> Vec<&'a str> {
    runtimes.iter().map(|(name, _)| *name).collect()
}

/// Prints the table; `BENCH_ROUNDS` rounds (12).
#[test]
#[ignore = "a measurement: make bench-callers"]
fn timings() {
    if !["containerd", "dockerd", "podman", "conmon"].iter().all(|program| installed(program)) {
        return skip("containerd, Docker and Podman are not all installed");
    }
    let rounds = std::env::var("BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(12);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    println!("{rounds} rounds in turns, medians of wall time; load {}", load.split(' ').next().unwrap());
    println!("\n| | davit | runc | crun | davit / runc | davit / crun |\n|---|---:|---:|---:|---:|---:|");
    let mut runtimes = runtimes();
    // crun refuses the hybrid layout of cgroups; Podman is measured with that hidden.
    let with_crun = runtimes.clone();
    runtimes.retain(|(name, _)| *name != "crun");
    by_containerd(&runtimes, rounds);
    by_docker(&runtimes, rounds);
    by_podman(&with_crun, rounds);
}

fn by_containerd(runtimes: &[(&str, PathBuf)], rounds: usize) {
    let containerd = Containerd::start().unwrap();
    let root = containerd.place.path("runc");
    let run = measure(runtimes, rounds, |_, path| {
        let binary = path.to_str().unwrap();
        containerd.cmd(&["run", "--rm", "--runc-binary", binary, "--runc-root", &root, NAME, "timed", "true"])
    });
    row("`ctr run --rm IMAGE true`", &names(runtimes), &run);
}

fn by_docker(runtimes: &[(&str, PathBuf)], rounds: usize) {
    let place = Place::new();
    let all: serde_json::Map<_, _> =
        runtimes.iter().map(|(name, path)| (format!("timed-{name}"), json!({ "path": path }))).collect();
    let mut config = json!({ "runtimes": all });
    config["runtimes"]["davit"] = json!({ "path": "davit" });
    let config = place.file("daemon.json", &config.to_string());
    let docker = Docker::configured(place, &config, &[], &[]);
    let run = measure(runtimes, rounds, |name, _| {
        docker.cmd(&["run", "--rm", "--runtime", &format!("timed-{name}"), NAME, "true"])
    });
    row("`docker run --rm IMAGE true`", &names(runtimes), &run);
    for (name, _) in runtimes {
        docker.detach(name, &["--runtime", &format!("timed-{name}")], "sleep 1000");
    }
    let exec = measure(runtimes, rounds, |name, _| docker.cmd(&["exec", name, "true"]));
    row("`docker exec CONTAINER true`", &names(runtimes), &exec);
}

fn by_podman(runtimes: &[(&str, PathBuf)], rounds: usize) {
    let podman = Podman::start().unwrap();
    for (name, path) in runtimes.iter().skip(1) {
        podman.runtime(name, path);
    }
    let hybrid = Path::new("/sys/fs/cgroup/unified").exists();
    let hide = if hybrid { "umount /sys/fs/cgroup/unified && exec \"$@\"" } else { "exec \"$@\"" };
    let run = measure(runtimes, rounds, |name, _| {
        let path = podman.place.path(&format!("bin/{name}"));
        let parent = podman.place.cgroup();
        let options = [
            "--runtime",
            &path,
            "run",
            "--rm",
            "--network",
            "none",
            "--cgroup-parent",
            &parent,
            NAME,
            "true",
        ];
        podman.bare_cmd().args(options).wrap(["unshare", "--mount", "/bin/sh", "-c", hide, "sh"])
    });
    row("`podman run --rm IMAGE true`", &names(runtimes), &run);
}
