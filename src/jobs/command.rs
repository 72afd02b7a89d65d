//! `[command]`: run a program under the supervisor.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::{Context, JobError, JobKind, Stop, counted};
use crate::model::{CommandSpec, Outcome};
use crate::store::Ended;
use crate::supervise::{End, Order, Report};

/// How often the cancel flag is looked at while a command runs.
const POLL: Duration = Duration::from_millis(100);

impl JobKind for CommandSpec {
    fn run(&self, context: &Context<'_>) -> Result<Ended, JobError> {
        let report = supervised(self, context)?;
        let stopped = context.cancel.reason();
        let mut ended = match (&report.end, stopped) {
            (End::NotStarted(reason), _) => return Err(JobError::CouldNotStart(reason.clone())),
            (_, Some(Stop::Timeout)) => {
                let limit = humantime::format_duration(context.job.timeout);
                Ended::new(Outcome::TimedOut, format!("took longer than {limit} and was ended"))
            }
            (_, Some(Stop::Cancelled)) => Ended::new(Outcome::Cancelled, "was ended before it was done"),
            (End::Exited(0), None) => Ended::new(Outcome::Succeeded, "exit code 0"),
            (End::Exited(code), None) => Ended::new(Outcome::Failed, format!("exit code {code}")),
            (End::Signalled(signal), None) => Ended::new(Outcome::Failed, format!("ended by signal {signal}")),
        };
        match report.end {
            End::Exited(code) => ended.exit_code = Some(code),
            End::Signalled(signal) => ended.signal = Some(signal),
            End::NotStarted(_) => {}
        }
        if report.left_out > 0 {
            ended.notes.push(format!("{} bytes of output were left out", report.left_out));
        }
        if report.killed > 0 && stopped.is_none() {
            let left = counted(report.killed, "process").replace("processs", "processes");
            ended.notes.push(format!("{left} still ran after the command had ended and had to be killed"));
        }
        ended.output = report.output;
        Ok(ended)
    }

    fn preview(&self, context: &Context<'_>) -> Result<Vec<String>, JobError> {
        let limit = humantime::format_duration(context.job.timeout);
        Ok(vec![format!("would run {:?} for at most {limit}", self.argv)])
    }
}

/// Runs a command under a supervisor; closing its standard input tells it to end everything.
fn supervised(spec: &CommandSpec, context: &Context<'_>) -> Result<Report, JobError> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: std::io::Error| JobError::CouldNotStart(format!("{what}: {error}"))
    };
    let mut command = Command::new("/proc/self/exe");
    command.arg("supervise").arg0("logkeeper");
    let mut supervisor = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed("can't start the supervisor"))?;
    let about = vec![
        ("LOGKEEPER_JOB".to_owned(), context.job.id.to_string()),
        ("LOGKEEPER_RUN".to_owned(), context.run.to_string()),
        ("LOGKEEPER_AT".to_owned(), context.at.to_rfc3339()),
    ];
    // An order is made of texts and numbers, which always can be written as JSON.
    let order = serde_json::to_string(&Order { command: spec.clone(), about }).unwrap_or_default();
    let mut stdin = supervisor.stdin.take();
    let mut stdout = supervisor.stdout.take();
    if let Some(stdin) = &mut stdin {
        stdin.write_all(format!("{order}\n").as_bytes()).map_err(failed("can't talk to the supervisor"))?;
    }
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        // An unreadable report is an empty one, which is told below.
        let _ = stdout.as_mut().map(|stdout| stdout.read_to_string(&mut text));
        let _ = sender.send(text);
    });
    let text = loop {
        match receiver.recv_timeout(POLL) {
            Ok(text) => break text,
            Err(RecvTimeoutError::Timeout) if context.cancel.reason().is_some() => drop(stdin.take()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break String::new(),
        }
    };
    let status = supervisor.wait().map_err(failed("can't wait for the supervisor"))?;
    serde_json::from_str(&text)
        .map_err(|_| JobError::Failed(format!("the supervisor died without a report ({status})")))
}
