//! What a running job prints and how far it is, for those who watch.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{Glance, OutputLine, Progress};

/// How much is kept for those who look late or seldom.
const LINES: usize = 2000;
const BYTES: usize = 512 * 1024;

/// The latest lines of a running command, or the bytes of logs that a job has gone through.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    kept: Mutex<Kept>,
    done: AtomicU64,
    total: AtomicU64,
}

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
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += line.text.len();
        kept.lines.push_back(line);
        while kept.lines.len() > LINES || (kept.bytes > BYTES && kept.lines.len() > 1) {
            kept.bytes -= kept.lines.pop_front().map_or(0, |line| line.text.len());
            kept.before += 1;
        }
    }

    /// So many bytes more are to be gone through.
    pub fn extend(&self, bytes: u64) {
        self.0.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes more are done.
    pub fn advance(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The kept lines from number `from` on, and how far it is.
    pub fn glance(&self, from: usize) -> Glance {
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = kept.lines.iter().skip(from.saturating_sub(kept.before)).cloned().collect();
        let total = self.0.total.load(Ordering::Relaxed);
        let done = self.0.done.load(Ordering::Relaxed).min(total);
        let progress = (total > 0).then_some(Progress { done, total });
        Glance { lines, next: kept.before + kept.lines.len(), progress }
    }
}
