//! Small logs, cut, rotated, compressed and killed in ways drawn by lot: findings and counts are those of a plain reference that
//! knows what was written. `LOGKEEPER_SEQUENCES=100000` plays a tenth of that.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use chrono::DateTime;
use logkeeper::store::FindingFilter;

use crate::cuts::{Random, rotate};
use crate::support::{TestBed, sequences};

const AT: &str = "2026-11-21T12:00:00Z";
const FIRST: i64 = 1_794_000_000;
const WINDOW: i64 = 1800;
const MERGE: i64 = 24 * 60 * 60;

/// What happened: when, from where, how many failed logins, and with which status.
struct Happened {
    time: i64,
    ip: usize,
    failures: u64,
    status: u16,
}

/// The lines of two logs and what they tell.
fn written(random: &mut Random) -> (Vec<Vec<String>>, Vec<Happened>) {
    let (mut logs, mut told) = (vec![Vec::new(), Vec::new()], Vec::new());
    let mut clock = FIRST;
    for n in 0..60 + random.below(140) {
        clock += match random.below(40) {
            0 => 90_000 + random.below(90_000) as i64,
            // The edges of the window.
            1..4 => 449 + random.below(3) as i64,
            _ => random.below(300) as i64,
        };
        // Some lines come late.
        let time = clock - if random.below(5) == 0 { random.below(600) as i64 } else { 0 };
        let ip = random.below(5);
        let (line, failures, status) = line(time, ip, n, random);
        logs[usize::from(status > 0)].push(line);
        told.push(Happened { time, ip, failures, status });
    }
    (logs, told)
}

fn line(time: i64, ip: usize, n: usize, random: &mut Random) -> (String, u64, u16) {
    let stamp = DateTime::from_timestamp(time, 0).unwrap();
    let syslog = stamp.format("%FT%TZ web1");
    let failed = format!("Failed password for root from 192.0.2.{ip} port {n} ssh2");
    match random.below(8) {
        0..3 => (format!("{syslog} sshd[{n}]: {failed}\n"), 1, 0),
        3 => (format!("{syslog} sshd[{n}]: message repeated 2 times: [ {failed}]\n"), 2, 0),
        4 => (format!("{syslog} CRON[{n}]: (root) CMD (true)\n"), 0, 0),
        _ => {
            let status = [200, 401, 404, 500][random.below(4)];
            let stamp = stamp.format("%d/%b/%Y:%T +0000");
            let request = format!("192.0.2.{ip} - - [{stamp}] \"GET /{n} HTTP/1.1\" {status} 5 \"-\" \"x\"\n");
            (request, u64::from(status == 401), status)
        }
    }
}

/// Findings as address, count, first, last and reached; then what was counted.
type Results = (Vec<(String, u64, i64, i64, i64)>, BTreeMap<&'static str, u64>);

fn reference(told: &[Happened]) -> Results {
    let mut findings = Vec::new();
    for ip in 0..5 {
        let of = told.iter().filter(|happened| happened.ip == ip);
        let mut times: Vec<i64> = of.flat_map(|of| vec![of.time; of.failures as usize]).collect();
        times.sort_unstable();
        for episode in times.chunk_by(|a, b| b - a <= MERGE) {
            let reached = episode.windows(5).find(|five| five[4] - five[0] <= WINDOW);
            if let Some(five) = reached {
                let (first, last) = (episode[0], episode[episode.len() - 1]);
                findings.push((format!("192.0.2.{ip}"), episode.len() as u64, first, last, five[4]));
            }
        }
    }
    findings.sort();
    let count = |which: &dyn Fn(&Happened) -> u64| told.iter().map(which).sum();
    let counts = BTreeMap::from([
        ("lines", told.len() as u64),
        ("failed", count(&|of| of.failures)),
        ("404", count(&|of| u64::from(of.status == 404))),
        ("5xx", count(&|of| u64::from(of.status == 500))),
    ]);
    (findings, counts)
}

fn stored(bed: &TestBed) -> Results {
    let store = bed.store();
    let all = store.findings(&FindingFilter::default()).unwrap().into_iter().map(|stored| stored.finding);
    let mut findings: Vec<_> =
        all.map(|f| (f.subject["source.ip"].clone(), f.count, f.first, f.last, f.reached)).collect();
    findings.sort();
    let mut counts = BTreeMap::new();
    for tally in
        store.tallies("2000-01-01T00:00:00Z".parse().unwrap(), "2100-01-01T00:00:00Z".parse().unwrap()).unwrap()
    {
        let t = tally.tally;
        for (name, n) in [("lines", t.lines), ("failed", t.failed_logins), ("404", t.status_404), ("5xx", t.status_5xx)]
        {
            *counts.entry(name).or_default() += n;
        }
    }
    (findings, counts)
}

/// Scans, or is killed while it does.
fn scan(bed: &TestBed, random: &mut Random) {
    if random.below(3) > 0 {
        bed.run_job("scan", AT);
        return;
    }
    let mut scan = bed.command(&["run-now", "scan", "--at", AT]);
    let mut child = scan.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_micros(random.below(20_000) as u64));
    child.kill().unwrap();
    child.wait().unwrap();
}

fn play(seed: u64) {
    let random = &mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1);
    let (logs, told) = written(random);
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\n");
    std::fs::create_dir_all(bed.path("log")).unwrap();
    let mut left: Vec<(&str, &[u8])> = Vec::new();
    let texts: Vec<String> = logs.iter().map(|lines| lines.concat()).collect();
    left.extend(["auth.log", "access.log"].into_iter().zip(texts.iter().map(String::as_bytes)));
    // Both are known from the first scan on: nobody waits for a log that is not there yet.
    for (name, rest) in &mut left {
        let (line, later) = rest.split_at(rest.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        bed.bytes(&format!("log/{name}"), line);
        *rest = later;
    }
    while left.iter().any(|(_, rest)| !rest.is_empty()) {
        for (name, rest) in &mut left {
            let mut cut = random.below(rest.len() / 2 + 800).min(rest.len());
            let rotates = random.below(3) == 0;
            if rotates {
                cut = memchr::memchr(b'\n', &rest[cut..]).map_or(rest.len(), |at| cut + at + 1);
            }
            let (piece, later) = rest.split_at(cut);
            *rest = later;
            let path = bed.path("log").join(*name);
            std::fs::File::options().append(true).create(true).open(&path).unwrap().write_all(piece).unwrap();
            if random.below(2) == 0 {
                scan(&bed, random);
            }
            if rotates && !later.is_empty() {
                rotate(&bed.path("log"), name, random);
            }
        }
    }
    bed.run_job("scan", AT);
    assert_eq!(stored(&bed), reference(&told), "sequence {seed}");
}

#[test]
fn any_way_of_cutting_rotating_compressing_and_killing_gives_what_was_written() {
    let (all, threads) = (sequences(600) / 10, std::thread::available_parallelism().map_or(2, usize::from) * 2);
    std::thread::scope(|scope| {
        for thread in 0..threads as u64 {
            scope.spawn(move || (thread..all).step_by(threads).for_each(play));
        }
    });
}
