//! Logs: selecting files, opening them plain or compressed, remembering how far they were read, and rotating them.

mod cursor;
mod evtx;
mod finished;
mod journal;
mod lines;
mod one_a_line;
pub mod rotate;
mod select;
mod unpacking;
mod utf16;

pub use cursor::{Copy, Cursor, Plan, Position, is_of, plan};
pub use finished::{Writers, unfinished};
pub use journal::{JournalEntries, read_journal};
pub use lines::{BLOCK, Ending, Lines, MAX_LINE, split};
pub use select::{LogFile, Patterns, Stream, files, folders, logs, rotation_of, streams};
