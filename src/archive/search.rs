//! Searching: only what can hold a line is decompressed.

use std::io::{self, Read};
use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};

use super::TimesOf;
use super::line_blocks::LineBlocks;
use super::pieces::{Place, decode, most_threads, stored};
use super::read::{Opened, place};
use super::workers::{Effort, Workers};
use crate::model::Member;
use crate::model::archive::Block;

/// How much of a log is looked at together where it has no blocks of its own.
const BLOCK: usize = 1 << 20;

/// The most text in which a log says how its lines are to be read, in bytes.
const HEADER: usize = 16 * 1024;

/// What to search for in lines.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// A regular expression, or the text itself where it is `literal`.
    ///
    /// # Errors
    /// Says what is wrong with the expression.
    pub fn new(text: &str, literal: bool, ignore_case: bool) -> Result<Self, regex::Error> {
        let escaped = regex::escape(text);
        let mut builder = RegexBuilder::new(if literal { &escaped } else { text });
        builder.case_insensitive(ignore_case).multi_line(true).crlf(true).build().map(Self)
    }

    /// The lines that it fits, each with its line break.
    fn lines(&self, text: &[u8]) -> Vec<Range<usize>> {
        let (mut found, mut at) = (Vec::new(), 0);
        // A match may go over the end of its line; then the line alone decides, and the next one gets its own chance.
        while let Some(hit) = self.0.find_at(text, at) {
            let start = memchr::memrchr(b'\n', &text[..hit.start()]).map_or(0, |end| end + 1);
            let end = memchr::memchr(b'\n', &text[hit.start()..]).map_or(text.len(), |end| hit.start() + end + 1);
            let line = &text[start..end];
            if start < text.len() && (hit.end() < end || self.0.is_match(line.strip_suffix(b"\n").unwrap_or(line))) {
                found.push(start..end);
            }
            if end >= text.len() {
                break;
            }
            at = end;
        }
        found
    }
}

/// A span of time, seconds since 1970 UTC: from `since` on, before `until`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Window {
    /// Nothing earlier.
    pub since: Option<i64>,
    /// Nothing from here on.
    pub until: Option<i64>,
}

impl Window {
    fn is_open(&self) -> bool {
        self.since.is_none() && self.until.is_none()
    }

    fn holds(&self, time: i64) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }

    /// Whether something between these times may lie in it; what has no time may.
    pub fn touches(&self, first: Option<i64>, last: Option<i64>) -> bool {
        let too_early = last.zip(self.since).is_some_and(|(last, since)| last < since);
        let too_late = first.zip(self.until).is_some_and(|(first, until)| first >= until);
        !(too_early || too_late)
    }

    fn encloses(&self, block: &Block) -> bool {
        self.is_open() || block.first.zip(block.last).is_none_or(|(first, last)| self.holds(first) && self.holds(last))
    }
}

/// Hands over each line of an archive that a pattern fits and that was written in a window, in the archive's order. Lines of logs
/// without known times are in every window. What can't be read is passed over and told in the end.
///
/// # Errors
/// Fails where `hand` fails.
pub fn search(
    opened: &Opened,
    pattern: &Pattern,
    window: Window,
    times_of: TimesOf<'_>,
    hand: &mut dyn FnMut(&Member, &[u8]) -> io::Result<()>,
) -> io::Result<Vec<String>> {
    let mut problems = Vec::new();
    let members = opened.entry.members.iter().filter(|member| member.size > 0);
    for member in members.filter(|member| window.touches(member.first, member.last)) {
        let search = MemberSearch { opened, pattern, window, times_of, member };
        if is_plain(member) {
            search.blocks(&mut problems, hand)?;
        } else if member.blocks.is_empty() {
            search.others(&mut problems, hand)?;
        } else {
            match opened.text(member) {
                Ok(Some(text)) => search.stream(text, &mut problems, hand)?,
                Ok(None) => {}
                Err(error) => problems.push(format!("{}: {error}", member.name)),
            }
        }
    }
    Ok(problems)
}

/// Whether the blocks of a log are its text: of one that was compressed before, they are parts of something that can only be
/// read from its start.
fn is_plain(member: &Member) -> bool {
    !member.blocks.is_empty() && member.sha256 == member.content_sha256
}

struct MemberSearch<'a> {
    opened: &'a Opened,
    pattern: &'a Pattern,
    window: Window,
    times_of: TimesOf<'a>,
    member: &'a Member,
}

/// Is given what was found.
type Hand<'a> = &'a mut dyn FnMut(&Member, &[u8]) -> io::Result<()>;

type Hits = io::Result<(Vec<u8>, Vec<Range<usize>>)>;

impl MemberSearch<'_> {
    fn blocks(&self, problems: &mut Vec<String>, hand: Hand<'_>) -> io::Result<()> {
        let codec = self.opened.entry.codec;
        let (content, pattern) = (self.opened.content.clone(), self.pattern.clone());
        let look = move |at: Place| -> Hits {
            let text = decode(codec, &stored(&content, at, Vec::new())?, at.text, Vec::new())?;
            let hits = pattern.lines(&text);
            Ok((if hits.is_empty() { Vec::new() } else { text }, hits))
        };
        let wanted: Vec<&Block> =
            self.member.blocks.iter().filter(|block| self.window.touches(block.first, block.last)).collect();
        let threads = if wanted.len() < 3 { 0 } else { most_threads(codec) };
        let mut workers = Workers::new(Effort::up_to(threads, false), 1, look);
        let mut waiting = wanted.iter();
        for block in &wanted {
            let mut done = None;
            while done.is_none() {
                done = match waiting.next() {
                    Some(block) => workers.push(place(block)),
                    None => workers.pop(),
                };
            }
            match done {
                Some(Ok((text, hits))) => self.hand_over(&text, hits, block, hand)?,
                Some(Err(error)) => {
                    let end = block.offset.saturating_add(block.length.into());
                    problems.push(format!("{}: bytes {} to {end}: {error}", self.member.name, block.offset));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// A log in an archive that doesn't consist of known pieces.
    fn others(&self, problems: &mut Vec<String>, hand: Hand<'_>) -> io::Result<()> {
        let mut stopped = Ok(());
        let read = self.opened.each(
            |member| member == self.member,
            |_, text| -> io::Result<()> {
                stopped = self.stream(text, problems, hand);
                Ok(())
            },
        );
        problems.extend(read.err().map(|error| format!("{}: {error}", self.member.name)));
        stopped
    }

    fn stream(&self, text: impl Read, problems: &mut Vec<String>, hand: Hand<'_>) -> io::Result<()> {
        let (mut blocks, mut text) = (LineBlocks::new(text, BLOCK), Vec::new());
        let mut times = (self.times_of)(self.member.modified);
        loop {
            match blocks.next_block(&mut text) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    problems.push(format!("{}: {error}", self.member.name));
                    return Ok(());
                }
            }
            let span = if self.window.is_open() { None } else { times(&text) };
            let (first, last) = (span.map(|span| span.0), span.map(|span| span.1));
            let block = Block { offset: 0, length: 0, text: text.len() as u32, first, last };
            if self.window.touches(first, last) {
                self.hand_over(&text, self.pattern.lines(&text), &block, hand)?;
            }
        }
    }

    fn hand_over(&self, text: &[u8], hits: Vec<Range<usize>>, block: &Block, hand: Hand<'_>) -> io::Result<()> {
        if self.window.encloses(block) {
            return hits.into_iter().try_for_each(|hit| hand(self.member, &text[hit]));
        }
        if hits.is_empty() {
            return Ok(());
        }
        let mut times = (self.times_of)(self.member.modified);
        times(&self.header()?);
        let mut at = 0;
        for hit in hits {
            // A line without a time has that of the line before.
            times(&text[at..hit.start]);
            let time = times(&text[hit.clone()]).map(|(_, last)| last).or(block.first);
            at = hit.end;
            if time.is_none_or(|time| self.window.holds(time)) {
                hand(self.member, &text[hit])?;
            }
        }
        Ok(())
    }

    /// The lines at the start of the log that say how the others are to be read.
    fn header(&self) -> io::Result<Vec<u8>> {
        let start = if is_plain(self.member) {
            self.opened.start(self.member, HEADER)?
        } else {
            let mut start = Vec::new();
            if let Some(text) = self.opened.text(self.member)? {
                text.take(HEADER as u64).read_to_end(&mut start)?;
            }
            start
        };
        let lines = start.split_inclusive(|byte| *byte == b'\n').take_while(|line| line.starts_with(b"#"));
        Ok(lines.flatten().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_judged_alone() {
        let lines = |pattern: &str, text: &str| {
            let pattern = Pattern::new(pattern, false, false).unwrap();
            pattern.lines(text.as_bytes()).into_iter().map(|line| text[line].trim_end().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(lines("b", "abc\nx\nb"), ["abc", "b"]);
        assert_eq!(lines(r"a\s+b", "a\nb\na b\n"), ["a b"], "a match doesn't go over the end of a line");
        assert_eq!(lines("[^q]*", "one\ntwo\n\nthree"), ["one", "two", "", "three"]);
        assert_eq!(lines("^two$", "one\ntwo\r\ntwo"), ["two", "two"]);
        assert_eq!(lines(r"x[^y]*y", "x1\nx2y\nx3"), ["x2y"]);
        assert_eq!(lines("$", ""), Vec::<String>::new());
    }
}
