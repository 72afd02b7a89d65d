//! Which logs are archived: those that are finished, each once, and nobody else's files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use logkeeper::archive::{Opened, Shelf, read_manifest};
use logkeeper::model::Outcome;

use crate::archives::gzip;
use crate::cuts::Random;
use crate::support::{TestBed, sequences};

const AT: &str = "2026-11-21T03:30:00Z";

fn bed(more: &str) -> TestBed {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/**/*.log\"]\n")
        .file("jobs/pack.toml", &format!("[archive]\nsources = [\"logs\"]\n{more}"));
    bed
}

/// The text of every log in every archive of a store, by the last part of its name.
fn archived(store: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for path in Shelf::look(store).archives {
        let opened = Opened::new(&path, None, &|_| Box::new(|_| None)).unwrap();
        for member in &opened.entry.members {
            let mut text = Vec::new();
            if let Some(mut reader) = opened.text(member).unwrap() {
                reader.read_to_end(&mut text).unwrap();
            }
            found.push((String::from_utf8_lossy(&member.name.0).rsplit('/').next().unwrap().to_owned(), text));
        }
    }
    found
}

fn names(bed: &TestBed) -> Vec<String> {
    archived(&bed.path("state/archives")).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn a_log_that_may_not_be_finished_waits_and_says_why() {
    let bed = bed("quiet = \"1h\"\n");
    let now = std::time::SystemTime::now();
    bed.file("log/old.log.1", "old\n").file("log/fresh.log.1", "fresh\n").file("log/open.log.1", "open\n");
    for name in ["old.log.1", "open.log.1"] {
        let file = fs::File::options().append(true).open(bed.path("log").join(name)).unwrap();
        file.set_modified(now - std::time::Duration::from_secs(7200)).unwrap();
    }
    let open = fs::File::options().append(true).open(bed.path("log/open.log.1")).unwrap();
    let ran = bed.run(&["run-now", "pack"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("open.log.1 waits: a program has it open for writing"), "{ran:?}");
    assert!(ran.stdout.contains("fresh.log.1 waits: it was written to "), "{ran:?}");
    assert_eq!(names(&bed), ["old.log.1"]);
    drop(open);
    assert_eq!(bed.run(&["run-now", "pack"]).code, 0);
    assert_eq!(names(&bed).into_iter().collect::<BTreeSet<_>>(), ["old.log.1", "open.log.1"].map(String::from).into());
}

#[test]
fn links_pipes_and_second_names_are_left_out_with_the_reason() {
    let bed = bed("quiet = \"none\"\n");
    bed.file("log/good.log.1", "good\n").file("secret", "secret\n").file("log/two.log.1", "two\n");
    std::os::unix::fs::symlink(bed.path("secret"), bed.path("log/link.log.1")).unwrap();
    fs::hard_link(bed.path("log/two.log.1"), bed.path("another")).unwrap();
    assert!(Command::new("mkfifo").arg(bed.path("log/pipe.log.1")).status().unwrap().success());
    let ended = bed.run_job("pack", AT);
    assert_eq!(ended.outcome, Outcome::Partial, "{ended:?}");
    assert!(ended.notes.iter().any(|note| note.contains("two.log.1 was not archived: it has 2 names")), "{ended:?}");
    assert_eq!(names(&bed), ["good.log.1"]);
}

#[test]
fn a_log_that_changes_while_it_is_packed_costs_only_itself() {
    let large: String = (0..400_000).map(|n| format!("line {n}\n")).collect();
    for change in ["grow", "shrink", "vanish", "link", "fifo"] {
        let bed = bed("quiet = \"none\"\ndate = \"run\"\n");
        bed.file("log/a.log.1", "first\n").file("log/m.log.1", &large).file("log/z.log.1", "last\n");
        let path = bed.path("log/m.log.1");
        let done = AtomicBool::new(false);
        let ended = std::thread::scope(|scope| {
            let running = scope.spawn(|| {
                let ended = bed.run_job("pack", AT);
                done.store(true, Ordering::Relaxed);
                ended
            });
            while !done.load(Ordering::Relaxed) {
                match change {
                    "grow" => fs::File::options().append(true).open(&path).unwrap().write_all(b"more\n").unwrap(),
                    "shrink" => {
                        let file = fs::File::options().write(true).open(&path).unwrap();
                        file.set_len(file.metadata().unwrap().len() * 9 / 10).unwrap();
                    }
                    _ => {
                        let _ = fs::remove_file(&path);
                        if change == "link" {
                            let _ = std::os::unix::fs::symlink("/etc/hostname", &path);
                        } else if change == "fifo" {
                            let _ = Command::new("mkfifo").arg(&path).status();
                        }
                    }
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            running.join().unwrap()
        });
        let found: BTreeMap<String, Vec<u8>> = archived(&bed.path("state/archives")).into_iter().collect();
        assert_eq!(found["a.log.1"], b"first\n", "{change}: {ended:?}");
        assert_eq!(found["z.log.1"], b"last\n", "{change}: {ended:?}");
        let is_ours = |text: &Vec<u8>| match change {
            "grow" => text.starts_with(large.as_bytes()) && text[large.len()..].chunks(5).all(|line| line == b"more\n"),
            _ => !text.is_empty() && large.as_bytes().starts_with(text),
        };
        assert!(found.get("m.log.1").is_none_or(is_ours), "{change}: something else is in the archive");
        assert_eq!(bed.run(&["archive", "verify"]).code, 0);
    }
}

#[test]
fn a_racing_link_swap_never_brings_a_foreign_file_into_an_archive() {
    let bed = bed("quiet = \"none\"\ndate = \"run\"\n");
    bed.file("secret/app.log.1", "SECRET\n");
    fs::create_dir_all(bed.path("log/app")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swapping = {
        let (stop, folder, secret) = (stop.clone(), bed.path("log"), bed.path("secret"));
        std::thread::spawn(move || {
            let mut n = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                // The file is a link to the secret, then the folder is.
                let _ = fs::remove_dir_all(folder.join("app"));
                let _ = fs::create_dir(folder.join("app"));
                let _ = fs::write(folder.join("app/app.log.1"), format!("harmless {n}\n"));
                let _ = fs::remove_file(folder.join("app/app.log.1"));
                let _ = std::os::unix::fs::symlink(secret.join("app.log.1"), folder.join("app/app.log.1"));
                let _ = fs::remove_dir_all(folder.join("app"));
                let _ = std::os::unix::fs::symlink(&secret, folder.join("app"));
                let _ = fs::remove_file(folder.join("app"));
            }
        })
    };
    // As long as the full length asks for: a minute.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(sequences(5).min(60));
    let mut runs = 0;
    while std::time::Instant::now() < until {
        bed.run_job("pack", AT);
        runs += 1;
    }
    stop.store(true, Ordering::Relaxed);
    swapping.join().unwrap();
    let found = archived(&bed.path("state/archives"));
    let foreign: Vec<_> = found.iter().filter(|(_, text)| !text.starts_with(b"harmless")).collect();
    assert!(foreign.is_empty(), "after {runs} runs: {foreign:?}");
}

#[test]
fn logs_of_other_hosts_lie_under_their_host_and_date() {
    let bed = bed("quiet = \"none\"\n");
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*/*.log\"]\nhost_pattern = '/log/([^/]+)/'\n");
    let line = |day: u32| format!("192.0.2.1 - - [{day}/Oct/2026:23:30:00 +0000] \"GET / HTTP/1.1\" 200 1\n");
    bed.file("log/web02/a.log.1", &line(19)).file("log/web02/a.log.2", &line(18)).file("log/web01/a.log.1", &line(19));
    bed.file("log/web01/b.log.1", "no time at all\n");
    let changed = chrono::DateTime::parse_from_rfc3339("2026-09-01T12:00:00Z").unwrap();
    fs::File::options().append(true).open(bed.path("log/web01/b.log.1")).unwrap().set_modified(changed.into()).unwrap();
    bed.run_job("pack", AT);
    let store = bed.path("state/archives");
    let shelf = Shelf::look(&store);
    let found: Vec<String> =
        shelf.archives.iter().map(|path| path.strip_prefix(&store).unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(
        found,
        [
            "web01/logs/2026/09/web01-logs-2026-09-01.tar.gz",
            "web01/logs/2026/10/web01-logs-2026-10-19.tar.gz",
            "web02/logs/2026/10/web02-logs-2026-10-18.tar.gz",
            "web02/logs/2026/10/web02-logs-2026-10-19.tar.gz",
        ]
    );
    assert_eq!(bed.run_job("pack", AT).summary, "nothing new to archive");
}

#[test]
fn the_date_is_that_of_the_jobs_zone() {
    let bed = bed("quiet = \"none\"\n");
    let job = fs::read_to_string(bed.path("jobs/pack.toml")).unwrap();
    bed.file("jobs/pack.toml", &format!("schedule = \"@daily\"\nzone = \"Asia/Tokyo\"\n{job}"));
    bed.file("log/a.log.1", "192.0.2.1 - - [19/Oct/2026:23:30:00 +0000] \"GET / HTTP/1.1\" 200 1\n");
    bed.run_job("pack", AT);
    assert!(bed.path("state/archives/web1/logs/2026/10/web1-logs-2026-10-20.tar.gz").exists());
}

#[test]
fn rules_let_old_archives_go_but_nothing_that_is_held_and_not_the_newest() {
    let bed = bed("quiet = \"none\"\n[archive.keep]\ndaily = 2\n");
    for day in 10..16 {
        let line = format!("192.0.2.1 - - [{day}/Nov/2026:10:00:00 +0000] \"GET /{day} HTTP/1.1\" 200 1\n");
        bed.file(&format!("log/a.log.{}", 20 - day), &line);
    }
    let job = fs::read_to_string(bed.path("jobs/pack.toml")).unwrap();
    bed.file("jobs/pack.toml", &job.replace("[archive.keep]\ndaily = 2\n", ""));
    bed.run_job("pack", AT);
    bed.file("jobs/pack.toml", &job);
    let held = bed.run(&["archive", "hold", "add", "web1-logs-2026-11-11", "--why", "lawsuit"]);
    assert_eq!(held.code, 0, "{held:?}");
    let dry = bed.run(&["archive", "prune", "--dry-run"]);
    assert!(dry.stdout.contains("on hold: lawsuit"), "{dry:?}");
    assert!(dry.stdout.contains("no rule keeps it") && dry.stdout.contains("the newest of its source"), "{dry:?}");
    let left = || -> Vec<String> {
        let shelf = Shelf::look(&bed.path("state/archives"));
        assert_eq!(shelf.leftovers, Vec::<std::path::PathBuf>::new());
        shelf
            .archives
            .iter()
            .map(|path| path.to_string_lossy().rsplit_once("-11-").unwrap().1[..2].to_owned())
            .collect()
    };
    assert_eq!(left(), ["10", "11", "12", "13", "14", "15"], "a dry run changes nothing");

    // The newest one is damaged: nothing goes.
    let newest = bed.path("state/archives/web1/logs/2026/11/web1-logs-2026-11-15.tar.gz");
    let whole = fs::read(&newest).unwrap();
    let mut broken = whole.clone();
    broken[whole.len() / 2] ^= 1;
    fs::write(&newest, &broken).unwrap();
    let ended = bed.run_job("pack", AT);
    assert!(
        ended.outcome == Outcome::Partial && ended.notes.iter().any(|note| note.contains("no archive of web1's logs"))
    );
    assert_eq!(left().len(), 6);

    // The clock went back: nothing goes. The log of the damaged archive is still there and is packed again.
    let ended = bed.run_job("pack", "2026-11-20T03:30:00Z");
    assert!(ended.notes.iter().any(|note| note.contains("the clock goes wrong")), "{ended:?}");
    assert_eq!(left(), ["10", "11", "12", "13", "14", "15", "15"]);

    let ended = bed.run_job("pack", AT);
    assert!(ended.notes.iter().any(|note| note == "removed 3 archives that no rule keeps"), "{ended:?}");
    assert_eq!(left(), ["11", "14", "15", "15"]);
    assert_eq!(bed.run_job("pack", AT).summary, "nothing new to archive", "what was let go is not archived again");
    assert_eq!(bed.run(&["archive", "hold", "rm", "web1-logs-2026-11-11"]).code, 0);
    let pruned = bed.run(&["archive", "prune"]);
    assert!(pruned.code == 0 && pruned.stdout.contains("removed 1 archive"), "{pruned:?}");
    assert_eq!(left(), ["14", "15", "15"]);
}

#[test]
fn a_catalogue_comes_back_from_the_store_alone() {
    let bed = bed("quiet = \"none\"\ndate = \"run\"\n");
    bed.file("log/a.log.1", "one\n").bytes("log/a.log.2.gz", &gzip(b"two\n"));
    bed.run_job("pack", AT);
    let manifest = bed.path("state/archives/web1/logs/2026/11/web1-logs-2026-11-21.tar.gz.manifest.json");
    let archive = bed.path("state/archives/web1/logs/2026/11/web1-logs-2026-11-21.tar.gz");
    let before = read_manifest(&archive).unwrap();
    for lose_manifest in [false, true] {
        for file in ["state/logkeeper.db", "state/logkeeper.db-wal", "state/logkeeper.db-shm"] {
            let _ = fs::remove_file(bed.path(file));
        }
        if lose_manifest {
            fs::remove_file(&manifest).unwrap();
        }
        let ran = bed.run(&["archive", "reindex"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains("1 archive put on record"), "{ran:?}");
        assert_eq!(bed.run(&["archive", "verify"]).code, 0);
        assert_eq!(bed.run_job("pack", "2026-11-22T03:30:00Z").summary, "nothing new to archive");
        let after = read_manifest(&archive).unwrap();
        let known = |entry: &logkeeper::model::ArchiveEntry| {
            let members = entry.members.iter().map(|member| {
                let digests = (member.sha256.clone(), member.content_sha256.clone(), member.head_sha256.clone());
                (member.name.clone(), digests, member.blocks.clone(), member.modified)
            });
            members.collect::<Vec<_>>()
        };
        assert_eq!(known(&after), known(&before));
        assert_eq!((&after.host, &after.source, &after.date), (&before.host, &before.source, &before.date));
    }
    fs::remove_file(&archive).unwrap();
    assert_eq!(bed.run(&["archive", "reindex"]).code, 1, "what is not there may be on a disk that is not mounted");
    let ran = bed.run(&["archive", "reindex", "--forget"]);
    assert!(ran.stdout.contains("1 forgotten"), "{ran:?}");
    assert_eq!(bed.run_job("pack", AT).summary, "2 logs archived in 1 archive, verified");
}

#[test]
fn a_verify_job_finds_damage_and_takes_turns() {
    let bed = bed("quiet = \"none\"\n");
    bed.file("jobs/check.toml", "[verify]\nshare = \"50%\"\n");
    for day in 10..14 {
        let line = format!("192.0.2.1 - - [{day}/Nov/2026:10:00:00 +0000] \"GET /{day} HTTP/1.1\" 200 1\n");
        bed.file(&format!("log/a.log.{}", 20 - day), &line);
    }
    bed.run_job("pack", "2026-11-20T03:30:00Z");
    let whole = bed.run_job("check", "2026-11-20T04:00:00Z");
    assert_eq!((whole.outcome, whole.summary.as_str()), (Outcome::Succeeded, "2 archives verified, all whole"));
    let bad = bed.path("state/archives/web1/logs/2026/11/web1-logs-2026-11-12.tar.gz");
    let mut bytes = fs::read(&bad).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&bad, bytes).unwrap();
    let second = bed.run_job("check", "2026-11-20T05:00:00Z");
    assert_eq!(
        (second.outcome, second.summary.as_str()),
        (Outcome::Failed, "1 of 2 archives damaged"),
        "the other half's turn"
    );
    assert!(second.notes[0].contains("web1-logs-2026-11-12.tar.gz does not hold"), "{second:?}");
    assert!(bed.run(&["archive", "list"]).stdout.contains("DAMAGED"));
}

/// A log and what rotates it, by lot; every line is another.
struct Rotating {
    folder: std::path::PathBuf,
    written: usize,
    dates: u32,
}

impl Rotating {
    fn numbered(&self, n: usize, gz: bool) -> std::path::PathBuf {
        self.folder.join(format!("app.log.{n}{}", if gz { ".gz" } else { "" }))
    }

    fn write(&mut self, lines: usize) {
        let mut file = fs::File::options().create(true).append(true).open(self.folder.join("app.log")).unwrap();
        for _ in 0..lines {
            writeln!(file, "2026-11-20T10:00:00Z web1 app[1]: line {}", self.written).unwrap();
            self.written += 1;
        }
    }

    fn shift(&self) {
        for n in (1..30).rev() {
            for gz in [true, false] {
                if self.numbered(n, gz).exists() {
                    fs::rename(self.numbered(n, gz), self.numbered(n + 1, gz)).unwrap();
                }
            }
        }
    }

    fn compress(&self, path: &Path) {
        if let Ok(text) = fs::read(path) {
            let mut name = path.as_os_str().to_owned();
            name.push(".gz");
            fs::write(name, gzip(&text)).unwrap();
            fs::remove_file(path).unwrap();
        }
    }

    fn step(&mut self, random: &mut Random) {
        let live = self.folder.join("app.log");
        match random.below(6) {
            0 | 1 => self.write(1 + random.below(40)),
            // Renamed; with delaycompress the one before is compressed.
            2 if live.exists() => {
                self.shift();
                fs::rename(&live, self.numbered(1, false)).unwrap();
                if random.below(2) == 0 {
                    self.compress(&self.numbered(2, false));
                } else if random.below(2) == 0 {
                    self.compress(&self.numbered(1, false));
                }
            }
            3 if live.exists() => {
                self.dates += 1;
                let dated = self.folder.join(format!("app.log-{}", 20_261_100 + self.dates));
                fs::rename(&live, &dated).unwrap();
                if random.below(2) == 0 {
                    self.compress(&dated);
                }
            }
            // Copied and truncated.
            4 if live.exists() => {
                self.shift();
                fs::copy(&live, self.numbered(1, false)).unwrap();
                fs::File::options().write(true).open(&live).unwrap().set_len(0).unwrap();
            }
            5 => self.compress(&self.numbered(1 + random.below(4), false)),
            _ => {}
        }
    }
}

#[test]
fn any_way_of_rotating_archives_every_line_once() {
    for seed in 0..sequences(25).min(1000) {
        let mut random = Random(seed);
        let more = if seed % 3 == 0 { "remove_originals = true\n" } else { "" };
        let bed = bed(&format!("quiet = \"none\"\n{more}"));
        fs::create_dir_all(bed.path("log")).unwrap();
        let mut log = Rotating { folder: bed.path("log"), written: 0, dates: 0 };
        for _ in 0..30 {
            log.step(&mut random);
            if random.below(5) == 0 {
                let ended = bed.run_job("pack", AT);
                assert_eq!(ended.outcome, Outcome::Succeeded, "seed {seed}: {ended:?}");
            }
        }
        log.write(1);
        log.shift();
        fs::rename(bed.path("log/app.log"), log.numbered(1, false)).unwrap();
        bed.run_job("pack", AT);
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (_, text) in archived(&bed.path("state/archives")) {
            for line in String::from_utf8(text).unwrap().lines() {
                *seen.entry(line.rsplit(' ').next().unwrap().to_owned()).or_default() += 1;
            }
        }
        let want: BTreeMap<String, usize> = (0..log.written).map(|n| (n.to_string(), 1)).collect();
        assert!(
            seen == want,
            "seed {seed}: {} lines of {}, some {:?} times",
            seen.len(),
            log.written,
            seen.values().max()
        );
    }
}

#[test]
fn an_original_stays_where_its_archive_does_not_hold_or_somebody_still_needs_it() {
    let bed = bed("quiet = \"none\"\ndate = \"run\"\n");
    bed.main("[sources.logs]\nfiles = [\"DIR/log/**/*.log\"]\n[sources.app]\nfiles = [\"DIR/log/app.log\"]\n");
    bed.file("log/app.log.1", "one\n");
    bed.run_job("pack", AT);
    let archive = bed.path("state/archives/web1/logs/2026/11/web1-logs-2026-11-21.tar.gz");
    let whole = fs::read(&archive).unwrap();
    let mut broken = whole.clone();
    broken[whole.len() / 2] ^= 1;
    fs::write(&archive, &broken).unwrap();
    let job = fs::read_to_string(bed.path("jobs/pack.toml")).unwrap();
    bed.file("jobs/pack.toml", &format!("{job}remove_originals = true\n"));
    let ended = bed.run_job("pack", AT);
    assert!(ended.outcome == Outcome::Partial && bed.path("log/app.log.1").exists(), "{ended:?}");
    fs::write(&archive, &whole).unwrap();

    // A scan of another source and another archive job read the same file.
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"app\"]\nrules = [\"failed-logins\"]\n");
    let ended = bed.run_job("pack", "2026-11-22T03:30:00Z");
    assert!(ended.notes.iter().any(|note| note.contains("stays until job scan has read it")), "{ended:?}");
    bed.run_job("scan", "2026-11-22T04:00:00Z");
    bed.file(
        "jobs/copy.toml",
        "[archive]\nsources = [\"logs\"]\nstore = \"DIR/second\"\nquiet = \"none\"\ndate = \"run\"\n",
    );
    let ended = bed.run_job("pack", "2026-11-23T03:30:00Z");
    assert!(ended.notes.iter().any(|note| note.contains("stays until job copy has archived it")), "{ended:?}");
    assert_eq!(
        bed.run_job("copy", "2026-11-23T04:00:00Z").summary,
        "1 log archived in 1 archive, verified",
        "its own store"
    );
    bed.run_job("pack", "2026-11-24T03:30:00Z");
    assert!(!bed.path("log/app.log.1").exists());
}

#[test]
fn an_empty_store_and_one_in_another_are_refused_with_the_way_out() {
    let bed = bed("quiet = \"none\"\n");
    bed.file("log/a.log.1", "one\n").file("jobs/pack.toml", &fs::read_to_string(bed.path("jobs/pack.toml")).unwrap());
    bed.run_job("pack", AT);
    fs::rename(bed.path("state/archives/web1"), bed.path("elsewhere")).unwrap();
    let ran = bed.run(&["run-now", "pack"]);
    assert!(ran.code == 1 && ran.stdout.contains("is its disk mounted?"), "{ran:?}");
    fs::rename(bed.path("elsewhere"), bed.path("state/archives/web1")).unwrap();
    bed.file("jobs/inner.toml", "[archive]\nsources = [\"logs\"]\nstore = \"DIR/state/archives/web1\"\n");
    let ran = bed.run(&["run-now", "pack"]);
    assert!(ran.code == 1 && ran.stdout.contains("lie in one another"), "{ran:?}");
}

#[test]
fn other_files_in_a_store_and_archives_of_both_kinds_are_left_alone() {
    let bed = bed("quiet = \"none\"\ndate = \"run\"\n");
    bed.file("state/archives/site/webpack.manifest.json", "{}").file("state/archives/.rsync.partial", "x");
    bed.file("state/archives/dump.tar.gz", "x").file("log/a.log.1", "one\n");
    bed.run_job("pack", AT);
    let job = fs::read_to_string(bed.path("jobs/pack.toml")).unwrap();
    bed.file("jobs/pack.toml", &format!("{job}compression = \"zstd\"\n")).file("log/b.log.1", "two\n");
    let ended = bed.run_job("pack", AT);
    assert_eq!(ended.outcome, Outcome::Succeeded, "{ended:?}");
    assert_eq!(bed.run(&["archive", "verify"]).code, 0);
    let ambiguous = bed.run(&["archive", "cat", "web1-logs-2026-11-21"]);
    assert!(ambiguous.code == 2 && ambiguous.stderr.contains("2 archives are called"), "{ambiguous:?}");
    for file in ["site/webpack.manifest.json", ".rsync.partial", "dump.tar.gz"] {
        assert!(bed.path("state/archives").join(file).exists(), "{file}");
    }
}

#[test]
fn a_dry_run_works_beside_logs_that_were_renamed() {
    let bed = bed("quiet = \"none\"\n");
    bed.file("log/a.log.1", "one\n");
    bed.run_job("pack", AT);
    fs::rename(bed.path("log/a.log.1"), bed.path("log/a.log.2")).unwrap();
    let ran = bed.run(&["run-now", "pack", "--dry-run"]);
    assert!(ran.code == 0 && ran.stdout.contains("every rotated log is in an archive"), "{ran:?}");
}

#[test]
fn a_time_from_the_future_in_a_log_dates_no_archive() {
    let bed = bed("quiet = \"none\"\n");
    bed.file("log/a.log.1", "2099-01-01T00:00:00Z web1 app[1]: hello\n");
    let changed = chrono::DateTime::parse_from_rfc3339("2026-11-20T12:00:00Z").unwrap();
    fs::File::options().append(true).open(bed.path("log/a.log.1")).unwrap().set_modified(changed.into()).unwrap();
    bed.run_job("pack", AT);
    let found = Shelf::look(&bed.path("state/archives")).archives;
    assert!(found[0].ends_with("2026/11/web1-logs-2026-11-21.tar.gz"), "{found:?}");
}
