//! Starting jobs by hand.

use std::process::Stdio;
use std::time::Duration;

use crate::support::{TestBed, wait_until};

fn bed() -> TestBed {
    let bed = TestBed::new();
    bed.file("jobs/good.toml", "[command]\nshell = \"echo hello\"\n");
    bed.file("jobs/bad.toml", "[command]\nshell = \"false\"\n");
    bed.file("jobs/slow.toml", "[command]\nshell = \"touch DIR/begun; sleep 3\"\n");
    bed
}

#[test]
fn the_exit_code_tells_success_from_everything_else() {
    let bed = bed();
    assert_eq!(bed.run(&["run-now", "good"]).code, 0);
    assert_eq!(bed.run(&["run-now", "bad"]).code, 1);
    let unknown = bed.run(&["run-now", "goood"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("did you mean \"good\"?"), "{}", unknown.stderr);
}

#[test]
fn a_partial_run_is_no_success() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n").bytes("log/a.log.1.gz", &[0x1f, 0x8b, 8, 0, 1]);
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\n");
    let ran = bed.run(&["run-now", "scan"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("scan: partial"), "{}", ran.stdout);
}

#[test]
fn a_dry_run_changes_nothing() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n").file("log/a.log", "x\n").file("log/a.log.1", "y\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\n");
    bed.file("jobs/pack.toml", "[archive]\nsources = [\"logs\"]\nquiet = \"none\"\n");
    bed.file("jobs/sum.toml", "[report]\nperiod = \"weekly\"\nto = [\"management\"]\n");
    bed.file("jobs/cmd.toml", "[command]\nshell = \"touch DIR/touched\"\n");
    for (job, says) in
        [("scan", "would read"), ("pack", "would put"), ("sum", "boss@example.org"), ("cmd", "would run")]
    {
        let ran = bed.run(&["run-now", job, "--dry-run"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains(says), "{}", ran.stdout);
    }
    assert!(!bed.path("state").exists() && !bed.path("touched").exists());
}

#[test]
fn without_a_daemon_two_runs_never_share_a_state_folder() {
    let bed = bed();
    let mut first = bed.command(&["run-now", "slow"]).stdout(Stdio::null()).spawn().unwrap();
    wait_until("the first run begins", Duration::from_secs(10), || bed.path("begun").exists());
    let second = bed.run(&["run-now", "good"]);
    assert_eq!(second.code, 75, "{second:?}");
    assert!(second.stderr.contains(&format!("pid {}", first.id())), "{}", second.stderr);
    assert!(first.wait().unwrap().success());
}

#[test]
fn with_a_daemon_the_run_goes_through_it_and_is_followed() {
    let bed = bed();
    let daemon = bed.daemon();
    let ran = bed.run(&["run-now", "good"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("through the daemon") && ran.stdout.contains("| hello"), "{}", ran.stdout);
    assert_eq!(bed.run(&["run-now", "bad"]).code, 1);
    let mut slow = bed.command(&["run-now", "slow"]).stdout(Stdio::null()).spawn().unwrap();
    wait_until("the slow run begins", Duration::from_secs(10), || bed.path("begun").exists());
    let overlapping = bed.run(&["run-now", "slow"]);
    assert_eq!(overlapping.code, 1);
    assert!(overlapping.stdout.contains("skipped"), "{}", overlapping.stdout);
    assert!(slow.wait().unwrap().success());
    assert_eq!(daemon.end(), 0);
    let history = bed.json(&["history"]);
    assert!(history.as_array().unwrap().iter().all(|run| run["trigger"] == "manual"), "{history}");
}

#[test]
fn lists_are_there_as_json() {
    let bed = bed();
    bed.file("jobs/timed.toml", "schedule = \"0 12 * * 5\"\n[command]\nshell = \"true\"\n");
    bed.run(&["run-now", "good"]);
    assert_eq!(bed.json(&["jobs"]).as_array().unwrap().len(), 4);
    let next = bed.json(&["next", "-n", "2"]);
    assert!(next[0]["at"].as_str().unwrap().ends_with("T12:00:00+00:00"), "{next}");
    assert_eq!(bed.json(&["history"])[0]["outcome"], "succeeded");
    assert_eq!(crate::support::printed(&bed.json(&["show", "1"])), "hello\n");
    assert_eq!(bed.json(&["findings"]), serde_json::json!([]));
    assert_eq!(bed.run(&["show", "99"]).code, 2);
}

#[test]
fn root_leaves_no_files_in_a_state_folder_that_is_somebody_elses() {
    if std::process::Command::new("id").arg("-u").output().unwrap().stdout != b"0\n" {
        return crate::support::skip("root_leaves_no_files_in_a_state_folder_that_is_somebody_elses", "root");
    }
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "[command]\nshell = \"true\"\n");
    std::fs::create_dir(bed.path("state")).unwrap();
    std::os::unix::fs::chown(bed.path("state"), Some(1), Some(1)).unwrap();
    let ran = bed.run(&["run-now", "a"]);
    assert!(
        ran.code == 1 && ran.stderr.contains("belongs to daemon") && ran.stderr.contains("sudo -u daemon"),
        "{ran:?}"
    );
    assert_eq!(std::fs::read_dir(bed.path("state")).unwrap().count(), 0);
}
