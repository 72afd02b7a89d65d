//! What a parser makes of one line.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};

use memchr::memmem;
use serde::{Deserialize, Serialize};
use wide::u8x16;

use super::run::words;

words! {
    /// What kind of log a line belongs to.
    Category {
        /// A request on record in an access log.
        Access = "access",
        /// An error log's line.
        Error = "error",
        /// A line about logging in.
        Auth = "auth",
        /// What the system and its services say otherwise.
        System = "system",
        /// A line that is not understood, or nobody said what it is.
        Unknown = "unknown",
    }
}

/// Who is at the other end: an address, or the name the log gives instead of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer<'a> {
    /// An address; IPv4-mapped IPv6 is already IPv4.
    Ip(IpAddr),
    /// A host name, as PAM writes it.
    Name(&'a [u8]),
}

impl<'a> Peer<'a> {
    /// Reads an address (a zone such as `%eth0` is dropped) or else a plausible host name.
    pub fn read(text: &'a [u8]) -> Option<Self> {
        if let Some(ip) = parse_ip(text) {
            return Some(Peer::Ip(ip));
        }
        let plausible = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
        let is_name = text.len() <= 255 && text.iter().all(plausible) && text.iter().any(u8::is_ascii_alphanumeric);
        is_name.then_some(Peer::Name(text))
    }

    /// The address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Ip(ip) => Some(*ip),
            Peer::Name(_) => None,
        }
    }
}

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Ip(ip) => fmt::Display::fmt(ip, f),
            Peer::Name(name) => f.write_str(&String::from_utf8_lossy(name)),
        }
    }
}

/// A [`Peer`] that outlives its line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Address {
    /// An address.
    Ip(IpAddr),
    /// A host name.
    Name(Box<[u8]>),
}

impl From<Peer<'_>> for Address {
    fn from(peer: Peer<'_>) -> Self {
        match peer {
            Peer::Ip(ip) => Self::Ip(ip),
            Peer::Name(name) => Self::Name(name.into()),
        }
    }
}

impl Hash for Address {
    // In one piece, which takes a fraction of the derived one's time.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Ip(IpAddr::V4(ip)) => state.write_u32(u32::from(*ip)),
            Self::Ip(IpAddr::V6(ip)) => state.write_u128(u128::from(*ip)),
            Self::Name(name) => state.write(name),
        }
    }
}

impl Address {
    /// As events have it.
    pub fn peer(&self) -> Peer<'_> {
        match self {
            Self::Ip(ip) => Peer::Ip(*ip),
            Self::Name(name) => Peer::Name(name),
        }
    }
}

/// Reads an IP address; IPv4-mapped IPv6 becomes IPv4, a zone is dropped.
pub fn parse_ip(text: &[u8]) -> Option<IpAddr> {
    if let Some(ip) = parse_ipv4(text) {
        return Some(IpAddr::V4(ip));
    }
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= 60 && text.contains(':'))?;
    let bare = text.split_once('%').map_or(text, |(address, _)| address);
    match bare.parse::<IpAddr>().ok()? {
        IpAddr::V6(v6) => Some(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)),
        v4 => Some(v4),
    }
}

/// Reads an IPv4 address as `Ipv4Addr` does, several times as fast: every line has one.
fn parse_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    leading_ipv4(text).filter(|(_, rest)| rest.is_empty()).map(|(ip, _)| ip)
}

/// Reads the IPv4 address that a text begins with; returns it and what follows.
pub fn leading_ipv4(text: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let found = match text.first_chunk() {
        Some(first) => at_once(first),
        None => {
            let mut first = [0; 20];
            first[..text.len()].copy_from_slice(text);
            at_once(&first)
        }
    };
    found.map(|(ip, end)| (ip, &text[end..])).or_else(|| digit_by_digit(text))
}

/// The same of so many bytes, and where it ends: 16 are looked at together, and each number is read as if it were four, because how
/// long it is can't be foretold.
fn at_once(first: &[u8; 20]) -> Option<(Ipv4Addr, usize)> {
    let (bytes, _) = first.split_first_chunk()?;
    let bytes = u8x16::new(*bytes);
    let values = bytes - u8x16::splat(b'0');
    let digits = values.min(u8x16::splat(9)).simd_eq(values).to_bitmask();
    let dots = bytes.simd_eq(u8x16::splat(b'.')).to_bitmask();
    let end = (!(digits | dots)).trailing_zeros();
    let dots = dots & ((1 << end) - 1);
    if dots.count_ones() != 3 || end > 15 {
        return None;
    }
    let second = dots & (dots - 1);
    let third = second & (second - 1);
    let [a, b, c] = [dots, second, third].map(u32::trailing_zeros);
    let parts = [(0, a), (a + 1, b), (b + 1, c), (c + 1, end)].map(|(start, stop)| octet(first, start, stop));
    let is_one = parts.iter().all(|(_, is_one)| *is_one);
    is_one.then(|| (Ipv4Addr::from(parts.map(|(octet, _)| octet)), end as usize))
}

/// The number that stands there, and whether it is one: of one to three digits, no more than 255, and without a zero in front, which
/// might mean an octal number.
#[inline]
fn octet(text: &[u8; 20], start: u32, stop: u32) -> (u8, bool) {
    let at = (start & 15) as usize;
    let word = u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]);
    let length = stop.wrapping_sub(start);
    // The last digit stands in the highest byte.
    let digits = word.wrapping_shl(4_u32.wrapping_sub(length).wrapping_mul(8)) & 0x0f0f_0f00;
    // Each byte of the product that is taken is the sum of its digits' worth.
    let value = (digits >> 8).wrapping_mul(100 << 16 | 10 << 8 | 1) >> 16;
    let least = 1_u32.wrapping_shl(length.wrapping_sub(1).wrapping_mul(8)) & !1;
    let is_in_range = digits.swap_bytes().wrapping_sub(least) <= 0x02_0505_u32.wrapping_sub(least);
    (value as u8, is_in_range & (length.wrapping_sub(1) < 3))
}

fn digit_by_digit(text: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let (mut ip, mut rest) = (0, text);
    for index in 0..4 {
        let (octet, after) = leading_octet(rest)?;
        ip = ip << 8 | octet;
        rest = if index < 3 { after.strip_prefix(b".")? } else { after };
    }
    Some((Ipv4Addr::from_bits(ip), rest))
}

fn leading_octet(text: &[u8]) -> Option<(u32, &[u8])> {
    let digit = |at: usize| text.get(at).map(|byte| u32::from(byte.wrapping_sub(b'0'))).filter(|digit| *digit < 10);
    let first = digit(0)?;
    let Some(second) = digit(1) else { return Some((first, &text[1..])) };
    // A zero in front might mean an octal number.
    if first == 0 {
        return None;
    }
    let Some(third) = digit(2) else { return Some((first * 10 + second, &text[2..])) };
    let octet = first * 100 + second * 10 + third;
    (octet < 256 && digit(3).is_none()).then(|| (octet, &text[3..]))
}

/// Programs that write lines of access and error logs to syslog.
const WEB_SERVERS: [&str; 4] = ["nginx", "apache2", "httpd", "apache"];

/// A web server whose line it is, by the name of the program, and the log where that is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebServer {
    /// Its name.
    pub name: &'static str,
    /// [`Category::Access`] or [`Category::Error`]. Visitors can write lines of their own into nginx' error log, so none of it is a request.
    pub log: Option<Category>,
}

/// The web server of this name, as programs have it in syslog: one of several is named behind a slash, and which log it is may follow, as in
/// nginx' `tag=nginx_access` or behind Apache's `| logger -t apache-error`.
pub fn web_server(program: &[u8]) -> Option<WebServer> {
    let end = program.iter().position(|byte| matches!(byte, b'/' | b'_' | b'-')).unwrap_or(program.len());
    let (name, rest) = program.split_at(end);
    let log = match rest {
        [] | [b'/', ..] => None,
        [_, log @ ..] => match log.strip_suffix(b"_log").or(log.strip_suffix(b"-log")).unwrap_or(log) {
            b"access" => Some(Category::Access),
            b"error" => Some(Category::Error),
            _ => return None,
        },
    };
    let name = WEB_SERVERS.into_iter().find(|server| server.as_bytes() == name)?;
    Some(WebServer { name, log })
}

/// What stands behind a web server's name where the journal has what it printed: to standard error nginx prints decoded paths, so a
/// line may be a visitor's own.
pub const PRINTED: &str = "(printed)";

/// What stands behind the name that an entry of the journal gives itself where whoever runs on the machine may have written it.
pub const BY_ANYBODY: &str = "(by-anybody)";

/// Whether any user's own program may have written what an entry of the journal tells of logins, as `logger -t sshd` does: it is not
/// root's, nor that of a program that runs as root whoever starts it, nor a service's own word. `uid` and `executable` are
/// what journald found out itself (systemd.journal-fields(7), `_UID` and `_EXE`), `program` is what the entry calls itself.
pub fn is_by_anybody(uid: &[u8], executable: &[u8], program: &[u8], message: &[u8]) -> bool {
    if matches!(uid, b"" | b"0") || !may_tell_of_logins(program, message) {
        return false;
    }
    // They run as root whoever starts them, so nobody can tell them what to say. sshd tells of logins as root (by its monitor).
    const ASKING: [&[u8]; 9] = [
        b"sudo",
        b"su",
        b"doas",
        b"passwd",
        b"chsh",
        b"chfn",
        b"unix_chkpwd",
        b"polkit-agent-helper-1",
        b"cockpit-session",
    ];
    const FOLDERS: [&[u8]; 4] = [b"/usr/", b"/bin/", b"/sbin/", b"/nix/store/"];
    let name = executable.rsplit(|byte| *byte == b'/').next().unwrap_or(executable);
    let name = name.strip_suffix(b"-rs").unwrap_or(name);
    let is_of_system = FOLDERS.iter().any(|folder| executable.starts_with(folder));
    // A service of its own user speaks for itself.
    let is_service = uid.len() < 4 && name != b"logger" && !is_of_logins(program);
    let server = web_server(program).map(|server| server.name.as_bytes());
    let is_same = name == program || server == Some(name);
    !(is_of_system && is_same && (is_service || ASKING.contains(&name)))
}

/// Whether a program's lines are about logging in, or changing the account, on the machine itself.
pub fn is_about_logins(program: &[u8]) -> bool {
    const NAMES: [&[u8]; 7] = [b"sudo", b"doas", b"su", b"login", b"systemd-logind", b"passwd", b"polkitd"];
    NAMES.contains(&program.strip_suffix(b"(pam_unix)").unwrap_or(program))
}

/// Whether a program of this name tells of logins by whatever it says.
fn is_of_logins(name: &[u8]) -> bool {
    name.starts_with(b"ssh") || is_about_logins(name) || matches!(name, b"" | b"-" | b"dropbear" | b"windows")
}

/// Whether a program of this name, or this message of any, may be taken for one that tells of logins.
fn may_tell_of_logins(program: &[u8], message: &[u8]) -> bool {
    // Some write the path of the program, and a name may hold what follows one elsewhere.
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or(program);
    let name = name.split(|byte| matches!(byte, b'[' | b':' | b'(')).next().unwrap_or(name);
    is_of_logins(name)
        || web_server(program).is_some()
        || [program, message].iter().any(|text| memmem::find(text, b"pam_").is_some())
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A request was answered with this status.
    Request {
        /// The HTTP status.
        status: u16,
    },
    /// A login failed, this many times.
    LoginFailed {
        /// How many failures the line stands for.
        times: u32,
        /// Which of a failure's shapes the line is.
        shape: Shape,
    },
    /// A login succeeded.
    LoginSucceeded {
        /// Whether by a key or a ticket, which nobody guesses.
        by_key: bool,
    },
    /// Somebody who was there already was let do more, as by sudo.
    Granted {
        /// Whether it is one of PAM's modules that says so.
        by_module: bool,
    },
    /// Somebody connected without trying to log in, or broke off: a scanner's trace.
    Probed,
    /// A client of sshd went, of which this line tells nothing but the address: a scanner, if it hadn't greeted.
    Gone,
    /// A client of sshd didn't greet as it should; its address is told when it goes.
    NotGreeted,
    /// An account was locked because of too many failed logins.
    LockedOut,
    /// Somebody emptied a log, as intruders do.
    LogCleared,
    /// An error log's line of level `error` or worse.
    ErrorLogged,
    /// Nothing that rules look at, but the line was understood.
    Other,
}

/// The shapes in which one failed login shows up, strongest first. Lines of one address in one session (host and pid) are merged: the failures of its strongest shape count, or those of keys where they are more, and the others repeat them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Shape {
    /// The service's own word, as sshd's "Failed password" or a 401: counted at once.
    Explicit,
    /// sshd's own word of a password for which PAM was asked question by question: it repeats what PAM said of it last.
    Questioned,
    /// PAM's "authentication failure".
    Pam,
    /// The same of another module than pam_unix: it may repeat what that said.
    PamSecond,
    /// sshd's word of what PAM said, "error: PAM: …".
    PamTold,
    /// A key that was refused, or another way that clients try unasked: they offer all they have, so it is none where another one was
    /// accepted.
    Key,
    /// A key that is right, from where it isn't allowed: the same.
    KeyElsewhere,
    /// "Invalid user".
    InvalidUser,
    /// Not even let try: "not allowed because", "too many attempts".
    Refused,
    /// The same of the process in which sshd talks with the client: it may repeat what the other one said.
    RefusedSecond,
    /// A web server's error log, at level `error`: its access log tells of the same failure as a 401.
    ErrorLog,
}

/// One line, understood. All texts are borrowed from the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// When, in seconds since 1970 UTC; `None` where the line has no stamp.
    pub time: Option<i64>,
    /// What kind of log it belongs to.
    pub category: Category,
    /// What happened.
    pub action: Action,
    /// Who caused it.
    pub peer: Option<Peer<'a>>,
    /// The account that was meant.
    pub user: Option<&'a [u8]>,
    /// What was asked of a web server: method, path and protocol, as it came.
    pub request: &'a [u8],
    /// Whether something was sent along (POST), where the request doesn't begin with its method.
    pub is_post: bool,
    /// Whether a 401 only asked for a name that the client had not given yet, where the log tells that.
    pub is_challenge: bool,
    /// The host that wrote the line, as it says itself.
    pub host: &'a [u8],
    /// The process that wrote the line; 0 where the log doesn't tell.
    pub pid: u32,
}

impl<'a> Event<'a> {
    /// An event of which only time and category are known.
    pub fn plain(time: Option<i64>, category: Category) -> Self {
        Self {
            time,
            category,
            action: Action::Other,
            peer: None,
            user: None,
            request: b"",
            is_post: false,
            is_challenge: false,
            host: b"",
            pid: 0,
        }
    }

    /// The path that was asked of a web server, without what follows a `?`; none where the request is none.
    pub fn path(&self) -> Option<&'a [u8]> {
        path(self.request)
    }

    /// Whether it tells of a failed login, in whatever shape.
    pub fn tells_of_failure(&self) -> bool {
        matches!(self.action, Action::LoginFailed { .. } | Action::Request { status: 401 })
    }
}

/// The path in a request as it came, as [`Event::path`].
pub fn path(request: &[u8]) -> Option<&[u8]> {
    // Of some logs the path is all that is known.
    let target = if request.starts_with(b"/") {
        request
    } else {
        &request[request.iter().position(|byte| *byte == b' ')? + 1..]
    };
    let end = memchr::memchr3(b' ', b'?', b'#', target).unwrap_or(target.len());
    Some(&target[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_is_read_as_the_standard_library_does() {
        let parts = ["", "0", "00", "01", "9", "10", "99", "100", "255", "256", "1000", "-1", "a", " 1", "1 "];
        for a in parts {
            for b in parts {
                for text in
                    [format!("{a}.{b}.3.4"), format!("1.2.{a}.{b}"), format!("{a}.{b}"), format!("1.2.3.4{a}{b}")]
                {
                    assert_eq!(parse_ipv4(text.as_bytes()), text.parse().ok(), "{text}");
                    for end in ["", " - - [20/Nov/2026", ".5 and so on and on", "x5 and so on and on"] {
                        let text = text.clone() + end;
                        assert_eq!(leading_ipv4(text.as_bytes()), digit_by_digit(text.as_bytes()), "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn addresses_are_normalised() {
        assert_eq!(parse_ip(b"::ffff:1.2.3.4"), Some("1.2.3.4".parse().unwrap()));
        assert_eq!(parse_ip(b"fe80::1%eth0"), Some("fe80::1".parse().unwrap()));
        assert_eq!(parse_ip(b"1.2.3.4.5"), None);
    }
}
