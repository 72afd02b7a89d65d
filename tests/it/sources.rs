//! What a source says of its logs: whose they are, and what a failed login looks like in them.

use crate::support::TestBed;

fn request(n: u32, ip: &str, user: &str, what: &str, status: u16) -> String {
    format!("{ip} - {user} [20/Nov/2026:10:00:{n:02} +0000] \"{what} HTTP/1.1\" {status} 5 \"-\" \"x\"\n")
}

/// Subjects of the findings with their counts.
fn found(bed: &TestBed) -> Vec<String> {
    bed.run_job("scan", "2026-11-20T12:00:00Z");
    let mut found: Vec<String> = bed
        .store()
        .findings(&Default::default())
        .unwrap()
        .into_iter()
        .map(|stored| format!("{} {}", stored.finding.subject_words(), stored.finding.count))
        .collect();
    found.sort();
    found
}

fn bed(source: &str, by: &str, text: &str) -> TestBed {
    let bed = TestBed::new();
    bed.main(&format!("[sources.web]\nfiles = [\"DIR/log/**/access.log\"]\n{source}"));
    let rule = "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n";
    bed.file("config/rules/mine.toml", &format!("{rule}[count]\nby = {by}\n"));
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"web\"]\nrules = [\"mine\"]\n");
    bed.file("log/web1/access.log", text);
    bed
}

#[test]
fn what_a_failed_login_is_to_a_web_server_is_said_by_its_source() {
    let text: String = (0..6)
        .flat_map(|n| {
            [
                request(n, "192.0.2.1", "-", "GET /private", 401),
                request(n, "192.0.2.2", "eve", "GET /private", 401),
                request(n, "192.0.2.3", "-", "POST /wp-login.php?redirect=1", 200),
                request(n, "192.0.2.4", "-", "POST /wp-login.php", 302),
                request(n, "192.0.2.5", "-", "GET /wp-login.php", 200),
                request(n, "192.0.2.6", "-", "POST /comments", 200),
            ]
        })
        .collect();
    let by = "\"source.ip\"";
    assert_eq!(found(&bed("", by, &text)), ["192.0.2.1 6", "192.0.2.2 6"]);
    assert_eq!(found(&bed("ignore_challenges = true\n", by, &text)), ["192.0.2.2 6"]);
    let forms = "login_paths = [\"/wp-login.php\"]\n";
    let three = bed(forms, by, &text);
    assert_eq!(found(&three), ["192.0.2.1 6", "192.0.2.2 6", "192.0.2.3 6"]);
    let tallies =
        three.store().tallies("2026-11-20T00:00:00Z".parse().unwrap(), "2026-11-21T00:00:00Z".parse().unwrap());
    assert_eq!(tallies.unwrap().iter().map(|tally| tally.tally.failed_logins).sum::<u64>(), 18);
    // However the path is written that the server takes for the same.
    let spelled =
        |path: &str| (0..6).map(|n| request(n, "192.0.2.8", "-", &format!("POST {path}"), 200)).collect::<String>();
    for path in [
        "//wp-login.php",
        "/./wp-login.php",
        "/wp%2Dlogin%2ephp",
        "/x/../wp-login.php",
        "/wp-login.php/",
        "/wp-login.php?a",
        "/wp-login.php;jsessionid=1?a",
    ] {
        assert_eq!(found(&bed(forms, by, &spelled(path))), ["192.0.2.8 6"], "{path}");
    }
    // A scan by hand reads a source's file as its job does.
    let by_hand = bed(forms, by, &spelled("//wp-login.php"));
    let log = by_hand.path("log/web1/access.log");
    assert_eq!(by_hand.json(&["scan", log.to_str().unwrap()])["failed_logins"], 6);
    std::fs::copy(&log, by_hand.path("other.log")).unwrap();
    assert_eq!(by_hand.json(&["scan", by_hand.path("other.log").to_str().unwrap()])["failed_logins"], 0);
    for path in ["/wp-login.php5", "/x/wp-login.php", "/%", "/wp%login.php"] {
        assert_eq!(found(&bed(forms, by, &spelled(path))), [""; 0], "{path}");
    }
    let sent = format!("{forms}login_failed = [\"3xx\"]\nignore_challenges = true\n");
    assert_eq!(found(&bed(&sent, by, &text)), ["192.0.2.2 6", "192.0.2.4 6"]);
    let wrong = bed("login_paths = [\"wp-login.php\"]\n", by, "").run(&["check"]).stderr;
    assert!(wrong.contains("is not a path on a web server"), "{wrong}");
    let wrong = bed("login_failed = [\"200\"]\n", by, "").run(&["check"]).stderr;
    assert!(wrong.contains("login_failed is about the login_paths"), "{wrong}");
}

#[test]
fn logs_of_several_hosts_are_told_apart_by_their_paths() {
    let lines = |n: std::ops::Range<u32>| n.map(|n| request(n, "192.0.2.1", "-", "GET /", 401)).collect::<String>();
    let text = |n: u32| lines(0..n);
    let bed = bed("host_pattern = '/log/([^/]+)/'\n", "[\"host.name\", \"source.ip\"]", &text(4));
    bed.file("log/web2/access.log", &lines(3..6)).file("log/web2/access.log.1", &text(3));
    assert_eq!(found(&bed), ["host web2, 192.0.2.1 6"]);
    bed.file("log/web1/access.log", &text(5));
    assert_eq!(found(&bed), ["host web1, 192.0.2.1 5", "host web2, 192.0.2.1 6"]);
    for wrong in ["host_pattern = '/log/[^/]+/'", "host_pattern = '/log/([^/]+/'"] {
        bed.main(&format!("[sources.web]\nfiles = [\"DIR/log/**/access.log\"]\n{wrong}\n"));
        assert_eq!(bed.run(&["check"]).code, 2, "{wrong}");
    }
}

#[test]
fn lines_that_come_much_too_late_are_counted_and_told() {
    let bed = bed("", "\"source.ip\"", "");
    let at = |time: &str| request(0, "192.0.2.1", "-", "GET /", 200).replace("10:00:00", time);
    bed.file("log/web1/access.log", &["10:00:00", "10:20:00", "10:05:00", "10:04:59", "09:00:00"].map(at).concat());
    let ended = bed.run_job("scan", "2026-11-20T12:00:00Z");
    assert!(ended.notes.iter().any(|note| note.starts_with("2 lines came behind others that are newer")), "{ended:?}");
}

/// What a server's error log says of failed logins: Apache's, and nginx's.
fn refused(n: u32, ip: &str) -> [String; 2] {
    let apache = format!("[Fri Nov 20 10:00:{n:02}.123456 2026] [auth_basic:error] [pid 7] [client {ip}:4711]");
    let nginx = format!("2026/11/20 10:00:{n:02} [error] 80#81: *{n} user \"eve\": password mismatch, client: {ip}");
    [
        format!("{apache} AH01617: user eve: authentication failure for \"/private\": Password Mismatch\n"),
        format!("{nginx}, server: _, request: \"GET /private HTTP/1.1\"\n"),
    ]
}

/// A job that reads access and error logs, as the one that is shipped does.
fn both_kinds() -> TestBed {
    let bed = bed("", "\"source.ip\"", "");
    let sources = ["access", "error"].map(|kind| format!("[sources.{kind}]\nfiles = [\"DIR/log/*/{kind}.log\"]\n"));
    bed.main(&sources.map(|source| source + "host_pattern = '/log/([^/]+)/'\n").concat());
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"error\", \"access\"]\nrules = [\"mine\"]\n");
    bed
}

#[test]
fn a_failed_login_in_the_error_log_and_its_401_are_one_failure() {
    let bed = both_kinds();
    let asked = |n| request(n, "192.0.2.1", "eve", "GET /private", 401);
    bed.file("log/web1/access.log", &(0..6).map(asked).collect::<String>());
    bed.file("log/web1/error.log", &(0..6).flat_map(|n| refused(n, "192.0.2.1")).collect::<String>());
    assert_eq!(found(&bed), ["192.0.2.1 6"]);
    let notes = bed.run_job("scan", "2026-11-20T12:10:00Z").notes;
    assert!(!notes.iter().any(|note| note.contains("that error logs tell of")), "{notes:?}");
    // Also where one of them grows before the other, whose end is known.
    std::fs::write(bed.path("log/web1/error.log"), {
        (0..12).flat_map(|n| refused(n, "192.0.2.1")).collect::<String>()
    })
    .unwrap();
    let notes = bed.run_job("scan", "2026-11-20T12:20:00Z").notes;
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("12 failed logins that error logs tell of are left to the access logs")),
        "{notes:?}"
    );
    assert_eq!(found(&bed), ["192.0.2.1 6"]);
}

#[test]
fn an_error_log_alone_tells_of_failed_logins() {
    let bed = both_kinds();
    // The other machine's access log says nothing of this one.
    bed.file("log/web2/access.log", &request(0, "192.0.2.9", "-", "GET /", 200));
    let text: String = (0..6).flat_map(|n| refused(n, "192.0.2.1")).collect();
    bed.file("log/web1/error.log", text.trim_end());
    std::fs::remove_file(bed.path("log/web1/access.log")).unwrap();
    // nginx' line may be forged, so it accuses nobody.
    assert_eq!(found(&bed), ["192.0.2.1 6"]);
    let (error, access) = (bed.path("log/web1/error.log"), bed.path("log/web2/access.log"));
    let alone = bed.json(&["scan", error.to_str().unwrap()]);
    assert_eq!((&alone["failed_logins"], &alone["left_to_access_logs"]), (&12.into(), &0.into()));
    assert_eq!(alone["addresses"][0]["failures"], 6);
    assert!(alone["findings"].to_string().contains(r#"{"user.name":"eve"}"#), "{}", alone["findings"]);
    assert_eq!(alone["urgent"], 12);
    let together = bed.json(&["scan", error.to_str().unwrap(), access.to_str().unwrap()]);
    assert_eq!((&together["failed_logins"], &together["left_to_access_logs"]), (&0.into(), &12.into()));
    let told = bed.run(&["scan", error.to_str().unwrap(), access.to_str().unwrap()]).stdout;
    assert!(
        told.contains("12 failed logins that error logs tell of are left to the access logs' answers 401"),
        "{told}"
    );
}

/// What a server's error log says of pages that aren't there, or that nobody may have: Apache's, and nginx's.
fn not_served(n: u32) -> [String; 2] {
    let apache = format!("[Fri Nov 20 10:00:{n:02}.123456 2026] [authz_core:error] [pid 7] [client 192.0.2.1:4711]");
    let nginx = format!(
        "2026/11/20 10:00:{n:02} [error] 80#81: *{n} open() \"/srv/x{n}\" failed (2: No such file or directory)"
    );
    [
        format!("{apache} AH01630: client denied by server configuration: /srv/x{n}\n"),
        format!("{nginx}, client: 192.0.2.1, server: _, request: \"GET /x{n} HTTP/1.1\"\n"),
    ]
}

#[test]
fn pages_that_are_not_there_are_no_errors_where_an_access_log_tells_of_them() {
    let bed = both_kinds();
    bed.file("config/rules/mine.toml", "severity = \"low\"\nmeaning = \"m\"\nadvice = \"a\"\n[count]\nevents = \"errors\"\nby = \"log.kind\"\nthreshold = 5\nwindow = \"1m\"\n");
    let asked = |n| request(n, "192.0.2.1", "-", &format!("GET /x{n}"), 404);
    let text: String = (0..6).flat_map(not_served).collect();
    bed.file("log/web1/access.log", &(0..6).map(asked).collect::<String>());
    bed.file("log/web1/error.log", &text);
    bed.run_job("scan", "2026-11-20T12:00:00Z");
    assert_eq!(bed.store().findings(&Default::default()).unwrap().len(), 0);
    // What is wrong with the server is an error all the same.
    let wrong = |n: u32| {
        text.replace("(2: No such file or directory)", "(13: Permission denied)")
            .replace("20 10:", &format!("20 {}:", 10 + n))
    };
    bed.file("log/web1/error.log", &(text.clone() + &wrong(1)));
    bed.run_job("scan", "2026-11-20T12:10:00Z");
    let counts = |bed: &TestBed| {
        let found = bed.store().findings(&Default::default()).unwrap();
        found.iter().map(|stored| stored.finding.count).collect::<Vec<_>>()
    };
    assert_eq!(counts(&bed), [6]);
    // And where nothing else tells of them.
    bed.file("log/web3/error.log", &text);
    bed.run_job("scan", "2026-11-20T12:20:00Z");
    assert_eq!(counts(&bed).iter().sum::<u64>(), 6 + 12);
}

#[test]
fn an_access_log_that_is_no_longer_written_hides_no_failed_logins() {
    let bed = both_kinds();
    bed.file("log/web1/access.log", &request(0, "192.0.2.1", "-", "GET /", 200));
    bed.run_job("scan", "2026-11-20T12:00:00Z");
    let text: String = (0..6).map(|n| refused(n, "192.0.2.1")[0].replace("Fri Nov 20", "Tue Nov 24")).collect();
    bed.file("log/web1/error.log", &text);
    let notes = bed.run_job("scan", "2026-11-24T12:00:00Z").notes;
    assert!(notes.iter().any(|note| note.contains("6 failed logins")), "{notes:?}");
    let findings = bed.store().findings(&Default::default()).unwrap();
    assert_eq!(findings.iter().map(|stored| stored.finding.count).collect::<Vec<_>>(), [6]);
}

#[test]
fn error_logs_in_syslog_tell_of_failed_logins_unless_requests_stand_there_too() {
    let said = |host: &str, n: u32| {
        let header = format!("Nov 20 10:00:{n:02} {host}");
        [
            format!(
                "{header} apache2[7]: [auth_basic:error] [pid 7:tid 9] [client 192.0.2.1:4711] AH01618: user eve not found: /private"
            ),
            format!(
                "{header} httpd[7]: [Fri Nov 20 10:00:{n:02}.123456 2026] [auth_basic:error] [pid 7:tid 9] [client 192.0.2.1:4711] AH01618: user eve not found: /private"
            ),
            format!(
                "{header} nginx[7]: 2026/11/20 10:00:{n:02} [error] 7#7: *1 user \"eve\": password mismatch, client: 192.0.2.1, server: _"
            ),
            format!("{header} mailer[7]: [auth_basic:error] [client 192.0.2.1:4711] AH01618: user eve not found: /private"),
            format!("{header} apache2[7]: [mpm_event:notice] [pid 7:tid 9] AH00489: Apache configured"),
        ]
        .join("\n")
            + "\n"
    };
    let lines: String = (0..6).flat_map(|n| [said("web1", n), said("web2", n)]).collect();
    let bed = bed("", "\"source.ip\"", &lines);
    assert_eq!(found(&bed), ["192.0.2.1 24"]);
    // Of web1 only what the requests say counts, also of the line just before its own request.
    let request = |n: u32| {
        format!(
            "Nov 20 10:00:{n:02} web1 nginx[7]: 192.0.2.1 - eve [20/Nov/2026:10:00:{n:02} +0000] \"GET /private HTTP/1.1\" 401 5\n"
        )
    };
    let lines: String = (0..6).flat_map(|n| [said("web1", n), request(n), said("web2", n)]).collect();
    let bed = self::bed("", "\"source.ip\"", &lines);
    bed.file("log/web1/access.log", &lines);
    let notes = bed.run_job("scan", "2026-11-20T12:00:00Z").notes;
    assert!(notes.iter().any(|note| note.starts_with("15 failed logins")), "{notes:?}");
    assert_eq!(found(&bed), ["192.0.2.1 18"]);
    // A day later nobody writes requests there any more.
    let later = said("web1", 7).replace("Nov 20", "Nov 22").repeat(6);
    std::fs::write(bed.path("log/web1/access.log"), lines + &later).unwrap();
    bed.run_job("scan", "2026-11-22T12:40:00Z");
    assert!(found(&bed).contains(&"192.0.2.1 12".to_owned()), "{:?}", found(&bed));
}

#[test]
fn error_lines_in_syslog_are_left_to_the_access_logs_of_the_host_that_they_name() {
    let lines: String = (0..6)
        .map(|n| {
            format!("Nov 20 10:00:{n:02} web2 apache2[7]: [auth_basic:error] [pid 7:tid 9] [client 192.0.2.1:4711] AH01618: user eve not found: /\n")
        })
        .collect();
    let requests: String = (0..6).map(|n| request(n, "192.0.2.1", "eve", "GET /", 401)).collect();
    for (host, count) in [("web1", "192.0.2.1 12"), ("web2", "192.0.2.1 6")] {
        let bed = bed("", "\"source.ip\"", "");
        bed.main("[sources.web]\nfiles = [\"DIR/log/*/access.log\"]\nhost_pattern = '/log/([^/]+)/'\n[sources.syslog]\nfiles = [\"DIR/syslog\"]\n");
        bed.file("jobs/scan.toml", "[scan]\nsources = [\"syslog\", \"web\"]\nrules = [\"mine\"]\n");
        std::fs::remove_file(bed.path("log/web1/access.log")).unwrap();
        bed.file(&format!("log/{host}/access.log"), &requests).file("syslog", &lines);
        assert_eq!(found(&bed), [count], "{host}");
    }
}

#[test]
fn repeated_error_lines_count_as_often_as_they_say() {
    let line = "[auth_basic:error] [pid 7:tid 9] [client 192.0.2.1:4711] AH01618: user eve not found: /";
    let lines = format!(
        "Nov 20 10:00:00 web1 apache2[7]: {line}\nNov 20 10:00:09 web1 apache2[7]: message repeated 9 times: [ {line}]\n"
    );
    assert_eq!(found(&bed("", "\"source.ip\"", &lines)), ["192.0.2.1 10"]);
}

#[test]
fn a_module_that_repeats_or_corrects_what_pam_unix_said_adds_no_failure() {
    let said = |n: u32, module: &str, what: &str, ip: &str| {
        format!(
            "Nov 20 10:00:{n:02} web1 dovecot[{n}]: {module}(dovecot:auth): authentication {what}; logname= uid=0 euid=0 tty=dovecot ruser=eve rhost={ip} user=eve\n"
        )
    };
    let both: String = (0..6)
        .flat_map(|n| [said(n, "pam_unix", "failure", "192.0.2.1"), said(n, "pam_sss", "failure", "192.0.2.1")])
        .collect();
    let in_the_end: String = (10..16)
        .flat_map(|n| [said(n, "pam_unix", "failure", "192.0.2.2"), said(n, "pam_sss", "success", "192.0.2.2")])
        .collect();
    assert_eq!(found(&bed("", "\"source.ip\"", &(both + &in_the_end))), ["192.0.2.1 6"]);
}
