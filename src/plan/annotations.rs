//! Annotations that change what is done (features.md section 3); all others are only passed on.

use std::fmt::Display;

use oci_spec::runtime::Spec;

use crate::error::Error;

/// The value of an annotation.
pub(super) fn get<'a>(spec: &'a Spec, key: &str) -> Option<&'a str> {
    spec.annotations().as_ref()?.get(key).map(String::as_str)
}

/// A value that can't be carried out.
pub(super) fn wrong(key: &str, why: impl Display) -> Error {
    Error::config(&format!("annotations[{key:?}]"), why)
}
