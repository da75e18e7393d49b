//! What the user wrote: loading config.json and checking it against the rules of the specification.

pub mod examine;
pub mod load;
pub mod locate;
pub mod shape;
pub mod validate;

pub use load::{Loaded, load, read};
