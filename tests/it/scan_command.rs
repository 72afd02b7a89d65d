//! `logkeeper scan`: an answer without configuration.

use crate::support::TestBed;

const ACCESS: &str = r#"198.51.100.7 - - [20/Nov/2026:10:00:01 +0000] "GET /a HTTP/1.1" 404 1 "-" "x"
198.51.100.7 - - [20/Nov/2026:10:00:02 +0000] "GET /b HTTP/1.1" 404 1 "-" "x"
198.51.100.7 - - [20/Nov/2026:10:00:03 +0000] "GET /c HTTP/1.1" 200 1 "-" "x"
192.0.2.1 - - [20/Nov/2026:10:00:04 +0000] "GET /404 HTTP/1.1" 200 404 "-" "404"
192.0.2.2 - - [20/Nov/2026:10:00:05 +0000] "GET /d HTTP/1.1" 503 1 "-" "x"
half a line
"#;

#[test]
fn counts_come_by_status_and_address_from_most_to_least() {
    let bed = TestBed::new();
    bed.file("access.log", ACCESS);
    let scanned = bed.json(&["scan", bed.path("access.log").to_str().unwrap()]);
    assert_eq!(scanned["files"][0]["format"], "access");
    assert_eq!(scanned["files"][0]["unparsed"], 1);
    assert_eq!(scanned["status"], serde_json::json!({ "200": 2, "404": 2, "503": 1 }));
    assert_eq!(scanned["addresses"][0]["address"], "198.51.100.7");
    assert_eq!(scanned["addresses"][0]["status"], serde_json::json!({ "200": 1, "404": 2 }));
    let csv = bed.run(&["scan", "--csv", bed.path("access.log").to_str().unwrap()]).stdout;
    assert!(csv.starts_with("address,status,count\r\n198.51.100.7,404,2\r\n198.51.100.7,200,1\r\n"), "{csv}");
}

#[test]
fn flagged_lines_are_saved_under_a_date_stamp() {
    let bed = TestBed::new();
    bed.file("access.log", ACCESS);
    let log = bed.path("access.log");
    for _ in 0..2 {
        bed.run(&["scan", "--save", bed.path("out").to_str().unwrap(), log.to_str().unwrap()]);
    }
    let mut names: Vec<String> =
        std::fs::read_dir(bed.path("out")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("flagged"));
    names.sort();
    assert_eq!(names.len(), 2, "nothing is overwritten: {names:?}");
    let saved = std::fs::read_to_string(bed.path("out").join(&names[1])).unwrap();
    assert_eq!(saved.lines().count(), 3, "{saved}");
}

#[test]
fn a_terminal_escape_in_a_log_never_reaches_the_terminal() {
    let bed = TestBed::new();
    let line = |n| {
        format!(
            "Nov 20 10:00:0{n} web1 sshd[{n}]: Failed password for \x1b]0;owned\x07\x1b[2J<script> from 198.51.100.1 port 1 ssh2\n"
        )
    };
    bed.file("auth.log", &(0..6).map(line).collect::<String>());
    let log = bed.path("auth.log");
    for args in [
        &["scan", log.to_str().unwrap()][..],
        &["scan", "--json", log.to_str().unwrap()],
        &["scan", "--csv", log.to_str().unwrap()],
    ] {
        let ran = bed.run(args);
        assert!(!ran.stdout.contains(['\x1b', '\x07']), "{args:?}: {}", ran.stdout);
        assert!(ran.stdout.contains("198.51.100.1"), "{}", ran.stdout);
    }
}

#[test]
fn a_missing_file_is_told_and_the_others_are_scanned() {
    let bed = TestBed::new();
    bed.file("access.log", ACCESS);
    let ran = bed.run(&["scan", "/nonexistent.log", bed.path("access.log").to_str().unwrap()]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("can't read /nonexistent.log"), "{}", ran.stderr);
    assert!(ran.stdout.contains("198.51.100.7"), "{}", ran.stdout);
}

#[test]
fn an_attack_that_got_in_is_told_apart_from_attempts() {
    let bed = TestBed::new();
    let mut text: String = (0..7)
        .map(|n| format!("Nov 20 10:00:0{n} web1 sshd[{n}]: Failed password for bob from 198.51.100.1 port 1 ssh2\n"))
        .collect();
    text.push_str("Nov 20 10:00:09 web1 sshd[9]: Accepted password for bob from 198.51.100.1 port 1 ssh2\n");
    text.push_str("Nov 20 10:00:10 web1 sshd[10]: Accepted password for anna from 192.0.2.9 port 1 ssh2\n");
    bed.file("auth.log", &text);
    let scanned = bed.json(&["scan", bed.path("auth.log").to_str().unwrap()]);
    let by_address: Vec<_> =
        scanned["findings"].as_array().unwrap().iter().filter(|f| f["rule"] == "failed-logins").collect();
    assert_eq!(by_address.len(), 1);
    assert_eq!((&by_address[0]["severity"], &by_address[0]["breach"]["user"]), (&"critical".into(), &"bob".into()));
}

#[test]
fn lines_are_told_apart_and_lines_a_rule_looks_for_are_saved() {
    let bed = TestBed::new();
    let urgent = |n| format!("Nov 20 10:00:0{n} web1 app[1]: Urgent log detected\n");
    bed.file("mixed.log", &((0..5).map(urgent).collect::<String>() + ACCESS));
    let (log, out) = (bed.path("mixed.log"), bed.path("out"));
    let scanned = bed.json(&["scan", "--save", out.to_str().unwrap(), log.to_str().unwrap()]);
    assert_eq!(scanned["triage"]["access"], serde_json::json!({ "standard": 2, "urgent": 3 }));
    assert_eq!(scanned["triage"]["system"], serde_json::json!({ "standard": 5, "urgent": 0 }));
    assert_eq!(
        saved(&out),
        ["access-standard 2", "access-urgent 3", "flagged 8", "system-standard 5", "unknown-standard 1"]
    );
    // Of one that is too long nothing is kept, which is told.
    bed.file("mixed.log", &format!("{}{}\n{}", urgent(0), "x".repeat(2 << 20), urgent(1)));
    let out = bed.path("again");
    let ran = bed.run(&["scan", "--json", "--save", out.to_str().unwrap(), log.to_str().unwrap()]);
    assert!(
        ran.stderr.contains("mixed.log has 1 line of more than 256 KiB") && ran.stderr.starts_with("warning: "),
        "{}",
        ran.stderr
    );
    let scanned: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&scanned["files"][0]["lines"], &scanned["triage"]["unknown"]["standard"]), (&3.into(), &1.into()));
    assert_eq!(saved(&out), ["flagged 2", "system-standard 2"]);
}

#[test]
fn lines_that_no_rule_is_interested_in_are_counted_like_the_others() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/rules");
    let mut compared = 0;
    for log in std::fs::read_dir(corpus).unwrap() {
        let bed = TestBed::new();
        let (log, out) = (log.unwrap().path(), bed.path("out"));
        let (log, out) = (log.to_str().unwrap(), out.to_str().unwrap());
        for rules in [&["--json"][..], &["--json", "--all-rules"]] {
            // Where all lines are saved, each is looked at whole.
            let whole = bed.run(&[&["scan", "--year", "2026", "--save", out, log], rules].concat()).stdout;
            let counted = bed.run(&[&["scan", "--year", "2026", log], rules].concat()).stdout;
            let [whole, counted]: [serde_json::Value; 2] =
                [whole, counted].map(|json| serde_json::from_str(&json).unwrap());
            assert_eq!(whole, counted, "{log}");
            compared += counted["files"][0]["lines"].as_u64().unwrap();
        }
    }
    assert!(compared > 500, "{compared}");
}

/// The files of a folder without date and ending, and how many lines each has.
fn saved(folder: &std::path::Path) -> Vec<String> {
    let mut saved: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().split("-20").next().unwrap().to_owned();
            format!("{name} {}", std::fs::read_to_string(path).unwrap().lines().count())
        })
        .collect();
    saved.sort();
    saved
}

#[test]
fn which_lines_are_urgent_is_configured_and_five_within_a_minute_are_a_finding() {
    let bed = TestBed::new();
    let main =
        "[triage]\nurgent = [\"410\", \"failed-logins\", \"errors\"]\ntexts = [\"Out of memory\", \"no format\"]\n";
    bed.main(&format!("{main}[sources.all]\nfiles = [\"DIR/mixed.log\"]\n"));
    let killed = |n| format!("2026-11-20T10:00:{n:02}Z web1 kernel: Out of memory: Killed process 7\n");
    let request = |status| format!("192.0.2.1 - - [20/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" {status} 5\n");
    let failed = "2026-11-20T10:00:00Z web1 sshd[1]: Failed password for root from 198.51.100.1 port 1 ssh2\n";
    let lines = [0, 15, 30, 45, 60].map(killed).concat() + &request(404) + &request(410) + failed + "no format\nnone\n";
    bed.file("mixed.log", &lines);
    let (log, out) = (bed.path("mixed.log"), bed.path("out"));
    let scanned = bed.json(&["scan", "--all-rules", "--save", out.to_str().unwrap(), log.to_str().unwrap()]);
    assert_eq!(
        saved(&out),
        [
            "access-standard 1",
            "access-urgent 1",
            "auth-urgent 1",
            "flagged 8",
            "system-urgent 5",
            "unknown-standard 1",
            "unknown-urgent 1"
        ]
    );
    let burst = |found: &serde_json::Value| -> serde_json::Value {
        found.as_array().unwrap().iter().find(|f| f["rule"] == "urgent-bursts").cloned().unwrap_or_default()
    };
    let found = burst(&scanned["findings"]);
    assert_eq!((&found["subject"]["log.kind"], &found["count"]), (&"system".into(), &5.into()), "{scanned}");
    assert_eq!(found["reached"], "2026-11-20T10:01:00+00:00");
    assert_eq!(found["evidence"][0]["line"], 1);
    // A second later it is no more within the minute.
    bed.file("mixed.log", &lines.replace("10:00:60", "10:01:01"));
    let scanned = bed.json(&["scan", "--all-rules", log.to_str().unwrap()]);
    assert!(burst(&scanned["findings"]).is_null(), "{scanned}");
    // A job says the same, with the place.
    bed.file("mixed.log", &lines);
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"all\"]\nrules = [\"urgent-bursts\"]\n");
    bed.run_job("scan", "2026-11-20T12:00:00Z");
    let id = bed.json(&["findings"])[0]["id"].to_string();
    let told = bed.run(&["findings", "show", &id]).stdout;
    assert!(told.contains("mixed.log:1\n") && told.contains("There were 5 urgent system lines"), "{told}");
    bed.main("[triage]\nurgent = [\"urgent-lines\", \"999\"]\n");
    let told = bed.run(&["check"]).stderr;
    assert!(
        told.contains("urgent lines are what this list tells") && told.contains("\"999\" is not an HTTP status"),
        "{told}"
    );
}

#[test]
fn links_and_pipes_are_read_and_the_configured_zone_is_used() {
    let bed = TestBed::new();
    bed.file("access.log", ACCESS);
    std::os::unix::fs::symlink(bed.path("access.log"), bed.path("link.log")).unwrap();
    let linked = bed.json(&["scan", bed.path("link.log").to_str().unwrap()]);
    assert_eq!(linked["files"][0]["parsed"], 5);
    let config = std::fs::read_to_string(bed.path("config/logkeeper.toml")).unwrap();
    bed.file("config/logkeeper.toml", &config.replace("zone = \"UTC\"", "zone = \"Asia/Tokyo\""));
    let failed = "Nov 20 10:00:00 web1 sshd[1]: Failed password for root from 198.51.100.1 port 1 ssh2\n";
    let mut child = bed.command(&["scan", "--json", "/dev/stdin"]);
    let mut child = child.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), failed.repeat(5).as_bytes()).unwrap();
    let piped: serde_json::Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert!(piped["findings"][0]["reached"].as_str().unwrap().ends_with("11-20T10:00:00+09:00"), "{piped}");
}

#[test]
fn every_kind_of_compression_gives_the_same_lines() {
    let bed = TestBed::new();
    let text = ACCESS.repeat(4000);
    bed.file("access.log", &text);
    let plain = bed.json(&["scan", bed.path("access.log").to_str().unwrap()]);
    for (program, suffix) in [("gzip", "gz"), ("zstd", "zst"), ("xz", "xz"), ("bzip2", "bz2")] {
        if !crate::support::has(program) {
            crate::support::skip("every_kind_of_compression_gives_the_same_lines", program);
            continue;
        }
        let path = bed.path(format!("access.log.2.{suffix}"));
        // In two members, as when one compressed file was appended to another.
        let (first, second) =
            text.split_at(memchr::memchr(b'\n', &text.as_bytes()[text.len() / 2..]).unwrap() + text.len() / 2 + 1);
        let mut packed = Vec::new();
        for part in [first, second] {
            bed.file("part", part);
            let done = std::process::Command::new(program).arg("-c").arg(bed.path("part")).output().unwrap();
            packed.extend(done.stdout);
        }
        std::fs::write(&path, &packed).unwrap();
        let scanned = bed.json(&["scan", path.to_str().unwrap()]);
        assert_eq!(scanned["status"], plain["status"], "{suffix}");
        assert_eq!(scanned["files"][0]["unparsed"], plain["files"][0]["unparsed"], "{suffix}");
        // A cut one gives what can be read, and says so.
        std::fs::write(&path, &packed[..packed.len() - 7]).unwrap();
        let ran = bed.run(&["scan", path.to_str().unwrap()]);
        assert!(ran.code == 1 && ran.stderr.contains("is damaged"), "{suffix}: {ran:?}");
    }
}

#[test]
fn a_compressed_rotated_log_of_any_kind_is_read_once() {
    let bed = TestBed::new();
    bed.main("[sources.web]\nfiles = [\"DIR/log/access.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"web\"]\nrules = [\"error-spikes\"]\n");
    bed.file("log/access.log", ACCESS);
    let lines = |bed: &TestBed| bed.run_job("scan", "2026-11-20T12:00:00Z").notes[0].clone();
    assert!(lines(&bed).starts_with("read 6 lines"), "{}", lines(&bed));
    for (n, (program, suffix)) in [("zstd", "zst"), ("xz", "xz"), ("bzip2", "bz2")].into_iter().enumerate() {
        if !crate::support::has(program) {
            crate::support::skip("a_compressed_rotated_log_of_any_kind_is_read_once", program);
            continue;
        }
        let (live, packed) = (bed.path("log/access.log"), bed.path(format!("log/access.log.{}.{suffix}", n + 1)));
        let done = std::process::Command::new(program).arg("-c").arg(&live).output().unwrap();
        std::fs::write(packed, done.stdout).unwrap();
        // The new live file begins differently.
        let line =
            format!("192.0.2.{n} - - [20/Nov/2026:11:00:0{n} +0000] \"GET /{suffix} HTTP/1.1\" 200 1 \"-\" \"x\"\n");
        std::fs::remove_file(&live).unwrap();
        std::fs::write(&live, line).unwrap();
        assert!(lines(&bed).starts_with("read 1 line "), "{suffix}: {}", lines(&bed));
    }
}

#[test]
fn keys_that_were_refused_before_the_right_one_are_no_failed_logins() {
    let bed = TestBed::new();
    let line = |n: u32, pid: u32, what: &str| {
        format!("Nov 20 10:{:02}:{:02} web1 sshd[{pid}]: {what} from 198.51.100.{pid} port 1 ssh2\n", n / 60, n % 60)
    };
    let mut text = String::new();
    for n in 0..6 {
        // Three keys of a good login; three of one that ends without; and a password that was wrong after two keys.
        text += &line(n, 1, "Failed publickey for anna");
        text += &line(n, 2, "Failed publickey for bob");
        text += &line(n, 3, "Failed publickey for carl");
    }
    text += &line(7, 1, "Accepted publickey for anna");
    text += &line(8, 3, "Failed password for carl");
    bed.file("auth.log", &text);
    let scanned = bed.json(&["scan", bed.path("auth.log").to_str().unwrap()]);
    let failures = |n: usize| {
        let address = format!("198.51.100.{n}");
        let all = scanned["addresses"].as_array().unwrap();
        all.iter().find(|known| known["address"] == address.as_str()).map(|known| known["failures"].as_u64().unwrap())
    };
    assert_eq!([1, 2, 3].map(failures), [Some(0), Some(6), Some(7)]);
    let accused = scanned["findings"].to_string();
    assert!(!accused.contains("198.51.100.1") && accused.contains("198.51.100.2"), "{accused}");
}

#[test]
fn a_file_given_by_several_names_is_scanned_once() {
    let bed = TestBed::new();
    bed.file("access.log", ACCESS);
    let log = bed.path("access.log");
    std::os::unix::fs::symlink(&log, bed.path("link.log")).unwrap();
    let log = log.to_str().unwrap();
    let ran = bed.run(&["scan", "--json", log, bed.path("link.log").to_str().unwrap(), log]);
    let scanned: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(scanned["status"]["404"], 2);
    assert_eq!(ran.stderr.matches("it is scanned once").count(), 2, "{ran:?}");
}

#[test]
fn an_attempt_whose_lines_stand_in_two_files_of_a_log_counts_once() {
    let attempt = |n| {
        let front = format!("Nov 20 10:00:{n:02} web1 sshd[{n}]: ");
        format!(
            "{front}Invalid user eve from 198.51.100.7 port 22\n\
             {front}pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=198.51.100.7 \n\
             {front}Failed password for invalid user eve from 198.51.100.7 port 22 ssh2\n"
        )
    };
    let whole: String = (10..16).map(attempt).collect();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    for cut in 0..=lines.len() {
        let (older, newer) = (lines[..cut].concat(), lines[cut..].concat());
        for rotated in ["auth.log.1", "auth.log-20261120"] {
            let bed = TestBed::new();
            bed.file("auth.log", &newer);
            bed.file(rotated, &older);
            let [log, rotated] = [bed.path("auth.log"), bed.path(rotated)].map(|path| path.display().to_string());
            let scanned = bed.json(&["scan", "--year", "2026", &log, &rotated]);
            let found = &scanned["findings"];
            assert_eq!((&scanned["failed_logins"], &found[0]["count"]), (&6.into(), &6.into()), "{cut}: {scanned}");
            assert_eq!(scanned["files"][0]["path"], rotated, "oldest first");
        }
    }
    // What the older one says of the lines that follow holds in the next one, too.
    let bed = TestBed::new();
    bed.file("ex.log.1", "#Software: x\n#Fields: date time c-ip cs-username cs-method cs-uri-stem sc-status\n");
    bed.file("ex.log", "2026-11-20 10:00:00 198.51.100.7 eve GET /x 401\n");
    let [live, rotated] = ["ex.log", "ex.log.1"].map(|name| bed.path(name).display().to_string());
    assert_eq!(bed.json(&["scan", &live, &rotated])["failed_logins"], 1);
    let bed = TestBed::new();
    // Other logs that are numbered are not one.
    let half = lines.len() / 2 + 1;
    bed.file("auth.8001", &lines[..half].concat());
    bed.file("auth.8002", &lines[half..].concat());
    let [one, other] = [bed.path("auth.8001"), bed.path("auth.8002")].map(|path| path.display().to_string());
    assert_eq!(bed.json(&["scan", "--year", "2026", &one, &other])["failed_logins"], 7);
}

#[test]
fn what_cannot_be_printed_is_a_failure() {
    let bed = TestBed::new();
    bed.file("access.log", ACCESS);
    for option in ["--csv", "--json", "--zone=UTC"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_logkeeper"));
        let ran = command.args(["scan", option]).arg(bed.path("access.log")).stdout(full).output().unwrap();
        let told = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.code() == Some(1) && told.contains("No space left"), "{option}: {ran:?}");
    }
}

#[test]
fn a_name_of_a_file_moves_nothing_on_the_terminal() {
    let bed = TestBed::new();
    let ran = bed.run(&["scan", bed.path("no\x1b[31msuch").to_str().unwrap()]);
    assert!(ran.stderr.contains("can't read") && !ran.stderr.contains('\x1b'), "{ran:?}");
    bed.main("").file("jobs/\x1b[31mred.toml", "x\n");
    let ran = bed.run(&["check"]);
    assert!(ran.code == 2 && !ran.stderr.contains('\x1b'), "{ran:?}");
}

#[test]
fn standard_input_is_scanned_where_a_dash_stands_for_it() {
    let bed = TestBed::new();
    bed.file("access.log", ACCESS);
    let input = std::fs::File::open(bed.path("access.log")).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_logkeeper"));
    let ran = command.args(["scan", "--json", "-"]).stdin(input).output().unwrap();
    let scanned: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(scanned["files"][0]["lines"], 6);
}
