//! Parsers: from a line to an event, one file per log format.
//!
//! To add a format: write its file and add a line to `FORMATS`.

mod access;
mod apache_error;
mod local;
mod nginx_error;
mod sshd;
mod syslog;
mod time;
mod w3c;
mod windows;

use chrono_tz::Tz;

pub use time::YearRule;

use crate::model::Event;
use crate::model::untrusted::without_line_break;

/// A parser of one log format. It may cache, but what it makes of a line depends on nothing but the line, its [`Context`] and
/// the header lines before: any way of cutting a log gives the same events.
trait Parser: Send {
    /// The event of a line without its line break; `None` where the line is not of this format.
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>>;

    /// The lines before that say how the others are to be read, each with its line break.
    fn header(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// What a parser must know beyond the line.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The zone of stamps without one.
    pub zone: Tz,
    /// The year of stamps without one.
    pub year: YearRule,
}

/// A known format: its name and how to make its parser.
struct Format {
    name: &'static str,
    make: fn(Context) -> Box<dyn Parser>,
}

const FORMATS: [Format; 5] = [
    Format { name: "access", make: |_| Box::new(access::Access::default()) },
    Format { name: "syslog", make: |context| Box::new(syslog::Syslog::new(context)) },
    Format { name: "nginx-error", make: |context| Box::new(nginx_error::NginxError::new(context)) },
    Format { name: "apache-error", make: |context| Box::new(apache_error::ApacheError::new(context)) },
    Format { name: "w3c", make: |_| Box::new(w3c::W3c::default()) },
];

/// Parses lines of whatever known format. The format that fitted last is tried first, so detection costs
/// nothing on a log of one format and a mixed one loses no line.
pub struct AutoParser {
    parsers: Vec<Box<dyn Parser>>,
    fitted: [u64; FORMATS.len()],
    current: usize,
}

impl AutoParser {
    /// A parser for one file.
    pub fn new(context: Context) -> Self {
        let parsers = FORMATS.iter().map(|format| (format.make)(context)).collect();
        Self { parsers, fitted: [0; FORMATS.len()], current: 0 }
    }

    /// Goes on in a file of which these header lines are known.
    pub fn continuing(mut self, header: &str) -> Self {
        for line in header.lines() {
            let _ = self.parse(line.as_bytes());
        }
        self
    }

    /// The header lines that the next ones depend on.
    pub fn header(&self) -> String {
        let headers: Vec<u8> = self.parsers.iter().flat_map(|parser| parser.header()).collect();
        String::from_utf8_lossy(&headers).into_owned()
    }

    /// The event of a line; `None` where no format fits. The line may end in CR, LF or both.
    pub fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let line = without_line_break(line);
        for step in 0..self.parsers.len() {
            let index = (self.current + step) % self.parsers.len();
            if let Some(event) = self.parsers[index].parse(line) {
                self.current = index;
                self.fitted[index] += 1;
                return Some(event);
            }
        }
        None
    }

    /// The format that fitted most lines; `unknown` where none fitted any.
    pub fn format(&self) -> &'static str {
        let most = self.fitted.iter().enumerate().max_by_key(|(index, fitted)| (**fitted, usize::MAX - index));
        most.filter(|(_, fitted)| **fitted > 0).map_or("unknown", |(index, _)| FORMATS[index].name)
    }
}
