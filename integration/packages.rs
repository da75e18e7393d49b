//! What is delivered besides the program: manual pages, `make install`, the Debian package.

use crate::support::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A script of the repository.
fn script(t: &Test, name: &str) -> Cmd {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cmd = Cmd::new(&t.dir, [top.join("scripts").join(name)]).cwd(top);
    cmd.env("DAVIT", runtime().to_str().unwrap())
}

fn has(t: &Test, program: &str) -> bool {
    Cmd::new(&t.dir, ["sh", "-c", "command -v \"$1\"", "sh", program]).output().code == 0
}

/// The files below a directory, by their paths from it.
fn files(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<PathBuf> = vec![dir.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(dir).unwrap().to_str().unwrap().to_string());
            }
        }
    }
    found
}

/// The names that the help lists.
fn commands(t: &Test) -> Vec<String> {
    let help = t.rt(&["help"]).ok();
    let list = help.split("COMMANDS:\n").nth(1).unwrap().split("\n\n").next().unwrap().to_string();
    list.lines().map(|line| line.trim_start().split([' ', ',']).next().unwrap().to_string()).collect()
}

/// Each page is well-formed, has the sections of man-pages(7), and names its command.
#[test]
fn manual_pages() {
    only_davit!();
    let t = Test::new();
    let mut pages = vec![t.rt(&["man"]).ok()];
    pages.extend(commands(&t).iter().map(|command| t.rt(&["man", command]).ok()));
    assert!(pages.len() > 15);
    let mut names = vec![];
    for (number, page) in pages.iter().enumerate() {
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"] {
            assert!(page.contains(&format!("\n.SH {section}\n")), "{section} in {page}");
        }
        let file = t.path(&format!("{number}.1"));
        std::fs::write(&file, format!("{page}\n")).unwrap();
        names.push(file);
    }
    let seccomp = t.rt(&["man", "seccomp"]).ok();
    assert!(seccomp.contains(".SH SECCOMP EXPLAIN\n") && seccomp.contains("\\-\\-arch"), "{seccomp}");
    t.rt(&["man", "bogus"]).fails(3, "No help topic for 'bogus'");
    need!(has(&t, "mandoc"), "mandoc");
    let lint = Cmd::new(&t.dir, ["mandoc", "-T", "lint", "-W", "warning"]).args(&names).output();
    assert!(lint.code == 0 && lint.stdout.is_empty(), "{lint}");
    let shown = Cmd::new(&t.dir, ["mandoc", "-T", "utf8"]).args(&names[..1]).output().ok();
    // Bold letters are written twice, one over the other.
    let plain: String =
        shown.split('\u{8}').map(|part| part.strip_suffix(|_| true).unwrap_or(part)).collect();
    assert!(plain.contains("--root DIR") && plain.contains("davit-run(1)"), "{plain}");
}

/// `make install` with PREFIX and DESTDIR; uninstall takes all of it away, and nothing else.
#[test]
fn install_and_uninstall() {
    only_davit!();
    let t = Test::new();
    let tree = t.dir.join("tree");
    let run = |options: &[&str]| {
        let cmd = script(&t, "install").args(options);
        cmd.env("DESTDIR", tree.to_str().unwrap()).env("PREFIX", "/opt/it").output().ok()
    };
    run(&[]);
    let found = files(&tree);
    let mut expected: BTreeSet<String> = [
        "bin/davit",
        "share/man/man1/davit.1",
        "share/bash-completion/completions/davit",
        "share/zsh/site-functions/_davit",
        "share/fish/vendor_completions.d/davit.fish",
        "share/doc/davit/LICENSE",
        "share/doc/davit/contrib/kubernetes/runtimeclass.yaml",
    ]
    .map(|name| format!("opt/it/{name}"))
    .into();
    expected.extend(commands(&t).iter().map(|command| format!("opt/it/share/man/man1/davit-{command}.1")));
    assert!(found.is_superset(&expected), "{:?}", expected.difference(&found));
    assert!(found.iter().all(|name| expected.contains(name) || name.contains("/doc/davit/contrib/")));
    let version = Cmd::new(&t.dir, [tree.join("opt/it/bin/davit")]).args(["--version"]).output().ok();
    assert_eq!(version, t.rt(&["--version"]).ok());

    let other = tree.join("opt/it/share/man/man1/other.1");
    std::fs::write(&other, "").unwrap();
    run(&["--uninstall"]);
    assert_eq!(files(&tree), ["opt/it/share/man/man1/other.1".to_string()].into());
    let missing = script(&t, "install").env("DAVIT", "/nothere").env("DESTDIR", "/nothere").output();
    missing.fails(1, "install: no program /nothere: run make first");
}

/// The package: built, read, unpacked; a container runs by what was in it.
#[test]
fn debian_package() {
    only_davit!();
    let mut t = Test::new();
    need!(has(&t, "dpkg-deb") && has(&t, "strip"), "dpkg-deb and strip");
    // Debug information would be most of it.
    let stripped = t.path("davit");
    Cmd::new(&t.dir, ["strip", "-o", &stripped]).args([runtime()]).output().ok();
    let cmd = script(&t, "deb").env("DAVIT", &stripped).env("OUT", t.dir.to_str().unwrap());
    let said =
        cmd.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip").env("DPKG_DEB_COMPRESSOR_LEVEL", "1").output().ok();
    let package = said.split(": ").next().unwrap().to_string();
    let field = |name: &str| Cmd::new(&t.dir, ["dpkg-deb", "--field", &package, name]).output().ok();
    assert_eq!(field("Package"), "davit");
    assert_eq!(field("Version"), env!("CARGO_PKG_VERSION"));
    assert_eq!((field("Depends"), field("Recommends")), (String::new(), "uidmap".to_string()));
    assert!(package.ends_with(&format!("davit_{}_{}.deb", field("Version"), field("Architecture"))));

    let (tree, control) = (t.dir.join("unpacked"), t.dir.join("control"));
    Cmd::new(&t.dir, ["dpkg-deb", "-x", &package]).args([&tree]).output().ok();
    Cmd::new(&t.dir, ["dpkg-deb", "-e", &package]).args([&control]).output().ok();
    assert_eq!(files(&control), ["control".to_string(), "md5sums".to_string()].into(), "no scripts");
    Cmd::new(&t.dir, ["md5sum", "--quiet", "-c"]).args([control.join("md5sums")]).cwd(&tree).output().ok();
    let found = files(&tree);
    for name in ["bin/davit", "share/man/man1/davit-run.1.gz", "share/doc/davit/copyright"] {
        assert!(found.contains(&format!("usr/{name}")), "{name} in {found:?}");
    }

    t.sh("echo from the package");
    t.write();
    let program = tree.join("usr/bin/davit");
    let cmd = Cmd::new(&t.dir, [&program]).args(["--root", t.root.to_str().unwrap(), "run", "--bundle"]);
    assert_eq!(cmd.args([t.bundle.to_str().unwrap(), &t.id]).output().ok(), "from the package");
    t.assert_clean();
}
