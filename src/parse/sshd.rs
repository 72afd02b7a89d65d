//! What sshd and its PAM modules say (openssh-portable auth.c `auth_log`, Linux-PAM pam_unix).
//!
//! User names are the attacker's to choose and may hold blanks and whole phrases such as
//! ` from 192.0.2.1 port 22 ssh2`; so patterns are anchored at both ends, and the last address of a line is
//! the one sshd wrote.

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use memchr::memmem;

use super::pam;
use super::syslog::number;
use crate::model::event::{Escape, Escapes, Shape};
use crate::model::peer::{leading_ipv4, parse_ip};
use crate::model::{Action, Event, Peer};

/// Reads a message of sshd that stands for `times` equal ones into the event.
pub fn read<'a>(message: &'a [u8], times: u32, event: &mut Event<'a>) {
    let message = message.trim_ascii_end();
    let Some(first) = message.first() else { return };
    // What a message begins with tells what it can be; most of an attack's lines are found at once.
    let found = match first {
        b'F' | b'f' => failed(message, times),
        b'A' => accepted(message),
        b'I' => invalid_user(message, times),
        b'p' | b'a' | b'P' | b'(' | b'0'..=b'9' => told_by_pam(message, times),
        _ => None,
    };
    let is_pams = found.is_some() && !matches!(first, b'F' | b'f' | b'A' | b'I');
    // What these two know begins with one of these.
    let found = match first {
        b'B' | b'C' | b'D' | b'M' | b'P' | b'R' | b'T' | b'U' | b'b' | b'd' | b'e' | b'f' | b'k' | b'm' | b'r'
        | b's' => found.or_else(|| refused(message, times)).or_else(|| probe(message)),
        b'A' | b'/' => found.or_else(|| not_from_there(message, times)),
        _ => found,
    };
    if let Some(found) = found {
        let peer = found.peer.filter(|peer| *peer != UNKNOWN);
        (event.action, event.peer, event.user) = (found.action, peer, found.user);
        // PAM's modules write it as it is.
        event.user_escapes = Escapes::with_backslashes(Escape::Sshd, found.user.filter(|_| !is_pams));
    }
}

/// What it calls a client whose address it can't tell (canohost.c).
const UNKNOWN: Peer<'_> = Peer::Name(b"UNKNOWN");

struct Found<'a> {
    action: Action,
    peer: Option<Peer<'a>>,
    user: Option<&'a [u8]>,
}

/// What clients try by themselves before anybody is asked for a password.
const UNASKED: [&[u8]; 5] = [b"publickey", b"none", b"gssapi-with-mic", b"gssapi-keyex", b"hostbased"];

/// `Failed METHOD for [invalid user ]USER from ADDRESS port N ssh2[: KEY]`
fn failed(message: &[u8], times: u32) -> Option<Found<'_>> {
    // Some patched ones write it small.
    let rest = message.strip_prefix(b"Failed ").or_else(|| message.strip_prefix(b"failed "))?;
    let method = first_word(rest);
    let shape = match method {
        _ if UNASKED.contains(&method) => Shape::Key,
        b"challenge-response" => Shape::Questioned,
        _ if method.starts_with(b"keyboard-interactive") => Shape::Questioned,
        _ => Shape::Explicit,
    };
    let rest = match rest.strip_prefix(b"password for ") {
        Some(rest) => rest,
        None => &rest[memmem::find(rest, b" for ")? + 5..],
    };
    let (user, peer) = user_from_address(without_validity(rest), method)?;
    let action = Action::LoginFailed { times, shape };
    Some(Found { action, peer, user: Some(user) })
}

/// `Accepted METHOD for USER from ADDRESS port N ssh2[: KEY]`
fn accepted(message: &[u8]) -> Option<Found<'_>> {
    let rest = message.strip_prefix(b"Accepted ")?;
    let method = first_word(rest);
    let (user, peer) = user_from_address(&rest[memmem::find(rest, b" for ")? + 5..], method)?;
    let by_key = matches!(method, b"publickey" | b"hostbased") || method.starts_with(b"gssapi");
    Some(Found { action: Action::LoginSucceeded { by_key }, peer, user: Some(user) })
}

/// `USER from ADDRESS[ port N ssh2[: KEY]]`, where USER may hold anything, and KEY as well where it is a certificate: its
/// identity is the client's to choose. The last place is the server's own if what follows is nothing else; otherwise
/// there must be only one.
fn user_from_address<'a>(text: &'a [u8], method: &[u8]) -> Option<(&'a [u8], Option<Peer<'a>>)> {
    if let Some(last) = last_from(text)
        && let Some((peer, true)) = place(&text[last + 6..])
    {
        let may_be_clients =
            may_end_with_clients_words(method, text) && memmem::find(&text[..last], b" ssh2: ").is_some();
        return Some(if may_be_clients { (&text[..0], None) } else { (&text[..last], Some(peer)) });
    }
    // An empty user name leaves one blank only.
    let first = text.strip_prefix(b"from ").and_then(place).map(|(peer, _)| (&text[..0], peer));
    let others =
        memmem::find_iter(text, b" from ").filter_map(|at| place(&text[at + 6..]).map(|(peer, _)| (&text[..at], peer)));
    let mut places = first.into_iter().chain(others);
    let Some((user, peer)) = places.next() else {
        // Some leave out the port, and then nothing follows. Where the line was cut, that may stand in the name: sshd writes 100 bytes of
        // that, and more only where it has to escape some.
        let last =
            last_from(text).filter(|_| text.len() <= LONGEST_PORTLESS && memchr::memchr(b'\\', text).is_none())?;
        return Some((&text[..last], Some(Peer::Ip(parse_ip(&text[last + 6..])?))));
    };
    Some(if places.next().is_some() { (&text[..0], None) } else { (user, Some(peer)) })
}

/// The longest account and address without a port that are believed, in bytes.
const LONGEST_PORTLESS: usize = 160;

/// Whether a message by this method, of which this is the end, may end with what the client chose: sshd writes the first 1023 bytes of a
/// message, so the identity of a certificate may be all that is left at its end; and what a client calls itself ends those of `hostbased`.
fn may_end_with_clients_words(method: &[u8], text: &[u8]) -> bool {
    method == b"publickey" && text.len() > pam::SURELY_WHOLE || method == b"hostbased"
}

fn first_word(text: &[u8]) -> &[u8] {
    &text[..memchr::memchr(b' ', text).unwrap_or(text.len())]
}

/// `ADDRESS port N[ ssh2[: KEY]]`, and whether nothing stands there but these words.
fn place(text: &[u8]) -> Option<(Peer<'_>, bool)> {
    match plain_place(text) {
        Some((ip, b"" | b" ssh2")) => Some((Peer::Ip(ip.into()), true)),
        _ => place_by_words(text),
    }
}

fn place_by_words(text: &[u8]) -> Option<(Peer<'_>, bool)> {
    let mut words = text.split(|b| *b == b' ');
    let peer = Peer::read(words.next()?)?;
    if words.next() != Some(b"port") || number(words.next()?).is_none() {
        return None;
    }
    // Old versions stop here; newer ones add "ssh2" and, for keys, ": TYPE FINGERPRINT".
    let protocol = words.next().unwrap_or(b"ssh2");
    // Not more are looked at than matter: a name may hold thousands of such places.
    let left = words.filter(|word| *word != b"[preauth]").take(3).count();
    match protocol {
        b"ssh" | b"ssh1" | b"ssh2" => Some((peer, left == 0)),
        b"ssh1:" | b"ssh2:" => Some((peer, left <= 2)),
        _ => None,
    }
}

/// `ADDRESS port N` of an IPv4 address, and what follows: what most lines hold, in a fraction of the time.
fn plain_place(text: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let (ip, rest) = leading_ipv4(text)?;
    let rest = rest.strip_prefix(b" port ")?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    number(&rest[..end]).map(|_| (ip, &rest[end..]))
}

/// `Invalid user USER from ADDRESS[ port N]`
fn invalid_user(message: &[u8], times: u32) -> Option<Found<'_>> {
    let text = message.strip_prefix(b"Invalid user ").or_else(|| message.strip_prefix(b"Illegal user "))?;
    let (user, peer) = user_at_end(text)?;
    let action = Action::LoginFailed { times, shape: Shape::InvalidUser };
    Some(Found { action, peer: Some(peer), user: Some(user) })
}

/// What PAM says in sshd's name.
fn told_by_pam(message: &[u8], times: u32) -> Option<Found<'_>> {
    let Some(failure) = pam::failure(message, false) else {
        return Some(Found { action: Action::LockedOut, peer: None, user: Some(pam::locked(message)?) });
    };
    let times = times.saturating_mul(failure.times);
    let action = Action::LoginFailed { times, shape: pam::shape(message) };
    Some(Found { action, peer: failure.peer, user: failure.user })
}

/// Why nobody is let in as an account that there is (auth.c, `allowed_user`): how that begins and ends.
const OF_THE_ACCOUNT: [(&[u8], &[u8]); 3] =
    [(b"account is locked", b""), (b"shell ", b" does not exist"), (b"shell ", b" is not executable")];

/// PAM's reasons that hold the word before the account as well (pam_strerror(3); those of Solaris and HP-UX).
const WITH_FOR: [&[u8]; 4] = [
    b"Have exhausted maximum number of retries for service",
    b"Cannot make/remove an entry for the specified session",
    b"Can not make/remove entry for session",
    b"No account present for user",
];

/// Attempts that were cut short, each of which may repeat a failure told before:
/// `User U from ADDRESS not allowed because …` (without the address where it is for the account's own sake), `fatal: Access denied for user
/// U by PAM account configuration`, `ROOT LOGIN REFUSED FROM ADDRESS[ port N]`,
/// `[error: ]maximum authentication attempts exceeded for [invalid user ]U from ADDRESS port N ssh2`, and
/// `error: PAM: REASON for [illegal user ]U from ADDRESS`.
fn refused(message: &[u8], times: u32) -> Option<Found<'_>> {
    let is_before_login = message.ends_with(b"[preauth]");
    let message = without_preauth(message);
    let told = |user, peer, shape| Some(Found { action: Action::LoginFailed { times, shape }, peer, user: Some(user) });
    let found = |user, peer, shape| told(user, Some(peer), shape);
    if let Some(rest) = message.strip_prefix(b"User ") {
        let end = memmem::rfind(rest, b" not allowed because ")?;
        if OF_THE_ACCOUNT.iter().any(|(from, to)| rest[end + 21..].starts_with(from) && rest.ends_with(to)) {
            return told(&rest[..end], None, Shape::Refused);
        }
        // Old ones tell no address.
        if memmem::find(&rest[..end], b" from ").is_none() {
            return told(&rest[..end], None, Shape::Refused);
        }
        let (user, peer) = user_at_end(&rest[..end])?;
        return found(user, peer, Shape::Refused);
    }
    if let Some(rest) = message.strip_prefix(b"fatal: Access denied for user ") {
        return told(rest.strip_suffix(b" by PAM account configuration")?, None, Shape::Refused);
    }
    if let Some(rest) = message.strip_prefix(b"ROOT LOGIN REFUSED FROM ") {
        // Both of sshd's processes look at that.
        let shape = if is_before_login { Shape::RefusedSecond } else { Shape::Refused };
        return found(b"root", first_address(rest)?, shape);
    }
    let error = message.strip_prefix(b"error: ").unwrap_or(message);
    if let Some(rest) = error.strip_prefix(b"maximum authentication attempts exceeded for ") {
        let (user, peer) = user_from_address(without_validity(rest), b"")?;
        return found(user, peer?, Shape::TooMany);
    }
    let rest = error.strip_prefix(b"PAM: ")?;
    let rest = WITH_FOR.iter().find_map(|reason| rest.strip_prefix(*reason)).unwrap_or(rest);
    let rest = &rest[memmem::find(rest, b" for ")? + 5..];
    let (user, peer) = user_at_end(without_validity(rest))?;
    found(user, peer, Shape::PamTold)
}

/// `[FILE:LINE: ]Authentication tried for USER with correct key but not from a permitted host (host=NAME, ip=ADDRESS, required=LIST).`
/// (auth2-pubkeyfile.c): a key in the wrong hands, or at the wrong place.
fn not_from_there(message: &[u8], times: u32) -> Option<Found<'_>> {
    let rest = &message[memmem::find(message, b"Authentication tried for ")? + 25..];
    let end = memmem::find(rest, b" with correct key but not from a permitted host (host=")?;
    let place = &rest[end..];
    let ip = &place[memmem::find(place, b", ip=")? + 5..];
    let ip = &ip[..memmem::find(ip, b", required=")?];
    let action = Action::LoginFailed { times, shape: Shape::KeyElsewhere };
    Some(Found { action, peer: Peer::read(ip), user: Some(&rest[..end]) })
}

/// How lines about the end of a connection begin; those of the first two may tell of one on which nobody greeted.
const CLOSINGS: [&[u8]; 4] =
    [b"Connection closed by ", b"Connection reset by ", b"Disconnected from ", b"Disconnecting "];

/// Connections without an attempt, or broken off before one was over.
fn probe(message: &[u8]) -> Option<Found<'_>> {
    let before_login = message.ends_with(b"[preauth]");
    let message = without_preauth(message);
    let fatal = message.strip_prefix(b"fatal: ").or_else(|| message.strip_prefix(b"error: ")).unwrap_or(message);
    if fatal.starts_with(b"kex_exchange_identification: ") {
        return Some(Found { action: Action::NotGreeted, peer: None, user: None });
    }
    if let Some((peer @ Peer::Ip(_), true)) =
        CLOSINGS[..2].iter().find_map(|start| place(message.strip_prefix(*start)?))
        && !before_login
    {
        return Some(Found { action: Action::Gone, peer: Some(peer), user: None });
    }
    let peer = if let Some(rest) = fatal.strip_prefix(b"Unable to negotiate with ") {
        first_address(rest)
    } else if let Some(rest) = fatal.strip_prefix(b"banner exchange: Connection from ") {
        first_address(rest)
    } else if let Some(rest) = fatal.strip_prefix(b"Timeout before authentication for ") {
        first_address(rest.strip_prefix(b"connection from ").unwrap_or(rest))
    } else if let Some(rest) = fatal.strip_prefix(b"drop connection #") {
        let rest = &rest[memmem::find(rest, b" from [")? + 7..];
        Peer::read(&rest[..memchr::memchr(b']', rest)?])
    } else if fatal.starts_with(b"Did not receive identification string from ")
        || fatal.starts_with(b"Bad protocol version identification ")
        || fatal.starts_with(b"Magic value check failed (")
    {
        user_at_end(fatal).map(|(_, peer)| peer)
    } else if let Some(rest) = fatal.strip_prefix(b"ssh_dispatch_run_fatal: Connection from ") {
        // A reason, which holds nothing that a client wrote, ends it. Who is logged in is a "user".
        (!rest.starts_with(b"user ")).then(|| address_before_port(&rest[..memmem::rfind(rest, b": ")?]))?
    } else if let Some(rest) = fatal.strip_prefix(b"scanned from ") {
        first_address(rest)
    } else if let Some(rest) = fatal.strip_prefix(b"Protocol major versions differ for ") {
        first_address(rest)
    } else if let Some(rest) = fatal.strip_prefix(b"Received disconnect from ") {
        // The reason is the client's. Newer ones tell the port, and say next that it is disconnected.
        let (peer, rest) = rest.split_at(memmem::find(rest, b": ")?);
        (before_login && !rest.is_empty()).then(|| Peer::read(peer))?
    } else if let Some(rest) = fatal.strip_prefix(b"refused connect from ") {
        // libwrap writes the name, and the address in brackets.
        let inner = memchr::memrchr(b'(', rest).map(|at| rest[at + 1..].trim_ascii_end());
        inner.and_then(|inner| inner.strip_suffix(b")")).map_or_else(|| first_address(rest), Peer::read)
    } else if before_login {
        broken_off(fatal)
    } else {
        None
    }
    .filter(|peer| peer.ip().is_some())?;
    Some(Found { action: Action::Probed, peer: Some(peer), user: None })
}

/// `Connection closed by[ invalid user U| authenticating user U] ADDRESS[ port N]`, and the like with `reset by`,
/// `Disconnected from`, `Disconnecting`: whatever U is, the address is before the port or last.
fn broken_off(message: &[u8]) -> Option<Peer<'_>> {
    address_before_port(CLOSINGS.iter().find_map(|start| message.strip_prefix(*start))?)
}

static PORT: LazyLock<memmem::Finder<'_>> = LazyLock::new(|| memmem::Finder::new(" port "));

/// The address in `[WORDS ]ADDRESS[ port N][: REASON]`.
fn address_before_port(rest: &[u8]) -> Option<Peer<'_>> {
    // No account holds a colon (sshd takes what follows one off), but the reason may hold whatever a client sent.
    let reason = PORT.find_iter(rest).find_map(|at| {
        let digits = rest[at + 6..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest[at + 6 + digits..].starts_with(b": ").then_some(at + 6 + digits)
    });
    let rest = &rest[..reason.unwrap_or(rest.len())];
    let mut ports = PORT.find_iter(rest);
    let rest = match (ports.next(), ports.next()) {
        (None, _) => rest,
        (Some(at), None) => &rest[..at],
        // A name holds one, too; only at the end it can't.
        (_, Some(_)) => {
            let at = memmem::rfind(rest, b" port ")?;
            number(&rest[at + 6..])?;
            &rest[..at]
        }
    };
    let start = memchr::memrchr(b' ', rest).map_or(0, |at| at + 1);
    Peer::read(&rest[start..])
}

/// The address a text begins with; a colon, a comma or a blank ends it.
fn first_address(text: &[u8]) -> Option<Peer<'_>> {
    let word = text.split(|byte| *byte == b' ' || *byte == b',').next()?;
    Peer::read(word.strip_suffix(b":").unwrap_or(word))
}

/// `USER from ADDRESS[ port N]` at the end of a message, where USER may hold anything.
fn user_at_end(text: &[u8]) -> Option<(&[u8], Peer<'_>)> {
    let (user, rest) = match last_from(text) {
        Some(at) => (&text[..at], &text[at + 6..]),
        None => (&text[..0], text.strip_prefix(b"from ")?),
    };
    let peer = match plain_place(rest) {
        Some((ip, b"")) => Peer::Ip(ip.into()),
        _ => place_at_end(rest)?,
    };
    Some((user, peer))
}

/// `ADDRESS[ port N]`, and nothing behind it.
fn place_at_end(text: &[u8]) -> Option<Peer<'_>> {
    let mut words = text.split(|byte| *byte == b' ');
    let peer = Peer::read(words.next()?)?;
    let well_formed = match words.next() {
        None => true,
        Some(b"port") => {
            words.next().and_then(number).is_some() && words.all(|word| matches!(word, b"ssh2" | b"[preauth]"))
        }
        // sshd with a host of several addresses: through which of them.
        Some(b"via") => words.next().and_then(Peer::read).is_some() && words.next().is_none(),
        Some(_) => false,
    };
    well_formed.then_some(peer)
}

/// Where the last ` from ` of a text begins. Few places in an address and what follows it hold an `m`.
fn last_from(text: &[u8]) -> Option<usize> {
    let mut end = text.len();
    loop {
        end = memchr::memrchr(b'm', &text[..end])?;
        if text[..end].ends_with(b" fro") && text.get(end + 1) == Some(&b' ') {
            return Some(end - 4);
        }
    }
}

fn without_preauth(message: &[u8]) -> &[u8] {
    message.strip_suffix(b"[preauth]").map_or(message, <[u8]>::trim_ascii_end)
}

fn without_validity(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"invalid user ").or_else(|| text.strip_prefix(b"illegal user ")).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Category;

    fn read_line(message: &str) -> (Action, String, String) {
        let mut event = Event::plain(None, Category::Auth);
        read(message.as_bytes(), 1, &mut event);
        let user = event.user.map(|u| String::from_utf8_lossy(u).into_owned()).unwrap_or_default();
        (event.action, event.peer.map(|p| p.to_string()).unwrap_or_default(), user)
    }

    fn failure(shape: Shape) -> Action {
        Action::LoginFailed { times: 1, shape }
    }

    #[test]
    fn a_reason_of_pam_is_no_part_of_an_account() {
        for reason in ["Authentication failure", "Have exhausted maximum number of retries for service"] {
            let told = read_line(&format!("error: PAM: {reason} for root from 192.0.2.1"));
            assert_eq!(told, (failure(Shape::PamTold), "192.0.2.1".into(), "root".into()), "{reason}");
        }
    }

    #[test]
    fn who_cannot_be_named_is_accused_by_no_name() {
        let mut event = Event::plain(None, Category::Auth);
        read(b"Failed password for root from UNKNOWN port 65535 ssh2", 1, &mut event);
        let failed = Action::LoginFailed { times: 1, shape: Shape::Explicit };
        assert_eq!((event.action, event.peer, event.user), (failed, None, Some(&b"root"[..])));
    }

    #[test]
    fn the_three_shapes_are_told_apart() {
        let explicit = read_line("Failed password for invalid user test9 from 192.0.2.1 port 36060 ssh2");
        assert_eq!(explicit, (failure(Shape::Explicit), "192.0.2.1".into(), "test9".into()));
        let pam = read_line(
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=root",
        );
        assert_eq!(pam, (failure(Shape::Pam), "192.0.2.1".into(), "root".into()));
        let old =
            read_line("authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=host.example.org ");
        assert_eq!(old, (failure(Shape::Pam), "host.example.org".into(), String::new()));
        let invalid = read_line("Invalid user webmaster from 192.0.2.1 port 22");
        assert_eq!(invalid, (failure(Shape::InvalidUser), "192.0.2.1".into(), "webmaster".into()));
    }

    #[test]
    fn a_forged_address_in_a_user_name_accuses_nobody_else() {
        for message in [
            "Failed password for invalid user x from 203.0.113.9 port 22 ssh2 from 192.0.2.1 port 36060 ssh2",
            "Failed password for from 203.0.113.9 port 22 ssh2 from 192.0.2.1 port 36060 ssh2",
            "Failed publickey for root from 192.0.2.1 port 36060 ssh2: RSA SHA256:abc",
            "Invalid user x from 203.0.113.9 port 22 from 192.0.2.1 port 36060",
            "Invalid user x from 203.0.113.9 from 192.0.2.1",
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=a rhost=203.0.113.9",
        ] {
            assert_eq!(read_line(message).1, "192.0.2.1", "{message}");
        }
    }

    #[test]
    fn a_plain_place_is_what_it_is_by_its_words() {
        for address in ["192.0.2.1", "192.0.2.256", "192.0.2.1.", "2001:db8::1", "host", ""] {
            for port in [" port 22", " port 1234567890", " port ", " port x", " port 22 ", "  port 22", " port"] {
                for end in ["", " ssh2", " ssh2 ", " ssh2 x", "ssh2", " ssh3", " ssh2: RSA x", " ssh"] {
                    let text = format!("{address}{port}{end}");
                    assert_eq!(place(text.as_bytes()), place_by_words(text.as_bytes()), "{text}");
                    let at_end = format!("eve from {text}");
                    let by_words = place_at_end(text.as_bytes()).map(|peer| (&b"eve"[..], peer));
                    assert_eq!(user_at_end(at_end.as_bytes()), by_words, "{text}");
                }
            }
        }
        let plain = plain_place(b"192.0.2.1 port 22 ssh2");
        assert_eq!(plain, Some((Ipv4Addr::new(192, 0, 2, 1), &b" ssh2"[..])));
    }

    #[test]
    fn what_a_client_calls_itself_accuses_nobody_at_the_end_of_a_line() {
        let forged = "from 203.0.113.9 port 22 ssh2";
        let (key, real) = ("ssh2: ED25519-CERT SHA256:x", "from 192.0.2.1 port 4711");
        for message in [
            format!("publickey for eve {real} {key} ID {} {forged}", "z".repeat(900)),
            format!("hostbased for eve {real} {key}, client user \"u\", client host \"h {forged}: z\""),
        ] {
            assert_eq!(read_line(&format!("Failed {message}")).1, "", "{message}");
            assert_eq!(read_line(&format!("Accepted {message}")).1, "", "{message}");
        }
        // Nor does a name hide who is meant.
        for message in [
            format!("Failed password for invalid user x ssh2: y {real} ssh2"),
            format!("Failed publickey for invalid user x ssh2: y {real} ssh2: RSA SHA256:z"),
            format!("Failed publickey for invalid user x ssh2: y {real} ssh2"),
            format!("Failed publickey for eve {real} {key} ID {forged} (serial 0) CA RSA SHA256:z"),
        ] {
            assert_eq!(read_line(&message).1, if message.contains(forged) { "" } else { "192.0.2.1" }, "{message}");
        }
    }

    #[test]
    fn an_empty_user_name_is_a_failure_too() {
        let found = read_line("Failed password for invalid user  from 192.0.2.1 port 36060 ssh2");
        assert_eq!(found, (failure(Shape::Explicit), "192.0.2.1".into(), String::new()));
        let found = read_line("Invalid user  from 192.0.2.1");
        assert_eq!(found.1, "192.0.2.1");
    }

    #[test]
    fn a_connection_that_was_broken_off_is_a_probe_of_where_it_came_from() {
        for message in [
            "Protocol major versions differ for 192.0.2.1: SSH-2.0-OpenSSH_6.6.1 vs. SSH-1.5-x",
            "Protocol major versions differ for 192.0.2.1 port 22: SSH-2.0-OpenSSH_9.2 vs. SSH-1.5-203.0.113.9",
            "Received disconnect from 192.0.2.1: 11: Bye Bye [preauth]",
            "error: Received disconnect from 192.0.2.1: 3: com.jcraft.jsch.JSchException: Auth fail [preauth]",
            "Received disconnect from 192.0.2.1: 14: from 203.0.113.9 port 22: x [preauth]",
            "Disconnecting authenticating user root 192.0.2.1 port 22: Change of username or service not allowed: \
             (root,ssh-connection) -> (x 203.0.113.9 port 22,ssh-connection) [preauth]",
            "Disconnecting invalid user x 203.0.113.9 port 22 192.0.2.1 port 4711: Too many authentication failures [preauth]",
        ] {
            assert_eq!(read_line(message), (Action::Probed, "192.0.2.1".into(), String::new()), "{message}");
        }
        for message in [
            "Received disconnect from 192.0.2.1: 11: disconnected by user",
            "error: Received disconnect from 192.0.2.1: 3: x",
            // What follows says that it is disconnected.
            "Received disconnect from 192.0.2.1 port 22:11: Bye Bye [preauth]",
            "Received disconnect from x: 11: 192.0.2.1: 11: Bye Bye [preauth]",
        ] {
            assert_eq!(read_line(message).0, Action::Other, "{message}");
        }
    }

    #[test]
    fn a_cut_line_is_no_failure() {
        for message in [
            "Failed password for root from 192.0.2.1 port",
            "Failed password for root from 192.0.2.1 po",
            "Failed password for root",
        ] {
            assert_eq!(read_line(message).0, Action::Other, "{message}");
        }
    }
}
