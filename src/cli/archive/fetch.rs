//! `logkeeper archive fetch`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::archive::{Effort, MANIFEST, manifest_path, read_manifest, verify};
use crate::cli::output;
use crate::config::Config;
use crate::fs::{create_folder, create_partial, partial_name, publish_new};
use crate::jobs::copies::Places;
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
    let store = Store::open_for_reading(&config.state)?;
    let copies = copies(&config, &store, args)?;
    create_folder(&args.to).map_err(|error| anyhow::anyhow!("{}: {error}", args.to.display()))?;
    let name = copies[0].key.rsplit('/').next().unwrap_or_default();
    let targets = [name.to_owned(), format!("{name}{MANIFEST}")].map(|name| args.to.join(name));
    if let Some(target) = targets.iter().find(|target| target.exists()) {
        let message = format!("{} is there already", target.display());
        return Err(Problem::new(message, "", "fetch it into another folder").into());
    }
    let mut places = Places::for_reading(&config, &store);
    let mut failed = Vec::new();
    for copy in &copies {
        match fetch(&mut places, copy, name, &args.to) {
            Ok(path) => {
                output::print(&format!("{}: fetched from {}, whole\n", path.display(), copy.place));
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) => failed.push(format!("{}: {error:#}", copy.place)),
        }
    }
    Err(anyhow::anyhow!("{} could not be fetched: {}", args.archive, failed.join("; ")))
}

/// Where the archive may be: as on record, or, with its whole path, wherever that is.
fn copies(config: &Config, store: &Store, args: &Args) -> anyhow::Result<Vec<Copy>> {
    let mut known = store.copies_named(&args.archive)?;
    let is_path = args.archive.contains('/') && args.archive.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if known.is_empty() && is_path {
        let copy = |place: &String| Copy { place: place.clone(), key: args.archive.clone(), ..Copy::default() };
        known = config.copies.keys().map(copy).collect();
    }
    known.retain(|copy| args.from.as_ref().is_none_or(|from| *from == copy.place));
    if let Some(other) = known.iter().find(|copy| copy.sha256 != known[0].sha256) {
        let help = format!("give the path of the one that you mean, as {} or {}", known[0].key, other.key);
        return Err(Problem::new(format!("several archives are called {}", args.archive), "", help).into());
    }
    if known.is_empty() {
        let help = "give its name as it was, or with its path there as HOST/SOURCE/2026/11/NAME.tar.gz";
        return Err(Problem::new(format!("no copy of {} is on record", args.archive), "", help).into());
    }
    Ok(known)
}

/// Fetches archive and manifest into a folder of their own, and puts them where they belong once they are proven.
fn fetch(places: &mut Places<'_>, copy: &Copy, name: &str, to: &Path) -> anyhow::Result<PathBuf> {
    let place = places.get(&copy.place)?;
    let folder = way_folder(to, name)?;
    let done = (|| {
        let fetched = folder.join(name);
        for (key, path) in
            [(copy.key.clone(), fetched.clone()), (format!("{}{MANIFEST}", copy.key), manifest_path(&fetched))]
        {
            let mut file = create_partial(&path)?;
            place.read(&key, 0, &mut file, &|| false)?;
            file.flush()?;
            file.sync_all()?;
        }
        let entry = read_manifest(&fetched)?;
        verify(&fetched, &entry, Effort::up_to(4, false), &|_| false)?;
        if !copy.sha256.is_empty() && copy.sha256 != entry.sha256 {
            anyhow::bail!("it is another archive than the one on record");
        }
        let target = to.join(name);
        // The manifest first, as everywhere.
        publish_new(&manifest_path(&fetched), &manifest_path(&target))?;
        if let Err(error) = publish_new(&fetched, &target) {
            std::fs::remove_file(manifest_path(&target))?;
            return Err(error.into());
        }
        Ok(target)
    })();
    std::fs::remove_dir_all(&folder)?;
    done
}

/// An empty folder for what is on its way.
fn way_folder(to: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let folder = partial_name(&to.join(name));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    create_folder(&folder)?;
    Ok(folder)
}
