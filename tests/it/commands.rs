//! Commands are real processes; nothing they start survives them.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{TestBed, printed, skip, wait_until};

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

fn is_root() -> bool {
    std::process::Command::new("id").arg("-u").output().unwrap().stdout == b"0\n"
}

#[test]
fn a_command_runs_as_another_account_with_its_groups_and_never_as_root_instead() {
    if !is_root() {
        return skip("a_command_runs_as_another_account_with_its_groups_and_never_as_root_instead", "root");
    }
    let bed = bed(
        "[command]\nuser = \"daemon\"\nshell = \"id -un; id -gn; echo $HOME $USER; grep ^Groups /proc/self/status; exec 2>/dev/null; setpriv --reuid=0 true; echo $?\"\n",
    );
    let ran = bed.run(&["run-now", "x"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let lines = printed(&bed.json(&["show", "1"]));
    assert!(lines.starts_with("daemon\ndaemon\n/usr/sbin daemon\nGroups:\t1 \n"), "{lines}");
    assert!(!lines.ends_with("\n0\n"), "it could become root again: {lines}");
    bed.file("jobs/x.toml", "[command]\nuser = \"daemon\"\ngroup = \"nogroup\"\nrun = [\"id\", \"-gn\"]\n");
    bed.run(&["run-now", "x"]);
    assert_eq!(printed(&bed.json(&["show", "2"])), "nogroup\n");
    bed.file("jobs/x.toml", "[command]\nuser = \"no-such-account\"\nshell = \"touch DIR/ran\"\n");
    let ran = bed.run(&["run-now", "x"]);
    assert!(ran.stdout.contains("could-not-start") && ran.stdout.contains("no-such-account"), "{ran:?}");
    assert!(bed.run(&["check"]).stdout.contains("there is no account \"no-such-account\""));
    assert!(!bed.path("ran").exists());
}

#[test]
fn an_account_that_can_not_be_taken_on_is_no_reason_to_run_as_root() {
    if !is_root() || !crate::support::has("strace") {
        return skip("an_account_that_can_not_be_taken_on_is_no_reason_to_run_as_root", "root and strace");
    }
    for call in ["setgroups", "setresgid", "setresuid"] {
        let bed = bed("[command]\nuser = \"daemon\"\nshell = \"touch DIR/ran\"\n");
        let mut traced = std::process::Command::new("strace");
        traced.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={call}"),
            "-e",
            &format!("inject={call}:error=EAGAIN"),
        ]);
        let ran = traced
            .args([env!("CARGO_BIN_EXE_logkeeper"), "run-now", "x"])
            .env("LOGKEEPER_CONFIG", bed.path(""))
            .output()
            .unwrap();
        let told = String::from_utf8(ran.stdout).unwrap();
        assert!(told.contains("could-not-start") && told.contains("can't run as daemon"), "{call}: {told}");
        assert!(!bed.path("ran").exists(), "{call}");
    }
}

#[test]
fn an_account_without_root_is_refused_and_check_names_it() {
    if !is_root() || !crate::support::has("setpriv") {
        return skip("an_account_without_root_is_refused_and_check_names_it", "root and setpriv");
    }
    let bed = bed("[command]\nuser = \"daemon\"\nshell = \"touch DIR/ran\"\n");
    let as_nobody = |args: &[&str]| String::from_utf8(bed.as_account(65534, args).output().unwrap().stdout).unwrap();
    let told = as_nobody(&["run-now", "x"]);
    assert!(told.contains("could-not-start") && told.contains("only root can change the account"), "{told}");
    assert!(as_nobody(&["check"]).contains("user = \"daemon\" needs root"));
    let told = bed.run(&["check"]).stdout;
    assert!(told.contains("user = \"daemon\" needs root"), "root asks, but the daemon is nobody: {told}");
    bed.file("key", "secret\n").file("jobs/y.toml", "[command]\nsecrets = { KEY = \"key\" }\nshell = \"true\"\n");
    std::fs::set_permissions(bed.path("key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert!(bed.run(&["check"]).stdout.contains("key can't be read by logkeeper's account"));
    assert!(!bed.path("ran").exists());
}

#[test]
fn limits_mask_and_niceness_hold_for_the_command_only() {
    let bed = bed(
        "[command]\numask = \"077\"\nnice = 7\nmemory = \"300M\"\nopen_files = 50\nfile_size = \"1M\"\ncpu_time = \"3m\"\nshell = \"umask; nice; ulimit -v; ulimit -n; ulimit -f; ulimit -t\"\n",
    );
    assert_eq!(bed.run(&["run-now", "x"]).code, 0);
    assert_eq!(printed(&bed.json(&["show", "1"])), "0077\n7\n307200\n50\n2048\n180\n");
    bed.file("jobs/x.toml", "[command]\nmemory = \"200M\"\nshell = \"head -c 400M /dev/zero | tail\"\n");
    assert_eq!(bed.run(&["run-now", "x"]).code, 1, "it wants more memory than it may have");
    bed.file("jobs/x.toml", "timeout = \"20s\"\n[command]\ncpu_time = \"1s\"\nshell = \"while :; do :; done\"\n");
    bed.run(&["run-now", "x"]);
    let run = bed.json(&["show", "3"]);
    assert_eq!((&run["outcome"], &run["signal"]), (&"failed".into(), &9.into()), "{run}");
    assert!(run["cpu_ms"].as_i64().unwrap() >= 900, "{run}");
}

#[test]
fn input_environment_files_and_success_codes_are_as_configured() {
    let bed = bed(
        "[command]\nstdin = \"line one\\nline two\\n\"\nenv_file = \"DIR/env\"\nenv = { B = \"from env\" }\nsuccess_codes = [0, 3]\nshell = \"cat; echo $A/$B/$C; exit 3\"\n",
    );
    bed.file("env", "# comment\nA=plain\nexport B=from file\nC=\"quoted value\"\n");
    let ran = bed.run(&["run-now", "x"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(printed(&bed.json(&["show", "1"])), "line one\nline two\nplain/from env/quoted value\n");
    bed.file("env", "no variable here\n");
    let ran = bed.run(&["run-now", "x"]);
    assert!(ran.stdout.contains("could-not-start") && ran.stdout.contains("env:1: this is no NAME=value"), "{ran:?}");
}

#[test]
fn a_secret_is_given_and_never_shown() {
    let bed = bed(
        "[command]\nsecrets = { PASSWORD = \"secret\" }\nshell = \"echo the password is $PASSWORD; test ${#PASSWORD} = 13\"\n",
    );
    bed.file("secret", "hunter2canary\n");
    let refused = bed.run(&["check"]);
    assert!(refused.code == 2 && refused.stderr.contains("chmod 600"), "a secret that others can read: {refused:?}");
    std::fs::set_permissions(bed.path("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let ran = bed.run(&["run-now", "--follow", "x"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("the password is [PASSWORD]"), "{ran:?}");
    let dry = bed.run(&["run-now", "--dry-run", "x"]);
    let shown = bed.run(&["show", "1", "--json"]);
    for text in [ran.stdout, ran.stderr, dry.stdout, shown.stdout] {
        assert!(!text.contains("canary"), "{text}");
    }
    let found = std::process::Command::new("grep").args(["-rl", "canary"]).arg(bed.path("state")).output().unwrap();
    assert_eq!(String::from_utf8(found.stdout).unwrap(), "");
}

#[test]
fn a_command_holds_no_file_of_logkeepers() {
    let bed = bed("[command]\nshell = \"ls -l /proc/self/fd\"\n");
    assert_eq!(bed.run(&["run-now", "x"]).code, 0);
    let output = printed(&bed.json(&["show", "1"]));
    let open: Vec<&str> = output.lines().filter(|line| line.contains(" -> ")).collect();
    // Its three streams, and the folder that ls itself reads.
    assert_eq!(open.len(), 4, "{output}");
    assert!(!output.contains("logkeeper.db") && !output.contains("lock"), "{output}");
}
