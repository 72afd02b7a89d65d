//! The supervisor: the child under which a command runs.
//!
//! It is this program started again as `logkeeper supervise`. It becomes a session leader and a subreaper, so that every
//! process the command starts, however it detaches itself, stays below it; when the command ends, or the other end
//! of its standard input is closed, whatever is left is ended too. So a killed logkeeper leaves no command behind.
//!
//! It reads an [`Order`] as one line of JSON and writes a [`Report`] as one line of JSON.

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};
use serde::{Deserialize, Serialize};

use crate::model::CommandSpec;

/// How long processes may take to end after they were asked to.
const GRACE: Duration = Duration::from_secs(5);

/// How long what the command left behind may go on, so that a pipeline's last words are not lost.
const DRAIN: Duration = Duration::from_secs(2);

/// How often the list of processes is looked at while waiting for them to end.
const POLL: Duration = Duration::from_millis(20);

/// What to run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The command.
    pub command: CommandSpec,
    /// Environment for it, besides its own: the job's id and the instant it is about.
    pub about: Vec<(String, String)>,
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
    /// What it printed, standard output and error as they came, within the limit.
    pub output: String,
    /// Bytes of output left out in the middle.
    pub left_out: u64,
    /// Processes it had left behind that had to be killed.
    pub killed: usize,
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
    let report = run(&order);
    let mut json = serde_json::to_vec(&report)?;
    json.push(b'\n');
    match io::stdout().write_all(&json) {
        // Whoever gave the order is gone, which is why the command was ended.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

enum Message {
    Ended(ExitStatus),
    Abandoned,
}

fn run(order: &Order) -> Report {
    let not_started = |error: io::Error| {
        let reason = format!("can't start {}: {error}", order.command.argv[0]);
        Report { end: End::NotStarted(reason), output: String::new(), left_out: 0, killed: 0 }
    };
    let (reader, mut child) = match start(order) {
        Ok(started) => started,
        Err(error) => return not_started(error),
    };
    let capture = Arc::new(Mutex::new(Capture::new(order.command.output_limit)));
    let shared = capture.clone();
    let reading = std::thread::spawn(move || read_all(reader, &shared));
    let (sender, messages) = mpsc::channel();
    let leader = Pid::from_child(&child);
    let at_end = sender.clone();
    // Both threads may find nobody listening any more: then the run is over.
    std::thread::spawn(move || child.wait().map(|status| at_end.send(Message::Ended(status))));
    std::thread::spawn(move || {
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        let _ = sender.send(Message::Abandoned);
    });
    let status = match messages.recv() {
        Ok(Message::Ended(status)) => Some(status),
        _ => end_early(leader, &messages),
    };
    let killed = clear_up();
    // A process that can't be killed may hold the pipe for ever; what there is by then must do.
    let deadline = Instant::now() + DRAIN;
    while !reading.is_finished() && Instant::now() < deadline {
        std::thread::sleep(POLL);
    }
    let (output, left_out) = capture.lock().unwrap_or_else(PoisonError::into_inner).kept();
    let end = match status {
        Some(status) => status.code().map_or_else(|| End::Signalled(status.signal().unwrap_or(0)), End::Exited),
        None => End::Signalled(Signal::KILL.as_raw()),
    };
    Report { end, output, left_out, killed }
}

fn start(order: &Order) -> io::Result<(io::PipeReader, std::process::Child)> {
    let spec = &order.command;
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(&spec.argv[0]);
    command.args(&spec.argv[1..]).env_clear();
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.envs([("SHELL", "/bin/sh"), ("LANG", "C.UTF-8")]);
    for name in ["HOME", "USER", "LOGNAME"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command.envs(order.about.iter().cloned()).envs(&spec.env);
    command.current_dir(spec.directory.as_deref().unwrap_or(std::path::Path::new("/")));
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let child = command.spawn()?;
    Ok((reader, child))
}

/// Asks everything to end, waits a while, then kills the leader; returns its status.
fn end_early(leader: Pid, messages: &mpsc::Receiver<Message>) -> Option<ExitStatus> {
    for pid in descendants() {
        // It may be gone already, which is what is wanted.
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
    let deadline = Instant::now() + GRACE;
    loop {
        match messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Message::Ended(status)) => return Some(status),
            Ok(Message::Abandoned) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    let _ = rustix::process::kill_process(leader, Signal::KILL);
    match messages.recv_timeout(GRACE) {
        Ok(Message::Ended(status)) => Some(status),
        _ => None,
    }
}

/// Waits a moment for what the command left behind, then kills it; returns how many it had to kill.
fn clear_up() -> usize {
    let drained = Instant::now() + DRAIN;
    while Instant::now() < drained && !descendants().is_empty() {
        std::thread::sleep(POLL);
    }
    let mut killed = std::collections::HashSet::new();
    let deadline = Instant::now() + GRACE;
    loop {
        let left = descendants();
        if left.is_empty() || Instant::now() > deadline {
            return killed.len();
        }
        for pid in left {
            killed.insert(pid);
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(POLL);
    }
}

/// All living processes below this one; dead ones that nobody waited for are reaped on the way.
fn descendants() -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<(i32, bool)>> = HashMap::new();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    for entry in entries {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = std::fs::read(entry.path().join("stat")) else { continue };
        // proc(5): "pid (name) state ppid …", and the name may hold anything.
        let Some(close) = memchr::memrchr(b')', &stat) else { continue };
        let rest = String::from_utf8_lossy(&stat[close + 1..]).into_owned();
        let mut fields = rest.split_ascii_whitespace();
        let (Some(state), Some(Ok(parent))) = (fields.next(), fields.next().map(str::parse::<i32>)) else { continue };
        children.entry(parent).or_default().push((pid, state == "Z"));
    }
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let (mut found, mut queue) = (Vec::new(), vec![me]);
    while let Some(parent) = queue.pop() {
        for (pid, dead) in children.remove(&parent).unwrap_or_default() {
            queue.push(pid);
            match Pid::from_raw(pid) {
                // The leader itself is waited for by its thread; a failure here means that it was quicker.
                Some(pid) if dead && parent == me => drop(rustix::process::waitpid(Some(pid), WaitOptions::NOHANG)),
                Some(pid) if !dead => found.push(pid),
                _ => {}
            }
        }
    }
    found
}

/// The first and the last part of an output.
struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    half: usize,
    total: u64,
}

/// Reads to the end; the writer is never held up.
fn read_all(mut reader: impl Read, capture: &Mutex<Capture>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = reader.read(&mut buffer) {
        capture.lock().unwrap_or_else(PoisonError::into_inner).add(&buffer[..read]);
    }
}

impl Capture {
    /// Keeps at most `limit` bytes.
    fn new(limit: usize) -> Self {
        Self { head: Vec::new(), tail: VecDeque::new(), half: limit / 2, total: 0 }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = (self.half - self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        let rest = &bytes[room..];
        self.tail.extend(&rest[rest.len().saturating_sub(self.half)..]);
        let surplus = self.tail.len().saturating_sub(self.half);
        self.tail.drain(..surplus);
    }

    /// What was kept as text, and how many bytes were left out.
    fn kept(&self) -> (String, u64) {
        let left_out = self.total - (self.head.len() + self.tail.len()) as u64;
        let mut bytes = self.head.clone();
        if left_out > 0 {
            bytes.extend(format!("\n[… {left_out} bytes left out …]\n").into_bytes());
        }
        bytes.extend(&self.tail);
        (String::from_utf8_lossy(&bytes).into_owned(), left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_output_keeps_its_head_and_tail() {
        let kept = |text: &str| {
            let capture = Mutex::new(Capture::new(2000));
            read_all(text.as_bytes(), &capture);
            capture.into_inner().unwrap().kept()
        };
        let text: String = (0..10_000).map(|i| format!("{i}\n")).collect();
        let (shown, left_out) = kept(&text);
        assert!(shown.starts_with("0\n1\n") && shown.ends_with("9998\n9999\n"), "{shown}");
        assert_eq!(left_out, text.len() as u64 - 2000);
        assert_eq!(kept("short"), ("short".to_owned(), 0));
    }
}
