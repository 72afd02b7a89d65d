//! logrotate's files: read them, and write jobs that do the same.

mod parse;
mod write;

pub use parse::{Directive, Entry, Parsed, read};
pub use write::{Note, Written, job_file};
