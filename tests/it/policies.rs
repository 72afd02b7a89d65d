//! Policies, seen from outside: real daemons, schedules by the second.

use std::time::Duration;

use serde_json::Value;

use crate::support::{TestBed, printed, wait_until};

const SOON: Duration = Duration::from_secs(20);

fn runs(bed: &TestBed, job: &str) -> Vec<Value> {
    let mut runs = bed.json(&["history", job, "-n", "1000"]).as_array().unwrap().clone();
    runs.reverse();
    runs
}

fn outcomes(bed: &TestBed, job: &str) -> Vec<String> {
    runs(bed, job).iter().map(|run| run["outcome"].as_str().unwrap_or("open").to_owned()).collect()
}

/// A schedule that is due once, a few seconds from now.
fn once() -> String {
    let at =
        chrono::DateTime::from_timestamp(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64 + 4, 0).unwrap();
    at.format("schedule = \"%S %M %H %d %m * %Y\"\n").to_string()
}

#[test]
fn every_missed_slot_is_made_up_for_one_after_the_other_where_that_is_asked_for() {
    let bed = TestBed::new();
    let shell = "echo $LOGKEEPER_AT >> DIR/ran; sleep 0.3";
    bed.file("jobs/a.toml", &format!("schedule = \"* * * * *\"\ncatch_up = \"all\"\n[command]\nshell = \"{shell}\"\n"));
    assert_eq!(bed.daemon().end(), 0);
    let database = rusqlite::Connection::open(bed.path("state/logkeeper.db")).unwrap();
    database.execute("UPDATE planner SET cursor = cursor - 300", []).unwrap();
    drop(database);
    let daemon = bed.daemon();
    let ran = || std::fs::read_to_string(bed.path("ran")).unwrap_or_default().lines().count();
    wait_until("all five have run", SOON, || ran() >= 5);
    assert!(
        outcomes(&bed, "a").iter().all(|outcome| outcome == "succeeded" || outcome == "open"),
        "{:?}",
        outcomes(&bed, "a")
    );
    assert_eq!(daemon.end(), 0);
}

#[test]
fn a_job_that_always_fails_is_told_even_when_its_retries_meet_its_next_slots() {
    let bed = TestBed::new();
    let policy = "retries = 1\nretry_delay = \"1s\"\non_failure = [\"admins\"]\n";
    bed.file("jobs/a.toml", &format!("schedule = \"* * * * * *\"\n{policy}[command]\nshell = \"sleep 0.8; false\"\n"));
    let daemon = bed.daemon();
    wait_until("somebody is told", SOON, || !bed.mails().is_empty());
    assert!(bed.mails()[0].contains("[web1] FAILED: a"), "{}", bed.mails()[0]);
    drop(daemon);
}

#[test]
fn a_failed_run_is_tried_again_with_growing_pauses_until_it_succeeds() {
    let bed = TestBed::new();
    let shell = "echo x >> DIR/tries; test $(wc -l < DIR/tries) -ge 3";
    let policy = "retries = 5\nretry_delay = \"1s\"\non_failure = [\"admins\"]\n";
    bed.file("jobs/flaky.toml", &format!("{}{policy}[command]\nshell = \"{shell}\"\n", once()));
    let daemon = bed.daemon();
    wait_until("the third attempt succeeds", SOON, || outcomes(&bed, "flaky") == ["failed", "failed", "succeeded"]);
    let all = runs(&bed, "flaky");
    let seen: Vec<_> = all.iter().map(|run| (run["trigger"].clone(), run["attempt"].clone())).collect();
    assert_eq!(seen, [("scheduled".into(), 1.into()), ("retry".into(), 2.into()), ("retry".into(), 3.into())]);
    assert!(all.iter().all(|run| run["slot"] == all[0]["slot"]), "all are about the same slot: {all:?}");
    let paused = |n: usize| instant(&all[n + 1]["started"]) - instant(&all[n]["finished"]);
    assert!(
        paused(0).num_milliseconds() >= 1000 && paused(1).num_milliseconds() >= 2000,
        "{} {}",
        paused(0),
        paused(1)
    );
    assert_eq!(daemon.end(), 0);
    assert!(bed.mails().is_empty(), "it succeeded at last, so nobody is bothered: {:?}", bed.mails());
}

#[test]
fn a_run_that_a_crash_cut_off_is_interrupted_and_tried_again_where_its_job_says_so() {
    let bed = TestBed::new();
    let shell = "echo x >> DIR/tries; test $(wc -l < DIR/tries) -ge 2 || sleep 300";
    let policy = "retries = 1\nretry_delay = \"1s\"\n";
    bed.file("jobs/again.toml", &format!("{}{policy}[command]\nshell = \"{shell}\"\n", once()));
    bed.file("jobs/never.toml", &format!("{}[command]\nshell = \"touch DIR/never; sleep 300\"\n", once()));
    let daemon = bed.daemon();
    wait_until("both run", SOON, || bed.path("tries").exists() && bed.path("never").exists());
    daemon.kill();
    let daemon = bed.daemon();
    wait_until("it is tried again", SOON, || outcomes(&bed, "again") == ["interrupted", "succeeded"]);
    assert_eq!(outcomes(&bed, "never"), ["interrupted"]);
    assert_eq!(daemon.end(), 0);
}

#[test]
fn a_run_that_fails_for_good_and_output_are_told_by_mail() {
    let bed = TestBed::new();
    bed.file(
        "jobs/bad.toml",
        &format!("{}on_failure = [\"admins\"]\n[command]\nshell = \"echo the disk is gone >&2; exit 4\"\n", once()),
    );
    bed.file(
        "jobs/loud.toml",
        &format!("{}on_output = [\"someone@example.net\"]\n[command]\nshell = \"echo 42 files\"\n", once()),
    );
    bed.file("jobs/quiet.toml", &format!("{}on_output = [\"admins\"]\n[command]\nshell = \"true\"\n", once()));
    let daemon = bed.daemon();
    wait_until("both mails are there", SOON, || bed.mails().len() == 2);
    let mails = bed.mails();
    let mail = |job: &str| mails.iter().find(|mail| mail.contains(&format!(": {job}: "))).unwrap();
    let bad = mail("bad");
    assert!(bad.contains("To: admin@example.org") && bad.contains("[web1] FAILED: bad: exit code 4"), "{bad}");
    assert!(bad.contains("the disk is gone") && bad.contains("logkeeper run-now bad"), "{bad}");
    let loud = mail("loud");
    assert!(
        loud.contains("To: someone@example.net") && loud.contains("[web1] Output: loud") && loud.contains("42 files")
    );
    assert_eq!(daemon.end(), 0);
}

#[test]
fn overlapping_runs_are_skipped_queued_or_run_together() {
    let bed = TestBed::new();
    for overlap in ["skip", "queue", "allow"] {
        let shell = format!("echo begin >> DIR/{overlap}; sleep 2.4; echo end >> DIR/{overlap}");
        let text = format!("schedule = \"* * * * * *\"\noverlap = \"{overlap}\"\n[command]\nshell = \"{shell}\"\n");
        bed.file(&format!("jobs/{overlap}.toml"), &text);
    }
    let daemon = bed.daemon();
    std::thread::sleep(Duration::from_secs(6));
    bed.run(&["pause", "skip", "queue", "allow"]);
    let log = |overlap: &str| std::fs::read_to_string(bed.path(overlap)).unwrap_or_default();
    wait_until("one ran beside the other", SOON, || log("allow").contains("begin\nbegin"));
    assert!(!log("skip").contains("begin\nbegin") && !log("queue").contains("begin\nbegin"), "{}", log("queue"));
    let of = |job: &str, outcome: &str| outcomes(&bed, job).iter().filter(|found| *found == outcome).count();
    assert!(of("skip", "skipped") >= 3, "{:?}", outcomes(&bed, "skip"));
    assert!(of("queue", "open") >= 1, "{:?}", outcomes(&bed, "queue"));
    drop(daemon);
}

#[test]
fn a_paused_job_skips_its_slots_can_be_run_by_hand_and_follows_its_schedule_again() {
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "schedule = \"* * * * * *\"\n[command]\nshell = \"true\"\n");
    assert!(bed.run(&["pause", "a"]).stdout.contains("paused"));
    let daemon = bed.daemon();
    wait_until("slots are skipped", SOON, || outcomes(&bed, "a").len() >= 2);
    assert!(outcomes(&bed, "a").iter().all(|outcome| outcome == "skipped"), "{:?}", outcomes(&bed, "a"));
    assert!(runs(&bed, "a")[0]["summary"].as_str().unwrap().contains("paused since"));
    assert_eq!(bed.json(&["jobs"])[0]["next"], Value::Null);
    assert_eq!(bed.run(&["run-now", "a"]).code, 0, "by hand it runs");
    bed.run(&["resume", "a"]);
    wait_until("it runs again", SOON, || {
        runs(&bed, "a").iter().any(|run| run["slot"].is_string() && run["outcome"] == "succeeded")
    });
    assert_eq!(daemon.end(), 0);
}

#[test]
fn a_job_runs_after_others_for_their_slot_and_not_after_a_failure() {
    let bed = TestBed::new();
    let when = once();
    bed.file("jobs/dump.toml", &format!("{when}[command]\nshell = \"sleep 0.3\"\n"));
    bed.file("jobs/files.toml", &format!("{when}[command]\nshell = \"sleep 0.6\"\n"));
    bed.file("jobs/copy.toml", "after = [\"dump\", \"files\"]\n[command]\nshell = \"echo $LOGKEEPER_AT\"\n");
    bed.file("jobs/last.toml", "after = [\"copy\"]\n[command]\nshell = \"true\"\n");
    bed.file("jobs/broken.toml", &format!("{when}[command]\nshell = \"false\"\n"));
    bed.file("jobs/lonely.toml", "after = [\"dump\", \"other\"]\n[command]\nshell = \"true\"\n");
    bed.file("jobs/other.toml", "schedule = \"@yearly\"\n[command]\nshell = \"true\"\n");
    assert!(
        bed.run(&["check"]).stdout.contains("lonely: comes after dump and other, which are due at different times")
    );
    bed.file("jobs/never.toml", "after = [\"broken\"]\n[command]\nshell = \"touch DIR/never\"\n");
    let daemon = bed.daemon();
    wait_until("the chain is through", SOON, || {
        outcomes(&bed, "last") == ["succeeded"] && outcomes(&bed, "never").len() == 1
    });
    let slot = runs(&bed, "dump")[0]["slot"].clone();
    let copy = &runs(&bed, "copy")[0];
    assert_eq!((&copy["slot"], copy["trigger"].as_str()), (&slot, Some("after")));
    assert_eq!(instant(&printed(copy).trim().into()), instant(&slot));
    assert_eq!(outcomes(&bed, "copy").len(), 1, "once, after both");
    assert_eq!(outcomes(&bed, "never"), ["skipped"]);
    assert!(runs(&bed, "never")[0]["summary"].as_str().unwrap().contains("broken did not succeed"));
    assert!(!bed.path("never").exists());
    assert_eq!(daemon.end(), 0);
}

#[test]
fn a_group_runs_no_more_at_once_than_it_may() {
    let bed = TestBed::new();
    bed.main("[groups]\ndisk = 1\n");
    let when = once();
    for n in 0..3 {
        let shell = "echo begin >> DIR/disk; sleep 0.5; echo end >> DIR/disk";
        bed.file(&format!("jobs/disk-{n}.toml"), &format!("{when}group = \"disk\"\n[command]\nshell = \"{shell}\"\n"));
    }
    let daemon = bed.daemon();
    wait_until("all have run", SOON, || (0..3).all(|n| outcomes(&bed, &format!("disk-{n}")) == ["succeeded"]));
    let log = std::fs::read_to_string(bed.path("disk")).unwrap();
    assert_eq!(log, "begin\nend\n".repeat(3));
    assert_eq!(daemon.end(), 0);
}

#[test]
fn jitter_puts_the_beginning_off_but_not_the_slot() {
    let bed = TestBed::new();
    bed.file("jobs/a.toml", &format!("{}jitter = \"4s\"\n[command]\nshell = \"true\"\n", once()));
    let daemon = bed.daemon();
    wait_until("it has run", SOON, || outcomes(&bed, "a") == ["succeeded"]);
    let run = &runs(&bed, "a")[0];
    let (slot, begin, started) = (instant(&run["slot"]), instant(&run["begin"]), instant(&run["started"]));
    assert!(slot <= begin && (begin - slot).num_seconds() <= 4 && started >= begin, "{run}");
    assert_eq!(slot.timestamp_subsec_millis(), 0);
    assert_eq!(daemon.end(), 0);
}

#[test]
fn a_run_that_waits_for_its_time_is_skipped_when_its_job_is_paused_meanwhile() {
    let bed = TestBed::new();
    let policy = "retries = 1\nretry_delay = \"3s\"\n";
    bed.file("jobs/a.toml", &format!("{}{policy}[command]\nshell = \"echo >> DIR/tries; false\"\n", once()));
    let daemon = bed.daemon();
    wait_until("the retry waits", SOON, || outcomes(&bed, "a") == ["failed", "open"]);
    bed.run(&["pause", "a"]);
    wait_until("its time has come", SOON, || outcomes(&bed, "a") == ["failed", "skipped"]);
    assert_eq!(std::fs::read_to_string(bed.path("tries")).unwrap(), "\n");
    assert_eq!(daemon.end(), 0);
}

#[test]
fn a_run_can_be_stopped_and_a_waiting_one_taken_off_the_list() {
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "overlap = \"queue\"\n[command]\nshell = \"echo here; sleep 300; true\"\n");
    let daemon = bed.daemon();
    let mut asked: Vec<_> = (0..2).map(|_| bed.command(&["run-now", "a"]).spawn().unwrap()).collect();
    wait_until("one runs and one waits", SOON, || bed.json(&["status"])["waiting"] == 1);
    assert_eq!(bed.json(&["status"])["running"], 1);
    let waiting = runs(&bed, "a").iter().find(|run| run["started"].is_null()).unwrap()["id"].to_string();
    let running = runs(&bed, "a").iter().find(|run| run["started"].is_string()).unwrap()["id"].to_string();
    assert!(bed.run(&["stop", &waiting]).stdout.contains("cancelled"));
    let stopped = bed.run(&["stop", &running]);
    assert!(stopped.code == 0 && stopped.stdout.contains("cancelled"), "{stopped:?}");
    asked.iter_mut().for_each(|child| assert_eq!(child.wait().unwrap().code(), Some(1)));
    assert_eq!(bed.run(&["stop", "99"]).code, 1);
    assert_eq!(daemon.end(), 0);
    assert_eq!(bed.run(&["stop", &running]).code, 69, "no daemon, no run");
}

#[test]
fn output_is_shown_while_it_is_printed() {
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "[command]\nshell = \"echo one; sleep 1; echo two; touch DIR/go; sleep 1; echo three\"\n");
    let daemon = bed.daemon();
    let mut follower = bed.command(&["run-now", "--follow", "a"]);
    let mut child = follower.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("| two") {
        assert!(std::io::BufRead::read_line(&mut out, &mut seen).unwrap() > 0, "{seen}");
    }
    assert!(!seen.contains("three"), "it is shown before the command has ended: {seen}");
    let followed = bed.run(&["show", "1", "--follow"]);
    assert!(followed.stdout.contains("| three") && followed.stdout.contains("succeeded"), "{followed:?}");
    std::io::Read::read_to_string(&mut out, &mut seen).unwrap();
    for line in ["| one", "| two", "| three"] {
        assert_eq!(seen.matches(line).count(), 1, "{seen}");
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let ms: Vec<i64> =
        runs(&bed, "a")[0]["output"].as_array().unwrap().iter().map(|line| line["ms"].as_i64().unwrap()).collect();
    assert!(ms[0] < 900 && ms[1] >= 900 && ms[2] >= 1900, "{ms:?}");
    assert_eq!(daemon.end(), 0);
}

#[test]
fn a_slot_can_be_replayed() {
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "[command]\nshell = \"echo $LOGKEEPER_AT\"\n");
    let ran = bed.run(&["run-now", "a", "--at", "2026-03-06T12:00:00+01:00"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(printed(&bed.json(&["show", "1"])).starts_with("2026-03-06T11:00:00"));
    assert_eq!(
        instant(&bed.json(&["show", "1"])["slot"]),
        "2026-03-06T11:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap()
    );
}

#[test]
fn status_names_what_is_wrong_and_its_exit_code_says_so() {
    let bed = TestBed::new();
    bed.file("jobs/good.toml", "[command]\nshell = \"true\"\n")
        .file("jobs/bad.toml", "[command]\nshell = \"exit 9\"\n");
    let down = bed.run(&["status"]);
    assert_eq!(down.code, 69, "{down:?}");
    assert!(down.stdout.contains("no daemon runs") && down.stdout.contains("systemctl start logkeeper"));
    let daemon = bed.daemon();
    bed.run(&["run-now", "good"]);
    let well = bed.run(&["status"]);
    assert_eq!(well.code, 0, "{well:?}");
    assert!(well.stdout.contains("all is well"), "{}", well.stdout);
    bed.run(&["run-now", "bad"]);
    let ill = bed.run(&["status"]);
    assert_eq!(ill.code, 1);
    assert!(ill.stdout.contains("bad: failed") && ill.stdout.contains("exit code 9"), "{}", ill.stdout);
    assert!(ill.stdout.contains("logkeeper show 2"), "{}", ill.stdout);
    assert_eq!(daemon.end(), 0);
}

#[test]
fn several_jobs_run_at_once_and_one_failure_shows_in_the_exit_code() {
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "[command]\nshell = \"true\"\n").file("jobs/b.toml", "[command]\nshell = \"false\"\n");
    assert_eq!(bed.run(&["run-now", "a", "b"]).code, 1);
    assert_eq!((outcomes(&bed, "a"), outcomes(&bed, "b")), (vec!["succeeded".into()], vec!["failed".to_owned()]));
    assert_eq!(bed.run(&["run-now", "a", "a"]).code, 0);
    assert_eq!(bed.run(&["run-now", "a", "nope"]).code, 2);
}

#[test]
fn reload_takes_changes_over_and_tells_mistakes() {
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "[command]\nshell = \"true\"\n");
    assert_eq!(bed.run(&["reload"]).code, 69);
    let daemon = bed.daemon();
    bed.file("jobs/b.toml", "[command]\nshell = \"true\"\n");
    let unknown = bed.run(&["run-now", "b"]);
    assert!(unknown.code == 1 && unknown.stderr.contains("logkeeper reload"), "{unknown:?}");
    assert_eq!(bed.run(&["reload"]).code, 0);
    assert_eq!(bed.run(&["run-now", "b"]).code, 0);
    bed.file("jobs/b.toml", "nonsense = 1\n");
    let bad = bed.run(&["reload"]);
    assert!(bad.code == 2 && bad.stderr.contains("jobs/b.toml:1:1"), "{bad:?}");
    assert_eq!(daemon.end(), 0);
}

#[test]
fn a_job_at_the_start_of_the_machine_runs_once_per_start() {
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "schedule = \"@reboot\"\n[command]\nshell = \"true\"\n");
    assert_eq!(bed.daemon().end(), 0);
    let before = outcomes(&bed, "a").len();
    // As if the machine had been started since.
    let database = rusqlite::Connection::open(bed.path("state/logkeeper.db")).unwrap();
    assert_eq!(database.execute("UPDATE planner SET fingerprint = '@reboot earlier'", []).unwrap(), 1);
    drop(database);
    let daemon = bed.daemon();
    wait_until("it runs", SOON, || outcomes(&bed, "a").len() == before + 1);
    assert_eq!(daemon.end(), 0);
    assert_eq!(bed.daemon().end(), 0);
    assert_eq!(outcomes(&bed, "a").len(), before + 1, "a restart of logkeeper is no start of the machine");
    assert_eq!(runs(&bed, "a").last().unwrap()["trigger"], "boot");
}

#[test]
fn old_runs_are_forgotten() {
    let bed = TestBed::new();
    bed.main("[keep]\nruns = \"30d\"\nruns_per_job = 3\n");
    bed.file("jobs/a.toml", "[command]\nshell = \"true\"\n").file("jobs/b.toml", "[command]\nshell = \"true\"\n");
    (0..5).for_each(|_| assert_eq!(bed.run(&["run-now", "a"]).code, 0));
    assert_eq!(bed.run(&["run-now", "b"]).code, 0);
    let database = rusqlite::Connection::open(bed.path("state/logkeeper.db")).unwrap();
    database.execute("UPDATE runs SET requested = requested - 31 * 86400000 WHERE job = 'b'", []).unwrap();
    drop(database);
    let daemon = bed.daemon();
    wait_until("the oldest are gone", SOON, || outcomes(&bed, "a").len() == 3 && outcomes(&bed, "b").is_empty());
    assert_eq!(runs(&bed, "a")[0]["id"], 3, "the newest stay");
    assert_eq!(daemon.end(), 0);
}

#[test]
fn old_findings_and_counts_are_forgotten() {
    let bed = TestBed::new();
    bed.main("[keep]\nfindings = \"30d\"\ncounts = \"60d\"\n[sources.logs]\nfiles = [\"DIR/auth.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\n");
    let attack = |day: chrono::DateTime<chrono::Utc>, ip: u32| -> String {
        let line = |n: u32| {
            let stamp = day.format("%Y-%m-%dT%H:%M");
            format!("{stamp}:{n:02}Z web1 sshd[{n}]: Failed password for root from 192.0.2.{ip} port {n} ssh2\n")
        };
        (0..6).map(line).collect()
    };
    let now = chrono::Utc::now();
    let days = [400, 90, 45, 1].map(|ago| now - chrono::TimeDelta::days(ago));
    bed.file("auth.log", &days.iter().zip(1..).map(|(day, ip)| attack(*day, ip)).collect::<String>());
    bed.run_job("scan", &now.to_rfc3339());
    let rows = |sql: &str| -> Vec<i64> {
        let database = rusqlite::Connection::open(bed.path("state/logkeeper.db")).unwrap();
        database.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let (findings, buckets) =
        ("SELECT first FROM findings ORDER BY 1", "SELECT DISTINCT bucket FROM tallies ORDER BY 1");
    assert_eq!((rows(findings).len(), rows(buckets).len()), (4, 4));
    let daemon = bed.daemon();
    wait_until("the old ones are gone", SOON, || rows(findings).len() == 1 && rows(buckets).len() == 2);
    assert!(rows(findings)[0] > (now - chrono::TimeDelta::days(2)).timestamp(), "the newest stays");
    assert_eq!(daemon.end(), 0);
}

fn instant(value: &Value) -> chrono::DateTime<chrono::Utc> {
    value.as_str().unwrap().parse().unwrap()
}
