//! (in work)

pub mod delete;
pub mod kill;
pub mod list;
mod output;
pub mod pause;
pub mod ps;
pub mod resume;
pub mod state;
#[cfg(test)]
mod testing;
