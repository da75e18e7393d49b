//! A directory plays resctrl: its mkdir and rmdir do what the kernel's do with the files of a group.

use super::*;

struct Fake {
    root: PathBuf,
}

fn make(path: &Path) -> Result<(), Errno> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(0o755))?;
    let is_monitor = path.parent().is_some_and(|parent| parent.ends_with("mon_groups"));
    std::fs::write(path.join("tasks"), "").unwrap();
    if !is_monitor {
        std::fs::write(path.join("schemata"), "").unwrap();
        std::fs::create_dir(path.join("mon_groups")).unwrap();
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Errno> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Errno::NOENT),
        other => {
            other.unwrap();
            Ok(())
        }
    }
}

impl Fake {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("davit-resctrl-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        make(&root).unwrap();
        std::fs::create_dir_all(root.join("info/MB")).unwrap();
        std::fs::write(root.join("info/last_cmd_status"), "ok\n").unwrap();
        Self { root }
    }

    fn group(&self, name: &str, schemata: &str) {
        make(&self.root.join(name)).unwrap();
        std::fs::write(self.root.join(name).join("schemata"), schemata).unwrap();
    }

    fn find<'a>(&self, plan: &'a ResctrlPlan) -> Result<Group<'a>> {
        Group::find_in(plan, Tree { root: self.root.clone(), make, remove })
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.root.join(file)).unwrap()
    }

    fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

fn plan(clos_id: Option<&str>, lines: &[&str]) -> ResctrlPlan {
    let line = |(index, text): (usize, &&str)| Line {
        path: format!("linux.intelRdt.schemata[{index}]"),
        text: (*text).into(),
    };
    ResctrlPlan {
        id: "c1".into(),
        clos_id: clos_id.map(String::from),
        lines: lines.iter().enumerate().map(line).collect(),
        monitoring: false,
    }
}

/// [T1] [T2] [T7] Without closID the container's own group: made, joined, removed.
#[test]
fn an_own_group() {
    let fake = Fake::new("own");
    let plan = plan(None, &[]);
    let group = fake.find(&plan).unwrap();
    let record = group.record();
    assert!(!fake.has("c1"), "recorded before it is made");
    group.create().unwrap();
    record.attach(4711).unwrap();
    assert_eq!((fake.read("c1/tasks"), fake.read("c1/schemata")), ("4711".into(), String::new()));
    record.remove_by(remove).unwrap();
    assert!(!fake.has("c1"));
    record.remove_by(remove).unwrap();
}

/// [T7] One that was there already is used, set, and stays.
#[test]
fn a_group_of_that_name_was_there() {
    let fake = Fake::new("there");
    fake.group("c1", "L3:0=7ff\n");
    let plan = plan(None, &["L3:0=f"]);
    let group = fake.find(&plan).unwrap();
    group.create().unwrap();
    assert!(fake.read("c1/schemata").starts_with("L3:0=f\n"));
    group.record().remove_by(remove).unwrap();
    assert!(fake.has("c1"));
}

/// [T2] [T3] closID alone: the group is used if it is there, and never made or removed.
#[test]
fn a_group_of_others() {
    let fake = Fake::new("others");
    let plan = plan(Some("gold"), &[]);
    let error = fake.find(&plan).unwrap_err().to_string();
    assert!(
        error.starts_with("linux.intelRdt.closID: the resctrl group ") && error.contains("does not exist"),
        "{error}"
    );
    fake.group("gold", "L3:0=7ff\n");
    let group = fake.find(&plan).unwrap();
    group.create().unwrap();
    group.record().attach(7).unwrap();
    group.record().remove_by(remove).unwrap();
    assert_eq!((fake.read("gold/tasks"), fake.read("gold/schemata")), ("7".into(), "L3:0=7ff\n".into()));
}

/// [T2] The root group.
#[test]
fn the_group_of_everybody() {
    let fake = Fake::new("root");
    let plan = plan(Some("/"), &[]);
    let group = fake.find(&plan).unwrap();
    group.create().unwrap();
    group.record().attach(7).unwrap();
    group.record().remove_by(remove).unwrap();
    assert_eq!(fake.read("tasks"), "7");
    assert!(!fake.has("c1"));
}

/// [T4] [T7] closID with schemata: made if missing, and then it stays; must match if it is there.
#[test]
fn a_shared_group_with_schemata() {
    let fake = Fake::new("shared");
    let wanted = plan(Some("gold"), &["L3:0=7f0"]);
    let group = fake.find(&wanted).unwrap();
    group.create().unwrap();
    group.record().remove_by(remove).unwrap();
    assert_eq!(fake.read("gold/schemata"), "L3:0=7f0\n");
    fake.find(&wanted).unwrap().create().unwrap();
    let other = plan(Some("gold"), &["L3:0=7f0", "L3:0=1"]);
    let error = fake.find(&other).unwrap_err().to_string();
    assert!(error.starts_with("linux.intelRdt.schemata[1]: \"L3:0=1\" is not what"), "{error}");
}

/// [T5] Each line in order, with the line break that the kernel wants; a pipe keeps them all.
#[test]
fn lines_are_written_in_order() {
    let fake = Fake::new("lines");
    fake.group("c1", "");
    let file = fake.root.join("c1/schemata");
    std::fs::remove_file(&file).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        .unwrap();
    let pipe = rustix::fs::open(&file, OFlags::RDWR | OFlags::NONBLOCK, Mode::empty()).unwrap();
    let plan = plan(None, &["L3:0=7ff;1=7ff", "MB:0=20", "L3:0=1"]);
    fake.find(&plan).unwrap().create().unwrap();
    let mut bytes = [0; 100];
    let length = rustix::io::read(&pipe, &mut bytes).unwrap();
    assert_eq!(&bytes[..length], b"L3:0=7ff;1=7ff\nMB:0=20\nL3:0=1\n");
}

/// [T6] The monitoring group below the container's, and below one of others.
#[test]
fn monitoring() {
    let fake = Fake::new("monitor");
    fake.group("gold", "");
    for (clos_id, dir) in [(None, "c1"), (Some("gold"), "gold"), (Some("/"), ".")] {
        let plan = ResctrlPlan { monitoring: true, ..plan(clos_id, &[]) };
        let group = fake.find(&plan).unwrap();
        group.create().unwrap();
        let record = group.record();
        record.attach(12).unwrap();
        let tasks = [fake.read(&format!("{dir}/tasks")), fake.read(&format!("{dir}/mon_groups/c1/tasks"))];
        assert_eq!(tasks, ["12", "12"]);
        record.remove_by(remove).unwrap();
        assert!(!fake.has(&format!("{dir}/mon_groups/c1")));
        assert_eq!(fake.has(dir), clos_id.is_some());
    }
}

/// [T6] No monitoring group, no container; what was made before is gone, and the kernel's own word is told.
#[test]
fn monitoring_that_fails() {
    let fake = Fake::new("full");
    std::fs::write(fake.root.join("info/last_cmd_status"), "Out of RMIDs\n").unwrap();
    let plan = ResctrlPlan { monitoring: true, ..plan(None, &[]) };
    let mut group = fake.find(&plan).unwrap();
    group.tree.make = |path| if path.ends_with("mon_groups/c1") { Err(Errno::NOSPC) } else { make(path) };
    let error = group.create().unwrap_err().to_string();
    assert!(error.starts_with("linux.intelRdt.enableMonitoring: make resctrl group "), "{error}");
    assert!(error.ends_with("no space left on device (hint: Out of RMIDs)"), "{error}");
    assert!(!fake.has("c1"));
}

/// [T5] A line that the kernel refuses is named by its path.
#[test]
fn schemata_that_fail() {
    let fake = Fake::new("refused");
    let plan = plan(None, &["L3:0=7ff"]);
    let mut group = fake.find(&plan).unwrap();
    group.tree.make = |path| rustix::fs::mkdir(path, Mode::from_raw_mode(0o755));
    let error = group.create().unwrap_err().to_string();
    assert!(error.starts_with("linux.intelRdt.schemata[0]: write \"L3:0=7ff\" to "), "{error}");
    assert!(!fake.has("c1"));
}

/// [T1] The file system itself, not a group of it that was bound somewhere.
#[test]
fn where_resctrl_is_mounted() {
    let lines = [
        "36 35 0:5 /gold /mnt/gold rw - resctrl resctrl rw",
        "37 35 0:5 / /sys/fs/resctrl rw,nosuid shared:2 - resctrl resctrl rw",
        "38 35 0:6 / /resctrl rw - tmpfs tmpfs rw",
    ];
    let mounts: Vec<_> = lines.iter().map(|line| MountInfo::from_line(line).unwrap()).collect();
    assert_eq!(mount_point(mounts.iter()), Some(Path::new("/sys/fs/resctrl")));
    assert_eq!(mount_point(mounts[..1].iter().chain(&mounts[2..])), None);
}

/// [T7] The state keeps it; an older state has none.
#[test]
fn the_record_survives_the_state() {
    let record = Record { group: "/r/c1".into(), made: true, monitoring: None };
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(text, r#"{"group":"/r/c1","made":true}"#);
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
}

/// [V58] The lines of an update are written in their order; a refused one is told with the kernel's word.
#[test]
fn updates() {
    let fake = Fake::new("update");
    fake.group("c1", "");
    let record = Record { group: fake.root.join("c1"), made: true, monitoring: None };
    let line = |text: &str| Line { path: "--l3-cache-schema".into(), text: text.into() };
    record.update(&[line("L3:0=f")]).unwrap();
    assert_eq!(fake.read("c1/schemata"), "L3:0=f\n");
    std::fs::remove_file(fake.root.join("c1/schemata")).unwrap();
    assert!(record.update(&[line("L3:0=f")]).unwrap_err().to_string().contains("c1/schemata: no such file"));
    // The kernel tells why in a file of the root, for the root group as for others.
    std::fs::write(fake.root.join("info/last_cmd_status"), "mask out of range\n").unwrap();
    let group = fake.root.join("c2");
    std::fs::create_dir(&group).unwrap();
    assert_eq!(update::last_status(&group).as_deref(), Some("mask out of range"));
    assert_eq!(update::last_status(&fake.root).as_deref(), Some("mask out of range"));
    assert_eq!(update::line_of("    MB:0=100\n    L3:0=7f\n", "L3"), Some("    L3:0=7f"));
}
