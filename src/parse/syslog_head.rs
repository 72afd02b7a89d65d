//! What stands behind the stamp of a line of syslog: host, program, process and message, and what several daemons put between them.

use memchr::{memchr, memmem};

use super::syslog::{is_sshd, number, without_structured_data};
use super::time::{clock, month, rfc3339};
use crate::model::peer::parse_ip;
use crate::model::writer::{is_about_logins, web_server};

/// What stands behind the stamp.
#[derive(Debug, PartialEq)]
pub struct Head<'a> {
    /// The host that wrote the line; empty where it isn't told.
    pub host: &'a [u8],
    /// The process; 0 where it isn't told.
    pub pid: u32,
    /// What its program said.
    pub said: Said<'a>,
}

/// What a program said.
#[derive(Debug, PartialEq)]
pub struct Said<'a> {
    /// Its name; empty where it isn't told.
    pub program: &'a [u8],
    /// The rest of the line.
    pub message: &'a [u8],
}

/// What [`head`] makes of a text of the plainest kind, `HOST PROGRAM[PID]: MESSAGE`, in a fraction of the time; nothing of others.
pub fn plain_head(text: &[u8]) -> Option<Head<'_>> {
    let end = text.iter().position(|byte| *byte == b' ')?;
    let (host, rest) = (&text[..end], &text[end + 1..]);
    let end = rest.iter().position(|byte| matches!(byte, b':' | b'[' | b' '))?;
    let (program, inner) = (&rest[..end], rest[end..].strip_prefix(b"[")?);
    let end = inner.iter().take(10).position(|byte| *byte == b']')?;
    let message = inner[end..].strip_prefix(b"]: ")?;
    let is_plain = |byte: Option<&u8>, other| byte.is_some_and(|byte| !byte.is_ascii_whitespace() && *byte != other);
    let is_plain = is_plain(host.first(), b'<')
        && is_plain(host.last(), b':')
        && host.last() != Some(&b')')
        && is_plain(message.first(), b' ');
    let pid = number(&inner[..end])?;
    (is_plain && !program.is_empty()).then_some(Head { host, pid, said: Said { program, message } })
}

/// The host, the program, its process and its message; all but the message may be missing.
pub fn head(text: &[u8]) -> Option<Head<'_>> {
    if let Some(head) = text.starts_with(b"0x").then(|| log_show(text)).flatten() {
        return Some(head);
    }
    // macOS writes two blanks.
    let text = text.trim_ascii_start();
    if let Some(head) = metalog(text) {
        return Some(head);
    }
    let (host, rest) = sender(without_second_stamp(text))?;
    let rest =
        if begins_with_tag(rest) { &rest[rest.iter().take_while(|byte| **byte == b' ').count()..] } else { rest };
    // What a container printed.
    if matches!(host, b"stdout" | b"stderr") && (rest.starts_with(b"F ") || rest.starts_with(b"P ")) {
        return None;
    }
    let (program, pid, message) = as_rfc5424(rest).unwrap_or_else(|| tag(rest));
    Some(Head { host, pid, said: Said { program, message } })
}

/// What metalog (Gentoo) writes: `[sshd] MESSAGE`, `[sshd(pam_unix)] MESSAGE`.
fn metalog(text: &[u8]) -> Option<Head<'_>> {
    let (name, message) = word(text.strip_prefix(b"[")?)?;
    let name = name.strip_suffix(b":").unwrap_or(name);
    let program = name.strip_suffix(b"]").filter(|name| tells_of_logins(name))?;
    Some(Head { host: b"", pid: 0, said: Said { program, message } })
}

/// The host that wrote a line, and what follows it: of one that was handed on with its stamp and host, what stands behind those of whom it
/// came through.
fn sender(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (through, rest) = host(text)?;
    let inner = without_second_stamp(rest);
    if inner.len() < rest.len()
        && let Some((host, rest)) = host(inner)
    {
        return Some((if host.is_empty() { through } else { host }, rest));
    }
    // UniFi's consoles write their name twice, its access points address and model behind it.
    let again = word(rest).filter(|(word, after)| {
        let is_model = || word.ends_with(b":") && word.contains(&b',') && begins_with_tag(after);
        !through.is_empty() && *word == through || is_model()
    });
    Some((through, again.map_or(rest, |(_, rest)| rest)))
}

/// The order of RFC 5424 without what makes it that: `sshd 4711 - - MESSAGE`.
fn as_rfc5424(text: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let (program, rest) = word(text).filter(|(program, _)| tells_of_logins(program))?;
    let (pid, rest) = word(rest)?;
    let (_, rest) = word(rest)?;
    let pid = if pid == b"-" { 0 } else { number(pid)? };
    let message = without_structured_data(rest)?.trim_ascii_start();
    Some((program, pid, message.strip_prefix(b"\xef\xbb\xbf").unwrap_or(message)))
}

/// Whether a program tells of logins by whatever it says.
fn tells_of_logins(name: &[u8]) -> bool {
    is_sshd(name) || name == b"dropbear" || is_about_logins(name)
}

/// The host, and what follows it. It may be missing; BSD, BusyBox and AIX put facility and severity around it, and AIX says in words
/// which host sent a line.
fn host(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(rest) = text.strip_prefix(b"Message forwarded from ") {
        let end = memmem::find(rest, b": ")?;
        return Some((&rest[..end], &rest[end + 2..]));
    }
    let (mut host, mut rest) = word(text)?;
    if host.starts_with(b"<") && host.ends_with(b">") {
        (host, rest) = word(rest)?;
    }
    // "sshd[7]: …" has no host, and neither has "auth.info: sshd[7]: …".
    if let Some(name) = host.strip_suffix(b":") {
        return Some((b"", if is_priority(name) { without_second_stamp(rest.trim_ascii_start()) } else { text }));
    }
    if is_level_of_esxi(host) {
        return Some((b"", rest));
    }
    match word(rest.trim_ascii_start()) {
        Some((word, after)) if is_priority(word) => Some((host, after)),
        Some((word, after)) if (is_severity(word) || is_level_of_esxi(word)) && begins_with_tag(after) => {
            Some((host, after))
        }
        _ => Some((host, rest)),
    }
}

/// `Er(35)`, severity and priority, which ESXi 8 writes in the host's place, or behind it.
fn is_level_of_esxi(word: &[u8]) -> bool {
    let [first, second, b'(', digits @ .., b')'] = word else { return false };
    first.is_ascii_uppercase() && second.is_ascii_lowercase() && number(digits).is_some()
}

const SEVERITIES: [&[u8]; 10] =
    [b"emerg", b"alert", b"crit", b"err", b"error", b"warn", b"warning", b"notice", b"info", b"debug"];

/// Whether it is a severity alone, as `notice` (F5's BIG-IP) or `NOTICE` (SONiC).
fn is_severity(word: &[u8]) -> bool {
    SEVERITIES.iter().any(|severity| severity.eq_ignore_ascii_case(word))
}

/// Whether a program stands first, with its process, as `sshd[7]: `, or one that tells of logins without it.
fn begins_with_tag(text: &[u8]) -> bool {
    let program = |tag: &[u8]| tag.strip_suffix(b":").is_some_and(|name| name == b"sshd" || is_about_logins(name));
    word(text.trim_ascii_start()).is_some_and(|(tag, _)| tag.ends_with(b"]:") || program(tag))
}

/// The first word, and what follows the blank behind it.
pub fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(b' ', text)?;
    Some((&text[..end], &text[end + 1..]))
}

/// What follows the stamp that socklog (Void Linux) got and keeps behind its own: `Nov 20 10:00:05 sshd[7]: …`; or that of RFC 3339 which a
/// line had when it was handed on, with the version of RFC 5424 where it has that order. A program may write such a stamp itself, and what it is
/// asked for behind that: it is the syslogd's where a host and a program's tag follow.
pub fn without_second_stamp(text: &[u8]) -> &[u8] {
    let versioned = text.strip_prefix(b"1 ").unwrap_or(text);
    if versioned.get(10) == Some(&b'T')
        && let Some((stamp, rest)) = word(versioned)
        && let Some((host, said)) = word(rest)
        && may_be_host(host)
        && is_said_by_program(said)
        && rfc3339(stamp).is_some()
    {
        return rest;
    }
    let rest = text.split_at_checked(16).filter(|(stamp, _)| {
        month(&stamp[..3]).is_some() && stamp[3] == b' ' && clock(&stamp[7..15]).is_some() && stamp[15] == b' '
    });
    rest.map_or(text, |(_, rest)| rest)
}

/// Whether it is facility and severity, as `auth.info`, `[auth.info]` (syslog-ng) or `auth|security:info` (AIX).
pub fn is_priority(word: &[u8]) -> bool {
    let facilities: [&[u8]; 9] =
        [b"auth", b"authpriv", b"daemon", b"user", b"kern", b"syslog", b"cron", b"mail", b"security"];
    // The words that stand here most often are those of a program and its process, as "sshd[7]:".
    let word = word.strip_prefix(b"[").and_then(|word| word.strip_suffix(b"]")).unwrap_or(word);
    if !word.last().is_some_and(u8::is_ascii_alphabetic) {
        return false;
    }
    let Some(end) = word.iter().take(16).position(|byte| matches!(byte, b'.' | b':')) else { return false };
    let (mut names, severity) = (word[..end].split(|byte| *byte == b'|'), &word[end + 1..]);
    SEVERITIES.contains(&severity) && names.all(|name| facilities.contains(&name) || name.starts_with(b"local"))
}

/// Splits `program[pid]: message`; program and pid may be missing.
fn tag(text: &[u8]) -> (&[u8], u32, &[u8]) {
    let end = || text.iter().position(|b| matches!(b, b':' | b'[' | b' ')).unwrap_or(text.len());
    let (program, rest) = text.split_at(end_of_unit(text).unwrap_or_else(end));
    if let Some(inner) = rest.strip_prefix(b"[")
        && let Some(close) = memchr(b']', inner)
        && let Some(pid) = number(&inner[..close])
    {
        let message = without_level(&inner[close + 1..]);
        return (program, pid, message.strip_prefix(b":").unwrap_or(message).trim_ascii_start());
    }
    match rest.strip_prefix(b":") {
        Some(message) => (program, 0, message.trim_ascii_start()),
        None => (b"", 0, text),
    }
}

/// Whether what stands there is surely a program's word, as syslogds write it.
fn is_said_by_program(text: &[u8]) -> bool {
    let is_server =
        || word(text).and_then(|(tag, _)| tag.strip_suffix(b":")).is_some_and(|name| web_server(name).is_some());
    let is_prioritised = || word(text).is_some_and(|(first, rest)| is_priority(first) && begins_with_tag(rest));
    // What is asked for begins with a slash.
    let is_tagged = begins_with_tag(text) && !text.trim_ascii_start().starts_with(b"/");
    is_tagged || as_rfc5424(text).is_some() || is_prioritised() || is_server()
}

/// Whether a word may be a host's name: programs that write a stamp of their own go on with a level, a client, or what they were asked for.
fn may_be_host(word: &[u8]) -> bool {
    const OTHERS: [&[u8]; 12] = [
        b"TRACE",
        b"FATAL",
        b"SEVERE",
        b"CRITICAL",
        b"VERBOSE",
        b"GET",
        b"HEAD",
        b"POST",
        b"PUT",
        b"DELETE",
        b"OPTIONS",
        b"PATCH",
    ];
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-:".contains(byte);
    !is_severity(word) && !OTHERS.contains(&word) && word.iter().all(is_name) && parse_ip(word).is_none()
}

/// Where the name of a unit of one connection ends, which has the addresses and ports in it: `sshd@7-192.0.2.1:22-192.0.2.9:4711.service[7]:`.
fn end_of_unit(text: &[u8]) -> Option<usize> {
    let (name, _) = word(text)?;
    memchr(b'@', name).filter(|_| name.ends_with(b"]:"))?;
    Some(memmem::find(name, b".service[")? + b".service".len())
}

/// What follows ` <Error>`, as macOS writes behind the process.
fn without_level(text: &[u8]) -> &[u8] {
    let inner = text.strip_prefix(b" <").and_then(|inner| Some((inner, memchr(b'>', inner)?)));
    let rest = inner.filter(|(inner, end)| inner[..*end].iter().all(u8::is_ascii_alphabetic));
    rest.map(|(inner, end)| &inner[end + 1..]).filter(|rest| rest.starts_with(b":")).unwrap_or(text)
}

/// What macOS' `log show` writes behind the stamp: thread, kind, activity, process and its time to live, program and message.
fn log_show(text: &[u8]) -> Option<Head<'_>> {
    let mut rest = text;
    let mut next = || {
        let (word, after) = word(rest)?;
        rest = after.trim_ascii_start();
        Some(word)
    };
    let is_hexadecimal =
        |word: &[u8]| word.strip_prefix(b"0x").is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let [thread, kind, activity, process, time_to_live] = [next()?, next()?, next()?, next()?, next()?];
    let is_one = is_hexadecimal(thread)
        && matches!(kind, b"Default" | b"Info" | b"Debug" | b"Error" | b"Fault")
        && is_hexadecimal(activity)
        && number(time_to_live).is_some();
    let pid = number(process).filter(|_| is_one)?;
    let end = memmem::find(rest, b": ")?;
    let (program, message) = (&rest[..end], rest[end + 2..].trim_ascii_start());
    Some(Head { host: b"", pid, said: Said { program, message } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::random::Random;

    #[test]
    fn a_plain_head_is_what_it_is_to_who_looks_twice() {
        let mut random = Random::new(1);
        let pieces: [&[u8]; 20] = [
            b"web1",
            b"sshd",
            b"[7]",
            b"[4711]",
            b"[",
            b"]",
            b":",
            b" ",
            b": ",
            b" ",
            b"<6>",
            b"auth.info",
            b"Message",
            b"stdout",
            b"\t",
            b"x",
            b"",
            b"[0123456789]",
            b"Er(35)",
            b"notice",
        ];
        let mut plain = 0;
        for _ in 0..100_000 {
            let mut text = Vec::new();
            (0..8).for_each(|_| text.extend_from_slice(pieces[random.below(pieces.len())]));
            // Most are to look like one.
            if random.below(2) == 0 {
                text = [b"web1 sshd", pieces[2 + random.below(2)], b": ", &text].concat();
            }
            if let Some(found) = plain_head(&text) {
                assert_eq!(head(&text), Some(found), "{}", String::from_utf8_lossy(&text));
                plain += 1;
            }
        }
        assert!(plain > 20_000, "{plain}");
    }
}
