//! Lines of syslog and entries of the journal as collectors keep them, an object of JSON each: Fluent Bit, fluentd, Vector, and the JSON
//! templates of rsyslog and syslog-ng.

use std::sync::Arc;

use super::custom::known_stamp;
use super::journal::Statement;
use super::json::{Unescaped, object, value};
use super::messages::Messages;
use super::syslog::{number, with_pid};
use super::time::WallClock;
use super::{Context, Parser};
use crate::model::Event;
use crate::model::format::Format;

/// The parser.
pub struct Collected {
    messages: Messages,
    wall: WallClock,
    unescaped: Unescaped,
}

/// What the journal calls the program. Anybody may write there, and add whatever else it likes: only journald's own word tells who did, which
/// begins with an underscore.
const OF_JOURNAL: &str = "SYSLOG_IDENTIFIER";

/// What else tells that an object is the journal's, however collectors write these.
const JOURNALS_OWN: [&str; 5] = ["syslog_identifier", "uid", "exe", "transport", "systemd_unit"];

/// Where each part may stand; the first place that holds something counts, of times the first that is one.
const TIME: [&str; 7] = ["__REALTIME_TIMESTAMP", "@timestamp", "timestamp", "timereported", "ISODATE", "time", "date"];
const HOST: [&str; 5] = ["_HOSTNAME", "HOSTNAME", "hostname", "host", "HOST"];
const PROGRAM: [&str; 5] = ["appname", "app-name", "programname", "PROGRAM", "ident"];
/// `sshd[7]:`; other logs have tags of other kinds.
const TAG: [&str; 2] = ["syslogtag", "tag"];
const PID: [&str; 5] = ["SYSLOG_PID", "_PID", "procid", "pid", "PID"];
const MESSAGE: [&str; 3] = ["MESSAGE", "message", "msg"];

impl Collected {
    /// A parser for stamps in the context's zone, and for what web servers say in these formats where they are recognised.
    pub fn new(context: Context, formats: &[Arc<Format>]) -> Self {
        let messages = Messages::new(context, formats);
        Self { messages, wall: WallClock::new(context), unescaped: Unescaped::default() }
    }
}

impl Parser for Collected {
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let object = object(std::str::from_utf8(line).ok()?)?;
        let first = |places: &[&str]| {
            places.iter().find_map(|place| value(&object, place).filter(|text| !text.is_empty())).map(str::as_bytes)
        };
        let tag = || first(&TAG)?.strip_suffix(b":");
        let is_journals = object
            .keys()
            .any(|name| name.starts_with('_') || JOURNALS_OWN.iter().any(|own| own.eq_ignore_ascii_case(name)));
        let program = if is_journals { first(&[OF_JOURNAL]) } else { first(&PROGRAM).or_else(tag) }?;
        let times = || TIME.iter().filter_map(|place| value(&object, place));
        let time = times().find_map(|text| known_stamp(&mut self.wall, text.as_bytes()))?;
        let message = MESSAGE.iter().find_map(|place| object.get(*place).filter(|message| message.get() != "null"))?;
        let (program, its_pid) = with_pid(program);
        // Who isn't told may be anybody, and may have printed it.
        let untold = if is_journals { &b"?"[..] } else { b"" };
        let text = |place: &str| first(&[place]).unwrap_or(untold);
        Statement {
            time,
            host: first(&HOST).unwrap_or_default(),
            program,
            pid: first(&PID).and_then(number).unwrap_or(its_pid),
            severity: first(&["PRIORITY"]).and_then(number),
            message,
            transport: text("_TRANSPORT"),
            uid: text("_UID"),
            executable: text("_EXE"),
        }
        .event(&mut self.messages, &mut self.unescaped)
    }

    fn request(&self) -> &[u8] {
        self.unescaped.request()
    }

    fn is_in_json(&self) -> bool {
        self.messages.is_in_json()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Shape;
    use crate::model::{Action, Peer};
    use crate::parse::YearRule;

    const FAILED: &str = "Failed password for eve from 192.0.2.7 port 4711 ssh2";

    fn parse(line: &str) -> Option<(Option<i64>, Action, String, u32)> {
        let mut parser = Collected::new(Context { zone: chrono_tz::UTC, year: YearRule::From(2026) }, &[]);
        let event = parser.parse(line.as_bytes())?;
        let user = String::from_utf8_lossy(event.user.unwrap_or_default());
        let peer = event.peer.as_ref().map(Peer::to_string).unwrap_or_default();
        Some((event.time, event.action, format!("{user} {peer}"), event.pid))
    }

    #[test]
    fn what_collectors_keep_tells_of_the_same_login() {
        let stamp = "2026-11-20T10:00:00Z";
        let failed = Action::LoginFailed { times: 1, shape: Shape::Explicit };
        let told = Some((Some(1_795_168_800), failed, "eve 192.0.2.7".to_owned(), 7));
        for line in [
            // Vector: its sources syslog and journald.
            format!(
                r#"{{"appname":"sshd","facility":"auth","host":"web1","message":"{FAILED}","procid":7,"timestamp":"{stamp}"}}"#
            ),
            format!(
                r#"{{"SYSLOG_IDENTIFIER":"sshd","_PID":"7","_UID":"0","_TRANSPORT":"syslog","host":"web1","message":"{FAILED}","timestamp":"{stamp}"}}"#
            ),
            // Fluent Bit: systemd; fluentd: in_syslog.
            format!(
                r#"{{"date":1795168800.123456,"SYSLOG_IDENTIFIER":"sshd","_PID":"7","_UID":"0","_HOSTNAME":"web1","MESSAGE":"{FAILED}"}}"#
            ),
            format!(r#"{{"time":"{stamp}","host":"web1","ident":"sshd","pid":"7","message":"{FAILED}"}}"#),
            // rsyslog, syslog-ng.
            format!(
                r#"{{"@timestamp":"{stamp}","host":"web1","severity":"info","tag":"sshd[7]:","message":" {FAILED}"}}"#
            ),
            format!(r#"{{"PROGRAM":"sshd","PID":"7","MESSAGE":"{FAILED}","ISODATE":"{stamp}","HOST":"web1"}}"#),
        ] {
            assert_eq!(parse(&line), told, "{line}");
        }
    }

    #[test]
    fn what_anybody_may_have_written_tells_of_no_login() {
        for who in [
            r#""_UID":"1000","_EXE":"/usr/bin/logger""#,
            r#""UID":"1000","EXE":"/usr/bin/logger","UID":"0""#,
            r#""_PID":"7""#,
        ] {
            let line = |program: &str, message: &str| {
                format!(
                    r#"{{"SYSLOG_IDENTIFIER":"{program}",{who},"MESSAGE":"{message}","timestamp":"2026-11-20T10:00:00Z"}}"#
                )
            };
            assert_eq!(parse(&line("sshd", FAILED)).unwrap().1, Action::Other, "{who}");
            let request = r#"192.0.2.7 - - [20/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 401 5"#;
            assert_eq!(parse(&line("nginx", request)).unwrap().2, " ", "{who}");
        }
        for fields in [r#""syslog_identifier":"x","ident":"sshd","uid":"1000""#, r#""PROGRAM":"sshd","_PID":"77""#] {
            let line = format!(r#"{{{fields},"message":"{FAILED}","timestamp":"2026-11-20T10:00:00Z"}}"#);
            assert_eq!(parse(&line), None, "{line}");
        }
        for other in [
            format!(r#"{{"message":"{FAILED}","timestamp":"2026-11-20T10:00:00Z"}}"#),
            format!(r#"{{"ident":"sshd","message":"{FAILED}"}}"#),
            format!(r#"{{"tag":"sshd","message":"{FAILED}","timestamp":"2026-11-20T10:00:00Z"}}"#),
            r#"{"ident":"sshd","timestamp":"2026-11-20T10:00:00Z"}"#.to_owned(),
            format!("sshd {FAILED}"),
        ] {
            assert_eq!(parse(&other), None, "{other}");
        }
    }
}
