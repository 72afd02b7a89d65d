//! A busy Thursday is usual where every Thursday is busy; a busy Tuesday night is not.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Europe::Berlin;
use logkeeper::config::shipped_rules;
use logkeeper::detect::{Sighting, detector};
use logkeeper::model::{Event, Finding, Formats, Rule, StoredFinding};
use logkeeper::parse::{AutoParser, Context, YearRule};

use crate::cuts::{Random, assert_cuts_change_nothing};
use crate::support::TestBed;

const WEEKS: i64 = 8;
const MINUTES: i64 = WEEKS * 7 * 24 * 60;

/// The start of the first week, a Monday at midnight.
fn monday() -> DateTime<Utc> {
    "2026-09-28T00:00:00Z".parse().unwrap()
}

/// A made-up web server's errors of eight weeks, with incidents.
struct Simulation {
    /// Errors in each minute.
    minutes: Vec<u64>,
    /// First and last minute of each incident.
    incidents: Vec<(i64, i64)>,
}

impl Simulation {
    /// With so many errors a minute on an ordinary day, ten times as many on Thursdays.
    fn new(base: f64, random: &mut Random) -> Self {
        let mut minutes: Vec<u64> = (0..MINUTES)
            .map(|minute| {
                let hour = (minute / 60 % 24) as f64;
                let daily = 1.0 + 0.8 * ((hour - 9.0) / 24.0 * std::f64::consts::TAU).sin();
                let thursday = if minute / (24 * 60) % 7 == 3 { 10.0 } else { 1.0 };
                // Errors come a little in bursts.
                let burst = (0.25 * normal(random)).exp();
                poisson(base * daily * thursday * burst, random)
            })
            .collect();
        let mut incidents = Vec::new();
        for week in 0..WEEKS {
            for _ in 0..5 {
                let first = week * 7 * 24 * 60 + random.below(7 * 24 * 60 - 30) as i64;
                let last = first + 3 + random.below(20) as i64;
                for minute in first..=last {
                    let usual = minutes[minute as usize] as f64;
                    minutes[minute as usize] += poisson(10.0 + 2.0 * usual, random);
                }
                incidents.push((first, last));
            }
        }
        Self { minutes, incidents }
    }

    /// What the rule finds from the third week on.
    fn findings(&self, rule: &Rule) -> Vec<Finding> {
        let mut found = self.all_findings(rule);
        found.retain(|finding| finding.first >= monday().timestamp() + 14 * 24 * 3600);
        found
    }

    fn all_findings(&self, rule: &Rule) -> Vec<Finding> {
        let mut detector = detector(rule, chrono_tz::UTC);
        let file: Arc<str> = "access.log".into();
        let line = br#"192.0.2.7 - - [01/Jan/2026:00:00:00 +0000] "GET /gone HTTP/1.1" 404 9"#;
        let context = Context { zone: chrono_tz::UTC, year: YearRule::Before(0) };
        let mut parser = AutoParser::new(context, &Formats::default());
        let event: Event<'_> = parser.parse(line).unwrap();
        let mut found = Vec::new();
        for (minute, errors) in self.minutes.iter().enumerate() {
            let begin = monday().timestamp() + minute as i64 * 60;
            for error in 0..*errors {
                let time = begin + (error * 60 / errors) as i64;
                let sighting = Sighting {
                    time,
                    event: Some(event),
                    failures: 0,
                    urgent: true,
                    late: false,
                    line,
                    file: &file,
                    number: 1,
                    kept: Default::default(),
                    who: Default::default(),
                };
                detector.observe(&[&sighting], &mut [false]);
            }
            if minute % (6 * 60) == 0 {
                found.extend(detector.settle(begin));
            }
        }
        found.extend(detector.findings());
        found
    }

    /// Which share of the incidents from the third week on is among these findings, and how many a week are none.
    fn score(&self, found: &[Finding]) -> (f64, f64) {
        let minute = |seconds: i64| (seconds - monday().timestamp()).div_euclid(60);
        let overlaps = |finding: &Finding, (first, last): (i64, i64)| {
            minute(finding.first) <= last && minute(finding.last) >= first
        };
        let incidents = || self.incidents.iter().filter(|(first, _)| *first >= 14 * 24 * 60);
        let recalled = incidents().filter(|incident| found.iter().any(|finding| overlaps(finding, **incident))).count();
        let wrong = found.iter().filter(|f| !self.incidents.iter().any(|incident| overlaps(f, *incident))).count();
        (recalled as f64 / incidents().count() as f64, wrong as f64 / (WEEKS - 2) as f64)
    }
}

/// A number of the normal distribution, near enough.
fn normal(random: &mut Random) -> f64 {
    (0..12).map(|_| random.below(1 << 20) as f64 / f64::from(1 << 20)).sum::<f64>() - 6.0
}

/// A number of the Poisson distribution.
fn poisson(mean: f64, random: &mut Random) -> u64 {
    if mean > 60.0 {
        return (mean + mean.sqrt() * normal(random)).round().max(0.0) as u64;
    }
    let (limit, mut product, mut count) = ((-mean).exp(), 1.0, 0);
    loop {
        product *= (random.below(1 << 30) + 1) as f64 / f64::from(1 << 30);
        if product <= limit {
            return count;
        }
        count += 1;
    }
}

#[test]
fn a_level_that_stays_becomes_usual() {
    // From the third week on there are twelve errors a minute.
    let errors = |minute: i64| if minute >= 2 * 7 * 24 * 60 { 12 } else { u64::from(minute % 3 == 0) };
    let simulation = Simulation { minutes: (0..MINUTES).map(errors).collect(), incidents: Vec::new() };
    let weeks: Vec<i64> = simulation
        .all_findings(&error_spikes())
        .iter()
        .map(|finding| (finding.first - monday().timestamp()) / (7 * 24 * 3600))
        .collect();
    // One finding as long as it goes on.
    assert_eq!(weeks, [2], "it is unusual at first");
    let last = simulation.all_findings(&error_spikes())[0].last;
    assert!(last < monday().timestamp() + 7 * 7 * 24 * 3600, "and usual before the eighth week");
}

fn error_spikes() -> Rule {
    let rule = shipped_rules().into_iter().find(|rule| rule.name == "error-spikes");
    rule.unwrap()
}

#[test]
fn of_eight_weeks_with_busy_thursdays_incidents_are_found_and_little_else() {
    let rule = error_spikes();
    for base in [0.02, 0.5, 8.0, 60.0] {
        for seed in 1..=if base > 10.0 { 1 } else { 2 } {
            let simulation = Simulation::new(base, &mut Random(seed));
            let mut found = simulation.findings(&rule);
            let (recall, wrong) = simulation.score(&found);
            found.retain(|finding| !finding.can_wait);
            let (mailed, cried_wolf) = simulation.score(&found);
            println!(
                "{base} a minute, seed {seed}: reported {recall:.2}, {wrong:.2} wrong a week; mailed {mailed:.2}, {cried_wolf:.2}"
            );
            assert!(recall >= 0.9 && wrong <= 2.0, "reported: {recall} found, {wrong} wrong a week");
            assert!(mailed >= 0.8 && cried_wolf <= 0.2, "mailed: {mailed} found, {cried_wolf} wrong a week");
        }
    }
}

/// Seven weeks in Berlin, over the end of summer time: every Thursday afternoon three hours with twelve errors a minute, and
/// one such hour on a Tuesday night.
fn seven_weeks() -> String {
    let thursdays = ["10-01", "10-08", "10-15", "10-22", "10-29", "11-05"];
    let mut log: String = thursdays.map(|day| errors(&format!("2026-{day}T13:00:00"), 3 * 60, 12)).concat();
    log += &errors("2026-11-10T03:00:00", 60, 12);
    log + &errors("2026-11-12T13:00:00", 3 * 60, 12)
}

/// Log lines of so many errors in each of so many minutes from an instant in Berlin on.
fn errors(from: &str, minutes: i64, each: i64) -> String {
    let begin = Berlin.from_local_datetime(&from.parse().unwrap()).unwrap().to_utc();
    let line = |error: i64| {
        let time = begin + TimeDelta::seconds(error * 60 / each);
        format!("192.0.2.7 - - [{}] \"GET /gone HTTP/1.1\" 404 9\n", time.format("%d/%b/%Y:%H:%M:%S +0000"))
    };
    (0..minutes * each).map(line).collect()
}

/// Seven weeks were scanned already.
fn after_seven_weeks() -> TestBed {
    let bed = TestBed::new();
    let main = "zone = \"Europe/Berlin\"\nstate = \"DIR/state\"\n[recipients]\nadmins = [\"admin@example.org\"]\n[sources.web]\nfiles = [\"DIR/access.log\"]\n";
    bed.file("config/logkeeper.toml", main).file("access.log", &seven_weeks());
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"web\"]\nrules = [\"error-spikes\"]\nalert = [\"admins\"]\n");
    bed.run_job("scan", "2026-11-20T12:00:00Z");
    bed
}

/// The findings, oldest first.
fn found(bed: &TestBed) -> Vec<StoredFinding> {
    let mut found = bed.store().findings(&Default::default()).unwrap();
    found.sort_by_key(|found| found.finding.first);
    found
}

#[test]
fn a_busy_thursday_is_usual_and_a_busy_tuesday_night_is_not() {
    let found = found(&after_seven_weeks());
    let day =
        |found: &StoredFinding| DateTime::from_timestamp(found.finding.first, 0).unwrap().format("%m-%d").to_string();
    let days: Vec<String> = found.iter().map(day).collect();
    // In the first two weeks nothing is usual yet.
    assert_eq!(days, ["10-01", "10-08", "11-10"], "{found:#?}");
    let night = &found[2].finding;
    assert_eq!(night.note.as_deref(), Some("12 in one minute; usual for Tuesdays around 03:00 is 0, limit 6"));
}

#[test]
fn what_is_only_a_little_unusual_waits_for_the_report() {
    let bed = after_seven_weeks();
    let add = |text: String| {
        let log = std::fs::read_to_string(bed.path("access.log")).unwrap();
        bed.file("access.log", &(log + &text));
    };
    add(errors("2026-11-20T15:00:00", 1, 7));
    bed.run_job("scan", "2026-11-20T15:00:00Z");
    let little = found(&bed).pop().unwrap();
    assert!(little.finding.can_wait && little.finding.count == 7 && little.alerted.is_none(), "{little:#?}");
    add(errors("2026-11-20T15:05:00", 1, 9));
    bed.run_job("scan", "2026-11-20T15:00:00Z");
    let much = found(&bed).pop().unwrap();
    assert!(!much.finding.can_wait && much.finding.count == 16 && much.alerted.is_some(), "{much:#?}");
}

#[test]
fn what_is_usual_is_learnt_the_same_however_the_log_is_cut() {
    assert_cuts_change_nothing(&[("access.log", seven_weeks().as_bytes())], 0..4);
}
