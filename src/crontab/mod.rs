//! Crontabs of other crons: read them, write jobs that do the same, and compare both.

mod parse;
mod record;
mod walk;
mod write;

pub use parse::{Crontab, Entry, Layout, read, run_parts};
pub use record::{ANACRONTAB, Imported, cron_d_files, still_run_by_cron};
pub use walk::fires;
pub use write::{Written, job_files, recipients};
