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
