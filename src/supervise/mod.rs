//! The supervisor: the child under which a command runs.
//!
//! It is this program started again as `logkeeper supervise`. It becomes a session leader and a subreaper, so that every
//! process the command starts, however it detaches itself, stays below it; when the command ends, or the other end
//! of its standard input is closed, whatever is left is ended too. So a killed logkeeper leaves no command behind.
//!
//! It reads an [`Order`] as one line of JSON and writes [`Message`]s as lines of JSON: what the command prints while it
//! runs, and at last a report.

mod capture;
pub mod enter;
mod family;

use std::io::{self, BufRead, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::model::{CommandSpec, OutputLine};
use capture::Capture;

/// How long what the command left behind may go on, so that a pipeline's last words are not lost.
const DRAIN: Duration = Duration::from_secs(2);

/// How long killed processes may take to be gone.
const DEATH: Duration = Duration::from_secs(5);

/// How often it is looked whether processes are gone.
const POLL: Duration = Duration::from_millis(20);

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
    /// The most memory one of its processes held, in bytes.
    pub peak_bytes: i64,
}

/// Runs the order on standard input and reports on standard output.
///
/// # Errors
/// Fails where the order can't be read or the report can't be written.
pub fn main() -> io::Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line)?;
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let report = match start(&order) {
        Ok(started) => watch(started, &order),
        Err(reason) => Report {
            end: End::NotStarted(reason),
            output: Vec::new(),
            left_out: 0,
            killed: 0,
            cpu_ms: 0,
            peak_bytes: 0,
        },
    };
    match say(&Message::Report(report)) {
        // Whoever gave the order is gone, which is why the command was ended.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
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

/// A command that runs.
struct Started {
    child: Child,
    out: io::PipeReader,
    err: io::PipeReader,
    /// Names and values that are never shown.
    secrets: Vec<(String, String)>,
}

enum Event {
    Ended(ExitStatus),
    Abandoned,
}

fn watch(started: Started, order: &Order) -> Report {
    let Started { mut child, out, err, secrets } = started;
    let capture = Arc::new(Mutex::new(Capture::new(order.command.output_limit, secrets)));
    let shared = capture.clone();
    let reading = std::thread::spawn(move || capture::read_all(out, err, &shared));
    let (sender, events) = mpsc::channel();
    let leader = Pid::from_child(&child);
    let at_end = sender.clone();
    // Both threads may find nobody listening any more: then the run is over.
    std::thread::spawn(move || child.wait().map(|status| at_end.send(Event::Ended(status))));
    std::thread::spawn(move || {
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        let _ = sender.send(Event::Abandoned);
    });
    let (status, drain) = match events.recv() {
        Ok(Event::Ended(status)) => (Some(status), DRAIN),
        _ => (end_early(leader, &events, Duration::from_millis(order.grace_ms)), Duration::ZERO),
    };
    let killed = clear_up(drain);
    // A process that can't be killed may hold the pipe for ever; what there is by then must do.
    let deadline = Instant::now() + DRAIN;
    while !reading.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (output, left_out) = capture.lock().unwrap_or_else(PoisonError::into_inner).kept();
    let end = match status {
        Some(status) => status.code().map_or_else(|| End::Signalled(status.signal().unwrap_or(0)), End::Exited),
        None => End::Signalled(Signal::KILL.as_raw()),
    };
    let (cpu_ms, peak_bytes) = usage();
    Report { end, output, left_out, killed, cpu_ms, peak_bytes }
}

/// Starts the command in a process group of its own.
fn start(order: &Order) -> Result<Started, String> {
    let spec = &order.command;
    let failed = |error: io::Error| format!("can't start {}: {error}", spec.argv[0]);
    let secrets = enter::read_secrets(spec)?;
    let (out, out_writer) = io::pipe().map_err(failed)?;
    let (err, err_writer) = io::pipe().map_err(failed)?;
    let environment = environment(order, &secrets)?;
    let mut plan = enter::Plan::new(spec, environment);
    let mut command = if plan.needs_entering() { plan.entering() } else { plan.command().map_err(failed)? };
    command.stdout(out_writer).stderr(err_writer).process_group(0);
    let child = command.spawn().map_err(failed)?;
    // The command holds the only writing ends from here on.
    drop(command);
    plan.hand_over()?;
    Ok(Started { child, out, err, secrets })
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

/// Asks everything to end, waits a while, then kills the leader; returns its status.
fn end_early(leader: Pid, events: &mpsc::Receiver<Event>, grace: Duration) -> Option<ExitStatus> {
    for pid in family::descendants() {
        // It may be gone already, which is what is wanted.
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
    let deadline = Instant::now() + grace;
    loop {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Event::Ended(status)) => {
                while Instant::now() < deadline && !family::is_empty() {
                    std::thread::sleep(POLL);
                }
                return Some(status);
            }
            Ok(Event::Abandoned) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    let _ = rustix::process::kill_process(leader, Signal::KILL);
    match events.recv_timeout(DEATH) {
        Ok(Event::Ended(status)) => Some(status),
        _ => None,
    }
}

/// Waits a moment for what the command left behind, then kills it; returns how many it had to kill.
fn clear_up(drain: Duration) -> usize {
    let drained = Instant::now() + drain;
    while Instant::now() < drained && !family::is_empty() {
        std::thread::sleep(POLL);
    }
    let mut killed = std::collections::HashSet::new();
    let deadline = Instant::now() + DEATH;
    while !family::is_empty() && Instant::now() < deadline {
        for pid in family::descendants() {
            killed.insert(pid);
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    killed.len()
}

/// Processor time in milliseconds and peak memory in bytes of everything that was waited for.
fn usage() -> (i64, i64) {
    let Ok(usage) = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN) else { return (0, 0) };
    let ms = |time: nix::sys::time::TimeVal| time.tv_sec() * 1000 + time.tv_usec() / 1000;
    (ms(usage.user_time()) + ms(usage.system_time()), usage.max_rss() * 1024)
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
