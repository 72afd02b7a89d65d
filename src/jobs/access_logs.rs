//! Which logs are access logs. Where one is read, its answers 401 are the failed logins that the same server's error log tells
//! of, too: one failure is counted once, by the log that tells of all of them.

use std::path::Path;

use crate::logs::{Lines, MAX_LINE, split};
use crate::model::{Action, Category, Format};
use crate::parse::{AutoParser, Context, YearRule};

/// Whether a log is an access log. The first line decides that is a request, or a failed login, or of no web server, so that what
/// is written later changes nothing. None where no line of the first block is any of these, or the file can't be read.
pub fn is_access_log(path: &Path, format: Option<&Format>) -> Option<bool> {
    let mut lines = Lines::open(path).ok()?;
    // Zone and year are no part of the answer.
    let context = Context { zone: chrono_tz::UTC, year: YearRule::Before(lines.identity.modified()) };
    let mut parser = AutoParser::new(context, format);
    let lines = split(lines.next_block()?).filter(|line| line.len() <= MAX_LINE);
    // Headers begin with a "#".
    let mut events = lines.filter_map(|line| parser.parse(line).filter(|_| !line.starts_with(b"#")));
    events.find_map(|event| match (event.action, event.category) {
        (Action::Request { .. }, _) => Some(true),
        (Action::LoginFailed { .. }, _) => Some(false),
        (_, Category::Access | Category::Error | Category::Unknown) => None,
        (_, Category::Auth | Category::System) => Some(false),
    })
}
