//! What oci-spec uses of `regex` (one `Regex` for `execCPUAffinity`), from the small engine of the same authors.
pub use regex_lite::{Error, Regex};
