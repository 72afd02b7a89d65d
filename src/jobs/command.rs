//! `[command]`: run a program under the supervisor.

use super::{Context, JobError, JobKind, Stop, counted};
use crate::model::{CommandSpec, Outcome};
use crate::store::Ended;
use crate::supervise::{End, Order, PoolError, Report};

impl JobKind for CommandSpec {
    fn run(&self, context: &Context<'_>) -> Result<Ended, JobError> {
        let report = supervised(self, context)?;
        let stopped = context.cancel.reason();
        let outcome = |success| if success { Outcome::Succeeded } else { Outcome::Failed };
        let mut ended = match (&report.end, stopped) {
            (End::NotStarted(reason), _) => return Err(JobError::CouldNotStart(reason.clone())),
            (_, Some(Stop::Timeout)) => Ended::new(Outcome::TimedOut, Stop::Timeout.words(context.job)),
            (_, Some(Stop::Ending)) => Ended::new(Outcome::Interrupted, Stop::Ending.words(context.job)),
            (_, Some(Stop::Cancelled)) => Ended::new(Outcome::Cancelled, Stop::Cancelled.words(context.job)),
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
        ended.notes.extend(report.about_limits);
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

/// Runs a command under a supervisor.
pub(super) fn supervised(spec: &CommandSpec, context: &Context<'_>) -> Result<Report, JobError> {
    let about = vec![
        ("LOGKEEPER_JOB".to_owned(), context.job.id.to_string()),
        ("LOGKEEPER_RUN".to_owned(), context.run.to_string()),
        ("LOGKEEPER_AT".to_owned(), context.at.to_rfc3339()),
    ];
    let grace_ms = u64::try_from(context.job.policy.grace.as_millis()).unwrap_or(u64::MAX);
    let order = Order { command: spec.clone(), about, grace_ms };
    let report = context.supervisors.run(&order, || context.cancel.reason().is_some(), |line| context.live.push(line));
    report.map_err(|error| match error {
        PoolError::NotStarted(_) => JobError::CouldNotStart(error.to_string()),
        PoolError::Died(_) => JobError::Failed(error.to_string()),
    })
}
