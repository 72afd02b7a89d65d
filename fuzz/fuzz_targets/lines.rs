//! Every parser of a known format, whatever the lines hold: a line of the format makes it the one that is asked first.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use logkeeper::model::{Action, Category, Event, Formats, Peer};
use logkeeper::parse::{AutoParser, Context, PlainRequest, YearRule};

const LINES: [&str; 10] = [
    "192.0.2.7 - - [20/Nov/2026:10:00:05 +0000] \"GET / HTTP/1.1\" 200 5",
    "Nov 20 10:00:05 web1 sshd[7]: Accepted password for eve from 192.0.2.7 port 22 ssh2",
    "7 2026-11-20 10:00:05.070 Server listening on :: port 22.",
    "2026/11/20 10:00:05 [error] 7#7: *1 x",
    "[Fri Nov 20 10:00:05.123456 2026] [core:error] [pid 7:tid 8] x",
    "{\"__REALTIME_TIMESTAMP\":\"1795168805123456\",\"MESSAGE\":\"x\"}",
    "#Fields: date time c-ip cs-username cs-method cs-uri-stem sc-status",
    r#"{"ts":1795168805.315,"request":{"remote_ip":"192.0.2.7","method":"GET","uri":"/"},"status":404}"#,
    r#"{"StartUTC":"2026-11-20T10:00:05Z","ClientAddr":"192.0.2.7:4711","DownstreamStatus":404}"#,
    r#"{"time_iso8601":"2026-11-20T10:00:05Z","remote_addr":"192.0.2.7","request":"GET / HTTP/1.1","status":"404"}"#,
];

/// Those that come with logkeeper.
static FORMATS: LazyLock<Formats> =
    LazyLock::new(|| logkeeper::config::formats(Path::new("/nonexistent"), None).expect("formats that are right"));

fuzz_target!(|text: &[u8]| {
    for first in LINES {
        let context = Context { zone: chrono_tz::Europe::Berlin, year: YearRule::Before(1_795_168_805) };
        let mut parser = AutoParser::new(context, &FORMATS).named(Path::new("sshd.log"));
        parser.parse(first.as_bytes());
        let mut place = 0;
        for line in logkeeper::logs::split(text) {
            let plain = parser.plain_request(&text[place..]);
            place += line.len();
            let event = parser.parse(line);
            if let Some(PlainRequest { time, peer, request: (start, length), status, length: whole }) = plain {
                let (peer, request) = (Some(Peer::Ip(peer.into())), &line[start..start + length]);
                let plain = Event::plain(Some(time), Category::Access);
                let told = Event { action: Action::Request { status }, peer, request, ..plain };
                assert_eq!((event, whole), (Some(told), line.len()), "it is what the line alone tells");
            }
        }
    }
});
