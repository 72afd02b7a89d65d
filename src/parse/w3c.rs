//! The extended log format of the W3C, as IIS writes it: web and FTP (<https://www.w3.org/TR/WD-logfile.html>,
//! <https://learn.microsoft.com/en-us/windows/win32/http/w3c-logging>).
//!
//! Header lines tell the columns, so they are remembered with how far a file was read.

use std::sync::LazyLock;

use chrono::NaiveDate;
use memchr::{memchr, memchr_iter};

use super::syslog::number;
use super::time::{Clock, WallClock, clock, four, offset, two, with_offset};
use super::{Context, Parser, joined};
use crate::model::event::{Shape, is_page, may_hold_secret};
use crate::model::peer::parse_ip;
use crate::model::{Action, Category, Event, Peer};

/// Commands of FTP (RFC 959, 2228, 2389, 3659, 7151) and of SMTP (RFC 5321, 4954), whose replies are no HTTP statuses.
const NOT_HTTP: &[u8] = b"ABOR ACCT ALLO APPE AUTH BDAT CCC CDUP CLNT CWD DATA DELE EHLO EPRT EPSV ETRN EXPN FEAT HELO HELP HOST LANG \
LIST MAIL MDTM MFMT MKD MLSD MLST MODE NLST NOOP OPTS PASS PASV PBSZ PORT PROT PWD QUIT RCPT REST RETR RMD RNFR RNTO RSET SITE SIZE \
STARTTLS STAT STOR STOU STRU SYST TYPE USER VRFY XCWD XPWD";

/// The command of SMTP by which clients log in.
const MAIL_LOGIN: &[u8] = b"AUTH";

/// What IIS' FTP server writes in the place of a command.
const CHANNELS: [&[u8]; 4] =
    [b"DataChannelOpened", b"DataChannelClosed", b"ControlChannelOpened", b"ControlChannelClosed"];

/// The columns that IIS writes where nobody chose others: up to version 7, since 7.5, and all that there are. So lines are
/// understood also where the header was cut off.
const USUAL: [&[u8]; 3] = [
    b"date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) sc-status sc-substatus \
      sc-win32-status time-taken",
    b"date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status \
      sc-substatus sc-win32-status time-taken",
    b"date time s-sitename s-computername s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs-version \
      cs(User-Agent) cs(Cookie) cs(Referer) cs-host sc-status sc-substatus sc-win32-status sc-bytes cs-bytes time-taken",
];
static USUAL_COLUMNS: LazyLock<[Columns; 3]> = LazyLock::new(|| USUAL.map(Columns::read));

/// The longest header line that is believed, in bytes: it is remembered.
const MAX_HEADER: usize = 4096;

/// How the time of the line before is remembered for those that follow.
const LAST_LINE: &str = "Last-Line: ";

/// By how many minutes a server's clock is set back at most while it writes a log.
const CLOCK_SET_BACK: u32 = 60;

/// How many minutes lie between the first minute of a day and its last one.
const LATE: u32 = 24 * 60 - 1;

/// The parser.
#[derive(Default)]
pub struct W3c {
    /// The header lines that matter, the latest of each kind.
    fields: Vec<u8>,
    gmt_offset: Vec<u8>,
    software: Vec<u8>,
    /// When the header was written, or the line before that has the time only: it tells the day of such lines.
    last: Option<(NaiveDate, Clock)>,
    /// Whether a line tells that.
    is_line: bool,
    columns: Columns,
    /// For columns that tell the time by the machine's clock.
    wall: Option<WallClock>,
    /// Whether values may stand in quotation marks. With IIS they don't: there a visitor may have written the marks.
    quotes: bool,
    /// By how much the clock of the log is ahead of UTC, in seconds.
    ahead: i64,
    date: Option<([u8; 10], NaiveDate)>,
}

/// Where the columns of interest are.
#[derive(Default)]
struct Columns {
    count: usize,
    /// Whether they tell the time by the machine's clock only.
    are_local: bool,
    date: Option<usize>,
    time: Option<usize>,
    server: Option<usize>,
    port: Option<usize>,
    site: Option<usize>,
    /// Whether there is one for sessions, as FTP's has.
    has_session: bool,
    client: Option<usize>,
    user: Option<usize>,
    method: Option<usize>,
    path: Option<usize>,
    query: Option<usize>,
    status: Option<usize>,
    substatus: Option<usize>,
    system: Option<usize>,
}

impl Columns {
    fn read(names: &[u8]) -> Self {
        let names: Vec<&[u8]> = words(names, false).collect();
        let column = |wanted: &[&[u8]]| names.iter().position(|name| wanted.contains(name));
        let (date, time, clock) = (column(&[b"date"]), column(&[b"time"]), column(&[b"time-local"]));
        let are_local = time.is_none() && clock.is_some();
        Self {
            count: names.len(),
            are_local,
            date: if are_local { column(&[b"date-local"]) } else { date },
            time: if are_local { clock } else { time },
            server: column(&[b"s-ip"]),
            port: column(&[b"s-port"]),
            site: column(&[b"s-sitename"]),
            has_session: column(&[b"x-session"]).is_some(),
            client: column(&[b"c-ip"]),
            user: column(&[b"cs-username", b"c-auth-id"]),
            method: column(&[b"cs-method"]),
            path: column(&[b"cs-uri-stem", b"cs-uri"]),
            query: column(&[b"cs-uri-query"]),
            status: column(&[b"sc-status"]),
            substatus: column(&[b"sc-substatus"]),
            system: column(&[b"sc-win32-status"]),
        }
    }
}

impl Columns {
    /// Whether nothing else than these columns can be meant.
    fn surely_fit(&self, values: &[&[u8]]) -> bool {
        let value = |column: Option<usize>| values.get(column?).copied();
        let is_address = |column| value(column).and_then(parse_ip).is_some();
        let is_command = |text: &[u8]| text.iter().all(|byte| byte.is_ascii_alphabetic() || b"-_".contains(byte));
        values.len() == self.count
            && is_address(self.server)
            && is_address(self.client)
            && value(self.port).and_then(number).is_some()
            && value(self.method).is_some_and(is_command)
            && value(self.status).and_then(status).is_some()
    }
}

impl Parser for W3c {
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        if let Some(header) = line.strip_prefix(b"#") {
            return self.header_line(header).then(|| Event::plain(None, Category::Access));
        }
        let known = self.columns.count > 0;
        let most = if known { self.columns.count } else { USUAL_COLUMNS[2].count };
        let bare = |value| if self.quotes { unquoted(value) } else { value };
        let values: Vec<&[u8]> = words(line, self.quotes).map(bare).take(most + 1).collect();
        let usual = || USUAL_COLUMNS.iter().find(|columns| columns.surely_fit(&values));
        let columns = if known { &self.columns } else { usual()? };
        let value = |column: Option<usize>| values.get(column?).copied().filter(|value| *value != b"-");
        let (date, time) = (value(columns.date), clock(value(columns.time)?.get(..8)?)?);
        if values.len() != columns.count || date.is_none() && columns.date.is_some() {
            return None;
        }
        let (method, path) = (value(columns.method), value(columns.path));
        let mut event = Event::plain(None, Category::Access);
        event.peer = value(columns.client).and_then(Peer::read);
        event.user = value(columns.user);
        // They are one piece of the line where they stand side by side, as IIS has them.
        event.request = match (method, path) {
            (Some(method), Some(path)) => joined(line, method, path).unwrap_or(path),
            (None, path) => path.unwrap_or_default(),
            (Some(_), None) => b"",
        };
        event.is_post = method == Some(b"POST");
        let status = value(columns.status).and_then(status);
        let is_web = !columns.has_session
            && !value(columns.site).is_some_and(is_of_files_or_mail)
            && !matches!(value(columns.port), None | Some(b"0" | b"20" | b"21" | b"25" | b"465" | b"587" | b"990"));
        if !is_web && method == Some(MAIL_LOGIN) {
            // There stands what the client calls itself.
            event.user = None;
        }
        event.action = match (method.map(without_session), status) {
            (Some(b"PASS"), Some(530)) | (Some(MAIL_LOGIN), Some(535)) => {
                Action::LoginFailed { times: 1, shape: Shape::Explicit }
            }
            (Some(b"PASS"), Some(230)) => Action::LoginSucceeded { by_key: false },
            (Some(method), _) if CHANNELS.contains(&method) => Action::Other,
            // What IIS 6 says of files: `[3]sent`, `[3]created`.
            (Some(file), _)
                if !is_web
                    && method.is_some_and(|method| method.len() > file.len())
                    && file.iter().all(u8::is_ascii_lowercase) =>
            {
                Action::Other
            }
            // No reply of theirs has these numbers, nor do web servers listen for them; a request may be called as their commands are.
            (Some(method), status)
                if !is_web
                    && words(NOT_HTTP, false).any(|command| command == method)
                    && !matches!(status, Some(401 | 403 | 404)) =>
            {
                Action::Other
            }
            (_, Some(status)) => Action::Request { status },
            (_, None) => Action::Other,
        };
        let (substatus, system) = (value(columns.substatus), value(columns.system));
        // IIS 6 tells so of the middle of a handshake of NTLM, and gives a reason where it failed.
        let goes_on = (substatus, system) == (Some(b"1"), Some(b"0"));
        event.is_challenge = status == Some(401)
            && event.user.is_none()
            && (substatus == Some(b"2") || system == Some(NO_CREDENTIALS) || goes_on);
        if status == Some(401) && event.user.is_none() {
            // What is refused with a reason was a name and a password, which IIS doesn't log.
            let is_refused = !event.is_challenge && substatus == Some(b"1") && system.is_some();
            event.is_post |= is_refused || value(columns.query).is_some_and(may_hold_secret);
            event.is_page = is_page(method.unwrap_or_default(), path.unwrap_or_default());
        }
        let day = if let Some(date) = date { self.day(date) } else { self.day_of(time) }?;
        let wall = self.wall.as_mut().filter(|_| self.columns.are_local);
        event.time = Some(wall.map_or_else(|| with_offset(day, time, self.ahead), |wall| wall.instant(day, time))?);
        Some(event)
    }

    fn header(&self) -> Vec<u8> {
        let kind = if self.is_line { LAST_LINE } else { "Date: " };
        let date = self.last.map(|(day, time)| format!("#{kind}{day} {time}\n")).unwrap_or_default();
        [&self.software[..], &self.gmt_offset[..], date.as_bytes(), &self.fields[..]].concat()
    }

    fn is_sure(&self) -> bool {
        let Columns { date, time, client, .. } = self.columns;
        (date.is_some() || self.last.is_some()) && time.is_some() && client.is_some()
    }
}

impl W3c {
    /// A parser for times of the context's zone, where only these are told.
    pub fn new(context: Context) -> Self {
        Self { wall: Some(WallClock::new(context)), ..Self::default() }
    }

    /// Takes a header line in; false where it is none.
    fn header_line(&mut self, header: &[u8]) -> bool {
        let Some(end) = memchr(b':', header).filter(|_| header.len() <= MAX_HEADER) else { return false };
        let (name, value) = (&header[..end], header[end + 1..].trim_ascii());
        match name {
            b"Fields" => {
                self.columns = Columns::read(value);
                self.fields = [b"#", header, b"\n"].concat();
            }
            b"GMT-Offset" => {
                let Some(ahead) = offset(value) else { return false };
                self.ahead = ahead;
                self.gmt_offset = [b"#", header, b"\n"].concat();
            }
            b"Software" => {
                self.quotes = !value.starts_with(b"Microsoft");
                self.software = [b"#", header, b"\n"].concat();
            }
            b"Date" => self.remember(value, false),
            b"Last-Line" => self.remember(value, true),
            b"Version" | b"Start-Date" | b"End-Date" | b"Remark" => {}
            _ => return false,
        }
        true
    }

    /// Takes in when a line, or the header, was written, if that is told.
    fn remember(&mut self, told: &[u8], is_line: bool) {
        let told = told
            .split_at_checked(10)
            .and_then(|(date, rest)| Some((self.day(date)?, clock(rest.strip_prefix(b" ")?.get(..8)?)?)));
        if told.is_some() {
            (self.last, self.is_line) = (told, is_line);
        }
    }

    /// The day of a line that has the time only: that of the line before, or the next one where the time went back. Just after midnight a
    /// line of the minute before may still come.
    fn day_of(&mut self, time: Clock) -> Option<NaiveDate> {
        let (day, before) = self.last?;
        let (minute, last) = (time.minute_of_day(), before.minute_of_day());
        if self.is_line && minute >= last + LATE {
            return day.pred_opt();
        }
        let day = if minute + CLOCK_SET_BACK < last { day.succ_opt()? } else { day };
        (self.last, self.is_line) = (Some((day, time)), true);
        Some(day)
    }

    /// `2026-11-20`; times are UTC unless the header says otherwise.
    fn day(&mut self, date: &[u8]) -> Option<NaiveDate> {
        let date: [u8; 10] = date.try_into().ok()?;
        let day = match self.date {
            Some((known, day)) if known == date => day,
            _ => {
                let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else { return None };
                NaiveDate::from_ymd_opt(four(&[y1, y2, y3, y4])?, two([m1, m2])?, two([d1, d2])?)?
            }
        };
        self.date = Some((date, day));
        Some(day)
    }
}

/// The columns of a line: between blanks or tabs, or in quotation marks where there are such.
fn words(line: &[u8], quotes: bool) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        // Behind a value there is a blank, or the line's end; a mark in it is told by two.
        let is_end =
            |at: &usize| *at > 0 && rest.get(at + 1).is_none_or(u8::is_ascii_whitespace) && !is_doubled(rest, *at);
        let quoted = if quotes && rest.starts_with(b"\"") { memchr_iter(b'"', rest).find(is_end) } else { None };
        let quoted = quoted.map(|at| at + 1);
        let end = quoted.unwrap_or_else(|| memchr::memchr2(b' ', b'\t', rest).unwrap_or(rest.len()));
        let (word, after) = rest.split_at(end);
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

/// Whether the quotation mark there belongs to one before it: of a row of them, behind the first one of the value, every second does.
fn is_doubled(value: &[u8], at: usize) -> bool {
    let row = value[1..=at].iter().rev().take_while(|byte| **byte == b'"').count();
    row % 2 == 0
}

/// A value without the quotation marks around it.
fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(value)
}

/// Whether it is the name of one of IIS' servers of FTP or SMTP: `MSFTPSVC1`, `FTPSVC2`, `SMTPSVC1`.
fn is_of_files_or_mail(site: &[u8]) -> bool {
    [&b"MSFTPSVC"[..], b"FTPSVC", b"SMTPSVC"].iter().any(|name| site.starts_with(name))
}

/// A command without the number of its session, as IIS 6 has it: `[12]PASS`.
fn without_session(method: &[u8]) -> &[u8] {
    let inner = method.strip_prefix(b"[").and_then(|rest| Some(&rest[memchr(b']', rest)? + 1..]));
    inner.unwrap_or(method)
}

/// What Windows calls a client that gave no name yet (SEC_E_NO_CREDENTIALS), as in the first two steps of NTLM; the first is a 401.2.
const NO_CREDENTIALS: &[u8] = b"2148074254";

fn status(text: &[u8]) -> Option<u16> {
    let status = std::str::from_utf8(text).ok()?.parse().ok()?;
    (100..600).contains(&status).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IIS: &str = "#Software: Microsoft Internet Information Services 10.0\n#Version: 1.0\n#Date: 2026-11-20 00:00:00\n\
        #Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) sc-status time-taken\n";

    /// Time, action, address, account and path of a line.
    type Told = (i64, Action, String, Option<String>, Option<String>);

    fn last(text: &str) -> Option<Told> {
        let mut parser = W3c::default();
        let mut lines = text.lines().collect::<Vec<_>>();
        let line: &'static str = lines.pop()?.to_owned().leak();
        for header in lines {
            assert!(parser.parse(header.as_bytes()).is_some(), "{header}");
        }
        // What follows a resumption has only the header.
        let mut resumed = W3c::default();
        for header in parser.header().split(|byte| *byte == b'\n') {
            let _ = resumed.parse(header);
        }
        let event = parser.parse(line.as_bytes())?;
        assert_eq!(resumed.parse(line.as_bytes()), Some(event));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let path = event.path().map(text);
        Some((event.time?, event.action, event.peer?.to_string(), event.user.map(text), path))
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn iis_lines_are_understood_by_their_header() {
        let line = "2026-11-20 10:00:05 192.0.2.1 GET /login.aspx a=1 443 - 198.51.100.7 Mozilla/5.0+(X11) 404 12";
        let at = 1_795_168_805;
        let want = (at, Action::Request { status: 404 }, "198.51.100.7".to_owned(), None, some("/login.aspx"));
        assert_eq!(last(&format!("{IIS}{line}")), Some(want));
        let line = line.replace(" - 198", " DOM\\eve 198").replace("404", "401");
        assert_eq!(last(&format!("{IIS}{line}")).unwrap().3, some("DOM\\eve"));
        assert_eq!(last(&line), None, "without a header nobody knows what it says");
        let usual = line.replace("404 12", "401 0 0 12").replace(" 401 12", " 401 2 5 12");
        assert_eq!(last(&usual).unwrap().2, "198.51.100.7", "but for the usual columns");
        let with_referrer = usual.replace("Mozilla/5.0+(X11)", "Mozilla/5.0+(X11) https://example.org/");
        assert_eq!(last(&with_referrer).unwrap().1, Action::Request { status: 401 });
        assert_eq!(last(&format!("{IIS}{line} 7")), None, "a column too many");
        let line =
            "2026-11-20 10:00:05 192.0.2.1 GET /x \"q\"\"p\"\"root\"203.0.113.1 443 \"a 198.51.100.7 Mozilla\" 401 1";
        assert_eq!(
            last(&format!("{IIS}{line}")).map(|told| told.2),
            some("198.51.100.7"),
            "quotation marks mean nothing"
        );
    }

    #[test]
    fn columns_in_any_order_with_blanks_quotes_and_an_offset() {
        let text = "#Software: Oracle9iAS Web Cache/2.0.0.2.0\n#GMT-Offset: -0800\n#Fields: c-ip  c-auth-id  date  time  cs-method  cs-uri  sc-status  cs(User-Agent)\n\
            192.0.2.7   eve\t2001-10-31     00:00:18      GET      /a.gif    200   \"Mozilla/4.5 [en] (WinNT; I)\"";
        let (at, action, peer, user, path) = last(text).unwrap();
        assert_eq!((at, action), (1_004_515_218, Action::Request { status: 200 }));
        assert_eq!((peer.as_str(), user, path), ("192.0.2.7", some("eve"), some("/a.gif")));
    }

    #[test]
    fn lines_without_a_date_are_of_the_headers_day_and_those_that_follow() {
        let header = "#Date: 2026-11-20 00:00:00\n#Fields: time c-ip cs-method cs-uri-stem sc-status\n";
        let line = |time: &str| format!("{time} 192.0.2.7 GET /x 401\n");
        let time = |text: &str| last(text).map(|told| told.0);
        let at = 1_795_168_805;
        assert_eq!(time(&format!("{header}{}", line("10:00:05"))), Some(at));
        assert_eq!(time(&format!("{header}{}{}", line("10:00:06"), line("10:00:05"))), Some(at), "a clock set back");
        let days = [line("23:59:59"), line("00:00:01"), line("22:00:00"), line("10:00:05")].concat();
        assert_eq!(time(&format!("{header}{days}")), Some(at + 2 * 86_400));
        let late = [line("23:59:59"), line("00:00:01"), line("23:59:59"), line("10:00:05")].concat();
        assert_eq!(time(&format!("{header}{late}")), Some(at + 86_400));
        let (_, without_date) = header.split_once('\n').unwrap();
        assert_eq!(time(&format!("{without_date}{}", line("10:00:05"))), None);
    }

    #[test]
    fn a_refused_ftp_password_is_a_failed_login_and_no_server_error() {
        let text = |method: &str, status: u16| {
            format!(
                "#Fields: date time c-ip cs-username cs-method cs-uri-stem sc-status\n2026-11-20 10:00:05 192.0.2.7 eve {method} - {status}"
            )
        };
        let failed = Action::LoginFailed { times: 1, shape: Shape::Explicit };
        assert_eq!(last(&text("PASS", 530)).unwrap().1, failed);
        assert_eq!(last(&text("[31]PASS", 530)).unwrap().1, failed);
        assert_eq!(last(&text("PASS", 230)).unwrap().1, Action::LoginSucceeded { by_key: false });
        assert_eq!(last(&text("AUTH", 535)).unwrap().1, failed, "of a server of mail");
        assert_eq!(last(&text("AUTH", 535)).unwrap().3, None, "the client may call itself anything");
        let web = "#Fields: date time c-ip s-port cs-method cs-uri-stem sc-status\n2026-11-20 10:00:05 192.0.2.7 443 DATA /x 500";
        assert_eq!(last(web).unwrap().1, Action::Request { status: 500 });
        for (column, value) in [("s-port", "0"), ("s-sitename", "SMTPSVC1"), ("x-session", "7a")] {
            let mail = web.replace(" s-port", &format!(" s-port {column}")).replace(" 443", &format!(" 2525 {value}"));
            let mail = if column == "s-port" { web.replace(" 443", " 0") } else { mail };
            assert_eq!(last(&mail).unwrap().1, Action::Other, "{column}");
        }
        for (command, reply) in [("STOR", 550), ("SIZE", 550), ("ControlChannelOpened", 500), ("RCPT", 554)] {
            assert_eq!(last(&text(command, reply)).unwrap().1, Action::Other, "{command}");
        }
    }
}
