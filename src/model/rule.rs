//! Rules: detections as configured.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::event::Shape;
use super::{Action, Category, Counted, Event, Peer, Problem, Severity, Subject};

/// A detection as configured in `config/rules/NAME.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The file name without `.toml`.
    pub name: String,
    /// How much its findings matter.
    pub severity: Severity,
    /// What a finding means, in a sentence.
    pub meaning: String,
    /// What to do about it, in a sentence.
    pub advice: String,
    /// Techniques of MITRE ATT&CK that a finding may tell of, as `T1110.003` (<https://attack.mitre.org/techniques>).
    pub attack: Vec<Technique>,
    /// Who alone is counted; everybody where there is none.
    pub only: Vec<Who>,
    /// Who is never counted.
    pub allow: Vec<Who>,
    /// Whom to alert instead of those that the job names: recipient groups, addresses and channels.
    pub alert: Option<Vec<String>>,
    /// How long the same subject is not alerted about again.
    pub cooldown: Duration,
    /// After how long a quiet time further events make a new finding instead of growing the old one.
    pub merge: Duration,
    /// What is looked for; the kind is the name of the table in the file.
    pub kind: RuleKind,
}

impl Rule {
    /// How many make a finding, where what its findings count grows one by one; else 1.
    pub fn threshold(&self) -> u64 {
        match self.kind {
            RuleKind::Count { threshold, .. }
            | RuleKind::Distinct { threshold, .. }
            | RuleKind::Sequence { threshold, .. }
            | RuleKind::Pattern { threshold, .. }
            | RuleKind::Spike { threshold, .. } => threshold.into(),
            RuleKind::Ratio { .. } | RuleKind::New { .. } | RuleKind::Silent { .. } => 1,
        }
    }

    /// What its findings count.
    pub fn counted(&self) -> Counted {
        match &self.kind {
            RuleKind::Count { of, .. } | RuleKind::Sequence { of, .. } => of.counted(),
            RuleKind::Spike { .. } | RuleKind::Ratio { .. } => Counted::Answers,
            RuleKind::Distinct { value, .. } => value.counted(),
            RuleKind::Pattern { .. } => Counted::Lines,
            RuleKind::New { .. } => Counted::Newcomers,
            RuleKind::Silent { .. } => Counted::QuietMinutes,
        }
    }

    /// Whether it counts an event with so many failed logins, whose line may be urgent.
    pub fn counts(&self, event: &Event<'_>, failures: u32, urgent: bool) -> bool {
        let action = event.action;
        match &self.kind {
            RuleKind::Distinct { static_files: false, .. } if event.asks_for_static_file() => false,
            RuleKind::Count { of, .. } | RuleKind::Sequence { of, .. } | RuleKind::Distinct { of, .. } => {
                of.holds(event, failures, urgent) || action.is_login_by_password() && self.heeds_logins()
            }
            RuleKind::New { of, .. } => of.holds(event, failures, urgent),
            RuleKind::Spike { statuses, .. } | RuleKind::Ratio { statuses, .. } => is_answer(action, statuses),
            RuleKind::Pattern { .. } | RuleKind::Silent { .. } => false,
        }
    }

    /// Whether logins by password are taken in besides what it counts: of an address they tell that it got in, or that who failed there had
    /// mistyped.
    pub fn heeds_logins(&self) -> bool {
        match &self.kind {
            RuleKind::Sequence { .. } => true,
            RuleKind::Count { of, by, .. } => *of == Selection::FailedLogins && by.contains(&Field::SourceIp),
            RuleKind::Distinct { of, value, by, .. } => {
                let addresses = by.contains(&Field::SourceIp) || by.contains(&Field::SourceNetwork);
                let people = matches!(value, Field::SourceIp | Field::UserName);
                *of == Selection::FailedLogins && addresses && people
            }
            _ => false,
        }
    }

    /// Whether successful logins are what it counts, and not only what it takes in besides.
    pub fn is_about_logins(&self) -> bool {
        match &self.kind {
            RuleKind::Count { of, .. } | RuleKind::Distinct { of, .. } | RuleKind::New { of, .. } => {
                *of == Selection::Logins
            }
            _ => false,
        }
    }

    /// The kinds of logs in whose lines it looks for a text, or those of all where none are named.
    pub fn kinds(&self) -> &[Category] {
        if let RuleKind::Pattern { kinds, .. } = &self.kind { kinds } else { &[] }
    }

    /// Whether it has to know of all requests, because what it counts is a share of them.
    pub fn is_about_shares(&self) -> bool {
        matches!(self.kind, RuleKind::Ratio { .. })
    }

    /// Whether it has something to find where there is nothing to read.
    pub fn notices_silence(&self) -> bool {
        matches!(self.kind, RuleKind::Silent { .. })
    }

    /// Whether it is about those who caused this event.
    pub fn is_about(&self, event: &Event<'_>) -> bool {
        let holds = |who: &Who| who.holds(event);
        (self.only.is_empty() || self.only.iter().any(holds)) && !self.allow.iter().any(holds)
    }

    /// What it looks for, in a sentence without its end.
    pub fn looks_for(&self) -> String {
        let window = |window: &Duration| humantime::format_duration(*window);
        let by = |by: &[Field]| by.iter().map(|field| field.as_str()).collect::<Vec<_>>().join(" and ");
        let amount = |n: u32, of: &Selection| {
            format!("{n} {}", of.to_string().replacen(of.counted().as_str(), of.counted().word(n.into()), 1))
        };
        match &self.kind {
            RuleKind::Count { of, by: fields, threshold, window: time } => {
                format!("{} of one {} within {}", amount(*threshold, of), by(fields), window(time))
            }
            RuleKind::Sequence { of, by: fields, threshold, window: time } => {
                format!("a login after {} of the same {} within {}", amount(*threshold, of), by(fields), window(time))
            }
            RuleKind::Distinct { of, value, by: fields, threshold, window: time, static_files } => {
                let but = if *static_files { "" } else { ", but for static files" };
                let (values, fields, time) = (value.counted(), by(fields), window(time));
                format!("{threshold} different {values} in the {of} of one {fields} within {time}{but}")
            }
            RuleKind::Ratio { statuses, percent, at_least, window: time } => {
                let statuses = Selection::Answers(statuses.clone());
                format!("{percent} % {statuses} among at least {at_least} within a clock period of {}", window(time))
            }
            RuleKind::Spike { statuses, threshold, report_factor, mail_factor } => {
                let answers = Selection::Answers(statuses.clone());
                format!(
                    "{threshold} {answers} in one minute, each counted by itself; after two weeks, more than {report_factor} spreads above the usual of that hour and weekday, and mailed above {mail_factor}"
                )
            }
            RuleKind::New { of, by: fields, learn, .. } => {
                format!("{of} of a {} not seen before, once {} were watched", by(fields), window(learn))
            }
            RuleKind::Silent { after } => {
                format!(
                    "no line of a source for at least {}, though at that time of the week there usually are some, once three weeks are known",
                    window(after)
                )
            }
            RuleKind::Pattern { needle, kinds, threshold, window: time } => {
                format!("{threshold} lines{} with \"{}\" within {}", in_brackets(kinds), needle.as_str(), window(time))
            }
        }
    }
}

impl RuleKind {
    /// The name of its table.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Count { .. } => "count",
            Self::Distinct { .. } => "distinct",
            Self::Sequence { .. } => "sequence",
            Self::Ratio { .. } => "ratio",
            Self::Spike { .. } => "spike",
            Self::Pattern { .. } => "pattern",
            Self::New { .. } => "new",
            Self::Silent { .. } => "silent",
        }
    }
}

/// The kinds of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleKind {
    /// `[count]`: events of one subject in a sliding window.
    Count {
        /// Which events.
        of: Selection,
        /// What makes a subject: one value of each of these fields.
        by: Vec<Field>,
        /// How many.
        threshold: u32,
        /// Within how long, both ends included.
        window: Duration,
    },
    /// `[distinct]`: different values in the events of one subject in a sliding window, as accounts per address.
    Distinct {
        /// Which events.
        of: Selection,
        /// Whose values are told apart.
        value: Field,
        /// What makes a subject: one value of each of these fields.
        by: Vec<Field>,
        /// How many different values.
        threshold: u32,
        /// Within how long, both ends included.
        window: Duration,
        /// Whether requests for static files count ([`Event::asks_for_static_file`]).
        static_files: bool,
    },
    /// `[sequence]`: events of one subject in a sliding window, and then a login of that subject.
    Sequence {
        /// Which events come first.
        of: Selection,
        /// What makes a subject: one value of each of these fields.
        by: Vec<Field>,
        /// How many of them.
        threshold: u32,
        /// Within how long, both ends included; the login comes at most so long after the last one.
        window: Duration,
    },
    /// `[ratio]`: a share of all answers in a clock period.
    Ratio {
        /// The statuses counted, together.
        statuses: Vec<StatusClass>,
        /// From which share on, in per cent of all answers.
        percent: u32,
        /// From how many answers on; of fewer a share says little.
        at_least: u32,
        /// How long a period is; periods begin at whole multiples of it since 1970 UTC.
        window: Duration,
    },
    /// `[spike]`: answers with an error status in one clock minute, more than is usual for that hour of that weekday.
    Spike {
        /// The statuses counted, each by itself.
        statuses: Vec<StatusClass>,
        /// How many in a minute at least.
        threshold: u32,
        /// So many times the usual spread above the usual it is reported,
        report_factor: u32,
        /// and so many times above, somebody is told at once.
        mail_factor: u32,
    },
    /// `[new]`: events of a subject that was never seen before.
    New {
        /// Which events.
        of: Selection,
        /// What makes a subject: one value of each of these fields.
        by: Vec<Field>,
        /// For how long after the first event of all nothing is new.
        learn: Duration,
        /// After how long without an event a subject is new again.
        forget: Duration,
    },
    /// `[silent]`: a source of which no line comes, though at that time of the week there usually are some.
    Silent {
        /// For how long at least.
        after: Duration,
    },
    /// `[pattern]`: lines that hold a text or match a regular expression.
    Pattern {
        /// What is looked for.
        needle: Needle,
        /// In lines of which kinds of logs; in those of all where none are named.
        kinds: Vec<Category>,
        /// How many lines.
        threshold: u32,
        /// Within how long, both ends included.
        window: Duration,
    },
}

/// Which events a rule counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Failed logins, each attempt once.
    FailedLogins,
    /// Successful logins.
    Logins,
    /// Connections on which nobody tried to log in, or which were broken off.
    Probes,
    /// Accounts locked because of too many failed logins.
    Lockouts,
    /// Logs that somebody emptied.
    ClearedLogs,
    /// Lines of level `error` and worse.
    Errors,
    /// Lines that triage calls urgent, of these categories; of all where none is named.
    Urgent(Vec<Category>),
    /// A web server's answers with one of these statuses.
    Answers(Vec<StatusClass>),
}

impl Selection {
    /// Whether its events, or some of them, are requests.
    pub fn has_paths(&self) -> bool {
        !matches!(self, Self::Probes | Self::Lockouts | Self::ClearedLogs)
    }

    /// What its events are called.
    pub fn counted(&self) -> Counted {
        match self {
            Self::FailedLogins => Counted::FailedLogins,
            Self::Logins => Counted::Logins,
            Self::Probes => Counted::Probes,
            Self::Lockouts => Counted::Lockouts,
            Self::ClearedLogs => Counted::ClearedLogs,
            Self::Errors => Counted::Errors,
            Self::Urgent(_) => Counted::UrgentLines,
            Self::Answers(_) => Counted::Answers,
        }
    }

    /// Whether an event with so many failed logins, whose line may be urgent, is one of them.
    pub fn holds(&self, event: &Event<'_>, failures: u32, urgent: bool) -> bool {
        let action = event.action;
        match self {
            Self::FailedLogins => failures > 0,
            Self::Logins => matches!(action, Action::LoginSucceeded { .. }),
            Self::Probes => action == Action::Probed,
            Self::Lockouts => action == Action::LockedOut,
            Self::ClearedLogs => action == Action::LogCleared,
            Self::Errors => is_error(action),
            Self::Urgent(of) => urgent && (of.is_empty() || of.contains(&event.category)),
            Self::Answers(classes) => is_answer(action, classes),
        }
    }
}

/// Whether an action is an error log's line of level `error` or worse.
pub fn is_error(action: Action) -> bool {
    matches!(action, Action::ErrorLogged | Action::NotServed | Action::LoginFailed { shape: Shape::ErrorLog, .. })
}

/// Whether an action is an answer with one of these statuses.
pub fn is_answer(action: Action, classes: &[StatusClass]) -> bool {
    matches!(action, Action::Request { status } if classes.iter().any(|class| class.holds(status)))
}

impl FromStr for Selection {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "failed-logins" => Ok(Self::FailedLogins),
            "logins" => Ok(Self::Logins),
            "probes" => Ok(Self::Probes),
            "lockouts" => Ok(Self::Lockouts),
            "cleared-logs" => Ok(Self::ClearedLogs),
            "errors" => Ok(Self::Errors),
            "urgent-lines" => Ok(Self::Urgent(Vec::new())),
            _ => {
                let message = format!("{text:?} is not what a rule can count");
                let help = "write events = \"failed-logins\", or statuses = [\"404\"] for answers";
                Err(Problem::new(
                    message,
                    "failed-logins, logins, probes, lockouts, cleared-logs, errors or urgent-lines",
                    help,
                ))
            }
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailedLogins => f.write_str("failed logins"),
            Self::Errors => f.write_str("errors"),
            Self::Urgent(of) => write!(f, "urgent lines{}", in_brackets(of)),
            Self::Logins => f.write_str("logins"),
            Self::Probes => f.write_str("probes"),
            Self::Lockouts => f.write_str("lockouts"),
            Self::ClearedLogs => f.write_str("cleared logs"),
            Self::Answers(classes) => {
                let classes: Vec<String> = classes.iter().map(StatusClass::to_string).collect();
                write!(f, "answers {}", classes.join(" or "))
            }
        }
    }
}

/// Kinds of logs as ` (error, auth)`; nothing where all are meant.
fn in_brackets(kinds: &[Category]) -> String {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) }
}

/// Somebody whom a rule is about, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// All addresses of a network, or one.
    Network(IpNet),
    /// An account, in small letters; it may be written in others.
    Account(String),
}

impl Who {
    /// Whether everybody who is the other one is this one, too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Network(network), Self::Network(other)) => network.contains(other),
            (one, other) => one == other,
        }
    }

    /// Whether it is who caused the event, or whose account the event is about.
    pub fn holds(&self, event: &Event<'_>) -> bool {
        match self {
            Self::Network(network) => event.peer.and_then(|peer| peer.ip()).is_some_and(|ip| network.contains(&ip)),
            Self::Account(account) => event.user.is_some_and(|user| is_same_account(user, account)),
        }
    }
}

/// Whether it is this account, which is written in small letters.
fn is_same_account(user: &[u8], account: &str) -> bool {
    user.eq_ignore_ascii_case(account.as_bytes())
        || !user.is_ascii() && str::from_utf8(user).is_ok_and(|user| user.to_lowercase() == account)
}

/// Reads a network, or an address as a network of its own. IPv4-mapped IPv6 is IPv4, as in events.
pub fn network_or_address(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?.trunc();
    let IpNet::V6(v6) = network else { return Some(network) };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    Some(mapped.and_then(|(v4, length)| Ipv4Net::new(v4, length).ok()).map_or(network, IpNet::V4))
}

impl FromStr for Who {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        if let Some(account) = text.strip_prefix("account ").map(str::trim).filter(|account| !account.is_empty()) {
            return Ok(Self::Account(account.to_lowercase()));
        }
        network_or_address(text).map(Self::Network).ok_or_else(|| {
            let message =
                format!("{text:?} is neither an address nor a network; an account is written \"account NAME\"");
            let known = "as 192.0.2.7, 192.0.2.0/24, 2001:db8::/32 or \"account backup\"";
            Problem::new(message, known, "write for example allow = [\"192.0.2.0/24\", \"account monitoring\"]")
        })
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                fmt::Display::fmt(&network.addr(), f)
            }
            Self::Network(network) => fmt::Display::fmt(network, f),
            Self::Account(account) => write!(f, "account {account}"),
        }
    }
}

/// Somebody whom every rule lets alone for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemption {
    /// Who.
    pub who: Who,
    /// What happened from here on, seconds since 1970 UTC,
    pub since: i64,
    /// and before here, isn't counted.
    pub until: i64,
    /// Why.
    pub why: String,
}

impl Exemption {
    /// Whether it holds for an event at that time.
    pub fn holds(&self, event: &Event<'_>, time: i64) -> bool {
        (self.since..self.until).contains(&time) && self.who.holds(event)
    }

    /// Whether it holds at that time for whom a finding is about.
    pub fn is_about(&self, subject: &Subject, time: i64) -> bool {
        let peer = subject.get("source.ip").and_then(|ip| Peer::read(ip.as_bytes()));
        let user = subject.get("user.name").map(String::as_bytes);
        self.holds(&Event { peer, user, ..Event::plain(None, Category::Auth) }, time)
    }
}

/// The id of a technique, as `T1110` or `T1110.003`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Technique(String);

impl FromStr for Technique {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let digits = |text: &str, n: usize| text.len() == n && text.bytes().all(|byte| byte.is_ascii_digit());
        let known = text.strip_prefix('T').is_some_and(|rest| match rest.split_once('.') {
            Some((technique, part)) => digits(technique, 4) && digits(part, 3),
            None => digits(rest, 4),
        });
        known.then(|| Self(text.to_owned())).ok_or_else(|| {
            let message = format!("{text:?} is not the id of an ATT&CK technique");
            Problem::new(message, "as T1110 or T1110.003", "see https://attack.mitre.org/techniques")
        })
    }
}

impl fmt::Display for Technique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a `[pattern]` looks for in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needle {
    /// This text, byte for byte.
    Text(String),
    /// A match of this regular expression (syntax of the regex crate).
    Regex(String),
}

impl Needle {
    /// The text or the expression, as written.
    pub fn as_str(&self) -> &str {
        match self {
            Needle::Text(text) | Needle::Regex(text) => text,
        }
    }
}

/// A field by which events are grouped, named as in the Elastic Common Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `source.ip`: the address, or the host name where the log has only that.
    SourceIp,
    /// `source.network`: the /24 of an IPv4 address, the /64 of an IPv6 address.
    SourceNetwork,
    /// `user.name`: the account.
    UserName,
    /// `host.name`: the host that wrote the line.
    HostName,
    /// `url.path`: the path that was asked for, without what follows a `?`.
    UrlPath,
    /// `log.kind`: access, error, auth, system or unknown (no field of that schema).
    LogKind,
}

impl Field {
    /// Its name in the Elastic Common Schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Field::SourceIp => "source.ip",
            Field::SourceNetwork => "source.network",
            Field::UserName => "user.name",
            Field::HostName => "host.name",
            Field::UrlPath => "url.path",
            Field::LogKind => "log.kind",
        }
    }

    /// What its different values are called.
    pub fn counted(self) -> Counted {
        match self {
            Field::SourceIp => Counted::Addresses,
            Field::SourceNetwork => Counted::Networks,
            Field::UserName => Counted::Accounts,
            Field::HostName => Counted::Hosts,
            Field::UrlPath => Counted::Paths,
            Field::LogKind => Counted::Kinds,
        }
    }
}

impl FromStr for Field {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "source.ip" => Ok(Field::SourceIp),
            "source.network" => Ok(Field::SourceNetwork),
            "user.name" => Ok(Field::UserName),
            "host.name" => Ok(Field::HostName),
            "url.path" => Ok(Field::UrlPath),
            "log.kind" => Ok(Field::LogKind),
            _ => {
                let message = format!("{text:?} is not a field to group by");
                let known = "one of: source.ip source.network user.name host.name url.path log.kind";
                Err(Problem::new(message, known, "write for example by = \"source.ip\", or a list of several"))
            }
        }
    }
}

/// One HTTP status, or all of a hundred as in `5xx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatusClass {
    low: u16,
    high: u16,
}

impl StatusClass {
    /// Whether a status belongs to it.
    pub fn holds(self, status: u16) -> bool {
        (self.low..=self.high).contains(&status)
    }
}

impl FromStr for StatusClass {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let bytes = text.as_bytes();
        let class = match bytes {
            [hundred @ b'1'..=b'5', b'x', b'x'] => Some(u16::from(hundred - b'0') * 100).map(|low| (low, low + 99)),
            [b'1'..=b'5', ..] => text.parse().ok().filter(|status| (100..600).contains(status)).map(|one| (one, one)),
            _ => None,
        };
        class.map(|(low, high)| Self { low, high }).ok_or_else(|| {
            let message = format!("{text:?} is not an HTTP status");
            Problem::new(message, "100 to 599, or 4xx, 5xx", "write for example \"404\" or \"5xx\"")
        })
    }
}

impl fmt::Display for StatusClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high { write!(f, "{}", self.low) } else { write!(f, "{}xx", self.low / 100) }
    }
}
