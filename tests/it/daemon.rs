//! The daemon: slots, crashes, reload and end.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use crate::support::{TestBed, printed, wait_until};

const EVERY_MINUTE: &str = "schedule = \"* * * * *\"\n[command]\n";

#[test]
fn a_second_daemon_is_refused_and_told_who_runs() {
    let bed = TestBed::new();
    let daemon = bed.daemon();
    let second = bed.run(&["daemon"]);
    assert_eq!(second.code, 75, "{second:?}");
    assert!(second.stderr.contains(&format!("pid {}", daemon.pid())), "{}", second.stderr);
    assert_eq!(daemon.end(), 0);
    assert_eq!(bed.daemon().end(), 0, "the lock is free again");
}

#[test]
fn a_bad_reload_keeps_the_old_configuration_and_a_good_one_takes_effect() {
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "[command]\nshell = \"echo old\"\n");
    let daemon = bed.daemon();
    bed.file("jobs/a.toml", "[command]\nshel = \"echo new\"\n");
    daemon.signal("HUP");
    wait_until("the broken file is told", Duration::from_secs(10), || daemon.log().contains("jobs/a.toml:2:1"));
    assert!(daemon.log().contains("the old one stays in force"), "{}", daemon.log());
    bed.file("jobs/a.toml", "[command]\nshell = \"echo new\"\n").file("jobs/b.toml", "[command]\nshell = \"true\"\n");
    daemon.signal("HUP");
    wait_until("the good file is read", Duration::from_secs(10), || daemon.log().contains("configuration read again"));
    assert!(bed.run(&["run-now", "a"]).stdout.contains("| new"));
    assert_eq!(bed.run(&["run-now", "b"]).code, 0);
    assert_eq!(daemon.end(), 0);
}

#[test]
fn ending_waits_for_short_runs_and_cancels_long_ones() {
    let bed = TestBed::new();
    bed.file("jobs/long.toml", "[command]\nshell = \"touch DIR/long; sleep 300; true\"\n");
    bed.file("jobs/short.toml", "[command]\nshell = \"touch DIR/short; sleep 2; true\"\n");
    let daemon = bed.daemon();
    let mut asked: Vec<_> =
        ["long", "short"].iter().map(|job| bed.command(&["run-now", job]).spawn().unwrap()).collect();
    wait_until("both run", Duration::from_secs(10), || bed.path("long").exists() && bed.path("short").exists());
    assert_eq!(daemon.end(), 0);
    for child in &mut asked {
        child.wait().unwrap();
    }
    let outcome = |job: &str| bed.json(&["history", job])[0]["outcome"].clone();
    assert_eq!((outcome("short"), outcome("long")), ("succeeded".into(), "interrupted".into()));
}

#[test]
fn only_the_daemons_own_people_may_use_its_socket() {
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "[command]\nshell = \"true\"\n");
    if Command::new("id").arg("-u").output().unwrap().stdout != b"0\n"
        || !["setpriv", "curl"].into_iter().all(crate::support::has)
    {
        return crate::support::skip("only_the_daemons_own_people_may_use_its_socket", "root, setpriv and curl");
    }
    let daemon = bed.daemon();
    // Even where the file's mode would let a stranger in, the daemon looks at who it is.
    for (path, mode) in [("", "o+rx"), ("state", "o+rx"), ("state/logkeeper.sock", "o+rw")] {
        assert!(Command::new("chmod").arg(mode).arg(bed.path(path)).status().unwrap().success());
    }
    let socket = bed.path("state/logkeeper.sock");
    let ask = |wrapper: &[&str]| {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).args(["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]);
        let output = command
            .args(["--request", "GET", "--unix-socket"])
            .arg(&socket)
            .arg("http://logkeeper/runs/1/end")
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert_eq!(ask(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]), "403");
    assert_eq!(ask(&["env"]), "404", "its own people get an answer: there is no run 1");
    assert_eq!(bed.json(&["history"]), serde_json::json!([]));
    assert_eq!(daemon.end(), 0);
    // Who may not even look for it isn't told that it is down, or broken.
    assert!(Command::new("chmod").arg("o-rwx").arg(bed.path("state")).status().unwrap().success());
    std::fs::copy(env!("CARGO_BIN_EXE_logkeeper"), bed.path("logkeeper")).unwrap();
    let asked = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(bed.path("logkeeper"))
        .arg("--config")
        .arg(bed.path(""))
        .args(["run-now", "a"])
        .output()
        .unwrap();
    let told = String::from_utf8(asked.stderr).unwrap();
    assert!(told.contains("can't look for the daemon at") && told.contains("use sudo"), "{told}");
}

/// More than three minutes of real time: slots on the minute, a SIGKILL in the middle of a job, a restart.
#[test]
fn a_crash_in_the_middle_of_a_job_loses_and_doubles_nothing() {
    let bed = TestBed::new();
    bed.file("jobs/quick.toml", &format!("{EVERY_MINUTE}shell = \"echo at $LOGKEEPER_AT\"\n"));
    bed.file("jobs/slow.toml", &format!("{EVERY_MINUTE}shell = \"echo $LOGKEEPER_AT >> DIR/slow; sleep 20\"\n"));
    let slots = |job: &str| {
        let history = bed.json(&["history", job, "-n", "100"]);
        history.as_array().unwrap().iter().filter(|run| !run["slot"].is_null()).count()
    };
    let daemon = bed.daemon();
    wait_until("three slots have come", Duration::from_secs(210), || slots("quick") == 3);
    wait_until("the slow job is in the middle of its third run", Duration::from_secs(30), || {
        std::fs::read_to_string(bed.path("slow")).is_ok_and(|text| text.lines().count() == 3)
    });
    std::thread::sleep(Duration::from_secs(2));
    daemon.kill();
    let daemon = bed.daemon();
    let history = bed.json(&["history", "slow"]);
    assert_eq!(history[0]["outcome"], "interrupted", "{history}");
    wait_until("another slot has come", Duration::from_secs(90), || slots("quick") == 4);
    wait_until("the slow job runs again", Duration::from_secs(30), || slots("slow") == 4);
    assert_eq!(daemon.end(), 0);
    let mut seen: HashMap<(String, String), usize> = HashMap::new();
    for run in bed.json(&["history", "-n", "100"]).as_array().unwrap() {
        *seen.entry((run["job"].to_string(), run["slot"].to_string())).or_default() += 1;
    }
    assert!(seen.values().all(|times| *times == 1), "a slot ran twice: {seen:?}");
    for run in bed.json(&["history", "quick"]).as_array().unwrap() {
        let (slot, started) = (instant(&run["slot"]), instant(&run["started"]));
        assert_eq!(slot.timestamp() % 60, 0);
        assert!((0..2000).contains(&(started - slot).num_milliseconds()), "{run}");
    }
}

#[test]
fn slots_missed_while_it_was_down_are_on_record_and_the_last_is_made_up_for() {
    let bed = TestBed::new();
    bed.file("jobs/a.toml", &format!("{EVERY_MINUTE}shell = \"echo at $LOGKEEPER_AT\"\n"));
    assert_eq!(bed.daemon().end(), 0);
    // As if the daemon had been down for five minutes.
    let database = rusqlite::Connection::open(bed.path("state/logkeeper.db")).unwrap();
    database.execute("UPDATE planner SET cursor = cursor - 300", []).unwrap();
    drop(database);
    let daemon = bed.daemon();
    let runs = || bed.json(&["history", "a"]).as_array().unwrap().clone();
    wait_until("the last slot is made up for", Duration::from_secs(10), || {
        runs().iter().any(|run| run["outcome"] == "succeeded")
    });
    assert_eq!(daemon.end(), 0);
    let caught_up = runs();
    let of = |outcome: &str| caught_up.iter().filter(|run| run["outcome"] == outcome).count();
    assert!((1..=2).contains(&of("succeeded")), "{caught_up:?}");
    assert!((3..=5).contains(&of("missed")), "{caught_up:?}");
    let output = caught_up.iter().find(|run| run["outcome"] == "succeeded").unwrap();
    let told: chrono::DateTime<chrono::Utc> = printed(output)[3..].trim().parse().unwrap();
    assert_eq!(told, instant(&output["slot"]), "the run knows the instant it was scheduled for");
}

fn instant(value: &serde_json::Value) -> chrono::DateTime<chrono::Utc> {
    value.as_str().unwrap().parse().unwrap()
}
