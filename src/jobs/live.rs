//! What a running command prints, for those who watch.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::OutputLine;

/// How much is kept for those who look late or seldom.
const LINES: usize = 2000;
const BYTES: usize = 512 * 1024;

/// The latest lines of a running command.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<OutputLine>,
    bytes: usize,
    /// How many lines came before those that are kept.
    before: usize,
}

impl Live {
    /// Adds a line; the oldest go when it gets too much.
    pub fn push(&self, line: OutputLine) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += line.text.len();
        kept.lines.push_back(line);
        while kept.lines.len() > LINES || (kept.bytes > BYTES && kept.lines.len() > 1) {
            kept.bytes -= kept.lines.pop_front().map_or(0, |line| line.text.len());
            kept.before += 1;
        }
    }

    /// The kept lines from number `from` on, and the number of the one that comes next.
    pub fn from(&self, from: usize) -> (Vec<OutputLine>, usize) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = kept.lines.iter().skip(from.saturating_sub(kept.before)).cloned().collect();
        (lines, kept.before + kept.lines.len())
    }
}
