//! `[scan]`: read what is new in the sources, apply the rules, store it all in one transaction.

use std::collections::{BTreeMap, VecDeque};

use super::access_logs::{AccessLogs, is_access_log};
use super::read_stream::{read_file, read_journal};
use super::scan_state::{State, Stream, remembered_streams, restored, stored, unreadable};
use super::scanner::{Loaded, Scanner};
use super::{Context, JobError, JobKind, counted, dropped_in_words, left_in_words, owners};
use crate::config::Config;
use crate::logs::{self, Plan};
use crate::model::{Exemption, Outcome, Rule, ScanSpec, Severity, Source};
use crate::store::{AlertPolicy, Ended, ScanCommit, ScanOutcome, ScanRecord};

/// What is said of a scan without anything new.
const READ_NOTHING: &str = "read nothing";

/// What there is to read, and the sources of which not all can be read.
struct Found<'a> {
    works: Vec<Work<'a>>,
    unread: Vec<&'a str>,
    /// Hosts with an access log.
    access_logs: AccessLogs,
}

/// A stream with something to read.
struct Work<'a> {
    source: &'a Source,
    name: String,
    plans: VecDeque<Plan>,
    journal: Option<logs::JournalEntries>,
    /// When the file that was read last was written to.
    written: i64,
}

impl Work<'_> {
    fn has_more(&self) -> bool {
        !self.plans.is_empty() || self.journal.is_some()
    }
}

impl JobKind for ScanSpec {
    fn run(&self, context: &Context<'_>) -> Result<Ended, JobError> {
        let stored = context.store.scan_state(context.job.id.as_str())?;
        let first_scan = stored.is_none();
        let mut notes = Vec::new();
        let mut problems = Vec::new();
        let mut state = restored(stored, &mut problems);
        let found = collect(self, context, &mut state.streams, &mut notes, &mut problems)?;
        let listens = self.rules.iter().filter_map(|name| context.config.rules.get(name)).any(Rule::notices_silence);
        let now = context.at.timestamp();
        let mut streams = state.streams.values().map(|stream| &stream.state);
        let is_settled = !streams.any(|stream| stream.is_left_open(now) || stream.has_news(now));
        let (counts, outcome) = if found.works.is_empty() && is_settled && !first_scan && !listens {
            let outcome = context.store.record_idle_scan(
                context.run,
                context.job.id.as_str(),
                context.clock.now(),
                !problems.is_empty(),
            )?;
            (READ_NOTHING.to_owned(), outcome)
        } else {
            let (record, outcome) =
                self.read_and_store(context, state, found, first_scan, &mut notes, &mut problems)?;
            (counts_in_words(&record), outcome)
        };
        notes.insert(0, counts.clone());
        if let Some(path) = &self.record {
            let stamp = context.clock.now().with_timezone(&context.config.zone).format("%Y-%m-%d %H:%M:%S %Z");
            let line = format!("{stamp} {}: {}; {counts}\n", context.job.id, outcome.verdict);
            if let Err(error) = crate::fs::append(path, line.as_bytes()) {
                problems.push(format!("can't write the record {}: {error}", path.display()));
            }
        }
        let ended = if problems.is_empty() { Outcome::Succeeded } else { Outcome::Partial };
        notes.extend(problems);
        Ok(Ended { notes, ..Ended::new(ended, outcome.verdict) })
    }

    fn preview(&self, context: &Context<'_>) -> Result<Vec<String>, JobError> {
        let (mut notes, mut problems) = (Vec::new(), Vec::new());
        let mut streams = remembered_streams(context, context.job.id.as_str(), &mut problems)?;
        let works = collect(self, context, &mut streams, &mut notes, &mut problems)?.works;
        let mut lines: Vec<String> = Vec::new();
        for work in &works {
            let plan = |plan: &Plan| format!("would read {} from byte {}", plan.path.display(), plan.position.offset);
            lines.extend(work.plans.iter().map(plan));
            lines.extend(
                work.journal.iter().map(|journal| format!("would read {} bytes from the journal", journal.text.len())),
            );
        }
        if lines.is_empty() {
            lines.push("would read nothing: there is nothing new".to_owned());
        }
        lines.push(format!("would apply the rules {}", self.rules.join(", ")));
        lines.extend(notes.into_iter().chain(problems));
        Ok(lines)
    }
}

impl ScanSpec {
    fn read_and_store(
        &self,
        context: &Context<'_>,
        mut state: State,
        found: Found<'_>,
        first_scan: bool,
        notes: &mut Vec<String>,
        problems: &mut Vec<String>,
    ) -> Result<(ScanRecord, ScanOutcome), JobError> {
        let rules: Vec<&Rule> = self.rules.iter().filter_map(|name| context.config.rules.get(name)).collect();
        let mut scanner = Scanner::new(rules.iter().copied(), context.at.timestamp(), context.config.zone);
        scanner.keep_history(context.config.keep.counts);
        scanner.triage_by(context.config.triage.clone());
        let exemptions = context.store.exemptions()?;
        scanner.exempt(exemptions.clone());
        let Loaded { continued, changed, broken } = scanner.load(std::mem::take(&mut state.detectors));
        let sources = context.config.sources_named(&self.sources);
        let sources = sources.map(|source| (source.name.as_str(), source.host_pattern.is_some())).collect();
        scanner.watch(context.clock.now().timestamp(), &sources);
        notes.extend(changed.iter().map(|rule| {
            format!("rule {rule} was changed and starts afresh, also to learn what is usual if it does that")
        }));
        problems.extend(broken.iter().map(|(rule, error)| unreadable(rule, error)));
        let works = found.works.iter();
        let files = works.map(|work| work.plans.len() + usize::from(work.journal.is_some())).sum::<usize>() as u64;
        let unread = read(&mut scanner, &mut state, found, context, notes, problems)?;
        let mut findings = scanner.settle(state.streams.values().map(|stream| &stream.state));
        let unstorable = |error| JobError::Failed(format!("what is to be remembered can't be stored: {error}"));
        state.detectors = scanner.save().map_err(unstorable)?;
        let saved = stored(&mut state).map_err(unstorable)?;
        // From here on everything is provisional: known to the findings, forgotten by the state.
        for stream in state.streams.values_mut() {
            scanner.flush_sessions(&mut stream.state, "", true);
        }
        findings.extend(scanner.findings());
        tell_of_counts(&scanner, notes, problems);
        let total = scanner.total;
        let record = ScanRecord {
            at: context.clock.now(),
            files,
            lines: total.lines,
            unparsed: total.unparsed,
            urgent: total.urgent,
            failed_logins: total.failed_logins,
        };
        let commit = ScanCommit {
            run: context.run,
            job: context.job.id.as_str(),
            state: &saved,
            findings: &findings,
            tallies: &scanner.tallies(),
            record: &record,
            continued: &continued,
            unread,
            alert: &alert_policy(self, context.config, &rules, exemptions, first_scan),
            now: context.at,
        };
        let outcome = context.store.commit_scan(&commit, scanner.tops())?;
        Ok((record, outcome))
    }
}

/// Reads what there is to read; says whether not all of it could be.
fn read(
    scanner: &mut Scanner,
    state: &mut State,
    Found { works, unread, access_logs }: Found<'_>,
    context: &Context<'_>,
    notes: &mut Vec<String>,
    problems: &mut Vec<String>,
) -> Result<bool, JobError> {
    let mut is_unread = !unread.is_empty();
    unread.into_iter().for_each(|source| scanner.unread(source));
    // Before others are read, so that what they end is not forgotten yet.
    settle_left_open(scanner, state, context, |name| !works.iter().any(|work| work.name == name));
    let mut works: Vec<Work<'_>> = works;
    while let Some(index) = next(&works) {
        let mut to_come = Vec::new();
        for other in works.iter().enumerate().filter(|(other, work)| *other != index && work.has_more()) {
            let reached = state.streams.get(&other.1.name).and_then(|stream| stream.state.reached());
            // A stamp may be ahead of the time, but not of when it was written.
            to_come.push(reached.map(|reached| reached.min(other.1.written)));
        }
        let others = state.streams.iter().filter(|(name, _)| **name != works[index].name);
        scanner.read_until_others(&to_come, others.map(|(_, stream)| &stream.state));
        let work = &mut works[index];
        let stream = state.streams.entry(work.name.clone()).or_default();
        let troubles = problems.len();
        match work.plans.pop_front() {
            Some(plan) => {
                work.written = plan.position.identity.modified();
                read_file(scanner, stream, (work.source, plan), &access_logs, context, notes, problems)?;
            }
            None => {
                let first = work.journal.take().unwrap_or_default();
                read_journal(scanner, stream, work.source, first, &access_logs, context, problems)?;
            }
        }
        if problems.len() > troubles {
            scanner.unread(&work.source.name);
            is_unread = true;
        }
    }
    settle_left_open(scanner, state, context, |_| true);
    Ok(is_unread)
}

/// Which stream to go on with: that whose next file was written to the least lately, so that all of them are read in the order of time as
/// far as their rotated files allow, and what is over need not be remembered until the last one is read.
fn next(works: &[Work<'_>]) -> Option<usize> {
    let left = works.iter().enumerate().filter(|(_, work)| work.has_more());
    let written = |work: &Work<'_>| work.plans.front().map_or(i64::MAX, |plan| plan.position.identity.modified());
    left.min_by_key(|(_, work)| written(work)).map(|(index, _)| index)
}

/// What has to be said of what was counted, and what was not.
fn tell_of_counts(scanner: &Scanner, notes: &mut Vec<String>, problems: &mut Vec<String>) {
    problems.extend(scanner.dropped().into_iter().map(|(rule, dropped)| dropped_in_words(&rule, dropped)));
    problems.extend(scanner.lost_pages().into_iter().map(|(rule, lost)| {
        let parts = counted(lost as usize, "part");
        format!("{parts} of what rule {rule} remembered can't be read; whom they were about is counted afresh")
    }));
    let lines = |n: u64| counted(n as usize, "line");
    let (late, ahead, forgotten) = (scanner.total.late, scanner.ahead, scanner.forgotten());
    if late > 0 {
        notes.push(format!(
            "{} came behind others that are newer by more than a quarter of an hour; rules may have seen that too late",
            lines(late)
        ));
    }
    if ahead > 0 {
        notes.push(format!(
            "times more than a day ahead of this machine's clock in {}: the clock or the zone of who wrote that is wrong",
            lines(ahead)
        ));
    }
    if forgotten > 0 {
        notes.push(format!(
            "statistics go without {}: times are spread over more than is kept, and these lie far from now",
            lines(forgotten)
        ));
    }
    if scanner.left_to_access_logs > 0 {
        notes.push(left_in_words(scanner.left_to_access_logs));
    }
}

fn alert_policy(
    spec: &ScanSpec,
    config: &Config,
    rules: &[&Rule],
    exemptions: Vec<Exemption>,
    first_scan: bool,
) -> AlertPolicy {
    let severities = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
    let routes = rules.iter().flat_map(|rule| {
        let to = rule.alert.as_ref().unwrap_or(&spec.alert);
        severities.map(|severity| ((rule.name.clone(), severity), config.routes(to, severity)))
    });
    let seconds = |of: fn(&Rule) -> std::time::Duration| {
        rules.iter().map(|rule| (rule.name.clone(), of(rule).as_secs() as i64)).collect::<BTreeMap<_, _>>()
    };
    AlertPolicy {
        routes: routes.collect(),
        thresholds: rules.iter().map(|rule| (rule.name.clone(), rule.threshold())).collect(),
        cooldowns: seconds(|rule| rule.cooldown),
        merges: seconds(|rule| rule.merge),
        exemptions,
        first_scan,
    }
}

/// Finds what there is to read.
fn collect<'a>(
    spec: &'a ScanSpec,
    context: &Context<'a>,
    known: &mut BTreeMap<String, Stream>,
    notes: &mut Vec<String>,
    problems: &mut Vec<String>,
) -> Result<Found<'a>, JobError> {
    let mut found = Found { works: Vec::new(), unread: Vec::new(), access_logs: AccessLogs::on(&context.config.host) };
    let (mut streams, mut without) = (Vec::new(), Vec::new());
    for source in context.config.sources_named(&spec.sources) {
        let (its, troubles) = logs::streams(source);
        if its.is_empty() {
            without.push(source);
        }
        found.unread.extend((!troubles.is_empty()).then_some(source.name.as_str()));
        problems.extend(troubles);
        streams.extend(its.into_iter().map(|stream| (source, stream)));
    }
    owners::settle(&mut streams, known, notes);
    for (source, stream) in streams {
        context.check()?;
        let name = stream.path.to_string_lossy().into_owned();
        let known = known.entry(name.clone()).or_default();
        known.source.clone_from(&source.name);
        let before = problems.len();
        let plans = logs::plan(&stream, &mut known.cursor, problems);
        found.unread.extend((problems.len() > before).then_some(source.name.as_str()));
        let looked_at = || plans.iter().find_map(|plan| is_access_log(&plan.path, &source.formats));
        known.is_access_log = known.is_access_log.or_else(looked_at);
        // One that is no longer written tells of nothing.
        let is_written = !plans.is_empty() || known.state.is_active(context.at.timestamp());
        if known.is_access_log == Some(true) && is_written {
            found.access_logs.add(&source.host_of(&stream.path));
        }
        if !plans.is_empty() {
            found.works.push(Work { source, name, plans: plans.into(), journal: None, written: i64::MAX });
        }
    }
    for source in without {
        if source.journal.is_empty() {
            notes.push(format!("source {}: no file matches {}", source.name, source.files.join(" ")));
        } else {
            collect_journal(source, known, &mut found, problems);
        }
    }
    Ok(found)
}

/// Finds what is new in the journal.
fn collect_journal<'a>(
    source: &'a Source,
    known: &mut BTreeMap<String, Stream>,
    found: &mut Found<'a>,
    problems: &mut Vec<String>,
) {
    let name = format!("journal {}", source.name);
    let known = known.entry(name.clone()).or_default();
    known.source.clone_from(&source.name);
    match logs::read_journal(source, known.journal.as_deref()) {
        Ok(entries) if entries.text.is_empty() && entries.unreadable == 0 => {}
        Ok(entries) => {
            found.works.push(Work { source, name, plans: VecDeque::new(), journal: Some(entries), written: i64::MAX });
        }
        Err(error) => {
            problems.push(format!("source {}: {error}", source.name));
            found.unread.push(source.name.as_str());
        }
    }
}

/// Settles the sessions of these streams, of those that nobody has written to for a day.
fn settle_left_open(scanner: &mut Scanner, state: &mut State, context: &Context<'_>, of: impl Fn(&str) -> bool) {
    for (_, Stream { source, state, .. }) in state.streams.iter_mut().filter(|(name, _)| of(name)) {
        if state.is_left_open(context.at.timestamp()) {
            scanner.flush_sessions(state, source, false);
        }
    }
}

fn counts_in_words(record: &ScanRecord) -> String {
    if record.files == 0 {
        return READ_NOTHING.to_owned();
    }
    let [lines, files, failed] =
        [(record.lines, "line"), (record.files, "file"), (record.failed_logins, "failed login")]
            .map(|(n, what)| counted(n as usize, what));
    format!("read {lines} of {files}: {} urgent, {failed}, {} not parsed", record.urgent, record.unparsed)
}
