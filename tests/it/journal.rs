//! The systemd journal, read by the real journalctl from a journal made by systemd-journal-remote.

use std::process::{Command, Stdio};

use crate::support::{self, TestBed};

const REMOTE: &str = "/lib/systemd/systemd-journal-remote";

/// Journal entries in export format (<https://systemd.io/JOURNAL_EXPORT_FORMATS/>).
fn export(range: std::ops::Range<u64>) -> String {
    range
        .map(|n| {
            let micros = 1_763_632_800_000_000 + n * 1_000_000;
            let pid = 100 + n;
            format!("__REALTIME_TIMESTAMP={micros}\n__MONOTONIC_TIMESTAMP={n}\n_BOOT_ID=0123456789abcdef0123456789abcdef\n_HOSTNAME=web1\nSYSLOG_IDENTIFIER=sshd\n_PID={pid}\nMESSAGE=Failed password for root from 198.51.100.1 port {n} ssh2\n\n")
        })
        .collect()
}

fn write_journal(bed: &TestBed, name: &str, text: &str) {
    bed.file("export", text);
    std::fs::create_dir_all(bed.path("journal")).unwrap();
    let made = Command::new(REMOTE)
        .arg(format!("--output={}", bed.path("journal").join(name).display()))
        .arg(bed.path("export"))
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
}

#[test]
fn logins_are_read_from_the_journal_once_each() {
    if !std::path::Path::new(REMOTE).exists() || !support::has("journalctl") {
        return support::skip("logins_are_read_from_the_journal_once_each", "journalctl and systemd-journal-remote");
    }
    let bed = TestBed::new();
    bed.main("[sources.auth]\nfiles = [\"DIR/none/auth.log\"]\njournal = [\"sshd\", \"sshd-session\"]\njournal_folder = \"DIR/journal\"\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"auth\"]\nrules = [\"failed-logins\"]\n");
    let at = "2025-11-20T12:00:00Z";
    let count = || bed.json(&["findings"])[0]["count"].clone();
    write_journal(&bed, "a.journal", &export(0..6));
    bed.run_job("scan", at);
    assert_eq!(count(), 6);
    assert_eq!(bed.run_job("scan", at).summary, "no activity detected: nothing new in the logs");
    write_journal(&bed, "b.journal", &export(6..9));
    bed.run_job("scan", at);
    assert_eq!(count(), 9);
    assert_eq!(bed.json(&["findings"])[0]["evidence"][0]["file"], "journal");
    let shown = bed.run(&["findings", "show", "1"]).stdout;
    assert!(shown.contains("\n  journal\n") && !shown.contains("journal:"), "the journal has no line numbers: {shown}");
    // More than one batch.
    write_journal(&bed, "c.journal", &export(9..50_100));
    bed.run_job("scan", at);
    assert_eq!(count(), 50_100);
    // Entries that anybody may write so that none of a batch can be read stop nothing.
    let unreadable = export(50_100..100_200).replace("_PID=", "SYSLOG_PID=1\nSYSLOG_PID=");
    write_journal(&bed, "d.journal", &(unreadable + &export(100_200..100_201)));
    bed.run_job("scan", at);
    assert_eq!(count(), 50_101);
}

#[test]
fn requests_that_caddy_tells_the_journal_are_read_from_it() {
    if !std::path::Path::new(REMOTE).exists() || !support::has("journalctl") {
        return support::skip(
            "requests_that_caddy_tells_the_journal_are_read_from_it",
            "journalctl and systemd-journal-remote",
        );
    }
    let entries = |who: &str| -> String {
        let request = |n: u64| {
            let seconds = 1_763_640_000 + n;
            format!(
                "__REALTIME_TIMESTAMP={seconds}000000\n__MONOTONIC_TIMESTAMP={n}\n_BOOT_ID=0123456789abcdef0123456789abcdef\n_HOSTNAME=web1\nSYSLOG_IDENTIFIER=caddy\n_TRANSPORT=stdout\n{who}MESSAGE={{\"level\":\"info\",\"ts\":{seconds}.5,\"request\":{{\"remote_ip\":\"198.51.100.7\",\"method\":\"GET\",\"uri\":\"/{n}\"}},\"status\":401}}\n\n"
            )
        };
        (0..6).map(request).collect()
    };
    for (who, count) in [("_UID=998\n_EXE=/usr/bin/caddy\n", 6), ("_UID=1000\n_EXE=/usr/bin/logger\n", 0)] {
        let bed = TestBed::new();
        bed.main("[sources.web]\njournal = [\"caddy\"]\njournal_folder = \"DIR/journal\"\n");
        bed.file("config/formats/caddy.toml", include_str!("../../config/formats/caddy.toml"));
        bed.file("jobs/scan.toml", "[scan]\nsources = [\"web\"]\nrules = [\"failed-logins\"]\n");
        write_journal(&bed, "a.journal", &entries(who));
        bed.run_job("scan", "2025-11-20T12:30:00Z");
        let found = bed
            .json(&["findings"])
            .as_array()
            .map_or(0, |found| found.iter().filter_map(|one| one["count"].as_u64()).sum::<u64>());
        assert_eq!(found, count, "{who}");
    }
}
