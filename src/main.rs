//! argv → command → one place that prints the error → exit code.

fn main() {}
