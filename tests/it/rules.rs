//! The shipped rules find what they should, and nothing else.

use std::path::{Path, PathBuf};

use crate::cuts::assert_cuts_change_nothing_with;
use crate::support::{TestBed, has, skip};

fn corpus(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/rules").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Scans a file of the corpus without its comments with one rule; returns lines counted and findings.
fn tried(bed: &TestBed, rule: &str, kind: &str) -> (u64, u64) {
    let lines = corpus(&format!("{rule}.{kind}.log"));
    let lines: String = lines.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect();
    bed.file("lines.log", &lines);
    let tested = bed.json(&["rules", "test", "--rule", rule, bed.path("lines.log").to_str().unwrap()]);
    assert_eq!(tested["lines"], tested["parsed"], "{rule}.{kind}: every line is to be understood");
    let result = &tested["rules"][0];
    (result["matched"].as_u64().unwrap(), result["findings"].as_u64().unwrap())
}

#[test]
fn every_shipped_rule_matches_what_it_must_and_keeps_quiet_otherwise() {
    let bed = TestBed::new();
    let shipped: Vec<&str> = logkeeper::config::SHIPPED
        .iter()
        .filter(|(path, _)| path.starts_with("config/rules"))
        .map(|(path, _)| Path::new(path).file_stem().unwrap().to_str().unwrap())
        .collect();
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules")).unwrap();
    assert_eq!(shipped.len(), files.count());
    for rule in shipped {
        let (matched, findings) = tried(&bed, rule, "match");
        assert!(matched > 0 && findings > 0, "{rule} misses: {matched} lines matched, {findings} findings");
        assert_eq!(tried(&bed, rule, "quiet").1, 0, "{rule} cries wolf");
    }
}

#[test]
fn who_is_let_alone_for_a_while_is_counted_by_no_rule_until_then() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/auth.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\n");
    let line = |ago: i64, ip: &str| {
        let time = (chrono::Utc::now() + chrono::TimeDelta::minutes(-ago)).format("%Y-%m-%dT%H:%M:%SZ");
        format!("{time} web1 sshd[{}]: Failed password for root from {ip} port 22 ssh2\n", 1000 + ago)
    };
    // Ten from each, five before it is let alone and five after that.
    let text: String = ["192.0.2.7", "192.0.2.8", "198.51.100.9"]
        .iter()
        .flat_map(|ip| [100, 99, 98, 97, 96, -10, -11, -12, -13, -14].map(|ago| line(ago, ip)))
        .collect();
    bed.file("auth.log", &text);
    assert_eq!(bed.run(&["allow", "192.0.2.0/24", "--for", "1h"]).code, 2, "somebody will wonder why");
    assert_eq!(bed.run(&["allow", "192.0.2.0/24", "--for", "1h", "--why", "our scanner"]).code, 0);
    assert_eq!(bed.run(&["allow", "192.0.2.8", "--for", "1h", "--why", "a mistake"]).code, 0);
    assert_eq!(bed.run(&["allow", "192.0.2.8", "--end"]).code, 0);
    let wider = bed.run(&["allow", "192.0.2.8", "--end"]);
    assert_eq!(wider.code, 2, "it is over already");
    assert!(wider.stderr.contains("192.0.2.8 is let alone as part of 192.0.2.0/24\n"), "{wider:?}");
    assert!(wider.stderr.contains("logkeeper allow 192.0.2.0/24 --end"), "{wider:?}");
    let other = bed.run(&["allow", "192.0.3.8", "--end"]);
    assert!(other.stderr.contains("the rules don't let 192.0.3.8 alone"), "{other:?}");
    let nobody = bed.run(&["allow", "backup", "--why", "a mistake"]);
    assert!(nobody.stderr.contains("an account is written \"account NAME\""), "{nobody:?}");
    assert_eq!(bed.run(&["allow", "account Backup", "--for", "1h", "--why", "a mistake"]).code, 0);
    assert_eq!(bed.run(&["allow", "account backup", "--end"]).code, 0, "it is the same account");
    let listed = bed.json(&["allow"]);
    assert_eq!((listed[0]["who"].as_str(), listed[0]["why"].as_str()), (Some("192.0.2.0/24"), Some("our scanner")));
    assert_eq!(listed.as_array().unwrap().len(), 1);
    bed.run_job("scan", &(chrono::Utc::now() + chrono::TimeDelta::hours(2)).to_rfc3339());
    let mut found: Vec<(String, u64)> = bed
        .store()
        .findings(&Default::default())
        .unwrap()
        .into_iter()
        .map(|f| (f.finding.subject_words(), f.finding.count))
        .collect();
    found.sort();
    let want = [("192.0.2.7", 5), ("192.0.2.8", 5), ("198.51.100.9", 10)].map(|(ip, n)| (ip.to_owned(), n));
    assert_eq!(found, want);
}

#[test]
fn whoever_is_allowed_is_never_counted_and_only_means_only() {
    let bed = TestBed::new();
    let line = |n: u32, user: &str, ip: &str| {
        format!("Nov 20 10:00:{n:02} web1 sshd[{n}]: Failed password for {user} from {ip} port {n} ssh2\n")
    };
    let text: String = (0..6)
        .flat_map(|n| {
            [line(n, "bob", "192.0.2.7"), line(n + 20, "monitor", "198.51.100.1"), line(n + 40, "eve", "2001:db8::7")]
        })
        .collect();
    bed.file("auth.log", &text);
    let rule = |lists: &str| {
        format!("severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n{lists}\n[count]\nby = \"source.ip\"\n")
    };
    let found = |lists: &str| -> u64 {
        bed.file("config/rules/mine.toml", &rule(lists));
        let tested = bed.json(&["rules", "test", "--rule", "mine", bed.path("auth.log").to_str().unwrap()]);
        tested["rules"][0]["findings"].as_u64().unwrap()
    };
    assert_eq!(found(""), 3);
    assert_eq!(found("allow = [\"192.0.2.0/24\"]"), 2);
    assert_eq!(found("allow = [\"2001:db8::/32\", \"account monitor\"]"), 1);
    assert_eq!(found("only = [\"account eve\", \"192.0.2.7\"]"), 2);
    assert_eq!(found("only = [\"account eve\"]\nallow = [\"2001:db8::7\"]"), 0);
    // The lists hold for the text of lines as well, where a line tells of somebody.
    let pattern = "\n[pattern]\ntext = \"password for\"\nmore_than = 2\n";
    let matched = |lists: &str| {
        bed.file("config/rules/mine.toml", &rule(lists).replace("\n[count]\nby = \"source.ip\"\n", pattern));
        bed.json(&["rules", "test", "--rule", "mine", bed.path("auth.log").to_str().unwrap()])["rules"][0]["matched"]
            .clone()
    };
    assert_eq!((matched(""), matched("allow = [\"192.0.2.0/24\"]")), (18.into(), 12.into()));
    // Lines that wait for the end of their session know their host, too.
    let invalid = |n: u32| format!("Nov 20 10:00:{n:02} web1 sshd[{n}]: Invalid user u{n} from 192.0.2.{n} port {n}\n");
    bed.file("auth.log", &(0..6).map(invalid).collect::<String>());
    bed.file("config/rules/mine.toml", &rule("").replace("source.ip", "host.name"));
    let tested = bed.json(&["rules", "test", "--rule", "mine", bed.path("auth.log").to_str().unwrap()]);
    assert_eq!(tested["rules"][0]["findings"], 1, "{tested}");
    bed.file("config/rules/mine.toml", &rule("allow = [\"192.0.2.300\"]\nattack = [\"T11\"]"));
    let told = bed.run(&["check"]).stderr;
    assert!(told.contains("192.0.2.300") && told.contains("as T1110 or T1110.003"), "{told}");
}

#[test]
fn an_error_that_is_a_failed_login_counts_once_as_each() {
    let bed = TestBed::new();
    bed.main("");
    // The request behind it may stand in the same log, so that it waits.
    let line = |n: u32| {
        let at = format!("10:00:{n:02}");
        format!(
            "Nov 20 {at} web1 nginx: 2026/11/20 {at} [error] 7#7: *{n} user \"eve\": password mismatch, client: 192.0.2.7, server: _, request: \"GET / HTTP/1.1\"\n"
        )
    };
    bed.file("a.log", &(0..3).map(line).collect::<String>());
    for (events, threshold, findings) in
        [("errors", 3, 1), ("errors", 4, 0), ("failed-logins", 3, 1), ("failed-logins", 4, 0)]
    {
        let rule = format!(
            "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[count]\nevents = \"{events}\"\nby = \"user.name\"\nthreshold = {threshold}\n"
        );
        bed.file("config/rules/mine.toml", &rule);
        let tested = bed.json(&["rules", "test", "--rule", "mine", bed.path("a.log").to_str().unwrap()]);
        let want = serde_json::json!({ "rule": "mine", "matched": 3, "not_matched": 0, "findings": findings });
        assert_eq!((&tested["rules"][0], &tested["dropped"]), (&want, &serde_json::json!({})), "{rule}");
    }
}

#[test]
fn a_repeated_line_counts_for_a_text_as_often_as_syslog_says_and_no_visitor_can_say_so() {
    let bed = TestBed::new();
    bed.main("");
    let found = |more_than: u32, lines: &str| {
        let rule = "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[pattern]\ntext = \"killed\"\n";
        bed.file("config/rules/mine.toml", &format!("{rule}more_than = {more_than}\n"));
        bed.file("a.log", lines);
        let tested = bed.json(&["rules", "test", "--rule", "mine", bed.path("a.log").to_str().unwrap()]);
        tested["rules"][0]["findings"].as_u64().unwrap()
    };
    let once = "Nov 20 10:00:00 web1 app[7]: worker killed\n";
    let again = "Nov 20 10:00:09 web1 app[7]: message repeated 9 times: [ worker killed]\n";
    let both = [once, again].concat();
    assert_eq!((found(1, once), found(9, &both), found(10, &both)), (0, 1, 0));
    let visitor = r#"198.51.100.1 - - [20/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x: message repeated 9 times: [ killed]"#;
    for no_more in
        [again.replace("app[7]: ", "app[7]: he: "), again.replace("9 times", "0 times"), format!("{visitor}\n")]
    {
        assert_eq!(found(1, &no_more), 0, "{no_more}");
    }
}

#[test]
fn distinct_values_and_shares_do_not_depend_on_order_or_cuts() {
    let bed = TestBed::new();
    bed.main("[sources.web]\nfiles = [\"DIR/log/access.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"web\"]\nrules = [\"path-scanning\", \"server-errors\"]\n");
    let line = |n: usize, ip: usize, status: usize| {
        let (minute, second) = (n / 60, n % 60);
        format!(
            "198.51.100.{ip} - - [19/Nov/2026:10:{minute:02}:{second:02} +0000] \"GET /p{n}?q HTTP/1.1\" {status} 1 \"-\" \"x\"\n"
        )
    };
    let mut lines: Vec<String> =
        (0..1200).map(|n| line(n, n % 7, if n % 3 == 0 { 404 } else { 200 + n % 5 / 4 * 303 })).collect();
    let scan = |bed: &TestBed| {
        bed.run_job("scan", "2026-11-19T12:00:00Z");
        let found = bed.json(&["findings"]);
        let found: Vec<String> = found
            .as_array()
            .unwrap()
            .iter()
            .map(|f| {
                format!("{} {} {} {} {} {}", f["rule"], f["subject"], f["count"], f["counted"], f["first"], f["last"])
            })
            .collect();
        let mut found = found;
        found.sort();
        found
    };
    bed.file("log/access.log", &lines.concat());
    let whole = scan(&bed);
    assert!(
        whole.iter().any(|f| f.contains("path-scanning")) && whole.iter().any(|f| f.contains("server-errors")),
        "{whole:?}"
    );
    // Neighbours change places, and the file grows in pieces.
    let pieces = TestBed::new();
    pieces.main("[sources.web]\nfiles = [\"DIR/log/access.log\"]\n");
    pieces.file("jobs/scan.toml", "[scan]\nsources = [\"web\"]\nrules = [\"path-scanning\", \"server-errors\"]\n");
    lines.chunks_mut(5).for_each(|chunk| chunk.reverse());
    let mut grown = Vec::new();
    for piece in lines.chunks(137) {
        grown.extend_from_slice(piece);
        pieces.file("log/access.log", &grown.concat());
        scan(&pieces);
    }
    assert_eq!(scan(&pieces), whole);
}

#[test]
fn a_share_is_one_of_the_requests_that_the_rule_is_about() {
    let bed = TestBed::new();
    // Eve gets errors only, and the others none.
    let line = |n: u32| {
        let (who, status) = if n.is_multiple_of(10) { ("192.0.2.9 - eve", 500) } else { ("198.51.100.1 - -", 200) };
        format!("{who} [20/Nov/2026:10:00:{:02} +0000] \"GET / HTTP/1.1\" {status} 5 \"-\" \"x\"\n", n % 60)
    };
    bed.file("access.log", &(0..600).map(line).collect::<String>());
    let tested = |lists: &str| {
        let rule = "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n";
        let kind = "\n[ratio]\nstatuses = [\"5xx\"]\npercent = 50\nat_least = 60\nwindow = \"5m\"\n";
        bed.file("config/rules/mine.toml", &[rule, lists, kind].concat());
        let tested = bed.json(&["rules", "test", "--rule", "mine", bed.path("access.log").to_str().unwrap()]);
        let result = &tested["rules"][0];
        (result["matched"].as_u64().unwrap(), result["findings"].as_u64().unwrap())
    };
    assert_eq!(tested(""), (600, 0), "a tenth");
    assert_eq!(tested("only = [\"192.0.2.0/24\"]"), (60, 1), "all of hers");
    assert_eq!(tested("allow = [\"198.51.100.1\"]"), (60, 1));
    assert_eq!(tested("only = [\"account eve\"]"), (60, 1));
    assert_eq!(tested("allow = [\"account eve\"]"), (540, 0));
}

#[test]
fn findings_are_listed_by_address_account_and_severity() {
    let bed = TestBed::new();
    bed.main("[sources.auth]\nfiles = [\"DIR/log/auth.log\"]\n");
    bed.file(
        "jobs/scan.toml",
        "[scan]\nsources = [\"auth\"]\nrules = [\"failed-logins\", \"failed-logins-account\", \"privileged-accounts\"]\n",
    );
    let line = |n: u32, user: &str, ip: &str| {
        format!("2026-11-19T10:00:{n:02}Z web1 sshd[{n}]: Failed password for {user} from {ip} port {n} ssh2\n")
    };
    let text: String = (0..6).flat_map(|n| [line(n, "root", "192.0.2.7"), line(n + 20, "bob", "192.0.2.8")]).collect();
    bed.file("log/auth.log", &text);
    bed.run_job("scan", "2026-11-19T12:00:00Z");
    let count = |args: &[&str]| bed.json(&[&["findings"], args].concat()).as_array().unwrap().len();
    assert_eq!(count(&[]), 5, "two addresses, two accounts, and root");
    assert_eq!(count(&["--ip", "192.0.2.7"]), 2);
    assert_eq!(count(&["--user", "bob"]), 1);
    assert_eq!(count(&["--user", "root", "--ip", "192.0.2.7"]), 1);
    assert_eq!(count(&["--severity", "high"]), 3);
    assert_eq!(count(&["--severity", "critical"]), 0);
    for since in ["300000y", "99999999d", "106751991168d"] {
        assert_eq!(count(&["--since", since]), count(&[]), "{since}");
    }
    assert_eq!(count(&["--ip", "192.0.2.0/24"]), 3);
    for wrong in [["--severity", "worst"], ["--ip", "nonsense"], ["--rule", "nosuch"]] {
        assert_eq!(bed.run(&["findings", wrong[0], wrong[1]]).code, 2, "{wrong:?}");
    }
    let csv = bed.run(&["findings", "--csv", "--ip", "192.0.2.8"]).stdout;
    assert!(csv.contains(",high,failed-logins,192.0.2.8,6,failed logins,2026-11-19T10:00:20+00:00,"), "{csv}");
    let ecs = bed.run(&["findings", "--ecs", "--ip", "192.0.2.8"]).stdout;
    let ecs: serde_json::Value = serde_json::from_str(ecs.lines().next().unwrap()).unwrap();
    assert_eq!((&ecs["event.kind"], &ecs["source.ip"]), (&"alert".into(), &"192.0.2.8".into()), "{ecs}");
    assert_eq!(ecs["threat.technique.id"][0], "T1110");
    assert!(ecs["event.id"].is_string() && ecs["event.dataset"] == "logkeeper.finding", "{ecs}");
    let id = bed.json(&["findings", "--user", "bob"])[0]["id"].to_string();
    let told = bed.run(&["findings", "show", &id]).stdout;
    assert!(told.contains("auth.log:2\n    2026-11-19T10:00:00Z web1 sshd[0]: Failed password for root"), "{told}");
    assert!(told.contains("  > 2026-11-19T10:00:20Z web1 sshd[20]: Failed password for bob"), "{told}");
    bed.file("log/auth.log", "something else\n");
    let told = bed.run(&["findings", "show", &id]).stdout;
    assert!(told.contains("  > 2026-11-19T10:00:20Z") && !told.contains("something else"), "{told}");
    assert!(told.contains("auth.log:2 (not there any more; as it was then)\n"), "{told}");
    assert_eq!(bed.run(&["findings", "show", "999"]).code, 2);
    // A line that is too long is one of the file's, too.
    bed.file("log/auth.log", &("x".repeat(300 << 10) + "\n" + &text));
    bed.run_job("scan", "2026-11-19T12:10:00Z");
    let id = bed.json(&["findings", "--user", "bob"])[0]["id"].to_string();
    let told = bed.run(&["findings", "show", &id]).stdout;
    assert!(told.contains("auth.log:3\n    2026-11-19T10:00:00Z web1 sshd[0]: Failed password for root"), "{told}");
}

#[test]
fn a_stamp_from_the_future_makes_no_later_line_late_and_dates_none() {
    let bed = TestBed::new();
    bed.main("[sources.auth]\nfiles = [\"DIR/log/auth.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"auth\"]\nrules = [\"failed-logins\", \"urgent-lines\"]\n");
    let failed = |n: u32| {
        format!("2026-11-19T10:00:{n:02}Z web1 sshd[{n}]: Failed password for bob from 192.0.2.8 port {n} ssh2\n")
    };
    let failures: String = (0..6).map(failed).collect();
    let urgent = "Urgent log detected\n".repeat(5);
    bed.file("log/auth.log", &format!("{0}2099-01-01T00:00:00Z web1 app[1]: x\n{urgent}{0}", failures));
    let ended = bed.run_job("scan", "2026-11-19T12:05:00Z");
    assert!(ended.notes.iter().all(|note| !note.contains("older than ones before them")), "{ended:?}");
    let found = bed.store().findings(&Default::default()).unwrap();
    let run = chrono::DateTime::parse_from_rfc3339("2026-11-19T12:05:00Z").unwrap().timestamp();
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|found| found.finding.last < run - 7000), "{found:?}");
}

#[test]
fn rules_are_tested_on_standard_input_and_on_each_file_once() {
    let bed = TestBed::new();
    let failed = "Nov 20 10:00:00 web1 sshd[1]: Failed password for bob from 192.0.2.8 port 1 ssh2\n";
    bed.file("auth.log", failed);
    let path = bed.path("auth.log");
    let mut command = bed.command(&["rules", "test", "-", "--json"]);
    let read = command.stdin(std::fs::File::open(&path).unwrap()).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&read.stdout).unwrap();
    assert_eq!(told["lines"], 1, "{read:?}");
    let (log, also) = (path.to_str().unwrap(), bed.path("./auth.log"));
    assert_eq!(bed.json(&["rules", "test", log, also.to_str().unwrap()])["lines"], 1);
}

#[test]
fn all_that_was_found_is_printed_for_programs_and_a_table_says_what_it_leaves_out() {
    let bed = TestBed::new();
    bed.main("[sources.auth]\nfiles = [\"DIR/log/auth.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"auth\"]\nrules = [\"failed-logins\"]\n");
    let line = |ip: u32, n: u32, what: &str| {
        format!("2026-11-19T10:00:{n:02}Z web1 sshd[{ip}{n}]: {what} password for eve from 192.0.2.{ip} port 22 ssh2\n")
    };
    let text: String = (0..60).flat_map(|ip| (0..5).map(move |n| line(ip, n, "Failed"))).collect();
    bed.file("log/auth.log", &(text + &line(7, 9, "Accepted")));
    bed.run_job("scan", "2026-11-19T12:00:00Z");
    let table = bed.run(&["findings"]).stdout;
    assert!(table.ends_with("and 10 more; -n 60 lists all\n"), "{table}");
    assert_eq!(bed.json(&["findings"]).as_array().unwrap().len(), 60);
    let csv = bed.run(&["findings", "--csv"]).stdout;
    assert_eq!(csv.lines().count(), 61);
    assert!(csv.contains(",2026-11-19T10:00:09+00:00,eve,"), "{csv}");
    assert_eq!(bed.run(&["findings", "-n", "3", "--csv"]).stdout.lines().count(), 4);
    // Who got in is found by the account that was got in as.
    let of_eve = bed.json(&["findings", "--user", "eve"]);
    assert_eq!((of_eve.as_array().unwrap().len(), &of_eve[0]["subject"]["source.ip"]), (1, &"192.0.2.7".into()));
}

const FIRST: &str = "2026-10-26T00:00:00Z";

/// A log of some days with a line every five minutes, by day only if so wanted, up to an hour of its last day.
fn steady(by_day_only: bool, days: i64, hours: i64) -> String {
    let first: chrono::DateTime<chrono::Utc> = FIRST.parse().unwrap();
    let all = (0..(days * 24 + hours) * 12).map(|n| first + chrono::TimeDelta::minutes(5 * n));
    let wanted = all.filter(|time| !by_day_only || (8..18).contains(&chrono::Timelike::hour(time)));
    wanted.map(|time| format!("{} web1 app[7]: fine\n", time.format("%Y-%m-%dT%H:%M:%SZ"))).collect()
}

#[test]
fn paths_that_differ_far_behind_their_beginning_are_told_apart() {
    let bed = TestBed::new();
    let line = |n: usize| {
        let (minute, second, prefix) = (n / 30, n % 30 * 2, "/.".repeat(130));
        format!(
            "198.51.100.7 - - [19/Nov/2026:10:{minute:02}:{second:02} +0000] \"GET {prefix}/admin{n}.php HTTP/1.1\" 404 1\n"
        )
    };
    bed.file("access.log", &(0..100).map(line).collect::<String>());
    let log = bed.path("access.log");
    let scanned = bed.json(&["scan", "--all-rules", log.to_str().unwrap()]);
    let found = scanned["findings"].as_array().unwrap().iter().find(|f| f["rule"] == "path-scanning").unwrap();
    assert_eq!(found["count"], 100);
    let many = |n: usize| {
        let (minute, second) = (n / 2000, n / 34 % 60);
        format!("198.51.100.7 - - [19/Nov/2026:10:{minute:02}:{second:02} +0000] \"GET /{n} HTTP/1.1\" 404 1\n")
    };
    bed.file("access.log", &(0..10_050).map(many).collect::<String>());
    let scanned = bed.json(&["scan", "--all-rules", log.to_str().unwrap()]);
    let found = scanned["findings"].as_array().unwrap().iter().find(|f| f["rule"] == "path-scanning").unwrap();
    assert_eq!(
        (&found["count"], &found["note"]),
        (&10_000.into(), &"there may be more, which are not told apart".into())
    );
}

#[test]
fn a_log_of_rare_lines_is_not_silent_in_the_week_after_a_burst() {
    let bed = TestBed::new();
    bed.main("[sources.app]\nfiles = [\"DIR/log/app.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"app\"]\nrules = [\"silent-sources\"]\n");
    // Three lines a day for six weeks, and one incident of forty hours in the fifth.
    let start: chrono::DateTime<chrono::Utc> = "2026-10-05T00:00:00Z".parse().unwrap();
    let daily = (0..42 * 24).filter(|hour| (6..9).contains(&(hour % 24))).map(|hour| hour * 60);
    let incident = (0..40 * 60 / 5).map(|n| (31 * 24 + 10) * 60 + n * 5);
    let mut minutes: Vec<i64> = daily.chain(incident).collect();
    minutes.sort_unstable();
    let line = |minute: i64| {
        format!("{} web1 app[7]: fine\n", (start + chrono::TimeDelta::minutes(minute)).format("%Y-%m-%dT%H:%M:%SZ"))
    };
    bed.file("log/app.log", &minutes.into_iter().map(line).collect::<String>());
    bed.run_job("scan", "2026-11-16T00:00:00Z");
    let found = bed.json(&["findings"]);
    assert_eq!(found.as_array().unwrap().len(), 0, "{found}");
}

#[test]
fn an_outage_of_days_hides_no_other_one() {
    let bed = TestBed::new();
    bed.main("[sources.app]\nfiles = [\"DIR/log/app.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"app\"]\nrules = [\"silent-sources\"]\n");
    let start: chrono::DateTime<chrono::Utc> = "2026-10-05T00:00:00Z".parse().unwrap();
    let all = (0..29 * 24 * 12).filter(|n| !(10 * 24 * 12..19 * 24 * 12).contains(n));
    let line = |n: i64| {
        format!("{} web1 app[7]: fine\n", (start + chrono::TimeDelta::minutes(n * 5)).format("%Y-%m-%dT%H:%M:%SZ"))
    };
    bed.file("log/app.log", &all.map(line).collect::<String>());
    bed.run_job("scan", "2026-11-03T14:30:00Z");
    let found = bed.json(&["findings"]);
    assert!(found.as_array().unwrap().iter().any(|f| f["open"] == true), "{found}");
}

#[test]
fn a_source_that_stops_is_noticed_within_two_hours_also_by_a_scan_that_has_nothing_to_read() {
    let bed = TestBed::new();
    bed.main("[sources.app]\nfiles = [\"DIR/log/app.log\"]\n[sources.office]\nfiles = [\"DIR/log/office.log\"]\n");
    let job = "[scan]\nsources = [\"app\", \"office\"]\nrules = [\"silent-sources\"]\nalert = [\"admins\"]\n";
    bed.file("jobs/scan.toml", job);
    bed.file("log/app.log", &steady(false, 28, 20));
    bed.file("log/office.log", &steady(true, 28, 20));
    let scan = |at: &str| {
        bed.run_job("scan", at);
        let found = bed.json(&["findings"]);
        let all = found.as_array().unwrap().iter();
        all.map(|f| format!("{} {} {}", f["subject"]["event.dataset"].as_str().unwrap(), f["count"], f["open"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(scan("2026-11-23T20:00:00Z"), [""; 0]);
    assert_eq!(scan("2026-11-23T20:45:00Z"), [""; 0], "not yet");
    assert_eq!(scan("2026-11-23T22:00:00Z"), ["app 120 true"], "the other one sleeps every night");
    assert_eq!(scan("2026-11-24T01:00:00Z"), ["app 300 true"], "the same finding grows");
    let told = bed.json(&["findings"])[0]["id"].to_string();
    let told = bed.run(&["findings", "show", &told]).stdout;
    assert!(told.contains("The log app has said nothing for 5 hours, since Mon 23 Nov 20:00"), "{told}");
    assert!(told.contains("in the 4 weeks before there were lines at that time"), "{told}");
    // It comes back, and a day later what it was is settled.
    let more = steady(false, 31, 0)[steady(false, 29, 2).len()..].to_owned();
    bed.file("log/app.log", &(steady(false, 28, 20) + &more));
    bed.file("log/office.log", &steady(true, 31, 0));
    assert_eq!(scan("2026-11-26T00:00:00Z"), ["app 360 false"]);
    // A source that is gone from the job is silent for good reason.
    bed.file("jobs/scan.toml", &job.replace(", \"office\"", ""));
    assert_eq!(scan("2026-11-26T00:30:00Z"), ["app 360 false"]);
    bed.file("log/app.log", "");
    assert_eq!(scan("2026-11-26T09:00:00Z"), ["app 540 true", "app 360 false"]);
    assert_eq!(scan("2026-12-25T09:00:00Z"), ["app 42300 false", "app 360 false"], "it is given up some day");
    assert_eq!(scan("2026-12-26T09:00:00Z"), ["app 42300 false", "app 360 false"]);
    // Somebody was told once a pause, and nothing else: what the log had been before is no news.
    let found = bed.json(&["findings"]);
    let told: Vec<_> = found.as_array().unwrap().iter().map(|f| f["alerted"].as_str().unwrap_or("never")).collect();
    assert_eq!(told, ["2026-11-26T09:00:00+00:00", "2026-11-23T22:00:00+00:00"]);
}

#[test]
fn a_host_that_stops_is_noticed_although_others_of_its_source_go_on() {
    let bed = TestBed::new();
    bed.main("[sources.hosts]\nfiles = [\"DIR/log/*/app.log\"]\nhost_pattern = 'log/([^/]+)/'\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"hosts\"]\nrules = [\"silent-sources\"]\n");
    bed.file("log/db1/app.log", &steady(false, 28, 20)).file("log/web1/app.log", &steady(false, 29, 20));
    bed.run_job("scan", "2026-11-24T20:00:00Z");
    let found = bed.json(&["findings"]);
    let about: Vec<String> = found.as_array().unwrap().iter().map(|f| f["subject"].to_string()).collect();
    assert_eq!(about, [r#"{"event.dataset":"hosts","host.name":"db1"}"#]);
    let shown = bed.run(&["findings", "show", &found[0]["id"].to_string()]).stdout;
    assert!(shown.contains("The log hosts of db1 has said nothing for 1 day"), "{shown}");
    // When all have stopped, each is told of.
    bed.run_job("scan", "2026-11-25T20:00:00Z");
    assert_eq!(bed.json(&["findings"]).as_array().unwrap().len(), 2);
}

#[test]
fn what_is_known_of_a_source_stays_known_where_its_hosts_are_told_apart_later_or_no_longer() {
    let bed = TestBed::new();
    let plain = "[sources.hosts]\nfiles = [\"DIR/log/*/app.log\"]\n";
    bed.main(plain);
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"hosts\"]\nrules = [\"silent-sources\"]\n");
    bed.file("log/web1/app.log", &steady(false, 28, 20));
    bed.run_job("scan", "2026-11-23T20:00:00Z");
    let silent = |bed: &TestBed, at: &str| {
        bed.run_job("scan", at);
        let found = bed.json(&["findings"]);
        let open = found.as_array().unwrap().iter().filter(|f| f["open"] == true);
        open.map(|f| f["subject"].to_string()).collect::<Vec<_>>()
    };
    // Of the host nothing is known yet.
    bed.main(&format!("{plain}host_pattern = 'log/([^/]+)/'\n"));
    bed.file("log/web1/app.log", &steady(false, 30, 20));
    assert_eq!(silent(&bed, "2026-11-25T20:00:00Z"), [""; 0]);
    assert_eq!(silent(&bed, "2026-11-26T02:00:00Z"), [r#"{"event.dataset":"hosts"}"#]);
    // Later it is told by itself, and without the pattern nobody waits for it.
    bed.file("log/web1/app.log", &steady(false, 56, 20));
    assert_eq!(silent(&bed, "2026-12-21T20:00:00Z"), [""; 0]);
    assert_eq!(silent(&bed, "2026-12-22T02:00:00Z"), [r#"{"event.dataset":"hosts","host.name":"web1"}"#]);
    bed.main(plain);
    assert_eq!(silent(&bed, "2026-12-22T04:00:00Z"), [r#"{"event.dataset":"hosts"}"#]);
}

#[test]
fn a_pause_is_told_of_once_also_after_another_one_and_while_nobody_can_look() {
    let bed = TestBed::new();
    bed.main("[sources.app]\nfiles = [\"DIR/log/app.log\"]\n");
    let job = "[scan]\nsources = [\"app\"]\nrules = [\"silent-sources\"]\nalert = [\"admins\"]\n";
    bed.file("jobs/scan.toml", job);
    let scan = |at: &str| {
        let ended = bed.run_job("scan", at);
        let found = bed.json(&["findings"]);
        let told = |f: &serde_json::Value| format!("{} {}", f["id"], !f["alerted"].is_null());
        (ended.outcome, found.as_array().unwrap().iter().map(told).collect::<Vec<_>>())
    };
    let log = steady(false, 28, 2);
    bed.file("log/app.log", &log);
    assert_eq!(scan("2026-11-23T05:00:00Z").1, ["1 true"]);
    // It comes back and stops again, within the time in which nobody is told twice.
    let again = steady(false, 28, 8)[steady(false, 28, 6).len()..].to_owned();
    bed.file("log/app.log", &(log + &again));
    assert_eq!(scan("2026-11-23T11:00:00Z").1, ["2 false", "1 true"]);
    assert_eq!(scan("2026-11-24T10:00:00Z").1, ["2 true", "1 true"], "told when that time is over");
    // What can't be read changes nothing of it.
    bed.bytes("log/app.log.2.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03broken");
    let (outcome, found) = scan("2026-11-24T12:00:00Z");
    assert_eq!((outcome, found), (logkeeper::model::Outcome::Partial, vec!["2 true".to_owned(), "1 true".to_owned()]));
    std::fs::remove_file(bed.path("log/app.log.2.gz")).unwrap();
    assert_eq!(scan("2026-11-24T14:00:00Z").1, ["2 true", "1 true"]);
}

/// A job that looks for sources that stop, and what it found: source, minutes and whether it goes on.
fn silences(bed: &TestBed) -> Vec<String> {
    let found = bed.json(&["findings", "--rule", "silent-sources"]);
    let told = |f: &serde_json::Value| format!("{} {}", f["count"], f["open"]);
    found.as_array().unwrap().iter().map(told).collect()
}

#[test]
fn a_run_that_was_due_long_before_calls_nothing_silent_that_it_reads() {
    let bed = TestBed::new();
    bed.main("[sources.app]\nfiles = [\"DIR/log/app.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"app\"]\nrules = [\"silent-sources\"]\n");
    bed.file("log/app.log", &steady(false, 28, 8));
    bed.run_job("scan", "2026-11-23T08:00:00Z");
    bed.file("log/app.log", &steady(false, 28, 20));
    bed.run_job_late("scan", "2026-11-23T08:10:00Z", "2026-11-23T20:00:00Z");
    bed.run_job("scan", "2026-11-23T20:10:00Z");
    assert_eq!(silences(&bed), [""; 0]);
}

#[test]
fn a_source_whose_clock_is_ahead_is_heard_and_its_silence_found() {
    let bed = TestBed::new();
    bed.main("[sources.app]\nfiles = [\"DIR/log/app.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"app\"]\nrules = [\"silent-sources\"]\n");
    for hour in 0..12 {
        bed.file("log/app.log", &steady(false, 28, hour + 2));
        bed.run_job("scan", &format!("2026-11-23T{hour:02}:00:00Z"));
    }
    assert_eq!(silences(&bed), [""; 0]);
    bed.run_job("scan", "2026-11-23T20:00:00Z");
    assert_eq!(silences(&bed), ["525 true"]);
}

#[test]
fn a_clock_that_is_behind_for_one_run_costs_nothing_that_was_learnt() {
    let bed = TestBed::new();
    bed.main("[sources.app]\nfiles = [\"DIR/log/app.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"app\"]\nrules = [\"silent-sources\"]\n");
    for (hours, at) in [(8, "2026-11-23T08:00:00Z"), (9, "2026-10-27T08:00:00Z"), (10, "2026-11-23T10:00:00Z")] {
        bed.file("log/app.log", &steady(false, 28, hours));
        bed.run_job("scan", at);
    }
    assert_eq!(silences(&bed), [""; 0]);
    bed.run_job("scan", "2026-11-23T20:00:00Z");
    assert_eq!(silences(&bed), ["600 true"]);
}

#[test]
fn limits_that_change_leave_what_was_learnt() {
    let bed = TestBed::new();
    bed.main("[sources.app]\nfiles = [\"DIR/log/app.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"app\"]\nrules = [\"silent-sources\", \"mine\"]\n");
    let rule = "severity = \"low\"\nmeaning = \"m\"\nadvice = \"a\"\n";
    let new = |more: &str| format!("{rule}{more}[new]\nevents = \"logins\"\nby = [\"source.ip\"]\nlearn = \"1d\"\n");
    bed.file("config/rules/mine.toml", &new(""));
    let login = |time: &str| format!("{time} web1 sshd[7]: Accepted password for eve from 192.0.2.7 port 22 ssh2\n");
    let before = login("2026-10-27T00:00:00Z") + &steady(false, 28, 8);
    bed.file("log/app.log", &before);
    bed.run_job("scan", "2026-11-23T08:00:00Z");
    let shipped = include_str!("../../config/rules/silent-sources.toml");
    assert!(shipped.contains("after = \"1h\""));
    bed.file("config/rules/silent-sources.toml", &shipped.replace("after = \"1h\"", "after = \"2h\""));
    bed.file("config/rules/mine.toml", &new("allow = [\"account backup\"]\n"));
    let newcomer = login("2026-11-23T08:01:00Z").replace("192.0.2.7", "198.51.100.9");
    bed.file("log/app.log", &(before + &newcomer));
    bed.run_job("scan", "2026-11-23T18:00:00Z");
    assert_eq!(silences(&bed).len(), 1);
    assert_eq!(bed.json(&["findings", "--rule", "mine"]).as_array().unwrap().len(), 1);
    // Of who was let alone until now nobody knows whether they were there before.
    bed.file("config/rules/mine.toml", &new(""));
    let ended = bed.run_job("scan", "2026-11-23T19:00:00Z");
    assert!(ended.notes.iter().any(|note| note.contains("rule mine was changed")), "{ended:?}");
}

#[test]
fn nobody_is_called_new_where_more_come_than_are_remembered() {
    let bed = TestBed::new();
    bed.main("[sources.app]\nfiles = [\"DIR/log/app.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"app\"]\nrules = [\"mine\"]\n");
    let rule = "severity = \"low\"\nmeaning = \"m\"\nadvice = \"a\"\n[new]\nevents = \"logins\"\nby = [\"source.ip\"]\nlearn = \"1h\"\n";
    bed.file("config/rules/mine.toml", rule);
    let line = |day: u32, n: u32| {
        let (hour, minute, second) = (n / 3600, n / 60 % 60, n % 60);
        let ip = std::net::Ipv4Addr::from(0x0a00_0000 + n);
        format!(
            "2026-11-{day:02}T{hour:02}:{minute:02}:{second:02}Z web1 sshd[7]: Accepted password for eve from {ip} port 22 ssh2\n"
        )
    };
    let day = |day: u32| (0..51_000).map(|n| line(day, n)).collect::<String>();
    bed.file("log/app.log", &(day(19) + &day(20)));
    assert_eq!(bed.run_job("scan", "2026-11-21T00:00:00Z").outcome, logkeeper::model::Outcome::Partial);
    let found = bed.json(&["findings"]);
    let found = found.as_array().unwrap();
    assert!(!found.is_empty() && found.iter().all(|f| f["first"].as_str() < Some("2026-11-19T14")), "{found:?}");
    // Whoever else comes that can't be told is dropped, and that is told again.
    bed.file("log/app.log", &(day(19) + &day(20) + &line(21, 60_000)));
    let ended = bed.run_job("scan", "2026-11-21T20:00:00Z");
    assert!(ended.notes.iter().any(|note| note.contains("dropped")), "{ended:?}");
    bed.file("log/app.log", &(day(19) + &day(20) + &line(21, 60_000) + &line(21, 60_000)));
    let ended = bed.run_job("scan", "2026-11-21T21:00:00Z");
    assert!(!ended.notes.iter().any(|note| note.contains("dropped")), "{ended:?}");
}

#[test]
fn what_is_new_does_not_depend_on_when_it_is_read() {
    let rule = "severity = \"low\"\nmeaning = \"m\"\nadvice = \"a\"\n[new]\nevents = \"logins\"\nby = \"user.name\"\nlearn = \"1h\"\nforget = \"2d\"\n";
    let start: chrono::DateTime<chrono::Utc> = "2026-11-10T00:00:00Z".parse().unwrap();
    let login = |hour: i64, user: &str| {
        let time = (start + chrono::TimeDelta::hours(hour)).format("%FT%TZ");
        (hour, format!("{time} web1 sshd[7]: Accepted password for {user} from 192.0.2.7 port 22 ssh2\n"))
    };
    // Nobody comes for more than two days, after which everybody was forgotten. A clock that went wrong before taught nothing.
    let mut logins: Vec<_> = (0..120).chain(170..200).map(|hour| login(hour, "bob")).collect();
    let others =
        [(20, "carol"), (50, "carol"), (70, "alice"), (90, "alice"), (119, "dora"), (170, "eve"), (172, "carol")];
    logins.extend(others.map(|(hour, user)| login(hour, user)));
    logins.push(login(-100_000, "bob"));
    logins.sort();
    let found = |pieces: &[i64]| {
        let bed = TestBed::new();
        bed.main("[sources.app]\nfiles = [\"DIR/log/app.log\"]\n");
        bed.file("jobs/scan.toml", "[scan]\nsources = [\"app\"]\nrules = [\"mine\"]\n");
        bed.file("config/rules/mine.toml", rule);
        for until in pieces {
            let known = logins.iter().filter(|(hour, _)| hour < until);
            bed.file("log/app.log", &known.map(|(_, line)| line.as_str()).collect::<String>());
            bed.run_job("scan", &(start + chrono::TimeDelta::hours(*until)).to_rfc3339());
        }
        let found = bed.json(&["findings"]).as_array().unwrap().clone();
        let mut found: Vec<_> = found.iter().map(|f| format!("{} {}", f["first"], f["subject"]["user.name"])).collect();
        found.sort();
        let tested = bed.json(&["rules", "test", "--rule", "mine", bed.path("log/app.log").to_str().unwrap()]);
        assert_eq!(tested["rules"][0]["findings"], found.len(), "{found:?}");
        found
    };
    let whole = found(&[200]);
    let of = |user: &str| whole.iter().filter(|told| told.ends_with(&format!("{user:?}"))).count();
    assert_eq!(["bob", "carol", "alice", "dora", "eve"].map(of), [1, 2, 1, 1, 1], "{whole:?}");
    assert_eq!(found(&[24, 48, 72, 96, 120, 144, 168, 192, 200]), whole);
    assert_eq!(found(&[100, 171, 200]), whole);
}

#[test]
fn who_logs_in_after_whatever_a_sequence_names_is_found() {
    let answer = |second: u32, user: &str, ip: &str| {
        format!("{ip} - {user} [20/Nov/2026:10:00:{second:02} +0000] \"GET /{second} HTTP/1.1\" 404 5 \"-\" \"-\"\n")
    };
    let login = "2026-11-20T10:05:00Z web1 sshd[7]: Accepted password for eve from 192.0.2.7 port 22 ssh2\n";
    for (what, user, log) in [
        ("statuses = [\"404\"]", "-", login),
        ("statuses = [\"4xx\"]", "eve", login),
        ("events = \"urgent-lines\"", "-", login),
        ("statuses = [\"5xx\"]", "-", ""),
    ] {
        let bed = TestBed::new();
        bed.main("[sources.logs]\nfiles = [\"DIR/log/*\"]\n");
        bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"mine\"]\n");
        let rule = "severity = \"low\"\nmeaning = \"m\"\nadvice = \"a\"\n[sequence]\nby = \"source.ip\"\n";
        bed.file("config/rules/mine.toml", &format!("{rule}{what}\n"));
        let answers = (1..6).map(|n| answer(n, user, "192.0.2.7")).collect::<String>() + &answer(7, user, "192.0.2.8");
        bed.file("log/access.log", &answers)
            .file("log/auth.log", &login.replace("eve", "root").replace(".2.7", ".2.8"));
        bed.file("log/secure", log);
        bed.run_job("scan", "2026-11-20T11:00:00Z");
        let found = bed.json(&["findings"]);
        let found = found.as_array().unwrap();
        let named: Vec<_> =
            found.iter().map(|f| (f["subject"]["source.ip"].as_str(), f["breach"]["user"].as_str())).collect();
        let want = [(Some("192.0.2.7"), Some("eve"))];
        assert_eq!(named, if log.is_empty() { &want[..0] } else { &want }, "{what}");
    }
}

#[test]
fn times_of_the_future_hide_no_outage() {
    let bed = TestBed::new();
    bed.main("[sources.web]\nfiles = [\"DIR/log/access.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"web\"]\nrules = [\"server-errors\"]\n");
    let line = |time: i64, status: u16| {
        let time = chrono::DateTime::from_timestamp(time, 0).unwrap().format("%d/%b/%Y:%H:%M:%S");
        format!("192.0.2.7 - - [{time} +0000] \"GET / HTTP/1.1\" {status} 5\n")
    };
    let far = (0..125_000).map(|n| line(1_830_000_000 + 300 * n, 200)).collect::<String>();
    bed.file("log/access.log", &far);
    let ended = bed.run_job("scan", "2026-11-20T10:00:00Z");
    assert!(ended.notes.iter().any(|note| note.contains("more than a day ahead of this machine's clock")), "{ended:?}");
    let outage = (0..400).map(|n| line(1_795_168_800 + n / 2, if n % 2 == 0 { 503 } else { 200 })).collect::<String>();
    bed.file("log/access.log", &(far + &outage));
    bed.run_job("scan", "2026-11-20T10:10:00Z");
    assert_eq!(bed.json(&["findings"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_first_scan_of_rotated_logs_of_several_hosts_finds_what_runs_in_between_would_have() {
    let bed = TestBed::new();
    bed.main("[sources.web]\nfiles = [\"DIR/log/*.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"web\"]\nrules = [\"path-scanning\"]\n");
    let start: chrono::DateTime<chrono::Utc> = "2026-10-05T00:00:00Z".parse().unwrap();
    let line = |time: chrono::DateTime<chrono::Utc>, ip: u32, path: u32| {
        let ip = std::net::Ipv4Addr::from(0x0a00_0000 + ip);
        format!("{ip} - - [{}] \"GET /{path} HTTP/1.1\" 404 5 \"-\" \"-\"\n", time.format("%d/%b/%Y:%H:%M:%S +0000"))
    };
    let mut visitor = 0x0010_0000;
    for (host, week) in (0..3).flat_map(|host| (0..6).map(move |week| (host, week))) {
        let monday = start + chrono::TimeDelta::weeks(week);
        let mut log = String::new();
        for n in 0..9_000 {
            visitor += 1;
            log += &line(monday + chrono::TimeDelta::minutes(n), visitor, n as u32);
            // Who asks for twenty paths, some of each host.
            if n / 8 == 400 {
                log += &line(
                    monday + chrono::TimeDelta::seconds(60 * 3200 + n),
                    week as u32,
                    100_000 + host * 1000 + n as u32,
                );
            }
        }
        let name = if week == 5 { format!("log/host{host}.log") } else { format!("log/host{host}.log.{}", 5 - week) };
        bed.file(&name, &log);
        let file = std::fs::File::options().write(true).open(bed.path(&name)).unwrap();
        file.set_modified((monday + chrono::TimeDelta::weeks(1)).into()).unwrap();
    }
    let ended = bed.run_job("scan", "2026-11-16T00:00:00Z");
    assert_eq!(ended.outcome, logkeeper::model::Outcome::Succeeded, "{ended:?}");
    let found = bed.json(&["findings"]);
    assert_eq!(found.as_array().unwrap().iter().map(|f| f["count"].as_u64().unwrap()).collect::<Vec<_>>(), [24; 6]);
}

#[test]
fn a_long_log_read_at_once_has_no_pause_where_a_block_ends() {
    let bed = TestBed::new();
    bed.main("[sources.app]\nfiles = [\"DIR/log/app.log\"]\n[sources.lost]\nfiles = [\"DIR/log/lost.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"app\", \"lost\"]\nrules = [\"silent-sources\", \"new-logins\"]\n");
    let padding = "x".repeat(4000);
    let long: String = steady(false, 60, 0).lines().map(|line| format!("{line} {padding}\n")).collect();
    assert!(long.len() > 64 << 20, "{}", long.len());
    bed.file("log/app.log", &long).file("log/lost.log", &steady(false, 28, 0));
    // One stamp of a clock without a battery teaches nothing.
    let login = |time: &str| format!("{time} web1 sshd[7]: Accepted password for eve from 192.0.2.7 port 22 ssh2\n");
    bed.file("log/lost.log", &(login("1970-01-01T00:00:01Z") + &login("2026-12-20T00:00:00Z") + &steady(false, 60, 0)));
    bed.run_job("scan", "2026-12-25T00:00:00Z");
    assert_eq!(bed.json(&["findings"]), serde_json::json!([]));
    // A log that is gone is silent, and one that grows is not.
    std::fs::remove_file(bed.path("log/lost.log")).unwrap();
    bed.file("log/app.log", &(long + &steady(false, 61, 0)[steady(false, 60, 0).len()..]));
    bed.run_job("scan", "2026-12-26T00:00:00Z");
    let found = bed.json(&["findings"]);
    let silent: Vec<_> = found.as_array().unwrap().iter().map(|f| &f["subject"]["event.dataset"]).collect();
    assert_eq!(silent, ["lost"], "{found}");
}

#[test]
fn what_is_new_or_silent_does_not_depend_on_cuts() {
    let login = |n: u64| {
        let time = FIRST.parse::<chrono::DateTime<chrono::Utc>>().unwrap() + chrono::TimeDelta::minutes(11 * n as i64);
        let (user, ip) = (n % 3, (n / 40) % 9);
        format!(
            "{} web1 sshd[{n}]: Accepted password for u{user} from 192.0.2.{ip} port 22 ssh2\n",
            time.format("%FT%TZ")
        )
    };
    let logins: String = (0..1500).map(login).collect();
    let steady = steady(false, 23, 0) + &steady(false, 24, 0)[steady(false, 23, 12).len()..];
    let prepare = |bed: &TestBed| {
        let rule = "severity = \"low\"\nmeaning = \"m\"\nadvice = \"a\"\n[new]\nevents = \"logins\"\n";
        bed.file(
            "config/rules/mine.toml",
            &format!("{rule}by = [\"source.ip\", \"user.name\"]\nlearn = \"1d\"\nforget = \"2d\"\n"),
        );
        bed.file("config/rules/silent-sources.toml", include_str!("../../config/rules/silent-sources.toml"));
        let job = "[scan]\nsources = [\"logs\"]\nrules = [\"mine\", \"silent-sources\"]\n";
        bed.file("jobs/scan.toml", job);
    };
    assert_cuts_change_nothing_with(&prepare, &[("auth.log", logins.as_bytes())], 0..6);
    assert_cuts_change_nothing_with(&prepare, &[("app.log", steady.as_bytes())], 0..6);
}

#[test]
fn what_an_attack_adds_within_the_cooldown_is_told_when_that_is_over() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/auth.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\nalert = [\"admins\"]\n");
    let mut log = String::new();
    let mut scan = |hour: u32, failures: u32, ip: &str| {
        let line = |n: u32| {
            format!(
                "2026-11-20T{hour:02}:00:{n:02}Z web1 sshd[{hour}{n}]: Failed password for root from {ip} port 1 ssh2\n"
            )
        };
        log += &(0..failures).map(line).collect::<String>();
        bed.file("log/auth.log", &log);
        bed.run_job("scan", &format!("2026-11-20T{hour:02}:30:00Z"));
        let found = bed.json(&["findings"]);
        let told = |f: &serde_json::Value| format!("{} {}", f["count"], f["alerted"].as_str().unwrap_or("never"));
        found.as_array().unwrap().iter().map(told).collect::<Vec<_>>()
    };
    scan(9, 1, "198.51.100.1");
    assert_eq!(scan(10, 5, "203.0.113.5"), ["5 2026-11-20T10:30:00+00:00"]);
    assert_eq!(scan(11, 20, "203.0.113.5"), ["25 2026-11-20T10:30:00+00:00"], "the rule's cooldown is six hours");
    assert_eq!(scan(17, 1, "198.51.100.1"), ["25 2026-11-20T17:30:00+00:00"]);
    assert_eq!(scan(18, 4, "203.0.113.5"), ["29 2026-11-20T17:30:00+00:00"]);
    assert_eq!(scan(23, 0, "203.0.113.5"), ["29 2026-11-20T17:30:00+00:00"], "so few more are no news");
}

#[test]
fn an_attack_that_nobody_was_told_of_is_told_when_late_lines_make_it_larger_after_it_was_settled() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n");
    let job = "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\n";
    bed.file("jobs/scan.toml", job);
    let lines = |day: u32, n: std::ops::Range<u32>, ip: &str| {
        let line = |n: u32| {
            format!("2026-11-{day}T10:00:{n:02}Z web1 sshd[{n}]: Failed password for root from {ip} port 1 ssh2\n")
        };
        n.map(line).collect::<String>()
    };
    let told = || {
        let found = bed.json(&["findings"]);
        let told = |f: &serde_json::Value| format!("{} {} {}", f["count"], f["open"], f["alerted"].is_string());
        found.as_array().unwrap().iter().map(told).collect::<Vec<_>>()
    };
    bed.file("log/a.log", &lines(20, 10..15, "203.0.113.5"));
    bed.run_job("scan", "2026-11-20T10:30:00Z");
    bed.file("log/a.log", &(lines(20, 10..15, "203.0.113.5") + &lines(23, 0..1, "198.51.100.1")));
    bed.run_job("scan", "2026-11-23T10:30:00Z");
    assert_eq!(told(), ["5 false false"]);
    bed.file("jobs/scan.toml", &format!("{job}alert = [\"admins\"]\n"));
    bed.file("log/b.log", &lines(20, 0..9, "203.0.113.5"));
    bed.run_job("scan", "2026-11-23T11:00:00Z");
    assert_eq!(told(), ["9 true true"]);
}

#[test]
fn of_who_is_let_alone_meanwhile_nobody_is_told_again() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/auth.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\nalert = [\"admins\"]\n");
    let now = chrono::Utc::now();
    let mut log = String::new();
    let mut scan = |minute: i64, failures: i64, ip: &str| {
        let at = now + chrono::TimeDelta::minutes(minute);
        let line = |n: i64| {
            let time = (at - chrono::TimeDelta::seconds(60 - n)).format("%FT%TZ");
            format!("{time} web1 sshd[{minute}{n}]: Failed password for root from {ip} port 1 ssh2\n")
        };
        log += &(0..failures).map(line).collect::<String>();
        bed.file("log/auth.log", &log);
        bed.run_job("scan", &at.to_rfc3339());
        bed.json(&["findings"]).as_array().unwrap().iter().map(|f| f["alerted"].clone()).collect::<Vec<_>>()
    };
    scan(-50, 1, "198.51.100.1");
    let told = scan(0, 5, "203.0.113.5");
    assert!(told.len() == 1 && told[0].is_string(), "{told:?}");
    assert_eq!(scan(30, 20, "203.0.113.5"), told);
    assert_eq!(bed.run(&["allow", "203.0.113.0/24", "--for", "7d", "--why", "our scanner"]).code, 0);
    assert_eq!(scan(400, 1, "198.51.100.1"), told);
    assert_eq!(bed.run(&["allow", "203.0.113.0/24", "--end"]).code, 0);
    assert_ne!(scan(410, 1, "198.51.100.1"), told);
}

#[test]
fn an_outage_that_two_rules_see_is_one_thing_in_the_report() {
    let bed = TestBed::new();
    bed.main("[sources.web]\nfiles = [\"DIR/log/access.log\"]\n");
    let rules = "rules = [\"error-spikes\", \"server-errors\"]\n";
    bed.file("jobs/scan.toml", &format!("[scan]\nsources = [\"web\"]\n{rules}"));
    let day = (chrono::Utc::now() - chrono::TimeDelta::days(3)).format("%d/%b/%Y");
    let line =
        |n: u32| format!("192.0.2.{n} - - [{day}:10:00:{:02} +0000] \"GET / HTTP/1.1\" 503 1 \"-\" \"x\"\n", n / 2);
    bed.file("log/access.log", &(0..100).map(line).collect::<String>());
    assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
    assert_eq!(bed.json(&["findings"]).as_array().unwrap().len(), 2);
    let page = bed.path("out.html");
    bed.run(&["report", "weekly", "--preview", page.to_str().unwrap()]);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("failed to answer 100 requests.") && !page.contains("time more"), "{page}");
}

#[test]
fn a_rule_is_told_in_words() {
    let bed = TestBed::new();
    let told = bed.run(&["rules", "explain", "password-spraying"]).stdout;
    assert!(told.contains("5 different accounts in the failed logins of one source.ip within 30m"), "{told}");
    assert!(told.contains("T1110.003") && told.contains("no job"), "{told}");
    let told = bed.run(&["rules", "list"]).stdout;
    assert!(told.contains("1 cleared log of one host.name within 1m"), "{told}");
    assert!(told.contains("10 % answers 5xx among at least 50 within a clock period of 5m"), "{told}");
    assert!(told.contains("4 lines (error, auth, system, unknown) with \"Urgent log detected\""), "{told}");
    let told = bed.run(&["rules", "explain", "nothing"]);
    assert!(told.code != 0 && told.stderr.contains("one of: "), "{told:?}");
}

#[test]
fn at_a_terminal_what_is_told_of_a_rule_breaks_between_words_and_goes_on_below_its_beginning() {
    if !has("script") {
        return skip("at_a_terminal_what_is_told_of_a_rule_breaks_between_words", "script (util-linux)");
    }
    let bed = TestBed::new();
    let terminal = format!("stty cols 72; {} rules explain failed-logins", env!("CARGO_BIN_EXE_logkeeper"));
    let mut script = std::process::Command::new("script");
    script
        .args(["-qec", &terminal, "/dev/null"])
        .env("LOGKEEPER_CONFIG", bed.path(""))
        .stdin(std::process::Stdio::null());
    let shown = String::from_utf8(script.output().unwrap().stdout).unwrap();
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    assert!(lines.iter().all(|line| line.len() <= 72), "{shown}");
    let meaning =
        logkeeper::config::shipped_rules().into_iter().find(|rule| rule.name == "failed-logins").unwrap().meaning;
    let at = lines.iter().position(|line| line.starts_with("  means        One address keeps")).expect(&shown);
    assert_eq!(lines[at + 1].find(|c| c != ' '), Some(15), "{shown}");
    assert_eq!([lines[at][15..].trim(), lines[at + 1].trim()].join(" "), meaning);
}

#[test]
fn who_is_let_alone_is_so_however_it_is_written_and_what_else_lets_it_alone_is_told() {
    let bed = TestBed::new();
    bed.main("");
    let allow = |args: &[&str]| bed.run(&[&["allow"], args].concat());
    assert_eq!(allow(&["::ffff:192.0.2.7", "--why", "x"]).code, 0);
    assert_eq!(bed.json(&["allow"])[0]["who"], "192.0.2.7");
    assert_eq!(allow(&["192.0.2.0/24", "--why", "x"]).code, 0);
    let ended = allow(&["192.0.2.7", "--end"]).stdout;
    assert!(ended.contains("192.0.2.0/24 is let alone until"), "{ended}");
    assert_eq!(allow(&["192.0.2.9", "--why", "x", "--for", "0s"]).code, 2);
    let told = allow(&["account it's me", "--why", "x"]).stdout;
    assert!(told.ends_with("logkeeper allow 'account it'\\''s me' --end\n"), "{told}");
}

#[test]
fn rules_that_contradict_themselves_are_refused() {
    for (kind, complaint) in [
        ("count]\nby = [\"source.ip\", \"source.ip\"]", "named twice"),
        ("distinct]\nby = \"source.ip\"\nvalues = \"source.ip\"", "one of the fields of by"),
        ("distinct]\nby = \"source.ip\"\nvalues = \"user.name\"\nstatic_files = false", "no paths are counted"),
        ("new]\nby = \"source.ip\"\nlearn = \"14d\"\nforget = \"1d\"", "shorter than learn"),
        ("count]\nby = \"source.ip\"\nthreshold = 99999999999", "threshold is 99999999999"),
    ] {
        let bed = TestBed::new();
        let rule = format!("severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\nallow = []\n[{kind}\n");
        bed.main("").file("config/rules/mine.toml", &rule);
        let checked = bed.run(&["check"]);
        assert!(checked.code == 2 && checked.stderr.contains(complaint), "{kind}: {checked:?}");
        assert!(checked.stderr.ends_with("1 error in 1 file; nothing was started or changed\n"), "{}", checked.stderr);
    }
}

#[test]
fn lists_in_rules_that_hold_nothing_are_refused() {
    for kind in [
        "ratio]\npercent = 10",
        "spike]",
        "count]\nby = \"source.ip\"",
        "distinct]\nby = \"source.ip\"\nvalues = \"url.path\"",
    ] {
        let bed = TestBed::new();
        let rule = format!("severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[{kind}\nstatuses = []\n");
        bed.main("").file("config/rules/mine.toml", &rule);
        let checked = bed.run(&["check"]);
        assert!(checked.code == 2 && checked.stderr.contains("statuses is empty"), "{kind}: {checked:?}");
    }
}
