//! `plan`: what `create` would do, without doing it.

use std::path::PathBuf;

use super::create::{bundle, host, request};
use crate::cli::{CreateArgs, Global, PlanArgs, PlanFormat};
use crate::error::{Error, Kind, Result};
use crate::plan::{plan, show};

/// Prints the plan of a bundle, for people or as JSON.
///
/// # Errors
/// As `create` before it makes anything.
pub fn run(global: &Global, args: &PlanArgs) -> Result<i32> {
    let bundle = bundle(args.bundle.as_deref())?;
    let name = args.config.clone().unwrap_or_else(|| PathBuf::from("config.json"));
    let mut loaded = crate::spec::load(&bundle, &name)?;
    let create = CreateArgs { id: "ID".into(), ..CreateArgs::default() };
    let request = request(global, &create, &bundle)?;
    request.caller.add_user_namespace(&mut loaded.spec)?;
    let plan = plan(&loaded.spec, &request, &host(global)?)?;
    let steps = show::steps(&plan);
    let text = match args.format {
        PlanFormat::Text => show::to_text(&steps),
        PlanFormat::Json => {
            serde_json::to_string_pretty(&steps)
                .map_err(|error| Error::new(Kind::System, error.to_string()))?
                + "\n"
        }
    };
    super::output::print(text.as_bytes())?;
    Ok(0)
}
