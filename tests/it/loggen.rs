//! The generator of `../shared` knows what it wrote; other seeds than those we look at otherwise.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::cuts::assert_cuts_change_nothing;
use crate::support::{self, TestBed};

/// A log of this kind, and what is true of it; none without `../shared`.
fn made(bed: &TestBed, kind: &str, bytes: u32, seed: u32, days: u32) -> Option<(PathBuf, Value)> {
    let source = support::shared()?.join("tools/loggen/src/main.rs");
    let program = bed.path("loggen");
    run(Command::new("rustc").args(["-O", "--edition", "2021", "-o"]).arg(&program).arg(source));
    let (log, truth) = (bed.path(format!("{kind}.log")), bed.path("truth.json"));
    let (bytes, seed, days) = (bytes.to_string(), seed.to_string(), days.to_string());
    run(Command::new(program).args([kind, "--bytes", &bytes, "--seed", &seed, "--days", &days]).arg(&log).arg(&truth));
    Some((log, serde_json::from_str(&std::fs::read_to_string(truth).unwrap()).unwrap()))
}

fn run(command: &mut Command) {
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
}

/// The README of the generator: FNV-1a of 64 bits over sorted lines.
fn fnv(lines: impl Iterator<Item = String>) -> String {
    let lines: String = lines.collect();
    let hash =
        lines.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

/// Addresses with the instant at which they first crossed the threshold.
fn flagged(scanned: &Value) -> BTreeMap<String, i64> {
    let mut flagged = BTreeMap::new();
    for finding in scanned["findings"].as_array().unwrap().iter().filter(|f| f["rule"] == "failed-logins") {
        let address = finding["subject"]["source.ip"].as_str().unwrap().to_owned();
        let reached = chrono::DateTime::parse_from_rfc3339(finding["reached"].as_str().unwrap()).unwrap().timestamp();
        flagged.entry(address).and_modify(|known: &mut i64| *known = reached.min(*known)).or_insert(reached);
    }
    flagged
}

/// How many failed logins there are, and which address crossed the threshold when.
fn assert_logins_are_true(scanned: &Value, logins: &Value) {
    assert_eq!(scanned["failed_logins"], logins["failures"]);
    let flagged = flagged(scanned);
    assert_eq!(flagged.len() as u64, logins["flagged"].as_u64().unwrap());
    let hash = fnv(flagged.iter().map(|(address, reached)| format!("{address} {reached}\n")));
    assert_eq!(hash, logins["fnv1a64_of_sorted_'ip first_flag_epoch\\n'"].as_str().unwrap());
}

fn scan(bed: &TestBed, log: &Path) -> Value {
    bed.json(&["scan", "--zone", "UTC", "--year", "2026", log.to_str().unwrap()])
}

#[test]
fn counts_and_offenders_of_a_generated_access_log_are_exact() {
    let name = "counts_and_offenders_of_a_generated_access_log_are_exact";
    let bed = TestBed::new();
    let Some((log, truth)) = made(&bed, "access", 6 << 20, 7, 28) else { return support::skip(name, "../shared") };
    let scanned = scan(&bed, &log);
    assert_eq!(
        (&scanned["files"][0]["lines"], &scanned["files"][0]["unparsed"]),
        (&truth["lines"], &truth["malformed"])
    );
    assert_eq!(scanned["status"], truth["status"]);
    assert_eq!(scanned["addresses"].as_array().unwrap().len() as u64, truth["distinct_ips"].as_u64().unwrap());
    assert_logins_are_true(&scanned, &truth["failed_logins_401"]);
    let text = std::fs::read(&log).unwrap();
    assert_cuts_change_nothing(&[("access.log", &text[..1 << 20])], 500..502);
}

/// Statuses, how many of them in one clock minute are a spike to the generator, and the rule that says so.
const SPIKES: [(u64, u64, &str); 3] =
    [(401, 20, "four-hundred-one"), (404, 100, "four-hundred-four"), (500, 50, "five-hundred")];

/// Answers by status and clock minute, told by the plainest means.
fn minutes(text: &str) -> BTreeMap<(u64, i64), u64> {
    let mut minutes = BTreeMap::new();
    for line in text.lines() {
        let mut quotes = line.replace("\\\"", "").split('"').map(str::to_owned).collect::<Vec<_>>().into_iter();
        let stamp = line.split('[').nth(1).and_then(|rest| rest.split(']').next().map(str::to_owned));
        let status = quotes.nth(2).and_then(|after| after.split_whitespace().next()?.parse().ok());
        let stamp = stamp.and_then(|stamp| chrono::DateTime::parse_from_str(&stamp, "%d/%b/%Y:%H:%M:%S %z").ok());
        if let (Some(stamp), Some(status), 6..) = (stamp, status, line.matches('"').count()) {
            *minutes.entry((status, stamp.timestamp().div_euclid(60))).or_insert(0) += 1;
        }
    }
    minutes
}

#[test]
fn spike_minutes_of_a_generated_access_log_are_exact() {
    let name = "spike_minutes_of_a_generated_access_log_are_exact";
    let bed = TestBed::new();
    // As long as nothing is usual, because it was not watched for two weeks, the threshold decides.
    let Some((log, truth)) = made(&bed, "access", 6 << 20, 9, 13) else { return support::skip(name, "../shared") };
    let minutes = minutes(&std::fs::read_to_string(&log).unwrap());
    let is_spike = |status: u64, count: u64| SPIKES.iter().any(|(of, least, _)| *of == status && count >= *least);
    let spikes: Vec<_> = minutes.iter().filter(|((status, _), count)| is_spike(*status, **count)).collect();
    assert_eq!(spikes.len() as u64, truth["spike_minutes_401>=20_404>=100_500>=50"].as_u64().unwrap());
    let hash = fnv(spikes.iter().map(|((status, minute), count)| format!("{status} {} {count}\n", minute * 60)));
    assert_eq!(hash, truth["spikes_fnv_'status epoch n\\n'"].as_str().unwrap());
    for (status, least, rule) in SPIKES {
        let text = "severity = \"low\"\nmeaning = \"m\"\nadvice = \"a\"\nmerge = \"1s\"\n";
        let spike = format!("{text}[spike]\nstatuses = [\"{status}\"]\nper_minute = {least}\n");
        bed.file(&format!("config/rules/{rule}.toml"), &spike);
    }
    let rules: Vec<&str> = SPIKES.iter().map(|(.., rule)| *rule).collect();
    bed.main(&format!("[sources.web]\nfiles = [\"{}\"]\n", log.display()));
    bed.file("jobs/scan.toml", &format!("[scan]\nsources = [\"web\"]\nrules = {rules:?}\n"));
    bed.run_job("scan", "2026-11-21T12:00:00Z");
    let found = bed.store().findings(&Default::default()).unwrap();
    for (status, least, rule) in SPIKES {
        let found: Vec<_> = found.iter().map(|stored| &stored.finding).filter(|found| found.rule == rule).collect();
        let of = spikes.iter().filter(|((of, _), count)| *of == status && **count >= least);
        let of: Vec<(i64, u64)> = of.map(|((_, minute), count)| (*minute, **count)).collect();
        let sum = |counts: &mut dyn Iterator<Item = u64>| counts.sum::<u64>();
        assert_eq!(sum(&mut found.iter().map(|f| f.count)), sum(&mut of.iter().map(|(_, count)| *count)), "{status}");
        for (minute, _) in of {
            let holds = |first: i64, last: i64| first.div_euclid(60) <= minute && minute <= last.div_euclid(60);
            assert!(found.iter().any(|f| holds(f.first, f.last)), "{status} {minute}");
        }
    }
}

#[test]
fn failures_of_a_generated_auth_log_are_exact() {
    let name = "failures_of_a_generated_auth_log_are_exact";
    let bed = TestBed::new();
    let Some((log, truth)) = made(&bed, "auth", 4 << 20, 8, 28) else { return support::skip(name, "../shared") };
    assert_eq!(scan(&bed, &log)["files"][0]["lines"], truth["lines"]);
    // Its truth knows no failure but those that sshd calls so.
    let text = std::fs::read_to_string(&log).unwrap();
    let told: String = text.split_inclusive('\n').filter(|line| line.contains("Failed ")).collect();
    std::fs::write(&log, told).unwrap();
    let scanned = scan(&bed, &log);
    assert_logins_are_true(&scanned, &truth["failed_logins_ssh"]);
}
