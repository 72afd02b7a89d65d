//! Syslog (RFC 5424): over a socket of this machine, UDP (RFC 5426) or TCP with octet counting (RFC 6587, 3.4.1).

use std::fmt::Write as _;
use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::file::document;
use super::{Notifier, NotifyError, Parcel, Sending};
use crate::model::{Document, Item, Severity, SyslogSpec};

const DEADLINE: Duration = Duration::from_secs(10);

/// The facility `daemon`.
const FACILITY: u8 = 3;

/// The longest line: what every receiver has to take is less, what most take is more (RFC 5424, 6.1).
const LONGEST: usize = 2000;

/// The notifier.
pub struct Syslog {
    spec: SyslogSpec,
}

impl Syslog {
    /// For this place.
    pub fn new(spec: &SyslogSpec) -> Self {
        Self { spec: spec.clone() }
    }
}

impl Notifier for Syslog {
    fn send<'a>(&'a self, parcel: &'a Parcel) -> Sending<'a> {
        Box::pin(async move {
            let (spec, lines) = (self.spec.clone(), lines(&document(parcel)?));
            let sent = crate::threads::blocking(move || write(&spec, &lines)).await;
            let sent = sent.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            sent.map_err(|error| NotifyError::Down(format!("syslog: {error}")))
        })
    }
}

fn write(spec: &SyslogSpec, lines: &[String]) -> std::io::Result<()> {
    match spec {
        SyslogSpec::Socket(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.set_write_timeout(Some(DEADLINE))?;
            socket.connect(path)?;
            lines.iter().try_for_each(|line| socket.send(line.as_bytes()).map(drop))
        }
        SyslogSpec::Udp(place) => {
            let addresses: Vec<_> = place.to_socket_addrs()?.collect();
            let any = if addresses.first().is_some_and(std::net::SocketAddr::is_ipv6) { "[::]:0" } else { "0.0.0.0:0" };
            let socket = UdpSocket::bind(any)?;
            socket.connect(&*addresses)?;
            lines.iter().try_for_each(|line| socket.send(line.as_bytes()).map(drop))
        }
        SyslogSpec::Tcp(place) => {
            let mut stream = connect(place)?;
            stream.set_write_timeout(Some(DEADLINE))?;
            let text: String = lines.iter().map(|line| format!("{} {line}", line.len())).collect();
            stream.write_all(text.as_bytes())?;
            stream.shutdown(std::net::Shutdown::Write)
        }
    }
}

/// A connection to the first address that takes one.
fn connect(place: &str) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::other(format!("{place} has no address"));
    for address in place.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, DEADLINE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The document as syslog lines, one for each thing it tells of.
fn lines(document: &Document) -> Vec<String> {
    if document.items.is_empty() {
        let parameters = [("id", document.id.as_str()), ("kind", document.kind.as_str())];
        return vec![line(document, document.at, document.severity, &parameters, &document.title)];
    }
    let held_back = if document.held_back > 0 { document.held_back.to_string() } else { String::new() };
    let of_item = |item: &Item| {
        let count = item.count.to_string();
        let mut parameters = vec![
            ("id", document.id.as_str()),
            ("kind", document.kind.as_str()),
            ("name", item.name.as_str()),
            ("severity", item.severity.as_str()),
            ("count", count.as_str()),
            ("location", item.location.as_str()),
            ("held_back", held_back.as_str()),
        ];
        parameters.extend(item.subject.iter().map(|(field, value)| (field.as_str(), value.as_str())));
        line(document, item.at, item.severity, &parameters, &item.sentence)
    };
    let mut lines: Vec<String> = document.items.iter().map(of_item).collect();
    if document.more_items > 0 {
        let text = format!("and {} more", document.more_items);
        lines.push(line(document, document.at, document.severity, &[("id", document.id.as_str())], &text));
    }
    lines
}

fn line(
    document: &Document,
    at: chrono::DateTime<chrono::Utc>,
    severity: Severity,
    parameters: &[(&str, &str)],
    text: &str,
) -> String {
    // Critical, error, warning and notice.
    let level = match severity {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
    };
    let (at, host) = (at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true), &document.host);
    // 32473 is the enterprise number that is free for everybody (RFC 5612).
    let mut line = format!("<{}>1 {at} {host} logkeeper - {} [logkeeper@32473", FACILITY * 8 + level, document.kind);
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        // Writing to a String can't fail.
        let _ = write!(line, " {name}=\"{}\"", escaped(value));
    }
    line.push_str("] \u{feff}");
    line.push_str(text);
    let mut end = line.len().min(LONGEST);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line
}

/// A value within structured data (RFC 5424, 6.3.3).
fn escaped(value: &str) -> String {
    let mut bytes = 0;
    let fits = |c: &char| {
        bytes += c.len_utf8();
        bytes <= 120
    };
    let short: String = value.chars().take_while(fits).collect();
    short.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_log_says_does_not_end_the_structured_data() {
        assert_eq!(escaped(r#"a"] evil[b="\"#), r#"a\"\] evil[b=\"\\"#);
    }
}
