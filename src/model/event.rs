//! What a parser makes of one line.

use serde::{Deserialize, Serialize};

use super::Peer;
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
    /// A web server let somebody in whom it had refused before.
    LetIn,
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
    /// The same of a request for what isn't there, or nobody may have, as the answers 404 and 403 of an access log tell, too: where that is
    /// read, it turns out to be nothing else, and otherwise an error.
    NotServed,
    /// Nothing that rules look at, but the line was understood.
    Other,
}

impl Action {
    /// Whether somebody got in who may have guessed a password.
    pub fn is_login_by_password(self) -> bool {
        matches!(self, Self::LoginSucceeded { by_key: false } | Self::LetIn)
    }
}

/// The shapes in which one failed login shows up, strongest first. Lines of one address in one session (host and pid) are merged: the failures of its strongest shape count, or those of keys where they are more, and the others repeat them. Explicit failures are counted at once; refused keys, which are other tries of the same client, count besides them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Shape {
    /// The service's own word, as sshd's "Failed password" or a 401: counted at once.
    Explicit,
    /// The same of somebody who may not come in although the password is right: it has expired, or the account isn't for that.
    Barred,
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
    /// Sent away after too many attempts, or with so many failed: who may not come in at all was told so before.
    TooMany,
    /// A web server's error log, at level `error`: its access log tells of the same failure as a 401.
    ErrorLog,
}

impl Shape {
    /// Whether a password, or an account's name, was guessed at: a right password is no guess, and programs offer all keys they have, and are refused when those are too many.
    pub fn is_guess(self) -> bool {
        !matches!(
            self,
            Self::Barred | Self::Key | Self::KeyElsewhere | Self::Refused | Self::RefusedSecond | Self::TooMany
        )
    }
}

/// A way in which programs write bytes of a text that would be something else in their lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// In a string of JSON.
    JsonString,
    /// As the numbers of its bytes in a list of JSON, with commas between them.
    JsonList,
    /// In XML.
    Xml,
    /// As sshd writes what clients send.
    Sshd,
    /// As Apache and nginx do.
    WebServer,
}

/// The ways of writing that were applied to a text, one upon the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escapes([Option<Escape>; 3]);

impl Escapes {
    /// Those of a text that stands as it is.
    pub const NONE: Self = Self([None; 3]);

    /// The same of what was then written in this way. More than three are none that any program writes.
    pub fn within(self, outer: Escape) -> Self {
        let Self([first, second, _]) = self;
        Self([Some(outer), first, second])
    }

    /// That of a text that may have backslashes: none where it has none.
    pub fn with_backslashes(by: Escape, text: Option<&[u8]>) -> Self {
        let has_one = text.is_some_and(|text| memchr::memchr(b'\\', text).is_some());
        if has_one { Self::NONE.within(by) } else { Self::NONE }
    }

    /// In the order in which they are undone.
    pub fn outermost_first(self) -> impl Iterator<Item = Escape> {
        self.0.into_iter().flatten()
    }
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
    /// How that is escaped, until all is known of the line.
    pub user_escapes: Escapes,
    /// What was asked of a web server: method, path and protocol, as it came.
    pub request: &'a [u8],
    /// Whether something was sent along (POST, or a name and a password that the log keeps to itself), where the request doesn't tell.
    pub is_post: bool,
    /// Whether somebody who gave no name asked for a page, where the request doesn't tell.
    pub is_page: bool,
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
            user_escapes: Escapes::NONE,
            request: b"",
            is_post: false,
            is_page: false,
            is_challenge: false,
            host: b"",
            pid: 0,
        }
    }

    /// The path that was asked of a web server, without what follows a `?`; none where the request is none.
    pub fn path(&self) -> Option<&'a [u8]> {
        path(self.request)
    }

    /// Whether a file was asked for that a page shows or is made with, as its browser does by itself. What only ends so, behind a program's name
    /// or what servers take for a path's end, goes to that program.
    pub fn asks_for_static_file(&self) -> bool {
        const ENDS: [&[u8]; 6] = [b";", b"\\", b"%2f", b"%3b", b"%00", b"%5c"];
        let extension = |name: &[u8]| {
            let at = memchr::memrchr(b'.', name).filter(|at| *at > 0)?;
            Some(name[at + 1..].to_ascii_lowercase())
        };
        let Some(path) = self.path().map(<[u8]>::to_ascii_lowercase) else { return false };
        let mut names = path.rsplit(|byte| *byte == b'/');
        let is_static = names.next().and_then(extension).is_some_and(|end| STATIC_FILES.contains(&end.as_slice()));
        let is_program = |name: &[u8]| {
            name == b"cgi-bin" || extension(name).is_some_and(|end| end.iter().any(u8::is_ascii_alphabetic))
        };
        is_static && !names.any(is_program) && !ENDS.iter().any(|end| memchr::memmem::find(&path, end).is_some())
    }

    /// Whether what failed was a guess at a password or an account: who asks a web server for a page and gives no name guesses at nothing.
    pub fn is_guess(&self) -> bool {
        match self.action {
            Action::LoginFailed { shape, .. } => shape.is_guess(),
            _ => !self.asks_for_page(),
        }
    }

    /// Whether somebody who gave no name asked a web server for a page, as browsers and others do before they know that a name is wanted.
    pub fn asks_for_page(&self) -> bool {
        let is_page = || {
            let (method, path) = self.request.split_at(memchr::memchr(b' ', self.request).unwrap_or(0));
            is_page(method, path)
        };
        matches!(self.action, Action::Request { .. })
            && !self.is_post
            && (self.is_page || self.user.is_none() && is_page())
    }

    /// Whether it tells of a failed login, in whatever shape.
    pub fn tells_of_failure(&self) -> bool {
        matches!(self.action, Action::LoginFailed { .. } | Action::Request { status: 401 })
    }
}

/// How the names of pictures, styles, scripts, fonts, sounds and films end.
const STATIC_FILES: [&[u8]; 21] = [
    b"avif", b"bmp", b"css", b"eot", b"gif", b"ico", b"jpeg", b"jpg", b"js", b"mjs", b"mp3", b"mp4", b"ogg", b"otf",
    b"png", b"svg", b"ttf", b"webm", b"webp", b"woff", b"woff2",
];

/// Whether a request by this method asks for a page, or a file, and sends no password along with it.
pub fn is_page(method: &[u8], path: &[u8]) -> bool {
    let query = memchr::memchr(b'?', path).map_or(&b""[..], |at| &path[at + 1..]);
    // Those of WebDAV and CalDAV that come without anything else, or with XML that says what is wanted.
    const METHODS: [&[u8]; 12] = [
        b"GET",
        b"HEAD",
        b"OPTIONS",
        b"PROPFIND",
        b"REPORT",
        b"LOCK",
        b"UNLOCK",
        b"MKCOL",
        b"MKCALENDAR",
        b"PROPPATCH",
        b"COPY",
        b"MOVE",
    ];
    METHODS.contains(&method) && !may_hold_secret(query)
}

/// Whether a query may hold a password: any may, but for what browsers and git ask for by themselves.
pub fn may_hold_secret(query: &[u8]) -> bool {
    const HARMLESS: [&[u8]; 5] = [b"service", b"v", b"ver", b"version", b"_"];
    let query = query.split(|byte| *byte == b' ').next().unwrap_or_default();
    let mut names = query.split(|byte| *byte == b'&').filter_map(|part| part.split(|byte| *byte == b'=').next());
    !query.is_empty() && names.any(|name| !HARMLESS.contains(&name))
}

/// The path in a request as it came, as [`Event::path`].
pub fn path(request: &[u8]) -> Option<&[u8]> {
    // Of some logs the path is all that is known.
    let target = if request.starts_with(b"/") {
        request
    } else {
        let rest = &request[request.iter().position(|byte| *byte == b' ')? + 1..];
        if rest.starts_with(b"/") { rest } else { without_host(rest.trim_ascii_start()) }
    };
    let end = memchr::memchr3(b' ', b'?', b'#', target).unwrap_or(target.len());
    Some(&target[..end])
}

/// The path in a target with scheme and host (RFC 9112, 3.2.2), which servers take as well.
fn without_host(target: &[u8]) -> &[u8] {
    let scheme: [&[u8]; 2] = [b"http://", b"https://"];
    let is_one = |scheme: &&[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let Some(rest) = scheme.into_iter().find(is_one).map(|scheme| &target[scheme.len()..]) else { return target };
    let end = memchr::memchr3(b'/', b' ', b'?', rest).unwrap_or(rest.len());
    if rest.get(end) == Some(&b'/') { &rest[end..] } else { target }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_however_it_is_asked_for() {
        for (request, want) in [
            ("GET /a?b HTTP/1.1", Some("/a")),
            ("GET  /a HTTP/1.1", Some("/a")),
            ("POST http://www.example.org/a#b HTTP/1.1", Some("/a")),
            ("GET HTTPS://x/ HTTP/1.1", Some("/")),
            ("GET http://x HTTP/1.1", Some("http://x")),
            ("GET http://x?/a HTTP/1.1", Some("http://x")),
            ("CONNECT x:443 HTTP/1.1", Some("x:443")),
            ("/a", Some("/a")),
            ("GET ", Some("")),
            ("x", None),
        ] {
            assert_eq!(path(request.as_bytes()).map(|path| str::from_utf8(path).unwrap()), want, "{request}");
        }
    }

    #[test]
    fn what_only_ends_as_a_static_file_is_none() {
        let is_static = |path: &str| {
            let request = format!("GET {path} HTTP/1.1");
            Event { request: request.as_bytes(), ..Event::plain(None, Category::Access) }.asks_for_static_file()
        };
        for path in ["/a.css", "/a/B.JPG?v=1", "/lib/jquery-3.6.0/a.js", "/.well-known/logo.svg"] {
            assert!(is_static(path), "{path}");
        }
        for path in [
            "/",
            "/admin.php",
            "/admin.php/x.css",
            "/admin;x.css",
            "/a.php?x.css",
            "/a.php%2Fx.css",
            "/a.php5/x.css",
            "/cgi-bin/a/x.css",
            "/a\\x.css",
            "/css",
            "/a.js.map",
            "/a.js/",
        ] {
            assert!(!is_static(path), "{path}");
        }
    }
}
