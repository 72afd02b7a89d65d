//! Log formats as configured.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Category;
use super::run::words;

/// What the lines of a log may look like.
#[derive(Debug, Clone)]
pub enum Formats {
    /// This and nothing else, because the configuration says so.
    Only(Arc<Format>),
    /// Whatever is built in, and what [is recognised](Format::is_recognised) of these; the first that fits counts.
    Known(Vec<Arc<Format>>),
}

impl Default for Formats {
    fn default() -> Self {
        Self::Known(Vec::new())
    }
}

/// A log format as configured in `config/formats/NAME.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// The file name without `.toml`.
    pub name: String,
    /// What kind of log it is.
    pub category: Category,
    /// How stamps are written, in the words of
    /// [chrono](https://docs.rs/chrono/latest/chrono/format/strftime/index.html); any known way where this is absent.
    pub time: Option<String>,
    /// Whose word about the client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The kinds of lines; the first that fits counts.
    pub lines: Vec<LineFormat>,
}

impl Format {
    /// Whether a line tells by itself that it is of this format: a JSON object that holds a time, an address and a status where
    /// the format says, or has what tells the format of a login. Anything else could as well be part of another log's line.
    pub fn is_recognised(&self) -> bool {
        let tells = |line: &LineFormat| {
            let tells_of_login = matches!(line.tells, Some(Tells::LoginFailed | Tells::LoginSucceeded));
            let has_meaning = !line.conditions.is_empty() && tells_of_login;
            matches!(line.layout, Layout::Json(_))
                && [Part::Time, Part::SourceIp].iter().all(|part| line.layout.holds(*part))
                && (has_meaning || line.layout.holds(Part::Status))
        };
        self.lines.iter().all(tells)
    }
}

/// A kind of line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFormat {
    /// How it looks.
    pub layout: Layout,
    /// How its stamp is written, as [`Format::time`], where the layout tells.
    pub time: Option<String>,
    /// Which JSON objects are such lines: what each of these places holds (of a list the last) is one of the values, of which those
    /// that end in `*` are beginnings.
    pub conditions: BTreeMap<String, Vec<String>>,
    /// What kind of log it belongs to, where that is not the format's.
    pub category: Option<Category>,
    /// What such a line tells; where this is absent, a request if there is a status, and else nothing that rules count.
    pub tells: Option<Tells>,
}

/// How a line looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// A regular expression for the whole line, with groups named like [`Part`]s.
    Regex(String),
    /// A JSON object: where each part is, as `request.remote_ip`; of several places the first that holds something.
    Json(BTreeMap<Part, Vec<String>>),
}

impl Layout {
    /// Whether such lines have this part.
    pub fn holds(&self, part: Part) -> bool {
        match self {
            Self::Regex(text) => text.contains(&format!("<{part}>")),
            Self::Json(places) => places.contains_key(&part),
        }
    }
}

words! {
    /// What lines of a kind tell.
    Tells {
        /// Somebody failed to log in.
        LoginFailed = "login-failed",
        /// Somebody logged in.
        LoginSucceeded = "login-succeeded",
        /// Something went wrong that an administrator should see.
        Error = "error",
        /// Nothing that rules count.
        Nothing = "nothing",
    }
}

words! {
    /// A part of a line, named as in the Elastic Common Schema where that has a name for it.
    Part {
        /// The stamp.
        Time = "time",
        /// Who caused it.
        SourceIp = "source.ip",
        /// For whom a proxy asked: `X-Forwarded-For`.
        ForwardedFor = "forwarded.for",
        /// The account.
        UserName = "user.name",
        /// The host that wrote the line.
        HostName = "host.name",
        /// Method, path and protocol in one piece.
        Request = "http.request",
        /// The method of a request.
        Method = "http.method",
        /// The path of a request.
        Path = "url.path",
        /// The HTTP status.
        Status = "http.status",
    }
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 9] = [
        Self::Time,
        Self::SourceIp,
        Self::ForwardedFor,
        Self::UserName,
        Self::HostName,
        Self::Request,
        Self::Method,
        Self::Path,
        Self::Status,
    ];
}
