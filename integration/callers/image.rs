//! A busybox image as `docker save` writes it, made here: every caller can load that, and no registry is asked.

use crate::support::Cmd;
use serde_json::json;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The image's name in every store.
pub const NAME: &str = "docker.io/library/davit-test:1";

/// Writes the archive into `dir` under the given image name; its program is `args` unless the caller names another.
pub fn archive(dir: &Path, file: &str, name: &str, args: &[&str]) -> PathBuf {
    let (root, image) = (dir.join(format!("{file}-root")), dir.join(format!("{file}-image")));
    make_root(dir, &root);
    std::fs::create_dir(&image).unwrap();
    let layer = image.join("layer.tar");
    let tar = ["tar", "--sort=name", "--owner=0", "--group=0", "--mtime=@0", "-C"];
    Cmd::new(dir, tar).args([&root]).args(["-cf"]).args([&layer]).args(["."]).output().ok();
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": { "Env": ["PATH=/bin", "FROM_IMAGE=yes"], "Cmd": args, "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sha256(dir, &layer))] },
        "history": [{ "created": "2026-01-01T00:00:00Z" }]
    });
    let path = image.join("config.json");
    std::fs::write(&path, config.to_string()).unwrap();
    // Docker takes the name of this file for the image's id.
    let config = format!("{}.json", sha256(dir, &path));
    std::fs::rename(&path, image.join(&config)).unwrap();
    let manifest = json!([{ "Config": config, "RepoTags": [name], "Layers": ["layer.tar"] }]);
    std::fs::write(image.join("manifest.json"), manifest.to_string()).unwrap();
    let archive = dir.join(file);
    Cmd::new(dir, ["tar", "-C"]).args([&image]).args(["-cf"]).args([&archive]).args(["."]).output().ok();
    std::fs::remove_dir_all(&root).unwrap();
    std::fs::remove_dir_all(&image).unwrap();
    archive
}

fn make_root(dir: &Path, root: &Path) {
    for name in ["bin", "proc", "dev", "sys", "tmp", "etc", "root", "var", "run", "home/user", "data"] {
        std::fs::create_dir_all(root.join(name)).unwrap();
    }
    std::fs::set_permissions(root.join("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static");
    let applets = Cmd::new(dir, ["/bin/busybox", "--list"]).output();
    for applet in applets.stdout.lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    std::fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
    )
    .unwrap();
    std::fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n").unwrap();
    std::fs::write(root.join("etc/not-a-program"), "no mode x").unwrap();
    std::fs::write(root.join("data/from-image"), "image").unwrap();
}

fn sha256(dir: &Path, file: &Path) -> String {
    let text = Cmd::new(dir, ["sha256sum"]).args([file]).output().ok();
    text.split(' ').next().unwrap().to_string()
}
