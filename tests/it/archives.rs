//! Archives: rotated files only, verified, nothing twice, nothing lost.

use std::io::Write;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use logkeeper::archive::{Effort, Shelf, read_manifest};
use logkeeper::model::{ArchiveEntry, Outcome};

use crate::support::TestBed;

const AT: &str = "2026-11-21T03:30:00Z";
const FOLDER: &str = "state/archives/web1/logs/2026/11";
const NAME: &str = "state/archives/web1/logs/2026/11/web1-logs-2026-11-21.tar.gz";

pub fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn bed(more: &str) -> TestBed {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n")
        .file("jobs/pack.toml", &format!("[archive]\nsources = [\"logs\"]\nquiet = \"none\"\ndate = \"run\"\n{more}"));
    bed.file("log/a.log", "live\n")
        .file("log/a.log.1", "yesterday\n")
        .bytes("log/a.log.2.gz", &gzip(b"the day before\n"));
    bed
}

fn entry(bed: &TestBed, name: &str) -> ArchiveEntry {
    read_manifest(&bed.path(name)).unwrap()
}

fn verify(path: &std::path::Path, entry: &ArchiveEntry) -> Result<(), String> {
    let effort = Effort { threads: 0, nice: false };
    logkeeper::archive::verify(path, entry, effort, &|_| false).map_err(|error| error.to_string())
}

#[test]
fn rotated_files_go_into_a_dated_archive_that_any_tar_opens() {
    let bed = bed("");
    let ended = bed.run_job("pack", AT);
    assert_eq!((ended.outcome, ended.summary.as_str()), (Outcome::Succeeded, "2 logs archived in 1 archive, verified"));
    let out = bed.path("out");
    std::fs::create_dir(&out).unwrap();
    let script = "gunzip -c \"$0\" | tar xf - -C \"$1\" && cd \"$1\" && sha256sum -c SHA256SUMS";
    let ran = Command::new("sh").args(["-c", script]).arg(bed.path(NAME)).arg(&out).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let inside = |name: &str| std::fs::read(out.join(bed.path("log").strip_prefix("/").unwrap()).join(name)).unwrap();
    assert_eq!(inside("a.log.1"), b"yesterday\n");
    assert_eq!(inside("a.log.2.gz"), std::fs::read(bed.path("log/a.log.2.gz")).unwrap());
    assert!(bed.path("log/a.log.1").exists() && bed.path("log/a.log.2.gz").exists(), "originals stay unless asked for");
    assert!(!out.join(bed.path("log/a.log").strip_prefix("/").unwrap()).exists(), "the live file is not collected");
}

#[test]
fn an_archive_made_in_the_second_of_a_report_is_told_in_it_and_in_no_other() {
    let bed = bed("");
    bed.run_job("pack", AT);
    let at: chrono::DateTime<chrono::Utc> = AT.parse().unwrap();
    let week = chrono::TimeDelta::days(7);
    assert_eq!(bed.store().archives(at - week, at).unwrap().len(), 1);
    assert_eq!(bed.store().archives(at, at + week).unwrap().len(), 0);
}

#[test]
fn nothing_is_archived_twice_even_after_it_was_renamed_and_compressed() {
    let bed = bed("");
    bed.run_job("pack", AT);
    assert_eq!(bed.run_job("pack", AT).summary, "nothing new to archive");
    std::fs::remove_file(bed.path("log/a.log.1")).unwrap();
    std::fs::rename(bed.path("log/a.log.2.gz"), bed.path("log/a.log.3.gz")).unwrap();
    bed.bytes("log/a.log.2.gz", &gzip(b"yesterday\n")).file("log/a.log.1", "today\n");
    assert_eq!(bed.run_job("pack", AT).summary, "1 log archived in 1 archive, verified");
    assert!(
        bed.path(format!("{FOLDER}/web1-logs-2026-11-21-2.tar.gz")).exists(),
        "a second archive of a day is another file"
    );
}

#[test]
fn originals_go_only_when_asked_for_and_read_by_every_scan() {
    let bed = bed("remove_originals = true\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\n");
    let ended = bed.run_job("pack", AT);
    assert!(ended.notes.iter().any(|note| note.contains("stays until job scan has read it")), "{:?}", ended.notes);
    assert!(bed.path("log/a.log.1").exists());
    bed.run_job("scan", AT);
    bed.file("log/a.log.3", "older\n");
    bed.run_job("scan", AT);
    let ended = bed.run_job("pack", AT);
    assert!(ended.notes.iter().any(|note| note == "removed 3 archived originals"), "{:?}", ended.notes);
    assert!(!bed.path("log/a.log.3").exists() && !bed.path("log/a.log.1").exists() && bed.path("log/a.log").exists());
}

#[test]
fn every_flipped_byte_of_an_archive_is_found() {
    let bed = bed("");
    bed.run_job("pack", AT);
    let (path, entry) = (bed.path(NAME), entry(&bed, NAME));
    verify(&path, &entry).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut broken = whole.clone();
        broken[at] ^= 0x10;
        std::fs::write(&path, &broken).unwrap();
        assert!(verify(&path, &entry).is_err(), "a flip at {at} was not found");
        std::fs::write(&path, &whole[..at]).unwrap();
        assert!(verify(&path, &entry).is_err(), "a cut at {at} was not found");
    }
}

#[test]
fn what_a_crash_leaves_behind_is_put_right_by_the_next_run() {
    let bed = bed("");
    bed.run_job("pack", AT);
    // Published but not recorded: as if killed between the rename and the commit.
    let database = rusqlite::Connection::open(bed.path("state/logkeeper.db")).unwrap();
    database.execute_batch("DELETE FROM members; DELETE FROM archives;").unwrap();
    bed.file("state/archives/web1/logs/2026/11/.web1-logs-2026-11-20.tar.gz.partial", "half an archive");
    let ended = bed.run_job("pack", AT);
    assert_eq!((ended.outcome, ended.summary.as_str()), (Outcome::Succeeded, "nothing new to archive"));
    assert!(ended.notes.iter().any(|note| note.contains("put on record again")), "{:?}", ended.notes);
    assert!(!bed.path("state/archives/web1/logs/2026/11/.web1-logs-2026-11-20.tar.gz.partial").exists());
}

#[test]
fn a_killed_run_loses_no_log_and_the_next_finishes_the_work() {
    let bed = bed("remove_originals = true\n");
    for n in 1..9 {
        let text: String = (0..60_000).map(|i| format!("line {i} of {n} {}\n", i * 7919 % 1009)).collect();
        bed.file(&format!("log/b{n}.log.1"), &text);
    }
    let want: Vec<Vec<u8>> = (1..9).map(|n| std::fs::read(bed.path(format!("log/b{n}.log.1"))).unwrap()).collect();
    for delay in [5, 20, 40, 60, 80, 120] {
        let mut child = bed.command(&["run-now", "pack"]).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = bed.run(&["run-now", "pack"]);
    assert_eq!(last.code, 0, "{last:?}");
    let out = bed.path("out");
    std::fs::create_dir(&out).unwrap();
    for archive in Shelf::look(&bed.path("state/archives")).archives {
        let name = archive.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(!name.ends_with(".partial"), "{name} was left");
        if name.ends_with(".tar.gz") {
            assert!(Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(&out).status().unwrap().success());
        }
    }
    for (n, want) in (1..9).zip(want) {
        let original = bed.path(format!("log/b{n}.log.1"));
        let packed = out.join(original.strip_prefix("/").unwrap());
        assert!(std::fs::read(&packed).is_ok_and(|got| got == want), "log {n} is in no archive");
    }
}

#[test]
fn a_full_disk_fails_the_run_and_keeps_every_log() {
    if Command::new("id").arg("-u").output().unwrap().stdout != b"0\n" {
        return crate::support::skip("a_full_disk_fails_the_run_and_keeps_every_log", "root");
    }
    let bed = bed("remove_originals = true\nstore = \"DIR/small\"\n");
    let noise: String = (0..200_000_u64).map(|i| format!("{:x}\n", i.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    bed.file("log/a.log.3", &noise);
    std::fs::create_dir(bed.path("small")).unwrap();
    let small = bed.path("small");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "none"]).arg(&small).output().unwrap();
    if !mounted.status.success() {
        return crate::support::skip("a_full_disk_fails_the_run_and_keeps_every_log", "the right to mount a tmpfs");
    }
    let full = bed.run(&["run-now", "pack"]);
    let left = Shelf::look(&small);
    assert!(Command::new("umount").arg(&small).status().unwrap().success());
    assert_eq!(full.code, 1, "{full:?}");
    assert!(
        full.stdout.contains("No space left") && full.stdout.contains("these logs stay where they are"),
        "{}",
        full.stdout
    );
    assert!(left.archives.is_empty() && left.leftovers.is_empty(), "{left:?}");
    assert!(bed.path("log/a.log.3").exists());
    assert_eq!(bed.run(&["run-now", "pack"]).code, 0, "with room again it resumes by itself");
}

#[test]
fn archive_jobs_with_one_store_wait_for_one_another() {
    let bed = bed("");
    let job = std::fs::read_to_string(bed.path("jobs/pack.toml")).unwrap();
    bed.file("jobs/pack.toml", &format!("timeout = \"1s\"\n{job}"));
    std::fs::create_dir_all(bed.path("state/archives")).unwrap();
    let store = std::fs::File::open(bed.path("state/archives")).unwrap();
    rustix::fs::flock(&store, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let waiting = bed.run(&["run-now", "pack"]);
    assert!(waiting.stdout.contains("timed-out"), "{waiting:?}");
    drop(store);
    assert_eq!(bed.run(&["run-now", "pack"]).code, 0);
}
