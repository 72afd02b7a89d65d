//! What is pasted from a web server's configuration, as regular expressions: Apache's
//! [LogFormat](https://httpd.apache.org/docs/2.4/mod/mod_log_config.html) and nginx'
//! [log_format](https://nginx.org/en/docs/http/ngx_http_log_module.html).

use crate::model::Problem;
use crate::model::format::Part;

/// A piece of a line.
enum Piece {
    Literal(String),
    /// What stands there; none for what is not looked at.
    Value(Option<Part>),
}

/// The expression for lines that Apache writes with this LogFormat.
pub fn apache(text: &str) -> Result<String, Problem> {
    let mut pieces = Vec::new();
    // As pasted, with the quotation marks escaped as the configuration wants them.
    let text = text.replace("\\\"", "\"");
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
            pieces.push(Piece::Value(Some(Part::Time)));
        } else if directive == "t" {
            pieces.extend([Piece::Literal("[".into()), Piece::Value(Some(Part::Time)), Piece::Literal("]".into())]);
        } else {
            pieces.push(Piece::Value(apache_part(directive, argument)));
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
    let mut rest = text;
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
        pieces.push(Piece::Value(nginx_part(name)));
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

fn unclosed(what: &str, example: &str) -> Problem {
    Problem::new(format!("{what} is missing"), "is not complete", format!("it looks like {example}"))
}

/// The whole line. Each part is named once: of several, as the address before and after a proxy's, the first counts.
fn expression(pieces: Vec<Piece>) -> Result<String, Problem> {
    let mut named = Vec::new();
    let mut expression = "(?s-u)^".to_owned();
    let merged = merged(pieces);
    for (index, piece) in merged.iter().enumerate() {
        let part = match piece {
            Piece::Literal(text) => {
                expression.push_str(&regex::escape(text));
                continue;
            }
            Piece::Value(part) => part.filter(|part| !named.contains(part)),
        };
        let literal = |at: Option<usize>| match at.and_then(|at| merged.get(at)) {
            Some(Piece::Literal(text)) => text.as_str(),
            _ => "",
        };
        let (before, after) = (literal(index.checked_sub(1)), literal(Some(index + 1)));
        // Both servers escape quotation marks, and only them, so nobody can forge the end of what stands between them.
        let value = match part {
            _ if before.ends_with('"') && after.starts_with('"') => r#"(?:[^"\\]|\\.)*"#,
            Some(Part::Status) => r"\d{3}|-",
            Some(Part::SourceIp | Part::Method) => r"[^\s,]+",
            Some(Part::UserName) => r#"[^"]*?"#,
            _ if after.is_empty() => ".*",
            _ if after.starts_with(' ') => r#"[^"\s]*"#,
            _ => r#"[^"]*?"#,
        };
        match part {
            Some(part) => expression.push_str(&format!("(?<{part}>{value})")),
            None => expression.push_str(&format!("(?:{value})")),
        }
        named.extend(part);
    }
    if !named.contains(&Part::Time) {
        let help = "without a time nothing can be counted: add %t, or $time_local";
        return Err(Problem::new("lines of this format have no time", "holds no time", help));
    }
    Ok(expression + "$")
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
