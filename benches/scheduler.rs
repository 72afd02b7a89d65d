//! The scheduler against its peer, the crate it is built on used as it is shipped: `cargo bench --bench scheduler`.
//!
//! Both run in this run, on this machine, and the ratios are printed. It takes about six minutes. Nothing is asserted,
//! because a busy machine would make any limit wrong.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement that can't go on fails"
)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Timelike, Utc};

const MANY: usize = 10_000;

fn main() {
    println!("{:<58} {:>12} {:>12} {:>8}", "", "logkeeper", "crate alone", "ratio");
    start_with_many_files();
    burst();
    punctuality("one job every second", 1, false);
    punctuality("one job every second, while an archive is packed", 1, true);
    punctuality("10,000 jobs spread over a minute", MANY, false);
    idle();
}

fn row(what: &str, ours: f64, theirs: Option<f64>, unit: &str) {
    let number = |n: f64| format!("{n:.2} {unit}");
    let (other, ratio) = match theirs {
        Some(theirs) => (number(theirs), format!("{:.2}", ours / theirs)),
        None => ("-".to_owned(), "-".to_owned()),
    };
    println!("{what:<58} {:>12} {other:>12} {ratio:>8}", number(ours));
}

/// A daemon on a configuration of its own.
struct Daemon {
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Daemon {
    fn prepared(jobs: impl Iterator<Item = (String, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("config")).unwrap();
        fs::create_dir_all(root.join("jobs")).unwrap();
        let main = format!(
            "zone = \"UTC\"\nhost = \"bench\"\nstate = \"{0}/state\"\n[sources.big]\nfiles = [\"{0}/big.log\"]\n",
            root.display()
        );
        fs::write(root.join("config/logkeeper.toml"), main).unwrap();
        jobs.for_each(|(name, text)| fs::write(root.join("jobs").join(format!("{name}.toml")), text).unwrap());
        Self { folder, child: None }
    }

    fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logkeeper"));
        command.args(args).env("LOGKEEPER_CONFIG", self.folder.path()).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts it and returns how long it took until it listened.
    fn start(&mut self) -> Duration {
        let begun = Instant::now();
        self.child = Some(self.program(&["daemon"]).spawn().unwrap());
        let socket = self.folder.path().join("state/logkeeper.sock");
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        begun.elapsed()
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Milliseconds between slot and a column of its run, sorted, of the slots from an instant on.
    fn lateness(&self, column: &str, from: DateTime<Utc>) -> Vec<i64> {
        let database = rusqlite::Connection::open(self.folder.path().join("state/logkeeper.db")).unwrap();
        let sql =
            format!("SELECT {column} - slot * 1000 FROM runs WHERE {column} IS NOT NULL AND slot >= ?1 ORDER BY 1");
        let mut statement = database.prepare(&sql).unwrap();
        statement.query_map([from.timestamp()], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// A schedule for one instant.
fn at(instant: DateTime<Utc>) -> String {
    instant.format("%S %M %H %d %m *").to_string()
}

fn command_job(schedule: &str) -> String {
    format!("schedule = \"{schedule}\"\n[command]\nrun = [\"/bin/true\"]\n")
}

fn percentile(sorted: &[i64], of: f64) -> f64 {
    sorted.get((sorted.len() as f64 * of) as usize).copied().unwrap_or(-1) as f64
}

fn start_with_many_files() {
    let mut daemon = Daemon::prepared((0..MANY).map(|n| (format!("j{n}"), command_job("0 0 1 1 *"))));
    let first = daemon.start();
    row("start with 10,000 job files, everything new", first.as_secs_f64(), None, "s");
    row("  resident memory then", memory(daemon.pid()), None, "MiB");
}

fn burst() {
    // The jobs are of an instant that is known only once they are written, so they are written first and read then.
    let due = (Utc::now() + TimeDelta::seconds(8)).with_nanosecond(0).unwrap();
    let mut daemon = Daemon::prepared((0..MANY).map(|n| (format!("j{n}"), command_job(&at(due)))));
    daemon.start();
    let started = loop {
        std::thread::sleep(Duration::from_millis(500));
        let started = daemon.lateness("finished", due);
        if started.len() == MANY || Utc::now() > due + TimeDelta::seconds(60) {
            break daemon.lateness("started", due);
        }
    };
    let ran = crate_burst();
    row("10,000 jobs due at once: run", started.len() as f64, Some(ran as f64), "");
    row("  last /bin/true started after", percentile(&started, 1.0 - 1e-9) / 1000.0, None, "s");
    row("  every slot durable after", durable(), None, "s");
}

/// How long it takes to put 10,000 slots on record with their runs, on a disk.
fn durable() -> f64 {
    use logkeeper::model::{Slot, Trigger};
    use logkeeper::store::{SlotRecord, Store};
    let daemon = Daemon::prepared((0..MANY).map(|n| (format!("j{n}"), command_job("0 0 1 1 *"))));
    let config = logkeeper::config::Config::load(daemon.folder.path()).unwrap();
    let store = Store::open(&config.state).unwrap();
    let now = Utc::now();
    let slots: Vec<SlotRecord> = config
        .jobs
        .values()
        .map(|job| SlotRecord {
            job: job.clone(),
            slot: Slot { job: job.id.clone(), epoch: 0, instant: now },
            trigger: Trigger::Scheduled,
            begin: None,
            ended: None,
            tell: Vec::new(),
        })
        .collect();
    let begun = Instant::now();
    assert_eq!(store.record_slots(&slots, &[], now).unwrap().len(), MANY);
    begun.elapsed().as_secs_f64()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap()
}

/// How many of 10,000 jobs the crate alone runs.
fn crate_burst() -> usize {
    let ran = Arc::new(AtomicUsize::new(0));
    runtime().block_on(async {
        let scheduler = tokio_cron_scheduler::JobScheduler::new().await.unwrap();
        let due = (Utc::now() + TimeDelta::seconds(15)).with_nanosecond(0).unwrap();
        for _ in 0..MANY {
            let ran = ran.clone();
            let job = tokio_cron_scheduler::Job::new_async(at(due).as_str(), move |_, _| {
                let ran = ran.clone();
                Box::pin(async move {
                    ran.fetch_add(1, Ordering::Relaxed);
                })
            });
            scheduler.add(job.unwrap()).await.unwrap();
        }
        scheduler.start().await.unwrap();
        tokio::time::sleep((due - Utc::now()).to_std().unwrap_or_default() + Duration::from_secs(10)).await;
    });
    ran.load(Ordering::Relaxed)
}

fn punctuality(what: &str, jobs: usize, packing: bool) {
    let schedule = |n: usize| if jobs == 1 { "* * * * * *".to_owned() } else { format!("{} * * * * *", n % 60) };
    let mut all: Vec<(String, String)> = (0..jobs).map(|n| (format!("j{n}"), command_job(&schedule(n)))).collect();
    all.push(("pack".to_owned(), "[archive]\nsources = [\"big\"]\n".to_owned()));
    let mut daemon = Daemon::prepared(all.into_iter());
    if packing {
        for n in 1..=8 {
            let line = format!("192.0.2.{n} - - [21/Nov/2026:00:00:00 +0000] \"GET /{n} HTTP/1.1\" 200 {n}\n");
            fs::write(daemon.folder.path().join(format!("big.log.{n}")), line.repeat(1_500_000)).unwrap();
        }
    }
    daemon.start();
    // What comes due while it starts, and in the first pause of the crate, is late by that.
    let from = Utc::now() + TimeDelta::seconds(2);
    let mut pack = packing.then(|| daemon.program(&["run-now", "pack"]).spawn().unwrap());
    std::thread::sleep(Duration::from_secs(if jobs == 1 { 40 } else { 70 }));
    let late = daemon.lateness("requested", from);
    if let Some(pack) = &mut pack {
        let state = if pack.try_wait().unwrap().is_some() { "had ended by then" } else { "still went on at the end" };
        println!("  (the packing {state})");
        let _ = pack.kill();
        pack.wait().unwrap();
    }
    let theirs = (jobs == 1 && !packing).then(crate_punctuality);
    row(
        &format!("{what}: tick late, median"),
        percentile(&late, 0.5),
        theirs.as_ref().map(|t| percentile(t, 0.5)),
        "ms",
    );
    row("  99th percentile", percentile(&late, 0.99), theirs.as_ref().map(|t| percentile(t, 0.99)), "ms");
    row("  /bin/true started, 99th percentile", percentile(&daemon.lateness("started", from), 0.99), None, "ms");
}

/// How late a job of the crate alone runs, every second for 40 seconds.
fn crate_punctuality() -> Vec<i64> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let writing = seen.clone();
    runtime().block_on(async move {
        let scheduler = tokio_cron_scheduler::JobScheduler::new().await.unwrap();
        let job = tokio_cron_scheduler::Job::new("* * * * * *", move |_, _| {
            writing.lock().unwrap().push(i64::from(Utc::now().timestamp_subsec_millis()));
        });
        scheduler.add(job.unwrap()).await.unwrap();
        scheduler.start().await.unwrap();
        tokio::time::sleep(Duration::from_secs(40)).await;
    });
    let mut late = seen.lock().unwrap().clone();
    late.sort_unstable();
    late
}

fn idle() {
    const PERIOD: Duration = Duration::from_secs(30);
    let mut daemon = Daemon::prepared((0..1000).map(|n| (format!("j{n}"), command_job("0 0 1 1 *"))));
    daemon.start();
    std::thread::sleep(Duration::from_secs(3));
    let ours = over(daemon.pid(), PERIOD, || std::thread::sleep(PERIOD));
    let memory_then = memory(daemon.pid());
    drop(daemon);
    // The crate lives in this process, which does nothing else meanwhile.
    let theirs = runtime().block_on(async {
        let scheduler = tokio_cron_scheduler::JobScheduler::new().await.unwrap();
        for _ in 0..1000 {
            scheduler.add(tokio_cron_scheduler::Job::new("0 0 0 1 1 *", |_, _| {}).unwrap()).await.unwrap();
        }
        scheduler.start().await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = usage(std::process::id());
        tokio::time::sleep(PERIOD).await;
        let after = usage(std::process::id());
        rates(before, after, PERIOD)
    });
    row("idle with 1,000 jobs: wake-ups a second", ours.0, Some(theirs.0), "");
    row("  processor time", ours.1, Some(theirs.1), "%");
    row("  resident memory", memory_then, None, "MiB");
}

fn over(pid: u32, period: Duration, wait: impl FnOnce()) -> (f64, f64) {
    let before = usage(pid);
    wait();
    rates(before, usage(pid), period)
}

fn rates(before: (u64, u64), after: (u64, u64), period: Duration) -> (f64, f64) {
    let seconds = period.as_secs_f64();
    // A tick is a hundredth of a second.
    ((after.0.saturating_sub(before.0)) as f64 / seconds, (after.1 - before.1) as f64 / seconds)
}

/// Context switches of all threads so far, and ticks of processor time.
fn usage(pid: u32) -> (u64, u64) {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().filter_map(Result::ok);
    let switches = threads.map(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().filter(|line| line.contains("ctxt_switches")).filter_map(last_number).sum::<u64>()
    });
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (switches.sum(), fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
}

fn memory(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn last_number(line: &str) -> Option<u64> {
    line.split_whitespace().last()?.parse().ok()
}
