//! Collecting: which rotated logs of a source are finished and in no archive yet.

use std::path::PathBuf;

use super::log_times::times_in;
use super::{Context, JobError};
use crate::archive::{Candidate, content_sha256, inspect};
use crate::fs::identity;
use crate::logs::{self, LogFile, Writers, unfinished};
use crate::model::archive::plain_name;
use crate::model::{ArchiveSpec, Identity, Source};

/// What a look at a source has brought.
#[derive(Debug, Default)]
pub struct Collected {
    /// Logs to be archived, each with its host.
    pub logs: Vec<(String, Candidate)>,
    /// Logs that are left for another time, with the reason.
    pub waiting: Vec<String>,
    /// What went wrong.
    pub problems: Vec<String>,
}

/// Collects the rotated logs of a source. Nothing on the disk changes; that a known text has another name now is put on record where
/// `remember` says so.
pub fn collect(
    spec: &ArchiveSpec,
    source: &Source,
    remember: bool,
    context: &Context<'_>,
) -> Result<Collected, JobError> {
    let mut collected = Collected::default();
    let writers = Writers::look();
    let under_way = context.store.unfinished_rotations()?;
    for file in rotated(source, &mut collected.problems) {
        context.check()?;
        let Ok(meta) = std::fs::symlink_metadata(&file.path) else { continue };
        let identity = identity(&meta);
        if identity.size == 0 || context.store.archive_of(&spec.store, &source.name, &identity)?.is_some() {
            continue;
        }
        if under_way.iter().any(|rotation| rotation.target == file.path) {
            collected
                .waiting
                .push(format!("{} waits: its rotation is under way, or was interrupted", file.path.display()));
            continue;
        }
        if let Some(reason) = unfinished(&identity, &writers, spec.quiet, context.clock.now().timestamp()) {
            collected.waiting.push(format!("{} waits: {reason}", file.path.display()));
            continue;
        }
        let host = host_of(source, &file, context);
        match candidate(spec, source, &host, &file, &collected, context)? {
            Ok(Found::New(log)) => {
                if log.packing.is_some() && log.content_sha256.is_none() {
                    let path = log.path.display();
                    collected.waiting.push(format!("{path} can't be decompressed to its end; it is archived as it is"));
                }
                collected.logs.push((host, log));
            }
            Ok(Found::Archived(content, identity)) if remember => {
                context.store.remember_file(&host, &source.name, &content, &identity)?;
            }
            Ok(Found::Archived(..)) => {}
            Ok(Found::Twin(twin)) => {
                let (path, twin) = (file.path.display(), twin.display());
                collected.waiting.push(format!("{path} has the same text as {twin} and is archived with it"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => collected.problems.push(format!("{} was not archived: {error}", file.path.display())),
        }
    }
    Ok(collected)
}

/// What a log turned out to be.
enum Found {
    New(Candidate),
    /// Its text, by its digest, is in an archive.
    Archived(String, Identity),
    /// Its text was collected under this path already.
    Twin(PathBuf),
}

fn candidate(
    spec: &ArchiveSpec,
    source: &Source,
    host: &str,
    file: &LogFile,
    collected: &Collected,
    context: &Context<'_>,
) -> Result<std::io::Result<Found>, JobError> {
    let mut candidate = match inspect(&file.folder, &file.path, &times_in(source)) {
        Ok(candidate) => candidate,
        Err(error) => return Ok(Err(error)),
    };
    if candidate.identity.size == 0 {
        // It was made anew since its folder was read, and nothing is in it yet.
        return Ok(Err(std::io::ErrorKind::NotFound.into()));
    }
    let twins = || collected.logs.iter().filter(|(other, _)| other == host).map(|(_, log)| log);
    let begins_alike = |log: &Candidate| log.head_sha256 == candidate.head_sha256;
    if !context.store.has_head(&candidate.head_sha256)? && !twins().any(begins_alike) {
        return Ok(Ok(Found::New(candidate)));
    }
    let content = match content_sha256(&candidate) {
        Ok(content) => content,
        Err(error) => return Ok(Err(error)),
    };
    candidate.content_sha256 = Some(content.clone());
    let modified = candidate.identity.modified();
    if context.store.has_content(&spec.store, host, &source.name, &content, modified)? {
        return Ok(Ok(Found::Archived(content, candidate.identity)));
    }
    let is_twin = |log: &Candidate| {
        log.head_sha256 == candidate.head_sha256 && content_sha256(log).is_ok_and(|other| other == content)
    };
    let twin = twins().find(|log| is_twin(log)).map(|log| log.path.clone());
    Ok(Ok(twin.map_or_else(|| Found::New(candidate.clone()), Found::Twin)))
}

/// The host whose log a file is, as a name for folders.
fn host_of(source: &Source, file: &LogFile, context: &Context<'_>) -> String {
    let told = source.host_of(&file.path);
    let host = if told.is_empty() { &context.config.host } else { &told };
    plain_name(host)
}

/// The rotated files of a source.
pub(super) fn rotated(source: &Source, problems: &mut Vec<String>) -> Vec<LogFile> {
    let (streams, troubles) = logs::streams(source);
    problems.extend(troubles);
    streams.into_iter().flat_map(|stream| stream.files).filter(|file| file.rotated).collect()
}
