//! What is pasted from a web server's configuration, as regular expressions: Apache's
//! [LogFormat](https://httpd.apache.org/docs/2.4/mod/mod_log_config.html) and nginx'
//! [log_format](https://nginx.org/en/docs/http/ngx_http_log_module.html).

use crate::model::Problem;
use crate::model::format::Part;

/// A piece of a line.
enum Piece {
    Literal(String),
    Value(Value),
}

/// What stands at a place of a line.
struct Value {
    /// None for what is not looked at.
    part: Option<Part>,
    /// Whether whoever asks chooses it freely, blanks included.
    is_clients: bool,
}

/// The expression for lines that Apache writes with this LogFormat.
pub fn apache(text: &str) -> Result<String, Problem> {
    let mut pieces = Vec::new();
    // As pasted, with the quotation marks escaped as the configuration wants them.
    let text = text.replace("\\\"", "\"").replace("\\t", "\t");
    refuse_directive(&text, "LogFormat")?;
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
            pieces.push(value(Some(Part::Time), false));
        } else if directive == "t" {
            pieces.extend([Piece::Literal("[".into()), value(Some(Part::Time), false), Piece::Literal("]".into())]);
        } else {
            let is_clients = matches!(directive, "i" | "C" | "u" | "r" | "U" | "q" | "l");
            pieces.push(value(apache_part(directive, argument), is_clients));
        }
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    expression(pieces)
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

/// The expression for lines that nginx writes with this log_format.
pub fn nginx(text: &str) -> Result<String, Problem> {
    let mut pieces = Vec::new();
    let text = text.replace("\\t", "\t");
    refuse_directive(&text, "log_format")?;
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
        let starts = ["http_", "cookie_", "arg_", "request", "sent_http_", "upstream_http_"];
        let is_clients = name != "request_method"
            && name != "request_time"
            && name != "request_length"
            && name != "request_id"
            && (starts.iter().any(|start| name.starts_with(start))
                || matches!(name, "uri" | "args" | "query_string" | "remote_user"));
        pieces.push(value(nginx_part(name), is_clients));
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    expression(pieces)
}

fn nginx_part(name: &str) -> Option<Part> {
    match name {
        "remote_addr" => Some(Part::SourceIp),
        "remote_user" => Some(Part::UserName),
        "time_local" | "time_iso8601" | "msec" => Some(Part::Time),
        "request" => Some(Part::Request),
        "request_method" => Some(Part::Method),
        "request_uri" | "uri" => Some(Part::Path),
        "status" => Some(Part::Status),
        "host" | "server_name" | "http_host" | "hostname" => Some(Part::HostName),
        "http_x_forwarded_for" | "proxy_add_x_forwarded_for" => Some(Part::ForwardedFor),
        _ => None,
    }
}

fn value(part: Option<Part>, is_clients: bool) -> Piece {
    Piece::Value(Value { part, is_clients })
}

/// What is pasted is the format alone.
fn refuse_directive(text: &str, directive: &str) -> Result<(), Problem> {
    if !text.trim_start().starts_with(directive) {
        return Ok(());
    }
    let help = "paste what stands between its quotation marks, without the directive and the format's name";
    Err(Problem::new(format!("this is the whole {directive} directive"), "more than the format", help))
}

fn unclosed(what: &str, example: &str) -> Problem {
    Problem::new(format!("{what} is missing"), "is not complete", format!("it looks like {example}"))
}

/// The whole line. Each part is named once: of several, as the address before and after a proxy's, the first counts.
fn expression(pieces: Vec<Piece>) -> Result<String, Problem> {
    let mut named = Vec::new();
    let mut expression = "(?s-u)^".to_owned();
    let merged = merged(pieces);
    let mut is_forgeable = false;
    for (index, piece) in merged.iter().enumerate() {
        let Value { part, is_clients } = match piece {
            Piece::Literal(text) => {
                expression.push_str(&regex::escape(text));
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
        let marks: usize = (0..index).map(|at| literal(Some(at)).matches('"').count()).sum();
        is_forgeable |= *is_clients && marks.is_multiple_of(2);
        if is_forgeable && part == Some(Part::SourceIp) {
            return Err(forgeable());
        }
        // One that a visitor may have ended is not believed.
        part = part.filter(|part| *part != Part::ForwardedFor || is_quoted);
        let is_last = index + 1 == merged.len();
        let value = match part {
            Some(Part::Status) => r"\d{3}|-",
            Some(Part::SourceIp | Part::Method) => r"[^\s,]+?",
            // What follows at once, as the part behind a question mark, belongs to it.
            Some(Part::Path) if !is_quoted && after.is_empty() && !is_last => r#"/[^"\s]*|[^"\s/]*"#,
            Some(Part::Path) if !is_quoted => r#"/(?:[^"\\]|\\.)*?|[^"\s/]*"#,
            Some(Part::HostName) if !is_quoted => r#"[^"\s/]*?"#,
            Some(Part::Time) if before.ends_with('[') => r#"[^"\[\]]*"#,
            // Apache writes a name that is empty as two quotation marks.
            Some(Part::UserName) if !is_quoted => r##"""|(?:[^"\\]|\\.)*?"##,
            _ if is_quoted => r#"(?:[^"\\]|\\.)*"#,
            _ if is_last => ".*",
            _ if *is_clients => r#"(?:[^"\\]|\\.)*?"#,
            // Several upstream servers stand with commas or colons between them.
            _ if after.starts_with(' ') => r#"[^"\s]*(?:(?:,| :) [^"\s]+)*"#,
            _ => r#"[^"]*?"#,
        };
        match part {
            Some(part) => expression.push_str(&format!("(?<{part}>{value})")),
            None => expression.push_str(&format!("(?:{value})")),
        }
        named.extend(part);
    }
    for (part, help) in [(Part::Time, "add %t, or [$time_local]"), (Part::SourceIp, "add %h, or $remote_addr")] {
        if !named.contains(&part) {
            let message = format!("lines of this format have no {part}");
            return Err(Problem::new(message, format!("holds no {part}"), help));
        }
    }
    Ok(expression + "$")
}

fn forgeable() -> Problem {
    let help = "log it in quotation marks, as \\\"%{User-Agent}i\\\" or \"$http_user_agent\", or behind the address";
    Problem::new("what visitors choose stands before their address without quotation marks", "could be forged", help)
}

/// With neighbouring literals in one piece, and no empty ones.
fn merged(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut merged: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (merged.last_mut(), piece) {
            (_, Piece::Literal(text)) if text.is_empty() => {}
            (Some(Piece::Literal(last)), Piece::Literal(text)) => last.push_str(&text),
            (_, piece) => merged.push(piece),
        }
    }
    merged
}
