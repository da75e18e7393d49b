//! The programs that call a runtime, for real: each test starts its own daemon (or none, for Podman and Buildah) in a
//! directory of its own, with an image made here, and Davit as the runtime by path. `make test-callers` installs the
//! programs and runs them; docs/callers.md says what each test covers.
//!
//! `DAVIT_TEST_RUNTIME=/usr/sbin/runc` drives the same tests with another runtime. Nothing of the machine's own Docker,
//! containerd or Podman is touched, and each test asserts that nothing is left: processes, mounts, cgroups, state.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod buildah;
mod client;
mod containerd;
mod cri;
mod ctr;
mod docker;
mod docker_build;
mod docker_exec;
mod docker_files;
mod docker_life;
mod docker_limits;
mod docker_rights;
mod docker_run;
mod image;
mod place;
mod podman;
mod podman_life;
mod podman_run;
mod pods;
mod protobuf;
#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "the harness of the everyday tests; not all of it is used here"
)]
#[path = "../support/mod.rs"]
mod support;
mod systemd;
mod timings;
