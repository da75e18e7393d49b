//! What the documentation quotes of the program is what the program says.

use crate::support::*;
use std::path::Path;

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// All of the program's source, with the texts in it as they are printed.
fn source() -> String {
    let mut all = String::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    all.replace("\\\"", "\"")
}

/// The kernel's words for a failure, as errors show them.
fn errno_texts() -> Vec<String> {
    (1..134).map(|number| nix::errno::Errno::from_raw(number).desc().to_lowercase()).collect()
}

/// Each error that the page on trouble quotes can still be said: its parts stand in the source, or are an errno's text.
#[test]
fn quoted_errors_exist() {
    let text = page("docs/troubleshooting.md");
    let (source, errnos) = (source(), errno_texts());
    let mut count = 0;
    for block in text.split("```text\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            let line = line.strip_suffix(')').filter(|line| line.contains("(hint: ")).unwrap_or(line);
            let parts =
                line.split("(hint: ").flat_map(|part| part.split("\"…\"")).flat_map(|part| part.split('…'));
            for part in parts.map(|part| part.trim().trim_matches(':')).filter(|part| part.len() > 3) {
                assert!(
                    source.contains(part) || errnos.iter().any(|text| text == part),
                    "nobody says {part:?}: {line}"
                );
                count += 1;
            }
        }
    }
    assert!(count > 30, "{count}");
}

/// Each command line in the pages for people has a command and options that there are.
#[test]
fn commands_exist() {
    only_davit!();
    let t = Test::new();
    let program = t.rt(&["--help"]).ok();
    let mut count = 0;
    for name in ["docs/troubleshooting.md", "README.md", "contrib/README.md"] {
        let text = page(name);
        let inline = text.split('`').skip(1).step_by(2).filter(|span| !span.contains('\n'));
        let indented = text.lines().filter_map(|line| line.strip_prefix("    "));
        for span in inline.chain(indented).filter_map(|span| span.strip_prefix("davit ")) {
            // What follows belongs to the shell or is an explanation.
            let span = span.split(['#', '|', '>', ';', ')']).next().unwrap();
            let words: Vec<_> = span.split_whitespace().collect();
            let verb =
                words.iter().find(|word| program.contains(&format!("\n   {word} ")) || **word == "help");
            let Some(verb) = verb else {
                assert!(words[0].starts_with('-') || words[0] == "COMMAND", "{name}: davit {span}");
                continue;
            };
            let help = t.rt(&[verb, "--help"]).ok() + &program;
            for option in words.iter().filter(|word| word.starts_with("--")) {
                let known = help.split_whitespace().any(|word| word.trim_end_matches(',') == *option);
                assert!(known, "{name}: davit {span}: no {option}");
            }
            count += 1;
        }
    }
    assert!(count > 15, "{count}");
}

/// Each file that a page of the documentation leads to is there.
#[test]
fn links_lead_somewhere() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(top.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.chain([top.join("README.md"), top.join("contrib/README.md")]);
    for page in pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !target.is_empty() && !target.contains("://") && !target.contains(' ') {
                let path = page.parent().unwrap().join(target);
                assert!(path.exists(), "{}: {target}", page.display());
            }
        }
    }
}
