//! `logkeeper daemon`

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::clock::SystemClock;
use crate::config::Config;
use crate::runner::{App, Lock};
use crate::store::Store;

/// More than runs can go on together (`max_parallel` is at most 800).
const BLOCKING_THREADS: usize = 1024;

#[derive(clap::Args)]
pub struct Args {}

pub fn run(root: &Path, _: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&super::absolute(root))?;
    log_to_stderr("info");
    let _lock = Lock::take(&config.state, "logkeeper daemon")?;
    let store = Store::open(&config.state)?;
    match crate::supervise::cgroup::prepare() {
        Ok(true) => tracing::debug!("memory and cpu_quota of commands hold for all their processes together"),
        Ok(false) => {}
        Err(error) => tracing::warn!("commands have no control groups, so memory holds for each process: {error}"),
    }
    let (app, follow_ups) = App::new(config, store, Arc::new(SystemClock));
    let runtime = runtime()?;
    let result = runtime.block_on(crate::daemon::run(app, follow_ups));
    // Work that does not end although it was told to must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result.map(|()| ExitCode::SUCCESS)
}

const NO_THREAD: &str = "the system gives logkeeper no thread; see ulimit -u, and TasksMax of the service";

/// How long the async runtime may take to begin.
const FIRST_SIGN: std::time::Duration = std::time::Duration::from_secs(5);

/// The async runtime: each run has a blocking thread, and there are always some left for everything else.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // Of two workers of which the second can't be made, tokio would wait for ever for the first one's end.
    if !can_make_threads() {
        anyhow::bail!(NO_THREAD);
    }
    builder.enable_all().worker_threads(2).max_blocking_threads(BLOCKING_THREADS);
    let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.build()));
    // Where the system gives it no thread, tokio panics, or says nothing and its tasks wait for ever.
    let Ok(runtime) = built else { anyhow::bail!(NO_THREAD) };
    let runtime = runtime.context("can't start the async runtime")?;
    let (sign, life) = std::sync::mpsc::channel();
    runtime.spawn(async move { sign.send(()) });
    if life.recv_timeout(FIRST_SIGN).is_err() {
        runtime.shutdown_background();
        anyhow::bail!(NO_THREAD);
    }
    Ok(runtime)
}

/// Whether the system gives some more threads than the runtime begins with: those tried take a moment to be gone.
fn can_make_threads() -> bool {
    let all_made = Arc::new(std::sync::Mutex::new(()));
    // They wait for this lock, so that all are there at once.
    let held = all_made.lock();
    let made: Vec<_> = (0..4)
        .map(|_| {
            let all_made = all_made.clone();
            std::thread::Builder::new().spawn(move || drop(all_made.lock()))
        })
        .collect();
    drop(held);
    let enough = made.iter().all(Result::is_ok);
    // They do nothing that could panic.
    made.into_iter().flatten().for_each(|thread| drop(thread.join()));
    enough
}

/// Logs to standard error; `RUST_LOG` overrides the level.
pub fn log_to_stderr(level: &str) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},tokio_cron_scheduler=warn")));
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Only the first logger of a process counts.
    let _ = logger.with_ansi(std::io::stderr().is_terminal()).try_init();
}
