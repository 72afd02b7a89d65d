//! `[archive]`: collect rotated logs that are in no archive yet, pack them, and only then, if asked, remove them.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::collect::{Collected, collect, rotated};
use super::keep::{check, judge, prune, removed_words};
use super::log_times::times_in;
use super::{Context, JobError, JobKind, counted, scan};
use crate::archive::{ArchiveError, Bundle, Candidate, Effort, Packed, Shelf, pack, read_manifest, remove_archive};
use crate::model::archive::DateRule;
use crate::model::{ArchiveSpec, Outcome, Source};
use crate::store::{ArchiveFilter, Ended};

/// What a run has to tell.
#[derive(Default)]
struct Told {
    notes: Vec<String>,
    problems: Vec<String>,
}

impl JobKind for ArchiveSpec {
    fn run(&self, context: &Context<'_>) -> Result<Ended, JobError> {
        let mut told = Told::default();
        let _alone = alone_in(&self.store, &|| context.check())?;
        tidy(self, context, &mut told)?;
        let (mut archives, mut logs) = (0, 0);
        for source in context.config.sources_named(&self.sources) {
            let made = self.pack_source(source, context, &mut told)?;
            archives += made.len();
            logs += made.iter().map(|packed| packed.entry.members.len()).sum::<usize>();
            tell_made(source, &made, &mut told.notes);
            if self.remove_originals {
                remove_originals(source, context, &mut told)?;
            }
        }
        if self.keep.is_set() {
            self.let_go(context, &mut told)?;
        }
        let summary = match archives {
            0 => "nothing new to archive".to_owned(),
            n => format!("{} archived in {}, verified", counted(logs, "log"), counted(n, "archive")),
        };
        let outcome = if told.problems.is_empty() { Outcome::Succeeded } else { Outcome::Partial };
        told.notes.extend(told.problems);
        Ok(Ended { notes: told.notes, ..Ended::new(outcome, summary) })
    }

    fn preview(&self, context: &Context<'_>) -> Result<Vec<String>, JobError> {
        let mut lines = Vec::new();
        for source in context.config.sources_named(&self.sources) {
            let Collected { logs, waiting, problems } = collect(self, source, context)?;
            for (host, log) in logs {
                let date = self.date_of(&log, context);
                let name = format!("{host}-{}-{date}{}", source.name, self.codec.suffix());
                lines.push(format!("would put {} into {name}", log.path.display()));
            }
            lines.extend(waiting);
            lines.extend(problems);
        }
        if lines.is_empty() {
            lines.push("would do nothing: every rotated log is in an archive".to_owned());
        }
        if self.remove_originals {
            lines.push("would then remove every archived original that all scans have read".to_owned());
        }
        if self.keep.is_set() {
            match judge(self, context.store, context.clock.now())? {
                Ok(judged) => lines.extend(
                    judged
                        .iter()
                        .filter(|one| one.verdict.goes)
                        .map(|one| format!("would remove {}: {}", one.archive.path.display(), one.verdict.reason)),
                ),
                Err(why) => lines.push(why),
            }
        }
        Ok(lines)
    }
}

impl ArchiveSpec {
    /// Packs what is new of a source: one archive for each host and date.
    fn pack_source(&self, source: &Source, context: &Context<'_>, told: &mut Told) -> Result<Vec<Packed>, JobError> {
        let Collected { logs, waiting, problems } = collect(self, source, context)?;
        told.notes.extend(waiting);
        told.problems.extend(problems);
        let mut bundles: BTreeMap<(String, String), Vec<Candidate>> = BTreeMap::new();
        for (host, log) in logs {
            let date = self.date_of(&log, context);
            bundles.entry((host, date)).or_default().push(log);
        }
        let mut made = Vec::new();
        for ((host, date), logs) in bundles {
            let bundle = Bundle {
                folder: Shelf::folder(&self.store, &host, &source.name, &date),
                host: &host,
                source: &source.name,
                date,
                date_rule: self.date,
                zone: self.zone(context).name(),
                codec: self.codec,
            };
            let stop = || context.check().is_err();
            let done = match pack(&bundle, &logs, Effort::up_to(4, true), &times_in(source), &stop) {
                Ok(done) => done,
                Err(ArchiveError::Stopped) => return context.check().map(|()| made),
                Err(error) => {
                    return Err(JobError::Failed(format!("{error}; no log was removed, the next run tries again")));
                }
            };
            let skipped = done.skipped.iter();
            told.problems.extend(skipped.map(|(path, why)| format!("{} was not archived: {why}", path.display())));
            if let Some(packed) = done.packed {
                let now = context.clock.now();
                context.store.record_archive(Some(context.run), &packed.path, &packed.entry, now)?;
                made.push(packed);
            }
        }
        Ok(made)
    }

    /// The job's zone.
    fn zone(&self, context: &Context<'_>) -> Tz {
        context.job.schedule.as_ref().map_or(context.config.zone, |schedule| schedule.zone)
    }

    /// The date in the name of a log's archive.
    fn date_of(&self, log: &Candidate, context: &Context<'_>) -> String {
        let modified = log.identity.modified();
        let instant = match self.date {
            DateRule::Content => log.times.map_or(modified, |(_, last)| last),
            DateRule::File => modified,
            DateRule::Run => context.at.timestamp(),
        };
        let instant = DateTime::<Utc>::from_timestamp(instant, 0).unwrap_or(context.at);
        instant.with_timezone(&self.zone(context)).format("%Y-%m-%d").to_string()
    }

    fn let_go(&self, context: &Context<'_>, told: &mut Told) -> Result<(), JobError> {
        let now = context.clock.now();
        let judged = match judge(self, context.store, now)? {
            Ok(judged) => judged,
            Err(why) => {
                told.problems.push(why);
                return Ok(());
            }
        };
        let pruned = prune(&judged, context.store, now, &|| context.check().is_err())?;
        told.notes.extend(removed_words(&pruned.removed));
        told.problems.extend(pruned.problems);
        context.check()
    }
}

/// Of a backlog with many archives only the first and the last are named.
fn tell_made(source: &Source, made: &[Packed], notes: &mut Vec<String>) {
    let logs = |packed: &Packed| counted(packed.entry.members.len(), "log");
    match made {
        [first, _, _, .., last] => {
            let (first, last, name, count) = (first.path.display(), &last.entry.name, &source.name, made.len());
            notes.push(format!("{name}: {count} archives, from {first} to {last}"));
        }
        few => notes.extend(few.iter().map(|packed| format!("{} holds {}", packed.path.display(), logs(packed)))),
    }
}

/// Ends what a killed run left half-done: removes unfinished files, goes on removing what was let go, and puts archives on record
/// that were published but not recorded.
fn tidy(spec: &ArchiveSpec, context: &Context<'_>, told: &mut Told) -> Result<(), JobError> {
    for path in context.store.half_removed()?.iter().filter(|path| path.starts_with(&spec.store)) {
        match remove_archive(path) {
            Ok(()) => context.store.record_gone(path)?,
            Err(error) => told.problems.push(format!("can't remove {}: {error}", path.display())),
        }
    }
    let shelf = Shelf::look(&spec.store);
    told.problems.extend(shelf.problems);
    let known = context.store.catalogue(&ArchiveFilter::default())?;
    let known = known.iter().filter(|archive| archive.path.starts_with(&spec.store));
    for lost in known.filter(|archive| shelf.archives.binary_search(&archive.path).is_err()) {
        let help = "if that is meant, \"logkeeper archive reindex\" forgets it";
        told.problems.push(format!("{} is on record but not there; {help}", lost.path.display()));
    }
    for path in &shelf.leftovers {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match crate::fs::remove(path) {
            Ok(()) => told.notes.push(format!("removed {name}, which an interrupted run had left")),
            Err(error) => told.problems.push(format!("can't remove {}: {error}", path.display())),
        }
    }
    for path in &shelf.archives {
        if context.store.has_archive(path)? {
            continue;
        }
        match adopt(path, context)? {
            Ok(()) => told.notes.push(format!("{} was verified and put on record again", path.display())),
            Err(reason) => told.problems.push(format!("{} is not on record and can't be: {reason}", path.display())),
        }
    }
    Ok(())
}

fn adopt(path: &Path, context: &Context<'_>) -> Result<Result<(), String>, JobError> {
    let whole = check(path, Effort::up_to(4, true), &|| context.check().is_err()).and_then(|()| read_manifest(path));
    match whole {
        Ok(entry) => Ok(Ok(context.store.record_archive(Some(context.run), path, &entry, context.clock.now())?)),
        Err(ArchiveError::Stopped) => context.check().map(|()| Ok(())),
        Err(error) => Ok(Err(format!("{error}; \"logkeeper archive reindex\" tells more"))),
    }
}

/// Removes the rotated logs of a source that are in a verified archive which is still there, and that every scan of
/// the source has read.
fn remove_originals(source: &Source, context: &Context<'_>, told: &mut Told) -> Result<(), JobError> {
    let mut removed = 0;
    for path in rotated(source, &mut Vec::new()).into_iter().map(|file| file.path) {
        context.check()?;
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        let identity = crate::fs::identity(&meta);
        let Some((archive, entry, let_go)) = context.store.archive_of(&source.name, &identity)? else { continue };
        // It was there and whole until the rules said that nobody needs it any more.
        let is_there = let_go || std::fs::metadata(&archive).is_ok_and(|meta| meta.len() == entry.size);
        if !is_there {
            told.problems.push(format!("{} stays: its archive {} is not there", path.display(), archive.display()));
            continue;
        }
        if let Some(job) = scan::unread_by(source, &identity, context)? {
            told.notes.push(format!("{} stays until job {job} has read it", path.display()));
            continue;
        }
        let same = std::fs::symlink_metadata(&path).is_ok_and(|meta| crate::fs::identity(&meta) == identity);
        if !same {
            continue;
        }
        match crate::fs::remove(&path) {
            Ok(()) => removed += 1,
            Err(error) => told.problems.push(format!("can't remove {}: {error}", path.display())),
        }
    }
    if removed > 0 {
        told.notes.push(format!("removed {}", counted(removed, "archived original")));
    }
    Ok(())
}

/// Waits until nobody else works in the same store, and holds it until dropped.
///
/// # Errors
/// Fails where the store can't be made or opened, or `check` fails.
pub fn alone_in(store: &Path, check: &dyn Fn() -> Result<(), JobError>) -> Result<std::fs::File, JobError> {
    let failed = |error: std::io::Error| JobError::Failed(format!("{}: {error}", store.display()));
    crate::fs::create_folder(store).map_err(failed)?;
    let folder = std::fs::File::open(store).map_err(failed)?;
    loop {
        match rustix::fs::flock(&folder, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(folder),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                check()?;
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            Err(error) => return Err(failed(error.into())),
        }
    }
}
