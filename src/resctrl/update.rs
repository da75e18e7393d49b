//! Other schemata for the group of a container that runs.

use std::path::Path;

use super::{Line, Record, write};
use crate::error::{Context, Error, Result};

impl Record {
    /// Writes the lines; those written before one that is refused are put back.
    ///
    /// # Errors
    /// The line, the file, and the kernel's word on it.
    pub fn update(&self, lines: &[Line]) -> Result<()> {
        let file = self.group.join("schemata");
        let present = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        for (done, line) in lines.iter().enumerate() {
            let Err(errno) = write(&file, &format!("{}\n", line.text)) else { continue };
            let doing = format_args!("{}: write {:?} to {}", line.path, line.text, file.display());
            let error = Error::system(doing, errno);
            let error = match last_status(&self.group) {
                Some(status) => error.hint(status),
                None => error,
            };
            for line in &lines[..done] {
                if let Some(old) = line_of(&present, resource(&line.text)) {
                    // The error that is told is the one that came first.
                    let _ = write(&file, &format!("{}\n", old.trim()));
                }
            }
            return Err(error);
        }
        Ok(())
    }
}

fn resource(line: &str) -> &str {
    line.split(':').next().unwrap_or("").trim()
}

pub(super) fn line_of<'p>(present: &'p str, name: &str) -> Option<&'p str> {
    present.lines().find(|line| resource(line) == name)
}

/// The kernel tells more than an errno in a file of the root, which the group is or is in.
pub(super) fn last_status(group: &Path) -> Option<String> {
    let texts = [Some(group), group.parent()].into_iter().flatten();
    let text =
        texts.filter_map(|dir| std::fs::read_to_string(dir.join("info/last_cmd_status")).ok()).next()?;
    let text = text.trim();
    (!matches!(text, "" | "ok")).then(|| text.replace('\n', "; "))
}
