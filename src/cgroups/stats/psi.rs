//! Pressure stall information (psi.rst; cgroup-v2.rst, `cpu.pressure`): time lost to waiting.

use std::path::Path;

use serde::Serialize;

use super::Stats;
use super::read::{malformed, text};
use crate::error::Result;

/// Pressure on one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Psi {
    /// Some of the processes waited.
    pub some: Pressure,
    /// All of them waited at once.
    pub full: Pressure,
}

/// How much time was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Percent of the last ten seconds.
    pub avg10: f64,
    /// Percent of the last minute.
    pub avg60: f64,
    /// Percent of the last five minutes.
    pub avg300: f64,
    /// Microseconds in all.
    pub total: u64,
}

/// Reads all three; a kernel without PSI has none.
pub(super) fn add(directory: &Path, stats: &mut Stats) -> Result<()> {
    stats.cpu.psi = read(directory, "cpu.pressure")?;
    stats.memory.psi = read(directory, "memory.pressure")?;
    stats.blkio.psi = read(directory, "io.pressure")?;
    Ok(())
}

fn read(directory: &Path, name: &str) -> Result<Option<Psi>> {
    let Some(text) = text(directory, name)? else { return Ok(None) };
    parse(&text).map(Some).ok_or_else(|| malformed(directory, name, &text))
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`; a line of a future kind is passed over.
fn parse(text: &str) -> Option<Psi> {
    let mut psi = Psi::default();
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ')?;
        let pressure = match kind {
            "some" => &mut psi.some,
            "full" => &mut psi.full,
            _ => continue,
        };
        for field in rest.split(' ') {
            match field.split_once('=')? {
                ("avg10", value) => pressure.avg10 = value.parse().ok()?,
                ("avg60", value) => pressure.avg60 = value.parse().ok()?,
                ("avg300", value) => pressure.avg300 = value.parse().ok()?,
                ("total", value) => pressure.total = value.parse().ok()?,
                _ => {}
            }
        }
    }
    Some(psi)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [C22]
    #[test]
    fn both_lines_are_read() {
        let text = "some avg10=1.50 avg60=0.20 avg300=0.00 total=77\nfull avg10=0.10 avg60=0.00 avg300=0.00 total=9\n";
        let psi = parse(text).unwrap();
        let some = Pressure { avg10: 1.5, avg60: 0.2, avg300: 0.0, total: 77 };
        assert_eq!(psi.some, some);
        assert_eq!(psi.full.total, 9);
        assert!(parse("some avg10=x").is_none());
    }
}
