//! Which logs are access logs. Where one is read, its answers 401 are the failed logins that the same server's error log tells
//! of, too: one failure is counted once, by the log that tells of all of them.

use std::path::Path;

use crate::logs::{Lines, MAX_LINE, split};
use crate::model::{Action, Format};
use crate::parse::{AutoParser, Context, YearRule};

/// Whether the first line that is understood is an access log's, so that what follows changes nothing; none where there is no
/// such line among the first, or the file can't be read.
pub fn is_access_log(path: &Path, format: Option<&Format>) -> Option<bool> {
    let mut lines = Lines::open(path).ok()?;
    // Zone and year are no part of the answer.
    let context = Context { zone: chrono_tz::UTC, year: YearRule::Before(lines.identity.modified()) };
    let mut parser = AutoParser::new(context, format);
    // Headers begin with a "#".
    let said = split(lines.next_block()?).filter(|line| !line.starts_with(b"#") && line.len() <= MAX_LINE);
    let mut events = said.filter_map(|line| parser.parse(line));
    events.next().map(|first| matches!(first.action, Action::Request { .. }))
}
