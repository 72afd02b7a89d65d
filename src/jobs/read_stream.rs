//! Reading what is new of a stream: of one of its files, or of the journal.

use super::access_logs::AccessLogs;
use super::ahead::each_piece;
use super::scan_state::Stream;
use super::scanner::Scanner;
use super::settler::{Input, Piece};
use super::{Context, JobError};
use crate::logs::{self, Ending, Lines, Plan, Position};
use crate::model::finding::JOURNAL;
use crate::model::{Formats, Source};
use crate::parse::{self, AutoParser, YearRule};

/// Reads a file on from where reading stopped, and remembers where it stops now.
///
/// # Errors
/// Only where the run is stopped; what can't be read is a problem.
pub fn read_file(
    scanner: &mut Scanner,
    stream: &mut Stream,
    (source, mut plan): (&Source, Plan),
    access_logs: &AccessLogs,
    context: &Context<'_>,
    notes: &mut Vec<String>,
    problems: &mut Vec<String>,
) -> Result<(), JobError> {
    let opened = plan.open(problems).unwrap_or_else(|error| {
        problems.push(format!("can't read {}: {error}", plan.path.display()));
        None
    });
    let Some(mut lines) = opened else {
        stream.cursor.positions.push(plan.position);
        return Ok(());
    };
    let modified = lines.identity.modified();
    // A file that was rotated away took its header with it.
    let its_own = plan.position.offset > 0;
    let header = if its_own { &plan.position.header } else { &stream.header };
    let parse_context = parse::Context { zone: source.zone, year: YearRule::Before(modified) };
    let mut parser = AutoParser::new(parse_context, &source.formats).named(&plan.path).continuing(header, its_own);
    let host = source.host_of(&plan.path);
    let input = Input {
        source: &source.name,
        file: plan.path.to_string_lossy().into(),
        fallback: modified,
        present: context.clock.now().timestamp(),
        host: &host,
        web_logins: &source.web_logins,
        requests_are_read: access_logs.any_besides(stream.is_access_log == Some(true), &host),
        access_logs: Some(access_logs),
    };
    let digests = scanner.path_digests();
    let mut settler = scanner.settler(&input, &mut stream.state, plan.position.line);
    each_piece(&mut lines, &mut parser, digests.as_ref(), &mut settler, |piece| {
        context.check()?;
        scanner.take_in(&input, piece, None);
        Ok::<_, JobError>(())
    })?;
    let is_left_alone = is_left_alone(modified, context);
    let is_whole = lines.compressed || plan.rotated && is_left_alone;
    let is_cut = !lines.tail().is_empty();
    if is_cut && is_left_alone && !is_whole {
        notes.push(format!("{}: its last line has no line break, and counts once it has one", input.file));
    }
    // Where nothing will be added, what is there is the last line. But a damaged end may still be written.
    if is_whole && lines.ending() == Ending::Whole {
        let mut last = Piece::of(lines.tail().to_vec(), lines.overlong, &mut parser);
        settler.settle(&mut last);
        scanner.take_in(&input, &last, None);
        lines.take_tail();
    }
    let line = settler.pass_over(lines.overlong);
    scanner.overlong(&input, &stream.state, lines.overlong);
    tell_of_damage(&lines, &plan, (&input.file, line), problems);
    // A compressed copy that is still being written may end before what was read already.
    let offset = lines.offset.max(plan.position.offset);
    let finished = !is_cut || is_whole || lines.ending() != Ending::Whole;
    stream.header = parser.header();
    let header = stream.header.clone();
    let position = Position { offset, line, header, finished, ..plan.position.clone() };
    stream.cursor.positions.extend(plan.twin_positions(&position));
    stream.cursor.positions.push(position);
    Ok(())
}

/// Tells of a file whose end can't be read, unless that was told when it was read as far before.
fn tell_of_damage(lines: &Lines, plan: &Plan, (file, line): (&str, u64), problems: &mut Vec<String>) {
    let is_new = lines.offset > plan.position.offset || plan.position.offset == 0;
    if let Ending::Damaged(reason) = lines.ending()
        && is_new
    {
        problems.push(format!("{file} is damaged and was read up to line {line} only: {reason}"));
    }
}

/// Reads the journal batch by batch, so that a long one needs no more memory than a short one.
///
/// # Errors
/// Only where the run is stopped; what can't be read is a problem.
pub fn read_journal(
    scanner: &mut Scanner,
    stream: &mut Stream,
    source: &Source,
    first: logs::JournalEntries,
    access_logs: &AccessLogs,
    context: &Context<'_>,
    problems: &mut Vec<String>,
) -> Result<(), JobError> {
    let now = context.at.timestamp();
    let parse_context = parse::Context { zone: source.zone, year: YearRule::Before(now) };
    // Entries become lines of syslog, whatever the source's files are.
    let formats = match &source.formats {
        Formats::Known(_) => source.formats.clone(),
        Formats::Only(_) => Formats::default(),
    };
    let mut parser = AutoParser::new(parse_context, &formats);
    let input = Input {
        source: &source.name,
        file: JOURNAL.into(),
        fallback: now,
        present: context.clock.now().timestamp(),
        host: "",
        web_logins: &source.web_logins,
        requests_are_read: access_logs.any_besides(false, ""),
        access_logs: Some(access_logs),
    };
    let (mut entries, mut number) = (first, 0);
    loop {
        context.check()?;
        let mut piece = Piece::of(std::mem::take(&mut entries.text), 0, &mut parser);
        scanner.settler(&input, &mut stream.state, number).settle(&mut piece);
        number += piece.settled.lines.len() as u64;
        scanner.take_in(&input, &piece, None);
        scanner.overlong(&input, &stream.state, entries.unreadable);
        let mut failed = |error: String| problems.push(format!("source {}: {error}", source.name));
        entries.complaint.take().into_iter().for_each(&mut failed);
        let moved = entries.cursor.is_some() && entries.cursor != stream.journal;
        stream.journal = entries.cursor.or(stream.journal.take());
        if !entries.more || !moved {
            return Ok(());
        }
        match logs::read_journal(source, stream.journal.as_deref()) {
            Ok(next) => entries = next,
            Err(error) => {
                failed(error);
                return Ok(());
            }
        }
    }
}

/// How long nothing may be added to a log that was rotated before its last line is taken for whole without a line break, in seconds.
const QUIET: i64 = 60;

/// Whether nothing was added for so long to a log that was changed then. Clocks differ by minutes; a time farther in the future says nothing.
fn is_left_alone(modified: i64, context: &Context<'_>) -> bool {
    !(-QUIET * 10..QUIET).contains(&context.clock.now().timestamp().saturating_sub(modified))
}
