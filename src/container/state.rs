//! The state of a container as callers see it: the specification's fields and runc's further ones.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::{Record, Status};
use crate::error::{Error, Kind, Result};

/// The state object (runtime.md "State"), borrowed from a record. The fields are in runc's order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State<'r> {
    oci_version: &'r str,
    id: &'r str,
    pid: i32,
    #[serde(serialize_with = "as_text")]
    status: Status,
    bundle: &'r Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    rootfs: Option<&'r Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'r str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'r BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
}

const PID_FIELD: &[u8] = br#""pid":0"#;

/// The state's JSON with a gap for the pid.
#[derive(Clone, Debug)]
pub struct StateText {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl StateText {
    /// The whole.
    pub fn with_pid(&self, pid: i32) -> Vec<u8> {
        [&self.before, pid.to_string().as_bytes(), &self.after].concat()
    }
}

impl<'r> State<'r> {
    /// The state with the specification's fields only, as hooks and seccomp agents get it. `pid` is 0 when
    /// there is none, and the pid inside for hooks that run inside.
    pub fn plain(record: &'r Record, status: Status, pid: i32) -> Self {
        Self {
            oci_version: &record.oci_version,
            id: &record.id,
            pid,
            status,
            bundle: &record.bundle,
            rootfs: None,
            created: None,
            annotations: &record.annotations,
            owner: None,
        }
    }

    /// The state as `state` and `list` show it.
    pub fn full(record: &'r Record, status: Status, pid: i32) -> Self {
        Self {
            rootfs: Some(&record.rootfs),
            created: Some(&record.created),
            owner: Some(owner_name(record.owner)),
            ..Self::plain(record, status, pid)
        }
    }

    /// One line of JSON, without a newline.
    ///
    /// # Errors
    /// A path is not UTF-8.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::new(Kind::System, format!("state: {error}")))
    }

    /// One line of JSON for a pid that is not known yet.
    ///
    /// # Errors
    /// A path is not UTF-8.
    pub fn around_pid(self) -> Result<StateText> {
        let mut before = State { pid: 0, ..self }.to_json()?;
        // Within a text the quotes would be escaped, so what is found first is the field.
        let at = before.windows(PID_FIELD.len()).position(|part| part == PID_FIELD);
        let end = at.map_or(before.len(), |at| at + PID_FIELD.len());
        let after = before.split_off(end);
        before.pop();
        Ok(StateText { before, after })
    }

    /// Indented JSON, as runc prints it.
    ///
    /// # Errors
    /// A path is not UTF-8.
    pub fn to_json_pretty(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(|error| Error::new(Kind::System, format!("state: {error}")))
    }
}

fn as_text<S: serde::Serializer>(status: &Status, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(status)
}

/// The user's name from /etc/passwd, `#1000` if it has none there (as runc). Root needs no look-up.
pub fn owner_name(uid: u32) -> String {
    if uid == 0 {
        return "root".into();
    }
    std::fs::read_to_string("/etc/passwd")
        .ok()
        .and_then(|text| name_in(&text, uid).map(str::to_owned))
        .unwrap_or_else(|| format!("#{uid}"))
}

fn name_in(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            oci_version: "1.2.0".into(),
            id: "c1".into(),
            bundle: "/b".into(),
            rootfs: "/b/r".into(),
            created: "2026-01-02T03:04:05.000000006Z".into(),
            annotations: BTreeMap::from([("k".into(), "v".into())]),
            ..Record::default()
        }
    }

    /// [S3] [S4] [H24] All fields, runc's form; a stopped one has pid 0.
    #[test]
    fn full_state_has_runcs_form() {
        let record = record();
        let json = State::full(&record, Status::Stopped, 0).to_json_pretty().expect("serializes");
        let expected = r#"{
  "ociVersion": "1.2.0",
  "id": "c1",
  "pid": 0,
  "status": "stopped",
  "bundle": "/b",
  "rootfs": "/b/r",
  "created": "2026-01-02T03:04:05.000000006Z",
  "annotations": {
    "k": "v"
  },
  "owner": "root"
}"#;
        assert_eq!(String::from_utf8(json).expect("text"), expected);
    }

    /// [H6] What hooks read: one compact object; no annotations, no field.
    #[test]
    fn plain_state_is_compact() {
        let record = Record { annotations: BTreeMap::new(), ..record() };
        let json = State::plain(&record, Status::Creating, 7).to_json().expect("serializes");
        let expected = r#"{"ociVersion":"1.2.0","id":"c1","pid":7,"status":"creating","bundle":"/b"}"#;
        assert_eq!(String::from_utf8(json).expect("text"), expected);
    }

    /// [H6] [H7] The pid is put in later, whatever the other fields hold.
    #[test]
    fn the_pid_may_come_later() {
        let record = Record { bundle: r#"/b"pid":0,"#.into(), ..record() };
        let text = State::plain(&record, Status::Created, 0).around_pid().expect("text");
        let whole = State::plain(&record, Status::Created, 4711).to_json().expect("serializes");
        assert_eq!(text.with_pid(4711), whole);
    }

    /// [U11] The owner is a name where there is one.
    #[test]
    fn owner_is_looked_up() {
        let passwd = "root:x:0:0::/root:/bin/sh\nbroken\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(name_in(passwd, 1000), Some("ann"));
        assert_eq!(name_in(passwd, 1001), None);
        assert_eq!(owner_name(0), "root");
        assert_eq!(owner_name(u32::MAX - 7), format!("#{}", u32::MAX - 7));
    }
}
