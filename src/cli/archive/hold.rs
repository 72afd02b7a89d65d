//! `logkeeper archive hold`

use std::path::Path;
use std::process::ExitCode;

use super::{catalogue, find};
use crate::archive::{add_hold, end_hold, hold, is_archive_name};
use crate::cli::output;
use crate::model::Problem;
use crate::store::ArchiveFilter;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Have an archive stay until somebody says otherwise
    Add {
        /// Its name or the path of its file
        archive: String,
        /// Why, for whoever finds it later
        #[arg(long)]
        why: String,
    },
    /// Let the rules decide about an archive again
    Rm {
        /// Its name or the path of its file
        archive: String,
    },
    /// List the archives on hold
    List,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    match &args.what {
        What::Add { archive, why } => {
            let path = find(root, archive)?;
            if why.trim().is_empty() {
                let help = "add --why \"lawsuit 7\": others will wonder";
                return Err(Problem::new("say why", "", help).into());
            }
            if !path.exists() || !is_archive_name(&path.file_name().unwrap_or_default().to_string_lossy()) {
                return Err(Problem::new(format!("{} is no archive", path.display()), "", "name an archive").into());
            }
            add_hold(&path, why).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            output::print(&format!("{} stays until \"logkeeper archive hold rm\"\n", path.display()));
        }
        What::Rm { archive } => {
            let path = find(root, archive)?;
            if hold(&path)?.is_none() {
                let help = "\"logkeeper archive hold list\" shows those that are";
                return Err(Problem::new(format!("{archive} is not on hold"), "", help).into());
            }
            end_hold(&path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            output::print(&format!("{}: the rules decide again\n", path.display()));
        }
        What::List => {
            let mut rows = Vec::new();
            for archive in catalogue(root, &ArchiveFilter::default())? {
                rows.extend(hold(&archive.path)?.map(|why| vec![archive.entry.name.clone(), why]));
            }
            output::print_table(&["ARCHIVE", "WHY"], rows);
        }
    }
    Ok(ExitCode::SUCCESS)
}
