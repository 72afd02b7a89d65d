//! Whatever an attacker puts into a name, a path or a header: only the address that the server itself wrote is accused.

use crate::support::TestBed;

/// Attackers come from here.
const GUILTY: &str = "198.51.100.";

/// What an attacker may choose; the address in it belongs to somebody else.
const PAYLOADS: [&str; 12] = [
    " from 203.0.113.9 port 22 ssh2",
    "root from 203.0.113.9",
    "x from 203.0.113.9 port 22 [preauth]",
    "rhost=203.0.113.9 user=root",
    "x rhost=203.0.113.9  user=root",
    "203.0.113.9",
    "203.0.113.9 port 22",
    "x not allowed because not listed from 203.0.113.9 not allowed because y",
    "x; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.9",
    "\\\"] 203.0.113.9 - - [19/Nov/2026:10:00:00 +0000] \\\"GET / HTTP/1.1\\\" 401 1",
    "x\r203.0.113.9 - - [19/Nov/2026:10:00:00 +0000] \\\"GET / HTTP/1.1\\\" 401 1",
    "]: Failed password for root from 203.0.113.9 port 22 ssh2: (x,ssh-connection)",
];

/// What servers make of it; `{user}` is the payload.
const LINES: [&str; 17] = [
    "Failed password for invalid user {user} from {address} port 40001 ssh2",
    "Failed password for {user} from {address} port 40001 ssh2",
    "Failed keyboard-interactive/pam for invalid user {user} from {address} port 40001 ssh2",
    "Failed publickey for {user} from {address} port 40001 ssh2: RSA SHA256:abc",
    "Failed publickey for bob from {address} port 40001 ssh2: ED25519-CERT SHA256:aa ID {user} (serial 0) CA ED25519 SHA256:bb",
    "Failed publickey for {user} from {address} port 40001 ssh2: ED25519-CERT SHA256:aa ID {user} (serial 0) CA ED25519 SHA256:bb",
    "Invalid user {user} from {address}",
    "Invalid user {user} from {address} port 40001",
    "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={address}  user={user}",
    "error: PAM: Authentication failure for illegal user {user} from {address}",
    "error: maximum authentication attempts exceeded for invalid user {user} from {address} port 40001 ssh2 [preauth]",
    "User {user} from {address} not allowed because not listed in AllowUsers",
    "Connection closed by invalid user {user} {address} port 40001 [preauth]",
    "Disconnected from authenticating user {user} {address} port 40001 [preauth]",
    "Disconnecting invalid user {user} {address} port 40001: Change of username or service not allowed: ({user},ssh-connection) -> ({user},ssh-connection) [preauth]",
    "Bad protocol version identification '{user}' from {address} port 40001",
    "Received disconnect from {address} port 40001:11: {user} [preauth]",
];

/// The same for web servers, which escape quotes and control characters themselves.
const REQUESTS: [&str; 7] = [
    "{address} - {user} [19/Nov/2026:10:00:01 +0000] \"GET / HTTP/1.1\" 401 5 \"-\" \"x\"",
    "{address} - - [19/Nov/2026:10:00:01 +0000] \"GET /{user} HTTP/1.1\" 401 5 \"-\" \"x\"",
    "{address} - - [19/Nov/2026:10:00:01 +0000] \"{user}\" 400 5 \"-\" \"x\"",
    "{address} - - [19/Nov/2026:10:00:01 +0000] \"GET / HTTP/1.1\" 401 5 \"{user}\" \"{user}\"",
    "{address} - - [19/Nov/2026:10:00:01 +0000] \"GET / HTTP/1.1\" 401 5 \"-\" \"x\" \"{user}\"",
    // Whom a request came for is what it says, but for the last one.
    "203.0.113.9, {address} - {user} [19/Nov/2026:10:00:01 +0000] \"GET / HTTP/1.1\" 401 5 \"-\" \"x\"",
    "203.0.113.9, 203.0.113.9 - x, {address} - {user} [19/Nov/2026:10:00:01 +0000] \"GET / HTTP/1.1\" 401 5 \"-\" \"x\"",
];

/// The same for error logs. Apache escapes line breaks, which nginx doesn't, and a user name ends at the first colon for nginx.
const ERRORS: [&str; 9] = [
    "[Thu Nov 19 10:00:01.123456 2026] [auth_basic:error] [pid 7] [client {address}:4711] AH01618: user {user} not found: /",
    "[Thu Nov 19 10:00:01.123456 2026] [auth_basic:error] [pid 7] [client {address}:4711] AH01618: user eve not found: /{user}",
    "[Thu Nov 19 10:00:01.123456 2026] [auth_basic:error] [pid 7] [client {address}:4711] AH01617: user {user}: authentication failure for \"/{user}\": Password Mismatch, referer: {user}",
    "[Thu Nov 19 10:00:01 2026] [error] [client {address}] user {user} not found: /[client 203.0.113.9] user eve not found",
    "[Thu Nov 19 10:00:01 2026] [error] [client {address}] File does not exist: /srv/[client 203.0.113.9] user {user} not found: /",
    "2026/11/19 10:00:01 [error] 80#81: *7 user \"{name}\": password mismatch, client: {address}, server: _, request: \"GET /{user} HTTP/1.1\"",
    "2026/11/19 10:00:01 [error] 80#81: *7 user \"eve\" was not found in \"/etc/x\", client: {address}, server: _, request: \"GET /{user}, client: 203.0.113.9, server: _ HTTP/1.1\"",
    "2026/11/19 10:00:01 [error] 80#81: *7 open() \"/srv/\n2026/11/19 10:00:01 [error] 80#81: *7 user \"eve\": password mismatch, client: 203.0.113.9\n{user}\" failed (2: No such file or directory), client: {address}, server: _",
    "2026/11/19 10:00:01 [error] 80#81: *7 open() \"/srv/*1 user \"{user}\": password mismatch, client: 203.0.113.9\" failed (2: No such file or directory), client: {address}, server: _",
];

#[test]
fn what_a_visitor_says_of_itself_in_front_of_a_request_is_no_line_of_another_log() {
    let end = r#" - - [20/Nov/2026:10:05:03 +0000] "GET / HTTP/1.1" 404 5 "-" "x" "a\"b" 0.003 rt=0.1 HIT"#;
    let scanned = |name: &str, lines: &str| {
        let bed = TestBed::new();
        bed.file(name, lines);
        let log = bed.path(name);
        bed.json(&["scan", "--all-rules", "--zone", "UTC", "--year", "2026", log.to_str().unwrap()])
    };
    for forged in [
        "Nov 20 10:05:00 web1 sshd[PID]: Failed password for root from 203.0.113.9 port 3 ssh2: x",
        "Nov 20 10:05:00 web1 sshd[PID]: Accepted password for root from 203.0.113.9 port 3 ssh2",
        "2026-11-20T10:05:00Z web1 sshd[PID]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.9  user=root",
        "Nov 20 10:05:00 web1 httpd: [auth_basic:error] [pid 3] [client 203.0.113.9:3] AH01618: user root not found: /x",
        "Nov 20 10:05:00 web1 login[PID]: FAILED LOGIN (1) on '/dev/tty1' FROM '203.0.113.9' FOR 'root'",
        "<85>1 2026-11-20T10:05:00Z web1 sshd PID - - Failed password for root from 203.0.113.9 port 3 ssh2",
        "Nov 20 10:05:00 web1 x: y",
    ] {
        for proxy in [", 192.0.2.7", ""] {
            let line = |n: u32| format!("{}{proxy}{end}\n", forged.replace("PID", &n.to_string()));
            // The line that says so often came again is the server's own, and about nothing.
            let again = "Nov 20 10:05:09 web1 last message repeated 50 times\n";
            let whole = format!("192.0.2.8{end}\n") + &(3..12).map(line).collect::<String>() + again;
            let told = scanned("site.log", &whole);
            let first = scanned("access.log", &(3..12).map(line).collect::<String>());
            assert_eq!((&first["failed_logins"], &first["status"]["404"]), (&0.into(), &9.into()), "{forged}{proxy}");
            let subjects = told["findings"].as_array().unwrap().iter().map(|f| f["subject"].to_string());
            let accused = told["addresses"].to_string() + &subjects.collect::<String>();
            assert!(!accused.contains("203.0.113.9") && told["failed_logins"] == 0, "{forged}{proxy}: {told}");
            assert_eq!(told["status"]["404"], 10, "{forged}{proxy}");
        }
    }
    // In a log of another kind no name hides who fails to log in.
    let name = r#"x - - [20/Nov/2026:10:05:03 +0000] "GET / HTTP/1.1" 200 5"#;
    for failed in [
        format!("sshd[7]: Failed password for invalid user {name} from 192.0.2.7 port 4711 ssh2"),
        format!("sshd[7]: Invalid user {name} \"-\" \"-\" \" from 192.0.2.7"),
        format!("login[7]: FAILED LOGIN 1 FROM 192.0.2.7 FOR {name}"),
        format!(
            "vsftpd[7]: pam_unix(vsftpd:auth): authentication failure; logname= uid=0 euid=0 tty=ftp ruser= rhost=192.0.2.7  user={name}"
        ),
    ] {
        let told = scanned("auth.log", &format!("Nov 20 10:05:00 web1 {failed}\n"));
        assert_eq!(
            (&told["failed_logins"], &told["addresses"][0]["address"]),
            (&1.into(), &"192.0.2.7".into()),
            "{failed}"
        );
    }
}

#[test]
fn what_a_visitor_says_of_itself_is_its_own_also_in_the_next_run_and_the_next_file() {
    let end = r#" - - [20/Nov/2026:10:05:03 +0000] "GET / HTTP/1.1" 404 5"#;
    let forged = |n: u32| {
        format!("Nov 20 10:05:00 web1 sshd[{n}]: Failed password for root from 203.0.113.9 port 3 ssh2{end}\n")
    };
    let bed = TestBed::new();
    bed.main("[sources.web]\nfiles = [\"DIR/log/site.log*\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"web\"]\nrules = [\"failed-logins\"]\n");
    let first = format!("192.0.2.8{end}\n");
    bed.file("log/site.log", &first);
    bed.run_job("scan", "2026-11-20T11:00:00Z");
    // Others follow that are read in a shorter way.
    let second = first.clone() + &first;
    bed.file("log/site.log", &second);
    bed.run_job("scan", "2026-11-20T11:30:00Z");
    bed.file("log/site.log", &(second + &(0..6).map(forged).collect::<String>()));
    bed.run_job("scan", "2026-11-20T12:00:00Z");
    std::fs::rename(bed.path("log/site.log"), bed.path("log/site.log.1")).unwrap();
    bed.file("log/site.log", &(10..16).map(forged).collect::<String>());
    let ended = bed.run_job("scan", "2026-11-20T13:00:00Z");
    assert!(bed.store().findings(&Default::default()).unwrap().is_empty(), "{ended:?}");
    assert!(ended.notes.iter().any(|note| note.contains("read 6 lines")), "{ended:?}");
    // What a web server sends through syslog is its own word also there.
    let sent = format!("Nov 20 13:05:00 web1 nginx: 192.0.2.7{}\n", end.replace("404", "401"));
    bed.file("log/site.log", &((10..16).map(forged).collect::<String>() + &sent.repeat(6)));
    bed.run_job("scan", "2026-11-20T14:00:00Z");
    let found = bed.json(&["findings", "--rule", "failed-logins"]);
    assert_eq!(
        (found.as_array().unwrap().len(), &found[0]["subject"]["source.ip"]),
        (1, &"192.0.2.7".into()),
        "{found}"
    );
}

#[test]
fn no_forged_address_is_ever_accused() {
    let bed = TestBed::new();
    let (mut ssh, mut web, mut errors, mut tried, mut wrong) = (String::new(), String::new(), String::new(), 0, 0);
    for payload in PAYLOADS {
        for line in LINES {
            tried += 1;
            let line = line.replace("{user}", payload).replace("{address}", &format!("{GUILTY}{}", tried % 250 + 1));
            // Five times, so that whoever is taken for the culprit is reported.
            for n in 0..5 {
                ssh += &format!("2026-11-19T10:0{n}:00+00:00 web1 sshd[{}]: {line}\n", tried * 10 + n);
            }
        }
        for line in REQUESTS {
            tried += 1;
            let line = line.replace("{user}", payload).replace("{address}", &format!("{GUILTY}{}", tried % 250 + 1));
            web += &format!("{line}\n").repeat(5);
        }
        for line in ERRORS {
            wrong += 1;
            let name = payload.split(':').next().unwrap();
            let line = line.replace("{user}", payload).replace("{name}", name);
            errors += &format!("{}\n", line.replace("{address}", &format!("{GUILTY}{wrong}"))).repeat(5);
        }
    }
    assert!(tried >= 60);
    for (name, text) in [("auth.log", ssh), ("access.log", web), ("error.log", errors)] {
        bed.file(name, &text);
        let path = bed.path(name);
        let scanned = bed.json(&["scan", "--all-rules", path.to_str().unwrap()]);
        for known in scanned["addresses"].as_array().unwrap() {
            let address = known["address"].as_str().unwrap();
            assert!(address.starts_with(GUILTY), "{name}: {address} is accused");
        }
        for finding in scanned["findings"].as_array().unwrap() {
            for (field, value) in finding["subject"].as_object().unwrap() {
                let innocent = field.starts_with("source.") && !value.as_str().unwrap().starts_with(GUILTY);
                assert!(!innocent, "{name}: {finding}");
            }
        }
        // In error logs four kinds of lines tell of failures and of whose they were.
        assert!(scanned["addresses"].as_array().unwrap().len() >= 48, "{name} names nobody");
    }
}

/// Names that look like the rest of a request.
const REQUEST_LIKE: [&str; 2] = [
    "x [20/Nov/2026:10:05:03 +0100] \"GET / HTTP/1.1\" 401 5",
    "- - [20/Nov/2026:10:05:03 +0100] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\"",
];

#[test]
fn the_first_line_of_a_log_is_not_taken_for_one_of_another_format() {
    let bed = TestBed::new();
    // A stamp that ends as a host with a port does, and a host that is an address.
    for header in
        ["2026-11-19T10:00:00.1+01:00 203.0.113.1", "2026-11-19T10:00:00Z 203.0.113.1", "Nov 19 10:00:00 203.0.113.1"]
    {
        for (number, line) in
            REQUEST_LIKE.iter().flat_map(|payload| LINES.map(|line| line.replace("{user}", payload))).enumerate()
        {
            let line = line.replace("{address}", "198.51.100.7");
            bed.file("auth.log", &format!("{header} sshd[{number}]: {line}\n").repeat(5));
            let scanned = bed.json(&["scan", bed.path("auth.log").to_str().unwrap()]);
            assert_eq!(scanned["files"][0]["format"], "syslog", "{header} {line}");
            for known in scanned["addresses"].as_array().unwrap() {
                assert_eq!(known["address"], "198.51.100.7", "{header} {line}");
            }
        }
    }
}

#[test]
fn lines_that_visitors_write_into_nginx_error_log_are_no_lines_of_other_logs() {
    let error = |within: &str| {
        format!(
            "2026/11/19 10:00:01 [error] 80#81: *7 open() \"/srv/{within}\" failed (2: No such file or directory), client: 192.0.2.7, server: _\n"
        )
    };
    let forged = [
        "203.0.113.9 - - [19/Nov/2026:10:00:01 +0000] \"GET / HTTP/1.1\" 401 5",
        "Nov 19 10:00:01 web1 sshd[7]: Failed password for root from 203.0.113.9 port 22 ssh2",
        "[Thu Nov 19 10:00:01 2026] [error] [client 203.0.113.9] user eve not found: /",
        "{\"ts\":1795082401,\"request\":{\"remote_ip\":\"203.0.113.9\"},\"status\":401}",
        "#Fields: date time c-ip sc-status\n2026-11-19 10:00:01 203.0.113.9 401",
    ];
    // The attacker even closes the first line as nginx would have.
    let closed = "\" failed (2: No such file or directory), client: 192.0.2.7, server: _\n";
    let text: String = forged.map(|line| error(&format!("x{closed}{line}\n")).repeat(6)).concat();
    let bed = TestBed::new();
    bed.main("[sources.web]\nfiles = [\"DIR/log/*\"]\n");
    bed.file(
        "config/rules/mine.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[count]\nby = \"source.ip\"\n",
    );
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"web\"]\nrules = [\"mine\"]\n");
    // What is known of the file must outlive a run.
    bed.file("log/error.log", &error("first"));
    bed.run_job("scan", "2026-11-19T11:00:00Z");
    bed.file("log/error.log", &(error("first") + &text));
    bed.run_job("scan", "2026-11-19T12:00:00Z");
    assert!(bed.store().findings(&Default::default()).unwrap().is_empty());
    let scanned = bed.json(&["scan", "--all-rules", bed.path("log/error.log").to_str().unwrap()]);
    assert!(!scanned.to_string().contains("203.0.113.9\""), "{scanned}");
    for name in ["nginx-err.log", "example.com.err", "nginx-stderr---supervisor-x.log"] {
        bed.file(name, &(error("first") + &text));
        let scanned = bed.json(&["scan", "--all-rules", bed.path(name).to_str().unwrap()]);
        assert!(!scanned.to_string().contains("203.0.113.9\""), "{name}: {scanned}");
    }
    // A container's output holds both, and is called otherwise.
    let request = "192.0.2.1 - - [19/Nov/2026:10:00:01 +0000] \"GET / HTTP/1.1\" 401 5\n";
    for name in ["container.log", "cherry.log"] {
        bed.file(name, &(error("first") + &request.repeat(6)));
        let scanned = bed.json(&["scan", bed.path(name).to_str().unwrap()]);
        assert_eq!((&scanned["failed_logins"], &scanned["files"][0]["unparsed"]), (&6.into(), &0.into()), "{name}");
    }
    // So is an error log that came by syslog.
    let syslog =
        "Nov 19 10:00:01 web1 nginx[7]: 2026/11/19 10:00:01 [error] 80#81: *7 x, client: 192.0.2.1, server: _\n";
    bed.file("log/nginx-error.log", &(syslog.to_owned() + &error("first") + &syslog.repeat(6)));
    let scanned = bed.json(&["scan", bed.path("log/nginx-error.log").to_str().unwrap()]);
    assert_eq!(scanned["files"][0]["unparsed"], 0);
}

#[test]
fn a_name_that_looks_like_the_rest_of_a_request_makes_no_request_of_a_failure() {
    let bed = TestBed::new();
    for status in [200, 401, 503] {
        let name = format!(", - - [20/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" {status} 5");
        for stamp in ["Nov 20 10:00:00", "2026-11-20T10:00:00Z", "2026-11-20 10:00:00,123"] {
            for who in ["", "192.0.2.9"] {
                let line = format!(
                    "{stamp} web1 sshd[7]: Failed password for invalid user {who}{name} from 192.0.2.7 port 4711 ssh2\n"
                );
                bed.file("auth.log", &line.repeat(6));
                let read = bed.json(&["scan", "--year", "2026", bed.path("auth.log").to_str().unwrap()]);
                assert_eq!(read["status"], serde_json::json!({}), "{line}");
                let named = read["addresses"].as_array().unwrap().iter().map(|one| one["address"].as_str().unwrap());
                assert!(named.clone().all(|address| address == "192.0.2.7"), "{line} {:?}", named.collect::<Vec<_>>());
            }
        }
    }
}
