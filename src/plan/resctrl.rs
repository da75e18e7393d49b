//! `linux.intelRdt` → the group, the lines of its schemata.

use oci_spec::runtime::Spec;

use crate::error::{Error, Result};
use crate::resctrl::{Line, ResctrlPlan};
use crate::spec::validate::RESERVED_GROUPS;

/// Decides what is done in resctrl; None: nothing at all.
///
/// # Errors
/// The container's id cannot be the name of its group.
pub fn plan(spec: &Spec, id: &str) -> Result<Option<ResctrlPlan>> {
    let Some(rdt) = spec.linux().as_ref().and_then(|linux| linux.intel_rdt().as_ref()) else {
        return Ok(None);
    };
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let clos_id = given(rdt.clos_id());
    if clos_id.is_none() && RESERVED_GROUPS.contains(&id) {
        let text = format!("the container's id {id:?} cannot be the name of a resctrl group");
        return Err(Error::config("linux.intelRdt", text).hint("set closID"));
    }
    let mut lines = Vec::new();
    let mut add = |path: String, text: &str| lines.push(Line { path, text: text.to_string() });
    for text in given(rdt.l3_cache_schema()).iter().flat_map(|schema| cache_lines(schema)) {
        add("linux.intelRdt.l3CacheSchema".into(), text);
    }
    if let Some(text) = given(rdt.mem_bw_schema()) {
        add("linux.intelRdt.memBwSchema".into(), &text);
    }
    for (index, text) in rdt.schemata().iter().flatten().enumerate() {
        add(format!("linux.intelRdt.schemata[{index}]"), text);
    }
    let monitoring = rdt.enable_monitoring().unwrap_or(false);
    Ok(Some(ResctrlPlan { id: id.to_string(), clos_id, lines, monitoring }))
}

/// Bandwidth has its own property, and must not be set by this one.
fn cache_lines(schema: &str) -> impl Iterator<Item = &str> {
    schema.lines().filter(|text| !text.is_empty() && !text.starts_with("MB:"))
}

/// The lines of `update --l3-cache-schema L3 --mem-bw-schema BANDWIDTH`.
///
/// # Errors
/// A bandwidth that is not one line of `MB:`.
pub fn update(cache: Option<&str>, bandwidth: Option<&str>) -> Result<Vec<Line>> {
    let line = |path: &str, text: &str| Line { path: path.into(), text: text.into() };
    let cache = cache.into_iter().flat_map(cache_lines);
    let mut lines: Vec<_> = cache.map(|text| line("--l3-cache-schema", text)).collect();
    if let Some(text) = bandwidth {
        if !text.starts_with("MB:") || text.contains('\n') {
            let fault = format!("{text:?} is not one line that starts with \"MB:\"");
            return Err(Error::config("--mem-bw-schema", fault));
        }
        lines.push(line("--mem-bw-schema", text));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan_of(rdt: serde_json::Value) -> ResctrlPlan {
        let spec = serde_json::from_value(json!({"linux": {"intelRdt": rdt}})).unwrap();
        plan(&spec, "c1").unwrap().unwrap()
    }

    /// [T5] l3CacheSchema without its bandwidth, then memBwSchema, schemata last.
    #[test]
    fn lines_have_an_order() {
        let plan = plan_of(json!({"schemata": ["L2:0=f", "L3:0=1"], "memBwSchema": "MB:0=20",
            "l3CacheSchema": "L3:0=f\nMB:0=70\nL3CODE:0=1"}));
        let lines: Vec<_> = plan.lines.iter().map(|line| (line.path.as_str(), line.text.as_str())).collect();
        let expected = [
            ("linux.intelRdt.l3CacheSchema", "L3:0=f"),
            ("linux.intelRdt.l3CacheSchema", "L3CODE:0=1"),
            ("linux.intelRdt.memBwSchema", "MB:0=20"),
            ("linux.intelRdt.schemata[0]", "L2:0=f"),
            ("linux.intelRdt.schemata[1]", "L3:0=1"),
        ];
        assert_eq!(lines, expected);
    }

    /// [V58]
    #[test]
    fn lines_of_an_update() {
        let lines = update(Some("L3:0=f\nMB:0=70\nL3CODE:0=1"), Some("MB:0=20")).unwrap();
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["L3:0=f", "L3CODE:0=1", "MB:0=20"]);
        assert!(update(None, Some("L3:0=f")).unwrap_err().to_string().starts_with("--mem-bw-schema: "));
    }

    /// [T1] [T2] [T6] [T8]
    #[test]
    fn groups() {
        assert_eq!(plan(&serde_json::from_value(json!({"linux": {}})).unwrap(), "c1").unwrap(), None);
        let empty = plan_of(json!({"closID": "", "l3CacheSchema": "", "enableCMT": true, "enableMBM": true}));
        assert_eq!(empty, ResctrlPlan { id: "c1".into(), ..ResctrlPlan::default() });
        let plan_of_gold = plan_of(json!({"closID": "gold", "enableMonitoring": true}));
        assert_eq!((plan_of_gold.clos_id.as_deref(), plan_of_gold.monitoring), (Some("gold"), true));
        let spec = serde_json::from_value(json!({"linux": {"intelRdt": {}}})).unwrap();
        assert!(plan(&spec, "info").unwrap_err().to_string().starts_with("linux.intelRdt: "));
    }
}
