//! `list`: all containers of the state root.

use std::path::Path;

use super::output::{print, table};
use crate::cli::TableFormat;
use crate::container::{Container, State, Status, Store, owner_name};
use crate::error::{Kind, Result};

/// Prints all containers as a table (`table`, the default), as a JSON array (`json`), or their IDs (`quiet`).
///
/// A root that does not exist is an empty list, unless the user named it (`explicit_root`). A container that
/// cannot be loaded is told through `warn` and left out.
///
/// # Errors
/// The root cannot be read.
pub fn run(
    root: &Path,
    explicit_root: bool,
    format: TableFormat,
    quiet: bool,
    warn: &mut dyn FnMut(&str),
) -> Result<i32> {
    let json = format == TableFormat::Json;
    let rows = rows(root, explicit_root, warn)?;
    print(&render(&rows, json, quiet)?)?;
    Ok(0)
}

/// A container that could be loaded, with what was found out.
struct Row {
    container: Container,
    status: Status,
    owner: String,
}

fn rows(root: &Path, explicit_root: bool, warn: &mut dyn FnMut(&str)) -> Result<Vec<Row>> {
    let store = Store::open(root);
    let entries = match store.list() {
        Ok(entries) => entries,
        Err(error) if error.kind() == Kind::NotFound && !explicit_root => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut rows = Vec::new();
    for entry in entries {
        let loaded = entry.container.and_then(|container| {
            let status = container.status()?;
            Ok(Row { container, status, owner: owner_name(entry.uid) })
        });
        match loaded {
            Ok(row) => rows.push(row),
            Err(error) => warn(&format!("load container {}: {error}", entry.id)),
        }
    }
    Ok(rows)
}

fn render(rows: &[Row], json: bool, quiet: bool) -> Result<Vec<u8>> {
    if quiet {
        return Ok(rows
            .iter()
            .map(|row| format!("{}\n", row.container.record.id))
            .collect::<String>()
            .into());
    }
    if json {
        return render_json(rows);
    }
    let mut cells = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned).to_vec()];
    cells.extend(rows.iter().map(|row| {
        let record = &row.container.record;
        vec![
            record.id.clone(),
            row.container.pid(row.status).to_string(),
            row.status.to_string(),
            record.bundle.display().to_string(),
            record.created.clone(),
            row.owner.clone(),
        ]
    }));
    Ok(table(&cells).into_bytes())
}

/// An array on one line; `null` when there is none, as Go writes it.
fn render_json(rows: &[Row]) -> Result<Vec<u8>> {
    if rows.is_empty() {
        return Ok(b"null\n".to_vec());
    }
    let mut text = Vec::new();
    for row in rows {
        text.push(if text.is_empty() { b'[' } else { b',' });
        let record = &row.container.record;
        let state = State::full(record, row.status, row.container.pid(row.status));
        text.extend(state.to_json()?);
    }
    text.extend_from_slice(b"]\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::testing::{Root, record};
    use crate::container::{Id, Phase};

    fn text(root: &Root, json: bool, quiet: bool) -> String {
        let mut warned = Vec::new();
        let rows = rows(root.path(), true, &mut |text| warned.push(text.to_owned())).expect("rows");
        assert_eq!(warned.len(), 1, "{warned:?}");
        assert!(warned[0].starts_with("load container broken: state.json: "), "{warned:?}");
        String::from_utf8(render(&rows, json, quiet).expect("text")).expect("UTF-8")
    }

    /// [V19] [V20] [V21] Table, JSON and IDs; a broken one is a line for stderr.
    #[test]
    fn all_forms() {
        let root = Root::new("list");
        for name in ["b", "a"] {
            let record = record(name, Phase::Created);
            drop(
                Store::open(root.path())
                    .create(&Id::parse(name).expect("id"), record, None, &mut |_| ())
                    .expect("made"),
            );
        }
        std::fs::create_dir(root.path().join("broken")).expect("mkdir");
        std::fs::write(root.path().join("broken/state.json"), "{").expect("write");
        assert_eq!(text(&root, false, true), "a\nb\n");
        let json: serde_json::Value = serde_json::from_str(&text(&root, true, false)).expect("JSON");
        assert_eq!(json[0]["id"], "a");
        assert_eq!(json[1]["status"], "stopped");
        assert!(json[1]["owner"].is_string());
        let table = text(&root, false, false);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
        assert_eq!(lines[1][..4], ["a", "0", "stopped", "/b"]);
        assert_eq!(lines[1].len(), 6);
    }

    /// [V19] [V20] No root: empty if it is the default one, an error if the user named it.
    #[test]
    fn no_root() {
        let root = Root::new("list-none");
        let mut warn = |text: &str| panic!("{text}");
        let rows_of = rows(root.path(), false, &mut warn).expect("empty");
        assert_eq!(render(&rows_of, true, false).expect("JSON"), b"null\n");
        assert_eq!(render(&rows_of, false, true).expect("IDs"), b"");
        let error = rows(root.path(), true, &mut warn).err().expect("named");
        assert!(error.to_string().ends_with(": no such file or directory"), "{error}");
    }
}
