//! Lists of numbers as the kernel writes them, `0-3,7`: CPUs and memory nodes.

/// The highest CPU number that is taken; the kernel's own limit is 8192 CPUs.
pub const MAX_CPU: u32 = 8191;

/// The highest memory node that is taken: the kernel's limit is 1024 nodes (include/linux/numa.h).
pub const MAX_NODE: u32 = 1023;

/// A set of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberSet(Vec<u64>);

impl NumberSet {
    /// Reads a list. As runc does, blanks around a range and extra commas are taken; an empty text is the empty set.
    ///
    /// # Errors
    /// What is wrong with it: not a number, a number above `max`, a range that runs backwards, nothing but commas.
    pub fn parse(text: &str, max: u32) -> Result<Self, String> {
        let mut set = Self::default();
        for range in text.split(',').map(str::trim).filter(|range| !range.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (number(first, max)?, number(last, max)?);
            if first > last {
                return Err(format!("the range {range:?} runs backwards"));
            }
            (first..=last).for_each(|number| set.insert(number));
        }
        if set.0.is_empty() && !text.is_empty() {
            return Err(format!("no members found in set {text:?}"));
        }
        Ok(set)
    }

    fn insert(&mut self, number: usize) {
        let (word, bit) = (number / 64, number % 64);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    /// How many numbers are in it.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Bit N of word N / 64 for number N; no words for the empty set.
    pub fn words(&self) -> &[u64] {
        &self.0
    }

    fn contains(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

/// Digits only: no sign, no blank.
fn number(text: &str, max: u32) -> Result<usize, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{text:?} is not a number"));
    }
    let number = text.parse::<u32>().ok().filter(|number| *number <= max);
    number
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| format!("values larger than {max} are not supported"))
}

/// In order, without blanks, each range as long as can be.
impl std::fmt::Display for NumberSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = self.0.len() * 64;
        let mut comma = "";
        for first in (0..end).filter(|at| self.contains(*at) && (*at == 0 || !self.contains(at - 1))) {
            let last = (first..end).find(|at| !self.contains(at + 1)).unwrap_or(first);
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        NumberSet::parse(text, MAX_CPU).map(|set| set.to_string())
    }

    /// [P21] [T9]
    #[test]
    fn lists_are_read_as_runc_reads_them() {
        for (text, wanted) in [
            ("", ""),
            ("0", "0"),
            ("0-3,7", "0-3,7"),
            ("7,0-1,1-2", "0-2,7"),
            (" 1 ,, 63-64,", "1,63-64"),
            ("127", "127"),
            ("8191", "8191"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(wanted), "{text:?}");
        }
        let set = NumberSet::parse("0,64-65", MAX_NODE).unwrap();
        assert_eq!((set.words(), set.count()), (&[1, 3][..], 3));
    }

    /// [P21] [T9]
    #[test]
    fn bad_lists() {
        for (text, why) in [
            (",", "no members"),
            (" ", "no members"),
            ("a", "not a number"),
            ("1-", "not a number"),
            ("-1", "not a number"),
            ("+1", "not a number"),
            ("1 - 2", "not a number"),
            ("1-2-3", "not a number"),
            ("3-1", "backwards"),
            ("8192", "larger than 8191"),
            ("0-9876543210", "larger than 8191"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
