//! Rotation: no line is lost or told twice, programs learn of it, and what is rotated away is kept as long as somebody needs it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use flate2::read::MultiGzDecoder;
use logkeeper::model::Outcome;

use crate::support::strace::{points, traced};
use crate::support::{TestBed, has, sequences, skip, wait_until};

fn bed(rotate: &str) -> TestBed {
    let bed = TestBed::new();
    bed.main("").file("jobs/turn.toml", &format!("[rotate]\nfiles = [\"DIR/log/*.log\"]\n{rotate}"));
    fs::create_dir_all(bed.path("log")).unwrap();
    bed
}

/// The files in a folder with their text, unpacked; names without what tells of packing.
fn texts(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let text = |path: PathBuf, name: &str| {
        let bytes = fs::read(path).unwrap();
        let mut text = String::new();
        match name.rsplit('.').next() {
            Some("gz") => drop(MultiGzDecoder::new(&*bytes).read_to_string(&mut text).unwrap()),
            Some("zst") => text = String::from_utf8(zstd::decode_all(&*bytes).unwrap()).unwrap(),
            _ => text = String::from_utf8(bytes).unwrap(),
        }
        text
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let name = entry.file_name().into_string().unwrap();
        let plain = name.trim_end_matches(".gz").trim_end_matches(".zst").to_owned();
        assert!(found.insert(plain, text(entry.path(), &name)).is_none(), "{name} is there twice");
    }
    found
}

fn names(bed: &TestBed) -> Vec<String> {
    let entries = fs::read_dir(bed.path("log")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs the job by the real program, which alone can start commands; gives the exit code and what it printed.
fn run(bed: &TestBed, job: &str, at: &str) -> (i32, String) {
    let ran = bed.run(&["run-now", job, "--at", at]);
    (ran.code, ran.stdout + &ran.stderr)
}

/// Makes a file look as if nobody had written to it for a day before the tests' instants.
fn age(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)).unwrap();
}

/// All numbers in all files of a folder, in order.
fn numbers(folder: &Path) -> Vec<u64> {
    let mut all: Vec<u64> = texts(folder).values().flat_map(|text| text.lines()).map(|n| n.parse().unwrap()).collect();
    all.sort_unstable();
    all
}

#[test]
fn a_program_that_is_told_by_a_signal_goes_on_in_the_new_log_and_no_line_is_lost() {
    for (names, more) in [("dated", ""), ("numbered", "compress = \"zstd\"\n")] {
        let bed = bed(&format!("names = \"{names}\"\nsignal = \"USR1\"\npid_file = \"DIR/pid\"\n{more}"));
        let writer = "trap 'exec >>\"$LOG\"' USR1; exec >>\"$LOG\"; echo $$ >\"$PID\"; i=0; while [ $i -lt 600 ]; do i=$((i+1)); echo $i; sleep 0.002; done";
        let mut writer = Command::new("sh")
            .args(["-c", writer])
            .env("LOG", bed.path("log/a.log"))
            .env("PID", bed.path("pid"))
            .spawn()
            .unwrap();
        wait_until("it writes", Duration::from_secs(10), || {
            bed.path("pid").exists() && !numbers(&bed.path("log")).is_empty()
        });
        for day in 10..20 {
            let ended = bed.run_job("turn", &format!("2027-11-{day}T00:00:00Z"));
            assert_eq!(ended.outcome, Outcome::Succeeded, "{ended:?}");
            let before = fs::metadata(bed.path("log/a.log")).unwrap().len();
            wait_until("it goes on in the new log", Duration::from_secs(10), || {
                fs::metadata(bed.path("log/a.log")).unwrap().len() > before || writer.try_wait().unwrap().is_some()
            });
        }
        assert!(writer.wait().unwrap().success());
        assert_eq!(numbers(&bed.path("log")), (1..=600).collect::<Vec<_>>(), "{names}");
        assert!(self::names(&bed).len() > 5, "{:?}", self::names(&bed));
    }
}

#[test]
fn what_copytruncate_may_lose_is_told_and_nothing_comes_twice() {
    let bed = bed("method = \"copytruncate\"\n");
    let log = bed.path("log/a.log");
    let done = std::sync::atomic::AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut file = fs::File::options().append(true).create(true).open(&log).unwrap();
            let mut n = 0_u64;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                n += 1;
                file.write_all(format!("{n}\n").as_bytes()).unwrap();
                std::thread::sleep(Duration::from_micros(200));
            }
            n
        });
        for day in 10..20 {
            std::thread::sleep(Duration::from_millis(30));
            let ended = bed.run_job("turn", &format!("2027-11-{day}T00:00:00Z"));
            assert_eq!(ended.outcome, Outcome::Succeeded, "{ended:?}");
            assert!(ended.notes[0].contains("was copied and emptied at 2027-11-"), "{ended:?}");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap()
    });
    let found = numbers(&bed.path("log"));
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "a line is there twice");
    // A line is lost only where it fell into one of ten gaps.
    assert!(found.len() as u64 + 10 >= written, "{} of {written}", found.len());
}

#[test]
fn size_and_calendar_say_whose_turn_it_is() {
    let bed = bed("every = \"daily\"\nmin_size = \"10\"\nmax_size = \"1K\"\n");
    let write = |name: &str, size: usize| bed.bytes(&format!("log/{name}.log"), &vec![b'x'; size]);
    write("empty", 0).bytes("log/small.log", b"x\n");
    write("normal", 100).bytes("log/large.log", &[b'x'; 5000]);
    let lines = bed.run(&["run-now", "turn", "--dry-run"]).stdout;
    assert!(lines.contains("would leave") && lines.contains("empty.log alone: it is empty"), "{lines}");
    assert!(lines.contains("small.log alone: it has 2 bytes, not yet 10"), "{lines}");
    assert_eq!(bed.run_job("turn", "2027-11-20T03:00:00Z").summary, "2 logs rotated");
    write("normal", 100).bytes("log/large.log", &[b'x'; 5000]);
    // In the same day only what has become too large.
    assert_eq!(bed.run_job("turn", "2027-11-20T23:59:59Z").summary, "1 log rotated");
    assert_eq!(bed.run_job("turn", "2027-11-21T00:00:00Z").summary, "1 log rotated");
    let found = names(&bed);
    let expected = [
        "empty.log",
        "large.log",
        "large.log-20271120",
        "large.log-20271120-235959",
        "normal.log",
        "normal.log-20271120",
        "normal.log-20271121",
        "small.log",
    ];
    assert_eq!(found, expected);
}

#[test]
fn numbered_logs_move_on_as_far_as_the_first_free_number() {
    let bed = bed("names = \"numbered\"\nkeep = 4\ncompress = \"gzip\"\n");
    for (name, text) in [("a.log", "new"), ("a.log.1", "one"), ("a.log.3", "three"), ("a.log.4", "four")] {
        bed.file(&format!("log/{name}"), text);
        age(&bed.path("log").join(name));
    }
    bed.bytes("log/a.log.2.gz", &crate::archives::gzip(b"two"));
    let ended = bed.run_job("turn", "2027-11-20T00:00:00Z");
    assert_eq!(ended.summary, "1 log rotated, 4 compressed, 1 removed", "{ended:?}");
    let expected = [("a.log", ""), ("a.log.1", "new"), ("a.log.2", "one"), ("a.log.3", "two"), ("a.log.4", "three")];
    assert_eq!(texts(&bed.path("log")), expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into());
    assert!(names(&bed).contains(&"a.log.4.gz".to_owned()));
    // With a hole, nothing beyond it moves.
    fs::remove_file(bed.path("log/a.log.2.gz")).unwrap();
    bed.file("log/a.log", "newer");
    bed.run_job("turn", "2027-11-21T00:00:00Z");
    let expected = [("a.log", ""), ("a.log.1", "newer"), ("a.log.2", "new"), ("a.log.3", "two"), ("a.log.4", "three")];
    assert_eq!(texts(&bed.path("log")), expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into());
}

#[test]
fn a_compressed_log_keeps_time_mode_and_owner_and_waits_until_nobody_writes_to_it() {
    let bed = bed("compress = \"gzip\"\ncreate = \"none\"\n");
    bed.file("log/a.log", "").file("log/b.log", "");
    bed.file("log/a.log-20271101", "old\n").file("log/b.log-20271101", "open\n");
    let path = bed.path("log/a.log-20271101");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    age(&path);
    age(&bed.path("log/b.log-20271101"));
    let open = fs::File::options().append(true).open(bed.path("log/b.log-20271101")).unwrap();
    let before = fs::metadata(&path).unwrap();
    assert_eq!(bed.run_job("turn", "2027-11-20T00:00:00Z").summary, "1 log compressed");
    let after = fs::metadata(bed.path("log/a.log-20271101.gz")).unwrap();
    assert_eq!((after.mtime(), after.mode()), (before.mtime(), before.mode()));
    assert_eq!(names(&bed)[1..], ["a.log-20271101.gz", "b.log", "b.log-20271101"]);
    drop(open);
    bed.run_job("turn", "2027-11-20T00:00:00Z");
    assert_eq!(names(&bed)[1..], ["a.log-20271101.gz", "b.log", "b.log-20271101.gz"]);
}

#[test]
fn a_new_log_is_as_the_job_says() {
    if !nix::unistd::geteuid().is_root() {
        return skip("a_new_log_is_as_the_job_says", "root");
    }
    for (create, mode, uid, gid) in
        [("same", 0o604, 1234, 1235), ("0640 daemon adm", 0o640, 1, 4), ("600", 0o600, 1234, 1235)]
    {
        let bed = bed(&format!("create = \"{create}\"\n"));
        bed.file("log/a.log", "x\n");
        let path = bed.path("log/a.log");
        std::os::unix::fs::chown(&path, Some(1234), Some(1235)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        bed.run_job("turn", "2027-11-20T00:00:00Z");
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((meta.mode() & 0o777, meta.uid(), meta.gid()), (mode, uid, gid), "{create}");
        assert_eq!(fs::read_to_string(bed.path("log/a.log-20271120")).unwrap(), "x\n");
    }
    let bed = bed("create = \"0640 nobody-here adm\"\n");
    bed.file("log/a.log", "x\n");
    let ended = bed.run_job("turn", "2027-11-20T00:00:00Z");
    assert!(ended.notes[0].contains("a.log was not rotated: there is no account \"nobody-here\""), "{ended:?}");
    assert_eq!(names(&bed), ["a.log"]);
}

#[test]
fn commands_run_before_and_after_once_or_for_each_log() {
    for (each, expected) in [
        ("", "before *.log\nafter *.log\n"),
        ("each = true\n", "before a.log\nafter a.log\nbefore b.log\nafter b.log\n"),
    ] {
        let line = |which: &str| format!("[rotate.{which}]\nshell = \"echo {which} ${{1##*/}} >> DIR/told\"\n");
        let bed = bed(&format!("{each}{}{}", line("before"), line("after")));
        bed.file("log/a.log", "x\n").file("log/b.log", "y\n");
        let (code, said) = run(&bed, "turn", "2025-11-20T00:00:00Z");
        assert!(code == 0 && said.contains("2 logs rotated"), "{said}");
        assert_eq!(fs::read_to_string(bed.path("told")).unwrap(), expected);
        // With nothing to rotate, nothing runs.
        let (code, said) = run(&bed, "turn", "2025-11-21T00:00:00Z");
        assert!(code == 0 && said.contains("nothing to rotate"), "{said}");
        assert_eq!(fs::read_to_string(bed.path("told")).unwrap(), expected);
    }
}

#[test]
fn where_the_command_before_fails_nothing_is_rotated() {
    let bed = bed("[rotate.before]\nrun = [\"/bin/false\"]\n");
    bed.file("log/a.log", "x\n");
    let (code, said) = run(&bed, "turn", "2025-11-20T00:00:00Z");
    assert_eq!(code, 1);
    assert!(said.contains("nothing was rotated; the command before rotation failed: exit code 1"), "{said}");
    assert_eq!(names(&bed), ["a.log"]);
}

#[test]
fn a_program_that_could_not_be_told_is_told_by_the_next_run() {
    let bed = bed(
        "every = \"daily\"\ncompress = \"gzip\"\n[rotate.after]\nshell = \"echo told >> DIR/told; test -e DIR/good\"\n",
    );
    bed.file("log/a.log", "x\n");
    let (code, said) = run(&bed, "turn", "2025-11-20T00:00:00Z");
    assert_eq!(code, 1);
    assert!(said.contains("1 log rotated; the command after rotation failed: exit code 1"), "{said}");
    bed.file("good", "").file("log/a.log", "y\n");
    // It is not rotated again, and not compressed before.
    assert_eq!(run(&bed, "turn", "2025-11-20T00:01:00Z").0, 0);
    assert_eq!(fs::read_to_string(bed.path("told")).unwrap(), "told\ntold\n");
    assert_eq!(run(&bed, "turn", "2025-11-20T00:02:00Z").0, 0);
    assert_eq!(fs::read_to_string(bed.path("told")).unwrap(), "told\ntold\n");
    assert_eq!(names(&bed), ["a.log", "a.log-20251120"]);
}

#[test]
fn a_signal_for_nobody_is_told_and_a_wrong_number_fails() {
    let bed = bed("signal = \"HUP\"\npid_file = \"DIR/pid\"\n");
    bed.file("log/a.log", "x\n");
    let ended = bed.run_job("turn", "2027-11-20T00:00:00Z");
    assert_eq!(ended.outcome, Outcome::Succeeded, "{ended:?}");
    assert!(ended.notes[0].contains("SIGHUP was sent to nobody"), "{ended:?}");
    for wrong in ["-1", "1", "0", "nginx"] {
        bed.file("pid", wrong).file("log/a.log", "x\n");
        let ended = bed.run_job("turn", &format!("2027-11-2{}T00:00:00Z", wrong.len()));
        assert!(ended.summary.contains("holds no process number"), "{wrong}: {ended:?}");
    }
}

#[test]
fn links_and_second_names_are_not_rotated_and_nothing_is_replaced() {
    for method in ["rename", "copytruncate"] {
        let bed = bed(&format!("method = \"{method}\"\n"));
        bed.file("log/a.log", "a\n").file("secret", "secret\n");
        std::os::unix::fs::symlink(bed.path("secret"), bed.path("log/link.log")).unwrap();
        if method == "copytruncate" {
            fs::hard_link(bed.path("secret"), bed.path("log/hard.log")).unwrap();
        }
        // What is in the way stays, and so does the log.
        fs::create_dir(bed.path("log/b.log-20271120")).unwrap();
        bed.file("log/b.log", "b\n");
        let ended = bed.run_job("turn", "2027-11-20T00:00:00Z");
        assert_eq!(ended.outcome, Outcome::Partial, "{ended:?}");
        assert_eq!(ended.summary, "1 log rotated");
        assert_eq!(fs::read_to_string(bed.path("secret")).unwrap(), "secret\n");
        assert_eq!(fs::read_to_string(bed.path("log/b.log")).unwrap(), "b\n");
        assert!(ended.notes.iter().any(|note| note.contains("link.log is a link")), "{ended:?}");
        assert!(ended.notes.iter().any(|note| note.contains("b.log was not rotated")), "{ended:?}");
        if method == "copytruncate" {
            assert!(
                ended.notes.iter().any(|note| note.contains("hard.log was not rotated: it has 2 names")),
                "{ended:?}"
            );
        }
    }
}

#[test]
fn a_log_that_is_not_there_is_told_unless_that_is_meant() {
    let bed = TestBed::new();
    for (more, outcome) in [("", Outcome::Partial), ("missing_ok = true\n", Outcome::Succeeded)] {
        bed.file("jobs/turn.toml", &format!("[rotate]\nfiles = [\"DIR/log/gone.log\", \"DIR/log/*.none\"]\n{more}"));
        let ended = bed.run_job("turn", "2027-11-20T00:00:00Z");
        assert_eq!(ended.outcome, outcome, "{ended:?}");
    }
}

#[test]
fn an_old_log_goes_only_after_every_scan_has_read_and_every_archive_has_packed_it() {
    let bed = bed("keep = 1\n");
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n")
        .file("jobs/look.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\n")
        .file("jobs/pack.toml", "[archive]\nsources = [\"logs\"]\nquiet = \"none\"\n");
    bed.file("log/a.log-20271101", "one\n").file("log/a.log-20271102", "two\n").file("log/a.log", "three\n");
    let waits = |why: &str| {
        let ended = bed.run_job("turn", "2027-11-20T00:00:00Z");
        assert!(
            ended.notes.iter().any(|note| note.contains("a.log-20271101 stays") && note.contains(why)),
            "{ended:?}"
        );
        assert!(bed.path("log/a.log-20271101").exists());
    };
    waits("until job pack has archived it");
    bed.run_job("pack", "2027-11-20T00:10:00Z");
    waits("until job look has read it");
    bed.run_job("look", "2027-11-20T00:20:00Z");
    assert_eq!(bed.run_job("turn", "2027-11-20T00:30:00Z").summary, "2 logs removed");
    assert_eq!(names(&bed), ["a.log", "a.log-20271120"]);
}

#[test]
fn age_alone_never_costs_the_newest() {
    let bed = bed("max_age = \"30d\"\n");
    bed.file("log/a.log", "");
    for name in ["a.log-20260901", "a.log-20260902", "a.log-20260903"] {
        bed.file(&format!("log/{name}"), "x\n");
        age(&bed.path("log").join(name));
    }
    assert_eq!(bed.run_job("turn", "2036-01-01T00:00:00Z").summary, "2 logs removed");
    assert_eq!(names(&bed), ["a.log", "a.log-20260903"]);
}

#[test]
fn the_records_of_scans_are_rotated_by_the_shipped_job() {
    let bed = TestBed::new();
    let (_, shipped) = logkeeper::config::SHIPPED.iter().find(|(path, _)| *path == "jobs/rotate-records.toml").unwrap();
    bed.file("log/x.log", "x\n")
        .main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n")
        .file("jobs/rotate-records.toml", shipped);
    bed.file(
        "jobs/look.toml",
        "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\nrecord = \"DIR/a [1].txt\"\n",
    );
    assert_eq!(bed.run_job("rotate-records", "2027-11-01T00:00:00Z").summary, "nothing to rotate");
    bed.run_job("look", "2027-11-20T00:20:00Z");
    assert_eq!(bed.run_job("rotate-records", "2027-12-01T00:00:00Z").summary, "1 log rotated, 1 compressed");
    let mut text = String::new();
    MultiGzDecoder::new(fs::File::open(bed.path("a [1].txt-20271201.gz")).unwrap()).read_to_string(&mut text).unwrap();
    assert!(text.contains("look"), "{text}");
}

/// A tree of which every number is in a log once, and a job that rotates and compresses.
fn small(rotate: &str) -> TestBed {
    let more = format!("{rotate}compress = \"gzip\"\n[rotate.after]\nshell = \"echo told >> DIR/told\"\n");
    let bed = bed(&more);
    let text = |from: u32| (from..from + 20).map(|n| format!("{n}\n")).collect::<String>();
    bed.file("log/a.log", &text(0)).file("log/b.log", &text(20));
    for name in ["a.log", "b.log"] {
        let path = bed.path("log").join(name);
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(1234), Some(1235)).unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    }
    for (name, from) in [("a.log.1", 40), ("a.log.2", 60), ("b.log-20261101", 80)] {
        bed.file(&format!("log/{name}"), &text(from));
        age(&bed.path("log").join(name));
    }
    bed
}

const SWEPT: [&str; 2] = ["names = \"numbered\"\n", "method = \"copytruncate\"\n"];

fn assert_next_run_mends(bed: &TestBed, when: &str) {
    let ran = bed.run(&["run-now", "turn"]);
    assert_eq!(ran.code, 0, "{when}: {ran:?}");
    assert_eq!(numbers(&bed.path("log")), (0..100).collect::<Vec<_>>(), "{when}: {:?}", names(bed));
    assert!(!names(bed).iter().any(|name| name.ends_with(".partial")), "{when}: {:?}", names(bed));
    for name in ["a.log", "b.log"] {
        let meta = fs::metadata(bed.path("log").join(name)).unwrap_or_else(|error| panic!("{when}: {name}: {error}"));
        let owner = if nix::unistd::geteuid().is_root() { (1234, 1235) } else { (meta.uid(), meta.gid()) };
        assert_eq!((meta.mode() & 0o777, meta.uid(), meta.gid()), (0o604, owner.0, owner.1), "{when}: {name}");
    }
    assert!(bed.path("told").exists(), "{when}");
}

#[test]
fn a_kill_at_any_system_call_a_rotation_loses_and_doubles_nothing() {
    if !has("strace") {
        return skip("a_kill_at_any_system_call_a_rotation_loses_and_doubles_nothing", "strace");
    }
    for rotate in SWEPT {
        let points = points(&small(rotate), "turn");
        assert!(points.len() > 20, "{points:?}");
        for (call, when) in points {
            let bed = small(rotate);
            traced(&bed, "turn", &format!("inject={call}:signal=KILL:when={when}"));
            assert_next_run_mends(&bed, &format!("{rotate}killed at {call} {when}"));
        }
    }
}

#[test]
fn a_full_or_failing_disk_at_any_write_a_rotation_loses_and_doubles_nothing() {
    if !has("strace") {
        return skip("a_full_or_failing_disk_at_any_write_a_rotation_loses_and_doubles_nothing", "strace");
    }
    for rotate in SWEPT {
        for error in if sequences(0) > 0 { ["ENOSPC", "EIO"].as_slice() } else { &["ENOSPC"] } {
            for (call, when) in points(&small(rotate), "turn") {
                if ["unlink", "unlinkat"].contains(&call) {
                    continue;
                }
                let bed = small(rotate);
                traced(&bed, "turn", &format!("inject={call}:error={error}:when={when}"));
                assert_next_run_mends(&bed, &format!("{rotate}{error} at {call} {when}"));
            }
        }
    }
}

const NGINX: &str = r#"DIR/log/*.log {
	daily
	missingok
	rotate 3
	compress
	delaycompress
	notifempty
	create 0640
	sharedscripts
	prerotate
		if [ -d DIR/none ]; then \
			run-parts DIR/none; \
		fi
	endscript
	postrotate
		echo "it's told" >> DIR/told
	endscript
	firstaction
		# nothing to do
	endscript
	lastaction
		echo last >> DIR/told
	endscript
}
"#;

#[test]
fn an_imported_entry_does_what_logrotate_does() {
    if !has("logrotate") {
        return skip("an_imported_entry_does_what_logrotate_does", "logrotate");
    }
    let copytruncate = "# all\nrotate 2\n\"DIR/log/a.log\" DIR/log/b.log {\n  size 3\n  copytruncate\n  nomail\n}\n";
    let only_last = "DIR/log/*.log {\n  size 3\n  create\n  rotate 2\n  sharedscripts\n  firstaction\n    echo first >> DIR/told\n  endscript\n  prerotate\n    echo before >> DIR/told\n  endscript\n  lastaction\n    echo last >> DIR/told\n  endscript\n}\n";
    for text in [NGINX, copytruncate, only_last] {
        let (ours, theirs) = (TestBed::new(), TestBed::new());
        let mut seen = Vec::new();
        for bed in [&ours, &theirs] {
            bed.file("conf", text);
            fs::create_dir_all(bed.path("log")).unwrap();
            fs::set_permissions(bed.path("conf"), fs::Permissions::from_mode(0o644)).unwrap();
        }
        let ran = ours.run(&["import", "logrotate", &ours.path("conf").to_string_lossy()]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(!ran.stdout.contains("DIFFERS"), "{ran:?}");
        for round in 0..6 {
            for bed in [&ours, &theirs] {
                for name in ["a", "b"] {
                    let text = if round == 3 { "" } else { &format!("{name} {round}\n") };
                    let log = bed.path(format!("log/{name}.log"));
                    let mut file = fs::File::options().append(true).create(true).open(log).unwrap();
                    file.write_all(text.as_bytes()).unwrap();
                }
            }
            let done = Command::new("logrotate")
                .args(if text == NGINX { ["-f"].as_slice() } else { &[] })
                .arg("-s")
                .arg(theirs.path("state.txt"))
                .arg(theirs.path("conf"))
                .stderr(Stdio::inherit())
                .status();
            assert!(done.unwrap().success());
            let (code, said) = run(&ours, "rotate-conf", &format!("2025-11-1{round}T00:00:00Z"));
            assert_eq!(code, 0, "{said}");
            assert_eq!(texts(&ours.path("log")), texts(&theirs.path("log")), "round {round} of {text}");
            seen.push(texts(&ours.path("log")).len());
        }
        assert!(seen.last() > seen.first(), "{seen:?}");
        let told = |bed: &TestBed| fs::read_to_string(bed.path("told")).unwrap_or_default();
        assert_eq!(told(&ours), told(&theirs));
    }
}

#[test]
fn what_an_imported_entry_does_otherwise_is_listed_with_its_line() {
    let bed = TestBed::new();
    let text = "weekly\nolddir /var/old\n/var/log/x*.log {\n  hourly\n  maxsize 100k\n  dateformat -%s\n  su root adm\n  rotate 7\n  compresscmd /usr/bin/xz\n  shredcycles 3\n  lastaction\n    true\n  endscript\n  postrotate\n    true\n  endscript\n}\nrelative.log {\n}\n/var/log/y.log {\n  size 1k\n";
    bed.file("conf", text);
    let ran = bed.run(&["import", "logrotate", &bed.path("conf").to_string_lossy(), "--json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let told = told.as_array().unwrap().iter();
    let mut told: Vec<(&str, u64)> =
        told.map(|told| (told["state"].as_str().unwrap(), told["line"].as_u64().unwrap())).collect();
    told.sort_unstable();
    let mut expected: Vec<(&str, u64)> = [2, 3, 4, 6, 7, 9, 10, 11].map(|line| ("differs", line)).into();
    expected.extend([("refused", 18), ("refused", 20), ("written", 3)]);
    assert_eq!(told, expected);
    let job = fs::read_to_string(bed.path("jobs/rotate-conf.toml")).unwrap();
    for line in
        ["schedule = \"0 * * * *\"", "every = \"hourly\"", "max_size = \"100K\"", "keep = 7", "create = \"none\""]
    {
        assert!(job.contains(line), "{line}: {job}");
    }
    assert_eq!(bed.run(&["check"]).code, 0);
}

#[test]
fn a_log_that_was_rotated_last_stays_whatever_the_others_are_called() {
    let bed = bed("keep = 3\n");
    for n in 1..=5 {
        bed.file(&format!("log/a.log.{n}"), "old\n");
        let file = fs::File::options().write(true).open(bed.path(format!("log/a.log.{n}"))).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000 - 86_400 * n)).unwrap();
    }
    bed.file("log/a.log", "new\n");
    assert_eq!(bed.run_job("turn", "2027-11-20T00:00:00Z").summary, "1 log rotated, 3 removed");
    assert_eq!(names(&bed), ["a.log", "a.log-20271120", "a.log.1", "a.log.2"]);
    // A machine that thinks it is 1970.
    bed.file("log/a.log", "newer\n");
    let file = fs::File::options().write(true).open(bed.path("log/a.log")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    bed.run_job("turn", "1970-01-01T00:00:00Z");
    assert_eq!(fs::read_to_string(bed.path("log/a.log-19700101")).unwrap(), "newer\n");
}

#[test]
fn live_logs_with_numbers_for_names_are_let_alone() {
    let bed = TestBed::new();
    let job = "[rotate]\nfiles = [\"DIR/log/*\"]\nkeep = 1\ncompress = \"gzip\"\n";
    bed.main("").file("jobs/turn.toml", job);
    for n in 1..=4 {
        bed.file(&format!("log/worker.{n}"), "x\n");
        age(&bed.path(format!("log/worker.{n}")));
    }
    assert_eq!(bed.run_job("turn", "2027-11-20T00:00:00Z").summary, "nothing to rotate");
    assert_eq!(names(&bed), ["worker.1", "worker.2", "worker.3", "worker.4"]);
    // Nor goes what somebody writes to.
    bed.file("log/worker", "live\n");
    let open = fs::File::options().append(true).open(bed.path("log/worker.3")).unwrap();
    let ended = bed.run_job("turn", "2027-11-20T00:00:00Z");
    assert!(bed.path("log/worker.3").exists(), "{ended:?}");
    assert!(ended.notes.iter().any(|note| note.contains("worker.3 stays: a program has it open")), "{ended:?}");
    drop(open);
}

#[test]
fn a_live_log_with_a_number_for_a_name_is_rotated_as_any_other() {
    for method in ["rename", "copytruncate"] {
        let bed = TestBed::new();
        let job = format!("[rotate]\nfiles = [\"DIR/log/worker.1\"]\nnames = \"numbered\"\nmethod = \"{method}\"\n");
        bed.main("").file("jobs/turn.toml", &job).file("log/worker.1", "one\n");
        bed.run_job("turn", "2027-11-20T00:00:00Z");
        bed.file("log/worker.1", "two\n");
        bed.run_job("turn", "2027-11-21T00:00:00Z");
        let expected = [("worker.1", ""), ("worker.1.1", "two\n"), ("worker.1.2", "one\n")];
        assert_eq!(texts(&bed.path("log")), expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into(), "{method}");
    }
}

#[test]
fn a_retry_and_two_runs_at_once_rotate_once() {
    let bed = bed("names = \"numbered\"\n[rotate.after]\nshell = \"sleep 0.2; test -e DIR/good\"\n");
    bed.file("log/a.log", "x\n");
    assert_eq!(run(&bed, "turn", "2025-11-20T00:00:00Z").0, 1);
    bed.file("log/a.log", "y\n").file("good", "");
    assert_eq!(run(&bed, "turn", "2025-11-20T00:00:00Z").0, 0);
    assert_eq!(names(&bed), ["a.log", "a.log.1"]);
    // Another program takes its time; both empty the same log.
    let bed = TestBed::new();
    let job = "overlap = \"allow\"\n[rotate]\nfiles = [\"DIR/log/*.log\"]\nmethod = \"copytruncate\"\n";
    bed.main("").file("jobs/a.toml", job).file("jobs/b.toml", job);
    let text: String = (0..200_000).map(|n| format!("{n}\n")).collect();
    bed.file("log/a.log", &text);
    std::thread::scope(|scope| {
        for job in ["a", "b"] {
            let bed = &bed;
            scope.spawn(move || bed.run_job(job, "2027-11-20T00:00:00Z"));
        }
    });
    assert_eq!(numbers(&bed.path("log")).len(), 200_000);
    assert!(bed.run(&["check"]).stdout.contains("a.log is rotated by two jobs, a and b"));
}

#[test]
fn a_copy_is_taken_back_only_where_the_log_was_not_emptied() {
    let bed = bed("method = \"copytruncate\"\n[rotate.after]\nrun = [\"/bin/false\"]\n");
    bed.file("log/a.log", "started\n");
    assert_eq!(run(&bed, "turn", "2025-11-20T00:00:00Z").0, 1);
    // It begins as before.
    bed.file("log/a.log", "started\n");
    assert_eq!(run(&bed, "turn", "2025-11-21T00:00:00Z").0, 1);
    assert_eq!(texts(&bed.path("log")).values().filter(|text| *text == "started\n").count(), 2);
}

#[test]
fn a_link_that_others_could_have_made_leads_nowhere() {
    if !nix::unistd::geteuid().is_root() {
        return skip("a_link_that_others_could_have_made_leads_nowhere", "root");
    }
    let bed = TestBed::new();
    bed.main("").file("jobs/turn.toml", "[rotate]\nfiles = [\"DIR/home/logs/*\"]\nkeep = 1\n");
    bed.file("secret/shadow", "secret\n").file("secret/shadow.1", "secret\n").file("secret/shadow.2", "secret\n");
    fs::create_dir(bed.path("home")).unwrap();
    std::os::unix::fs::symlink(bed.path("secret"), bed.path("home/logs")).unwrap();
    std::os::unix::fs::chown(bed.path("home"), Some(1234), Some(1234)).unwrap();
    let ended = bed.run_job("turn", "2027-11-20T00:00:00Z");
    assert!(ended.notes.iter().any(|note| note.contains("is a link that others could have made")), "{ended:?}");
    let mut found: Vec<_> = fs::read_dir(bed.path("secret")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    found.sort();
    assert_eq!(found, ["shadow", "shadow.1", "shadow.2"]);
    // One that root made does.
    std::os::unix::fs::chown(bed.path("home"), Some(0), Some(0)).unwrap();
    assert_eq!(bed.run_job("turn", "2027-11-20T00:00:00Z").summary, "1 log rotated, 1 removed");
}

#[test]
fn an_account_can_have_its_own_processes_signalled_only() {
    if !nix::unistd::geteuid().is_root() {
        return skip("an_account_can_have_its_own_processes_signalled_only", "root");
    }
    let bed = bed("signal = \"USR1\"\npid_file = \"DIR/pid\"\n");
    let mut innocent = Command::new("sleep").arg("60").spawn().unwrap();
    bed.file("pid", &innocent.id().to_string()).file("log/a.log", "x\n");
    std::os::unix::fs::chown(bed.path("pid"), Some(1234), Some(1234)).unwrap();
    let ended = bed.run_job("turn", "2027-11-20T00:00:00Z");
    assert!(ended.summary.contains("belongs to another account than process"), "{ended:?}");
    assert!(innocent.try_wait().unwrap().is_none());
    innocent.kill().unwrap();
    innocent.wait().unwrap();
}
