//! Lines as nobody would write them: whatever they hold, parsers answer.

use logkeeper::parse::{AutoParser, Context, YearRule};

use crate::cuts::Random;
use crate::support::{self, TestBed};

/// Lines of every format that is known.
const SAMPLES: [&str; 38] = [
    r#"192.0.2.7 - eve [20/Nov/2026:10:00:05 +0100] "GET /a?b=\"c\" HTTP/1.1" 404 12 "-" "curl/8""#,
    r#"www.example.org:443 2001:db8::7 - - [20/Nov/2026:10:00:05 +0000] "-" 408 - "-" "-""#,
    "Nov 20 10:00:05 web1 sshd[7]: Failed password for invalid user a b from 192.0.2.7 port 22 ssh2",
    "Nov  2 10:00:05 web1 sshd[7]: message repeated 2 times: [ Failed password for root from 192.0.2.7 port 22 ssh2]",
    "2026-11-20T10:00:05.123456+01:00 web1 sshd-session[7]: PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=root",
    "<34>1 2026-11-20T10:00:05Z web1 sshd 7 ID47 [a@1 b=\"c\\\"]\"] \u{feff}Invalid user eve from 192.0.2.7",
    "2026-11-20T10:00:05Z web1 sudo[7]: eve : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh",
    "2026-11-20T10:00:05Z web1 su[7]: FAILED SU (to root) eve on pts/0",
    "2026-11-20T10:00:05Z web1 login[7]: FAILED LOGIN (1) on '/dev/tty1' FOR 'root', Authentication failure",
    "2026-11-20T10:00:05Z WIN-1 windows[4625]: Security level=0 TargetUserName=\"eve\" IpAddress=\"::ffff:192.0.2.7\"",
    "2026-11-20T10:00:05Z WIN-1 windows[18456]: Application level=0 Data=\"sa\" Data=\" [CLIENT: 192.0.2.7]\"",
    "[Fri Nov 20 10:00:05.123456 2026] [auth_basic:error] [pid 7:tid 8] [client 192.0.2.7:4711] AH01617: user eve: authentication failure for \"/a\": Password Mismatch",
    "2026/11/20 10:00:05 [error] 7#7: *1 user \"eve\": password mismatch, client: 192.0.2.7, server: _, request: \"GET / HTTP/1.1\", host: \"a\"",
    "#Fields: date time s-ip cs-method cs-uri-stem cs-username c-ip sc-status",
    "2026-11-20 10:00:05 192.0.2.1 GET /a eve 192.0.2.7 404",
    "#GMT-Offset: -0800",
    r#"{"__REALTIME_TIMESTAMP":"1795168805123456","_HOSTNAME":"web1","SYSLOG_IDENTIFIER":"sshd","_PID":"7","MESSAGE":"Failed password for root from 192.0.2.7 port 22 ssh2"}"#,
    r#"{"level":"info","ts":1795168805.315,"request":{"remote_ip":"192.0.2.7","method":"GET","uri":"/a","headers":{"X-Forwarded-For":["192.0.2.8, 10.0.0.1"]}},"status":404}"#,
    r#"www.example.org 192.0.2.7 - eve [20/Nov/2026:10:00:05 +0100] "GET / HTTP/1.1" 401 512 "192.0.2.8" 1234"#,
    r#"a\", 192.0.2.8, 192.0.2.7 - eve [20/Nov/2026:10:00:05 +0100] "GET / HTTP/1.1" 401 5 "-" "x""#,
    r#"192.0.2.7 - [192.0.2.8, 10.0.0.1] - eve [20/11/2026:10:00:05 +0100] "GET / HTTP/1.1" 401 5"#,
    "#Date: 2026-11-20 10:00:00",
    "#Last-Line: 2026-11-20 10:00:00",
    "#Fields: time c-ip cs-method cs-uri-stem sc-status",
    "10:00:05 192.0.2.7 GET /a 404",
    "Fri Nov 20 10:00:05 2026 authpriv.warn dropbear[7]: Bad password attempt for 'root' from 192.0.2.7:4711",
    "okt. 20 10:00:05 web1 sshd@7-192.0.2.1:22-192.0.2.7:4711.service[7]: User git not allowed because account is locked",
    "2026-11-20 10:00:05.123456-0700 0x1a2b     Default     0x0                  7      0    sshd: Invalid user eve from 192.0.2.7",
    "[Fri Nov 20 10:00:05 2026] [error] mod_auth_basic.c(312): (13)Permission denied: [client 192.0.2.7:4711] AH01618: user eve not found: /a",
    "20.11.2026 10:00:05 WARN wrong password for eve from 192.0.2.7",
    "Nov 20 10:00:05 <auth.info> web1 sshd[7]: error: PAM: Authentication failure for root from 192.0.2.7",
    "Nov 20 10:00:05 2026 web1 sshd[7]: ROOT LOGIN REFUSED FROM 192.0.2.7 port 22 [preauth]",
    "Fri Nov 20 2026 10:00:05 web1 sshd[7]: failed password for eve from 192.0.2.7",
    r#"192.0.2.7 - - [20/Nov/2026:10:00:05] "GET /a HTTP 1.1" 401"#,
    "<Event xmlns='x'><System><EventID Qualifiers='0'>4625</EventID><TimeCreated SystemTime='2026-11-20T10:00:05.1Z'/><Channel>Security</Channel><Computer>WIN-1</Computer></System><EventData><Data Name='TargetUserName'>eve</Data><Data Name='IpAddress'>192.0.2.7</Data></EventData></Event>",
    r##"{"Event":{"System":{"EventID":{"#text":4625},"Channel":"Security","Computer":"WIN-1","TimeCreated":{"#attributes":{"SystemTime":"2026-11-20T10:00:05.1Z"}}},"EventData":{"TargetUserName":"eve","IpAddress":"192.0.2.7"}}}"##,
    "Nov 20 10:00:05 WIN-1 MSWinEventLog\t1\tSecurity\t7\tFri Nov 20 10:00:05 2026\t4625\ta\tb\tc\tFailure Audit\tWIN-1\tLogon\t\tAn account failed to log on.  Account For Which Logon Failed:  Account Name:  eve   Source Network Address:  192.0.2.7   Source Port:  1\t733",
    "",
];

/// Bytes that mean something somewhere.
const SPECIAL: &[u8] = b"\"\\[](){}<>:;,.=%$#-+ \t\r\0\xff\xc3'/@!0129aZT\xef\xbb\xbf";

fn mutated(line: &[u8], random: &mut Random) -> Vec<u8> {
    let mut line = line.to_vec();
    for _ in 0..=random.below(5) {
        let at = random.below(line.len() + 1);
        let to = at + random.below(line.len() + 1 - at);
        match random.below(6) {
            0 if at < line.len() => line[at] = SPECIAL[random.below(SPECIAL.len())],
            1 => line.insert(at, SPECIAL[random.below(SPECIAL.len())]),
            2 => drop(line.drain(at..to)),
            3 => {
                let piece = line[at..to].to_vec();
                line.splice(at..at, piece);
            }
            4 => line.truncate(at),
            _ => {
                let other = SAMPLES[random.below(SAMPLES.len())].as_bytes();
                let piece = other[random.below(other.len() + 1)..].to_vec();
                line.splice(at..at, piece);
            }
        }
        line.truncate(20_000);
    }
    line
}

#[test]
fn no_line_breaks_a_parser() {
    let rounds = support::sequences(2_000) as usize;
    let bed = TestBed::new();
    bed.file(
        "config/formats/own.toml",
        r#"
        category = "access"
        trusted_proxies = ["10.0.0.0/8"]
        [lines.apache]
        apache = '%v %h %l %u %t \"%r\" %>s %O \"%{X-Forwarded-For}i\" %D'
        [lines.own]
        regex = '^(?<time>\S+ \S+) WARN wrong password for (?<user.name>.*) from (?<source.ip>\S+)$'
        tells = "login-failed"
        [lines.login]
        where = { "logger" = "http.log*", "level" = ["error", "info"] }
        tells = "login-failed"
        json = { "time" = "ts", "source.ip" = "request.remote_ip" }
        [lines.json]
        json = { "time" = "ts", "source.ip" = "request.remote_ip", "http.status" = "status", "forwarded.for" = "request.headers.X-Forwarded-For" }
        "#,
    );
    let formats = |name| logkeeper::config::formats(&bed.path(""), name).unwrap();
    let (own, any) = (formats(Some("own")), formats(None));
    let context = Context { zone: chrono_tz::Europe::Berlin, year: YearRule::Before(1_795_168_805) };
    let mut random = Random(7);
    let mut understood = 0_usize;
    for round in 0..rounds {
        let mut parser = AutoParser::new(context, if round % 2 == 0 { &own } else { &any });
        for sample in SAMPLES {
            let line = mutated(sample.as_bytes(), &mut random);
            understood += usize::from(parser.parse(&line).is_some());
        }
    }
    assert!(understood > rounds * 3, "{understood} lines of {rounds} rounds were understood");
}
