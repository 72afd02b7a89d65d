//! Windows events outside of their `.evtx` files, one a line: as XML (`wevtutil query-events /format:xml`), and as JSON of winlogbeat,
//! of `evtx_dump` and of NXLog.
//!
//! XML: <https://learn.microsoft.com/en-us/windows/win32/wes/eventschema-schema>. The fields of winlogbeat:
//! <https://www.elastic.co/guide/en/beats/winlogbeat/current/exported-fields-winlog.html>; of NXLog:
//! <https://docs.nxlog.co/refman/current/im/msvistalog.html>.

use memchr::memmem;

use super::json::{Object, first_value, object, value};
use super::syslog::number;
use super::time::{WallClock, rfc3339};
use super::windows::{Record, read_record};
use super::{Context, Parser};
use crate::model::event::Escape;
use crate::model::{Category, Event};

/// The parser.
pub struct WindowsExport {
    /// NXLog's stamps may have no zone.
    wall: WallClock,
}

/// Where the parts of an event stand in an object of JSON.
struct Places {
    /// Of several the first that is there.
    id: &'static [&'static str],
    channel: &'static str,
    time: &'static [&'static str],
    host: &'static [&'static str],
    level: &'static str,
    process: &'static str,
    /// Below what its own fields stand, with a dot.
    fields: &'static str,
    /// Where some of them stand instead, if they don't stand there.
    moved: &'static [(&'static str, &'static str)],
    /// The first and the last of those that have no name, of a list its own; or a message that holds both.
    first: &'static str,
    last: &'static str,
}

/// Where the account stands that logs in or is to, and in other events who changes one.
const OF_LOGINS: &str = "user.name";
const LOGINS: [u32; 4] = [4624, 4625, 4771, 4776];

const PLACES: [Places; 3] = [
    Places {
        id: &["Event.System.EventID", "Event.System.EventID.#text"],
        channel: "Event.System.Channel",
        time: &["Event.System.TimeCreated.#attributes.SystemTime"],
        host: &["Event.System.Computer"],
        level: "Event.System.Level",
        process: "Event.System.Execution.#attributes.ProcessID",
        fields: "Event.EventData.",
        moved: &[],
        first: "Event.EventData.Data.#text",
        last: "Event.EventData.Data.#text",
    },
    Places {
        id: &["winlog.event_id", "event.code"],
        channel: "winlog.channel",
        time: &["@timestamp"],
        host: &["winlog.computer_name"],
        level: "",
        process: "winlog.process.pid",
        fields: "winlog.event_data.",
        // By its module for the Security log, and by Elastic's agent.
        moved: &[
            ("IpAddress", "source.ip"),
            ("TargetUserName", "user.target.name"),
            ("TargetUserName", OF_LOGINS),
            ("TargetUserSid", "user.id"),
        ],
        first: "winlog.event_data.param1",
        last: "winlog.event_data.param3",
    },
    Places {
        id: &["EventID"],
        channel: "Channel",
        time: &["EventTime", "TimeCreated", "@timestamp"],
        host: &["Hostname", "Computer"],
        level: "",
        process: "ExecutionProcessID",
        fields: "",
        moved: &[],
        first: "",
        last: "Message",
    },
];

impl WindowsExport {
    /// A parser for stamps in the context's zone, where they have none.
    pub fn new(context: Context) -> Self {
        Self { wall: WallClock::new(context) }
    }

    fn event<'a>(
        &mut self,
        time: &[u8],
        host: &'a [u8],
        record: &Record<'a, impl Fn(&str) -> Option<&'a [u8]>>,
    ) -> Option<Event<'a>> {
        let time = rfc3339(time).or_else(|| self.wall.zoneless(time))?;
        let mut event = Event { host, ..Event::plain(Some(time), Category::System) };
        read_record(record, &mut event);
        Some(event)
    }

    fn xml<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let end = memmem::find(line, b"</Event>")?;
        // Of several on one line none may be passed over.
        line[end + 8..].trim_ascii().is_empty().then_some(())?;
        let data = memmem::find(line, b"</System>")?;
        let (system, data) = line.split_at(data);
        let field = |name: &str| match name {
            "ProcessID" => attribute(opening(system, "Execution")?.0, "ProcessID"),
            "Data" => content(data, |tag| tag.is_empty()),
            _ => content(data, |tag| attribute(tag, "Name") == Some(name.as_bytes())),
        };
        let part = |name| text_of(system, name).unwrap_or_default();
        let id = number(part("EventID"))?;
        let record = Record { id, channel: part("Channel"), level: part("Level"), text: data, field };
        let time = attribute(opening(system, "TimeCreated")?.0, "SystemTime")?;
        let event = self.event(time, part("Computer"), &record)?;
        Some(Event { user_escapes: event.user_escapes.within(Escape::Xml), ..event })
    }

    fn json<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        // Most objects are none, and reading one takes its time.
        [&b"EventID"[..], b"winlog"].iter().find(|name| memmem::find(line, name).is_some())?;
        let object: Object<'a> = object(std::str::from_utf8(line).ok()?)?;
        let part = |place: &str| value(&object, place).map(str::as_bytes);
        let first = |places: &[&str]| places.iter().find_map(|place| part(place));
        PLACES.iter().find_map(|places| {
            let id = places.id.iter().find_map(|place| number(part(place)?))?;
            let moved = |name: &str| {
                let places = places.moved.iter().filter(|(of, _)| *of == name);
                places.filter(|(_, to)| *to != OF_LOGINS || LOGINS.contains(&id)).find_map(|(_, to)| part(to))
            };
            let field = |name: &str| match name {
                "ProcessID" => part(places.process),
                "Data" => first_value(&object, places.first).map(str::as_bytes),
                _ => part(&[places.fields, name].concat()).or_else(|| moved(name)),
            };
            let level = part(places.level).unwrap_or_default();
            // Fields come in any order, and others than the last may hold whatever a client sent.
            let text = part(places.last).unwrap_or_default();
            let record = Record { id, channel: part(places.channel)?, level, text, field };
            // Without fields of their own other programs' objects may look alike.
            let is_sure = !places.fields.is_empty() || part(places.time[0]).is_some() || is_of_windows(record.channel);
            let event =
                is_sure.then(|| self.event(first(places.time)?, first(places.host).unwrap_or_default(), &record))??;
            Some(Event { user_escapes: event.user_escapes.within(Escape::JsonString), ..event })
        })
    }
}

/// Whether a log of this name is one of Windows.
fn is_of_windows(channel: &[u8]) -> bool {
    matches!(channel, b"Security" | b"System" | b"Application" | b"Setup" | b"Windows PowerShell")
        || channel.contains(&b'/')
}

impl Parser for WindowsExport {
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        // Browsers show a hyphen before what they can fold, and people copy it.
        let line = line.strip_prefix(b"- ").unwrap_or(line).trim_ascii_start();
        match line.first()? {
            b'<' if line.starts_with(b"<Event>") || line.starts_with(b"<Event ") => self.xml(line),
            b'{' => self.json(line),
            _ => None,
        }
    }
}

/// What the first opening tag of this name holds besides the name, and what follows the tag.
fn opening<'a>(xml: &'a [u8], name: &str) -> Option<(&'a [u8], &'a [u8])> {
    let mut rest = xml;
    loop {
        rest = &rest[memchr::memchr(b'<', rest)? + 1..];
        let Some(inner) = rest.strip_prefix(name.as_bytes()) else { continue };
        if matches!(inner.first()?, b' ' | b'>' | b'/') {
            let end = memchr::memchr(b'>', inner)?;
            return Some((&inner[..end], &inner[end + 1..]));
        }
    }
}

/// The text in the first element of this name; nothing where that is empty.
fn text_of<'a>(xml: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (tag, rest) = opening(xml, name)?;
    (!tag.ends_with(b"/")).then_some(&rest[..memchr::memchr(b'<', rest)?])
}

/// The text in the first `Data` element whose tag is like this; of what it may hold, nothing begins with `<`.
fn content(mut xml: &[u8], is_it: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
    loop {
        let (tag, rest) = opening(xml, "Data")?;
        if is_it(tag) && !tag.ends_with(b"/") {
            return Some(&rest[..memchr::memchr(b'<', rest)?]);
        }
        xml = rest;
    }
}

/// The value of an attribute in a tag.
fn attribute<'a>(tag: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let start = memmem::find(tag, [" ", name, "="].concat().as_bytes())? + name.len() + 2;
    let (quote, rest) = tag[start..].split_first()?;
    matches!(quote, b'"' | b'\'').then_some(&rest[..memchr::memchr(*quote, rest)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Action;
    use crate::model::event::Shape;
    use crate::parse::YearRule;

    const FAILED: Action = Action::LoginFailed { times: 1, shape: Shape::Explicit };

    /// What a line tells: when, where, what, who and from where.
    fn read(line: &str) -> Option<(i64, String, Action, String, String)> {
        let context = Context { zone: chrono_tz::Europe::Berlin, year: YearRule::From(2026) };
        let mut parser = WindowsExport::new(context);
        let event = parser.parse(line.as_bytes())?;
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let (user, peer) = (event.user.map(text), event.peer.map(|peer| peer.to_string()));
        Some((event.time?, text(event.host), event.action, user.unwrap_or_default(), peer.unwrap_or_default()))
    }

    fn failed_at_ten(user: &str, peer: &str) -> Option<(i64, String, Action, String, String)> {
        Some((1_795_168_805, "WIN-1".to_owned(), FAILED, user.to_owned(), peer.to_owned()))
    }

    fn xml(id: u32, channel: &str, data: &str) -> String {
        format!(
            "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='x'/>\
             <EventID Qualifiers='0'>{id}</EventID><Level>0</Level><TimeCreated SystemTime='2026-11-20T10:00:05.1234567Z'/>\
             <Execution ProcessID='712' ThreadID='3'/><Channel>{channel}</Channel><Computer>WIN-1</Computer><Security/></System>\
             <EventData>{data}</EventData></Event>"
        )
    }

    #[test]
    fn a_failed_login_in_xml_is_one() {
        let data = "<Data Name='SubjectUserName'>-</Data><Data Name='Empty'/><Data Name='TargetUserName'>eve</Data>\
                    <Data Name='IpAddress'>192.0.2.7</Data><Data Name='IpPort'>4711</Data>";
        let line = xml(4625, "Security", data);
        for line in [line.clone(), line.replace('\'', "\""), format!("- {line}"), format!("{line}\r")] {
            assert_eq!(read(&line), failed_at_ten("eve", "192.0.2.7"), "{line}");
        }
        let forged = data.replace("eve", "&lt;Data Name='IpAddress'&gt;203.0.113.9 [CLIENT: 203.0.113.9]");
        assert_eq!(read(&xml(4625, "Security", &forged)).unwrap().4, "192.0.2.7");
        let server = "<Data>sa</Data><Data> Reason: no.</Data><Data> [CLIENT: 192.0.2.8]</Data><Binary>18</Binary>";
        assert_eq!(read(&xml(18456, "Application", server)), failed_at_ten("sa", "192.0.2.8"));
        let sshd = "<Data Name='process'>sshd</Data><Data Name='payload'>Failed password for eve from 192.0.2.7 port 1 ssh2</Data>";
        assert_eq!(read(&xml(4, "OpenSSH/Operational", sshd)), failed_at_ten("eve", "192.0.2.7"));
        assert_eq!(read(&xml(4672, "Security", data)).unwrap().2, Action::Other);
    }

    #[test]
    fn a_failed_login_in_json_is_one() {
        let fields = r#""TargetUserName":"eve","LogonType":"3","IpAddress":"192.0.2.7""#;
        let (zulu, local) = ("2026-11-20T10:00:05.123Z", "2026-11-20 11:00:05");
        for line in [
            format!(
                r##"{{"Event":{{"#attributes":{{"xmlns":"x"}},"System":{{"EventID":4625,"Level":0,"Channel":"Security","Computer":"WIN-1","TimeCreated":{{"#attributes":{{"SystemTime":"{zulu}"}}}}}},"EventData":{{{fields}}}}}}}"##
            ),
            format!(
                r##"{{"Event":{{"System":{{"EventID":{{"#attributes":{{"Qualifiers":0}},"#text":4625}},"Channel":"Security","Computer":"WIN-1","TimeCreated":{{"#attributes":{{"SystemTime":"{zulu}"}}}}}},"EventData":{{{fields}}}}}}}"##
            ),
            format!(
                r#"{{"@timestamp":"{zulu}","event":{{"code":"4625"}},"message":"An account failed to log on.","winlog":{{"channel":"Security","computer_name":"WIN-1","event_id":"4625","event_data":{{{fields}}}}}}}"#
            ),
            format!(
                r#"{{"@timestamp":"{zulu}","source":{{"ip":"192.0.2.7"}},"user":{{"name":"eve","id":"S-1-0-0"}},"winlog":{{"channel":"Security","computer_name":"WIN-1","event_id":4625,"event_data":{{"LogonType":"3"}}}}}}"#
            ),
            format!(r#"{{"EventTime":"{local}","Hostname":"WIN-1","EventID":4625,"Channel":"Security",{fields}}}"#),
            format!(
                r#"{{"TimeCreated":"{zulu}","@timestamp":"2026-11-20T10:00:09Z","Computer":"WIN-1","EventID":4625,"Channel":"Security",{fields}}}"#
            ),
        ] {
            assert_eq!(read(&line), failed_at_ten("eve", "192.0.2.7"), "{line}");
        }
        let locked = format!(
            r#"{{"@timestamp":"{zulu}","user":{{"name":"WIN-1$","target":{{"name":"eve"}}}},"winlog":{{"channel":"Security","event_id":4740,"event_data":{{}}}}}}"#
        );
        let (_, _, action, user, _) = read(&locked).unwrap();
        assert_eq!((action, user.as_str()), (Action::LockedOut, "eve"));
        assert_eq!(read(&locked.replace(r#","target":{"name":"eve"}"#, "")).unwrap().3, "", "by whom is told only");
        let server = format!(
            r#"{{"@timestamp":"{zulu}","winlog":{{"channel":"Application","computer_name":"WIN-1","event_id":18456,"event_data":{{"param1":"x [CLIENT: 203.0.113.9]","param2":" Reason: no.","param3":" [CLIENT: 192.0.2.8]"}}}}}}"#
        );
        assert_eq!(read(&server), failed_at_ten("x [CLIENT: 203.0.113.9]", "192.0.2.8"));
        let (first, last) = (r#""param1":"x [CLIENT: 203.0.113.9]""#, r#""param3":" [CLIENT: 192.0.2.8]""#);
        let turned = server.replace(first, "FIRST").replace(last, first).replace("FIRST", last);
        assert_eq!(read(&turned).unwrap().4, "192.0.2.8", "in any order: {turned}");
        for account in ["sa", "x [CLIENT: 203.0.113.9]"] {
            let dumped = format!(
                r##"{{"Event":{{"System":{{"EventID":{{"#attributes":{{"Qualifiers":49152}},"#text":18456}},"Level":0,"Channel":"Application","Computer":"WIN-1","TimeCreated":{{"#attributes":{{"SystemTime":"{zulu}"}}}}}},"EventData":{{"Data":{{"#text":["{account}"," Reason: no."," [CLIENT: 192.0.2.8]"]}}}}}}}}"##
            );
            assert_eq!(read(&dumped), failed_at_ten(account, "192.0.2.8"));
            let nxlog = |said: &str| {
                let head =
                    format!(r#""EventTime":"{local}","Hostname":"WIN-1","EventID":18456,"Channel":"Application""#);
                read(&format!(r#"{{{head},"SourceName":"MSSQLSERVER","Message":"{said}. [CLIENT: 192.0.2.8]"}}"#))
            };
            for words in ["Login failed for user", "Échec de l'ouverture de session de l'utilisateur"] {
                let said = format!("{words} '{account}'. Reason: no");
                assert_eq!(nxlog(&said), failed_at_ten(account, "192.0.2.8"), "{said}");
                let ended = format!("{words} '{account}'. Reason: x'. Reason: no");
                assert_eq!(nxlog(&ended), failed_at_ten("", "192.0.2.8"), "a client may have ended the name");
            }
            let alone = dumped.replace(r#"," Reason: no."," [CLIENT: 192.0.2.8]"]"#, "]");
            assert_eq!(read(&alone).unwrap().4, "", "the client's name is not where it is: {alone}");
        }
    }

    #[test]
    fn what_is_no_event_is_not_understood() {
        let line = xml(4625, "Security", "<Data Name='TargetUserName'>eve</Data>");
        for line in [
            // Of two the second would be passed over.
            [&*line, &*line].concat(),
            line.replace("</Event>", ""),
            line.replace("SystemTime", "x"),
            line.replace("EventID", "x"),
            "<Event>".to_owned(),
            "<Event></Event>".to_owned(),
            r#"{"EventID":4625,"EventTime":"2026-11-20 10:00:05"}"#.to_owned(),
            r#"{"EventID":4625,"Channel":"Security","EventTime":"yesterday"}"#.to_owned(),
            r#"{"EventID":7,"Channel":"web","@timestamp":"2026-11-20T10:00:05Z","status":401}"#.to_owned(),
            r#"{"time":"2026-11-20T10:00:05Z","body":{"EventID":4625,"Channel":"Security"}}"#.to_owned(),
        ] {
            assert_eq!(read(&line), None, "{line}");
        }
    }
}
