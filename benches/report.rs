//! A weekly report over a year of counts and a million findings: composed, worded, drawn and frozen as a mail.
//!
//! Run with `cargo bench --bench report`; prints seconds and sizes, with the limits in brackets.

#![allow(missing_docs, clippy::unwrap_used, reason = "a measurement that can't go on fails")]

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use logkeeper::config::{Config, SHIPPED};
use logkeeper::jobs::{ReportRequest, compose_report};
use logkeeper::model::{Audience, ReportKind};
use logkeeper::store::Store;
use logkeeper::{notify, report};
use rusqlite::params;

const FINDINGS: i64 = 1_000_000;
const DAYS: i64 = 395;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in SHIPPED {
        let target = folder.path().join(path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(target, text.replace("/var/lib/logkeeper", &folder.path().join("state").to_string_lossy()))
            .unwrap();
    }
    let config = Config::load(folder.path()).unwrap();
    drop(Store::open(&config.state).unwrap());
    let made: DateTime<Utc> = "2026-11-20T11:00:00Z".parse().unwrap();
    fill(&folder.path().join("state/logkeeper.db"), made);
    let store = Store::open(&config.state).unwrap();
    for kind in [ReportKind::Daily, ReportKind::Weekly, ReportKind::Monthly] {
        for audience in [Audience::Management, Audience::Admins] {
            let request = ReportRequest { kind, audience, zone: chrono_tz::Europe::Berlin, made };
            let begun = Instant::now();
            let figures = compose_report(&request, &config, &store).unwrap();
            let composed = begun.elapsed();
            let mail = report::message(&figures).mail;
            let mime = notify::freeze(&mail, "log@example.org", &["a@example.org".into()], made).unwrap();
            println!(
                "{kind:<8} {audience:<11} {:.3} s (1 for a week), of it figures {:.3} s; HTML {} kB (80), mail {} kB (300), {} findings",
                begun.elapsed().as_secs_f64(),
                composed.as_secs_f64(),
                mail.html.len() / 1000,
                mime.len() / 1000,
                figures.findings_total
            );
        }
    }
}

/// Thirteen months of counts of four sources by two jobs, the names of each hour, runs, and a million findings, spread evenly.
fn fill(path: &std::path::Path, made: DateTime<Utc>) {
    let mut database = rusqlite::Connection::open(path).unwrap();
    database.pragma_update(None, "synchronous", "OFF").unwrap();
    let tx = database.transaction().unwrap();
    let start = made - TimeDelta::days(DAYS);
    {
        let mut run = tx.prepare("INSERT INTO runs (job, kind, trigger, slot, requested, started, finished, outcome) VALUES (?1, 'scan', 'scheduled', ?2, ?3, ?3, ?3, 'succeeded')").unwrap();
        for n in 0..DAYS * 144 {
            let at = (start + TimeDelta::minutes(10 * n)).timestamp();
            for job in ["failed-logins", "error-spikes"] {
                run.execute(params![job, at, at * 1000]).unwrap();
            }
        }
        let mut tally = tx.prepare("INSERT INTO tallies VALUES (?1, ?2, ?3, ?4, ?5)").unwrap();
        let names =
            ["lines", "access_lines", "urgent", "requests", "status_404", "status_4xx", "failed_logins", "logins"];
        for bucket in start.timestamp() / 900..made.timestamp() / 900 {
            for source in ["auth", "syslog", "web-access", "web-error"] {
                for job in ["failed-logins", "error-spikes"] {
                    for (n, name) in names.iter().enumerate() {
                        tally.execute(params![source, bucket, job, name, bucket % 97 + n as i64]).unwrap();
                    }
                }
            }
        }
        let mut top = tx.prepare("INSERT INTO tops VALUES (?1, ?2, ?3, 'failed-logins', ?4, ?5)").unwrap();
        for hour in start.timestamp() / 3600..made.timestamp() / 3600 {
            for kind in ["ip", "user", "path", "attacker", "target", "error-path"] {
                for n in 0..20 {
                    top.execute(params![hour, kind, "web-access", format!("name-{}", (hour * 7 + n) % 900), n + 1])
                        .unwrap();
                }
            }
        }
        let sql = "INSERT INTO findings (job, rule, severity, subject, count, counted, can_wait, first, last, reached, breach, evidence, open, run)
                   VALUES ('failed-logins', ?1, ?2, ?3, ?4, 'failed logins', 0, ?5, ?6, ?5, 'null', ?7, 0, 1)";
        let mut finding = tx.prepare(sql).unwrap();
        let line = "Failed password for root from 203.0.113.9 port 22 ssh2".repeat(3);
        let evidence =
            format!("[{0},{0},{0}]", serde_json::json!({ "file": "/var/log/auth.log", "line": 7, "text": line }));
        let severities = ["low", "medium", "high", "medium", "low"];
        for n in 0..FINDINGS {
            let first = start.timestamp() + n * DAYS * 86_400 / FINDINGS;
            let subject = format!("{{\"source.ip\":\"10.{}.{}.{}\"}}", n % 200, n / 200 % 250, n % 97);
            let rule = if n % 3 == 0 { "failed-logins" } else { "path-scanning" };
            finding
                .execute(params![rule, severities[n as usize % 5], subject, n % 500, first, first + 300, evidence])
                .unwrap();
        }
    }
    tx.commit().unwrap();
}
