//! Durations as Go writes them (time.ParseDuration): `5s`, `1m30s`, `1.5h`, `100ms`.

use std::time::Duration;

/// The units, longer names first where one begins with another; in nanoseconds.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Reads a duration without a sign, less than 292 years (Go's largest); `None` for anything else.
pub(super) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').filter(|rest| !rest.is_empty()).unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.len()
            - rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.').len();
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, size) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        nanoseconds += number * size;
        rest = &rest[unit.len()..];
    }
    let duration = Duration::try_from_secs_f64(nanoseconds / 1e9).ok()?;
    (duration.as_secs() < 1 << 33).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [V44]
    #[test]
    fn as_go_reads_them() {
        let table = [
            ("5s", 5_000),
            ("100ms", 100),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("+2s", 2_000),
            (".5s", 500),
        ];
        for (text, milliseconds) in table {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(parse("3us"), Some(Duration::from_micros(3)));
        assert_eq!(parse("3µs"), Some(Duration::from_micros(3)));
        for text in ["", "5", "+", "-1s", "s", "1x", "1s2", "1..5s", "99999999999h", "1d"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
