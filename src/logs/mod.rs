//! Logs: selecting files, opening them plain or compressed, and remembering how far they were read.

mod cursor;
mod evtx;
mod finished;
mod journal;
mod lines;
mod select;

pub use cursor::{Cursor, Plan, Position, plan};
pub use finished::{Writers, unfinished};
pub use journal::{JournalEntries, read_journal};
pub use lines::{Ending, Lines, MAX_LINE, split};
pub use select::{LogFile, Patterns, Stream, files, folders, rotation_of, streams};
