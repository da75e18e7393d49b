//! The limits that a container has at the moment, as far as an update of others depends on them.

use std::path::Path;

use super::{Cgroup, file};

/// `None` also where it can't be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Memory in bytes; `None` without a limit.
    pub limit: Option<i64>,
    /// Memory and swap together in bytes; `None` without a limit of both.
    pub swap: Option<i64>,
    /// Memory in use, in bytes.
    pub usage: Option<i64>,
    /// Processor time in each period, microseconds; `None` without a limit.
    pub quota: Option<i64>,
    /// Microseconds.
    pub period: Option<u64>,
    /// `cpu.idle`
    pub idle: bool,
}

impl Cgroup {
    /// Reads what there is.
    pub fn present(&self) -> Present {
        let text = |directory: Option<&Path>, name: &str| {
            let content = file::read_raw(&file::join(directory?, name)).ok()?;
            Some(String::from_utf8_lossy(content.trim_ascii()).into_owned())
        };
        let number = |directory: Option<&Path>, name: &str| limit(&text(directory, name)?);
        if !self.is_v2() {
            let memory = self.v1("memory");
            return Present {
                limit: number(memory, "memory.limit_in_bytes"),
                swap: number(memory, "memory.memsw.limit_in_bytes"),
                usage: number(memory, "memory.usage_in_bytes"),
                quota: number(self.v1("cpu"), "cpu.cfs_quota_us").filter(|quota| *quota > 0),
                period: text(self.v1("cpu"), "cpu.cfs_period_us").and_then(|text| text.parse().ok()),
                idle: text(self.v1("cpu"), "cpu.idle").as_deref() == Some("1"),
            };
        }
        let own = self.unified();
        let limit = number(own, "memory.max");
        let cpu = text(own, "cpu.max").unwrap_or_default();
        let (quota, period) = cpu.split_once(' ').unwrap_or_default();
        Present {
            limit,
            swap: limit.zip(number(own, "memory.swap.max")).map(|(limit, swap)| limit.saturating_add(swap)),
            usage: number(own, "memory.current"),
            quota: quota.parse().ok(),
            period: period.parse().ok(),
            idle: text(own, "cpu.idle").as_deref() == Some("1"),
        }
    }
}

/// v1 has the greatest multiple of a page for "no limit", v2 `max`.
fn limit(text: &str) -> Option<i64> {
    const LARGEST_PAGE: i64 = 64 << 10;
    text.parse().ok().filter(|number| *number < i64::MAX - LARGEST_PAGE)
}

#[cfg(test)]
mod tests {
    use super::limit;

    #[test]
    fn no_limit_has_two_spellings() {
        assert_eq!(limit("9223372036854771712"), None);
        assert_eq!(limit("max"), None);
        assert_eq!(limit("67108864"), Some(67_108_864));
    }
}
