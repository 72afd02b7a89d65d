//! Every channel for real, and log text made to break it.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use logkeeper::jobs::{Alert, compose_notice, frozen};
use logkeeper::model::{
    Breach, Counted, Evidence, Finding, Message, Outcome, OutputLine, Run, RunNews, Severity, StoredFinding, Stream,
    Trigger,
};
use logkeeper::notify::{NotifyError, Parcel, notifier};
use serde_json::Value;

use crate::support::http::HttpServer;
use crate::support::smtp::{Act, ScriptedSmtp};
use crate::support::{TestBed, unquoted, wait_until};

const NOW: &str = "2026-11-20T12:00:00Z";

fn now() -> DateTime<Utc> {
    NOW.parse().unwrap()
}

/// Failed logins of an account, as a scan would have found them.
fn finding(user: &str, host: Option<&str>, line: &str) -> StoredFinding {
    let host = host.map(|host| ("host.name".to_owned(), host.to_owned()));
    let subject = [("user.name".to_owned(), user.to_owned())].into_iter().chain(host).collect();
    let finding = Finding {
        rule: "failed-logins".into(),
        severity: Severity::High,
        subject,
        count: 7,
        counted: Counted::FailedLogins,
        first: now().timestamp() - 100,
        last: now().timestamp() - 10,
        reached: now().timestamp() - 50,
        breach: Some(Breach { time: now().timestamp(), user: user.to_owned(), others: Vec::new() }),
        note: None,
        can_wait: false,
        evidence: vec![Evidence { file: "/var/log/auth.log".into(), line: 12, text: line.to_owned() }],
        open: false,
    };
    StoredFinding { id: 1, job: "scan".into(), run: 1, alerted: None, withdrawn: None, finding }
}

fn alert(bed: &TestBed, user: &str, line: &str) -> Message {
    alert_on(bed, user, None, line)
}

fn alert_on(bed: &TestBed, user: &str, host: Option<&str>, line: &str) -> Message {
    let config = bed.config();
    let (key, since) = (format!("test {}", user.len()), now());
    let alert = Alert { run: 1, key, looks_back: false, held_back: 0, since, config: &config };
    alert.compose(&[finding(user, host, line)], now())
}

fn send(bed: &TestBed, channel: &str, recipient: &str, message: &Message) -> Result<(), NotifyError> {
    let config = bed.config();
    let frozen = frozen(message, channel, true, &config.from, &[recipient.to_owned()], now()).unwrap();
    let parcel = Parcel { name: "one".into(), recipient: recipient.into(), body: frozen.body };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let notifier = notifier(&config.channels[channel], &config.from)?;
        let sent = notifier.send(&parcel).await;
        notifier.finish().await;
        sent
    })
}

fn secret(bed: &TestBed, name: &str, text: &str) {
    bed.file(name, text);
    std::fs::set_permissions(bed.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_webhook_gets_the_documented_document_with_a_signature() {
    let server = HttpServer::start(|| 204);
    let bed = TestBed::new();
    secret(&bed, "key", "top secret\n");
    let url = &server.url;
    bed.main(&format!("[channels.hook.webhook]\nurl = \"{url}/in\"\nsecret_file = \"key\"\n"));
    send(&bed, "hook", "", &alert(&bed, "root", "Failed password")).unwrap();
    let posted = server.posted().remove(0);
    assert_eq!((posted.path.as_str(), posted.headers["content-type"].as_str()), ("/in", "application/json"));
    let document: Value = serde_json::from_str(&posted.body).unwrap();
    assert_eq!(document["items"][0]["location"], "/var/log/auth.log:12");
    // Computed by another program: printf … | openssl dgst -sha256 -hmac.
    let openssl = std::process::Command::new("python3")
        .args(["-c", "import hmac,sys;print(hmac.new(b'top secret',sys.stdin.buffer.read(),'sha256').hexdigest())"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    if let Ok(mut child) = openssl {
        use std::io::Write;
        child.stdin.take().unwrap().write_all(posted.body.as_bytes()).unwrap();
        let expected = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!(posted.headers["x-logkeeper-signature"], format!("sha256={}", expected.trim()));
    }
    // What the documentation names is there, and nothing else.
    let documented = include_str!("../../docs/WEBHOOK.md");
    for part in [&document, &document["items"][0]] {
        for name in part.as_object().unwrap().keys() {
            assert!(documented.contains(&format!("| `{name}` |")), "{name} is not documented");
        }
    }
    for row in documented.lines().filter_map(|line| line.strip_prefix("| `")) {
        let name = row.split('`').next().unwrap();
        let has = |part: &Value| part.get(name).is_some();
        assert!(has(&document) || has(&document["items"][0]), "{name} is documented and missing");
    }
}

#[test]
fn presets_post_what_their_services_want() {
    let server = HttpServer::start(|| 200);
    let bed = TestBed::new();
    secret(&bed, "key", "r0ut1ng\n");
    secret(&bed, "address", &format!("{}/slack\n", server.url));
    let url = &server.url;
    bed.main(&format!(
        "[channels.slack.webhook]\nurl_file = \"address\"\npreset = \"slack\"\n\
         [channels.ntfy.webhook]\nurl = \"{url}/topic\"\npreset = \"ntfy\"\nsecret_file = \"key\"\n\
         [channels.pager.webhook]\nurl = \"{url}/pager\"\npreset = \"pagerduty\"\nsecret_file = \"key\"\n\
         [channels.sms.webhook]\nurl = \"{url}/sms\"\npreset = \"template\"\ncontent_type = \"application/x-www-form-urlencoded\"\n\
         template = \"to=%2B491&text={{short}}&key={{secret}}\"\nsecret_file = \"key\"\n"
    ));
    let message = alert(&bed, "a<b>&\"{title}\"", "x");
    for channel in ["slack", "ntfy", "pager", "sms"] {
        send(&bed, channel, "", &message).unwrap();
    }
    let posted = server.posted();
    let json = |n: usize| serde_json::from_str::<Value>(&posted[n].body).unwrap();
    let text = json(0)["text"].as_str().unwrap().to_owned();
    assert!(text.contains("a&lt;b&gt;&amp;") && text.contains("[web1] ALERT: got in after failing"), "{text}");
    assert_eq!(posted[0].path, "/slack");
    assert_eq!((&*posted[1].headers["priority"], &*posted[1].headers["authorization"]), ("4", "Bearer r0ut1ng"));
    assert!(posted[1].headers["title"].starts_with("[web1] ALERT"), "{:?}", posted[1].headers);
    let event = json(2);
    assert_eq!((&event["routing_key"], &event["event_action"]), (&"r0ut1ng".into(), &"trigger".into()));
    assert_eq!((&event["payload"]["severity"], &event["payload"]["source"]), (&"error".into(), &"web1".into()));
    assert_eq!(event["dedup_key"], message.document.id);
    let form = &posted[3].body;
    assert!(form.starts_with("to=%2B491&text=%5Bweb1%5D%20ALERT") && form.ends_with("&key=r0ut1ng"), "{form}");
    assert!(form.contains("%7Btitle%7D"), "what a log says in braces stays as it is: {form}");
}

#[test]
fn what_a_webhook_answers_decides_what_becomes_of_the_message() {
    for (status, expected) in
        [(500, "later"), (503, "later"), (429, "down"), (422, "never"), (404, "refused"), (301, "refused")]
    {
        let server = HttpServer::start(move || status);
        let bed = TestBed::new();
        bed.main(&format!("[channels.hook.webhook]\nurl = \"{}\"\n", server.url));
        let error = send(&bed, "hook", "", &alert(&bed, "root", "x")).unwrap_err();
        let kind = match &error {
            NotifyError::Down(_) => "down",
            NotifyError::Never(_) => "never",
            NotifyError::Refused(_) => "refused",
            NotifyError::Later(_) | NotifyError::Broken(_) => "later",
        };
        assert_eq!(kind, expected, "{status}");
        assert!(!error.to_string().contains(&server.url), "the address is a secret: {error}");
    }
}

#[test]
fn sendmail_is_started_without_a_shell_and_its_exit_code_is_understood() {
    let bed = TestBed::new();
    let script = "#!/bin/sh\nfor a in \"$@\"; do echo \"$a\"; done > DIR/args\ncat > DIR/mail\nexit $(cat DIR/code)\n";
    bed.file("sendmail", script);
    std::fs::set_permissions(bed.path("sendmail"), std::fs::Permissions::from_mode(0o755)).unwrap();
    bed.main("[mail]\nfrom = \"Log keeper <log@example.org>\"\n[mail.sendmail]\nprogram = \"DIR/sendmail\"\n");
    let message = alert(&bed, "root", "a\n.\nb");
    for (code, expected) in [("0", "sent"), ("75", "later"), ("67", "never"), ("69", "broken"), ("1", "broken")] {
        bed.file("code", code);
        let sent = send(&bed, "mail", "Admin <x@example.org>", &message);
        let kind = match &sent {
            Ok(()) => "sent",
            Err(NotifyError::Later(_)) => "later",
            Err(NotifyError::Broken(_)) => "broken",
            Err(NotifyError::Never(_)) => "never",
            Err(_) => "down",
        };
        assert_eq!(kind, expected, "{sent:?}");
    }
    let args = std::fs::read_to_string(bed.path("args")).unwrap();
    assert_eq!(args, "-i\n-f\nlog@example.org\n--\nx@example.org\n");
    let mail = std::fs::read_to_string(bed.path("mail")).unwrap();
    assert!(mail.contains("Subject: [web1] ALERT") && !mail.contains('\r'));
    bed.main("[mail.sendmail]\nprogram = \"/nonexistent/sendmail\"\n");
    assert!(matches!(send(&bed, "mail", "x@example.org", &message), Err(NotifyError::Refused(_))));
}

#[test]
fn syslog_takes_lines_over_a_socket_udp_and_tcp() {
    let bed = TestBed::new();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = std::os::unix::net::UnixDatagram::bind(bed.path("log.sock")).unwrap();
    for socket in
        [udp.set_read_timeout(Some(Duration::from_secs(5))), unix.set_read_timeout(Some(Duration::from_secs(5)))]
    {
        socket.unwrap();
    }
    let (udp_at, tcp_at) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    bed.main(&format!(
        "[channels.u.syslog]\nudp = \"{udp_at}\"\n[channels.t.syslog]\ntcp = \"{tcp_at}\"\n[channels.s.syslog]\nsocket = \"DIR/log.sock\"\n"
    ));
    let message = alert(&bed, "ro\"o]t", "x");
    let taking = std::thread::spawn(move || {
        let mut text = String::new();
        tcp.accept().unwrap().0.read_to_string(&mut text).unwrap();
        text
    });
    for channel in ["u", "t", "s"] {
        send(&bed, channel, "", &message).unwrap();
    }
    let mut buffer = [0; 4096];
    let n = udp.recv(&mut buffer).unwrap();
    let line = String::from_utf8(buffer[..n].to_vec()).unwrap();
    assert!(line.starts_with("<27>1 2026-11-20T11:59:50Z web1 logkeeper - alert [logkeeper@32473 id=\""), "{line}");
    assert!(line.contains(r#"user.name="ro\"o\]t""#) && line.contains("severity=\"high\""), "{line}");
    let n = unix.recv(&mut buffer).unwrap();
    assert_eq!(String::from_utf8(buffer[..n].to_vec()).unwrap(), line);
    assert_eq!(taking.join().unwrap(), format!("{} {line}", line.len()));
}

#[test]
fn a_file_gets_incident_time_message_and_log_location_on_a_line() {
    let bed = TestBed::new();
    bed.main("[channels.book.file]\npath = \"DIR/book.log\"\n");
    send(&bed, "book", "", &alert(&bed, "root", "x")).unwrap();
    send(&bed, "book", "", &alert(&bed, "root", "x")).unwrap();
    let text = std::fs::read_to_string(bed.path("book.log")).unwrap();
    assert_eq!(text.lines().count(), 2);
    let fields: Vec<&str> = text.lines().next().unwrap().split('\t').collect();
    assert_eq!((fields[0], fields[2]), ("2026-11-20T11:59:50Z", "/var/log/auth.log:12"), "{text}");
    assert!(fields[1].starts_with("HIGH failed-logins: Logins to the account"), "{text}");
    std::fs::remove_file(bed.path("book.log")).unwrap();
    std::os::unix::fs::symlink(bed.path("elsewhere"), bed.path("book.log")).unwrap();
    let refused = send(&bed, "book", "", &alert(&bed, "root", "x"));
    assert!(refused.is_err() && !bed.path("elsewhere").exists(), "no link is followed: {refused:?}");
}

/// A hundred texts that a visitor could have put into a log, or a program printed.
fn payloads() -> Vec<String> {
    let bad = [
        "x\r\nBcc: evil@example.org\r\n\r\nbody",
        "\n.\nQUIT\n",
        "\r\n.\r\nMAIL FROM:<evil@example.org>\r\n",
        ".\n..\n.",
        "~!touch /tmp/pwned\n~! id",
        "<script>alert(1)</script><img src=x onerror=alert(2)>",
        "</title></style><svg onload=alert(1)>",
        "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m",
        "=cmd|' /C calc'!A0",
        "@SUM(1+1)*cmd|' /C calc'!A0",
        "\"] evil@1[x=\"y\"",
        "\\\" \\n ] } , {",
        "{title} {secret} ${PATH} $(id) `id`",
        "; rm -rf / | tee && true",
        "\u{202e}gnp.exe\u{200b}\u{feff}",
        "line1\u{2028}line2\u{2029}line3\u{85}line4",
        "\0\u{1}\u{8}\u{c}\u{7f}",
        "<@U123> <!channel> <http://evil|click> *b* _i_ `c`",
        "--related-00000000000000000000000000000000--\r\n",
        "%0d%0aSet-Cookie:%20a=b %s%n%x",
    ];
    let wrap: [fn(&str) -> String; 5] = [
        |text| text.to_owned(),
        |text| format!("root{text}"),
        |text| format!("{text}{text}{text}"),
        |text| format!("{text}{}", "A".repeat(3000)),
        |text| format!("Тест \u{1f600} {text} é"),
    ];
    bad.iter().flat_map(|text| wrap.iter().map(move |wrap| wrap(text))).collect()
}

fn notice(bed: &TestBed, text: &str) -> Message {
    let run = Run {
        id: 7,
        job: "backup".into(),
        kind: "command".into(),
        trigger: Trigger::Scheduled,
        slot: None,
        attempt: 1,
        requested: now(),
        begin: None,
        started: Some(now()),
        finished: Some(now()),
        outcome: Some(Outcome::Failed),
        summary: text.to_owned(),
        notes: vec![text.to_owned()],
        output: vec![OutputLine { ms: 1, stream: Stream::Out, text: text.to_owned() }],
        exit_code: Some(1),
        signal: None,
        cpu_ms: None,
        peak_bytes: None,
    };
    compose_notice(&[run], 0, RunNews::Failed, &format!("run {}", text.len()), &bed.config(), now()).unwrap()
}

/// A text without anything that does more than be read.
fn assert_plain(text: &str, of: &str) {
    let bad = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{feff}')
    };
    assert!(!text.contains(bad), "{of}: {:?}", text.chars().filter(|c| bad(*c)).collect::<String>());
}

#[test]
fn a_hundred_hostile_texts_do_nothing_in_any_sink() {
    let smtp = ScriptedSmtp::start(|_, _| Act::Accept);
    let hook = HttpServer::start(|| 200);
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let bed = TestBed::new();
    bed.main(&format!(
        "[mail]\nfrom = \"log@example.org\"\n[mail.smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n\
         [channels.hook.webhook]\nurl = \"{}\"\n[channels.slack.webhook]\nurl = \"{}\"\npreset = \"slack\"\n\
         [channels.sms.webhook]\nurl = \"{}\"\npreset = \"template\"\ntemplate = '{{\"to\": \"1\", \"text\": \"{{short}}\"}}'\n\
         [channels.log.syslog]\nudp = \"{}\"\n[channels.book.file]\npath = \"DIR/book.log\"\n",
        smtp.port,
        hook.url,
        hook.url,
        hook.url,
        udp.local_addr().unwrap()
    ));
    let payloads = payloads();
    assert_eq!(payloads.len(), 100);
    for (index, payload) in payloads.iter().enumerate() {
        for message in [alert_on(&bed, payload, Some(payload), payload), notice(&bed, payload)] {
            for channel in ["mail", "hook", "slack", "sms", "log", "book"] {
                let to = if channel == "mail" { "admin@example.org" } else { "" };
                send(&bed, channel, to, &message).unwrap_or_else(|error| panic!("{payload:?} by {channel}: {error}"));
            }
            let mut buffer = vec![0; 9000];
            let n = udp.recv(&mut buffer).unwrap();
            let line = String::from_utf8(buffer[..n].to_vec()).unwrap();
            assert_plain(&line.replace('\u{feff}', ""), "syslog");
            assert!(!line.contains('\n') && line.len() <= 2000, "{line}");
            assert_eq!(structured_data(&line), Some(()), "{line}");
        }
        if index % 10 == 0 {
            wait_until("all mails are there", Duration::from_secs(5), || smtp.taken().len() == 2 * (index + 1));
        }
    }
    for taken in smtp.taken() {
        check_wire(&taken.wire);
    }
    for (index, posted) in hook.posted().iter().enumerate() {
        let body: Value = serde_json::from_str(&posted.body).unwrap();
        let texts = strings(&body);
        texts.iter().for_each(|text| assert_plain(text, "webhook"));
        if index % 3 == 1 {
            let text = body["text"].as_str().unwrap();
            assert!(!text.contains(['<', '>']), "{text}");
        }
    }
    let book = std::fs::read_to_string(bed.path("book.log")).unwrap();
    assert_eq!(book.lines().count(), 200, "a line for each");
    assert!(book.lines().all(|line| line.split('\t').count() == 3));
    assert_plain(&book.replace('\t', ""), "file");
}

/// What came over the wire: RFC 5321 and 5322.
fn check_wire(wire: &[u8]) {
    let text = String::from_utf8(wire.to_vec()).unwrap();
    assert!(text.is_ascii());
    let (mut previous, mut line) = (0, 0);
    for byte in wire {
        line += 1;
        assert!(*byte != b'\n' || previous == b'\r', "a bare LF");
        assert!(previous != b'\r' || *byte == b'\n', "a bare CR");
        assert!(line <= 1000, "a line of more than 998 bytes");
        if *byte == b'\n' {
            line = 0;
        }
        previous = *byte;
    }
    for line in text.split("\r\n") {
        assert!(!line.starts_with('.') || line.starts_with(".."), "dots at the begin of a line are doubled: {line:?}");
    }
    let head = text.split("\r\n\r\n").next().unwrap();
    let names: Vec<&str> = head
        .split("\r\n")
        .filter(|line| !line.starts_with([' ', '\t']))
        .map(|line| line.split(':').next().unwrap())
        .collect();
    let known = [
        "From",
        "Date",
        "Message-ID",
        "Subject",
        "To",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "MIME-Version",
        "Content-Type",
    ];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    assert_eq!(names.len(), known.len(), "{names:?}");
    let plain = unquoted(text.split_once("text/html").unwrap().1);
    assert!(!plain.contains("<script") && !plain.contains("<svg on") && !plain.contains("<img src=x"), "{plain}");
}

/// Reads a syslog line's structured data as RFC 5424 has it: `[id name="value" …]`, with `"`, `\` and `]` escaped in values.
fn structured_data(line: &str) -> Option<()> {
    let mut rest = line[line.find('[')?..].strip_prefix("[logkeeper@32473")?;
    while let Some(more) = rest.strip_prefix(' ') {
        let (name, value) = more.split_once("=\"")?;
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.') {
            return None;
        }
        let mut escaped = false;
        let end = value.char_indices().find(|(_, c)| {
            let ends = !escaped && *c == '"';
            escaped = !escaped && *c == '\\';
            ends
        })?;
        rest = &value[end.0 + 1..];
    }
    rest.starts_with("] \u{feff}").then_some(())
}

fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(strings).collect(),
        Value::Object(values) => values.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn mistakes_in_channels_are_named_with_their_place() {
    for (text, said) in [
        ("[channels.a.webhook]\nurl = \"http://example.org/x\"\n", "messages would go unencrypted"),
        ("[channels.a.webhook]\npreset = \"pagerduty\"\n", "\"secret_file\" is missing"),
        ("[channels.a.webhook]\nurl = \"https://example.org\"\npreset = \"template\"\n", "\"template\" is missing"),
        ("[channels.a]\nseverity = \"high\"\n", "\"webhook\" is missing"),
        ("[channels.a.syslog]\nudp = \"loghost\"\n", "is no host with its port"),
        ("[channels.admins.syslog]\n", "is the name of a channel, too"),
        ("[mail]\nquiet_hours = \"22-7\"\n", "is no span of hours"),
        ("[mail.sendmail]\n[mail.folder]\n", "mail can go only one way"),
    ] {
        let bed = TestBed::new();
        bed.main(text);
        let ran = bed.run(&["check"]);
        assert!(
            ran.code == 2 && ran.stderr.contains(said) && ran.stderr.contains("logkeeper.toml:"),
            "{text}: {ran:?}"
        );
    }
    let bed = TestBed::new();
    bed.main("[channels.pager.syslog]\n");
    bed.file("jobs/a.toml", "on_failure = [\"pagr\"]\n[command]\nrun = [\"/bin/true\"]\n");
    let ran = bed.run(&["check"]);
    assert!(
        ran.stderr.contains("there is no recipient group or channel \"pagr\"") && ran.stderr.contains("\"pager\""),
        "{ran:?}"
    );
}

#[test]
fn a_test_mail_goes_to_any_channel() {
    let bed = TestBed::new();
    bed.main("[channels.book.file]\npath = \"DIR/book.log\"\n");
    let ran = bed.run(&["test-mail", "--to", "book", "--to", "admins"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("book: handed over") && ran.stdout.contains("admin@example.org: handed over"));
    assert!(std::fs::read_to_string(bed.path("book.log")).unwrap().contains("Test message of logkeeper"));
    assert_eq!(bed.run(&["test-mail", "--to", "bok"]).code, 2);
}

#[test]
fn a_job_that_would_tell_nobody_is_warned_about() {
    let bed = TestBed::new();
    let main = std::fs::read_to_string(bed.path("config/logkeeper.toml")).unwrap();
    bed.file("config/logkeeper.toml", &main.replace("[\"admin@example.org\"]", "[]"));
    bed.file(
        "jobs/a.toml",
        "on_failure = [\"admins\"]\non_success = [\"management\"]\n[command]\nrun = [\"/bin/true\"]\n",
    );
    let warnings = bed.json(&["check"])["warnings"].clone();
    let told: Vec<&str> = warnings.as_array().unwrap().iter().map(|warning| warning.as_str().unwrap()).collect();
    assert!(told.iter().any(|told| told.starts_with("a: on_failure tells nobody")), "{told:?}");
    assert!(!told.iter().any(|told| told.contains("on_success")), "{told:?}");
}
