//! Encrypted archives: only who has the key reads them, whoever has it needs nothing but age and tar, and all else works as with others.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::strace::{points, traced};
use crate::support::{TestBed, has, skip};

const ARCHIVE: &str = "state/archives/web1/logs/2026/11/web1-logs-2026-11-20.tar.gz.age";
const NAME: &str = "web1-logs-2026-11-20";

fn lines(day: u32) -> String {
    (0..60)
        .map(|n| format!("192.0.2.1 - - [{day}/Nov/2026:10:{n:02}:00 +0000] \"GET /{n} HTTP/1.1\" 200 1\n"))
        .collect()
}

/// A job that encrypts, and the file with the secret key.
fn bed(more: &str) -> (TestBed, String) {
    let bed = TestBed::new();
    let key = bed.path("key.txt").to_string_lossy().into_owned();
    assert!(Command::new("age-keygen").args(["-o", &key]).stderr(Stdio::null()).status().unwrap().success());
    let public = Command::new("age-keygen").args(["-y", &key]).output().unwrap().stdout;
    let public = String::from_utf8(public).unwrap();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n").file("log/a.log.1", &lines(20)).file(
        "jobs/pack.toml",
        &format!("[archive]\nsources = [\"logs\"]\nquiet = \"none\"\nencrypt = [\"{}\"]\n{more}", public.trim()),
    );
    (bed, key)
}

fn has_age(test: &str) -> bool {
    let there = has("age") && has("age-keygen");
    if !there {
        skip(test, "age");
    }
    there
}

#[test]
fn an_encrypted_archive_opens_with_its_key_only_and_with_age_and_tar() {
    if !has_age("an_encrypted_archive_opens_with_its_key_only_and_with_age_and_tar") {
        return;
    }
    let (bed, key) = bed("");
    let ran = bed.run(&["run-now", "pack"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let archive = bed.path(ARCHIVE);
    let mut there: Vec<_> =
        fs::read_dir(archive.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    there.sort();
    assert_eq!(there, ["web1-logs-2026-11-20.tar.gz.age", "web1-logs-2026-11-20.tar.gz.age.manifest.json"]);
    // age and tar.
    let out = bed.path("out");
    fs::create_dir(&out).unwrap();
    let line = format!("age -d -i {key} {} | tar xz -C {}", archive.display(), out.display());
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    let log = bed.path("log/a.log.1");
    let taken_out = out.join(log.strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(taken_out).unwrap(), lines(20));
    // With the key.
    assert_eq!(bed.run(&["archive", "cat", NAME, "--identity", &key]).stdout, lines(20));
    let window = ["--since", "2026-11-20 10:30", "--until", "2026-11-20 10:32", "--identity", &key];
    let found = bed.run(&[&["archive", "search", "GET"], &window[..]].concat());
    assert_eq!(found.stdout.lines().count(), 2, "{found:?}");
    let to = bed.path("back");
    let ran = bed.run(&["archive", "restore", NAME, "--to", &to.to_string_lossy(), "--identity", &key]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(fs::read_to_string(to.join(log.strip_prefix("/").unwrap())).unwrap(), lines(20));
    let ran = bed.run(&["archive", "verify", NAME, "--identity", &key]);
    assert!(ran.code == 0 && ran.stdout.contains("all whole"), "{ran:?}");
    // Without it, or with another.
    assert!(bed.run(&["archive", "list", NAME]).stdout.contains("a.log.1"), "the index is outside");
    let other = bed.path("other.txt").to_string_lossy().into_owned();
    assert!(Command::new("age-keygen").args(["-o", &other]).stderr(Stdio::null()).status().unwrap().success());
    let ran = bed.run(&["archive", "cat", NAME]);
    assert!(ran.code != 0 && ran.stderr.contains("it is encrypted; --identity FILE names the key"), "{ran:?}");
    let ran = bed.run(&["archive", "cat", NAME, "--identity", &other]);
    assert!(ran.code != 0 && ran.stdout.is_empty(), "{ran:?}");
    let ran = bed.run(&["archive", "verify"]);
    assert!(ran.code == 0 && ran.stdout.contains("all whole"), "{ran:?}");
    assert!(bed.run(&["run-now", "pack"]).stdout.contains("nothing new to archive"));
    // Damage is found without any key.
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).unwrap();
    let ran = bed.run(&["archive", "verify"]);
    assert!(ran.code == 1 && ran.stdout.contains("its bytes are not those that were written"), "{ran:?}");
}

#[test]
fn an_encrypted_index_tells_nothing_of_the_logs() {
    if !has_age("an_encrypted_index_tells_nothing_of_the_logs") {
        return;
    }
    for (more, shown) in [("", true), ("index = \"outside\"\n", true), ("index = \"encrypted\"\n", false)] {
        let (bed, key) = bed(more);
        assert_eq!(bed.run(&["run-now", "pack"]).code, 0);
        let manifest = fs::read_to_string(bed.path(format!("{ARCHIVE}.manifest.json"))).unwrap();
        assert_eq!(manifest.contains("a.log.1"), shown, "{manifest}");
        let ran = bed.run(&["archive", "list", NAME, "--identity", &key]);
        assert!(ran.code == 0 && ran.stdout.contains("a.log.1"), "{ran:?}");
        assert_eq!(bed.run(&["archive", "cat", NAME, "--identity", &key]).stdout, lines(20));
        let ran = bed.run(&["archive", "verify"]);
        assert!(ran.code == 0 && ran.stdout.contains("1 archive verified"), "{ran:?}");
        assert!(bed.run(&["run-now", "pack"]).stdout.contains("nothing new to archive"));
        if !shown {
            let ran = bed.run(&["archive", "list", NAME]);
            assert!(ran.code != 0 && ran.stderr.contains("it is encrypted"), "{ran:?}");
        }
        // Looking at the store again changes nothing.
        assert!(bed.run(&["archive", "reindex"]).stdout.contains("0 archives put on record"));
        assert!(bed.run(&["run-now", "pack"]).stdout.contains("nothing new to archive"));
        // The catalogue comes back from the store alone.
        fs::remove_file(bed.path("state/logkeeper.db")).unwrap();
        let ran = bed.run(&["archive", "reindex"]);
        assert!(ran.code == 0 && ran.stdout.contains("1 archive put on record"), "{ran:?}");
        assert_eq!(bed.run(&["archive", "cat", NAME, "--identity", &key]).stdout, lines(20));
    }
}

#[test]
fn a_kill_at_any_system_call_while_encrypting_loses_nothing_and_leaves_no_plain_text() {
    let test = "a_kill_at_any_system_call_while_encrypting_loses_nothing_and_leaves_no_plain_text";
    if !has_age(test) {
        return;
    }
    if !has("strace") {
        return skip(test, "strace");
    }
    let remove = "remove_originals = true\nindex = \"encrypted\"\n";
    let points = points(&bed(remove).0, "pack");
    assert!(points.len() > 20, "{points:?}");
    for (call, when) in points {
        let (bed, key) = bed(remove);
        traced(&bed, "pack", &format!("inject={call}:signal=KILL:when={when}"));
        for left in walkdir::WalkDir::new(bed.path("state")).into_iter().filter_map(Result::ok) {
            // A log as it is packed begins so; encrypted, it doesn't.
            let bytes = if left.file_type().is_file() { fs::read(left.path()).unwrap() } else { Vec::new() };
            assert!(!bytes.starts_with(&[0x1f, 0x8b]), "{call} {when}: {:?} is not encrypted", left.path());
        }
        let ran = bed.run(&["run-now", "pack"]);
        assert_eq!(ran.code, 0, "{call} {when}: {ran:?}");
        assert_eq!(bed.run(&["archive", "cat", NAME, "--identity", &key]).stdout, lines(20), "{call} {when}");
        let files = walkdir::WalkDir::new(bed.path("state/archives")).into_iter().map(|entry| entry.unwrap());
        let files: Vec<PathBuf> =
            files.filter(|entry| entry.file_type().is_file()).map(|entry| entry.into_path()).collect();
        assert_eq!(files.len(), 2, "{call} {when}: {files:?}");
        assert!(!bed.path("log/a.log.1").exists(), "{call} {when}");
    }
}

#[test]
fn of_a_damaged_encrypted_archive_everything_else_comes_out() {
    if !has_age("of_a_damaged_encrypted_archive_everything_else_comes_out") {
        return;
    }
    for more in ["date = \"run\"\n", "date = \"run\"\ncompression = \"zstd\"\nindex = \"encrypted\"\n"] {
        let (bed, key) = bed(more);
        let mut random = crate::cuts::Random(3);
        let mut line = || (0..20).map(|_| format!("{:06x}", random.below(1 << 24))).collect::<String>() + "\n";
        let texts: Vec<String> = (0..3).map(|_| (0..30_000).map(|_| line()).collect()).collect();
        for (n, text) in texts.iter().enumerate() {
            bed.file(&format!("log/a.log.{}", n + 1), text);
        }
        let ran = bed.run(&["run-now", "pack"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let archive = bed.json(&["archive", "list"])[0]["path"].as_str().unwrap().to_owned();
        for (n, text) in texts.iter().enumerate() {
            let member = format!("a.log.{}", n + 1);
            let ran = bed.run(&["archive", "cat", &archive, "--member", &member, "--identity", &key]);
            assert!(ran.stdout == *text, "{member}");
        }
        let mut bytes = fs::read(&archive).unwrap();
        assert!(bytes.len() > 1 << 20, "many chunks");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&archive, bytes).unwrap();
        let to = bed.path("back");
        let ran = bed.run(&["archive", "restore", &archive, "--to", &to.to_string_lossy(), "--identity", &key]);
        assert!(ran.code == 1 && ran.stdout.contains("2 of 3 logs restored"), "{ran:?}");
        let log = |n: usize| to.join(bed.path(format!("log/a.log.{n}")).strip_prefix("/").unwrap());
        assert_eq!(fs::read_to_string(log(1)).unwrap(), texts[0]);
        assert_eq!(fs::read_to_string(log(3)).unwrap(), texts[2]);
        let ran = bed.run(&["archive", "verify", &archive, "--identity", &key]);
        assert!(ran.code == 1 && ran.stdout.contains("a.log.2: block"), "{ran:?}");
        let ran = bed.run(&["archive", "verify", "--identity", &key]);
        assert_eq!(ran.code, 1, "{ran:?}");
    }
}

#[test]
fn plain_archives_of_a_job_that_encrypts_now_are_not_copied() {
    if !has_age("plain_archives_of_a_job_that_encrypts_now_are_not_copied") {
        return;
    }
    let (bed, _) = bed("copies = [\"nas\"]\n");
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n[copies.nas]\nfolder = \"DIR/nas\"\n");
    fs::create_dir(bed.path("nas")).unwrap();
    let encrypting = fs::read_to_string(bed.path("jobs/pack.toml")).unwrap();
    bed.file("jobs/pack.toml", "[archive]\nsources = [\"logs\"]\nquiet = \"none\"\n");
    assert_eq!(bed.run(&["run-now", "pack"]).code, 0);
    bed.file("jobs/pack.toml", &encrypting).file("log/a.log.2", &lines(19));
    let ran = bed.run(&["run-now", "pack"]);
    assert!(ran.code == 0 && ran.stdout.contains("copied 1 archive"), "{ran:?}");
    let there = walkdir::WalkDir::new(bed.path("nas")).into_iter().map(|entry| entry.unwrap().into_path());
    let there: Vec<PathBuf> = there.filter(|path| path.to_string_lossy().contains(".tar.")).collect();
    assert!(there.len() == 2 && there.iter().all(|path| path.to_string_lossy().contains(".tar.gz.age")), "{there:?}");
}

#[test]
fn a_wrong_public_key_is_refused_with_the_configuration() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n");
    bed.file("jobs/pack.toml", "[archive]\nsources = [\"logs\"]\nencrypt = [\"age1wrong\"]\n");
    let ran = bed.run(&["check"]);
    assert!(ran.code == 2 && ran.stderr.contains("is no public key of age-keygen's"), "{ran:?}");
    let secret = "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQ";
    bed.file("jobs/pack.toml", &format!("[archive]\nsources = [\"logs\"]\nencrypt = [\"{secret}\"]\n"));
    let ran = bed.run(&["check"]);
    assert!(ran.code == 2 && ran.stderr.contains("this is a secret key"), "{ran:?}");
    bed.file("jobs/pack.toml", "[archive]\nsources = [\"logs\"]\nindex = \"encrypted\"\n");
    let ran = bed.run(&["check"]);
    assert!(ran.code == 2 && ran.stderr.contains("index is about encrypted archives"), "{ran:?}");
}
