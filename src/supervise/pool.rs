//! The supervisors of this process: those that wait for an order, and new ones where none does.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::lines::Lines;
use super::{Message, Order, Report, STOP, timespec};
use crate::model::OutputLine;

/// How often it is looked whether the command is to stop.
const GLANCE: Duration = Duration::from_millis(100);

/// Supervisors that wait for an order.
#[derive(Default)]
pub struct Pool {
    idle: Mutex<Vec<Supervisor>>,
}

/// Why a command has no report.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// No supervisor could be started.
    #[error("can't start the supervisor: {0}")]
    NotStarted(io::Error),
    /// The supervisor is gone, and what it watched with it.
    #[error("the supervisor died without a report ({0})")]
    Died(String),
}

struct Supervisor {
    process: Child,
    orders: ChildStdin,
    messages: Lines,
}

impl Pool {
    /// Runs a command to its end. `line` gets what it prints, and it is ended early once `stop` says so.
    ///
    /// # Errors
    /// Says why there is no report.
    pub fn run(
        &self,
        order: &Order,
        stop: impl Fn() -> bool,
        mut line: impl FnMut(OutputLine),
    ) -> Result<Report, PoolError> {
        // An order is made of texts and numbers, which always can be written as JSON.
        let mut text = serde_json::to_vec(order).unwrap_or_default();
        text.push(b'\n');
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let was_idle = idle.is_some();
            let mut supervisor = match idle {
                Some(supervisor) => supervisor,
                None => Supervisor::start().map_err(PoolError::NotStarted)?,
            };
            // One that is gone shows below.
            let _ = supervisor.orders.write_all(&text);
            if let Some(report) = supervisor.listen(&stop, &mut line) {
                self.keep(supervisor);
                return Ok(report);
            }
            drop((supervisor.orders, supervisor.messages));
            let status = supervisor.process.wait().map_err(|error| PoolError::Died(error.to_string()))?;
            if !(was_idle && status.success()) {
                return Err(PoolError::Died(status.to_string()));
            }
            // It had waited long enough and went home before it saw the order.
        }
    }

    fn keep(&self, supervisor: Supervisor) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(supervisor);
        // One that goes home after a bad end may have been gone before it was kept.
        self.tidy();
    }

    /// Takes those that have ended out.
    pub fn tidy(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain_mut(|supervisor| !matches!(supervisor.process.try_wait(), Ok(Some(_))));
    }
}

impl Supervisor {
    fn start() -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg("supervise").arg0("logkeeper");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let (orders, messages) = (process.stdin.take(), process.stdout.take());
        let (Some(orders), Some(messages)) = (orders, messages) else { return Err(io::Error::other("no pipes")) };
        Ok(Self { process, orders, messages: Lines::new(OwnedFd::from(messages)) })
    }

    /// Passes on what the command prints until its report comes; `None` where none comes.
    fn listen(&mut self, stop: &impl Fn() -> bool, line: &mut impl FnMut(OutputLine)) -> Option<Report> {
        let mut told = false;
        loop {
            while let Some(message) = self.messages.next() {
                match serde_json::from_slice(&message).ok()? {
                    Message::Line(printed) => line(printed),
                    Message::Report(report) => return Some(report),
                }
            }
            if self.messages.ended() {
                return None;
            }
            if !told && stop() {
                told = true;
                // One that is gone shows as the end of its messages.
                let _ = self.orders.write_all(&[STOP, b"\n"].concat());
            }
            let mut fds = [PollFd::new(&self.messages, PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(GLANCE))) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                _ => self.messages.fill().ok()?,
            }
        }
    }
}
