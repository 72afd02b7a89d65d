//! What hits a daemon: SIGKILL at any moment, commands that won't go, endless output, processes that can't be started.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{TestBed, has, skip, wait_until};

/// The process numbers whose command line holds a text.
fn processes_with(text: &str) -> Vec<u32> {
    let pids =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let holds = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(text)
    };
    pids.filter(holds).collect()
}

/// The children of a process and the letter of their state.
fn children(parent: u32) -> Vec<(u32, String)> {
    let pids =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let child = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let (state, of) = (fields.next()?.to_owned(), fields.next()?);
        (of == parent.to_string()).then_some((pid, state))
    };
    pids.filter_map(child).collect()
}

fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("0 0");
    line.split_whitespace().nth(1).unwrap().parse().unwrap_or(0)
}

/// Jobs due every second write down the slot they run for; the daemon is killed 200 times at moments of all kinds.
#[test]
fn two_hundred_kills_lose_and_double_nothing() {
    let bed = TestBed::new();
    for (job, policy) in [("last", "catch_up = \"last\"\n"), ("all", "catch_up = \"all\"\noverlap = \"allow\"\n")] {
        let shell = format!("echo $LOGKEEPER_AT >> DIR/{job}");
        bed.file(
            &format!("jobs/{job}.toml"),
            &format!("schedule = \"* * * * * *\"\n{policy}[command]\nshell = \"{shell}\"\n"),
        );
    }
    let first = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64 + 1;
    for n in 0..200_u64 {
        let mut daemon = bed.command(&["daemon"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Different moments: some before it listens, some in the middle of a tick, of a run, of the record of its end.
        std::thread::sleep(Duration::from_millis(n * 7919 % 400));
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
    let daemon = bed.daemon();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(daemon.end(), 0);
    let database = rusqlite::Connection::open(bed.path("state/logkeeper.db")).unwrap();
    let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let open: i64 =
        database.query_row("SELECT count(*) FROM runs WHERE outcome IS NULL", [], |row| row.get(0)).unwrap();
    assert_eq!(open, 0, "every run has an outcome");
    for job in ["last", "all"] {
        let mut ran: HashMap<String, usize> = HashMap::new();
        let log = std::fs::read_to_string(bed.path(job)).unwrap();
        log.lines().for_each(|slot| *ran.entry(slot.to_owned()).or_default() += 1);
        let twice: Vec<_> = ran.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{job}: ran twice: {twice:?}");
        let mut statement = database.prepare("SELECT instant FROM slots WHERE job = ?1 ORDER BY instant").unwrap();
        let slots: Vec<i64> = statement.query_map([job], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert!(slots[0] <= first + 3, "{} {first}", slots[0]);
        let gaps: Vec<_> = slots.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
        assert!(gaps.is_empty(), "{job}: not on record: {gaps:?}");
        let done: i64 = database
            .query_row("SELECT count(*) FROM runs WHERE job = ?1 AND outcome = 'succeeded'", [job], |row| row.get(0))
            .unwrap();
        assert!(done as usize <= ran.len() && ran.len() as i64 > 20, "{job}: {done} {}", ran.len());
    }
}

#[test]
fn a_thousand_jobs_that_hide_past_their_timeout_leave_nothing_behind() {
    let bed = TestBed::new();
    let hidden = "98761.25";
    let shell = format!("setsid sh -c 'sleep {hidden} & sleep {hidden} & wait' & sleep {hidden}; true");
    let names: Vec<String> = (0..1000).map(|n| format!("hide-{n}")).collect();
    for name in &names {
        bed.file(
            &format!("jobs/{name}.toml"),
            &format!("timeout = \"1s\"\ngrace = \"1s\"\n[command]\nshell = \"{shell}\"\n"),
        );
    }
    let daemon = bed.daemon();
    let files = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let before = files();
    let mut args = vec!["run-now"];
    args.extend(names.iter().map(String::as_str));
    let ran = bed.run(&args);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.stdout.matches(": timed-out after").count(), 1000, "{}", &ran.stdout[ran.stdout.len() - 500..]);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(processes_with(&format!("sleep {hidden}")), Vec::<u32>::new(), "survivors");
    wait_until("no supervisor is left", Duration::from_secs(20), || children(daemon.pid()).is_empty());
    assert!(files() <= before + 2, "{} open files, {before} before", files());
    assert_eq!(daemon.end(), 0);
}

#[test]
fn a_command_that_prints_without_end_costs_no_memory() {
    let bed = TestBed::new();
    bed.file(
        "jobs/a.toml",
        "timeout = \"8s\"\ngrace = \"1s\"\n[command]\nrun = [\"yes\", \"again and again and again\"]\n",
    );
    let daemon = bed.daemon();
    let mut asked = bed.command(&["run-now", "--follow", "a"]).stdout(Stdio::null()).spawn().unwrap();
    let (mut largest, begun) = (0, Instant::now());
    while begun.elapsed() < Duration::from_secs(7) {
        let supervisors = children(daemon.pid()).into_iter().map(|(pid, _)| memory_kib(pid)).max().unwrap_or(0);
        largest = largest.max(supervisors).max(memory_kib(daemon.pid()));
        std::thread::sleep(Duration::from_millis(200));
    }
    asked.wait().unwrap();
    assert!((1..60_000).contains(&largest), "{largest} KiB");
    let run = bed.json(&["show", "1"]);
    assert_eq!(run["outcome"], "timed-out");
    assert!(run["notes"][0].as_str().unwrap().contains("bytes of output were left out"), "{}", run["notes"]);
    assert!(run["output"].to_string().len() < 2_000_000);
    assert_eq!(daemon.end(), 0);
}

#[test]
fn a_process_that_can_not_be_started_is_on_record_and_others_go_on() {
    if !has("strace") {
        return skip("a_process_that_can_not_be_started_is_on_record_and_others_go_on", "strace");
    }
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "[command]\nrun = [\"/bin/true\"]\n");
    // The first pipes that are made are those to the supervisor: as when the open files have run out.
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=pipe2", "-e", "inject=pipe2:error=EAGAIN"]);
    traced.args([env!("CARGO_BIN_EXE_logkeeper"), "run-now", "a"]).env("LOGKEEPER_CONFIG", bed.path(""));
    let output = traced.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let outcome = bed.json(&["history", "a", "-n", "1"])[0]["outcome"].clone();
    assert_eq!(outcome, "could-not-start", "{}", bed.json(&["history", "a"]));
    assert_eq!(bed.run(&["run-now", "a"]).code, 0, "afterwards it goes on");
}

#[test]
fn without_threads_and_processes_runs_could_not_start_and_later_ones_do() {
    const ACCOUNT: u32 = 61_417;
    if !nix::unistd::geteuid().is_root() || !has("setpriv") || !has("prlimit") {
        let test = "without_threads_and_processes_runs_could_not_start_and_later_ones_do";
        return skip(test, "root, setpriv and prlimit");
    }
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "[command]\nrun = [\"/bin/true\"]\n");
    // The limit counts threads as well: three are the program without any thread that could do the work.
    for limit in 2..9 {
        let plain = bed.as_account(ACCOUNT, &["run-now", "a", "--json"]);
        let mut limited = Command::new("prlimit");
        limited.args([&format!("--nproc={limit}"), "timeout", "60"]).arg(plain.get_program()).args(plain.get_args());
        let ran = limited.env("LOGKEEPER_CONFIG", bed.path("")).output().unwrap();
        let told = format!("{limit}: {ran:?}");
        if String::from_utf8_lossy(&ran.stderr).contains("error: the system gives logkeeper no thread; see ulimit -u") {
            assert!(limit < 7, "{told}");
            continue;
        }
        let run: serde_json::Value = serde_json::from_slice(&ran.stdout).expect(&told);
        match run["outcome"].as_str().expect(&told) {
            "succeeded" => assert!(limit > 4, "{told}"),
            outcome => assert_eq!((outcome, ran.status.code()), ("could-not-start", Some(1)), "{told}"),
        }
    }
    bed.file("jobs/b.toml", "schedule = \"* * * * * *\"\noverlap = \"allow\"\n[command]\nshell = \"sleep 3\"\n");
    let daemon = bed.daemon_by(bed.as_account(ACCOUNT, &["daemon"]));
    let runs = |outcome: &str| -> usize {
        let history = bed.as_account(ACCOUNT, &["history", "b", "-n", "100", "--json"]).output().unwrap();
        let history: Vec<serde_json::Value> = serde_json::from_slice(&history.stdout).unwrap_or_default();
        history.iter().filter(|run| run["outcome"] == outcome).count()
    };
    let set_limit = |limit: &str| {
        // Only the account itself may, where root is not all-mighty.
        let mut prlimit = Command::new("setpriv");
        prlimit.args([&format!("--reuid={ACCOUNT}"), &format!("--regid={ACCOUNT}"), "--clear-groups", "prlimit"]);
        assert!(prlimit.args(["--pid", &daemon.pid().to_string(), limit]).status().unwrap().success());
    };
    wait_until("runs succeed", Duration::from_secs(30), || runs("succeeded") > 1);
    set_limit("--nproc=8:");
    // More at once than it has threads and supervisors for.
    let many = (0..12).map(|_| bed.as_account(ACCOUNT, &["run-now", "b"]).stdout(Stdio::null()).spawn().unwrap());
    let many: Vec<std::process::Child> = many.collect();
    wait_until("runs can't start", Duration::from_secs(60), || runs("could-not-start") > 1);
    set_limit("--nproc=500:");
    let before = runs("succeeded");
    wait_until("runs succeed again", Duration::from_secs(30), || runs("succeeded") > before + 5);
    for mut asked in many {
        asked.wait().unwrap();
    }
    daemon.kill();
}

#[test]
fn the_end_of_a_run_is_put_on_record_once_the_database_can_be_written_again() {
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "[command]\nshell = \"touch DIR/runs; sleep 1; echo done\"\n");
    let daemon = bed.daemon();
    let mut asked = bed.command(&["run-now", "a"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("it runs", Duration::from_secs(10), || bed.path("runs").exists());
    let database = rusqlite::Connection::open(bed.path("state/logkeeper.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Longer than the daemon waits for the database.
    std::thread::sleep(Duration::from_secs(13));
    assert!(daemon.log().contains("could not be recorded yet"), "{}", daemon.log());
    database.execute_batch("ROLLBACK").unwrap();
    wait_until("its end is on record", Duration::from_secs(30), || bed.json(&["show", "1"])["outcome"] == "succeeded");
    asked.wait().unwrap();
    assert_eq!(daemon.end(), 0);
}

#[test]
fn orphans_that_die_while_their_command_runs_do_not_pile_up() {
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "grace = \"1s\"\n[command]\nshell = \"while :; do (sleep 0.05 &); sleep 0.05; done\"\n");
    let daemon = bed.daemon();
    let mut asked = bed.command(&["run-now", "a"]).stdout(Stdio::null()).spawn().unwrap();
    let dead = || {
        let supervisors = children(daemon.pid()).into_iter();
        supervisors.flat_map(|(pid, _)| children(pid)).filter(|(_, state)| state == "Z").count()
    };
    wait_until("some have died", Duration::from_secs(10), || dead() > 20);
    wait_until("they are taken away", Duration::from_secs(10), || dead() < 15);
    assert_eq!(bed.run(&["stop", "1"]).code, 0);
    asked.wait().unwrap();
    assert_eq!(daemon.end(), 0);
}

#[test]
fn of_fifty_daemons_started_at_once_one_runs() {
    let bed = TestBed::new();
    let mut all: Vec<_> = (0..50)
        .map(|_| bed.command(&["daemon"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        .collect();
    let mut codes = Vec::new();
    wait_until("49 have given up", Duration::from_secs(30), || {
        all.retain_mut(|daemon| match daemon.try_wait().unwrap() {
            Some(status) => {
                codes.push(status.code());
                false
            }
            None => true,
        });
        all.len() == 1
    });
    assert_eq!(codes, vec![Some(75); 49]);
    wait_until("the one listens", Duration::from_secs(10), || bed.run(&["status"]).code == 0);
    all[0].kill().unwrap();
    all[0].wait().unwrap();
}

#[test]
fn a_full_disk_of_the_database_is_told_by_status_and_named_by_what_can_t_work_there() {
    let name = "a_full_disk_of_the_database_is_told_by_status_and_named_by_what_can_t_work_there";
    if Command::new("id").arg("-u").output().unwrap().stdout != b"0\n" {
        return skip(name, "root");
    }
    let bed = TestBed::new();
    bed.main("");
    assert!(!bed.run(&["status"]).stdout.contains("are left on the disk"));
    let state = bed.path("state");
    std::fs::create_dir_all(&state).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(&state).output().unwrap();
    if !mounted.status.success() {
        return skip(name, "the right to mount a tmpfs");
    }
    let told = bed.run(&["status"]);
    bed.file("jobs/true.toml", "[command]\nshell = \"true\"\n");
    bed.run(&["run-now", "true"]);
    // It ends where nothing is left.
    let _ = std::fs::write(state.join("filling"), vec![b'x'; 5 << 20]);
    let full = ["history", "findings", "run-now"].map(|command| {
        let job: &[&str] = if command == "run-now" { &["true"] } else { &[] };
        bed.run(&[&[command], job].concat())
    });
    std::fs::remove_file(state.join("filling")).unwrap();
    let history = bed.run(&["history"]);
    assert!(Command::new("umount").arg(&state).status().unwrap().success());
    assert!(told.code != 0 && told.stdout.contains("KiB are left on the disk of"), "{told:?}");
    for full in full {
        assert!(full.code != 0 && full.stderr.contains("no space is left on its disk"), "{full:?}");
    }
    assert!(history.code == 0 && history.stdout.contains("true"), "{history:?}");
}

#[test]
fn many_that_create_the_database_at_once_all_open_it() {
    for _ in 0..200 {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        std::thread::scope(|scope| {
            let opening: Vec<_> =
                (0..8).map(|_| scope.spawn(|| logkeeper::store::Store::open(&state).map(drop))).collect();
            for opened in opening {
                opened.join().unwrap().unwrap();
            }
        });
    }
}
