//! Real logs, and what is true of them as computed independently of logkeeper.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{self, TestBed};

fn truth(name: &str) -> Option<Value> {
    let text = std::fs::read_to_string(support::shared()?.join("truth").join(name)).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

fn scan(corpus: &str, more: &[&str]) -> Value {
    let path = support::shared().unwrap().join("corpora").join(corpus);
    TestBed::new().json(&[&["scan", "--zone", "UTC", path.to_str().unwrap()], more].concat())
}

/// Subject to (count, instant reached without its year) of a rule's findings grouped by `field`.
fn offenders(scanned: &Value, field: &str) -> BTreeMap<String, (u64, String)> {
    let findings = scanned["findings"].as_array().unwrap().iter();
    let entry = |f: &Value| {
        let reached = f["reached"].as_str().unwrap()[5..19].to_owned();
        Some((f["subject"].get(field)?.as_str()?.to_owned(), (f["count"].as_u64()?, reached)))
    };
    findings.filter_map(entry).collect()
}

fn true_offenders(by: &Value) -> BTreeMap<String, (u64, String)> {
    let all = by.as_object().unwrap().iter();
    let entry = |(name, v): (&String, &Value)| {
        Some((name.clone(), (v["events"].as_u64()?, v["first_5th_in_30min"].as_str()?.to_owned())))
    };
    all.filter_map(entry).collect()
}

#[test]
fn openssh_2k_gives_exactly_the_true_offenders() {
    let Some(truth) = truth("ssh_OpenSSH_2k.json") else {
        return support::skip("openssh_2k_gives_exactly_the_true_offenders", "../shared");
    };
    let scanned = scan("loghub/OpenSSH_2k.log", &["--year", "2015"]);
    let canonical = &truth["canonical"];
    assert_eq!(scanned["files"][0]["lines"], truth["lines"]);
    assert_eq!(scanned["failed_logins"], truth["totals"]["canonical"]);
    assert_eq!(offenders(&scanned, "source.ip"), true_offenders(&canonical["by_ip"]));
    assert_eq!(offenders(&scanned, "user.name"), true_offenders(&canonical["by_user_top"]));
    let failures: BTreeMap<&str, u64> = scanned["addresses"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|a| a["failures"] != 0)
        .map(|a| (a["address"].as_str().unwrap(), a["failures"].as_u64().unwrap()))
        .collect();
    let want =
        canonical["by_ip"].as_object().unwrap().iter().map(|(ip, v)| (ip.as_str(), v["events"].as_u64().unwrap()));
    assert_eq!(failures, want.collect());
}

#[test]
fn apache_logs_give_the_true_statuses_and_minutes() {
    let Some(truth) = truth("http_apache_logs.json") else {
        return support::skip("apache_logs_give_the_true_statuses_and_minutes", "../shared");
    };
    let scanned = scan("elastic-apache/apache_logs", &[]);
    assert_eq!(scanned["status"], truth["status"]);
    assert_eq!(
        (&scanned["files"][0]["parsed"], &scanned["files"][0]["unparsed"]),
        (&truth["parsed"], &truth["n_unparsed"])
    );
    let not_found = |address: &Value| {
        let all = scanned["addresses"].as_array().unwrap();
        all.iter().find(|a| a["address"] == *address).unwrap()["status"]["404"].clone()
    };
    for entry in truth["top_404_ips"].as_array().unwrap() {
        assert_eq!(not_found(&entry[0]), entry[1], "{}", entry[0]);
    }
    let spikes = scanned["findings"].as_array().unwrap().iter().filter(|f| f["subject"]["http.status"] == "404");
    let minutes: serde_json::Map<String, Value> =
        spikes.map(|f| (format!("{}Z", &f["reached"].as_str().unwrap()[..16]), f["count"].clone())).collect();
    assert_eq!(Value::Object(minutes), truth["minutes_utc_with_5plus"]["404"]);
}

/// Folders of CrowdSec's hub whose logs are those of a service of ours, but of which something is left out, and why.
const NOT_OF_THE_HUB: [(&str, &str); 6] = [
    ("traefik_json", "one of its lines has a list of addresses for the client: whom to believe is not known"),
    ("nginx-mail-logs", "nginx as a mail proxy"),
    (
        "nginx_req_limit_exceeded",
        "limits that nginx enforced itself: its error log names who is slowed down, which is no request",
    ),
    ("apache-cve-2021-41773 88.168.206.87", "an attack that only the error log tells of, which is no request"),
    ("postfix-relay", "postfix"),
    ("pam-logs", "pam_faillock's and pam_tally's own words, without an address"),
];

/// The service that a folder of the hub is about; none where it is none of ours.
fn service_of(config: &str) -> Option<&str> {
    let service = config.lines().find_map(|line| line.strip_prefix("log_type:"))?.trim();
    let ours = ["nginx", "apache2", "caddy", "traefik"].contains(&service)
        || service == "syslog" && ["sshd-logs", "pam-logs", "/sshd"].iter().any(|parser| config.contains(parser));
    ours.then_some(service)
}

/// Requests per address and status.
fn requests(scanned: &Value) -> BTreeMap<(String, String), u64> {
    let mut all = BTreeMap::new();
    for address in scanned["addresses"].as_array().unwrap() {
        for (status, count) in address["status"].as_object().unwrap() {
            all.insert((address["address"].as_str().unwrap().to_owned(), status.clone()), count.as_u64().unwrap());
        }
    }
    all
}

fn normalised(address: &str) -> String {
    address.parse::<std::net::IpAddr>().map_or_else(|_| address.to_owned(), |ip| ip.to_string())
}

#[test]
fn every_request_and_offender_of_crowdsecs_hub_is_known() {
    let name = "every_request_and_offender_of_crowdsecs_hub_is_known";
    let Some(truth) = truth("crowdsec_candidates.json") else { return support::skip(name, "../shared") };
    let hub = support::shared().unwrap().join("corpora/crowdsec-hub");
    let (mut folders, mut compared, mut wrong) = (0, 0, Vec::new());
    for (folder, want) in truth["tests"].as_object().unwrap() {
        let config = std::fs::read_to_string(hub.join(folder).join("config.yaml")).unwrap();
        let Some(service) = service_of(&config) else { continue };
        let left_out = |of: &str| NOT_OF_THE_HUB.iter().any(|(name, _)| *name == of);
        if left_out(folder) {
            continue;
        }
        folders += 1;
        for log in want["logs"].as_object().unwrap().keys() {
            let scanned = scan(&format!("crowdsec-hub/{folder}/{log}"), &[]);
            let known: Vec<&str> = scanned["addresses"]
                .as_array()
                .unwrap()
                .iter()
                .map(|known| known["address"].as_str().unwrap())
                .collect();
            let offenders = want["overflows"].as_object().into_iter().flat_map(|all| all.values());
            for offender in offenders.filter_map(|offender| offender[0].as_str()).map(normalised) {
                compared += 1;
                if !known.contains(&offender.as_str()) && !left_out(&format!("{folder} {offender}")) {
                    wrong.push(format!("{folder}: {offender} is not known"));
                }
            }
            let events = want["parsed"].as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("s01"));
            let (mut told, mut addresses) = (BTreeMap::new(), Vec::new());
            for (_, event) in events {
                let text = |field: &str| event[field].as_str().map(str::to_owned);
                let address = text("Meta.source_ip").as_deref().map(normalised);
                match (address, text("Meta.http_status").filter(|status| status != "-")) {
                    (Some(address), Some(status)) => *told.entry((address, status)).or_insert(0) += 1,
                    (Some(address), None) if service == "syslog" => addresses.push(address),
                    _ => {}
                }
            }
            compared += told.len() + addresses.len();
            if !told.is_empty() && told != requests(&scanned) {
                wrong.push(format!("{folder}: {told:?} are told, {:?} were read", requests(&scanned)));
            }
            let unknown = addresses.iter().filter(|address| !known.contains(&address.as_str()));
            wrong.extend(unknown.map(|address| format!("{folder}: {address} is not known")));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(folders > 40 && compared > 100, "{folders} {compared}");
}

/// Cases of OSSEC on services of ours: whose rule it is, and how many failed logins, urgent lines and requests that makes.
const OSSEC: [(&str, &str, [u64; 3]); 14] = [
    ("su.ini", "5301", [1, 0, 0]),
    ("su.ini", "5302", [1, 0, 0]),
    ("su.ini", "5503", [1, 0, 0]),
    ("su.ini", "5305", [0, 0, 0]),
    ("sudo.ini", "5401", [1, 0, 0]),
    ("sudo.ini", "5404", [3, 0, 0]),
    ("sudo.ini", "5405", [1, 0, 0]),
    ("sudo.ini", "5403", [0, 0, 0]),
    ("doas.ini", "51557", [1, 0, 0]),
    ("nginx.ini", "31301", [0, 1, 0]),
    ("nginx.ini", "31302", [0, 0, 0]),
    ("nginx.ini", "31303", [0, 1, 0]),
    ("openbsd-httpd.ini", "31100", [0, 0, 1]),
    ("web_rules.ini", "31101", [0, 1, 1]),
];

/// Lines that no service of ours writes: Apache's days have two digits, and nginx knows no level "yadda".
fn was_made_up(line: &str) -> bool {
    line.contains("[1/Apr/2014") || line.contains("[yadda]")
}

#[test]
fn ossecs_cases_on_logins_and_the_web_are_told_as_they_are_meant() {
    let name = "ossecs_cases_on_logins_and_the_web_are_told_as_they_are_meant";
    let Some(truth) = truth("ossec_candidates.json") else { return support::skip(name, "../shared") };
    let bed = TestBed::new();
    let (mut tried, mut compared, mut wrong) = (0, 0, Vec::new());
    for file in ["su.ini", "sudo.ini", "doas.ini", "nginx.ini", "openbsd-httpd.ini", "web_rules.ini"] {
        for case in truth[file].as_object().unwrap().values() {
            let lines = ["pass", "fail"].iter().flat_map(|kind| case[kind].as_array().unwrap());
            for line in lines.map(|line| line.as_str().unwrap()).filter(|line| !was_made_up(line)) {
                tried += 1;
                bed.file("one.log", &format!("{line}\n"));
                let read = bed.json(&["scan", bed.path("one.log").to_str().unwrap()]);
                let count = |field: &str| read[field].as_u64().unwrap();
                let requests = read["addresses"].as_array().unwrap().len() as u64;
                let got = [count("failed_logins"), count("urgent"), requests];
                let rule = case["rule"].as_str().unwrap();
                let want = OSSEC.iter().find(|(of, known, _)| *of == file && *known == rule);
                compared += usize::from(want.is_some());
                if read["files"][0]["unparsed"] != 0 || want.is_some_and(|(.., want)| got != *want) {
                    wrong.push(format!("{file} {rule} {got:?}: {line}"));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(tried > 30 && compared >= OSSEC.len(), "{tried} {compared}");
}

/// lnav's examples of formats of ours, the format and how many lines are not parsed: those are no lines of it.
const LNAV: [(&str, &str, u64); 12] = [
    ("logfile_access_log.0", "access", 0),
    ("logfile_access_log_dupe.0", "access", 0),
    // No identity and no user.
    ("logfile_bad_access_log.0", "access", 1),
    ("logfile_bad_syslog.0", "syslog", 0),
    ("logfile_for_join.0", "syslog", 0),
    ("logfile_syslog.0", "syslog", 0),
    ("logfile_syslog.1", "syslog", 0),
    ("logfile_syslog.2", "syslog", 0),
    // Messages of several lines, of which only the first has a stamp.
    ("logfile_syslog.3", "syslog", 10),
    ("logfile_pretty.0", "syslog", 17),
    // Two lines before the first message.
    ("logfile_syslog_with_header.0", "syslog", 2),
    ("logfile_w3c.1", "w3c", 0),
];

#[test]
fn lnavs_examples_of_our_formats_are_read_whole() {
    let name = "lnavs_examples_of_our_formats_are_read_whole";
    let Some(shared) = support::shared() else { return support::skip(name, "../shared") };
    for (file, format, unparsed) in LNAV {
        let scanned = scan(&format!("lnav/{file}"), &[]);
        let read = &scanned["files"][0];
        let lines = std::fs::read(shared.join("corpora/lnav").join(file)).unwrap();
        let lines = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        let told =
            (read["format"].as_str().unwrap(), read["unparsed"].as_u64().unwrap(), read["lines"].as_u64().unwrap());
        assert_eq!(told, (format, unparsed, lines), "{file}");
    }
}

#[test]
fn apache_error_log_is_understood_whole() {
    if support::shared().is_none() {
        return support::skip("apache_error_log_is_understood_whole", "../shared");
    }
    let scanned = scan("loghub/Apache_2k.log", &[]);
    assert_eq!(scanned["files"][0]["format"], "apache-error");
    assert_eq!(scanned["files"][0]["unparsed"], 0);
    assert_eq!(scanned["urgent"], 595);
}

/// Services of sshguard's tests that are none of ours, and lines whose header names no program.
fn is_not_ours(line: &str, code: &str) -> bool {
    let no_program = line.starts_with("2018-06-26 13:22:02.108781500")
        || line.contains(".46667 auth.info: Invalid")
        || line.contains("auth.info: May 27");
    !matches!(code, "100" | "350" | "360") || no_program
}

#[test]
fn every_attack_of_sshguards_tests_on_ssh_and_the_web_names_its_address() {
    let name = "every_attack_of_sshguards_tests_on_ssh_and_the_web_names_its_address";
    let Some(truth) = truth("sshguard.json") else { return support::skip(name, "../shared") };
    let bed = TestBed::new();
    let (mut tried, mut failures) = (0, Vec::new());
    for record in truth["records"].as_array().unwrap() {
        let (line, want) = (record["line"].as_str().unwrap(), record["want"].as_str().unwrap());
        let mut want = want.split(' ');
        let (code, address) = (want.next().unwrap(), want.next().unwrap_or_default());
        if is_not_ours(line, code) {
            continue;
        }
        // Some of the lines have lost their header.
        let whole = if line.contains("sshd") || code != "100" {
            line.to_owned()
        } else {
            format!("Nov 20 10:00:00 web1 sshd[7]: {line}")
        };
        tried += 1;
        bed.file("one.log", &format!("{whole}\n"));
        let tested = bed.json(&["scan", bed.path("one.log").to_str().unwrap()]);
        let known = tested["addresses"].as_array().unwrap().iter().any(|known| known["address"] == address);
        if !known {
            failures.push(format!("{address}: {whole}"));
        }
    }
    assert!(tried > 70, "{tried}");
    assert_eq!(failures, Vec::<String>::new());
}

/// Lines of fail2ban's samples whose address we don't take for one of a failed login or a probe, and why.
const NOT_OF_FAIL2BAN: [(&str, &str); 12] = [
    ("client denied by server configuration", "an answer 403: nobody tried to log in"),
    ("Authorization of user", "said before the line that counts, by the module that decided it"),
    ("AH01793: ", "mistakes in the digest protocol are no guesses"),
    ("AH01788: ", "the same"),
    ("AH01789: ", "the same"),
    ("Digest: invalid", "the same"),
    ("Digest: realm", "the same"),
    ("Digest: unknown", "the same"),
    ("AH01777: ", "the same"),
    ("AH0203", "a host name that doesn't fit its certificate"),
    ("from 10.10.1.2 port 55555 ssh2", "the last address of a line is sshd's own"),
    ("XXXX", "the same"),
];

#[test]
fn what_fail2bans_filters_flag_in_their_own_samples_is_known() {
    let name = "what_fail2bans_filters_flag_in_their_own_samples_is_known";
    let Some(truth) = truth("fail2ban_candidates.json") else { return support::skip(name, "../shared") };
    let (bed, mut tried, mut wrong) = (TestBed::new(), 0, Vec::new());
    for (file, variant) in [
        ("apache-auth", "apache-auth"),
        ("nginx-http-auth", "nginx-http-auth{'mode': 'auth'}"),
        ("sshd", "sshd"),
        ("dropbear", "dropbear"),
    ] {
        let path = support::shared().unwrap().join("corpora/fail2ban-samples").join(file);
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        let lines: Vec<&str> = text.split('\n').collect();
        let cases = truth["files"][file].as_array().unwrap().iter();
        for case in cases.filter(|case| case["variant"] == variant && case["match"] == true) {
            let line = lines[case["line_no"].as_u64().unwrap() as usize - 1];
            if NOT_OF_FAIL2BAN.iter().any(|(part, _)| line.contains(part)) || is_told_by_others(line) {
                continue;
            }
            tried += 1;
            bed.file("one.log", &format!("{line}\n"));
            let read = bed.json(&["scan", "--year", "2005", bed.path("one.log").to_str().unwrap()]);
            // Lines of nginx' error log can be forged, so the account is counted and nobody's address.
            if file == "nginx-http-auth" {
                wrong.extend((read["failed_logins"] != 1).then(|| format!("{file}: {line}")));
                assert_eq!(read["addresses"], Value::Array(Vec::new()), "{line}");
                continue;
            }
            let known = |id: &Value| read["addresses"].as_array().unwrap().iter().any(|known| known["address"] == *id);
            if !case["ids"].as_array().unwrap().iter().all(known) {
                wrong.push(format!("{file}: {} {line}", case["ids"]));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(tried > 60, "{tried}");
}

/// Lines without an address of their own, of which fail2ban knows it from one before, ends of connections of which another line
/// of sshd tells, too, and what no sshd of today writes: a failure without a port.
fn is_told_by_others(line: &str) -> bool {
    line.contains("Received disconnect from")
        || line.contains("Disconnecting: Too many authentication failures")
        || line.ends_with("ROOT from aaaa:bbbb:cccc:1234::1:1")
}
