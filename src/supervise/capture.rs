//! What a command prints: line by line with its time, the first and the last part kept, the middle counted.

use std::collections::VecDeque;
use std::io::{PipeReader, Read};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::{Message, say};
use crate::model::{OutputLine, Stream};

/// Longer lines are cut into pieces.
const LONGEST_LINE: usize = 64 * 1024;

/// What a line costs besides its bytes, so that empty lines have a limit, too.
const LINE_COST: usize = 16;

/// Those who watch get at most so many bytes in a tenth of a second; what the run keeps does not depend on it.
const LIVE_BYTES: usize = 64 * 1024;
const LIVE_PERIOD: Duration = Duration::from_millis(100);

/// The first and the last part of an output.
pub struct Capture {
    head: Vec<OutputLine>,
    tail: VecDeque<OutputLine>,
    head_room: usize,
    tail_size: usize,
    half: usize,
    /// Bytes that are in neither part, and whether the head is closed.
    left_out: u64,
    head_full: bool,
    secrets: Vec<(String, String)>,
    live: Live,
}

/// A line that has begun.
#[derive(Default)]
struct Open {
    bytes: Vec<u8>,
    ms: u64,
}

/// One of a command's two streams.
pub struct Captured {
    stream: Stream,
    pipe: Option<PipeReader>,
    open: Open,
    begun: Instant,
}

impl Captured {
    /// A stream that begins now.
    pub fn new(stream: Stream, pipe: PipeReader) -> Self {
        Self { stream, pipe: Some(pipe), open: Open::default(), begun: Instant::now() }
    }

    /// What to wait for; `None` once nothing more comes.
    pub fn poll_fd(&self) -> Option<PollFd<'_>> {
        self.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN))
    }

    /// Whether nothing more comes.
    pub fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }

    /// Takes what is there; whole lines are passed on to those who watch.
    pub fn read(&mut self, capture: &mut Capture) {
        let mut buffer = [0; 64 * 1024];
        match self.pipe.as_mut().map_or(Ok(0), |pipe| pipe.read(&mut buffer)) {
            Ok(read @ 1..) => {
                let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.open.take(&buffer[..read], ms, self.stream, &mut |line| capture.show_and_add(line));
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => self.close(capture),
        }
    }

    /// Takes a last line without an end, and nothing more.
    pub fn close(&mut self, capture: &mut Capture) {
        self.pipe = None;
        self.open.flush(self.stream, &mut |line| capture.show_and_add(line));
    }
}

impl Open {
    /// Adds bytes that came at `ms`, and hands over every line that is whole.
    fn take(&mut self, mut bytes: &[u8], ms: u64, stream: Stream, done: &mut impl FnMut(OutputLine)) {
        while !bytes.is_empty() {
            if self.bytes.is_empty() {
                self.ms = ms;
            }
            let end = memchr::memchr(b'\n', bytes);
            let room = LONGEST_LINE - self.bytes.len();
            let taken = end.unwrap_or(bytes.len()).min(room);
            self.bytes.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if end == Some(taken) {
                bytes = &bytes[1..];
                self.hand_over(stream, done);
            } else if self.bytes.len() == LONGEST_LINE {
                self.hand_over(stream, done);
            }
        }
    }

    /// Hands over a last line without an end.
    fn flush(&mut self, stream: Stream, done: &mut impl FnMut(OutputLine)) {
        if !self.bytes.is_empty() {
            self.hand_over(stream, done);
        }
    }

    fn hand_over(&mut self, stream: Stream, done: &mut impl FnMut(OutputLine)) {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        done(OutputLine { ms: self.ms, stream, text });
        self.bytes.clear();
    }
}

/// Passes lines on to those who watch, within a limit.
struct Live {
    since: Instant,
    left: usize,
    missed: u64,
}

impl Live {
    fn show(&mut self, line: &OutputLine) {
        if self.left < line.text.len() + LINE_COST && self.since.elapsed() < LIVE_PERIOD {
            self.missed += 1;
            return;
        }
        if self.since.elapsed() >= LIVE_PERIOD {
            (self.since, self.left) = (Instant::now(), LIVE_BYTES);
            if self.missed > 0 {
                let text = format!("[… {} lines not shown here …]", self.missed);
                self.missed = 0;
                // Nobody has to watch.
                let _ = say(&Message::Line(OutputLine { ms: line.ms, stream: line.stream, text }));
            }
        }
        self.left = self.left.saturating_sub(line.text.len() + LINE_COST);
        let _ = say(&Message::Line(line.clone()));
    }
}

impl Capture {
    /// Keeps at most `limit` bytes, and shows none of the secrets.
    pub fn new(limit: usize, mut secrets: Vec<(String, String)>) -> Self {
        let half = limit / 2;
        // The longest first, because one may begin like another.
        secrets.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            head_room: half,
            tail_size: 0,
            half,
            left_out: 0,
            head_full: false,
            secrets,
            live: Live { since: Instant::now(), left: LIVE_BYTES, missed: 0 },
        }
    }

    fn show_and_add(&mut self, line: OutputLine) {
        let line = self.clean(line);
        self.live.show(&line);
        self.add(line);
    }

    /// The line without secrets.
    fn clean(&self, mut line: OutputLine) -> OutputLine {
        for (name, value) in &self.secrets {
            if !value.is_empty() && line.text.contains(value) {
                line.text = line.text.replace(value, &format!("[{name}]"));
            }
        }
        line
    }

    fn add(&mut self, line: OutputLine) {
        let size = line.text.len() + LINE_COST;
        if !self.head_full && size <= self.head_room {
            self.head_room -= size;
            self.head.push(line);
            return;
        }
        self.head_full = true;
        self.tail_size += size;
        self.tail.push_back(line);
        while self.tail_size > self.half.max(LONGEST_LINE.min(size)) {
            let Some(oldest) = self.tail.pop_front() else { break };
            self.tail_size -= oldest.text.len() + LINE_COST;
            self.left_out += oldest.text.len() as u64 + 1;
        }
    }

    /// What was kept, and how many bytes were left out between its two parts.
    pub fn kept(&mut self) -> (Vec<OutputLine>, u64) {
        let mut lines = std::mem::take(&mut self.head);
        if self.left_out > 0 {
            let ms = self.tail.front().map_or(0, |line| line.ms);
            let text = format!("[… {} bytes left out …]", self.left_out);
            lines.push(OutputLine { ms, stream: Stream::Out, text });
        }
        lines.extend(std::mem::take(&mut self.tail));
        (lines, self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str, limit: usize) -> (Vec<String>, u64) {
        let mut capture = Capture::new(limit, Vec::new());
        let mut open = Open::default();
        for piece in text.as_bytes().chunks(1000) {
            open.take(piece, 0, Stream::Out, &mut |line| capture.add(line));
        }
        open.flush(Stream::Out, &mut |line| capture.add(line));
        let (lines, left_out) = capture.kept();
        (lines.into_iter().map(|line| line.text).collect(), left_out)
    }

    #[test]
    fn a_long_output_keeps_its_head_and_tail() {
        let text: String = (0..10_000).map(|i| format!("{i}\n")).collect();
        let (shown, left_out) = kept(&text, 2000);
        assert_eq!((&shown[0][..], &shown[shown.len() - 1][..]), ("0", "9999"));
        let bytes: usize = shown.iter().filter(|line| !line.starts_with('[')).map(|line| line.len() + 1).sum();
        assert_eq!(bytes as u64 + left_out, text.len() as u64);
        assert_eq!(kept("short", 2000), (vec!["short".to_owned()], 0));
        assert_eq!(kept("a\n\nb\n", 2000).0, ["a", "", "b"]);
    }

    #[test]
    fn a_line_without_end_is_cut_into_pieces_and_costs_no_memory() {
        let (shown, left_out) = kept(&"x".repeat(1 << 20), 4096);
        assert!(shown.iter().all(|line| line.len() <= LONGEST_LINE), "{}", shown.len());
        assert!(left_out > 900_000);
    }
}
