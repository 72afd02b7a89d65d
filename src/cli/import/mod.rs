//! `logkeeper import`

mod crontab;
mod logrotate;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::output;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Write a job file for every line of crontabs, doing the same
    Crontab(crontab::Args),
    /// Write a job file for every entry of logrotate's files, and list what it does otherwise
    Logrotate(logrotate::Args),
}

/// What became of one line.
#[derive(serde::Serialize)]
struct Told {
    file: PathBuf,
    line: usize,
    job: Option<String>,
    state: &'static str,
    detail: String,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    match &args.what {
        What::Crontab(args) => crontab::run(root, args),
        What::Logrotate(args) => logrotate::run(root, args),
    }
}

fn print(told: &[Told]) {
    let rows = told.iter().map(|told| {
        let place = format!("{}:{}", told.file.display(), told.line);
        vec![told.state.to_uppercase(), place, told.job.clone().unwrap_or_else(|| "-".to_owned()), told.detail.clone()]
    });
    output::print_table(&["STATE", "LINE", "JOB", "DETAIL"], rows.collect());
}

/// Lets everybody read a job whose origin everybody may read, so that a daemon without root can; and nobody else otherwise.
fn share_like(job: &Path, origin: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let shared = std::fs::metadata(origin).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0);
    let mode = if shared { 0o644 } else { 0o640 };
    std::fs::set_permissions(job, std::fs::Permissions::from_mode(mode))
}
