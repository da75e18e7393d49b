//! `stats [ID…]`: what containers use, for people: a table that refreshes as that of top(1) does.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::output::{until_unread, write};
use crate::cgroups::{Cgroup, Psi, Stats};
use crate::cli::{StatsArgs, TableFormat};
use crate::container::{Container, Id, Lock, Status, Store};
use crate::error::{Error, Kind, Result};

/// Home, then clear: the table is drawn over the last one.
const REDRAW: &str = "\x1b[H\x1b[2J";

/// Prints the numbers of the containers named, or of all that run, each interval until none is left; once with
/// `--no-stream`.
///
/// # Errors
/// `container does not exist`, `container with id X is not running`, a cgroup file that can't be read.
pub fn run(root: &Path, args: &StatsArgs) -> Result<i32> {
    until_unread(watch(root, args))
}

fn watch(root: &Path, args: &StatsArgs) -> Result<i32> {
    let store = Store::open(root);
    let mut before = samples(&store, args, true)?;
    let redraw = args.format == TableFormat::Table && !args.no_stream && std::io::stdout().is_terminal();
    loop {
        if before.is_empty() && (args.no_stream || !args.ids.is_empty()) {
            // All that were named have ended; without any there is nothing to wait for either.
            return if args.no_stream { show(&[], args.format, redraw).map(|()| 0) } else { Ok(0) };
        }
        std::thread::sleep(args.interval);
        let now = samples(&store, args, false)?;
        let rows: Vec<Row> = now.iter().map(|sample| sample.row(&before)).collect();
        if args.no_stream || !now.is_empty() || args.ids.is_empty() {
            show(&rows, args.format, redraw)?;
        }
        if args.no_stream {
            return Ok(0);
        }
        before = now;
    }
}

/// The numbers of one container at one moment.
struct Sample {
    id: String,
    at: Instant,
    stats: Stats,
    oom_kills: u64,
}

/// Of every container that runs; at first, one that was named and does not run is an error.
fn samples(store: &Store, args: &StatsArgs, first: bool) -> Result<Vec<Sample>> {
    let mut found = Vec::new();
    if args.ids.is_empty() {
        let entries = match store.list() {
            Err(error) if error.kind() == Kind::NotFound => return Ok(found),
            other => other?,
        };
        for entry in entries {
            // One that is being made or removed has no numbers.
            found.extend(entry.container.and_then(|container| sample(&container)).ok().flatten());
        }
        return Ok(found);
    }
    for id in &args.ids {
        let container = match store.load(&Id::parse(id)?, Lock::None) {
            Ok(container) => container,
            Err(_) if !first => continue,
            Err(error) => return Err(error),
        };
        match sample(&container) {
            // It has ended, and was deleted, while it was looked at.
            Err(_) if !first => {}
            other => match other? {
                Some(sample) => found.push(sample),
                None if first => {
                    return Err(Error::new(
                        Kind::NotRunning,
                        format!("container with id {id} is not running"),
                    ));
                }
                None => {}
            },
        }
    }
    Ok(found)
}

fn sample(container: &Container) -> Result<Option<Sample>> {
    let cgroup: Cgroup = container.cgroup();
    if matches!(container.status()?, Status::Stopped | Status::Creating) || cgroup.is_none() {
        return Ok(None);
    }
    let (at, stats, oom_kills) = (Instant::now(), cgroup.stats()?, cgroup.oom_kills());
    Ok(Some(Sample { id: container.record.id.clone(), at, stats, oom_kills }))
}

/// One line of the table.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    id: String,
    /// Of one processor: 200 is two of them busy.
    cpu_percent: f64,
    /// Of the time that passed.
    throttled_percent: f64,
    memory_usage: u64,
    memory_peak: u64,
    /// Null without a limit.
    memory_limit: Option<u64>,
    swap_usage: u64,
    pids: u64,
    pids_limit: Option<u64>,
    io_read: u64,
    io_written: u64,
    /// Percent of the last ten seconds in which some process waited; null without PSI.
    cpu_pressure: Option<f64>,
    memory_pressure: Option<f64>,
    io_pressure: Option<f64>,
    oom_kills: u64,
}

impl Sample {
    /// Against the sample of the same container in `before`, if it was there.
    fn row(&self, before: &[Self]) -> Row {
        let before = before.iter().find(|sample| sample.id == self.id);
        let passed = before.map_or(Duration::ZERO, |before| self.at - before.at);
        let part = |of: fn(&Stats) -> u64| {
            percent(before.map_or(0, |before| of(&self.stats).saturating_sub(of(&before.stats))), passed)
        };
        let Stats { memory, pids, blkio, cpu, .. } = &self.stats;
        let (io_read, io_written) = blkio.bytes();
        let some = |psi: Option<Psi>| psi.map(|psi| psi.some.avg10);
        Row {
            id: self.id.clone(),
            cpu_percent: part(|stats| stats.cpu.usage.total),
            throttled_percent: part(|stats| stats.cpu.throttling.throttled_time),
            memory_usage: memory.usage.usage,
            memory_peak: memory.usage.max,
            // v1 says no limit as nearly 2^63.
            memory_limit: Some(memory.usage.limit).filter(|limit| (1..1 << 62).contains(limit)),
            swap_usage: memory.swap.usage.saturating_sub(memory.usage.usage),
            pids: pids.current,
            pids_limit: Some(pids.limit).filter(|limit| *limit != 0),
            io_read,
            io_written,
            cpu_pressure: some(cpu.psi),
            memory_pressure: some(memory.psi),
            io_pressure: some(blkio.psi),
            oom_kills: self.oom_kills,
        }
    }
}

/// Nanoseconds of a span of time, with one digit after the point.
fn percent(nanoseconds: u64, passed: Duration) -> f64 {
    if passed.is_zero() {
        return 0.0;
    }
    let used = Duration::from_nanos(nanoseconds).as_secs_f64();
    (used / passed.as_secs_f64() * 1000.0).round() / 10.0
}

fn show(rows: &[Row], format: TableFormat, redraw: bool) -> Result<()> {
    let text = match format {
        TableFormat::Json => {
            let text = serde_json::to_string(rows);
            text.map_err(|error| Error::new(Kind::System, error.to_string()))? + "\n"
        }
        TableFormat::Table => table(rows),
    };
    write(if redraw { format!("{REDRAW}{text}") } else { text }.as_bytes())
}

const HEADER: [&str; 12] = [
    "ID",
    "CPU %",
    "THROTTLED %",
    "MEM",
    "PEAK",
    "LIMIT",
    "SWAP",
    "PIDS",
    "READ",
    "WRITTEN",
    "PSI CPU/MEM/IO",
    "OOM",
];

fn table(rows: &[Row]) -> String {
    let lines: Vec<Vec<String>> = std::iter::once(HEADER.iter().map(ToString::to_string).collect())
        .chain(rows.iter().map(cells))
        .collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADER.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            // Names to the left, numbers to the right.
            let _ =
                if column == 0 { write!(text, "{cell:<width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.push('\n');
    }
    text
}

fn cells(row: &Row) -> Vec<String> {
    let limit = row.memory_limit.map_or_else(|| "-".into(), bytes);
    let pids = row.pids_limit.map_or_else(|| row.pids.to_string(), |limit| format!("{}/{limit}", row.pids));
    let psi = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.1}"));
    vec![
        row.id.clone(),
        format!("{:.1}", row.cpu_percent),
        format!("{:.1}", row.throttled_percent),
        bytes(row.memory_usage),
        if row.memory_peak == 0 { "-".into() } else { bytes(row.memory_peak) },
        limit,
        bytes(row.swap_usage),
        pids,
        bytes(row.io_read),
        bytes(row.io_written),
        format!("{}/{}/{}", psi(row.cpu_pressure), psi(row.memory_pressure), psi(row.io_pressure)),
        row.oom_kills.to_string(),
    ]
}

/// Three digits and a binary unit: `1.21GiB`.
fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number}B");
    }
    let unit = usize::try_from((63 - number.leading_zeros()) / 10 - 1).unwrap_or(0);
    // Tenths and hundredths by whole numbers: exact for every u64.
    let hundredths = (u128::from(number) * 100) >> (10 * (unit + 1));
    let (whole, part) = (hundredths / 100, hundredths % 100);
    match whole {
        0..10 => format!("{whole}.{part:02}{}", UNITS[unit]),
        10..100 => format!("{whole}.{}{}", part / 10, UNITS[unit]),
        _ => format!("{whole}{}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_digits() {
        let table = [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00KiB"),
            (1536, "1.50KiB"),
            (15 * 1024 * 1024, "15.0MiB"),
            (512 << 20, "512MiB"),
            (1 << 30, "1.00GiB"),
            (u64::MAX, "15.9EiB"),
        ];
        for (number, text) in table {
            assert_eq!(bytes(number), text);
        }
    }

    fn at(id: &str, at: Instant, used: u64) -> Sample {
        let mut stats = Stats::default();
        stats.cpu.usage.total = used;
        stats.memory.usage.limit = u64::MAX;
        Sample { id: id.into(), at, stats, oom_kills: 0 }
    }

    #[test]
    fn percent_is_of_the_time_that_passed() {
        let start = Instant::now();
        let before = [at("a", start, 1_000_000_000), at("b", start, 0)];
        let row = at("a", start + Duration::from_secs(2), 4_000_000_000).row(&before);
        assert!((row.cpu_percent - 150.0).abs() < 0.01, "{row:?}");
        assert_eq!(row.memory_limit, None);
        // One that was not there before has nothing to be compared with.
        assert!(at("c", start, 9).row(&before).cpu_percent.abs() < 0.01);
    }

    #[test]
    fn columns_line_up() {
        let start = Instant::now();
        let rows = [at("a", start, 0).row(&[]), at("a-long-name", start, 0).row(&[])];
        let text = table(&rows);
        let lengths: Vec<_> = text.lines().map(str::len).collect();
        assert!(lengths.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
        assert!(text.starts_with("ID           CPU %"), "{text}");
    }
}
