//! The same work on many pieces on several threads, its results in the order of the pieces.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

/// How many pieces a lane holds: one at work and one waiting.
const DEPTH: usize = 1;

/// How many threads work, and how they behave towards others.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// How many lanes; where the system gives fewer threads, fewer.
    pub threads: usize,
    /// Whether everybody else comes first.
    pub nice: bool,
}

impl Effort {
    /// As many threads as there are processors, up to `most`, because each holds pieces in memory.
    pub fn up_to(most: usize, nice: bool) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { threads: processors.min(most), nice }
    }
}

/// Pieces go round the lanes, so results come back in order without being sorted.
pub struct Lanes<J, R> {
    work: Arc<dyn Fn(J) -> R + Send + Sync>,
    lanes: Vec<Lane<J, R>>,
    next: usize,
    pending: usize,
}

struct Lane<J, R> {
    jobs: SyncSender<J>,
    results: Receiver<R>,
    thread: Option<JoinHandle<()>>,
}

impl<J: Send + 'static, R: Send + 'static> Lanes<J, R> {
    /// Lanes that do this work. Where the system gives no thread, it is done by whoever pushes.
    pub fn new(effort: Effort, work: impl Fn(J) -> R + Send + Sync + 'static) -> Self {
        let work: Arc<dyn Fn(J) -> R + Send + Sync> = Arc::new(work);
        let start = || {
            let (jobs, waiting) = sync_channel::<J>(DEPTH);
            let (done, results) = sync_channel::<R>(DEPTH);
            let work = work.clone();
            let run = move || {
                if effort.nice {
                    // Of this thread only. Not being nice is no reason not to work.
                    let _ = rustix::process::nice(10);
                }
                while let Ok(job) = waiting.recv() {
                    if done.send(work(job)).is_err() {
                        return;
                    }
                }
            };
            let thread = Builder::new().name("archive".to_owned()).spawn(run).ok()?;
            Some(Lane { jobs, results, thread: Some(thread) })
        };
        let lanes = (0..effort.threads).map_while(|_| start()).collect();
        Self { work, lanes, next: 0, pending: 0 }
    }

    /// Hands in a piece; gives the oldest result once there are as many pieces at work as there may be.
    pub fn push(&mut self, job: J) -> Option<R> {
        if self.lanes.is_empty() {
            return Some((self.work)(job));
        }
        let done = if self.pending == self.lanes.len() * DEPTH { self.pop() } else { None };
        let at = self.next % self.lanes.len();
        let lane = &mut self.lanes[at];
        if lane.jobs.send(job).is_err() {
            lane.raise();
        }
        self.next += 1;
        self.pending += 1;
        done
    }

    /// Waits for the oldest result; `None` where there is no piece at work.
    pub fn pop(&mut self) -> Option<R> {
        if self.pending == 0 {
            return None;
        }
        let at = (self.next - self.pending) % self.lanes.len();
        self.pending -= 1;
        let lane = &mut self.lanes[at];
        match lane.results.recv() {
            Ok(result) => Some(result),
            Err(_) => lane.raise(),
        }
    }
}

impl<J, R> Lane<J, R> {
    /// Goes on with the panic that ended the thread, which ends for nothing else while its lane is there.
    fn raise(&mut self) -> ! {
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            _ => unreachable!("a lane ends only by a panic"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_pieces_with_any_number_of_threads() {
        for threads in [0, 1, 2, 3, 7] {
            let mut lanes = Lanes::new(Effort { threads, nice: false }, |n: u64| n * n);
            let mut got = Vec::new();
            for n in 0..100 {
                got.extend(lanes.push(n));
            }
            while let Some(result) = lanes.pop() {
                got.push(result);
            }
            assert_eq!(got, (0..100).map(|n| n * n).collect::<Vec<u64>>());
        }
    }

    #[test]
    #[should_panic(expected = "a bad piece")]
    fn a_panic_at_work_is_a_panic_of_who_waits_for_it() {
        let mut lanes = Lanes::new(Effort { threads: 2, nice: false }, |n: u64| assert!(n != 3, "a bad piece"));
        for n in 0..100 {
            let _ = lanes.push(n);
        }
    }
}
