//! The command lines of callers: what is the same for Docker, Podman and `ctr`.

use crate::image;
use crate::place::Place;
use crate::support::{Cmd, Output, host};
use std::time::Duration;

/// The command line of a caller in its place.
pub trait Client {
    /// The client with these arguments, and with Davit as the runtime.
    fn cmd(&self, args: &[&str]) -> Cmd;

    /// Runs the client.
    fn run(&self, args: &[&str]) -> Output {
        self.cmd(args).output()
    }

    /// Runs the client, which must succeed in silence; its stdout.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        self.run(args).ok()
    }
}

/// The verbs that Podman has taken from Docker.
pub trait Engine: Client {
    /// `VERB OPTIONS IMAGE`, to which the program is to be added.
    fn start_cmd(&self, verb: &str, options: &[&str]) -> Cmd;

    /// Makes the image and loads it.
    fn load(&self, place: &Place) {
        let archive = image::archive(&place.dir, "image.tar", image::NAME, &["sh"]);
        self.run(&["load", "--quiet", "--input", archive.to_str().unwrap()]).code(0);
    }

    /// `run --rm OPTIONS IMAGE sh -c SCRIPT`, which must succeed; its stdout.
    #[track_caller]
    fn sh(&self, options: &[&str], script: &str) -> String {
        self.start_cmd("run", &[&["--rm"], options].concat()).args(["sh", "-c", script]).output().ok()
    }

    /// `run --detach --name NAME OPTIONS IMAGE sh -c SCRIPT`.
    #[track_caller]
    fn detach(&self, name: &str, options: &[&str], script: &str) {
        let options = [&["--detach", "--name", name], options].concat();
        self.start_cmd("run", &options).args(["sh", "-c", script]).output().ok();
    }

    /// One value of `inspect`, by a Go template.
    #[track_caller]
    fn inspect(&self, name: &str, field: &str) -> String {
        self.ok(&["inspect", "--format", &format!("{{{{{field}}}}}"), name])
    }

    /// The full id of a container.
    #[track_caller]
    fn id(&self, name: &str) -> String {
        self.inspect(name, ".Id")
    }

    /// Waits until a value of `inspect` is this.
    #[track_caller]
    fn wait_for(&self, name: &str, field: &str, value: &str) {
        let mut last = String::new();
        let found = host::until(Duration::from_secs(20), || {
            last = self.inspect(name, field);
            last == value
        });
        assert!(found, "{field} of {name} is {last}, not {value}\n{}", self.run(&["logs", name]));
    }

    /// Waits until the logs hold the text.
    #[track_caller]
    fn wait_log(&self, name: &str, text: &str) {
        let mut last = String::new();
        let found = host::until(Duration::from_secs(20), || {
            let logs = self.run(&["logs", name]);
            last = logs.stdout + &logs.stderr;
            last.contains(text)
        });
        assert!(found, "no {text} in the logs of {name}: {last}");
    }
}
