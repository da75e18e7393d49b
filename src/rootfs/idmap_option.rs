//! The mapping inside the mount option `idmap=uids=C-H-N#C-H-N…;gids=…` (crun's; features.md X11).

/// A range of ids on disk and where it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    /// First id on disk.
    on_disk: u32,
    /// Where it is shown: an id of the host, or with `relative` of the container's user namespace.
    shown: u32,
    /// How many.
    size: u32,
    /// Written with a leading `@`.
    relative: bool,
}

/// The ranges of users and of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges {
    /// After `uids=`.
    uids: Vec<Range>,
    /// After `gids=`.
    gids: Vec<Range>,
}

fn parse(text: &str) -> Result<Ranges, String> {
    let mut ranges = Ranges::default();
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let list = match part.split_once('=') {
            Some(("uids", list)) => (&mut ranges.uids, list),
            Some(("gids", list)) => (&mut ranges.gids, list),
            _ => return Err(format!("{part:?} is not uids=… or gids=…")),
        };
        for one in list.1.split('#') {
            list.0.push(range(one).ok_or_else(|| format!("{one:?} is not ON_DISK-SHOWN-SIZE"))?);
        }
    }
    if ranges.uids.is_empty() || ranges.gids.is_empty() {
        return Err("both uids= and gids= must be given".into());
    }
    Ok(ranges)
}

fn range(text: &str) -> Option<Range> {
    let (relative, text) = text.strip_prefix('@').map_or((false, text), |rest| (true, rest));
    let mut numbers = text.split('-').map(|number| number.parse::<u32>().ok());
    let range =
        Range { on_disk: numbers.next()??, shown: numbers.next()??, size: numbers.next()??, relative };
    (numbers.next().is_none() && range.size > 0).then_some(range)
}

/// Mappings of the container's user namespace: first id inside, first id of the host, size.
pub type Mappings = Vec<(u32, u32, u32)>;

/// The contents of `uid_map` and `gid_map` for what stands after `idmap=`; `container` has the mappings of users and
/// of groups.
///
/// # Errors
/// Text that is no mapping; a relative range that is not in one of the container's.
pub fn maps(text: &str, container: &[Mappings; 2]) -> Result<(String, String), String> {
    let Ranges { uids, gids } = parse(text)?;
    let lines = |ranges: Vec<Range>, container: &Mappings| {
        ranges.into_iter().map(|range| line(range, container)).collect::<Result<String, _>>()
    };
    Ok((lines(uids, &container[0])?, lines(gids, &container[1])?))
}

fn line(range: Range, container: &[(u32, u32, u32)]) -> Result<String, String> {
    let Range { on_disk, shown, size, relative } = range;
    let host = if relative {
        let within = container.iter().find_map(|(inside, outside, count)| {
            let offset = shown.checked_sub(*inside)?;
            (offset.checked_add(size)? <= *count).then(|| outside.checked_add(offset)).flatten()
        });
        let missing = || format!("@{on_disk}-{shown}-{size} is not in one mapping of the user namespace");
        within.ok_or_else(missing)?
    } else {
        shown
    };
    Ok(format!("{on_disk} {host} {size}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [X11]
    #[test]
    fn ranges() {
        let ranges = parse("uids=0-1000-10#20-3000-5;gids=@0-7-1").unwrap();
        let plain = |on_disk, shown, size| Range { on_disk, shown, size, relative: false };
        assert_eq!(ranges.uids, [plain(0, 1000, 10), plain(20, 3000, 5)]);
        assert_eq!(ranges.gids, [Range { relative: true, ..plain(0, 7, 1) }]);
        for bad in [
            "",
            "uids=0-1-2",
            "uids=0-1;gids=0-1-2",
            "uids=0-1-0;gids=0-1-2",
            "x=1",
            "uids=a-1-2;gids=0-1-1",
            "uids=0-1-2-3;gids=0-1-1",
            "uids=4294967296-0-1;gids=0-1-1",
            "uids=-1-0-1;gids=0-1-1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    /// [X11] crun's own example: 3 is found in the mapping 1 → 2, so that it is 4 on the host.
    #[test]
    fn relative_ranges() {
        let range = parse("uids=@1-3-10;gids=0-0-1").unwrap().uids[0];
        let container = [(0, 0, 1), (1, 2, 1000)];
        assert_eq!(line(range, &container).unwrap(), "1 4 10\n");
        assert_eq!(line(Range { relative: false, ..range }, &container).unwrap(), "1 3 10\n");
        assert!(line(Range { shown: 995, ..range }, &container).is_err());
        assert!(line(Range { shown: u32::MAX, ..range }, &container).is_err());
        assert!(line(range, &[]).is_err());
    }
}
