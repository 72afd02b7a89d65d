//! What Dropbear says, the SSH server of routers and other small machines (svr-auth.c, svr-authpasswd.c, svr-authpam.c,
//! svr-authpubkey.c of <https://github.com/mkj/dropbear>).
//!
//! It names only accounts that there are, and ends its lines with the address, which stands behind the last ` from `.

use memchr::{memchr, memmem, memrchr};

use super::syslog::number;
use super::syslog_head::without_second_stamp;
use crate::model::event::Shape;
use crate::model::{Action, Event, Peer};

/// Reads a message that stands for `times` equal ones into the event.
pub fn read<'a>(message: &'a [u8], times: u32, event: &mut Event<'a>) {
    let message = without_own_stamp(message).trim_ascii_end();
    let (said, place) = match message.strip_prefix(b"Exit before auth from <") {
        Some(rest) => (&b"Exit before auth"[..], &rest[..memchr(b'>', rest).unwrap_or(0)]),
        // Some versions tell no address.
        None => {
            memmem::rfind(message, b" from ").map_or((message, &b""[..]), |at| (&message[..at], &message[at + 6..]))
        }
    };
    if let Some((user, failures)) = failures(message).filter(|_| event.pid != 0 && times == 1) {
        // What its process told before counts for it.
        let action = Action::LoginFailed { times: failures, shape: Shape::TooMany };
        (event.action, event.user, event.peer) = (action, Some(user), address(place));
    } else if let Some(action) = action(said, place.is_empty() && event.pid != 0, times) {
        (event.action, event.user, event.peer) = (action, account(said), address(place));
    }
}

/// What follows `[825] Nov 20 10:00:00 `, which stands before a message that was printed and not sent.
fn without_own_stamp(message: &[u8]) -> &[u8] {
    let inner = message.strip_prefix(b"[").and_then(|inner| Some((inner, memchr(b']', inner)?)));
    let inner = inner.filter(|(inner, end)| number(&inner[..*end]).is_some());
    inner.and_then(|(inner, end)| inner[end + 1..].strip_prefix(b" ")).map_or(message, without_second_stamp)
}

/// What happened by these words, behind which an address stands; or it is told later.
fn action(said: &[u8], is_told_later: bool, times: u32) -> Option<Action> {
    let begins = |words: &[u8]| {
        // Old versions write the first letter small.
        said.first().is_some_and(|first| first.eq_ignore_ascii_case(&words[0])) && said[1..].starts_with(&words[1..])
    };
    let failed = |shape| Some(Action::LoginFailed { times, shape });
    let is_account = |words: &[u8], end: &[u8]| begins(words) && said.ends_with(end);
    let refusals = [
        (&b"User account '"[..], &b"' is locked"[..]),
        (b"User '", b"' has invalid shell, rejected"),
        (b"User '", b"' has blank password, rejected"),
        (b"Logins are restricted to the group ", b"' is not a member"),
        (ROOT_REJECTED, b""),
    ];
    if refusals.iter().any(|(words, end)| is_account(words, end)) {
        return failed(Shape::Refused);
    }
    // Where no address stands behind it, the process tells it when the client goes.
    if begins(NONEXISTENT) && is_told_later {
        return failed(Shape::InvalidUser);
    }
    let failures: [&[u8]; 5] = [
        b"Bad password attempt for '",
        b"Too-long password attempt for '",
        b"Bad PAM password attempt for '",
        NONEXISTENT,
        b"Login attempt with wrong user ",
    ];
    if failures.iter().any(|words| begins(words)) {
        return failed(Shape::Explicit);
    }
    let ways = [&b"Password auth"[..], b"PAM password auth", b"Pubkey auth"];
    let rest = ways.iter().find_map(|way| said.strip_prefix(*way));
    if rest.is_some_and(|rest| rest.starts_with(b" succeeded for '")) {
        return Some(Action::LoginSucceeded { by_key: begins(ways[2]) });
    }
    // Who tried before tells more, so this counts of others only.
    begins(b"Exit before auth").then_some(Action::Probed)
}

/// `Exit before auth from <ADDRESS>: (user 'USER', N fails): …`: who may not log in by a password is told of only so. What a client calls its
/// version may stand elsewhere in such lines.
fn failures(message: &[u8]) -> Option<(&[u8], u32)> {
    let rest = message.strip_prefix(b"Exit before auth from <")?;
    let rest = rest[memchr(b'>', rest)? + 1..].strip_prefix(b": (user '")?;
    let (user, rest) = rest.split_at(memmem::find(rest, b"', ")?);
    let rest = &rest[b"', ".len()..];
    let times = number(&rest[..memmem::find(rest, b" fails): ")?])?;
    (1..=MOST_FAILURES).contains(&times).then_some((user, times))
}

/// It lets nobody try more often.
const MOST_FAILURES: u32 = 100;

/// What it says of an account that there isn't.
const NONEXISTENT: &[u8] = b"Login attempt for nonexistent user";

/// What it says where root may not log in at all.
const ROOT_REJECTED: &[u8] = b"root login rejected";

/// `'USER'`
fn account(said: &[u8]) -> Option<&[u8]> {
    if said.eq_ignore_ascii_case(ROOT_REJECTED) {
        return Some(b"root");
    }
    let rest = &said[memchr(b'\'', said)? + 1..];
    Some(&rest[..memchr(b'\'', rest)?])
}

/// `192.0.2.7:4711`, `2001:db8::7:4711`
fn address(place: &[u8]) -> Option<Peer<'_>> {
    let (ip, port) = place.split_at(memrchr(b':', place)?);
    number(&port[1..])?;
    Peer::read(ip).filter(|peer| peer.ip().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Category;

    #[test]
    fn attempts_and_logins_name_their_address() {
        let [failed, refused] = [Shape::Explicit, Shape::Refused].map(|shape| Action::LoginFailed { times: 1, shape });
        for (message, action, user, address) in [
            ("Bad password attempt for 'root' from 192.0.2.7:4711", failed, "root", "192.0.2.7"),
            ("bad password attempt for 'root' from 192.0.2.7:4711", failed, "root", "192.0.2.7"),
            ("Bad PAM password attempt for 'root' from 2001:db8::7:4711", failed, "root", "2001:db8::7"),
            ("[7] Nov 20 10:00:00 Bad password attempt for 'root' from 192.0.2.7:4711", failed, "root", "192.0.2.7"),
            ("Login attempt for nonexistent user from ::ffff:192.0.2.7:4711", failed, "", "192.0.2.7"),
            ("Login attempt for nonexistent user", failed, "", ""),
            ("User account 'root' is locked", refused, "root", ""),
            ("User 'root' has invalid shell, rejected", refused, "root", ""),
            ("Login attempt with wrong user x from 203.0.113.9:1 from 192.0.2.7:4711", failed, "", "192.0.2.7"),
            (
                "Pubkey auth succeeded for 'root' with ssh-ed25519 key SHA256:x from 192.0.2.7:4711",
                Action::LoginSucceeded { by_key: true },
                "root",
                "192.0.2.7",
            ),
            (
                "Password auth succeeded for 'root' from 192.0.2.7:4711",
                Action::LoginSucceeded { by_key: false },
                "root",
                "192.0.2.7",
            ),
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
