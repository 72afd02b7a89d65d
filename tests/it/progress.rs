//! How far a long run is: a bar for a person, a percentage in `show`, nothing in a pipe.

use std::process::Stdio;
use std::time::Duration;

use crate::support::{TestBed, has, skip, wait_until};

/// A rotated log of this many lines and a job that packs it.
fn bed(lines: usize) -> TestBed {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n")
        .file("jobs/pack.toml", "[archive]\nsources = [\"logs\"]\nquiet = \"none\"\n");
    let line = |n: usize| format!("{n:x} {:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bed.file("log/a.log.1", &(0..lines).map(line).collect::<String>());
    bed
}

#[test]
fn a_person_sees_a_bar_and_a_pipe_nothing() {
    if !has("script") {
        return skip("a_person_sees_a_bar_and_a_pipe_nothing", "script");
    }
    let bed = bed(1_500_000);
    let (log, into) = (bed.path("log/a.log.1"), bed.path("out"));
    let args = ["archive", "pack", &log.to_string_lossy(), "--into", &into.to_string_lossy()].map(str::to_owned);
    let piped = bed.run(&args.each_ref().map(String::as_str));
    assert_eq!((piped.code, &*piped.stderr), (0, ""), "{piped:?}");
    assert_eq!(piped.stdout.lines().count(), 1, "{piped:?}");
    let at_terminal = |args: &[&str]| {
        let line = format!("{} {}", env!("CARGO_BIN_EXE_logkeeper"), args.join(" "));
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env("LOGKEEPER_CONFIG", bed.path("")).env("TERM", "xterm");
        String::from_utf8_lossy(&script.stdin(Stdio::null()).output().unwrap().stdout).into_owned()
    };
    for args in [args.each_ref().map(String::as_str).as_slice(), &["run-now", "pack"], &["archive", "verify"]] {
        let seen = at_terminal(args);
        assert!(seen.contains("[=") && seen.contains(" % of "), "{args:?}: {seen}");
    }
    let archive = bed.json(&["archive", "list"])[0]["path"].as_str().unwrap().to_owned();
    let restored = bed.path("restored");
    let restore = ["archive", "restore", &archive, "--to", &restored.to_string_lossy()].map(str::to_owned);
    let seen = at_terminal(&restore.each_ref().map(String::as_str));
    assert!(seen.contains("[=") && seen.contains("1 of 1 log restored"), "{seen}");
    // The catalogue is lost, and made anew from the archives.
    std::fs::remove_file(bed.path("state/logkeeper.db")).unwrap();
    let seen = at_terminal(&["archive", "reindex"]);
    assert!(seen.contains("[=") && seen.contains("1 archive put on record"), "{seen}");
}

#[test]
fn a_run_that_goes_on_is_shown_with_its_percentage() {
    let bed = bed(4_000_000);
    let _daemon = bed.daemon();
    let mut running = bed.command(&["run-now", "pack"]).stdout(Stdio::null()).spawn().unwrap();
    let mut seen = Vec::new();
    wait_until("it is over", Duration::from_secs(300), || {
        let shown = bed.run(&["show", "1", "--json"]).stdout;
        let run: serde_json::Value = serde_json::from_str(&shown).unwrap_or_default();
        if let Some(done) = run["progress"]["done"].as_u64() {
            let shown = bed.run(&["show", "1"]).stdout;
            seen.extend(shown.lines().find(|line| line.contains("progress")).map(str::to_owned));
            assert!(done <= run["progress"]["total"].as_u64().unwrap());
        }
        running.try_wait().unwrap().is_some()
    });
    assert!(running.wait().unwrap().success());
    assert!(seen.iter().any(|line| line.contains(" %: ") && line.contains(" MiB of ")), "{seen:?}");
    assert_eq!(bed.json(&["show", "1"])["progress"], serde_json::Value::Null);
}
