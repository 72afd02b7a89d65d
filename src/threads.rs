//! Blocking work off the async threads, also when the system gives no thread for it.
//!
//! Tokio's pool queues work for which it can't make a thread, which may be for ever, and panics where it has none at all
//! (seen under `prlimit --nproc`). Here work waits for a while only, and never panics for that.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// How long work may wait for a thread. The pool may have more threads than ever work at once, so this is not somebody else's work.
const PATIENCE: Duration = Duration::from_secs(3);

/// The work ended in a panic, which is in the log.
#[derive(Debug, thiserror::Error)]
#[error("an error inside logkeeper; its log tells where")]
pub struct Panicked;

/// Does blocking work on another thread, and on this one where there is no other.
///
/// # Errors
/// Fails where the work panics.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
    match try_blocking(work).await {
        Ok(result) => result,
        // An async thread that stands still for a moment is better than work that is never done.
        Err(work) => std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked),
    }
}

/// Does blocking work on another thread.
///
/// # Errors
/// Hands the work back, not begun, where the system gives no thread for it. The inner result fails where the work panics.
pub async fn try_blocking<T, W>(work: W) -> Result<Result<T, Panicked>, W>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    let offered = Arc::new(Mutex::new(Some(work)));
    let taken = offered.clone();
    let (sender, mut done) = oneshot::channel();
    let begin = move || {
        if let Some(work) = take(&taken) {
            // Whoever asked may be gone.
            let _ = sender.send(work());
        }
    };
    // What tokio does where it has no thread at all; the panic is in the log, and nothing of ours is broken by it.
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| tokio::task::spawn_blocking(begin)));
    let in_time = tokio::time::timeout(PATIENCE, &mut done).await;
    if let Some(work) = take(&offered) {
        return Err(work);
    }
    let result = match in_time {
        Ok(result) => result,
        Err(_) => done.await,
    };
    Ok(result.map_err(|_| Panicked))
}

fn take<W>(work: &Mutex<Option<W>>) -> Option<W> {
    work.lock().unwrap_or_else(PoisonError::into_inner).take()
}
