//! The supervisor: the child under which a command runs.
//!
//! It is this program started again as `logkeeper supervise`. It becomes a session leader and a subreaper, so that every
//! process the command starts, however it detaches itself, stays below it; when the command ends, or the other end
//! of its standard input is closed, whatever is left is ended too. So a killed logkeeper leaves no command behind.
//!
//! It reads an [`Order`] as one line of JSON and writes [`Message`]s as lines of JSON: what the command prints while it
//! runs, and at last a report. The line `stop` ends the command early. Once nothing is left of a command it takes the
//! next order, because starting this program costs more than starting most commands; idle for a while, it ends.

mod capture;
pub mod cgroup;
pub mod enter;
mod family;
mod lines;
mod pool;

use std::collections::HashSet;
use std::io::{self, PipeReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use wait4::{ResUse, Wait4};

use crate::model::{CommandSpec, Limits, OutputLine, Stream};
use capture::{Capture, Captured};
use cgroup::Group;
use lines::Lines;
pub use pool::{Pool, PoolError};

/// How long what the command left behind may go on, so that a pipeline's last words are not lost.
const DRAIN: Duration = Duration::from_secs(2);

/// How long killed processes may take to be gone.
const DEATH: Duration = Duration::from_secs(5);

/// How often it is looked whether processes are gone, when they are waited for and when they are killed.
const POLL: Duration = Duration::from_millis(20);
const KILL_POLL: Duration = Duration::from_millis(2);

/// How often orphans that have died are taken out of the way while the command runs.
const REAP: Duration = Duration::from_secs(5);

/// What newly made files are open to unless a command has a mask of its own: cron's.
const UMASK: u32 = 0o022;

/// How long a supervisor waits for the next order.
const IDLE: Duration = Duration::from_secs(10);

/// The line that ends a command early.
const STOP: &[u8] = b"stop";

const BARE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The command.
    pub command: CommandSpec,
    /// Environment for it, besides its own: the job's id and the instant it is about.
    pub about: Vec<(String, String)>,
    /// How long it may take to end after it was asked to, in milliseconds.
    pub grace_ms: u64,
}

/// What the supervisor says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// The command printed a line.
    Line(OutputLine),
    /// The command has ended, and nothing is left of it.
    Report(Report),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// It could not be started, and why.
    NotStarted(String),
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// What it printed, within the limit.
    pub output: Vec<OutputLine>,
    /// Bytes of output left out in the middle.
    pub left_out: u64,
    /// Processes it had left behind that had to be killed.
    pub killed: usize,
    /// Processor time of everything it ran, in milliseconds.
    pub cpu_ms: i64,
    /// The most memory one of its processes held, in bytes; all together where they had a control group.
    pub peak_bytes: i64,
    /// What about its limits somebody should know.
    pub about_limits: Option<String>,
}

/// Runs the orders on standard input, one after the other, and reports on standard output.
///
/// # Errors
/// Fails where an order can't be read or a report can't be written.
pub fn main() -> io::Result<()> {
    close_inherited_files();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(UMASK));
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut orders = Lines::new(io::stdin().as_fd().try_clone_to_owned()?);
    while let Some(line) = next_order(&mut orders)? {
        let order: Order = serde_json::from_slice(&line)?;
        let (report, clean) = match start(&order) {
            Ok(started) => Watch::new(started, &order).watch(&mut orders),
            Err(reason) => (Report::not_started(reason), true),
        };
        match say(&Message::Report(report)) {
            // Whoever gave the order is gone, which is why the command was ended.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
        if !clean {
            return Ok(());
        }
    }
    Ok(())
}

/// Closes whatever whoever started logkeeper left open, so that no command gets it. This process has opened nothing yet.
fn close_inherited_files() {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().filter_map(Result::ok);
    let numbers: Vec<i32> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // Among them is the folder that was just read and is closed already.
        let _ = nix::unistd::close(number);
    }
}

/// The next order; `None` when there is none for a while or no more will come.
fn next_order(orders: &mut Lines) -> io::Result<Option<Vec<u8>>> {
    let deadline = Instant::now() + IDLE;
    loop {
        match orders.next() {
            // It came too late for the command it meant.
            Some(line) if line == STOP => {}
            Some(line) => return Ok(Some(line)),
            None if orders.ended() => return Ok(None),
            None => {
                let left = deadline.saturating_duration_since(Instant::now());
                let mut fds = [PollFd::new(orders, PollFlags::IN)];
                if left.is_zero() || poll(&mut fds, Some(&timespec(left))) == Ok(0) {
                    return Ok(None);
                }
                orders.fill()?;
            }
        }
    }
}

/// Writes a message in one piece.
fn say(message: &Message) -> io::Result<()> {
    let mut json = serde_json::to_vec(message)?;
    json.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&json)?;
    out.flush()
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}

/// A command that runs.
struct Started {
    child: Child,
    limits: Limits,
    group: Option<Group>,
    out: PipeReader,
    err: PipeReader,
    /// Names and values that are never shown.
    secrets: Vec<(String, String)>,
}

/// How far the end of a command has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It runs.
    Running,
    /// It was asked to end.
    Asked,
    /// It has ended; what it left behind may still say something.
    Draining,
    /// Everything is killed.
    Killing,
}

/// A command that is watched to its end.
struct Watch {
    child: Child,
    limits: Limits,
    group: Option<Group>,
    pid: Pid,
    /// Becomes readable when the command ends; `None` where the system has no such thing.
    exit: Option<OwnedFd>,
    out: Captured,
    err: Captured,
    capture: Capture,
    grace: Duration,
    stage: Stage,
    deadline: Instant,
    ended: Option<ResUse>,
    killed: HashSet<Pid>,
}

impl Watch {
    fn new(started: Started, order: &Order) -> Self {
        let Started { child, limits, group, out, err, secrets } = started;
        let pid = Pid::from_child(&child);
        Self {
            exit: rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok(),
            child,
            limits,
            group,
            pid,
            out: Captured::new(Stream::Out, out),
            err: Captured::new(Stream::Err, err),
            capture: Capture::new(order.command.output_limit, secrets),
            grace: Duration::from_millis(order.grace_ms),
            stage: Stage::Running,
            deadline: Instant::now(),
            ended: None,
            killed: HashSet::new(),
        }
    }

    /// Watches until nothing is left of the command. Returns the report, and whether really nothing is left.
    fn watch(mut self, orders: &mut Lines) -> (Report, bool) {
        loop {
            self.wait(orders);
            if self.stage == Stage::Running && self.is_to_stop(orders) {
                self.go(Stage::Asked, self.grace);
                family::descendants().into_iter().for_each(|pid| signal(pid, Signal::TERM));
            }
            if self.ended.is_none() {
                family::reap_orphans(self.pid);
                // An error would mean that it was waited for already.
                self.ended = self.child.try_wait4().unwrap_or_default();
            }
            if self.ended.is_some() && self.stage == Stage::Running {
                self.go(Stage::Draining, DRAIN);
            }
            let gone = self.ended.is_some() && family::is_empty();
            let silent = self.out.is_closed() && self.err.is_closed();
            let late = Instant::now() >= self.deadline;
            match self.stage {
                _ if gone && silent => return (self.report(), true),
                // A pipe that somebody else holds open must not hold the run.
                Stage::Draining | Stage::Killing if gone && late => return (self.report(), true),
                Stage::Asked | Stage::Draining if late => self.go(Stage::Killing, DEATH),
                Stage::Killing if late => return (self.report(), false),
                Stage::Killing => self.kill_all(),
                Stage::Running | Stage::Asked | Stage::Draining => {}
            }
        }
    }

    fn go(&mut self, stage: Stage, limit: Duration) {
        self.stage = stage;
        self.deadline = Instant::now() + limit;
        if stage == Stage::Killing {
            self.kill_all();
        }
    }

    fn kill_all(&mut self) {
        for pid in family::descendants() {
            self.killed.insert(pid);
            signal(pid, Signal::KILL);
        }
    }

    /// Waits until something happens, and takes what is there to read.
    fn wait(&mut self, orders: &mut Lines) {
        let poll_again = match self.stage {
            Stage::Running if self.exit.is_some() => Some(timespec(REAP)),
            Stage::Killing => Some(timespec(KILL_POLL)),
            Stage::Running | Stage::Asked | Stage::Draining => Some(timespec(POLL)),
        };
        let orders_open = self.stage == Stage::Running && !orders.ended();
        let [orders_ready, _, out_ready, err_ready] = {
            let exit = self.exit.as_ref().filter(|_| self.ended.is_none());
            let watched = [
                orders_open.then(|| PollFd::new(&*orders, PollFlags::IN)),
                exit.map(|exit| PollFd::new(exit, PollFlags::IN)),
                self.out.poll_fd(),
                self.err.poll_fd(),
            ];
            let mut fds: Vec<PollFd<'_>> = watched.iter().flatten().cloned().collect();
            // Interrupted or not, what is ready is looked at.
            let _ = poll(&mut fds, poll_again.as_ref());
            let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
            watched.map(|fd| fd.is_some() && ready.next().unwrap_or(false))
        };
        if orders_ready && orders.fill().is_err() {
            orders.close();
        }
        if out_ready {
            self.out.read(&mut self.capture);
        }
        if err_ready {
            self.err.read(&mut self.capture);
        }
    }

    /// Whether somebody wants the command to end, or nobody is left who wants it to go on.
    fn is_to_stop(&self, orders: &mut Lines) -> bool {
        orders.next().is_some_and(|line| line == STOP) || orders.ended()
    }

    fn report(mut self) -> Report {
        self.out.close(&mut self.capture);
        self.err.close(&mut self.capture);
        let (output, left_out) = self.capture.kept();
        let end = match self.ended.map(|ended| ended.status) {
            Some(status) => status.code().map_or_else(|| End::Signalled(status.signal().unwrap_or(0)), End::Exited),
            None => End::Signalled(Signal::KILL.as_raw()),
        };
        self.killed.remove(&self.pid);
        let usage = self.ended.map(|ended| ended.rusage);
        let peak = usage.map_or(0, |usage| i64::try_from(usage.maxrss).unwrap_or(i64::MAX));
        let cpu = usage.map_or(Duration::ZERO, |usage| usage.utime + usage.stime);
        Report {
            end,
            output,
            left_out,
            killed: self.killed.len(),
            cpu_ms: i64::try_from(cpu.as_millis()).unwrap_or(i64::MAX),
            peak_bytes: self.group.as_ref().and_then(Group::peak_bytes).unwrap_or(peak),
            about_limits: self.about_limits(),
        }
    }

    fn about_limits(&self) -> Option<String> {
        match &self.group {
            Some(group) if self.limits.memory.is_some() && group.ran_out_of_memory() => {
                let most = self.limits.memory.unwrap_or_default() >> 20;
                Some(format!("it wanted more than the {most} MiB of memory it may have, so the kernel ended it"))
            }
            None if self.limits.cpu_percent.is_some() => Some(
                "cpu_quota does not hold here: it needs control groups, which the service file asks for".to_owned(),
            ),
            _ => None,
        }
    }
}

impl Report {
    fn not_started(reason: String) -> Self {
        let end = End::NotStarted(reason);
        Self { end, output: Vec::new(), left_out: 0, killed: 0, cpu_ms: 0, peak_bytes: 0, about_limits: None }
    }
}

/// Sends a signal; the process may be gone already, which is what is wanted.
fn signal(pid: Pid, signal: Signal) {
    let _ = rustix::process::kill_process(pid, signal);
}

/// Starts the command in a process group of its own.
fn start(order: &Order) -> Result<Started, String> {
    let spec = &order.command;
    let failed = |error: io::Error| format!("can't start {}: {error}", spec.argv[0]);
    let secrets = enter::read_secrets(spec)?;
    if let Some(folder) = spec.directory.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(format!("can't start {}: there is no folder {}", spec.argv[0], folder.display()));
    }
    let (out, out_writer) = io::pipe().map_err(failed)?;
    let (err, err_writer) = io::pipe().map_err(failed)?;
    let environment = environment(order, &secrets)?;
    let group = Group::new(&spec.limits);
    let mut plan = enter::Plan::new(spec, environment, group.as_ref());
    let mut command = if plan.needs_entering() { plan.entering() } else { plan.command().map_err(failed)? };
    command.stdout(out_writer).stderr(err_writer).process_group(0);
    let mut child = command.spawn().map_err(failed)?;
    // The command holds the only writing ends from here on.
    drop(command);
    if let Err(reason) = plan.hand_over() {
        // Its control group can be removed only when it is gone, which it is about to be.
        let _ = child.kill().and_then(|()| child.wait());
        return Err(reason);
    }
    Ok(Started { child, limits: spec.limits.clone(), group, out, err, secrets })
}

/// The whole environment of the command, built from nothing.
fn environment(order: &Order, secrets: &[(String, String)]) -> Result<Vec<(String, String)>, String> {
    let spec = &order.command;
    let account = enter::account(spec)?;
    let mut all: std::collections::BTreeMap<String, String> = [
        ("PATH", BARE_PATH),
        ("SHELL", "/bin/sh"),
        ("LANG", "C.UTF-8"),
        ("HOME", &account.home),
        ("USER", &account.name),
        ("LOGNAME", &account.name),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    all.extend(order.about.iter().cloned());
    if let Some(path) = &spec.env_file {
        all.extend(enter::read_env_file(path)?);
    }
    all.extend(spec.env.clone());
    all.extend(secrets.iter().cloned());
    Ok(all.into_iter().collect())
}

/// Where a command's standard input comes from.
fn stdin_of(text: Option<&str>) -> io::Result<Stdio> {
    let Some(text) = text else { return Ok(Stdio::null()) };
    let memory = rustix::fs::memfd_create("stdin", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(memory);
    file.write_all(text.as_bytes())?;
    io::Seek::rewind(&mut file)?;
    Ok(Stdio::from(file))
}
