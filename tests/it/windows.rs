//! Windows event logs.

use std::collections::BTreeMap;

use logkeeper::logs::Lines;

use crate::cuts::{Random, assert_cuts_change_nothing};
use crate::support::{self, TestBed};

#[test]
fn event_logs_give_the_true_records_and_failures() {
    let Some(shared) = support::shared() else {
        return support::skip("event_logs_give_the_true_records_and_failures", "../shared");
    };
    let truth = std::fs::read_to_string(shared.join("truth/evtx.json")).unwrap();
    let truth: serde_json::Value = serde_json::from_str(&truth).unwrap();
    for (file, truth) in truth["files"].as_object().unwrap() {
        let scanned = TestBed::new().json(&["scan", "--zone", "UTC", shared.join(file).to_str().unwrap()]);
        let failures = truth["failures"].as_array().unwrap();
        assert_eq!(scanned["failed_logins"], failures.len(), "{file}");
        let lines = scanned["files"][0]["lines"].as_u64().unwrap();
        // The way in which the truth was computed loses most records of logs with damaged headers.
        let dirty = file.contains("bad_chunk") || file.ends_with("system.evtx");
        let records = truth["records"].as_u64().unwrap();
        assert!(if dirty { lines > records } else { lines == records }, "{file}: {lines} lines, {records} records");
        let mut want: BTreeMap<&str, u64> = BTreeMap::new();
        for failure in failures {
            let user = failure["user"].as_str().unwrap();
            // In the events of the database server the address stands in a text.
            let client = user.split("[CLIENT: ").nth(1).and_then(|rest| rest.split(']').next());
            if let Some(ip) = failure["ip"].as_str().or(client) {
                *want.entry(ip).or_default() += 1;
            }
        }
        let addresses = scanned["addresses"].as_array().unwrap().iter();
        let got = addresses.map(|a| (a["address"].as_str().unwrap(), a["failures"].as_u64().unwrap()));
        assert_eq!(got.collect::<BTreeMap<_, _>>(), want, "{file}");
    }
}

#[test]
fn a_scan_job_reads_an_event_log_once_and_tells_of_an_emptied_one() {
    let Some(shared) = support::shared() else {
        return support::skip("a_scan_job_reads_an_event_log_once_and_tells_of_an_emptied_one", "../shared");
    };
    let bed = TestBed::new();
    bed.main("[sources.windows]\nfiles = [\"DIR/*.evtx\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"windows\"]\nrules = [\"cleared-logs\"]\n");
    bed.bytes("s.evtx", &std::fs::read(shared.join("corpora/evtx-attack/DE_104_system_log_cleared.evtx")).unwrap());
    for (at, lines) in [("2026-11-21T12:00:00Z", "read 1 line "), ("2026-11-21T13:00:00Z", "read nothing")] {
        let ended = bed.run_job("scan", at);
        assert!(ended.notes.iter().chain([&ended.summary]).any(|line| line.contains(lines)), "{ended:?}");
    }
    let found = bed.store().findings(&Default::default()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].finding.subject_words(), "host PC01.example.corp");
}

#[test]
fn a_log_in_utf_16_is_read_once_and_goes_on_where_it_ended() {
    let bed = TestBed::new();
    bed.main("[sources.windows]\nfiles = [\"DIR/*.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"windows\"]\nrules = [\"failed-logins\"]\n");
    let line = |second: u32| {
        format!(
            "9000 2026-11-20 10:00:{second:02}.010 Failed password for \u{672a}\u{77e5} from 192.0.2.7 port 2029 ssh2\r\n"
        )
    };
    let lines: String = (0..5).map(line).collect();
    let text: Vec<u8> = "\u{feff}".encode_utf16().chain(lines.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    // The first time within a line, and within a character.
    let first = text.len() - 101;
    for (end, at, found) in [(first, "2026-11-20T10:05:00Z", 0), (text.len(), "2026-11-20T10:06:00Z", 1)] {
        bed.bytes("sshd.log", &text[..end]);
        bed.run_job("scan", at);
        assert_eq!(bed.store().findings(&Default::default()).unwrap().len(), found);
    }
    let found = bed.store().findings(&Default::default()).unwrap();
    // Rotated and compressed it is the same log.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &text).unwrap();
    bed.bytes("sshd.log.1.gz", &packed.finish().unwrap());
    bed.bytes("sshd.log", b"");
    let ended = bed.run_job("scan", "2026-11-20T10:06:30Z");
    assert!(ended.notes.iter().chain([&ended.summary]).any(|line| line.contains("read 0 lines")), "{ended:?}");
    assert_eq!((found[0].finding.count, found[0].finding.evidence[0].text.contains("\u{672a}\u{77e5}")), (5, true));
    assert!(bed.run_job("scan", "2026-11-20T10:07:00Z").summary.contains("nothing"));
}

#[test]
fn a_log_in_utf_16_that_lost_its_end_goes_on_there_and_a_mark_alone_hides_nothing() {
    let bed = TestBed::new();
    bed.main("[sources.windows]\nfiles = [\"DIR/*.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"windows\"]\nrules = [\"failed-logins\"]\n");
    let text = |lines: std::ops::Range<u32>| -> Vec<u8> {
        let line =
            |n: u32| format!("9000 2026-11-20 10:00:{n:02}.010 Failed password for eve from 192.0.2.7 port 1 ssh2\r\n");
        let text: String = lines.map(line).collect();
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    let with_mark = |lines: &[u8]| [&b"\xff\xfe"[..], lines].concat();
    for (lines, at, read) in [
        (with_mark(&text(0..40)), "2026-11-20T10:05:00Z", "read 40 lines"),
        (with_mark(&text(0..20)), "2026-11-20T10:06:00Z", "lost its last 1620 bytes"),
        (with_mark(&text(0..30)), "2026-11-20T10:07:00Z", "read 10 lines"),
    ] {
        bed.bytes("sshd.log", &lines);
        let ended = bed.run_job("scan", at);
        assert!(ended.notes.iter().chain([&ended.summary]).any(|line| line.contains(read)), "{read}: {ended:?}");
    }
    // Whoever writes the first bytes of a log by his name hides no line of it.
    let line = "x.example.org 192.0.2.7 - - [20/Nov/2026:10:05:03 +0100] \"GET / HTTP/1.1\" 401 5\n";
    bed.bytes("web", &[&b"\xff\xfe"[..], line.repeat(3).as_bytes()].concat());
    let scanned = bed.json(&["scan", "--zone", "UTC", bed.path("web").to_str().unwrap()]);
    assert_eq!(scanned["files"][0]["lines"], 3, "{scanned}");
}

/// An event of the log of security, as XML.
fn xml(id: u32, second: u32, user: &str) -> String {
    format!(
        "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='X'/><EventID>{id}</EventID>\
         <Level>0</Level><TimeCreated SystemTime='2026-11-20T10:00:{second:02}.5Z'/><Execution ProcessID='672' ThreadID='1'/>\
         <Channel>Security</Channel><Computer>WIN-1</Computer></System><EventData><Data Name='TargetUserName'>{user}</Data>\
         <Data Name='Status'>0xc000006d</Data><Data Name='LogonType'>3</Data><Data Name='IpAddress'>192.0.2.7</Data></EventData></Event>\n"
    )
}

#[test]
fn an_account_that_is_guessed_in_capital_letters_and_entered_in_small_ones_is_a_break_in() {
    let bed = TestBed::new();
    let guesses = ["ADMINISTRATOR", "administrator", "Administrator", "ADMINISTRATOR", "aDMINISTRATOR"];
    let guesses: String = (0..).zip(guesses).map(|(second, user)| xml(4625, second, user)).collect();
    bed.main("[sources.windows]\nfiles = [\"DIR/*.xml\"]\n");
    let rules = "rules = [\"login-after-failures\", \"password-spraying\", \"privileged-accounts\"]";
    bed.file("jobs/scan.toml", &format!("[scan]\nsources = [\"windows\"]\n{rules}\n"));
    bed.file("events.xml", &(guesses + &xml(4624, 9, "Administrator")));
    bed.run_job("scan", "2026-11-20T12:05:00Z");
    let found = bed.store().findings(&Default::default()).unwrap();
    let mut told: Vec<_> = found.iter().map(|f| (&*f.finding.rule, &*f.finding.subject["user.name"])).collect();
    told.sort_unstable();
    assert_eq!(told, [("login-after-failures", "administrator"), ("privileged-accounts", "administrator")]);
    assert!(found.iter().all(|f| f.finding.breach.as_ref().is_some_and(|breach| breach.user == "Administrator")));
    for user in ["Administrator", "ADMINISTRATOR"] {
        let listed = bed.json(&["findings", "--user", user]);
        assert_eq!(listed.as_array().map(Vec::len), Some(2), "{user}: {listed}");
    }
}

#[test]
fn events_that_were_saved_as_xml_count_once_each_however_they_stand_and_grow() {
    let all = |range: std::ops::Range<u32>| range.map(|n| xml(4625, n, "eve").replace('\n', "")).collect::<String>();
    let saved = format!("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Events>{}</Events>", all(0..7));
    let viewed = all(0..7).replace("><", ">\r\n  <").replace("<System>", "- <System>");
    for text in [saved, viewed, all(0..7) + "\n", all(0..7).replace("</Event>", "</Event>\r\n")] {
        let bed = TestBed::new();
        bed.file("events.xml", &text);
        let scanned = bed.json(&["scan", "--zone", "UTC", bed.path("events.xml").to_str().unwrap()]);
        assert_eq!((&scanned["failed_logins"], &scanned["files"][0]["unparsed"]), (&7.into(), &0.into()), "{text}");
    }
    let bed = TestBed::new();
    bed.main("[sources.windows]\nfiles = [\"DIR/*.xml\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"windows\"]\nrules = [\"failed-logins\"]\n");
    let whole = format!("<Events>{}</Events>", all(0..9));
    for (end, at, count) in [
        (whole.len() * 3 / 5, "2026-11-20T10:05:00Z", 5),
        (whole.len() * 4 / 5, "2026-11-20T10:06:00Z", 7),
        (whole.len(), "2026-11-20T10:07:00Z", 9),
        (whole.len(), "2026-11-20T10:08:00Z", 9),
    ] {
        bed.file("events.xml", &whole[..end]);
        bed.run_job("scan", at);
        let found = bed.store().findings(&Default::default()).unwrap();
        assert_eq!((found.len(), found[0].finding.count), (1, count));
    }
}

#[test]
fn events_that_were_exported_are_failed_logins_as_in_their_log() {
    let Some(shared) = support::shared() else {
        return support::skip("events_that_were_exported_are_failed_logins_as_in_their_log", "../shared");
    };
    for (file, want) in [("windows-bf/windows-bf.log", 6), ("windows-logs/windows-logs.log", 1)] {
        let file = shared.join("corpora/crowdsec-hub").join(file);
        let scanned = TestBed::new().json(&["scan", "--zone", "UTC", file.to_str().unwrap()]);
        assert_eq!(
            (&scanned["failed_logins"], &scanned["files"][0]["unparsed"]),
            (&want.into(), &0.into()),
            "{scanned}"
        );
        assert_eq!(scanned["files"][0]["format"], "windows");
        assert_eq!(scanned["addresses"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn the_log_file_of_sshd_on_windows_tells_of_failed_logins() {
    let bed = TestBed::new();
    let session = |pid: u32, second: u32, account: &str| {
        let stamp = format!("{pid} 2026-11-20 10:00:{second:02}");
        format!(
            "{stamp}.010 debug2: input_userauth_request: try method password [preauth]\r\n\
             {stamp}.020 Invalid user {account} from 192.0.2.7 port 2029\r\n\
             {stamp}.070 Failed password for invalid user {account} from 192.0.2.7 port 2029 ssh2\r\n\
             {stamp}.090 Connection reset by invalid user {account} 192.0.2.7 port 2029 [preauth]\r\n"
        )
    };
    let sessions: Vec<String> =
        (1..=5).map(|n| session(9000 + 4 * n, n, "eve from 203.0.113.9 port 22 ssh2")).collect();
    bed.file("sshd.log", &sessions.concat());
    let scanned = bed.json(&["scan", "--zone", "UTC", bed.path("sshd.log").to_str().unwrap()]);
    assert_eq!(scanned["failed_logins"], 5, "{scanned}");
    assert_eq!((&scanned["files"][0]["format"], &scanned["files"][0]["parsed"]), (&"sshd".into(), &20.into()));
    let addresses = scanned["addresses"].as_array().unwrap();
    assert_eq!((addresses.len(), &addresses[0]["address"]), (1, &"192.0.2.7".into()));
    assert_eq!(scanned["findings"][0]["rule"], "failed-logins");
}

#[test]
fn each_process_of_sshd_on_windows_is_a_session_of_its_own() {
    let bed = TestBed::new();
    let said = |second: u32, pid: u32, payload: &str| {
        format!(
            "2026-11-20T10:00:{second:02}Z WIN-1 windows[4]: OpenSSH/Operational level=4 ProcessID=\"{pid}\" process=\"sshd\" \
             payload=\"{payload}\"\n"
        )
    };
    // Who gets in with a key of his own hides no others that he tried before, and one wrong password hides no further ones.
    let from = "from 192.0.2.7 port 2029";
    let keys = (1..=20).map(|n| said(n, 9000 + n, &format!("Failed publickey for root {from} ssh2")));
    let good = said(21, 9021, &format!("Accepted publickey for guest {from} ssh2"));
    let password = said(22, 9022, &format!("Failed password for eve {from} ssh2"));
    let accounts = (23..=40).map(|n| said(n, 9000 + n, &format!("Invalid user eve{n} {from}")));
    let text: String = keys.chain([good, password]).chain(accounts).collect();
    bed.file("openssh.log", &text);
    let scanned = bed.json(&["scan", "--zone", "UTC", bed.path("openssh.log").to_str().unwrap()]);
    assert_eq!(scanned["failed_logins"], 20 + 1 + 18, "{scanned}");
}

/// A web server's log of IIS: its header stands at the top only.
fn iis_log() -> String {
    let mut log = "#Software: Microsoft Internet Information Services 10.0\n#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip sc-status time-taken\n".to_owned();
    for n in 0..3000 {
        let (hour, minute, second) = (n / 360, n / 6 % 60, n % 6 * 10);
        let status = if n % 7 == 0 { 401 } else { 200 + n % 5 * 51 };
        let line = format!(
            "2026-11-20 {hour:02}:{minute:02}:{second:02} 192.0.2.1 POST /login.aspx - 443 eve 198.51.100.{} {status} 15\n",
            n % 20
        );
        log.push_str(&line);
    }
    log
}

#[test]
fn a_log_of_iis_gives_the_same_however_it_is_cut() {
    let log = iis_log();
    let bed = TestBed::new();
    let path = bed.bytes("u_ex261120.log", log.as_bytes()).path("u_ex261120.log");
    let scanned = bed.json(&["scan", "--zone", "UTC", path.to_str().unwrap()]);
    assert_eq!(scanned["files"][0]["format"], "w3c");
    assert_eq!(scanned["files"][0]["unparsed"], 0);
    assert_eq!(scanned["failed_logins"], 3000_u32.div_ceil(7));
    assert_cuts_change_nothing(&[("iis.log", log.as_bytes())], 0..4);
}

#[test]
fn a_header_within_another_log_silences_nothing() {
    let bed = TestBed::new();
    let failure = |n: u32| {
        let hour = n / 4;
        format!(
            "2026-11-20T{hour:02}:00:{n:02}Z web1 sshd[{n}]: Failed password for root from 192.0.2.7 port 22 ssh2\n"
        )
    };
    let header = "#Fields: date time c-ip sc-status\n";
    bed.file("auth.log", &[failure(1), header.to_owned(), failure(2), failure(3)].concat());
    let scanned = bed.json(&["scan", "--zone", "UTC", bed.path("auth.log").to_str().unwrap()]);
    assert_eq!(scanned["failed_logins"], 3);
    let log: String = (0..60).flat_map(|n| [failure(n), header.to_owned()]).collect();
    assert_cuts_change_nothing(&[("auth.log", log.as_bytes())], 0..12);
}

#[test]
fn a_broken_event_log_costs_only_itself() {
    let Some(shared) = support::shared() else {
        return support::skip("a_broken_event_log_costs_only_itself", "../shared");
    };
    let whole = std::fs::read(shared.join("corpora/evtx/Security_short_selected.evtx")).unwrap();
    let bed = TestBed::new();
    let mut random = Random(1);
    let (mut opened, mut lines) = (0, 0);
    for n in 0..300 {
        let mut bytes = whole.clone();
        for _ in 0..1 << random.below(6) {
            // Most of the file is empty; its first 8 KiB hold header and records.
            let at = 8 + random.below(if n % 2 == 0 { 12 * 1024 } else { bytes.len() - 8 });
            bytes[at] = random.below(256) as u8;
        }
        bytes.truncate(whole.len() - random.below(2) * random.below(whole.len() - 8));
        bed.bytes("broken.evtx", &bytes);
        let Ok(mut log) = Lines::open(&bed.path("broken.evtx")) else { continue };
        opened += 1;
        while let Some(block) = log.next_block() {
            assert!(block.iter().all(|byte| *byte == b'\n' || *byte >= b' '), "nothing but printable lines");
            lines += block.iter().filter(|byte| **byte == b'\n').count();
        }
    }
    assert!(opened > 100 && lines > 100, "{opened} were opened, {lines} lines read");
}

#[test]
fn an_event_log_that_was_not_copied_to_its_end_is_read_as_far_as_it_goes_and_told() {
    let name = "an_event_log_that_was_not_copied_to_its_end_is_read_as_far_as_it_goes_and_told";
    let Some(shared) = support::shared() else { return support::skip(name, "../shared") };
    let whole = std::fs::read(shared.join("corpora/evtx/Security_short_selected.evtx")).unwrap();
    let bed = TestBed::new();
    bed.main("[sources.windows]\nfiles = [\"DIR/*.evtx\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"windows\"]\nrules = [\"failed-logins\"]\n");
    // Within an address, and anywhere else.
    for length in [10_121, 10_123, 5000, 8192, whole.len() - 1] {
        bed.bytes("log.evtx", &whole[..length]);
        let ran = bed.run(&["scan", "--json", bed.path("log.evtx").to_str().unwrap()]);
        assert!(ran.stderr.contains("ends within a chunk of records"), "{length}: {ran:?}");
        let scanned: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((&scanned["addresses"], &scanned["files"][0]["lines"]), (&serde_json::json!([]), &0.into()));
        let notes = |at: &str| bed.run_job("scan", at).notes.join("\n");
        let cut = notes("2026-11-21T12:00:00Z");
        assert!(cut.contains("ends within a chunk of records"), "{length}: {cut}");
        bed.bytes("log.evtx", &whole);
        let read = notes("2026-11-21T13:00:00Z");
        assert!(read.contains("read 7 lines") && read.contains(" 0 not parsed"), "{length}: {read}");
        std::fs::remove_dir_all(bed.path("state")).unwrap();
    }
}
