//! `ps ID`: the container's processes, by their pids on the host.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use super::output::print;
use crate::cli::TableFormat;
use crate::container::{Id, Lock, Status, Store};
use crate::error::{Context, Error, Kind, Result};

/// Prints the pids as a JSON array (`json`), or the lines of `ps` that have one of them (`table`, the
/// default); `args` are for `ps`, without any it gets `-ef`.
///
/// # Errors
/// `container does not exist`, `the container is not using cgroups`, the cgroup cannot be read, `ps` cannot
/// be run or fails, `couldn't find PID field in ps output`.
pub fn run(root: &Path, id: &str, format: TableFormat, args: &[OsString]) -> Result<i32> {
    let json = format == TableFormat::Json;
    let container = Store::open(root).load(&Id::parse(id)?, Lock::None)?;
    let cgroup = container.cgroup();
    if cgroup.is_none() && container.status()? != Status::Stopped {
        return Err(Error::new(Kind::State, "the container is not using cgroups"));
    }
    let pids = cgroup.pids()?;
    print(if json { to_json(&pids) } else { filter(&ps(args)?, &pids)? }.as_bytes())?;
    Ok(0)
}

/// One line; `null` when there is none, as Go writes it.
fn to_json(pids: &[i32]) -> String {
    if pids.is_empty() {
        return "null\n".into();
    }
    let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
    format!("[{}]\n", pids.join(","))
}

fn ps(args: &[OsString]) -> Result<String> {
    let mut command = Command::new("ps");
    if args.is_empty() {
        command.arg("-ef");
    } else {
        command.args(args);
    }
    let output = command.output().context("run ps")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).trim_end().replace('\n', "; ");
        return Err(Error::new(Kind::System, format!("ps: {}: {text}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Keeps the header and the lines whose PID column has one of `pids`.
fn filter(text: &str, pids: &[i32]) -> Result<String> {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let column = header
        .split_whitespace()
        .position(|name| name == "PID")
        .ok_or_else(|| Error::new(Kind::System, "couldn't find PID field in ps output"))?;
    let mut kept = format!("{header}\n");
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let field = line.split_whitespace().nth(column).unwrap_or_default();
        let pid: i32 = field.parse().map_err(|_| {
            Error::new(Kind::System, format!("unable to parse pid: {field:?} in the ps output"))
        })?;
        if pids.contains(&pid) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [V23] An array of integers, `null` after the end.
    #[test]
    fn json_is_an_array() {
        assert_eq!(to_json(&[]), "null\n");
        assert_eq!(to_json(&[7, 42]), "[7,42]\n");
    }

    /// [V22] The header and the container's lines, wherever the PID column is.
    #[test]
    fn lines_of_the_container_are_kept() {
        let text = "UID          PID  CMD\nroot           1  init\nroot           7  sh 1\n\n";
        assert_eq!(filter(text, &[7]).expect("kept"), "UID          PID  CMD\nroot           7  sh 1\n");
        assert_eq!(filter(text, &[]).expect("kept"), "UID          PID  CMD\n");
        assert_eq!(filter("  PID\n    7\n", &[7]).expect("kept"), "  PID\n    7\n");
        let error = filter("USER CMD\nroot init\n", &[1]).expect_err("no column");
        assert_eq!(error.to_string(), "couldn't find PID field in ps output");
        assert!(filter("PID\nx\n", &[1]).expect_err("no number").to_string().contains("unable to parse pid"));
    }
}
