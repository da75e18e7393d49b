//! The files of contrib/, without the programs that they are for: they are well-formed and agree on one name.

use crate::support::*;
use std::path::Path;

/// Prints all files as one JSON object, file by file.
const READ: &str = "
import json, sys, tomllib, yaml
def read(name):
    text = open(name).read()
    if name.endswith('.json'): return json.loads(text)
    if name.endswith('.yaml'): return list(yaml.safe_load_all(text))
    return tomllib.loads(text)
print(json.dumps({name: read(name) for name in sys.argv[1:]}))
";

const FILES: [&str; 6] = [
    "containerd/config.toml",
    "containerd/config-v3.toml",
    "docker/daemon.json",
    "podman/containers.conf",
    "crio/10-davit.conf",
    "kubernetes/runtimeclass.yaml",
];

/// Every file of contrib/, parsed.
fn files(t: &Test) -> Value {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib");
    let text = Cmd::new(&t.dir, ["python3", "-c", READ]).args(FILES).cwd(&dir).output().ok();
    text.parse().unwrap()
}

fn can_read(t: &Test) -> bool {
    Cmd::new(&t.dir, ["python3", "-c", "import tomllib, yaml"]).output().code == 0
}

/// RuntimeClass, containerd (both syntaxes), CRI-O, Docker and Podman call the runtime by one name, and the program too.
#[test]
fn one_name_everywhere() {
    only_davit!();
    let t = Test::new();
    need!(can_read(&t), "python3 with tomllib and yaml");
    let files = files(&t);
    let [class, pod] = files["kubernetes/runtimeclass.yaml"].as_array().unwrap().as_slice() else { panic!() };
    assert_eq!((&class["apiVersion"], &class["kind"]), (&json!("node.k8s.io/v1"), &json!("RuntimeClass")));
    assert_eq!(pod["kind"], "Pod");
    assert_eq!(pod["spec"]["runtimeClassName"], class["metadata"]["name"]);
    let handler = class["handler"].as_str().unwrap();

    let v2 = &files["containerd/config.toml"];
    let v3 = &files["containerd/config-v3.toml"];
    assert_eq!((&v2["version"], &v3["version"]), (&json!(2), &json!(3)));
    for plugin in
        [&v2["plugins"]["io.containerd.grpc.v1.cri"], &v3["plugins"]["io.containerd.cri.v1.runtime"]]
    {
        let runtime = &plugin["containerd"]["runtimes"][handler];
        assert_eq!(runtime["runtime_type"], "io.containerd.runc.v2");
        assert_eq!(runtime["options"]["BinaryName"], handler);
    }
    let crio = &files["crio/10-davit.conf"]["crio"]["runtime"]["runtimes"][handler];
    // Without a path the program's name is the handler's.
    assert_eq!((&crio["runtime_type"], crio.get("runtime_path")), (&json!("oci"), None));
    assert_eq!(files["docker/daemon.json"]["runtimes"][handler]["path"], handler);
    let podman = &files["podman/containers.conf"]["engine"];
    for path in podman["runtimes"][handler].as_array().unwrap() {
        assert_eq!(Path::new(path.as_str().unwrap()).file_name().unwrap(), handler);
    }
    for list in ["runtime_supports_json", "runtime_supports_nocgroups"] {
        assert!(podman[list].as_array().unwrap().contains(&json!(handler)), "{list}");
    }
}
