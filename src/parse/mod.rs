//! Parsers: from a line to an event, one file per log format.
//!
//! To add a format: write its file and add a line to `FORMATS`.

mod access;
mod access_client;
mod apache_error;
mod collected;
mod container;
mod custom;
mod dropbear;
mod escapes;
mod journal;
mod json;
mod local;
mod marks;
mod messages;
mod nginx_error;
mod pam;
mod proxy_manager;
mod snare;
mod sshd;
mod sshd_file;
mod syslog;
mod syslog_head;
mod syslog_repeats;
mod syslog_stamp;
mod time;
mod w3c;
mod windows;
mod windows_export;

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use chrono_tz::Tz;

pub use time::YearRule;

use collected::Collected;
use custom::Custom;

use crate::model::event::Escapes;
use crate::model::untrusted::{without_filling, without_line_break};
use crate::model::{self, Action, Category, Event, Formats, Peer};

/// A parser of one log format. It may cache, but what it makes of a line depends on nothing but the line, its [`Context`] and
/// the header lines before (but for [`YearRule::From`]): any way of cutting a log gives the same events.
trait Parser: Send {
    /// The event of a line without its line break; `None` where the line is not of this format.
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>>;

    /// Whom the event is about that was parsed last, where its line only says that one before came again: the account, and what stood
    /// in its client's place but an address.
    fn told_before(&self) -> (Option<&[u8]>, Option<&[u8]>) {
        (None, None)
    }

    /// What the line that was parsed last asked of a web server, where its event doesn't tell because it stands in another way there.
    fn request(&self) -> &[u8] {
        b""
    }

    /// Whether what the last line told stood in JSON among what other programs say.
    fn is_in_json(&self) -> bool {
        false
    }

    /// Forgets what the last line told, which was another log's.
    fn forget_last(&mut self) {}

    /// Learns the name of the file that the lines are of.
    fn named(&mut self, _file: &str) {}

    /// The request that the first line of a text tells of, where that is of the plainest kind: what `parse` would
    /// make of it, in a fraction of the time.
    fn plain_request(&mut self, _text: &[u8]) -> Option<PlainRequest> {
        None
    }

    /// The time of a line where it can be told without reading all of it. Of a line that parses it is the event's.
    fn quick_time(&mut self, _line: &[u8]) -> Option<i64> {
        None
    }

    /// The lines before that say how the others are to be read, each with its line break.
    fn header(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Whether a line of this format means that the file is of it, so that no other one is tried: a line that somebody has spoilt
    /// must not be read as something that it isn't.
    fn is_sure(&self) -> bool {
        false
    }
}

/// A request of which nothing else is known: most lines of most access logs are one.
pub struct PlainRequest {
    /// When, in seconds since 1970 UTC.
    pub time: i64,
    /// Who asked.
    pub peer: Ipv4Addr,
    /// Where the request as it came stands in the line: its start and its length.
    pub request: (usize, usize),
    /// The HTTP status of the answer.
    pub status: u16,
    /// The length of the line with its line break.
    pub length: usize,
}

/// What a parser must know beyond the line.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The zone of stamps without one.
    pub zone: Tz,
    /// The year of stamps without one.
    pub year: YearRule,
}

/// A known format: its name and how to make its parser, given the formats of the configuration.
struct Format {
    name: &'static str,
    make: fn(Context, &[Arc<model::Format>]) -> Box<dyn Parser>,
}

const ACCESS: &str = "access";
const SYSLOG: &str = "syslog";
const NGINX_ERROR: &str = "nginx-error";

const FORMATS: [Format; 10] = [
    Format { name: ACCESS, make: |context, _| Box::new(access::Access::new(context)) },
    // Before syslog, for which a line of it without its header might be taken.
    Format { name: "w3c", make: |context, _| Box::new(w3c::W3c::new(context)) },
    // Before syslog as well, whose stamp may stand before anything.
    Format { name: "container", make: |context, formats| Box::new(container::Container::new(context, formats)) },
    Format { name: SYSLOG, make: |context, formats| Box::new(syslog::Syslog::new(context, formats)) },
    Format { name: NGINX_ERROR, make: |context, _| Box::new(nginx_error::NginxError::new(context)) },
    Format { name: "nginx-proxy-manager", make: |_, _| Box::new(proxy_manager::ProxyManager) },
    Format { name: "apache-error", make: |context, _| Box::new(apache_error::ApacheError::new(context)) },
    Format { name: "sshd", make: |context, _| Box::new(sshd_file::SshdFile::new(context)) },
    Format { name: "journal", make: |context, formats| Box::new(journal::Journal::new(context, formats)) },
    Format { name: "windows", make: |context, _| Box::new(windows_export::WindowsExport::new(context)) },
];

/// Stands before the header lines of a file that also has lines of other formats, of one with lines of an access log, and of one that is surely
/// of one format.
const MIXED: &str = "#Remark: mixed\n";
const WITH_REQUESTS: &str = "#Remark: requests\n";
const SURE: &str = "#Remark: sure ";

/// Parses lines of whatever known format. The format that fitted last is tried first, so detection costs
/// nothing on a log of one format and a mixed one loses no line.
pub struct AutoParser {
    /// Each with its name and how many lines it fitted.
    parsers: Vec<(String, Box<dyn Parser>, u64)>,
    current: usize,
    /// What is tried last, whichever fitted before: other formats know what else such lines hold. None where the configuration says the format.
    collected: Option<Collected>,
    /// How many lines that fitted.
    of_collected: u64,
    /// Whether no other one is tried.
    is_sure: bool,
    /// Whether that is so because the configuration says it.
    is_configured: bool,
    /// Whether a line fitted a parser which can't be sure.
    is_mixed: bool,
    /// Whether it holds lines of an access log, or its name says so: then what looks like one of syslog may be a visitor's, which stands in
    /// front of its request.
    has_requests: bool,
    /// Whether its name says that it is an error log.
    is_error_log: bool,
    /// Whether the event that was told last stood in JSON in a line of syslog, or an entry of the journal.
    is_in_json: bool,
    /// What the line asked of a web server that was told last, where it stands in another way there.
    request: Vec<u8>,
    /// The account of the event that was told last, where its line holds it in another way.
    account: Vec<u8>,
}

impl AutoParser {
    /// A parser for one file whose lines are of these formats.
    pub fn new(context: Context, formats: &Formats) -> Self {
        let mut parsers: Vec<(String, Box<dyn Parser>, u64)> = Vec::new();
        let mut collected = None;
        match formats {
            Formats::Only(format) => {
                parsers.push((format.name.clone(), Box::new(Custom::configured(format, context)), 0));
            }
            Formats::Known(recognised) => {
                collected = Some(Collected::new(context, recognised));
                parsers
                    .extend(FORMATS.iter().map(|known| (known.name.to_owned(), (known.make)(context, recognised), 0)));
                for format in recognised.iter().filter(|format| format.is_recognised()) {
                    parsers.push((format.name.clone(), Box::new(Custom::recognised(format, context)), 0));
                }
            }
        }
        let is_configured = matches!(formats, Formats::Only(_));
        Self {
            parsers,
            current: 0,
            collected,
            of_collected: 0,
            is_sure: is_configured,
            is_configured,
            is_mixed: false,
            has_requests: false,
            is_error_log: false,
            is_in_json: false,
            request: Vec::new(),
            account: Vec::new(),
        }
    }

    /// The same for a file of that name. Visitors can write lines of their own into nginx' error log, which holds decoded paths with
    /// their line breaks, but they can't name files: where one is called an error log, and begins as nginx' does, no line of it is
    /// taken for one of another log.
    pub fn named(mut self, file: &Path) -> Self {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let mut words = name.split(|letter: char| !letter.is_alphanumeric());
        self.is_error_log = name.contains("error")
            || words.any(|word| word == "err")
            || name.contains("nginx") && name.contains("stderr");
        self.has_requests = !self.is_configured && name.contains(ACCESS);
        self.parsers.iter_mut().for_each(|(_, parser, _)| parser.named(&name));
        self
    }

    /// Goes on in a file of which these header lines are known; they are `its_own`, or those of the file before it.
    pub fn continuing(mut self, header: &str, its_own: bool) -> Self {
        let known = if header.starts_with("#Remark: ") { header.find('\n').map_or(0, |end| end + 1) } else { 0 };
        let (known, header) = header.split_at(known);
        for line in header.lines() {
            let _ = self.parse(line.as_bytes());
        }
        self.parsers.iter_mut().for_each(|(_, _, fitted)| *fitted = 0);
        // Of the file before it is the same log.
        self.has_requests |= known == WITH_REQUESTS;
        if its_own {
            let sure = known.strip_prefix(SURE).map(str::trim_end);
            let sure = sure.and_then(|sure| self.parsers.iter().position(|(name, ..)| name == sure));
            self.is_sure |= sure.is_some();
            self.current = sure.unwrap_or(self.current);
            self.is_mixed |= matches!(known, MIXED | WITH_REQUESTS);
        }
        self
    }

    /// The header lines that the next ones depend on, and what is known of the file's format.
    pub fn header(&self) -> String {
        let headers: Vec<u8> = self.parsers.iter().flat_map(|(_, parser, _)| parser.header()).collect();
        let known = match (self.is_sure && !self.is_configured, self.is_mixed) {
            (true, _) => format!("{SURE}{}\n", self.parsers[self.current].0),
            _ if self.has_requests => WITH_REQUESTS.to_owned(),
            (false, true) => MIXED.to_owned(),
            (false, false) => String::new(),
        };
        known + &String::from_utf8_lossy(&headers)
    }

    /// The event of a line; `None` where no format fits. The line may end in CR, LF or both. The account is told without escapes. Of one that
    /// says that the line before came again the texts are that line's.
    pub fn parse<'a>(&'a mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let mut event = self.parse_alone(line)?;
        if event.request.is_empty() {
            event.request = &self.request;
        }
        if let Some(user) = event.user {
            if event.user_escapes == Escapes::NONE {
                return Some(event);
            }
            self.account = escapes::plain(user, event.user_escapes).into_owned();
            return Some(Event { user: Some(&self.account), user_escapes: Escapes::NONE, ..event });
        }
        if !matches!(event.action, Action::LoginFailed { .. }) {
            return Some(event);
        }
        let (user, name) = self.parsers[self.current].1.told_before();
        Some(Event { user, peer: event.peer.or(name.map(Peer::Name)), ..event })
    }

    fn parse_alone<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let line = without_line_break(without_filling(line));
        let tried = if self.is_sure { 1 } else { self.parsers.len() };
        for step in 0..tried {
            let index = self.current + step;
            let index = if index < self.parsers.len() { index } else { index - self.parsers.len() };
            let (name, parser, fitted) = &mut self.parsers[index];
            if let Some(event) = parser.parse(line) {
                // Of formats that are recognised the first that fits counts, whichever fitted before.
                self.current = if self.is_configured { index } else { index.min(FORMATS.len()) };
                *fitted += 1;
                self.is_in_json = parser.is_in_json();
                note_request(&mut self.request, &event, &**parser);
                let is_visitors = self.has_requests && name == SYSLOG && event.category != Category::Access;
                let request = if is_visitors { access::of_nobody(line) } else { None };
                if request.is_some() {
                    parser.forget_last();
                }
                let event = request.unwrap_or(event);
                self.has_requests |= name == ACCESS && !self.is_configured;
                // A header alone may be part of a message in another log.
                if !self.is_mixed && !line.starts_with(b"#") {
                    let is_sure = parser.is_sure() || self.is_error_log && name == NGINX_ERROR;
                    self.is_sure |= is_sure;
                    self.is_mixed = !is_sure;
                }
                return Some(event);
            }
        }
        let collected = self.collected.as_mut().filter(|_| !self.is_sure)?;
        let event = collected.parse(line)?;
        self.is_in_json = collected.is_in_json();
        note_request(&mut self.request, &event, collected);
        self.of_collected += 1;
        self.is_mixed = true;
        Some(event)
    }

    /// The request that the first line of a text tells of, where it is of the plainest kind and others came before;
    /// where there is none the line is one for [`AutoParser::parse`].
    #[inline]
    pub fn plain_request(&mut self, text: &[u8]) -> Option<PlainRequest> {
        if !self.is_mixed {
            return None;
        }
        let (_, parser, fitted) = &mut self.parsers[self.current];
        let found = parser.plain_request(text)?;
        *fitted += 1;
        self.has_requests = true;
        Some(found)
    }

    /// The time of a line, as [`AutoParser::parse`] would tell it, and faster where nothing else is asked.
    pub fn time(&mut self, line: &[u8]) -> Option<i64> {
        let (_, parser, _) = &mut self.parsers[self.current];
        parser.quick_time(line).or_else(|| self.parse(line)?.time)
    }

    /// Whether the event that was told last stood in JSON in a line of syslog, or an entry of the journal, where what other programs say stands,
    /// too.
    pub fn is_in_json(&self) -> bool {
        self.is_in_json
    }

    /// The format that fitted most lines; `unknown` where none fitted any.
    pub fn format(&self) -> &str {
        let most = self.parsers.iter().rev().max_by_key(|(_, _, fitted)| fitted);
        let most = most.filter(|(_, _, fitted)| *fitted > self.of_collected).map(|(name, ..)| name.as_str());
        most.unwrap_or(if self.of_collected > 0 { "collected" } else { "unknown" })
    }
}

/// Takes over what a parser says besides the event that was asked of a web server; nothing where that tells.
fn note_request(request: &mut Vec<u8>, event: &Event<'_>, parser: &dyn Parser) {
    request.clear();
    if matches!(event.action, Action::Request { .. }) && event.request.is_empty() {
        request.extend_from_slice(parser.request());
    }
}

/// Two neighbouring words of a line in one piece, with the blank between them; none where they don't stand side by side.
fn joined<'a>(line: &'a [u8], first: &[u8], second: &[u8]) -> Option<&'a [u8]> {
    let start = first.as_ptr().addr().checked_sub(line.as_ptr().addr())?;
    let end = second.as_ptr().addr().checked_sub(line.as_ptr().addr())? + second.len();
    let whole = line.get(start..end)?;
    (whole.len() == first.len() + 1 + second.len() && whole.get(first.len()) == Some(&b' ')).then_some(whole)
}
