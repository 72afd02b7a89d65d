//! What `journalctl -o json` writes: one object a line, with the fields of
//! <https://www.freedesktop.org/software/systemd/man/latest/systemd.journal-fields.html>.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{self, Unescaped};
use super::messages::Messages;
use super::syslog::{number, of_severity};
use super::{Context, Parser};
use crate::model::Event;
use crate::model::format::Format;
use crate::model::writer::{BY_ANYBODY, PRINTED, is_by_anybody, web_server, without_path};

/// The parser.
#[derive(Default)]
pub struct Journal {
    messages: Messages,
    unescaped: Unescaped,
}

/// The fields of interest.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, rename = "__REALTIME_TIMESTAMP")]
    microseconds: &'a RawValue,
    #[serde(borrow, rename = "MESSAGE")]
    message: &'a RawValue,
    #[serde(borrow, rename = "_HOSTNAME")]
    host: Option<&'a RawValue>,
    #[serde(borrow, rename = "SYSLOG_IDENTIFIER")]
    identifier: Option<&'a RawValue>,
    #[serde(borrow, rename = "SYSLOG_PID")]
    syslog_pid: Option<&'a RawValue>,
    #[serde(borrow, rename = "_PID")]
    pid: Option<&'a RawValue>,
    #[serde(borrow, rename = "PRIORITY")]
    severity: Option<&'a RawValue>,
    #[serde(borrow, rename = "_TRANSPORT")]
    transport: Option<&'a RawValue>,
    #[serde(borrow, rename = "_UID")]
    uid: Option<&'a RawValue>,
    #[serde(borrow, rename = "_EXE")]
    executable: Option<&'a RawValue>,
}

impl Journal {
    /// A parser also for what web servers say in these formats, where they are recognised.
    pub fn new(context: Context, formats: &[Arc<Format>]) -> Self {
        Self { messages: Messages::new(context, formats), unescaped: Unescaped::default() }
    }
}

impl Parser for Journal {
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        line.starts_with(b"{").then_some(())?;
        let entry: Entry<'a> = serde_json::from_slice(line).ok()?;
        let text = |field: Option<&'a RawValue>| field.and_then(json::text).unwrap_or_default().as_bytes();
        let time: i64 = json::text(entry.microseconds)?.parse().ok()?;
        Statement {
            time: time.div_euclid(1_000_000),
            host: text(entry.host),
            program: text(entry.identifier),
            pid: number(text(entry.syslog_pid)).or_else(|| number(text(entry.pid))).unwrap_or(0),
            severity: number(text(entry.severity)),
            message: entry.message,
            transport: text(entry.transport),
            uid: text(entry.uid),
            executable: text(entry.executable),
        }
        .event(&mut self.messages, &mut self.unescaped)
    }

    fn is_in_json(&self) -> bool {
        self.messages.is_in_json()
    }

    fn request(&self) -> &[u8] {
        self.unescaped.request()
    }
}

/// What somebody said, and what is known of who it was.
pub struct Statement<'a> {
    /// Seconds since 1970 UTC.
    pub time: i64,
    pub host: &'a [u8],
    pub program: &'a [u8],
    /// The process; 0 where it isn't told.
    pub pid: u32,
    /// As in syslog (RFC 5424, 6.2.1).
    pub severity: Option<u32>,
    pub message: &'a RawValue,
    /// What journald found out, empty where it wasn't there.
    pub transport: &'a [u8],
    pub uid: &'a [u8],
    pub executable: &'a [u8],
}

impl<'a> Statement<'a> {
    /// What it tells; none where that isn't known.
    pub fn event(self, messages: &mut Messages, unescaped: &mut Unescaped) -> Option<Event<'a>> {
        let Self { time, host, program, pid, severity, .. } = self;
        // journalctl leaves long ones out unless it is called with --all.
        if self.message.get() == "null" {
            return None;
        }
        // What nginx prints to standard error stands there as well, and may hold lines that visitors wrote.
        let is_printed = !matches!(self.transport, b"" | b"syslog") && web_server(without_path(program)).is_some();
        let list = self.message.get().as_bytes();
        let bytes = bytes(list);
        let message = json::text(self.message).unwrap_or_default().as_bytes();
        let said = bytes.as_deref().unwrap_or(message);
        let is_by_anybody = is_by_anybody(self.uid, self.executable, program, said);
        let mark = if is_by_anybody { BY_ANYBODY } else { PRINTED };
        let marked = (is_printed || is_by_anybody).then(|| [program, mark.as_bytes()].concat());
        let program = marked.as_deref().unwrap_or(program);
        let told = match &bytes {
            Some(_) => unescaped.event_of_list(list, |message| messages.event(time, b"", program, pid, message))?,
            // rsyslog's begin with the blank behind the tag.
            None => unescaped
                .event(message, |message| Some(messages.event(time, b"", program, pid, message.trim_ascii_start())))?,
        };
        Some(of_severity(severity, Event { host, ..told }))
    }
}

/// The bytes of a message that comes as a list of them, because it is no UTF-8 or holds what can't be printed.
fn bytes(message: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    json::bytes(message.strip_prefix(b"[")?.strip_suffix(b"]")?, &mut bytes)?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::event::{Escape, Escapes, Shape};
    use crate::model::{Action, Category, Formats};
    use crate::parse::{AutoParser, YearRule};

    #[test]
    fn a_failed_login_in_the_journal_is_one() {
        let line = r#"{"_HOSTNAME":"web1","MESSAGE":"Failed password for invalid user a\"b from 192.0.2.7 port 22 ssh2","__REALTIME_TIMESTAMP":"1795168805123456","SYSLOG_IDENTIFIER":"sshd","_PID":"77","PRIORITY":"6"}"#;
        let event = Journal::default().parse(line.as_bytes()).unwrap();
        assert_eq!((event.time, event.pid, event.host), (Some(1_795_168_805), 77, &b"web1"[..]));
        assert_eq!(event.action, Action::LoginFailed { times: 1, shape: Shape::Explicit });
        assert_eq!(event.peer.unwrap().to_string(), "192.0.2.7");
    }

    #[test]
    fn a_request_in_a_list_of_bytes_is_the_same() {
        let mut parser =
            AutoParser::new(Context { zone: chrono_tz::UTC, year: YearRule::From(2026) }, &Formats::default());
        let said = "192.0.2.7 - - [20/Nov/2026:10:00:00 +0000] \"GET /a HTTP/1.1\" 404 5 \"-\" \"\u{85}\"";
        let nothing = said.replace("GET /a HTTP/1.1", "-");
        let list = format!("{:?}", said.as_bytes());
        let want = Some(&b"/a"[..]);
        let entry = |message: &str| {
            format!(r#"{{"MESSAGE":{message},"__REALTIME_TIMESTAMP":"1","SYSLOG_IDENTIFIER":"nginx"}}"#)
        };
        let collected =
            |message: &str| format!(r#"{{"timestamp":"2026-11-20T10:00:01Z","appname":"nginx","message":{message}}}"#);
        for (line, path) in [
            (entry(&json!(said).to_string()), want),
            (entry(&list), want),
            (entry(&json!(nothing).to_string()), None),
            (entry(&list), want),
            (collected(&format!("{:?}", nothing.as_bytes())), None),
            (collected(&list), want),
        ] {
            let event = parser.parse(line.as_bytes()).unwrap();
            assert_eq!((event.action, event.path()), (Action::Request { status: 404 }, path), "{line}");
        }
    }

    #[test]
    fn what_any_user_may_have_written_tells_of_no_login() {
        let told = |fields: &str, identifier: &str, message: &str| {
            let line = format!(
                r#"{{"MESSAGE":{message},"__REALTIME_TIMESTAMP":"1","SYSLOG_IDENTIFIER":"{identifier}"{fields}}}"#
            );
            Journal::default().parse(line.as_bytes()).unwrap().action
        };
        let failed = r#""Failed password for root from 192.0.2.7 port 22 ssh2""#;
        let sudo = r#""eve : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls""#;
        let pam = r#""message repeated 2 times: [ pam_unix(x:auth): authentication failure; ruser= rhost=192.0.2.7  user=root]""#;
        let plain = r#""authentication failure; ruser= rhost=192.0.2.7  user=root""#;
        let aix = r#""vty0: failed login attempt for root""#;
        let windows = r#""Security: AUDIT_FAILURE(4625): x: (no user): no domain: DC1: An account failed to log on.""#;
        let bytes = format!("{:?}", b"pam_unix(x:auth): authentication failure; ruser= rhost=192.0.2.7  user=\xff");
        for (fields, identifier, message, is_believed) in [
            ("", "sshd", failed, true),
            (r#","_UID":"0""#, "sshd", failed, true),
            (r#","_UID":"0""#, "x", &bytes, true),
            (r#","_UID":"1000","_EXE":"/usr/bin/sudo""#, "sudo", sudo, true),
            (r#","_UID":"1000","_EXE":"/usr/bin/sudo-rs""#, "sudo", sudo, true),
            (r#","_UID":"26","_EXE":"/usr/bin/postgres""#, "postgres", pam, true),
            (r#","_UID":"26","_EXE":"/usr/bin/logger""#, "logger", pam, false),
            (r#","_UID":"33","_EXE":"/usr/sbin/apache2""#, "apache2", pam, true),
            (r#","_UID":"1000","_EXE":"/usr/bin/logger""#, "apache2", pam, false),
            (r#","_UID":"1000","_EXE":"/usr/bin/logger""#, "passwd", plain, false),
            // Anybody may start it with a library of his own.
            (r#","_UID":"1000","_EXE":"/usr/sbin/sshd""#, "sshd", failed, false),
            (r#","_UID":"1000","_EXE":"/usr/bin/logger""#, "sshd", failed, false),
            (r#","_UID":"1000","_EXE":"/home/eve/sshd""#, "sshd", failed, false),
            (r#","_UID":"1000""#, "sshd", failed, false),
            (r#","_UID":"1000","_EXE":"/usr/bin/sudo""#, "sshd", failed, false),
            (r#","_UID":"1000","_EXE":"/usr/bin/logger""#, "sudo[1]:", sudo, false),
            (r#","_UID":"1000","_EXE":"/usr/bin/logger""#, "logger", pam, false),
            (r#","_UID":"1000","_EXE":"/usr/bin/logger""#, "logger", &bytes, false),
            ("", "syslog", aix, true),
            (r#","_UID":"1000","_EXE":"/usr/bin/logger""#, "syslog", aix, false),
            ("", "WinEvtLog", windows, true),
            (r#","_UID":"1000","_EXE":"/usr/bin/logger""#, "WinEvtLog", windows, false),
        ] {
            let action = told(fields, identifier, message);
            assert_eq!(matches!(action, Action::LoginFailed { .. }), is_believed, "{fields} {identifier} {message}");
        }
    }

    #[test]
    fn an_error_of_the_system_is_one() {
        let line = r#"{"_HOSTNAME":"web1","MESSAGE":"EXT4-fs error","__REALTIME_TIMESTAMP":"1795168805123456","SYSLOG_IDENTIFIER":"kernel","PRIORITY":"2"}"#;
        assert_eq!(Journal::default().parse(line.as_bytes()).unwrap().action, Action::ErrorLogged);
        let line = line.replace("\"2\"", "\"6\"");
        assert_eq!(Journal::default().parse(line.as_bytes()).unwrap().action, Action::Other);
    }

    #[test]
    fn what_is_no_text_or_no_entry_costs_only_itself() {
        let line = r#"{"MESSAGE":[70,255],"__REALTIME_TIMESTAMP":"1795168805123456","SYSLOG_IDENTIFIER":"sshd"}"#;
        assert_eq!(Journal::default().parse(line.as_bytes()).unwrap().category, Category::Auth);
        let said = b"Failed password for invalid user \xff from 192.0.2.7 port 22 ssh2".map(|byte| byte.to_string());
        let event = line.replace("70,255", &said.join(","));
        let event = Journal::default().parse(event.as_bytes()).unwrap();
        assert_eq!(event.action, Action::LoginFailed { times: 1, shape: Shape::Explicit });
        let user = (Some(&b"255,"[..]), Escapes::NONE.within(Escape::JsonList));
        assert_eq!((event.peer.unwrap().to_string(), (event.user, event.user_escapes)), ("192.0.2.7".to_owned(), user));
        let deep = format!(r#"{{"MESSAGE":{},"__REALTIME_TIMESTAMP":"1795168805123456"}}"#, "[".repeat(60_000));
        assert_eq!(Journal::default().parse(deep.as_bytes()), None);
        let nested = format!(r#"{{"MESSAGE":{0}{1},"__REALTIME_TIMESTAMP":"1"}}"#, "[".repeat(9000), "]".repeat(9000));
        assert_eq!(Journal::default().parse(nested.as_bytes()).unwrap().category, Category::System);
        for line in [r#"{"MESSAGE":"x"}"#, r#"{"MESSAGE":"x","__REALTIME_TIMESTAMP":null}"#, "{", "{}", "x"] {
            assert_eq!(Journal::default().parse(line.as_bytes()), None, "{line}");
        }
    }
}
