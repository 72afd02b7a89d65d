//! Logins and changes of account on the machine itself: su (shadow, util-linux), sudo, doas, login, and what PAM says for any program.
//!
//! Whoever sits at a terminal has no address; what is known is the account.

use memchr::memmem;

use super::pam;
use super::syslog::number;
use super::syslog_head::word;
use crate::model::event::Shape;
use crate::model::{Action, Event, Peer};

/// Reads a message that stands for `times` equal ones into the event.
pub fn read<'a>(program: &[u8], message: &'a [u8], times: u32, event: &mut Event<'a>) {
    let message = message.trim_ascii();
    if program == b"sudo(pam_unix)" {
        // Its own line, which may tell of the same attempt, had no process then.
        event.pid = 0;
    }
    let failure = match program {
        b"sudo" => sudo(message).map(of_account),
        b"su" => su(message).map(of_account),
        b"doas" => doas(message).map(of_account),
        b"login" => login(message, event),
        AIX => aix(message, event),
        _ => None,
    };
    if let Some((user, n)) = failure {
        event.action = Action::LoginFailed { times: times.saturating_mul(n), shape: Shape::Explicit };
        event.user = user;
    } else if let Some((user, peer)) = logged_in(message).filter(|_| program == b"login") {
        event.action = Action::LoginSucceeded { by_key: false };
        (event.user, event.peer) = (user, peer);
    } else if let Some(user) = granted(program, message) {
        // The others tell of the account that is entered: without the process nobody knows by whom.
        if event.pid != 0 || program == b"sudo" {
            (event.action, event.user) = (Action::Granted { by_module: false }, Some(user));
        }
    } else {
        let name = program.strip_suffix(b"(pam_unix)").unwrap_or(program);
        told_by_pam(message, times, !matches!(name, b"sudo" | b"su" | b"doas" | b"login"), event);
        // Its own line, which may tell of the same attempt, names who calls it, whosever password is asked for (sudoers, targetpw).
        if name == b"sudo" && matches!(event.action, Action::LoginFailed { .. } | Action::Granted { .. }) {
            event.user = pam::asker(message).or(event.user);
        }
    }
}

/// Who was let do what: `USER : TTY=… ; … ; COMMAND=…` of sudo, and the account that others enter.
fn granted<'a>(program: &[u8], message: &'a [u8]) -> Option<&'a [u8]> {
    match program {
        b"sudo" => {
            let at = memmem::find(message, b" : ")?;
            let what = &message[at + 3..];
            let begins = [&b"TTY="[..], b"PWD=", b"USER=", b"HOST="].iter().any(|word| what.starts_with(word));
            (begins && memmem::find(what, b" ; COMMAND=").is_some()).then(|| message[..at].trim_ascii())
        }
        // These ask nobody.
        b"CRON" | b"cron" | b"crond" | b"systemd" => None,
        _ => pam::opened(message),
    }
}

/// What PAM says in a program's name. `by_client`: it may serve clients, and say who got in there only.
fn told_by_pam<'a>(message: &'a [u8], times: u32, by_client: bool, event: &mut Event<'a>) {
    if let Some(failure) = pam::failure(message, by_client) {
        event.action = Action::LoginFailed { times: times.saturating_mul(failure.times), shape: pam::shape(message) };
        (event.user, event.peer) = (failure.user, failure.peer);
    } else if let Some((user, peer)) = pam::success(message) {
        let granted = Action::Granted { by_module: event.pid != 0 };
        event.action = if by_client { Action::LoginSucceeded { by_key: false } } else { granted };
        (event.user, event.peer) = (user, peer);
    } else if let Some(user) = pam::granted(message) {
        (event.action, event.user) = (Action::Granted { by_module: event.pid != 0 }, Some(user));
    } else if let Some(user) = pam::locked(message) {
        (event.action, event.user) = (Action::LockedOut, Some(user));
    }
}

/// `USER : 3 incorrect password attempts ; TTY=…`, `USER : user NOT in sudoers ; TTY=…` and `USER : user NOT authorized on host ; TTY=…`
/// (sudo, logging.c).
fn sudo(message: &[u8]) -> Option<(&[u8], u32)> {
    let at = memmem::find(message, b" : ")?;
    let (user, what) = (message[..at].trim_ascii(), &message[at + 3..]);
    // Where it is to name the host (`log_host`). Its own file breaks lines behind a semicolon.
    let what = what.strip_prefix(b"HOST=").map_or(what, |host| word(host).map_or(what, |(_, rest)| rest));
    let what = what.strip_prefix(b": ").unwrap_or(what);
    let what = &what[..memmem::find(what, b" ; ").or_else(|| what.strip_suffix(b" ;").map(<[u8]>::len))?];
    if matches!(what, b"user NOT in sudoers" | b"user NOT authorized on host" | b"command not allowed") {
        return Some((user, 1));
    }
    let count = what.split(|byte| *byte == b' ').next()?;
    let rest = &what[count.len()..];
    matches!(rest, b" incorrect password attempt" | b" incorrect password attempts").then_some(())?;
    Some((user, number(count)?))
}

/// `FAILED SU (to root) eve on pts/0` (util-linux), `FAILED su for root by eve` and `pam_authenticate: …` (shadow),
/// `BAD SU eve to root on /dev/ttyp0` (BSD), `BAD SU from eve to root at /dev/pts/1` (AIX), `failed: ttyq4 changing from eve to root`
/// (IRIX), `'su root' failed for eve on /dev/pts/8` (Solaris, and RFC 3164's example). The account that was to be entered counts.
fn su(message: &[u8]) -> Option<(&[u8], u32)> {
    let user = if let Some(rest) = message.strip_prefix(b"FAILED SU (to ") {
        &rest[..memchr::memchr(b')', rest)?]
    } else if let Some(rest) = message.strip_prefix(b"FAILED su for ") {
        &rest[..memmem::rfind(rest, b" by ")?]
    } else if let Some(rest) = message.strip_prefix(b"BAD SU from ") {
        let rest = &rest[..memmem::rfind(rest, b" at ")?];
        &rest[memmem::rfind(rest, b" to ")? + 4..]
    } else if let Some(rest) = message.strip_prefix(b"BAD SU ") {
        let rest = &rest[..memmem::rfind(rest, b" on ")?];
        &rest[memmem::rfind(rest, b" to ")? + 4..]
    } else if let Some(rest) = message.strip_prefix(b"'su ") {
        &rest[..memmem::rfind(rest, b"' failed for ")?]
    } else {
        let rest = message.strip_prefix(b"failed: ")?;
        let rest = &rest[memmem::find(rest, b" changing from ")? + 15..];
        &rest[memmem::rfind(rest, b" to ")? + 4..]
    };
    Some((user, 1))
}

/// `failed auth for eve`, `command not permitted for eve: ls`, in older versions `failed command for eve: ls` (OpenBSD).
fn doas(message: &[u8]) -> Option<(&[u8], u32)> {
    if let Some(user) = message.strip_prefix(b"failed auth for ") {
        return Some((user, 1));
    }
    let refused = message.strip_prefix(b"command not permitted for ");
    let rest = refused.or_else(|| message.strip_prefix(b"failed command for "))?;
    Some((&rest[..memmem::find(rest, b": ")?], 1))
}

/// What AIX calls the programs that let people in.
pub const AIX: &[u8] = b"syslog";

/// `vty0: failed login attempt for eve[ from HOST]` (AIX). What it says so of ssh, sshd says as well.
fn aix<'a>(message: &'a [u8], event: &mut Event<'a>) -> Option<(Option<&'a [u8]>, u32)> {
    const FAILED: &[u8] = b": failed login attempt for ";
    let at = memmem::find(message, FAILED)?;
    let (line, user) = (&message[..at], &message[at + FAILED.len()..]);
    if matches!(line, b"" | b"ssh") || !line.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'/') {
        return None;
    }
    // Who sits at the machine comes from nowhere, whatever name is typed there.
    let from = memmem::rfind(user, b" from ").filter(|_| line.starts_with(b"/dev/pts/") || line.starts_with(b"pts/"));
    event.peer = from.and_then(|at| Peer::read(&user[at + 6..]));
    let user = &user[..from.unwrap_or(user.len())];
    Some(((user != b"UNKNOWN_USER").then_some(user), 1))
}

fn of_account((user, times): (&[u8], u32)) -> (Option<&[u8]>, u32) {
    (Some(user), times)
}

/// `FAILED LOGIN 1 FROM tty1 FOR root, Authentication failure` and `FAILED LOGIN (1) on '/dev/tty1' [from '192.0.2.7' ]FOR 'root', …`
/// (util-linux, shadow), `TOO MANY LOGIN TRIES (3) FROM tty1 FOR root, …` (util-linux), `invalid password for 'root' on 'tty1'[ from '192.0.2.7']` (BusyBox), `1 LOGIN FAILURE ON ttyv0, root` (FreeBSD),
/// `REPEATED LOGIN FAILURES ON /dev/pts/1 FROM 192.0.2.7, root` (Solaris, which tells neither of each of them nor how many there were),
/// `Login failure on /dev/pts/7[ from HOST][, root]` (its later versions).
fn login<'a>(message: &'a [u8], event: &mut Event<'a>) -> Option<(Option<&'a [u8]>, u32)> {
    // util-linux counts the last attempt so, and says nothing else of it; shadow says it besides.
    let last =
        message.strip_prefix(b"TOO MANY LOGIN TRIES (").and_then(|rest| Some(&rest[memmem::find(rest, b")")? + 1..]));
    let last = last.filter(|rest| rest.starts_with(b" FROM "));
    let (user, place, times) = if let Some(rest) = message.strip_prefix(b"FAILED LOGIN ").or(last) {
        let rest = &rest[..memchr::memrchr(b',', rest).unwrap_or(rest.len())];
        let at = memmem::find(rest, b" FOR ")?;
        (&rest[at + 5..], &rest[..at], 1)
    } else if let Some(rest) = message.strip_prefix(b"invalid password for ") {
        let at = memmem::rfind(rest, b" on ")?;
        (&rest[..at], &rest[at..], 1)
    } else if let Some(rest) = message.strip_prefix(b"Login failure on ") {
        // Of a name that nobody has nothing is told.
        let comma = memmem::find(rest, b", ").unwrap_or(rest.len());
        (rest.get(comma + 2..).unwrap_or(b"UNKNOWN"), &rest[..comma], 1)
    } else if let Some(rest) = message.strip_prefix(b"REPEATED LOGIN FAILURES ON ") {
        let comma = memmem::find(rest, b", ")?;
        (&rest[comma + 2..], &rest[..comma], 1)
    } else {
        // It is told twice, and only whom it was about is told at the second time.
        let comma = memmem::find(message, b", ")?;
        let (told, user) = (&message[..comma], &message[comma + 2..]);
        let end = memchr::memchr(b' ', told)?;
        let said = told[end..].strip_prefix(b" LOGIN FAILURE")?;
        (user, said.strip_prefix(b"S").unwrap_or(said), number(&told[..end])?)
    };
    // From elsewhere, as by telnet, an address or a host's name stands where the terminal would.
    let from = [&b" FROM "[..], b" from "].iter().find_map(|from| Some(&place[memmem::rfind(place, from)? + 6..]));
    event.peer = from.and_then(|from| Peer::read(unquoted(from))).filter(|peer| match peer {
        Peer::Ip(_) => true,
        Peer::Name(name) => ![&b"tty"[..], b"pts", b"console"].iter().any(|line| name.starts_with(line)),
    });
    let user = unquoted(user);
    // For a name that nobody has, which may be a password in the wrong place.
    Some(((!matches!(user, b"UNKNOWN" | b"(unknown)")).then_some(user), times))
}

/// Who got in at a terminal, and from where: `LOGIN ON pts/0 BY eve[ FROM HOST]`, `ROOT LOGIN ON pts/0[ FROM HOST]` (util-linux),
/// `ROOT LOGIN  on 'tty1'[ from 'HOST']` (shadow), `root login on 'tty1'[ from 'HOST']` (BusyBox).
fn logged_in(message: &[u8]) -> Option<(Option<&[u8]>, Option<Peer<'_>>)> {
    let of_root = [&b"ROOT LOGIN "[..], b"root login "].iter().find_map(|begin| message.strip_prefix(*begin));
    let rest = of_root.or_else(|| message.strip_prefix(b"LOGIN "))?.trim_ascii_start();
    let rest = rest.strip_prefix(b"ON ").or_else(|| rest.strip_prefix(b"on "))?;
    let rest = &rest[memchr::memchr(b' ', rest).unwrap_or(rest.len())..];
    let from = [&b" FROM "[..], b" from "].iter().find_map(|from| memmem::find(rest, from));
    let (by, from) = rest.split_at(from.unwrap_or(rest.len()));
    let user = if of_root.is_some() { b"root" } else { by.strip_prefix(b" BY ")? };
    Some((Some(user), from.get(6..).and_then(|from| Peer::read(unquoted(from)))))
}

/// What stands between `'` and `'`, in older versions between a grave accent and `'`.
fn unquoted(text: &[u8]) -> &[u8] {
    let inner = text.strip_prefix(b"'").or_else(|| text.strip_prefix(b"`"));
    inner.and_then(|inner| inner.strip_suffix(b"'")).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Category;

    #[test]
    fn failures_at_the_machine_name_the_account_and_how_often() {
        for (program, message, user, times) in [
            (
                "sudo",
                "   eve : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
                "eve",
                3,
            ),
            ("sudo", "eve : HOST=web1 : 3 incorrect password attempts ; TTY=pts/0 ; COMMAND=/bin/ls", "eve", 3),
            ("sudo", "eve : 2 incorrect password attempts ;", "eve", 2),
            ("sudo", "eve : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls", "eve", 1),
            ("su", "FAILED SU (to root) eve on pts/0", "root", 1),
            ("su", "FAILED su for root by eve", "root", 1),
            ("su", "BAD SU eve to root on /dev/ttyp0", "root", 1),
            ("su", "failed: ttyq4 changing from eve to root", "root", 1),
            ("su", "BAD SU from eve to root at /dev/pts/1", "root", 1),
            ("su", "'su root' failed for eve on /dev/pts/8", "root", 1),
            (
                "sudo",
                "pam_unix(sudo:auth): authentication failure; logname=eve uid=1 euid=0 tty=/dev/pts/1 ruser=eve rhost=  user=root",
                "eve",
                1,
            ),
            ("doas", "failed auth for eve", "eve", 1),
            ("doas", "failed command for eve: ls: x", "eve", 1),
            ("doas", "command not permitted for eve: ls", "eve", 1),
            ("login", "FAILED LOGIN (1) on '/dev/tty1' FOR 'root', Authentication failure", "root", 1),
            ("login", "FAILED LOGIN 2 FROM 192.0.2.7 FOR root, Authentication failure", "root", 1),
            ("login", "REPEATED LOGIN FAILURES ON /dev/pts/1 FROM 192.0.2.4, root", "root", 1),
            ("login", "Login failure on /dev/pts/7 from host.example.org, root", "root", 1),
            ("syslog", "vty0: failed login attempt for eve", "eve", 1),
            ("syslog", "/dev/pts/1: failed login attempt for eve from 192.0.2.4", "eve", 1),
            (
                "su",
                "pam_unix(su:auth): authentication failure; logname=eve uid=1 euid=0 tty=/dev/pts/0 ruser=eve rhost=  user=root",
                "root",
                1,
            ),
            (
                "su(pam_unix)",
                "authentication failure; logname= uid=1 euid=0 tty= ruser=eve rhost=  user=root",
                "root",
                1,
            ),
        ] {
            let mut event = Event::plain(None, Category::Auth);
            read(program.as_bytes(), message.as_bytes(), 1, &mut event);
            assert_eq!(event.user, Some(user.as_bytes()), "{message}");
            let Action::LoginFailed { times: counted, .. } = event.action else { panic!("{message}") };
            assert_eq!(counted, times, "{message}");
        }
        for message in [
            "eve : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/echo 3 incorrect password attempts ; TTY=",
            "eve : TTY=pts/0 ; PWD=/home/x : user NOT in sudoers ; USER=root ; COMMAND=/bin/ls",
            "pam_unix(sudo:session): session opened for user root by eve(uid=0)",
        ] {
            let mut event = Event::plain(None, Category::Auth);
            read(b"sudo", message.as_bytes(), 1, &mut event);
            let is_command = message.starts_with("eve : ");
            assert_eq!(
                event.action,
                if is_command { Action::Granted { by_module: false } } else { Action::Other },
                "{message}"
            );
        }
    }

    #[test]
    fn who_gets_in_at_a_terminal_is_told_and_from_where() {
        for (message, user, peer) in [
            ("LOGIN ON pts/0 BY eve", "eve", ""),
            ("LOGIN ON pts/0 BY eve FROM host", "eve", "host"),
            ("ROOT LOGIN ON pts/1 FROM 192.0.2.7", "root", "192.0.2.7"),
            ("ROOT LOGIN ON tty1", "root", ""),
            ("ROOT LOGIN  on 'tty1'", "root", ""),
            ("ROOT LOGIN  on '/dev/pts/0' from '192.0.2.7'", "root", "192.0.2.7"),
            ("root login on 'pts/0' from '192.0.2.7'", "root", "192.0.2.7"),
            ("LOGIN ON tty1 BY eve FROM x FROM 192.0.2.7", "eve", ""),
        ] {
            let mut event = Event::plain(None, Category::Auth);
            read(b"login", message.as_bytes(), 1, &mut event);
            assert_eq!(event.action, Action::LoginSucceeded { by_key: false }, "{message}");
            assert_eq!(event.user, Some(user.as_bytes()), "{message}");
            assert_eq!(event.peer.map(|peer| peer.to_string()).unwrap_or_default(), peer, "{message}");
            let mut event = Event::plain(None, Category::Auth);
            read(b"su", message.as_bytes(), 1, &mut event);
            assert_eq!(event.action, Action::Other, "{message}");
        }
    }
}
