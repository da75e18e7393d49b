//! What the user wrote: loading config.json and checking it against the rules of the specification.

pub mod examine;
pub mod list;
pub mod load;
pub mod locate;
mod relax;
pub mod shape;
mod syntax;
pub mod validate;

pub use load::{Loaded, load, read};
