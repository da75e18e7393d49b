//! Network devices of the host that move into the container.
//!
//! A veth pair plays the host's device: one end is moved, and with the container the kernel destroys both.

use crate::support::*;

/// A veth pair on the host, gone at the end; `name` is the end to move, up and with addresses.
struct Veth {
    name: String,
    peer: String,
}

fn ip(args: &str) -> Output {
    Cmd::new(&std::env::temp_dir(), ["ip"]).args(args.split_whitespace()).output()
}

impl Veth {
    fn new() -> Option<Self> {
        let number = format!("{:x}{:x}", std::process::id() & 0xffff, host::unique());
        let veth = Self { name: format!("dv{number}"), peer: format!("dp{number}") };
        let made = ip(&format!("link add {} type veth peer name {}", veth.name, veth.peer)).code == 0;
        made.then_some(veth)
    }

    fn exists(&self) -> bool {
        std::path::Path::new("/sys/class/net").join(&self.name).exists()
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        for name in [&self.name, &self.peer] {
            let _ = ip(&format!("link del {name}"));
        }
    }
}

macro_rules! veth {
    () => {{
        need!(ip("-V").code == 0, "no ip: install iproute2");
        let Some(veth) = Veth::new() else { return skip("no veth devices in this kernel") };
        veth
    }};
}

/// Moves these devices, given as `(name, new name or nothing)`.
fn moving(t: &mut Test, devices: &[(&str, &str)]) {
    let entry = |(name, new): &(&str, &str)| {
        let value = if new.is_empty() { json!({}) } else { json!({ "name": new }) };
        ((*name).to_string(), value)
    };
    t.config.set("linux.netDevices", Value::Object(devices.iter().map(entry).collect()));
}

/// [T10] a device without a new name keeps its name, and is up though it was down.
#[test]
fn moved_by_name() {
    only_davit!(); // runc from 1.4 on
    let veth = veth!();
    let mut t = Test::new();
    moving(&mut t, &[(&veth.name, "")]);
    let out = t.out("ls /sys/class/net; ip link show dev $(ls /sys/class/net | grep dv)");
    assert!(out.starts_with(&format!("{}\nlo\n", veth.name)) && out.contains("UP"), "{out}");
    assert!(!veth.exists(), "never moved back: the kernel destroys a virtual device with its namespace");
    t.assert_clean();
}

/// [T10] renamed, with MAC and MTU, and all permanent global addresses: IPv4 with prefix, broadcast, peer and label,
/// secondary ones, IPv6; not those of link or host scope, nor temporary ones.
#[test]
fn renamed_with_its_addresses() {
    only_davit!();
    let veth = veth!();
    let name = &veth.name;
    for args in [
        format!("link set {name} address 02:00:5e:10:20:30 mtu 1400 up"),
        format!("link set {} up", veth.peer),
        format!("addr add 10.99.1.5/24 brd + label {name}:one dev {name}"),
        format!("addr add 10.99.1.6/24 dev {name}"),
        format!("addr add 10.99.2.1 peer 10.99.2.2/32 dev {name} noprefixroute"),
        format!("addr add 10.99.3.1/24 scope link dev {name}"),
        format!("addr add 10.99.4.1/24 dev {name} valid_lft 600 preferred_lft 600"),
        format!("-6 addr add fd99::5/64 dev {name} nodad"),
        format!("-6 addr add fd99::6/64 dev {name} nodad preferred_lft 0"),
    ] {
        ip(&args).ok();
    }
    let mut t = Test::new();
    moving(&mut t, &[(name, "data0")]);
    t.create().ok();
    assert!(!veth.exists(), "moved by create");
    let target = t.pid().to_string();
    let show = |family: &str| {
        let args = ["nsenter", "-t", &target, "-n", "ip", family, "-o", "addr", "show", "dev", "data0"];
        Cmd::new(&t.dir, args).output().ok()
    };
    let v4 = show("-4");
    let mut lines = v4.lines();
    let first = lines.next().unwrap();
    for part in ["10.99.1.5/24", "brd 10.99.1.255", "scope global", "data0:one", "valid_lft forever"] {
        assert!(first.contains(part), "{part}: {v4}");
    }
    let rest: Vec<_> = lines.collect();
    assert!(
        rest.iter().any(|line| line.contains("10.99.1.6/24") && line.contains("secondary data0")),
        "{v4}"
    );
    assert!(
        rest.iter()
            .any(|line| line.contains("10.99.2.1 peer 10.99.2.2/32") && line.contains("noprefixroute")),
        "{v4}"
    );
    assert_eq!(rest.len(), 2, "{v4}");
    let v6 = show("-6");
    let global: Vec<_> = v6.lines().filter(|line| line.contains("scope global")).collect();
    assert_eq!(global.len(), 2, "{v6}");
    // The order is the host's, where the last one added comes first.
    assert!(global[0].contains("fd99::6/64") && global[0].contains("deprecated"), "{v6}");
    assert!(global[1].contains("fd99::5/64") && global[1].contains("valid_lft forever"), "{v6}");
    let args = ["nsenter", "-t", &target, "-n", "ip", "-o", "link", "show", "dev", "data0"];
    let link = Cmd::new(&t.dir, args).output().ok();
    assert!(link.contains("02:00:5e:10:20:30") && link.contains("mtu 1400") && link.contains("UP"), "{link}");
}

/// [T10] a template takes the next number that is free; two devices may share it.
#[test]
fn a_template_for_the_name() {
    only_davit!();
    let (a, b) = (veth!(), veth!());
    ip(&format!("addr add 10.99.7.1/24 dev {}", a.name)).ok();
    let mut t = Test::new();
    moving(&mut t, &[(&a.name, "net%d"), (&b.name, "net%d")]);
    let out = t.out("ls /sys/class/net; ip -o -4 addr | grep -c '10.99.7.1/24.*net'");
    assert_eq!(out, "lo\nnet0\nnet1\n1");
}

/// [T10] into a namespace that is joined: beside the devices there, whose names and numbers are taken.
#[test]
fn into_a_namespace_of_another() {
    only_davit!();
    let (a, b) = (veth!(), veth!());
    ip(&format!("addr add 10.99.8.1/24 dev {}", b.name)).ok();
    let mut first = Test::new();
    moving(&mut first, &[(&a.name, "eth0")]);
    first.sh("sleep 30");
    first.detach();
    let mut second = first.sibling();
    second.config.join("network", &format!("/proc/{}/ns/net", first.pid()));
    moving(&mut second, &[(&b.name, "eth0")]);
    second.sh("true");
    let text = format!(
        "linux.netDevices[\"{}\"]: the container's network namespace has a device \"eth0\" already",
        b.name
    );
    second.run().fails(1, &text);
    assert!(b.exists(), "not moved when it can't be");
    second.assert_clean();
    moving(&mut second, &[(&b.name, "eth%d")]);
    second.sh("ls /sys/class/net; ip -o -4 addr show eth1");
    let out = second.run().ok();
    assert!(out.starts_with("eth0\neth1\nlo\n") && out.contains("10.99.8.1/24"), "{out}");
}

/// [T10] in a user namespace the devices come from the host as well; its root owns the namespace they are in.
#[test]
fn with_a_user_namespace() {
    only_davit!();
    let veth = veth!();
    ip(&format!("addr add 10.99.9.1/24 dev {}", veth.name)).ok();
    let mut t = Test::new();
    t.user_namespace();
    moving(&mut t, &[(&veth.name, "eth0")]);
    let out = t.out("ip -o -4 addr show eth0");
    assert!(out.contains("10.99.9.1/24"), "{out}");
}

/// [T10] [T13] [H9] the devices are there before the first hook runs, and for the kernel parameters.
#[test]
fn before_the_hooks() {
    only_davit!();
    let veth = veth!();
    let mut t = Test::new();
    moving(&mut t, &[(&veth.name, "eth0.5")]);
    let log = t.path("log");
    let script = format!(
        "pid=$(grep -o '\"pid\":[0-9]*' | cut -d: -f2); nsenter -t $pid -n ip -o link show eth0.5 > {log}"
    );
    t.config.push("hooks.prestart", json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }));
    t.config.set("linux.sysctl", json!({ "net/ipv4/conf/eth0.5/forwarding": "1" }));
    assert_eq!(t.out("cat /proc/sys/net/ipv4/conf/eth0.5/forwarding"), "1");
    let seen = std::fs::read_to_string(log).unwrap();
    assert!(seen.contains("eth0.5") && seen.contains("UP"), "{seen}");
}

/// [T10] a device that is not there, or can't be moved: named by its path; nothing is left, no other one has moved.
#[test]
fn devices_that_cannot_move() {
    only_davit!();
    let veth = veth!();
    for (device, text) in [
        ("zz9", "linux.netDevices[\"zz9\"]: find network device: no such device"),
        ("lo", "linux.netDevices[\"lo\"]: the loopback device of a namespace cannot be moved"),
    ] {
        let mut t = Test::new();
        moving(&mut t, &[(&veth.name, ""), (device, "eth7")]);
        t.sh("true");
        t.run().fails(1, text);
        t.create().fails(1, text);
        assert!(veth.exists());
        t.assert_clean();
    }
}

/// [T10] a container that fails before its mounts are made leaves the devices alone; one that fails later takes virtual
/// ones with its namespace, as its end would.
#[test]
fn a_container_that_fails() {
    only_davit!();
    let veth = veth!();
    let mut t = Test::new();
    moving(&mut t, &[(&veth.name, "")]);
    t.sh("true");
    t.config.mount("/mnt", "bind", "/no/such/source", &["bind"]);
    t.run().fails(1, "/no/such/source");
    t.assert_clean();
    assert!(veth.exists());
    t.config.unmount("/mnt").set("process.args", json!(["/no/such/program"]));
    t.run().fails(1, "/no/such/program");
    t.assert_clean();
    host::wait_until("the device's end", || !veth.exists());
}

/// [T10] what needs no device to be refused: no namespace of its own, bad names, a name twice.
#[test]
fn refused_by_the_rules() {
    only_davit!();
    let no_namespace = "unable to move network devices without a NET namespace";
    for (leave, devices, text) in [
        (true, json!({ "eth9": {} }), no_namespace),
        (false, json!({ "a/b": {} }), "linux.netDevices[\"a/b\"]: invalid network device name"),
        (
            false,
            json!({ "eth9": { "name": "sixteen-bytes-xx" } }),
            "linux.netDevices[\"eth9\"].name: invalid",
        ),
        (false, json!({ "eth9": { "name": ".." } }), "linux.netDevices[\"eth9\"].name: invalid"),
        (false, json!({ "eth9": { "name": "e:1" } }), "linux.netDevices[\"eth9\"].name: invalid"),
        (false, json!({ "eth9": { "name": "e%x" } }), "linux.netDevices[\"eth9\"].name: invalid"),
        (
            false,
            json!({ "a": { "name": "x" }, "b": { "name": "x" } }),
            "linux.netDevices[\"b\"].name: \"x\" is",
        ),
    ] {
        let mut t = Test::new();
        if leave {
            t.config.leave("network");
        }
        t.config.set("linux.netDevices", devices);
        t.sh("true");
        t.run().fails(1, text);
        t.assert_clean();
    }
}

/// [T10] the host's own namespace, joined by path, is none to move devices to.
#[test]
fn not_into_the_hosts_namespace() {
    only_davit!();
    let mut t = Test::new();
    t.config.join("network", "/proc/self/ns/net");
    moving(&mut t, &[("lo", "")]);
    t.sh("true");
    t.run().fails(1, "linux.netDevices[\"lo\"] not allowed in host network namespace");
    t.assert_clean();
}

/// [T10] not for an ordinary user.
#[test]
fn not_rootless() {
    only_davit!();
    let mut t = Test::new();
    std::fs::set_permissions(&t.dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let binary = t.dir.join("davit");
    host::copy_program(runtime(), &binary);
    let map = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
    t.config.namespace("user").set("linux.uidMappings", map(65533)).set("linux.gidMappings", map(65533));
    t.config.remove("linux.cgroupsPath").remove("linux.resources");
    moving(&mut t, &[("eth9", "")]);
    t.sh("true");
    t.write();
    let user = ["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups"];
    let (root, bundle) = (t.path("user-state"), t.bundle.to_string_lossy().into_owned());
    let output = Cmd::new(&t.dir, [&binary])
        .args(["--root", &root, "run", "--bundle", &bundle, &t.id])
        .wrap(user)
        .output();
    output.fails(1, "linux.netDevices: network devices are not supported for rootless containers");
}
