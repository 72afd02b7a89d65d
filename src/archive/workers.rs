//! The same work on many pieces on several threads, its results in the order of the pieces.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How many threads work, and how they behave towards others.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// How many work at once; where the system gives fewer threads, fewer.
    pub threads: usize,
    /// Whether everybody else comes first.
    pub nice: bool,
}

impl Effort {
    /// As many threads as there are processors, up to `most`, because each holds pieces in memory.
    pub fn up_to(most: usize, nice: bool) -> Self {
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { threads: processors.min(most), nice }
    }
}

/// Pieces wait in line for whichever thread is free; results come in the order of the pieces.
pub struct Workers<J, R> {
    work: Arc<Work<J, R>>,
    waiting: Arc<Waiting<J>>,
    results: Receiver<(usize, thread::Result<R>)>,
    /// Whether who waits for a result works on a piece meanwhile.
    helps: bool,
    /// Pieces that were handed in and not given out, oldest first, as far as their results are there.
    pending: VecDeque<Option<thread::Result<R>>>,
    /// How many there are at most: one at work for each thread, and spare ones, so that threads seldom wait for a piece; without
    /// threads one.
    most: usize,
    /// How many were given out.
    given: usize,
}

type Work<J, R> = dyn Fn(J) -> R + Send + Sync;

/// Pieces that nobody works on yet, each with its number.
struct Waiting<J> {
    line: Mutex<Line<J>>,
    changed: Condvar,
}

struct Line<J> {
    pieces: VecDeque<(usize, J)>,
    /// Whether no further ones will come.
    ended: bool,
}

impl<J: Send + 'static, R: Send + 'static> Workers<J, R> {
    /// Threads that do this work, with so many pieces more than are at work.
    pub fn new(effort: Effort, spare: usize, work: impl Fn(J) -> R + Send + Sync + 'static) -> Self {
        let work: Arc<Work<J, R>> = Arc::new(work);
        let line = Mutex::new(Line { pieces: VecDeque::new(), ended: false });
        let waiting = Arc::new(Waiting { line, changed: Condvar::new() });
        let (done, results) = channel();
        let start = || {
            let (work, waiting, done) = (work.clone(), waiting.clone(), done.clone());
            let run = move || {
                if effort.nice {
                    // Of this thread only. Not being nice is no reason not to work.
                    let _ = rustix::process::nice(10);
                }
                serve(&*work, &waiting, &done);
            };
            thread::Builder::new().name("archive".to_owned()).spawn(run).ok()
        };
        // Nobody can be nice for a while only. Where others don't come first, who waits works too: so there are no more threads
        // than processors, and none of them is left idle.
        let wanted = if effort.nice { effort.threads } else { effort.threads.saturating_sub(1) };
        let started = (0..wanted).map_while(|_| start()).count();
        let helps = !effort.nice || started == 0;
        let most = if started == 0 { 1 } else { started + usize::from(helps) + spare };
        Self { work, waiting, results, helps, pending: VecDeque::new(), most, given: 0 }
    }

    /// Hands in a piece; gives the oldest result if it is there, or once there are as many pieces as there may be.
    pub fn push(&mut self, job: J) -> Option<R> {
        let number = self.given + self.pending.len();
        self.pending.push_back(None);
        self.waiting.line().pieces.push_back((number, job));
        self.waiting.changed.notify_one();
        self.take_in();
        let is_there = matches!(self.pending.front(), Some(Some(_)));
        if is_there || self.pending.len() >= self.most { self.pop() } else { None }
    }

    /// Waits for the oldest result; `None` where there is no piece at work.
    ///
    /// # Panics
    /// Where the work on this piece did.
    pub fn pop(&mut self) -> Option<R> {
        while self.pending.front()?.is_none() {
            self.take_in();
            if self.pending.front()?.is_none() {
                self.help_or_wait();
            }
        }
        self.given += 1;
        let result = self.pending.pop_front().flatten()?;
        Some(result.unwrap_or_else(|panic| resume_unwind(panic)))
    }

    fn help_or_wait(&mut self) {
        let next = if self.helps { self.waiting.line().pieces.pop_front() } else { None };
        match next {
            Some((number, job)) => self.note(number, caught(&*self.work, job)),
            None => match self.results.recv() {
                Ok((number, result)) => self.note(number, result),
                Err(_) => unreachable!("threads end when there will be no more pieces"),
            },
        }
    }

    fn take_in(&mut self) {
        while let Ok((number, result)) = self.results.try_recv() {
            self.note(number, result);
        }
    }

    fn note(&mut self, number: usize, result: thread::Result<R>) {
        if let Some(place) = self.pending.get_mut(number - self.given) {
            *place = Some(result);
        }
    }
}

impl<J, R> Drop for Workers<J, R> {
    fn drop(&mut self) {
        let mut line = self.waiting.line();
        line.pieces.clear();
        line.ended = true;
        self.waiting.changed.notify_all();
    }
}

impl<J> Waiting<J> {
    /// Nothing that is done while somebody holds it panics.
    fn line(&self) -> MutexGuard<'_, Line<J>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a piece; `None` where no further ones will come.
    fn next(&self) -> Option<(usize, J)> {
        let idle = |line: &mut Line<J>| line.pieces.is_empty() && !line.ended;
        let line = self.changed.wait_while(self.line(), idle);
        line.unwrap_or_else(PoisonError::into_inner).pieces.pop_front()
    }
}

/// Works on pieces until there will be no more.
fn serve<J, R>(work: &Work<J, R>, waiting: &Waiting<J>, done: &Sender<(usize, thread::Result<R>)>) {
    while let Some((number, job)) = waiting.next() {
        if done.send((number, caught(work, job))).is_err() {
            return;
        }
    }
}

/// What comes of a piece, be it a panic. What the panic may leave half done is a compressor, which begins anew with each piece.
fn caught<J, R>(work: &Work<J, R>, job: J) -> thread::Result<R> {
    catch_unwind(AssertUnwindSafe(|| work(job)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_pieces_with_any_number_of_threads() {
        for (threads, nice) in [0, 1, 2, 3, 7].into_iter().flat_map(|threads| [(threads, false), (threads, true)]) {
            let mut workers = Workers::new(Effort { threads, nice }, 2, |n: u64| n * n);
            let mut got = Vec::new();
            for n in 0..100 {
                got.extend(workers.push(n));
            }
            while let Some(result) = workers.pop() {
                got.push(result);
            }
            assert_eq!(got, (0..100).map(|n| n * n).collect::<Vec<u64>>());
        }
    }

    #[test]
    fn a_panic_at_work_is_a_panic_of_who_takes_its_result_and_of_no_other() {
        for (threads, nice) in [(1, false), (2, false), (3, false), (1, true), (2, true)] {
            let mut workers = Workers::new(Effort { threads, nice }, 2, |n: u64| {
                assert!(n != 3, "a bad piece");
                n
            });
            let mut got = Vec::new();
            let mut take = |workers: &mut Workers<u64, u64>, job: Option<u64>| {
                let step = || match job {
                    Some(job) => workers.push(job),
                    None => workers.pop(),
                };
                got.push(catch_unwind(AssertUnwindSafe(step)).map_err(|_| ()));
            };
            (0..6).for_each(|n| take(&mut workers, Some(n)));
            (0..6).for_each(|_| take(&mut workers, None));
            got.retain(|result| *result != Ok(None));
            assert_eq!(
                got,
                [Ok(Some(0)), Ok(Some(1)), Ok(Some(2)), Err(()), Ok(Some(4)), Ok(Some(5))],
                "{threads} {nice}"
            );
        }
    }

    #[test]
    fn few_pieces_are_there_at_once_and_none_when_nobody_wants_them() {
        for (threads, nice, most) in [(0, false, 1), (1, false, 1), (1, true, 3), (3, false, 5), (3, true, 5)] {
            let alive = Arc::new(());
            let mut workers = Workers::new(Effort { threads, nice }, 2, |piece: Arc<()>| piece);
            for _ in 0..50 {
                let done = workers.push(alive.clone());
                // One of them may just have been given out.
                assert!(Arc::strong_count(&alive) <= 1 + most, "{threads} {nice}");
                assert!(most > 1 || done.is_some(), "{threads} {nice}");
            }
            drop(workers);
            while Arc::strong_count(&alive) > 1 {
                thread::yield_now();
            }
        }
    }
}
