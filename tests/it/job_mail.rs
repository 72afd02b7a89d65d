//! What becomes of a job's runs is told to whom the job names.

use std::time::Duration;

use crate::support::{TestBed, wait_until};

const SOON: Duration = Duration::from_secs(30);

fn subjects(bed: &TestBed) -> Vec<String> {
    let subject = |mail: &String| {
        let whole = mail.replace("\r\n ", " ");
        whole.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap().to_owned()
    };
    bed.mails().iter().map(subject).collect()
}

fn has(bed: &TestBed, start: &str) -> bool {
    subjects(bed).iter().any(|subject| subject.starts_with(start))
}

#[test]
fn the_third_failure_in_a_row_is_told_and_then_the_recovery() {
    let bed = TestBed::new();
    let shell = "echo x >> DIR/runs; test $(wc -l < DIR/runs) -ge 5";
    let keys = "schedule = \"*/2 * * * * *\"\nafter_failures = 3\non_failure = [\"admins\"]\n";
    bed.file("jobs/a.toml", &format!("{keys}[command]\nshell = \"{shell}\"\n"));
    let daemon = bed.daemon();
    wait_until("it has recovered", SOON, || has(&bed, "[web1] Recovered: a"));
    assert_eq!(daemon.end(), 0);
    let told = subjects(&bed);
    // The fourth failure comes within the hour of the third, and waits.
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("[web1] FAILED: a"), "{told:?}");
    let history = bed.json(&["history", "a", "-n", "100"]);
    let failed: Vec<_> = history.as_array().unwrap().iter().filter(|run| run["outcome"] == "failed").collect();
    assert_eq!(failed.len(), 4);
    // The newest comes first.
    let (first, third) = (bed.mails()[0].clone(), failed[1]["id"].as_i64().unwrap());
    assert!(first.contains(&format!("logkeeper show {third}")), "the third is the one that is told: {first}");
}

#[test]
fn success_skipped_slots_and_a_job_that_cannot_start_are_told_where_asked_for() {
    let bed = TestBed::new();
    bed.file(
        "jobs/good.toml",
        "schedule = \"*/2 * * * * *\"\non_success = [\"good@example.org\"]\n[command]\nrun = [\"/bin/true\"]\n",
    );
    bed.file(
        "jobs/long.toml",
        "schedule = \"* * * * * *\"\non_missed = [\"late@example.org\"]\n[command]\nrun = [\"/bin/sleep\", \"3\"]\n",
    );
    bed.file(
        "jobs/gone.toml",
        "schedule = \"*/2 * * * * *\"\non_failure = [\"admins\"]\n[command]\nrun = [\"/nonexistent\"]\n",
    );
    let daemon = bed.daemon();
    wait_until("all three are told", SOON, || {
        has(&bed, "[web1] Done: good") && has(&bed, "[web1] SKIPPED: long") && has(&bed, "[web1] COULD NOT START: gone")
    });
    assert_eq!(daemon.end(), 0);
}

#[test]
fn missed_slots_are_told_together() {
    let bed = TestBed::new();
    let keys = "schedule = \"* * * * *\"\ncatch_up = \"none\"\non_missed = [\"admins\"]\n";
    bed.file("jobs/a.toml", &format!("{keys}[command]\nrun = [\"/bin/true\"]\n"));
    assert_eq!(bed.daemon().end(), 0);
    let database = rusqlite::Connection::open(bed.path("state/logkeeper.db")).unwrap();
    database.execute("UPDATE planner SET cursor = cursor - 600", []).unwrap();
    drop(database);
    let daemon = bed.daemon();
    wait_until("somebody is told", SOON, || !bed.mails().is_empty());
    assert_eq!(daemon.end(), 0);
    let told = subjects(&bed);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("[web1] MISSED: a: ") && told[0].contains("times since the last mail"), "{told:?}");
    assert!(bed.mails()[0].contains("Since the last mail also:"), "{}", bed.mails()[0]);
}

#[test]
fn a_run_that_takes_much_longer_than_usual_is_told_while_it_goes_on() {
    let bed = TestBed::new();
    let shell = "test -e DIR/slow && sleep 300; true";
    let keys = "schedule = \"*/2 * * * * *\"\non_slow = [\"admins\"]\n";
    bed.file("jobs/a.toml", &format!("{keys}[command]\nshell = \"{shell}\"\n"));
    let daemon = bed.daemon();
    wait_until("it is known what is usual", SOON, || {
        let history = bed.json(&["history", "a", "-n", "100"]);
        history.as_array().unwrap().iter().filter(|run| run["outcome"] == "succeeded").count() >= 5
    });
    bed.file("slow", "");
    wait_until("somebody is told", SOON, || has(&bed, "[web1] SLOW: a: takes much longer than usual"));
    let running = bed.json(&["status"]);
    assert_eq!(running["open_runs"][0]["job"], "a", "it goes on: {running}");
    assert!(
        bed.mails()[0].contains("still running") && bed.mails()[0].contains("logkeeper stop"),
        "{}",
        bed.mails()[0]
    );
    daemon.kill();
}

#[test]
fn a_run_by_hand_is_told_to_nobody() {
    let bed = TestBed::new();
    let all = ["on_failure", "on_success", "on_output", "on_missed", "on_slow", "on_recovery"];
    let keys: String = all.iter().map(|key| format!("{key} = [\"admins\"]\n")).collect();
    bed.file("jobs/a.toml", &format!("{keys}[command]\nshell = \"echo x; false\"\n"));
    assert_eq!(bed.run(&["run-now", "a"]).code, 1);
    assert!(bed.mails().is_empty());
}
