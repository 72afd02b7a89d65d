//! Lines of syslog and entries of the journal as collectors keep them, an object of JSON each: Fluent Bit, fluentd, Vector, Logstash, and the
//! JSON templates of rsyslog and syslog-ng. Those of Filebeat hold whole lines of the files that they name.

use super::access::Access;
use super::custom::known_stamp;
use super::journal::Said;
use super::json::{Object, Unescaped, object, value};
use super::syslog::{Syslog, number, with_pid};
use super::time::WallClock;
use super::{Context, Parser};
use crate::model::Event;

/// The parser.
pub struct Collected {
    wall: WallClock,
    unescaped: Unescaped,
    access: Access,
    syslog: Syslog,
}

/// Where each part may stand; the first place that holds something counts.
const TIME: [&str; 7] = ["__REALTIME_TIMESTAMP", "@timestamp", "timestamp", "timereported", "ISODATE", "time", "date"];
const HOST: [&str; 6] = ["_HOSTNAME", "host.hostname", "host.name", "hostname", "host", "HOST"];
const PROGRAM: [&str; 8] = [
    "SYSLOG_IDENTIFIER",
    "appname",
    "app-name",
    "programname",
    "PROGRAM",
    "ident",
    "syslog.identifier",
    "process.name",
];
/// `sshd[7]:`; other logs have tags of other kinds.
const TAG: [&str; 2] = ["syslogtag", "tag"];
const PID: [&str; 7] = ["SYSLOG_PID", "_PID", "procid", "pid", "PID", "syslog.pid", "process.pid"];
const SEVERITY: [&str; 2] = ["PRIORITY", "syslog.priority"];
const MESSAGE: [&str; 3] = ["MESSAGE", "message", "msg"];

impl Collected {
    /// A parser for stamps in the context's zone.
    pub fn new(context: Context) -> Self {
        Self {
            wall: WallClock::new(context),
            unescaped: Unescaped::default(),
            access: Access::new(context),
            syslog: Syslog::new(context),
        }
    }

    /// The line of a file that Filebeat names: of what visitors write into an error log any may look like a line of another one.
    fn of_filebeat<'a>(&mut self, object: &Object<'a>) -> Option<Event<'a>> {
        let is_filebeat = ["agent.type", "@metadata.beat"].iter().any(|place| value(object, place) == Some("filebeat"));
        let path = value(object, "log.file.path").filter(|_| is_filebeat)?;
        let name = path.rsplit('/').next().unwrap_or(path);
        let line = value(object, "message")?.as_bytes();
        let Self { unescaped, access, syslog, .. } = self;
        if name.contains("error") {
            return None;
        }
        if name.contains("access") {
            return unescaped.event(line, |line| access.parse(line));
        }
        let is_syslog = ["auth", "secure", "messages", "syslog"].iter().any(|known| name.starts_with(known));
        if is_syslog { unescaped.event(line, |line| syslog.parse(line)) } else { None }
    }
}

impl Parser for Collected {
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let object = object(std::str::from_utf8(line).ok()?)?;
        let first = |places: &[&str]| {
            places.iter().find_map(|place| value(&object, place).filter(|text| !text.is_empty())).map(str::as_bytes)
        };
        let tag = || first(&TAG)?.strip_suffix(b":");
        let Some(program) = first(&PROGRAM).or_else(tag) else { return self.of_filebeat(&object) };
        let message = MESSAGE.iter().find_map(|place| object.get(*place))?;
        let (program, its_pid) = with_pid(program);
        let text = |place: &str| value(&object, place).unwrap_or_default().as_bytes();
        Said {
            time: known_stamp(&mut self.wall, first(&TIME)?)?,
            host: first(&HOST).unwrap_or_default(),
            program,
            pid: first(&PID).and_then(number).unwrap_or(its_pid),
            severity: first(&SEVERITY).and_then(number),
            message,
            transport: text("_TRANSPORT"),
            uid: text("_UID"),
            executable: text("_EXE"),
        }
        .event(&mut self.unescaped)
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
        let mut parser = Collected::new(Context { zone: chrono_tz::UTC, year: YearRule::From(2026) });
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
                r#"{{"date":1795168800.123456,"SYSLOG_IDENTIFIER":"sshd","_PID":"7","_HOSTNAME":"web1","MESSAGE":"{FAILED}"}}"#
            ),
            format!(r#"{{"time":"{stamp}","host":"web1","ident":"sshd","pid":"7","message":"{FAILED}"}}"#),
            // rsyslog, syslog-ng.
            format!(
                r#"{{"@timestamp":"{stamp}","host":"web1","severity":"info","tag":"sshd[7]:","message":" {FAILED}"}}"#
            ),
            format!(r#"{{"PROGRAM":"sshd","PID":"7","MESSAGE":"{FAILED}","ISODATE":"{stamp}","HOST":"web1"}}"#),
            // Filebeat: its system module, and a line as it came.
            format!(
                r#"{{"@timestamp":"{stamp}","host":{{"hostname":"web1"}},"process":{{"name":"sshd","pid":7}},"message":"{FAILED}"}}"#
            ),
            format!(
                r#"{{"@timestamp":"{stamp}","agent":{{"type":"filebeat"}},"log":{{"file":{{"path":"/var/log/auth.log"}}}},"message":"Nov 20 10:00:00 web1 sshd[7]: {FAILED}"}}"#
            ),
        ] {
            assert_eq!(parse(&line), told, "{line}");
        }
    }

    #[test]
    fn what_anybody_may_have_written_tells_of_no_login() {
        let by_anybody = format!(
            r#"{{"SYSLOG_IDENTIFIER":"sshd","_PID":"7","_UID":"1000","_EXE":"/usr/bin/logger","message":"{FAILED}","timestamp":"2026-11-20T10:00:00Z"}}"#
        );
        assert_eq!(parse(&by_anybody).unwrap().1, Action::Other);
        let in_error_log = |path: &str| {
            let file = format!(r#""agent":{{"type":"filebeat"}},"log":{{"file":{{"path":"{path}"}}}}"#);
            parse(&format!(
                r#"{{"@timestamp":"2026-11-20T10:00:00Z",{file},"message":"Nov 20 10:00:00 web1 sshd[7]: {FAILED}"}}"#
            ))
        };
        assert_eq!(in_error_log("/var/log/nginx/error.log"), None);
        assert_eq!(in_error_log("/srv/app/app.log"), None);
        assert_eq!(in_error_log("/var/log/nginx/access.log"), None);
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
