//! Real containers, driven through the built binary only; one file a topic.

fn main() {}
