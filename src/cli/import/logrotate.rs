//! `logkeeper import logrotate`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Told, print, share_like};
use crate::cli::{self, output};
use crate::config::Config;
use crate::logrotate;
use crate::model::Problem;

#[derive(clap::Args)]
pub struct Args {
    /// logrotate's files: /etc/logrotate.conf with all that it includes, or single ones such as /etc/logrotate.d/nginx
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Overwrite job files that are there already
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let root = cli::absolute(root);
    Config::load(&root)?;
    let zone = crate::config::system_zone();
    let parsed = logrotate::read(&args.files).map_err(|(path, error)| {
        let help = "name a file that can be read, as /etc/logrotate.conf";
        Problem::new(format!("can't read {}: {error}", path.display()), "", help)
    })?;
    let mut told: Vec<Told> = Vec::new();
    let tell = |file: &Path, line, job: Option<String>, state, detail| Told {
        file: file.to_owned(),
        line,
        job,
        state,
        detail,
    };
    let mut taken = BTreeSet::new();
    for entry in &parsed.entries {
        let written = match logrotate::job_file(entry, zone.name(), &mut taken) {
            Ok(written) => written,
            Err(why) => {
                told.push(tell(&entry.file, entry.line, None, "refused", why));
                continue;
            }
        };
        let path = root.join("jobs").join(format!("{}.toml", written.id));
        let id = || Some(written.id.to_string());
        let logs = entry.patterns.join(" ");
        if path.exists() && !args.force {
            let detail = "kept as it is; --force overwrites it".to_owned();
            told.push(tell(&entry.file, entry.line, id(), "exists", detail));
            continue;
        }
        crate::fs::replace(&path, written.text.as_bytes())?;
        share_like(&path, &entry.file)?;
        told.push(tell(&entry.file, entry.line, id(), "written", logs));
        told.extend(written.notes.iter().map(|note| tell(&note.file, note.line, id(), "differs", note.text.clone())));
    }
    told.extend(parsed.refused.into_iter().map(|(file, line, why)| tell(&file, line, None, "refused", why)));
    if args.json {
        output::print_json(&told)?;
    } else {
        print(&told);
        output::print(
            "\nNow: logkeeper check; look at what differs; then have logrotate stop: remove these entries, or its timer.\n",
        );
    }
    let all_well = told.iter().all(|told| told.state != "refused" && told.state != "exists");
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::from(cli::FAILED) })
}
