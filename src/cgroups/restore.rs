//! What must be written into a cgroup file to get its old content back: each file takes back what it shows but for the
//! ones listed here.

/// The text to write to `name`, which showed `content`, once `written` was written to it; `None` if nothing can.
pub(super) fn text(name: &str, content: &str, written: &str) -> Option<String> {
    let content = content.trim_end();
    if name == "memory.oom_control" {
        let line = content.lines().find_map(|line| line.strip_prefix("oom_kill_disable "));
        return line.map(ToString::to_string);
    }
    if !is_keyed(name) {
        // A write of no bytes does not reach the file.
        return Some(if content.is_empty() { "\n".into() } else { content.to_string() });
    }
    let key = match written.split_once(' ') {
        Some((key, _)) => key,
        // A weight for all devices.
        None if content.contains(' ') => "default",
        None => return Some(content.to_string()),
    };
    let old = content.lines().find(|line| line.split(' ').next() == Some(key));
    old.map(ToString::to_string).or_else(|| without(name, key))
}

/// One line for each device.
fn is_keyed(name: &str) -> bool {
    name.starts_with("io.")
        || name.starts_with("blkio.")
        || matches!(
            name,
            "rdma.max" | "net_prio.ifpriomap" | "misc.max" | "dmem.max" | "dmem.min" | "dmem.low"
        )
}

/// The line that takes a device out of a file which did not have it.
fn without(name: &str, key: &str) -> Option<String> {
    let rest = match name {
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        "io.latency" => "target=0",
        "io.weight" => "default",
        "rdma.max" => "hca_handle=max hca_object=max",
        name if name.starts_with("blkio.") || name == "net_prio.ifpriomap" || name == "io.bfq.weight" => "0",
        _ => return None,
    };
    Some(format!("{key} {rest}"))
}

#[cfg(test)]
mod tests {
    use super::text;

    /// [S40] Every kind of file.
    #[test]
    fn old_contents() {
        for (name, content, written, expected) in [
            ("memory.max", "max\n", "5", "max"),
            ("cpu.max", "max 100000\n", "5000 10000", "max 100000"),
            ("cpuset.cpus", "\n", "0", "\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "1", "0"),
            (
                "io.max",
                "8:0 rbps=1 wbps=max riops=max wiops=max\n",
                "8:0 wbps=5",
                "8:0 rbps=1 wbps=max riops=max wiops=max",
            ),
            ("io.max", "8:0 rbps=1\n", "8:16 rbps=2", "8:16 rbps=max wbps=max riops=max wiops=max"),
            ("io.weight", "default 100\n8:0 7\n", "300", "default 100"),
            ("io.weight", "default 100\n", "8:0 300", "8:0 default"),
            ("blkio.bfq.weight", "100\n", "300", "100"),
            ("blkio.throttle.read_bps_device", "", "8:0 5", "8:0 0"),
            ("blkio.throttle.read_bps_device", "8:1 4\n8:0 9\n", "8:0 5", "8:0 9"),
            ("net_prio.ifpriomap", "lo 3\n", "lo 4", "lo 3"),
        ] {
            assert_eq!(text(name, content, written).as_deref(), Some(expected), "{name} {content:?}");
        }
        assert_eq!(text("misc.max", "", "res 4"), None);
    }
}
