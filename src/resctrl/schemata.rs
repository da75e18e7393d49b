//! Lines of a `schemata` file, `RESOURCE:DOMAIN=VALUE;DOMAIN=VALUE`, compared by what they mean.

/// Files of `info/MB`: the kernel rounds a percentage up to the next step. Zero: not known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bandwidth {
    /// `min_bandwidth`.
    pub minimum: u64,
    /// `bandwidth_gran`.
    pub step: u64,
}

impl Bandwidth {
    fn round(self, value: u64) -> u64 {
        value.max(self.minimum).next_multiple_of(self.step.max(1))
    }
}

/// Whether the file's text `present` has every value of the line `wanted`, but for those that one of the lines `later`
/// sets as well. A line that cannot be read does not hold.
pub fn holds<'a>(
    present: &str,
    wanted: &str,
    later: impl Iterator<Item = &'a str>,
    bandwidth: Bandwidth,
) -> bool {
    let later: Vec<_> = later.filter_map(parse).collect();
    let Some((resource, domains)) = parse(wanted) else { return false };
    let present = present.lines().filter_map(parse).find(|(name, _)| *name == resource);
    let Some((_, present)) = present else { return false };
    domains.iter().all(|(domain, value)| {
        let overruled =
            later.iter().any(|(name, list)| *name == resource && list.iter().any(|(id, _)| id == domain));
        let found = present.iter().find(|(id, _)| id == domain).map(|(_, found)| found);
        overruled
            || found.is_some_and(|found| {
                found == value || (resource == "MB" && *found == bandwidth.round(*value))
            })
    })
}

/// The resource, and the value of each domain: bandwidth is decimal, a cache's bit mask hexadecimal.
fn parse(line: &str) -> Option<(&str, Vec<(u32, u64)>)> {
    let (resource, rest) = line.split_once(':')?;
    let resource = resource.trim();
    let radix = if matches!(resource, "MB" | "SMBA") { 10 } else { 16 };
    let one = |domain: &str| {
        let (id, value) = domain.split_once('=')?;
        let value = value.trim();
        let digits = if radix == 16 { value.trim_start_matches("0x") } else { value };
        Some((id.trim().parse().ok()?, u64::from_str_radix(digits, radix).ok()?))
    };
    let domains = rest.trim().trim_end_matches(';').split(';').map(one).collect::<Option<Vec<_>>>()?;
    Some((resource, domains))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESENT: &str = "    MB:0=100;1= 20\n    L3:0=7ff;1=00f\nL2:0=f\n";

    fn is(wanted: &str) -> bool {
        holds(PRESENT, wanted, std::iter::empty(), Bandwidth::default())
    }

    /// [T4] The kernel pads, orders and lists all domains; a configuration does not.
    #[test]
    fn lines_are_compared_by_their_values() {
        for same in ["L3:0=7ff;1=f", "L3:1=F", "L3:0=0x7ff;", "L3: 1=00f ; 0=7FF", "MB:1=20", "MB:0=100"] {
            assert!(is(same), "{same}");
        }
        for other in
            ["L3:0=7fe", "L3:0=7ff;1=1f", "L3:2=f", "MB:0=64", "L3CODE:0=7ff", "L3", "L3:0", "L3:x=1", ""]
        {
            assert!(!is(other), "{other}");
        }
    }

    /// [T4] What the kernel rounded is what was wanted.
    #[test]
    fn bandwidth_is_rounded_up() {
        let bandwidth = Bandwidth { minimum: 10, step: 10 };
        let holds = |wanted| holds("MB:0=20;1=10", wanted, std::iter::empty(), bandwidth);
        assert!(holds("MB:0=15;1=1") && holds("MB:0=20"));
        assert!(!holds("MB:0=21") && !holds("MB:0=10"));
    }

    /// [T4] [T5] `schemata` comes last, so it has the last word.
    #[test]
    fn a_later_line_overrules() {
        let holds = |wanted, later| holds(PRESENT, wanted, std::iter::once(later), Bandwidth::default());
        assert!(holds("L3:0=1;1=f", "L3:0=7ff"));
        assert!(!holds("L3:0=1;1=1", "L3:0=7ff"));
        assert!(!holds("L3:0=1", "L2:0=f"));
    }
}
