//! Collecting: which rotated logs of a source are finished and in no archive yet.

use super::log_times::times_in;
use super::{Context, JobError};
use crate::archive::{Candidate, content_sha256, inspect};
use crate::fs::identity;
use crate::logs::{self, LogFile, Writers, unfinished};
use crate::model::{ArchiveSpec, Source};

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

/// Collects the rotated logs of a source. Nothing on the disk changes.
pub fn collect(spec: &ArchiveSpec, source: &Source, context: &Context<'_>) -> Result<Collected, JobError> {
    let mut collected = Collected::default();
    let writers = Writers::look();
    for file in rotated(source, &mut collected.problems) {
        context.check()?;
        let Ok(meta) = std::fs::symlink_metadata(&file.path) else { continue };
        let identity = identity(&meta);
        if identity.size == 0 || context.store.archive_of(&source.name, &identity)?.is_some() {
            continue;
        }
        if let Some(reason) = unfinished(&identity, &writers, spec.quiet, context.clock.now().timestamp()) {
            collected.waiting.push(format!("{} waits: {reason}", file.path.display()));
            continue;
        }
        let host = host_of(source, &file, context);
        match candidate(source, &host, &file, &collected, context)? {
            Ok(candidate) => collected.logs.extend(candidate.map(|candidate| (host, candidate))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => collected.problems.push(format!("{} was not archived: {error}", file.path.display())),
        }
    }
    Ok(collected)
}

/// The log, unless its text is in an archive or collected already.
fn candidate(
    source: &Source,
    host: &str,
    file: &LogFile,
    collected: &Collected,
    context: &Context<'_>,
) -> Result<std::io::Result<Option<Candidate>>, JobError> {
    let mut candidate = match inspect(&file.folder, &file.path, &times_in(source)) {
        Ok(candidate) => candidate,
        Err(error) => return Ok(Err(error)),
    };
    let twins = || collected.logs.iter().filter(|(other, _)| other == host).map(|(_, log)| log);
    let begins_alike = |log: &Candidate| log.head_sha256 == candidate.head_sha256;
    if !context.store.has_head(&candidate.head_sha256)? && !twins().any(begins_alike) {
        return Ok(Ok(Some(candidate)));
    }
    let content = match content_sha256(&candidate) {
        Ok(content) => content,
        Err(error) => return Ok(Err(error)),
    };
    candidate.content_sha256 = Some(content.clone());
    if context.store.has_content(host, &source.name, &content)? {
        context.store.remember_file(host, &source.name, &content, &candidate.identity)?;
        return Ok(Ok(None));
    }
    let is_twin = |log: &Candidate| {
        log.head_sha256 == candidate.head_sha256 && content_sha256(log).is_ok_and(|other| other == content)
    };
    Ok(Ok((!twins().any(is_twin)).then_some(candidate)))
}

/// The host whose log a file is, as a name for folders.
fn host_of(source: &Source, file: &LogFile, context: &Context<'_>) -> String {
    let told = source.host_of(&file.path);
    let host = if told.is_empty() { &context.config.host } else { &told };
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let host: String = host.chars().map(plain).collect();
    if host.starts_with('.') { host.replacen('.', "-", 1) } else { host }
}

/// The rotated files of a source.
pub(super) fn rotated(source: &Source, problems: &mut Vec<String>) -> Vec<LogFile> {
    let (streams, troubles) = logs::streams(source);
    problems.extend(troubles);
    streams.into_iter().flat_map(|stream| stream.files).filter(|file| file.rotated).collect()
}
