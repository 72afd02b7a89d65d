//! `logkeeper archive fetch`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::archive::{Effort, MANIFEST};
use crate::cli::output;
use crate::config::Config;
use crate::copies::CopyError;
use crate::fs::{create_folder, create_partial, partial_name, publish_new};
use crate::jobs::copies::place_named;
use crate::jobs::keep::check;
use crate::model::Problem;
use crate::store::{Copy, Store};

#[derive(clap::Args)]
pub struct Args {
    /// Its name, or its path there: HOST/SOURCE/YYYY/MM/NAME
    archive: String,
    /// The place, as config/logkeeper.toml names it below [copies]; default: any that has it
    #[arg(long, value_name = "PLACE")]
    from: Option<String>,
    /// The folder that receives the archive and its manifest
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&crate::cli::absolute(root))?;
    let copies = copies(&config, args)?;
    create_folder(&args.to).map_err(|error| anyhow::anyhow!("{}: {error}", args.to.display()))?;
    let mut failed = Vec::new();
    for copy in &copies {
        match fetch(&config, copy, &args.to) {
            Ok(path) => {
                check(&path, Effort::up_to(4, false), &|_| false)?;
                output::print(&format!("{}: fetched from {}, whole\n", path.display(), copy.place));
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) => failed.push(format!("{}: {error:#}", copy.place)),
        }
    }
    Err(anyhow::anyhow!("{} could not be fetched: {}", args.archive, failed.join("; ")))
}

/// Where the archive may be: as on record, or, with its whole path, wherever that is.
fn copies(config: &Config, args: &Args) -> anyhow::Result<Vec<Copy>> {
    let mut known = Store::open_for_reading(&config.state)?.copies_named(&args.archive)?;
    if known.is_empty() && args.archive.contains('/') {
        let copy =
            |place: &String| Copy { place: place.clone(), key: args.archive.clone(), version: None, noted: None };
        known = config.copies.keys().map(copy).collect();
    }
    known.retain(|copy| args.from.as_ref().is_none_or(|from| *from == copy.place));
    if let Some(other) = known.iter().find(|copy| copy.key != known[0].key) {
        let help = format!("give the path of the one that you mean, as {} or {}", known[0].key, other.key);
        return Err(Problem::new(format!("several archives are called {}", args.archive), "", help).into());
    }
    if known.is_empty() {
        let help = "give its name as it was, or with its path there as HOST/SOURCE/2026/11/NAME.tar.gz";
        return Err(Problem::new(format!("no copy of {} is on record", args.archive), "", help).into());
    }
    Ok(known)
}

fn fetch(config: &Config, copy: &Copy, to: &Path) -> anyhow::Result<PathBuf> {
    let mut place = place_named(config, &copy.place)?;
    let name = copy.key.rsplit('/').next().unwrap_or(&copy.key);
    let target = to.join(name);
    // The manifest first, as everywhere.
    for (key, target) in
        [(format!("{}{MANIFEST}", copy.key), to.join(format!("{name}{MANIFEST}"))), (copy.key.clone(), target.clone())]
    {
        if target.exists() {
            return Err(Problem::new(
                format!("{} is there already", target.display()),
                "",
                "fetch it into another folder",
            )
            .into());
        }
        let partial = partial_name(&target);
        let mut file = create_partial(&partial)?;
        let done = place.read(&key, &mut file, &|| false);
        let done = done.and_then(|()| {
            file.flush().and_then(|()| file.sync_all()).map_err(|error| CopyError::One(error.to_string()))
        });
        if let Err(error) = done {
            std::fs::remove_file(&partial)?;
            return Err(error.into());
        }
        publish_new(&partial, &target)?;
    }
    Ok(target)
}
