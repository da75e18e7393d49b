//! Rules of `linux.intelRdt` (config-linux.md, "IntelRdt").

use oci_spec::runtime::Linux;

use super::Faults;

/// Directories of resctrl that are no groups.
pub(crate) const RESERVED: [&str; 3] = ["info", "mon_groups", "mon_data"];

pub(super) fn check(linux: &Linux, faults: &mut Faults) {
    let Some(rdt) = linux.intel_rdt() else { return };
    if let Some(name) = rdt.clos_id().as_deref().filter(|name| !matches!(*name, "" | "/")) {
        // One directory below the root of resctrl; the kernel wants no line break in it.
        if matches!(name, "." | "..") || name.contains(['/', '\n', '\0']) || RESERVED.contains(&name) {
            faults.add("linux.intelRdt.closID", format!("{name:?} cannot be the name of a resctrl group"));
        }
    }
    if let Some(schema) = rdt.mem_bw_schema().as_deref().filter(|schema| !schema.is_empty()) {
        if !schema.starts_with("MB:") {
            faults.add("linux.intelRdt.memBwSchema", format!("{schema:?} does not start with \"MB:\""));
        }
        one_line("linux.intelRdt.memBwSchema", schema, faults);
    }
    for (index, line) in rdt.schemata().iter().flatten().enumerate() {
        let path = format!("linux.intelRdt.schemata[{index}]");
        if line.is_empty() {
            faults.add(path, "must not be empty");
        } else {
            one_line(&path, line, faults);
        }
    }
}

fn one_line(path: &str, text: &str, faults: &mut Faults) {
    if text.contains('\n') {
        faults.add(path, format!("{text:?} holds a line break"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{faults_with, one_fault};
    use serde_json::{Value, json};

    fn rdt(value: Value) -> Value {
        json!({"linux": {"intelRdt": value}})
    }

    /// [T2]
    #[test]
    fn names_of_groups() {
        for bad in [".", "..", "a/b", "/a", "//", "a\nb", "info", "mon_groups"] {
            one_fault(rdt(json!({ "closID": bad })), "linux.intelRdt.closID");
        }
        for good in ["/", "", "guaranteed_group", "..."] {
            assert!(faults_with(rdt(json!({ "closID": good }))).is_empty(), "{good}");
        }
    }

    /// [T5]
    #[test]
    fn schemata_are_lines() {
        one_fault(rdt(json!({"memBwSchema": "L3:0=f"})), "does not start with \"MB:\"");
        one_fault(rdt(json!({"memBwSchema": "MB:0=1\nMB:1=2"})), "linux.intelRdt.memBwSchema");
        one_fault(rdt(json!({"schemata": ["L3:0=f", "MB:0=1\n"]})), "linux.intelRdt.schemata[1]");
        one_fault(rdt(json!({"schemata": [""]})), "linux.intelRdt.schemata[0]: must not be empty");
        let good =
            json!({"l3CacheSchema": "L3:0=f\nL3:1=f", "memBwSchema": "MB:0=10", "schemata": ["L2:0=1"]});
        assert!(faults_with(rdt(good)).is_empty());
    }

    /// [T8]
    #[test]
    fn old_monitoring_switches_are_nothing() {
        assert!(faults_with(rdt(json!({"enableCMT": true, "enableMBM": false}))).is_empty());
    }
}
