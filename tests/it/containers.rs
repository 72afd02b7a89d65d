//! What containers print, as their engines write it.

use crate::cuts::{Random, assert_cuts_change_nothing_with};
use crate::support::TestBed;

fn docker(stream: &str, second: u32, printed: &str) -> String {
    let (minute, second) = (second / 60, second % 60);
    let entry = serde_json::json!({"log": printed, "stream": stream, "time": format!("2026-11-20T10:{minute:02}:{second:02}.25Z")});
    format!("{entry}\n")
}

fn cri(stream: &str, second: u32, tag: &str, printed: &str) -> String {
    format!("2026-11-20T10:{:02}:{:02}.25Z {stream} {tag} {printed}\n", second / 60, second % 60)
}

fn request(address: &str, second: u32, status: u32) -> String {
    let (minute, second) = (second / 60, second % 60);
    format!(
        "{address} - - [20/Nov/2026:10:{minute:02}:{second:02} +0000] \"GET /\\x22 HTTP/1.1\" {status} 5 \"-\" \"a \\\"b\\\"\""
    )
}

/// Format, lines not parsed, and each address with its failures.
fn scan(bed: &TestBed, text: &str) -> (String, u64, Vec<String>) {
    bed.file("c-json.log", text);
    let scanned = bed.json(&["scan", "--zone", "UTC", bed.path("c-json.log").to_str().unwrap()]);
    let file = &scanned["files"][0];
    let addresses = scanned["addresses"].as_array().unwrap();
    let addresses = addresses.iter().map(|a| format!("{} {}", a["address"].as_str().unwrap(), a["failures"]));
    (file["format"].as_str().unwrap().to_owned(), file["unparsed"].as_u64().unwrap(), addresses.collect())
}

#[test]
fn failed_logins_are_found_in_what_containers_print() {
    let bed = TestBed::new();
    let address = "198.51.100.7";
    let lines: String = (0..6).map(|n| docker("stdout", n, &(request(address, n, 401) + "\n"))).collect();
    let started = docker("stderr", 0, "2026/11/20 10:00:00 [notice] 1#1: start worker processes\n");
    assert_eq!(scan(&bed, &(started + &lines)), ("container".to_owned(), 0, vec![format!("{address} 6")]));
    let lines: String = (0..6).map(|n| cri("stdout", n, "F", &request(address, n, 401))).collect();
    assert_eq!(scan(&bed, &lines), ("container".to_owned(), 0, vec![format!("{address} 6")]));
    // An engine cuts what is long, as a request becomes by bytes that nginx escapes.
    let long = |n: u32| request(address, n, 401).replace("/\\x22", &format!("/login?{}", "\\xFF".repeat(4200)));
    let lines: String = (0..6)
        .map(|n| {
            let line = long(n);
            let (first, rest) = line.split_at(16 << 10);
            docker("stdout", n, first) + &docker("stdout", n, &format!("{rest}\n"))
        })
        .collect();
    assert_eq!(scan(&bed, &lines), ("container".to_owned(), 0, vec![format!("{address} 6")]));
    // Traefik prints JSON, and Docker writes it as a text in JSON.
    let traefik = |n: u32| {
        let time = format!("2026-11-20T10:00:{n:02}Z");
        let line = serde_json::json!({"ClientAddr": format!("{address}:4711"), "ClientHost": "203.0.113.1",
            "DownstreamStatus": 401, "RequestMethod": "GET", "RequestPath": "/", "StartUTC": time});
        docker("stdout", n, &format!("{line}\n"))
    };
    let lines: String = (0..6).map(traefik).collect();
    assert_eq!(scan(&bed, &lines), ("container".to_owned(), 0, vec![format!("{address} 6")]));
}

#[test]
fn requests_in_the_journal_as_json_are_read_without_its_escapes() {
    let bed = TestBed::new();
    let entry = |n: u32| {
        let time = (1_795_168_800_000_000_u64 + u64::from(n) * 1_000_000).to_string();
        let entry = serde_json::json!({"__REALTIME_TIMESTAMP": time, "_HOSTNAME": "web1", "SYSLOG_IDENTIFIER": "nginx",
            "MESSAGE": request("198.51.100.7", n, 401)});
        format!("{entry}\n")
    };
    let lines: String = (0..6).map(entry).collect();
    assert_eq!(scan(&bed, &lines), ("journal".to_owned(), 0, vec!["198.51.100.7 6".to_owned()]));
}

#[test]
fn what_the_journal_has_of_a_web_servers_outputs_accuses_nobody() {
    let bed = TestBed::new();
    let entry = |n: u32| {
        let time = (1_795_168_800_000_000_u64 + u64::from(n) * 1_000_000).to_string();
        let transport = if n.is_multiple_of(2) { "stdout" } else { "journal" };
        let entry = serde_json::json!({"__REALTIME_TIMESTAMP": time, "_HOSTNAME": "web1", "SYSLOG_IDENTIFIER": "nginx",
            "_TRANSPORT": transport, "MESSAGE": request("203.0.113.9", n, 401)});
        format!("{entry}\n")
    };
    let lines: String = (0..6).map(entry).collect();
    assert_eq!(scan(&bed, &lines), ("journal".to_owned(), 0, Vec::new()));
}

#[test]
fn what_visitors_write_into_the_errors_of_a_container_accuses_nobody() {
    let innocent = "203.0.113.9";
    let forged = [
        request(innocent, 1, 401),
        format!("Nov 20 10:00:01 web1 sshd[7]: Failed password for root from {innocent} port 22 ssh2"),
        format!("[Fri Nov 20 10:00:01 2026] [error] [client {innocent}] user eve not found: /"),
        format!(
            "{{\"level\":\"info\",\"ts\":1795168801,\"request\":{{\"remote_ip\":\"{innocent}\",\"method\":\"GET\",\"uri\":\"/\"}},\"status\":401}}"
        ),
        docker("stdout", 1, &(request(innocent, 1, 401) + "\n")).trim_end().to_owned(),
        cri("stdout", 1, "F", &request(innocent, 1, 401)).trim_end().to_owned(),
    ];
    let bed = TestBed::new();
    for line in forged {
        let error = format!(
            "2026/11/20 10:00:01 [error] 7#7: *1 open() \"/srv/x\" failed (2: No such file or directory)\n{line}\n\" failed"
        );
        let lines =
            |write: &dyn Fn(&str) -> String| error.split_inclusive('\n').map(write).collect::<String>().repeat(6);
        let (_, unparsed, accused) = scan(&bed, &lines(&|line| docker("stderr", 1, &format!("{}\n", line.trim_end()))));
        assert_eq!((unparsed, accused), (0, Vec::new()), "{line}");
        let (_, unparsed, accused) = scan(&bed, &lines(&|line| cri("stderr", 1, "F", line.trim_end())));
        assert_eq!((unparsed, accused), (0, Vec::new()), "{line}");
        // A long line goes on with a visitor's choice.
        let pieces = docker("stdout", 1, "x") + &docker("stdout", 1, &(line.clone() + "\n"));
        assert_eq!(scan(&bed, &pieces.repeat(6)).2, Vec::<String>::new(), "{line}");
    }
}

#[test]
fn what_containers_print_gives_the_same_however_it_is_cut() {
    let mut random = Random(7);
    let mut log = String::new();
    for n in 0..3000 {
        let address = format!("198.51.100.{}", random.below(5));
        let line = request(&address, n, [200, 401, 404][random.below(3)]);
        log += &match random.below(5) {
            0 => docker("stdout", n, &line) + &docker("stdout", n, &(line + "\n")),
            1 => docker("stderr", n, "2026/11/20 10:00:00 [error] 7#7: *1 open() \"/srv/x\" failed\n"),
            _ => docker("stdout", n, &(line + "\n")),
        };
    }
    assert_cuts_change_nothing_with(&|_| {}, &[("c-json.log", log.as_bytes())], 0..4);
}
