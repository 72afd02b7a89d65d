//! What is pasted from a web server's configuration, as regular expressions: Apache's
//! [LogFormat](https://httpd.apache.org/docs/2.4/mod/mod_log_config.html) and nginx'
//! [log_format](https://nginx.org/en/docs/http/ngx_http_log_module.html).

use std::fmt::Write as _;

use crate::model::Problem;
use crate::model::format::Part;

/// What was pasted, understood.
pub struct Pasted {
    /// The expression for a whole line.
    pub regex: String,
    /// How the stamp is written, in strftime's words, where that is known.
    pub time: Option<String>,
}

/// A piece of a line.
enum Piece {
    Literal(String),
    Value(Value),
    Stamp(Stamp),
}

/// What stands at a place of a line.
struct Value {
    /// None for what is not looked at.
    part: Option<Part>,
    written: Written,
}

/// Who or what writes a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    /// Whoever asks chooses it freely, blanks included, or nobody knows.
    ByClients,
    /// Whoever asks, as a name or a path. (nginx before 1.21.1 allows blanks in them.)
    AsName,
    /// The server, as a number.
    AsNumber,
    /// The server, otherwise.
    ByServer,
}

/// A stamp, or one of the pieces that it is written in.
struct Stamp {
    regex: String,
    /// In strftime's words; none where these don't know it.
    time: Option<String>,
}

/// The expression for lines that Apache writes with this LogFormat.
pub fn apache(text: &str) -> Result<Pasted, Problem> {
    let mut pieces = Vec::new();
    let text = apache_text(text)?;
    let has_client = text.contains("%h") || text.contains("%a");
    let mut rest = text.as_str();
    while let Some(at) = rest.find('%') {
        pieces.push(Piece::Literal(rest[..at].to_owned()));
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            pieces.push(Piece::Literal("%".to_owned()));
            rest = after;
            continue;
        }
        // Statuses for which alone it is written, and which of two requests is meant.
        rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || "!,<>".contains(c));
        let mut argument = "";
        if let Some(after) = rest.strip_prefix('{') {
            let Some(end) = after.find('}') else { return Err(unclosed("}", "%{Referer}i")) };
            (argument, rest) = (&after[..end], &after[end + 1..]);
            rest = rest.trim_start_matches(['<', '>']);
        }
        let letters = if rest.starts_with('^') { 3 } else { 1 };
        let Some(directive) = rest.get(..letters) else { return Err(unclosed("a letter", "%h")) };
        rest = &rest[letters..];
        if directive == "t" && !argument.is_empty() {
            pieces.push(Piece::Stamp(apache_stamp(argument)));
        } else if directive == "t" {
            pieces.extend([Piece::Literal("[".into()), Piece::Stamp(Stamp::of(ACCESS)), Piece::Literal("]".into())]);
        } else {
            // The other end of the connection may be a proxy.
            let is_proxy = argument == "c" && has_client;
            let part = apache_part(directive, argument).filter(|_| !is_proxy);
            pieces.push(Piece::Value(Value { part, written: apache_written(directive) }));
        }
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    expression(pieces)
}

/// The stamp of both servers' usual logs, and nginx' other one.
const ACCESS: &str = "%d/%b/%Y:%H:%M:%S %z";
const ISO_8601: &str = "%Y-%m-%dT%H:%M:%S%:z";

/// `%{FORMAT}t`
fn apache_stamp(argument: &str) -> Stamp {
    let format = argument.strip_prefix("begin:").or_else(|| argument.strip_prefix("end:")).unwrap_or(argument);
    match format {
        "sec" => Stamp::of("%s"),
        "msec" => Stamp { regex: r"\d{13}".to_owned(), time: None },
        "usec" => Stamp { regex: r"\d{16}".to_owned(), time: None },
        "msec_frac" => Stamp { regex: r"\d{3}".to_owned(), time: Some("%3f".to_owned()) },
        "usec_frac" => Stamp { regex: r"\d{6}".to_owned(), time: Some("%6f".to_owned()) },
        format => Stamp::of(format),
    }
}

fn apache_part(directive: &str, argument: &str) -> Option<Part> {
    match directive {
        "h" | "a" => Some(Part::SourceIp),
        "u" => Some(Part::UserName),
        "r" => Some(Part::Request),
        "s" => Some(Part::Status),
        "m" => Some(Part::Method),
        "U" => Some(Part::Path),
        "v" | "V" => Some(Part::HostName),
        "i" if argument.eq_ignore_ascii_case("x-forwarded-for") => Some(Part::ForwardedFor),
        _ => None,
    }
}

fn apache_written(directive: &str) -> Written {
    match directive {
        "b" | "B" | "D" | "I" | "k" | "O" | "p" | "S" | "T" => Written::AsNumber,
        "a" | "A" | "h" | "H" | "L" | "P" | "R" | "s" | "v" | "X" => Written::ByServer,
        "m" | "V" => Written::AsName,
        // Notes, variables and headers of answers may hold what was asked for.
        _ => Written::ByClients,
    }
}

/// The format alone: pasted as it is, with its quotation marks escaped, between these, with the format's name, or as the whole directive.
fn apache_text(text: &str) -> Result<String, Problem> {
    let joined = text.replace("\\\r\n", "").replace("\\\n", "");
    let mut rest = joined.trim();
    let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let is_one_of = |names: [&str; 2]| names.iter().any(|name| name.eq_ignore_ascii_case(word));
    let (is_format, is_log) = (is_one_of(["LogFormat", "TransferLog"]), is_one_of(["CustomLog", "GlobalLog"]));
    let directive = is_format || is_log;
    if directive {
        // Of a log the name of its file comes first.
        rest = if is_format { after.trim_start() } else { without_word(after.trim_start()).trim_start() };
        if !rest.starts_with(['"', '\'']) {
            let help = "paste the LogFormat of that name";
            return Err(Problem::new("this only names a format", "holds no format", help));
        }
    }
    let quoted = rest.chars().next().filter(|mark| matches!(mark, '"' | '\'')).and_then(|mark| {
        let inner = &rest[1..];
        let end = closing_mark(inner, mark)?;
        let is_name = |text: &str| !text.contains(['"', '\'', '%']) && text.split_whitespace().count() <= 1;
        (directive || is_name(&inner[end + 1..])).then_some(&inner[..end])
    });
    in_one_line(unescaped(quoted.unwrap_or(rest)))
}

/// What follows the first word, which may stand between quotation marks.
fn without_word(text: &str) -> &str {
    let end = match text.chars().next().filter(|mark| matches!(mark, '"' | '\'')) {
        Some(mark) => closing_mark(&text[1..], mark).map(|end| end + 2),
        None => text.find(char::is_whitespace),
    };
    &text[end.unwrap_or(text.len())..]
}

/// Where the quotation mark stands that ends a text.
fn closing_mark(text: &str, mark: char) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let is_end = c == mark && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end.then_some(at)
    })
}

fn in_one_line(text: String) -> Result<String, Problem> {
    if text.contains(['\n', '\r']) {
        let help = "write the format in one line, as the server writes its lines";
        return Err(Problem::new("there is a line break in this format", "in several lines", help));
    }
    Ok(text)
}

/// The expression for lines that nginx writes with this log_format.
pub fn nginx(text: &str) -> Result<Pasted, Problem> {
    let mut pieces = Vec::new();
    let text = nginx_text(text)?;
    let mut rest = text.as_str();
    while let Some(at) = rest.find('$') {
        pieces.push(Piece::Literal(rest[..at].to_owned()));
        rest = &rest[at + 1..];
        let name;
        if let Some(after) = rest.strip_prefix('{') {
            let Some(end) = after.find('}') else { return Err(unclosed("}", "${status}")) };
            (name, rest) = (&after[..end], &after[end + 1..]);
        } else {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            (name, rest) = rest.split_at(end);
        }
        pieces.push(match name {
            "time_local" => Piece::Stamp(Stamp::of(ACCESS)),
            "time_iso8601" => Piece::Stamp(Stamp::of(ISO_8601)),
            "msec" => Piece::Stamp(Stamp { regex: r"\d+\.\d{3}".to_owned(), time: None }),
            name => Piece::Value(Value { part: nginx_part(name), written: nginx_written(name) }),
        });
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    expression(pieces)
}

fn nginx_part(name: &str) -> Option<Part> {
    match name {
        "remote_addr" => Some(Part::SourceIp),
        "remote_user" => Some(Part::UserName),
        "request" => Some(Part::Request),
        "request_method" => Some(Part::Method),
        "request_uri" | "uri" => Some(Part::Path),
        "status" => Some(Part::Status),
        "host" | "server_name" | "http_host" | "hostname" => Some(Part::HostName),
        "http_x_forwarded_for" | "proxy_add_x_forwarded_for" => Some(Part::ForwardedFor),
        _ => None,
    }
}

fn nginx_written(name: &str) -> Written {
    const NUMBERS: [&str; 14] = [
        "body_bytes_sent",
        "bytes_received",
        "bytes_sent",
        "connection",
        "connection_requests",
        "connection_time",
        "gzip_ratio",
        "pid",
        "remote_port",
        "request_length",
        "request_time",
        "server_port",
        "session_time",
        "realip_remote_port",
    ];
    const WORDS: [&str; 20] = [
        "binary_remote_addr",
        "hostname",
        "https",
        "nginx_version",
        "pipe",
        "protocol",
        "proxy_host",
        "proxy_port",
        "realip_remote_addr",
        "remote_addr",
        "request_id",
        "scheme",
        "server_addr",
        "server_name",
        "server_protocol",
        "ssl_cipher",
        "ssl_protocol",
        "ssl_session_id",
        "ssl_session_reused",
        "status",
    ];
    let of_upstream = name.strip_prefix("upstream_");
    if NUMBERS.contains(&name) {
        Written::AsNumber
    } else if matches!(name, "host" | "request_method" | "request_uri") {
        Written::AsName
    } else if WORDS.contains(&name)
        || name.starts_with("tcpinfo_")
        || of_upstream.is_some_and(|rest| !["http_", "cookie_", "trailer_"].iter().any(|of| rest.starts_with(of)))
    {
        Written::ByServer
    } else {
        // Others may hold whatever was asked for, as those that a configuration makes of a header.
        Written::ByClients
    }
}

/// The format alone: pasted as it is, as its pieces between quotation marks, or as the whole directive.
fn nginx_text(text: &str) -> Result<String, Problem> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut rest = text.trim();
    let directive = rest.strip_prefix("log_format").filter(|after| after.starts_with(char::is_whitespace));
    if let Some(after) = directive {
        rest = without_word(after.trim_start()).trim_start();
    }
    if rest.starts_with("escape=none") {
        let help = "have nginx write it with escape=default or escape=json";
        return Err(Problem::new("visitors can end what stands in quotation marks", "could be forged", help));
    }
    if rest.starts_with("escape=") {
        rest = without_word(rest).trim_start();
    }
    let pieces =
        quoted_pieces(rest).filter(|pieces| directive.is_some() || rest.starts_with('\'') || pieces.len() == 1);
    if directive.is_some() && pieces.is_none() {
        let help = "put each piece between quotation marks: '$remote_addr …' '\"$request\" …'";
        return Err(Problem::new("not all of the format stands between quotation marks", "is not complete", help));
    }
    in_one_line(unescaped(&pieces.map_or(rest.to_owned(), |pieces| pieces.concat())))
}

/// The texts between quotation marks, where there is nothing else but a semicolon at the end.
fn quoted_pieces(text: &str) -> Option<Vec<&str>> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some(mark) = rest.chars().next().filter(|mark| matches!(mark, '"' | '\'')) {
        let end = closing_mark(&rest[1..], mark)?;
        pieces.push(&rest[1..=end]);
        rest = rest[end + 2..].trim_start();
    }
    (!pieces.is_empty() && matches!(rest, "" | ";")).then_some(pieces)
}

/// What both servers make of backslashes in their configuration.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let meant = match letters.peek().filter(|_| letter == '\\') {
            Some(mark @ ('"' | '\'' | '\\')) => Some(*mark),
            Some('t') => Some('\t'),
            Some('r') => Some('\r'),
            Some('n') => Some('\n'),
            _ => None,
        };
        plain.push(meant.unwrap_or(letter));
        if meant.is_some() {
            letters.next();
        }
    }
    plain
}

fn unclosed(what: &str, example: &str) -> Problem {
    Problem::new(format!("{what} is missing"), "is not complete", format!("it looks like {example}"))
}

impl Stamp {
    /// One that is written so, in strftime's words.
    fn of(format: &str) -> Self {
        let mut regex = String::new();
        let mut letters = format.chars();
        let mut is_known = true;
        while let Some(letter) = letters.next() {
            if letter != '%' {
                regex.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4])));
                continue;
            }
            let expression = directive_expression(letters.next(), &mut letters);
            is_known &= expression.is_some();
            regex.push_str(expression.unwrap_or(r#"[^"\[\]]*?"#));
        }
        Self { regex, time: is_known.then(|| format.to_owned()) }
    }

    /// Whether it tells the day, and the time of day.
    fn is_whole(&self) -> bool {
        let holds = |letters: &str| {
            self.time.as_ref().is_none_or(|time| {
                time.match_indices('%').any(|(at, _)| time[at + 1..].starts_with(|c| letters.contains(c)))
            })
        };
        holds("dejFDcsx+") && holds("HIkTRcsXr+")
    }

    fn tells_zone(&self) -> bool {
        self.time.as_ref().is_none_or(|time| ["%z", "%:z", "%Z", "%s"].iter().any(|zone| time.contains(zone)))
    }

    /// Whether it only adds to a stamp: the zone, or a fraction of the second.
    fn is_addition(&self) -> bool {
        self.time.as_ref().is_some_and(|time| matches!(time.as_str(), "%z" | "%:z" | "%Z" | "%3f" | "%6f"))
    }

    /// Whether the next one, with what stands between them, belongs to it.
    fn takes(&self, between: &str, next: &Self) -> bool {
        // Seconds since 1970 have their fraction behind a dot, and no zone.
        let is_since_1970 = self.time.as_ref().is_none_or(|time| time == "%s");
        let is_fraction = || matches!(next.time.as_deref(), Some("%3f" | "%6f")) && matches!(between, "" | ".");
        if is_since_1970 { self.time.is_some() && is_fraction() } else { !self.is_whole() || next.is_addition() }
    }

    /// This one and another one as one, with what stands between them.
    fn joined(self, between: &str, next: Self) -> Self {
        let time = self.time.zip(next.time).map(|(first, second)| first + &between.replace('%', "%%") + &second);
        Self { regex: self.regex + &regex::escape(between) + &next.regex, time }
    }
}

/// What a directive of strftime may write; none for those that aren't known.
fn directive_expression(letter: Option<char>, rest: &mut std::str::Chars<'_>) -> Option<&'static str> {
    Some(match letter? {
        'Y' => r"\d{4}",
        'd' | 'm' | 'y' | 'H' | 'I' | 'M' | 'S' => r"\d{2}",
        'e' | 'k' | 'l' => r"[ \d]\d",
        'j' => r"\d{3}",
        'a' | 'A' | 'b' | 'B' | 'h' => r#"[^\s\d"\[\]:/]+"#,
        'T' | 'X' => r"\d{2}:\d{2}:\d{2}",
        'R' => r"\d{2}:\d{2}",
        'F' => r"\d{4}-\d{2}-\d{2}",
        'D' | 'x' => r"\d{2}/\d{2}/\d{2}",
        'r' => r"\d{2}:\d{2}:\d{2} [AP]M",
        'c' => r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}",
        'p' => "[AP]M",
        's' => r"\d+",
        'z' => r"[+-]\d{4}",
        ':' if rest.next() == Some('z') => r"[+-]\d{2}:\d{2}",
        'Z' => r"[A-Za-z0-9+-]+",
        '%' => "%",
        _ => return None,
    })
}

/// The whole line. Each part is named once: of several, as the address before and after a proxy's, the first counts.
fn expression(pieces: Vec<Piece>) -> Result<Pasted, Problem> {
    let mut named = Vec::new();
    let mut regex = "(?s-u)^".to_owned();
    let merged = merged(pieces);
    // Whether since the last quotation mark or tab, which no visitor can write, there was what he chose: anything, a request, a name.
    let (mut is_loose, mut has_request, mut has_name, mut time) = (false, false, false, None);
    for (index, piece) in merged.iter().enumerate() {
        let Value { part, written } = match piece {
            Piece::Literal(text) => {
                regex.push_str(&regex::escape(text));
                if text.contains(BARS) {
                    (is_loose, has_request, has_name) = (false, false, false);
                }
                continue;
            }
            Piece::Stamp(_)
                if (is_loose || has_name) && !named.contains(&Part::Time) && takes_anything(&merged, index + 1) =>
            {
                return Err(forgeable("the time"));
            }
            Piece::Stamp(stamp) if named.contains(&Part::Time) => {
                regex.push_str(&stamp.regex);
                continue;
            }
            Piece::Stamp(stamp) => {
                // Writing to a String can't fail.
                let _ = write!(regex, "(?<{}>{})", Part::Time, stamp.regex);
                time.clone_from(&stamp.time);
                named.push(Part::Time);
                continue;
            }
            Piece::Value(value) => value,
        };
        let mut part = part.filter(|part| !named.contains(part));
        let literal = |at: Option<usize>| match at.and_then(|at| merged.get(at)) {
            Some(Piece::Literal(text)) => text.as_str(),
            _ => "",
        };
        let (before, after) = (literal(index.checked_sub(1)), literal(Some(index + 1)));
        // Both servers escape quotation marks, so nobody can forge the end of what stands between them.
        let is_quoted = before.ends_with('"') && after.starts_with('"');
        let may_take = || takes_anything(&merged, index + 1);
        if part == Some(Part::SourceIp) && (is_loose || has_request || has_name && may_take()) {
            return Err(forgeable("their address"));
        }
        if part == Some(Part::Status) && (is_loose || has_name) && may_take() {
            return Err(forgeable("the status"));
        }
        // Most requests end with their protocol, so that one passes for no status; those that don't can't try a password.
        let is_request = part == Some(Part::Request) && !is_quoted;
        has_request |= is_request;
        has_name |= *written == Written::AsName;
        is_loose |= *written == Written::ByClients && !is_request;
        // One that a visitor may have ended is not believed.
        part = part.filter(|part| *part != Part::ForwardedFor || is_quoted);
        let is_last = index + 1 == merged.len();
        let value = match part {
            Some(Part::Status) => r"\d{3}|-",
            Some(Part::SourceIp) if after.starts_with('|') => r#"[^"\\\s,|]+?"#,
            Some(Part::SourceIp) if after.starts_with(';') => r#"[^"\\\s,;]+?"#,
            Some(Part::SourceIp) => r#"[^"\\\s,]+?"#,
            Some(Part::Method) if !is_quoted => r#"[^"\\\s,]+?"#,
            // What follows at once, as the part behind a question mark, belongs to it.
            Some(Part::Path) if !is_quoted && after.is_empty() && !is_last => r#"/[^"\s]*|[^"\s/]*"#,
            Some(Part::Path) if !is_quoted => r#"/(?:[^"\\]|\\.)*?|[^"\s/]*"#,
            Some(Part::HostName) if !is_quoted => r#"[^"\\\t]*?"#,
            // Apache writes a name that is empty as two quotation marks.
            Some(Part::UserName) if !is_quoted => r##"""|(?:[^"\\]|\\.)*?"##,
            Some(Part::UserName) => r##"""|(?:[^"\\]|\\.)*"##,
            // What follows the protocol is none of the visitor's.
            Some(Part::Request) if !is_quoted => r#"(?:[^"\\]|\\.)*? HTTP/\d(?:\.\d)?|(?:[^"\\]|\\.)*?"#,
            _ if is_quoted => r#"(?:[^"\\]|\\.)*"#,
            // Where there is none it may be nothing at all.
            _ if *written == Written::AsNumber => "-?[0-9.]*",
            // Several upstream servers stand with commas or colons between them.
            _ if *written == Written::ByServer => r#"[^"\s]*?(?:(?:,| :) [^"\s]+?)*?"#,
            _ if is_last => ".*",
            _ => r#"(?:[^"\\]|\\.)*?"#,
        };
        let _ = match part {
            Some(part) => write!(regex, "(?<{part}>{value})"),
            None => write!(regex, "(?:{value})"),
        };
        named.extend(part);
    }
    for (part, help) in [(Part::Time, "add %t, or [$time_local]"), (Part::SourceIp, "add %h, or $remote_addr")] {
        if !named.contains(&part) {
            let message = format!("lines of this format have no {part}");
            return Err(Problem::new(message, format!("holds no {part}"), help));
        }
    }
    // These are known anyway, and read faster.
    let time = time.filter(|time| ![ACCESS, ISO_8601].contains(&time.as_str()) && !time.starts_with("%s"));
    Ok(Pasted { regex: regex + "$", time })
}

/// Both servers escape these in what visitors choose.
const BARS: [char; 2] = ['"', '\t'];

/// Whether something from there on may be taken for whatever a visitor likes, before a quotation mark or a tab.
fn takes_anything(pieces: &[Piece], from: usize) -> bool {
    for piece in pieces.iter().skip(from) {
        match piece {
            Piece::Literal(text) if text.contains(BARS) => return false,
            Piece::Value(value) if matches!(value.written, Written::ByClients | Written::AsName) => return true,
            _ => {}
        }
    }
    false
}

fn forgeable(what: &str) -> Problem {
    let help = "log it in quotation marks, as \\\"%{User-Agent}i\\\" or \"$http_user_agent\", or behind that";
    let message = format!("what visitors choose stands before {what} without quotation marks");
    Problem::new(message, "could be forged", help)
}

/// With neighbouring literals in one piece, and no empty ones, and the pieces of a stamp together.
fn merged(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut merged: Vec<Piece> = Vec::new();
    for piece in pieces {
        let piece = match (merged.pop(), piece) {
            (last, Piece::Literal(text)) if text.is_empty() => {
                merged.extend(last);
                continue;
            }
            (Some(Piece::Literal(last)), Piece::Literal(text)) => Piece::Literal(last + &text),
            (Some(Piece::Stamp(first)), Piece::Stamp(next)) if first.takes("", &next) => {
                Piece::Stamp(first.joined("", next))
            }
            (Some(Piece::Literal(between)), Piece::Stamp(next)) => match merged.pop() {
                Some(Piece::Stamp(first)) if first.takes(&between, &next) => Piece::Stamp(first.joined(&between, next)),
                before => {
                    merged.extend(before.into_iter().chain([Piece::Literal(between)]));
                    Piece::Stamp(next)
                }
            },
            (Some(Piece::Stamp(stamp)), Piece::Literal(text)) if text.starts_with('Z') && !stamp.tells_zone() => {
                merged.push(Piece::Stamp(stamp.joined("", Stamp::of("Z"))));
                Piece::Literal(text[1..].to_owned())
            }
            (last, piece) => {
                merged.extend(last);
                piece
            }
        };
        merged.push(piece);
    }
    merged
}
