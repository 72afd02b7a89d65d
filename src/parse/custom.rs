//! Formats described in the configuration.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime};
use ipnet::IpNet;
use regex::bytes::{CaptureLocations, Regex};

use super::access::stamp;
use super::json::{Object, mended as mended_json, object, value};
use super::time::{WallClock, rfc3339};
use super::{Context, Parser, joined};
use crate::model::event::{Escape, Escapes, Shape};
use crate::model::format::{Format, Layout, LineFormat, Part, Tells};
use crate::model::peer::parse_ip;
use crate::model::{Action, Category, Event, Peer};

/// The parser.
pub struct Custom {
    trusted: Vec<IpNet>,
    wall: WallClock,
    lines: Vec<Line>,
    /// When the line was said that is being read, for those that don't tell.
    said_at: Option<i64>,
    /// Whether lines are only understood that tell by themselves that they are of this format.
    is_recognised: bool,
}

/// A kind of line.
struct Line {
    kind: Kind,
    /// How the stamp is written; any known way where this is absent.
    time: Option<String>,
    /// Places of a JSON object, and what they hold in such lines.
    conditions: Vec<(String, Vec<String>)>,
    reader: Reader,
}

/// What is known of a line by its kind.
#[derive(Clone, Copy)]
struct Kind {
    tells: Option<Tells>,
    category: Category,
    /// Whether it says by itself what kind it is.
    is_told: bool,
}

enum Reader {
    Regex {
        regex: Regex,
        groups: Vec<(Part, usize)>,
        found: CaptureLocations,
    },
    /// Where each part may stand, each with the names of the objects on the way.
    Json(Vec<(Part, Vec<String>)>),
}

/// What was found of each part, by its number.
type Parts<'a> = [Option<&'a [u8]>; Part::ALL.len()];

impl Custom {
    /// A parser for lines that are known to be of this format.
    pub fn configured(format: &Format, context: Context) -> Self {
        Self { is_recognised: false, ..Self::recognised(format, context) }
    }

    /// A parser for lines of this format among others.
    pub fn recognised(format: &Format, context: Context) -> Self {
        let line = |known: &LineFormat| {
            let conditions = known.conditions.clone().into_iter().collect();
            let category = known.category.unwrap_or(format.category);
            let kind = Kind { tells: known.tells, category, is_told: !known.conditions.is_empty() };
            let time = format.time.as_ref().or(known.time.as_ref()).cloned();
            Some(Line { kind, time, conditions, reader: Reader::new(&known.layout)? })
        };
        Self {
            trusted: format.trusted_proxies.clone(),
            wall: WallClock::new(context),
            lines: format.lines.iter().filter_map(line).collect(),
            said_at: None,
            is_recognised: true,
        }
    }

    /// The event of a message that was said at that time, which counts where it doesn't tell a time that is known.
    pub fn parse_said_at<'a>(&mut self, message: &'a [u8], time: i64) -> Option<Event<'a>> {
        self.said_at = Some(time);
        let event = self.parse(message);
        self.said_at = None;
        event
    }

    /// Parsers of those formats that are recognised.
    pub fn all_recognised(formats: &[Arc<Format>], context: Context) -> Vec<Self> {
        formats.iter().filter(|format| format.is_recognised()).map(|format| Self::recognised(format, context)).collect()
    }

    fn event<'a>(&mut self, line: &'a [u8], parts: &Parts<'a>, index: usize) -> Option<Event<'a>> {
        let Line { kind, reader, .. } = &self.lines[index];
        let escape = if matches!(reader, Reader::Json(_)) { Escape::JsonString } else { Escape::WebServer };
        let kind = *kind;
        let part = |part: Part| parts[part as usize].filter(|value| is_something(value));
        let status = part(Part::Status).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        let status = status.filter(|status| (100..600).contains(status));
        let action = match (kind.tells, status) {
            (Some(Tells::LoginFailed), _) => Action::LoginFailed { times: 1, shape: Shape::Explicit },
            (Some(Tells::LoginSucceeded), _) => Action::LoginSucceeded { by_key: false },
            (Some(Tells::Error), _) => Action::ErrorLogged,
            (Some(Tells::Nothing), _) | (None, None) => Action::Other,
            (None, Some(status)) => Action::Request { status },
        };
        let request = match (part(Part::Request), part(Part::Method), part(Part::Path)) {
            (Some(request), ..) => request,
            // They are one piece of the line where they stand side by side.
            (None, Some(method), Some(path)) => joined(line, method, path).unwrap_or(path),
            (None, _, path) => path.unwrap_or_default(),
        };
        // Some write JSON with slashes escaped.
        let request = if request.starts_with(b"\\/") { &request[1..] } else { request };
        let peer = part(Part::SourceIp).map(without_port).and_then(Peer::read);
        // Of a client that went before it was answered Caddy writes the status 0.
        let is_answer = status.is_some() || part(Part::Status) == Some(b"0");
        let is_told = is_answer || kind.is_told && kind.tells.is_some();
        if self.is_recognised && !(is_told && peer.is_some_and(|peer| peer.ip().is_some())) {
            return None;
        }
        let time = part(Part::Time).and_then(|text| self.instant(text, index)).or(self.said_at)?;
        Some(Event {
            action,
            peer: self.client(peer, part(Part::ForwardedFor)),
            user: part(Part::UserName),
            user_escapes: Escapes::with_backslashes(escape, part(Part::UserName)),
            request,
            is_post: part(Part::Method) == Some(b"POST"),
            host: part(Part::HostName).unwrap_or_default(),
            ..Event::plain(Some(time), kind.category)
        })
    }

    /// Who really asked: what trusted proxies say, each of the one before it.
    fn client<'a>(&self, peer: Option<Peer<'a>>, forwarded: Option<&'a [u8]>) -> Option<Peer<'a>> {
        let is_trusted = |ip: IpAddr| self.trusted.iter().any(|network| network.contains(&ip));
        let mut client = peer?;
        for hop in forwarded.into_iter().flat_map(|list| list.rsplit(|byte| *byte == b',')) {
            if !client.ip().is_some_and(is_trusted) {
                break;
            }
            // What is no address ends the chain: whoever wrote it may have invented the rest.
            let Some(ip) = parse_ip(without_port(hop.trim_ascii())) else { break };
            client = Peer::Ip(ip);
        }
        Some(client)
    }

    fn instant(&mut self, text: &[u8], index: usize) -> Option<i64> {
        let Some(format) = &self.lines[index].time else { return known_stamp(&mut self.wall, text) };
        let text = std::str::from_utf8(text).ok()?;
        if let Ok(instant) = DateTime::parse_from_str(text, format) {
            return Some(instant.timestamp());
        }
        let local = NaiveDateTime::parse_from_str(text, format).ok()?;
        // chrono reads these, and makes nothing of them.
        if ["Z", "UTC", "GMT", "+0000", "+00:00"].iter().any(|zone| text.ends_with(zone)) {
            return Some(local.and_utc().timestamp());
        }
        self.wall.local(local)
    }
}

/// RFC 3339, with or without a zone, the stamp of access logs, or seconds (or thousandths, millionths or billionths) since 1970.
pub fn known_stamp(wall: &mut WallClock, text: &[u8]) -> Option<i64> {
    let text = text.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(text);
    rfc3339(text).or_else(|| wall.zoneless(text)).or_else(|| stamp(text)).or_else(|| since_1970(text))
}

impl Parser for Custom {
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let (strict, mended, lenient) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let object = || {
            let strict = strict.get_or_init(|| std::str::from_utf8(line).ok().and_then(object)).as_ref();
            let mended = || mended.get_or_init(|| mended_json(line)).as_deref();
            strict.or_else(|| lenient.get_or_init(|| mended().and_then(object)).as_ref())
        };
        // What was mended stands where it stood.
        let in_line = |text: &str| {
            let within = |whole: &[u8]| {
                let start = text.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
                line.get(start..start + text.len())
            };
            within(line).or_else(|| within(mended.get()?.as_ref()?.as_bytes())).unwrap_or_default()
        };
        for index in 0..self.lines.len() {
            let mut parts = Parts::default();
            let Line { conditions, reader, .. } = &mut self.lines[index];
            let holds = |(place, values): &(String, Vec<String>)| {
                let found = object().and_then(|object| value(object, place));
                found.is_some_and(|found| values.iter().any(|value| is_value(found, value)))
            };
            if conditions.iter().all(holds)
                && reader.read(line, object, in_line, &mut parts)
                && let Some(event) = self.event(line, &parts, index)
            {
                return Some(event);
            }
        }
        None
    }
}

impl Reader {
    /// None where the expression doesn't compile, which the configuration has made sure of.
    fn new(layout: &Layout) -> Option<Self> {
        Some(match layout {
            Layout::Regex(text) => {
                let regex = Regex::new(text).ok()?;
                let names = regex.capture_names().enumerate();
                let groups = names.filter_map(|(index, name)| Some((name?.parse().ok()?, index))).collect();
                Self::Regex { found: regex.capture_locations(), regex, groups }
            }
            Layout::Json(places) => Self::Json(places.clone().into_iter().collect()),
        })
    }

    /// Finds the parts of a line; false where it is no such line. `in_line` gives a text of the object as it stands in the line.
    fn read<'a, 'o>(
        &mut self,
        line: &'a [u8],
        object: impl Fn() -> Option<&'o Object<'o>>,
        in_line: impl Fn(&str) -> &'a [u8],
        parts: &mut Parts<'a>,
    ) -> bool {
        match self {
            Self::Regex { regex, groups, found } => {
                if regex.captures_read(found, line).is_none() {
                    return false;
                }
                for (part, group) in groups {
                    parts[*part as usize] = found.get(*group).map(|(start, end)| &line[start..end]);
                }
                true
            }
            Self::Json(places) => {
                let Some(object) = object() else { return false };
                for (part, places) in places {
                    parts[*part as usize] = places
                        .iter()
                        .filter_map(|place| value(object, place))
                        .map(&in_line)
                        .find(|value| is_something(value));
                }
                true
            }
        }
    }
}

/// Whether what was found is this value, or begins as it does where it ends in `*`.
fn is_value(found: &str, value: &str) -> bool {
    // Some write slashes, or letters, with a backslash.
    let plain: Option<String> =
        if found.contains('\\') { serde_json::from_str(&format!("\"{found}\"")).ok() } else { None };
    let found: &str = plain.as_deref().unwrap_or(found);
    is_something(found.as_bytes())
        && value.strip_suffix('*').map_or(found == value, |beginning| found.starts_with(beginning))
}

/// Whether a value holds anything.
fn is_something(value: &[u8]) -> bool {
    !matches!(value, b"" | b"-" | b"null" | b"\"\"")
}

/// An address without the port behind it: `192.0.2.7:443`, `[2001:db8::1]:443`.
fn without_port(text: &[u8]) -> &[u8] {
    if let Some(rest) = text.strip_prefix(b"[") {
        return memchr::memchr(b']', rest).map_or(text, |end| &rest[..end]);
    }
    match memchr::memchr(b':', text) {
        Some(at) if memchr::memchr(b':', &text[at + 1..]).is_none() => &text[..at],
        _ => text,
    }
}

/// `1761019822`, `1761019822.315`, `1761019822315` and `1761019822315275`; no log is from before 1973, so that `27.11.2026` is none.
fn since_1970(text: &[u8]) -> Option<i64> {
    let (whole, fraction) = text.split_at(memchr::memchr(b'.', text).unwrap_or(text.len()));
    let fraction = fraction.strip_prefix(b".").unwrap_or(fraction);
    if !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    let number: i64 = std::str::from_utf8(whole).ok()?.parse().ok()?;
    match whole.len() {
        9 | 10 => Some(number),
        13 => Some(number / 1000),
        16 => Some(number / 1_000_000),
        19 => Some(number / 1_000_000_000),
        _ => None,
    }
}
