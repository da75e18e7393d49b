//! The answers of verbs on stdout: the one way to it.

use crate::error::{Context, Result};

/// Writes the whole answer. A reader who has seen enough (`davit help | head -1`) is no fault.
///
/// # Errors
/// stdout cannot be written: the disk is full.
pub fn print(answer: &[u8]) -> Result<()> {
    until_unread(write(answer))
}

/// Makes the end of a stream of answers, and no fault, of a reader who has gone.
pub(super) fn until_unread<T: Default>(result: Result<T>) -> Result<T> {
    match result {
        Err(error) if error.errno() == Some(libc::EPIPE) => Ok(T::default()),
        other => other,
    }
}

/// Writes a part of a stream of answers; std's buffer would only split it at newlines.
///
/// # Errors
/// As [`print`], and EPIPE for [`until_unread`].
pub(super) fn write(answer: &[u8]) -> Result<()> {
    let stdout = std::io::stdout();
    let mut rest = answer;
    while !rest.is_empty() {
        let written =
            rustix::io::retry_on_intr(|| rustix::io::write(&stdout, rest)).context("write to stdout")?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Aligns columns as runc's tables are: at least 12 wide, three blanks between, the last one not padded.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        (cells.map(|cell| cell.chars().count()).max().unwrap_or_default() + 3).max(12)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = if column + 1 == row.len() { 0 } else { widths.get(column).copied().unwrap_or(0) };
            text.push_str(&format!("{cell:width$}"));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [V19] runc's columns.
    #[test]
    fn columns_are_padded() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = table(&[row(["ID", "PID", "OWNER"]), row(["a-long-container", "1", "root"])]);
        assert_eq!(text, "ID                 PID         OWNER\na-long-container   1           root\n");
        assert_eq!(table(&[]), "");
    }
}
