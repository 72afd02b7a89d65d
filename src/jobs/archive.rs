//! `[archive]`: collect rotated logs that are in no archive yet, pack them, and only then, if asked, remove them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::collect::{Collected, collect, rotated};
use super::copies::{Copied, Places, copy_archives, uncopied};
use super::keep::{check, judge, prune, removed_words};
use super::log_times::times_in;
use super::{Context, JobError, JobKind, counted, scan_state};
use crate::archive::{
    ArchiveError, Bundle, Candidate, Effort, MANIFEST, Packed, Sealing, Shelf, hold, pack, read_manifest,
    remove_archive,
};
use crate::logs::{LogFile, Writers};
use crate::model::archive::{DateRule, SEALED};
use crate::model::{ArchiveSpec, Identity, Outcome, Source, Work};
use crate::store::{ArchiveFilter, Ended, StoreError};

/// Seconds in a day.
const DAY: i64 = 86_400;

/// What a run has to tell.
#[derive(Default)]
struct Told {
    notes: Vec<String>,
    /// What went wrong with single files.
    problems: Vec<String>,
    /// Archives that could not be made.
    failures: Vec<String>,
}

impl JobKind for ArchiveSpec {
    fn run(&self, context: &Context<'_>) -> Result<Ended, JobError> {
        let mut told = Told::default();
        self.refuse_nested(context)?;
        let _alone = alone_in(&self.store, &|| context.check())?;
        tidy(self, context, &mut told)?;
        let mut found = Vec::new();
        for source in context.config.sources_named(&self.sources) {
            let Collected { logs, waiting, problems } = collect(self, source, true, context)?;
            told.notes.extend(waiting);
            told.problems.extend(problems);
            // Each is read once to be packed and once to be verified.
            context.live.extend(2 * logs.iter().map(|(_, log)| log.identity.size).sum::<u64>());
            found.push((source, logs));
        }
        let (mut archives, mut logs) = (0, 0);
        for (source, found) in found {
            let made = self.pack_source(source, found, context, &mut told)?;
            archives += made.len();
            logs += made.iter().map(|packed| packed.entry.members.len()).sum::<usize>();
            tell_made(source, &made, &mut told.notes);
            if self.remove_originals {
                self.let_originals_go(source, context, &mut told)?;
            }
        }
        if !self.copies.is_empty() {
            let Copied { made, problems } = copy_archives(self, context)?;
            told.problems.extend(problems);
            if made > 0 {
                told.notes.push(format!("copied {}, and read the copies back", counted(made, "archive")));
            }
        }
        if self.keep.is_set() {
            self.let_go(context, &mut told)?;
        }
        let summary = match archives {
            0 => "nothing new to archive".to_owned(),
            n => format!("{} archived in {}, verified", counted(logs, "log"), counted(n, "archive")),
        };
        let outcome = match (told.failures.is_empty(), told.problems.is_empty()) {
            (true, true) => Outcome::Succeeded,
            (true, false) => Outcome::Partial,
            (false, _) => Outcome::Failed,
        };
        let summary =
            if told.failures.is_empty() { summary } else { format!("{summary}; {}", told.failures.join("; ")) };
        told.notes.extend(told.problems);
        Ok(Ended { notes: told.notes, ..Ended::new(outcome, summary) })
    }

    fn preview(&self, context: &Context<'_>) -> Result<Vec<String>, JobError> {
        let mut lines = Vec::new();
        for source in context.config.sources_named(&self.sources) {
            let Collected { logs, waiting, problems } = collect(self, source, false, context)?;
            for (host, log) in logs {
                let date = self.date_of(&log, context);
                let sealed = if self.encrypt.is_empty() { "" } else { SEALED };
                let name = format!("{host}-{}-{date}{}{sealed}", source.name, self.codec.suffix());
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
        for place in &self.copies {
            let count = uncopied(self, context.store, place, None)?.len();
            if count > 0 {
                lines.push(format!("would copy {} to {place}", counted(count, "archive")));
            }
        }
        if self.keep.is_set() {
            match judge(self, context.config, context.store, context.clock.now())? {
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
    fn pack_source(
        &self,
        source: &Source,
        logs: Vec<(String, Candidate)>,
        context: &Context<'_>,
        told: &mut Told,
    ) -> Result<Vec<Packed>, JobError> {
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
                zone: source.zone.name(),
                codec: self.codec,
                sealing: self.sealing(),
                announce: &|path, entry| {
                    let is_needed = self.hide_index && entry.inside.is_some();
                    if is_needed {
                        context.store.announce_archive(path, entry).map_err(io::Error::other)
                    } else {
                        Ok(())
                    }
                },
                // One that can't be asked about is taken.
                is_taken: &|path| self.is_taken(path, context).unwrap_or(true),
            };
            let step = |bytes| context.step(bytes);
            let done = match pack(&bundle, &logs, Effort::up_to(4, true), &times_in(source), &step) {
                Ok(done) => done,
                Err(ArchiveError::Stopped) => return context.check().map(|()| made),
                Err(error) => {
                    told.failures.push(format!("{error}: these logs stay where they are for the next run"));
                    continue;
                }
            };
            let skipped = done.skipped.iter();
            told.problems.extend(skipped.map(|(path, why)| format!("{} was not archived: {why}", path.display())));
            if let Some(packed) = done.packed {
                let now = context.clock.now();
                context.store.record_archive(Some(context.run), &self.store, &packed.path, &packed.entry, now)?;
                made.push(packed);
            }
        }
        Ok(made)
    }

    /// To whom archives are encrypted.
    fn sealing(&self) -> Option<Sealing<'_>> {
        let sealing = Sealing { recipients: &self.encrypt, hide_index: self.hide_index };
        (!self.encrypt.is_empty()).then_some(sealing)
    }

    /// Whether an archive of that path is on record, or one that is elsewhere still.
    fn is_taken(&self, path: &Path, context: &Context<'_>) -> Result<bool, StoreError> {
        let key = path.strip_prefix(&self.store).unwrap_or(path).to_string_lossy();
        Ok(context.store.has_archive(path)? || context.store.has_copy(&key)?)
    }

    /// The date in the name of a log's archive.
    fn date_of(&self, log: &Candidate, context: &Context<'_>) -> String {
        let modified = log.identity.modified();
        let instant = match self.date {
            // What was written after the log's last change is no time, whatever it looks like.
            DateRule::Content => log.times.map_or(modified, |(_, last)| last).min(modified + DAY),
            DateRule::File => modified,
            DateRule::Run => context.at.timestamp(),
        };
        let instant = DateTime::<Utc>::from_timestamp(instant, 0).unwrap_or(context.at);
        instant.with_timezone(&context.zone()).format("%Y-%m-%d").to_string()
    }

    /// Refuses to work in a store that lies in another job's, whose rules would be those of both.
    fn refuse_nested(&self, context: &Context<'_>) -> Result<(), JobError> {
        let others = context.config.jobs.values().filter_map(|job| match &job.work {
            Work::Archive(spec) => Some((&job.id, &spec.store)),
            _ => None,
        });
        let lies_in = |one: &Path, other: &Path| one != other && one.starts_with(other);
        let nested = |store: &Path| lies_in(store, &self.store) || lies_in(&self.store, store);
        others.into_iter().find(|(_, store)| nested(store)).map_or(Ok(()), |(id, store)| {
            let (own, other) = (self.store.display(), store.display());
            Err(JobError::CouldNotStart(format!(
                "the stores of this job and of {id} lie in one another ({own}, {other}); give them the same or separate ones"
            )))
        })
    }

    /// Removes the rotated logs of a source that are in a whole archive, of every archive job that collects them, and that every
    /// scan has read.
    fn let_originals_go(&self, source: &Source, context: &Context<'_>, told: &mut Told) -> Result<(), JobError> {
        let mut removed = 0;
        let mut checked: BTreeMap<PathBuf, bool> = BTreeMap::new();
        for LogFile { folder, path, .. } in rotated(source, &mut Vec::new()) {
            context.check()?;
            let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
            let identity = crate::fs::identity(&meta);
            let Some(archive) = context.store.archive_of(&self.store, &source.name, &identity)? else { continue };
            if let Some(job) = unarchived_by(source, &identity, context)? {
                told.notes.push(format!("{} stays until job {job} has archived it", path.display()));
                continue;
            }
            if let Some(job) = scan_state::unread_by(&path, &identity, context)? {
                told.notes.push(format!("{} stays until job {job} has read it", path.display()));
                continue;
            }
            // One that was let go was whole until the rules said that nobody needs it any more.
            if let Some(archive) = archive
                && !still_holds(&archive, &mut checked, context, told)?
            {
                told.problems.push(format!(
                    "{} stays: its archive {} does not hold",
                    path.display(),
                    archive.display()
                ));
                continue;
            }
            // A line that is written to it between a look and the removal would be lost.
            if Writers::look().have(&identity) {
                told.notes.push(format!("{} stays: a program has it open for writing", path.display()));
                continue;
            }
            match crate::fs::remove_beneath(&folder, &path, &identity) {
                Ok(was_it) => removed += usize::from(was_it),
                Err(error) => told.problems.push(format!("can't remove {}: {error}", path.display())),
            }
        }
        if removed > 0 {
            told.notes.push(format!("removed {}", counted(removed, "archived original")));
        }
        Ok(())
    }

    fn let_go(&self, context: &Context<'_>, told: &mut Told) -> Result<(), JobError> {
        let now = context.clock.now();
        let judged = match judge(self, context.config, context.store, now)? {
            Ok(judged) => judged,
            Err(why) => {
                told.problems.push(why);
                return Ok(());
            }
        };
        let mut places = Places::new(context.config, context.store);
        let pruned = prune(&judged, (&self.store, &mut places), context.store, now, &|_| context.check().is_err())?;
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
        if !matches!(hold(path), Ok(None)) && path.exists() {
            context.store.keep_archive(path)?;
            continue;
        }
        match remove_archive(path) {
            Ok(()) => context.store.record_gone(path)?,
            Err(error) => told.problems.push(format!("can't remove {}: {error}", path.display())),
        }
    }
    let shelf = Shelf::look(&spec.store);
    told.problems.extend(shelf.problems);
    let known = context.store.catalogue(&ArchiveFilter::default())?;
    let known: Vec<&Path> =
        known.iter().map(|archive| archive.path.as_path()).filter(|path| path.starts_with(&spec.store)).collect();
    let there: BTreeSet<&Path> = shelf.archives.iter().map(PathBuf::as_path).collect();
    let lost: Vec<&Path> = known.iter().copied().filter(|path| !there.contains(path)).collect();
    if there.is_empty() && !lost.is_empty() {
        let (store, count) = (spec.store.display(), counted(lost.len(), "archive"));
        return Err(JobError::CouldNotStart(format!(
            "{store} is empty, but {count} should be there: is its disk mounted? If they are gone for good, \
             \"logkeeper archive reindex --forget\" forgets them"
        )));
    }
    if let [first, more @ ..] = lost.as_slice() {
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        let help = "if that is meant, \"logkeeper archive reindex --forget\" forgets what is not there";
        told.problems.push(format!("{}{more} should be there but is not; {help}", first.display()));
    }
    for path in &shelf.leftovers {
        // What is missing may be on its way; then its manifest is needed.
        let archive = path.to_str().and_then(|path| path.strip_suffix(MANIFEST)).map(Path::new);
        if let Some(archive) = archive
            && context.store.has_archive(archive)?
        {
            continue;
        }
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
        match adopt(&spec.store, path, context)? {
            Ok(()) => told.notes.push(format!("{} was verified and put on record again", path.display())),
            Err(reason) => told.problems.push(format!("{} is not on record and can't be: {reason}", path.display())),
        }
    }
    Ok(())
}

fn adopt(store: &Path, path: &Path, context: &Context<'_>) -> Result<Result<(), String>, JobError> {
    let whole = check(path, Effort::up_to(4, true), &|_| context.check().is_err()).and_then(|()| read_manifest(path));
    match whole {
        Ok(manifest) => {
            let announced = context.store.announced_archive(path)?;
            let entry = announced.filter(|entry| entry.has_manifest(&manifest)).unwrap_or(manifest);
            context.store.record_archive(Some(context.run), store, path, &entry, context.clock.now())?;
            Ok(Ok(()))
        }
        Err(ArchiveError::Stopped) => context.check().map(|()| Ok(())),
        Err(error) => Ok(Err(format!("{error}; \"logkeeper archive reindex\" tells more"))),
    }
}

/// The other archive job that collects a file and has not archived it yet, if there is one.
fn unarchived_by(source: &Source, identity: &Identity, context: &Context<'_>) -> Result<Option<String>, JobError> {
    for job in context.config.jobs.values().filter(|job| job.enabled && job.id != context.job.id) {
        if let Work::Archive(spec) = &job.work
            && spec.sources.contains(&source.name)
            && context.store.archive_of(&spec.store, &source.name, identity)?.is_none()
        {
            return Ok(Some(job.id.to_string()));
        }
    }
    Ok(None)
}

/// Whether an archive holds now what it should; looked at once a run.
fn still_holds(
    archive: &Path,
    checked: &mut BTreeMap<PathBuf, bool>,
    context: &Context<'_>,
    told: &mut Told,
) -> Result<bool, JobError> {
    if let Some(known) = checked.get(archive) {
        return Ok(*known);
    }
    let found = match check(archive, Effort::up_to(4, true), &|_| context.check().is_err()) {
        Ok(()) => None,
        Err(ArchiveError::Stopped) => return context.check().map(|()| false),
        Err(error) => Some(error.to_string()),
    };
    context.store.record_verification(archive, found.as_deref(), context.clock.now())?;
    checked.insert(archive.to_owned(), found.is_none());
    told.problems.extend(found.clone());
    Ok(found.is_none())
}

/// Waits until nobody else works in the same store, and holds it until dropped.
///
/// # Errors
/// Fails where the store can't be made or opened, or `check` fails.
pub fn alone_in(store: &Path, check: &dyn Fn() -> Result<(), JobError>) -> Result<std::fs::File, JobError> {
    let failed = |error: io::Error| JobError::Failed(format!("{}: {error}", store.display()));
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
