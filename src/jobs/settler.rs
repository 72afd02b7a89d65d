//! The settler: what lines turn out to be, given those before them in their stream. Scanners count what it says.

use std::cell::OnceCell;
use std::sync::Arc;

use super::access_logs::AccessLogs;
use super::failures::{failures, is_left_to_access_log, note_request, settled_action};
use super::parsed::{Parsed, ParsedLine};
use super::stream_state::StreamState;
use crate::detect::{Held, Sighting};
use crate::model::untrusted;
use crate::model::{Action, Event, WebLogins};
use crate::parse::AutoParser;

/// How far ahead of the clock a time is surely wrong, in seconds.
const AHEAD: i64 = 24 * 60 * 60;

/// Where the lines come from.
pub struct Input<'a> {
    /// The source's name.
    pub source: &'a str,
    /// The file's path, or `journal`.
    pub file: Arc<str>,
    /// For lines without a stamp in a log without stamps, seconds since 1970 UTC.
    pub fallback: i64,
    /// The time at which it is read, seconds since 1970 UTC.
    pub present: i64,
    /// The host that wrote it, for lines that don't say so; empty where that is not known.
    pub host: &'a str,
    /// What a failed login looks like in it.
    pub web_logins: &'a WebLogins,
    /// Whether an access log of its host is read besides it: its answers 401 are the failed logins that an error log tells of, too.
    pub requests_are_read: bool,
    /// The access logs that are read, for lines that name another host; `None` where all are taken for one server's.
    pub access_logs: Option<&'a AccessLogs>,
}

/// Settles lines of one file, or a batch of the journal's.
pub struct Settler<'a> {
    input: &'a Input<'a>,
    stream: &'a mut StreamState,
    /// When the run is, in seconds since 1970 UTC.
    now: i64,
    /// The number in the file of the line that was reached.
    number: u64,
    /// How many lines were passed over so far because they were too long.
    passed_over: u64,
}

/// Lines that are read, parsed, settled and counted together.
#[derive(Default)]
pub struct Piece {
    /// What the parser made of them.
    pub parsed: Parsed,
    /// How many lines of the file before them were too long to be looked at.
    pub overlong: u64,
    /// What they turned out to be.
    pub settled: Settled,
}

/// What lines turned out to be.
#[derive(Default)]
pub struct Settled {
    /// The number in the file of the line before the first one.
    pub before: u64,
    /// One after the other.
    pub lines: Vec<SettledLine>,
    /// Lines before that tell of failed logins which count now, because their sessions are over.
    pub over: Vec<Held>,
    /// How far the stream has come, as [`StreamState::reached`]; none before the first stamp.
    pub reached: Option<i64>,
    /// Lines whose times lie more than a day ahead of the clock.
    pub ahead: u64,
    /// Failed logins of error logs that are left to the access logs beside them.
    pub left_to_access_logs: u64,
}

/// What one line turned out to be.
#[derive(Debug, Clone, Copy)]
pub struct SettledLine {
    /// As [`Sighting::time`].
    pub time: i64,
    /// What happened; of a line that no parser understood nothing.
    pub action: Action,
    /// As [`Sighting::failures`].
    pub failures: u32,
    /// As [`Sighting::late`].
    pub late: bool,
    /// Whether it tells besides that a web server let somebody in whom it had refused.
    pub lets_in: bool,
}

const _: () = assert!(size_of::<SettledLine>() <= 32);

impl Piece {
    /// The lines of a text, before which so many of the file were too long.
    pub fn of(text: Vec<u8>, overlong: u64, parser: &mut AutoParser) -> Self {
        Self { parsed: Parsed::of(text, parser), overlong, ..Self::default() }
    }
}

impl<'a> Settler<'a> {
    /// One for lines behind that of this number, in a run at `now`, seconds since 1970 UTC.
    pub fn new(input: &'a Input<'a>, stream: &'a mut StreamState, now: i64, number: u64) -> Self {
        Self { input, stream, now, number, passed_over: 0 }
    }

    /// Settles lines, and what is over behind them.
    pub fn settle(&mut self, Piece { parsed, overlong, settled }: &mut Piece) {
        let (before, mut lines) = (self.pass_over(*overlong), std::mem::take(&mut settled.lines));
        lines.clear();
        *settled = Settled { before, ..Settled::default() };
        for line in parsed.lines() {
            self.number += 1;
            lines.push(self.line(line, settled));
        }
        let now = self.stream.latest().map_or(i64::MIN, |latest| latest.min(self.now));
        self.stream.forget(now, &mut settled.over);
        (settled.lines, settled.reached) = (lines, self.stream.reached());
    }

    /// So many lines of the file were too long so far; returns the number of the line that was reached.
    pub fn pass_over(&mut self, overlong: u64) -> u64 {
        self.number += overlong - self.passed_over;
        self.passed_over = overlong;
        self.number
    }

    /// Settles one line; what is to be summed up goes to `sums`.
    #[inline]
    fn line(&mut self, line: ParsedLine<'_>, sums: &mut Settled) -> SettledLine {
        let Input { host, fallback, present, .. } = *self.input;
        let wrote = if line.host().is_empty() { host.as_bytes() } else { line.host() };
        let (time, late) = self.stream.place_in_time(line.time(), fallback, wrote, self.now, present);
        sums.ahead += u64::from(time > present.saturating_add(AHEAD));
        let action = line.what().map_or(Action::Other, |(_, action)| action);
        let plain = SettledLine { time, action, failures: 0, late, lets_in: false };
        if self.depends_on_others(line, action) {
            return self.look_at(line, plain, sums);
        }
        if matches!(action, Action::Request { .. }) {
            note_request(self.stream, self.input, line.host(), time);
        }
        plain
    }

    /// Whether what a line tells depends on others, or what others tell depends on it.
    fn depends_on_others(&self, line: ParsedLine<'_>, action: Action) -> bool {
        match action {
            Action::Request { status } => {
                self.input.web_logins.may_be_failure(status) || line.has_user() && !self.stream.web_failures.is_empty()
            }
            Action::LoginFailed { .. }
            | Action::LoginSucceeded { .. }
            | Action::Granted { .. }
            | Action::Probed
            | Action::Gone
            | Action::NotGreeted
            | Action::NotServed => true,
            Action::LetIn | Action::LockedOut | Action::LogCleared | Action::ErrorLogged | Action::Other => false,
        }
    }

    fn look_at(&mut self, line: ParsedLine<'_>, plain: SettledLine, sums: &mut Settled) -> SettledLine {
        let mut sighting = plain.sighting(line, self.input, self.number);
        let Some(event) = sighting.event else { return plain };
        let Self { input, stream, .. } = self;
        let (named, time) = (line.host(), plain.time);
        let is_left = is_left_to_access_log(stream, input, named, &event, time);
        match event.action {
            Action::LoginFailed { times, .. } if is_left => sums.left_to_access_logs += u64::from(times),
            _ => sighting.failures = failures(stream, input, named, &event, &sighting),
        }
        let action = settled_action(stream, &event, time, is_left);
        sighting.event = Some(Event { action, ..event });
        let lets_in = stream.web_failures.let_in(&sighting);
        SettledLine { action, failures: sighting.failures, lets_in, ..plain }
    }
}

impl SettledLine {
    /// The line of this number of an input as detectors see it, but that nobody has looked whether it is urgent.
    pub fn sighting<'a>(&self, line: ParsedLine<'a>, input: &'a Input<'_>, number: u64) -> Sighting<'a> {
        let Self { time, action, failures, late, .. } = *self;
        let event = line.event().map(|event| {
            let host = if event.host.is_empty() { input.host.as_bytes() } else { event.host };
            Event { action, host, ..event }
        });
        let (line, file) = (untrusted::without_filling(line.line), &*input.file);
        let (urgent, kept, who) = (false, OnceCell::new(), OnceCell::new());
        Sighting { time, event, failures, urgent, late, line, file, number, kept, who }
    }
}
