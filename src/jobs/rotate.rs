//! `[rotate]`: give logs that grew another name, have their programs begin new ones, compress what is finished, and let go what is old.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use rustix::process::Pid;

use super::command::supervised;
use super::{Context, JobError, JobKind, counted, scan};
use crate::logs::{self, LogFile, Patterns, Stream, Writers, unfinished};
use crate::model::{
    CommandSpec, Create, Identity, Method, Names, Outcome, OutputLine, RotateSpec, Signal, SignalSpec, Source, Work,
};
use crate::store::Ended;
use crate::supervise::End;

/// What must have passed since the last write to a rotated log before it is compressed: a program may need a moment to open the
/// new one.
const QUIET: std::time::Duration = std::time::Duration::from_secs(60);

/// A log, and whether its turn has come; if not, why.
type Judged = (Stream, Result<(), String>);

/// What a run has done and has to tell.
#[derive(Default)]
struct Told {
    rotated: usize,
    compressed: usize,
    removed: usize,
    notes: Vec<String>,
    /// What went wrong with single logs.
    problems: Vec<String>,
    /// Why the whole is not done.
    failures: Vec<String>,
    output: Vec<OutputLine>,
}

impl JobKind for RotateSpec {
    fn run(&self, context: &Context<'_>) -> Result<Ended, JobError> {
        let mut told = Told::default();
        let source = self.source(context);
        let untold = self.mend(&source, context, &mut told)?;
        let (streams, troubles) = logs::streams(&source);
        told.problems.extend(troubles);
        told.problems.extend(self.missing(&streams));
        let due = self.due(streams, context)?.into_iter().filter_map(|(stream, due)| due.is_ok().then_some(stream));
        self.rotate(due.collect(), untold, context, &mut told)?;
        if told.failures.is_empty() {
            self.compress_finished(&source, context, &mut told)?;
            self.let_go(&source, context, &mut told)?;
        }
        Ok(told.ended())
    }

    fn preview(&self, context: &Context<'_>) -> Result<Vec<String>, JobError> {
        let source = self.source(context);
        let (streams, mut lines) = logs::streams(&source);
        lines.extend(self.missing(&streams));
        for stream in &streams {
            for (file, why) in self.old(stream, context) {
                let stays = self.needed(&file.path, context)?.map_or_else(String::new, |why| format!(", but {why}"));
                lines.push(format!("would remove {}: {why}{stays}", file.path.display()));
            }
        }
        for (stream, due) in self.due(streams, context)? {
            let path = stream.path.display();
            lines.push(match due {
                Ok(()) => match self.target(&stream, context) {
                    Some(target) => format!("would rotate {path} to {}", target.display()),
                    None => format!("would not rotate {path}: it was rotated in this very second"),
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

impl Told {
    fn ended(mut self) -> Ended {
        let done = [(self.rotated, "rotated"), (self.compressed, "compressed"), (self.removed, "removed")];
        let done: Vec<String> = done
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .enumerate()
            .map(
                |(place, (n, what))| {
                    if place == 0 { format!("{} {what}", counted(n, "log")) } else { format!("{n} {what}") }
                },
            )
            .collect();
        let done = match (done.is_empty(), self.failures.is_empty()) {
            (true, true) => "nothing to rotate".to_owned(),
            (true, false) => "nothing was rotated".to_owned(),
            (false, _) => done.join(", "),
        };
        let outcome = match (self.failures.is_empty(), self.problems.is_empty()) {
            (true, true) => Outcome::Succeeded,
            (true, false) => Outcome::Partial,
            (false, _) => Outcome::Failed,
        };
        let summary = if self.failures.is_empty() { done } else { format!("{done}; {}", self.failures.join("; ")) };
        self.notes.extend(self.problems);
        Ended { notes: self.notes, output: self.output, ..Ended::new(outcome, summary) }
    }
}

impl RotateSpec {
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

    fn zone(&self, context: &Context<'_>) -> Tz {
        context.job.schedule.as_ref().map_or(context.config.zone, |schedule| schedule.zone)
    }

    fn target(&self, stream: &Stream, context: &Context<'_>) -> Option<PathBuf> {
        logs::rotate::target(stream, self.names, context.at.with_timezone(&self.zone(context)).naive_local())
    }

    /// Logs that are named without wildcards and are not there.
    fn missing(&self, streams: &[Stream]) -> Vec<String> {
        let is_there =
            |name: &&String| streams.iter().any(|stream| stream.path == Path::new(name) && live(stream).is_some());
        let named = self.files.iter().filter(|name| !self.missing_ok && !name.contains(['*', '?', '[', '{']));
        named.filter(|name| !is_there(name)).map(|name| format!("{name} is not there")).collect()
    }

    /// The logs that are there, each with whether its turn has come.
    fn due(&self, streams: Vec<Stream>, context: &Context<'_>) -> Result<Vec<Judged>, JobError> {
        let rotations = context.store.rotations(&context.job.id)?;
        let zone = self.zone(context);
        let judged = streams.into_iter().filter_map(|stream| {
            let meta = std::fs::symlink_metadata(&live(&stream)?.path).ok()?;
            let known = rotations.iter().find(|rotation| rotation.log == stream.path).map(|rotation| rotation.at);
            let last = known.or_else(|| last_change(stream.files.iter().rfind(|file| file.rotated)?));
            let due = self.is_due(meta.len(), last, context.at, zone);
            Some((stream, due))
        });
        Ok(judged.collect())
    }

    /// Ends what an interrupted run began. Gives the logs that were rotated, and whose programs don't know yet.
    fn mend(&self, source: &Source, context: &Context<'_>, told: &mut Told) -> Result<Vec<PathBuf>, JobError> {
        let mut untold = Vec::new();
        let (streams, _) = logs::streams(source);
        for stream in &streams {
            let tidied = logs::rotate::tidy(stream);
            told.problems.extend(tidied.err().map(|error| format!("{}: {error}", stream.path.display())));
        }
        for rotation in context.store.rotations(&context.job.id)?.into_iter().filter(|rotation| !rotation.told) {
            let stream = streams.iter().find(|stream| stream.path == rotation.log);
            let begun = stream.map_or(Ok(false), |stream| self.mend_one(stream, &rotation.target));
            match begun {
                Ok(true) => untold.push(rotation.log),
                Ok(false) => context.store.forget_rotation(&rotation.log)?,
                Err(error) => told.problems.push(format!("{}: {error}", rotation.log.display())),
            }
        }
        Ok(untold)
    }

    /// Whether the log was rotated.
    fn mend_one(&self, stream: &Stream, target: &Path) -> std::io::Result<bool> {
        let Some(LogFile { folder, .. }) = stream.files.first() else { return Ok(false) };
        let log = LogFile { folder: folder.clone(), path: stream.path.clone(), rotated: false };
        let meta = match std::fs::symlink_metadata(target) {
            Ok(meta) => meta,
            // Compressed by now, or never made.
            Err(_) => return Ok(logs::rotate::is_there(stream, target)),
        };
        if log.path.exists() {
            let only_copied = self.method == Method::CopyTruncate && logs::rotate::take_back(&log, target)?;
            return Ok(!only_copied);
        }
        if let Some((mode, owner)) = self.created(&meta)? {
            crate::fs::create_beneath(&log.folder, &log.path, mode, owner)?;
        }
        Ok(true)
    }

    /// Permissions, owner and group of the new log.
    fn created(&self, old: &std::fs::Metadata) -> std::io::Result<Option<(u32, (u32, u32))>> {
        let unknown =
            |what: &str, name: &str| std::io::Error::other(format!("there is no {what} {name:?} on this machine"));
        match &self.create {
            Create::None => Ok(None),
            Create::Same => Ok(Some((old.mode() & 0o777, (old.uid(), old.gid())))),
            Create::As { mode, owner, group } => {
                let uid = owner.as_ref().map(|name| match nix::unistd::User::from_name(name) {
                    Ok(Some(user)) => Ok(user.uid.as_raw()),
                    _ => Err(unknown("account", name)),
                });
                let gid = group.as_ref().map(|name| match nix::unistd::Group::from_name(name) {
                    Ok(Some(group)) => Ok(group.gid.as_raw()),
                    _ => Err(unknown("group", name)),
                });
                let owner = (uid.transpose()?.unwrap_or(old.uid()), gid.transpose()?.unwrap_or(old.gid()));
                Ok(Some((mode.unwrap_or(old.mode() & 0o777), owner)))
            }
        }
    }

    /// Rotates what is due, and has programs told, of earlier rotations as well.
    fn rotate(
        &self,
        due: Vec<Stream>,
        mut untold: Vec<PathBuf>,
        context: &Context<'_>,
        told: &mut Told,
    ) -> Result<(), JobError> {
        if !self.each && !due.is_empty() && !self.command(&self.before, "before", None, context, told)? {
            return Ok(());
        }
        for stream in due {
            context.check()?;
            let path = stream.path.clone();
            if self.each && !self.command(&self.before, "before", Some(&path), context, told)? {
                continue;
            }
            match self.rotate_one(&stream, context, told)? {
                Ok(()) => told.rotated += 1,
                Err(error) => {
                    told.problems.push(format!("{} was not rotated: {error}", path.display()));
                    continue;
                }
            }
            untold.retain(|log| *log != path);
            untold.push(path);
        }
        if untold.is_empty() {
            return Ok(());
        }
        if let Some(signal) = &self.signal
            && !self.send(signal, told)
        {
            return Ok(());
        }
        if !self.each {
            let done = self.command(&self.after, "after", None, context, told)?;
            return if done { Ok(context.store.end_rotations(&untold)?) } else { Ok(()) };
        }
        for log in untold {
            if self.command(&self.after, "after", Some(&log), context, told)? {
                context.store.end_rotations(&[log])?;
            }
        }
        Ok(())
    }

    fn rotate_one(
        &self,
        stream: &Stream,
        context: &Context<'_>,
        told: &mut Told,
    ) -> Result<std::io::Result<()>, JobError> {
        let Some(log) = live(stream) else { return Ok(Err(std::io::ErrorKind::NotFound.into())) };
        let Some(target) = self.target(stream, context) else {
            return Ok(Err(std::io::Error::other("it was rotated in this very second")));
        };
        let created = std::fs::symlink_metadata(&log.path).and_then(|meta| self.created(&meta));
        let room = if self.names == Names::Numbered { logs::rotate::make_room(stream) } else { Ok(()) };
        let created = match room.and(created) {
            Ok(created) => created,
            Err(error) => return Ok(Err(error)),
        };
        context.store.begin_rotation(&context.job.id, &log.path, &target, context.at)?;
        let done = match self.method {
            Method::Rename => logs::rotate::rename(log, &target, created).map(|trouble| {
                let path = log.path.display();
                told.problems.extend(trouble.map(|error| format!("{path} was renamed, but then: {error}")));
            }),
            Method::CopyTruncate => logs::rotate::copy_truncate(log, &target).map(|gap| {
                let (path, gap) = (log.path.display(), gap.as_micros().max(1));
                let at = context.clock.now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                told.notes.push(format!(
                    "{path} was copied and emptied at {at}: a line written within these {gap} µs is lost"
                ));
            }),
        };
        // A copy that could not be taken back is known by the next run.
        if done.is_err() && (self.method == Method::Rename || !logs::rotate::is_copy(log, &target)) {
            context.store.forget_rotation(&log.path)?;
        }
        Ok(done)
    }

    /// Runs one of the two commands; gives whether all is well.
    fn command(
        &self,
        command: &Option<Box<CommandSpec>>,
        which: &str,
        log: Option<&Path>,
        context: &Context<'_>,
        told: &mut Told,
    ) -> Result<bool, JobError> {
        let Some(command) = command else { return Ok(true) };
        let mut command = CommandSpec::clone(command);
        if let Some(log) = log {
            let log = log.to_string_lossy().into_owned();
            if let [shell, dash_c, _] = command.argv.as_slice()
                && (shell.as_str(), dash_c.as_str()) == ("/bin/sh", "-c")
            {
                command.argv.extend(["logkeeper".to_owned(), log.clone()]);
            }
            command.env.insert("LOGKEEPER_LOG".to_owned(), log);
        }
        let why = match supervised(&command, context) {
            Ok(report) => {
                told.output.extend(report.output);
                match report.end {
                    End::Exited(code) if command.success_codes.contains(&code) => return Ok(true),
                    End::Exited(code) => format!("exit code {code}"),
                    End::Signalled(signal) => format!("ended by signal {signal}"),
                    End::NotStarted(reason) => reason,
                }
            }
            Err(JobError::CouldNotStart(reason) | JobError::Failed(reason)) => reason,
            Err(other) => return Err(other),
        };
        context.check()?;
        let about = log.map_or_else(String::new, |log| format!(" for {}", log.display()));
        told.failures.push(format!("the command {which} rotation failed{about}: {why}"));
        Ok(false)
    }

    /// Sends the signal; gives whether that is done, which it also is where nobody is there.
    fn send(&self, SignalSpec { signal, pid_file }: &SignalSpec, told: &mut Told) -> bool {
        let file = pid_file.display();
        let text = match std::fs::read_to_string(pid_file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                told.notes
                    .push(format!("SIG{signal} was sent to nobody: {file} is not there, so its program doesn't run"));
                return true;
            }
            Err(error) => {
                told.failures.push(format!("SIG{signal} was not sent: {file}: {error}"));
                return false;
            }
        };
        let Some(pid) = text.trim().parse().ok().filter(|pid| *pid > 1).and_then(Pid::from_raw) else {
            told.failures.push(format!("SIG{signal} was not sent: {file} holds no process number"));
            return false;
        };
        let number = match signal {
            Signal::Hup => rustix::process::Signal::HUP,
            Signal::Usr1 => rustix::process::Signal::USR1,
            Signal::Usr2 => rustix::process::Signal::USR2,
        };
        match rustix::process::kill_process(pid, number) {
            Ok(()) => true,
            Err(rustix::io::Errno::SRCH) => {
                told.notes.push(format!("SIG{signal} was sent to nobody: there is no process {pid} any more ({file})"));
                true
            }
            Err(error) => {
                told.failures.push(format!("SIG{signal} was not sent to process {pid} ({file}): {error}"));
                false
            }
        }
    }

    fn compress_finished(&self, source: &Source, context: &Context<'_>, told: &mut Told) -> Result<(), JobError> {
        let Some(codec) = self.compress else { return Ok(()) };
        let writers = Writers::look();
        let files = logs::streams(source).0.into_iter().flat_map(|stream| stream.files);
        for file in files.filter(|file| file.rotated) {
            context.check()?;
            let Ok(meta) = std::fs::symlink_metadata(&file.path) else { continue };
            let packed = crate::packed::SUFFIXES.iter().any(|suffix| file.path.to_string_lossy().ends_with(suffix));
            if packed
                || unfinished(&crate::fs::identity(&meta), &writers, QUIET, context.clock.now().timestamp()).is_some()
            {
                continue;
            }
            match logs::rotate::compress(&file, codec) {
                Ok(size) => told.compressed += usize::from(size.is_some()),
                Err(error) => told.problems.push(format!("{} was not compressed: {error}", file.path.display())),
            }
        }
        Ok(())
    }

    fn let_go(&self, source: &Source, context: &Context<'_>, told: &mut Told) -> Result<(), JobError> {
        for stream in logs::streams(source).0 {
            for (LogFile { folder, path, .. }, _) in self.old(&stream, context) {
                context.check()?;
                let Ok(meta) = std::fs::symlink_metadata(path) else { continue };
                if let Some(why) = self.needed(path, context)? {
                    told.notes.push(format!("{} {why}", path.display()));
                    continue;
                }
                match crate::fs::remove_beneath(folder, path, &crate::fs::identity(&meta)) {
                    Ok(was_it) => told.removed += usize::from(was_it),
                    Err(error) => told.problems.push(format!("can't remove {}: {error}", path.display())),
                }
            }
        }
        Ok(())
    }

    /// The rotated logs that are to go, and why; never the newest for its age alone, so that a wrong clock doesn't cost all.
    fn old<'s>(&self, stream: &'s Stream, context: &Context<'_>) -> Vec<(&'s LogFile, String)> {
        let newest_first = stream.files.iter().filter(|file| file.rotated).rev().enumerate();
        let old = newest_first.filter_map(|(place, file)| {
            if let Some(keep) = self.keep.filter(|keep| place >= *keep as usize) {
                return Some((file, format!("{keep} newer ones are there")));
            }
            let age = context.at.signed_duration_since(last_change(file)?).to_std().ok()?;
            let most = self.max_age.filter(|most| place > 0 && age > *most)?;
            Some((file, format!("it is older than {}", humantime::format_duration(most))))
        });
        old.collect()
    }

    /// Why a rotated log has to stay: another job is not done with it.
    fn needed(&self, path: &Path, context: &Context<'_>) -> Result<Option<String>, JobError> {
        let Ok(meta) = std::fs::symlink_metadata(path) else { return Ok(None) };
        let identity: Identity = crate::fs::identity(&meta);
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
        Ok(scan::unread_by(path, &identity, context)?.map(|job| format!("stays until job {job} has read it")))
    }
}

fn live(stream: &Stream) -> Option<&LogFile> {
    stream.files.iter().find(|file| !file.rotated)
}

fn last_change(file: &LogFile) -> Option<DateTime<Utc>> {
    std::fs::symlink_metadata(&file.path).ok()?.modified().ok().map(DateTime::from)
}
