//! Telling programs that their logs are about to be rotated, or were: by a signal, by commands.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Pid, kill_process};

use super::command::supervised;
use super::rotate::Told;
use super::{Context, JobError};
use crate::fs::open_regular;
use crate::model::{CommandSpec, RotateSpec, Signal, SignalSpec};
use crate::store::Rotation;
use crate::supervise::End;

/// More than any process number takes.
const PID_FILE: u64 = 32;

impl RotateSpec {
    /// Has the command before rotation run, for one log or for all; gives whether all is well.
    pub(super) fn prepare(&self, log: Option<&Path>, context: &Context<'_>, told: &mut Told) -> Result<bool, JobError> {
        let Some(command) = &self.before else { return Ok(true) };
        let args = match log {
            Some(log) => vec![log.to_string_lossy().into_owned()],
            None => vec![self.files.join(" ")],
        };
        let about = log.map_or_else(String::new, |log| format!(" of {}", log.display()));
        command_done(command, &format!("before rotation{about}"), &args, context, told)
    }

    /// Tells that logs were rotated, and puts on record of which it is known now.
    pub(super) fn tell(&self, rotations: &[Rotation], context: &Context<'_>, told: &mut Told) -> Result<(), JobError> {
        if rotations.is_empty() {
            return Ok(());
        }
        if let Some(signal) = &self.signal
            && !send(signal, told)
        {
            return Ok(());
        }
        if let Some(command) = &self.after {
            let text = |path: &Path| path.to_string_lossy().into_owned();
            let (about, args) = match rotations {
                [one] if self.each => (format!(" of {}", text(&one.log)), vec![text(&one.log), text(&one.target)]),
                _ => (String::new(), vec![self.files.join(" ")]),
            };
            if !command_done(command, &format!("after rotation{about}"), &args, context, told)? {
                return Ok(());
            }
        }
        for rotation in rotations.iter().filter(|rotation| rotation.done) {
            let rotation = Rotation { told: true, ..rotation.clone() };
            context.store.record_rotation(&context.job.id, &rotation)?;
        }
        Ok(())
    }
}

/// Runs a command; a shell line gets the arguments as `$1` and `$2`, as logrotate's scripts do. Gives whether all is well.
fn command_done(
    command: &CommandSpec,
    which: &str,
    args: &[String],
    context: &Context<'_>,
    told: &mut Told,
) -> Result<bool, JobError> {
    let mut command = command.clone();
    if let [shell, dash_c, _] = command.argv.as_slice()
        && (shell.as_str(), dash_c.as_str()) == ("/bin/sh", "-c")
    {
        command.argv.push("logkeeper".to_owned());
        command.argv.extend_from_slice(args);
    }
    command.env.insert("LOGKEEPER_LOG".to_owned(), args[0].clone());
    let why = match supervised(&command, context) {
        Ok(report) => {
            told.output.extend(report.output);
            told.notes.extend(report.about_limits);
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
    told.failures.push(format!("the command {which} failed: {why}"));
    Ok(false)
}

/// Sends the signal; gives whether that is done, which it also is where nobody is there.
fn send(SignalSpec { signal, pid_file }: &SignalSpec, told: &mut Told) -> bool {
    let file = pid_file.display();
    let pid = match process(pid_file) {
        Ok(Some(pid)) => pid,
        Ok(None) => {
            told.notes.push(format!("SIG{signal} was sent to nobody: {file} tells of no process that runs"));
            return true;
        }
        Err(why) => {
            told.failures.push(format!("SIG{signal} was not sent: {file} {why}"));
            return false;
        }
    };
    let number = match signal {
        Signal::Hup => rustix::process::Signal::HUP,
        Signal::Usr1 => rustix::process::Signal::USR1,
        Signal::Usr2 => rustix::process::Signal::USR2,
    };
    match kill_process(pid, number) {
        Ok(()) => true,
        // It ended just now.
        Err(rustix::io::Errno::SRCH) => true,
        Err(error) => {
            told.failures.push(format!("SIG{signal} was not sent to process {pid} ({file}): {error}"));
            false
        }
    }
}

/// The process whose number stands in a file; `None` where there is no file or no such process. An account that may write the file can
/// name its own processes only.
fn process(pid_file: &Path) -> Result<Option<Pid>, String> {
    let file = match open_regular(pid_file) {
        Ok((file, _)) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("can't be read: {error}")),
    };
    let owner = file.metadata().map_err(|error| format!("can't be read: {error}"))?.uid();
    let mut text = String::new();
    file.take(PID_FILE).read_to_string(&mut text).map_err(|error| format!("can't be read: {error}"))?;
    let pid = text.trim().parse().ok().filter(|pid| *pid > 1).and_then(Pid::from_raw);
    let pid = pid.ok_or("holds no process number")?;
    let Ok(process) = std::fs::metadata(format!("/proc/{pid}")) else { return Ok(None) };
    let trusted = owner == 0 || owner == rustix::process::geteuid().as_raw() || owner == process.uid();
    if trusted { Ok(Some(pid)) } else { Err(format!("belongs to another account than process {pid}")) }
}
