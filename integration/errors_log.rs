//! How an error is told: prefixes, records of the log, stderr.

use crate::support::*;
use std::os::unix::fs::PermissionsExt;

/// [E11] the prefixes of create and run.
#[test]
fn prefixes() {
    let mut t = Test::new();
    t.args(&["nothere"]);
    let name = if davit_only() { "davit" } else { "runc" };
    for (verb, output) in [("create", t.create()), ("run", t.run())] {
        assert!(output.stderr.contains(&format!("{name} {verb} failed: ")), "{output}");
    }
}

/// [E2] [E3] [G14] [G15] one record in the log, the same text plain on stderr, nothing on stdout.
#[test]
fn one_json_record() {
    let mut t = Test::new();
    t.args(&["nothere"]);
    t.write();
    let log = t.path("log.json");
    let bundle = t.bundle.to_str().unwrap();
    let output = t.rt(&["--log", &log, "--log-format", "json", "create", "--bundle", bundle, &t.id]).code(1);
    let text = std::fs::read_to_string(&log).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 1, "{text}");
    let record = records[0].as_object().unwrap();
    assert_eq!(record["level"], "error");
    let message = record["msg"].as_str().unwrap();
    assert!(message.contains("executable file not found in $PATH"), "{message}");
    assert_eq!(output.stdout, "");
    assert_eq!(output.stderr.trim_end(), message);
    let time = record["time"].as_str().unwrap();
    assert!(
        time.len() >= 20 && time.as_bytes()[10] == b'T' && (time.ends_with('Z') || time.contains('+')),
        "{time}"
    );
    if davit_only() {
        assert_eq!(record["code"], "program");
        assert_eq!(record.len(), 4, "level, msg, time, and our code: {text}");
        assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
    }
    t.assert_clean();
}

/// [E2] [G15] the text format: `time="…" level=error msg="…"`, on stderr when there is no log file.
#[test]
fn text_record() {
    let t = Test::new();
    let log = t.path("log");
    t.rt(&["--log", &log, "state", "nope"]).fails(1, "container does not exist");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("time=\""), "{text}");
    assert!(text.contains(" level=error msg=\"container does not exist\""), "{text}");
    assert_eq!(text.lines().count(), 1);
    let output = t.rt(&["state", "nope"]).fails(1, "level=error msg=");
    assert!(output.stderr.starts_with("time=\""), "{output}");
}

/// [G14] the log is appended to, and made with mode 0644.
#[test]
fn log_is_appended() {
    let t = Test::new();
    let log = t.path("log");
    for _ in 0..3 {
        t.rt(&["--log", &log, "--log-format=json", "state", "nope"]).code(1);
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 3);
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o644);
}

/// [E3] success writes no record at the default level.
#[test]
fn success_is_silent() {
    let mut t = Test::docker();
    let log = t.path("log");
    t.sh("echo up");
    t.write();
    let bundle = t.bundle.to_str().unwrap();
    let output = t.rt(&["--log", &log, "--log-format", "json", "run", "--bundle", bundle, &t.id]);
    assert_eq!(output.ok(), "up");
    assert_eq!(std::fs::read_to_string(&log).unwrap_or_default(), "");
}

/// [E13] [P11] an unknown capability is a warning in the log, and the container runs.
#[test]
fn unknown_capability_is_a_warning() {
    let mut t = Test::new();
    t.config.caps(&["CAP_KILL", "CAP_BOGUS"]);
    t.sh("grep CapEff /proc/self/status");
    t.write();
    let log = t.path("log");
    let bundle = t.bundle.to_str().unwrap();
    let out = t.rt(&["--log", &log, "--log-format", "json", "run", "--bundle", bundle, &t.id]).ok();
    assert_eq!(host::field(&out, "CapEff"), "0000000000000020");
    let text = std::fs::read_to_string(&log).unwrap();
    let record: Value = serde_json::from_str(text.lines().next().expect("a warning")).unwrap();
    assert_eq!(record["level"], "warning");
    assert!(record["msg"].as_str().unwrap().contains("CAP_BOGUS"), "{text}");
}
