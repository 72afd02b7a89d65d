//! However the same logs are cut into runs, rotated and compressed on the way, the findings are the same.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use logkeeper::model::{About, StoredFinding};
use logkeeper::store::FindingFilter;

use crate::support::{self, TestBed};

const AT: &str = "2026-11-21T12:00:00Z";
const JOB: &str = "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\", \"failed-logins-account\", \"error-spikes\", \"urgent-lines\"]\nalert = [\"admins\"]\n";

/// A small generator of random numbers; the seed is printed when a test fails.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit.max(1) as u64) as usize
    }
}

fn bed() -> TestBed {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n").file("jobs/scan.toml", JOB);
    std::fs::create_dir_all(bed.path("log")).unwrap();
    bed
}

/// Everything that must not depend on cuts: findings without their places, and tallies.
fn results(bed: &TestBed) -> Vec<String> {
    let store = bed.store();
    let mut all: Vec<String> = store
        .findings(&FindingFilter::default())
        .unwrap()
        .into_iter()
        .map(|s| {
            let f = s.finding;
            let texts: Vec<String> = f.evidence.into_iter().map(|e| e.text).collect();
            format!(
                "{} {:?} {} {} {} {} {:?} {:?} {} {texts:?}",
                f.rule, f.subject, f.count, f.first, f.last, f.reached, f.breach, f.note, f.can_wait
            )
        })
        .collect();
    let (from, to) = ("2000-01-01T00:00:00Z".parse().unwrap(), "2100-01-01T00:00:00Z".parse().unwrap());
    all.extend(store.tallies(from, to).unwrap().into_iter().map(|t| format!("{} {:?}", t.bucket, t.tally)));
    all.sort();
    all
}

pub fn rotate(folder: &Path, name: &str, random: &mut Random) {
    let numbered = |n: usize, gz: bool| folder.join(format!("{name}.{n}{}", if gz { ".gz" } else { "" }));
    for n in (1..40).rev() {
        for gz in [true, false] {
            if numbered(n, gz).exists() {
                std::fs::rename(numbered(n, gz), numbered(n + 1, gz)).unwrap();
            }
        }
    }
    if random.below(3) == 0 {
        // copytruncate
        std::fs::copy(folder.join(name), numbered(1, false)).unwrap();
        std::fs::File::options().write(true).open(folder.join(name)).unwrap().set_len(0).unwrap();
    } else {
        std::fs::rename(folder.join(name), numbered(1, false)).unwrap();
        if random.below(2) == 0 {
            std::fs::write(folder.join(name), b"").unwrap();
        }
    }
    for n in 1..40 {
        if numbered(n, false).exists() && random.below(2) == 0 {
            let mut encoder = GzEncoder::new(std::fs::File::create(numbered(n, true)).unwrap(), Compression::new(1));
            encoder.write_all(&std::fs::read(numbered(n, false)).unwrap()).unwrap();
            encoder.finish().unwrap();
            std::fs::remove_file(numbered(n, false)).unwrap();
        }
    }
}

/// Writes a text piece by piece, with scans in between, and rotations at line ends.
fn feed_in_pieces(bed: &TestBed, logs: &[(&str, &[u8])], random: &mut Random) {
    let mut left: Vec<(&str, &[u8])> = logs.to_vec();
    while left.iter().any(|(_, rest)| !rest.is_empty()) {
        for (name, rest) in &mut left {
            let whole = rest.len();
            let mut cut = random.below(whole / 3 + 4000).min(whole);
            let rotates = random.below(3) == 0;
            if rotates {
                // A log is rotated between two lines.
                cut = memchr::memchr(b'\n', &rest[cut..]).map_or(whole, |at| cut + at + 1);
            }
            let (piece, later) = rest.split_at(cut);
            *rest = later;
            let path = bed.path("log").join(*name);
            std::fs::File::options().append(true).create(true).open(&path).unwrap().write_all(piece).unwrap();
            if random.below(2) == 0 {
                bed.run_job("scan", AT);
            }
            if rotates && !later.is_empty() {
                rotate(&bed.path("log"), name, random);
            }
        }
    }
    bed.run_job("scan", AT);
}

pub fn assert_cuts_change_nothing(logs: &[(&str, &[u8])], seeds: std::ops::Range<u64>) {
    assert_cuts_change_nothing_with(&|_| {}, logs, seeds);
}

/// The same, with a configuration that `prepare` changes.
pub fn assert_cuts_change_nothing_with(
    prepare: &impl Fn(&TestBed),
    logs: &[(&str, &[u8])],
    seeds: std::ops::Range<u64>,
) {
    let whole = bed();
    prepare(&whole);
    for (name, text) in logs {
        whole.bytes(&format!("log/{name}"), text);
    }
    whole.run_job("scan", AT);
    let want = results(&whole);
    assert!(want.len() > 5, "too little to compare: {want:?}");
    for seed in seeds {
        let pieces = bed();
        prepare(&pieces);
        feed_in_pieces(&pieces, logs, &mut Random(seed));
        let got = results(&pieces);
        let missing: Vec<_> = want.iter().filter(|line| !got.contains(line)).collect();
        let extra: Vec<_> = got.iter().filter(|line| !want.contains(line)).collect();
        assert!(missing.is_empty() && extra.is_empty(), "seed {seed}\nmissing {missing:#?}\nextra {extra:#?}");
        pieces.run_job("scan", AT);
        assert_eq!(results(&pieces), got, "an idle scan changed something");
    }
}

#[test]
fn made_up_logs_give_the_same_however_they_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    logkeeper::demo::write_logs(folder.path(), AT.parse().unwrap(), chrono_tz::UTC).unwrap();
    let mut auth = Vec::new();
    for name in ["auth.log.4.gz", "auth.log.3.gz", "auth.log.2.gz", "auth.log.1", "auth.log"] {
        let mut lines = logkeeper::logs::Lines::open(&folder.path().join(name)).unwrap();
        while let Some(block) = lines.next_block() {
            auth.extend_from_slice(block);
        }
    }
    let access = std::fs::read(folder.path().join("apache2/access.log.1")).unwrap();
    let urgent: String = (0..6).map(|n| format!("Nov 20 10:0{n}:00 web1 app[1]: Urgent log detected {n}\n")).collect();
    assert_cuts_change_nothing(&[("auth.log", &auth), ("access.log", &access), ("app.log", urgent.as_bytes())], 0..12);
}

#[test]
fn real_logs_give_the_same_however_they_are_cut() {
    let Some(shared) = support::shared() else {
        return support::skip("real_logs_give_the_same_however_they_are_cut", "../shared");
    };
    let read = |name: &str| std::fs::read(shared.join("corpora").join(name)).unwrap();
    let (auth, access) = (read("loghub/OpenSSH_2k.log"), read("elastic-apache/apache_logs"));
    assert_cuts_change_nothing(&[("auth.log", &auth)], 100..108);
    assert_cuts_change_nothing(&[("access.log", &access)], 200..208);
    assert_cuts_change_nothing(&[("access.log", &access), ("auth.log", &auth)], 300..306);
}

#[test]
fn a_window_of_exactly_thirty_minutes_counts_and_a_second_more_does_not() {
    let bed = bed();
    let start: chrono::DateTime<chrono::Utc> = "2026-11-20T10:00:00Z".parse().unwrap();
    let mut text = String::new();
    for (address, span) in [("198.51.100.1", 1800), ("198.51.100.2", 1801)] {
        for n in 0..5 {
            let at = start + chrono::TimeDelta::seconds(if n == 4 { span } else { n * 60 });
            let stamp = at.format("%b %e %H:%M:%S");
            text.push_str(&format!(
                "{stamp} web1 sshd[{}]: Failed password for root from {address} port 1 ssh2\n",
                100 + n
            ));
        }
    }
    bed.file("log/auth.log", &text);
    bed.run_job("scan", AT);
    let found = bed
        .store()
        .findings(&FindingFilter { rule: Some("failed-logins".into()), ..FindingFilter::default() })
        .unwrap();
    let subjects: Vec<String> = found.iter().map(|f| f.finding.subject_words()).collect();
    assert_eq!(subjects, ["198.51.100.1"]);
    assert_eq!(found[0].finding.reached, start.timestamp() + 1800);
}

#[test]
fn an_unreadable_and_a_damaged_file_make_the_run_partial_and_cost_only_themselves() {
    let bed = bed();
    let line = "Nov 20 10:00:00 web1 sshd[1]: Failed password for root from 198.51.100.1 port 1 ssh2\n";
    bed.file("log/good.log", &line.repeat(6));
    bed.bytes("log/bad.log.1.gz", &[0x1f, 0x8b, 8, 0, 1, 2, 3]);
    std::os::unix::fs::symlink("/nonexistent", bed.path("log/link.log")).unwrap();
    let first = bed.run_job("scan", AT);
    assert_eq!(first.outcome, logkeeper::model::Outcome::Partial);
    assert!(first.notes.iter().any(|note| note.contains("bad.log.1.gz is damaged")), "{:?}", first.notes);
    assert!(first.summary.contains("new finding"), "{}", first.summary);
    let second = bed.run_job("scan", AT);
    assert_eq!(second.outcome, logkeeper::model::Outcome::Succeeded, "damage is told once: {:?}", second.notes);
}

fn failures(range: std::ops::Range<u32>) -> String {
    let line = |n| {
        format!("Nov 20 10:00:{n:02} web1 sshd[{}]: Failed password for root from 198.51.100.1 port 1 ssh2\n", 100 + n)
    };
    range.map(line).collect()
}

fn append(bed: &TestBed, name: &str, text: &str) {
    let path = bed.path("log").join(name);
    std::fs::File::options().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Appends to a log and scans it.
fn grow(bed: &TestBed, name: &str, text: &str) {
    append(bed, name, text);
    bed.run_job("scan", AT);
}

fn counts(bed: &TestBed) -> Vec<u64> {
    let filter = FindingFilter { rule: Some("failed-logins".into()), ..FindingFilter::default() };
    bed.store().findings(&filter).unwrap().iter().map(|f| f.finding.count).collect()
}

#[test]
fn a_log_that_lies_there_twice_is_read_once() {
    let bed = bed();
    bed.file("log/auth.log.1", &failures(0..4)).file("log/auth.log", "");
    bed.run_job("scan", AT);
    // As while logrotate compresses: both names at once.
    let mut encoder =
        GzEncoder::new(std::fs::File::create(bed.path("log/auth.log.1.gz")).unwrap(), Compression::new(1));
    encoder.write_all(failures(0..4).as_bytes()).unwrap();
    encoder.finish().unwrap();
    bed.run_job("scan", AT);
    assert_eq!(counts(&bed), Vec::<u64>::new());
    std::fs::remove_file(bed.path("log/auth.log.1")).unwrap();
    bed.run_job("scan", AT);
    // As while a log is being copied and truncated, with lines not read yet.
    grow(&bed, "auth.log", &failures(4..20));
    append(&bed, "auth.log", &failures(20..25));
    std::fs::copy(bed.path("log/auth.log"), bed.path("log/auth.log.0")).unwrap();
    bed.run_job("scan", AT);
    assert_eq!(counts(&bed), [25]);
    std::fs::File::options().write(true).open(bed.path("log/auth.log")).unwrap().set_len(0).unwrap();
    grow(&bed, "auth.log", &failures(25..30));
    bed.run_job("scan", AT);
    assert_eq!(counts(&bed), [30]);
}

#[test]
fn two_copies_met_for_the_first_time_count_once() {
    let bed = bed();
    bed.file("log/auth.log.1", &failures(0..7)).file("log/auth.log.2", &failures(0..7));
    bed.run_job("scan", AT);
    bed.run_job("scan", AT);
    assert_eq!(counts(&bed), [7]);
}

#[test]
fn a_live_log_that_begins_like_an_older_one_is_read() {
    let bed = bed();
    bed.file("log/auth.log.1", &failures(0..7)).file("log/auth.log", &failures(0..1));
    bed.run_job("scan", AT);
    assert_eq!(counts(&bed), [8]);
}

#[test]
fn somebody_who_got_in_is_found_however_the_log_is_cut() {
    let pam = |n: u32| {
        format!(
            "Nov 20 10:00:{n:02} web1 sshd[{}]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=198.51.100.1  user=root\n",
            100 + n
        )
    };
    let failed: String = (0..6).map(pam).collect();
    let accepted = "Nov 20 10:08:00 web1 sshd[200]: Accepted password for root from 198.51.100.1 port 1 ssh2\n";
    let breached = |pieces: &[&str]| {
        let bed = bed();
        for piece in pieces {
            grow(&bed, "auth.log", piece);
        }
        let filter = FindingFilter { rule: Some("failed-logins".into()), ..FindingFilter::default() };
        let found = bed.store().findings(&filter).unwrap();
        let last = |f: &StoredFinding| f.finding.evidence.last().map(|evidence| evidence.text.clone());
        let told = |f| (last(f), f.finding.evidence.len(), f.finding.breach.as_ref().map(|breach| breach.user.clone()));
        found.iter().map(told).collect::<Vec<_>>()
    };
    let want = vec![(Some(accepted.trim_end().to_owned()), 4, Some("root".to_owned()))];
    assert_eq!(breached(&[&(failed.clone() + accepted)]), want);
    assert_eq!(breached(&[&failed, accepted]), want);
}

#[test]
fn an_unfinished_line_counts_no_attempt_twice() {
    let bed = bed();
    let invalid = "Nov 20 10:01:00 web1 sshd[200]: Invalid user x from 198.51.100.1 port 1\n";
    let unfinished = "Nov 20 10:01:02 web1 sshd[200]: Failed password for invalid user x from 198.51.100.1 port 1 ssh2";
    grow(&bed, "auth.log", &(failures(0..3) + invalid + unfinished));
    assert_eq!(counts(&bed), Vec::<u64>::new(), "four attempts are no finding");
    grow(&bed, "auth.log", &("\n".to_owned() + &failures(10..11)));
    assert_eq!(counts(&bed), [5]);
}

#[test]
fn a_file_counts_once_by_whatever_names_it_is_found() {
    let bed = bed();
    append(&bed, "auth.log", &failures(0..3));
    std::fs::hard_link(bed.path("log/auth.log"), bed.path("log/other.log")).unwrap();
    std::fs::copy(bed.path("log/auth.log"), bed.path("log/.auth.log.Xy12ab")).unwrap();
    bed.main(
        "[sources.logs]\nfiles = [\"DIR/log/*\", \"DIR/log/../log/auth.log\"]\n[sources.again]\nfiles = [\"DIR/log/au*.log\", \"DIR/log/../log/*.log\"]\n",
    );
    bed.file("jobs/scan.toml", &JOB.replace("[\"logs\"]", "[\"logs\", \"again\"]"));
    let ended = bed.run_job("scan", AT);
    assert_eq!(counts(&bed), Vec::<u64>::new(), "{ended:?}");
    assert!(ended.notes.iter().any(|note| note.contains("once more, and is read once")), "{ended:?}");
    grow(&bed, "auth.log", &failures(3..5));
    assert_eq!(counts(&bed), [5]);
}

#[test]
fn a_log_that_gets_a_name_of_its_own_when_it_is_rotated_is_not_read_again() {
    let bed = bed();
    grow(&bed, "auth.log", &failures(0..3));
    for name in ["auth-20261120.log", "auth.1.log"] {
        std::fs::rename(bed.path("log/auth.log"), bed.path("log").join(name)).unwrap();
        grow(&bed, "auth.log", "");
        assert_eq!(counts(&bed), Vec::<u64>::new(), "{name}");
        // What its writer added meanwhile.
        std::fs::rename(bed.path("log").join(name), bed.path("log/auth.log")).unwrap();
    }
    grow(&bed, "auth.log", &failures(3..5));
    assert_eq!(counts(&bed), [5]);
}

#[test]
fn a_log_that_is_compressed_under_a_name_of_its_own_is_not_read_again() {
    let bed = bed();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n");
    append(&bed, "auth.log", &failures(0..3));
    grow(&bed, "other.log", &failures(0..1));
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all((failures(0..3) + &failures(3..4)).as_bytes()).unwrap();
    std::fs::write(bed.path("log/auth-20261120.log.gz"), packer.finish().unwrap()).unwrap();
    std::fs::remove_file(bed.path("log/auth.log")).unwrap();
    grow(&bed, "auth.log", "Nov 20 10:01:00 web1 CRON[1]: (root) CMD (true)\n");
    assert_eq!(counts(&bed), [5], "three, one of the other log, and what was written before it was compressed");
}

#[test]
fn a_log_that_is_copied_to_a_name_of_its_own_and_emptied_is_not_read_again() {
    for is_read_between in [false, true] {
        let bed = bed();
        grow(&bed, "auth.log", &failures(0..3));
        std::fs::copy(bed.path("log/auth.log"), bed.path("log/auth-20261127.log")).unwrap();
        if is_read_between {
            bed.run_job("scan", AT);
        }
        std::fs::write(bed.path("log/auth.log"), "").unwrap();
        bed.run_job("scan", AT);
        assert_eq!(counts(&bed), Vec::<u64>::new());
        grow(&bed, "auth.log", &failures(3..5));
        assert_eq!(counts(&bed), [5]);
    }
}

#[test]
fn an_attempt_of_a_host_that_is_late_counts_once_and_others_settle_as_ever() {
    let bed = bed();
    let at =
        |hour: u32, second: u32, host: &str, said: &str| format!("Nov 20 {hour:02}:00:{second:02} {host} {said}\n");
    let told = "sshd[7]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.50  user=eve";
    let failed = "sshd[7]: Failed password for eve from 192.0.2.50 port 22 ssh2";
    for attempt in 0..3 {
        append(&bed, "auth.log", &at(12, attempt * 10, "web1", "CRON[1]: (root) CMD (true)"));
        grow(&bed, "auth.log", &at(3, attempt * 10 + 1, "web2", told));
        grow(&bed, "auth.log", &at(3, attempt * 10 + 3, "web2", failed));
    }
    assert_eq!(counts(&bed), Vec::<u64>::new(), "three attempts are no finding");
}

#[test]
fn copies_that_are_made_again_and_again_without_truncating_count_once() {
    let bed = bed();
    for round in 0..5_u32 {
        grow(&bed, "auth.log", &failures(round..round + 1));
        for n in (1..5).rev() {
            let [from, to] = [n, n + 1].map(|n| bed.path("log").join(format!("auth.log.{n}")));
            let _ = std::fs::rename(from, to);
        }
        std::fs::copy(bed.path("log/auth.log"), bed.path("log/auth.log.1")).unwrap();
        bed.run_job("scan", AT);
        assert_eq!(counts(&bed), if round < 4 { vec![] } else { vec![5] }, "round {round}");
    }
}

#[test]
fn what_comes_much_too_late_beside_what_was_settled_takes_nothing_from_it() {
    for (first, second) in [((0, 10), (10, 25)), ((0, 15), (15, 25))] {
        late_ones_are_found(first, second);
    }
}

/// A line of sshd of 20 November.
fn told(host: &str, minute: u32, outcome: &str) -> String {
    format!(
        "Nov 20 10:{minute:02}:00 {host} sshd[{minute}]: {outcome} password for root from 198.51.100.1 port 1 ssh2\n"
    )
}

/// What is found of an address: how often, how bad, and as whom it got in.
fn in_short(bed: &TestBed) -> Vec<(u64, String, Option<String>)> {
    let filter = FindingFilter { rule: Some("failed-logins".into()), ..FindingFilter::default() };
    let found = bed.store().findings(&filter).unwrap().into_iter().map(|f| f.finding);
    found.map(|f| (f.count, f.severity.to_string(), f.breach.map(|breach| breach.user))).collect()
}

#[test]
fn what_comes_much_too_late_among_what_was_settled_overwrites_no_break_in() {
    let bed = bed();
    let attack: String = (0..10).map(|minute| told("web1", minute, "Failed")).collect();
    grow(&bed, "auth.log", &(attack + &told("web1", 10, "Accepted")));
    grow(&bed, "auth.log", "Nov 21 11:58:00 web1 CRON[1]: (root) CMD (true)\n");
    let late: String = (5..20).map(|minute| told("web2", minute, "Failed")).collect();
    grow(&bed, "auth.log", &late);
    let want = [(15, "critical".to_owned(), Some("root".to_owned()))];
    assert_eq!(in_short(&bed), want);
    grow(&bed, "auth.log", "Nov 21 11:59:00 web1 CRON[1]: (root) CMD (true)\n");
    assert_eq!(in_short(&bed), want);
}

#[test]
fn a_rule_that_is_changed_during_an_attack_forgets_no_break_in_and_no_line_of_one() {
    let bed = bed();
    let attack = |minutes: std::ops::Range<u32>| minutes.map(|n| told("web1", n, "Failed")).collect::<String>();
    grow(&bed, "auth.log", &(attack(0..10) + &told("web1", 10, "Accepted")));
    let rule = std::fs::read_to_string(bed.path("config/rules/failed-logins.toml")).unwrap();
    bed.file("config/rules/failed-logins.toml", &format!("allow = [\"198.51.100.9\"]\n{rule}"));
    for (from, known) in [(11, 10), (17, 12), (23, 18)] {
        append(&bed, "auth.log", &attack(from..from + 6));
        bed.run_job("scan", AT);
        assert_eq!(in_short(&bed), [(known, "critical".to_owned(), Some("root".to_owned()))]);
    }
    append(&bed, "auth.log", &told("web1", 29, "Accepted").replace("root", "backup"));
    bed.run_job("scan", AT);
    let shown = bed.run(&["findings", "show", "1"]).stdout;
    assert!(["root", "backup"].iter().all(|user| shown.contains(&format!("Accepted password for {user}"))), "{shown}");
    // Where everything is read again, nothing is counted twice.
    let database = rusqlite::Connection::open(bed.path("state/logkeeper.db")).unwrap();
    database.execute("DELETE FROM scan_states", []).unwrap();
    for _ in 0..2 {
        bed.run_job("scan", AT);
        assert_eq!(in_short(&bed)[0].0, 28);
    }
}

#[test]
fn of_two_attacks_beside_what_was_counted_before_a_rule_was_changed_both_stay() {
    let bed = bed();
    let shipped = std::fs::read_to_string(bed.path("config/rules/failed-logins.toml")).unwrap();
    let rule = |more: &str| bed.file("config/rules/failed-logins.toml", &format!("merge = \"30m\"\n{more}{shipped}"));
    let line = |minute: u32, second: u32, said: &str| {
        let (hour, minute) = (8 + minute / 60, minute % 60);
        format!(
            "2026-11-21T{hour:02}:{minute:02}:{second:02}Z web1 sshd[{second}]: {said} password for eve from 198.51.100.1 port 1 ssh2\n"
        )
    };
    let failed = |minute: u32, times: u32| (0..times).map(|second| line(minute, second, "Failed")).collect::<String>();
    let nothing = |minute: u32| format!("2026-11-21T09:{minute:02}:00Z web1 cron[1]: hello\n");
    rule("");
    append(&bed, "auth.log", &(0..6).map(|n| failed(5 * n, 1)).collect::<String>());
    bed.run_job("scan", "2026-11-21T08:26:00Z");
    // One of them is settled when it is told, the other one is not.
    rule("allow = [\"192.0.2.99\"]\n");
    append(&bed, "other.log", &(failed(10, 8) + &line(10, 20, "Accepted") + &nothing(0)));
    append(&bed, "auth.log", &(failed(52, 6) + &nothing(0)));
    for minute in 0..3 {
        bed.run_job("scan", &format!("2026-11-21T09:{minute:02}:10Z"));
        assert_eq!(in_short(&bed), [(8, "critical".to_owned(), Some("eve".to_owned()))], "after {minute} minutes");
        append(&bed, "auth.log", &nothing(minute + 1));
    }
}

#[test]
fn what_is_disproved_of_an_attack_leaves_what_was_counted_before_a_rule_was_changed() {
    let bed = bed();
    let failed = |n: u32| told("web1", n, "Failed").replace("Nov 20 10:", "Nov 21 11:");
    grow(&bed, "auth.log", &(40..46).map(failed).collect::<String>());
    let rule = std::fs::read_to_string(bed.path("config/rules/failed-logins.toml")).unwrap();
    bed.file("config/rules/failed-logins.toml", &format!("allow = [\"198.51.100.9\"]\n{rule}"));
    let asked = |n: u32, said: &str| format!("Nov 21 11:{}:00 web1 sshd[{}]: {said}\n", 50 + n, 700 + n);
    let refused = "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=198.51.100.1  user=zoe";
    append(&bed, "auth.log", &(0..8).map(|n| asked(n, refused)).collect::<String>());
    bed.run_job("scan", AT);
    assert_eq!(in_short(&bed), [(8, "high".to_owned(), None)]);
    let accepted = "Accepted password for zoe from 198.51.100.1 port 1 ssh2";
    append(&bed, "auth.log", &(0..8).map(|n| asked(n, accepted)).collect::<String>());
    for _ in 0..2 {
        bed.run_job("scan", AT);
        assert_eq!(in_short(&bed), [(6, "high".to_owned(), None)], "what PAM said was no failure");
    }
}

/// Failures of some minutes, and of others after them, all of a day before.
fn late_ones_are_found(first: (u32, u32), second: (u32, u32)) {
    let bed = bed();
    grow(&bed, "auth.log", "Nov 21 11:00:00 web1 CRON[1]: (root) CMD (true)\n");
    let late = |from: u32, until: u32| {
        let line =
            |n| format!("Nov 20 10:{n:02}:00 web1 sshd[{n}]: Failed password for root from 198.51.100.1 port 1 ssh2\n");
        (from..until).map(line).collect::<String>()
    };
    for (from, until) in [first, second] {
        grow(&bed, "auth.log", &late(from, until));
    }
    let mut counts = counts(&bed);
    counts.sort_unstable();
    let mut want = [first, second].map(|(from, until)| u64::from(until - from));
    want.sort_unstable();
    assert_eq!(counts, want);
}

#[test]
fn a_host_whose_clock_is_an_hour_behind_is_watched_like_the_others() {
    for behind in [14, 60, 23 * 60] {
        let bed = bed();
        let at = |minutes: i64| {
            let noon: chrono::DateTime<chrono::Utc> = "2026-11-20T12:00:00Z".parse().unwrap();
            (noon + chrono::TimeDelta::minutes(minutes)).format("%b %d %H:%M:%S").to_string()
        };
        for run in 0..6 {
            let current = format!("{} web1 CRON[1]: (root) CMD (true)\n", at(run));
            let late = format!(
                "{} web2 sshd[{run}]: Failed password for root from 198.51.100.1 port 1 ssh2\n",
                at(run - behind)
            );
            grow(&bed, "auth.log", &(current + &late));
        }
        assert_eq!(counts(&bed), [6], "{behind} min");
    }
}

#[test]
fn each_job_tells_its_own_recipients() {
    let bed = bed();
    bed.file("jobs/second.toml", &JOB.replace("admins", "book"));
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n[channels.book.file]\npath = \"DIR/book.log\"\n");
    append(&bed, "auth.log", &failures(0..5));
    for job in ["scan", "second", "scan", "second"] {
        bed.run_job(job, AT);
    }
    let told = bed.store().findings(&FindingFilter::default()).unwrap();
    let mut told: Vec<(String, bool)> = told
        .into_iter()
        .filter(|stored| stored.finding.rule == "failed-logins")
        .map(|stored| (stored.job, stored.alerted.is_some()))
        .collect();
    told.sort();
    assert_eq!(told, [("scan".to_owned(), true), ("second".to_owned(), true)]);
}

#[test]
fn what_cannot_be_read_is_no_lack_of_activity_and_its_job_is_in_trouble() {
    let bed = bed();
    grow(&bed, "auth.log", &failures(0..1));
    // Nobody can read a folder as text, whoever he is; its place was a log's.
    std::fs::write(bed.path("log/bad.log.1.gz"), b"\x1f\x8bxxxx").unwrap();
    let ended = bed.run_job("scan", AT);
    assert_eq!(ended.outcome, logkeeper::model::Outcome::Partial);
    assert!(!ended.summary.contains("no activity"), "{ended:?}");
    let status = bed.run(&["status"]);
    assert!(status.stdout.contains("scan: partial"), "{status:?}");
}

#[test]
fn a_job_does_not_read_its_own_records() {
    let bed = bed();
    bed.file("jobs/scan.toml", &(JOB.to_owned() + &format!("record = \"{}\"\n", bed.path("log/scan.log").display())));
    let checked = bed.run(&["check"]);
    assert!(checked.code == 2 && checked.stderr.contains("would read its own records"), "{checked:?}");
}

#[test]
fn sessions_of_a_log_that_is_no_longer_written_are_settled_after_a_day() {
    let bed = bed();
    let line = |n: u32| format!("Nov 20 10:00:{n:02} web1 sshd[{n}]: Invalid user x{n} from 198.51.100.1 port 22\n");
    append(&bed, "auth.log", &(0..5).map(line).collect::<String>());
    let failed = || {
        let (from, to) = ("2000-01-01T00:00:00Z".parse().unwrap(), "2100-01-01T00:00:00Z".parse().unwrap());
        let tallies = bed.store().tallies(from, to).unwrap();
        tallies.iter().map(|tally| tally.tally.failed_logins).sum::<u64>()
    };
    for (at, want) in [("2026-11-21T12:00:00Z", 0), ("2026-11-22T12:00:00Z", 0), ("2026-11-22T12:00:01Z", 5)] {
        bed.run_job("scan", at);
        assert_eq!((counts(&bed), failed()), (vec![5], want), "{at}");
    }
    bed.run_job("scan", "2026-11-25T12:00:00Z");
    assert_eq!((counts(&bed), failed()), (vec![5], 5));
}

/// The time of the last change of a log, so many seconds before the runs.
fn changed(bed: &TestBed, name: &str, seconds: u64) {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_795_262_400 - seconds);
    std::fs::File::options().append(true).open(bed.path(name)).unwrap().set_modified(at).unwrap();
}

/// What runs say of four failed logins of an address and the beginnings of lines of another one, whose address begins alike.
const BEGINNINGS: [&str; 4] = [
    "Failed password for root from 198.51.100.1",
    "Accepted password for backup from 198.51.100.1",
    "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=198.51.100.1",
    "Invalid user x from 198.51.100.1",
];

#[test]
fn the_beginning_of_a_line_accuses_nobody() {
    for beginning in BEGINNINGS {
        for seconds in [1, 59, 60, 3600] {
            let bed = bed();
            let attempts = if beginning.starts_with("Accepted") { 5 } else { 4 };
            append(&bed, "auth.log", &(failures(0..attempts) + "Nov 20 10:01:02 web1 sshd[200]: " + beginning));
            changed(&bed, "log/auth.log", seconds);
            bed.run_job("scan", AT);
            let found = bed.store().findings(&FindingFilter::default()).unwrap();
            let breach = found.iter().any(|stored| stored.finding.breach.is_some());
            assert!(counts(&bed).len() == attempts as usize - 4 && !breach, "{beginning}, {seconds} s: {found:?}");
        }
    }
    // Nor does a whole one before its end.
    let bed = bed();
    append(&bed, "auth.log", failures(0..5).trim_end());
    changed(&bed, "log/auth.log", 3600);
    let notes = bed.run_job("scan", AT).notes;
    assert_eq!(counts(&bed), Vec::<u64>::new());
    assert!(notes.iter().any(|note| note.contains("counts once it has one")), "{notes:?}");
    grow(&bed, "auth.log", "\n");
    assert_eq!(counts(&bed), [5]);
}

#[test]
fn the_last_line_of_a_rotated_log_counts_once_also_where_a_copy_lies_beside_it() {
    let bed = bed();
    append(&bed, "auth.log.1", failures(0..4).trim_end());
    changed(&bed, "log/auth.log.1", 1);
    let packed = |text: &str, file: &str| {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(text.as_bytes()).unwrap();
        std::fs::write(bed.path("log").join(file), packer.finish().unwrap()).unwrap();
    };
    bed.run_job("scan", AT);
    packed(failures(0..4).trim_end(), "auth.log.1.gz");
    bed.run_job("scan", AT);
    bed.run_job("scan", AT);
    changed(&bed, "log/auth.log.1", 3600);
    bed.run_job("scan", AT);
    grow(&bed, "auth.log", &failures(10..11));
    bed.run_job("scan", AT);
    assert_eq!(counts(&bed), [5]);
}

#[test]
fn a_last_line_without_a_line_break_ends_what_is_over_before_it() {
    let bed = bed();
    let invalid = |n: u32| format!("Nov 20 08:00:0{n} web1 sshd[{n}]: Invalid user eve from 198.51.100.7 port 22\n");
    let log: String = (1..6).map(invalid).collect::<String>() + "Nov 20 09:00:00 web1 CRON[7]: (root) CMD (true)";
    append(&bed, "auth.log.1", &log);
    changed(&bed, "log/auth.log.1", 3600);
    let notes = bed.run_job("scan", AT).notes;
    assert!(notes.iter().any(|note| note.contains("read 6 lines") && note.contains("5 failed logins")), "{notes:?}");
}

#[test]
fn what_is_written_while_a_log_is_copied_counts_once() {
    let bed = bed();
    let (log, copy) = (bed.path("log/auth.log"), bed.path("log/auth.log.1"));
    let banner = "Nov 20 09:00:00 web1 CRON[1]: (root) CMD (true)\n".repeat(100);
    grow(&bed, "auth.log", &(banner + &failures(0..2)));
    let half = std::fs::read(&log).unwrap();
    std::fs::write(&copy, &half[..half.len() / 2]).unwrap();
    grow(&bed, "auth.log", &failures(2..4));
    std::fs::copy(&log, &copy).unwrap();
    bed.run_job("scan", AT);
    std::fs::write(&log, "").unwrap();
    bed.run_job("scan", AT);
    assert_eq!(counts(&bed), Vec::<u64>::new());
    grow(&bed, "auth.log", &failures(4..5));
    assert_eq!(counts(&bed), [5]);
}

#[test]
fn a_file_with_the_number_of_one_that_is_gone_is_another_one() {
    let bed = bed();
    std::fs::create_dir_all(bed.path("log/c1")).unwrap();
    std::fs::create_dir_all(bed.path("log/c2")).unwrap();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*/app.log\"]\n");
    let banner = "Nov 20 09:00:00 web1 CRON[1]: (root) CMD (true)\n".repeat(30);
    grow(&bed, "c1/app.log", &(banner.clone() + &banner + &banner));
    // As if its number were given again: it stays, and the text is another one.
    std::fs::rename(bed.path("log/c1/app.log"), bed.path("log/c2/app.log")).unwrap();
    std::fs::write(bed.path("log/c2/app.log"), banner + &failures(0..5)).unwrap();
    bed.run_job("scan", AT);
    assert_eq!(counts(&bed), [5]);
}

#[test]
fn a_log_whose_names_follow_one_another_is_read_once_under_all_of_them() {
    let bed = bed();
    let rename = |from: &str, to: &str| std::fs::rename(bed.path("log").join(from), bed.path("log").join(to)).unwrap();
    grow(&bed, "auth.log", &failures(0..3));
    append(&bed, "auth.log", &failures(3..4));
    rename("auth.log", "auth.1.log");
    grow(&bed, "auth.log", "");
    rename("auth.1.log", "auth.2.log");
    rename("auth.log", "auth.1.log");
    grow(&bed, "auth.log", "");
    // A second name, and the first one goes.
    std::fs::hard_link(bed.path("log/auth.2.log"), bed.path("log/aaa.log")).unwrap();
    bed.run_job("scan", AT);
    std::fs::remove_file(bed.path("log/auth.2.log")).unwrap();
    bed.run_job("scan", AT);
    assert_eq!(counts(&bed), Vec::<u64>::new());
    grow(&bed, "auth.log", &failures(4..5));
    assert_eq!(counts(&bed), [5]);
}

#[test]
fn a_log_that_is_renamed_while_its_last_line_is_written_loses_nothing() {
    for cut in ["Nov 20 10:00:04 web1 ssh", "Nov 20 10:00:04 web1 sshd[104]: Failed password for root from 198.51.100."]
    {
        let bed = bed();
        let line = failures(4..5);
        let begun = line.find("198.51.100.").map_or(0, |at| cut.len().min(at + 11));
        append(&bed, "auth.log", &(failures(0..4) + &line[..begun]));
        changed(&bed, "log/auth.log", 1);
        bed.run_job("scan", AT);
        std::fs::rename(bed.path("log/auth.log"), bed.path("log/auth.log.1")).unwrap();
        bed.run_job("scan", AT);
        assert_eq!(counts(&bed), Vec::<u64>::new());
        append(&bed, "auth.log.1", &line[begun..]);
        changed(&bed, "log/auth.log.1", 0);
        bed.run_job("scan", AT);
        assert_eq!(counts(&bed), [5], "{cut}");
    }
}

#[test]
fn a_line_from_the_future_blinds_nobody() {
    let bed = bed();
    let future = "Nov 22 09:00:00 web1 CRON[1]: (root) CMD (true)\n";
    append(&bed, "auth.log", &failures(0..4));
    append(&bed, "auth.log", future);
    let now = "2026-11-20T10:02:00Z";
    bed.run_job("scan", now);
    append(&bed, "auth.log", &failures(30..31));
    bed.run_job("scan", now);
    assert_eq!(counts(&bed), [5]);
}

#[test]
fn findings_outlive_a_change_of_their_rule() {
    let bed = bed();
    grow(&bed, "auth.log", &failures(0..6));
    let rule = std::fs::read_to_string(bed.path("config/rules/failed-logins.toml")).unwrap();
    bed.file("config/rules/failed-logins.toml", &rule.replace("threshold = 5", "threshold = 7"));
    append(&bed, "auth.log", &failures(6..7));
    let ended = bed.run_job("scan", AT);
    assert!(ended.notes.iter().any(|note| note.contains("rule failed-logins was changed")), "{:?}", ended.notes);
    assert_eq!(counts(&bed), [6]);
    bed.file("jobs/scan.toml", &JOB.replace("\"failed-logins\", ", ""));
    grow(&bed, "auth.log", &failures(7..8));
    assert_eq!(counts(&bed), [6]);
}

#[test]
fn hundreds_of_files_need_few_descriptors() {
    let bed = bed();
    for n in 1..300 {
        bed.file(&format!("log/auth.log.{n}"), &format!("Nov 20 10:00:00 web1 app[{n}]: x\n"));
    }
    let program = env!("CARGO_BIN_EXE_logkeeper");
    let script = format!("ulimit -n 64; exec {program} run-now scan");
    let ran =
        std::process::Command::new("sh").args(["-c", &script]).env("LOGKEEPER_CONFIG", bed.path("")).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success() && said.contains("read 299 lines of 299 files"), "{said}");
}

#[test]
fn a_rule_may_look_for_a_regular_expression() {
    let bed = bed();
    let rule = std::fs::read_to_string(bed.path("config/rules/urgent-lines.toml")).unwrap();
    let rule = rule
        .replace("text = \"Urgent log detected\"", "regex = '(?i)urgent: (disk|memory) \\d+ %$'")
        .replace("more_than = 3", "more_than = 1");
    bed.file("config/rules/urgent-lines.toml", &rule);
    let line = |text: &str| format!("Nov 20 10:00:00 web1 app[1]: {text}\n");
    append(
        &bed,
        "app.log",
        &[line("URGENT: disk 97 %"), line("urgent: disk full"), line("urgent: memory 99 %")].concat(),
    );
    bed.run_job("scan", AT);
    let found = bed.store().findings(&FindingFilter::default()).unwrap();
    assert_eq!(found.iter().map(|f| f.finding.count).collect::<Vec<_>>(), [2]);
}

/// Several kilobytes of failures, so that a copy can be half-way.
fn many(range: std::ops::Range<i64>) -> String {
    let start: chrono::DateTime<chrono::Utc> = "2026-11-20T08:00:00Z".parse().unwrap();
    let line = |n: i64| {
        let stamp = (start + chrono::TimeDelta::seconds(n)).format("%b %e %H:%M:%S");
        format!("{stamp} web1 sshd[{}]: Failed password for root from 198.51.100.1 port 1 ssh2\n", 1000 + n)
    };
    range.map(line).collect()
}

#[test]
fn a_log_that_is_rotated_into_another_folder_counts_once_however_it_gets_there() {
    let gzip = |path: &Path| {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&std::fs::read(path).unwrap()).unwrap();
        std::fs::write(path.with_added_extension("gz"), packed.finish().unwrap()).unwrap();
        std::fs::remove_file(path).unwrap();
    };
    for (copied, packed) in [(false, false), (false, true), (true, false), (true, true)] {
        let bed = bed();
        bed.main("[sources.logs]\nfiles = [\"DIR/log/**/*.log\"]\n");
        std::fs::create_dir_all(bed.path("log/old")).unwrap();
        let (live, mut from) = (bed.path("log/auth.log"), 0);
        let mut write = |times: u32| {
            append(&bed, "auth.log", &(from..from + times).map(|n| told("web1", n, "Failed")).collect::<String>());
            from += times;
            bed.run_job("scan", AT);
        };
        write(20);
        for day in 21..24 {
            let old = bed.path(format!("log/old/auth.log-202611{day}").as_str());
            if copied {
                std::fs::copy(&live, &old).unwrap();
                std::fs::write(&live, "").unwrap();
            } else {
                std::fs::rename(&live, &old).unwrap();
                std::fs::File::create(&live).unwrap();
            }
            if packed {
                gzip(&old);
            }
            write(3);
        }
        assert_eq!(counts(&bed), [29], "copied: {copied}, packed: {packed}");
    }
}

#[test]
fn a_copy_that_is_still_being_written_is_not_read_twice() {
    let bed = bed();
    bed.file("log/auth.log.1", &many(0..1000)).file("log/auth.log", &many(1000..2000));
    bed.run_job("scan", AT);
    assert_eq!(counts(&bed), [2000]);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(many(0..1000).as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let live = many(1000..2000);
    for percent in [30, 60, 100] {
        // gzip at work beside its original, and logrotate copying the live log.
        bed.bytes("log/auth.log.1.gz", &packed[..packed.len() * percent / 100]);
        bed.bytes("log/auth.log.0", &live.as_bytes()[..live.len() * percent / 100]);
        bed.run_job("scan", AT);
        assert_eq!(counts(&bed), [2000], "at {percent} %");
    }
    std::fs::remove_file(bed.path("log/auth.log.1")).unwrap();
    bed.bytes("log/auth.log", many(2000..2010).as_bytes());
    bed.run_job("scan", AT);
    bed.run_job("scan", AT);
    assert_eq!(counts(&bed), [2010]);
}

#[test]
fn copies_beside_a_live_log_that_is_read_for_the_first_time_are_not_read_twice() {
    let bed = bed();
    let live = many(0..1000);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(live.as_bytes()).unwrap();
    bed.bytes("log/auth.log.gz", &encoder.finish().unwrap());
    bed.file("log/auth.log.0", &many(0..300)).file("log/auth.log", &(live + &many(1000..1100)));
    bed.run_job("scan", AT);
    assert_eq!(counts(&bed), [1100]);
    append(&bed, "auth.log", &many(1100..1110));
    for _ in 0..2 {
        bed.run_job("scan", AT);
        assert_eq!(counts(&bed), [1110]);
    }
    std::fs::rename(bed.path("log/auth.log"), bed.path("log/auth.log.1")).unwrap();
    std::fs::remove_file(bed.path("log/auth.log.0")).unwrap();
    bed.bytes("log/auth.log", many(1110..1120).as_bytes());
    bed.run_job("scan", AT);
    assert_eq!(counts(&bed), [1120]);
}

#[test]
fn a_short_log_that_was_copied_and_not_truncated_yet_is_read_once() {
    let bed = bed();
    bed.file("log/auth.log.1", &many(0..6)).file("log/auth.log", &many(0..6));
    bed.run_job("scan", AT);
    assert_eq!(counts(&bed), [6]);
    std::fs::File::options().write(true).open(bed.path("log/auth.log")).unwrap().set_len(0).unwrap();
    append(&bed, "auth.log", &many(20..22));
    for _ in 0..2 {
        bed.run_job("scan", AT);
        assert_eq!(counts(&bed), [8]);
    }
    // One that only begins alike is another one.
    let bed = self::bed();
    bed.file("log/auth.log.1", &many(0..7)).file("log/auth.log", &(many(0..1) + &many(9..10)));
    bed.run_job("scan", AT);
    assert_eq!(counts(&bed), [9]);
}

#[test]
fn a_changed_rule_shrinks_no_finding_and_tells_of_a_break_in_once() {
    let bed = bed();
    grow(&bed, "auth.log", &many(0..50));
    let rule = std::fs::read_to_string(bed.path("config/rules/failed-logins.toml")).unwrap();
    bed.file("config/rules/failed-logins.toml", &rule.replace("threshold = 5", "threshold = 6"));
    append(&bed, "auth.log", &many(50..60));
    append(
        &bed,
        "auth.log",
        "Nov 20 08:02:00 web1 sshd[9]: Accepted password for root from 198.51.100.1 port 1 ssh2\n",
    );
    for _ in 0..3 {
        grow(&bed, "auth.log", "Nov 20 08:03:00 web1 CRON[1]: (root) CMD (true)\n");
    }
    assert_eq!(counts(&bed), [50]);
    let filter = FindingFilter { rule: Some("failed-logins".into()), ..FindingFilter::default() };
    assert!(bed.store().findings(&filter).unwrap()[0].finding.breach.is_some());
    let mut told = bed.store().pending_intents().unwrap();
    told.retain(|told| matches!(&told.intent.about, About::Findings { rule, .. } if rule == "failed-logins"));
    assert_eq!(told.len(), 2, "the attempts, then the break-in: {told:?}");
}

#[test]
fn what_is_remembered_of_some_addresses_may_be_damaged_and_costs_nothing_else() {
    let bed = bed();
    // Three failures of each address, and two later on.
    let tries = |minute: u32, times: u32| -> String {
        let line = |n: u32| {
            let (second, pid) = (n / 100 % 60, 1000 + n);
            format!(
                "Nov 21 10:{minute:02}:{second:02} web1 sshd[{pid}]: Failed password for root from 198.51.100.{} port 1 ssh2\n",
                n % 100
            )
        };
        (0..100 * times).map(line).collect()
    };
    grow(&bed, "auth.log", &tries(0, 3));
    assert_eq!(counts(&bed).len(), 0);
    let database = rusqlite::Connection::open(bed.path("state/logkeeper.db")).unwrap();
    let damage = "UPDATE scan_states SET state = '{' WHERE part = (SELECT min(part) FROM scan_states
                  WHERE part LIKE 'page % of failed-logins')";
    assert_eq!(database.execute(damage, []).unwrap(), 1);
    append(&bed, "auth.log", &tries(5, 2));
    let run = bed.run_job("scan", AT);
    assert_eq!(run.outcome, logkeeper::model::Outcome::Partial, "{:?}", run.notes);
    let told = "1 part of what rule failed-logins remembered can't be read; whom they were about is counted afresh";
    assert!(run.notes.iter().any(|note| note == told), "{:?}", run.notes);
    let found = counts(&bed);
    assert!((90..100).contains(&found.len()) && found.iter().all(|count| *count == 5), "{found:?}");
    append(&bed, "auth.log", &tries(8, 1));
    assert_eq!(bed.run_job("scan", AT).outcome, logkeeper::model::Outcome::Succeeded);
}

#[test]
fn many_good_logins_hide_no_break_in() {
    let bed = bed();
    let accepted =
        |at: &str| format!("Nov 20 {at} web1 sshd[9]: Accepted password for anna from 198.51.100.1 port 1 ssh2\n");
    append(&bed, "auth.log", &many(0..1));
    for n in 0..150 {
        append(&bed, "auth.log", &accepted(&format!("09:{:02}:{:02}", n / 60, n % 60)));
    }
    append(&bed, "auth.log", &failures(0..30));
    grow(&bed, "auth.log", &accepted("10:01:00"));
    let filter = FindingFilter { rule: Some("failed-logins".into()), ..FindingFilter::default() };
    assert!(bed.store().findings(&filter).unwrap()[0].finding.breach.is_some());
}

#[test]
fn an_inode_that_is_used_again_is_not_taken_for_the_file_that_had_it() {
    let bed = bed();
    let text = failures(0..7);
    // The first byte of a new log was seen; then that is gone, and the log before it is compressed.
    bed.file("log/auth.log.1", &text).file("log/auth.log", &text[..1]);
    bed.run_job("scan", AT);
    let before = results(&bed);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(1));
    encoder.write_all(text.as_bytes()).unwrap();
    std::fs::write(bed.path("log/auth.log"), encoder.finish().unwrap()).unwrap();
    std::fs::rename(bed.path("log/auth.log"), bed.path("log/auth.log.2.gz")).unwrap();
    std::fs::remove_file(bed.path("log/auth.log.1")).unwrap();
    bed.run_job("scan", AT);
    assert_eq!(results(&bed), before);
}

#[test]
fn refused_keys_count_alike_however_they_are_cut_and_accuse_nobody_who_may_yet_be_let_in() {
    let line = |at: &str, process: &str, what: &str, ip: &str| {
        format!("2026-11-20T{at}Z web1 sshd{process}: {what} for bob from {ip} port 1 ssh2\n")
    };
    let refused = |n: u32| {
        let at = format!("10:00:0{n}");
        // One is let in afterwards, one is not, and one comes back much later, in a log that names no processes.
        [("[7]", "198.51.100.7"), ("[8]", "198.51.100.8"), ("", "198.51.100.9")]
            .map(|(process, ip)| line(&at, process, "Failed publickey", ip))
            .concat()
    };
    let first: String = (0..6).map(refused).collect();
    let then = line("10:01:00", "[7]", "Accepted publickey", "198.51.100.7");
    let last = line("20:00:00", "", "Accepted publickey", "198.51.100.9")
        + "2026-11-20T20:00:01Z web1 CRON[1]: (root) CMD (true)\n";
    let (whole, cut) = (bed(), bed());
    append(&whole, "auth.log", &[&first, &then, &last].map(String::as_str).concat());
    whole.run_job("scan", "2026-11-20T20:01:00Z");
    for (text, at) in [(&first, "2026-11-20T10:00:30Z"), (&then, "2026-11-20T10:02:00Z")] {
        append(&cut, "auth.log", text);
        cut.run_job("scan", at);
        assert_eq!(cut.store().findings(&FindingFilter::default()).unwrap().len(), 0, "{at}");
    }
    append(&cut, "auth.log", &last);
    cut.run_job("scan", "2026-11-20T20:01:00Z");
    assert_eq!(results(&whole), results(&cut));
    let subjects = results(&cut).join("\n");
    assert!(!subjects.contains("198.51.100.7") && subjects.contains("198.51.100.8"), "{subjects}");
    assert!(subjects.contains("198.51.100.9"), "{subjects}");
}
