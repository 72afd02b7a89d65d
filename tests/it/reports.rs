//! Reports: what they cover, what they say, and that they stay as they were sent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{Days, NaiveDate};
use logkeeper::jobs::ReportRequest;
use logkeeper::model::{Audience, Breach, Counted, Finding, ReportKind, Severity, StoredFinding, Tally};
use logkeeper::report::{self, ArchiveRecord, Day, Disk, Figures, Hour, JobRecord, SourceRecord};
use logkeeper::store::Store;

use crate::support::smtp::{Act, ScriptedSmtp};
use crate::support::{self, TestBed, chromium, unquoted};

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// A day's counts that follow from its number alone; Thursdays are busy.
fn tally(n: u64, thursday: bool) -> Tally {
    let requests = if thursday { 6000 } else { 2000 } + 37 * n;
    Tally {
        lines: requests + 220,
        requests,
        access_lines: requests,
        auth_lines: 40 + n,
        status_401: 6 + n,
        status_403: 3,
        status_404: 20 + 2 * n,
        status_4xx: 31 + 3 * n,
        status_5xx: n % 2,
        failed_logins: 10 + 3 * n,
        logins: 9 + n,
        ..Tally::default()
    }
}

fn days(from: NaiveDate, n: u64) -> Vec<Day> {
    let day = |index| {
        let date = from + Days::new(index);
        Day { date, tally: Some(tally(index, date.format("%a").to_string() == "Thu")) }
    };
    (0..n).map(day).collect()
}

fn hours(days: &[Day]) -> Vec<Hour> {
    let shape = [1, 1, 0, 0, 1, 2, 4, 8, 12, 14, 15, 14, 11, 12, 13, 12, 10, 8, 6, 5, 4, 3, 2, 1];
    let known = days.iter().filter_map(|day| Some((day.date, day.tally?)));
    let of_day = |(date, tally): (NaiveDate, Tally)| {
        (0..24).map(move |hour| Hour {
            date,
            hour,
            requests: tally.requests * shape[hour as usize] / 159,
            failed_logins: tally.failed_logins / 24,
            errors: u64::from(hour % 5 == 0),
        })
    };
    known.flat_map(of_day).collect()
}

fn found(id: i64, field: &str, value: &str, count: u64, severity: Severity, breach: Option<&str>) -> StoredFinding {
    let first = date("2026-11-17").and_hms_opt(2, 10, 0).unwrap().and_utc().timestamp();
    let finding = Finding {
        rule: "failed-logins".into(),
        severity,
        subject: [(field.to_owned(), value.to_owned())].into(),
        count,
        counted: if field == "http.status" { Counted::Answers } else { Counted::FailedLogins },
        first,
        last: first + 1500,
        reached: first + 60,
        breach: breach.map(|user| Breach { time: first + 1600, user: user.to_owned(), others: Vec::new() }),
        note: None,
        can_wait: false,
        evidence: Vec::new(),
        open: false,
    };
    StoredFinding { id, job: "failed-logins".into(), run: 1, alerted: None, withdrawn: None, finding }
}

/// A quiet week of which everything is known.
fn quiet(audience: Audience) -> Figures {
    let (from, to) = (date("2026-11-13"), date("2026-11-19"));
    let days_now = days(from, 7);
    let job = |id: &str, due| JobRecord { id: id.into(), due, done: due, ..JobRecord::default() };
    let source = |name: &str, lines, days| SourceRecord {
        name: name.into(),
        scanned: true,
        lines,
        days_before: 7,
        unparsed: 0,
        days,
    };
    Figures {
        kind: ReportKind::Weekly,
        audience,
        host: "web1".into(),
        zone: chrono_tz::Europe::Berlin,
        made: "2026-11-20T11:00:00Z".parse().unwrap(),
        made_by: "weekly-summary".into(),
        told_since: "2026-11-13T11:00:00Z".parse().unwrap(),
        read_until: None,
        from,
        to,
        hours: hours(&days_now),
        days: days_now,
        days_before: days(date("2026-11-06"), 7),
        week_ago: None,
        hours_before: Vec::new(),
        watched_since: Some(date("2026-01-01")),
        findings: Vec::new(),
        findings_total: 0,
        findings_before: Some(2),
        findings_late: 0,
        breaches: 0,
        breaches_late: 0,
        outages: 0,
        jobs: vec![job("archive-logs", 7), job("failed-logins", 1008), job("weekly-summary", 1)],
        archives: ArchiveRecord {
            made: 14,
            logs: 21,
            bytes: 18_300_000,
            verified: 9,
            damaged: Vec::new(),
            digests: vec![("web1-auth-2026-11-19.tar.gz".into(), "ab".repeat(32))],
        },
        sources: vec![source("auth", 1500, 7), source("web-access", 18_000, 7)],
        attackers: vec![("192.0.2.10".into(), 9), ("198.51.100.4".into(), 5)],
        acquaintances: Vec::new(),
        targets: vec![("admin".into(), 7)],
        error_paths: vec![("/favicon.ico".into(), 40)],
        disks: vec![Disk { path: "/var/lib/logkeeper".into(), free: 61_000_000_000, total: 100_000_000_000 }],
        undelivered: 0,
    }
}

/// A week in which somebody got in, the server failed, jobs failed and a disk filled up.
fn bad(audience: Audience) -> Figures {
    let mut figures = quiet(audience);
    let day = figures.days[4].tally.as_mut().unwrap();
    (day.failed_logins, day.status_5xx) = (2400, 310);
    figures.findings = vec![
        found(4, "source.ip", "203.0.113.9", 1480, Severity::Critical, Some("backup")),
        found(5, "http.status", "503", 310, Severity::High, None),
        found(6, "source.ip", "203.0.113.77", 640, Severity::High, None),
        found(7, "user.name", "root", 900, Severity::Medium, None),
    ];
    (figures.findings_total, figures.breaches, figures.outages) = (57, 1, 3);
    figures.findings_late = 4;
    let attackers =
        [("203.0.113.9", 1480), ("203.0.113.77", 640), ("203.0.113.8", 90), ("10.0.0.7", 400), ("192.0.2.3", 1)];
    figures.attackers = attackers.map(|(name, n)| (name.into(), n)).to_vec();
    figures.targets = vec![("root".into(), 1900), ("backup".into(), 300)];
    figures.jobs[0] = JobRecord {
        failed: 2,
        missed: 1,
        done: 4,
        late: 1,
        last_failed: Some((812, "can't write /srv/archives: No space left on device".into())),
        ..figures.jobs[0].clone()
    };
    figures.sources[1].unparsed = 1700;
    figures.archives.damaged = vec!["web1-auth-2026-10-02.tar.gz".into()];
    figures.disks[0].free = 4_000_000_000;
    figures.undelivered = 3;
    figures
}

/// The first week: nothing to compare with, and watched from Monday on only.
fn first(audience: Audience) -> Figures {
    let mut figures = quiet(audience);
    figures.days.iter_mut().take(3).for_each(|day| day.tally = None);
    figures.hours = hours(&figures.days);
    figures.days_before.iter_mut().for_each(|day| day.tally = None);
    figures.watched_since = Some(date("2026-11-16"));
    figures.findings_before = None;
    figures
}

/// A week of which two days are missing.
fn gap(audience: Audience) -> Figures {
    let mut figures = quiet(audience);
    figures.days[3].tally = None;
    figures.days[4].tally = None;
    figures.hours = hours(&figures.days);
    figures
}

type Maker = fn(Audience) -> Figures;

fn cases() -> Vec<(String, Figures)> {
    let makers: [(&str, Maker); 4] = [("quiet", quiet), ("bad", bad), ("first", first), ("gap", gap)];
    let audiences = [Audience::Management, Audience::Admins];
    makers
        .iter()
        .flat_map(|(name, make)| audiences.map(|audience| (format!("{name}-{audience}"), make(audience))))
        .collect()
}

/// Compares with what is kept; `LOGKEEPER_BLESS=1` keeps what is there now.
fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var("LOGKEEPER_BLESS").is_ok_and(|bless| bless == "1") {
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(text.lines()).position(|(a, b)| a != b);
    assert!(
        kept == text,
        "{name} differs from line {differs:?} on; if that is meant, look at it and bless it: LOGKEEPER_BLESS=1"
    );
}

#[test]
fn mails_are_as_they_were_looked_at() {
    for (name, figures) in cases() {
        let message = report::message(&figures);
        // A tag a line, so that a difference can be read.
        assert_golden(&format!("{name}.html"), &(message.mail.html.replace("><", ">\n<") + "\n"));
        assert_golden(&format!("{name}.txt"), &format!("Subject: {}\n\n{}", message.mail.subject, message.mail.text));
    }
    let attachments = report::message(&bad(Audience::Admins)).mail.attachments;
    for attachment in attachments {
        assert_golden(attachment.name.trim_start_matches("web1-2026-11-19-"), &attachment.csv);
    }
    for chart in report::chart::all(&bad(Audience::Admins)) {
        assert_golden(&format!("{}.svg", chart.name), &(chart.svg.replace("><", ">\n<") + "\n"));
    }
}

#[test]
fn missing_data_is_said_and_never_shown_as_nothing() {
    let figures = gap(Audience::Management);
    let text = report::message(&figures).mail.text;
    assert!(text.contains("No data                      Mon 16 Nov to Tue 17 Nov"), "{text}");
    assert!(text.contains("5 of 7 days, not compared"), "five days are not less than seven: {text}");
    assert!(text.contains("Mon 16 Nov               no data (before: 19)"), "{text}");
    assert!(text.contains("why there is no data for Mon 16 Nov to Tue 17 Nov"), "{text}");
    let mut nothing = figures;
    nothing.days.iter_mut().for_each(|day| day.tally = None);
    nothing.hours.clear();
    let mail = report::message(&nothing).mail;
    assert!(mail.subject.starts_with("[web1] NO DATA"), "{}", mail.subject);
    assert!(mail.text.contains("Requests answered      no data") && !mail.text.contains("All well"), "{}", mail.text);
    let first = report::message(&first(Audience::Management)).mail.text;
    assert!(first.contains("Nothing. First week, no comparison yet."), "{first}");
    assert!(!first.contains("why there is no data"), "days before it was installed are no gap: {first}");
}

#[test]
fn what_was_not_read_is_no_data_and_a_log_that_fell_silent_is_asked_about() {
    let mut figures = quiet(Audience::Management);
    for tally in figures.days.iter_mut().filter_map(|day| day.tally.as_mut()) {
        (tally.access_lines, tally.requests, tally.status_404, tally.status_5xx) = (0, 0, 0, 0);
    }
    figures.sources[1].lines = 0;
    let mail = report::message(&figures).mail;
    for said in ["Requests answered      no data", "Server errors          no data", "Logins                      84"] {
        assert!(mail.text.contains(said), "wants {said:?} in {}", mail.text);
    }
    assert!(mail.text.contains("why nothing came from the logs web-access any more"), "{}", mail.text);
    assert!(mail.subject.contains("WORTH A LOOK"), "{}", mail.subject);
}

#[test]
fn emptied_logs_and_jobs_done_in_part_are_not_all_well() {
    let mut figures = quiet(Audience::Management);
    let mut cleared = found(3, "host.name", "dc1", 1, Severity::Critical, None);
    cleared.finding.counted = Counted::ClearedLogs;
    (figures.findings, figures.findings_total) = (vec![cleared], 1);
    let mail = report::message(&figures).mail;
    assert!(mail.subject.contains("WORTH A LOOK: 1 thing"), "{}", mail.subject);
    assert!(mail.text.contains("had its logs emptied"), "{}", mail.text);
    let mut figures = quiet(Audience::Management);
    figures.jobs[1].partial = figures.jobs[1].due;
    let mail = report::message(&figures).mail;
    assert!(mail.text.contains("1 job that failed, or did not do all of its work"), "{}", mail.text);
    figures.jobs[1].partial = 3;
    let subject = report::message(&figures).mail.subject;
    assert!(subject.contains("ALL WELL"), "three of a thousand are for the administrator only: {subject}");
}

#[test]
fn recommendations_say_what_they_rest_on() {
    let text = report::message(&bad(Audience::Admins)).mail.text;
    for said in [
        "* Change the password of “backup”",
        "finding 4: 203.0.113.9 got in after 1\u{a0}480 failed logins",
        "* Block 203.0.113.0/24, unless it is one of your own.\n  (",
        "from 3 addresses)",
        "* Ask who uses 10.0.0.7: it is one of your own",
        "* See that nobody can log in as root with a password",
        "* Look at the job archive-logs: logkeeper show 812.\n  (due 7 times, 2 failed, 1 missed, skipped or stopped; can't write /srv/archives: No space left on device)",
        "* Describe the format of the source web-access",
        "* Get the archive web1-auth-2026-10-02.tar.gz from a copy",
        "* Make room on the disk of /var/lib/logkeeper.",
        "logkeeper outbox.\n  (3 were given up)",
    ] {
        assert!(text.contains(said), "wants {said:?} in {text}");
    }
    let quiet = report::message(&quiet(Audience::Admins)).mail.text;
    assert!(quiet.contains("RECOMMENDATIONS\nNone."), "{quiet}");
    let management = report::message(&bad(Audience::Management)).mail.text;
    assert!(!management.contains("RECOMMENDATIONS") && !management.contains("SHA-256"));
}

#[test]
fn nobody_is_told_that_there_is_nothing_to_do_and_what_to_do() {
    let told = |audience| {
        let mut figures = quiet(audience);
        figures.attackers = vec![("198.51.100.200".into(), 4000)];
        let mail = report::message(&figures).mail;
        (mail.subject, mail.text)
    };
    let (subject, text) = told(Audience::Admins);
    assert!(subject.contains("ALL WELL: 1 recommendation - "), "{subject}");
    assert!(text.contains("Block 198.51.100.200") && text.contains("Nothing but the recommendations below"), "{text}");
    assert!(!text.contains("No action is needed"), "{text}");
    let (subject, text) = told(Audience::Management);
    assert!(subject.contains("ALL WELL: nothing to do - ") && text.contains("No action is needed"), "{text}");
}

#[test]
fn nobody_is_told_to_block_who_also_logs_in_or_is_let_alone() {
    let bed = watched();
    let log = std::fs::read_to_string(bed.path("log/auth.log")).unwrap();
    let line = |n: i64, address: &str, what: &str| {
        format!(
            "2026-11-18T11:{:02}:{:02}+00:00 web1 sshd[{n}]: {what} password for eve from {address} port 1 ssh2\n",
            n / 60,
            n % 60
        )
    };
    let tries = |address: &'static str| (0..40).map(move |n| line(n, address, "Failed"));
    let logins = line(3000, "203.0.113.5", "Accepted").repeat(2);
    let tries: String = tries("203.0.113.5").chain(tries("192.0.2.77")).chain(tries("198.51.100.200")).collect();
    bed.file("log/auth.log", &(log + &tries + &logins));
    bed.run_job("scan", "2026-11-20T00:40:00Z");
    // The exemption holds from now on, and the report is of times before.
    assert_eq!(bed.run(&["allow", "192.0.2.0/24", "--for", "7d", "--why", "our scanner"]).code, 0);
    let database = rusqlite::Connection::open(bed.path("state/logkeeper.db")).unwrap();
    database.execute("UPDATE exemptions SET since = 0", []).unwrap();
    drop(database);
    let text = bed.run(&["report", "weekly", "--for", "admins", "--ending", "2026-11-19"]).stdout;
    assert!(text.contains("* Ask who uses 203.0.113.5 before you block it: it also logged in, 2 times."), "{text}");
    assert!(text.contains("* Block 198.51.100.200, unless it is one of your own."), "{text}");
    assert!(!text.contains("Block 192.0.2.77") && text.contains("192.0.2.77 "), "{text}");
}

#[test]
fn a_mail_is_small_and_hostile_names_are_only_names() {
    let mut figures = bad(Audience::Admins);
    let evil = "<script>alert(1)</script>\r\nBcc: a@b\u{1b}[2J=1+1";
    figures.targets = (0..10).map(|n| (format!("=cmd|{n}{evil}"), 10_000 - n)).collect();
    figures.error_paths = (0..10).map(|n| (format!("/{}{evil}", "x".repeat(190 + n)), 900)).collect();
    figures.attackers.push((evil.into(), 300));
    figures.findings =
        (0..200).map(|n| found(n, "user.name", &format!("{evil}{n}"), 50, Severity::High, Some(evil))).collect();
    figures.findings_total = 1_000_000;
    let mail = report::message(&figures).mail;
    assert!(mail.html.len() < 80_000, "{} bytes of HTML", mail.html.len());
    let bytes = logkeeper::notify::freeze(&mail, "log@example.org", &["a@example.org".into()], figures.made).unwrap();
    assert!(bytes.len() < 300_000, "{} bytes", bytes.len());
    assert!(!mail.html.contains("<script") && !mail.html.contains('\u{1b}'));
    for text in [&mail.text, &mail.html, &mail.subject] {
        assert!(!text.contains(['\u{1b}', '\r']));
    }
    for attachment in &mail.attachments {
        for line in attachment.csv.lines().skip(1) {
            assert!(!line.split(',').any(|cell| cell.trim_matches('"').starts_with(['=', '+', '@'])), "{line}");
        }
        assert!(attachment.csv.contains("left out here") || !attachment.name.contains("findings"));
    }
    for chart in report::chart::all(&figures) {
        assert!(!chart.svg.contains("<script") && report::chart::png(&chart.svg).is_some(), "{}", chart.name);
    }
}

#[test]
fn periods_are_the_whole_days_before_in_the_zone_of_the_report() {
    let zone = chrono_tz::Europe::Berlin;
    let period = |kind, made: &str, zone| {
        let request = ReportRequest { kind, audience: Audience::Management, zone, made: made.parse().unwrap() };
        let (from, to) = request.period();
        (from.to_string(), to.to_string())
    };
    let span = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    // A Friday mail covers Friday to Thursday.
    assert_eq!(period(ReportKind::Weekly, "2026-11-20T11:00:00Z", zone), span("2026-11-13", "2026-11-19"));
    // In Berlin it is Friday already.
    assert_eq!(period(ReportKind::Weekly, "2026-11-19T23:30:00Z", zone), span("2026-11-13", "2026-11-19"));
    assert_eq!(period(ReportKind::Weekly, "2026-11-19T23:30:00Z", chrono_tz::UTC), span("2026-11-12", "2026-11-18"));
    assert_eq!(period(ReportKind::Daily, "2026-11-20T05:00:00Z", zone), span("2026-11-19", "2026-11-19"));
    assert_eq!(period(ReportKind::Monthly, "2026-12-01T05:00:00Z", zone), span("2026-11-01", "2026-11-30"));
    assert_eq!(period(ReportKind::Monthly, "2027-03-15T05:00:00Z", zone), span("2027-02-15", "2027-03-14"));
    assert_eq!(period(ReportKind::Monthly, "2027-03-31T05:00:00Z", zone), span("2027-02-28", "2027-03-30"));
}

/// A server whose scan job has read three weeks of requests, the last one up to Thursday 19 November.
fn watched() -> TestBed {
    let bed = TestBed::new();
    bed.main("[sources.web]\nfiles = [\"DIR/log/access.log\"]\n[sources.auth]\nfiles = [\"DIR/log/auth.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"web\", \"auth\"]\nrules = [\"failed-logins\"]\n");
    let start = date("2026-10-30").and_hms_opt(0, 0, 0).unwrap().and_utc();
    let (mut access, mut auth) = (String::new(), String::new());
    for hour in 0..21 * 24 {
        let at = start + chrono::TimeDelta::hours(hour);
        let busy = if at.format("%a").to_string() == "Thu" { 10 } else { 1 };
        for n in 0..busy {
            let stamp = (at + chrono::TimeDelta::seconds(n)).format("%d/%b/%Y:%H:%M:%S +0000");
            access += &format!("192.0.2.1 - - [{stamp}] \"GET /p{n} HTTP/1.1\" {} 5\n", if n == 3 { 404 } else { 200 });
        }
    }
    for n in 0..9 {
        auth += &format!(
            "2026-11-18T10:00:0{n}+00:00 web1 sshd[{n}]: Failed password for root from 198.51.100.7 port 1 ssh2\n"
        );
    }
    bed.file("log/access.log", &access);
    bed.file("log/auth.log", &auth);
    bed.run_job("scan", "2026-11-20T00:30:00Z");
    bed
}

#[test]
fn a_daily_report_compares_with_the_day_before_and_the_same_weekday() {
    let bed = watched();
    let text = bed.run(&["report", "daily", "--ending", "2026-11-19"]).stdout;
    let pages = text.lines().find(|line| line.starts_with("Requests answered")).unwrap();
    assert!(pages.contains("▲ 10 times the day before; = as Thursday a week ago"), "{text}");
    assert!(text.contains("WRONG PASSWORDS PER HOUR") && text.contains("Thursday 19 November 2026"), "{text}");
}

#[test]
fn a_weekly_report_shows_that_thursdays_are_busy_and_what_was_counted() {
    let bed = watched();
    let text = bed.run(&["report", "weekly", "--for", "admins", "--ending", "2026-11-19"]).stdout;
    for said in [
        "Friday 13 to Thursday 19 November 2026",
        "Thursdays were busiest, with 240 requests a day",
        "Wrong passwords              9   ▲ up from none the week before",
        "198.51.100.7",
        "/p3",
        "Logs covered                 2 of 2",
    ] {
        assert!(text.contains(said), "wants {said:?} in {text}");
    }
    let figures = bed.json(&["report", "weekly", "--ending", "2026-11-19"]);
    assert_eq!(figures["attackers"][0], serde_json::json!(["198.51.100.7", 9]));
    let requests: u64 =
        figures["days"].as_array().unwrap().iter().map(|day| day["tally"]["requests"].as_u64().unwrap()).sum();
    assert_eq!(requests, 6 * 24 + 240);
    let hours: u64 = figures["hours"].as_array().unwrap().iter().map(|hour| hour["requests"].as_u64().unwrap()).sum();
    assert_eq!(hours, requests, "hours and days tell the same");
}

#[test]
fn a_sent_report_stays_as_it_was_after_everything_it_rests_on_is_forgotten() {
    let bed = watched();
    for audience in ["management", "admins"] {
        let job = format!(
            "zone = \"Europe/Berlin\"\nschedule = \"0 12 * * 5\"\n[report]\nperiod = \"weekly\"\nfor = \"{audience}\"\nto = [\"{audience}\"]\n"
        );
        bed.file(&format!("jobs/{audience}.toml"), &job);
        bed.run_job(audience, "2026-11-20T11:00:00Z");
    }
    let page = |name: &str, more: &[&str]| {
        let path = bed.path(name);
        let args = ["report", "weekly", "--ending", "2026-11-19", "--preview", path.to_str().unwrap()];
        let ran = bed.run(&[&args[..], more].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        std::fs::read(path).unwrap()
    };
    let before: Vec<Vec<u8>> =
        ["management", "admins"].iter().map(|audience| page("a.html", &["--for", audience])).collect();
    let mails = bed.store().message_body(1).unwrap().unwrap();
    let database = rusqlite::Connection::open(bed.path("state/logkeeper.db")).unwrap();
    database.execute_batch("DELETE FROM findings; DELETE FROM tallies; DELETE FROM tops;").unwrap();
    drop(database);
    let after: Vec<Vec<u8>> =
        ["management", "admins"].iter().map(|audience| page("b.html", &["--for", audience])).collect();
    assert!(before == after, "the same to the byte");
    assert_ne!(page("c.html", &["--fresh"]), before[0], "made anew it is another one");
    // The mail itself can be made again, too.
    let request = ReportRequest {
        kind: ReportKind::Weekly,
        audience: Audience::Management,
        zone: chrono_tz::Europe::Berlin,
        made: "2026-11-20T11:00:00Z".parse().unwrap(),
    };
    let config = bed.config();
    let figures =
        logkeeper::jobs::as_sent(&request, &config, &Store::open(&config.state).unwrap()).unwrap().unwrap().unwrap();
    let mail = report::message(&figures).mail;
    let again = logkeeper::notify::freeze(&mail, &config.from, &config.addresses(&["management".into()]), figures.made)
        .unwrap();
    let subject = |bytes: &[u8]| {
        unquoted(&String::from_utf8_lossy(bytes)).lines().find(|line| line.starts_with("Subject")).unwrap().to_owned()
    };
    assert_eq!(subject(&mails), subject(&again));
    assert!(again == mails, "the same bytes as were sent");
}

#[test]
fn a_report_can_be_sent_by_hand_with_its_tables() {
    let bed = watched();
    let server = ScriptedSmtp::start(|_, _| Act::Accept);
    let main = std::fs::read_to_string(bed.path("config/logkeeper.toml")).unwrap();
    bed.file(
        "config/logkeeper.toml",
        &format!(
            "{main}[mail]\nfrom = \"log@example.org\"\n[mail.smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n",
            server.port
        ),
    );
    let ran = bed.run(&["report", "weekly", "--for", "admins", "--ending", "2026-11-19", "--send-to", "x@example.org"]);
    assert!(ran.code == 0 && ran.stdout.contains("x@example.org: handed over"), "{ran:?}");
    let taken = server.taken();
    let text = unquoted(&String::from_utf8_lossy(&taken[0].wire));
    assert_eq!((taken.len(), taken[0].to.as_str()), (1, "x@example.org"));
    for part in [
        "multipart/mixed",
        "text/csv",
        "web1-2026-11-19-findings.csv",
        "image/png",
        "Content-ID: <hours>",
        "Content-ID: <answers>",
    ] {
        assert!(text.contains(part), "wants {part}: {text}");
    }
    assert!(taken[0].wire.len() < 300_000);
}

#[test]
fn a_paused_job_and_one_that_was_stopped_spoil_no_report() {
    let bed = watched();
    bed.file("jobs/often.toml", "schedule = \"* * * * * *\"\n[command]\nrun = [\"/bin/true\"]\n");
    let daemon = bed.daemon();
    assert_eq!(bed.run(&["pause", "often"]).code, 0);
    support::wait_until("slots are skipped", std::time::Duration::from_secs(20), || {
        let history = bed.json(&["history", "often", "-n", "50"]);
        history.as_array().unwrap().iter().any(|run| run["outcome"] == "skipped")
    });
    assert_eq!(daemon.end(), 0);
    let text = bed.run(&["report", "weekly", "--for", "admins"]).stdout;
    assert!(text.contains("missed, skipped or stopped"), "{text}");
}

#[test]
fn two_jobs_that_send_the_same_report_both_send_it() {
    let bed = watched();
    for to in ["management", "admins"] {
        bed.file(
            &format!("jobs/for-{to}.toml"),
            &format!("schedule = \"0 12 * * 5\"\n[report]\nperiod = \"weekly\"\nto = [\"{to}\"]\n"),
        );
        bed.run_job(&format!("for-{to}"), "2026-11-20T12:00:00Z");
    }
    let to: Vec<String> = bed.store().deliveries(None, 9).unwrap().into_iter().map(|row| row.recipient).collect();
    assert_eq!(to, ["admin@example.org", "boss@example.org"]);
}

#[test]
fn a_break_in_counts_in_the_period_in_which_it_happened() {
    let bed = TestBed::new();
    bed.main("[sources.auth]\nfiles = [\"DIR/log/auth.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"auth\"]\nrules = [\"failed-logins\"]\n");
    let line = |at: &str, what: &str| {
        format!("{at}+00:00 web1 sshd[1]: {what} password for root from 198.51.100.7 port 1 ssh2\n")
    };
    let mut log: String = (10..20).map(|n| line(&format!("2026-11-18T23:50:{n}"), "Failed")).collect();
    log += &line("2026-11-19T00:05:00", "Accepted");
    bed.file("log/auth.log", &log);
    bed.run_job("scan", "2026-11-20T00:30:00Z");
    let breaches = |day: &str| bed.json(&["report", "daily", "--ending", day])["breaches"].as_u64().unwrap();
    assert_eq!((breaches("2026-11-18"), breaches("2026-11-19")), (0, 1));
}

#[test]
fn what_was_found_after_its_report_is_told_in_the_next_one() {
    let bed = TestBed::new();
    bed.main("[sources.auth]\nfiles = [\"DIR/log/auth.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"auth\"]\nrules = [\"failed-logins\"]\n");
    let line = |n: i64| {
        format!("2026-11-18T10:00:{n}+00:00 web1 sshd[1]: Failed password for root from 198.51.100.7 port 1 ssh2\n")
    };
    let accepted = line(30).replace("Failed", "Accepted");
    bed.file("log/auth.log", &((10..20).map(line).collect::<String>() + &accepted));
    // Collected from another host days later.
    bed.run_job("scan", "2026-11-21T09:00:00Z");
    let told = |day: &str| bed.run(&["report", "daily", "--ending", day]).stdout;
    assert!(!told("2026-11-20").contains("got in"), "{}", told("2026-11-20"));
    let late = "After wrong passwords somebody got in, once before this day, which was found only now.";
    let told = told("2026-11-21");
    assert!(told.contains(late) && told.contains("Then it got in as"), "{told}");
    let late = |day: &str| bed.json(&["report", "daily", "--ending", day])["findings_late"].as_u64().unwrap();
    assert_eq!((late("2026-11-18"), late("2026-11-20"), late("2026-11-21")), (0, 0, 1));
    let text = bed.run(&["report", "daily", "--ending", "2026-11-21"]).stdout;
    assert!(text.contains("Found only now, of earlier times 1"), "{text}");
}

#[test]
fn a_report_waits_a_little_for_scans_that_are_made_up_for_with_it() {
    let bed = watched();
    let scan = std::fs::read_to_string(bed.path("jobs/scan.toml")).unwrap();
    bed.file("jobs/scan.toml", &format!("schedule = \"*/10 * * * *\"\n{scan}"));
    let text = bed.run(&["report", "weekly", "--ending", "2026-11-20"]);
    // The last scan was on the 20th at 00:30.
    assert!(text.stdout.contains("Logs read up to              Fri 20 Nov 00:30"), "{text:?}");
    assert!(text.stdout.contains("6 of 7 days, not compared"), "{text:?}");
    let whole = bed.run(&["report", "weekly", "--ending", "2026-11-19"]).stdout;
    assert!(!whole.contains("Logs read up to"), "{whole}");
    let at =
        chrono::DateTime::from_timestamp(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64 + 4, 0).unwrap();
    let schedule = at.format("schedule = \"%S %M %H %d %m * %Y\"\n").to_string();
    bed.file("jobs/scan.toml", &scan.replace("[scan]", "schedule = \"0 0 1 1 *\"\n[scan]"));
    let keys = format!("{schedule}retries = 1\nretry_delay = \"1s\"\non_failure = [\"admins\"]\n");
    bed.file("jobs/week.toml", &format!("{keys}[report]\nperiod = \"weekly\"\nto = [\"management\"]\n"));
    let daemon = bed.daemon();
    support::wait_until("it is sent all the same", std::time::Duration::from_secs(30), || !bed.mails().is_empty());
    assert_eq!(daemon.end(), 0);
    let history = bed.json(&["history", "week"]);
    let runs: Vec<_> = history.as_array().unwrap().iter().map(|run| run["outcome"].as_str().unwrap()).collect();
    assert_eq!(runs, ["succeeded", "failed"], "{history}");
    assert!(
        history[1]["summary"].as_str().unwrap().contains("the logs are read up to Fri 20 Nov 00:30 only"),
        "{history}"
    );
    assert_eq!(bed.mails().len(), 1, "nobody is told that it waited");
}

/// Every mail on a telephone and on a desk, its pictures there and blocked: nothing sticks out, and all words are there.
#[test]
fn mails_fit_telephones_and_desks_with_and_without_pictures() {
    let Some(chromium) = chromium::program() else {
        return support::skip("mails_fit_telephones_and_desks_with_and_without_pictures", "Chromium");
    };
    let bed = TestBed::new();
    let mut frames: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (name, figures) in cases() {
        let mail = report::message(&figures).mail;
        let mut html = mail.html.clone();
        bed.file(&format!("{name}-blocked.html"), &html);
        for image in &mail.images {
            bed.bytes(&format!("{name}-{}.png", image.name), &image.png);
            html = html.replace(&format!("cid:{}\"", image.name), &format!("{name}-{}.png\"", image.name));
        }
        bed.file(&format!("{name}-shown.html"), &html);
        for kind in ["blocked", "shown"] {
            frames.insert(format!("{name}-{kind}"), bed.path(format!("{name}-{kind}.html")));
        }
    }
    let mut page = String::from("<body>");
    for (name, path) in &frames {
        for width in [360, 800] {
            let file = path.file_name().unwrap().to_string_lossy();
            page += &format!("<iframe data-name={name} width={width} height=3000 src='{file}'></iframe>\n");
        }
    }
    page += "<script>onload=()=>{document.title=[...document.querySelectorAll('iframe')].map(f=>{const d=f.contentDocument;\
        return [f.dataset.name,f.width,d.documentElement.scrollWidth,d.body.innerText.includes('What we ask of you'),\
        [...d.images].filter(i=>i.naturalWidth>0).length,d.images.length].join(' ')}).join(';')}</script>";
    bed.file("frames.html", &page);
    let title = chromium::title(chromium, &bed.path("frames.html"));
    let rows: Vec<Vec<&str>> = title.split(';').map(|row| row.split(' ').collect()).collect();
    assert_eq!(rows.len(), 32, "{title}");
    for row in rows {
        let (width, wide): (u32, u32) = (row[1].parse().unwrap(), row[2].parse().unwrap());
        assert!(wide <= width, "{row:?} is {wide} pixels wide");
        assert_eq!(row[3], "true", "{row:?}");
        let shown = if row[0].ends_with("shown") { row[5] } else { "0" };
        assert!(row[4] == shown && row[5] != "0", "{row:?}");
    }
}
