//! Storms become a mail an hour, quiet hours are quiet, and each channel gets what matters enough for it.

use chrono::{DateTime, TimeDelta, Utc};
use logkeeper::config::Config;
use logkeeper::jobs::{Fold, What, fold};
use logkeeper::model::{About, Intent, RunNews, Severity};
use logkeeper::store::{PendingIntent, Told};

use crate::support::TestBed;

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-11-20T{text}:00Z").parse().unwrap()
}

fn found(id: i64, time: &str, rule: &str, severity: Severity, breach: bool) -> PendingIntent {
    let about = About::Findings { run: id, rule: rule.into(), findings: vec![id * 10], breach, looks_back: false };
    let intent = Intent { channel: "mail".into(), to: vec!["admins".into()], severity, about };
    PendingIntent { id, at: at(time), intent }
}

fn failed(id: i64, time: &str, job: &str) -> PendingIntent {
    let about = About::Run { run: id, job: job.into(), news: RunNews::Failed };
    let intent = Intent { channel: "mail".into(), to: vec!["admins".into()], severity: Severity::High, about };
    PendingIntent { id, at: at(time), intent }
}

fn config(more: &str) -> Config {
    let bed = TestBed::new();
    bed.main(more);
    bed.config()
}

/// Plays what happened and what was told, minute by minute.
fn played(pending: Vec<PendingIntent>, config: &Config, until: &str) -> Vec<(DateTime<Utc>, Fold)> {
    let (mut pending, mut told, mut mails) =
        (pending, std::collections::BTreeMap::<Told, DateTime<Utc>>::new(), Vec::new());
    let mut now = pending.iter().map(|pending| pending.at).min().unwrap();
    while now <= at(until) {
        let known: Vec<PendingIntent> = pending.iter().filter(|pending| pending.at <= now).cloned().collect();
        for fold in fold(&known, &told, config, now) {
            pending.retain(|pending| !fold.intents.contains(&pending.id));
            told.extend(fold.told.iter().map(|topic| (topic.clone(), now)));
            mails.push((now, fold));
        }
        now += TimeDelta::minutes(1);
    }
    assert!(pending.is_empty(), "all is told in the end: {pending:?}");
    mails
}

#[test]
fn a_storm_of_one_rule_is_one_mail_an_hour_that_says_how_many_it_folds() {
    let storm = (0..120).map(|n| found(n, &format!("{:02}:{:02}", 10 + n / 60, n % 60), "a", Severity::High, false));
    let mails = played(storm.collect(), &config(""), "14:00");
    let times: Vec<String> = mails.iter().map(|(now, _)| now.format("%H:%M").to_string()).collect();
    assert_eq!(times, ["10:00", "11:00", "12:00"]);
    let folded: Vec<(usize, usize)> = mails.iter().map(|(_, fold)| (fold.intents.len(), fold.held_back)).collect();
    assert_eq!(folded, [(1, 0), (60, 59), (59, 59)]);
}

#[test]
fn rules_do_not_hold_each_other_back_and_a_break_in_waits_for_no_storm() {
    let events = vec![
        found(1, "10:00", "a", Severity::High, false),
        found(2, "10:00", "b", Severity::High, false),
        found(3, "10:10", "b", Severity::High, false),
        found(4, "10:20", "c", Severity::High, false),
        found(5, "10:30", "a", Severity::Critical, true),
    ];
    let mails = played(events, &config(""), "12:00");
    let told: Vec<(String, Vec<i64>)> =
        mails.into_iter().map(|(now, fold)| (now.format("%H:%M").to_string(), fold.intents)).collect();
    let mail = |time: &str, intents: &[i64]| (time.to_owned(), intents.to_vec());
    assert_eq!(told, [mail("10:00", &[1, 2]), mail("10:20", &[4]), mail("10:30", &[5]), mail("11:00", &[3])]);
}

#[test]
fn break_ins_wait_ten_minutes_and_what_a_mail_tells_is_told_by_no_other() {
    let same = |mut pending: PendingIntent, finding| {
        if let About::Findings { findings, .. } = &mut pending.intent.about {
            *findings = vec![finding];
        }
        pending
    };
    let events = vec![
        found(1, "10:00", "a", Severity::High, false),
        found(2, "10:01", "a", Severity::Critical, true),
        // An attack, and another one, of which the first gets in.
        same(found(3, "10:05", "a", Severity::High, false), 7),
        found(4, "10:05", "a", Severity::High, false),
        same(found(5, "10:08", "a", Severity::Critical, true), 7),
    ];
    let mails = played(events, &config(""), "12:00");
    let told: Vec<(String, Vec<i64>, usize)> =
        mails.into_iter().map(|(now, fold)| (now.format("%H:%M").to_string(), fold.intents, fold.held_back)).collect();
    let mail = |time: &str, intents: &[i64], held_back| (time.to_owned(), intents.to_vec(), held_back);
    let want = [mail("10:00", &[1], 0), mail("10:01", &[2], 0), mail("10:11", &[3, 5], 1), mail("11:00", &[4], 1)];
    assert_eq!(told, want);
}

#[test]
fn failures_of_one_job_are_told_together_and_output_each_by_itself() {
    let output = |id, time: &str| {
        let mut pending = failed(id, time, "a");
        pending.intent.about = About::Run { run: id, job: "a".into(), news: RunNews::Output };
        pending
    };
    let events = vec![
        failed(1, "10:00", "a"),
        failed(2, "10:01", "a"),
        failed(3, "10:02", "b"),
        output(4, "10:03"),
        output(5, "10:04"),
    ];
    let mails = played(events, &config(""), "12:00");
    let told: Vec<(String, What)> =
        mails.into_iter().map(|(now, fold)| (now.format("%H:%M").to_string(), fold.what)).collect();
    let runs = |time: &str, runs: &[i64], news| (time.to_owned(), What::Runs { runs: runs.to_vec(), news });
    assert_eq!(
        told,
        [
            runs("10:00", &[1], RunNews::Failed),
            runs("10:02", &[3], RunNews::Failed),
            runs("10:03", &[4], RunNews::Output),
            runs("10:04", &[5], RunNews::Output),
            runs("11:00", &[2], RunNews::Failed),
        ]
    );
}

#[test]
fn quiet_hours_hold_back_all_but_what_is_critical() {
    let config = config("[mail]\nquiet_hours = \"22:00-07:00\"\n");
    let night = vec![
        found(1, "02:00", "a", Severity::High, false),
        found(2, "03:00", "a", Severity::High, false),
        found(3, "03:30", "b", Severity::Critical, true),
    ];
    let mails = played(night, &config, "09:00");
    let told: Vec<(String, usize)> =
        mails.into_iter().map(|(now, fold)| (now.format("%H:%M").to_string(), fold.held_back)).collect();
    assert_eq!(told, [("03:30".to_owned(), 0), ("07:00".to_owned(), 2)]);
}

#[test]
fn a_storm_seen_from_outside_is_two_mails() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\nalert = [\"admins\"]\n");
    bed.file("log/auth.log", "Nov 20 10:00:00 web1 CRON[1]: (root) CMD (true)\n");
    bed.run(&["run-now", "scan"]);
    let mut log = String::new();
    for attacker in 1..=6 {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
        for n in 0..6 {
            let stamp = DateTime::from_timestamp(now - 60 + n, 0).unwrap().format("%Y-%m-%dT%H:%M:%S+00:00");
            log += &format!(
                "{stamp} web1 sshd[{attacker}{n}]: Failed password for root from 198.51.100.{attacker} port 1 ssh2\n"
            );
        }
        bed.file("log/auth.log", &log);
        assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
    }
    assert_eq!(bed.mails().len(), 1, "the first attacker is told at once, the others wait");
    let listed = bed.run(&["outbox"]).stdout;
    assert!(listed.contains("5 things held back"), "{listed}");
    let database = rusqlite::Connection::open(bed.path("state/logkeeper.db")).unwrap();
    database.execute_batch("UPDATE told SET at = at - 3600; UPDATE intents SET at = at - 3600").unwrap();
    drop(database);
    bed.run(&["run-now", "scan"]);
    let digest = &bed.mails()[1];
    assert!(digest.contains("Subject: [web1] DIGEST of 5 alerts: failed-logins: 198.51.100."), "{digest}");
    assert!(digest.contains("5 alerts since") && digest.contains("were held back"), "{digest}");
}

#[test]
fn rules_and_channels_say_who_is_alerted() {
    let bed = TestBed::new();
    bed.main(
        "[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n[channels.book.file]\npath = \"DIR/book.log\"\n\
         [channels.loud]\nseverity = \"critical\"\nfile = { path = \"DIR/loud.log\" }\n",
    );
    let main = std::fs::read_to_string(bed.path("config/logkeeper.toml")).unwrap();
    bed.file(
        "config/logkeeper.toml",
        &main.replace("admins = [\"admin@example.org\"]", "admins = [\"admin@example.org\", \"loud\"]"),
    );
    let rule = std::fs::read_to_string(bed.path("config/rules/failed-logins-account.toml")).unwrap();
    bed.file("config/rules/failed-logins-account.toml", &format!("alert = [\"book\"]\n{rule}"));
    let rules = "rules = [\"failed-logins\", \"failed-logins-account\"]\nalert = [\"admins\"]\n";
    bed.file("jobs/scan.toml", &format!("[scan]\nsources = [\"logs\"]\n{rules}"));
    bed.file("log/auth.log", "Nov 20 10:00:00 web1 CRON[1]: (root) CMD (true)\n");
    bed.run(&["run-now", "scan"]);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    let line = |n: i64| {
        let stamp = DateTime::from_timestamp(now - 60 + n, 0).unwrap().format("%Y-%m-%dT%H:%M:%S+00:00");
        format!("{stamp} web1 sshd[{n}]: Failed password for root from 198.51.100.1 port 1 ssh2\n")
    };
    bed.file("log/auth.log", &(0..30).map(line).collect::<String>());
    bed.run(&["run-now", "scan"]);
    let mails = bed.mails();
    assert_eq!(mails.len(), 1);
    assert!(
        mails[0].contains("failed-logins: 198.51.100.1") && !mails[0].contains("failed-logins-account"),
        "{}",
        mails[0]
    );
    let book = std::fs::read_to_string(bed.path("book.log")).unwrap();
    assert!(book.contains("failed-logins-account") && book.lines().count() == 1, "{book}");
    assert!(!bed.path("loud.log").exists(), "what is not critical is not for that channel");
}
