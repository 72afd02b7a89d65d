//! `[archive]`: collect rotated logs that are in no archive yet, pack them, and only then, if asked, remove them.

use std::path::{Path, PathBuf};

use super::{Context, JobError, JobKind, counted, scan};
use crate::archive::{ArchiveError, Bundle, Candidate, Packed, digests, manifest_path, pack, verify};
use crate::logs;
use crate::model::{ArchiveEntry, ArchiveSpec, Outcome, Source};
use crate::store::Ended;

impl JobKind for ArchiveSpec {
    fn run(&self, context: &Context<'_>) -> Result<Ended, JobError> {
        let mut notes = Vec::new();
        let mut problems = Vec::new();
        let _alone = alone_in(&self.store, context)?;
        tidy(self, context, &mut notes, &mut problems)?;
        let (mut archives, mut packed_files) = (0, 0);
        for source in context.config.sources_named(&self.sources) {
            let candidates = candidates(source, context, &mut problems)?;
            if let Some(packed) = self.pack_source(source, candidates, context, &mut problems)? {
                context.store.record_archive(context.run, &packed.path, &packed.entry, context.clock.now())?;
                archives += 1;
                packed_files += packed.entry.members.len();
                notes.push(format!("{} holds {}", packed.path.display(), counted(packed.entry.members.len(), "log")));
            }
            if self.remove_originals {
                remove_originals(source, context, &mut notes, &mut problems)?;
            }
        }
        let summary = match archives {
            0 => "nothing new to archive".to_owned(),
            n => format!("{} archived in {}, verified", counted(packed_files, "log"), counted(n, "archive")),
        };
        let outcome = if problems.is_empty() { Outcome::Succeeded } else { Outcome::Partial };
        notes.extend(problems);
        Ok(Ended { notes, ..Ended::new(outcome, summary) })
    }

    fn preview(&self, context: &Context<'_>) -> Result<Vec<String>, JobError> {
        let mut lines = Vec::new();
        for source in context.config.sources_named(&self.sources) {
            let mut problems = Vec::new();
            let candidates = candidates(source, context, &mut problems)?;
            let date = date_of(context);
            let host = &context.config.host;
            lines.extend(
                candidates
                    .iter()
                    .map(|c| format!("would put {} into {host}-{}-{date}.tar.gz", c.path.display(), source.name)),
            );
            lines.extend(problems);
        }
        if lines.is_empty() {
            lines.push("would do nothing: every rotated log is in an archive".to_owned());
        }
        if self.remove_originals {
            lines.push("would then remove every archived original that all scans have read".to_owned());
        }
        Ok(lines)
    }
}

impl ArchiveSpec {
    fn pack_source(
        &self,
        source: &Source,
        candidates: Vec<Candidate>,
        context: &Context<'_>,
        problems: &mut Vec<String>,
    ) -> Result<Option<Packed>, JobError> {
        let date = date_of(context);
        let bundle = Bundle { store: &self.store, host: &context.config.host, source: &source.name, date: &date };
        match pack(bundle, candidates, &|| context.check().is_err()) {
            Ok(packed) => {
                let skipped = packed.iter().flat_map(|packed| &packed.skipped);
                problems.extend(skipped.map(|(path, reason)| format!("{} was not archived: {reason}", path.display())));
                Ok(packed)
            }
            Err(ArchiveError::Stopped) => context.check().map(|()| None),
            Err(error) => Err(JobError::Failed(format!("{error}; no log was removed, the next run tries again"))),
        }
    }
}

/// The date in the archive's name: that of the run's slot in the configured zone.
fn date_of(context: &Context<'_>) -> String {
    context.at.with_timezone(&context.config.zone).format("%Y-%m-%d").to_string()
}

/// The rotated logs of a source that are in no archive yet.
fn candidates(source: &Source, context: &Context<'_>, problems: &mut Vec<String>) -> Result<Vec<Candidate>, JobError> {
    let mut candidates: Vec<Candidate> = Vec::new();
    for path in rotated(source, problems) {
        context.check()?;
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        let identity = crate::fs::identity(&meta);
        if identity.size == 0 || context.store.archive_of(&source.name, &identity)?.is_some() {
            continue;
        }
        let digests = match digests(&path) {
            Ok(digests) => digests,
            Err(error) => {
                problems.push(format!("{} was not archived: {error}", path.display()));
                continue;
            }
        };
        let twin = candidates.iter().any(|other| other.content_sha256 == digests.content_sha256);
        if context.store.has_content(&source.name, &digests.content_sha256)? {
            context.store.remember_file(&source.name, &digests.content_sha256, &digests.identity)?;
        } else if !twin {
            candidates.push(Candidate { path, identity: digests.identity, content_sha256: digests.content_sha256 });
        }
    }
    Ok(candidates)
}

/// Removes what a killed run left half-done, and puts archives on record that it published but did not record.
fn tidy(
    spec: &ArchiveSpec,
    context: &Context<'_>,
    notes: &mut Vec<String>,
    problems: &mut Vec<String>,
) -> Result<(), JobError> {
    let Ok(entries) = std::fs::read_dir(&spec.store) else { return Ok(()) };
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') && name.ends_with(".partial") {
            match std::fs::remove_file(&path) {
                Ok(()) => notes.push(format!("removed {name}, which an interrupted run had left")),
                Err(error) => problems.push(format!("can't remove {}: {error}", path.display())),
            }
        } else if name.ends_with(".tar.gz") && !context.store.has_archive(&path)? {
            match adopt(&path, context) {
                Ok(entry) => {
                    context.store.record_archive(context.run, &path, &entry, context.clock.now())?;
                    notes.push(format!("{name} was verified and put on record again"));
                }
                Err(reason) => problems.push(format!("{name} is not on record and can't be: {reason}")),
            }
        }
    }
    Ok(())
}

fn adopt(path: &Path, context: &Context<'_>) -> Result<ArchiveEntry, String> {
    let manifest = std::fs::read(manifest_path(path)).map_err(|error| format!("its manifest: {error}"))?;
    let entry: ArchiveEntry = serde_json::from_slice(&manifest).map_err(|error| format!("its manifest: {error}"))?;
    verify(path, &entry, &|| context.check().is_err()).map_err(|error| error.to_string())?;
    Ok(entry)
}

/// Removes the rotated logs of a source that are in a verified archive which is still there, and that every scan of
/// the source has read.
fn remove_originals(
    source: &Source,
    context: &Context<'_>,
    notes: &mut Vec<String>,
    problems: &mut Vec<String>,
) -> Result<(), JobError> {
    let mut removed = 0;
    for path in rotated(source, &mut Vec::new()) {
        context.check()?;
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        let identity = crate::fs::identity(&meta);
        let Some((archive, entry)) = context.store.archive_of(&source.name, &identity)? else { continue };
        if !std::fs::metadata(&archive).is_ok_and(|meta| meta.len() == entry.size) {
            problems.push(format!("{} stays: its archive {} is not there any more", path.display(), archive.display()));
            continue;
        }
        if let Some(job) = scan::unread_by(source, &identity, context)? {
            notes.push(format!("{} stays until job {job} has read it", path.display()));
            continue;
        }
        let same = std::fs::symlink_metadata(&path).is_ok_and(|meta| crate::fs::identity(&meta) == identity);
        if !same {
            continue;
        }
        match std::fs::remove_file(&path).and_then(|()| crate::fs::sync_parent(&path)) {
            Ok(()) => removed += 1,
            Err(error) => problems.push(format!("can't remove {}: {error}", path.display())),
        }
    }
    if removed > 0 {
        notes.push(format!("removed {}", counted(removed, "archived original")));
    }
    Ok(())
}

/// The rotated files of a source.
fn rotated(source: &Source, problems: &mut Vec<String>) -> Vec<PathBuf> {
    let (streams, troubles) = logs::streams(source);
    problems.extend(troubles);
    let files = streams.into_iter().flat_map(|stream| stream.files);
    files.filter(|file| file.rotated).map(|file| file.path).collect()
}

/// Waits until no other archive job works in the same store, and holds it until dropped.
fn alone_in(store: &Path, context: &Context<'_>) -> Result<std::fs::File, JobError> {
    let failed = |error: std::io::Error| JobError::Failed(format!("{}: {error}", store.display()));
    crate::fs::create_folder(store).map_err(failed)?;
    let folder = std::fs::File::open(store).map_err(failed)?;
    loop {
        match rustix::fs::flock(&folder, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(folder),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                context.check()?;
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            Err(error) => return Err(failed(error.into())),
        }
    }
}
