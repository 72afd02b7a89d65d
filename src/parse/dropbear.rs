//! What Dropbear says, the SSH server of routers and other small machines (svr-auth.c, svr-authpasswd.c, svr-authpam.c,
//! svr-authpubkey.c of <https://github.com/mkj/dropbear>).
//!
//! It names only accounts that there are, and ends its lines with the address, which stands behind the last ` from `.

use std::sync::LazyLock;

use memchr::{memchr, memmem, memrchr};
use regex::bytes::Regex;

use crate::model::event::Shape;
use crate::model::{Action, Event, Peer};

/// `[825] Nov 20 10:00:00 `, which stands before a message that was printed and not sent.
static PRINTED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^\[\d+\] [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d ").ok());

/// Reads a message that stands for `times` equal ones into the event.
pub fn read<'a>(message: &'a [u8], times: u32, event: &mut Event<'a>) {
    let printed = PRINTED.as_ref().and_then(|printed| printed.find(message)).map_or(0, |found| found.end());
    let message = message[printed..].trim_ascii_end();
    let failed = Action::LoginFailed { times, shape: Shape::Explicit };
    // Who tried before tells more, so this counts of others only.
    let found = if let Some(rest) = message.strip_prefix(b"Exit before auth from <") {
        memchr(b'>', rest).map(|end| (Action::Probed, None, &rest[..end]))
    } else {
        memmem::rfind(message, b" from ").and_then(|at| {
            let (said, place) = (&message[..at], &message[at + 6..]);
            let user = account(said);
            let action = match said {
                b"Login attempt for nonexistent user" | b"login attempt for nonexistent user" => failed,
                _ if said.starts_with(b"Login attempt with wrong user ") => failed,
                _ if is_one(said, [b"Bad password attempt for '", b"Bad PAM password attempt for '"]) => failed,
                _ if is_one(said, [b"Password auth succeeded for '", b"PAM password auth succeeded for '"])
                    || said.starts_with(b"Pubkey auth succeeded for '") =>
                {
                    Action::LoginSucceeded
                }
                _ if said.starts_with(b"Exit before auth (user '") => Action::Probed,
                _ => return None,
            };
            Some((action, user, place))
        })
    };
    if let Some((action, user, place)) = found {
        (event.action, event.user, event.peer) = (action, user, address(place));
    }
}

/// Whether it begins with one of these, of which old versions write the first letter small.
fn is_one(said: &[u8], beginnings: [&[u8]; 2]) -> bool {
    beginnings.iter().any(|words| {
        said.len() > words.len() && said[1..].starts_with(&words[1..]) && said[0].eq_ignore_ascii_case(&words[0])
    })
}

/// `'USER'`
fn account(said: &[u8]) -> Option<&[u8]> {
    let rest = &said[memchr(b'\'', said)? + 1..];
    Some(&rest[..memchr(b'\'', rest)?])
}

/// `192.0.2.7:4711`, `2001:db8::7:4711`
fn address(place: &[u8]) -> Option<Peer<'_>> {
    Peer::read(&place[..memrchr(b':', place)?]).filter(|peer| peer.ip().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Category;

    #[test]
    fn attempts_and_logins_name_their_address() {
        let failed = Action::LoginFailed { times: 1, shape: Shape::Explicit };
        for (message, action, user, address) in [
            ("Bad password attempt for 'root' from 192.0.2.7:4711", failed, "root", "192.0.2.7"),
            ("bad password attempt for 'root' from 192.0.2.7:4711", failed, "root", "192.0.2.7"),
            ("Bad PAM password attempt for 'root' from 2001:db8::7:4711", failed, "root", "2001:db8::7"),
            ("[7] Nov 20 10:00:00 Bad password attempt for 'root' from 192.0.2.7:4711", failed, "root", "192.0.2.7"),
            ("Login attempt for nonexistent user from ::ffff:192.0.2.7:4711", failed, "", "192.0.2.7"),
            ("Login attempt with wrong user x from 203.0.113.9:1 from 192.0.2.7:4711", failed, "", "192.0.2.7"),
            (
                "Pubkey auth succeeded for 'root' with ssh-ed25519 key SHA256:x from 192.0.2.7:4711",
                Action::LoginSucceeded,
                "root",
                "192.0.2.7",
            ),
            ("Password auth succeeded for 'root' from 192.0.2.7:4711", Action::LoginSucceeded, "root", "192.0.2.7"),
            ("Exit before auth from <192.0.2.7:4711>: Exited normally", Action::Probed, "", "192.0.2.7"),
            (
                "Exit before auth (user 'root', 10 fails): Max auth tries reached - user 'root' from 192.0.2.7:4711",
                Action::Probed,
                "root",
                "192.0.2.7",
            ),
            ("Child connection from 192.0.2.7:4711", Action::Other, "", ""),
            ("Exit (root) from <192.0.2.7:4711>: Disconnect received", Action::Other, "", ""),
        ] {
            let mut event = Event::plain(None, Category::Auth);
            read(message.as_bytes(), 1, &mut event);
            assert_eq!(event.action, action, "{message}");
            assert_eq!(event.user.unwrap_or_default(), user.as_bytes(), "{message}");
            assert_eq!(event.peer.map(|peer| peer.to_string()).unwrap_or_default(), address, "{message}");
        }
    }
}
