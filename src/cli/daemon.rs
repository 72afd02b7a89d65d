//! `logkeeper daemon`

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;

use crate::clock::SystemClock;
use crate::config::Config;
use crate::runner::{App, Lock};
use crate::store::Store;

#[derive(clap::Args)]
pub struct Args {}

pub fn run(root: &Path, _: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&super::absolute(root))?;
    log_to_stderr("info");
    let _lock = Lock::take(&config.state, "logkeeper daemon")?;
    let store = Store::open(&config.state)?;
    let app = App::new(config, store, Arc::new(SystemClock));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build()?;
    let result = runtime.block_on(crate::daemon::run(app));
    // Work that does not end although it was told to must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result.map(|()| ExitCode::SUCCESS)
}

/// Logs to standard error; `RUST_LOG` overrides the level.
pub fn log_to_stderr(level: &str) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},tokio_cron_scheduler=warn")));
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Only the first logger of a process counts.
    let _ = logger.with_ansi(std::io::stderr().is_terminal()).try_init();
}
