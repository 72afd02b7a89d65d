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
fn a_date_is_not_taken_for_seconds() {
    let format = "category = \"auth\"\n[lines.a]\nregex = '^(?<time>.+?) from (?<source.ip>\\S+) failed$'\ntells = \"login-failed\"\n";
    let lines = |stamp: &str| format!("{stamp} from 192.0.2.7 failed\n");
    for stamp in ["27.11.2026 20:00:00", "27.11.26 20:00", "2026.11.27 20:00:00", "27.11.2026", "5", "-1795168805"] {
        assert_eq!(scan(format, &lines(stamp)), (vec![], 1), "{stamp}");
    }
    let known = ["1795168805", "1795168805.123", "1795168805123", "1795168805123456", "1795168805123456789"];
    for stamp in known {
        assert_eq!(scan(format, &lines(stamp)), (vec!["192.0.2.7 1 1".to_owned()], 0), "{stamp}");
    }
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

/// What a scan of a line by a pasted layout, in the zone of Tokyo, says of the time and the only address.
fn pasted(server: &str, layout: &str, line: &str) -> Result<String, String> {
    let bed = TestBed::new();
    let quoted = Value::from(layout);
    bed.main("").file("config/formats/own.toml", &format!("category = \"access\"\n[lines.all]\n{server} = {quoted}\n"));
    bed.file("own.log", &format!("{line}\n").repeat(5));
    let log = bed.path("own.log");
    let ran = bed.run(&["scan", "--format", "own", "--zone", "Asia/Tokyo", "--json", log.to_str().unwrap()]);
    if ran.code != 0 {
        return Err(ran.stderr);
    }
    let scanned: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(scanned["files"][0]["unparsed"], 0, "{layout}\n{line}");
    let (address, found) = (&scanned["addresses"][0], &scanned["findings"][0]);
    Ok(format!("{} {} {}", address["address"].as_str().unwrap(), address["failures"], found["first"].as_str().unwrap()))
}

#[test]
fn stamps_are_read_as_the_layout_says_in_one_piece_or_in_several() {
    let utc = "198.51.100.7 5 2026-11-28T07:18:13+09:00";
    for (server, layout, line) in [
        (
            "apache",
            r#"%h [%{%Y-%m-%dT%H:%M:%S}t.%{msec_frac}t%{%z}t] "%r" %>s"#,
            r#"[2026-11-27T22:18:13.176+0000] "GET /" 401"#,
        ),
        (
            "apache",
            r#"%h [%{%d/%b/%Y %T}t.%{msec_frac}t %{%z}t] "%r" %>s"#,
            r#"[27/Nov/2026 22:18:13.176 +0000] "GET /" 401"#,
        ),
        ("apache", r#"%h %{%Y-%m-%d %H:%M:%S}t %m %>s"#, "2026-11-28 07:18:13 GET 401"),
        ("apache", r#"%h %{%c}t %m %>s"#, "Sat Nov 28 07:18:13 2026 GET 401"),
        ("apache", r#"%h %{%Y-%m-%d}tT%{%T}t.%{msec_frac}tZ "%r" %>s"#, r#"2026-11-27T22:18:13.176Z "GET /" 401"#),
        ("apache", r#"%h %{%Y-%m-%dT%X}t "%{%z}t" %>s"#, r#"2026-11-27T22:18:13 "+0000" 401"#),
        ("apache", r#"%h %{sec}t.%{usec_frac}t %>s"#, "1795817893.000017 401"),
        ("apache", r#"%h %{sec}t,%{msec_frac}t %{%z}t %>s"#, "1795817893,017 +0000 401"),
        ("apache", r#"%h %{%Y-%m-%dT%H:%M:%SZ}t %>s"#, "2026-11-27T22:18:13Z 401"),
        ("apache", r#"%h %{%F %T %Z}t %>s"#, "2026-11-27 22:18:13 UTC 401"),
        ("apache", r#"%h %{%F %T +0000}t %>s"#, "2026-11-27 22:18:13 +0000 401"),
        ("apache", r#"%h %u %{%Y-%m-%dT%X}t %>s"#, "John Doe 2026-11-28T07:18:13 401"),
        ("nginx", "$remote_addr $time_local $status $body_bytes_sent", "27/Nov/2026:22:18:13 +0000 401 5"),
        ("nginx", "$remote_addr $time_iso8601 $status", "2026-11-27T22:18:13+00:00 401"),
    ] {
        assert_eq!(pasted(server, layout, &format!("198.51.100.7 {line}")).as_deref(), Ok(utc), "{layout}");
    }
}

#[test]
fn a_layout_is_pasted_as_it_stands() {
    let line = r#"198.51.100.7 - eve [27/Nov/2026:22:18:13 +0000] "GET / HTTP/1.1" 401"#;
    let found = "198.51.100.7 5 2026-11-28T07:18:13+09:00";
    for layout in [
        "'$remote_addr - $remote_user [$time_local] '\n    '\"$request\" $status'",
        "log_format main '$remote_addr - $remote_user [$time_local] '\n    '\"$request\" $status';",
        "log_format main escape=json '$remote_addr - $remote_user [$time_local] \"$request\" $status';",
        "escape=default \"$remote_addr - $remote_user [$time_local] \\\"$request\\\" $status\"",
        "$remote_addr - $remote_user [$time_local] \\\"$request\\\" $status",
        "log_format main '$remote_addr - $remote_user '\n# the time\n'[$time_local] \"$request\" $status';",
    ] {
        assert_eq!(pasted("nginx", layout, line).as_deref(), Ok(found), "{layout}");
    }
    for layout in [
        "\"%h %l %u %t \\\"%r\\\" %>s\" own",
        "LogFormat \"%h %l %u %t \\\"%r\\\" %>s\" own",
        "CustomLog \"logs/own log\" \"%h %l %u %t \\\"%r\\\" %>s\" env=!x",
        "%h %l %u %t \\\"%r\\\" \\\n%>s",
        "logformat '%h %l %u %t \"%r\" %>s' own",
        "GlobalLog logs/own.log '%h %l %u %t \"%r\" %>s'",
    ] {
        assert_eq!(pasted("apache", layout, line).as_deref(), Ok(found), "{layout}");
    }
    for (server, layout, complaint) in [
        ("apache", "CustomLog logs/access.log combined", "this only names a format"),
        ("apache", "%h %t\n%>s", "line break"),
        ("apache", "%h %{%H:%M:%S}t %>s", "does not say which day"),
        ("nginx", "$remote_addr [$time_local]\n$status", "line break"),
        ("nginx", "log_format main $remote_addr' [$time_local] ' '$status';", "between quotation marks"),
    ] {
        assert!(pasted(server, layout, line).unwrap_err().contains(complaint), "{layout}");
    }
}

#[test]
fn what_a_configuration_or_a_client_fills_in_forges_neither_address_nor_status() {
    let stamp = "27/Nov/2026:22:18:13 +0000";
    for (server, layout) in [
        ("nginx", "$proxy_add_x_forwarded_for - $remote_addr - $remote_user [$time_local] $status"),
        ("nginx", "$real_ip $remote_addr [$time_local] $status"),
        ("nginx", "$content_type $remote_addr [$time_local] $status"),
        ("nginx", "$document_uri $remote_addr [$time_local] $status"),
        ("apache", "%{XFF}e %h %t %>s"),
        ("apache", "%f %h %t %>s"),
        ("apache", "%{note}n %h %t %>s"),
        ("nginx", "\"$http_x_forwarded_for - $remote_addr - $remote_user\" [$time_local] \"$request\" $status"),
        ("nginx", "\"$remote_user $remote_addr $http_user_agent\" [$time_local] \"$request\" $status"),
        ("nginx", "$remote_addr [$time_local] \"$uri $status $http_user_agent\""),
        ("nginx", "$host $remote_addr - $remote_user [$time_local] \"$request\" $status"),
        ("nginx", "$remote_addr [$time_local] $request_method $request_uri $status $http_user_agent"),
        ("nginx", "$request|$remote_addr|$time_iso8601|$status|$http_user_agent"),
        ("nginx", "$time_iso8601 $request $remote_addr $status $http_user_agent"),
        ("nginx", "$remote_addr|$time_local|$request_method|$request_uri|$status|$http_user_agent"),
        ("apache", "%h %t %m %U %>s %b %{User-Agent}i"),
        ("nginx", "$remote_addr,$http_referer,$msec,$request_method,$status,$http_user_agent"),
    ] {
        let refused = pasted(server, layout, "").unwrap_err();
        assert!(refused.contains("without quotation marks"), "{layout}: {refused}");
    }
    let none = "log_format main escape=none '\"$http_user_agent\" $remote_addr [$time_local] \"$request\" $status'";
    assert!(pasted("nginx", none, "").unwrap_err().contains("visitors can end what stands in quotation marks"));
    let found = Ok("198.51.100.7 5 2026-11-28T07:18:13+09:00");
    // Where a blank or a tab shows where it ends it may stand there; of a proxy's name and its port the address is behind both.
    for (server, layout, line) in [
        ("apache", "%V:%p %h %t \"%r\" %>s %{User-Agent}i", "x|y:443 198.51.100.7 [STAMP] \"GET /\" 401 curl"),
        ("nginx", "$host $remote_addr [$time_local] $status", "x 203.0.113.9 198.51.100.7 [STAMP] 401"),
        ("nginx", "$host|$remote_addr|$time_local|\"$request\"|$status", "x|y|198.51.100.7|STAMP|\"GET /\"|401"),
        ("apache", "%m|%h|%t|%>s", "x|203.0.113.9|198.51.100.7|[STAMP]|401"),
        (
            "nginx",
            "$remote_addr - $remote_user [$time_local] [$request_id] \"$request\" $status",
            "198.51.100.7 - u [20/Nov/2026:01:00:00 +0000] [x [STAMP] [7] \"GET /\" 401",
        ),
        (
            "nginx",
            "$remote_addr [$time_local] $uri $status [$upstream_addr] \"$http_user_agent\"",
            "198.51.100.7 [STAMP] /a 200 [x 401 [10.0.0.1:80, 10.0.0.2:80] \"curl\"",
        ),
        (
            "nginx",
            "ua:$http_user_agent\thost:$remote_addr\ttime:$time_local\tstatus:$status\treferer:$http_referer",
            "ua:x host:203.0.113.9\thost:198.51.100.7\ttime:STAMP\tstatus:401\treferer:-",
        ),
        ("apache", "%{c}h %h %t %>s %D", "10.0.0.1 198.51.100.7 [STAMP] 401 -5"),
        ("nginx", "$remote_addr [$time_local] $status $gzip_ratio $request_time", "198.51.100.7 [STAMP] 401  0.000"),
    ] {
        assert_eq!(pasted(server, layout, &line.replace("STAMP", stamp)).as_deref(), found, "{layout}");
    }
    let city = format!("198.51.100.7 New York {stamp} 401");
    assert_eq!(pasted("nginx", "$remote_addr $geoip_city $time_local $status", &city).as_deref(), found);
    // A visitor asks for what looks like the rest of a line.
    let bars = "$remote_addr|$time_local|$request|$status|$body_bytes_sent|$http_user_agent";
    let line = format!("198.51.100.7|{stamp}|GET /private/|200|1|x HTTP/1.1|401|195|curl");
    assert_eq!(pasted("nginx", bars, &line).as_deref(), found);
    let line = format!("198.51.100.7 [{stamp}] \"GET /\" x 200 y 401 195");
    assert_eq!(pasted("apache", "%h %t \"%r\" %u %>s %b", &line).as_deref(), found);
    // Behind mod_remoteip the other end of the connection is a proxy.
    let line = format!("10.0.0.1 198.51.100.7 [{stamp}] 401");
    assert_eq!(pasted("apache", "%{c}a %a %t %>s", &line).as_deref(), found);
    for (server, layout, line) in [
        (
            "apache",
            r#"{"a":"%h","t":"%t","u":"%u","s":"%>s"}"#,
            r#"{"a":"198.51.100.7","t":"[STAMP]","u":"""","s":"401"}"#,
        ),
        (
            "nginx",
            r#"{"a":"$remote_addr","t":"$time_local","m":"$request_method","s":"$status"}"#,
            r#"{"a":"198.51.100.7","t":"STAMP","m":"","s":"401"}"#,
        ),
    ] {
        assert_eq!(pasted(server, layout, &line.replace("STAMP", stamp)).as_deref(), found, "{layout}");
    }
}

#[test]
fn no_byte_that_a_client_sends_hides_its_line_of_json() {
    let line = |agent: &[u8], rest: &[u8]| {
        let start = br#"{"time_local":"27/Nov/2026:22:18:13 +0000","remote_addr":"198.51.100.7","request":"GET / HTTP/1.1","status":"401","agent":""#;
        [&start[..], agent, b"\"", rest, b"}\n"].concat()
    };
    let bed = TestBed::new();
    for (agent, rest) in [
        (&b"x"[..], &b""[..]),
        (b"\xff", b""),
        (b"Mozilla \\xff", b""),
        (b"\\\" \\x22", b",\"remote_user\":\"\"\"\""),
        (b"\x01", b",\"upstream_status\":"),
        (b"x", b",\"upstream_status\":,\"n\":000,\"bytes\":-"),
        ("m\u{fc}ller".as_bytes(), b",\"n\": 007"),
    ] {
        std::fs::write(bed.path("a.log"), line(agent, rest).repeat(5)).unwrap();
        let scanned = bed.json(&["scan", "--zone", "UTC", bed.path("a.log").to_str().unwrap()]);
        let known = (&scanned["files"][0]["unparsed"], &scanned["addresses"][0]["failures"]);
        assert_eq!(known, (&0.into(), &5.into()), "{} {}", agent.escape_ascii(), rest.escape_ascii());
    }
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
    // The last client went before it was answered.
    let lines: String = (0..10).map(|n| caddy(n, 401)).chain([caddy(10, 0)]).collect();
    assert_eq!(scan(CADDY, &(lines + "{\"ts\":1,\n")), (vec!["198.51.100.7 10 10".to_owned()], 1));
    // Before 2.5 Caddy told the client with its port. Who asked through a proxy may be that client's own word.
    for client in
        ["\"remote_addr\":\"198.51.100.7:41342\"", "\"remote_ip\":\"198.51.100.7\",\"client_ip\":\"203.0.113.1\""]
    {
        let line = caddy(1, 401).replace("\"remote_ip\":\"198.51.100.7\"", client);
        assert_eq!(scan(CADDY, &line), (vec!["198.51.100.7 1 1".to_owned()], 0), "{client}");
    }
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

#[test]
fn access_logs_in_json_are_recognised_by_themselves() {
    let stamp = |n: u32| format!("2026-11-20T10:00:{n:02}+00:00");
    let traefik = |n| {
        format!(
            r#"{{"ClientAddr":"198.51.100.7:4711","ClientHost":"203.0.113.1","ClientUsername":"-","DownstreamStatus":401,"RequestMethod":"GET","RequestPath":"/","StartUTC":"{}"}}"#,
            stamp(n)
        )
    };
    let nginx = |n| {
        format!(
            r#"{{"time_local":"20/Nov/2026:10:00:{n:02} +0000","remote_addr":"198.51.100.7","remote_user":"eve","request":"GET /a HTTP/1.1","status": "401","http_x_forwarded_for":"203.0.113.1"}}"#
        )
    };
    let ecs = |n| {
        format!(
            r#"{{"@timestamp":"{}","source":{{"ip":"198.51.100.7"}},"http":{{"request":{{"method":"GET"}},"response":{{"status_code":401}}}},"url.path":"/","host":{{"name":"web1"}}}}"#,
            stamp(n)
        )
    };
    let pino = |n: u32| {
        format!(
            r#"{{"level":30,"time":{},"pid":7,"hostname":"web1","req":{{"method":"GET","url":"/","remoteAddress":"::ffff:198.51.100.7"}},"res":{{"statusCode":401}},"msg":"request completed"}}"#,
            1_795_168_800_000_u64 + u64::from(n) * 1000
        )
    };
    let apache = |n| {
        format!(
            r#"{{"time":"[20/Nov/2026:10:00:{n:02} +0000]","remoteIP":"198.51.100.7","request":"/a","query":"","method":"GET","status":"401"}}"#
        )
    };
    let short = |n| {
        format!(
            r#"{{"time": "20/Nov/2026:10:00:{n:02} +0000", "remote_ip": "198.51.100.7", "remote_user": "-", "request": "GET /a HTTP/1.1", "response": 401, "bytes": 0}}"#
        )
    };
    let logstash = |n| {
        format!(
            r#"{{"clientip":"198.51.100.7","ident":"-","auth":"-","timestamp":"20/Nov/2026:10:00:{n:02} +0000","verb":"GET","request":"/a","response":"401"}}"#
        )
    };
    let with_date = |n| {
        format!(
            r#"{{"date":"2026-11-20","ts":{},"remote_addr":"198.51.100.7","method":"GET","uri":"/a","status":401}}"#,
            1_795_168_800 + n
        )
    };
    let others = "{\"ts\":1795168805.3,\"level\":\"info\",\"msg\":\"started\"}\n{\"status\":401,\"remote_addr\":\"203.0.113.1\"}\n{}\n";
    // Which of its fields Traefik writes is for its configuration to say.
    let other_traefik = |n| {
        format!(
            r#"{{"ClientAddr":"198.51.100.7:4711","DownstreamStatus":401,"RequestMethod":"GET","RequestPath":"/","StartLocal":"{}","time":"{}"}}"#,
            stamp(n),
            stamp(n + 1)
        )
    };
    let kinds: [(&str, &dyn Fn(u32) -> String); 10] = [
        ("caddy", &|n| caddy(n, 401).trim_end().to_owned()),
        ("traefik", &traefik),
        ("traefik", &other_traefik),
        ("json", &nginx),
        ("json", &ecs),
        ("json", &pino),
        ("json", &apache),
        ("json", &short),
        ("json", &logstash),
        ("json", &with_date),
    ];
    let bed = TestBed::new();
    for (format, line) in kinds {
        bed.file("access.log", &((0..6).map(|n| line(n) + "\n").collect::<String>() + others));
        let scanned = bed.json(&["scan", "--zone", "UTC", bed.path("access.log").to_str().unwrap()]);
        let file = &scanned["files"][0];
        let known = (file["format"].as_str(), file["parsed"].as_u64(), file["unparsed"].as_u64());
        assert_eq!(known, (Some(format), Some(6), Some(3)), "{}", line(0));
        let address = &scanned["addresses"][0];
        let counts = (address["address"].as_str(), address["failures"].as_u64());
        assert_eq!(counts, (Some("198.51.100.7"), Some(6)), "{}", line(0));
        assert!(scanned["findings"].to_string().contains("2026-11-20T10:00:0"), "{}", line(0));
    }
}

#[test]
fn what_caddy_says_of_a_request_is_no_second_request_but_an_error() {
    let line = |logger: &str, level: &str, status: &str| {
        let of_request = caddy(1, 0);
        let rest = of_request.strip_prefix("{\"level\":\"info\"").unwrap().replace(",\"status\":0", status);
        format!("{{\"level\":\"{level}\",\"logger\":\"{logger}\"{rest}")
    };
    let log = [
        line("http.log.error", "error", ",\"status\":502"),
        line("http.log.access.log0", "error", ",\"status\":502"),
        line("http.log.error.log0", "debug", ",\"status\":401"),
        line("http.log.access.log0", "info", ",\"status\":401"),
        // What has no status, as errors that are none of HTTP, and other ways to write the level.
        line("http.log.error", "ERROR", ""),
        line("http.log.error", "error", ",\"first_error\":{\"status\":500}"),
        line("http.log.error", "error", ""),
        line("http.log.error", "error", ""),
    ];
    let bed = TestBed::new();
    bed.file("caddy.log", &log.concat());
    let scanned = bed.json(&["scan", "--zone", "UTC", bed.path("caddy.log").to_str().unwrap()]);
    assert_eq!(scanned["files"][0]["parsed"], 8);
    assert_eq!(scanned["status"], serde_json::json!({ "401": 1, "502": 1 }));
    assert_eq!((&scanned["failed_logins"], &scanned["triage"]["error"]["urgent"]), (&1.into(), &5.into()));
    assert!(scanned["findings"].to_string().contains("urgent-bursts"), "{}", scanned["findings"]);
}

/// Makes a line of its number.
type OfNumber<'a> = &'a dyn Fn(u32) -> String;

#[test]
fn requests_in_json_are_read_where_servers_send_them_to_syslog_or_the_journal() {
    let scanned = |log: &str| {
        let bed = TestBed::new();
        bed.file("a.log", log);
        bed.json(&["scan", "--zone", "UTC", "--year", "2026", bed.path("a.log").to_str().unwrap()])
    };
    let line = |n: u32| caddy(n, 401).trim_end().to_owned();
    let entry = |n: u32, program: &str, fields: &str| {
        let (micros, message) = ((1_795_168_800 + u64::from(n)) * 1_000_000, Value::from(line(n)));
        format!(
            r#"{{"__REALTIME_TIMESTAMP":"{micros}","_HOSTNAME":"web1","SYSLOG_IDENTIFIER":"{program}","_PID":"7"{fields},"MESSAGE":{message}}}"#
        )
    };
    let of_service = r#","_UID":"998","_EXE":"/usr/bin/caddy","_TRANSPORT":"stdout""#;
    let of_own_build = &of_service.replace("bin/caddy", "bin/caddy.custom");
    let of_user = r#","_UID":"1000","_EXE":"/usr/bin/logger","_TRANSPORT":"syslog""#;
    let without_time = r#"{"remote_addr":"198.51.100.7","request":"GET /a HTTP/1.1","status":"401"}"#;
    let collected = |n: u32| {
        let message = Value::from(line(n));
        format!(r#"{{"@timestamp":"2026-11-20T10:00:0{n}Z","host":"web1","ident":"caddy","message":{message}}}"#)
    };
    let kinds: [(&str, usize, OfNumber<'_>); 15] = [
        ("RFC 3164", 6, &|n| format!("Nov 20 10:00:0{n} web1 caddy[7]: {}", line(n))),
        ("RFC 3339", 6, &|n| format!("2026-11-20T10:00:0{n}Z web1 traefik[7]: {}", line(n))),
        ("RFC 5424", 6, &|n| format!("<30>1 2026-11-20T10:00:0{n}Z web1 nginx 7 - - {}", line(n))),
        ("a program's path", 6, &|n| format!("Nov 20 10:00:0{n} web1 /usr/sbin/nginx[7]: {}", line(n))),
        ("syslog's own time", 6, &|n| format!("Nov 20 10:00:0{n} web1 nginx: {without_time}")),
        ("a time of another kind", 6, &|n| {
            let line = line(n).replace(&format!("{}.315", 1_795_168_800 + n), "\"2026/11/20 09:00:00.123\"");
            format!("Nov 20 10:00:0{n} web1 caddy[7]: {line}")
        }),
        ("journal", 6, &|n| entry(n, "caddy", of_service)),
        ("a build of one's own", 6, &|n| entry(n, "caddy", of_own_build)),
        ("collected", 6, &collected),
        // What other programs say may be what their clients sent them, and so may be what stands among errors.
        ("another program", 0, &|n| format!("Nov 20 10:00:0{n} web1 app[7]: {}", line(n))),
        ("an error log", 0, &|n| format!("Nov 20 10:00:0{n} web1 nginx_error: {}", line(n))),
        ("a user's own", 0, &|n| entry(n, "caddy", of_user)),
        ("a user's own build", 0, &|n| entry(n, "caddy", &of_user.replace("/usr/bin/logger", "/home/eve/caddy.x"))),
        ("another service", 0, &|n| entry(n, "app", of_service)),
        ("a message that is left out", 0, &|n| {
            entry(n, "app", of_service)
                .replace("\"app\"", "\"caddy\"")
                .replace(&Value::from(line(n)).to_string(), "null")
        }),
    ];
    for (name, failures, line) in kinds {
        let parsed = if name == "a message that is left out" { 0 } else { 6 };
        let scanned = scanned(&(0..6).map(|n| line(n) + "\n").collect::<String>());
        let counts = (&scanned["files"][0]["parsed"], &scanned["failed_logins"]);
        assert_eq!(counts, (&parsed.into(), &failures.into()), "{name}");
        if failures > 0 {
            assert_eq!(scanned["status"], serde_json::json!({ "401": 6 }), "{name}");
            assert_eq!(scanned["addresses"][0]["address"], "198.51.100.7", "{name}");
            assert!(scanned["findings"].to_string().contains("2026-11-20T10:00:0"), "{name}");
        }
    }
    // What nginx prints may be a visitor's own, and a name may stand behind a path, or another one.
    let whoever = [
        ("nginx", of_service.replace("caddy", "nginx")),
        ("nginx/x", of_user.to_owned()),
        ("/usr/bin/caddy", of_user.to_owned()),
        ("/x:/nginx_access", of_user.to_owned()),
        ("/usr/sbin/nginx", of_user.replace("syslog", "stdout")),
    ];
    for (program, fields) in whoever {
        let forged = scanned(&entry(1, program, &fields));
        assert_eq!((&forged["failed_logins"], &forged["status"]), (&0.into(), &serde_json::json!({})), "{program}");
    }
    // Of a request that was cut nobody knows what it was.
    let whole = format!("Nov 20 10:00:01 web1 caddy[7]: {}", line(1));
    let long = whole.replace("a \\\"b\\\"", &"a".repeat(480));
    let cut = scanned(&(long[..long.len() - 20].to_owned() + "\n"));
    assert_eq!((&cut["files"][0]["unparsed"], &cut["triage"]["unknown"]["standard"]), (&1.into(), &1.into()));
    let error = scanned(&format!("<131>{}\n", &long[..long.len() - 20]));
    assert_eq!(error["triage"]["system"]["urgent"], 1, "{error}");
}

#[test]
fn a_request_in_json_in_a_syslog_hides_no_failed_login_of_an_error_log() {
    let errors: String = (10..40)
        .map(|n| format!("2026/11/20 10:00:{n} [error] 7#7: *1 user \"eve\": password mismatch, client: 198.51.100.7, server: x, request: \"GET /x HTTP/1.1\", host: \"x\"\n"))
        .collect();
    let request = caddy(1, 200).trim_end().to_owned();
    let entry = |message: &str| {
        format!(
            r#"{{"__REALTIME_TIMESTAMP":"1795168801000000","_HOSTNAME":"web1","SYSLOG_IDENTIFIER":"caddy","_UID":"998","_EXE":"/usr/bin/caddy","MESSAGE": {message}}}"#
        )
    };
    let others = |first: &str| format!("{first}\nNov 20 10:00:01 web1 cron[7]: x\n");
    for (name, log, failed) in [
        ("syslog", others(&format!("Nov 20 10:00:00 web1 caddy[7]: {request}")), 30),
        ("entry", others(&entry(&Value::from(request.as_str()).to_string())), 30),
        ("list", others(&entry(&format!("{:?}", request.as_bytes()))), 30),
        // Where nothing but one server's requests stand, it is that server's access log.
        ("container", format!("2026-11-20T10:00:01.1Z stdout F {request}\n"), 0),
        ("access", request + "\n", 0),
    ] {
        let bed = TestBed::new();
        bed.file(name, &log);
        bed.file("error.log", &errors);
        let [log, error] = [name, "error.log"].map(|name| bed.path(name));
        let scanned =
            bed.json(&["scan", "--zone", "UTC", "--year", "2026", log.to_str().unwrap(), error.to_str().unwrap()]);
        assert_eq!((&scanned["failed_logins"], &scanned["status"]["200"]), (&failed.into(), &1.into()), "{name}");
    }
}

#[test]
fn lines_in_json_tell_of_logins_where_a_field_says_so() {
    let format = r#"
        category = "auth"
        [lines.failed]
        where = { "event" = ["auth/failed", "otp_*"], "realm.name" = "staff" }
        tells = "login-failed"
        json = { "time" = "at", "source.ip" = "client", "user.name" = "user" }
        [lines.others]
        json = { "time" = "at" }
    "#;
    let line = |event: &str, realm: &str| {
        format!(
            "{{\"at\":\"2026-11-20T10:00:00Z\",\"event\":{event},\"realm\":{{\"name\":\"{realm}\"}},\"client\":\"198.51.100.7\"}}\n"
        )
    };
    let failed =
        [r#""auth/failed""#, r#""auth\/failed""#, r#""\u0061uth/failed""#, r#""otp_wrong""#, r#"["a","otp_x"]"#];
    let others = [r#""auth/failed2""#, r#""login""#, "null", "1", r#"{"a":"otp_x"}"#, r#""xotp_""#];
    let log: String = failed.iter().chain(&others).map(|event| line(event, "staff")).collect();
    let scanned = scan(format, &(log + &line(r#""auth/failed""#, "guests")));
    assert_eq!(scanned, (vec![format!("198.51.100.7 {0} {0}", failed.len())], 0));
}

#[test]
fn an_address_that_may_be_a_clients_own_word_is_not_believed_by_its_name() {
    // Echo writes so, and takes remote_ip from X-Forwarded-For.
    let line = r#"{"time":"2026-11-20T10:00:00Z","remote_ip":"198.51.100.7","method":"GET","uri":"/","status":401}"#;
    let bed = TestBed::new();
    bed.file("echo.log", line);
    let scanned = bed.json(&["scan", "--zone", "UTC", bed.path("echo.log").to_str().unwrap()]);
    assert_eq!((&scanned["failed_logins"], &scanned["files"][0]["unparsed"]), (&0.into(), &1.into()));
}

#[test]
fn a_format_of_ones_own_is_recognised_before_the_shipped_ones() {
    let own = r#"
        category = "access"
        trusted_proxies = ["10.0.0.0/8"]
        [lines.all]
        json = { "time" = "ts", "source.ip" = "remote_addr", "http.status" = "status", "forwarded.for" = ["real_ip", "forwarded"] }
    "#;
    let line =
        |forwarded: &str| format!("{{\"ts\":1795168805,\"remote_addr\":\"10.0.0.1\",\"status\":401,{forwarded}}}\n");
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n").file("config/formats/own.toml", own);
    bed.file(
        "config/rules/mine.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[count]\nby = \"source.ip\"\nthreshold = 1\n",
    );
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"mine\"]\n");
    // The first line is of a shipped format only.
    let first = "{\"time\":\"2026-11-20T10:00:00Z\",\"remote_addr\":\"10.0.0.1\",\"status\":200}\n".to_owned();
    let forwarded = line(r#""real_ip":"","forwarded":"198.51.100.7""#);
    bed.file("log/a.log", &[first, forwarded, line(r#""real_ip":"198.51.100.8""#)].concat());
    bed.run_job("scan", "2026-11-20T12:00:00Z");
    let findings = bed.store().findings(&Default::default()).unwrap();
    let mut found: Vec<String> = findings.iter().map(|stored| stored.finding.subject_words()).collect();
    found.sort();
    assert_eq!(found, ["198.51.100.7", "198.51.100.8"]);
}

#[test]
fn a_format_that_says_what_a_value_means_is_recognised_without_a_status() {
    let bed = TestBed::new();
    let own = |tells: &str| {
        format!(
            "category = \"auth\"\n[lines.bad]\njson = {{ \"time\" = \"ts\", \"source.ip\" = \"ip\" }}\nwhere = {{ \"ev\" = \"bad\" }}\n{tells}"
        )
    };
    let line = r#"{"ev":"bad","ts":"2026-11-20T10:00:00Z","ip":"198.51.100.7"}"#;
    bed.main("").file("a.log", &format!("{line}\n{}\n", line.replace("bad", "good")));
    for (tells, failed, parsed) in [("tells = \"login-failed\"\n", 1, 1), ("", 0, 0)] {
        bed.file("config/formats/own.toml", &own(tells));
        let scanned = bed.json(&["scan", bed.path("a.log").to_str().unwrap()]);
        assert_eq!((&scanned["failed_logins"], &scanned["files"][0]["parsed"]), (&failed.into(), &parsed.into()));
    }
}

#[test]
fn a_form_that_is_sent_to_log_in_is_seen_in_json_too() {
    let line = |method: &str, status: u16| {
        format!(
            "{{\"ts\":1795168805.3,\"request\":{{\"remote_ip\":\"198.51.100.7\",\"uri\":\"/login?a\",\"proto\":\"HTTP/2.0\",\"method\":\"{method}\"}},\"status\":{status}}}\n"
        )
    };
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\nlogin_paths = [\"/login\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\n");
    bed.file("log/a.log", &[line("POST", 200).repeat(6), line("GET", 200), line("POST", 302)].concat());
    let record = bed.run_job("scan", "2026-11-20T12:00:00Z");
    assert!(record.notes.iter().any(|note| note.contains("6 failed logins")), "{:?}", record.notes);
}
