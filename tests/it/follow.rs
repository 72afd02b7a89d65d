//! Jobs that scan as soon as a log grows.

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{self, Daemon, TestBed, wait_until};

const SOON: Duration = Duration::from_secs(20);

const JOB: &str = "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\nalert = [\"admins\"]\nfollow = true\n";

fn bed() -> TestBed {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n").file("jobs/scan.toml", JOB);
    bed.file("log/auth.log", "2026-11-20T10:00:00Z web1 sshd[1]: Server listening on :: port 22.\n");
    bed
}

/// A daemon that has scanned what there was.
fn following(bed: &TestBed) -> Daemon {
    let daemon = bed.daemon();
    wait_until("the first scan has ended", SOON, || {
        bed.store().runs(&Default::default()).unwrap().iter().any(|run| run.outcome.is_some())
    });
    daemon
}

/// Five failures of an address just now.
fn attack(ip: &str) -> String {
    let line = |n: u32| {
        let now = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ");
        format!("{now} web1 sshd[{n}]: Failed password for root from {ip} port {n} ssh2\n")
    };
    (1..=5).map(line).collect()
}

fn append(bed: &TestBed, text: &str) {
    let mut log = std::fs::File::options().append(true).create(true).open(bed.path("log/auth.log")).unwrap();
    log.write_all(text.as_bytes()).unwrap();
}

fn is_told_of(bed: &TestBed, ip: &str) -> bool {
    bed.mails().iter().any(|mail| mail.contains(ip))
}

#[test]
fn an_attack_is_told_as_soon_as_it_is_written() {
    let bed = bed();
    let daemon = following(&bed);
    let text = attack("203.0.113.7");
    // Line by line, the last one a while after the others.
    let (first, last) = text.split_at(text.trim_end().rfind('\n').unwrap() + 1);
    append(&bed, first);
    std::thread::sleep(Duration::from_millis(500));
    assert!(!is_told_of(&bed, "203.0.113.7"));
    append(&bed, last);
    let written = Instant::now();
    wait_until("the attack is told", SOON, || is_told_of(&bed, "203.0.113.7"));
    println!("told {} ms after the last line", written.elapsed().as_millis());
    let run = bed.store().runs(&Default::default()).unwrap().remove(0);
    assert_eq!(run.trigger, logkeeper::model::Trigger::Watch);
    assert_eq!(daemon.end(), 0);
}

#[test]
fn rotation_and_truncation_lose_nothing() {
    let bed = bed();
    let daemon = following(&bed);
    let found = |ip: &str, count: u64| {
        let found = bed.store().findings(&Default::default()).unwrap();
        found.iter().any(|f| f.finding.subject_words() == ip && f.finding.count == count)
    };
    append(&bed, &attack("203.0.113.1"));
    std::fs::rename(bed.path("log/auth.log"), bed.path("log/auth.log.1")).unwrap();
    append(&bed, &attack("203.0.113.2"));
    wait_until("both are found", SOON, || found("203.0.113.1", 5) && found("203.0.113.2", 5));
    std::fs::copy(bed.path("log/auth.log"), bed.path("log/auth.log.2")).unwrap();
    std::fs::File::options().write(true).open(bed.path("log/auth.log")).unwrap().set_len(0).unwrap();
    append(&bed, &attack("203.0.113.3"));
    wait_until("what came after the truncation is found", SOON, || found("203.0.113.3", 5));
    assert!(found("203.0.113.1", 5) && found("203.0.113.2", 5), "nothing was counted twice");
    assert_eq!(daemon.end(), 0);
}

#[test]
fn many_quiet_scans_are_one_on_record_with_their_sums() {
    let bed = bed();
    let daemon = following(&bed);
    for n in 0..12 {
        append(&bed, &format!("2026-11-20T10:00:{n:02}Z web1 sshd[{n}]: Server listening on :: port 22.\n"));
        std::thread::sleep(Duration::from_millis(150));
    }
    let read = |bed: &TestBed| {
        let (from, to) = ("2000-01-01T00:00:00Z".parse().unwrap(), "2100-01-01T00:00:00Z".parse().unwrap());
        bed.store().scan_totals(from, to).unwrap()
    };
    wait_until("all lines are read", SOON, || read(&bed).1 == 13);
    // One at most for each hour that this took.
    assert!(bed.store().runs(&Default::default()).unwrap().len() <= 2);
    assert!(read(&bed).0 <= 2);
    // One that found something takes none of them away.
    append(&bed, &attack("203.0.113.1"));
    wait_until("the attack is found", SOON, || !bed.store().findings(&Default::default()).unwrap().is_empty());
    let summaries = || bed.store().runs(&Default::default()).unwrap().into_iter().map(|run| run.summary);
    wait_until("its run is over", SOON, || summaries().any(|summary| summary.contains("1 new finding")));
    assert!(summaries().any(|summary| summary.starts_with("no activity detected")));
    assert!(bed.run(&["check"]).stdout.contains("whenever its logs grow"));
    assert_eq!(daemon.end(), 0);
}

#[test]
fn a_job_begins_to_follow_when_the_configuration_says_so() {
    let bed = bed();
    bed.file("jobs/scan.toml", &JOB.replace("follow = true\n", ""));
    let daemon = bed.daemon();
    assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
    bed.file("jobs/scan.toml", JOB);
    assert_eq!(bed.run(&["reload"]).code, 0);
    append(&bed, &attack("203.0.113.4"));
    wait_until("it is told", SOON, || is_told_of(&bed, "203.0.113.4"));
    assert_eq!(bed.run(&["pause", "scan"]).code, 0);
    append(&bed, &attack("203.0.113.5"));
    std::thread::sleep(Duration::from_secs(1));
    assert!(!is_told_of(&bed, "203.0.113.5"), "the job is paused");
    assert_eq!(daemon.end(), 0);
}

#[test]
fn without_watches_logs_are_looked_at() {
    const NAME: &str = "without_watches_logs_are_looked_at";
    let limited = |command: &str| {
        let mut unshare = Command::new("unshare");
        let script = format!("echo 0 > /proc/sys/user/max_inotify_watches && {command}");
        unshare.args(["--user", "--map-root-user", "sh", "-c", &script]);
        unshare
    };
    if !limited("true").output().is_ok_and(|output| output.status.success()) {
        return support::skip(NAME, "a user namespace of its own");
    }
    let bed = bed();
    let mut command = limited(&format!("exec {} daemon", env!("CARGO_BIN_EXE_logkeeper")));
    command.env("LOGKEEPER_CONFIG", bed.path("")).env_remove("RUST_LOG");
    let daemon = bed.daemon_by(command);
    wait_until("it says so", SOON, || daemon.log().contains("they are looked at twice a second"));
    wait_until("the first scan has ended", SOON, || {
        bed.store().runs(&Default::default()).unwrap().iter().any(|run| run.outcome.is_some())
    });
    append(&bed, &attack("203.0.113.8"));
    wait_until("the attack is told", SOON, || is_told_of(&bed, "203.0.113.8"));
    assert_eq!(daemon.end(), 0);
}

#[test]
fn a_folder_that_is_not_there_yet_or_for_a_while_is_followed_as_soon_as_it_is_made() {
    let bed = bed();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\", \"DIR/app/logs/*.log\"]\n");
    let daemon = following(&bed);
    let place = bed.path("app/logs");
    for round in 0..2 {
        std::fs::create_dir_all(&place).unwrap();
        let (ip, started) = (format!("203.0.113.{round}"), Instant::now());
        std::fs::write(place.join("a.log"), attack(&ip)).unwrap();
        wait_until("the attack is on record", SOON, || {
            let found = bed.store().findings(&Default::default()).unwrap();
            found.iter().any(|stored| stored.finding.subject_words() == ip)
        });
        assert!(started.elapsed() < Duration::from_secs(3), "it was only looked at in round {round}");
        std::fs::remove_dir_all(bed.path("app")).unwrap();
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(daemon.end(), 0);
}

#[test]
fn a_folder_that_is_made_again_is_followed_at_once() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*/auth.log\"]\n").file("jobs/scan.toml", JOB);
    bed.file("log/web1/auth.log", "2026-11-20T10:00:00Z web1 sshd[1]: Server listening on :: port 22.\n");
    let daemon = following(&bed);
    // What only looking every few seconds would see comes too late.
    for (round, folder) in ["web1", "web1", "web2"].into_iter().enumerate() {
        let place = bed.path("log").join(folder);
        if place.exists() {
            std::fs::remove_dir_all(&place).unwrap();
        }
        std::fs::create_dir(&place).unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        let ip = format!("203.0.113.{round}");
        let (log, started) = (place.join("auth.log"), Instant::now());
        std::fs::write(&log, attack(&ip)).unwrap();
        wait_until("the attack is on record", SOON, || {
            let found = bed.store().findings(&Default::default()).unwrap();
            found.iter().any(|stored| stored.finding.subject_words() == ip)
        });
        println!("{folder}: found {} ms after it was written", started.elapsed().as_millis());
        let watched = bed.store().runs(&Default::default()).unwrap();
        assert!(started.elapsed() < Duration::from_secs(3), "{folder} was only looked at: {watched:?}");
    }
    assert_eq!(daemon.end(), 0);
}
