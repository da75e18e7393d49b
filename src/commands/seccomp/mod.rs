//! `seccomp`: what a profile says, and the program that is made of it.

mod explain;
mod read;
mod record;
mod summary;

use oci_spec::runtime::Arch;

use self::read::Source;
use crate::cli::SeccompArgs;
use crate::error::{Error, Kind, Result};
use crate::seccomp::{self, NATIVE, words};

pub use self::explain::explain;
pub use self::record::record;

/// Prints the program that the kernel would be given.
///
/// # Errors
/// The profile can't be read or compiled.
pub fn disasm(args: &SeccompArgs) -> Result<i32> {
    let native = architecture(args)?.unwrap_or(NATIVE);
    let source = Source::read(args, native)?;
    let program = seccomp::compile_for(&source.profile, native).map_err(|error| source.fault(&error))?;
    super::output::print(seccomp::disassemble(&program, native).as_bytes())?;
    Ok(0)
}

/// `--arch`.
fn architecture(args: &SeccompArgs) -> Result<Option<Arch>> {
    let Some(word) = &args.arch else { return Ok(None) };
    match words::architecture_named(word) {
        Some(arch) => Ok(Some(arch)),
        None => {
            let known: Vec<String> = words::ARCHITECTURES.into_iter().map(words::architecture).collect();
            let text = format!("invalid value {word:?} for flag -arch");
            Err(Error::new(Kind::Usage, text).hint(format!("one of {}", known.join(" "))))
        }
    }
}
