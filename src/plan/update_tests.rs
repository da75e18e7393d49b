use super::*;

fn directories(names: &[&str]) -> Vec<PlannedDir> {
    let dir = |name: &&str| PlannedDir { controllers: (*name).into(), path: "/c".into(), mount_len: 0 };
    names.iter().map(dir).collect()
}

const V1: [&str; 6] = ["memory", "cpu,cpuacct", "cpuset", "pids", "devices", ""];

fn planned(json: &str, names: &[&str], present: &Present) -> Result<CgroupPlan> {
    plan(&serde_json::from_str(json).unwrap(), directories(names), present, false)
}

fn lines(json: &str, names: &[&str], present: &Present) -> Vec<String> {
    let plan = planned(json, names, present).unwrap();
    plan.writes.iter().map(|write| format!("{}={}", write.file, write.value)).collect()
}

fn present() -> Present {
    Present {
        limit: Some(100),
        swap: Some(300),
        usage: Some(50),
        quota: Some(5000),
        period: Some(20_000),
        idle: false,
    }
}

/// [C16] [V49] What is not given stays, also where the kernel has two values in one file.
#[test]
fn one_of_two_keeps_the_other() {
    let table: [(&str, &[&str], &[&str]); 9] = [
        (r#"{"cpu":{"quota":7000}}"#, &["cpu.cfs_quota_us=7000"], &["cpu.max=7000 20000"]),
        (r#"{"cpu":{"period":9000}}"#, &["cpu.cfs_period_us=9000"], &["cpu.max=5000 9000"]),
        (r#"{"cpu":{"quota":-1}}"#, &["cpu.cfs_quota_us=-1"], &["cpu.max=max 20000"]),
        (r#"{"cpu":{"quota":0,"period":0}}"#, &[], &[]),
        (
            r#"{"memory":{"limit":90}}"#,
            &["memory.limit_in_bytes=90"],
            &["memory.swap.max=210", "memory.max=90"],
        ),
        (r#"{"memory":{"swap":150}}"#, &["memory.memsw.limit_in_bytes=150"], &["memory.swap.max=50"]),
        (r#"{"memory":{"swap":-1}}"#, &["memory.memsw.limit_in_bytes=-1"], &["memory.swap.max=max"]),
        (r#"{"memory":{"reservation":5}}"#, &["memory.soft_limit_in_bytes=5"], &["memory.low=5"]),
        (r#"{"pids":{"limit":-1}}"#, &["pids.max=max"], &["pids.max=max"]),
    ];
    for (json, v1, v2) in table {
        assert_eq!(lines(json, &V1, &present()), v1, "{json}");
        assert_eq!(lines(json, &[""], &present()), v2, "{json}");
    }
    let none = Present::default();
    assert_eq!(lines(r#"{"cpu":{"period":9000}}"#, &[""], &none), ["cpu.max=max 9000"]);
    assert_eq!(lines(r#"{"memory":{"limit":90}}"#, &[""], &none), ["memory.max=90"]);
    assert!(lines("{}", &V1, &present()).is_empty() && lines("{}", &[""], &present()).is_empty());
}

/// [C17] [V55] v1: growing takes swap first, shrinking memory first; without any limit, swap is lifted as well.
#[test]
fn memory_has_an_order() {
    let order = |json: &str| lines(json, &V1, &present());
    let (limit, swap) = ("memory.limit_in_bytes=", "memory.memsw.limit_in_bytes=");
    assert_eq!(
        order(r#"{"memory":{"limit":400,"swap":500}}"#),
        [format!("{swap}500"), format!("{limit}400")]
    );
    assert_eq!(order(r#"{"memory":{"limit":20,"swap":30}}"#), [format!("{limit}20"), format!("{swap}30")]);
    assert_eq!(order(r#"{"memory":{"limit":-1}}"#), [format!("{swap}-1"), format!("{limit}-1")]);
    assert_eq!(order(r#"{"memory":{"limit":400,"swap":-1}}"#), [format!("{swap}-1"), format!("{limit}400")]);
    let v2 = lines(r#"{"memory":{"limit":400,"swap":500,"reservation":7}}"#, &[""], &present());
    assert_eq!(v2, ["memory.swap.max=100", "memory.max=400", "memory.low=7"]);
    assert_eq!(
        lines(r#"{"memory":{"limit":-1}}"#, &[""], &present()),
        ["memory.swap.max=max", "memory.max=max"]
    );
}

/// [C16] [C18] What does not go with what is there.
#[test]
fn refused() {
    let refusal = |json: &str, names: &[&str], present: &Present| {
        planned(json, names, present).unwrap_err().to_string()
    };
    for names in [&V1[..], &[""]] {
        let text = refusal(r#"{"memory":{"limit":301}}"#, names, &present());
        assert!(text.starts_with("linux.resources.memory.limit: memory+swap limit should be >="), "{text}");
        let text = refusal(r#"{"memory":{"swap":99}}"#, names, &present());
        assert!(text.contains("memory+swap limit should be >= memory limit"), "{text}");
        let text = refusal(r#"{"memory":{"swap":99}}"#, names, &Present::default());
        assert!(text.contains("unable to set swap limit without memory limit"), "{text}");
    }
    let check = |numbers: &str| format!(r#"{{"memory":{{{numbers},"checkBeforeUpdate":true}}}}"#);
    let text = refusal(&check(r#""limit":50"#), &[""], &present());
    assert_eq!(text, "linux.resources.memory.limit: rejecting memory limit 50 <= usage 50");
    let text = refusal(&check(r#""limit":40,"swap":45"#), &[""], &present());
    assert_eq!(text, "linux.resources.memory.swap: rejecting memory+swap limit 45 <= usage 50");
    assert!(planned(&check(r#""limit":51"#), &[""], &present()).is_ok());
    assert!(planned(r#"{"memory":{"limit":40}}"#, &[""], &present()).is_ok());
    let text = refusal(r#"{"pids":{"limit":5}}"#, &["memory"], &present());
    assert_eq!(text, "linux.resources.pids.limit: cgroup controller pids is not available on this host");
}

/// [C19] [V53] An idle cgroup has no weight.
#[test]
fn idle_and_shares() {
    let idle = Present { idle: true, ..present() };
    assert_eq!(lines(r#"{"cpu":{"shares":1024}}"#, &[""], &idle), ["cpu.idle=0", "cpu.weight=100"]);
    assert_eq!(lines(r#"{"cpu":{"shares":1024}}"#, &V1, &idle), ["cpu.idle=0", "cpu.shares=1024"]);
    assert_eq!(lines(r#"{"cpu":{"shares":1024}}"#, &[""], &present()), ["cpu.weight=100"]);
    for names in [&V1[..], &[""]] {
        assert_eq!(lines(r#"{"cpu":{"shares":1024,"idle":1}}"#, names, &present()), ["cpu.idle=1"]);
    }
    assert_eq!(lines(r#"{"cpu":{"shares":512,"idle":0}}"#, &V1, &idle), ["cpu.idle=0", "cpu.shares=512"]);
}

/// [D12] [W3] Rules change only where there are some, and never without the rights.
#[test]
fn devices_only_if_there_are_some() {
    for json in ["{}", r#"{"devices":[]}"#, r#"{"devices":null}"#] {
        for names in [&V1[..], &[""]] {
            assert_eq!(planned(json, names, &present()).unwrap().devices, None, "{json}");
        }
    }
    let json = r#"{"devices":[{"allow":true,"type":"c","major":10,"minor":229,"access":"rwm"}]}"#;
    let rules = planned(json, &[""], &present()).unwrap().devices.unwrap();
    assert!(rules.rules.iter().any(|rule| rule.to_string() == "c 10:229 rwm") && !rules.default_allow);
    let confined = plan(&serde_json::from_str(json).unwrap(), directories(&V1), &present(), true).unwrap();
    assert_eq!((confined.devices, confined.warnings.len()), (None, 1));
    assert!(planned(json, &["memory"], &present()).is_err());
}
