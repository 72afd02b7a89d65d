//! `[command]`: run a program under the supervisor.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::{Context, JobError, JobKind, Live, Stop, counted};
use crate::model::{CommandSpec, Outcome};
use crate::store::Ended;
use crate::supervise::{End, Message, Order, Report};

/// How often the cancel flag is looked at while a command runs.
const POLL: Duration = Duration::from_millis(100);

impl JobKind for CommandSpec {
    fn run(&self, context: &Context<'_>) -> Result<Ended, JobError> {
        let report = supervised(self, context)?;
        let stopped = context.cancel.reason();
        let outcome = |success| if success { Outcome::Succeeded } else { Outcome::Failed };
        let mut ended = match (&report.end, stopped) {
            (End::NotStarted(reason), _) => return Err(JobError::CouldNotStart(reason.clone())),
            (_, Some(Stop::Timeout)) => Ended::new(Outcome::TimedOut, Stop::Timeout.words(context.job)),
            (_, Some(stop)) => Ended::new(Outcome::Cancelled, stop.words(context.job)),
            (End::Exited(code), None) => {
                Ended::new(outcome(self.success_codes.contains(code)), format!("exit code {code}"))
            }
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
        (ended.cpu_ms, ended.peak_bytes) = (Some(report.cpu_ms), Some(report.peak_bytes));
        Ok(ended)
    }

    fn preview(&self, context: &Context<'_>) -> Result<Vec<String>, JobError> {
        let limit = context.job.policy.timeout.map(humantime::format_duration);
        let limit = limit.map_or_else(|| "without a time limit".to_owned(), |limit| format!("for at most {limit}"));
        let user = self.user.as_ref().map_or_else(String::new, |user| format!(" as {user}"));
        Ok(vec![format!("would run {:?}{user} {limit}", self.argv)])
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
    let grace_ms = u64::try_from(context.job.policy.grace.as_millis()).unwrap_or(u64::MAX);
    let order = serde_json::to_string(&Order { command: spec.clone(), about, grace_ms }).unwrap_or_default();
    let mut stdin = supervisor.stdin.take();
    let mut stdout = supervisor.stdout.take();
    if let Some(stdin) = &mut stdin {
        stdin.write_all(format!("{order}\n").as_bytes()).map_err(failed("can't talk to the supervisor"))?;
    }
    let (sender, receiver) = mpsc::channel();
    let live = context.live.clone();
    std::thread::spawn(move || {
        // Whether there is a report is told below.
        let _ = sender.send(stdout.take().and_then(|stdout| listen(stdout, &live)));
    });
    let report = loop {
        match receiver.recv_timeout(POLL) {
            Ok(report) => break report,
            Err(RecvTimeoutError::Timeout) if context.cancel.reason().is_some() => drop(stdin.take()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break None,
        }
    };
    let status = supervisor.wait().map_err(failed("can't wait for the supervisor"))?;
    report.ok_or_else(|| JobError::Failed(format!("the supervisor died without a report ({status})")))
}

/// Shows what the command prints, and returns the report.
fn listen(stdout: ChildStdout, live: &Live) -> Option<Report> {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Message::Line(line)) => live.push(line),
            Ok(Message::Report(report)) => return Some(report),
            Err(_) => return None,
        }
    }
    None
}
