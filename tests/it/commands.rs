//! Commands are real processes; nothing they start survives them.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{TestBed, printed, wait_until};

fn bed(job: &str) -> TestBed {
    let bed = TestBed::new();
    bed.file("jobs/x.toml", job);
    bed
}

/// Whether a process is alive; a zombie is not.
fn alive(pid_file: &Path) -> bool {
    let pid = std::fs::read_to_string(pid_file).unwrap_or_default();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[test]
fn output_and_exit_code_are_on_record() {
    let bed = bed("[command]\nshell = \"echo out; echo err >&2; exit 3\"\n");
    let ran = bed.run(&["run-now", "x"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stdout.contains("x: failed") && ran.stdout.contains("| out\n") && ran.stdout.contains("! err\n"),
        "{}",
        ran.stdout
    );
    let shown = bed.json(&["show", "1"]);
    assert_eq!((&shown["outcome"], &shown["exit_code"]), (&"failed".into(), &3.into()));
    let mut lines: Vec<_> =
        shown["output"].as_array().unwrap().iter().map(|line| (line["stream"].clone(), line["text"].clone())).collect();
    lines.sort_by_key(|line| line.0.to_string());
    assert_eq!(lines, [("err".into(), "err".into()), ("out".into(), "out".into())]);
}

#[test]
fn the_environment_is_built_from_nothing() {
    let bed = bed("[command]\nrun = [\"env\"]\nenv = { GREETING = \"hello\" }\n");
    let output = bed.command(&["run-now", "x"]).env("CANARY", "leaked").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("GREETING=hello") && text.contains("LOGKEEPER_JOB=x") && text.contains("PATH="), "{text}");
    assert!(!text.contains("CANARY") && !text.contains("LOGKEEPER_CONFIG"), "{text}");
}

#[test]
fn a_missing_program_could_not_start() {
    let bed = bed("[command]\nrun = [\"/nonexistent/program\"]\n");
    let ran = bed.run(&["run-now", "x"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("could-not-start") && ran.stdout.contains("/nonexistent/program"), "{}", ran.stdout);
}

#[test]
fn a_timeout_ends_the_whole_tree_however_it_detaches_itself() {
    let bed = TestBed::new();
    let shell = "trap '' TERM; (setsid sh -c 'trap \\\"\\\" TERM; echo $$ > DIR/detached; sleep 300' &) ; echo $$ > DIR/leader; sleep 300; sleep 300";
    bed.file("jobs/x.toml", &format!("timeout = \"1s\"\n[command]\nshell = \"{shell}\"\n"));
    let begun = Instant::now();
    let ran = bed.run(&["run-now", "x"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("timed-out"), "{ran:?}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(bed.path("detached").exists() && bed.path("leader").exists());
    assert!(!alive(&bed.path("detached")) && !alive(&bed.path("leader")));
}

#[test]
fn a_child_that_keeps_the_pipe_open_does_not_hold_the_run() {
    let bed = bed("[command]\nshell = \"setsid sleep 300 & echo $! > DIR/child; echo done\"\n");
    let begun = Instant::now();
    let ran = bed.run(&["run-now", "x"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(ran.stdout.contains("had to be killed") && ran.stdout.contains("| done"), "{}", ran.stdout);
    assert!(!alive(&bed.path("child")));
}

#[test]
fn endless_output_is_kept_within_its_limit() {
    let bed = bed(
        "[command]\noutput_limit = \"4K\"\nshell = \"echo first; head -c 50000000 /dev/zero | tr '\\\\0' 'x'; echo; echo last\"\n",
    );
    let ran = bed.run(&["run-now", "x"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let output = printed(&bed.json(&["show", "1"]));
    assert!(output.len() < 70_000 && output.starts_with("first\n") && output.ends_with("last\n"), "{}", output.len());
    assert!(output.contains("bytes left out"), "{output}");
}

#[test]
fn a_killed_logkeeper_leaves_no_command_behind() {
    let bed = bed("[command]\nshell = \"echo $$ > DIR/pid; sleep 300; true\"\n");
    let mut child = bed.command(&["run-now", "x"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    wait_until("the command runs", Duration::from_secs(10), || alive(&bed.path("pid")));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the command is ended", Duration::from_secs(15), || !alive(&bed.path("pid")));
}

#[test]
fn a_command_has_a_session_of_its_own() {
    let bed = bed("[command]\nshell = \"cut -d' ' -f4,6 /proc/$$/stat\"\n");
    let ran = bed.run(&["run-now", "x"]);
    let output = printed(&bed.json(&["show", "1"]));
    let (supervisor, session) = output.trim().split_once(' ').unwrap();
    assert_eq!(session, supervisor, "{ran:?}");
}
