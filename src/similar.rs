//! Which word was meant: for commands and properties that are not known.

/// How many letters have to be put in, taken out or changed (Levenshtein).
pub fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (done, letter) in from.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], done + 1);
        for (at, other) in to.bytes().enumerate() {
            let changed = diagonal + usize::from(letter != other);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[to.len()]
}

/// Names above this many bytes are like none.
const LONGEST: usize = 64;

/// The word at most two slips away from `name`, if that is not the whole of either.
pub fn closest<'a>(name: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // No word that is known is longer, and the comparison costs the product of both lengths.
    if name.len() > LONGEST {
        return None;
    }
    let (slips, near) = words.map(|word| (distance(name, word), word)).min()?;
    (slips <= 2 && slips < name.len().min(near.len())).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_slips_at_most() {
        let words = ["args", "cwd", "env"];
        assert_eq!(closest("arg", words.into_iter()), Some("args"));
        assert_eq!(closest("agrs", words.into_iter()), Some("args"));
        assert_eq!(closest("terminal", words.into_iter()), None);
        assert_eq!(closest("x", words.into_iter()), None);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(closest(&"a".repeat(1 << 20), words.into_iter()), None);
    }
}
