//! The harness: a bundle a test, the runtime's command line, and a check that nothing is left.

pub mod agent;
pub mod cgroup;
pub mod config;
pub mod host;
pub mod mount;
pub mod probe;
pub mod run;
pub mod socket;
pub mod terminal;
pub mod test;
pub mod trace;
pub mod user;

pub use config::Config;
pub use mount::HostMount;
pub use run::{Cmd, Output};
pub use serde_json::{Value, json};
pub use test::Test;

use std::io::Write;
use std::path::PathBuf;

/// The runtime under test: `$DAVIT_TEST_RUNTIME` or the binary that cargo built.
pub fn runtime() -> PathBuf {
    std::env::var_os("DAVIT_TEST_RUNTIME")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_davit")), PathBuf::from)
}

/// True when the runtime under test is Davit: what follows is its own wording or behaviour.
pub fn davit_only() -> bool {
    runtime().file_name().is_some_and(|name| name == "davit")
}

/// Says on stderr, and in a file that `make test` counts, that the running test shows nothing here.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!("skipped: {}: {reason}\n", thread.name().unwrap_or("?"));
    eprint!("{line}");
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/skips");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list of skips");
}

/// Leaves the test, and says so, unless the runtime under test is Davit.
macro_rules! only_davit {
    () => {
        if !$crate::support::davit_only() {
            return $crate::support::skip("Davit's own texts or behaviour");
        }
    };
}
pub(crate) use only_davit;

/// Leaves the test, and says why, unless the condition holds.
macro_rules! need {
    ($condition:expr, $reason:expr) => {
        if !$condition {
            return $crate::support::skip($reason);
        }
    };
}
pub(crate) use need;
