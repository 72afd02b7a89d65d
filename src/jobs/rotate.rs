//! `[rotate]`: give logs that grew another name, have their programs begin new ones, compress what is finished, and let go what is old.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::{Context, JobError, JobKind, Stop, alone_in, counted, scan_state};
use crate::fs::identity;
use crate::logs::rotate::{
    Like, compress, copy_truncate, create, is_copy, is_there, make_room, rename, take_back, tidy,
};
use crate::logs::{self, LogFile, Patterns, Stream, Writers, unfinished};
use crate::model::{Create, Method, Names, Outcome, OutputLine, RotateSpec, Source, Work};
use crate::store::{Ended, Rotation};

/// What must have passed since the last write to a rotated log before it is compressed: a program may need a moment to open the
/// new one.
const QUIET: std::time::Duration = std::time::Duration::from_secs(60);

/// A log, and whether its turn has come; if not, why.
type Judged = (Stream, Result<(), String>);

/// What a run has done and has to tell.
#[derive(Default)]
pub(super) struct Told {
    rotated: usize,
    compressed: usize,
    removed: usize,
    pub(super) notes: Vec<String>,
    /// What went wrong with single logs.
    problems: Vec<String>,
    /// Why the whole is not done.
    pub(super) failures: Vec<String>,
    pub(super) output: Vec<OutputLine>,
}

impl JobKind for RotateSpec {
    fn run(&self, context: &Context<'_>) -> Result<Ended, JobError> {
        // One after the other: two rotations of one log would take each other's files away.
        let _alone = alone_in(&context.config.state, &|| context.check())?;
        let mut told = Told::default();
        match self.work(context, &mut told) {
            Err(JobError::Stopped(stop)) => Ok(told.stopped(stop, context)),
            done => done.map(|()| told.ended()),
        }
    }

    fn preview(&self, context: &Context<'_>) -> Result<Vec<String>, JobError> {
        let source = self.source(context);
        let (streams, mut lines) = logs::streams(&source);
        lines.extend(self.missing(&streams));
        let rotations = context.store.rotations(&context.job.id)?;
        for stream in &streams {
            for (file, why) in self.old(stream, &rotations, context) {
                let stays = self.needed(&file.path, context)?.map_or_else(String::new, |why| format!(", but {why}"));
                lines.push(format!("would remove {}: {why}{stays}", file.path.display()));
            }
        }
        for (stream, due) in self.due(streams, context)? {
            let path = stream.path.display();
            lines.push(match due {
                Ok(()) => match self.target(&stream, context) {
                    Some(target) => format!("would rotate {path} to {}", target.display()),
                    None => format!("would not rotate {path}: {TWICE}"),
                },
                Err(why) => format!("would leave {path} alone: {why}"),
            });
        }
        if lines.is_empty() {
            lines.push("would do nothing: there are no such logs".to_owned());
        }
        Ok(lines)
    }
}

/// Why there is no name for a rotated log.
const TWICE: &str = "rotated logs with the name of this day and this second are there already";

impl Told {
    fn ended(mut self) -> Ended {
        let outcome = match (self.failures.is_empty(), self.problems.is_empty()) {
            (true, true) => Outcome::Succeeded,
            (true, false) => Outcome::Partial,
            (false, _) => Outcome::Failed,
        };
        let summary = match (self.done(), self.failures.is_empty()) {
            (done, true) => done.unwrap_or_else(|| "nothing to rotate".to_owned()),
            (done, false) => {
                format!("{}; {}", done.as_deref().unwrap_or("nothing was rotated"), self.failures.join("; "))
            }
        };
        self.notes.extend(self.problems);
        Ended { notes: self.notes, output: self.output, ..Ended::new(outcome, summary) }
    }

    /// What was done until then is told, too.
    fn stopped(mut self, stop: Stop, context: &Context<'_>) -> Ended {
        let done = self.done().map_or_else(String::new, |done| format!("; {done}"));
        let summary = format!("{}{done}", stop.words(context.job));
        self.notes.extend(self.problems);
        Ended { notes: self.notes, output: self.output, ..Ended::new(stop.outcome(), summary) }
    }

    fn done(&self) -> Option<String> {
        let done = [(self.rotated, "rotated"), (self.compressed, "compressed"), (self.removed, "removed")];
        let mut done = done.into_iter().filter(|(n, _)| *n > 0);
        let (n, what) = done.next()?;
        let first = format!("{} {what}", counted(n, "log"));
        Some(done.fold(first, |told, (n, what)| format!("{told}, {n} {what}")))
    }
}

impl RotateSpec {
    fn work(&self, context: &Context<'_>, told: &mut Told) -> Result<(), JobError> {
        let source = self.source(context);
        let untold = self.mend(&source, context, told)?;
        let (streams, troubles) = logs::streams(&source);
        told.problems.extend(troubles);
        told.problems.extend(self.missing(&streams));
        let due = self.due(streams, context)?.into_iter().filter_map(|(stream, due)| due.is_ok().then_some(stream));
        self.rotate(due.collect(), untold, context, told)?;
        if told.failures.is_empty() {
            self.compress_finished(&source, context, told)?;
            self.let_go(&source, context, told)?;
        }
        Ok(())
    }

    /// The logs as a source, which knows their rotated siblings.
    fn source(&self, context: &Context<'_>) -> Source {
        let mut files = self.files.clone();
        if self.records {
            let jobs = context.config.jobs.values();
            let records =
                jobs.filter_map(|job| if let Work::Scan(scan) = &job.work { scan.record.as_ref() } else { None });
            files.extend(records.map(|path| globset::escape(&path.to_string_lossy())));
        }
        Source { name: context.job.id.to_string(), files, ..Source::default() }
    }

    fn target(&self, stream: &Stream, context: &Context<'_>) -> Option<PathBuf> {
        logs::rotate::target(stream, self.names, context.at.with_timezone(&context.zone()).naive_local())
    }

    /// Logs that are named without wildcards and are not there.
    fn missing(&self, streams: &[Stream]) -> Vec<String> {
        let is_there =
            |name: &&String| streams.iter().any(|stream| stream.path == Path::new(name) && live(stream).is_some());
        let named = self.files.iter().filter(|name| !self.missing_ok && !name.contains(['*', '?', '[', '{']));
        let help = "if that is meant, set missing_ok = true";
        named.filter(|name| !is_there(name)).map(|name| format!("{name} is not there; {help}")).collect()
    }

    /// The logs that are there, each with whether its turn has come.
    fn due(&self, streams: Vec<Stream>, context: &Context<'_>) -> Result<Vec<Judged>, JobError> {
        let rotations = context.store.rotations(&context.job.id)?;
        let zone = context.zone();
        let judged = streams.into_iter().filter_map(|stream| {
            let meta = std::fs::symlink_metadata(&live(&stream)?.path).ok()?;
            let known = rotations.iter().find(|rotation| rotation.log == stream.path).map(|rotation| rotation.at);
            if known == Some(context.at) {
                // A retry has the instant of the run that failed.
                return Some((stream, Err("it was rotated for this instant already".to_owned())));
            }
            let last = known.or_else(|| last_change(stream.files.iter().rfind(|file| file.rotated)?));
            let due = self.is_due(meta.len(), last, context.at, zone);
            Some((stream, due))
        });
        Ok(judged.collect())
    }

    /// Ends what an interrupted run began. Gives the rotations of which programs don't know yet.
    fn mend(&self, source: &Source, context: &Context<'_>, told: &mut Told) -> Result<Vec<Rotation>, JobError> {
        let (streams, _) = logs::streams(source);
        for stream in &streams {
            let tidied = tidy(stream);
            told.problems.extend(tidied.err().map(|error| format!("{}: {error}", stream.path.display())));
        }
        let mut untold = Vec::new();
        for rotation in context.store.rotations(&context.job.id)?.into_iter().filter(|rotation| !rotation.told) {
            let stream = streams.iter().find(|stream| stream.path == rotation.log);
            let mended = match stream {
                Some(stream) => self.mend_one(stream, &rotation),
                // Where the folder can be looked into, both are gone.
                None => std::fs::read_dir(rotation.log.parent().unwrap_or(Path::new("/"))).map(|_| false),
            };
            match mended {
                Ok(true) => {
                    let rotation = Rotation { done: true, ..rotation };
                    context.store.record_rotation(&context.job.id, &rotation)?;
                    untold.push(rotation);
                }
                Ok(false) => context.store.forget_rotation(&rotation.log)?,
                Err(error) => told.problems.push(format!("{}: {error}", rotation.log.display())),
            }
        }
        Ok(untold)
    }

    /// Whether the log was rotated.
    fn mend_one(&self, stream: &Stream, rotation: &Rotation) -> io::Result<bool> {
        let Some(LogFile { folder, .. }) = stream.files.first() else { return Ok(false) };
        let log = LogFile { folder: folder.clone(), path: stream.path.clone(), rotated: false };
        let meta = match std::fs::symlink_metadata(&rotation.target) {
            Ok(meta) => meta,
            // Compressed by now, or never made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(is_there(stream, &rotation.target)),
            Err(error) => return Err(error),
        };
        if let Ok(live) = std::fs::symlink_metadata(&log.path) {
            if (live.dev(), live.ino()) != (meta.dev(), meta.ino()) {
                let only_copied = !rotation.done && self.method == Method::CopyTruncate;
                return Ok(!(only_copied && take_back(&log, &rotation.target)?));
            }
            // A file system on which renaming takes two steps.
            crate::fs::remove_beneath(&log.folder, &log.path, &identity(&live))?;
        }
        if let Some(like) = self.created(&meta)? {
            create(&log, like)?;
        }
        Ok(true)
    }

    /// What the new log is like; `None` where there is none.
    fn created(&self, old: &std::fs::Metadata) -> io::Result<Option<Like>> {
        let unknown = |what: &str, name: &str| io::Error::other(format!("there is no {what} {name:?} on this machine"));
        let Create::As { mode, owner, group } = &self.create else {
            let same = (old.mode() & 0o777, (old.uid(), old.gid()));
            return Ok((self.create == Create::Same).then_some(same));
        };
        let uid = owner.as_ref().map(|name| match (name.parse(), nix::unistd::User::from_name(name)) {
            (Ok(number), _) => Ok(number),
            (_, Ok(Some(user))) => Ok(user.uid.as_raw()),
            _ => Err(unknown("account", name)),
        });
        let gid = group.as_ref().map(|name| match (name.parse(), nix::unistd::Group::from_name(name)) {
            (Ok(number), _) => Ok(number),
            (_, Ok(Some(group))) => Ok(group.gid.as_raw()),
            _ => Err(unknown("group", name)),
        });
        let owner = (uid.transpose()?.unwrap_or(old.uid()), gid.transpose()?.unwrap_or(old.gid()));
        Ok(Some((mode.unwrap_or(old.mode() & 0o777), owner)))
    }

    /// Rotates what is due, and has programs told, of earlier rotations as well.
    fn rotate(
        &self,
        due: Vec<Stream>,
        mut untold: Vec<Rotation>,
        context: &Context<'_>,
        told: &mut Told,
    ) -> Result<(), JobError> {
        if self.each {
            for rotation in untold {
                self.tell(&[rotation], context, told)?;
            }
            for stream in due {
                context.check()?;
                if self.prepare(Some(&stream.path), context, told)?
                    && let Some(rotation) = self.rotate_one(&stream, context, told)?
                {
                    self.tell(&[rotation], context, told)?;
                }
            }
            return Ok(());
        }
        if !due.is_empty() && self.prepare(None, context, told)? {
            for stream in due {
                context.check()?;
                let rotation = self.rotate_one(&stream, context, told)?;
                untold.retain(|earlier| earlier.log != stream.path);
                untold.extend(rotation);
            }
        }
        self.tell(&untold, context, told)
    }

    fn rotate_one(
        &self,
        stream: &Stream,
        context: &Context<'_>,
        told: &mut Told,
    ) -> Result<Option<Rotation>, JobError> {
        let path = stream.path.display();
        let Some(log) = live(stream) else { return Ok(None) };
        let Some(target) = self.target(stream, context) else {
            told.problems.push(format!("{path} was not rotated: {TWICE}"));
            return Ok(None);
        };
        let like = std::fs::symlink_metadata(&log.path).and_then(|meta| self.created(&meta));
        let room = if self.names == Names::Numbered { make_room(stream) } else { Ok(()) };
        let like = match room.and(like) {
            Ok(like) => like,
            Err(error) => {
                told.problems.push(format!("{path} was not rotated: {error}"));
                return Ok(None);
            }
        };
        let before = context.store.rotations(&context.job.id)?.into_iter().find(|known| known.log == stream.path);
        let rotation = Rotation { log: stream.path.clone(), target, at: context.at, done: false, told: false };
        context.store.record_rotation(&context.job.id, &rotation)?;
        match self.turn(log, &rotation.target, like, context, told) {
            Ok(done) => {
                told.rotated += 1;
                // What is not done yet is tried again by the next run.
                let rotation = Rotation { done, ..rotation };
                context.store.record_rotation(&context.job.id, &rotation)?;
                Ok(Some(rotation))
            }
            Err(error) => {
                let in_the_way = error.kind() == io::ErrorKind::AlreadyExists;
                let target = rotation.target.display();
                let why = if in_the_way { format!("{target} is in the way; move it away") } else { error.to_string() };
                told.problems.push(format!("{path} was not rotated: {why}"));
                match before {
                    // A copy that could not be taken back is known by the next run.
                    _ if self.method == Method::CopyTruncate && is_copy(log, &rotation.target) => {}
                    Some(before) => context.store.record_rotation(&context.job.id, &before)?,
                    None => context.store.forget_rotation(&log.path)?,
                }
                context.check().map(|()| None)
            }
        }
    }

    /// Gives whether all was done.
    fn turn(
        &self,
        log: &LogFile,
        target: &Path,
        like: Option<Like>,
        context: &Context<'_>,
        told: &mut Told,
    ) -> io::Result<bool> {
        let path = log.path.display();
        if self.method == Method::Rename {
            let trouble = rename(log, target, like)?;
            let done = trouble.is_none();
            told.problems.extend(trouble.map(|error| format!("{path} was renamed, but then: {error}")));
            return Ok(done);
        }
        let gap = copy_truncate(log, target, &|| context.check().is_err())?.as_micros().max(1);
        let at = context.clock.now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        told.notes.push(format!("{path} was copied and emptied at {at}: a line written within these {gap} µs is lost"));
        Ok(true)
    }

    fn compress_finished(&self, source: &Source, context: &Context<'_>, told: &mut Told) -> Result<(), JobError> {
        let Some(codec) = self.compress else { return Ok(()) };
        let writers = Writers::look();
        let rotations = context.store.rotations(&context.job.id)?;
        let streams = logs::streams(source).0.into_iter().filter(|stream| is_rotated(stream, &rotations));
        for file in streams.flat_map(|stream| stream.files).filter(|file| file.rotated) {
            context.check()?;
            let Ok(meta) = std::fs::symlink_metadata(&file.path) else { continue };
            let packed = crate::packed::SUFFIXES.iter().any(|suffix| file.path.to_string_lossy().ends_with(suffix));
            let now = context.clock.now().timestamp();
            if packed || unfinished(&identity(&meta), &writers, QUIET, now).is_some() {
                continue;
            }
            match compress(&file, codec, &|| context.check().is_err()) {
                Ok(size) => told.compressed += usize::from(size.is_some()),
                Err(error) => told.problems.push(format!("{} was not compressed: {error}", file.path.display())),
            }
        }
        context.check()
    }

    fn let_go(&self, source: &Source, context: &Context<'_>, told: &mut Told) -> Result<(), JobError> {
        let rotations = context.store.rotations(&context.job.id)?;
        for stream in logs::streams(source).0 {
            for (LogFile { folder, path, .. }, _) in self.old(&stream, &rotations, context) {
                context.check()?;
                let Ok(meta) = std::fs::symlink_metadata(path) else { continue };
                if let Some(why) = self.needed(path, context)? {
                    told.notes.push(format!("{} {why}", path.display()));
                    continue;
                }
                match crate::fs::remove_beneath(folder, path, &identity(&meta)) {
                    Ok(was_it) => told.removed += usize::from(was_it),
                    Err(error) => told.problems.push(format!("can't remove {}: {error}", path.display())),
                }
            }
        }
        Ok(())
    }

    /// The rotated logs that are to go, and why, by when they were last written to: names may follow one rule and then another. Never
    /// the one that was rotated last, nor for its age alone the newest, so that a wrong clock doesn't cost all.
    fn old<'s>(&self, stream: &'s Stream, rotations: &[Rotation], context: &Context<'_>) -> Vec<(&'s LogFile, String)> {
        if !is_rotated(stream, rotations) {
            return Vec::new();
        }
        let rotated = stream.files.iter().filter(|file| file.rotated);
        let mut rotated: Vec<(DateTime<Utc>, &LogFile)> =
            rotated.filter_map(|file| Some((last_change(file)?, file))).collect();
        rotated.sort_by_key(|(changed, _)| *changed);
        let last = rotations.iter().find(|rotation| rotation.log == stream.path);
        let is_last = |file: &LogFile| last.is_some_and(|last| logs::rotate::same_log(&file.path, &last.target));
        let newest_first = rotated.into_iter().rev().enumerate().filter(|(_, (_, file))| !is_last(file));
        let old = newest_first.filter_map(|(place, (changed, file))| {
            if let Some(keep) = self.keep.filter(|keep| place >= *keep as usize) {
                return Some((file, format!("{keep} newer ones are there")));
            }
            let age = context.at.signed_duration_since(changed).to_std().ok()?;
            let most = self.max_age.filter(|most| place > 0 && age > *most)?;
            Some((file, format!("it is older than {}", humantime::format_duration(most))))
        });
        old.collect()
    }

    /// Why a rotated log has to stay: somebody writes to it, or another job is not done with it.
    fn needed(&self, path: &Path, context: &Context<'_>) -> Result<Option<String>, JobError> {
        let Ok(meta) = std::fs::symlink_metadata(path) else { return Ok(None) };
        let identity = identity(&meta);
        if Writers::look().have(&identity) {
            return Ok(Some("stays: a program has it open for writing".to_owned()));
        }
        if identity.size == 0 {
            return Ok(None);
        }
        for job in context.config.jobs.values().filter(|job| job.enabled) {
            let Work::Archive(spec) = &job.work else { continue };
            for source in context.config.sources_named(&spec.sources) {
                if Patterns::new(std::slice::from_ref(source)).may_hold(path)
                    && context.store.archive_of(&spec.store, &source.name, &identity)?.is_none()
                {
                    return Ok(Some(format!("stays until job {} has archived it", job.id)));
                }
            }
        }
        Ok(scan_state::unread_by(path, &identity, context)?.map(|job| format!("stays until job {job} has read it")))
    }
}

/// Whether there is a log of which the others were rotated away. Where there never was one, names such as `worker.1` may be those of
/// live logs.
fn is_rotated(stream: &Stream, rotations: &[Rotation]) -> bool {
    live(stream).is_some() || rotations.iter().any(|rotation| rotation.log == stream.path)
}

fn live(stream: &Stream) -> Option<&LogFile> {
    stream.files.iter().find(|file| !file.rotated)
}

fn last_change(file: &LogFile) -> Option<DateTime<Utc>> {
    std::fs::symlink_metadata(&file.path).ok()?.modified().ok().map(DateTime::from)
}
