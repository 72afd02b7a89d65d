//! Formats that the configuration describes.

use serde_json::Value;

use crate::cuts::assert_cuts_change_nothing_with;
use crate::support::TestBed;

/// Scans lines with a format, and returns what is known of each address as `address events failures`, and what wasn't parsed.
fn scan(format: &str, lines: &str) -> (Vec<String>, u64) {
    let bed = TestBed::new();
    bed.main("").file("config/formats/own.toml", format).file("own.log", lines);
    let path = bed.path("own.log");
    let scanned = bed.json(&["scan", "--zone", "UTC", "--format", "own", path.to_str().unwrap()]);
    let address = |a: &Value| format!("{} {} {}", a["address"].as_str().unwrap(), a["events"], a["failures"]);
    let mut addresses: Vec<String> = scanned["addresses"].as_array().unwrap().iter().map(address).collect();
    addresses.sort();
    (addresses, scanned["files"][0]["unparsed"].as_u64().unwrap())
}

#[test]
fn a_pasted_apache_log_format_is_understood_and_only_trusted_proxies_are_believed() {
    let format = r#"
        category = "access"
        trusted_proxies = ["10.0.0.0/8", "192.0.2.1"]
        [lines.all]
        apache = '%v:%p %h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\" \"%{X-Forwarded-For}i\" %D'
    "#;
    let line = |peer: &str, user: &str, request: &str, forwarded: &str| {
        format!(
            "www.example.org:443 {peer} - {user} [20/Nov/2026:10:00:05 +0100] \"{request}\" 401 512 \"-\" \"curl/8\" \"{forwarded}\" 1234\n"
        )
    };
    let lines = [
        line("198.51.100.7", "-", "GET / HTTP/1.1", "-"),
        // Not from a proxy: whatever it says of others is not believed.
        line("198.51.100.7", "-", "GET / HTTP/1.1", "203.0.113.1"),
        // From proxies: the last that is none of them, whatever the client itself put in front.
        line("10.1.1.1", "-", "GET / HTTP/1.1", "203.0.113.1, 198.51.100.8, 192.0.2.1"),
        line("10.1.1.1", "-", "GET / HTTP/1.1", "198.51.100.8:4711"),
        line("10.1.1.1", "-", "GET / HTTP/1.1", "unknown"),
        line("10.1.1.1", "-", "GET / HTTP/1.1", "2001:db8::7"),
        // Escaped quotation marks, and blanks and brackets in names.
        line("198.51.100.9", r#"a\"b [x] y"#, r#"GET /a\"b\" 200 HTTP/1.1"#, "-"),
        "something else\n".to_owned(),
    ];
    let want = ["10.1.1.1 1 1", "198.51.100.7 2 2", "198.51.100.8 2 2", "198.51.100.9 1 1", "2001:db8::7 1 1"];
    assert_eq!(scan(format, &lines.concat()), (want.map(str::to_owned).to_vec(), 1));
}

#[test]
fn a_pasted_nginx_log_format_is_understood() {
    let format = r#"
        category = "access"
        [lines.all]
        nginx = '$host $remote_addr [$time_iso8601] "$request_method $request_uri" ${status} $request_time "$http_user_agent"'
    "#;
    let lines = "www.example.org 198.51.100.7 [2026-11-20T10:00:05+01:00] \"POST /login?x=1\" 401 0.012 \"curl \\x22 y\"\n\
                 www.example.org 198.51.100.7 [2026-11-20T10:00:06+01:00] \"GET /\" 200 0.001 \"-\"\n";
    assert_eq!(scan(format, lines), (vec!["198.51.100.7 2 1".to_owned()], 0));
}

#[test]
fn regular_expressions_say_which_lines_are_failed_logins() {
    let format = r#"
        category = "auth"
        time = "%d.%m.%Y %H:%M:%S"
        [lines.wrong]
        regex = '^(?<time>\S+ \S+) WARN wrong password for (?<user.name>.*) from (?<source.ip>\S+)$'
        tells = "login-failed"
        [lines.good]
        regex = '^(?<time>\S+ \S+) INFO (?<user.name>.*) logged in from (?<source.ip>\S+)$'
        tells = "login-succeeded"
        [lines.all]
        regex = '^(?<time>\S+ \S+) (INFO|WARN) '
    "#;
    let lines = "20.11.2026 10:00:05 WARN wrong password for eve from 203.0.113.1 from 198.51.100.7\n\
                 20.11.2026 10:00:06 INFO eve logged in from 198.51.100.7\n\
                 20.11.2026 10:00:07 INFO started\n\
                 20.13.2026 10:00:07 INFO no such month\n";
    assert_eq!(scan(format, lines), (vec!["198.51.100.7 2 1".to_owned()], 1));
}

#[test]
fn whatever_visitors_choose_forges_no_address() {
    let format = |nginx: &str| format!("category = \"access\"\n[lines.all]\nnginx = '{nginx}'\n");
    for (layout, ok) in [
        ("$http_host $remote_addr [$time_local] $status", false),
        ("[$time_local] $http_user_agent $remote_addr $status", false),
        ("$remote_addr [$time_local] \"$request_method $uri$is_args$args\" $status $http_x_forwarded_for", true),
        ("[$time_local] \"$request_method $request_uri\" $status $remote_addr", true),
        ("\"$http_host\" $remote_addr [$time_local] $status", true),
        ("$host $remote_addr [$time_local] \"$request\" $upstream_addr $status", true),
    ] {
        let bed = TestBed::new();
        bed.main("").file("config/formats/own.toml", &format(layout)).file("own.log", "");
        let ran = bed.run(&["scan", "--format", "own", bed.path("own.log").to_str().unwrap()]);
        assert_eq!(ran.code == 0, ok, "{layout}: {ran:?}");
        assert_eq!(ran.stderr.contains("without quotation marks"), !ok, "{layout}: {ran:?}");
    }
    // Several upstream servers, and an ISO stamp that any syslog line might begin with.
    let own = format("[$time_iso8601] $remote_addr \"$request_method $request_uri\" $upstream_addr $status");
    let line = "[2026-11-20T10:00:05+01:00] 198.51.100.7 \"GET /a\" 10.0.0.1:80, 10.0.0.2:80 : 10.0.0.3:80 502\n";
    let foreign = "2026-11-20T10:00:05+01:00 web1 sshd[7]: Failed password for root from 203.0.113.1 port 22 ssh2\n";
    let (found, unparsed) = scan(&own, &[line, foreign, line].concat());
    assert_eq!((found, unparsed), (vec!["198.51.100.7 2 0".to_owned()], 1), "no other format is tried");
    // A part behind the path, names that are empty, and blanks and marks where there should be none.
    let own =
        "category = \"access\"\n[lines.all]\napache = '%h %l %u %t \"%m %U%q %H\" %>s %{X-Real-IP}i \"%{Referer}i\"'\n";
    let line = |user: &str, real: &str| {
        format!("198.51.100.7 - {user} [20/Nov/2026:10:00:05 +0000] \"GET /admin/x?a=1 HTTP/1.1\" 401 {real} \"-\"\n")
    };
    let lines = [line("-", "-"), line("\"\"", "-"), line("eve", "a b"), line("eve", "a\\\"b")].concat();
    assert_eq!(scan(own, &lines), (vec!["198.51.100.7 4 4".to_owned()], 0));
    // Two headers: the one that the nearest proxy added counts.
    let caddy = CADDY.replace("# trusted_proxies", "trusted_proxies");
    let line = "{\"ts\":1795168805.3,\"request\":{\"remote_ip\":\"10.0.0.1\",\"method\":\"GET\",\"uri\":\"/\",\"headers\":{\"X-Forwarded-For\":[\"203.0.113.1\",\"198.51.100.7\"]}},\"status\":401}\n";
    assert_eq!(scan(&caddy, line), (vec!["198.51.100.7 1 1".to_owned()], 0));
}

/// The shipped format for what Caddy writes.
const CADDY: &str = include_str!("../../config/formats/caddy.toml");

fn caddy(n: u32, status: u32) -> String {
    format!(
        "{{\"level\":\"info\",\"ts\":{}.315,\"request\":{{\"remote_ip\":\"198.51.100.7\",\"method\":\"GET\",\"uri\":\"/{n}?a=1\",\"headers\":{{\"User-Agent\":[\"a \\\"b\\\"\"]}}}},\"status\":{status}}}\n",
        1_795_168_800 + n
    )
}

#[test]
fn json_lines_are_understood_by_a_map_of_their_fields() {
    let lines: String = (0..10).map(|n| caddy(n, 401)).collect();
    assert_eq!(scan(CADDY, &(lines + "{\"ts\":1,\n")), (vec!["198.51.100.7 10 10".to_owned()], 1));
}

#[test]
fn a_source_of_a_configured_format_gives_the_same_however_it_is_cut() {
    let log: String = (0..3000).map(|n| caddy(n * 20, if n % 3 == 0 { 404 } else { 401 })).collect();
    let prepare = |bed: &TestBed| {
        bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\nformat = \"caddy\"\n");
        bed.file("config/formats/caddy.toml", CADDY);
    };
    assert_cuts_change_nothing_with(&prepare, &[("caddy.log", log.as_bytes())], 0..3);
}
