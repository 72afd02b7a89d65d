//! Syslog files, as they are written and sent: RFC 3164 and its kin, RFC 5424.

use std::sync::Arc;

use memchr::{memchr, memmem};

use super::messages::Messages;
use super::syslog_head::{Head, Said, head, plain_head, word};
use super::syslog_repeats::{Failed, repeats, repeats_of_metalog};
use super::syslog_stamp::Stamps;
use super::time::rfc3339;
use super::{Context, Parser};
use crate::model::format::Format;
use crate::model::peer::parse_ip;
use crate::model::writer::web_server;
use crate::model::{Action, Category, Event};

/// The parser.
pub struct Syslog {
    stamps: Stamps,
    messages: Messages,
    /// The failed logins of the line before, if it tells of such: the next one may say that it was repeated.
    failed: Option<Failed>,
    /// Whether the last line said so.
    came_again: bool,
}

/// How they are remembered for the lines that follow.
const FAILED: &str = "#Failed: ";

/// Whether it is one of sshd's names (with `.pam` in Alpine), or that of its unit (`journalctl -o with-unit`), which may be one of a
/// connection.
pub fn is_sshd(program: &[u8]) -> bool {
    let program = program.strip_suffix(b".pam").unwrap_or(program);
    let is_unit = || {
        let unit = program.strip_suffix(b".service").and_then(|unit| unit.split(|byte| *byte == b'@').next());
        matches!(unit, Some(b"ssh" | b"sshd"))
    };
    matches!(program, b"sshd" | b"sshd-session" | b"sshd-auth" | b"sshd(pam_unix)") || is_unit()
}

impl Syslog {
    /// A parser for stamps in the context's zone, and for what web servers say in these formats where they are recognised.
    pub fn new(context: Context, formats: &[Arc<Format>]) -> Self {
        let messages = Messages::new(context, formats);
        Self { stamps: Stamps::new(context), messages, failed: None, came_again: false }
    }

    fn read<'a>(&mut self, line: &'a [u8]) -> Option<(Event<'a>, Said<'a>)> {
        let (severity, line) = priority(line);
        if let Some(rest) = line.strip_prefix(b"1 ") {
            let told = rfc5424(&mut self.messages, rest)?;
            return Some((of_severity(severity, told), Said { program: b"", message: b"" }));
        }
        let (time, rest) = self.stamps.split(line)?;
        let Head { host, pid, said } = plain_head(rest).or_else(|| of_sudos_file(line, rest)).or_else(|| head(rest))?;
        let Said { program, message } = said;
        if severity.is_none() && program.is_empty() && line.get(10) == Some(&b'T') && is_of_clients(host, message) {
            return None;
        }
        // Many logs begin with such a date. Who wrote a line tells syslog's from others, of which only the time is understood.
        if severity.is_none() && program.is_empty() && begins_with_date(line) && !is_of_syslog(message) {
            return Some((Event::plain(Some(time), Category::Unknown), said));
        }
        let told = self.messages.event(time, host, program, pid, message);
        Some((of_severity(severity, told), said))
    }

    fn remembered(&mut self, line: &[u8]) -> Option<()> {
        self.failed = Some(serde_json::from_slice(line.strip_prefix(FAILED.as_bytes())?).ok()?);
        Some(())
    }
}

/// What stands in sudo's file of its own, which names neither host nor program: `Nov 20 10:00:00[ 2026] : eve : TTY=pts/0 ; …`.
fn of_sudos_file<'a>(line: &[u8], rest: &'a [u8]) -> Option<Head<'a>> {
    let message = rest.strip_prefix(b": ").filter(|_| line.first().is_some_and(u8::is_ascii_alphabetic))?;
    let said = &message[memmem::find(message, b" : ")? + 3..];
    let words: [&[u8]; 4] = [b"TTY=", b" incorrect password attempt", b"user NOT ", b"command not allowed"];
    words.iter().any(|word| memmem::find(said, word).is_some()).then_some(Head {
        host: b"",
        pid: 0,
        said: Said { program: b"sudo", message },
    })
}

/// Whether a client's address and what it asked for stand where host and message would, as in a web server's log with the time in front.
fn is_of_clients(host: &[u8], message: &[u8]) -> bool {
    let begins = [&b"\""[..], b"- ", b"GET ", b"POST ", b"HEAD "];
    begins.iter().any(|begin| message.starts_with(begin)) && parse_ip(host).is_some()
}

/// Whether a line begins with a date and a time behind a blank, without a zone.
fn begins_with_date(line: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b',');
    line.get(10) == Some(&b' ')
        && line[4] == b'-'
        && line.get(19..).is_some_and(|rest| rest.iter().find(|byte| !is_plain(byte)) == Some(&b' '))
}

/// Whether a message without a program is syslogd's own, or its program's name has blanks: `Server Administrator[7]: …`.
fn is_of_syslog(message: &[u8]) -> bool {
    let named = memmem::find(message, b"]: ").and_then(|end| {
        let name = &message[..end];
        number(&name[memchr::memrchr(b'[', name)? + 1..])
    });
    named.is_some() || repeats(message).is_some() || message.starts_with(b"-- MARK --")
}

impl Parser for Syslog {
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        if line.starts_with(b"#") {
            self.remembered(line)?;
            return Some(Event::plain(None, Category::System));
        }
        // What journalctl puts between the lines of two starts of a machine, and in front of the first.
        if line.starts_with(b"-- ") && line.trim_ascii_end().ends_with(b" --") {
            return Some(Event::plain(None, Category::System));
        }
        self.came_again = false;
        if let Some(times) = repeats_of_metalog(line) {
            self.came_again = self.failed.is_some();
            let plain = Event::plain(None, Category::System);
            return Some(self.failed.as_ref().map_or(plain, |failed| failed.times_more(times, plain)));
        }
        let Some((event, said)) = self.read(line) else {
            self.failed = None;
            return None;
        };
        if let Some(again) = self.failed.as_ref().and_then(|failed| failed.again(&event, &said)) {
            self.came_again = true;
            return Some(again);
        }
        self.failed = Failed::new(&event, &said);
        Some(event)
    }

    fn forget_last(&mut self) {
        self.failed = None;
    }

    fn is_in_json(&self) -> bool {
        self.messages.is_in_json()
    }

    fn told_before(&self) -> (Option<&[u8]>, Option<&[u8]>) {
        self.failed.as_ref().filter(|_| self.came_again).map(Failed::texts).unwrap_or_default()
    }

    fn header(&self) -> Vec<u8> {
        let failed = self.failed.as_ref().and_then(|failed| serde_json::to_string(failed).ok());
        failed.map(|failed| format!("{FAILED}{failed}\n").into_bytes()).unwrap_or_default()
    }
}

/// The severity in `<34>`, facility and severity as they are sent over the network, and what follows it.
fn priority(line: &[u8]) -> (Option<u32>, &[u8]) {
    let known = line.strip_prefix(b"<").and_then(|rest| {
        let end = memchr(b'>', rest).filter(|end| (1..=3).contains(end))?;
        Some((number(&rest[..end])? & 7, &rest[end + 1..]))
    });
    known.map_or((None, line), |(severity, rest)| (Some(severity), rest))
}

/// What the system says with severity `err` (3) or worse is an error; what is about logins has its own words.
pub fn of_severity<'a>(severity: Option<u32>, event: Event<'a>) -> Event<'a> {
    let is_told = matches!(event.category, Category::System | Category::Unknown);
    match event.action {
        Action::Other if is_told && severity.is_some_and(|severity| severity <= 3) => {
            Event { action: Action::ErrorLogged, category: Category::System, ..event }
        }
        _ => event,
    }
}

/// RFC 5424 after its version: `TIMESTAMP HOST PROGRAM PID MSGID STRUCTURED-DATA MESSAGE`, where `-` stands for nothing.
fn rfc5424<'a>(messages: &mut Messages, text: &'a [u8]) -> Option<Event<'a>> {
    let mut words = text.splitn(6, |byte| *byte == b' ');
    let time = rfc3339(words.next()?)?;
    let (host, program, pid, _id) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let message = without_structured_data(words.next()?)?.trim_ascii_start();
    // RFC 5424 6.4: a message in UTF-8 begins with a mark.
    let message = message.strip_prefix(b"\xef\xbb\xbf").unwrap_or(message);
    let host = if host == b"-" { &host[..0] } else { host };
    // nginx names the host as well, which rsyslog takes for the program.
    let own = word(message).filter(|_| program == host).and_then(|(tag, rest)| Some((tag.strip_suffix(b":")?, rest)));
    let (program, message) = own.filter(|(name, _)| web_server(name).is_some()).unwrap_or((program, message));
    let (program, its_pid) = with_pid(program);
    Some(messages.event(time, host, program, number(pid).unwrap_or(its_pid), message))
}

/// A program's name and its process, which some write behind it: `sshd[7]`; 0 where they don't.
pub fn with_pid(program: &[u8]) -> (&[u8], u32) {
    let inner = program.strip_suffix(b"]").and_then(|inner| Some((inner, memchr(b'[', inner)?)));
    let both = inner.and_then(|(inner, at)| Some((&inner[..at], number(&inner[at + 1..])?)));
    both.unwrap_or((program, 0))
}

/// RFC 5424 6.3: `-`, or elements in brackets, in whose quoted values a backslash goes before `"`, `\` and `]`.
pub fn without_structured_data(text: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = text.strip_prefix(b"-") {
        return Some(rest);
    }
    let mut rest = text;
    while rest.first() == Some(&b'[') {
        let (mut quoted, mut escaped) = (false, false);
        let end = rest.iter().position(|byte| {
            let is_end = *byte == b']' && !quoted;
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = quoted,
                b'"' => quoted = !quoted,
                _ => {}
            }
            is_end
        })?;
        rest = &rest[end + 1..];
    }
    (rest.len() < text.len()).then_some(rest)
}

/// Reads a decimal number of up to nine digits.
pub fn number(digits: &[u8]) -> Option<u32> {
    let valid = (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    valid.then(|| digits.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Shape;
    use crate::model::{Formats, Peer};
    use crate::parse::{AutoParser, YearRule};

    fn parser() -> Syslog {
        Syslog::new(Context { zone: chrono_tz::UTC, year: YearRule::From(2026) }, &[])
    }

    #[test]
    fn repeated_lines_count_as_often_as_they_say() {
        let line = b"Nov 20 10:00:00 web1 sshd[42]: message repeated 5 times: [ Failed password for root from 192.0.2.9 port 4711 ssh2]";
        let mut parser = parser();
        let event = parser.parse(line).unwrap();
        assert_eq!(event.action, Action::LoginFailed { times: 5, shape: Shape::Explicit });
        assert_eq!(event.user, Some(&b"root"[..]));
    }

    #[test]
    fn what_came_again_is_about_the_same_also_in_the_next_run() {
        let context = Context { zone: chrono_tz::UTC, year: YearRule::From(2026) };
        let begun = || AutoParser::new(context, &Formats::default());
        let failed = b"Nov 20 10:00:00 web1 sshd(pam_unix)[9]: authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=a.example  user=eve";
        let again = b"Nov 20 10:00:30 web1 last message repeated 5 times";
        let mut first = begun();
        first.parse(failed).unwrap();
        let mut next = begun().continuing(&first.header(), true);
        for parser in [&mut first, &mut next] {
            let event = parser.parse(again).unwrap();
            assert_eq!((event.user, event.peer), (Some(&b"eve"[..]), Some(Peer::Name(b"a.example"))));
            assert_eq!(
                parser.parse(b"Nov 20 10:00:31 web1 login[7]: FAILED LOGIN 1 FROM tty1").and_then(|event| event.user),
                None
            );
        }
    }

    #[test]
    fn what_syslog_ng_suppressed_and_metalog_counted_counts_as_often_as_they_say() {
        let times = |lines: &[&str]| {
            let mut parser = parser();
            let events = lines.iter().map(|line| parser.parse(line.as_bytes()).unwrap().action);
            let times = |action| if let Action::LoginFailed { times, .. } = action { times } else { 0 };
            events.map(times).collect::<Vec<_>>()
        };
        let failed = "2026-11-20T10:00:01+00:00 nas sshd[7]: Failed password for root from 192.0.2.9 port 4 ssh2";
        let suppressed = |host: &str, program: &str, start: &str| {
            format!(
                "2026-11-20T10:00:20+00:00 {host} {program}[9]: Last message '{start}' repeated 5 times, suppressed by syslog-ng on {host}"
            )
        };
        let start = "Failed password for ";
        assert_eq!(times(&[failed, &suppressed("nas", "sshd", start)]), [1, 5]);
        for other in [
            suppressed("nas", "cron", start),
            suppressed("nas2", "sshd", start),
            suppressed("nas", "sshd", "Failed password from"),
            suppressed("nas", "sshd", start).replace(", suppressed by syslog-ng on nas", " x"),
        ] {
            assert_eq!(times(&[failed, &other]), [1, 0], "{other}");
        }
        let failed = "Nov 20 10:00:01 [sshd] Failed password for root from 192.0.2.9 port 4 ssh2";
        let told = |often: &str| format!("                - Last output repeated {often} -");
        assert_eq!(times(&[failed, &told("3 times"), failed, &told("twice")]), [1, 3, 1, 2]);
        assert_eq!(times(&["Nov 20 10:00:01 [cron] x", &told("twice")]), [0, 0]);
    }

    #[test]
    fn sudos_own_file_is_read_and_others_with_a_colon_there_are_not_taken_for_it() {
        let read =
            |line: &str| parser().parse(line.as_bytes()).map(|event| (event.action, event.user.map(<[u8]>::to_vec)));
        let failed = (Action::LoginFailed { times: 3, shape: Shape::Explicit }, Some(b"eve".to_vec()));
        let tail = "HOST=web1 : 3 incorrect password attempts ; TTY=pts/0 ;";
        assert_eq!(read(&format!("Nov 20 10:00:00 : eve : {tail}")), Some(failed));
        let other = "2026-11-20 10:00:00 : ERROR : disk full TTY=";
        assert_ne!(
            read(other).map(|(action, _)| action),
            Some(Action::LoginFailed { times: 3, shape: Shape::Explicit })
        );
        let wrapped = "Nov 20 10:00:00 : administrator : HOST=web1 : 3 incorrect password attempts ;";
        assert_eq!(read(wrapped).and_then(|(_, user)| user), Some(b"administrator".to_vec()));
        assert!(read("Nov 20 10:00:00 : ERROR : disk full").is_none_or(|(_, user)| user.is_none()));
    }

    #[test]
    fn a_stamp_of_a_programs_own_makes_no_host_of_what_follows() {
        for line in [
            "Nov 20 10:00:00 web1 2026-11-20T10:00:00Z GET /sshd: Failed password for root from 192.0.2.1 port 22 ssh2",
            "Nov 20 10:00:00 web1 2026-11-20T10:00:00Z INFO sshd: Failed password for root from 192.0.2.1 port 22 ssh2",
            "Nov 20 10:00:00 web1 2026-11-20T10:00:00Z GET /sshd[7]: Failed password for root from 192.0.2.1 port 22 ssh2",
            "Nov 20 10:00:00 web1 2026-11-20T10:00:00.123Z ERROR disk failed",
        ] {
            let event = parser().parse(line.as_bytes()).unwrap();
            assert_eq!((event.host, event.peer, event.action), (&b"web1"[..], None, Action::Other), "{line}");
        }
    }

    #[test]
    fn what_journalctl_puts_between_lines_is_understood() {
        for line in
            ["-- Boot 6fa1b2c3 --", "-- Reboot --", "-- Logs begin at Fri 2026-11-20 10:00:00 UTC, end at now. --\n"]
        {
            assert_eq!(parser().parse(line.as_bytes()), Some(Event::plain(None, Category::System)), "{line}");
        }
        assert_eq!(parser().parse(b"-- Boot"), None);
    }

    #[test]
    fn an_agent_that_a_syslogd_cut_hides_no_request() {
        let line = |rest: &str| {
            format!(
                "Nov 20 10:00:00 web1 nginx: 192.0.2.9 - - [20/Nov/2026:10:00:00 +0000] \"GET /x HTTP/1.1\" 401 5{rest}"
            )
        };
        for rest in [" \"-\" \"Mozilla/5.0 AAAA", " \"https://a", " \"-\" \""] {
            let line = line(rest);
            let event = parser().parse(line.as_bytes()).unwrap();
            assert_eq!(event.action, Action::Request { status: 401 }, "{line}");
        }
    }

    #[test]
    fn a_host_with_an_endless_name_is_not_remembered() {
        let mut parser = parser();
        for (length, times) in [(255, Some(3)), (256, None)] {
            let host = "h".repeat(length);
            let failed =
                format!("Nov 20 10:00:00 {host} sshd[42]: Failed password for root from 192.0.2.9 port 4711 ssh2");
            parser.parse(failed.as_bytes()).unwrap();
            assert_eq!(parser.header().is_empty(), times.is_none());
            let again = format!("Nov 20 10:00:30 {host} last message repeated 3 times");
            let told = match parser.parse(again.as_bytes()).unwrap().action {
                Action::LoginFailed { times, .. } => Some(times),
                _ => None,
            };
            assert_eq!(told, times);
        }
    }

    #[test]
    fn headers_of_other_daemons_are_understood() {
        let mut parser = parser();
        for line in [
            &b"<38>Nov 20 10:00:00 web1 sshd[7]: Invalid user eve from 192.0.2.9"[..],
            b"<38>1 2026-11-20T10:00:00.5Z web1 sshd 7 - - Invalid user eve from 192.0.2.9",
            b"<38>1 2026-11-20T10:00:00Z web1 sshd 7 id [a@1 b=\"x\\\"] y\"][c@1] \xef\xbb\xbfInvalid user eve from 192.0.2.9",
            b"Nov 20 10:00:00 web1 auth.info sshd[7]: Invalid user eve from 192.0.2.9",
            b"Nov 20 10:00:00 <4.6> web1 sshd[7]: Invalid user eve from 192.0.2.9",
            b"Nov 20 10:00:00 web1 auth|security:info sshd[7]: Invalid user eve from 192.0.2.9",
            b"Nov 20 10:00:00 web1 [auth.info] sshd[7]: Invalid user eve from 192.0.2.9",
            b"Nov 20 10:00:00 Message forwarded from web1: sshd[7]: Invalid user eve from 192.0.2.9",
            b"2026-11-20T10:00:00.12345 auth.info: Nov 20 10:00:00 sshd[7]: Invalid user eve from 192.0.2.9",
            b"Nov 20 10:00:00 sshd[7]: Invalid user eve from 192.0.2.9",
            b"2026-11-20T10:00:00 auth.info: sshd[7]:  Invalid user eve from 192.0.2.9",
            b"2026-11-20 10:00:00.123+0000 web1 sshd[7]: Invalid user eve from 192.0.2.9",
            b"2026-11-20 10:00:00 +0000 web1 sshd[7]: Invalid user eve from 192.0.2.9",
            b"2026-11-20 10:00:00.123456+0000 0x1a2b     Default     0x0                  7      0    sshd: Invalid user eve from 192.0.2.9",
            b"Nov 20 10:00:00 web1  auth.info sshd[7]: Invalid user eve from 192.0.2.9",
            b"Nov 20 10:00:00 web1 sshd[7] <Info>: Invalid user eve from 192.0.2.9",
            b"<38>1 2026-11-20T10:00:00Z web1 sshd[7] - - - Invalid user eve from 192.0.2.9",
            b"Fri 2026-11-20 10:00:00 UTC web1 ssh.service[7]: Invalid user eve from 192.0.2.9",
            b"Fri 2026-11-20 10:00:00 UTC web1 sshd@7-192.0.2.1:22-192.0.2.9:4711.service[7]: Invalid user eve from 192.0.2.9",
            b"Fri Nov 20 10:00:00 2026 auth.info sshd[7]: Invalid user eve from 192.0.2.9",
            b"Nov 20 10:00:00 web1  sshd[7]: Invalid user eve from 192.0.2.9",
            b"2026-11-20T10:00:00Z 2026-11-20T10:00:00.123456+00:00 web1 sshd[7]: Invalid user eve from 192.0.2.9",
            b"Nov 20 10:00:00 relay 1 2026-11-20T11:00:00+01:00 web1 sshd 7 - - Invalid user eve from 192.0.2.9",
            b"Nov 20 10:00:00 relay 1 2026-11-20T11:00:00+01:00 web1 sshd 7 - - \xef\xbb\xbfInvalid user eve from 192.0.2.9",
            b"Nov 20 10:00:00 relay 1 2026-11-20T11:00:00+01:00 web1 sshd 7 - [timeQuality tzKnown=\"1\"] Invalid user eve from 192.0.2.9",
        ] {
            let event = parser.parse(line).unwrap();
            let shown = String::from_utf8_lossy(line);
            assert_eq!(event.time, Some(1_795_168_800), "{shown}");
            assert_eq!(event.peer.unwrap().to_string(), "192.0.2.9", "{shown}");
            assert_eq!(event.pid, 7, "{shown}");
            assert!(event.host == b"web1" || event.host.is_empty(), "{shown}");
        }
        // Of other logs that begin with such a date only the time is understood.
        for (line, category) in [
            (
                &b"2026-11-20 10:00:00 192.0.2.9 4711 192.0.2.1 443 HTTP/1.1 GET / 404 - NotFound -"[..],
                Category::Unknown,
            ),
            (b"2026-11-20 10:00:00,123 ERROR could not do it", Category::Unknown),
            (b"2026-11-20 10:00:00 web1 last message repeated 2 times", Category::System),
            (b"2026-11-20 10:00:00 web1 -- MARK --", Category::System),
            (b"2026-11-20 10:00:00 web1 Server Administrator[7]: x", Category::System),
            (b"<38>2026-11-20 10:00:00 web1 Server Administrator: x", Category::System),
            (b"2026-11-20 10:00:00.123456+0000  web1 Google Chrome: x", Category::System),
        ] {
            let event = parser.parse(line).unwrap();
            assert_eq!((event.time, event.category), (Some(1_795_168_800), category));
        }
        // Nor are others taken for it, whose format has to be described.
        assert_eq!(parser.parse(b"2026-11-20T10:00:00+0000 192.0.2.9 \"-\" 401 \"GET / HTTP/1.1\" user=eve"), None);
        let from_v6 = b"Nov 20 10:00:00 Message forwarded from 2001:db8::1: sshd[7]: Invalid user eve from 192.0.2.9";
        assert_eq!(parser.parse(from_v6).unwrap().host, b"2001:db8::1");
        let early = parser.parse(b"Nov 2 10:00:00 web1 sshd[7]: Invalid user eve from 192.0.2.9").unwrap();
        assert_eq!(early.time, Some(1_795_168_800 - 18 * 86_400));
    }

    #[test]
    fn what_the_system_calls_an_error_is_one() {
        let mut parser = parser();
        let mut action = |line: &str| parser.parse(line.as_bytes()).unwrap().action;
        assert_eq!(action("<2>1 2026-11-20T10:00:01Z web1 kernel - - - EXT4-fs error"), Action::ErrorLogged);
        assert_eq!(action("<27>Nov 20 10:00:01 web1 app[7]: can't go on"), Action::ErrorLogged);
        assert_eq!(action("<30>Nov 20 10:00:01 web1 app[7]: goes on"), Action::Other);
        assert_eq!(action("<83>Nov 20 10:00:01 web1 sshd[7]: error: Could not load host key: x"), Action::Other);
    }

    #[test]
    fn requests_that_a_web_server_sends_to_syslog_are_requests() {
        let mut parser = parser();
        let request = "192.0.2.9 - - [20/Nov/2026:10:00:00 +0000] \"GET /x HTTP/1.1\" 404 5";
        let line = format!("Nov 20 10:00:01 web1 nginx[7]: {request}");
        let event = parser.parse(line.as_bytes()).unwrap();
        assert_eq!((event.action, event.category), (Action::Request { status: 404 }, Category::Access));
        assert_eq!((event.time, event.host), (Some(1_795_168_800), &b"web1"[..]));
        let line = format!("<38>1 2026-11-20T10:00:01Z web1 nginx 7 - - {request}");
        assert_eq!(parser.parse(line.as_bytes()).unwrap().action, Action::Request { status: 404 });
        // So do those whose tag says which log it is, but no others.
        for (tag, category) in [
            ("nginx_access", Category::Access),
            ("nginx-access", Category::Access),
            ("httpd_access_log", Category::Access),
            ("apache2/site", Category::Access),
            ("nginx_exporter", Category::System),
            ("my-nginx_access", Category::System),
            ("nginxaccess", Category::System),
            ("apache_access_notifier", Category::System),
            // What stands in an error log may be a visitor's own.
            ("nginx-error", Category::System),
            ("httpd_error_log", Category::System),
        ] {
            let line = format!("Nov 20 10:00:01 web1 {tag}: {request}");
            assert_eq!(parser.parse(line.as_bytes()).unwrap().category, category, "{tag}");
        }
        let pam = "pam_unix(x:auth): authentication failure; logname= uid=0 euid=0 tty=x ruser= rhost=203.0.113.9";
        for tag in ["nginx_error", "nginx_access", "nginx(printed)"] {
            let line = format!("Nov 20 10:00:01 web1 {tag}: {pam}");
            assert_eq!(parser.parse(line.as_bytes()).unwrap().action, Action::Other, "{tag}");
        }
        for (tag, category) in [("nginx_error", Category::Error), ("nginx_access", Category::System)] {
            let line = format!("Nov 20 10:00:01 web1 {tag}: 2026/11/20 10:00:00 [error] 7#7: *1 open() failed");
            assert_eq!(parser.parse(line.as_bytes()).unwrap().category, category, "{tag}");
        }
        // Synology's names no program.
        let line = "2026-11-20T10:00:01+00:00 nas [Fri Nov 20 10:00:01 2026] [error] [client 192.0.2.9] Digest: user eve: password mismatch: /";
        let event = parser.parse(line.as_bytes()).unwrap();
        assert_eq!((event.user, event.host, event.category), (Some(&b"eve"[..]), &b"nas"[..], Category::Error));
        // What another program quotes is none.
        let line = format!("Nov 20 10:00:01 web1 mailer[7]: {request}");
        assert_eq!(parser.parse(line.as_bytes()).unwrap().action, Action::Other);
    }

    #[test]
    fn headers_with_and_without_pid_and_year_are_understood() {
        let mut parser = parser();
        for line in [
            &b"Nov  2 10:00:00 web1 kernel: [   1.2] usb"[..],
            b"2026-11-20T10:00:00.123456+01:00 web1 CRON[7]: (root) CMD (true)",
            b"Nov 20 10:00:00 web1 -- MARK --",
        ] {
            let event = parser.parse(line).unwrap();
            assert_eq!((event.host, event.category), (&b"web1"[..], Category::System));
        }
        assert!(parser.parse(b"Nov 20 25:00:00 web1 x: y").is_none());
        assert!(parser.parse(b"not a log").is_none());
    }
}
