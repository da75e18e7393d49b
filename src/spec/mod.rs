//! What the user wrote: loading config.json and checking it against the rules of the specification.

pub mod list;
pub mod load;
mod relax;
pub mod validate;

pub use load::{Loaded, load};
