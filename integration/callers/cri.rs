//! containerd's CRI plugin as the kubelet drives it: pods and containers by calls of its gRPC API. The transport is
//! curl's HTTP/2; containerd has mount and network namespaces of its own, so that its fixed paths are the test's.

use crate::containerd::Containerd;
use crate::place::{Place, installed};
use crate::protobuf::{Fields, Message};
use crate::support::{cgroup, host};
use std::path::Path;
use std::time::Duration;

/// The image of containers.
pub const IMAGE: &str = crate::image::NAME;

/// `NamespaceMode` of the API.
pub const POD: u64 = 0;
pub const CONTAINER: u64 = 1;
pub const NODE: u64 = 2;

/// containerd with pods.
pub struct Cri {
    pub containerd: Containerd,
}

/// Gives a containerd with the CRI plugin, or leaves the test where something for it is not installed.
macro_rules! cri {
    () => {
        match $crate::cri::Cri::start() {
            Some(cri) => cri,
            None => return $crate::support::skip("containerd, CNI plugins or curl are not installed"),
        }
    };
}
pub(crate) use cri;

/// One bridge in the daemon's network namespace; addresses are kept in the test's directory.
const NETWORK: &str = r#"{ "cniVersion": "0.4.0", "name": "test", "plugins": [{ "type": "bridge", "bridge": "cni0",
  "isGateway": true, "ipam": { "type": "host-local", "dataDir": "DIR/addresses",
  "ranges": [[{ "subnet": "10.77.0.0/16" }]] } }] }"#;

impl Cri {
    /// None if something is not installed.
    pub fn start() -> Option<Self> {
        Self::with(false)
    }

    /// With the systemd driver, or without.
    pub fn with(systemd: bool) -> Option<Self> {
        let there = installed("containerd") && installed("curl") && Path::new("/usr/lib/cni/bridge").exists();
        there.then(|| Self::in_place(Place::new(), systemd))
    }

    fn in_place(place: Place, systemd: bool) -> Self {
        let dir = place.dir.to_str().unwrap();
        place.file("etc/cni/net.d/10-test.conflist", &NETWORK.replace("DIR", dir));
        for name in ["work", "opt/cni", "run"] {
            std::fs::create_dir_all(place.dir.join(name)).unwrap();
        }
        std::os::unix::fs::symlink("/usr/lib/cni", place.dir.join("opt/cni/bin")).unwrap();
        let script = format!(
            "ip link set lo up && mount -t overlay -o lowerdir=/etc,upperdir={dir}/etc,workdir={dir}/work none /etc && \
             mount --bind {dir}/opt /opt && mkdir -p /run/containerd && mount --bind {dir}/run /run/containerd && exec \"$@\""
        );
        let front = ["unshare", "--mount", "--net", "--propagation", "slave", "/bin/sh", "-c", &script, "sh"];
        let containerd = Containerd::in_place(place, &front, systemd);
        containerd.load(
            "k8s.io",
            "registry.k8s.io/pause:3.6",
            &["sh", "-c", "trap exit TERM INT; sleep 1000000 & wait"],
        );
        containerd.load("k8s.io", IMAGE, &["sh"]);
        let cri = Self { containerd };
        // The plugin hears of imported images by events.
        let known = || cri.image_known("registry.k8s.io/pause:3.6") && cri.image_known(IMAGE);
        assert!(host::until(Duration::from_secs(20), known), "images: {}", cri.containerd.daemon.log());
        let status = cri.call("Status", &Message::new()).message(1);
        let conditions = status.messages(1);
        assert!(conditions.iter().all(|condition| condition.number(2) == 1), "{conditions:?}");
        cri
    }

    fn image_known(&self, name: &str) -> bool {
        let request = Message::new().message(1, &Message::new().text(1, name));
        // "Not ready" at first.
        self.service("ImageService/ImageStatus", &request)
            .is_ok_and(|answer| !answer.message(1).text(1).is_empty())
    }

    /// A call that must succeed.
    #[track_caller]
    pub fn call(&self, method: &str, request: &Message) -> Fields {
        self.try_call(method, request)
            .unwrap_or_else(|error| panic!("{method}: {error}\n{}", self.containerd.daemon.log()))
    }

    /// A call of the runtime service; the error is `grpc-status` and `grpc-message`.
    pub fn try_call(&self, method: &str, request: &Message) -> Result<Fields, String> {
        self.service(&format!("RuntimeService/{method}"), request)
    }

    fn service(&self, method: &str, request: &Message) -> Result<Fields, String> {
        let place = &self.containerd.place;
        let number = host::unique();
        let name = |kind: &str| place.path(&format!("{kind}-{number}"));
        // One message, not compressed: 0, its length, itself.
        let length = u32::try_from(request.0.len()).unwrap().to_be_bytes();
        let body = [&[0], &length[..], &request.0[..]].concat();
        std::fs::write(name("request"), body).unwrap();
        let curl = place.cmd(&["curl", "--silent", "--show-error", "--http2-prior-knowledge"]).args([
            "--unix-socket",
            &place.path("containerd.sock"),
            "--header",
            "content-type: application/grpc",
            "--header",
            "te: trailers",
            "--data-binary",
            &format!("@{}", name("request")),
            "--dump-header",
            &name("header"),
            "--output",
            &name("answer"),
            &format!("http://containerd/runtime.v1.{method}"),
        ]);
        // Where the server ends the stream early with an error, curl complains, but has written the header.
        let curl = curl.output();
        let header = std::fs::read_to_string(name("header")).unwrap_or_default();
        let field = |name: &str| {
            header.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(": "))
        };
        let answer = std::fs::read(name("answer")).unwrap_or_default();
        match field("grpc-status") {
            Some("0") => Ok(Fields::read(answer.get(5..).unwrap_or_default())),
            Some(code) => Err(format!("{code}: {}", field("grpc-message").unwrap_or_default())),
            None => Err(curl.to_string()),
        }
    }
}

/// A pod sandbox of the handler `davit`.
pub struct Pod<'a> {
    cri: &'a Cri,
    pub id: String,
    config: Message,
    pub cgroup: String,
}

impl Cri {
    /// Starts a pod whose network is this `NamespaceMode`; `more` adds to its `LinuxPodSandboxConfig`.
    #[track_caller]
    pub fn pod(&self, name: &str, network: u64, more: impl Fn(Message) -> Message) -> Pod<'_> {
        self.pod_in(&format!("{}/{name}", self.containerd.place.cgroup()), name, network, more)
    }

    /// The same below this cgroup or slice.
    #[track_caller]
    pub fn pod_in(
        &self,
        cgroup: &str,
        name: &str,
        network: u64,
        more: impl Fn(Message) -> Message,
    ) -> Pod<'_> {
        let security = Message::new().message(1, &Message::new().number(1, network).number(2, CONTAINER));
        let linux = more(Message::new().text(1, cgroup).message(2, &security));
        let metadata = Message::new().text(1, name).text(2, format!("uid-{name}")).text(3, "default");
        let logs = self.containerd.place.path(&format!("logs-{name}"));
        let config = Message::new().message(1, &metadata).text(3, logs).message(8, &linux);
        // On the host's network the host's name is used: the kubelet gives none.
        let config = if network == NODE { config } else { config.text(2, format!("host-{name}")) };
        let request = Message::new().message(1, &config).text(2, "davit");
        let id = self.call("RunPodSandbox", &request).text(1);
        Pod { cri: self, id, config, cgroup: cgroup.to_string() }
    }

    /// `PodSandboxStatus` or `ContainerStatus`.
    #[track_caller]
    pub fn status(&self, kind: &str, id: &str) -> Fields {
        self.call(kind, &Message::new().text(1, id)).message(1)
    }

    /// The pid of a container or a sandbox, out of the verbose part of its status.
    #[track_caller]
    pub fn pid(&self, kind: &str, id: &str) -> i32 {
        let answer = self.call(kind, &Message::new().text(1, id).number(2, 1));
        let info = answer.messages(2).into_iter().find(|entry| entry.text(1) == "info").expect("info");
        let info: crate::support::Value = serde_json::from_str(&info.text(2)).unwrap();
        i32::try_from(info["pid"].as_i64().expect("pid")).unwrap()
    }

    /// `ExecSync`: exit code, stdout, stderr.
    pub fn exec(&self, id: &str, args: &[&str]) -> Result<(u64, String, String), String> {
        let request = args.iter().fold(Message::new().text(1, id), |request, arg| request.text(2, arg));
        let answer = self.try_call("ExecSync", &request.number(3, 30))?;
        Ok((answer.number(3), answer.text(1), answer.text(2)))
    }

    /// Waits until the container has ended; its exit code and reason.
    #[track_caller]
    pub fn wait(&self, id: &str) -> (u64, String) {
        const EXITED: u64 = 2;
        let ended = || self.status("ContainerStatus", id).number(3) == EXITED;
        assert!(host::until(Duration::from_secs(30), ended), "{id} does not end");
        let status = self.status("ContainerStatus", id);
        (status.number(7), status.text(10))
    }
}

impl Pod<'_> {
    /// Makes a container; `more` adds to its `ContainerConfig`, `linux` to its `LinuxContainerConfig`.
    #[track_caller]
    pub fn create(
        &self,
        name: &str,
        script: &str,
        linux: &Message,
        more: impl Fn(Message) -> Message,
    ) -> String {
        let metadata = Message::new().text(1, name);
        let config = Message::new().message(1, &metadata).message(2, &Message::new().text(1, IMAGE));
        let config = ["sh", "-c", script].iter().fold(config, |config, arg| config.text(3, arg));
        let config = more(config.text(11, format!("{name}.log")).message(15, linux));
        let request = Message::new().text(1, &self.id).message(2, &config).message(3, &self.config);
        self.cri.call("CreateContainer", &request).text(1)
    }

    /// Makes a container and starts it.
    #[track_caller]
    pub fn start(&self, name: &str, script: &str, linux: &Message) -> String {
        let id = self.create(name, script, linux, |config| config);
        self.cri.call("StartContainer", &Message::new().text(1, &id));
        id
    }

    /// What a container has written so far, without the time stamps.
    pub fn log(&self, name: &str) -> String {
        let dir =
            self.cri.containerd.place.path(&format!("logs-{}", self.cgroup.rsplit('/').next().unwrap()));
        let text = std::fs::read_to_string(format!("{dir}/{name}.log")).unwrap_or_default();
        text.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect::<Vec<_>>().join("\n")
    }

    /// Waits until the log holds this.
    #[track_caller]
    pub fn wait_log(&self, name: &str, text: &str) {
        let there = || self.log(name).contains(text);
        assert!(
            host::until(Duration::from_secs(30), there),
            "no {text} in the log of {name}: {}",
            self.log(name)
        );
    }

    /// Stops and removes it, as the kubelet does.
    #[track_caller]
    pub fn remove(&self) {
        let request = Message::new().text(1, &self.id);
        self.cri.call("StopPodSandbox", &request);
        self.cri.call("RemovePodSandbox", &request);
        // The pod's own cgroup is the kubelet's; nothing is in it now.
        for dir in cgroup::dirs(&self.cgroup) {
            std::fs::remove_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        }
    }
}

impl Drop for Cri {
    fn drop(&mut self) {
        if let Ok(list) = self.try_call("ListPodSandbox", &Message::new()) {
            for pod in list.messages(1) {
                let request = Message::new().text(1, pod.text(1));
                let _ = self.try_call("StopPodSandbox", &request);
                let _ = self.try_call("RemovePodSandbox", &request);
            }
        }
        if !std::thread::panicking() {
            let states = || host::list(self.containerd.place.dir.join("run/runc/k8s.io"));
            let clean = host::until(Duration::from_secs(5), || states().is_empty());
            assert!(clean, "the runtime's state is left: {:?}", states());
        }
    }
}
