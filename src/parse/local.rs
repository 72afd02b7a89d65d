//! Logins and changes of account on the machine itself: su (shadow, util-linux), sudo, doas, login, and what PAM says for any program.
//!
//! Whoever sits at a terminal has no address; what is known is the account.

use memchr::memmem;

use super::pam;
use super::syslog::number;
use crate::model::event::Shape;
use crate::model::{Action, Event, Peer};

/// Reads a message that stands for `times` equal ones into the event.
pub fn read<'a>(program: &[u8], message: &'a [u8], times: u32, event: &mut Event<'a>) {
    let message = message.trim_ascii();
    let failure = match program {
        b"sudo" => sudo(message),
        b"su" => su(message),
        b"doas" => doas(message),
        b"login" => login(message, event),
        _ => None,
    };
    if let Some((user, n)) = failure {
        event.action = Action::LoginFailed { times: times.saturating_mul(n), shape: Shape::Explicit };
        event.user = Some(user);
    } else {
        let name = program.strip_suffix(b"(pam_unix)").unwrap_or(program);
        told_by_pam(message, times, !matches!(name, b"sudo" | b"su" | b"doas" | b"login"), event);
    }
}

/// What PAM says in a program's name. `by_client`: it may serve clients, and say who got in there only.
fn told_by_pam<'a>(message: &'a [u8], times: u32, by_client: bool, event: &mut Event<'a>) {
    if let Some(failure) = pam::failure(message, by_client) {
        let shape = if pam::is_second(message) { Shape::PamTold } else { Shape::Pam };
        event.action = Action::LoginFailed { times: times.saturating_mul(failure.times), shape };
        (event.user, event.peer) = (failure.user, failure.peer);
    } else if by_client && let Some((user, peer)) = pam::success(message) {
        event.action = Action::LoginSucceeded;
        (event.user, event.peer) = (user, peer);
    }
}

/// `USER : 3 incorrect password attempts ; TTY=…` and `USER : user NOT in sudoers ; TTY=…` (sudo, logging.c).
fn sudo(message: &[u8]) -> Option<(&[u8], u32)> {
    let at = memmem::find(message, b" : ")?;
    let (user, what) = (message[..at].trim_ascii(), &message[at + 3..]);
    let what = &what[..memmem::find(what, b" ; ")?];
    if what == b"user NOT in sudoers" || what == b"command not allowed" {
        return Some((user, 1));
    }
    let count = what.split(|byte| *byte == b' ').next()?;
    let rest = &what[count.len()..];
    matches!(rest, b" incorrect password attempt" | b" incorrect password attempts").then_some(())?;
    Some((user, number(count)?))
}

/// `FAILED SU (to root) eve on pts/0` (util-linux), `FAILED su for root by eve` and `pam_authenticate: …` (shadow),
/// `BAD SU eve to root on /dev/ttyp0` (BSD), `failed: ttyq4 changing from eve to root` (IRIX). The account that was to be
/// entered counts.
fn su(message: &[u8]) -> Option<(&[u8], u32)> {
    let user = if let Some(rest) = message.strip_prefix(b"FAILED SU (to ") {
        &rest[..memchr::memchr(b')', rest)?]
    } else if let Some(rest) = message.strip_prefix(b"FAILED su for ") {
        &rest[..memmem::rfind(rest, b" by ")?]
    } else if let Some(rest) = message.strip_prefix(b"BAD SU ") {
        let rest = &rest[..memmem::rfind(rest, b" on ")?];
        &rest[memmem::rfind(rest, b" to ")? + 4..]
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

/// `FAILED LOGIN 1 FROM tty1 FOR root, Authentication failure` and `FAILED LOGIN (1) on '/dev/tty1' FOR 'root', …`
/// (util-linux, shadow).
fn login<'a>(message: &'a [u8], event: &mut Event<'a>) -> Option<(&'a [u8], u32)> {
    let rest = message.strip_prefix(b"FAILED LOGIN ")?;
    let rest = &rest[..memchr::memrchr(b',', rest).unwrap_or(rest.len())];
    let at = memmem::find(rest, b" FOR ")?;
    let user = &rest[at + 5..];
    let user = user.strip_prefix(b"'").and_then(|user| user.strip_suffix(b"'")).unwrap_or(user);
    // From elsewhere, as by telnet, an address stands where the terminal would.
    event.peer = memmem::find(&rest[..at], b" FROM ")
        .and_then(|from| Peer::read(&rest[from + 6..at]))
        .filter(|peer| peer.ip().is_some());
    Some((user, 1))
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
            ("sudo", "eve : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls", "eve", 1),
            ("su", "FAILED SU (to root) eve on pts/0", "root", 1),
            ("su", "FAILED su for root by eve", "root", 1),
            ("su", "BAD SU eve to root on /dev/ttyp0", "root", 1),
            ("su", "failed: ttyq4 changing from eve to root", "root", 1),
            ("doas", "failed auth for eve", "eve", 1),
            ("doas", "failed command for eve: ls: x", "eve", 1),
            ("doas", "command not permitted for eve: ls", "eve", 1),
            ("login", "FAILED LOGIN (1) on '/dev/tty1' FOR 'root', Authentication failure", "root", 1),
            ("login", "FAILED LOGIN 2 FROM 192.0.2.7 FOR root, Authentication failure", "root", 1),
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
            assert_eq!(event.action, Action::Other, "{message}");
        }
    }
}
