//! Running a job under strace, which kills it or lets a system call fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};

use super::{TestBed, sequences};

/// System calls that change what is on the disk. A process that is killed at another one leaves what it would have left at the
/// one of these before, so a sweep over these is a sweep over all.
const CHANGING: [&str; 15] = [
    "openat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "ftruncate",
    "rename",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "linkat",
    "fchmod",
    "fchown",
    "utimensat",
];

/// Runs a job under strace with an injection, which hits the chosen call of every thread: one that can't tell another that there
/// is something to do makes the run hang, and is then killed.
pub fn traced(bed: &TestBed, job: &str, inject: &str) {
    let program = bed.command(&["run-now", job]);
    let mut traced = Command::new("timeout");
    traced
        .args(["-k", "5", "10", "strace", "-f", "-qq", "-o", "/dev/null", "-e", inject])
        .arg(program.get_program())
        .args(program.get_args());
    traced.env("LOGKEEPER_CONFIG", bed.path("")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    traced.status().unwrap();
}

/// Each changing call of a whole run that touches a file below its folder: which one, and the how many-th of its thread.
fn calls(bed: &TestBed, job: &str) -> BTreeSet<(&'static str, usize)> {
    let log = bed.path("calls");
    let program = bed.command(&["run-now", job]);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-y", "-qq", "-o"]).arg(&log).arg("-e").arg(format!("trace={}", CHANGING.join(",")));
    traced.arg(program.get_program()).args(program.get_args()).env("LOGKEEPER_CONFIG", bed.path(""));
    assert!(traced.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap().success());
    let mut counts: BTreeMap<(&str, String), usize> = BTreeMap::new();
    let mut calls = BTreeSet::new();
    for line in fs::read_to_string(log).unwrap().lines() {
        let (pid, rest) = line.split_once(' ').unwrap();
        let call = CHANGING.into_iter().find(|call| rest.trim_start().starts_with(&format!("{call}(")));
        if let Some(call) = call {
            let count = counts.entry((call, pid.to_owned())).or_default();
            *count += 1;
            let changes = call != "openat" || rest.contains("O_CREAT");
            if changes && rest.contains(&*bed.path("").to_string_lossy()) {
                calls.insert((call, *count));
            }
        }
    }
    calls
}

/// The points of a sweep over a job, which is run once: all where `LOGKEEPER_SEQUENCES` asks for full length, else fewer of those
/// that there are most of, the database's.
pub fn points(bed: &TestBed, job: &str) -> Vec<(&'static str, usize)> {
    let is_taken =
        |(call, when): &(&str, usize)| sequences(0) > 0 || when % (if *call == "pwrite64" { 15 } else { 2 }) == 1;
    calls(bed, job).into_iter().filter(is_taken).collect()
}
