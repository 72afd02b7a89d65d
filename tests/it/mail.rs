//! Mail goes to a real SMTP server.

use std::os::unix::fs::PermissionsExt;

use logkeeper::model::{DeliveryState, Mail};
use logkeeper::notify::{self, Parcel};

use crate::support::python::{self, SmtpServer};
use crate::support::{self, TestBed, unquoted};

const NEEDS: &str = "Python 3 with venv, and aiosmtpd from PyPI";

fn smtp(bed: &TestBed, server: &SmtpServer, tls: &str, password: &str) {
    let (port, ca) = (server.port, server.folder.join("ca.pem"));
    bed.main(&format!(
        "[mail]\nfrom = \"Log keeper <logkeeper@example.org>\"\n[mail.smtp]\nhost = \"localhost\"\nport = {port}\ntls = \"{tls}\"\nuser = \"logkeeper\"\npassword_file = \"password\"\nca_file = \"{}\"\n\n[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n",
        ca.display()
    ));
    bed.file("password", &format!("{password}\n"));
    std::fs::set_permissions(bed.path("password"), std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Failed logins in the last minutes, so that they are news.
fn attack(bed: &TestBed, address: &str) {
    let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64 - 120;
    let line = |n: i64| {
        let stamp = chrono::DateTime::from_timestamp(start + n, 0).unwrap().format("%Y-%m-%dT%H:%M:%S+00:00");
        format!("{stamp} web1 sshd[{n}]: Failed password for <b>root</b> from {address} port 1 ssh2\n")
    };
    let text: String = (0..7).map(line).collect();
    let path = bed.path("log/auth.log");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    use std::io::Write;
    std::fs::File::options().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn test_mail_goes_through_starttls_and_implicit_tls_with_login() {
    let Some(python) = python::interpreter() else {
        return support::skip("test_mail_goes_through_starttls_and_implicit_tls_with_login", NEEDS);
    };
    for tls in ["starttls", "implicit"] {
        let bed = TestBed::new();
        let server = SmtpServer::start(python, &bed.path("smtp"), tls);
        smtp(&bed, &server, tls, "s3cret pass");
        let ran = bed.run(&["test-mail"]);
        assert_eq!(ran.code, 0, "{tls}: {ran:?}");
        let mails = server.mails();
        assert_eq!(mails.len(), 1);
        assert!(mails[0].starts_with("X-Envelope: logkeeper@example.org -> admin@example.org"), "{}", mails[0]);
        assert!(mails[0].contains("Auto-Submitted: auto-generated"), "{}", mails[0]);
    }
}

#[test]
fn a_wrong_password_or_certificate_is_told_and_nothing_goes_out() {
    let Some(python) = python::interpreter() else {
        return support::skip("a_wrong_password_or_certificate_is_told_and_nothing_goes_out", NEEDS);
    };
    let bed = TestBed::new();
    let server = SmtpServer::start(python, &bed.path("smtp"), "starttls");
    smtp(&bed, &server, "starttls", "wrong");
    let ran = bed.run(&["test-mail"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("535") && !ran.stdout.contains("wrong"), "{}", ran.stdout);
    smtp(&bed, &server, "starttls", "s3cret pass");
    let main = std::fs::read_to_string(bed.path("config/logkeeper.toml")).unwrap();
    let without_ca: String =
        main.lines().filter(|line| !line.starts_with("ca_file")).map(|line| format!("{line}\n")).collect();
    bed.file("config/logkeeper.toml", &without_ca);
    let ran = bed.run(&["test-mail"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.to_lowercase().contains("certificate"), "{}", ran.stdout);
    assert!(server.mails().is_empty());
}

#[test]
fn an_alert_and_the_weekly_summary_arrive() {
    let Some(python) = python::interpreter() else {
        return support::skip("an_alert_and_the_weekly_summary_arrive", NEEDS);
    };
    let bed = TestBed::new();
    let server = SmtpServer::start(python, &bed.path("smtp"), "starttls");
    smtp(&bed, &server, "starttls", "s3cret pass");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\nalert = [\"admins\"]\n");
    bed.file("jobs/week.toml", "[report]\nperiod = \"weekly\"\nto = [\"management\"]\n");
    bed.file("log/auth.log", "Nov 20 10:00:00 web1 CRON[1]: (root) CMD (true)\n");
    assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
    attack(&bed, "198.51.100.1");
    assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
    assert_eq!(bed.run(&["run-now", "week"]).code, 0);
    let mails: Vec<String> = server.mails().iter().map(|mail| unquoted(mail)).collect();
    assert_eq!(mails.len(), 2, "{mails:?}");
    assert!(mails[0].contains("Subject: [web1] ALERT: failed-logins: 198.51.100.1 (7)"), "{}", mails[0]);
    assert!(mails[0].contains("&lt;b&gt;root&lt;/b&gt;"), "log text is escaped in HTML: {}", mails[0]);
    assert!(mails[1].contains("-> boss@example.org") && mails[1].contains("multipart/alternative"), "{}", mails[1]);
    assert!(mails[1].contains("Content-ID: <failed-logins>") && mails[1].contains("image/png"), "{}", mails[1]);
    assert!(mails.iter().all(|mail| mail.contains("Message-ID: <") && mail.contains("@example.org>")));
}

#[test]
fn mail_that_cannot_go_out_now_goes_out_later() {
    let Some(python) = python::interpreter() else {
        return support::skip("mail_that_cannot_go_out_now_goes_out_later", NEEDS);
    };
    let bed = TestBed::new();
    let server = SmtpServer::start(python, &bed.path("smtp"), "starttls");
    smtp(&bed, &server, "starttls", "wrong");
    bed.file("jobs/week.toml", "[report]\nperiod = \"weekly\"\nto = [\"management\", \"admins\"]\n");
    assert_eq!(bed.run(&["run-now", "week"]).code, 0, "the report is made, though it can't leave yet");
    let waiting = bed.store().deliveries(None, 10).unwrap();
    assert!(waiting.iter().all(|d| d.state == DeliveryState::Queued), "{waiting:?}");
    assert_eq!(waiting.iter().map(|d| d.attempts).sum::<i64>(), 1, "a wrong password is tried once, not for each mail");
    let troubles = bed.store().troubles().unwrap();
    assert!(troubles[0].paused && troubles[0].error.contains("535"), "{troubles:?}");
    let status = bed.run(&["status"]).stdout;
    assert!(status.contains("the channel mail is paused") && status.contains("2 messages wait"), "{status}");
    smtp(&bed, &server, "starttls", "s3cret pass");
    let daemon = bed.daemon();
    support::wait_until("the mail goes out", std::time::Duration::from_secs(20), || server.mails().len() == 2);
    assert_eq!(daemon.end(), 0);
    let id = |mail: &str| mail.lines().find(|line| line.starts_with("Message-ID")).map(str::to_owned);
    assert_eq!(id(&server.mails()[0]), id(&server.mails()[1]), "one message, one delivery per recipient");
}

#[test]
fn one_refused_recipient_does_not_stop_the_others() {
    let Some(python) = python::interpreter() else {
        return support::skip("one_refused_recipient_does_not_stop_the_others", NEEDS);
    };
    let bed = TestBed::new();
    let server = SmtpServer::start(python, &bed.path("smtp"), "starttls");
    smtp(&bed, &server, "starttls", "s3cret pass");
    let main = std::fs::read_to_string(bed.path("config/logkeeper.toml")).unwrap();
    bed.file(
        "config/logkeeper.toml",
        &main.replace("[\"boss@example.org\"]", "[\"reject@example.org\", \"zoe@example.org\"]"),
    );
    bed.file("jobs/week.toml", "[report]\nperiod = \"weekly\"\nto = [\"management\"]\n");
    bed.run(&["run-now", "week"]);
    let states: Vec<(String, String)> =
        bed.store().deliveries(None, 10).unwrap().into_iter().map(|d| (d.recipient, d.state.to_string())).collect();
    assert_eq!(states, [("reject@example.org".into(), "dead".into()), ("zoe@example.org".into(), "sent".into())]);
}

#[test]
fn a_break_in_after_an_attack_that_was_told_is_told_within_the_cooldown_and_so_is_a_further_account() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"mine\"]\nalert = [\"admins\"]\n");
    let rule = "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\ncooldown = \"2d\"\nmerge = \"30m\"\n";
    bed.file(
        "config/rules/mine.toml",
        &format!("{rule}[count]\nby = \"source.ip\"\nthreshold = 5\nwindow = \"10m\"\n"),
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let line = |ago: i64, outcome: &str, user: &str| {
        let stamp = chrono::DateTime::from_timestamp(now - ago, 0).unwrap().format("%Y-%m-%dT%H:%M:%S+00:00");
        format!("{stamp} web1 sshd[{ago}]: {outcome} password for {user} from 203.0.113.5 port 1 ssh2\n")
    };
    let guesses = |ago: i64| (0..6).map(|n| line(ago - n, "Failed", "root")).collect::<String>();
    let mut log = line(9000, "Accepted", "zoe");
    let mut scan = |more: &str| {
        log.push_str(more);
        bed.file("log/auth.log", &log);
        assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
        bed.mails()
    };
    assert_eq!(scan("").len(), 0);
    assert_eq!(scan(&guesses(8000)).len(), 1, "an attack");
    assert_eq!(scan(&guesses(4000)).len(), 1, "one more is told with it");
    let mails = scan(&(guesses(1000) + &line(900, "Accepted", "guest")));
    assert_eq!(mails.len(), 2, "somebody got in");
    assert!(mails[1].contains("=9Cguest=E2"), "{}", mails[1]);
    let since = bed.json(&["findings", "--since", "16m"]);
    assert_eq!(since.as_array().unwrap().len(), 1, "whose failures are older: {since}");
    // A second mail of this kind within the hour waits for it to be over.
    assert_eq!(scan(&(guesses(800) + &line(700, "Accepted", "root"))).len(), 2);
    let found = bed.json(&["findings", "--user", "root"])[0].clone();
    assert_eq!(found["breach"]["user"], "root", "{found}");
    assert!(found["breach"]["time"].as_str().is_some_and(|time| time.ends_with("+00:00")), "{found}");
    let shown = bed.run(&["findings", "show", &found["id"].to_string()]).stdout;
    assert!(shown.contains("but not by all channels yet"), "{shown}");
    let outbox = bed.run(&["outbox"]).stdout;
    assert!(outbox.contains("1 thing held back"), "{outbox}");
}

#[test]
fn each_account_that_an_address_gets_in_as_is_told() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\nalert = [\"admins\"]\n");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let line = |ago: i64, outcome: &str, user: &str| {
        let stamp = chrono::DateTime::from_timestamp(now - ago, 0).unwrap().format("%Y-%m-%dT%H:%M:%S+00:00");
        format!("{stamp} web1 sshd[{ago}]: {outcome} password for {user} from 203.0.113.5 port 1 ssh2\n")
    };
    let attack = |ago: i64, user: &str, failures: i64| {
        (0..failures).map(|n| line(ago - n, "Failed", user)).collect::<String>() + &line(ago - 60, "Accepted", user)
    };
    let mut log = line(9000, "Accepted", "zoe");
    let mut scan = |more: &str| {
        log.push_str(more);
        bed.file("log/auth.log", &log);
        assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
        bed.json(&["findings"])[0].clone()
    };
    assert!(scan("").is_null());
    assert_eq!(scan(&attack(3000, "anna", 6))["breach"]["user"], "anna");
    // Who mistypes behind the same address got in as himself.
    let found = scan(&(attack(2500, "ben", 6) + &attack(2400, "carl", 2) + &attack(2300, "root", 6)));
    let others = found["breach"]["others"].as_array().unwrap().iter();
    let others: Vec<&str> = others.map(|login| login["user"].as_str().unwrap()).collect();
    assert_eq!((&found["breach"]["user"], &others[..]), (&"anna".into(), &["ben", "root"][..]), "{found}");
    let intents = bed.store().pending_intents().unwrap();
    assert_eq!((bed.mails().len(), intents.len()), (1, 1), "what is new waits ten minutes: {intents:?}");
    let text = bed.run(&["findings", "show", &found["id"].to_string()]).stdout;
    assert!(text.contains("and as \u{201c}ben\u{201d}, \u{201c}root\u{201d}"), "{text}");
    assert!(text.contains("Accepted password for ben") && text.contains("Accepted password for root"), "{text}");
    assert_eq!(bed.json(&["findings", "--user", "ROOT"])[0]["id"], found["id"]);
}

#[test]
fn what_turns_out_to_matter_more_is_told_within_the_cooldown() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\nalert = [\"admins\"]\n");
    let requests = |ago: i64, user: &str, times: i64| -> String {
        let line = |n: i64| {
            let stamp = (chrono::Utc::now() - chrono::TimeDelta::seconds(ago - n)).format("%d/%b/%Y:%H:%M:%S +0000");
            format!("203.0.113.5 - {user} [{stamp}] \"GET /private HTTP/1.1\" 401 5 \"-\" \"-\"\n")
        };
        (0..times).map(line).collect()
    };
    let mut log = requests(5000, "-", 1);
    let mut scan = |more: &str| {
        log.push_str(more);
        bed.file("log/access.log", &log);
        assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
        let found = bed.json(&["findings"]);
        (found[0]["severity"].clone(), bed.mails().len() + bed.store().pending_intents().unwrap().len())
    };
    assert_eq!(scan(""), (serde_json::Value::Null, 0));
    assert_eq!(scan(&requests(900, "-", 6)), ("medium".into(), 1), "nobody guessed");
    assert_eq!(scan(&requests(800, "admin", 20)), ("high".into(), 2), "somebody does");
    assert_eq!(scan(&requests(700, "admin", 20)), ("high".into(), 2), "and goes on");
}

#[test]
fn what_goes_on_is_told_less_and_less_often_and_what_begins_again_as_before() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"mine\"]\nalert = [\"admins\"]\n");
    let head = "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\ncooldown = \"1h\"\nmerge = \"1d\"\n";
    bed.file("config/rules/mine.toml", &format!("{head}[count]\nby = \"source.ip\"\nthreshold = 2\n"));
    let start: chrono::DateTime<chrono::Utc> = "2026-11-18T00:00:00Z".parse().unwrap();
    let mut log = String::new();
    let mut told = Vec::new();
    // An attack of half a day, a pause of four hours, and five hours more.
    for minute in (0..12 * 60).step_by(15).chain((16 * 60..21 * 60).step_by(15)) {
        let now = start + chrono::TimeDelta::minutes(minute);
        let stamp = now.format("%Y-%m-%dT%H:%M:%S+00:00");
        let line = format!("{stamp} web1 sshd[{minute}]: Failed password for root from 203.0.113.5 port 1 ssh2\n");
        log.push_str(&line.repeat(2));
        bed.file("log/auth.log", &log);
        bed.run_job("scan", &now.to_rfc3339());
        let found = &bed.store().findings(&logkeeper::store::FindingFilter::default()).unwrap()[0];
        told.push((found.alerted.unwrap() - start.timestamp()) / 60);
    }
    told.dedup();
    let hours: Vec<f64> = told.iter().map(|minutes| *minutes as f64 / 60.0).collect();
    assert_eq!(hours, [0.0, 1.0, 3.0, 7.0, 16.0, 17.0, 19.0]);
}

#[test]
fn a_further_account_is_told_once_although_the_rule_began_afresh_in_between() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"mine\"]\nalert = [\"admins\"]\n");
    let rule = |threshold: u32| {
        let head = "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n";
        bed.file("config/rules/mine.toml", &format!("{head}[count]\nby = \"source.ip\"\nthreshold = {threshold}\n"));
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let line = |ago: i64, said: &str| {
        let stamp = chrono::DateTime::from_timestamp(now - ago, 0).unwrap().format("%Y-%m-%dT%H:%M:%S+00:00");
        format!("{stamp} web1 sshd[{ago}]: {said} from 203.0.113.5 port 1 ssh2\n")
    };
    let mut log = line(9000, "Accepted password for zoe");
    let mut scan = |more: &str| {
        log.push_str(more);
        bed.file("log/auth.log", &log);
        assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
        (bed.mails().len(), bed.run(&["outbox"]).stdout)
    };
    let guesses =
        |from: i64, times: i64| (0..times).map(|n| line(from - n, "Failed password for root")).collect::<String>();
    rule(5);
    scan("");
    assert_eq!(scan(&(guesses(5000, 20) + &line(4900, "Accepted password for alice"))).0, 1);
    rule(6);
    let told = scan(&(guesses(4800, 12) + &line(4700, "Accepted password for bob")));
    assert!(told.1.contains("1 thing held back"), "{}", told.1);
    let breach = &bed.json(&["findings"])[0]["breach"];
    assert_eq!((&breach["user"], &breach["others"][0]["user"]), (&"alice".into(), &"bob".into()));
    for n in 0..3 {
        assert_eq!(scan(&line(100 - n, "Connection closed by 198.51.100.9 port 5 [preauth] x")), told);
    }
}

#[test]
fn the_first_scan_sends_one_mail_and_a_cooldown_keeps_it_quiet() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\nalert = [\"admins\"]\nrecord = \"DIR/record.txt\"\n");
    let old = |address: u8| {
        (0..9).map(move |n| format!("2026-01-02T10:00:0{n}+00:00 web1 sshd[{n}]: Failed password for root from 198.51.100.{address} port 1 ssh2\n"))
    };
    bed.file("log/auth.log", &(1..40).flat_map(old).collect::<String>());
    assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
    assert_eq!(bed.mails().len(), 1);
    assert!(bed.mails()[0].contains("Subject: [web1] Looking back: 39 findings"), "{}", bed.mails()[0]);
    attack(&bed, "203.0.113.5");
    bed.run(&["run-now", "scan"]);
    assert!(bed.mails()[1].contains("ALERT: failed-logins: 203.0.113.5 (7)"), "{}", bed.mails()[1]);
    attack(&bed, "203.0.113.5");
    bed.run(&["run-now", "scan"]);
    bed.run(&["run-now", "scan"]);
    assert_eq!(bed.mails().len(), 2, "the same subject is not alerted about again within the cooldown");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let stamp = chrono::DateTime::from_timestamp(now, 0).unwrap().format("%Y-%m-%dT%H:%M:%S+00:00");
    let log = std::fs::read_to_string(bed.path("log/auth.log")).unwrap();
    bed.file(
        "log/auth.log",
        &format!("{log}{stamp} web1 sshd[77]: Accepted password for root from 203.0.113.5 port 1 ssh2\n"),
    );
    bed.run(&["run-now", "scan"]);
    assert_eq!(bed.mails().len(), 3, "that somebody got in is told at once");
    assert!(bed.mails()[2].contains("ALERT: got in after failing: 203.0.113.5"), "{}", bed.mails()[2]);
    bed.file("log/old.log", &old(200).collect::<String>());
    bed.run(&["run-now", "scan"]);
    assert_eq!(bed.mails().len(), 3, "a second look back within the hour is held back");
    let database = rusqlite::Connection::open(bed.path("state/logkeeper.db")).unwrap();
    database.execute("UPDATE told SET at = at - 3600", []).unwrap();
    drop(database);
    bed.run(&["run-now", "scan"]);
    assert!(bed.mails()[3].contains("Looking back: 1 finding"), "old logs raise no alarm: {}", bed.mails()[3]);
    let record = std::fs::read_to_string(bed.path("record.txt")).unwrap();
    let verdicts: Vec<&str> = record.lines().map(|line| line.split(": ").nth(1).unwrap_or_default()).collect();
    assert_eq!(verdicts.len(), 7, "{record}");
    assert!(record.lines().last().unwrap().contains("no activity detected"), "{record}");
}

#[test]
fn a_hostile_mail_arrives_whole() {
    let Some(python) = python::interpreter() else { return support::skip("a_hostile_mail_arrives_whole", NEEDS) };
    let bed = TestBed::new();
    let server = SmtpServer::start(python, &bed.path("smtp"), "starttls");
    smtp(&bed, &server, "starttls", "s3cret pass");
    let nasty = format!("a\n.\n..\nb\r.\r\nQUIT\r\n.\r\n~!\n\u{1b}[2J<b>{}\nthe end", "x".repeat(3000));
    let mail = Mail {
        subject: "x\r\nBcc: evil@example.org".into(),
        text: nasty.clone(),
        html: nasty,
        images: vec![],
        attachments: vec![],
        key: "k".into(),
    };
    let config = bed.config();
    let mime =
        notify::freeze(&mail, &config.from, &["admin@example.org".into()], "2026-11-20T12:00:00Z".parse().unwrap())
            .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let notifier = notify::notifier(&config.channels["mail"], &config.from).unwrap();
    let parcel = Parcel { name: "k".into(), recipient: "admin@example.org".into(), body: mime.clone() };
    runtime.block_on(notifier.send(&parcel)).unwrap();
    let arrived = &server.mails()[0];
    let sent = String::from_utf8(mime).unwrap();
    assert_eq!(arrived.split_once("\r\n").unwrap().1.trim_end(), sent.trim_end());
    assert!(arrived.starts_with("X-Envelope: logkeeper@example.org -> admin@example.org\r\n"), "{arrived}");
}

#[test]
fn a_report_and_a_test_mail_answer_in_json_too() {
    let bed = TestBed::new();
    let figures = bed.json(&["report", "weekly", "--ending", "2026-11-19"]);
    assert_eq!(
        (&figures["kind"], &figures["zone"], &figures["to"]),
        (&"weekly".into(), &"UTC".into(), &"2026-11-19".into())
    );
    assert_eq!(figures["days"].as_array().unwrap().len(), 7);
    let told = bed.json(&["test-mail"]);
    assert_eq!((&told[0]["recipient"], &told[0]["error"]), (&"admin@example.org".into(), &serde_json::Value::Null));
}

#[test]
fn a_server_with_a_wrong_certificate_pauses_mail_until_it_has_a_right_one() {
    let Some(python) = python::interpreter() else {
        return support::skip("a_server_with_a_wrong_certificate_pauses_mail_until_it_has_a_right_one", NEEDS);
    };
    for tls in ["starttls", "implicit"] {
        let bed = TestBed::new();
        let (server, other) =
            (SmtpServer::start(python, &bed.path("smtp"), tls), SmtpServer::start(python, &bed.path("other"), tls));
        smtp(&bed, &server, tls, "s3cret pass");
        let main = std::fs::read_to_string(bed.path("config/logkeeper.toml")).unwrap();
        let wrong = main.replace("smtp/ca.pem", "other/ca.pem");
        assert_ne!(main, wrong);
        bed.file("config/logkeeper.toml", &wrong);
        bed.file("jobs/week.toml", "[report]\nperiod = \"weekly\"\nto = [\"management\", \"admins\"]\n");
        assert_eq!(bed.run(&["run-now", "week"]).code, 0);
        let troubles = bed.store().troubles().unwrap();
        assert!(troubles[0].paused && troubles[0].error.contains("certificate"), "{tls}: {troubles:?}");
        assert!(server.mails().is_empty() && other.mails().is_empty());
        bed.file("config/logkeeper.toml", &main);
        assert_eq!(bed.run(&["run-now", "week"]).code, 0);
        assert_eq!(server.mails().len(), 4, "{tls}: what waited goes out, too");
    }
}

#[test]
fn a_line_now_and_then_after_an_alert_is_no_news_until_there_are_as_many_again() {
    let bed = TestBed::new();
    bed.main("[sources.app]\nfiles = [\"DIR/log/app.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"app\"]\nrules = [\"urgent-lines\"]\nalert = [\"admins\"]\n");
    let mut log = String::new();
    let mut scan = |day: u32, lines: u32| {
        for minute in 0..lines {
            log += &format!("2026-11-{day:02}T10:{minute:02}:00Z web1 app[7]: Urgent log detected: disk\n");
        }
        bed.file("log/app.log", &log);
        bed.run_job("scan", &format!("2026-11-{day:02}T10:30:00Z"));
        bed.store().pending_intents().unwrap().len()
    };
    assert_eq!(scan(1, 1), 0);
    assert_eq!(scan(2, 5), 1);
    let told: Vec<usize> = (3..13).map(|day| scan(day, 1)).collect();
    assert_eq!(told, [1, 1, 1, 2, 2, 2, 2, 3, 3, 3]);
    // What came within the cooldown is no news hours after it.
    assert_eq!(scan(20, 5), 4);
    bed.run_job("scan", "2026-11-21T20:00:00Z");
    assert_eq!(bed.store().pending_intents().unwrap().len(), 4);
}

#[test]
fn an_alert_of_a_time_when_the_clock_was_ahead_holds_none_back() {
    let bed = TestBed::new();
    bed.main("[sources.app]\nfiles = [\"DIR/log/app.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"app\"]\nrules = [\"failed-logins\"]\nalert = [\"admins\"]\n");
    let attack = |day: u32| {
        let line = |n| {
            format!(
                "2026-11-{day:02}T10:00:0{n}Z web1 sshd[{n}]: Failed password for root from 192.0.2.7 port 22 ssh2\n"
            )
        };
        (0..6).map(line).collect::<String>()
    };
    bed.file("log/app.log", &attack(1));
    bed.run_job("scan", "2026-12-20T10:00:00Z");
    let told = || bed.store().pending_intents().unwrap().len();
    let before = told();
    bed.file("log/app.log", &(attack(1) + &attack(3)));
    bed.run_job("scan", "2026-11-03T10:01:00Z");
    assert_eq!((before, told()), (1, 2));
}
